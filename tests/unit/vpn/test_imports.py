"""Routes of neighbours and of other VRFs: which become records, with which next hops, and why not."""

from __future__ import annotations

import gc
from ipaddress import IPv4Address, ip_address

import pytest

from bagpipe.dataplane.model import Capabilities, Encapsulation, ForwardKey, Remote, SourceKey
from bagpipe.rib.bundle import Bundle
from tests.unit.rib import routes
from tests.unit.vpn.node import DUMMY, GRE, MPLS, Node, prefix

M, G, V = Encapsulation.MPLS, Encapsulation.MPLS_GRE, Encapsulation.VXLAN
PE1, PE2 = "192.0.2.101", "192.0.2.102"


def announce(
    text: str,
    label: int,
    next_hop: str = PE1,
    *,
    tunnels: tuple[int, ...] = (),
    rd: int = 1,
    order: int = 0,
    **rest: object,
) -> bytes:
    """A VPN-IPv4 route with target 64512:1."""
    targets = rest.pop("rt", (1,))
    communities = b"".join(b"\x03\x0c\0\0\0\0" + each.to_bytes(2) for each in tunnels)
    if order:
        communities += b"\x03\x14" + order.to_bytes(4) + b"\0\0"
    communities += b"".join(routes.route_target(each) for each in targets)  # type: ignore[attr-defined]
    extended = routes.attribute(0xC0, 16, communities)
    common = routes.common(**rest)  # type: ignore[arg-type]
    return routes.body(common, routes.reach(routes.nlri(text, label, rd), next_hop), extended)


def announce_v6(next_hop: bytes, label: int = 200) -> bytes:
    """2001:db8:1::/48 with target 64512:1."""
    nlri = (
        bytes((88 + 48,)) + (label << 4 | 1).to_bytes(3) + routes.route_distinguisher(1) + bytes.fromhex("20010db80001")
    )
    field = bytes(8) + next_hop
    reach = routes.attribute(0x90, 14, b"\0\2\x80" + bytes((len(field),)) + field + b"\0" + nlri)
    return routes.body(routes.common(), reach, routes.targets(1))


def remote(address: str, label: int, encapsulation: Encapsulation = M, order: int = 0) -> Remote:
    return Remote(ip_address(address).packed, label, encapsulation, order)


def node_with_red(capabilities: Capabilities = MPLS) -> Node:
    node = Node(capabilities)
    node.attach()
    return node


def test_a_route_with_an_imported_target_becomes_a_record_and_goes_with_the_route() -> None:
    node = node_with_red()
    node.learn(announce("10.0.1.0/24", 100), announce("10.0.2.0/24", 101, rt=(9,)))
    assert node.forward("red", "10.0.1.0/24") == (remote(PE1, 100),)
    assert node.forward("red", "10.0.2.0/24") is None
    assert SourceKey(IPv4Address(PE1).packed) in node.tracker.desired
    node.learn(announce("10.0.1.0/24", 102))
    assert node.forward("red", "10.0.1.0/24") == (remote(PE1, 102),)
    node.learn(routes.withdrawal("10.0.1.0/24"))
    assert node.forward("red", "10.0.1.0/24") is None
    assert SourceKey(IPv4Address(PE1).packed) not in node.tracker.desired


def test_a_route_that_is_there_already_is_imported_by_an_instance_that_comes_later() -> None:
    node = node_with_red()
    node.learn(announce("10.0.1.0/24", 100))
    node.attach("blue", "10.0.0.2", 9)
    assert node.forward("blue", "10.0.1.0/24") == (remote(PE1, 100),)
    node.detach()
    assert node.forward("blue", "10.0.1.0/24") == (remote(PE1, 100),)
    assert node.imported == {"64512:1"}


def test_other_import_targets_bring_and_take_routes() -> None:
    node = node_with_red()
    node.learn(
        announce("10.0.1.0/24", 100), announce("10.0.2.0/24", 101, rt=(2,)), announce("10.0.3.0/24", 1, rt=(1, 2))
    )
    node.attach(imports=(2,))
    assert node.forward("red", "10.0.1.0/24") is None
    assert node.forward("red", "10.0.2.0/24") == (remote(PE1, 101),)
    assert node.forward("red", "10.0.3.0/24") == (remote(PE1, 1),)
    assert node.imported == {"64512:2"}
    node.attach(imports=())
    assert node.imported == set()
    assert [each for each in node.tracker.desired if isinstance(each, ForwardKey)] == [
        ForwardKey(1, prefix("10.0.0.2/32"))
    ]


@pytest.mark.parametrize(
    ("had", "tunnels", "expected"),
    [
        ((M,), (), M),
        ((G,), (), G),
        ((V,), (), V),
        ((V, G), (), G),
        ((V, M, G), (), M),
        ((M,), (10,), M),
        ((G,), (2,), G),
        ((G,), (11,), G),
        ((G, V), (8, 2), G),
        ((V, G), (2, 8), V),
        ((G, V), (10, 8), V),
        ((G,), (10,), None),
        ((G,), (10, 13), None),
        ((M,), (9,), None),
    ],
)
def test_the_encapsulation_is_the_nodes_first_that_the_route_names(
    had: tuple[Encapsulation, ...], tunnels: tuple[int, ...], expected: Encapsulation | None
) -> None:
    node = node_with_red(Capabilities("test", had, True))
    node.learn(announce("10.0.1.0/24", 100, tunnels=tunnels))
    forward = node.forward("red", "10.0.1.0/24")
    assert forward == (None if expected is None else (remote(PE1, 100, expected),))


def test_a_dataplane_that_forwards_nothing_takes_every_route() -> None:
    node = node_with_red(DUMMY)
    node.learn(announce("10.0.1.0/24", 100, tunnels=(9,)))
    assert node.forward("red", "10.0.1.0/24") == (remote(PE1, 100, M),)


NEXT_HOP_ITSELF = b"\x06\x06" + bytes(6)
ENDPOINT_PE1 = b"\x06\x0a" + bytes(4) + b"\0\1" + IPv4Address(PE1).packed
ENDPOINT_PE2 = b"\x06\x0a" + bytes(4) + b"\0\1" + IPv4Address(PE2).packed


@pytest.mark.parametrize(
    ("sub_tlvs", "expected"),
    [
        (NEXT_HOP_ITSELF, V),
        (ENDPOINT_PE1, V),
        (ENDPOINT_PE2, None),
        (b"", G),
        (NEXT_HOP_ITSELF + ENDPOINT_PE1, G),
    ],
)
def test_the_tunnel_encapsulation_attribute_names_tunnels_that_end_at_the_next_hop(
    sub_tlvs: bytes, expected: Encapsulation | None
) -> None:
    node = node_with_red(GRE)
    tunnel = routes.attribute(0xC0, 23, b"\0\x08" + len(sub_tlvs).to_bytes(2) + sub_tlvs)
    body = routes.body(routes.common(), routes.reach(routes.nlri("10.0.1.0/24"), PE1), routes.targets(1), tunnel)
    node.learn(body)
    assert node.forward("red", "10.0.1.0/24") == (None if expected is None else (remote(PE1, 100, expected),))


def test_a_route_that_cannot_be_used_is_passed_over_for_one_that_can_and_explained() -> None:
    node = node_with_red(GRE)
    node.learn(announce("10.0.1.0/24", 100, tunnels=(10,), local_pref=300))
    look = node.instances.lookup("red", IPv4Address("10.0.1.1"))
    assert look.prefix is None
    assert look.why == "every route that covers 10.0.1.1 is unusable"
    assert [each.reason for each in look.candidates] == [
        "192.0.2.101 is not usable: no common encapsulation: it wants mpls, this node has mpls-gre, vxlan"
    ]
    node.learn(announce("10.0.1.0/24", 200, PE2, rd=2))
    assert node.forward("red", "10.0.1.0/24") == (remote(PE2, 200, G),)
    look = node.instances.lookup("red", IPv4Address("10.0.1.1"))
    assert [(each.next_hop, each.used) for each in look.candidates] == [
        ("192.0.2.102 label 200 mpls-gre", True),
        (None, False),
    ]


def test_a_route_whose_next_hop_is_this_node_is_ignored() -> None:
    node = node_with_red()
    node.learn(announce("10.0.1.0/24", 100, "192.0.2.11"))
    assert node.forward("red", "10.0.1.0/24") is None
    assert "is this node" in node.instances.lookup("red", IPv4Address("10.0.1.1")).candidates[0].reason


@pytest.mark.parametrize(
    ("next_hop", "address"),
    [(bytes(10) + b"\xff\xff" + IPv4Address(PE1).packed, PE1), (ip_address("2001:db8::101").packed, "2001:db8::101")],
)
def test_the_next_hop_of_an_ipv6_route_is_the_address_that_is_mapped_or_itself(next_hop: bytes, address: str) -> None:
    node = node_with_red()
    node.learn(announce_v6(next_hop))
    assert node.forward("red", "2001:db8:1::/48") == (remote(address, 200),)
    assert SourceKey(ip_address(address).packed) in node.tracker.desired


def test_several_next_hops_share_the_traffic_where_the_dataplane_can() -> None:
    bodies = (announce("10.0.1.0/24", 100, PE2, rd=2, order=1), announce("10.0.1.0/24", 200, PE1, order=2))
    several, one = node_with_red(), node_with_red(Capabilities("one", (M,), False))
    for node in (several, one):
        node.learn(*bodies)
    assert several.forward("red", "10.0.1.0/24") == (remote(PE2, 100, M, 1), remote(PE1, 200, M, 2))
    assert len(one.forward("red", "10.0.1.0/24") or ()) == 1
    several.learn(routes.withdrawal("10.0.1.0/24", rd=2))
    assert several.forward("red", "10.0.1.0/24") == (remote(PE1, 200, M, 2),)


def test_the_same_route_from_two_reflectors_is_one_next_hop() -> None:
    node = node_with_red()
    for peer in ("192.0.2.1", "192.0.2.2"):
        node.learn(announce("10.0.1.0/24", 100, originator=PE1, clusters=(peer,)), peer=peer)
    assert node.forward("red", "10.0.1.0/24") == (remote(PE1, 100),)
    node.learn(routes.withdrawal("10.0.1.0/24"), peer="192.0.2.1")
    assert node.forward("red", "10.0.1.0/24") == (remote(PE1, 100),)


def test_the_higher_local_pref_wins_and_when_it_goes_the_other_takes_over() -> None:
    node = node_with_red()
    node.learn(announce("10.0.1.9/32", 100, PE1, local_pref=200), announce("10.0.1.9/32", 200, PE2, rd=2))
    assert node.forward("red", "10.0.1.9/32") == (remote(PE1, 100),)
    look = node.instances.lookup("red", IPv4Address("10.0.1.9"))
    assert [each.reason for each in look.candidates] == [
        "higher LOCAL_PREF (200 against 100)",
        "beaten by higher LOCAL_PREF (200 against 100)",
    ]
    assert SourceKey(IPv4Address(PE2).packed) in node.tracker.desired, "the other may send to us all the same"
    node.learn(routes.withdrawal("10.0.1.9/32"))
    assert node.forward("red", "10.0.1.9/32") == (remote(PE2, 200),)


def test_an_endpoint_of_the_instance_competes_by_local_pref_with_the_routes_of_others() -> None:
    node = node_with_red()
    node.learn(announce("10.0.0.2/32", 100, PE1))
    assert node.hops("red", "10.0.0.2/32") == ["fa:16:3e:00:00:02 at tap2 (port 2)"]
    node.learn(announce("10.0.0.2/32", 100, PE1, local_pref=101))
    assert node.forward("red", "10.0.0.2/32") == (remote(PE1, 100),)
    node.attach(local_pref=102)
    assert node.hops("red", "10.0.0.2/32") == ["fa:16:3e:00:00:02 at tap2 (port 2)"]


def test_endpoints_of_one_instance_reach_each_other_whatever_the_targets() -> None:
    node = Node()
    node.attach("red", "10.0.0.2", 2, imports=(), exports=())
    node.attach("red", "10.0.0.3", 3, imports=(), exports=())
    assert node.hops("red", "10.0.0.2/32") == ["fa:16:3e:00:00:02 at tap2 (port 2)"]
    assert node.hops("red", "10.0.0.3/32") == ["fa:16:3e:00:00:03 at tap3 (port 3)"]


def test_an_instance_reaches_the_endpoints_of_another_whose_routes_it_imports() -> None:
    node = Node()
    node.attach("hub", "10.0.0.1", 1, imports=(2,), exports=(1,))
    node.attach("spoke-a", "10.0.0.2", 2, imports=(1,), exports=(2,))
    node.attach("spoke-b", "10.0.0.3", 3, imports=(1,), exports=(2,))
    assert node.hops("hub", "10.0.0.2/32") == ["fa:16:3e:00:00:02 at tap2 (port 2)"]
    assert node.hops("spoke-b", "10.0.0.1/32") == ["fa:16:3e:00:00:01 at tap1 (port 1)"]
    assert node.hops("spoke-b", "10.0.0.2/32") == []
    node.detach("spoke-a", "10.0.0.2", 2)
    assert node.hops("hub", "10.0.0.2/32") == []


def test_tunnels_are_taken_from_the_nodes_told_of_whatever_routes_there_are() -> None:
    peer = IPv4Address("192.0.2.1").packed
    node = Node(accept_from=(peer,))
    assert set(node.tracker.desired) == {SourceKey(peer)}
    node.attach()
    node.learn(announce("10.0.1.0/24", 100, "192.0.2.1"))
    node.learn(routes.withdrawal("10.0.1.0/24"))
    assert SourceKey(peer) in node.tracker.desired
    other = IPv4Address("192.0.2.2").packed
    node.instances.accept_from((other,))
    assert SourceKey(peer) not in node.tracker.desired
    assert SourceKey(other) in node.tracker.desired


def test_the_longest_prefix_answers_and_the_fallback_takes_the_rest() -> None:
    node = node_with_red()
    node.learn(announce("10.0.0.0/8", 1), announce("10.0.1.0/24", 2), announce("10.0.1.7/32", 3))
    for destination, length in (("10.0.1.7", 32), ("10.0.1.8", 24), ("10.9.9.9", 8)):
        look = node.instances.lookup("red", IPv4Address(destination))
        assert look.prefix is not None
        assert look.prefix.length == length
        assert look.key == ForwardKey(1, look.prefix)
        assert look.next_hops == node.tracker.desired[look.key]
    look = node.instances.lookup("red", IPv4Address("11.0.0.1"))
    assert (look.prefix, look.key, look.next_hops, look.why) == (None, None, (), "no route covers 11.0.0.1")


def test_routes_that_nobody_on_the_node_wants_any_more_are_dropped_by_a_speaker_that_can_ask_again() -> None:
    node = node_with_red()
    node.attach("blue", "10.0.0.9", 9, imports=(2,), exports=(2,))
    node.learn(announce("10.0.1.0/24", 100, rt=(1, 2)), announce("10.0.2.0/24", 100))
    node.speaker.cease_import = super(type(node.speaker), node.speaker).cease_import  # type: ignore[method-assign]
    node.detach()
    assert node.forward("blue", "10.0.1.0/24") == (remote(PE1, 100),)
    assert {key for table in node.speaker.store.tables.values() for key in table.entries} >= {routes.key("10.0.1.0/24")}
    assert not any(routes.key("10.0.2.0/24") in table.entries for table in node.speaker.store.tables.values())


def test_the_speaker_calls_the_importer_only_when_something_imported_has_changed() -> None:
    node = node_with_red()
    calls = []
    node.speaker.importer = lambda: calls.append(len(calls))
    node.learn(announce("10.0.2.0/24", 101, rt=(9,)))
    assert calls == []
    node.learn(announce("10.0.1.0/24", 100), announce("10.0.3.0/24", 100))
    assert calls == [0]


def test_routes_with_the_same_label_and_next_hop_share_what_is_kept_of_them() -> None:
    node = node_with_red()
    node.learn(routes.announcement("10.0.1.1", "10.0.1.2", next_hop=PE1, label=100))
    node.learn(routes.announcement("10.0.1.3", next_hop=PE1, label=100))
    first, *others = (node.forward("red", f"10.0.1.{last}") for last in (1, 2, 3))
    assert first == (remote(PE1, 100),)
    assert all(other is first for other in others)


def test_what_is_known_of_attributes_goes_with_the_last_route_that_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bagpipe.vpn.imports._PLANS_KEPT", 4)
    node = node_with_red()
    node.learn(announce("10.0.2.0/24", 100))
    for preference in range(100, 200):
        node.learn(announce("10.0.1.0/24", 100, local_pref=preference))
    gc.collect()
    alive = [each for each in gc.get_objects() if isinstance(each, Bundle) and each.table.store is node.speaker.store]
    assert len(alive) < 20
    assert node.forward("red", "10.0.1.0/24") == node.forward("red", "10.0.2.0/24") == (remote(PE1, 100),)
