"""Hypothesis strategies for everything that is sent to a switch and comes from it."""

from __future__ import annotations

from hypothesis import strategies as st

from bagpipe.dataplane.openflow import actions as act
from bagpipe.dataplane.openflow import fields
from bagpipe.dataplane.openflow.bundles import BundleAdd, BundleControl, BundleFlags, BundleStep
from bagpipe.dataplane.openflow.faults import EXPERIMENTER, SwitchError
from bagpipe.dataplane.openflow.fields import Criterion, Field, Form
from bagpipe.dataplane.openflow.flows import (
    FlowCommand,
    FlowCounters,
    FlowEntry,
    FlowFlags,
    FlowMod,
    FlowsReply,
    FlowsRequest,
)
from bagpipe.dataplane.openflow.groups import (
    Bucket,
    GroupCommand,
    GroupEntry,
    GroupMod,
    GroupsReply,
    GroupsRequest,
    GroupStatistics,
    GroupStatisticsReply,
    GroupStatisticsRequest,
    GroupType,
    Selection,
)
from bagpipe.dataplane.openflow.instructions import (
    ApplyActions,
    ClearActions,
    GotoTable,
    Instruction,
    UnknownInstruction,
    WriteActions,
    WriteMetadata,
)
from bagpipe.dataplane.openflow.matches import Match
from bagpipe.dataplane.openflow.messages import (
    BarrierReply,
    BarrierRequest,
    EchoReply,
    EchoRequest,
    FeaturesReply,
    FeaturesRequest,
    Hello,
    Message,
    UnknownMessage,
)
from bagpipe.dataplane.openflow.monitoring import (
    FlowEvent,
    FlowUpdate,
    MonitorCommand,
    MonitorFlags,
    MonitorReply,
    MonitorRequest,
    OwnUpdate,
)


def number(bits: int) -> st.SearchStrategy[int]:
    return st.integers(0, (1 << bits) - 1)


U8, U16, U32, U64 = number(8), number(16), number(32), number(64)
UNKNOWN_FIELDS = st.builds(
    lambda oxm_class, index, size, experimenter: Field(
        f"oxm-{oxm_class:#x}-{index}" + ("" if experimenter is None else f"-{experimenter:#x}"),
        oxm_class,
        index,
        size,
        8 * size,
        Form.HEXADECIMAL,
        experimenter,
    ),
    st.sampled_from([2, 0x7777, 0x8001]),
    st.integers(100, 127),
    st.integers(1, 8),
    st.none(),
) | st.builds(
    lambda index, size, experimenter: Field(
        f"oxm-0xffff-{index}-{experimenter:#x}",
        fields.EXPERIMENTER,
        index,
        size,
        8 * size,
        Form.HEXADECIMAL,
        experimenter,
    ),
    number(7),
    st.integers(1, 8),
    U32,
)
FIELDS = st.sampled_from(fields.KNOWN) | UNKNOWN_FIELDS


@st.composite
def criteria(draw: st.DrawFn, of: st.SearchStrategy[Field] = FIELDS) -> Criterion:
    field = draw(of)
    value = draw(number(field.bits))
    if draw(st.booleans()) or not field.masked_header:
        return field(value)
    return field.masked(value, draw(st.integers(1, (1 << field.bits) - 1)))


MATCHES = (
    st.lists(criteria(), max_size=6, unique_by=lambda one: one.field)
    .filter(lambda many: not {one.field for one in many} & set(fields.XREG))
    .map(lambda many: Match.of(*many))
)
PORTS = st.integers(1, act.PORT_MAX) | st.sampled_from([act.PORT_IN_PORT, act.PORT_LOCAL, act.PORT_CONTROLLER])
ETHERTYPES = st.sampled_from([act.ETH_IPV4, act.ETH_IPV6, act.ETH_MPLS])


@st.composite
def copies(draw: st.DrawFn) -> act.CopyField:
    source, destination = draw(FIELDS), draw(FIELDS)
    bits = draw(st.integers(1, min(source.bits, destination.bits)))
    start, end = draw(st.integers(0, source.bits - bits)), draw(st.integers(0, destination.bits - bits))
    return act.CopyField(source, destination, bits, start, end)


@st.composite
def stack_actions(draw: st.DrawFn) -> act.Action:
    field = draw(FIELDS)
    bits = draw(st.integers(1, field.bits))
    return draw(st.sampled_from([act.Push, act.Pop]))(field, bits, draw(st.integers(0, field.bits - bits)))


STANDARD_ACTIONS: st.SearchStrategy[act.Action] = st.one_of(
    st.builds(act.Output, PORTS, U16),
    st.builds(act.ToGroup, st.integers(0, act.PORT_MAX)),
    criteria().map(act.SetField),
    copies(),
    st.builds(act.PushVlan, st.sampled_from([0x8100, 0x88A8])),
    st.builds(act.PushMpls, st.sampled_from([0x8847, 0x8848])),
    st.builds(act.PopMpls, ETHERTYPES),
    st.builds(act.SetTtl, U8),
    st.builds(act.SetMplsTtl, U8),
    st.sampled_from([act.COPY_TTL_IN, act.COPY_TTL_OUT, act.DEC_MPLS_TTL, act.DEC_TTL, act.POP_VLAN]),
    st.builds(act.Resubmit, U8, st.integers(0, 0xFEFF) | st.integers(act.PORT_MAX, act.PORT_ANY)),
)
UNKNOWN_ACTIONS = st.builds(
    act.UnknownAction,
    st.sampled_from([2, 21, 26, 29, 0x1234, 0xFFFF]),
    st.integers(0, 4).flatmap(lambda words: st.binary(min_size=4 + 8 * words, max_size=4 + 8 * words)),
).filter(lambda action: action.body[:6] not in {bytes.fromhex(f"00002320{kind}") for kind in ("000e", "001b", "001c")})
ACTIONS = STANDARD_ACTIONS | stack_actions() | UNKNOWN_ACTIONS
ACTION_LISTS = st.lists(ACTIONS, max_size=4).map(tuple)
INSTRUCTIONS: st.SearchStrategy[Instruction] = st.one_of(
    st.builds(ApplyActions, ACTION_LISTS),
    st.builds(WriteActions, ACTION_LISTS),
    st.just(ClearActions()),
    st.builds(WriteMetadata, U64, U64),
    st.builds(GotoTable, U8),
    st.builds(UnknownInstruction, st.sampled_from([6, 7, 0x1234, 0xFFFF]), st.binary(min_size=12, max_size=12)),
)
INSTRUCTION_LISTS = st.lists(INSTRUCTIONS, max_size=3).map(tuple)
FLAGS = number(5).map(FlowFlags)
FLOW_MODS = st.builds(
    FlowMod,
    U8,
    U16,
    MATCHES,
    INSTRUCTION_LISTS,
    U64,
    U64,
    st.sampled_from(FlowCommand),
    FLAGS,
    U16,
    U16,
    U16,
    U32,
    U32,
)
FLOW_ENTRIES = st.builds(
    FlowEntry,
    U8,
    U16,
    MATCHES,
    INSTRUCTION_LISTS,
    U64,
    FLAGS,
    U16,
    U16,
    U16,
    st.builds(FlowCounters, U64, U64, st.integers(0, 10**18), st.integers(0, 10**18)),
)
SELECTIONS = st.builds(
    lambda method, parameter, many: (
        Selection.hashing(*many, parameter=parameter) if method == "hash" else Selection(method, parameter)
    ),
    st.sampled_from(["hash", "dp_hash", "fifteen-letters"]),
    U64,
    st.lists(st.sampled_from(fields.KNOWN).map(Field.whole), max_size=4, unique_by=lambda one: one.field),
)


@st.composite
def buckets(draw: st.DrawFn, of: GroupType) -> tuple[Bucket, ...]:
    weights = U16 if of is GroupType.SELECT else st.just(1)
    one = st.builds(Bucket, U32, ACTION_LISTS, weights, PORTS | st.just(act.PORT_ANY), U32)
    return tuple(draw(st.lists(one, max_size=3)))


@st.composite
def group_mods(draw: st.DrawFn) -> GroupMod:
    kind = draw(st.sampled_from(GroupType))
    selection = draw(st.none() | SELECTIONS) if kind is GroupType.SELECT else None
    return GroupMod(draw(U32), kind, draw(buckets(kind)), selection, draw(st.sampled_from(GroupCommand)), draw(U32))


GROUP_MODS = group_mods()
GROUP_ENTRIES = GROUP_MODS.map(lambda mod: GroupEntry(mod.group, mod.type, mod.buckets, mod.selection))
GROUP_STATISTICS = st.builds(GroupStatistics, U32, U32, U64, U64, st.integers(0, 10**18))
UPDATES = st.builds(
    FlowUpdate,
    st.sampled_from([FlowEvent.INITIAL, FlowEvent.ADDED, FlowEvent.REMOVED, FlowEvent.MODIFIED]),
    U8,
    U16,
    MATCHES,
    U64,
    INSTRUCTION_LISTS,
    U8,
    U16,
    U16,
) | st.builds(OwnUpdate, st.sampled_from([FlowEvent.ABBREVIATED, FlowEvent.PAUSED, FlowEvent.RESUMED]), U32)
VERSIONS = st.sets(st.integers(0, 70)).map(lambda many: tuple(sorted(many)))
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(Hello, VERSIONS),
    st.builds(EchoRequest, st.binary(max_size=20)),
    st.builds(EchoReply, st.binary(max_size=20)),
    st.just(FeaturesRequest()),
    st.builds(FeaturesReply, U64, U32, U8, U8, U32, U32),
    st.just(BarrierRequest()),
    st.just(BarrierReply()),
    st.builds(SwitchError, st.integers(0, 0xFFFE), U16, st.binary(max_size=64)),
    st.builds(SwitchError, st.just(EXPERIMENTER), U16, st.binary(max_size=64), U32),
    FLOW_MODS,
    GROUP_MODS,
    st.builds(BundleControl, U32, st.sampled_from(BundleStep), number(2).map(BundleFlags)),
    st.builds(BundleAdd, U32, number(2).map(BundleFlags), FLOW_MODS | GROUP_MODS),
    st.builds(FlowsRequest, U8, U64, U64, MATCHES, U32, U32),
    st.builds(FlowsReply, st.lists(FLOW_ENTRIES, max_size=3).map(tuple), st.booleans()),
    st.builds(GroupsRequest, U32),
    st.builds(GroupsReply, st.lists(GROUP_ENTRIES, max_size=3).map(tuple), st.booleans()),
    st.builds(GroupStatisticsRequest, U32),
    st.builds(GroupStatisticsReply, st.lists(GROUP_STATISTICS, max_size=3).map(tuple), st.booleans()),
    st.builds(MonitorRequest, U32, number(7).map(MonitorFlags), U8, MATCHES, st.sampled_from(MonitorCommand), U32, U32),
    st.builds(MonitorReply, st.lists(UPDATES, max_size=3).map(tuple), st.booleans()),
    st.builds(UnknownMessage, st.sampled_from([4, 10, 13, 24, 99, 255]), st.binary(max_size=40)),
    st.builds(UnknownMessage, st.sampled_from([18, 19]), st.binary(max_size=40).map(lambda rest: b"\x00\x63" + rest)),
)
