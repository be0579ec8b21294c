"""``bagpipe-bgp``: read the configuration, bring up speaker, VPN instances, dataplane and HTTP interface, and run."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import cast

from bagpipe.daemon.api_listener import ApiListener, bind_api
from bagpipe.daemon.config_source import ConfigurationError
from bagpipe.daemon.configuration import Configuration, DataplaneSettings, load
from bagpipe.daemon.dataplane_choice import evpn_dataplane, ipvpn_dataplane
from bagpipe.daemon.forwarding import Carrier, Forwarding
from bagpipe.daemon.journal import Journal
from bagpipe.daemon.peer_sections import Neighbour
from bagpipe.daemon.reach import canonical
from bagpipe.daemon.recent_records import RecentRecords, watch_log
from bagpipe.daemon.service import LOG, NoticeBoard, jitter, prepare_process, run
from bagpipe.daemon.start_error import StartError
from bagpipe.daemon.tcp import Edge
from bagpipe.daemon.views import Seen
from bagpipe.dataplane.driver import Dataplane
from bagpipe.errors import LocalMisuse
from bagpipe.speaker import Speaker
from bagpipe.vpn.attachment import CarriedBy
from bagpipe.vpn.carriage import check_router
from bagpipe.vpn.settings import VpnSettings

PROGRAM = "bagpipe-bgp"


class Daemon:
    """The running parts, and how a reload changes them."""

    def __init__(self, configuration: Configuration, argv: Sequence[str], records: RecentRecords) -> None:
        self.configuration = configuration
        self.argv = argv
        self.notices = NoticeBoard()
        self.records = records
        self.speaker = Speaker(configuration.speaker, jitter=jitter)
        self.speaker.notice = self.notices
        self.edge = Edge(self.speaker, configuration.limits)
        self.forwarding: Forwarding | None = None

    async def start(self) -> ApiListener | None:
        """Listen and begin to connect. Raises ConfigurationError with what cannot be had."""
        configuration = self.configuration
        api = None
        try:
            sock = None if configuration.api is None else bind_api(configuration.api)
            self.forwarding = forwarding = self._forwarding()
            # Attachments first: their routes and what they import are told when the first session comes up.
            forwarding.replay()
            if configuration.api is not None and sock is not None:
                seen = Seen(self.speaker, self.edge, self.notices, configuration.sections, self.records)
                seen.forwarding, seen.attach_timeout = forwarding, configuration.api.attach_timeout
                api = ApiListener(sock, seen)
            self.edge.serve(configuration.neighbours.ranges)
            for address, port in configuration.listen:
                try:
                    await self.edge.listen(address, port)
                except OSError as error:
                    reason = error.strerror or str(error)
                    raise StartError(f"[BGP] listen: {address} port {port}: {reason}") from error
            for neighbour in configuration.neighbours.configured:
                self.edge.add(neighbour.settings, neighbour.reach)
            await forwarding.start()
        except LocalMisuse as error:
            raise StartError(str(error)) from error
        if api is not None:
            api.start()
        return api

    def _forwarding(self) -> Forwarding:
        configuration = self.configuration
        ipvpn = self._carrier(configuration.ipvpn, ipvpn_dataplane(configuration.ipvpn))
        evpn = self._carrier(configuration.evpn, evpn_dataplane(configuration.evpn))
        journal = Journal.open(configuration.state_dir)
        timeout = 0.0 if configuration.api is None else configuration.api.reattach_timeout
        return Forwarding(self.speaker, ipvpn, evpn, journal, reattach_timeout=timeout)

    def _carrier(self, dataplane: DataplaneSettings, driver: Dataplane) -> Carrier:
        settings = VpnSettings(
            local_as=self.configuration.speaker.local_as,
            router_id=self.configuration.speaker.router_id,
            next_hop=dataplane.local_address,
            capabilities=driver.capabilities,
            accept_from=_addresses(self.configuration),
            carried_by=frozenset(map(CarriedBy, cast("list[str]", dataplane.options.get("carried_by") or ["vpn"]))),
        )
        check_router(settings.carried_by, settings)
        return Carrier(driver, settings)

    async def close(self) -> None:
        """Let go of the dataplane and of the journal; what is programmed stays."""
        if self.forwarding is not None:
            await self.forwarding.close()

    async def reload(self) -> None:
        """Read the files again and change what has changed of the neighbours; the other sessions stay as they are."""
        old = self.configuration
        try:
            new = load(self.argv)
        except ConfigurationError as error:
            LOG.error("not reloaded: %s", error)
            return
        except SystemExit:
            LOG.error("not reloaded: the command line cannot be used any more")
            return
        for name in ("speaker", "local_address", "listen", "limits", "api", "ipvpn", "evpn", "state_dir"):
            if getattr(new, name) != getattr(old, name):
                LOG.warning("%s has changed: takes effect at the next start", name)
        before = {entry.settings.name: entry for entry in old.neighbours.configured}
        after = {entry.settings.name: entry for entry in new.neighbours.configured}
        removed = [name for name, entry in before.items() if after.get(name) != entry]
        added = [entry for name, entry in after.items() if before.get(name) != entry]
        for name in removed:
            self.edge.remove(name)
        if new.neighbours.ranges != old.neighbours.ranges:
            self.edge.serve(new.neighbours.ranges)
        for entry in added:
            self._add(entry)
        self.configuration = new
        if self.forwarding is not None:
            self.forwarding.accept_from(_addresses(new))
        LOG.info("reloaded: %d neighbours removed or changed, %d added or changed", len(removed), len(added))

    def _add(self, entry: Neighbour) -> None:
        try:
            self.edge.add(entry.settings, entry.reach)
        except LocalMisuse as error:
            LOG.error("%s not added: %s", entry.settings.name, error)


def _addresses(configuration: Configuration) -> tuple[bytes, ...]:
    """The addresses of the configured neighbours, where they are not host names."""
    found = (canonical(neighbour.reach.host) for neighbour in configuration.neighbours.configured)
    return tuple(address.packed for address in found if address is not None)


async def _run(configuration: Configuration, argv: Sequence[str], records: RecentRecords) -> None:
    daemon = Daemon(configuration, argv, records)
    try:
        api = await daemon.start()
        local = configuration.speaker
        await run(daemon.edge, api, f"AS {local.local_as}, {local.router_id}", daemon.reload)
    finally:
        await daemon.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon in the foreground. The exit status is 0 after SIGTERM, 1 when it could not start."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        configuration = load(arguments)
        try:
            configuration.setup_logs()
        except Exception as error:
            raise StartError(f"the log cannot be set up: {' '.join(str(error).split())}") from error
        records = watch_log()
        for warning in configuration.warnings:
            LOG.warning("%s", warning)
        prepare_process()
        asyncio.run(_run(configuration, arguments, records))
    except StartError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
