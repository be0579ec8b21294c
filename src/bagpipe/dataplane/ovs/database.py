"""The Open vSwitch database: what matters of it here, and changes to it.

OVSDB (RFC 7047) by ovsdbapp (``ovsdb``), whose thread follows the database: the IDL below it parses JSON in plain
Python, which must not hold the event loop up. The thread publishes immutable :class:`Contents` and takes changes;
everybody else lives on the loop. Speaks to ``unix:`` and ``tcp:`` servers; no TLS, no clustered database.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from bagpipe.dataplane.errors import Unreachable
from bagpipe.dataplane.ovs.ovsdb import BACKOFF, Api, Build, Change, Link, Replica, Rows
from bagpipe.errors import LocalMisuse

__all__ = ["OWNER", "OWNER_KEY", "Bridge", "Build", "Contents", "Database", "Interface", "Port", "Rows"]

_log = logging.getLogger(__name__)

OWNER_KEY, OWNER = "bagpipe-owner", "bagpipe-bgp"
"""The external_ids entry of a Port or Bridge row that is ours."""

_PROBE = 0.2
_STOPPING = 2.0


def _vni_of(configuration: Mapping[str, str]) -> int | None:
    """What Neutron's agent notes at a port that it has wired."""
    number = configuration.get("segmentation_id", "")
    return int(number) if configuration.get("network_type") == "vxlan" and number.isdecimal() else None


@dataclass(frozen=True, slots=True)
class Interface:
    """A row of Interface. ``number`` is its ofport (None: none, or it failed, with the reason in ``error``)."""

    name: str
    kind: str
    options: Mapping[str, str]
    number: int | None
    error: str | None
    mac: bytes | None
    mtu_request: int | None


@dataclass(frozen=True, slots=True)
class Port:
    """A row of Port: ``is_ours`` if it carries our mark; ``vni`` is that of the VXLAN network it belongs to, if Neutron
    has noted one.
    """

    name: str
    interfaces: tuple[UUID, ...]
    is_ours: bool
    vni: int | None = None


@dataclass(frozen=True, slots=True)
class Bridge:
    """A row of Bridge, its interfaces, which of its ports are ours, and the VNIs of its ports' networks.

    ``protocols`` are the versions of OpenFlow that it speaks, none for all; ``is_ours`` if it carries our mark.
    """

    name: str
    datapath_type: str
    interfaces: Mapping[str, Interface] = field(default_factory=dict)
    ours: frozenset[str] = frozenset()
    vnis: frozenset[int] = frozenset()
    protocols: frozenset[str] = frozenset()
    is_ours: bool = False


@dataclass(frozen=True, slots=True)
class Contents:
    """What the database held when ``is_current`` was last true.

    ``fault`` says why it is not current, ``configured`` is the last configuration that ovs-vswitchd has put in effect.
    """

    is_current: bool
    fault: str | None
    bridges: Mapping[str, Bridge] = field(default_factory=dict)
    configured: int = 0


class Database:
    """A lasting connection to an OVSDB server. ``published`` is called on the loop with each new :class:`Contents`.

    Raises LocalMisuse for a server that is neither ``unix:PATH`` nor ``tcp:ADDRESS:PORT``.
    """

    def __init__(self, remote: str, published: Callable[[Contents], None]) -> None:
        if not remote.startswith(("unix:/", "tcp:")):
            raise LocalMisuse("OVSDB server", remote, "expected unix:PATH or tcp:ADDRESS:PORT")
        self.remote = remote
        self._published = published
        self._loop: asyncio.AbstractEventLoop | None = None
        self._api: Api | None = None
        self._seqno = -1
        self._next_look = 0.0
        self._contents = Contents(False, f"{remote}: not connected yet")
        self._interfaces: dict[UUID, Interface] = {}
        self._ports: dict[UUID, Port] = {}

    def start(self) -> None:
        """Begin to connect, for ever."""
        self._loop = asyncio.get_running_loop()
        self._api = Api(Link(Replica(self.remote, self._publish)))
        self._api.ovsdb_connection.start()

    async def close(self) -> None:
        """End the connection and its thread. Whoever waits for a transaction is told Unreachable."""
        if self._api is None:
            return
        api, self._api = self._api, None
        ended = await asyncio.get_running_loop().run_in_executor(None, api.ovsdb_connection.end, _STOPPING)
        if not ended:
            _log.warning("%s: the connection has not ended within %s s", self.remote, _STOPPING)

    async def change(self, build: Build, timeout: float) -> int | None:
        """Do a transaction: ``build`` is called in the thread, again for each attempt.

        Gives the number of the configuration that it made, or None if it changed nothing. Raises DataplaneError with
        the text of OVSDB, or what ``build`` raised; Unreachable after ``timeout`` seconds without an answer.
        """
        if self._api is None:
            raise Unreachable(f"{self.remote}: closed")
        change = Change(self._api, build, time.monotonic() + timeout, lambda: self._contents.fault or self.remote)
        self._api.ovsdb_connection.queue_txn(change)
        return await asyncio.wrap_future(change.done)

    # ------------------------------------------------------------------ in the thread

    def _publish(self, replica: Replica) -> None:
        is_current = replica.is_current
        if is_current:
            if self._contents.is_current and replica.change_seqno == self._seqno:
                return
            self._seqno = replica.change_seqno
            contents = self._read(replica)
        else:
            before, now = self._contents, time.monotonic()
            if not before.is_current and now < self._next_look:
                return
            self._next_look = now + BACKOFF[1] / 1000
            contents = Contents(False, self._why(), before.bridges, before.configured)
        if contents != self._contents:
            self._contents = contents
            self._tell(contents)

    def _tell(self, contents: Contents) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._published, contents)
        except RuntimeError:
            # The loop has ended without closing this.
            if self._api is not None:
                self._api.ovsdb_connection.is_running = False

    def _why(self) -> str:
        """Why the server cannot be reached, as the IDL does not say it."""
        kind, _, rest = self.remote.partition(":")
        try:
            if kind == "tcp":
                host, _, port = rest.rpartition(":")
                socket.create_connection((host.strip("[]"), int(port)), _PROBE).close()
            else:
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.settimeout(_PROBE)
                    probe.connect(rest)
        except (OSError, ValueError) as cause:
            return f"{self.remote}: {getattr(cause, 'strerror', None) or cause}"
        return f"{self.remote}: reachable, no contents yet"

    def _read(self, replica: Replica) -> Contents:
        if not self._contents.is_current:
            self._interfaces.clear()
            self._ports.clear()
        for touched in replica.touched:
            self._interfaces.pop(touched, None)
            self._ports.pop(touched, None)
        replica.touched.clear()
        bridges = [self._read_bridge(row) for row in replica.tables["Bridge"].rows.values()]
        configured = max((row.cur_cfg for row in replica.tables["Open_vSwitch"].rows.values()), default=0)
        return Contents(True, None, {bridge.name: bridge for bridge in bridges}, configured)

    def _read_bridge(self, row: Any) -> Bridge:
        interfaces, ours, vnis = [], set(), set()
        for port_row in row.ports:
            port = self._ports.get(port_row.uuid)
            if port is None:
                members = tuple(member.uuid for member in port_row.interfaces)
                is_ours = port_row.external_ids.get(OWNER_KEY) == OWNER
                port = Port(port_row.name, members, is_ours, _vni_of(port_row.other_config))
                self._ports[port_row.uuid] = port
            if port.is_ours:
                ours.add(port.name)
            if port.vni is not None:
                vnis.add(port.vni)
            known = [self._interfaces.get(member) for member in port.interfaces]
            if None in known:
                known = [self._read_interface(member) for member in port_row.interfaces]
            interfaces += [interface for interface in known if interface is not None]
        by_name = {interface.name: interface for interface in interfaces}
        return Bridge(
            row.name,
            row.datapath_type,
            by_name,
            frozenset(ours),
            frozenset(vnis),
            frozenset(row.protocols),
            row.external_ids.get(OWNER_KEY) == OWNER,
        )

    def _read_interface(self, row: Any) -> Interface:
        number = next(iter(row.ofport), -1)
        mac, error = next(iter(row.mac_in_use), None), next(iter(row.error), None)
        interface = Interface(
            row.name,
            row.type,
            dict(row.options),
            number if number > 0 else None,
            "; ".join(error.splitlines()) if error else None,
            bytes.fromhex(mac.replace(":", "")) if mac else None,
            next(iter(row.mtu_request), None),
        )
        self._interfaces[row.uuid] = interface
        return interface
