"""The ports of our bridge: which OpenFlow number each has, and those that we add.

What is known comes from the Open vSwitch database (``database``) and is watched for ever. A port that we add carries
``external_ids:bagpipe-owner=bagpipe-bgp``; only such ports are ever deleted. So does a bridge that is made here, which
is done where asked for only: most belong to whoever set the node up, and until such a one exists ``fault`` says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from bagpipe.dataplane.errors import DataplaneError, NoAnswer
from bagpipe.dataplane.openflow.actions import PORT_LOCAL
from bagpipe.dataplane.ovs.database import OWNER, OWNER_KEY, Contents, Database, Interface, Rows

_OFPORT_LOCAL = 65534
_TUNNELS = frozenset({"gre", "vxlan", "geneve", "ip6gre", "stt", "gtpu", "bareudp"})


@dataclass(frozen=True, slots=True)
class PortInfo:
    """A port of the bridge. ``number`` is its OpenFlow 1.5 port (None: it has none, ``error`` may say why)."""

    name: str
    number: int | None
    error: str | None
    mac: bytes | None
    kind: str = ""


@dataclass(frozen=True, slots=True)
class ForeignTunnel:
    """A tunnel port of another bridge: its type in the database (``vxlan``) and its options."""

    name: str
    bridge: str
    kind: str
    options: Mapping[str, str]


def _info(interface: Interface) -> PortInfo:
    number = PORT_LOCAL if interface.number == _OFPORT_LOCAL else interface.number
    return PortInfo(interface.name, number, interface.error, interface.mac, interface.kind)


class BridgePorts:
    """The ports of ``bridge`` in the database at ``database`` (``unix:PATH`` or ``tcp:ADDRESS:PORT``).

    ``changed`` is called on the loop with the names of ports whose number or MAC appeared, changed or vanished,
    ``changed_elsewhere`` when tunnels or networks of other bridges are others. While the database is not reachable what
    was last known stays. Raises LocalMisuse for a database of another form.

    A change waits until ovs-vswitchd has put it in effect, ``patience`` seconds at most. It raises DataplaneError:
    with the text of OVSDB or, for a port that cannot work, of the port's ``error`` column.
    """

    def __init__(
        self,
        database: str,
        bridge: str,
        *,
        changed: Callable[[frozenset[str]], None],
        changed_elsewhere: Callable[[], None] = lambda: None,
        patience: float = 10,
    ) -> None:
        self.bridge = bridge
        self._patience = patience
        self._changed = changed
        self._changed_elsewhere = changed_elsewhere
        self._elsewhere: tuple[list[ForeignTunnel], frozenset[int]] = [], frozenset()
        self._database = Database(database, self._published)
        self._contents = Contents(False, f"{database}: not connected yet")
        self._ports: dict[str, PortInfo] = {}
        self._news = asyncio.Event()
        self._is_closed = False

    async def start(self) -> None:
        """Begin to follow the database; returns at once, whatever is reachable."""
        self._database.start()

    async def close(self) -> None:
        """Let go of the database. Ports stay as they are."""
        self._is_closed = True
        await self._database.close()

    def _published(self, contents: Contents) -> None:
        if self._is_closed:
            return
        before = self._ports
        self._contents = contents
        bridge = contents.bridges.get(self.bridge)
        self._ports = {} if bridge is None else {name: _info(one) for name, one in bridge.interfaces.items()}
        news, self._news = self._news, asyncio.Event()
        news.set()
        names = frozenset(
            name for name in before.keys() | self._ports.keys() if _seen(before, name) != _seen(self._ports, name)
        )
        if names:
            self._changed(names)
        elsewhere = self._read_elsewhere()
        if elsewhere != self._elsewhere:
            self._elsewhere = elsewhere
            self._changed_elsewhere()

    # ------------------------------------------------------------------ what is known

    @property
    def is_connected(self) -> bool:
        """Whether the database is reachable, so that what is known is current."""
        return self._contents.is_current

    @property
    def exists(self) -> bool:
        """Whether the bridge is there."""
        return self.bridge in self._contents.bridges

    @property
    def fault(self) -> str | None:
        """What keeps ports from being known and changed; None if nothing does."""
        if not self._contents.is_current:
            return self._contents.fault
        return None if self.exists else f"bridge {self.bridge} does not exist"

    def number(self, name: str) -> int | None:
        """The OpenFlow port of this name; None if there is none."""
        port = self._ports.get(name)
        return None if port is None else port.number

    def names(self) -> Mapping[str, PortInfo]:
        """All ports of the bridge by name, its own (of the bridge's name, OpenFlow port LOCAL) among them."""
        return self._ports

    @property
    def bridge_mac(self) -> bytes | None:
        """The MAC of the bridge's own port, six octets."""
        own = self._ports.get(self.bridge)
        return None if own is None else own.mac

    @property
    def datapath_type(self) -> str | None:
        """``system``, ``netdev`` or another; None if the bridge is not there."""
        bridge = self._contents.bridges.get(self.bridge)
        return None if bridge is None else bridge.datapath_type or "system"

    @property
    def protocols(self) -> frozenset[str]:
        """The versions of OpenFlow that the bridge speaks, such as ``OpenFlow15``; none if it speaks all."""
        bridge = self._contents.bridges.get(self.bridge)
        return frozenset() if bridge is None else bridge.protocols

    @property
    def datapath_types_elsewhere(self) -> frozenset[str]:
        """Those of all other bridges."""
        return frozenset(one.datapath_type for one in self._contents.bridges.values() if one.name != self.bridge)

    def error(self, name: str) -> str | None:
        """Why a port does not work, as Open vSwitch says it; None if it works or is not there."""
        port = self._ports.get(name)
        return None if port is None else port.error

    def is_ours(self, name: str) -> bool:
        """Whether the port carries our mark."""
        bridge = self._contents.bridges.get(self.bridge)
        return bridge is not None and name in bridge.ours

    def tunnels_elsewhere(self) -> list[ForeignTunnel]:
        """The tunnel ports of all other bridges, in order of their names."""
        return self._elsewhere[0]

    def vnis_elsewhere(self) -> frozenset[int]:
        """The VNIs of the VXLAN networks that have a port on another bridge, as far as Neutron has noted them."""
        return self._elsewhere[1]

    def _read_elsewhere(self) -> tuple[list[ForeignTunnel], frozenset[int]]:
        others = [bridge for bridge in self._contents.bridges.values() if bridge.name != self.bridge]
        found = [
            ForeignTunnel(interface.name, bridge.name, interface.kind, interface.options)
            for bridge in others
            for interface in bridge.interfaces.values()
            if interface.kind in _TUNNELS
        ]
        vnis = frozenset[int]().union(*(bridge.vnis for bridge in others))
        return sorted(found, key=lambda tunnel: (tunnel.name, tunnel.bridge)), vnis

    # ------------------------------------------------------------------ what is changed

    async def ensure_tunnel(
        self, name: str, kind: Literal["gre", "ip6gre", "vxlan"], options: Mapping[str, str]
    ) -> int:
        """Have a tunnel port of this type with just these options, and give its OpenFlow port.

        One that differs is corrected and becomes ours. One that does not is left as it is and keeps its number.
        """
        return await self._change(name, partial(_put_tunnels, self.bridge, kind, {name: dict(options)}, False))

    async def ensure_tunnels(
        self, kind: Literal["vxlan"], options: Mapping[str, Mapping[str, str]], *, shared: bool = False
    ) -> dict[str, str]:
        """:meth:`ensure_tunnel` for many ports, by name, in one transaction. Gives those that do not work, and why.

        With ``shared`` a port that is there belongs to somebody else too and is left as it is.
        """
        wanted = {name: dict(each) for name, each in options.items()}
        build = partial(_put_tunnels, self.bridge, kind, wanted, shared)
        await self._in_effect(await self._database.change(build, self._patience))
        await self._until(
            lambda: all(map(self._is_decided, wanted)), f"ports of bridge {self.bridge} were not made in time"
        )
        return {
            name: f"port {name} of bridge {self.bridge}: {self._ports[name].error}"
            for name in wanted
            if self._ports[name].number is None
        }

    async def add_port(self, name: str) -> int:
        """Have the network device ``name`` on the bridge, and give its OpenFlow port.

        A port that is there already is left as it is. If there is no such device the port stays in the database, and
        works once the device comes; until then the error is raised.
        """
        return await self._change(name, partial(_put_port, self.bridge, name))

    async def delete_port(self, name: str) -> None:
        """Take a port of ours off the bridge; nothing happens if it is not there or not ours."""
        await self.delete_ports((name,))

    async def delete_ports(self, names: Iterable[str]) -> None:
        """:meth:`delete_port` for many, in one transaction."""
        build = partial(_take_ports, self.bridge, frozenset(names))
        await self._in_effect(await self._database.change(build, self._patience))

    async def disown_ports(self, names: Iterable[str]) -> None:
        """Take our mark off ports that somebody else uses, so that they are his alone."""
        build = partial(_disown_ports, self.bridge, frozenset(names))
        await self._in_effect(await self._database.change(build, self._patience))

    async def ensure_bridge(self, datapath_type: str) -> None:
        """Have the bridge: if it is not there, one that forwards nothing by itself."""
        await self._in_effect(
            await self._database.change(partial(_put_bridge, self.bridge, datapath_type), self._patience)
        )
        await self._until(lambda: self.exists, f"bridge {self.bridge} was not made")

    async def delete_bridge(self) -> bool:
        """Remove the bridge if it was made here and nobody has put a port on it; whether it was."""
        build = partial(_take_bridge, self.bridge)
        await self._in_effect(await self._database.change(build, self._patience))
        return not self.exists

    async def ensure_protocol(self, protocol: str) -> None:
        """Have the bridge speak this version of OpenFlow too."""
        build = partial(_put_protocol, self.bridge, protocol)
        await self._in_effect(await self._database.change(build, self._patience))

    async def set_mtu(self, name: str, mtu: int | None) -> None:
        """Ask for an MTU of a port (mtu_request: internal ports and devices of the bridge); None asks for none."""
        configuration = await self._database.change(partial(_put_mtu, self.bridge, name, mtu), self._patience)
        await self._in_effect(configuration)

    async def _change(self, name: str, build: Callable[[Rows], None]) -> int:
        configuration = await self._database.change(build, self._patience)
        await self._in_effect(configuration)
        await self._until(lambda: self._is_decided(name), f"port {name} of bridge {self.bridge} was not made")
        port = self._ports[name]
        if port.number is None:
            raise DataplaneError(f"port {name} of bridge {self.bridge}: {port.error}")
        return port.number

    def _is_decided(self, name: str) -> bool:
        """Whether Open vSwitch has made the port, or said why it cannot."""
        port = self._ports.get(name)
        return port is not None and (port.number is not None or port.error is not None)

    async def _in_effect(self, configuration: int | None) -> None:
        if configuration is not None:
            await self._until(
                lambda: self._contents.configured >= configuration, "ovs-vswitchd has not put the change in effect"
            )

    async def _until(self, is_met: Callable[[], bool], fault: str) -> None:
        try:
            async with asyncio.timeout(self._patience):
                while not is_met():
                    await self._news.wait()
        except TimeoutError as cause:
            raise NoAnswer(f"{self.fault or fault} within {self._patience} s") from cause


def _seen(ports: Mapping[str, PortInfo], name: str) -> tuple[int | None, bytes | None]:
    port = ports.get(name)
    return (None, None) if port is None else (port.number, port.mac)


def _bridge_row(rows: Rows, bridge: str) -> Any:
    row = rows.named("Bridge", bridge)
    if row is None:
        raise DataplaneError(f"bridge {bridge} does not exist")
    return row


def _port_row(rows: Rows, bridge: str, name: str) -> Any:
    """The port, None if there is none. Raises DataplaneError if it is on another bridge, or no bridge is there."""
    _bridge_row(rows, bridge)
    port = rows.named("Port", name)
    owner = None if port is None else rows.bridge_of(port)
    if owner is not None and owner.name != bridge:
        raise DataplaneError(f"port {name} is on bridge {owner.name}, not on {bridge}")
    return port


def _new_port(rows: Rows, bridge: str, name: str) -> Any:
    """Insert a port with one interface and give the interface."""
    port, interface = rows.insert("Port", name), rows.insert("Interface", name)
    port.interfaces = [interface]
    port.external_ids = {OWNER_KEY: OWNER}
    _bridge_row(rows, bridge).addvalue("ports", port)
    rows.count()
    return interface


def _put_tunnels(bridge: str, kind: str, wanted: dict[str, dict[str, str]], shared: bool, rows: Rows) -> None:
    anywhere = rows.by_name("Port")
    here = {port.name: port for port in _bridge_row(rows, bridge).ports}
    for name, options in wanted.items():
        port = here.get(name) or (_port_row(rows, bridge, name) if name in anywhere else None)
        if port is None:
            interface = _new_port(rows, bridge, name)
        else:
            interface = port.interfaces[0]
            if shared or (interface.type == kind and interface.options == options):
                continue
            port.setkey("external_ids", OWNER_KEY, OWNER)
            rows.count()
        interface.type = kind
        interface.options = options


def _put_port(bridge: str, name: str, rows: Rows) -> None:
    if _port_row(rows, bridge, name) is None:
        _new_port(rows, bridge, name)


def _our_ports(rows: Rows, bridge: str, names: frozenset[str]) -> list[Any]:
    row = rows.named("Bridge", bridge)
    ports = [] if row is None else row.ports
    return [port for port in ports if port.name in names and port.external_ids.get(OWNER_KEY) == OWNER]


def _take_ports(bridge: str, names: frozenset[str], rows: Rows) -> None:
    for port in _our_ports(rows, bridge, names):
        _bridge_row(rows, bridge).delvalue("ports", port)
        rows.count()


def _disown_ports(bridge: str, names: frozenset[str], rows: Rows) -> None:
    for port in _our_ports(rows, bridge, names):
        port.delkey("external_ids", OWNER_KEY)
        rows.count()


def _put_bridge(bridge: str, datapath_type: str, rows: Rows) -> None:
    if rows.named("Bridge", bridge) is not None:
        return
    row, port, interface = (rows.insert(table, bridge) for table in ("Bridge", "Port", "Interface"))
    interface.type = "internal"
    port.interfaces = [interface]
    row.ports = [port]
    row.datapath_type = datapath_type
    row.fail_mode = ["secure"]
    row.external_ids = {OWNER_KEY: OWNER}
    rows.root.addvalue("bridges", row)
    rows.count()


def _take_bridge(bridge: str, rows: Rows) -> None:
    row = rows.named("Bridge", bridge)
    if row is None or row.external_ids.get(OWNER_KEY) != OWNER:
        return
    if any(port.name != bridge and port.external_ids.get(OWNER_KEY) != OWNER for port in row.ports):
        return
    rows.root.delvalue("bridges", row)
    rows.count()


def _put_protocol(bridge: str, protocol: str, rows: Rows) -> None:
    row = _bridge_row(rows, bridge)
    if row.protocols and protocol not in row.protocols:
        row.addvalue("protocols", protocol)
        rows.count()


def _put_mtu(bridge: str, name: str, mtu: int | None, rows: Rows) -> None:
    port = _port_row(rows, bridge, name)
    if port is None:
        raise DataplaneError(f"bridge {bridge} has no port {name}")
    wanted = [] if mtu is None else [mtu]
    interface = port.interfaces[0]
    if interface.mtu_request != wanted:
        interface.mtu_request = wanted
        rows.count()
