"""Flows: the messages that change them and the multipart that shows them.

OpenFlow Switch Specification 1.5.1 sections 7.3.4.2 (flow-mod), 7.3.5.2 (flow description) and 7.2.4 (OXS statistics).
Does not do buffered packets, table features or aggregate statistics; OXS fields other than those of
:class:`FlowCounters` are passed over.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from struct import Struct
from typing import ClassVar, Self

from bagpipe.dataplane.openflow.actions import PORT_ANY
from bagpipe.dataplane.openflow.instructions import Instruction, pack_instructions, read_instructions
from bagpipe.dataplane.openflow.matches import ANYTHING, Match, read_match
from bagpipe.dataplane.openflow.messages import Message
from bagpipe.dataplane.openflow.multipart import Part, multipart
from bagpipe.dataplane.openflow.octets import Octets, padded

ALL_TABLES = 0xFF
GROUP_ANY = 0xFFFFFFFF
_ALL_BITS = 0xFFFFFFFFFFFFFFFF
_NO_BUFFER = 0xFFFFFFFF
_MOD = Struct("!QQBBHHHIIIHH")
_REQUEST = Struct("!B3xII4xQQ")
_ENTRY = Struct("!H2xBxHHHHHQ")
_OXS = Struct("!2xH")
_OXS_CLASS = 0x8002
_DURATION, _IDLE, _PACKETS, _OCTETS = 0, 1, 4, 5


class FlowCommand(enum.IntEnum):
    """What to do with flows (OFPFC_*)."""

    ADD = 0
    MODIFY = 1
    MODIFY_STRICT = 2
    DELETE = 3
    DELETE_STRICT = 4


class FlowFlags(enum.IntFlag):
    """Options of a flow (OFPFF_*). A switch shows those about removal and counting, the others act once."""

    NONE = 0
    SEND_FLOW_REMOVED = 1
    CHECK_OVERLAP = 2
    RESET_COUNTS = 4
    NO_PACKET_COUNTS = 8
    NO_OCTET_COUNTS = 16


@dataclass(frozen=True, slots=True)
class FlowMod(Message):
    """Add, change or delete flows.

    Adding replaces a flow of the same table, priority and match. Changing and deleting concern every flow that is at
    least as narrow as ``match`` and whose cookie equals ``cookie`` in the bits of ``cookie_mask``; the strict
    commands only the flow with just this priority and match. Timeouts are in seconds, 0 for never. ``out_port`` and
    ``out_group`` narrow a deletion to flows that lead there.
    """

    kind: ClassVar[int] = 14
    table: int
    priority: int = 0
    match: Match = ANYTHING
    instructions: tuple[Instruction, ...] = ()
    cookie: int = 0
    cookie_mask: int = 0
    command: FlowCommand = FlowCommand.ADD
    flags: FlowFlags = FlowFlags.NONE
    idle_timeout: int = 0
    hard_timeout: int = 0
    importance: int = 0
    out_port: int = PORT_ANY
    out_group: int = GROUP_ANY

    @classmethod
    def deletion(cls, cookie: int, cookie_mask: int = _ALL_BITS, *, table: int = ALL_TABLES) -> Self:
        """Delete every flow of the table, or of all tables, whose cookie equals ``cookie`` in the mask's bits."""
        return cls(table, cookie=cookie, cookie_mask=cookie_mask, command=FlowCommand.DELETE)

    def removal(self, cookie_mask: int = _ALL_BITS) -> FlowMod:
        """The message that takes away just the flow that this one adds, if it still has its cookie in the mask's bits.

        With all bits OVS looks through every flow of that cookie, with any other mask it finds the flow at once.
        """
        return FlowMod(
            self.table,
            self.priority,
            self.match,
            cookie=self.cookie,
            cookie_mask=cookie_mask,
            command=FlowCommand.DELETE_STRICT,
        )

    @property
    def body(self) -> bytes:
        """The ofp_flow_mod structure after its header."""
        head = _MOD.pack(
            self.cookie,
            self.cookie_mask,
            self.table,
            self.command,
            self.idle_timeout,
            self.hard_timeout,
            self.priority,
            _NO_BUFFER,
            self.out_port,
            self.out_group,
            self.flags,
            self.importance,
        )
        return head + self.match.packed + pack_instructions(self.instructions)

    def __str__(self) -> str:
        does = ",".join(map(str, self.instructions)) or "drop"
        return (
            f"{self.command.name.lower()} cookie={self.cookie:#x},table={self.table},priority={self.priority},"
            f"{self.match} actions={does}"
        )


@dataclass(frozen=True, slots=True)
class PackedFlow(Message):
    """A flow-mod by its octets, for those who write many that differ in little. Equal ones have the same octets."""

    kind: ClassVar[int] = 14
    octets: bytes

    @classmethod
    def of(cls, flow: FlowMod) -> Self:
        """The same flow-mod by its octets. Raises struct.error or OverflowError if a number does not fit its place."""
        return cls(flow.body)

    @property
    def body(self) -> bytes:
        """The ofp_flow_mod structure after its header."""
        return self.octets

    @property
    def unpacked(self) -> FlowMod:
        """The flow-mod with its fields. Raises MalformedMessage."""
        return read_flow_mod(Octets(self.octets, "flow-mod"))

    def __str__(self) -> str:
        return str(self.unpacked)


@dataclass(frozen=True, slots=True)
class FlowCounters:
    """What a flow has seen. ``duration`` is its age and ``idle`` the time since its last packet, in nanoseconds."""

    packets: int = 0
    octets: int = 0
    duration: int = 0
    idle: int = 0


@dataclass(frozen=True, slots=True)
class FlowEntry:
    """A flow that a switch holds. Two entries are equal if they do the same, whatever their counters."""

    table: int
    priority: int
    match: Match
    instructions: tuple[Instruction, ...]
    cookie: int = 0
    flags: FlowFlags = FlowFlags.NONE
    idle_timeout: int = 0
    hard_timeout: int = 0
    importance: int = 0
    counters: FlowCounters = field(default=FlowCounters(), compare=False)

    @classmethod
    def of(cls, flow: FlowMod) -> Self:
        """The flow that a message adds, before it has seen a packet."""
        return cls(
            flow.table,
            flow.priority,
            flow.match,
            flow.instructions,
            flow.cookie,
            flow.flags,
            flow.idle_timeout,
            flow.hard_timeout,
            flow.importance,
        )

    @property
    def as_addition(self) -> FlowMod:
        """The message that would add this flow; equal to the one that did, but for flags that act once."""
        return FlowMod(
            self.table,
            self.priority,
            self.match,
            self.instructions,
            self.cookie,
            flags=self.flags,
            idle_timeout=self.idle_timeout,
            hard_timeout=self.hard_timeout,
            importance=self.importance,
        )

    @property
    def packed(self) -> bytes:
        """The ofp_flow_desc structure."""
        counters = b"".join(
            (_OXS_CLASS << 16 | number << 9 | 8).to_bytes(4) + value
            for number, value in (
                (_DURATION, _split(self.counters.duration)),
                (_IDLE, _split(self.counters.idle)),
                (_PACKETS, self.counters.packets.to_bytes(8)),
                (_OCTETS, self.counters.octets.to_bytes(8)),
            )
        )
        stats = padded(_OXS.pack(_OXS.size + len(counters)) + counters)
        rest = self.match.packed + stats + pack_instructions(self.instructions)
        head = _ENTRY.pack(
            _ENTRY.size + len(rest),
            self.table,
            self.priority,
            self.idle_timeout,
            self.hard_timeout,
            self.flags,
            self.importance,
            self.cookie,
        )
        return head + rest

    def __str__(self) -> str:
        return str(self.as_addition).removeprefix("add ")


def _split(nanoseconds: int) -> bytes:
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return seconds.to_bytes(4) + rest.to_bytes(4)


@dataclass(frozen=True, slots=True)
class FlowsRequest(Message):
    """Show the flows of a table, or of all, that are at least as narrow as ``match`` and whose cookie fits."""

    kind: ClassVar[int] = 18
    part: ClassVar[Part] = Part.FLOW_DESCRIPTION
    table: int = ALL_TABLES
    cookie: int = 0
    cookie_mask: int = 0
    match: Match = ANYTHING
    out_port: int = PORT_ANY
    out_group: int = GROUP_ANY

    @property
    def body(self) -> bytes:
        """The multipart request after its header."""
        head = _REQUEST.pack(self.table, self.out_port, self.out_group, self.cookie, self.cookie_mask)
        return multipart(self.part) + head + self.match.packed


@dataclass(frozen=True, slots=True)
class FlowsReply(Message):
    """Some of the flows that were asked for; ``more`` if another reply follows."""

    kind: ClassVar[int] = 19
    part: ClassVar[Part] = Part.FLOW_DESCRIPTION
    entries: tuple[FlowEntry, ...]
    more: bool = False

    @property
    def body(self) -> bytes:
        """The multipart reply after its header."""
        return multipart(self.part, self.more) + b"".join([entry.packed for entry in self.entries])


@dataclass(frozen=True, slots=True)
class PackedFlowsReply(Message):
    """What :class:`FlowsReply` is, with each flow as the flow-mod that would add it; counters are left out."""

    kind: ClassVar[int] = 19
    entries: tuple[PackedFlow, ...]
    more: bool = False

    @property
    def body(self) -> bytes:
        """The multipart reply after its header."""
        entries = (FlowEntry.of(packed.unpacked) for packed in self.entries)
        return FlowsReply(tuple(entries), self.more).body


def read_flow_mod(data: Octets) -> FlowMod:
    """The body of a flow-mod. Raises MalformedMessage, ValueError or LocalMisuse."""
    cookie, mask, table, command, idle, hard, priority, _, port, group, flags, importance = data.unpack(_MOD)
    return FlowMod(
        table,
        priority,
        read_match(data),
        read_instructions(data),
        cookie,
        mask,
        FlowCommand(command),
        FlowFlags(flags),
        idle,
        hard,
        importance,
        port,
        group,
    )


def read_flows_request(data: Octets) -> FlowsRequest:
    """What follows the multipart header of a request. Raises MalformedMessage or LocalMisuse."""
    table, port, group, cookie, mask = data.unpack(_REQUEST)
    return FlowsRequest(table, cookie, mask, read_match(data), port, group)


def read_flows_reply(data: Octets, more: bool) -> FlowsReply:
    """What follows the multipart header of a reply. Raises MalformedMessage or LocalMisuse."""
    entries = []
    while data.remaining:
        size = data.peek_u16()
        entries.append(_read_entry(data.sub(size, "flow")))
    return FlowsReply(tuple(entries), more)


def read_packed_flows_reply(data: Octets, more: bool) -> PackedFlowsReply:
    """What follows the multipart header of a reply, none of it looked at but lengths. Raises MalformedMessage."""
    entries = []
    while data.remaining:
        one = data.sub(data.peek_u16(), "flow")
        _, table, priority, idle, hard, flags, importance, cookie = one.unpack(_ENTRY)
        match = one.take(_padded(one.peek_u16(2)))
        one.skip(_padded(one.peek_u16(2)))
        head = _MOD.pack(
            *(cookie, 0, table, FlowCommand.ADD, idle, hard, priority),
            *(_NO_BUFFER, PORT_ANY, GROUP_ANY, flags, importance),
        )
        entries.append(PackedFlow(head + match + one.rest()))
    return PackedFlowsReply(tuple(entries), more)


def _padded(size: int) -> int:
    return size + (-size & 7)


def _read_entry(data: Octets) -> FlowEntry:
    _, table, priority, idle, hard, flags, importance, cookie = data.unpack(_ENTRY)
    match = read_match(data)
    counters = _read_counters(data)
    instructions = read_instructions(data)
    return FlowEntry(table, priority, match, instructions, cookie, FlowFlags(flags), idle, hard, importance, counters)


def _read_counters(data: Octets) -> FlowCounters:
    (size,) = data.unpack(_OXS)
    stats = data.sub(size - _OXS.size, "flow statistics")
    data.skip_padding(size)
    found = dict.fromkeys((_PACKETS, _OCTETS, _DURATION, _IDLE), 0)
    while stats.remaining:
        head = stats.u32()
        value = stats.take(head & 0xFF)
        number = head >> 9 & 0x7F
        if head >> 16 != _OXS_CLASS or len(value) != 8:
            continue
        if number in (_DURATION, _IDLE):
            found[number] = int.from_bytes(value[:4]) * 1_000_000_000 + int.from_bytes(value[4:])
        elif number in found:
            found[number] = int.from_bytes(value)
    return FlowCounters(*found.values())
