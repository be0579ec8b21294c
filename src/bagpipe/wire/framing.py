"""Cuts a TCP byte stream into BGP messages: RFC 4271 sections 4.1 and 6.1, RFC 8654 (extended messages).

Checks the header alone (marker, length for the type, type). What is inside a message is not looked at, and a
ROUTE-REFRESH's own length (RFC 7313 section 5) is judged by :class:`bagpipe.wire.message.RouteRefresh`.
"""

from __future__ import annotations

from struct import Struct

from bagpipe.errors import RemoteFault
from bagpipe.wire.message import HEADER_SIZE, MARKER, MAX_EXTENDED_MESSAGE, MAX_MESSAGE, HeaderError, MessageType

_HEADER = Struct("!16sHB")
_OPEN = int(MessageType.OPEN)
_UPDATE = int(MessageType.UPDATE)
_UPDATE_MINIMUM = 23

# The shortest and longest length of each type, header included (RFC 4271 sections 4.2 to 4.5 and 6.1, RFC 8654
# section 4). A ROUTE-REFRESH may be shorter than its 23: RFC 7313 gives that fault a code of its own.
_LENGTHS: dict[int, tuple[int, int]] = {
    MessageType.OPEN: (29, MAX_MESSAGE),
    MessageType.UPDATE: (_UPDATE_MINIMUM, MAX_EXTENDED_MESSAGE),
    MessageType.NOTIFICATION: (21, MAX_EXTENDED_MESSAGE),
    MessageType.KEEPALIVE: (19, 19),
    MessageType.ROUTE_REFRESH: (19, MAX_EXTENDED_MESSAGE),
}


class Framer:
    """One direction of one TCP connection, from chunks of any size to whole messages.

    A header that is at fault never costs the messages before it: :meth:`runs` and :meth:`feed` return those and keep
    the fault in :attr:`fault`. The owner looks at :attr:`fault` after each call; a call after that raises it.

    An OPEN ends a call of :meth:`runs`, because it settles :attr:`maximum` for what follows; :attr:`paused` then says
    that bytes wait, and ``runs(b"")`` goes on with them.
    """

    __slots__ = ("_have", "_need", "_pieces", "fault", "maximum", "paused")

    def __init__(self, maximum: int = MAX_MESSAGE) -> None:
        self.maximum = maximum
        """Longest message accepted, header included: 4096, or 65535 once both sides offered RFC 8654."""
        self.fault: RemoteFault | None = None
        """What is wrong with the header where the stream stopped to make sense, or None."""
        self.paused = False
        """True if an OPEN ended the last call of :meth:`runs` before the bytes did."""
        self._pieces: list[bytes] = []
        self._have = 0
        self._need = HEADER_SIZE

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The messages that are whole now, as (type, body without header).

        Raises the :class:`RemoteFault` that an earlier call left in :attr:`fault`. The same as :meth:`runs` for
        callers that do not negotiate :attr:`maximum` on the way.
        """
        runs = self.runs(data)
        while self.paused and self.fault is None:
            runs += self.runs(b"")
        return [(kind, body) for kind, bodies in runs for body in bodies]

    def runs(self, data: bytes) -> list[tuple[int, list[bytes]]]:
        """The messages that are whole now, consecutive ones of one type together: (type, bodies without header).

        Raises the :class:`RemoteFault` that an earlier call left in :attr:`fault`.
        """
        if self.fault is not None:
            raise self.fault
        self.paused = False
        if self._pieces:
            self._pieces.append(data)
            self._have += len(data)
            if self._have < self._need:
                return []
            data = b"".join(self._pieces)
        runs, position = self._cut(data)
        self._keep(data[position:])
        return runs

    def _cut(self, data: bytes) -> tuple[list[tuple[int, list[bytes]]], int]:
        """The runs of ``data`` and where the first byte that belongs to none of them is."""
        runs: list[tuple[int, list[bytes]]] = []
        unpack = _HEADER.unpack_from
        maximum = self.maximum
        bodies: list[bytes] = []
        last = 0
        position = 0
        end = len(data)
        header_end = HEADER_SIZE
        while header_end <= end:
            marker, length, kind = unpack(data, position)
            if (marker != MARKER or kind != _UPDATE or not _UPDATE_MINIMUM <= length <= maximum) and self._refuses(
                marker, length, kind
            ):
                break
            following = position + length
            if following > end:
                self._need = length
                return runs, position
            if kind != last:
                bodies = []
                runs.append((kind, bodies))
                last = kind
            bodies.append(data[header_end:following])
            position = following
            header_end = following + HEADER_SIZE
            if kind == _OPEN:
                self.paused = position < end
                break
        self._need = HEADER_SIZE
        return runs, position

    def _keep(self, tail: bytes) -> None:
        self._pieces = [tail] if tail and self.fault is None else []
        self._have = len(tail)

    def _refuses(self, marker: bytes, length: int, kind: int) -> bool:
        """Whether the header is at fault; the reason is left in :attr:`fault`. The order of checks is RFC 4271's."""
        low, high = _LENGTHS.get(kind, (HEADER_SIZE, MAX_EXTENDED_MESSAGE))
        if marker != MARKER:
            self.fault = _fault("marker is not all ones", HeaderError.CONNECTION_NOT_SYNCHRONIZED, b"")
        elif not low <= length <= min(high, self.maximum):
            self.fault = _fault(
                f"length {length} is wrong for message type {kind}",
                HeaderError.BAD_MESSAGE_LENGTH,
                length.to_bytes(2),
            )
        elif kind not in _LENGTHS:
            self.fault = _fault(f"message type {kind} is unknown", HeaderError.BAD_MESSAGE_TYPE, kind.to_bytes(1))
        return self.fault is not None


def _fault(text: str, subcode: HeaderError, data: bytes) -> RemoteFault:
    return RemoteFault(f"message header: {text}", code=1, subcode=subcode, data=data)
