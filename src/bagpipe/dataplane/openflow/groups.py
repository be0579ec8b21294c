"""Groups: the messages that change them and the multiparts that show them.

OpenFlow Switch Specification 1.5.1 sections 7.3.4.3 (group-mod), 7.3.5.9 and 7.3.5.10 (statistics, description), and
the Netronome experimenter property by which OVS is told how a select group chooses (ovs-ofctl(8), selection_method).
Other properties of groups and buckets, and statistics of single buckets, are passed over.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from struct import Struct
from typing import ClassVar

from bagpipe.dataplane.openflow.actions import PORT_ANY, Action, pack_actions, read_actions
from bagpipe.dataplane.openflow.fields import Criterion, read_criterion
from bagpipe.dataplane.openflow.matches import in_order
from bagpipe.dataplane.openflow.messages import Message
from bagpipe.dataplane.openflow.multipart import Part, multipart
from bagpipe.dataplane.openflow.octets import Octets, padded
from bagpipe.errors import LocalMisuse

GROUP_MAX = 0xFFFFFF00
ALL_GROUPS = 0xFFFFFFFC
GROUP_ANY = 0xFFFFFFFF
BUCKET_MAX = 0xFFFFFF00
BUCKET_FIRST = 0xFFFFFFFD
BUCKET_LAST = 0xFFFFFFFE
BUCKET_ALL = 0xFFFFFFFF
_MOD = Struct("!HBxIH2xI")
_BUCKET = Struct("!HHI")
_PROPERTY = Struct("!HH")
_WEIGHT = Struct("!HHH2x")
_WATCH = Struct("!HHI")
_SELECTION = Struct("!HHII4x16sQ")
_EXPERIMENTER = 0xFFFF
_NETRONOME = 0x0000154D
_SELECTION_METHOD = 1
_DESCRIPTION = Struct("!HBxIH6x")
_STATISTICS = Struct("!H2xII4xQQII")
_REQUEST = Struct("!I4x")


class GroupCommand(enum.IntEnum):
    """What to do with a group (OFPGC_*). ADD_OR_MODIFY is a command of OVS alone (2.6 and later)."""

    ADD = 0
    MODIFY = 1
    DELETE = 2
    INSERT_BUCKET = 3
    REMOVE_BUCKET = 5
    ADD_OR_MODIFY = 0x8000


class GroupType(enum.IntEnum):
    """Which buckets see a packet (OFPGT_*): all of them, one that is chosen, the only one, the first that lives."""

    ALL = 0
    SELECT = 1
    INDIRECT = 2
    FAST_FAILOVER = 3


@dataclass(frozen=True, slots=True)
class Bucket:
    """What one branch of a group does. ``bucket`` names it within its group, 0 to BUCKET_MAX.

    ``weight`` counts in select groups alone. The bucket lives while ``watch_port`` or ``watch_group`` does.
    """

    bucket: int
    actions: tuple[Action, ...] = ()
    weight: int = 1
    watch_port: int = PORT_ANY
    watch_group: int = GROUP_ANY

    def packed(self, of: GroupType) -> bytes:
        """The ofp_bucket structure in a group of type ``of``."""
        actions = pack_actions(self.actions)
        properties = _WEIGHT.pack(0, 8, self.weight) if of is GroupType.SELECT else b""
        if self.watch_port != PORT_ANY:
            properties += _WATCH.pack(1, 8, self.watch_port)
        if self.watch_group != GROUP_ANY:
            properties += _WATCH.pack(2, 8, self.watch_group)
        size = _BUCKET.size + len(actions) + len(properties)
        return _BUCKET.pack(size, len(actions), self.bucket) + actions + properties

    def __str__(self) -> str:
        weight = f"weight:{self.weight}," if self.weight != 1 else ""
        return f"bucket=bucket_id:{self.bucket},{weight}actions={','.join(map(str, self.actions)) or 'drop'}"


@dataclass(frozen=True, slots=True)
class Selection:
    """How a select group chooses: ``dp_hash``, or ``hash`` over ``fields`` (each with the bits that count as value).

    ``fields`` come in the order in which they are sent; :meth:`hashing` brings them into it.
    """

    method: str
    parameter: int = 0
    fields: tuple[Criterion, ...] = ()

    @classmethod
    def hashing(cls, *fields: Criterion, parameter: int = 0) -> Selection:
        """Choose by a hash over ``fields``, such as ``IPV4_DST.whole()``. Raises LocalMisuse for one given twice."""
        return cls("hash", parameter, in_order(fields))

    @property
    def packed(self) -> bytes:
        """The experimenter property with its padding."""
        method = self.method.encode("ascii")
        if len(method) > 15:
            raise LocalMisuse("selection method", self.method, "longer than 15 characters")
        if any(criterion.mask is not None for criterion in self.fields):
            raise LocalMisuse("selection fields", self.method, "the bits that count are the value, not a mask")
        fields = b"".join(criterion.packed for criterion in self.fields)
        size = _SELECTION.size + len(fields)
        head = _SELECTION.pack(_EXPERIMENTER, size, _NETRONOME, _SELECTION_METHOD, method, self.parameter)
        return padded(head + fields)

    def __str__(self) -> str:
        fields = ",".join(map(str, self.fields))
        return f"selection_method={self.method},selection_method_param={self.parameter}" + (
            f",fields({fields})" if fields else ""
        )


DP_HASH = Selection("dp_hash")


@dataclass(frozen=True, slots=True)
class GroupMod(Message):
    """Add, change or delete a group, or some of its buckets.

    ``at`` is where INSERT_BUCKET puts the buckets (after the bucket of this name, or BUCKET_FIRST, BUCKET_LAST) and
    which one REMOVE_BUCKET takes (or BUCKET_FIRST, BUCKET_LAST, BUCKET_ALL). ``group`` may be ALL_GROUPS for DELETE.
    Raises LocalMisuse if a selection or a weight is given for a group that does not choose.
    """

    kind: ClassVar[int] = 15
    group: int
    type: GroupType = GroupType.SELECT
    buckets: tuple[Bucket, ...] = ()
    selection: Selection | None = None
    command: GroupCommand = GroupCommand.ADD
    at: int = BUCKET_ALL

    def __post_init__(self) -> None:
        _check(self.type, self.buckets, self.selection)

    @classmethod
    def deletion(cls, group: int) -> GroupMod:
        """Delete a group, or ALL_GROUPS, and with it the flows that lead there."""
        return cls(group, GroupType.ALL, command=GroupCommand.DELETE)

    @property
    def body(self) -> bytes:
        """The ofp_group_mod structure after its header."""
        buckets = b"".join([bucket.packed(self.type) for bucket in self.buckets])
        head = _MOD.pack(self.command, self.type, self.group, len(buckets), self.at)
        return head + buckets + (self.selection.packed if self.selection else b"")

    def __str__(self) -> str:
        parts = [f"{self.command.name.lower()} group_id={self.group},type={self.type.name.lower()}"]
        parts += [str(self.selection)] if self.selection else []
        return ",".join([*parts, *map(str, self.buckets)])


def _check(of: GroupType, buckets: tuple[Bucket, ...], selection: Selection | None) -> None:
    if of is GroupType.SELECT:
        return
    if selection is not None:
        raise LocalMisuse("selection", selection, f"a group of type {of.name} does not choose")
    heavy = next((bucket for bucket in buckets if bucket.weight != 1), None)
    if heavy is not None:
        raise LocalMisuse("bucket weight", heavy.weight, f"a group of type {of.name} does not weigh")


@dataclass(frozen=True, slots=True)
class GroupEntry:
    """A group that a switch holds."""

    group: int
    type: GroupType
    buckets: tuple[Bucket, ...] = ()
    selection: Selection | None = None

    def __post_init__(self) -> None:
        _check(self.type, self.buckets, self.selection)

    @property
    def as_addition(self) -> GroupMod:
        """The message that would add this group; equal to the one that did."""
        return GroupMod(self.group, self.type, self.buckets, self.selection)

    @property
    def packed(self) -> bytes:
        """The ofp_group_desc structure."""
        buckets = b"".join([bucket.packed(self.type) for bucket in self.buckets])
        rest = buckets + (self.selection.packed if self.selection else b"")
        return _DESCRIPTION.pack(_DESCRIPTION.size + len(rest), self.type, self.group, len(buckets)) + rest

    def __str__(self) -> str:
        return str(self.as_addition).removeprefix("add ")


@dataclass(frozen=True, slots=True)
class GroupStatistics:
    """What a group has seen in ``duration`` nanoseconds. ``references`` counts what leads to it, in OVS only flows."""

    group: int
    references: int
    packets: int
    octets: int
    duration: int

    @property
    def packed(self) -> bytes:
        """The ofp_group_stats structure, without buckets."""
        seconds, rest = divmod(self.duration, 1_000_000_000)
        return _STATISTICS.pack(_STATISTICS.size, self.group, self.references, self.packets, self.octets, seconds, rest)


@dataclass(frozen=True, slots=True)
class GroupsRequest(Message):
    """Show a group, or all."""

    kind: ClassVar[int] = 18
    part: ClassVar[Part] = Part.GROUP_DESCRIPTION
    group: int = ALL_GROUPS

    @property
    def body(self) -> bytes:
        """The multipart request after its header."""
        return multipart(self.part) + _REQUEST.pack(self.group)


@dataclass(frozen=True, slots=True)
class GroupStatisticsRequest(Message):
    """Show what a group, or each of all, has seen."""

    kind: ClassVar[int] = 18
    part: ClassVar[Part] = Part.GROUP_STATISTICS
    group: int = ALL_GROUPS

    @property
    def body(self) -> bytes:
        """The multipart request after its header."""
        return multipart(self.part) + _REQUEST.pack(self.group)


@dataclass(frozen=True, slots=True)
class GroupsReply(Message):
    """Some of the groups that were asked for; ``more`` if another reply follows."""

    kind: ClassVar[int] = 19
    part: ClassVar[Part] = Part.GROUP_DESCRIPTION
    entries: tuple[GroupEntry, ...]
    more: bool = False

    @property
    def body(self) -> bytes:
        """The multipart reply after its header."""
        return multipart(self.part, self.more) + b"".join([entry.packed for entry in self.entries])


@dataclass(frozen=True, slots=True)
class GroupStatisticsReply(Message):
    """Some of the statistics that were asked for; ``more`` if another reply follows."""

    kind: ClassVar[int] = 19
    part: ClassVar[Part] = Part.GROUP_STATISTICS
    entries: tuple[GroupStatistics, ...]
    more: bool = False

    @property
    def body(self) -> bytes:
        """The multipart reply after its header."""
        return multipart(self.part, self.more) + b"".join([entry.packed for entry in self.entries])


def read_group_mod(data: Octets) -> GroupMod:
    """The body of a group-mod. Raises MalformedMessage, ValueError or LocalMisuse."""
    command, kind, group, size, at = data.unpack(_MOD)
    buckets = _read_buckets(data.sub(size, "buckets"))
    return GroupMod(group, GroupType(kind), buckets, _read_selection(data), GroupCommand(command), at)


def read_groups_reply(data: Octets, more: bool) -> GroupsReply:
    """What follows the multipart header of a reply. Raises MalformedMessage, ValueError or LocalMisuse."""
    entries = []
    while data.remaining:
        one = data.sub(data.peek_u16(), "group")
        _, kind, group, size = one.unpack(_DESCRIPTION)
        buckets = _read_buckets(one.sub(size, "buckets"))
        entries.append(GroupEntry(group, GroupType(kind), buckets, _read_selection(one)))
    return GroupsReply(tuple(entries), more)


def read_group_statistics_reply(data: Octets, more: bool) -> GroupStatisticsReply:
    """What follows the multipart header of a reply. Raises MalformedMessage."""
    entries = []
    while data.remaining:
        one = data.sub(data.peek_u16(), "group statistics")
        _, group, references, packets, octets, seconds, rest = one.unpack(_STATISTICS)
        entries.append(GroupStatistics(group, references, packets, octets, seconds * 1_000_000_000 + rest))
    return GroupStatisticsReply(tuple(entries), more)


def read_group(data: Octets) -> int:
    """The group that a request asks for. Raises MalformedMessage."""
    (group,) = data.unpack(_REQUEST)
    return int(group)


def _read_buckets(data: Octets) -> tuple[Bucket, ...]:
    buckets = []
    while data.remaining:
        one = data.sub(data.peek_u16(), "bucket")
        _, size, bucket = one.unpack(_BUCKET)
        actions = read_actions(one.sub(size, "bucket actions"))
        known = {0: 1, 1: PORT_ANY, 2: GROUP_ANY}
        while one.remaining:
            kind, body = _read_property(one)
            if kind in known:
                known[kind] = body.u16() if kind == 0 else body.u32()
        buckets.append(Bucket(bucket, actions, *known.values()))
    return tuple(buckets)


def _read_property(data: Octets) -> tuple[int, Octets]:
    kind, size = data.unpack(_PROPERTY)
    body = data.sub(size - _PROPERTY.size, f"property {kind}")
    data.skip_padding(size)
    return kind, body


def _read_selection(data: Octets) -> Selection | None:
    selection = None
    while data.remaining:
        kind, body = _read_property(data)
        if kind != _EXPERIMENTER or (body.u32(), body.u32()) != (_NETRONOME, _SELECTION_METHOD):
            continue
        body.skip(4)
        name, zero = body.take(15), body.take(1)
        if zero != b"\0":
            raise body.fault("the name of the selection method has no end")
        method = name.rstrip(b"\0").decode("ascii")
        parameter = body.u64()
        fields = []
        while body.remaining:
            fields.append(read_criterion(body))
            if fields[-1].mask is not None:
                raise body.fault(f"{fields[-1].field.name} with a mask")
        selection = Selection(method, parameter, in_order(fields))
    return selection
