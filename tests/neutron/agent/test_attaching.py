"""Which attachments follow from which associations."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bagpipe.neutron.agent.attaching import attachments
from bagpipe.neutron.agent.facts import LeakRoute, LinuxBridgeSite, OpenVSwitchSite, Plumbing, PrefixRoute, Site
from bagpipe.neutron.agent.link.attachment import Attachment, Fallback, LocalPort, Readvertise
from tests.neutron.agent.world import (
    BLUE,
    FOUR,
    IN_BLUE,
    IN_LAN,
    IN_RED,
    LAN,
    MAC,
    NETWORK,
    PLUMBING,
    PORT,
    RED,
    ROUTER_MAC,
    SIBLING_MAC,
    SITE,
    SIX,
    VLAN,
    own,
    port,
    routed,
    uuid,
    view,
)


def only(found: tuple[Attachment, ...]) -> Attachment:
    (one,) = found
    return one


def test_a_port_of_a_network_in_an_l3_vpn_is_attached_as_networking_bagpipe_does() -> None:
    # given a network in one VPN, whose gateway is a router's
    network = view(IN_RED, subnets=(routed(FOUR),))
    # when its port is attached
    found = attachments(port(), network, (), SITE)
    # then all is as the contract's body has it
    assert found == (
        Attachment(
            port_id=PORT,
            instance_id=f"ipvpn_{NETWORK}",
            type="ipvpn",
            mac=MAC,
            addresses=("10.0.0.2/32",),
            gateways=("10.0.0.1",),
            import_rts=frozenset({"64512:1", "64512:2"}),
            export_rts=frozenset({"64512:1", "64512:3"}),
            local_port=LocalPort("patch2tun:5", number=22, vlan=VLAN),
            fallback=Fallback("00:00:5e:2a:10:00", ROUTER_MAC, 21, VLAN),
            description={"port": PORT},
            instance_description=f"BGPVPN ipvpn associations for net {NETWORK} (10.0.0.1)",
        ),
    )


def test_all_addresses_of_both_families_and_the_gateways_of_all_subnets_are_stated() -> None:
    second = replace(FOUR, id=uuid(1), cidr="10.0.1.0/24", gateway_ip="10.0.1.1")
    held = port(addresses=("10.0.0.2", "2001:db8::2", "10.0.1.2"))
    one = only(attachments(held, view(IN_RED, subnets=(FOUR, second, SIX)), (), SITE))
    assert one.addresses == ("10.0.0.2/32", "2001:db8::2/128", "10.0.1.2/32")
    assert one.gateways == ("10.0.0.1", "10.0.1.1", "2001:db8::1")


def test_a_network_in_two_vpns_has_one_instance_with_the_targets_of_both() -> None:
    one = only(attachments(port(), view(IN_RED, IN_BLUE), (), SITE))
    assert one.import_rts == RED.import_rts | BLUE.import_rts
    assert one.export_rts == RED.export_rts | BLUE.export_rts


def test_an_l2_vpn_is_attached_before_an_l3_vpn_with_the_vni_of_the_vpn_or_of_the_network() -> None:
    evpn, ipvpn = attachments(port(), view(IN_LAN, IN_RED), (), SITE)
    assert (evpn.type, ipvpn.type) == ("evpn", "ipvpn")
    assert evpn.instance_id == f"evpn_{NETWORK}"
    assert evpn.local_port == LocalPort("patch2tun:5", vlan=VLAN)
    assert evpn.vni == 77
    assert evpn.fallback is None
    with_vni = replace(IN_LAN, vpn=replace(LAN, vni=5000))
    assert attachments(port(), view(with_vni), (), SITE)[0].vni == 5000
    assert attachments(port(segmentation_id=None), view(IN_LAN), (), SITE)[0].vni is None


def test_of_several_vnis_the_lowest_counts_on_every_node() -> None:
    low, high = replace(IN_LAN, vpn=replace(LAN, vni=7)), replace(IN_BLUE, vpn=replace(LAN, id=uuid(9), vni=8))
    assert {attachments(port(), view(*order), (), SITE)[0].vni for order in ((low, high), (high, low))} == {7}


@pytest.mark.parametrize(("prefs", "expected"), [((None, None), None), ((0, None), 0), ((0, 50), 50), ((200, 50), 200)])
def test_the_highest_local_pref_counts_and_zero_is_one(
    prefs: tuple[int | None, int | None], expected: int | None
) -> None:
    red, blue = (
        replace(each, vpn=replace(each.vpn, local_pref=pref))
        for each, pref in zip((IN_RED, IN_BLUE), prefs, strict=True)
    )
    assert only(attachments(port(), view(red, blue), (), SITE)).local_pref == expected


def test_a_port_association_of_its_own_does_not_change_what_a_sibling_has() -> None:
    # given a network in one VPN, and a port of it that is in another as well
    mine = attachments(port(), view(IN_RED), [own(BLUE)], SITE)
    sibling = attachments(port(uuid(8), SIBLING_MAC, "10.0.0.3"), view(IN_RED), (), SITE)
    # then the port has an instance of its own, which only its MAC enters
    one = only(mine)
    assert one.instance_id == f"ipvpn_{NETWORK}_port_{PORT}"
    assert one.shared_instance_id == f"ipvpn_{NETWORK}"
    assert one.import_rts == RED.import_rts | BLUE.import_rts
    assert one.local_port.source_mac == MAC
    # and the sibling is in the network's, as if there were none
    assert only(sibling).instance_id == f"ipvpn_{NETWORK}"
    assert only(sibling).import_rts == RED.import_rts
    assert only(sibling).local_port.source_mac is None


def test_a_port_association_that_adds_nothing_keeps_the_port_in_the_networks_instance() -> None:
    one = only(attachments(port(), view(IN_RED), [own(RED)], SITE))
    assert one.instance_id == f"ipvpn_{NETWORK}"
    assert one.local_port.source_mac is None


def test_a_port_whose_addresses_are_not_to_be_announced_reaches_the_vpn_all_the_same() -> None:
    one = only(attachments(port(), view(), [own(RED, advertise_fixed_ips=False)], SITE))
    assert one.direction == "from-port"
    assert one.export_rts == frozenset()
    assert one.import_rts == RED.import_rts


def test_addresses_are_not_announced_to_the_vpn_that_does_not_want_them() -> None:
    # given a network in one VPN, and an association with another that announces routes only
    one = only(attachments(port(), view(IN_RED), [own(BLUE, advertise_fixed_ips=False)], SITE))
    # then the port hears both and tells one
    assert one.import_rts == RED.import_rts | BLUE.import_rts
    assert one.export_rts == RED.export_rts
    assert one.direction == "both"


def test_a_prefix_route_is_an_instance_of_its_own() -> None:
    association = own(BLUE, prefixes=(PrefixRoute("40.0.0.0/24", 50), PrefixRoute("2001:db8:4::/48")))
    _, six, four = attachments(port(), view(IN_RED), [association], SITE)
    assert four.instance_id == f"ipvpn_portassoc_{association.id}_prefix_40_0_0_0_24"
    assert four.addresses == ("40.0.0.0/24",)
    assert four.advertise_subnet
    assert four.direction == "to-port"
    assert four.local_pref == 50
    assert (four.import_rts, four.export_rts) == (BLUE.import_rts, BLUE.export_rts)
    assert six.instance_id == f"ipvpn_portassoc_{association.id}_prefix_2001_db8_4___48"
    assert six.addresses == ("2001:db8:4::/48",)


@pytest.mark.parametrize(("route", "vpn", "expected"), [(0, 70, 0), (None, 70, 70), (None, 0, 0), (None, None, None)])
def test_local_pref_zero_of_a_route_is_not_the_same_as_none(
    route: int | None, vpn: int | None, expected: int | None
) -> None:
    association = own(replace(BLUE, local_pref=vpn), prefixes=(PrefixRoute("40.0.0.0/24", route),))
    assert attachments(port(), view(), [association], SITE)[-1].local_pref == expected


def test_a_leak_readvertises_the_routes_of_the_other_vpn_by_way_of_the_port() -> None:
    association = own(BLUE, leaks=(LeakRoute(RED),))
    held = port(addresses=("10.0.0.2", "2001:db8::2"))
    _, leak = attachments(held, view(), [association], SITE)
    assert leak.instance_id == f"ipvpn_portassoc_{association.id}_bgpvpn_{RED.id}"
    assert leak.addresses == ("10.0.0.2/32", "2001:db8::2/128")
    assert leak.direction == "to-port"
    assert leak.readvertise == Readvertise(RED.import_rts, BLUE.export_rts)
    assert leak.export_rts == BLUE.export_rts


def test_a_leak_does_not_announce_addresses_that_are_not_to_be_announced() -> None:
    association = own(BLUE, leaks=(LeakRoute(RED),), advertise_fixed_ips=False)
    leak = attachments(port(), view(), [association], SITE)[-1]
    assert leak.export_rts == frozenset()
    assert leak.readvertise == Readvertise(RED.import_rts, BLUE.export_rts)


def test_routes_of_an_l2_association_are_left_out() -> None:
    association = own(LAN, prefixes=(PrefixRoute("40.0.0.0/24"),), leaks=(LeakRoute(LAN),))
    found = only(attachments(port(), view(bridged=(LAN,)), [association], SITE))
    assert (found.instance_id, found.addresses) == (f"evpn_{NETWORK}", ("10.0.0.2/32",))


def test_a_port_in_an_l2_vpn_of_its_own_is_in_the_instance_of_its_network_and_announced_as_it_asks() -> None:
    other = replace(LAN, id=uuid(0xE4), import_rts=frozenset({"64512:32"}), export_rts=frozenset({"64512:33"}), vni=80)
    network = view(IN_LAN, bridged=(other,))
    mine = only(attachments(port(), network, [own(other)], SITE))
    sibling = only(attachments(port(uuid(8), SIBLING_MAC, "10.0.0.3"), network, (), SITE))
    silent = only(attachments(port(), view(bridged=(other,)), [own(other, advertise_fixed_ips=False)], SITE))
    assert {each.instance_id for each in (mine, sibling, silent)} == {f"evpn_{NETWORK}"}
    assert mine.import_rts == sibling.import_rts == frozenset({"64512:31", "64512:32"})
    assert mine.export_rts == sibling.export_rts == frozenset({"64512:31"})
    assert mine.vni == sibling.vni
    assert mine.own_export_rts == frozenset({"64512:31", "64512:33"})
    assert sibling.own_export_rts is None
    assert (silent.export_rts, silent.own_export_rts, silent.direction) == (frozenset(), None, "both")


@pytest.mark.parametrize("off", [{"admin_up": False}, {"active": False}])
def test_a_port_that_is_down_or_not_here_yet_has_nothing(off: dict[str, bool]) -> None:
    assert attachments(port(**off), view(IN_RED, IN_LAN), [own(BLUE)], SITE) == ()


def test_a_port_without_a_fixed_address_has_no_ip_vpn_and_breaks_nothing() -> None:
    bare = port(addresses=())
    found = attachments(bare, view(IN_RED, IN_LAN), [own(BLUE, prefixes=(PrefixRoute("40.0.0.0/24"),))], SITE)
    assert [each.type for each in found] == ["evpn", "ipvpn"]
    assert found[1].addresses == ("40.0.0.0/24",)


def test_allowed_address_pairs_are_announced_only_where_that_is_asked_for() -> None:
    held = port(pairs=((MAC, "10.0.0.50"), (SIBLING_MAC, "10.0.0.51/32"), (MAC, "0.0.0.0/0"), (MAC, "2001:db8::50")))
    assert only(attachments(held, view(IN_RED), (), SITE)).addresses == ("10.0.0.2/32",)
    mine, other = attachments(held, view(IN_RED), (), SITE, with_pairs=True)
    assert mine.addresses == ("10.0.0.2/32", "10.0.0.50/32", "2001:db8::50/128")
    assert (other.mac, other.addresses) == (SIBLING_MAC, ("10.0.0.51/32",))


def test_a_route_distinguisher_is_used_where_exactly_one_vpn_means_it() -> None:
    red = replace(RED, route_distinguishers=("64512:7", "64512:8"))
    in_red = replace(IN_RED, vpn=red)
    assert only(attachments(port(), view(in_red), (), SITE)).route_distinguisher == "64512:7"
    assert only(attachments(port(), view(in_red, IN_BLUE), (), SITE)).route_distinguisher is None
    assert only(attachments(port(), view(in_red), [own(BLUE)], SITE)).route_distinguisher is None
    assert (
        attachments(port(), view(), [own(red, prefixes=(PrefixRoute("40.0.0.0/24"),))], SITE)[-1].route_distinguisher
        == "64512:7"
    )


@pytest.mark.parametrize(
    ("site", "tunnelled"),
    [(SITE, False), (OpenVSwitchSite(Plumbing(int_to_mpls=11, mpls_to_int=21)), True)],
    ids=["VLAN network", "no br-tun"],
)
def test_without_a_tunnel_the_port_is_reached_by_way_of_br_int(site: Site, tunnelled: bool) -> None:
    one = only(attachments(port(tunnelled=tunnelled), view(IN_RED), (), site))
    assert one.local_port == LocalPort("patch2tun:5", number=PLUMBING.mpls_to_int, vlan=VLAN)


def test_a_network_without_gateway_has_neither_gateways_nor_fallback() -> None:
    one = only(attachments(port(), view(IN_RED, subnets=(replace(FOUR, gateway_ip=None),)), (), SITE))
    assert one.gateways == ()
    assert one.fallback is None
    assert one.instance_description == f"BGPVPN ipvpn associations for net {NETWORK}"


def test_on_linux_bridges_the_bridge_is_the_port_of_an_ip_vpn() -> None:
    network = view(IN_LAN, IN_RED, subnets=(routed(FOUR),))
    evpn, ipvpn = attachments(port(vlan=None, ofport=None), network, (), LinuxBridgeSite())
    assert evpn.local_port == LocalPort("tap000000b1-00", linuxbr="brq000000a1-00")
    assert ipvpn.local_port == LocalPort("brq000000a1-00")
    assert ipvpn.fallback is None


def test_a_port_whose_network_has_no_local_vlan_yet_waits() -> None:
    assert attachments(port(vlan=None), view(IN_RED), (), SITE) == ()
