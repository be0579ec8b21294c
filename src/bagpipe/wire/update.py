"""UPDATE messages: taken apart, and packed.

RFC 4271 section 4.3, RFC 4760 sections 3 and 4, RFC 7606 section 5 (what to do when the NLRI cannot be trusted), RFC
4724 section 2 (End-of-RIB). Only multiprotocol NLRI are carried; IPv4 unicast NLRI in the old fields are counted and
left alone, because no session here negotiates them for use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bagpipe.errors import Outcome, RemoteFault
from bagpipe.wire.attributes import (
    EXTENDED_LENGTH,
    MP_REACH_NLRI,
    MP_UNREACH_NLRI,
    OPTIONAL,
    TRANSITIVE,
)
from bagpipe.wire.family import IPV4_UNICAST, Family

HEADER_OCTETS = 19
MARKER = b"\xff" * 16
_UPDATE = 2


@dataclass(frozen=True, slots=True)
class Reach:
    """MP_REACH_NLRI: where it starts in the UPDATE body, and its fields (RFC 4760 section 3)."""

    at: int
    family: Family
    next_hop: bytes
    nlri: bytes


@dataclass(frozen=True, slots=True)
class Parts:
    """An UPDATE body taken apart.

    ``block`` is all other attributes in their order. ``fault`` is an overrun after which nothing could be read; what
    came before it stands. ``plain_ipv4`` tells that the old NLRI or withdrawn fields were not empty.
    """

    reach: Reach | None
    unreach: tuple[Family, bytes] | None
    block: bytes
    fault: RemoteFault | None
    plain_ipv4: bool

    @property
    def end_of_rib(self) -> Family | None:
        """The family whose End-of-RIB this is (RFC 4724 section 2), or None."""
        if self.block or self.reach or self.plain_ipv4 or self.fault:
            return None
        if self.unreach is None:
            return IPV4_UNICAST
        return self.unreach[0] if not self.unreach[1] else None


def _reset(text: str, subcode: int, data: bytes = b"") -> RemoteFault:
    return RemoteFault(f"UPDATE: {text}", code=3, subcode=subcode, data=data)


def take_apart(body: bytes) -> Parts:
    """Split an UPDATE body (without the 19-octet header).

    Raises RemoteFault (reset) where RFC 7606 section 5 leaves nothing less.
    """
    end = len(body)
    if end < 4:
        raise _reset("shorter than its two length fields", 1)
    attributes_at = 4 + int.from_bytes(body[:2])
    if attributes_at > end:
        raise _reset("the withdrawn routes overrun the message", 1)
    attributes_end = attributes_at + int.from_bytes(body[attributes_at - 2 : attributes_at])
    if attributes_end > end:
        raise _reset("the path attributes overrun the message", 1)
    plain = attributes_at > 4 or attributes_end < end
    reach: Reach | None = None
    unreach: tuple[Family, bytes] | None = None
    block: list[bytes] = []
    fault: RemoteFault | None = None
    position = attributes_at
    while position < attributes_end:
        start = position + (4 if body[position] & EXTENDED_LENGTH else 3)
        if start > attributes_end:
            fault = _overrun()
            break
        following = start + int.from_bytes(body[position + 2 : start])
        if following > attributes_end:
            fault = _overrun()
            break
        code = body[position + 1]
        if code == MP_REACH_NLRI:
            if reach is not None:
                raise _reset("MP_REACH_NLRI given twice", 1)
            reach = _reach(position, body[position], body[start:following])
        elif code == MP_UNREACH_NLRI:
            if unreach is not None:
                raise _reset("MP_UNREACH_NLRI given twice", 1)
            unreach = _unreach(body[position], body[start:following])
        else:
            block.append(body[position:following])
        position = following
    return Parts(reach, unreach, b"".join(block), fault, plain)


def _overrun() -> RemoteFault:
    return RemoteFault(
        "UPDATE: an attribute overruns the attribute field", outcome=Outcome.TREAT_AS_WITHDRAW, code=3, subcode=1
    )


def _flags_fit(flags: int, name: str) -> None:
    if flags & (OPTIONAL | TRANSITIVE) != OPTIONAL:
        raise _reset(f"{name} with flags 0x{flags:02x}", 4)


def _reach(at: int, flags: int, value: bytes) -> Reach:
    _flags_fit(flags, "MP_REACH_NLRI")
    if len(value) < 5 or 5 + value[3] > len(value):
        raise _reset(f"MP_REACH_NLRI of {len(value)} octets is too short", 9)
    next_hop_end = 4 + value[3]
    family = Family(int.from_bytes(value[:2]), value[2])
    return Reach(at, family, value[4:next_hop_end], value[next_hop_end + 1 :])


def _unreach(flags: int, value: bytes) -> tuple[Family, bytes]:
    _flags_fit(flags, "MP_UNREACH_NLRI")
    if len(value) < 3:
        raise _reset(f"MP_UNREACH_NLRI of {len(value)} octets is too short", 9)
    return Family(int.from_bytes(value[:2]), value[2]), value[3:]


def _message(attributes: bytes) -> bytes:
    size = HEADER_OCTETS + 4 + len(attributes)
    return b"".join((MARKER, size.to_bytes(2), b"\x02\0\0", len(attributes).to_bytes(2), attributes))


def _chunks(nlri: Sequence[bytes], room: int) -> list[bytes]:
    """NLRI joined into fields of at most ``room`` octets, in order."""
    whole = b"".join(nlri)
    if len(whole) <= room:
        return [whole]
    size = len(nlri[0])
    if size * len(nlri) == len(whole) and all(len(piece) == size for piece in nlri):
        step = room // size * size
        return [whole[at : at + step] for at in range(0, len(whole), step)]
    chunks: list[bytes] = []
    current: list[bytes] = []
    used = 0
    for piece in nlri:
        if used + len(piece) > room:
            chunks.append(b"".join(current))
            current, used = [], 0
        current.append(piece)
        used += len(piece)
    chunks.append(b"".join(current))
    return chunks


def announce(family: Family, next_hop: bytes, block: bytes, nlri: Sequence[bytes], maximum: int) -> list[bytes]:
    """Whole UPDATE messages that announce ``nlri`` with one attribute block, as few as fit ``maximum`` octets each.

    MP_REACH_NLRI comes first (RFC 7606 section 5.1). Gives nothing if even one NLRI does not fit: such a route
    cannot be told to this peer (RFC 8654 section 4).
    """
    head = family.packed + bytes((len(next_hop),)) + next_hop + b"\0"
    room = maximum - HEADER_OCTETS - 4 - 4 - len(head) - len(block)
    if not nlri or room < max(map(len, nlri)):
        return []
    messages = []
    for field in _chunks(nlri, room):
        size = len(head) + len(field)
        reach = b"\x90\x0e" + size.to_bytes(2) + head + field
        messages.append(_message(reach + block))
    return messages


def withdraw(family: Family, nlri: Sequence[bytes], maximum: int) -> list[bytes]:
    """Whole UPDATE messages that withdraw ``nlri``, as few as fit ``maximum`` octets each."""
    room = maximum - HEADER_OCTETS - 4 - 4 - 3
    messages = []
    for field in _chunks(nlri, room) if nlri else []:
        messages.append(_message(b"\x90\x0f" + (3 + len(field)).to_bytes(2) + family.packed + field))
    return messages


def end_of_rib(family: Family) -> bytes:
    """The End-of-RIB marker of a family as a whole message (RFC 4724 section 2)."""
    if family == IPV4_UNICAST:
        return _message(b"")
    return _message(b"\x80\x0f\x03" + family.packed)


def count(messages: bytes) -> int:
    """How many whole messages stand in ``messages``."""
    found = 0
    position = 16
    while position < len(messages):
        position += int.from_bytes(messages[position : position + 2])
        found += 1
    return found
