"""What the Linux dataplane writes to the kernel, read back by its own readers; and what it decides without one."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bagpipe.dataplane.linux import entries
from bagpipe.dataplane.linux.domains import alias_of, digest
from bagpipe.dataplane.linux.entries import NextHop, Place
from bagpipe.dataplane.linux.netlink import DELNEXTHOP, NEWNEXTHOP, attribute, attributes_of, nested, table_of
from bagpipe.dataplane.linux.next_hops import NextHops
from bagpipe.dataplane.linux.settings import LinuxSettings
from bagpipe.dataplane.model import Key, MacKey
from bagpipe.errors import LocalMisuse

MACS = st.binary(min_size=6, max_size=6).filter(any)
ADDRESSES = st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16))
INDEXES = st.integers(1, 2**31 - 1)
VNIS = st.one_of(st.none(), st.integers(1, 2**24 - 1))
FOUR, FIVE, SIX = (bytes((192, 0, 2, last)) for last in (4, 5, 6))


@given(st.lists(st.tuples(st.integers(1, 0x3FFF), st.binary(max_size=40))))
def test_attributes_come_back_in_their_order_whatever_their_length(written: list[tuple[int, bytes]]) -> None:
    octets = b"".join(attribute(kind, value) for kind, value in written)
    assert len(octets) % 4 == 0
    assert list(attributes_of(octets)) == written
    assert table_of(octets) == dict(written)
    assert table_of(nested(5, octets)) == {5: octets}


@given(st.binary(max_size=60), st.integers(0, 70))
def test_octets_that_are_no_attributes_end_the_reading(octets: bytes, at: int) -> None:
    assert dict(attributes_of(octets, at)) == table_of(octets, at)


@given(INDEXES, MACS, ADDRESSES, VNIS)
def test_an_entry_for_a_node_says_where_it_leads(index: int, mac: bytes, address: bytes, vni: int | None) -> None:
    body = entries.put_remote(index, mac, address, vni).body
    entry = entries.entry_of(body)
    assert entry is not None
    assert (entry.interface, entry.mac, entry.address, entry.vni, entry.group) == (index, mac, address, vni, None)
    assert entry.lasts
    assert entry.is_outside
    assert entries.place_of(body) == Place(index, mac, is_tunnels=True)


@given(INDEXES, MACS, st.integers(1, 2**32 - 1))
def test_an_entry_for_a_group_says_which(index: int, mac: bytes, group: int) -> None:
    entry = entries.entry_of(entries.put_shared(index, mac, group).body)
    assert entry is not None
    assert (entry.mac, entry.address, entry.group) == (mac, None, group)


@given(INDEXES, MACS, st.booleans())
def test_an_entry_for_a_port_lasts_and_sticks_where_ports_learn(index: int, mac: bytes, sticky: bool) -> None:
    entry = entries.entry_of(entries.put_local(index, mac, sticky=sticky).body)
    assert entry is not None
    assert (entry.interface, entry.mac, entry.is_sticky) == (index, mac, sticky)
    assert entry.lasts
    assert not entry.is_outside


@given(INDEXES, ADDRESSES, VNIS)
def test_what_floods_and_what_ends_it_are_of_one_place_for_each_node(index: int, node: bytes, vni: int | None) -> None:
    place = Place(index, entries.MANY + node, is_tunnels=True)
    assert entries.place_of(entries.add_flood(index, node, vni).body) == place
    assert entries.place_of(entries.take_flood(index, node, vni).body) == place


@given(INDEXES, ADDRESSES, MACS, st.booleans())
def test_a_neighbour_is_known_again_as_ours(index: int, address: bytes, mac: bytes, is_router: bool) -> None:
    body = entries.put_neighbour(index, address, mac, is_router=is_router).body
    known = entries.neighbour_of(body)
    assert known is not None
    assert (known.interface, known.address, known.mac, known.is_router) == (index, address, mac, is_router)
    assert known.lasts
    assert known.is_ours
    assert entries.place_of(body) == entries.place_of(entries.take_neighbour(index, address).body)


@given(st.integers(1, 2**32 - 1), ADDRESSES, st.lists(st.integers(1, 2**32 - 1), min_size=1, max_size=8))
def test_next_hops_are_known_again_as_ours(number: int, address: bytes, nodes: list[int]) -> None:
    assert entries.next_hop_of(entries.put_node(number, address).body) == NextHop(number, True, address, ())
    assert entries.next_hop_of(entries.put_group(number, nodes).body) == NextHop(number, True, None, tuple(nodes))
    assert entries.next_hop_of(entries.take_next_hop(number).body).number == number


# ---------------------------------------------------------------------- groups of next hops


def key(number: int) -> Key:
    return MacKey(1, number.to_bytes(6))


def test_macs_at_the_same_nodes_share_one_group_and_groups_share_their_nodes() -> None:
    hops = NextHops()
    number, made = hops.use(key(1), (FOUR, FIVE))
    assert [request.kind for request in made] == [NEWNEXTHOP] * 3
    assert hops.use(key(2), (FOUR, FIVE)) == (number, [])
    other, made = hops.use(key(3), (FIVE, SIX))
    assert other != number
    told = [entries.next_hop_of(request.body) for request in made]
    assert len({hop.number for hop in told}) == 3


def test_a_group_goes_with_its_last_mac_and_a_node_with_its_last_group() -> None:
    hops = NextHops()
    first, _ = hops.use(key(1), (FOUR, FIVE))
    hops.use(key(2), (FIVE, SIX))
    assert hops.unused() == []
    hops.use(key(1), (FIVE, SIX))
    gone = hops.unused()
    assert [request.kind for request in gone] == [DELNEXTHOP] * 2
    assert entries.next_hop_of(gone[0].body).number == first
    hops.leave(key(1))
    hops.leave(key(2))
    assert len(hops.unused()) == 3
    assert hops.in_use() == {}


def test_what_the_kernel_has_lost_is_made_again_with_the_same_number() -> None:
    hops = NextHops()
    number, made = hops.use(key(1), (FOUR, FIVE))
    hops.use(key(2), (FOUR, SIX))
    node = entries.next_hop_of(made[1].body)
    assert node.address == FIVE
    assert hops.lose(node.number) == [key(1)]
    again, requests = hops.use(key(1), (FOUR, FIVE))
    assert again == number
    assert [entries.next_hop_of(request.body) for request in requests] == [
        entries.next_hop_of(request.body) for request in made
    ]


def test_groups_of_an_earlier_process_are_taken_over_and_those_of_others_left_alone() -> None:
    hops = NextHops()
    hops.adopt(
        [
            NextHop(10, True, FOUR, ()),
            NextHop(11, True, FIVE, ()),
            NextHop(12, True, None, (11, 10)),
            NextHop(13, True, None, (10, 99)),
            NextHop(20, False, SIX, ()),
            NextHop(21, False, None, (20, 20)),
        ]
    )
    assert hops.use(key(1), (FOUR, FIVE)) == (12, [])
    assert [entries.next_hop_of(request.body).number for request in hops.unused()] == [13]
    hops.leave(key(1))
    assert {entries.next_hop_of(request.body).number for request in hops.unused()} == {10, 11, 12}


# ---------------------------------------------------------------------- names and settings


def test_the_alias_of_a_device_fits_whatever_the_instance_is_called() -> None:
    long = "ü" * 300
    assert alias_of("blue") == "bagpipe:evi:blue"
    assert len(alias_of(long).encode()) < 256
    assert alias_of(long) != alias_of(long + "1")


def test_names_that_begin_alike_have_different_digests() -> None:
    names = [f"{'network-' * 10}{number}" for number in range(1000)]
    assert len({digest(name) for name in names}) == len(names)
    assert {len(digest(name)) for name in names} == {10}


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"vxlan_port": 0}, "vxlan_dst_port"),
        ({"vxlan_port": 65536}, "vxlan_dst_port"),
        ({"unknown_unicast": "maybe"}, "unknown_unicast"),
        ({"broadcast": ""}, "broadcast"),
        ({"underlay_mtu": 1279}, "underlay_mtu"),
        ({"local_address": ip_address("224.0.0.1")}, "dataplane_local_address"),
        ({"local_address": ip_address("::")}, "dataplane_local_address"),
    ],
)
def test_a_setting_that_can_never_work_is_named(wrong: dict[str, object], field: str) -> None:
    with pytest.raises(LocalMisuse) as caught:
        LinuxSettings(**{"local_address": ip_address("192.0.2.1"), **wrong})  # type: ignore[arg-type]
    assert caught.value.field == field
