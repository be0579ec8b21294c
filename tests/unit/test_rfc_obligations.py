"""Obligations of the RFCs that show only in the bytes that are sent: each test is named in a row of ``rfc/``."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bagpipe.errors import Outcome, RemoteFault
from bagpipe.rib.adj_rib_in import AdjRibIn
from bagpipe.rib.export import Profile
from bagpipe.rib.store import Store
from bagpipe.rib.update_group import UpdateGroup
from bagpipe.wire import update
from bagpipe.wire.attributes import Context, parse, walk
from bagpipe.wire.family import VPNV4, VPNV6
from tests.unit.rib.routes import announcement, attribute, body, common, key, nlri, reach, targets, withdrawal
from tests.unit.rib.test_update_group import CLIENTS, CLUSTER, Ear, membership, neighbour

NON_CLIENTS = replace(CLIENTS, is_client=False)
EXTERNAL = replace(CLIENTS, is_client=False, is_ibgp=False)
AS_65001 = b"\x02\x01\x00\x00\xfd\xe9"
VPNV6_NEXT_HOPS = (bytes(8) + bytes(range(16)), bytes(8) + bytes(range(16)) + bytes(8) + b"\xfe\x80" + bytes(14))


def told(profile: Profile, *bodies: bytes, ibgp: bool = True) -> list[bytes]:
    """The UPDATE bodies that a neighbour of this profile hears when another client says ``bodies``."""
    store = Store()
    group = UpdateGroup(store, profile)
    ear = Ear(group, "ear")
    speaker = neighbour(store, 1, ibgp=ibgp)
    messages: list[bytes] = []
    for one in bodies:
        speaker.learn([one])
        data = group.next_for(ear.member)
        while data:
            size = int.from_bytes(data[16:18])
            messages.append(data[19:size])
            data = data[size:] or group.next_for(ear.member)
    return messages


def attributes_in(message: bytes) -> dict[int, bytes]:
    return {code: value for _, code, value in walk(update.take_apart(message).block)}


def test_the_routes_are_the_first_attribute_and_the_only_field_with_routes() -> None:
    announced, withdrawn = told(CLIENTS, announcement("10.0.0.1"), withdrawal("10.0.0.1"))

    for message, code in ((announced, 14), (withdrawn, 15)):
        attributes = message[4:]
        assert message[:2] == b"\0\0", "no withdrawn routes in the old field"
        assert int.from_bytes(message[2:4]) == len(attributes), "no routes in the old field"
        assert attributes[1] == code
        assert sum(found in (14, 15) for _, found, _ in walk(attributes)) == 1


def test_the_reserved_octet_is_sent_as_zero_and_not_looked_at() -> None:
    good = announcement("10.0.0.1")
    at = good.index(bytes((192, 0, 2, 1))) + 4
    odd = good[:at] + b"\xff" + good[at + 1 :]

    (message,) = told(CLIENTS, odd)

    reached = update.take_apart(message).reach
    assert reached is not None
    assert reached.nlri == nlri("10.0.0.1")
    assert message[message.index(bytes((192, 0, 2, 1))) + 4] == 0


def test_a_next_hop_attribute_beside_mp_reach_is_ignored_for_the_route() -> None:
    strange = body(common(), attribute(0x40, 3, bytes((203, 0, 113, 9))), reach(nlri("10.0.0.1")), targets(1))
    store = Store()

    neighbour(store, 1).learn([strange])

    assert store.table(VPNV4, 120).entries[key("10.0.0.1")].best.attributes.next_hop_address == bytes((192, 0, 2, 1))


def test_a_withdrawal_carries_the_compatibility_value_in_place_of_the_label() -> None:
    _, withdrawn = told(CLIENTS, announcement("10.0.0.1", label=777), withdrawal("10.0.0.1"))

    gone = update.take_apart(withdrawn).unreach
    assert gone == (VPNV4, nlri("10.0.0.1", 0x80000)[:1] + b"\x80\0\0" + nlri("10.0.0.1")[4:])


@pytest.mark.parametrize("profile", [CLIENTS, NON_CLIENTS])
def test_a_reflected_route_keeps_path_preference_med_next_hop_and_label(profile: Profile) -> None:
    said = body(
        common(as_path=AS_65001, local_pref=333),
        attribute(0x80, 4, b"\0\0\0\x07"),
        reach(nlri("10.0.0.1", 4242), "198.51.100.7"),
        targets(1),
    )

    (message,) = told(profile, said)

    reached, attributes = update.take_apart(message).reach, attributes_in(message)
    assert reached is not None
    assert (reached.next_hop, reached.nlri) == (bytes(8) + bytes((198, 51, 100, 7)), nlri("10.0.0.1", 4242))
    assert (attributes[2], attributes[5], attributes[4]) == (AS_65001, (333).to_bytes(4), b"\0\0\0\x07")


def test_a_reflected_route_without_cluster_list_gets_one() -> None:
    (message,) = told(CLIENTS, announcement("10.0.0.1"))

    assert attributes_in(message)[10] == CLUSTER


def test_a_route_from_an_external_neighbour_is_told_inside_with_a_preference_and_its_path() -> None:
    (message,) = told(NON_CLIENTS, announcement("10.0.0.1", local_pref=None, as_path=AS_65001), ibgp=False)

    attributes = attributes_in(message)
    assert attributes[5] == (100).to_bytes(4)
    assert attributes[2] == AS_65001
    assert not {9, 10} & set(attributes)


def test_a_metric_of_another_as_is_not_told_to_a_third() -> None:
    said = body(common(as_path=AS_65001), attribute(0x80, 4, b"\0\0\0\x07"), reach(nlri("10.0.0.1")), targets(1))

    (message,) = told(EXTERNAL, said)

    assert 4 not in attributes_in(message)


def test_a_partial_bit_set_before_stays_set() -> None:
    said = body(common(), attribute(0xE0, 200, b"x"), reach(nlri("10.0.0.1")), targets(1))

    (message,) = told(CLIENTS, said)

    flags = {code: flags for flags, code, _ in walk(update.take_apart(message).block)}
    assert flags[200] & 0x20


def test_an_extended_community_of_unknown_kind_is_carried() -> None:
    unknown = b"\x99\x77abcdef"
    said = body(common(), reach(nlri("10.0.0.1")), attribute(0xC0, 16, unknown))

    (message,) = told(CLIENTS, said)

    assert attributes_in(message)[16] == unknown


@pytest.mark.parametrize(
    ("name", "tunnels"),
    [
        ("a tunnel type that nobody knows", b"\xfe\xdc\0\x04\x01\x02ab"),
        ("a sub-TLV that nobody knows", b"\0\x08\0\x04\x7b\x02ab"),
        ("a long sub-TLV that nobody knows", b"\0\x08\0\x05\xc8\0\x02ab"),
        ("reserved flags of VXLAN", b"\0\x08\0\x0e\x01\x0c\xff\0\0\x07" + bytes(8)),
        ("a reserved field of an egress endpoint", b"\0\x08\0\x0c\x06\x0a\xff\xff\xff\xff\0\x01\x0a\0\0\x01"),
    ],
)
def test_a_tunnel_encapsulation_is_carried_octet_for_octet(name: str, tunnels: bytes) -> None:
    said = body(common(), reach(nlri("10.0.0.1")), targets(1), attribute(0xC0, 23, tunnels))

    (message,) = told(CLIENTS, said)

    assert attributes_in(message)[23] == tunnels, name


def test_a_tunnel_encapsulation_without_the_transitive_flag_withdraws_the_route() -> None:
    with pytest.raises(RemoteFault) as raised:
        parse(VPNV4, bytes(12), common() + attribute(0x80, 23, b"\0\x08\0\0"), Context(True, True))

    assert raised.value.outcome is Outcome.TREAT_AS_WITHDRAW


@pytest.mark.parametrize("field", [*VPNV6_NEXT_HOPS, bytes(8) + bytes(10) + b"\xff\xff\xc0\0\2\1"])
def test_a_vpnv6_next_hop_of_24_or_48_octets_passes_octet_for_octet(field: bytes) -> None:
    route = bytes((88 + 48,)) + b"\0\x06\x41" + bytes(8) + b"\x20\x01\x0d\xb8\0\x01"
    value = VPNV6.packed + bytes((len(field),)) + field + b"\0" + route
    store = Store()
    group = UpdateGroup(store, CLIENTS)
    ear = Ear(group, "ear")
    ear.member = group.join("six", frozenset((VPNV6,)), ear.member.membership, ipv6_next_hops=False)
    speaker = neighbour(store, 1)
    speaker.families = frozenset((VPNV6,))

    speaker.learn([body(common(), attribute(0x90, 14, value), targets(1))])
    message = group.next_for(ear.member)[19:]

    reached = update.take_apart(message).reach
    assert reached is not None
    assert (reached.family, reached.next_hop, reached.nlri) == (VPNV6, field, route)


@pytest.mark.parametrize(("able", "heard"), [(True, 1), (False, 0)])
@pytest.mark.parametrize("field", VPNV6_NEXT_HOPS)
def test_a_vpnv4_route_with_an_ipv6_next_hop_goes_only_to_who_can_take_it(field: bytes, able: bool, heard: int) -> None:
    value = VPNV4.packed + bytes((len(field),)) + field + b"\0" + nlri("10.0.0.1")
    store = Store()
    group = UpdateGroup(store, CLIENTS)
    ear = Ear(group, "ear")
    ear.member = group.join("other", ear.member.families, ear.member.membership, ipv6_next_hops=able)

    neighbour(store, 1).learn([body(common(), attribute(0x90, 14, value), targets(1))])
    ear.listen()

    assert len(ear.routes) == heard
    if heard:
        assert store.table(VPNV4, 120).entries[key("10.0.0.1")].best.attributes.next_hop == field


def test_withdrawn_routes_are_judged_like_announced_ones() -> None:
    adj_rib_in: AdjRibIn = neighbour(Store(), 1)
    torn = withdrawal("10.0.0.1")[:-1]
    torn = torn[:2] + (len(torn) - 4).to_bytes(2) + torn[4:]
    at = torn.index(b"\x90\x0f") + 2
    torn = torn[:at] + (int.from_bytes(torn[at : at + 2]) - 1).to_bytes(2) + torn[at + 2 :]

    with pytest.raises(RemoteFault) as raised:
        adj_rib_in.learn([torn])

    assert raised.value.outcome is Outcome.RESET_SESSION


def test_routes_that_differ_in_their_label_alone_are_compared() -> None:
    store = Store()

    neighbour(store, 1).learn([announcement("10.0.0.1", label=100)])
    neighbour(store, 2).learn([announcement("10.0.0.1", label=200)])

    assert len(store.table(VPNV4, 120).entries[key("10.0.0.1")].bundles) == 2


def test_the_bottom_of_stack_bit_is_not_looked_at() -> None:
    bare = nlri("10.0.0.1")
    bare = bare[:3] + bytes((bare[3] & 0xFE,)) + bare[4:]
    store = Store()

    neighbour(store, 1).learn([body(common(), reach(bare), targets(1))])

    assert set(store.table(VPNV4, 120).entries) == {key("10.0.0.1")}


def test_a_malformed_as4_path_of_an_old_neighbour_costs_only_itself() -> None:
    short = common(as_path=b"\2\1\x5b\xa0") + attribute(0xC0, 17, b"\2\2" + (4_200_000_001).to_bytes(4))

    found = parse(VPNV4, bytes(12), short, Context(four_octet_as=False, is_ibgp=True))

    assert found.as_path == b"\2\1\0\0\x5b\xa0"
    assert len(found.discarded) == 1


def test_a_next_hop_attribute_of_a_wrong_length_withdraws_the_routes() -> None:
    with pytest.raises(RemoteFault) as raised:
        parse(VPNV4, bytes(12), common() + attribute(0x40, 3, bytes(5)), Context(four_octet_as=True, is_ibgp=True))

    assert raised.value.outcome is Outcome.TREAT_AS_WITHDRAW


def test_every_path_of_a_membership_counts_not_the_best_alone() -> None:
    """Two clients ask for one route target by the very same NLRI; only one of the two paths can be best."""
    store = Store()
    group = UpdateGroup(store, CLIENTS)
    ears = [Ear(group, f"peer{number}", constrained=True) for number in (2, 3)]
    field = b"\x00\x01\x84\x04" + bytes((192, 0, 2, 1)) + b"\0" + membership(1)
    for number, ear in zip((2, 3), ears, strict=True):
        source = neighbour(store, number)
        source.on_membership = lambda table, keys, present, ear=ear: group.membership_changed(
            ear.member, table, keys, added=present
        )
        source.learn([body(common(), attribute(0x80, 14, field))])

    neighbour(store, 1).learn([announcement("10.0.0.1")])
    for ear in ears:
        ear.listen()

    assert [set(ear.routes) for ear in ears] == [{key("10.0.0.1")}] * 2
