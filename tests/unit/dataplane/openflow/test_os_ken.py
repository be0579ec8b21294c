"""os-ken, an OpenFlow implementation of others, reads every message that is sent, and means the same by it.

What it has a reader for is read by it; what it has only a writer for (requests) is written by it to the same octets.
"""

from __future__ import annotations

from struct import unpack_from
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from os_ken.ofproto import ofproto_parser
from os_ken.ofproto import ofproto_v1_5 as proto
from os_ken.ofproto import ofproto_v1_5_parser as parser

from bagpipe.dataplane.openflow import actions as act
from bagpipe.dataplane.openflow import fields
from bagpipe.dataplane.openflow.bundles import BundleAdd, BundleControl, BundleFlags, BundleStep
from bagpipe.dataplane.openflow.codec import encode
from bagpipe.dataplane.openflow.fields import Criterion, Field
from bagpipe.dataplane.openflow.flows import FlowMod, FlowsRequest
from bagpipe.dataplane.openflow.groups import GroupMod, GroupsRequest, GroupStatisticsRequest, GroupType
from bagpipe.dataplane.openflow.instructions import (
    ApplyActions,
    ClearActions,
    GotoTable,
    Instruction,
    WriteActions,
    WriteMetadata,
)
from bagpipe.dataplane.openflow.matches import Match
from bagpipe.dataplane.openflow.messages import BarrierRequest, EchoReply, EchoRequest, FeaturesRequest, Hello, Message
from bagpipe.dataplane.openflow.monitoring import MonitorCommand, MonitorFlags, MonitorRequest
from tests.unit.dataplane.openflow import values

NETRONOME = 0x0000154D


class Datapath:
    """What os-ken asks of a connection when it reads or writes a message."""

    ofproto = proto
    ofproto_parser = parser

    def set_xid(self, message: Any) -> None:
        message.set_xid(1)


def by_os_ken(octets: bytes) -> Any:
    """The message as os-ken reads it."""
    version, kind, size, xid = ofproto_parser.header(octets)
    return ofproto_parser.msg(Datapath(), version, kind, size, xid, octets)


def oxm(field: Field) -> int:
    """The class and number of a field as os-ken holds them in one number."""
    return field.oxm_class << 7 | field.number


TYPES = {one.num: one for one in proto.oxm_types if isinstance(one.num, int)}
NAMES = {number: one.name for number, one in TYPES.items()}
KINDS = {one.name: one.type for one in TYPES.values()}
KNOWN = tuple(one for one in fields.KNOWN if oxm(one) in NAMES)
# The order of a match is that of os-ken where it has the field; xreg pairs become registers in a match.
MATCHED = tuple(one for one in KNOWN if one not in fields.XREG)


def octets_of(name: str, value: Any) -> bytes:
    """A value that os-ken shows, as octets again."""
    return bytes(KINDS[name].from_user(value))


def meant(criterion: Criterion) -> tuple[str, bytes, bytes | None]:
    return NAMES[oxm(criterion.field)], criterion.value, criterion.mask


def shown(name: str, value: Any) -> tuple[str, bytes, bytes | None]:
    if isinstance(value, tuple):
        return name, octets_of(name, value[0]), octets_of(name, value[1])
    return name, octets_of(name, value), None


def check_match(ours: Match, theirs: Any) -> None:
    assert sorted(shown(*item) for item in theirs.items()) == sorted(map(meant, ours.criteria))


PLAIN = {
    act.Output: (parser.OFPActionOutput, ("port", "max_len")),
    act.PushVlan: (parser.OFPActionPushVlan, ("ethertype",)),
    act.PushMpls: (parser.OFPActionPushMpls, ("ethertype",)),
    act.PopMpls: (parser.OFPActionPopMpls, ("ethertype",)),
}
BARE = {
    act.COPY_TTL_IN: parser.OFPActionCopyTtlIn,
    act.COPY_TTL_OUT: parser.OFPActionCopyTtlOut,
    act.DEC_MPLS_TTL: parser.OFPActionDecMplsTtl,
    act.DEC_TTL: parser.OFPActionDecNwTtl,
    act.POP_VLAN: parser.OFPActionPopVlan,
}


def check_action(ours: act.Action, theirs: Any) -> None:
    match ours:
        case act.ToGroup(group):
            assert (type(theirs), theirs.group_id) == (parser.OFPActionGroup, group)
        case act.SetTtl(ttl):
            assert (type(theirs), theirs.nw_ttl) == (parser.OFPActionSetNwTtl, ttl)
        case act.SetMplsTtl(ttl):
            assert (type(theirs), theirs.mpls_ttl) == (parser.OFPActionSetMplsTtl, ttl)
        case act.SetField(criterion):
            assert type(theirs) is parser.OFPActionSetField
            assert shown(theirs.key, theirs.value) == meant(criterion)
        case act.Resubmit(table, port):
            assert type(theirs) is parser.NXActionResubmitTable
            assert (theirs.table_id, theirs.in_port) == (table, port & 0xFFFF)
        case _ if ours in BARE:
            assert type(theirs) is BARE[ours]
        case _:
            kind, names = PLAIN[type(ours)]
            assert type(theirs) is kind
            for name in names:
                assert getattr(theirs, name) == getattr(ours, name)


def check_actions(ours: tuple[act.Action, ...], theirs: list[Any]) -> None:
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        check_action(one, other)


def check_instruction(ours: Instruction, theirs: Any) -> None:
    match ours:
        case ApplyActions(actions):
            assert theirs.type == proto.OFPIT_APPLY_ACTIONS
            check_actions(actions, theirs.actions)
        case WriteActions(actions):
            assert theirs.type == proto.OFPIT_WRITE_ACTIONS
            check_actions(actions, theirs.actions)
        case ClearActions():
            assert (theirs.type, theirs.actions) == (proto.OFPIT_CLEAR_ACTIONS, [])
        case WriteMetadata(value, mask):
            assert (theirs.metadata, theirs.metadata_mask) == (value, mask)
        case GotoTable(table):
            assert (type(theirs), theirs.table_id) == (parser.OFPInstructionGotoTable, table)
        case _:
            raise AssertionError(f"{ours} is not sent")


ACTIONS = st.one_of(
    values.STANDARD_ACTIONS.filter(lambda one: not isinstance(one, act.SetField | act.CopyField)),
    values.criteria(st.sampled_from(KNOWN)).map(act.SetField),
)
LISTS = st.lists(ACTIONS, max_size=5).map(tuple)
INSTRUCTIONS = st.one_of(
    st.builds(ApplyActions, LISTS),
    st.builds(WriteActions, LISTS),
    st.just(ClearActions()),
    st.builds(WriteMetadata, values.U64, values.U64),
    st.builds(GotoTable, values.U8),
)
MATCHES = st.lists(values.criteria(st.sampled_from(MATCHED)), max_size=6, unique_by=lambda one: one.field).map(
    lambda many: Match.of(*many)
)
FLOW_MODS = st.builds(
    lambda mod, match, instructions: FlowMod(
        *(mod.table, mod.priority, match, instructions, mod.cookie, mod.cookie_mask, mod.command, mod.flags),
        *(mod.idle_timeout, mod.hard_timeout, mod.importance, mod.out_port, mod.out_group),
    ),
    values.FLOW_MODS,
    MATCHES,
    st.lists(INSTRUCTIONS, max_size=3).map(tuple),
)


def check_flow_mod(mod: FlowMod, read: Any) -> None:
    assert type(read) is parser.OFPFlowMod
    assert (read.table_id, read.priority, read.cookie, read.cookie_mask) == (
        *(mod.table, mod.priority, mod.cookie, mod.cookie_mask),
    )
    assert (read.command, read.flags, read.idle_timeout, read.hard_timeout, read.importance) == (
        *(mod.command, mod.flags, mod.idle_timeout, mod.hard_timeout, mod.importance),
    )
    assert (read.buffer_id, read.out_port, read.out_group) == (proto.OFP_NO_BUFFER, mod.out_port, mod.out_group)
    check_match(mod.match, read.match)
    assert len(read.instructions) == len(mod.instructions)
    for one, other in zip(mod.instructions, read.instructions, strict=True):
        check_instruction(one, other)


@settings(max_examples=300)
@given(FLOW_MODS)
def test_os_ken_reads_the_flow_that_was_meant(mod: FlowMod) -> None:
    check_flow_mod(mod, by_os_ken(encode(mod, 1)))


@pytest.mark.parametrize("field", MATCHED, ids=repr)
def test_os_ken_has_each_field_under_the_same_number_and_size(field: Field) -> None:
    read = by_os_ken(encode(FlowMod(0, match=Match.of(field.masked(1, 3) if field.bits > 2 else field(1))), 1))
    ((name, value),) = read.match.items()
    assert KINDS[name].size == field.size
    assert shown(name, value)[1] == (1).to_bytes(field.size)


def test_os_ken_knows_nearly_all_fields() -> None:
    assert {one.name for one in fields.KNOWN} - {one.name for one in KNOWN} <= {
        *(f"xreg{number}" for number in range(8)),
        *(f"reg{number}" for number in range(8, 16)),
        *("nd_reserved", "nd_options_type", "ip_frag", "mpls_ttl", "in_port"),
    }


@given(st.sampled_from(KNOWN), st.sampled_from(KNOWN), st.integers(1, 8), values.U8, values.U8)
def test_os_ken_copies_a_field_by_the_same_octets(
    source: Field, destination: Field, bits: int, start: int, end: int
) -> None:
    """Its reader of this action takes what follows for more fields, so its writer is asked."""
    ids = [parser.OFPOxmId(NAMES[oxm(one)]) for one in (source, destination)]
    theirs = bytearray()
    parser.OFPActionCopyField(bits, start, end, ids).serialize(theirs, 0)
    assert act.CopyField(source, destination, bits, start, end).packed == theirs


GROUPS = st.builds(
    lambda mod, lists: GroupMod(
        *(mod.group, mod.type),
        tuple(
            type(bucket)(bucket.bucket, actions, bucket.weight, bucket.watch_port, bucket.watch_group)
            for bucket, actions in zip(mod.buckets, lists, strict=False)
        ),
        *(mod.selection, mod.command, mod.at),
    ),
    values.GROUP_MODS,
    st.lists(LISTS, max_size=3),
)


def read_buckets(octets: bytes) -> list[Any]:
    """Each bucket by itself: os-ken reads on into the next one when it looks for properties."""
    found = []
    while octets:
        size = int.from_bytes(octets[:2])
        found.append(parser.OFPBucket.parser(octets[:size], 0))
        octets = octets[size:]
    return found


def check_properties(bucket: values.Bucket, of: GroupType, theirs: list[Any]) -> None:
    wanted = [("weight", bucket.weight)] if of is GroupType.SELECT else []
    wanted += [("watch", bucket.watch_port)] if bucket.watch_port != act.PORT_ANY else []
    wanted += [("watch", bucket.watch_group)] if bucket.watch_group != proto.OFPG_ANY else []
    assert [
        ("weight", one.weight) if isinstance(one, parser.OFPGroupBucketPropWeight) else ("watch", one.watch)
        for one in theirs
    ] == wanted


@settings(max_examples=200)
@given(GROUPS)
def test_os_ken_reads_the_group_that_was_meant(mod: GroupMod) -> None:
    octets = encode(mod, 1)
    size = int.from_bytes(octets[16:18])
    assert octets[8:16] == mod.command.to_bytes(2) + bytes((mod.type, 0)) + mod.group.to_bytes(4)
    assert octets[20:24] == mod.at.to_bytes(4)

    read = read_buckets(octets[24 : 24 + size])
    assert [one.bucket_id for one in read] == [one.bucket for one in mod.buckets]
    for bucket, other in zip(mod.buckets, read, strict=True):
        check_actions(bucket.actions, other.actions)

    rest = octets[24 + size :]
    if mod.selection is None:
        assert rest == b""
        return
    # os-ken reads whole words only.
    fields_sent = b"".join(criterion.packed for criterion in mod.selection.fields)
    assume(len(fields_sent) % 4 == 0)
    prop, _ = parser.OFPGroupProp.parse(rest)
    assert (type(prop), prop.experimenter, prop.exp_type) == (parser.OFPGroupPropExperimenter, NETRONOME, 1)
    data = b"".join(number.to_bytes(4) for number in prop.data)
    assert data[4:20].rstrip(b"\0").decode() == mod.selection.method
    assert int.from_bytes(data[20:28]) == mod.selection.parameter
    assert data[28:] == fields_sent


@settings(max_examples=100)
@given(GROUPS)
def test_os_ken_reads_weights_and_watches_of_buckets(mod: GroupMod) -> None:
    for bucket in mod.buckets:
        octets = bucket.packed(mod.type)
        properties, rest = [], octets[8 + int.from_bytes(octets[2:4]) :]
        while rest:
            one, rest = parser.OFPGroupBucketProp.parse(rest)
            properties.append(one)
        check_properties(bucket, mod.type, properties)


@pytest.mark.parametrize("step", list(BundleStep))
def test_os_ken_reads_the_step_of_a_bundle(step: BundleStep) -> None:
    read = by_os_ken(encode(BundleControl(7, step, BundleFlags.ATOMIC | BundleFlags.ORDERED), 1))
    assert (type(read), read.bundle_id, read.type) == (parser.OFPBundleCtrlMsg, 7, step)
    assert read.flags == proto.OFPBF_ATOMIC | proto.OFPBF_ORDERED


@settings(max_examples=50)
@given(FLOW_MODS)
def test_os_ken_reads_the_flow_in_a_bundle(mod: FlowMod) -> None:
    octets = encode(BundleAdd(7, BundleFlags.ORDERED, mod), 5)
    assert ofproto_parser.header(octets) == (proto.OFP_VERSION, proto.OFPT_BUNDLE_ADD_MESSAGE, len(octets), 5)
    assert unpack_from(proto.OFP_BUNDLE_ADD_MSG_0_PACK_STR, octets, 8) == (7, proto.OFPBF_ORDERED)
    read = by_os_ken(octets[16:])
    assert read.xid == 5
    check_flow_mod(mod, read)


def test_os_ken_reads_the_version_that_a_hello_offers() -> None:
    (element,) = by_os_ken(encode(Hello(), 1)).elements
    assert (element.type, element.versions) == (proto.OFPHET_VERSIONBITMAP, [proto.OFP_VERSION])


def written(message: Any) -> bytes:
    """The octets of os-ken's message, its transaction identifier being 1."""
    message.set_xid(1)
    message.serialize()
    return bytes(message.buf)


MATCH = Match.of(fields.ETH_TYPE(0x800), fields.IPV4_DST.prefix(0x0A000000, 8))
THEIR_MATCH = {"eth_type": 0x800, "ipv4_dst": ("10.0.0.0", "255.0.0.0")}
MONITORED = MonitorFlags.INITIAL | MonitorFlags.ADD | MonitorFlags.INSTRUCTIONS
PLACE = (proto.OFPP_ANY, proto.OFPG_ANY)
SAME = {
    "echo request": (EchoRequest(b"there?"), lambda path: parser.OFPEchoRequest(path, b"there?")),
    "echo reply": (EchoReply(b"there."), lambda path: parser.OFPEchoReply(path, b"there.")),
    "features": (FeaturesRequest(), parser.OFPFeaturesRequest),
    "barrier": (BarrierRequest(), parser.OFPBarrierRequest),
    "flows": (
        FlowsRequest(3, 0xB, 0xFF, MATCH),
        lambda path: parser.OFPFlowDescStatsRequest(path, 0, 3, *PLACE, 0xB, 0xFF, parser.OFPMatch(**THEIR_MATCH)),
    ),
    "groups": (GroupsRequest(), lambda path: parser.OFPGroupDescStatsRequest(path, 0, proto.OFPG_ALL)),
    "group statistics": (GroupStatisticsRequest(9), lambda path: parser.OFPGroupStatsRequest(path, 0, 9)),
    "monitor": (
        MonitorRequest(1, MONITORED, 3, MATCH, MonitorCommand.ADD),
        lambda path: parser.OFPFlowMonitorRequest(
            *(path, 0, 1, *PLACE, MONITORED, 3, proto.OFPFMC_ADD, parser.OFPMatch(**THEIR_MATCH)),
        ),
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_os_ken_writes_the_same_octets(name: str) -> None:
    ours: Message
    ours, theirs = SAME[name]
    assert encode(ours, 1) == written(theirs(Datapath()))
