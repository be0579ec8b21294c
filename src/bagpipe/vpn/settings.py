"""What the VPN layer is told once, and what it needs of others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Protocol

from bagpipe.dataplane.model import Address, Capabilities, default_router_mac
from bagpipe.identifiers import MacAddress, RouteTarget
from bagpipe.vpn.attachment import CarriedBy
from bagpipe.wire.attributes import Attributes
from bagpipe.wire.family import Family
from bagpipe.wire.nlri.codec import Payload


class Announcer(Protocol):
    """Who tells the neighbours: the speaker."""

    def originate(
        self,
        family: Family,
        shape: int,
        keys: Sequence[bytes],
        payloads: Sequence[Payload],
        attributes: Attributes,
    ) -> None:
        """Announce routes of this node; one that is announced already is replaced."""
        ...

    def withdraw(self, family: Family, shape: int, keys: Iterable[bytes]) -> None:
        """Withdraw routes of this node."""
        ...

    def import_route_target(self, route_target: RouteTarget) -> None:
        """This node wants the routes of a route target."""
        ...

    def cease_import(self, route_target: RouteTarget) -> None:
        """This node does not want them any more."""
        ...


@dataclass(frozen=True, slots=True)
class VpnSettings:
    """The node. ``next_hop`` is the address of its tunnels and the next hop of its routes; ``accept_from`` are
    addresses (4 or 16 octets) of nodes that may send to it whatever routes there are. ``carried_by`` are the families
    of the routes of an IP VPN instance of which nobody says another.
    """

    local_as: int
    router_id: IPv4Address
    next_hop: Address
    capabilities: Capabilities
    accept_from: tuple[bytes, ...] = ()
    carried_by: frozenset[CarriedBy] = frozenset((CarriedBy.VPN,))

    @property
    def router_mac(self) -> MacAddress | None:
        """The MAC of this node as a router; None if its dataplane takes no frames from other nodes."""
        if not self.capabilities.encapsulations:
            return self.capabilities.router_mac or default_router_mac(self.next_hop)
        return self.capabilities.router_mac
