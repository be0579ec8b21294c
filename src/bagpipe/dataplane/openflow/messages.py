"""What every OpenFlow message is, and those that only keep a connection going.

OpenFlow Switch Specification 1.5.1 sections 7.1 (header), 7.3.1 (features), 7.3.7 (barrier), 7.5 (hello, echo).
Speaks version 1.5 (0x06) alone: OpenFlow 1.4 has no bucket identifiers to change one bucket of a group by.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from struct import Struct
from typing import ClassVar

from bagpipe.dataplane.openflow.octets import Octets, padding

VERSION = 0x06
HEADER = Struct("!BBHI")
MAX_SIZE = 0xFFFF
_VERSION_BITMAP = 1
_ELEMENT = Struct("!HH")
_FEATURES = Struct("!QIBB2xII")


class Message(abc.ABC):
    """A message of the type ``kind``; its header is not part of it."""

    __slots__ = ()
    kind: ClassVar[int]

    @property
    @abc.abstractmethod
    def body(self) -> bytes:
        """All that follows the header."""


@dataclass(frozen=True, slots=True)
class Hello(Message):
    """Which versions the sender speaks, by their wire numbers (6 is OpenFlow 1.5), in ascending order.

    Empty if the sender gave no bitmap: then it speaks the version of the header and, it may be, earlier ones.
    """

    kind: ClassVar[int] = 0
    versions: tuple[int, ...] = (VERSION,)

    @property
    def body(self) -> bytes:
        """A version bitmap, or nothing."""
        if not self.versions:
            return b""
        words = [0] * (max(self.versions) // 32 + 1)
        for version in self.versions:
            words[version // 32] |= 1 << version % 32
        size = 4 + 4 * len(words)
        return _ELEMENT.pack(_VERSION_BITMAP, size) + b"".join(word.to_bytes(4) for word in words) + padding(size)


@dataclass(frozen=True, slots=True)
class EchoRequest(Message):
    """Are you there? The answer carries the same ``data``."""

    kind: ClassVar[int] = 2
    data: bytes = b""

    @property
    def body(self) -> bytes:
        """The data."""
        return self.data


@dataclass(frozen=True, slots=True)
class EchoReply(Message):
    """The answer to an echo request, with its data."""

    kind: ClassVar[int] = 3
    data: bytes = b""

    @property
    def body(self) -> bytes:
        """The data."""
        return self.data


@dataclass(frozen=True, slots=True)
class FeaturesRequest(Message):
    """Who are you?"""

    kind: ClassVar[int] = 5

    @property
    def body(self) -> bytes:
        """Nothing."""
        return b""


@dataclass(frozen=True, slots=True)
class FeaturesReply(Message):
    """The switch: its identity, number of tables, and capability bits (OFPC_*)."""

    kind: ClassVar[int] = 6
    datapath: int
    buffers: int
    tables: int
    auxiliary: int
    capabilities: int
    reserved: int = 0

    @property
    def body(self) -> bytes:
        """The ofp_switch_features structure after its header."""
        return _FEATURES.pack(
            self.datapath, self.buffers, self.tables, self.auxiliary, self.capabilities, self.reserved
        )


@dataclass(frozen=True, slots=True)
class BarrierRequest(Message):
    """Answer once all that was sent before is done."""

    kind: ClassVar[int] = 20

    @property
    def body(self) -> bytes:
        """Nothing."""
        return b""


@dataclass(frozen=True, slots=True)
class BarrierReply(Message):
    """All that was sent before the barrier is done, and its errors have been sent."""

    kind: ClassVar[int] = 21

    @property
    def body(self) -> bytes:
        """Nothing."""
        return b""


@dataclass(frozen=True, slots=True)
class UnknownMessage(Message):
    """A message, or a multipart message, of a type that is not known here; ``octets`` is all after the header."""

    kind: ClassVar[int] = -1
    type: int
    octets: bytes

    @property
    def body(self) -> bytes:
        """All after the header."""
        return self.octets


def read_hello(data: Octets) -> Hello:
    """The body of a hello; elements that are not known are passed over. Raises MalformedMessage."""
    versions: list[int] = []
    while data.remaining:
        kind, size = data.unpack(_ELEMENT)
        if size < _ELEMENT.size:
            raise data.fault(f"element of length {size}")
        element = data.sub(size - _ELEMENT.size, "hello element")
        if kind == _VERSION_BITMAP:
            for word in range(element.remaining // 4):
                bits = element.u32()
                versions.extend(32 * word + bit for bit in range(32) if bits >> bit & 1)
        data.skip(min(-size & 7, data.remaining))
    return Hello(tuple(sorted(set(versions))))


def read_features(data: Octets) -> FeaturesReply:
    """The body of a features reply. Raises MalformedMessage."""
    return FeaturesReply(*data.unpack(_FEATURES))
