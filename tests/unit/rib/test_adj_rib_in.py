"""What a neighbour says ends in the tables, as RFC 4271, 4456 and 7606 have it."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from bagpipe.errors import RemoteFault
from bagpipe.rib.adj_rib_in import AdjRibIn, Gate
from bagpipe.rib.bundle import Origin
from bagpipe.rib.store import Store
from bagpipe.wire import update
from bagpipe.wire.attributes import Context
from bagpipe.wire.family import VPNV4
from tests.unit.rib.routes import (
    announcement,
    attribute,
    body,
    common,
    key,
    nlri,
    reach,
    route_target,
    targets,
    unreach,
    withdrawal,
)

HOST = 88 + 32


def adj_rib_in(store: Store, number: int = 1, *, add_path: bool = False, ibgp: bool = True) -> AdjRibIn:
    router_id = IPv4Address(f"10.255.0.{number}").packed
    origin = Origin(f"peer{number}", False, ibgp, True, router_id, router_id)
    gate = Gate(64512, IPv4Address("10.0.0.100").packed, IPv4Address("10.0.0.200").packed, ibgp)
    families = frozenset((VPNV4,))
    return AdjRibIn(store, origin, gate, Context(True, ibgp), families, families if add_path else frozenset())


def held(store: Store, length: int = HOST) -> dict[bytes, object]:
    return dict(store.table(VPNV4, length).entries)


def test_routes_with_one_attribute_block_share_one_bundle() -> None:
    store, neighbour = Store(), None
    neighbour = adj_rib_in(store)

    neighbour.learn([announcement("10.0.0.1"), announcement("10.0.0.2", label=7), announcement("10.0.0.3", rt=(2,))])

    entries = held(store)
    assert set(entries) == {key("10.0.0.1"), key("10.0.0.2"), key("10.0.0.3")}
    assert entries[key("10.0.0.1")] is entries[key("10.0.0.2")]
    assert entries[key("10.0.0.1")] is not entries[key("10.0.0.3")]
    assert neighbour.count(VPNV4) == 3


def test_a_label_change_alone_is_learned() -> None:
    store = Store()
    neighbour = adj_rib_in(store)

    neighbour.learn([announcement("10.0.0.1", label=100), announcement("10.0.0.1", label=200)])

    bundle = store.table(VPNV4, HOST).entries[key("10.0.0.1")].best
    assert bundle.routes[key("10.0.0.1")] == int.from_bytes(nlri("10.0.0.1", 200)[:4])
    assert neighbour.count(VPNV4) == 1


def test_a_changed_route_target_moves_the_route_in_the_index() -> None:
    store = Store()
    neighbour = adj_rib_in(store)

    neighbour.learn([announcement("10.0.0.1", rt=(1,)), announcement("10.0.0.1", rt=(2,))])

    assert list(store.by_route_target) == [route_target(2)]
    assert [k for _, k, _ in store.routes_of(route_target(2))] == [key("10.0.0.1")]
    assert neighbour.count(VPNV4) == 1


def test_a_withdrawal_removes_the_route_and_an_empty_bundle_goes() -> None:
    store = Store()
    neighbour = adj_rib_in(store)
    neighbour.learn([announcement("10.0.0.1", "10.0.0.2")])

    neighbour.learn([withdrawal("10.0.0.1", "10.0.0.9")])
    assert set(held(store)) == {key("10.0.0.2")}
    neighbour.learn([withdrawal("10.0.0.2")])

    assert held(store) == {}
    assert neighbour.source.bundles == {}
    assert store.by_route_target == {}
    assert neighbour.count(VPNV4) == 0


def test_prefixes_of_every_length_are_keyed_by_their_significant_bits() -> None:
    store = Store()
    neighbour = adj_rib_in(store)
    dirty = nlri("10.1.255.255/20")

    neighbour.learn([body(common(), reach(dirty), targets(1))])
    neighbour.learn([withdrawal("10.1.240.0/20")])

    assert held(store, 88 + 20) == {}
    assert neighbour.count(VPNV4) == 0


def test_two_neighbours_with_one_route_make_a_contest_decided_once() -> None:
    store = Store()
    one, two = adj_rib_in(store, 1), adj_rib_in(store, 2)

    one.learn([announcement("10.0.0.1", "10.0.0.2")])
    two.learn([announcement("10.0.0.1", "10.0.0.2", local_pref=200)])

    entries = held(store)
    assert entries[key("10.0.0.1")] is entries[key("10.0.0.2")]
    entry = store.table(VPNV4, HOST).entries[key("10.0.0.1")]
    assert entry.best.source is two.source
    two.clear()
    assert store.table(VPNV4, HOST).entries[key("10.0.0.1")].best.source is one.source


def test_contests_are_forgotten_with_their_bundles() -> None:
    store = Store()
    one, two = adj_rib_in(store, 1), adj_rib_in(store, 2)
    one.learn([announcement("10.0.0.1")])
    survivor = store.table(VPNV4, HOST).entries[key("10.0.0.1")].best

    for preference in range(50):
        two.learn([announcement("10.0.0.1", local_pref=preference)])

    assert len(survivor.contests()) == 1
    two.clear()
    assert survivor.contests() == {}


@pytest.mark.parametrize(
    "own",
    [
        {"originator": "10.0.0.100"},
        {"clusters": ("10.9.9.9", "10.0.0.200")},
        {"as_path": b"\x02\x01" + (64512).to_bytes(4)},
    ],
)
def test_own_routes_coming_back_are_dropped_and_replace_what_was_there(own: dict[str, object]) -> None:
    store = Store()
    neighbour = adj_rib_in(store)
    neighbour.learn([announcement("10.0.0.1")])

    neighbour.learn([announcement("10.0.0.1", **own), announcement("10.0.0.2", **own)])  # type: ignore[arg-type]

    assert held(store) == {}
    assert neighbour.count(VPNV4) == 0


def test_a_malformed_attribute_withdraws_the_routes_of_its_update_only() -> None:
    store = Store()
    neighbour = adj_rib_in(store)
    neighbour.learn([announcement("10.0.0.1", "10.0.0.2")])

    malformed = body(common(origin=7), reach(nlri("10.0.0.1")), targets(1))
    notes = neighbour.learn([malformed])

    assert set(held(store)) == {key("10.0.0.2")}
    assert list(notes.withdrawn.values()) == [[malformed]]
    assert notes.discarded == {}


def test_a_discarded_attribute_leaves_the_route() -> None:
    store = Store()
    neighbour = adj_rib_in(store)

    malformed = body(common(), attribute(0x40, 6, b"\0"), reach(nlri("10.0.0.1")), targets(1))
    notes = neighbour.learn([malformed])

    assert set(held(store)) == {key("10.0.0.1")}
    assert list(notes.discarded.values()) == [[malformed]]
    assert notes.withdrawn == {}


def test_nlri_that_cannot_be_split_reset_the_session_and_keep_what_came_before() -> None:
    store = Store()
    neighbour = adj_rib_in(store)

    with pytest.raises(RemoteFault):
        neighbour.learn([announcement("10.0.0.1"), body(common(), reach(nlri("10.0.0.2")[:-1]), targets(1))])

    assert set(held(store)) == {key("10.0.0.1")}


def test_attributes_that_overrun_with_no_route_in_sight_reset_the_session() -> None:
    neighbour = adj_rib_in(Store())

    with pytest.raises(RemoteFault):
        neighbour.learn([body(common(), b"\xc0\x10\xff\0")])


def test_one_update_may_withdraw_and_announce() -> None:
    store = Store()
    neighbour = adj_rib_in(store)
    neighbour.learn([announcement("10.0.0.1")])

    neighbour.learn([body(unreach(nlri("10.0.0.1")), common(), reach(nlri("10.0.0.2")), targets(1))])

    assert set(held(store)) == {key("10.0.0.2")}
    assert neighbour.count(VPNV4) == 1


def test_nlri_of_a_family_that_was_not_negotiated_are_passed_over() -> None:
    store = Store()
    neighbour = adj_rib_in(store)
    other = body(
        common(), attribute(0x80, 14, b"\x00\x02\x80\x18" + bytes(24) + b"\0" + b"\x58" + bytes(11)), targets(1)
    )

    neighbour.learn([other])

    assert [family for family, _ in store.tables] == []


def test_routes_that_nobody_imports_are_not_held_unless_retained() -> None:
    store = Store()
    neighbour = adj_rib_in(store)
    neighbour.retain = False
    store.import_route_target(route_target(1))

    neighbour.learn([announcement("10.0.0.1", rt=(1,)), announcement("10.0.0.2", rt=(2,))])
    assert set(held(store)) == {key("10.0.0.1")}

    neighbour.learn([announcement("10.0.0.1", rt=(2,))])
    assert held(store) == {}
    assert neighbour.source.bundles == {}


def test_stale_routes_stay_until_swept_and_are_replaced_meanwhile() -> None:
    store = Store()
    neighbour = adj_rib_in(store)
    neighbour.learn([announcement("10.0.0.1", "10.0.0.2")])

    neighbour.mark_stale(frozenset((VPNV4,)))
    assert set(held(store)) == {key("10.0.0.1"), key("10.0.0.2")}
    neighbour.learn([announcement("10.0.0.1")])
    removed = neighbour.sweep(frozenset((VPNV4,)))

    assert removed == 1
    assert set(held(store)) == {key("10.0.0.1")}
    assert neighbour.count(VPNV4) == 1
    assert neighbour.source.stale == {}


def test_paths_with_identifiers_stand_beside_each_other() -> None:
    store = Store()
    neighbour = adj_rib_in(store, add_path=True)
    one = (1).to_bytes(4) + nlri("10.0.0.1", 100)
    two = (2).to_bytes(4) + nlri("10.0.0.1", 200)

    neighbour.learn([body(common(), reach(one + two), targets(1))])
    entry = store.table(VPNV4, HOST).entries[key("10.0.0.1")]
    assert len(entry.bundles) == 2
    assert neighbour.count(VPNV4) == 2
    neighbour.learn([body(unreach(one))])

    left = store.table(VPNV4, HOST).entries[key("10.0.0.1")]
    assert [bundle.source.path_id for bundle in left.bundles] == [2]
    assert neighbour.count(VPNV4) == 1


def test_end_of_rib_is_noted() -> None:
    notes = adj_rib_in(Store()).learn([update.end_of_rib(VPNV4)[19:]])

    assert notes.ended == [VPNV4]


def test_a_crafted_guess_cannot_pass_for_a_known_block() -> None:
    store = Store()
    neighbour = adj_rib_in(store)
    neighbour.learn([announcement("10.0.0.1")])
    honest = announcement("10.0.0.2")
    at = honest.index(b"\x90\x0e")
    longer = honest[:at] + b"\x90\x0e\xff\xff" + honest[at + 4 :]

    with pytest.raises(RemoteFault):
        neighbour.learn([longer])

    assert set(held(store)) == {key("10.0.0.1")}
