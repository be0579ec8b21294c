"""The one bounds check of OpenFlow decoding, and the padding that OpenFlow asks for.

Lengths and padding as in OpenFlow Switch Specification 1.5.1 sections 7.1 and 7.2. Knows no message: what a field
means is said by the module that reads it. It is not ``wire.reader``: a fault of a switch has no RFC 7606 outcome.
"""

from __future__ import annotations

from struct import Struct
from typing import Any

from bagpipe.dataplane.errors import MalformedMessage

_ZEROS = bytes(8)


def padding(size: int) -> bytes:
    """The zero octets that lead from ``size`` to the next multiple of eight."""
    return _ZEROS[: -size & 7]


def padded(data: bytes) -> bytes:
    """``data`` with zeros up to the next multiple of eight octets."""
    return data + _ZEROS[: -len(data) & 7]


class Octets:
    """Takes octets from the front of a field. Any read past its end raises MalformedMessage."""

    __slots__ = ("_data", "_end", "_position", "what")

    def __init__(self, data: bytes, what: str, start: int = 0, end: int | None = None) -> None:
        self._data = data
        self._position = start
        self._end = len(data) if end is None else end
        self.what = what

    @property
    def remaining(self) -> int:
        """Octets not yet read."""
        return self._end - self._position

    def fault(self, text: str) -> MalformedMessage:
        """The error to raise for this field, with ``text`` after its name."""
        return MalformedMessage(f"{self.what}: {text}")

    def _advance(self, size: int) -> int:
        start = self._position
        if size < 0 or start + size > self._end:
            raise self.fault(f"{size} octets wanted, {self._end - start} left")
        self._position = start + size
        return start

    def take(self, size: int) -> bytes:
        """The next ``size`` octets."""
        start = self._advance(size)
        return self._data[start : start + size]

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(self.remaining)

    def skip(self, size: int) -> None:
        """Pass over ``size`` octets: padding, whose value a receiver does not look at."""
        self._advance(size)

    def skip_padding(self, size: int) -> None:
        """Pass over what pads a structure of ``size`` octets to a multiple of eight."""
        self._advance(-size & 7)

    def unpack(self, shape: Struct) -> tuple[Any, ...]:
        """The next octets as ``shape`` has them."""
        return shape.unpack_from(self._data, self._advance(shape.size))

    def u16(self) -> int:
        """Two octets, network order."""
        return int.from_bytes(self.take(2))

    def u32(self) -> int:
        """Four octets, network order."""
        return int.from_bytes(self.take(4))

    def u64(self) -> int:
        """Eight octets, network order."""
        return int.from_bytes(self.take(8))

    def peek_u16(self, offset: int = 0) -> int:
        """Two octets that start ``offset`` octets ahead; nothing is consumed."""
        if offset + 2 > self.remaining:
            raise self.fault(f"{offset + 2} octets wanted, {self.remaining} left")
        start = self._position + offset
        return int.from_bytes(self._data[start : start + 2])

    def sub(self, size: int, what: str) -> Octets:
        """A reader over the next ``size`` octets."""
        start = self._advance(size)
        return Octets(self._data, what, start, start + size)

    def finish(self) -> None:
        """Raise MalformedMessage unless every octet was read."""
        if self.remaining:
            raise self.fault(f"{self.remaining} octets too many")
