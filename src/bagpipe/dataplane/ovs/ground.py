"""What the records stand on: ports of the bridge, tunnels and MACs of neighbours, and which record stands on which.

A record that lacks something raises :class:`Missing` and is refused; once what it lacked is there, it is programmed
again. So each record's needs are noted while it is compiled, met or not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Protocol

from bagpipe.dataplane.model import Encapsulation, Key, Port
from bagpipe.dataplane.ovs.settings import OvsSettings
from bagpipe.identifiers import MacAddress

Need = str | bytes
"""The name of a port on the bridge, or the packed address of a next hop."""


class Missing(Exception):
    """A record cannot be programmed now. The text says what is missing."""


class Neighbourhood(Protocol):
    """Who knows the MAC of a next hop: :class:`bagpipe.dataplane.ovs.neighbours.Neighbours`."""

    def mac(self, address: bytes) -> MacAddress | None:
        """The MAC towards ``address``; asking starts finding it."""
        ...


class Numbers(Protocol):
    """Who knows the OpenFlow port of a name: :class:`bagpipe.dataplane.ovs.ports.BridgePorts`."""

    def number(self, name: str) -> int | None:
        """The OpenFlow port, None if there is none."""
        ...


class OwnPorts(Protocol):
    """Who knows which labels need a port of their own: :class:`bagpipe.dataplane.ovs.label_ports.LabelPorts`."""

    def conflict(self, label: int) -> str | None:
        """Why a label cannot be used now, None if it can."""
        ...

    def port_of(self, label: int) -> str | None:
        """The name of the label's own port, None if it should have none."""
        ...


@dataclass(frozen=True, slots=True)
class Underlay:
    """The OpenFlow ports by which packets leave for other nodes, and the source MAC of MPLS on Ethernet."""

    gre: int | None = None
    vxlan: int | None = None
    mpls: int | None = None
    source: MacAddress | None = None

    def port(self, encapsulation: Encapsulation) -> int | None:
        """The port for an encapsulation."""
        if encapsulation is Encapsulation.MPLS_GRE:
            return self.gre
        return self.vxlan if encapsulation is Encapsulation.VXLAN else self.mpls

    @property
    def tunnels(self) -> tuple[int, ...]:
        """The ports that tell who sent a packet."""
        return tuple(number for number in (self.gre, self.vxlan) if number is not None)


class PortGround:
    """Answers what the compilation of records asks of the ports of ``bridge``, and notes what was asked in ``asked``
    until it is taken.
    """

    def __init__(self, bridge: str, numbers: Numbers) -> None:
        self.asked: set[Need] = set()
        self._bridge = bridge
        self._numbers = numbers

    def port(self, port: Port) -> int:
        """The OpenFlow port of an endpoint. Raises Missing."""
        if port.number is not None:
            return port.number
        self.asked.add(port.on_bridge)
        number = self._numbers.number(port.on_bridge)
        if number is None:
            raise Missing(f"port {port.on_bridge} is not on bridge {self._bridge}")
        return number

    def number(self, name: str) -> int | None:
        """The OpenFlow port of a name, None if there is none."""
        return self._numbers.number(name)

    def take_asked(self) -> frozenset[Need]:
        """What was asked since the last time."""
        asked = frozenset(self.asked)
        self.asked.clear()
        return asked


class Ground(PortGround):
    """What an IP VPN's records stand on."""

    def __init__(
        self,
        settings: OvsSettings,
        underlay: Underlay,
        numbers: Numbers,
        neighbours: Neighbourhood | None,
        own_ports: OwnPorts | None = None,
    ) -> None:
        super().__init__(settings.bridge, numbers)
        self.settings = settings
        self.underlay = underlay
        self._neighbours = neighbours
        self._own_ports = own_ports

    def mac(self, address: bytes) -> MacAddress:
        """The MAC by which a next hop is reached. Raises Missing."""
        self.asked.add(address)
        mac = self._neighbours.mac(address) if self._neighbours is not None else None
        if mac is None:
            raise Missing(f"no MAC of {ip_address(address)} yet")
        return mac

    def exit(self, encapsulation: Encapsulation) -> int:
        """The port by which packets of an encapsulation leave. Raises Missing."""
        number = self.underlay.port(encapsulation)
        if number is None:
            raise Missing(f"this node does not send {encapsulation.value}")
        return number

    def has_label_port(self, label: int) -> bool:
        """Whether packets with this label come by a port of its own. Raises Missing if the label cannot be used."""
        if self._own_ports is None:
            return False
        conflict = self._own_ports.conflict(label)
        if conflict is not None:
            raise Missing(conflict)
        return self._own_ports.port_of(label) is not None


class Dependents:
    """Which records need a port or a neighbour, whether they have it or wait for it."""

    def __init__(self) -> None:
        self._by_need: dict[Need, dict[Key, None]] = {}
        self._needs: dict[Key, frozenset[Need]] = {}
        self._last: frozenset[Need] = frozenset()
        self._dropped: set[Need] = set()

    def note(self, key: Key, needs: frozenset[Need]) -> None:
        """``key`` needs just these."""
        before = self._needs.get(key)
        if before == needs or (before is None and not needs):
            return
        for need in (before or frozenset()) - needs:
            held = self._by_need[need]
            held.pop(key, None)
            if not held:
                del self._by_need[need]
                self._dropped.add(need)
        for need in needs:
            self._by_need.setdefault(need, {})[key] = None
        if needs:
            # Routes of one neighbour come together: they share one set.
            self._last = self._needs[key] = self._last if self._last == needs else needs
        else:
            self._needs.pop(key, None)

    def of(self, needs: Iterable[Need]) -> list[Key]:
        """The records that need any of these, each once."""
        return list(dict.fromkeys(key for need in needs for key in self._by_need.get(need, ())))

    def has(self, need: Need) -> bool:
        """Whether any record needs it."""
        return need in self._by_need

    def needs(self) -> list[Need]:
        """Everything that is needed."""
        return list(self._by_need)

    def addresses(self) -> list[bytes]:
        """Every next hop whose MAC is needed."""
        return [need for need in self._by_need if isinstance(need, bytes)]

    def take_dropped(self) -> list[Need]:
        """What is needed no more, since the last time."""
        dropped, self._dropped = self._dropped, set()
        return [need for need in dropped if need not in self._by_need]
