"""Facts, not order: whatever happened before, the same attachments and routes end in the same state."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bagpipe.dataplane.model import Capabilities, Classifier, Direction, Encapsulation, ForwardKey, Port
from bagpipe.identifiers import RouteTarget
from bagpipe.vpn.attachment import Attachment, AttractTraffic, Readvertise, Reserved
from bagpipe.wire.extended_community import RedirectToRouteTarget
from bagpipe.wire.family import FLOWSPEC_VPNV4, FLOWSPEC_VPNV6, VPNV4, VPNV6
from tests.property.facts import both_ways, happen, otherwise
from tests.unit.rib import routes
from tests.unit.vpn.node import Node, attachment, prefix, rts

CAPABILITIES = (
    Capabilities("one path", (Encapsulation.MPLS_GRE,), False),
    Capabilities("several paths", (Encapsulation.MPLS_GRE, Encapsulation.VXLAN), True),
)

SPECS: dict[str, dict[str, Any]] = {
    "red": {},
    "blue": {"gateway": IPv4Address("10.0.0.1"), "static_routes": (prefix("10.9.0.0/16"),)},
    "chain": {"readvertise": Readvertise(rts(1), rts(3))},
    "attract": {
        "readvertise": Readvertise(rts(2), rts(4)),
        "attract": AttractTraffic(rts(1), Classifier(protocol=6), rts(5), (prefix("20.0.0.0/24"),)),
    },
}
TARGETS = {
    "red": ((1,), (1,)),
    "blue": ((1, 2), (2,)),
    "chain": ((), ()),
    "attract": ((2,), (6,)),
}
ENDPOINTS: list[tuple[str, str, int, dict[str, Any]]] = [
    ("red", "10.0.0.2", 2, {}),
    ("red", "10.0.0.3", 2, {"local_pref": 200}),
    ("red", "10.1.0.9/24", 3, {"advertise_subnet": True}),
    ("red", "10.1.0.8/24", 4, {"advertise_subnet": True, "order": 3}),
    ("red", "2001:db8::2", 2, {}),
    ("blue", "10.0.0.2", 12, {"port": Port("patch", 7, vlan=3)}),
    ("blue", "10.0.0.4/24", 13, {"port": Port("patch", 7, vlan=3), "gateways": (IPv4Address("10.0.0.254"),)}),
    ("blue", "10.0.0.5", 14, {"direction": Direction.FROM_PORT}),
    ("blue", "10.0.0.6", 2, {"direction": Direction.TO_PORT}),
    ("chain", "10.0.0.7", 2, {"direction": Direction.TO_PORT}),
    ("attract", "10.0.0.8", 21, {}),
]


def attachment_of(number: int, *, final: bool) -> Attachment:
    """The endpoint as it ends, or otherwise: with other targets, another preference and another place of its port."""
    instance, ip, mac, rest = ENDPOINTS[number]
    imports, exports = TARGETS[instance]
    made = attachment(instance, ip, mac, imports=imports, exports=exports, spec=SPECS[instance], **rest)
    return made if final else otherwise(made)


def reserved_of(number: int) -> Reserved:
    """Identifiers by what they identify, so that two runs give the same."""
    instance, _, mac, _ = ENDPOINTS[number]
    place = list(SPECS).index(instance) + 1
    version = 6 if ":" in ENDPOINTS[number][1] else 4
    return Reserved(place, 1000 + place, 2000 + number, 5000 + 1000 * place + 10 * mac + version)


VPN_ROUTES = [
    (peer, rd, text, targets, preference, tunnel)
    for peer, rd in (("192.0.2.1", 1), ("192.0.2.2", 1), ("192.0.2.2", 2))
    for text in ("10.0.0.2/32", "10.0.0.0/24", "20.0.0.1/32", "0.0.0.0/0")
    for targets, preference, tunnel in (((1,), 100, 2), ((2, 3), 100, 8), ((1, 2), 300, 10), ((1,), 100, None))
]


def vpn_update(number: int) -> tuple[str, bytes]:
    peer, rd, text, targets, preference, tunnel = VPN_ROUTES[number]
    communities = b"".join(routes.route_target(target) for target in targets)
    if tunnel is not None:
        communities = b"\x03\x0c\0\0\0\0" + tunnel.to_bytes(2) + communities
    nlri = routes.nlri(text, 1000 + number, rd)
    next_hop = f"192.0.2.{100 + number % 3}"
    extended = routes.attribute(0xC0, 16, communities)
    return peer, routes.body(routes.common(local_pref=preference), routes.reach(nlri, next_hop), extended)


def vpn_withdrawal(number: int) -> tuple[str, bytes]:
    peer, rd, text, *_ = VPN_ROUTES[number]
    return peer, routes.withdrawal(text, rd=rd)


def flow_nlri(number: int) -> bytes:
    destination = routes.route_distinguisher(number + 1) + b"\x01\x20\x14\x00\x00\x01" + b"\x03\x81\x06"
    return bytes((len(destination),)) + destination


def flow_update(number: int) -> tuple[str, bytes]:
    redirect = RedirectToRouteTarget.of(RouteTarget(routes.route_target(3 + number))).packed
    extended = routes.attribute(0xC0, 16, redirect + routes.route_target(1))
    reach = routes.attribute(0x90, 14, b"\0\1\x86\0\0" + flow_nlri(number))
    return "192.0.2.1", routes.body(routes.common(), reach, extended)


def flow_withdrawal(number: int) -> tuple[str, bytes]:
    return "192.0.2.1", routes.body(routes.attribute(0x90, 15, b"\0\1\x86" + flow_nlri(number)))


Event = tuple[str, int]


def play(node: Node, event: Event) -> None:
    kind, number = event
    if not happen(node, kind, number, attachment_of, reserved_of):
        make = {
            "announce": vpn_update,
            "withdraw": vpn_withdrawal,
            "flow": flow_update,
            "no flow": flow_withdrawal,
        }[kind]
        peer, body = make(number)
        node.learn(body, peer=peer, confirm=False)


def state(node: Node) -> tuple[object, ...]:
    """What follows from all that happened; instances by name, as those of redirects are numbered as they come."""
    names = {vrf.number: vrf.external_id for vrf in node.instances.instances.values()}

    def named(item: object) -> object:
        if not hasattr(item, "instance"):
            return item
        fields: tuple[str, ...] = ("prefix",) if isinstance(item, ForwardKey) else getattr(type(item), "__slots__", ())
        values = tuple((name, getattr(item, name)) for name in fields if name != "instance")
        return type(item).__name__, names[item.instance], values

    desired = {named(key): named(value) for key, value in node.tracker.desired.items()}
    return desired, node.told(VPNV4, VPNV6, FLOWSPEC_VPNV4, FLOWSPEC_VPNV6), node.imported


endpoints = st.integers(0, len(ENDPOINTS) - 1)
vpn_routes = st.integers(0, len(VPN_ROUTES) - 1)
flows = st.integers(0, 1)
events = st.one_of(
    st.tuples(st.sampled_from(["attach", "attach otherwise", "detach"]), endpoints),
    st.tuples(st.sampled_from(["announce", "withdraw"]), vpn_routes),
    st.tuples(st.sampled_from(["flow", "no flow"]), flows),
    st.tuples(st.sampled_from(["confirm", "refuse", "retry", "lose"]), st.integers(0, 2)),
)


def the_end(attached: set[int], told: dict[tuple[str, int, str], int], flow: set[int]) -> list[Event]:
    """Events that bring any node to these facts, in whatever order."""
    ending: list[Event] = [("attach" if each in attached else "detach", each) for each in range(len(ENDPOINTS))]
    for peer, rd, text in {route[:3] for route in VPN_ROUTES}:
        number = told.get((peer, rd, text))
        if number is None:
            same = next(at for at, route in enumerate(VPN_ROUTES) if route[:3] == (peer, rd, text))
            ending.append(("withdraw", same))
        else:
            ending.append(("announce", number))
    ending += [("flow" if each in flow else "no flow", each) for each in range(2)]
    return ending


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_the_same_facts_end_in_the_same_state_whatever_happened_before(data: st.DataObject) -> None:
    capabilities = data.draw(st.sampled_from(CAPABILITIES))
    attached = data.draw(st.sets(endpoints))
    told = {VPN_ROUTES[number][:3]: number for number in data.draw(st.lists(vpn_routes, max_size=8))}
    flow = data.draw(st.sets(flows))
    ending = sorted(the_end(attached, told, flow))

    # an attachment counts for its whole instance, so the last word of each instance is a final one
    straight, crooked = both_ways(data, lambda: Node(capabilities), play, ending, events)
    crooked.tracker.retry()
    crooked.confirm()

    assert state(crooked) == state(straight)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_records_are_those_of_the_routes_said_to_be_used(data: st.DataObject) -> None:
    node = Node(data.draw(st.sampled_from(CAPABILITIES)))
    for event in data.draw(st.lists(events, min_size=5, max_size=40)):
        play(node, event)
    node.tracker.retry()
    node.confirm()

    for vrf in node.instances.instances.values():
        for each in vrf.prefixes():
            used = {candidate.hop for candidate in node.instances.imports.used(vrf, each)}
            assert set(node.forward(vrf.external_id, str(each)) or ()) == used


@settings(max_examples=60, deadline=None)
@given(st.lists(events, max_size=40))
def test_when_all_is_gone_nothing_is_left(happened: list[Event]) -> None:
    node = Node(CAPABILITIES[1])
    for event in happened:
        play(node, event)
    for number in range(len(ENDPOINTS)):
        play(node, ("detach", number))
    node.confirm()

    assert state(node) == ({}, {}, set())
    assert node.instances.instances == {}
    assert node.instances.labels == {}
