"""Routes taken in many at a time end as those taken in one by one: runs are a way to be quick, not to be different."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from hypothesis import given, settings
from hypothesis import strategies as st

from bagpipe.dataplane.model import Capabilities, Encapsulation
from tests.unit.rib import routes
from tests.unit.vpn.node import Node, rts

CAPABILITIES = st.sampled_from(
    [
        Capabilities("one path", (Encapsulation.MPLS,), False),
        Capabilities("several paths", (Encapsulation.MPLS,), True),
    ]
)
PREFIXES = ("10.0.0.2/32", "10.0.0.3/32", "10.0.0.4/32", "10.0.0.5/32", "10.0.0.0/24", "10.0.1.0/24", "0.0.0.0/0")
TARGETS = ((1,), (2,), (1, 2), (4,), (9,))

# whether it is announced, by whom, route distinguisher, prefix, label, next hop, targets
Said = tuple[bool, str, int, str, int, str, tuple[int, ...]]


@st.composite
def _said_at_once(draw: st.DrawFn) -> list[Said]:
    """Some routes of one neighbour with the same attributes."""
    is_announced = draw(st.sampled_from([True, True, True, False]))
    peer = draw(st.sampled_from(["192.0.2.1", "192.0.2.2"]))
    next_hop = draw(st.sampled_from(["192.0.2.101", "192.0.2.102", "2.2.2.2"]))
    targets = draw(st.sampled_from(TARGETS))
    route = st.tuples(st.integers(1, 2), st.sampled_from(PREFIXES), st.integers(100, 102))
    found = draw(st.lists(route, min_size=1, max_size=6, unique_by=lambda each: each[:2]))
    return [(is_announced, peer, rd, prefix, label, next_hop, targets) for rd, prefix, label in sorted(found)]


said = st.lists(_said_at_once(), max_size=6).map(lambda groups: [each for group in groups for each in group])


def bodies(events: Iterable[Said]) -> Iterable[tuple[str, bytes]]:
    """What neighbours that put as much as they can into one UPDATE send."""
    for _, run in groupby(events, _alike):
        together = list(run)
        is_announced, peer, _, _, _, next_hop, targets = together[0]
        if is_announced:
            nlri = b"".join(routes.nlri(prefix, label, rd) for _, _, rd, prefix, label, _, _ in together)
            yield peer, routes.body(routes.common(), routes.reach(nlri, next_hop), routes.targets(*targets))
        else:
            nlri = b"".join(routes.nlri(prefix, 0x80000, rd) for _, _, rd, prefix, *_ in together)
            yield peer, routes.body(routes.unreach(nlri))


def _alike(event: Said) -> tuple[object, ...]:
    is_announced, peer, _, _, _, next_hop, targets = event
    return (peer, next_hop, targets) if is_announced else (peer,)


def node(capabilities: Capabilities) -> Node:
    """Two VRFs share a target; two of the prefixes have an endpoint in one of them, and one VRF tells routes on."""
    made = Node(capabilities)
    made.attach("red", "10.0.0.2", 2, imports=(1,), exports=(3,))
    made.attach("red", "10.0.0.3", 3, imports=(1,), exports=(3,))
    made.attach("blue", "10.9.0.1", 4, imports=(1, 2))
    return made


def state(given: Node) -> tuple[object, ...]:
    """The records, and what VRFs know of the routes."""
    vrfs = given.instances.instances.values()
    return given.tracker.desired, [(vrf.routes, vrf.unusable, vrf.sources) for vrf in vrfs], given.told()


@settings(max_examples=200, deadline=None)
@given(CAPABILITIES, st.lists(said, max_size=4))
def test_routes_taken_in_together_end_as_those_taken_in_one_by_one(
    capabilities: Capabilities, turns: list[list[Said]]
) -> None:
    together, apart = node(capabilities), node(capabilities)
    importer = together.speaker.importer
    for turn in turns:
        together.speaker.importer = lambda: None
        for peer, body in bodies(turn):
            together.learn(body, peer=peer, confirm=False)
        together.speaker.importer = importer
        together.instances.routes_changed()
        for event in turn:
            for peer, body in bodies([event]):
                apart.learn(body, peer=peer)

    together.confirm()
    assert state(together) == state(apart)


@settings(max_examples=100, deadline=None)
@given(CAPABILITIES, said)
def test_an_instance_that_imports_something_else_ends_as_if_it_always_had(
    capabilities: Capabilities, events: list[Said]
) -> None:
    early, late = Node(capabilities), Node(capabilities)
    early.attach("red", "10.0.0.2", 2, imports=(1, 4))
    late.attach("red", "10.0.0.2", 2, imports=(2,))
    for peer, body in bodies(events):
        early.learn(body, peer=peer)
        late.learn(body, peer=peer)
    late.attach("red", "10.0.0.2", 2, imports=(1, 4))

    assert late.instances.instances["red"].import_rts == rts(1, 4)
    assert state(late) == state(early)


@settings(max_examples=50, deadline=None)
@given(CAPABILITIES, said)
def test_an_instance_that_ceases_to_import_keeps_nothing(capabilities: Capabilities, events: list[Said]) -> None:
    under_test = node(capabilities)
    before = state(node(capabilities))
    for peer, body in bodies(events):
        under_test.learn(body, peer=peer)
    for peer in ("192.0.2.1", "192.0.2.2"):
        for prefix in PREFIXES:
            under_test.learn(*[routes.withdrawal(prefix, rd=rd) for rd in (1, 2)], peer=peer)

    assert state(under_test) == before
