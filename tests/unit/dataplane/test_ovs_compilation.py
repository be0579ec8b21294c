"""Records to octets: what is written by hand for speed is what the typed messages would have written."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bagpipe.dataplane.delta import Change
from bagpipe.dataplane.model import (
    ARRIVING,
    Classifier,
    Delivery,
    DeliveryKey,
    Encapsulation,
    ForwardKey,
    Local,
    NextHop,
    Port,
    Ports,
    Prefix,
    Remote,
)
from bagpipe.dataplane.openflow import FlowMod, GroupMod, PackedFlow, apply
from bagpipe.dataplane.openflow import fields as f
from bagpipe.dataplane.openflow.actions import DEC_TTL, ToGroup
from bagpipe.dataplane.ovs.adoption import Actual, MatchOrder
from bagpipe.dataplane.ovs.ground import Dependents, Ground, Underlay
from bagpipe.dataplane.ovs.groups import bucket_numbers, in_order
from bagpipe.dataplane.ovs.inspection import route_of
from bagpipe.dataplane.ovs.pipeline import WHOLE_COOKIE, cookie, route_priority
from bagpipe.dataplane.ovs.plan import Program
from bagpipe.dataplane.ovs.records import masks, steering_priority
from bagpipe.dataplane.ovs.settings import ANY_GRE, OvsSettings
from bagpipe.errors import LocalMisuse
from bagpipe.identifiers import MacAddress

MAC = MacAddress(bytes.fromhex("020000000001"))


class Numbers:
    """Every port is there, with the number that its name ends in."""

    def number(self, name: str) -> int | None:
        return int(name[3:])


class Neighbourhood:
    """Every neighbour is there but those whose address ends in 99."""

    def mac(self, address: bytes) -> MacAddress | None:
        return None if address[-1] == 99 else MacAddress(b"\x02\x00" + address[-4:])


def program(**more: object) -> Program:
    plain: dict[str, object] = {"mpls_interface": ANY_GRE, "vxlan_encap": True}
    settings = OvsSettings(ip_address("192.0.2.1"), **(plain | more))  # type: ignore[arg-type]
    underlay = Underlay(21, 22, 23, MAC)
    return Program(Ground(settings, underlay, Numbers(), Neighbourhood()))


prefixes = st.one_of(
    st.ip_addresses(v=4).flatmap(lambda one: st.integers(0, 32).map(lambda n: ip_network((one, n), False))),
    st.ip_addresses(v=6).flatmap(lambda one: st.integers(0, 128).map(lambda n: ip_network((one, n), False))),
).map(Prefix.of)
labels = st.integers(16, (1 << 20) - 1)
hops: st.SearchStrategy[NextHop] = st.one_of(
    st.builds(
        Remote,
        st.binary(min_size=4, max_size=4),
        st.integers(1, (1 << 24) - 1),
        st.just(Encapsulation.VXLAN),
        st.integers(0, 3),
        st.binary(min_size=6, max_size=6),
    ),
    st.builds(Remote, st.binary(min_size=4, max_size=4), labels, st.sampled_from(Encapsulation), st.integers(0, 3)),
    st.builds(Local, st.integers(1, 9).map(lambda n: Port(f"tap{n}", vlan=n if n > 5 else None)), st.just(MAC)),
).filter(lambda hop: not isinstance(hop, Remote) or hop.address[-1] != 99)


@given(prefix=prefixes, hop=hops, instance=st.integers(1, 1 << 31))
def test_a_route_by_octets_is_the_flow_mod_of_its_actions(prefix: Prefix, hop: NextHop, instance: int) -> None:
    under_test = program()
    key = ForwardKey(instance, prefix)
    (message,) = under_test.plan([Change(key, None, (hop,))], {}).messages
    actions = apply(DEC_TTL, *under_test.next_hops.actions(hop))
    match = under_test.routes.match(key)
    flow = FlowMod(2, route_priority(prefix.length), match, actions, cookie(instance))
    assert isinstance(message, PackedFlow)
    assert message.octets == flow.body and message.unpacked == flow
    (removal,) = under_test.plan([Change(key, (hop,), None)], {}).messages
    assert removal.body == flow.removal(WHOLE_COOKIE).body
    # What is programmed names its route, and the order of its fields does not matter.
    assert route_of(flow.priority, flow.match) == key
    shuffled = flow.match.criteria[::-1]
    backwards = PackedFlow(message.octets.replace(_criteria(flow.match.criteria), _criteria(shuffled)))
    assert list(Actual([backwards], []).unlike(under_test.plan([Change(key, None, (hop,))], {}))) == []


def _criteria(criteria: tuple[object, ...]) -> bytes:
    return b"".join(one.packed for one in criteria)  # type: ignore[attr-defined]


@given(st.lists(prefixes, min_size=1, max_size=6), st.data())
def test_matches_of_a_switch_are_brought_into_order_whatever_came_before(
    found: list[Prefix], data: st.DataObject
) -> None:
    order, under_test = MatchOrder(), program()
    for prefix in found:
        match = under_test.routes.match(ForwardKey(data.draw(st.integers(1, 3)), prefix))
        octets = match.packed
        criteria = data.draw(st.permutations(match.criteria))
        assert order.of(octets.replace(_criteria(match.criteria), _criteria(tuple(criteria)))) == octets


@given(st.lists(hops, min_size=2, max_size=5, unique=True))
def test_the_same_next_hops_make_the_same_group_in_any_order_and_in_any_process(several: list[NextHop]) -> None:
    key, other = (ForwardKey(number, Prefix(4, 0, b"")) for number in (1, 2))
    one, two = program(), program()
    first = one.plan([Change(key, None, tuple(several)), Change(other, None, tuple(several[::-1]))], {})
    second = two.plan([Change(other, None, tuple(several[::-1])), Change(key, None, tuple(several))], {})
    groups = [[message for message in plan.messages if isinstance(message, GroupMod)] for plan in (first, second)]
    assert groups[0] == groups[1] and len(groups[0]) == 1
    numbers = [bucket.bucket for bucket in groups[0][0].buckets]
    assert len(set(numbers)) == len(numbers) == len(several)
    routes = [message.unpacked for message in first.messages if isinstance(message, PackedFlow)]
    assert {route.instructions for route in routes} == {apply(DEC_TTL, ToGroup(groups[0][0].group))}


def test_a_packet_to_a_router_leaves_in_a_frame_of_both_routers_macs() -> None:
    under_test = program(router_mac=MAC)
    key = ForwardKey(1, Prefix(4, 0, b""))
    there = Remote(bytes((192, 0, 2, 2)), 0x123457, Encapsulation.VXLAN, 0, bytes.fromhex("02000000000b"))

    (message,) = under_test.plan([Change(key, None, (there,))], {}).messages
    assert isinstance(message, PackedFlow)
    told = str(message.unpacked)
    for step in ("0x123457", "02:00:00:00:00:0b", "02:00:00:00:00:01", "192.0.2.2"):
        assert step in told, told

    # one without a router's MAC goes to whoever has the label
    (message,) = under_test.plan([Change(key, None, (Remote(there.address, 100, Encapsulation.VXLAN),))], {}).messages
    assert isinstance(message, PackedFlow)
    assert "02:00:00:00:00:01" not in str(message.unpacked)


def test_what_comes_by_the_vni_of_a_vrf_is_looked_up_if_it_is_for_this_router_whatever_its_ip_version() -> None:
    under_test = program()
    value = Delivery(1 | ARRIVING, None, MAC, None)
    plan = under_test.plan([Change(DeliveryKey(0x123457), None, value)], {})
    flows = [message for message in plan.messages if isinstance(message, FlowMod)]
    assert plan.refusals == {}
    assert [flow.match.get(f.ETH_TYPE) for flow in flows] == [f.ETH_TYPE(0x0800), f.ETH_TYPE(0x86DD)]
    for flow in flows:
        assert flow.match.get(f.ETH_DST) == f.ETH_DST(MAC)
        assert flow.match.get(f.TUNNEL_ID) == f.TUNNEL_ID(0x123457)
        assert flow.match.get(f.IN_PORT) == f.IN_PORT(22)


def test_the_mac_of_the_router_is_that_of_one_node() -> None:
    with pytest.raises(LocalMisuse, match="router_mac"):
        program(router_mac=MacAddress(bytes.fromhex("010000000001")))
    assert OvsSettings(ip_address("192.0.2.1"), vxlan_encap=True).capabilities.router_mac == MacAddress.from_text(
        "02:ba:c0:00:02:01"
    )
    assert OvsSettings(ip_address("192.0.2.1")).capabilities.router_mac is None


def test_a_group_lives_as_long_as_a_route_uses_it() -> None:
    under_test = program()
    both = (Remote(bytes((192, 0, 2, 2)), 100, Encapsulation.MPLS_GRE), Local(Port("tap1"), MAC))
    keys = [ForwardKey(number, Prefix(4, 0, b"")) for number in (1, 2)]
    kinds = []
    for changes in (
        [Change(keys[0], None, both)],
        [Change(keys[1], None, both)],
        [Change(keys[0], both, both[:1])],
        [Change(keys[1], both, None)],
    ):
        plan = under_test.plan(changes, {})
        kinds.append([str(message).split(maxsplit=1)[0] for message in plan.messages])
        under_test.commit(plan)
    assert kinds == [["add_or_modify", "add"], ["add"], ["add"], ["delete_strict", "delete"]]
    assert under_test.pool.in_use() == {} and under_test.grouped == {}


def test_next_hops_that_cannot_be_used_are_left_out_and_said() -> None:
    under_test = program(mpls_interface="tap1", mpls_over_gre=False)
    near, lost = (Remote(bytes((192, 0, 2, last)), 100, Encapsulation.MPLS) for last in (2, 99))
    key = ForwardKey(1, Prefix(4, 0, b""))
    plan = under_test.plan([Change(key, None, (near, lost))], {})
    assert plan.refusals == {key: "no MAC of 192.0.2.99 yet (1 of 2 next hops in use)"}
    assert [type(message) for message in plan.messages] == [PackedFlow]
    assert under_test.dependents.of([lost.address]) == under_test.dependents.of([near.address]) == [key]
    nothing = under_test.plan([Change(key, None, (lost,))], {})
    assert nothing.refusals == {key: "no MAC of 192.0.2.99 yet"}
    assert [str(message).split()[0] for message in nothing.messages] == ["delete_strict"]


def test_a_next_hop_of_the_other_ip_version_than_the_tunnels_is_refused() -> None:
    under_test = program()
    key = ForwardKey(1, Prefix(4, 0, b""))
    hop = Remote(ip_address("2001:db8::2").packed, 100, Encapsulation.MPLS_GRE)
    plan = under_test.plan([Change(key, None, (hop,))], {})
    assert plan.refusals == {key: "no tunnel to 2001:db8::2 can start at the local address 192.0.2.1"}


def test_next_hops_get_the_bucket_numbers_they_ask_for_if_free() -> None:
    four = [Remote(bytes((192, 0, 2, last)), 100, Encapsulation.MPLS, order) for last, order in enumerate((5, 0, 5, 1))]
    ordered = in_order(four)
    assert [hop.order for hop in ordered] == [0, 1, 5, 5]  # type: ignore[union-attr]
    assert bucket_numbers(ordered) == [0, 1, 5, 2]


@given(st.integers(0, 65535), st.integers(0, 65535))
def test_masks_cover_a_range_of_ports_and_nothing_else(one: int, other: int) -> None:
    low, high = sorted((one, other))
    made = list(masks(Ports(low, high)))
    assert len(made) <= 30
    assert sum(0x10000 - mask for _, mask in made) == high - low + 1
    assert all(low <= value and value + 0xFFFF - mask <= high for value, mask in made)


def test_steering_goes_before_routes_and_the_narrower_before_the_wider() -> None:
    def prefix(text: str) -> Prefix:
        return Prefix.of(ip_network(text))

    for version, wide, narrow in ((4, "10.0.0.0/8", "10.1.1.1/32"), (6, "fd00::/16", "fd00::1/128")):
        ordered = [
            Classifier(version),
            Classifier(version, protocol=6),
            Classifier(version, protocol=6, destination_ports=Ports(80, 80)),
            Classifier(version, source=prefix(wide)),
            Classifier(version, source=prefix(narrow)),
            Classifier(version, destination=prefix(wide)),
            Classifier(version, destination=prefix(wide), source=prefix(narrow)),
            Classifier(version, destination=prefix(narrow)),
            Classifier(
                version, destination=prefix(narrow), source=prefix(narrow), protocol=6, source_ports=Ports(1, 2)
            ),
        ]
        priorities = [steering_priority(classifier) for classifier in ordered]
        assert priorities == sorted(set(priorities))
        assert route_priority(128) < priorities[0] and priorities[-1] < 65000


@pytest.mark.parametrize("needs", [frozenset({"tap1"}), frozenset({b"\xc0\0\2\2"})])
def test_needs_are_forgotten_with_the_last_record_that_has_them(needs: frozenset[str | bytes]) -> None:
    dependents = Dependents()
    one, two = (ForwardKey(number, Prefix(4, 0, b"")) for number in (1, 2))
    dependents.note(one, needs)
    dependents.note(two, needs)
    assert dependents.of(needs) == [one, two]
    dependents.note(one, frozenset())
    assert dependents.of(needs) == [two] and dependents.take_dropped() == []
    dependents.note(two, frozenset())
    assert dependents.of(needs) == [] and not any(map(dependents.has, needs))
    assert dependents.take_dropped() == list(needs)
