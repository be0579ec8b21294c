"""Route target membership NLRI: RFC 4684 section 4.

One NLRI is a length octet in bits and a prefix of (origin AS (32 bits), route target (64 bits)). Length 0 is the
default route target; any other length is 32 to 96, of which those that are no multiple of 8 are padded with bits that
mean nothing. The key is the length octet and the prefix with its padding cleared; there is no payload.

A length of 1 to 31 or above 96 makes the field syntactically incorrect (RFC 7606 section 5.3): the session is reset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bagpipe.errors import LocalMisuse, RemoteFault
from bagpipe.identifiers import RouteTarget
from bagpipe.wire.family import RTC, Family

FULL_LENGTH = 96
"""Bits of an NLRI that names one origin AS and one route target."""

_AS_BITS = 32
_FULL_SIZE = 1 + FULL_LENGTH // 8
_MASKS = (0xFF, 0x80, 0xC0, 0xE0, 0xF0, 0xF8, 0xFC, 0xFE)


@dataclass(frozen=True, slots=True)
class RtcNlri:
    """A prefix of ``length`` bits over origin AS and route target; ``prefix`` has its octets, padding bits zero.

    Raises LocalMisuse if they do not fit each other.
    """

    length: int
    prefix: bytes

    def __post_init__(self) -> None:
        if self.length and not _AS_BITS <= self.length <= FULL_LENGTH:
            raise LocalMisuse("length", self.length, "expected 0 or 32 to 96 bits")
        if len(self.prefix) != (self.length + 7) >> 3:
            raise LocalMisuse("prefix", self.prefix.hex(), f"expected {(self.length + 7) >> 3} octets")
        if self.prefix and self.prefix[-1] & ~_MASKS[self.length & 7]:
            raise LocalMisuse("prefix", self.prefix.hex(), "bits are set past its length")

    @classmethod
    def of(cls, origin_as: int, route_target: RouteTarget) -> RtcNlri:
        """The membership of one route target."""
        return cls(FULL_LENGTH, origin_as.to_bytes(4) + route_target.packed)

    @property
    def origin_as(self) -> int | None:
        """The AS that asks; None for the default route target."""
        return int.from_bytes(self.prefix[:4]) if self.length else None

    @property
    def route_target(self) -> RouteTarget | None:
        """The route target if all of it is given."""
        return RouteTarget(self.prefix[4:]) if self.length == FULL_LENGTH else None

    def __str__(self) -> str:
        if not self.length:
            return "default"
        if self.length == FULL_LENGTH:
            return f"{self.origin_as}:{self.route_target}"
        return f"{self.origin_as}:0x{self.prefix[4:].hex()}/{self.length - _AS_BITS}"


DEFAULT_ROUTE_TARGET = RtcNlri(0, b"")
"""Asks for every route (RFC 4684 section 4)."""


class RtcCodec:
    """The NLRI of the route target membership family."""

    family: Family = RTC

    def split(self, data: bytes) -> list[tuple[int, list[bytes], list[bytes]]]:
        """The routes of an MP_REACH_NLRI field. Raises RemoteFault (reset) for lengths that RFC 4684 does not have."""
        keys = self._keys(data)
        return [(0, keys, [b""] * len(keys))] if keys else []

    def split_withdrawn(self, data: bytes) -> list[tuple[int, list[bytes]]]:
        """The routes of an MP_UNREACH_NLRI field. Raises as :meth:`split`."""
        keys = self._keys(data)
        return [(0, keys)] if keys else []

    def split_add_path(self, data: bytes) -> list[tuple[int, int, bytes, bytes]]:
        """The routes of a field with path identifiers: (path id, shape, key, payload). Raises as :meth:`split`."""
        routes = []
        position = 0
        while position < len(data):
            if position + 5 > len(data):
                raise _fault("a path identifier is cut short")
            end = position + 5 + ((data[position + 4] + 7) >> 3)
            (key,) = self._keys(data[position + 4 : end])
            routes.append((int.from_bytes(data[position : position + 4]), 0, key, b""))
            position = end
        return routes

    def _keys(self, data: bytes) -> list[bytes]:
        size = len(data)
        if size % _FULL_SIZE == 0 and data[::_FULL_SIZE].count(FULL_LENGTH) == size // _FULL_SIZE:
            return [data[at : at + _FULL_SIZE] for at in range(0, size, _FULL_SIZE)]
        keys = []
        position = 0
        while position < size:
            bits = data[position]
            if bits and not _AS_BITS <= bits <= FULL_LENGTH:
                raise _fault(f"a length of {bits} bits")
            following = position + 1 + ((bits + 7) >> 3)
            if following > size:
                raise _fault(f"{following - size} bytes missing")
            key = data[position:following]
            if bits & 7:
                key = key[:-1] + bytes((key[-1] & _MASKS[bits & 7],))
            keys.append(key)
            position = following
        return keys

    def join(self, shape: int, key: bytes, payload: bytes) -> bytes:
        """One NLRI as announced."""
        del shape, payload
        return key

    def join_many(self, shape: int, keys: Sequence[bytes], payloads: Sequence[bytes]) -> Sequence[bytes]:
        """Many NLRI as announced."""
        del shape, payloads
        return keys

    def join_withdrawn(self, shape: int, key: bytes) -> bytes:
        """One NLRI as withdrawn."""
        del shape
        return key

    def decode(self, shape: int, key: bytes, payload: bytes) -> RtcNlri:
        """The route as a value."""
        del shape, payload
        return RtcNlri(key[0], key[1:])

    def encode(self, nlri: RtcNlri) -> tuple[int, bytes, bytes]:
        """Shape, key and payload of a route."""
        return 0, bytes((nlri.length,)) + nlri.prefix, b""

    def route_distinguisher(self, shape: int, key: bytes) -> bytes | None:
        """None: a route target is of no one VPN."""
        del shape, key
        return None


def _fault(text: str) -> RemoteFault:
    return RemoteFault(f"{RTC} NLRI: {text}", code=3, subcode=10)


RTC_CODEC = RtcCodec()
