"""The UPDATE messages that every measurement sends, encoded before the clock starts.

Implements the sending half of RFC 4271 section 4.3, RFC 4760 sections 3 and 4 and RFC 4364 section 4.3.4 for VPNv4
routes as a route reflector sends them over iBGP (RFC 4456 section 8). Needs nothing of ``bagpipe``: what measures a
codec does not share its mistakes. Does not decode. Routes of EVPN are in :mod:`bench.evpn_inputs`.

The population: ``vrfs(n)`` VRFs with one route target each, each block of 50 routes from one of 50 provider edges,
route distinguisher of type 1 (provider edge : VRF), a /32 and a label of its own for every route. *Packed* has 50
NLRI in an UPDATE (17.8 octets a route), *churn* one NLRI in an UPDATE, shuffled (106 octets a route).
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

R = TypeVar("R")

LOCAL_AS = 64512
EDGES = 50
BLOCK = 50
MAX_ROUTES = (1 << 20) - 16
LOCAL_PREFERENCE = 100
VPNV4 = b"\x00\x01\x80"
ENCAPSULATION_MPLS = bytes.fromhex("030c00000000000a")
ENCAPSULATION_GRE = bytes.fromhex("030c000000000002")

_MARKER = b"\xff" * 16
_CLUSTER = bytes((10, 255, 0, 1))
_WITHDRAWN_LABEL = b"\x80\x00\x00"
_UPDATE = 2


@dataclass(frozen=True, slots=True)
class Route:
    """One promised VPNv4 route: what a receiver must hold after it read the messages of the same ``n``."""

    vrf: int
    edge: bytes
    prefix: bytes
    label: int

    @property
    def route_distinguisher(self) -> bytes:
        """Eight octets, type 1 (RFC 4364 section 4.2)."""
        return b"\x00\x01" + self.edge + struct.pack("!H", self.vrf)

    @property
    def route_target(self) -> bytes:
        """Eight octets, two-octet AS specific (RFC 4360 section 3.1)."""
        return b"\x00\x02" + struct.pack("!HI", 64512, self.vrf)

    @property
    def nlri(self) -> bytes:
        """Length, label with bottom of stack, RD and host prefix: 16 octets (RFC 8277 section 2.2)."""
        return b"\x78" + (self.label << 4 | 1).to_bytes(3) + self.route_distinguisher + self.prefix

    @property
    def withdrawn_nlri(self) -> bytes:
        """The same with the label field that RFC 8277 section 2.4 asks for."""
        return b"\x78" + _WITHDRAWN_LABEL + self.route_distinguisher + self.prefix


def vrfs(n: int) -> int:
    """How many VRFs ``n`` routes are spread over."""
    return max(1, min(1000, n // 100))


def routes(n: int) -> list[Route]:
    """``n`` distinct routes in sending order; each run of 50 shares VRF and provider edge, so all its attributes.

    Raises ``ValueError`` if there are not ``n`` labels.
    """
    if not 0 <= n <= MAX_ROUTES:
        raise ValueError(f"{n} routes asked, 0 to {MAX_ROUTES} possible")
    instances = vrfs(n)
    blocks = -(-n // BLOCK)
    found = []
    for i in range(n):
        block = i // BLOCK
        vrf = 1 + block * instances // blocks
        edge = bytes((10, 254, 0, 1 + block % EDGES))
        found.append(Route(vrf, edge, (0x14000000 + i).to_bytes(4), 16 + i))
    return found


def packed(n: int, encapsulation: bytes = ENCAPSULATION_MPLS) -> list[bytes]:
    """``n`` routes as whole messages of at most 50 NLRI each."""
    return in_blocks(lambda block: announcement(block, encapsulation), routes(n))


def churn(n: int, seed: int = 1) -> list[bytes]:
    """The same routes as whole messages of one NLRI each, in an order that depends on ``seed`` alone."""
    return one_by_one(announcement, routes(n), seed)


def withdraw_packed(n: int) -> list[bytes]:
    """Withdrawals of the same routes, at most 50 NLRI in a message."""
    return in_blocks(withdrawal, routes(n))


def in_blocks(encode: Callable[[list[R]], bytes], population: list[R]) -> list[bytes]:
    """Whole messages of at most ``BLOCK`` routes each."""
    return [encode(population[i : i + BLOCK]) for i in range(0, len(population), BLOCK)]


def one_by_one(encode: Callable[[list[R]], bytes], population: list[R], seed: int) -> list[bytes]:
    """Whole messages of one route each, in an order that depends on ``seed`` alone."""
    messages = [encode([route]) for route in population]
    random.Random(seed).shuffle(messages)
    return messages


def announcement(block: list[Route], encapsulation: bytes = ENCAPSULATION_MPLS) -> bytes:
    """One UPDATE for routes that share VRF and provider edge; MP_REACH_NLRI first, as RFC 7606 section 5.1 has it."""
    first = block[0]
    nlri = b"".join(route.nlri for route in block)
    return reflected(VPNV4, b"\x00" * 8 + first.edge, nlri, first.edge, first.route_target + encapsulation)


def withdrawal(block: list[Route]) -> bytes:
    """One UPDATE that withdraws the routes."""
    return withdrawn(VPNV4, b"".join(route.withdrawn_nlri for route in block))


def end_of_rib(family: bytes = VPNV4) -> bytes:
    """End-of-RIB of a family (RFC 4724 section 2)."""
    return withdrawn(family, b"")


def probe(number: int) -> Route:
    """A route outside the population, told apart by its prefix: what latency is measured with."""
    return Route(1, bytes((10, 254, 0, 1)), (0x0B000000 + number).to_bytes(4), 16 + number % (MAX_ROUTES - 16))


def message(kind: int, body: bytes) -> bytes:
    """A BGP message with its header (RFC 4271 section 4.1)."""
    return _MARKER + struct.pack("!HB", 19 + len(body), kind) + body


def reflected(family: bytes, next_hop: bytes, nlri: bytes, originator: bytes, communities: bytes) -> bytes:
    """One UPDATE with what a route reflector tells of routes that share all attributes. ``family`` is AFI and SAFI."""
    reach = family + bytes((len(next_hop),)) + next_hop + b"\x00" + nlri
    return _update(
        _attribute(0x80, 14, reach)
        + _attribute(0x40, 1, b"\x00")
        + _attribute(0x40, 2, b"")
        + _attribute(0x40, 5, struct.pack("!I", LOCAL_PREFERENCE))
        + _attribute(0x80, 9, originator)
        + _attribute(0x80, 10, _CLUSTER)
        + _attribute(0xC0, 16, communities)
    )


def withdrawn(family: bytes, nlri: bytes) -> bytes:
    """One UPDATE that withdraws routes of a family."""
    return _update(_attribute(0x80, 15, family + nlri))


def _update(attributes: bytes) -> bytes:
    return message(_UPDATE, struct.pack("!HH", 0, len(attributes)) + attributes)


def _attribute(flags: int, kind: int, value: bytes) -> bytes:
    if len(value) > 255:
        return struct.pack("!BBH", flags | 0x10, kind, len(value)) + value
    return struct.pack("!BBB", flags, kind, len(value)) + value
