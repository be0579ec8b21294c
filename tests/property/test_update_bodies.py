"""Whatever bytes a neighbour sends, the RIB raises only RemoteFault and stays consistent."""

from __future__ import annotations

from ipaddress import IPv4Address

from hypothesis import given, settings
from hypothesis import strategies as st

from bagpipe.errors import RemoteFault
from bagpipe.rib.adj_rib_in import AdjRibIn, Gate
from bagpipe.rib.bundle import Origin
from bagpipe.rib.store import Store
from bagpipe.rib.view import rows
from bagpipe.wire.attributes import Context
from bagpipe.wire.family import CARRIED, EVPN, FLOWSPEC_VPNV4, RTC, VPNV4, VPNV6, Family
from tests.unit.rib.routes import announcement, attribute, body, common, nlri, targets, withdrawal

NEXT_HOPS: dict[Family, bytes] = {
    VPNV4: bytes(8) + bytes((192, 0, 2, 1)),
    VPNV6: bytes(8) + bytes(16),
    RTC: bytes((192, 0, 2, 1)),
    EVPN: bytes((192, 0, 2, 1)),
    FLOWSPEC_VPNV4: b"",
}


def neighbour(store: Store, number: int, *, add_path: bool = False) -> AdjRibIn:
    router_id = IPv4Address(f"10.255.0.{number}").packed
    origin = Origin(f"peer{number}", False, True, True, router_id, router_id)
    gate = Gate(64512, IPv4Address("10.0.0.100").packed, None, True)
    families = frozenset(CARRIED)
    return AdjRibIn(store, origin, gate, Context(True, True), families, families if add_path else frozenset())


def field_of(family: Family, code: int, routes: bytes) -> bytes:
    next_hop = NEXT_HOPS[family]
    head = bytes((len(next_hop),)) + next_hop + b"\0" if code == 14 else b""
    return attribute(0x90, code, family.packed + head + routes)


families = st.sampled_from(tuple(NEXT_HOPS))
prefixes = st.builds(lambda a, n: f"10.{a}.{a}.0/{n}", st.integers(0, 3), st.integers(0, 32))
good = st.one_of(
    st.builds(
        lambda chosen, rt, label: announcement(*chosen, rt=(rt,), label=label),
        st.lists(prefixes, min_size=1, max_size=4),
        st.integers(0, 2),
        st.integers(0, 5),
    ),
    st.builds(lambda chosen: withdrawal(*chosen), st.lists(prefixes, min_size=1, max_size=4)),
)
random_routes = st.builds(
    lambda family, code, routes: body(common(), field_of(family, code, routes), targets(1)),
    families,
    st.sampled_from((14, 15)),
    st.binary(max_size=60),
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A good body with some octets changed, cut or doubled."""
    octets = bytearray(draw(good))
    for _ in range(draw(st.integers(1, 4))):
        if not octets:
            break
        at = draw(st.integers(0, len(octets) - 1))
        what = draw(st.sampled_from(("change", "cut", "insert")))
        if what == "change":
            octets[at] = draw(st.integers(0, 255))
        elif what == "cut":
            del octets[at : at + draw(st.integers(1, 8))]
        else:
            octets[at:at] = draw(st.binary(max_size=4))
    return bytes(octets)


bodies = st.one_of(good, damaged(), random_routes, st.binary(max_size=80))


def check(store: Store, neighbours: list[AdjRibIn]) -> None:
    """Entries, bundles, counts and the index tell the same story."""
    held: dict[object, int] = {}
    for table in store.tables.values():
        for key, entry in table.entries.items():
            for bundle in entry.bundles:
                assert key in bundle.routes
                assert bundle.table is table
                held[bundle.source] = held.get(bundle.source, 0) + 1
    sources = [source for neighbour in neighbours for source in neighbour.sources]
    for source in sources:
        assert sum(source.count.values()) == held.get(source, 0)
        assert sum(len(bundle.routes) for bundle in source.bundles.values()) == held.get(source, 0)
        assert all(bundle.routes for bundle in source.bundles.values())
    indexed = {bundle for bundles in store.by_route_target.values() for bundle in bundles}
    assert indexed == {b for source in sources for b in source.bundles.values() if b.attributes.route_targets}


@settings(max_examples=400, deadline=None)
@given(told=st.lists(st.tuples(st.integers(1, 3), bodies), max_size=25), add_path=st.booleans())
def test_any_bodies_leave_the_tables_consistent(told: list[tuple[int, bytes]], add_path: bool) -> None:
    store = Store()
    neighbours = [neighbour(store, number, add_path=add_path and number == 3) for number in (1, 2, 3)]

    for number, one in told:
        try:
            neighbours[number - 1].learn([one])
        except RemoteFault:
            neighbours[number - 1].clear()
        check(store, neighbours)
    shown = list(rows(store))

    assert len(shown) == sum(len(entry.bundles) for table in store.tables.values() for entry in table.entries.values())
    for one_neighbour in neighbours:
        one_neighbour.clear()
    assert not any(table.entries for table in store.tables.values())
    assert store.by_route_target == {}


@settings(max_examples=200, deadline=None)
@given(told=st.lists(good, max_size=20))
def test_the_tables_are_a_function_of_the_last_word_not_of_the_way_there(told: list[bytes]) -> None:
    """One body at a time, or all in one call; the hot path or the long way: the same routes."""
    one, other, slow = Store(), Store(), Store()
    neighbour(one, 1).learn(told)
    second = neighbour(other, 1)
    for body_ in told:
        second.learn([body_])
    third = neighbour(slow, 1)
    for body_ in told:
        third._guess = 1 << 20
        third.learn([body_])

    def picture(store: Store) -> dict[tuple[object, bytes], tuple[object, bytes, bytes]]:
        return {
            (name, key): (entry.best.routes[key], entry.best.attributes.block, entry.best.attributes.next_hop)
            for name, table in store.tables.items()
            for key, entry in table.entries.items()
        }

    assert picture(one) == picture(other) == picture(slow)


def test_a_damaged_label_field_is_still_a_route() -> None:
    store = Store()
    told = body(common(), field_of(VPNV4, 14, nlri("10.0.0.1", 0)), targets(1))

    neighbour(store, 1).learn([told])

    assert [row.label for row in rows(store)] == [0]
