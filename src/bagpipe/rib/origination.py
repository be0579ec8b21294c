"""Routes that this node originates: their attributes, and the keys of its route target memberships (RFC 4684)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from bagpipe.identifiers import RouteTarget
from bagpipe.wire import attributes as wire_attributes
from bagpipe.wire.attributes import Attributes, Context
from bagpipe.wire.family import VPNV4, VPNV6, Family


def membership_key(local_as: int, route_target: RouteTarget) -> bytes:
    """The RTC key of a full 96-bit membership (RFC 4684 section 4): length octet, origin AS, route target."""
    return b"\x60" + local_as.to_bytes(4) + route_target.packed


def next_hop_field(family: Family, next_hop: IPv4Address | IPv6Address | None) -> bytes:
    """The next hop field of MP_REACH_NLRI.

    VPN families have the zero route distinguisher before it (RFC 4364 section 4.3.2; with an IPv6 address RFC 8950
    section 4), and VPN-IPv6 over IPv4 the IPv4-mapped address (RFC 4659 section 3.2.1.2).
    """
    if next_hop is None:
        return b""
    if family == VPNV6 and next_hop.version == 4:
        return bytes(18) + b"\xff\xff" + next_hop.packed
    return bytes(8) + next_hop.packed if family.safi == VPNV4.safi else next_hop.packed


def local_attributes(
    family: Family,
    next_hop: IPv4Address | IPv6Address | None,
    *,
    local_pref: int = wire_attributes.DEFAULT_LOCAL_PREF,
    extended_communities: bytes = b"",
    more: bytes = b"",
) -> Attributes:
    """Attributes of a route of this node: ORIGIN IGP, an empty AS_PATH, LOCAL_PREF, communities, and ``more`` packed
    attributes with codes above EXTENDED_COMMUNITIES. ``next_hop`` None: the route has none (FlowSpec).
    """
    field = next_hop_field(family, next_hop)
    block = (
        wire_attributes.pack(wire_attributes.TRANSITIVE, wire_attributes.ORIGIN, b"\0")
        + wire_attributes.pack(wire_attributes.TRANSITIVE, wire_attributes.AS_PATH, b"")
        + wire_attributes.pack(wire_attributes.TRANSITIVE, wire_attributes.LOCAL_PREF, local_pref.to_bytes(4))
    )
    if extended_communities:
        flags = wire_attributes.OPTIONAL | wire_attributes.TRANSITIVE
        block += wire_attributes.pack(flags, wire_attributes.EXTENDED_COMMUNITIES, extended_communities)
    return wire_attributes.parse(family, field, block + more, Context(four_octet_as=True, is_ibgp=True))
