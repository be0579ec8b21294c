"""VPN-IPv4 and VPN-IPv6 NLRI: RFC 4364 section 4.3.4, RFC 4659 section 3, with the label of RFC 8277 section 2.2.

One NLRI is a length octet (in bits, label and route distinguisher included), one 3-octet label field, an 8-octet
route distinguisher and the prefix. Only one label is read: the Multiple Labels capability (RFC 8277 section 2.1) is
never offered, so a peer must not send more, and the bottom-of-stack bit says nothing.

The shape of a route is its length octet, so a table holds prefixes of one length and a key is a plain slice of the
bytes. The payload is one int: length octet and label field, as the first 32 bits of the NLRI.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from bagpipe.errors import RemoteFault
from bagpipe.identifiers import RouteDistinguisher
from bagpipe.wire.family import VPNV4, VPNV6, Family

WITHDRAWN_LABEL = 0x800000
"""What RFC 8277 section 2.4 puts in the label field of a withdrawn route."""

_FIXED_BITS = 24 + 64
_MASKS = tuple((0xFF00 >> bits) & 0xFF if bits else 0xFF for bits in range(8))


@dataclass(frozen=True, slots=True)
class VpnNlri:
    """One VPN route: ``label`` is the 24-bit label field as it stands on the wire (label, 3 bits, bottom of stack)."""

    route_distinguisher: RouteDistinguisher
    prefix: IPv4Network | IPv6Network
    label_field: int

    @property
    def label(self) -> int:
        """The 20-bit MPLS label."""
        return self.label_field >> 4

    def __str__(self) -> str:
        return f"{self.route_distinguisher}:{self.prefix} label {self.label}"


class VpnCodec:
    """The NLRI of one of the two VPN families."""

    def __init__(self, family: Family, address_bits: int) -> None:
        self.family = family
        self._address_octets = address_bits // 8
        self._maximum = _FIXED_BITS + address_bits
        self._announced = {
            bits: struct.Struct(f"!I{(bits - 24) // 8}s").iter_unpack for bits in range(88, self._maximum + 1, 8)
        }
        self._withdrawn = {
            bits: struct.Struct(f"!4x{(bits - 24) // 8}s").iter_unpack for bits in range(88, self._maximum + 1, 8)
        }

    def _fault(self, text: str) -> RemoteFault:
        return RemoteFault(f"{self.family} NLRI: {text}", code=3, subcode=10)

    def _alike(self, data: bytes) -> bool:
        """Whether every NLRI in the field has the length octet of the first, and a whole number of octets."""
        bits = data[0]
        if bits & 7 or not _FIXED_BITS <= bits <= self._maximum:
            return False
        size = 1 + (bits >> 3)
        lengths = data[::size]
        return len(data) % size == 0 and lengths.count(bits) == len(lengths)

    def split(self, data: bytes) -> list[tuple[int, Sequence[bytes], Sequence[int]]]:
        """The routes of an MP_REACH_NLRI field as runs of (shape, keys, payloads).

        Raises RemoteFault (reset) if the lengths do not add up (RFC 7606 section 5.3).
        """
        if data and self._alike(data):
            bits = data[0]
            if len(data) == 1 + (bits >> 3):
                return [(bits, [data[4:]], [int.from_bytes(data[:4])])]
            words, keys = zip(*self._announced[bits](data), strict=True)
            return [(bits, keys, words)]
        return [(bits, [key], [word]) for bits, key, word in self._walk(data)]

    def split_withdrawn(self, data: bytes) -> list[tuple[int, list[bytes]]]:
        """The routes of an MP_UNREACH_NLRI field as runs of (shape, keys); label fields are not looked at."""
        if data and self._alike(data):
            bits = data[0]
            return [(bits, [key for (key,) in self._withdrawn[bits](data)])]
        return [(bits, [key]) for bits, key, _ in self._walk(data)]

    def split_add_path(self, data: bytes) -> list[tuple[int, int, bytes, int]]:
        """The routes of a field with path identifiers (RFC 7911 section 3): (path id, shape, key, payload)."""
        routes = []
        position = 0
        while position < len(data):
            if position + 5 > len(data):
                raise self._fault("a path identifier is cut short")
            path_id = int.from_bytes(data[position : position + 4])
            end = position + 5 + ((data[position + 4] + 7) >> 3)
            ((bits, key, word),) = self._walk(data[position + 4 : end])
            routes.append((path_id, bits, key, word))
            position = end
        return routes

    def _walk(self, data: bytes) -> list[tuple[int, bytes, int]]:
        routes = []
        position = 0
        end = len(data)
        while position < end:
            bits = data[position]
            following = position + 1 + ((bits + 7) >> 3)
            if not _FIXED_BITS <= bits <= self._maximum:
                raise self._fault(f"a length of {bits} bits")
            if following > end:
                raise self._fault(f"{following - end} bytes missing")
            key = data[position + 4 : following]
            if bits & 7:
                key = key[:-1] + bytes((key[-1] & _MASKS[bits & 7],))
            routes.append((bits, key, int.from_bytes(data[position : position + 4])))
            position = following
        return routes

    def join(self, shape: int, key: bytes, payload: int) -> bytes:
        """One NLRI as announced."""
        del shape
        return payload.to_bytes(4) + key

    def join_many(self, shape: int, keys: Sequence[bytes], payloads: Sequence[int]) -> list[bytes]:
        """Many NLRI of one shape as announced."""
        del shape
        return [word.to_bytes(4) + key for word, key in zip(payloads, keys, strict=True)]

    def join_withdrawn(self, shape: int, key: bytes) -> bytes:
        """One NLRI as withdrawn (RFC 8277 section 2.4)."""
        return (shape << 24 | WITHDRAWN_LABEL).to_bytes(4) + key

    def decode(self, shape: int, key: bytes, payload: int) -> VpnNlri:
        """The route as a value."""
        octets = key[8:].ljust(self._address_octets, b"\0")
        prefix = ip_network((octets, shape - _FIXED_BITS))
        return VpnNlri(RouteDistinguisher(key[:8]), prefix, payload & 0xFFFFFF)

    def encode(self, nlri: VpnNlri) -> tuple[int, bytes, int]:
        """Shape, key and payload of a route."""
        bits = nlri.prefix.prefixlen
        shape = _FIXED_BITS + bits
        key = nlri.route_distinguisher.packed + nlri.prefix.network_address.packed[: (bits + 7) >> 3]
        return shape, key, shape << 24 | nlri.label_field

    def route_distinguisher(self, shape: int, key: bytes) -> bytes | None:
        """The 8 octets of the route distinguisher."""
        del shape
        return key[:8]


VPNV4_CODEC = VpnCodec(VPNV4, 32)
VPNV6_CODEC = VpnCodec(VPNV6, 128)
