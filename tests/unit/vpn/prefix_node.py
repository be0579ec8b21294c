"""A node whose IP VPN instances take part in EVPN, and IP prefix routes (type 5) of its neighbours, written by hand."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

from bagpipe.dataplane.model import ARRIVING, Capabilities, DeliveryKey, Encapsulation, Forward, ForwardKey
from bagpipe.identifiers import MacAddress
from bagpipe.vpn.attachment import CarriedBy
from bagpipe.vpn.instances import Attached, VpnSettings
from bagpipe.vpn.vpns import Vpns
from bagpipe.wire.family import EVPN
from tests.unit.rib import routes
from tests.unit.vpn.any_node import OWN
from tests.unit.vpn.node import Node, prefix

ROUTER = MacAddress(bytes.fromhex("02bac000020b"))
BOTH_WAYS = Capabilities("test", (Encapsulation.MPLS_GRE, Encapsulation.VXLAN), True, router_mac=ROUTER)
ONE_HOP = Capabilities("test", (Encapsulation.MPLS_GRE, Encapsulation.VXLAN), False, router_mac=ROUTER)
PE1, PE2 = "192.0.2.101", "192.0.2.102"
MAC1 = "0200000000a1"
VPN, EVPN_ALONE, BOTH = (
    frozenset(each) for each in ((CarriedBy.VPN,), (CarriedBy.EVPN,), (CarriedBy.VPN, CarriedBy.EVPN))
)


class PrefixNode(Node):
    """A :class:`Node` with both kinds of instances."""

    def __init__(self, capabilities: Capabilities = BOTH_WAYS, carried_by: frozenset[CarriedBy] = VPN) -> None:
        super().__init__(capabilities)
        own = IPv4Address(OWN)
        settings = VpnSettings(64512, own, own, capabilities, carried_by=carried_by)
        self.vpns = Vpns(self.speaker.store, self.speaker, settings, settings)
        self.instances, self.tracker = self.vpns.ipvpn, self.vpns.ipvpn.tracker
        self.speaker.importer = self.vpns.routes_changed

    def carry(
        self, families: frozenset[CarriedBy] = EVPN_ALONE, *args: Any, vni: int | None = 5000, **kwargs: Any
    ) -> Attached:
        """Attach an endpoint of an instance that is carried so."""
        spec = {"carried_by": families, "vni": vni, **kwargs.pop("spec", {})}
        return self.attach(*args, spec=spec, **kwargs)

    def arrivals(self, instance: str, destination: str) -> Forward | None:
        """The record of what comes for a prefix by the VNI of an instance."""
        number = self.instances.instances[instance].number
        found = self.tracker.desired.get(ForwardKey(number | ARRIVING, prefix(destination)))
        assert found is None or isinstance(found, tuple)
        return found

    def prefixes_told(self) -> dict[str, tuple[str, ...]]:
        """The routes of EVPN that this node announces."""
        return self.told(EVPN)

    def delivery(self, vni: int) -> object:
        """The record of what comes by a VNI."""
        return self.tracker.desired.get(DeliveryKey(vni))


def nlri(text: str, vni: int, *, rd: int = 1, esi: bytes = bytes(10), gateway: str = "", tag: int = 0) -> bytes:
    """One NLRI of type 5."""
    network = ip_network(text)
    size = 4 if network.version == 4 else 16
    value = (
        routes.route_distinguisher(rd)
        + esi
        + tag.to_bytes(4)
        + bytes((network.prefixlen,))
        + network.network_address.packed
        + (ip_address(gateway).packed if gateway else bytes(size))
        + vni.to_bytes(3)
    )
    return bytes((5, len(value))) + value


def announce_prefix(
    text: str,
    vni: int = 700,
    next_hop: str = PE1,
    *,
    rt: tuple[int, ...] = (1,),
    mac: str | None = MAC1,
    tunnels: tuple[int, ...] = (8,),
    order: int = 0,
    more: dict[str, Any] | None = None,
    **rest: Any,
) -> bytes:
    """An UPDATE body with one route of type 5, with VXLAN, a router's MAC and target 64512:1."""
    communities = b"".join(b"\x03\x0c\0\0\0\0" + each.to_bytes(2) for each in tunnels)
    communities += b"".join(routes.route_target(each) for each in rt)
    if order:
        communities += b"\x03\x14" + order.to_bytes(4) + b"\0\0"
    if mac is not None:
        communities += b"\x06\x03" + bytes.fromhex(mac)
    hop = ip_address(next_hop).packed
    field = b"\0\x19\x46" + bytes((len(hop),)) + hop + b"\0" + nlri(text, vni, **(more or {}))
    return routes.body(
        routes.common(**rest), routes.attribute(0x90, 14, field), routes.attribute(0xC0, 16, communities)
    )


def withdraw_prefix(text: str, **rest: Any) -> bytes:
    """An UPDATE body that withdraws it."""
    return routes.body(routes.attribute(0x90, 15, b"\0\x19\x46" + nlri(text, 0, **rest)))
