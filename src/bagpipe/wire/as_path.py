"""AS_PATH and AS4_PATH: RFC 4271 sections 4.3 b, 5.1.2 and 9.1.2.2, RFC 5065 section 3, RFC 6793, RFC 7607.

A path is a string of segments: type, count of AS numbers, AS numbers. Inside this speaker a path is always the bytes of
the four-octet form; :func:`widen` and :func:`narrow` speak to peers that know two octets only. Confederation segments
are read and kept, but this speaker is no member of a confederation: it makes none and removes none.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bagpipe.errors import LocalMisuse, Outcome
from bagpipe.wire.reader import Reader

AS_TRANS = 23456
"""What stands for an AS number that does not fit in two octets (RFC 6793 section 9)."""

_MAXIMUM_COUNT = 255


class SegmentKind(enum.IntEnum):
    """RFC 4271 section 4.3 b, RFC 5065 section 3."""

    AS_SET = 1
    AS_SEQUENCE = 2
    AS_CONFED_SEQUENCE = 3
    AS_CONFED_SET = 4

    @property
    def is_confederation(self) -> bool:
        """Whether the segment counts nothing in the length of a path (RFC 5065 section 5.3)."""
        return self >= SegmentKind.AS_CONFED_SEQUENCE


_BRACKETS = {
    SegmentKind.AS_SET: "{}",
    SegmentKind.AS_SEQUENCE: "",
    SegmentKind.AS_CONFED_SEQUENCE: "()",
    SegmentKind.AS_CONFED_SET: "[]",
}


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of 1 to 255 AS numbers, the nearest first. Raises LocalMisuse for other counts."""

    kind: SegmentKind
    numbers: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.numbers) <= _MAXIMUM_COUNT:
            raise LocalMisuse("numbers", len(self.numbers), "a segment has 1 to 255 AS numbers")

    @property
    def length(self) -> int:
        """What the segment counts in route selection (RFC 4271 section 9.1.2.2 a, RFC 5065 section 5.3)."""
        if self.kind is SegmentKind.AS_SEQUENCE:
            return len(self.numbers)
        return 1 if self.kind is SegmentKind.AS_SET else 0

    def __str__(self) -> str:
        inner = " ".join(str(number) for number in self.numbers)
        brackets = _BRACKETS[self.kind]
        return f"{brackets[0]}{inner}{brackets[1]}" if brackets else inner


def decode(path: bytes, size: int = 4) -> tuple[Segment, ...]:
    """The segments of a path whose AS numbers have ``size`` octets (2 or 4).

    Raises RemoteFault (treat as withdraw) if the path is malformed: an unknown segment type, an empty segment, one that
    overruns the attribute (RFC 7606 section 7.2), or AS 0 (RFC 7607 section 2).
    """
    reader = Reader(path, "AS_PATH", code=3, subcode=11, outcome=Outcome.TREAT_AS_WITHDRAW)
    segments = []
    while reader.remaining:
        kind = reader.u8()
        count = reader.u8()
        if not SegmentKind.AS_SET <= kind <= SegmentKind.AS_CONFED_SET:
            raise reader.fault(f"unknown segment type {kind}")
        if not count:
            raise reader.fault("an empty segment")
        packed = reader.take(count * size)
        numbers = tuple(int.from_bytes(packed[at : at + size]) for at in range(0, len(packed), size))
        if 0 in numbers:
            raise reader.fault("AS 0")
        segments.append(Segment(SegmentKind(kind), numbers))
    return tuple(segments)


def encode(segments: Iterable[Segment], size: int = 4) -> bytes:
    """A path of ``segments``; in two octets AS_TRANS stands for what does not fit (RFC 6793 section 4.2.2)."""
    pieces = []
    for segment in segments:
        pieces.append(bytes((segment.kind, len(segment.numbers))))
        for number in segment.numbers:
            pieces.append((AS_TRANS if size == 2 and number > 0xFFFF else number).to_bytes(size))
    return b"".join(pieces)


def check(path: bytes, size: int) -> None:
    """Raise as :func:`decode` does if the path is malformed."""
    decode(path, size)


def widen(path: bytes) -> bytes:
    """The four-octet form of a two-octet path. Raises as :func:`decode`."""
    return encode(decode(path, 2))


def narrow(path: bytes) -> bytes:
    """The two-octet form of a checked four-octet path, with AS_TRANS."""
    return encode(decode(path), 2)


def needs_four_octets(path: bytes) -> bool:
    """Whether a checked path loses an AS number in two octets, so that AS4_PATH must go along (RFC 6793 4.2.2)."""
    return any(number > 0xFFFF for _, numbers in _walk(path) for number in numbers)


def without_confederations(path: bytes) -> bytes:
    """A checked path without confederation segments, which AS4_PATH must not carry (RFC 6793 section 3)."""
    return encode(segment for segment in decode(path) if not segment.kind.is_confederation)


def length(path: bytes) -> int:
    """The length of a checked path in route selection: a set counts 1, a confederation segment 0."""
    total = 0
    position = 0
    while position < len(path):
        kind, count = path[position], path[position + 1]
        if kind == SegmentKind.AS_SEQUENCE:
            total += count
        elif kind == SegmentKind.AS_SET:
            total += 1
        position += 2 + 4 * count
    return total


def first_as(path: bytes) -> int | None:
    """The AS that a checked path was last sent by; None if it is empty or does not begin with a sequence."""
    if path and path[0] in (SegmentKind.AS_SEQUENCE, SegmentKind.AS_CONFED_SEQUENCE):
        return int.from_bytes(path[2:6])
    return None


def contains(path: bytes, autonomous_system: int) -> bool:
    """Whether a checked path names ``autonomous_system`` in any segment (RFC 4271 section 9.1.2)."""
    return any(autonomous_system in numbers for _, numbers in _walk(path))


def prepend(path: bytes, autonomous_system: int) -> bytes:
    """The path as sent to an external peer: ``autonomous_system`` put first (RFC 4271 section 5.1.2 b)."""
    number = autonomous_system.to_bytes(4)
    if path and path[0] == SegmentKind.AS_SEQUENCE and path[1] < _MAXIMUM_COUNT:
        return bytes((path[0], path[1] + 1)) + number + path[2:]
    return bytes((SegmentKind.AS_SEQUENCE, 1)) + number + path


def merge(path: bytes, as4_path: bytes) -> bytes:
    """AS_PATH (widened) and AS4_PATH of an old peer joined to the real path (RFC 6793 section 4.2.3).

    Both are in four-octet form and checked. AS4_PATH is passed over if it is the longer one.
    """
    old, new = decode(path), [segment for segment in decode(as4_path) if not segment.kind.is_confederation]
    surplus = sum(segment.length for segment in old) - sum(segment.length for segment in new)
    if surplus < 0 or not new:
        return path
    return encode(_joined([*_leading(old, surplus), *new]))


def text(path: bytes) -> str:
    """A checked path for people: ``64512 {64513 64514} (65001)``."""
    return " ".join(str(segment) for segment in decode(path))


def _walk(path: bytes) -> Iterator[tuple[int, tuple[int, ...]]]:
    position = 0
    while position < len(path):
        start = position + 2
        position = start + 4 * path[position + 1]
        yield path[start - 2], tuple(int.from_bytes(path[at : at + 4]) for at in range(start, position, 4))


def _leading(segments: Iterable[Segment], wanted: int) -> Iterator[Segment]:
    """The first ``wanted`` AS numbers, and the confederation segments before and between them."""
    for segment in segments:
        if segment.kind.is_confederation:
            yield segment
        elif wanted <= 0:
            return
        else:
            taken = segment.numbers if segment.length <= wanted else segment.numbers[:wanted]
            wanted -= segment.length
            yield Segment(segment.kind, taken)


def _joined(segments: Iterable[Segment]) -> list[Segment]:
    """The same path with neighbouring sequences made one, as far as a segment holds them."""
    joined: list[Segment] = []
    for segment in segments:
        both = joined[-1].numbers + segment.numbers if joined else ()
        sequences = joined and joined[-1].kind is segment.kind is SegmentKind.AS_SEQUENCE
        if sequences and len(both) <= _MAXIMUM_COUNT:
            joined[-1] = Segment(segment.kind, both)
        else:
            joined.append(segment)
    return joined
