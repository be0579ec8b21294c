"""EVPN IP prefix routes (type 5) as routes of a VRF: keys, payloads, and which of them can be used.

RFC 9136, the interface-less model of IP-VRF-to-IP-VRF (section 4.4.1) over VXLAN, an Ethernet NVO tunnel: the route has
no overlay index, its label field is the VNI of the VRF (RFC 8365 section 5.1.3), and it carries the router's MAC of its
node. A route with an overlay index (an ESI, sections 4.3 and 4.4.3, or a gateway, 4.1, 4.2 and 4.4.2) would have to be
resolved by other EVPN routes; it is not used. What sections 3.1 and 3.2 want treated as withdrawn is not used either,
which for an importer is the same: it keeps no packet on its way, and this node tells nobody of routes that it imports.
"""

from __future__ import annotations

from typing import NamedTuple, cast

from bagpipe.dataplane.model import Prefix
from bagpipe.identifiers import RouteDistinguisher
from bagpipe.vpn.export import RouteId
from bagpipe.wire.family import EVPN
from bagpipe.wire.nlri.codec import Payload
from bagpipe.wire.nlri.evpn_route import IP_PREFIX

_KIND = bytes((IP_PREFIX,))
_LENGTH, _ADDRESS = 13, 14
"""Where the prefix length and the address stand in a key: after the type, the route distinguisher and the tag."""
_ESI = 10
_FIRST_KEY = 18
"""Octets of the shorter of the two forms of keys, that of IPv4; those of VPN-IPv4 are shorter."""
_SECOND_KEY = 30


class Place(NamedTuple):
    """What the keys of one IP version and prefix length have in common, and which of their octets are the prefix."""

    version: int
    length: int
    octets: slice

    def prefix(self, key: bytes) -> Prefix:
        """The prefix of a key."""
        return Prefix(self.version, self.length, key[self.octets])


def is_prefix_route(key: bytes) -> bool:
    """Whether the key of a route of the EVPN family is of type 5."""
    return key[:1] == _KIND


def is_evpn_key(key: bytes, version: int) -> bool:
    """Whether a key of a route to a prefix of this IP version is of EVPN and not of the VPN family."""
    return len(key) == (_FIRST_KEY if version == 4 else _SECOND_KEY)


def prefix_shape(key: bytes) -> tuple[int, int]:
    """What the keys of type 5 of one :class:`Place` have in common."""
    return len(key), key[_LENGTH]


def place_of(key: bytes) -> Place:
    """Of a key of type 5."""
    length = key[_LENGTH]
    octets = slice(_ADDRESS, _ADDRESS + (length + 7 >> 3))
    return Place(4 if len(key) == _FIRST_KEY else 6, length, octets)


def prefix_route(rd: RouteDistinguisher, prefix: Prefix) -> RouteId:
    """The route of type 5 to ``prefix``, with Ethernet tag 0."""
    return RouteId(EVPN, 0, _KIND + rd.packed + bytes(4) + bytes((prefix.length,)) + prefix.address)


def prefix_payload(prefix: Prefix, vni: int) -> bytes:
    """ESI 0, gateway 0 and the VNI."""
    return bytes(_ESI + len(prefix.address)) + vni.to_bytes(3)


def vni_of(payload: Payload) -> int:
    """The label field of a route of type 5."""
    return int.from_bytes(cast(bytes, payload)[-3:])


def fault_of(payload: Payload) -> str:
    """Why a route with this payload cannot be used, whoever sent it; nothing if it can."""
    octets = cast(bytes, payload)
    has_segment, has_gateway = any(octets[:_ESI]), any(octets[_ESI:-3])
    if has_segment and has_gateway:
        return "it has both an ESI and a gateway"
    if has_segment or has_gateway:
        index = "an ESI" if has_segment else "a gateway"
        return f"its overlay index is {index}, which is not resolved here"
    return "" if any(octets[-3:]) else "its VNI is 0"
