"""Ethernet segments that others are attached to: aliasing, mass withdrawal, backup (RFC 7432 sections 8 and 14)."""

from __future__ import annotations

from bagpipe.dataplane.model import Capabilities
from bagpipe.vpn.evpn.explain import competition
from tests.unit.vpn.evpn.node import (
    LOW,
    ONE_PATH,
    PE1,
    PE2,
    PE3,
    VXLAN,
    Node,
    discovery_nlri,
    mac_nlri,
    mac_update,
    update,
    withdraw,
)
from tests.unit.vpn.node import mac

ESI = bytes.fromhex("00112233445566778899")
OTHER = bytes.fromhex("00112233445566778800")
SINGLE_ACTIVE = b"\x06\x01\x01" + bytes(5)
ALL_ACTIVE = b"\x06\x01\x00" + bytes(5)
WHOLE = 0xFFFFFFFF


def red(capabilities: Capabilities = VXLAN) -> Node:
    node = Node(capabilities)
    node.attach(number=9, ip="10.0.0.9", spec={"vni": 1001})
    return node


def whole(node: str, esi: bytes = ESI, mode: bytes = ALL_ACTIVE, **rest: object) -> bytes:
    """The route for the segment as a whole; its route distinguisher is one of its own."""
    return update(discovery_nlri(esi, node, rd=99, tag=WHOLE), node=node, communities=mode, **rest)  # type: ignore[arg-type]


def within(node: str, vni: int, esi: bytes = ESI) -> bytes:
    """The route for the segment within the EVI."""
    return update(discovery_nlri(esi, node, vni=vni), node=node)


def no_whole(node: str, esi: bytes = ESI) -> bytes:
    return withdraw(discovery_nlri(esi, node, rd=99, tag=WHOLE))


def on_segment(number: int = 2, node: str = PE1, esi: bytes = ESI, **rest: object) -> bytes:
    return mac_update(number, node=node, esi=esi, **rest)  # type: ignore[arg-type]


def at(*nodes: tuple[str, int]) -> list[str]:
    return [f"{node} label {vni} vxlan" for node, vni in nodes]


def reason(node: Node) -> list[str]:
    evi = node.evi()
    return [each.reason for each in competition(evi, evi.mac_record(mac(2).packed), node.instances.decisions)]


def test_a_mac_on_a_segment_is_not_used_before_the_segment_as_a_whole_is_announced() -> None:
    """RFC 7432 section 9.2.2."""
    node = red()
    node.learn(on_segment(), within(PE1, 5001))
    assert node.hops(2) == []
    assert reason(node) == ["not usable: nobody announces its Ethernet segment as a whole"]
    node.learn(whole(PE1))
    assert node.hops(2) == at((PE1, 5000))
    node.learn(no_whole(PE1))
    assert node.hops(2) == []


def test_frames_are_shared_among_all_nodes_of_an_all_active_segment() -> None:
    """RFC 7432 section 8.4: PE2 has not announced the MAC, and is reached by the VNI of its route for the segment."""
    node = red()
    node.learn(on_segment(), whole(PE1), whole(PE2), within(PE2, 6000), within(PE3, 7000))
    assert node.hops(2) == at((PE1, 5000), (PE2, 6000))
    node.learn(whole(PE3))
    assert node.hops(2) == at((PE1, 5000), (PE2, 6000), (PE3, 7000))
    node.learn(withdraw(discovery_nlri(ESI, PE2)))
    assert node.hops(2) == at((PE1, 5000), (PE3, 7000))


def test_several_nodes_that_announce_the_mac_are_one_place() -> None:
    node = red()
    node.learn(on_segment(), on_segment(node=PE2, vni=6000, sequence=1), whole(PE1), whole(PE2))
    assert node.hops(2) == at((PE1, 5000), (PE2, 6000))
    assert reason(node) == ["all claims are to one place", "the same place as the best"]


def test_a_node_that_leaves_the_segment_takes_all_its_macs_away_at_once() -> None:
    """RFC 7432 section 8.2: mass withdrawal; the MAC routes are still there."""
    node = red()
    node.learn(
        *[on_segment(number) for number in range(20, 60)], on_segment(70, esi=OTHER), on_segment(71, esi=bytes(10))
    )
    node.learn(whole(PE1), whole(PE2), within(PE2, 6000), whole(PE1, OTHER))
    assert {tuple(node.hops(number)) for number in range(20, 60)} == {tuple(at((PE1, 5000), (PE2, 6000)))}
    node.learn(no_whole(PE1))
    assert {tuple(node.hops(number)) for number in range(20, 60)} == {tuple(at((PE2, 6000)))}
    assert node.hops(70) == node.hops(71) == at((PE1, 5000))
    node.learn(no_whole(PE2))
    assert {tuple(node.hops(number)) for number in range(20, 60)} == {()}


def test_of_a_single_active_segment_only_who_announced_the_mac_is_used() -> None:
    """RFC 7432 section 8.4 and 14.1.1: the other is the backup, used when the first has left the segment."""
    node = red()
    node.learn(on_segment(), whole(PE1, mode=SINGLE_ACTIVE), whole(PE2, mode=SINGLE_ACTIVE))
    node.learn(within(PE1, 5001), within(PE2, 6000))
    assert node.hops(2) == at((PE1, 5000))
    node.learn(no_whole(PE1))
    assert node.hops(2) == at((PE2, 6000))
    node.learn(within(PE3, 7000), whole(PE3, mode=SINGLE_ACTIVE))
    assert node.hops(2) == []
    assert "is not known" in reason(node)[0]


def test_without_multipath_the_lowest_address_is_used() -> None:
    node = red(ONE_PATH)
    node.learn(on_segment(node=PE2), whole(PE1), whole(PE2), within(PE1, 5001))
    assert node.hops(2) == at((PE1, 5001))


def test_the_esi_that_means_no_segment_does_not_wait_for_one() -> None:
    """RFC 7432 section 9.2.2: the ESI of all ones is treated as 0."""
    node = red()
    node.learn(on_segment(esi=b"\xff" * 10))
    assert node.hops(2) == at((PE1, 5000))


def test_a_mac_that_goes_to_a_segment_and_away_from_it_follows() -> None:
    node = red()
    node.learn(whole(PE1), whole(PE2), within(PE2, 6000), mac_update(2))
    assert node.hops(2) == at((PE1, 5000))
    node.learn(on_segment())
    assert node.hops(2) == at((PE1, 5000), (PE2, 6000))
    node.learn(mac_update(2, node=LOW, sequence=1))
    assert node.hops(2) == at((LOW, 5000))
    node.learn(withdraw(mac_nlri(2, node=LOW)), mac_update(2))
    assert node.hops(2) == at((PE1, 5000))
    assert node.evi().by_segment == {}


def test_a_segment_whose_node_cannot_be_reached_is_not_used() -> None:
    node = red()
    node.learn(on_segment(), whole(PE1), whole(PE2, tunnels=(10,)), within(PE2, 6000))
    assert node.hops(2) == at((PE1, 5000))


def test_a_segment_counts_only_for_instances_that_import_it() -> None:
    node = red()
    node.attach("blue", number=8, ip="10.0.0.8", imports=(2,))
    node.learn(on_segment(rt=(1, 2)), whole(PE1))
    assert (node.hops(2), node.hops(2, "blue")) == (at((PE1, 5000)), [])
    node.learn(whole(PE1, rt=(1, 2)))
    assert node.hops(2, "blue") == at((PE1, 5000))


def test_nothing_is_left_of_segments_when_their_routes_are_gone() -> None:
    node = red()
    before = dict(node.tracker.desired)
    node.learn(on_segment(), whole(PE1), within(PE1, 5001))
    node.learn(no_whole(PE1), withdraw(discovery_nlri(ESI)), withdraw(mac_nlri(2)))
    evi = node.evi()
    assert node.tracker.desired == before
    assert (evi.segments, evi.on_segments, evi.by_segment) == ({}, {}, {})
