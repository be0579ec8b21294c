"""The octets of EVPN routes that an EVI looks at, and the routes that it makes: RFC 7432 sections 7.1 to 7.3.

A key begins with the type (1 octet) and the route distinguisher (8). Then types 2 and 3 have the Ethernet tag (4), type
2 the lengths and octets of MAC and IP address, type 1 the ESI (10) and the Ethernet tag.
"""

from __future__ import annotations

from ipaddress import ip_address

from bagpipe.dataplane.model import Address
from bagpipe.identifiers import RouteDistinguisher
from bagpipe.vpn.export import RouteId
from bagpipe.wire.family import EVPN
from bagpipe.wire.nlri.evpn_route import ETHERNET_AUTO_DISCOVERY, INCLUSIVE_MULTICAST, IP_PREFIX, MAC_IP

AUTO_DISCOVERY, MAC, MULTICAST, PREFIX = ETHERNET_AUTO_DISCOVERY, MAC_IP, INCLUSIVE_MULTICAST, IP_PREFIX
BRIDGED = (AUTO_DISCOVERY, MAC, MULTICAST)
"""The types that an EVI reads."""
MAC_OCTETS = slice(14, 20)
ADDRESS_AT = 21
ADDRESS_LENGTH_AT = 20
TAG = slice(9, 13)
"""Of types 2 and 3."""
TAG_AND_FIRST = slice(9, 15)
"""Of type 2: the Ethernet tag, the length of the MAC and its first octet."""
SEGMENT = slice(9, 19)
SEGMENT_TAG = slice(19, 23)
"""Of type 1."""
ESI = slice(0, 10)
FIELD = slice(10, 13)
"""Of the payload of type 2; the label field of type 1 is its whole payload."""

NO_TAG = bytes(4)
WHOLE_SEGMENT = b"\xff" * 4
"""The Ethernet tag of the route for a segment as a whole (RFC 7432 section 8.2.1)."""
NO_SEGMENTS = (bytes(10), b"\xff" * 10)
"""The ESIs that are no segment: what is on them is reached by its own route (RFC 7432 section 9.2.2)."""
GROUP_BIT = 1


def fault_of(key: bytes) -> str:
    """Why a route of types 1 to 3 with this key cannot be used, whoever sent it; nothing if it can."""
    kind = key[0]
    tag = key[SEGMENT_TAG] if kind == AUTO_DISCOVERY else key[TAG]
    if tag != NO_TAG and not (kind == AUTO_DISCOVERY and tag == WHOLE_SEGMENT):
        return f"its Ethernet tag is {int.from_bytes(tag)}, and 0 is that of a VLAN-based service"
    if kind == MAC and (key[14] & GROUP_BIT or not any(key[MAC_OCTETS])):
        return f"{key[MAC_OCTETS].hex(':')} is not the MAC of one station"
    if kind == AUTO_DISCOVERY and key[SEGMENT] in NO_SEGMENTS:
        return "its ESI is not that of a segment"
    return ""


def mac_route(rd: RouteDistinguisher, mac: bytes, address: bytes) -> RouteId:
    """The route of type 2 of a MAC, with an address or none (no octets)."""
    key = b"\x02" + rd.packed + NO_TAG + b"\x30" + mac + bytes((8 * len(address),)) + address
    return RouteId(EVPN, 0, key)


def mac_payload(vni: int) -> bytes:
    """ESI 0 and the VNI."""
    return bytes(10) + vni.to_bytes(3)


def multicast_route(rd: RouteDistinguisher, originator: Address) -> RouteId:
    """The route of type 3."""
    octets = originator.packed
    return RouteId(EVPN, 0, b"\x03" + rd.packed + NO_TAG + bytes((8 * len(octets),)) + octets)


def place(address: bytes) -> str:
    """A node's address as text."""
    return str(ip_address(address))
