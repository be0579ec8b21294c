"""Obligations of the RFCs of EVPN that no other test shows: each test is named in a row of ``rfc/``."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

import pytest

from bagpipe.dataplane.model import Encapsulation, MacKey, Neighbour, NeighbourKey, Remote
from bagpipe.dataplane.ovs_evpn.answers import Answers, advertisement
from bagpipe.identifiers import EthernetSegmentIdentifier, RouteDistinguisher
from bagpipe.rib.adj_rib_in import AdjRibIn, Gate
from bagpipe.rib.bundle import Origin
from bagpipe.rib.membership import Membership
from bagpipe.rib.store import Store
from bagpipe.rib.update_group import UpdateGroup
from bagpipe.vpn.attachment import InstanceType
from bagpipe.wire.attributes import Context, walk
from bagpipe.wire.family import EVPN
from bagpipe.wire.nlri.evpn import EVPN_CODEC
from bagpipe.wire.nlri.evpn_route import (
    EthernetAutoDiscovery,
    EthernetSegment,
    EvpnRoute,
    InclusiveMulticast,
    IpPrefix,
)
from bagpipe.wire.update import take_apart
from tests.unit.rib.test_update_group import CLIENTS, CLUSTER, REFLECTOR
from tests.unit.vpn.evpn.node import PE1, Node, distinguisher, mac_nlri, mac_update, update
from tests.unit.vpn.node import attachment, mac
from tests.unit.vpn.prefix_node import MAC1, PrefixNode, announce_prefix, nlri

ESI = bytes.fromhex("00112233445566778899")
RD = RouteDistinguisher.from_text("192.0.2.1:3")
ROUTER_MAC = b"\x06\x03" + bytes.fromhex(MAC1)


def red() -> Node:
    node = Node()
    node.attach(number=9, ip="10.0.0.9", spec={"vni": 1001})
    return node


# ---------------------------------------------------------------------- what a route is known by

SEGMENT = EthernetSegmentIdentifier(ESI)
DISCOVERY = EthernetAutoDiscovery(RD, SEGMENT, 7, 100)
PREFIX = IpPrefix(RD, EthernetSegmentIdentifier(bytes(10)), 0, ip_network("10.1.0.0/16"), ip_address("0.0.0.0"), 5000)
OTHERS: dict[str, tuple[EvpnRoute, dict[str, Any]]] = {
    "A-D: RD": (DISCOVERY, {"route_distinguisher": RouteDistinguisher.from_text("192.0.2.1:4")}),
    "A-D: ESI": (DISCOVERY, {"ethernet_segment": EthernetSegmentIdentifier(b"\1" * 10)}),
    "A-D: tag": (DISCOVERY, {"ethernet_tag": 8}),
    "multicast: tag": (InclusiveMulticast(RD, 0, ip_address("192.0.2.1")), {"ethernet_tag": 8}),
    "multicast: originator": (
        InclusiveMulticast(RD, 0, ip_address("192.0.2.1")),
        {"originator": ip_address("192.0.2.2")},
    ),
    "segment: ESI": (
        EthernetSegment(RD, SEGMENT, ip_address("192.0.2.1")),
        {"ethernet_segment": EthernetSegmentIdentifier(b"\1" * 10)},
    ),
    "segment: originator": (
        EthernetSegment(RD, SEGMENT, ip_address("192.0.2.1")),
        {"originator": ip_address("192.0.2.2")},
    ),
    "prefix: RD": (PREFIX, {"route_distinguisher": RouteDistinguisher.from_text("192.0.2.1:4")}),
    "prefix: tag": (PREFIX, {"ethernet_tag": 8}),
    "prefix: length": (PREFIX, {"prefix": ip_network("10.1.0.0/17")}),
    "prefix: prefix": (PREFIX, {"prefix": ip_network("10.2.0.0/16")}),
}


@pytest.mark.parametrize("what", OTHERS)
def test_two_routes_that_differ_in_a_field_of_their_key_are_two(what: str) -> None:
    """RFC 7432 sections 7.1, 7.3 and 7.4, RFC 9136 section 3.1."""
    route, changed = OTHERS[what]
    other: EvpnRoute = replace(route, **changed)
    assert EVPN_CODEC.encode(route)[1] != EVPN_CODEC.encode(other)[1]


def test_the_label_is_no_part_of_the_key_of_an_ethernet_ad_route() -> None:
    """RFC 7432 section 7.1."""
    one, other = EVPN_CODEC.encode(DISCOVERY), EVPN_CODEC.encode(replace(DISCOVERY, label_field=200))
    assert one[1] == other[1]
    assert one[2] != other[2]


HEAD = distinguisher(PE1) + bytes(10) + bytes(4)
NEVER: dict[str, tuple[int, bytes]] = {
    "a MAC length of 0": (2, HEAD + b"\x00" + b"\x20\x0a\x00\x00\x02" + bytes(3)),
    "a prefix of IPv6 of 129 bits": (5, HEAD + b"\x81" + bytes(16) + bytes(16) + bytes(3)),
    "a prefix of IPv4 of 33 bits": (5, HEAD + b"\x21" + bytes(4) + bytes(4) + bytes(3)),
    "a prefix of IPv4 with a gateway of IPv6": (5, HEAD + b"\x10" + bytes(4) + bytes(16) + bytes(3)),
    "a prefix route of 35 octets": (5, HEAD + b"\x10" + bytes(4) + bytes(4) + bytes(4)),
    "a prefix route of 57 octets": (5, HEAD + b"\x10" + bytes(16) + bytes(16) + bytes(2)),
}


@pytest.mark.parametrize("what", NEVER)
def test_a_route_whose_lengths_cannot_be_is_not_taken_and_the_next_one_is(what: str) -> None:
    """RFC 9135 section 9.1.1, RFC 9136 section 3.1: as if it were withdrawn."""
    kind, value = NEVER[what]
    node = red()
    said = update(bytes((kind, len(value))) + value, mac_nlri(3, "10.0.0.3"))
    node.learn(said)
    assert node.hops(3) == [f"{PE1} label 5000 vxlan"]
    assert {key.octets for key in node.tracker.desired if isinstance(key, MacKey)} == {mac(3).packed, mac(9).packed}
    assert len(node.speaker.store.table(EVPN, 0).entries) == 1 + len(node.told())


# ---------------------------------------------------------------------- what routes are used for


def test_a_machine_with_a_mac_that_is_sticky_elsewhere_is_told_so_when_it_is_attached() -> None:
    """RFC 7432 section 15.2."""
    node = red()
    node.learn(mac_update(2, sticky=True))
    node.attach(number=2, ip="10.0.0.2")
    state = node.instances.endpoint_state("red", attachment(number=2).key)
    assert state.reason == f"MAC is now at {PE1}, sequence 0, sticky (here: sequence 0)"


@pytest.mark.parametrize("flags", [0x00, 0x02, 0x08, 0x0A])
def test_a_neighbour_whose_route_has_other_flags_alone_is_no_router(flags: int) -> None:
    """RFC 9047 section 2: 0x02 is the O flag, 0x08 the I flag; neither keeps the address from being answered for."""
    node = red()
    node.learn(mac_update(3, "2001:db8::3", communities=b"\x06\x08" + bytes((flags,)) + bytes(5)))
    assert node.answer("2001:db8::3") == Neighbour(mac(3))


def test_an_advertisement_comes_from_the_address_that_was_asked_for_and_names_its_mac() -> None:
    """RFC 9161 section 3.3: by the flows of Open vSwitch; option 2 of RFC 4861 is the target link-layer address."""
    (flow,) = Answers(21, (), 22, 121).additions(ip_address("fd00::1").packed, Neighbour(mac(3)))
    answer, link_layer = str(flow), str(advertisement(121))
    assert "nd_target=fd00::1 " in answer and "->nd_target" not in answer, "the target stays as it was"
    assert "move:nd_target[0..127]->ipv6_src[0..127]" in answer
    assert "set_field:0x2->reg1,push:reg1[0..7],pop:nd_options_type[0..7]" in answer
    assert f"set_field:{mac(3)}->eth_src" in answer and "move:eth_src[0..47]->nd_tll[0..47]" in link_layer


def bridged_and_routed() -> PrefixNode:
    """An EVPN instance with target 1, and an IP VPN instance with target 2 that EVPN carries."""
    node = PrefixNode()
    node.carry(imports=(2,), exports=(2,))
    bridged = attachment("l2", "10.0.0.9", 9)
    node.vpns.attach(replace(bridged, instance=replace(bridged.instance, type=InstanceType.EVPN, vni=1001)))
    return node


def frames_to(node: PrefixNode, number: int) -> object:
    return node.vpns.evpn.tracker.desired.get(MacKey(node.vpns.evpn.instances["l2"].number, mac(number).packed))


def test_a_mac_route_for_bridge_and_vrf_is_used_by_the_bridge_alone() -> None:
    """RFC 9135 section 5.2: of a node without IRB that has the MAC-VRF."""
    node = bridged_and_routed()
    before = dict(node.tracker.desired)
    node.learn(mac_update(3, "10.0.0.3", rt=(1, 2), second=(777).to_bytes(3), communities=ROUTER_MAC))
    assert frames_to(node, 3) == (Remote(ip_address(PE1).packed, 5000, Encapsulation.VXLAN),)
    number = node.vpns.evpn.instances["l2"].number
    answer = NeighbourKey(number, ip_address("10.0.0.3").packed)
    assert node.vpns.evpn.tracker.desired[answer] == Neighbour(mac(3))
    assert node.tracker.desired == before


def test_a_mac_route_for_a_vrf_alone_is_not_used() -> None:
    """RFC 9135 section 9.1.1."""
    node = bridged_and_routed()
    before = dict(node.tracker.desired), dict(node.vpns.evpn.tracker.desired)
    node.learn(mac_update(3, "10.0.0.3", rt=(2,)))
    assert (node.tracker.desired, node.vpns.evpn.tracker.desired) == before
    node.learn(announce_prefix("10.0.1.0/24", rt=(2,)))
    assert node.forward("red", "10.0.1.0/24") is not None


def test_of_several_router_macs_of_a_route_the_first_is_used() -> None:
    """RFC 9135 section 8.1."""
    node = PrefixNode()
    node.attach()
    second = b"\x06\x03" + bytes.fromhex("0200000000bb")
    node.learn(update(nlri("10.0.1.0/24", 700), communities=second + ROUTER_MAC))
    assert node.hops("red", "10.0.1.0/24") == [f"{PE1} label 700 vxlan router 02:00:00:00:00:bb"]


def test_a_prefix_route_with_neither_label_nor_overlay_index_is_not_used() -> None:
    """RFC 9136 section 3.1."""
    node = PrefixNode()
    node.attach()
    node.learn(announce_prefix("10.0.1.0/24"))
    node.learn(announce_prefix("10.0.1.0/24", 0, mac=None))
    assert node.forward("red", "10.0.1.0/24") is None


# ---------------------------------------------------------------------- what is passed on


def test_a_reflector_passes_an_ethernet_segment_route_on_with_all_it_says_of_the_election() -> None:
    """RFC 8584 section 2.2: a transitive community; here it asks for algorithm 1 (HRW) and capability 1 (AC-DF)."""
    store = Store()
    group = UpdateGroup(store, CLIENTS)
    listener = group.join("peer2", frozenset((EVPN,)), Membership(constrained=False), ipv6_next_hops=False)
    router_id = IPv4Address("10.255.0.1").packed
    origin = Origin("peer1", False, True, True, router_id, router_id)
    gate = Gate(64512, REFLECTOR, CLUSTER, True)
    speaker = AdjRibIn(store, origin, gate, Context(True, True), frozenset((EVPN,)), frozenset())
    election = b"\x06\x06\x01\x40\0\0\0\0"
    value = distinguisher(PE1) + ESI + b"\x20" + IPv4Address(PE1).packed
    segment = bytes((4, len(value))) + value

    speaker.learn([update(segment, rt=(), tunnels=(), communities=b"\x06\x02" + ESI[1:7] + election)])

    data = group.next_for(listener)
    parts = take_apart(data[19 : int.from_bytes(data[16:18])])
    assert parts.reach is not None and parts.reach.nlri == segment
    assert [said for _, code, said in walk(parts.block) if code == 16] == [b"\x06\x02" + ESI[1:7] + election]
