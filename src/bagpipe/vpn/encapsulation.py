"""How to reach the next hop of a received route: address, encapsulation and load balance order.

RFC 9012 sections 4.1 (encapsulation extended community), 2 and 3.1 (Tunnel Encapsulation attribute: a tunnel without
exactly one egress endpoint is ignored, and one that ends elsewhere than at the next hop is not used; its other sub-TLVs
are not read). Both GRE (2) and MPLS-in-GRE (11) mean MPLS in GRE. A route that names no tunnel is reached by MPLS, in
GRE if that is what the node has (RFC 4364 section 4.3.2, RFC 4023).

IP prefix routes of EVPN are reached by VXLAN alone, and only if they name it: else MPLS is meant (RFC 8365 section
5.1.3). Their next hop is a router with a MAC of its own (RFC 9135 section 8.1, RFC 9136 section 4.4.1).
"""

from __future__ import annotations

from dataclasses import dataclass

from bagpipe.dataplane.model import Capabilities, Encapsulation
from bagpipe.errors import RemoteFault
from bagpipe.identifiers import MacAddress
from bagpipe.wire import tunnel_encapsulation
from bagpipe.wire.attributes import EXTENDED_COMMUNITIES, TUNNEL_ENCAPSULATION, Attributes, walk
from bagpipe.wire.extended_community import RouterMac
from bagpipe.wire.tunnel_type import TunnelType, tunnel_name

BY_TUNNEL_TYPE: dict[int, Encapsulation] = {
    TunnelType.MPLS: Encapsulation.MPLS,
    TunnelType.GRE: Encapsulation.MPLS_GRE,
    TunnelType.MPLS_IN_GRE: Encapsulation.MPLS_GRE,
    TunnelType.VXLAN: Encapsulation.VXLAN,
}
TOLD_AS: dict[Encapsulation, TunnelType] = {
    Encapsulation.MPLS: TunnelType.MPLS,
    Encapsulation.MPLS_GRE: TunnelType.GRE,
    Encapsulation.VXLAN: TunnelType.VXLAN,
}
"""What this node puts on its routes, as networking-bagpipe does."""

_ENCAPSULATION = b"\x03\x0c"
_ROUTER_MAC = b"\x06\x03"
_GROUP_BIT = 1
_LOAD_BALANCE_ORDER = b"\x03\x14"
_MAPPED = bytes(10) + b"\xff\xff"


@dataclass(frozen=True, slots=True)
class Reach:
    """How to reach the next hop of a route. ``encapsulation`` None: not at all, for ``reason``. ``mac`` is that of the
    next hop as a router, 6 octets, or none.
    """

    address: bytes
    encapsulation: Encapsulation | None
    order: int
    reason: str
    mac: bytes = b""


def extended_communities(attributes: Attributes) -> list[bytes]:
    """The extended communities of a route, eight octets each."""
    for _, code, value in walk(attributes.block):
        if code == EXTENDED_COMMUNITIES:
            return [value[at : at + 8] for at in range(0, len(value), 8)]
    return []


def load_balance_order(communities: list[bytes]) -> int:
    """The order that the route asks for, 0 if it asks for none."""
    return next((int.from_bytes(each[2:6]) for each in communities if each[:2] == _LOAD_BALANCE_ORDER), 0)


@dataclass(frozen=True, slots=True)
class _Tunnels:
    """The tunnel types that a route names in its order, and those of them that end at its next hop."""

    named: tuple[int, ...]
    feasible: frozenset[int]


def _tunnels(attributes: Attributes, communities: list[bytes], address: bytes) -> _Tunnels:
    named = [int.from_bytes(each[6:]) for each in communities if each[:2] == _ENCAPSULATION]
    feasible = set(named)
    for _, code, value in walk(attributes.block):
        if code == TUNNEL_ENCAPSULATION:
            for tunnel in _decoded(value):
                if [sub_tlv.kind for sub_tlv in tunnel.sub_tlvs].count(tunnel_encapsulation.EGRESS_ENDPOINT) != 1:
                    continue
                named.append(tunnel.tunnel_type)
                end = tunnel.egress_endpoint
                if end is None or plain_address(end.packed) == address:
                    feasible.add(tunnel.tunnel_type)
    return _Tunnels(tuple(dict.fromkeys(named)), frozenset(feasible))


def _decoded(value: bytes) -> tuple[tunnel_encapsulation.Tunnel, ...]:
    try:
        return tunnel_encapsulation.decode(value)
    except RemoteFault:
        return ()


def plain_address(address: bytes) -> bytes:
    """``address`` with an IPv4-mapped one as its four octets."""
    return address[12:] if len(address) == 16 and address.startswith(_MAPPED) else address


def _default(capabilities: Capabilities) -> Encapsulation:
    for encapsulation in capabilities.encapsulations:
        if encapsulation is not Encapsulation.VXLAN:
            return encapsulation
    return capabilities.encapsulations[0]


def reach(attributes: Attributes, capabilities: Capabilities) -> Reach:
    """How this node reaches the next hop of a route."""
    communities = extended_communities(attributes)
    order = load_balance_order(communities)
    address = plain_address(attributes.next_hop_address)
    if len(address) not in (4, 16) or not any(address):
        return Reach(address, None, order, "it has no next hop")
    if not capabilities.encapsulations:
        return Reach(address, Encapsulation.MPLS, order, "")
    tunnels = _tunnels(attributes, communities, address)
    if not tunnels.named:
        return Reach(address, _default(capabilities), order, "")
    known = {BY_TUNNEL_TYPE[each] for each in tunnels.feasible if each in BY_TUNNEL_TYPE}
    for encapsulation in capabilities.encapsulations:
        if encapsulation in known:
            return Reach(address, encapsulation, order, "")
    reason = f"no common encapsulation: it wants {_named(tunnels)}, this node has {_had(capabilities)}"
    return Reach(address, None, order, reason)


def _named(tunnels: _Tunnels) -> str:
    return ", ".join(tunnel_name(each) for each in tunnels.named)


def _had(capabilities: Capabilities) -> str:
    return ", ".join(each.value for each in capabilities.encapsulations)


def router_reach(attributes: Attributes, capabilities: Capabilities) -> Reach:
    """How this node reaches the next hop of EVPN's IP prefix routes."""
    communities = extended_communities(attributes)
    order = load_balance_order(communities)
    address = plain_address(attributes.next_hop_address)
    mac = next((each[2:] for each in communities if each[:2] == _ROUTER_MAC), b"")
    tunnels = _tunnels(attributes, communities, address)
    if len(address) not in (4, 16) or not any(address):
        reason = "it has no next hop"
    elif capabilities.encapsulations and capabilities.router_mac is None:
        reason = f"no common encapsulation: it wants VXLAN to a router, this node has {_had(capabilities)}"
    elif TunnelType.VXLAN not in tunnels.feasible:
        wanted = _named(tunnels) or "MPLS, as it names none"
        reason = f"no common encapsulation: it wants {wanted}, and EVPN has VXLAN here"
    elif not mac:
        reason = "it has no router's MAC"
    elif mac[0] & _GROUP_BIT or not any(mac):
        reason = f"its router's MAC {mac.hex(':')} is not that of one node"
    else:
        return Reach(address, Encapsulation.VXLAN, order, "", mac)
    return Reach(address, None, order, reason)


def own_router(mac: MacAddress) -> bytes:
    """The encapsulation and the router's MAC of this node's IP prefix routes of EVPN."""
    return _ENCAPSULATION + bytes(4) + TunnelType.VXLAN.to_bytes(2) + RouterMac.of(mac).packed


def own_encapsulations(capabilities: Capabilities) -> bytes:
    """The encapsulation communities of this node's routes; one that forwards nothing says MPLS."""
    types = [TOLD_AS[each] for each in capabilities.encapsulations] or [TunnelType.MPLS]
    return b"".join(_ENCAPSULATION + bytes(4) + each.to_bytes(2) for each in dict.fromkeys(types))
