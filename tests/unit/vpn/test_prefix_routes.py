"""IP VPN instances carried by EVPN: IP prefix routes in and out (RFC 9136 section 4.4.1, RFC 9135)."""

from __future__ import annotations

import itertools
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from bagpipe.dataplane.model import (
    ARRIVING,
    AccessKey,
    Capabilities,
    Classifier,
    Delivery,
    DeliveryKey,
    Encapsulation,
    ForwardKey,
    Port,
    Remote,
    SourceKey,
    default_router_mac,
)
from bagpipe.errors import LocalMisuse
from bagpipe.identifiers import MacAddress
from bagpipe.vpn import views
from bagpipe.vpn.attachment import AttractTraffic, CarriedBy, InstanceType, Readvertise, Reserved
from bagpipe.wire.family import VPNV4
from tests.unit.rib import routes
from tests.unit.vpn.node import DUMMY, GRE, attachment, mac, prefix, rts
from tests.unit.vpn.prefix_node import (
    BOTH,
    BOTH_WAYS,
    EVPN_ALONE,
    MAC1,
    ONE_HOP,
    PE1,
    PE2,
    ROUTER,
    VPN,
    PrefixNode,
    announce_prefix,
    withdraw_prefix,
)
from tests.unit.vpn.test_imports import announce

VXLAN = Encapsulation.VXLAN
TOLD = ("encapsulation:vxlan", f"router-mac:{ROUTER}", "target:64512:1")


def router(address: str, vni: int, order: int = 0, mac: str = MAC1) -> Remote:
    return Remote(ip_address(address).packed, vni, VXLAN, order, bytes.fromhex(mac))


def node_with_red(capabilities: Capabilities = BOTH_WAYS) -> PrefixNode:
    node = PrefixNode(capabilities)
    node.attach()
    return node


# ---------------------------------------------------------------------- import


@pytest.mark.parametrize("text", ["10.0.1.0/24", "10.0.1.128/25", "0.0.0.0/0", "10.0.1.7/32", "2001:db8::/48", "::/0"])
def test_a_prefix_route_is_a_route_of_each_vrf_that_imports_its_target(text: str) -> None:
    # given two VRFs that import its target, and one that does not
    node = node_with_red()
    node.attach("blue", "10.0.0.3", 3)
    node.attach("green", "10.0.0.4", 4, imports=(9,))

    # when it comes, then both have its next hop: a router in VXLAN, with all 24 bits of the VNI
    node.learn(announce_prefix(text, 0x123457))
    assert node.forward("red", text) == node.forward("blue", text) == (router(PE1, 0x123457),)
    assert node.forward("green", text) is None
    assert SourceKey(ip_address(PE1).packed) in node.tracker.desired

    # when it has another VNI, and when it goes, then the records follow
    node.learn(announce_prefix(text, 701))
    assert node.hops("red", text) == [f"{PE1} label 701 vxlan router 02:00:00:00:00:a1"]
    node.learn(withdraw_prefix(text))
    assert node.forward("red", text) is None
    assert SourceKey(ip_address(PE1).packed) not in node.tracker.desired


def test_a_vrf_that_comes_later_or_imports_another_target_finds_the_routes() -> None:
    node = node_with_red()
    node.learn(announce_prefix("10.0.1.0/24", 700), announce_prefix("10.0.2.0/24", 700, rt=(2,)))

    node.attach("blue", "10.0.0.3", 3, imports=(2,))
    assert node.forward("blue", "10.0.2.0/24") == (router(PE1, 700),)
    node.attach("blue", "10.0.0.3", 3, imports=(1,))
    assert node.forward("blue", "10.0.2.0/24") is None
    assert node.forward("blue", "10.0.1.0/24") == (router(PE1, 700),)


def test_many_routes_of_one_neighbour_come_together_whatever_their_prefixes() -> None:
    node = node_with_red()
    texts = [f"10.1.{number}.0/{length}" for number in range(0, 200, 8) for length in (21, 24)] + ["2001:db8::/32"]
    node.learn(*(announce_prefix(text, 700 + at % 3) for at, text in enumerate(texts)))
    for at, text in enumerate(texts):
        assert node.forward("red", text) == (router(PE1, 700 + at % 3),)


NO_USE: dict[str, tuple[dict[str, Any], str]] = {
    "no router's MAC": ({"mac": None}, "it has no router's MAC"),
    "a group's MAC": ({"mac": "0100000000a1"}, "its router's MAC 01:00:00:00:00:a1 is not that of one node"),
    "MAC of zeros": ({"mac": "000000000000"}, "its router's MAC 00:00:00:00:00:00 is not that of one node"),
    "VNI 0": ({"vni": 0}, "its VNI is 0"),
    "ESI": ({"more": {"esi": b"\x03" + bytes(8) + b"\1"}}, "its overlay index is an ESI, which is not resolved here"),
    "gateway": ({"more": {"gateway": "10.9.9.9"}}, "its overlay index is a gateway, which is not resolved here"),
    "both": ({"more": {"gateway": "10.9.9.9", "esi": b"\1" * 10}}, "it has both an ESI and a gateway"),
    "no tunnel": ({"tunnels": ()}, "no common encapsulation: it wants MPLS, as it names none, and EVPN has VXLAN here"),
    "another tunnel": ({"tunnels": (2,)}, "no common encapsulation: it wants gre, and EVPN has VXLAN here"),
    "itself": ({"next_hop": "192.0.2.11"}, "its next hop 192.0.2.11 is this node"),
}


@pytest.mark.parametrize("kind", NO_USE)
def test_a_prefix_route_that_cannot_be_used_says_why_and_ends_the_use_of_the_one_before(kind: str) -> None:
    # given a route that is in use
    changed, reason = NO_USE[kind]
    node = node_with_red()
    node.learn(announce_prefix("10.0.1.0/24"))
    assert node.forward("red", "10.0.1.0/24") is not None

    # when the same route is announced again so that it cannot be used, then it is not, and one says why
    node.learn(announce_prefix("10.0.1.0/24", **changed))
    assert node.forward("red", "10.0.1.0/24") is None
    found = node.instances.lookup("red", ip_address("10.0.1.5"))
    assert found.prefix is None
    (candidate,) = found.candidates
    assert candidate.reason.endswith(reason), candidate.reason
    assert candidate.route_distinguisher == "64512:1"
    assert node.instances.instances["red"].unusable == {
        ForwardKey(node.instances.instances["red"].number, prefix("10.0.1.0/24")): 1
    }

    # and once it can be used again it is
    node.learn(announce_prefix("10.0.1.0/24"))
    assert node.forward("red", "10.0.1.0/24") == (router(PE1, 700),)
    assert node.instances.instances["red"].unusable == {}


def test_a_node_without_vxlan_does_not_use_prefix_routes() -> None:
    node = node_with_red(GRE)
    node.learn(announce_prefix("10.0.1.0/24"))
    assert node.forward("red", "10.0.1.0/24") is None
    (candidate,) = node.instances.lookup("red", ip_address("10.0.1.5")).candidates
    assert "it wants VXLAN to a router, this node has mpls-gre, vxlan" in candidate.reason


def test_the_dummy_takes_prefix_routes_like_others() -> None:
    node = node_with_red(DUMMY)
    node.learn(announce_prefix("10.0.1.0/24"))
    assert node.forward("red", "10.0.1.0/24") == (router(PE1, 700),)


# ---------------------------------------------------------------------- competition

VPN_ROUTE = announce("10.0.1.0/24", 100, PE1, tunnels=(2,))
BETTER_VPN_ROUTE = announce("10.0.1.0/24", 100, PE1, tunnels=(2,), local_pref=200)
GRE_HOP = Remote(ip_address(PE1).packed, 100, Encapsulation.MPLS_GRE)


@pytest.mark.parametrize("capabilities", [BOTH_WAYS, ONE_HOP], ids=["multipath", "one next hop"])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_what_is_equal_goes_by_the_vpn_families_and_what_is_better_by_evpn(
    order: tuple[int, ...], capabilities: Capabilities
) -> None:
    # given routes to one prefix that are equal in all that the decision looks at: one VPN route, two of EVPN
    node = node_with_red(capabilities)
    said = [
        ("192.0.2.3", VPN_ROUTE),
        ("192.0.2.1", announce_prefix("10.0.1.0/24", 700, PE1)),
        ("192.0.2.2", announce_prefix("10.0.1.0/24", 701, PE2, more={"rd": 2})),
    ]
    # then in any order of arrival the VPN route is used alone
    for place in order:
        peer, body = said[place]
        node.learn(body, peer=peer)
    assert node.forward("red", "10.0.1.0/24") == (GRE_HOP,)
    found = node.instances.lookup("red", ip_address("10.0.1.5"))
    assert [each.used for each in found.candidates] == [True, False, False]
    assert found.candidates[1].reason == "beaten by VPN route before EVPN"

    # when a route of EVPN is better, then it is used, and when it goes the VPN route again
    node.learn(announce_prefix("10.0.1.0/24", 701, PE2, more={"rd": 2}, local_pref=300), peer="192.0.2.2")
    assert node.forward("red", "10.0.1.0/24") == (router(PE2, 701),)
    node.learn(withdraw_prefix("10.0.1.0/24", rd=2), peer="192.0.2.2")
    assert node.forward("red", "10.0.1.0/24") == (GRE_HOP,)

    # when the VPN route goes, then that of EVPN is what is left
    node.learn(routes.withdrawal("10.0.1.0/24"), peer="192.0.2.3")
    assert node.forward("red", "10.0.1.0/24") == (router(PE1, 700),)


def test_equal_routes_of_evpn_share_the_traffic_in_the_order_they_ask_for() -> None:
    node = node_with_red()
    node.learn(announce_prefix("10.0.1.0/24", 700, PE1, order=2), peer="192.0.2.1")
    node.learn(announce_prefix("10.0.1.0/24", 701, PE2, more={"rd": 2}, order=1), peer="192.0.2.2")
    assert node.forward("red", "10.0.1.0/24") == (router(PE2, 701, 1), router(PE1, 700, 2))


def test_the_same_route_of_two_reflectors_is_one_next_hop() -> None:
    node = node_with_red()
    for peer in ("192.0.2.1", "192.0.2.2"):
        node.learn(announce_prefix("10.0.1.0/24", 700), peer=peer)
    assert node.forward("red", "10.0.1.0/24") == (router(PE1, 700),)


def test_of_two_claims_of_one_route_the_better_is_passed_over_while_it_cannot_be_used() -> None:
    # given one route from two neighbours, of which the better leads to a gateway
    node = node_with_red()
    node.learn(announce_prefix("10.0.1.0/24", 700, PE1), peer="192.0.2.1")
    node.learn(announce_prefix("10.0.1.0/24", 701, PE2, local_pref=200, more={"gateway": "10.9.9.9"}), peer="192.0.2.2")
    assert node.forward("red", "10.0.1.0/24") == (router(PE1, 700),)
    assert sum(node.instances.instances["red"].unusable.values()) == 1

    # when the better can be used, then it is
    node.learn(announce_prefix("10.0.1.0/24", 701, PE2, local_pref=200), peer="192.0.2.2")
    assert node.forward("red", "10.0.1.0/24") == (router(PE2, 701),)
    assert node.instances.instances["red"].unusable == {}


def test_an_endpoint_of_the_vrf_is_preferred_to_an_equal_route_of_evpn() -> None:
    node = node_with_red()
    node.learn(announce_prefix("10.0.0.2/32", 700))
    assert node.hops("red", "10.0.0.2/32") == [f"{mac(2)} at tap2 (port 2)"]


# ---------------------------------------------------------------------- export


def test_an_instance_carried_by_evpn_announces_its_endpoints_with_vni_and_router_mac() -> None:
    # given an endpoint of each IP version in an instance that EVPN alone carries
    node = PrefixNode()
    node.carry(ip="10.0.0.2")
    node.carry(ip="2001:db8::2")

    # then both are told by the VNI, and by no VPN route
    assert node.prefixes_told() == {
        "ip-prefix 192.0.2.11:0 tag 0 10.0.0.2/32 label field 5000": TOLD,
        "ip-prefix 192.0.2.11:0 tag 0 2001:db8::2/128 label field 5000": TOLD,
    }
    assert node.told() == {}
    # and what comes by the VNI, to the router's MAC, is looked up among the endpoints
    number = node.instances.instances["red"].number
    assert node.delivery(5000) == Delivery(number | ARRIVING, None, ROUTER, None)
    assert node.arrivals("red", "10.0.0.2/32") == node.forward("red", "10.0.0.2/32")
    assert node.arrivals("red", "2001:db8::2/128") == node.forward("red", "2001:db8::2/128")

    # when one goes, then its route does, and with the last one all that there was
    node.detach(ip="10.0.0.2")
    assert list(node.prefixes_told()) == ["ip-prefix 192.0.2.11:0 tag 0 2001:db8::2/128 label field 5000"]
    node.detach(ip="2001:db8::2")
    assert node.prefixes_told() == {}
    assert node.tracker.desired == {}
    assert node.instances.vnis == {}


def test_an_instance_carried_by_both_is_told_twice_with_the_same_preference_order_and_targets() -> None:
    node = PrefixNode()
    node.carry(BOTH, local_pref=50, order=3, exports=(1, 2))
    extra = ("local-pref 50",)
    assert node.prefixes_told() == {
        "ip-prefix 192.0.2.11:0 tag 0 10.0.0.2/32 label field 5000": (
            *extra,
            *TOLD[:2],
            "load-balance-order:3",
            "target:64512:1",
            "target:64512:2",
        )
    }
    (told,) = node.told(VPNV4).values()
    assert told[-2:] == ("target:64512:1", "target:64512:2") and told[0] == "local-pref 50"


def test_static_routes_and_subnets_are_told_by_evpn_too() -> None:
    node = PrefixNode()
    node.carry(ip="10.0.0.2/24", advertise_subnet=True, spec={"static_routes": (prefix("10.8.0.0/16"),)})
    assert [text.split()[4] for text in sorted(node.prefixes_told())] == ["10.0.0.0/24", "10.8.0.0/16"]
    assert node.arrivals("red", "10.8.0.0/16") == node.forward("red", "10.0.0.0/24")

    # when there is another static route instead, then it is told once it is in effect, and the other is withdrawn
    node.carry(ip="10.0.0.2/24", advertise_subnet=True, spec={"static_routes": (prefix("10.9.0.0/16"),)}, confirm=False)
    assert [text.split()[4] for text in node.prefixes_told()] == ["10.0.0.0/24"]
    node.confirm()
    assert [text.split()[4] for text in sorted(node.prefixes_told())] == ["10.0.0.0/24", "10.9.0.0/16"]
    assert node.arrivals("red", "10.8.0.0/16") is None


@pytest.mark.parametrize("lacking", ["delivery", "arrival", "access"])
def test_a_route_of_evpn_is_told_once_all_that_delivers_its_packets_is_in_effect(lacking: str) -> None:
    node = PrefixNode()
    attached = node.carry(confirm=False)
    number = node.instances.instances["red"].number
    key = {
        "delivery": DeliveryKey(5000),
        "arrival": ForwardKey(number | ARRIVING, prefix("10.0.0.2/32")),
        "access": AccessKey(Port("tap2", 2)),
    }[lacking]
    assert key in attached.keys

    # when the dataplane refuses one of them, then nothing is told
    node.confirm({key: "no"})
    assert node.prefixes_told() == {}
    # when it takes it later, then the route is
    node.tracker.retry()
    node.confirm()
    assert len(node.prefixes_told()) == 1


def test_a_refused_delivery_by_the_vni_does_not_keep_the_vpn_route_back() -> None:
    node = PrefixNode()
    node.carry(BOTH, confirm=False)
    node.confirm({DeliveryKey(5000): "no"})
    assert len(node.told()) == 1 and node.prefixes_told() == {}


def test_how_an_instance_is_carried_can_change() -> None:
    node = PrefixNode()
    node.attach()
    (plain,) = node.told().items()

    node.carry(BOTH)
    assert dict([plain]) == node.told() and len(node.prefixes_told()) == 1
    node.carry(EVPN_ALONE)
    assert node.told() == {} and len(node.prefixes_told()) == 1
    # another VNI
    node.carry(EVPN_ALONE, vni=6000)
    assert list(node.prefixes_told()) == ["ip-prefix 192.0.2.11:0 tag 0 10.0.0.2/32 label field 6000"]
    assert node.delivery(5000) is None and node.delivery(6000) is not None
    # an attachment that does not speak of it changes nothing
    node.attach()
    assert node.told() == {} and len(node.prefixes_told()) == 1
    # and back
    node.carry(VPN)
    assert dict([plain]) == node.told() and node.prefixes_told() == {}
    assert node.delivery(6000) is None and node.arrivals("red", "10.0.0.2/32") is None
    node.detach()
    assert node.tracker.desired == {}


def test_the_configured_families_are_those_of_instances_that_do_not_say() -> None:
    node = PrefixNode(carried_by=BOTH)
    node.attach()
    assert len(node.told()) == len(node.prefixes_told()) == 1


def test_a_vni_that_this_node_chooses_is_a_label_of_its_own_and_the_same_after_a_restart() -> None:
    node = PrefixNode()
    node.attach("other", "10.0.0.3", 3)
    first = node.carry(vni=None)
    assert first.reserved.vni not in (0, first.reserved.label)
    again = PrefixNode()
    assert again.carry(vni=None, reserved=first.reserved).reserved == first.reserved
    assert list(again.prefixes_told()) == list(node.prefixes_told())


def test_a_vni_that_was_stated_is_not_reserved() -> None:
    node = PrefixNode()
    assert node.carry(vni=5000).reserved.vni == 0
    assert isinstance(node.carry(ip="10.0.0.5", vni=5000).reserved, Reserved)


@pytest.mark.parametrize("vni", [5000, 0x123457])
def test_a_vni_serves_one_instance(vni: int) -> None:
    node = PrefixNode()
    node.carry(vni=vni)
    with pytest.raises(LocalMisuse, match="VPN red uses it") as caught:
        node.carry(EVPN_ALONE, "blue", "10.0.0.3", 3, vni=vni)
    assert caught.value.field == "vni"
    assert "blue" not in node.instances.instances
    node.detach()
    node.carry(EVPN_ALONE, "blue", "10.0.0.3", 3, vni=vni)


@pytest.mark.parametrize("vni", [0, 1 << 24])
def test_a_vni_has_24_bits_and_is_not_0(vni: int) -> None:
    node = PrefixNode()
    with pytest.raises(LocalMisuse, match="1 to 16777215"):
        node.carry(vni=vni)


def test_without_a_number_left_for_the_vni_nothing_changes() -> None:
    # given a node with one label, which an endpoint has
    node = PrefixNode(replace(BOTH_WAYS, labels=(600000, 600000)))
    node.attach()
    before = dict(node.tracker.desired)
    # when its instance shall be carried by EVPN with a VNI that this node chooses, then it is refused
    with pytest.raises(LocalMisuse, match="in use"):
        node.carry(BOTH, vni=None)
    assert node.tracker.desired == before and len(node.told()) == 1
    # and one that is stated does not need a number of this node
    node.carry(BOTH, vni=5000)
    assert len(node.prefixes_told()) == 1


def test_an_evpn_instance_and_an_ip_vpn_instance_do_not_share_a_vni() -> None:
    node = PrefixNode()
    node.carry(vni=5000)
    bridged = attachment("l2", "10.0.0.9", 9, spec={"vni": 5000})
    bridged = replace(bridged, instance=replace(bridged.instance, type=InstanceType.EVPN))
    with pytest.raises(LocalMisuse, match="VPN red uses it"):
        node.vpns.attach(bridged)
    node.vpns.attach(replace(bridged, instance=replace(bridged.instance, vni=5001)))
    wanted = attachment("blue", "10.0.0.3", 3, spec={"vni": 5001, "carried_by": EVPN_ALONE})
    with pytest.raises(LocalMisuse, match="VPN l2 uses it"):
        node.vpns.attach(wanted)


def test_a_vni_that_is_only_asked_for_belongs_to_whoever_has_it_first() -> None:
    # given an instance that has said which VNI it would have, and an EVPN instance that has it
    node = PrefixNode()
    node.vpns.attach(attachment(spec={"vni": 5001}))
    bridged = attachment("l2", "10.0.0.9", 9, spec={"vni": 5001})
    node.vpns.attach(replace(bridged, instance=replace(bridged.instance, type=InstanceType.EVPN)))
    # when it shall be carried by EVPN, and the VNI is not said again, then it is refused
    with pytest.raises(LocalMisuse, match="VPN l2 uses it"):
        node.vpns.attach(attachment(spec={"carried_by": EVPN_ALONE}))


def test_a_label_of_an_endpoint_is_no_vni() -> None:
    node = PrefixNode()
    label = node.attach().reserved.label
    with pytest.raises(LocalMisuse, match="as the label of something else"):
        node.carry(EVPN_ALONE, "blue", "10.0.0.3", 3, vni=label)


def test_a_dataplane_without_vxlan_refuses_to_be_carried_by_evpn() -> None:
    node = PrefixNode(GRE)
    with pytest.raises(LocalMisuse, match="needs VXLAN") as caught:
        node.carry()
    assert caught.value.field == "carried_by"
    assert node.instances.instances == {} and node.tracker.desired == {}


@pytest.mark.parametrize(
    "more",
    [
        {"readvertise": Readvertise(rts(5), rts(6))},
        {"attract": AttractTraffic(rts(5), Classifier())},
    ],
    ids=["readvertise", "attract"],
)
def test_what_only_vpn_routes_do_needs_them(more: dict[str, Any]) -> None:
    node = PrefixNode()
    with pytest.raises(LocalMisuse, match="vpn is needed"):
        node.carry(EVPN_ALONE, spec=more)
    node.carry(BOTH)
    with pytest.raises(LocalMisuse, match="expected vpn, evpn or both"):
        node.carry(frozenset[CarriedBy]())


def test_a_prefix_route_is_told_on_by_a_vrf_that_readvertises_its_target() -> None:
    node = PrefixNode()
    node.attach(spec={"readvertise": Readvertise(rts(5), rts(6))})
    node.learn(announce_prefix("10.0.1.0/24", rt=(5,)))
    told = [text for text in node.told() if "10.0.1.0/24" in text]
    assert len(told) == 1
    node.learn(withdraw_prefix("10.0.1.0/24"))
    assert [text for text in node.told() if "10.0.1.0/24" in text] == []


# ---------------------------------------------------------------------- within this node


@pytest.mark.parametrize("families", [EVPN_ALONE, BOTH], ids=["evpn", "both"])
def test_another_vrf_of_this_node_reaches_the_endpoint_itself(families: frozenset[CarriedBy]) -> None:
    node = PrefixNode()
    node.carry(families)
    node.attach("blue", "10.0.0.3", 3, exports=(7,))
    assert node.hops("blue", "10.0.0.2/32") == [f"{mac(2)} at tap2 (port 2)"]

    # when the port moves, then the other VRF follows; when the endpoint goes, it has no route
    node.carry(families, port=Port("tap2", 12))
    assert node.hops("blue", "10.0.0.2/32") == [f"{mac(2)} at tap2 (port 12)"]
    assert node.arrivals("red", "10.0.0.2/32") == node.forward("blue", "10.0.0.2/32")
    node.detach()
    assert node.forward("blue", "10.0.0.2/32") is None


def test_of_two_endpoints_with_one_prefix_another_vrf_reaches_the_one_that_is_left() -> None:
    # given two endpoints that are told as one subnet, and another VRF that imports it
    node = PrefixNode()
    for number in (2, 4):
        node.carry(ip=f"10.0.0.{number}/24", number=number, advertise_subnet=True)
    node.attach("blue", "10.1.0.3", 3, exports=(7,))
    assert node.hops("blue", "10.0.0.0/24") == [f"{mac(2)} at tap2 (port 2)"]
    assert len(node.prefixes_told()) == 1

    # when the one it uses goes, though the route stays as it is, then it uses the other
    node.detach(ip="10.0.0.2/24")
    assert node.hops("blue", "10.0.0.0/24") == [f"{mac(4)} at tap4 (port 4)"]
    assert node.arrivals("red", "10.0.0.0/24") == node.forward("blue", "10.0.0.0/24")


def test_what_comes_by_the_vni_stays_on_this_node_even_if_another_has_a_better_route() -> None:
    node = PrefixNode()
    node.carry()
    node.learn(announce_prefix("10.0.0.2/32", 700, local_pref=200))
    assert node.forward("red", "10.0.0.2/32") == (router(PE1, 700),)
    assert [str(hop) for hop in node.arrivals("red", "10.0.0.2/32") or ()] == [f"{mac(2)} at tap2 (port 2)"]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_any_order_of_events_ends_in_the_same_records_and_routes(order: tuple[int, ...]) -> None:
    def ended(steps: tuple[int, ...]) -> tuple[object, ...]:
        node = PrefixNode()
        node.attach("anchor", "10.3.0.1", 9, imports=(9,), exports=(9,), reserved=Reserved(40, 40, 41, 900000))
        does = [
            lambda: node.carry(BOTH, reserved=Reserved(1, 1, 2, 600000)),
            lambda: node.carry(
                EVPN_ALONE, "blue", "10.0.0.3", 3, vni=6000, exports=(2,), reserved=Reserved(2, 3, 4, 600001)
            ),
            lambda: node.learn(announce_prefix("10.0.0.2/32", 700, more={"gateway": "10.9.9.9"})),
            lambda: node.learn(announce_prefix("10.0.1.0/24", 700)),
        ]
        for step in steps:
            does[step]()
        return dict(node.tracker.desired), node.told(), node.prefixes_told(), node.instances.instances["red"].unusable

    assert ended(order) == ended((0, 1, 2, 3))


# ---------------------------------------------------------------------- for people


def test_views_show_prefix_routes_received_best_and_told() -> None:
    node = PrefixNode()
    node.carry()
    node.learn(announce_prefix("10.0.1.0/24"), announce_prefix("10.0.2.0/24", mac=None))
    vrf = node.instances.instances["red"]

    received = views.received_routes(node.instances, vrf)
    assert [next(iter(each)) for each in received] == [
        "ip-prefix 64512:1 tag 0 10.0.1.0/24 label field 700",
        "ip-prefix 64512:1 tag 0 10.0.2.0/24 label field 700",
    ]
    assert [next(iter(each.values()))["afi-safi"] for each in received] == ["l2vpn/evpn"] * 2  # type: ignore[index]
    assert set(views.best_routes(node.instances, vrf)) == {"10.0.0.2/32", "10.0.1.0/24"}
    (told,) = views.adv_routes(node.instances, vrf)
    assert list(told) == ["ip-prefix 192.0.2.11:0 tag 0 10.0.0.2/32 label field 5000"]
    shown = views.instance(node.instances, vrf)
    assert (shown["carried_by"], shown["vni"]) == (["evpn"], 5000)


def test_explaining_a_prefix_route_tells_vni_and_router() -> None:
    node = node_with_red()
    node.learn(announce_prefix("10.0.1.0/24"))
    found = node.instances.lookup("red", ip_address("10.0.1.5"))
    (candidate,) = found.candidates
    assert candidate.next_hop == f"{PE1} label 700 vxlan router 02:00:00:00:00:a1"
    assert (candidate.peer, candidate.route_distinguisher, candidate.used) == ("192.0.2.1", "64512:1", True)


def test_the_mac_of_a_router_is_local_and_follows_from_its_address() -> None:
    four, six = (default_router_mac(ip_address(text)) for text in ("192.0.2.11", "2001:db8::b"))
    assert four == MacAddress.from_text("02:ba:c0:00:02:0b")
    assert six.packed[0] & 3 == 2 and six != default_router_mac(ip_address("2001:db8::c"))
