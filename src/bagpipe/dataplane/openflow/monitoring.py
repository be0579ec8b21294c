"""Being told when somebody else changes flows.

OpenFlow Switch Specification 1.5.1 section 7.3.5.17 (flow monitoring), which OVS has since 2.16. A monitor cannot be
narrowed by cookie: whoever listens looks at the cookie of each update. Changes of groups are not told, but the flows
that go with a deleted group are.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from struct import Struct
from typing import ClassVar

from bagpipe.dataplane.openflow.actions import PORT_ANY
from bagpipe.dataplane.openflow.flows import ALL_TABLES, GROUP_ANY
from bagpipe.dataplane.openflow.instructions import Instruction, pack_instructions, read_instructions
from bagpipe.dataplane.openflow.matches import ANYTHING, Match, read_match
from bagpipe.dataplane.openflow.messages import Message
from bagpipe.dataplane.openflow.multipart import Part, multipart
from bagpipe.dataplane.openflow.octets import Octets

_REQUEST = Struct("!IIIHBB")
_FULL = Struct("!HHBBHHH4xQ")
_ABBREVIATED = Struct("!HHI")
_MINIMUM = 8


class MonitorFlags(enum.IntFlag):
    """Of which changes to tell and how much (OFPFMF_*)."""

    INITIAL = 1
    ADD = 2
    REMOVED = 4
    MODIFY = 8
    INSTRUCTIONS = 16
    NO_ABBREVIATION = 32
    ONLY_OWN = 64


class FlowEvent(enum.IntEnum):
    """What happened (OFPFME_*). ABBREVIATED stands for a change that this connection asked for itself."""

    INITIAL = 0
    ADDED = 1
    REMOVED = 2
    MODIFIED = 3
    ABBREVIATED = 4
    PAUSED = 5
    RESUMED = 6


class MonitorCommand(enum.IntEnum):
    """What to do with a monitor (OFPFMC_*)."""

    ADD = 0
    MODIFY = 1
    DELETE = 2


@dataclass(frozen=True, slots=True)
class MonitorRequest(Message):
    """Tell of changes to the flows of a table, or of all, that are at least as narrow as ``match``."""

    kind: ClassVar[int] = 18
    part: ClassVar[Part] = Part.FLOW_MONITOR
    monitor: int
    flags: MonitorFlags = MonitorFlags.ADD | MonitorFlags.REMOVED | MonitorFlags.MODIFY
    table: int = ALL_TABLES
    match: Match = ANYTHING
    command: MonitorCommand = MonitorCommand.ADD
    out_port: int = PORT_ANY
    out_group: int = GROUP_ANY

    @property
    def body(self) -> bytes:
        """The multipart request after its header."""
        head = _REQUEST.pack(self.monitor, self.out_port, self.out_group, self.flags, self.table, self.command)
        return multipart(self.part) + head + self.match.packed


@dataclass(frozen=True, slots=True)
class FlowUpdate:
    """A flow of somebody's was added, changed or removed. ``reason`` is of OFPRR_* where it was removed."""

    event: FlowEvent
    table: int
    priority: int
    match: Match
    cookie: int
    instructions: tuple[Instruction, ...] = ()
    reason: int = 0
    idle_timeout: int = 0
    hard_timeout: int = 0

    @property
    def packed(self) -> bytes:
        """The ofp_flow_update_full structure."""
        rest = self.match.packed + pack_instructions(self.instructions)
        head = _FULL.pack(
            _FULL.size + len(rest),
            self.event,
            self.table,
            self.reason,
            self.idle_timeout,
            self.hard_timeout,
            self.priority,
            self.cookie,
        )
        return head + rest


@dataclass(frozen=True, slots=True)
class OwnUpdate:
    """This connection's own transaction changed flows (ABBREVIATED), or telling has PAUSED or RESUMED (xid 0)."""

    event: FlowEvent
    xid: int = 0

    @property
    def packed(self) -> bytes:
        """The ofp_flow_update_abbrev or ofp_flow_update_paused structure."""
        return _ABBREVIATED.pack(_ABBREVIATED.size, self.event, self.xid)


@dataclass(frozen=True, slots=True)
class MonitorReply(Message):
    """What has changed, in order; ``more`` if another message of the first reply follows."""

    kind: ClassVar[int] = 19
    part: ClassVar[Part] = Part.FLOW_MONITOR
    updates: tuple[FlowUpdate | OwnUpdate, ...] = ()
    more: bool = False

    @property
    def body(self) -> bytes:
        """The multipart reply after its header."""
        return multipart(self.part, self.more) + b"".join([update.packed for update in self.updates])


def read_monitor_request(data: Octets) -> MonitorRequest:
    """What follows the multipart header of a request. Raises MalformedMessage, ValueError or LocalMisuse."""
    monitor, port, group, flags, table, command = data.unpack(_REQUEST)
    return MonitorRequest(monitor, MonitorFlags(flags), table, read_match(data), MonitorCommand(command), port, group)


def read_monitor_reply(data: Octets, more: bool) -> MonitorReply:
    """What follows the multipart header of a reply. Raises MalformedMessage, ValueError or LocalMisuse."""
    updates: list[FlowUpdate | OwnUpdate] = []
    while data.remaining:
        size, event = data.peek_u16(), FlowEvent(data.peek_u16(2))
        if size < _MINIMUM:
            raise data.fault(f"flow update of length {size}")
        one = data.sub(size, "flow update")
        if event >= FlowEvent.ABBREVIATED:
            updates.append(OwnUpdate(event, one.unpack(_ABBREVIATED)[2]))
            one.finish()
            continue
        _, _, table, reason, idle, hard, priority, cookie = one.unpack(_FULL)
        match = read_match(one)
        updates.append(FlowUpdate(event, table, priority, match, cookie, read_instructions(one), reason, idle, hard))
    return MonitorReply(tuple(updates), more)
