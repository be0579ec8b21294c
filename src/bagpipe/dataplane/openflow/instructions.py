"""What a flow does with the packets that meet it.

OpenFlow Switch Specification 1.5.1 section 7.2.5. An instruction of another kind is kept as octets. Does not do
meters or statistics triggers.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from struct import Struct

from bagpipe.dataplane.openflow.actions import Action, pack_actions, read_actions
from bagpipe.dataplane.openflow.octets import Octets

_GOTO_TABLE = 1
_WRITE_METADATA = 2
_WRITE_ACTIONS = 3
_APPLY_ACTIONS = 4
_CLEAR_ACTIONS = 5
_HEAD = Struct("!HH")
_LIST = Struct("!HH4x")
_GOTO = Struct("!HHB3x")
_METADATA = Struct("!HH4xQQ")


class Instruction(abc.ABC):
    """One instruction of a flow."""

    __slots__ = ()

    @property
    @abc.abstractmethod
    def packed(self) -> bytes:
        """The instruction as OpenFlow has it, a multiple of eight octets."""


@dataclass(frozen=True, slots=True)
class ApplyActions(Instruction):
    """Do these actions now, in this order."""

    actions: tuple[Action, ...]

    @property
    def packed(self) -> bytes:
        """The instruction as OpenFlow has it."""
        body = pack_actions(self.actions)
        return _LIST.pack(_APPLY_ACTIONS, 8 + len(body)) + body

    def __str__(self) -> str:
        return ",".join(map(str, self.actions))


@dataclass(frozen=True, slots=True)
class WriteActions(Instruction):
    """Put these actions into the action set, which is done at the end of the pipeline."""

    actions: tuple[Action, ...]

    @property
    def packed(self) -> bytes:
        """The instruction as OpenFlow has it."""
        body = pack_actions(self.actions)
        return _LIST.pack(_WRITE_ACTIONS, 8 + len(body)) + body

    def __str__(self) -> str:
        return f"write_actions({','.join(map(str, self.actions))})"


@dataclass(frozen=True, slots=True)
class ClearActions(Instruction):
    """Empty the action set."""

    @property
    def packed(self) -> bytes:
        """The instruction as OpenFlow has it."""
        return _LIST.pack(_CLEAR_ACTIONS, 8)

    def __str__(self) -> str:
        return "clear_actions"


@dataclass(frozen=True, slots=True)
class WriteMetadata(Instruction):
    """Set those bits of the metadata that ``mask`` has."""

    value: int
    mask: int = 0xFFFFFFFFFFFFFFFF

    @property
    def packed(self) -> bytes:
        """The instruction as OpenFlow has it."""
        return _METADATA.pack(_WRITE_METADATA, 24, self.value, self.mask)

    def __str__(self) -> str:
        return f"write_metadata:{self.value:#x}/{self.mask:#x}"


@dataclass(frozen=True, slots=True)
class GotoTable(Instruction):
    """Go on in a later table."""

    table: int

    @property
    def packed(self) -> bytes:
        """The instruction as OpenFlow has it."""
        return _GOTO.pack(_GOTO_TABLE, 8, self.table)

    def __str__(self) -> str:
        return f"goto_table:{self.table}"


@dataclass(frozen=True, slots=True)
class UnknownInstruction(Instruction):
    """An instruction of another kind, as the switch gave it: all octets after its type and length."""

    kind: int
    body: bytes

    @property
    def packed(self) -> bytes:
        """The instruction as OpenFlow has it."""
        return _HEAD.pack(self.kind, 4 + len(self.body)) + self.body

    def __str__(self) -> str:
        return f"instruction-{self.kind:#x}:{self.body.hex()}"


def apply(*actions: Action) -> tuple[Instruction, ...]:
    """The instructions of a flow that does these actions and no more; of one that drops, if there are none."""
    return (ApplyActions(actions),) if actions else ()


def pack_instructions(instructions: tuple[Instruction, ...]) -> bytes:
    """Instructions as OpenFlow has them."""
    return b"".join([instruction.packed for instruction in instructions])


def read_instructions(data: Octets) -> tuple[Instruction, ...]:
    """All instructions to the end of ``data``. Raises MalformedMessage."""
    found: list[Instruction] = []
    while data.remaining:
        kind, size = data.peek_u16(), data.peek_u16(2)
        if size < 8 or size % 8:
            raise data.fault(f"instruction of type {kind} and length {size}")
        found.append(_read(kind, data.sub(size, f"instruction {kind}")))
    return tuple(found)


def _read(kind: int, data: Octets) -> Instruction:
    made: Instruction
    if kind in (_APPLY_ACTIONS, _WRITE_ACTIONS):
        data.skip(_LIST.size)
        actions = read_actions(data)
        made = ApplyActions(actions) if kind == _APPLY_ACTIONS else WriteActions(actions)
    elif kind == _GOTO_TABLE:
        made = GotoTable(data.unpack(_GOTO)[2])
    elif kind == _WRITE_METADATA:
        _, _, value, mask = data.unpack(_METADATA)
        made = WriteMetadata(value, mask)
    elif kind == _CLEAR_ACTIONS:
        data.skip(_LIST.size)
        made = ClearActions()
    else:
        data.skip(_HEAD.size)
        made = UnknownInstruction(kind, data.rest())
    data.finish()
    return made
