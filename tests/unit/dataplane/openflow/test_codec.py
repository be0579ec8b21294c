"""Messages to octets and back, and octets that are no message."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bagpipe.dataplane.errors import MalformedMessage
from bagpipe.dataplane.openflow import ANYTHING, FlowEntry, FlowMod, GroupMod, Match, apply
from bagpipe.dataplane.openflow.actions import DEC_TTL, Output, Resubmit, SetField, load
from bagpipe.dataplane.openflow.bundles import BundleAdd, BundleFlags
from bagpipe.dataplane.openflow.codec import Stream, decode, encode
from bagpipe.dataplane.openflow.fields import ETH_TYPE, IPV4_DST, MPLS_LABEL, REG, XREG, Field
from bagpipe.dataplane.openflow.flows import FlowFlags, FlowsReply, PackedFlow
from bagpipe.dataplane.openflow.groups import DP_HASH, Bucket, GroupEntry, GroupType, Selection
from bagpipe.dataplane.openflow.messages import VERSION, EchoRequest, Hello, Message
from bagpipe.errors import LocalMisuse
from tests.unit.dataplane.openflow import values


@settings(max_examples=500)
@given(values.MESSAGES, values.U32)
def test_what_is_encoded_is_decoded_to_the_same(message: Message, xid: int) -> None:
    assert decode(encode(message, xid)) == (xid, message)


@settings(max_examples=200)
@given(values.FLOW_MODS)
def test_a_flow_by_its_octets_is_the_same_message(mod: FlowMod) -> None:
    packed = PackedFlow.of(mod)
    assert encode(packed, 9) == encode(mod, 9)
    assert packed.unpacked == mod
    assert str(packed) == str(mod)
    bundled = (BundleAdd(1, BundleFlags.ATOMIC, one) for one in (packed, mod))
    assert len({encode(one, 9) for one in bundled}) == 1


@settings(max_examples=200)
@given(values.MESSAGES)
def test_lengths_are_true_and_structures_end_at_multiples_of_eight(message: Message) -> None:
    octets = encode(message, 1)
    assert int.from_bytes(octets[2:4]) == len(octets)
    if isinstance(message, FlowMod | GroupMod):
        assert len(octets) % 8 == 0


@settings(max_examples=400)
@given(st.integers(0, 40), st.binary(max_size=200))
def test_garbage_raises_malformed_message_and_nothing_else(kind: int, rest: bytes) -> None:
    octets = bytes((VERSION, kind)) + (8 + len(rest)).to_bytes(2) + bytes(4) + rest
    try:
        _, message = decode(octets)
    except MalformedMessage as fault:
        assert str(fault)
    else:
        assert isinstance(message, Message)


@settings(max_examples=500)
@given(values.MESSAGES, st.data())
def test_a_message_with_spoiled_octets_raises_malformed_message_or_means_something(
    message: Message, data: st.DataObject
) -> None:
    octets = bytearray(encode(message, 1))
    for _ in range(data.draw(st.integers(1, 4))):
        if len(octets) > 8:
            octets[data.draw(st.integers(8, len(octets) - 1))] = data.draw(values.U8)
    cut = data.draw(st.integers(8, len(octets))) if data.draw(st.booleans()) else len(octets)
    octets[2:4] = cut.to_bytes(2)
    try:
        _, read = decode(bytes(octets[:cut]))
    except MalformedMessage:
        return
    assert decode(encode(read, 1)) == (1, read)


@settings(max_examples=200)
@given(st.lists(values.MESSAGES, max_size=5), st.data())
def test_any_cutting_of_the_stream_gives_the_same_messages(messages: list[Message], data: st.DataObject) -> None:
    whole = [encode(message, xid) for xid, message in enumerate(messages)]
    octets = b"".join(whole)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=8)))
    stream, found = Stream(), list[bytes]()
    for start, end in zip([0, *cuts], [*cuts, len(octets)], strict=True):
        found += stream.feed(octets[start:end])
    assert found == whole


def test_a_length_below_that_of_a_header_ends_the_stream() -> None:
    with pytest.raises(MalformedMessage, match="length 7"):
        Stream().feed(bytes.fromhex("0602000700000001"))


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        ("0614", "octets wanted"),
        ("0614000900000001", "length 9, but 8 octets"),
        ("0414000800000001", "version 0x4"),
        ("0614000c0000000100000000", "4 octets too many"),
        ("060e000c0000000100000000", "octets wanted"),
        ("06010009000000010a", "octets wanted"),
    ],
)
def test_what_is_not_a_message_is_refused_with_the_reason(octets: str, why: str) -> None:
    with pytest.raises(MalformedMessage, match=why):
        decode(bytes.fromhex(octets))


def test_a_hello_of_an_older_version_is_read() -> None:
    assert decode(bytes.fromhex("0100000800000007")) == (7, Hello(()))


@settings(max_examples=100)
@given(values.FLOW_ENTRIES)
def test_counters_are_read_as_they_were_counted(entry: FlowEntry) -> None:
    _, reply = decode(encode(FlowsReply((entry,)), 1))
    assert isinstance(reply, FlowsReply)
    assert reply.entries[0].counters == entry.counters


@settings(max_examples=100)
@given(values.FLOW_ENTRIES, values.GROUP_ENTRIES)
def test_what_a_switch_shows_is_what_would_add_it(flow: FlowEntry, group: GroupEntry) -> None:
    mod = flow.as_addition
    assert (mod.table, mod.priority, mod.match, mod.instructions, mod.cookie) == (
        *(flow.table, flow.priority, flow.match, flow.instructions, flow.cookie),
    )
    addition = group.as_addition
    assert (addition.group, addition.type, addition.buckets, addition.selection) == (
        *(group.group, group.type, group.buckets, group.selection),
    )
    assert str(flow) and str(group)


@settings(max_examples=200)
@given(st.lists(values.criteria(), max_size=6, unique_by=lambda one: one.field), st.randoms())
def test_the_order_in_which_criteria_are_given_does_not_matter(
    criteria: list[values.Criterion], random: Random
) -> None:
    singly = [one for one in criteria if one.field not in XREG]
    shuffled = list(singly)
    random.shuffle(shuffled)
    assert Match.of(*shuffled) == Match.of(*singly)


def test_a_pair_of_registers_is_the_same_match_as_its_two_registers() -> None:
    pair = XREG[1].masked(0x1_0000_0002, 0xFFFF_FFFF_0000_00FF)
    assert Match.of(pair) == Match.of(REG[2](1), REG[3].masked(2, 0xFF))
    assert Match.of(XREG[0].masked(1, 0xFFFF_FFFF)) == Match.of(REG[1](1))


def test_a_field_that_is_given_twice_is_refused_by_its_name() -> None:
    with pytest.raises(LocalMisuse, match="eth_type"):
        Match.of(ETH_TYPE(0x800), ETH_TYPE(0x86DD))
    with pytest.raises(LocalMisuse, match="ip_dst"):
        Selection.hashing(IPV4_DST.whole(), IPV4_DST.whole())


@pytest.mark.parametrize(
    "message",
    [
        FlowMod(256),
        FlowMod(0, priority=-1),
        FlowMod(0, cookie=1 << 64),
        FlowMod(0, instructions=apply(Output(1 << 32))),
        FlowMod(0, instructions=apply(Resubmit(300))),
        GroupMod(1 << 32),
        GroupMod(1, buckets=(Bucket(1, weight=1 << 16),)),
        GroupMod(1, selection=Selection("a-method-of-too-many-letters")),
        FlowMod(0, instructions=apply(*[Output(1)] * 5000)),
        BundleAdd(1, BundleFlags.NONE, FlowMod(0, instructions=apply(*[Output(1)] * 4092))),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_as_the_callers_fault(message: Message) -> None:
    with pytest.raises(LocalMisuse):
        encode(message, 1)


@pytest.mark.parametrize("kind", [one for one in GroupType if one is not GroupType.SELECT])
def test_only_a_group_that_chooses_weighs_and_selects(kind: GroupType) -> None:
    with pytest.raises(LocalMisuse, match="does not choose"):
        GroupMod(1, kind, selection=DP_HASH)
    with pytest.raises(LocalMisuse, match="does not weigh"):
        GroupMod(1, kind, (Bucket(1, weight=2),))


def test_a_selection_names_bits_by_value_and_not_by_mask() -> None:
    with pytest.raises(LocalMisuse, match="not a mask"):
        encode(GroupMod(1, selection=Selection("hash", 0, (IPV4_DST.prefix(0, 8),))), 1)


@pytest.mark.parametrize(
    ("at", "spoiled", "why"),
    [(66, b"\xc9", "oxm-0x2-100 with a mask"), (40, b"x" * 16, "has no end"), (40, b"\xff", "ascii")],
    ids=["masked field", "endless name", "name of no letters"],
)
def test_a_selection_that_cannot_be_written_is_not_read_either(at: int, spoiled: bytes, why: str) -> None:
    field = Field("oxm-0x2-100", 2, 100, 4, 32)
    octets = bytearray(encode(GroupMod(1, selection=Selection.hashing(field.whole())), 1))
    assert octets[40:44] == b"hash" and octets[64:68] == field.header
    octets[at : at + len(spoiled)] = spoiled
    with pytest.raises(MalformedMessage, match=why):
        decode(bytes(octets))


def test_flows_and_groups_read_like_those_of_ovs_ofctl() -> None:
    match = Match.of(IPV4_DST.prefix(bytes((10, 0, 0, 0)), 8), ETH_TYPE(0x800), REG[0](7))
    does = apply(DEC_TTL, SetField(MPLS_LABEL(16)), load(REG[1], 3, 4, 4), Output(2))
    flow = FlowMod(2, 100, match, does, cookie=0xB)
    assert str(flow) == (
        "add cookie=0xb,table=2,priority=100,reg0=0x7,eth_type=0x800,ip_dst=10.0.0.0/8"
        " actions=dec_ttl,set_field:16->mpls_label,set_field:0x30/0xf0->reg1,output:2"
    )
    assert str(flow.removal()) == (
        "delete_strict cookie=0xb,table=2,priority=100,reg0=0x7,eth_type=0x800,ip_dst=10.0.0.0/8 actions=drop"
    )
    group = GroupMod(5, buckets=(Bucket(1, (Output(2),), 3), Bucket(2)), selection=DP_HASH)
    assert str(group) == (
        "add group_id=5,type=select,selection_method=dp_hash,selection_method_param=0"
        ",bucket=bucket_id:1,weight:3,actions=output:2,bucket=bucket_id:2,actions=drop"
    )


def test_a_deletion_by_cookie_matches_everything_that_carries_it() -> None:
    deletion = FlowMod.deletion(0xB << 56, 0xFF << 56)
    assert (deletion.table, deletion.match, deletion.flags) == (255, ANYTHING, FlowFlags.NONE)
    assert decode(encode(deletion, 3)) == (3, deletion)


@settings(max_examples=50)
@given(st.binary(max_size=100))
def test_an_echo_carries_its_data(data: bytes) -> None:
    assert encode(EchoRequest(data), 1)[8:] == data
