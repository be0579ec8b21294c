"""Facts, not order, for EVPN: whatever happened before, the same attachments and routes end in the same state.

Sequence numbers of MAC mobility are what order decides; here every attachment has its own from before a restart.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bagpipe.dataplane.model import Direction, FloodKey, MacKey, NeighbourKey, Port
from bagpipe.vpn.attachment import Attachment, Reserved
from tests.property.facts import both_ways, happen, otherwise
from tests.unit.vpn.evpn.node import (
    LOW,
    ONE_PATH,
    PE1,
    PE2,
    VXLAN,
    Node,
    attachment,
    discovery_nlri,
    ingress,
    mac_nlri,
    mobility,
    multicast_nlri,
    update,
    withdraw,
)

SPECS: dict[str, dict[str, Any]] = {"red": {"vni": 1001}, "blue": {"vni": 1002, "bridge": "brq1", "description": "b"}}
TARGETS = {"red": ((1,), (1,)), "blue": ((1, 2), (2,))}
ENDPOINTS: list[tuple[str, str | None, int, dict[str, Any]]] = [
    ("red", "10.0.0.2", 2, {}),
    ("red", "10.0.0.3", 2, {"local_pref": 200}),
    ("red", "2001:db8::2", 2, {}),
    ("red", None, 2, {}),
    ("red", None, 3, {"sticky": True}),
    ("red", "10.0.0.4", 4, {"direction": Direction.FROM_PORT}),
    ("blue", "10.0.0.2", 12, {"port": Port("patch", 7, vlan=3), "own_exports": (5,)}),
    ("blue", "10.0.0.9", 13, {"port": Port("patch", 7, vlan=3), "order": 4}),
]
SEQUENCES = {2: 1, 3: 0, 12: 0, 13: 2}
ESI = bytes.fromhex("00112233445566778899")
SEGMENT_TAG = 0xFFFFFFFF

Variants = tuple[str, bytes, tuple[bytes, ...]]  # who says it, its NLRI, the UPDATE bodies by which it may be said


def _routes() -> list[Variants]:
    found: list[Variants] = []
    for peer, node, rd in ((LOW, PE1, 1), ("192.0.2.2", PE1, 1), (LOW, PE2, 1), ("192.0.2.2", LOW, 2)):

        def said(nlri: bytes, *ways: dict[str, Any], peer: str = peer, node: str = node) -> None:
            bodies = (update(way.pop("nlri", nlri), **({"node": node} | way)) for way in ways)
            found.append((peer, nlri, tuple(bodies)))

        def mac(number: int, ip: str | None, esi: bytes = bytes(10), *, node: str = node, rd: int = rd) -> bytes:
            return mac_nlri(number, ip, node=node, rd=rd, esi=esi, vni=5000 + rd)

        said(
            mac(2, "10.0.0.2"),
            {"communities": mobility(0)},
            {"communities": mobility(3)},
            {"communities": mobility(1, sticky=True), "rt": (1, 2)},
            {"tunnels": (10,)},
        )
        said(
            mac(7, "10.0.0.2"),
            {"communities": mobility(2)},
            {"communities": mobility(1), "rt": (1, 2), "tunnels": ()},
            {"nlri": mac(7, "10.0.0.2", ESI), "communities": mobility(1)},
            {"nlri": mac(7, "10.0.0.2", ESI), "communities": mobility(2), "rt": (2,)},
        )
        said(mac(7, None), {}, {"communities": mobility(2)}, {"rt": (9,)}, {"nlri": mac(7, None, ESI)})
        said(mac(12, "10.0.0.9"), {"rt": (2,)}, {"rt": (1, 2), "communities": b"\x03\x0d" + bytes(6)})
        said(
            multicast_nlri(node, rd=rd),
            {"pmsi": ingress(node, 5000 + rd)},
            {"pmsi": ingress(node, 6000 + rd), "rt": (1, 2)},
            {"pmsi": ingress("192.0.2.153", 6000 + rd), "rt": (1, 2)},
            {"rt": (2,)},
        )
        modes = ({"communities": b"\x06\x01" + flags + bytes(5)} for flags in (b"\0", b"\1"))
        said(discovery_nlri(ESI, node, rd=rd, tag=SEGMENT_TAG), *modes, {"rt": (2,)})
        said(discovery_nlri(ESI, node, rd=rd, vni=7000 + rd), {}, {"rt": (1, 2)}, {"rt": (9,)})
    return found


ROUTES = _routes()


def attachment_of(number: int, *, final: bool) -> Attachment:
    """The endpoint as it ends, or otherwise: with other targets, another VNI, another place of its port."""
    instance, ip, mac, rest = ENDPOINTS[number]
    imports, exports = TARGETS[instance]
    made = attachment(instance, ip, mac, imports=imports, exports=exports, spec=SPECS[instance], **rest)
    if final:
        return made
    other = otherwise(made, vni=2000 + list(SPECS).index(instance))
    return replace(other, sticky=not made.sticky)


def reserved_of(number: int) -> Reserved:
    """Identifiers by what they identify, so that two runs give the same."""
    instance, _, mac, _ = ENDPOINTS[number]
    place = list(SPECS).index(instance) + 1
    return Reserved(place, 1000 + place, -1, 0, SEQUENCES.get(mac, 0))


Event = tuple[str, int, int]


def play(node: Node, event: Event) -> None:
    kind, number, way = event
    node.now += 1000.0
    if not happen(node, kind, number, attachment_of, reserved_of):
        peer, nlri, bodies = ROUTES[number]
        node.learn(bodies[way % len(bodies)] if kind == "announce" else withdraw(nlri), peer=peer, confirm=False)


def state(node: Node) -> tuple[object, ...]:
    """What follows from all that happened."""
    return node.tracker.desired, node.told(), node.imported


endpoints = st.integers(0, len(ENDPOINTS) - 1)
routes = st.integers(0, len(ROUTES) - 1)
ways = st.integers(0, 3)
events = st.one_of(
    st.tuples(st.sampled_from(["attach", "attach otherwise", "detach"]), endpoints, ways),
    st.tuples(st.sampled_from(["announce", "announce", "announce", "withdraw"]), routes, ways),
    st.tuples(st.sampled_from(["confirm", "refuse", "retry", "lose"]), st.integers(0, 2), ways),
)
facts = st.tuples(
    st.tuples(*[st.booleans() for _ in ENDPOINTS]), st.tuples(*[st.integers(-1, len(said[2]) - 1) for said in ROUTES])
)


def the_end(attached: tuple[bool, ...], told: tuple[int, ...]) -> list[Event]:
    """Events that bring any node to these facts, in whatever order."""
    ending: list[Event] = [("attach" if there else "detach", each, 0) for each, there in enumerate(attached)]
    ending += [("withdraw" if way < 0 else "announce", number, way) for number, way in enumerate(told)]
    return ending


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_the_same_facts_end_in_the_same_state_whatever_happened_before(data: st.DataObject) -> None:
    capabilities = data.draw(st.sampled_from([VXLAN, ONE_PATH]))
    ending = the_end(*data.draw(facts))

    straight, crooked = both_ways(data, lambda: Node(capabilities), play, ending, events)
    crooked.now += 1000.0
    crooked.instances.release_damped(crooked.now)
    crooked.tracker.retry()
    crooked.confirm()

    assert state(crooked) == state(straight)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_the_records_are_those_of_the_claims_said_to_win(data: st.DataObject) -> None:
    node = Node(data.draw(st.sampled_from([VXLAN, ONE_PATH])))
    play(node, ("attach", 0, 0))
    for event in data.draw(st.lists(events, min_size=5, max_size=60)):
        play(node, event)
    node.tracker.retry()
    node.confirm()

    decisions = node.instances.decisions
    for evi in node.instances.instances.values():
        held = {key: value for key, value in node.tracker.desired.items() if getattr(key, "instance", 0) == evi.number}
        for record in {*evi.mac_routes, *evi.hosts}:
            assert held.pop(record, ()) == decisions.verdict(evi, record).hops
        for address in {*evi.address_routes, *evi.addresses}:
            answers = decisions.neighbours(evi, address)
            assert held.pop(address, None) == (answers[0][1] if answers else None)
        assert not [record for record in held if isinstance(record, (MacKey, NeighbourKey))]
        assert {record for record in held if isinstance(record, FloodKey)} <= evi.flood_routes.keys()


@settings(max_examples=100, deadline=None)
@given(st.lists(events, max_size=40))
def test_when_all_is_gone_nothing_is_left(happened: list[Event]) -> None:
    node = Node(VXLAN)
    for event in happened:
        play(node, event)
    for number in range(len(ENDPOINTS)):
        play(node, ("detach", number, 0))
    node.confirm()

    assert state(node) == ({}, {}, set())
    assert node.instances.instances == {}
    assert node.numbers.vnis.holders == {}
    assert node.numbers.labels.live == node.numbers.rds.live == node.numbers.instances.live == set()
