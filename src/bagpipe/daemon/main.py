"""``bagpipe-bgp``: read the configuration, bring up the speaker, its neighbours and the HTTP interface, and run."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from bagpipe.daemon.api_listener import ApiListener, bind_api
from bagpipe.daemon.config_source import ConfigurationError
from bagpipe.daemon.configuration import Configuration, load
from bagpipe.daemon.peer_sections import Neighbour
from bagpipe.daemon.recent_records import RecentRecords, watch_log
from bagpipe.daemon.service import LOG, NoticeBoard, jitter, prepare_process, run
from bagpipe.daemon.start_error import StartError
from bagpipe.daemon.tcp import Edge
from bagpipe.daemon.views import Seen
from bagpipe.errors import LocalMisuse
from bagpipe.speaker import Speaker

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

    async def start(self) -> ApiListener | None:
        """Listen and begin to connect. Raises ConfigurationError with what cannot be had."""
        configuration = self.configuration
        api = None
        try:
            if configuration.api is not None:
                seen = Seen(self.speaker, self.edge, self.notices, configuration.sections, self.records)
                api = ApiListener(bind_api(configuration.api), seen)
            self.edge.serve(configuration.neighbours.ranges)
            for address, port in configuration.listen:
                try:
                    await self.edge.listen(address, port)
                except OSError as error:
                    reason = error.strerror or str(error)
                    raise StartError(f"[BGP] listen: {address} port {port}: {reason}") from error
            for neighbour in configuration.neighbours.configured:
                self.edge.add(neighbour.settings, neighbour.reach)
        except LocalMisuse as error:
            raise StartError(str(error)) from error
        if api is not None:
            api.start()
        return api

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
        for name in ("speaker", "local_address", "listen", "limits", "api", "ipvpn", "evpn"):
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
        LOG.info("reloaded: %d neighbours removed or changed, %d added or changed", len(removed), len(added))

    def _add(self, entry: Neighbour) -> None:
        try:
            self.edge.add(entry.settings, entry.reach)
        except LocalMisuse as error:
            LOG.error("%s not added: %s", entry.settings.name, error)


async def _run(configuration: Configuration, argv: Sequence[str], records: RecentRecords) -> None:
    daemon = Daemon(configuration, argv, records)
    api = await daemon.start()
    local = configuration.speaker
    await run(daemon.edge, api, f"AS {local.local_as}, {local.router_id}", daemon.reload)


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
