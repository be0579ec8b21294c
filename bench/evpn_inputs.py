"""The UPDATE messages with MAC addresses that measurements of EVPN send, encoded before the clock starts.

Implements the sending half of RFC 7432 section 7.2 (MAC/IP Advertisement, type 2) with one VNI in the label field, as
RFC 8365 section 5.1.3 has it, as a route reflector sends it. Needs nothing of ``bagpipe``, and knows no other type.

The population is shaped as that of :mod:`bench.inputs`: ``instances(n)`` EVPN instances with one route target and VNI
each, each block of 50 routes from one of 50 provider edges, RD of type 1 (provider edge : instance), no segment, no
tag; a MAC and an IPv4 address of its own for every route. *Packed* has 50 NLRI in an UPDATE (40.7 octets a route),
*churn* one NLRI in an UPDATE, shuffled (121 octets a route).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Network

from bench import inputs

EVPN = b"\x00\x19\x46"
ENCAPSULATION_VXLAN = bytes.fromhex("030c000000000008")
FIRST_VNI = 10_000
MAX_ROUTES = 1 << 20
EDGES = IPv4Network("10.254.0.0/24")
"""Where all provider edges are."""
END_OF_RIB = inputs.end_of_rib(EVPN)
_MAC_IP = 2
_SEGMENT_AND_TAG = b"\x00" * 14


@dataclass(frozen=True, slots=True)
class Route:
    """One promised route of type 2; without ``address`` it tells of the MAC alone."""

    instance: int
    edge: bytes
    mac: bytes
    address: bytes

    @property
    def vni(self) -> int:
        """The VNI of the instance at the provider edge."""
        return FIRST_VNI + self.instance

    @property
    def route_distinguisher(self) -> bytes:
        """Eight octets, type 1 (RFC 4364 section 4.2)."""
        return b"\x00\x01" + self.edge + struct.pack("!H", self.instance)

    @property
    def route_target(self) -> bytes:
        """Eight octets, two-octet AS specific (RFC 4360 section 3.1)."""
        return b"\x00\x02" + struct.pack("!HI", inputs.LOCAL_AS, self.instance)

    @property
    def nlri(self) -> bytes:
        """Type, length, RD, ESI, tag, MAC, IP and VNI: 39 octets with an IPv4 address, 35 without."""
        body = self.route_distinguisher + _SEGMENT_AND_TAG + b"\x30" + self.mac
        body += bytes((8 * len(self.address),)) + self.address + self.vni.to_bytes(3)
        return bytes((_MAC_IP, len(body))) + body


def instances(n: int) -> int:
    """How many EVPN instances ``n`` routes are spread over."""
    return inputs.vrfs(n)


def routes(n: int, *, addresses: bool = True) -> list[Route]:
    """``n`` distinct routes in sending order; each run of 50 shares instance and provider edge.

    Raises ``ValueError`` for more than ``MAX_ROUTES``.
    """
    if not 0 <= n <= MAX_ROUTES:
        raise ValueError(f"{n} routes asked, 0 to {MAX_ROUTES} possible")
    blocks = -(-n // inputs.BLOCK)
    found = []
    for i in range(n):
        block = i // inputs.BLOCK
        instance = 1 + block * instances(n) // blocks
        edge = bytes((10, 254, 0, 1 + block % inputs.EDGES))
        address = (0x14000000 + i).to_bytes(4) if addresses else b""
        found.append(Route(instance, edge, b"\x02\x01" + i.to_bytes(4), address))
    return found


def packed(n: int, *, addresses: bool = True) -> list[bytes]:
    """``n`` routes as whole messages of at most 50 NLRI each."""
    return inputs.in_blocks(announcement, routes(n, addresses=addresses))


def churn(n: int, seed: int = 1) -> list[bytes]:
    """The same routes as whole messages of one NLRI each, in an order that depends on ``seed`` alone."""
    return inputs.one_by_one(announcement, routes(n), seed)


def withdraw_packed(n: int) -> list[bytes]:
    """Withdrawals of the same routes, at most 50 NLRI in a message."""
    return inputs.in_blocks(withdrawal, routes(n))


def announcement(block: list[Route]) -> bytes:
    """One UPDATE for routes that share instance and provider edge."""
    first = block[0]
    nlri = b"".join(route.nlri for route in block)
    return inputs.reflected(EVPN, first.edge, nlri, first.edge, first.route_target + ENCAPSULATION_VXLAN)


def withdrawal(block: list[Route]) -> bytes:
    """One UPDATE that withdraws the routes."""
    return inputs.withdrawn(EVPN, b"".join(route.nlri for route in block))
