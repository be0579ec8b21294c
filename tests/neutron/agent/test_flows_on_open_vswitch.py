"""The extension on Neutron's real bridges and a real Open vSwitch: which flows come, and that they go again."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bagpipe.dataplane.ovs_evpn.pipeline import COOKIE
from tests.neutron.agent.staging import REFERENCE_PYTHON, Staged
from tests.neutron.agent.world import (
    BLUE,
    FOUR,
    IN_BLUE,
    IN_RED,
    MAC,
    NETWORK,
    PORT,
    RED,
    ROUTER_MAC,
    SIX,
    details,
    net_association,
    own,
    port,
    port_association,
    routed,
    router_association,
)
from tests.system.openvswitch import OpenVSwitch

NET, ROUTER, PORT_KIND = "BGPVPNNetAssociation", "BGPVPNRouterAssociation", "BGPVPNPortAssociation"
GATEWAY_MAC = "00:00:5e:00:43:64"
ANSWER = (
    "set_field:2->arp_op,move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],"
    f"set_field:{GATEWAY_MAC}->arp_sha,set_field:10.0.0.1->arp_spa,move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],"
    f"set_field:{GATEWAY_MAC}->eth_src,IN_PORT"
)

Start = Callable[..., Staged]


@pytest.fixture
def switch() -> Iterator[OpenVSwitch]:
    directory = Path(tempfile.mkdtemp(prefix="ag"))
    try:
        with OpenVSwitch(directory) as started:
            yield started
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def start(switch: OpenVSwitch) -> Iterator[Start]:
    """Starts the agent's place with br-mpls there, a network bound to VLAN 5, and the extension running."""
    stages: list[Staged] = []

    def started(**options: Any) -> Staged:
        if "br-mpls" not in switch.vsctl("list-br").split():
            switch.add_bridge("br-mpls")
        network_type = options.pop("network_type", "vxlan")
        stage = Staged(switch, **options)
        stages.append(stage)
        stage.bind_network(NETWORK, 5, network_type, 77)
        stage.initialize()
        assert stage.settle(), stage.log()
        return stage

    yield started
    for stage in stages:
        stage.close()


def everything(stage: Staged) -> dict[tuple[str, int], set[str]]:
    places = (("br-tun", 0), ("br-tun", 1), ("br-tun", 2), ("br-tun", 21), ("br-int", 60), ("br-int", 94))
    return {place: stage.flows(*place) for place in places}


def added(stage: Staged, before: dict[tuple[str, int], set[str]]) -> dict[tuple[str, int], set[str]]:
    now = everything(stage)
    assert all(before[place] <= now[place] for place in now), "a flow that was there has gone"
    return {place: now[place] - before[place] for place in now if now[place] - before[place]}


def test_the_standing_flows_are_those_of_the_contract(start: Start) -> None:
    stage = start()
    assert {flow for flow in stage.flows("br-tun", 2) if "5e:2a" in flow} == {
        "priority=2,dl_src=00:00:5e:2a:10:00,dl_dst=00:00:00:00:00:00/01:00:00:00:00:00 actions=resubmit(,20)",
        "priority=2,dl_src=00:00:5e:2a:10:00,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00 actions=resubmit(,22)",
    }
    assert "in_port=patch-to-mpls actions=output:patch-int" in stage.flows("br-tun", 0)
    assert stage.flows("br-int", 94) == {"priority=3,dl_src=00:00:5e:2a:10:00 actions=NORMAL"}
    assert stage.switch.vsctl("get", "bridge", "br-mpls", "fail_mode").strip() == "secure"


def test_a_gateway_that_no_router_has_is_stood_in_for_and_all_goes_with_the_association(start: Start) -> None:
    # given a port whose network is in a VPN, without a router
    stage = start()
    before = everything(stage)
    stage.has(NET, [net_association(IN_RED, FOUR, SIX)])
    # when it comes
    stage.handle_port(details(port()), 7)
    assert stage.settle()
    # then requests for the gateway are answered, and what is sent to it goes to the MPLS bridge
    taken = "in_port=patch-int,dl_vlan=5"
    assert added(stage, before) == {
        ("br-tun", 21): {f"priority=2,arp,dl_vlan=5,arp_tpa=10.0.0.1,arp_op=1 actions={ANSWER}"},
        ("br-tun", 2): {
            f"priority=1,{taken},dl_dst={GATEWAY_MAC} actions=output:patch-to-mpls",
            f"priority=3,icmp6,{taken},icmp_type=135,nd_target=2001:db8::1 actions=output:patch-to-mpls",
            f"priority=4,icmp6,{taken},ipv6_src=::,icmp_type=135,nd_target=2001:db8::1 actions=resubmit(,22)",
        },
    }
    # when the association ends
    stage.push(NET, [net_association(IN_RED, FOUR, SIX)], "deleted")
    assert stage.settle()
    # then no flow of it is left, and the daemon is told that the port has nothing
    assert everything(stage) == before
    assert stage.attachments(PORT) == []


def test_traffic_to_a_router_goes_to_the_mpls_bridge_from_both_bridges_but_not_its_neighbour_discovery(
    start: Start,
) -> None:
    stage = start()
    before = everything(stage)
    stage.has(ROUTER, [router_association(IN_RED, {NETWORK: (routed(FOUR),)})])
    stage.handle_port(details(port()), 7)
    assert stage.settle()
    found = added(stage, before)
    to_mpls = {flow for flow in found["br-tun", 2] if flow.startswith("priority=1,")}
    assert to_mpls == {
        f"priority=1,in_port=patch-int,dl_vlan=5,dl_dst={mac} actions=output:patch-to-mpls"
        for mac in (ROUTER_MAC, GATEWAY_MAC)
    }
    rest = found["br-tun", 2] - to_mpls
    assert len(rest) == 3
    assert all(flow.endswith("resubmit(,20)") and f"dl_dst={ROUTER_MAC}" in flow for flow in rest)
    assert (
        f"priority=2,reg6=0x5,dl_dst={ROUTER_MAC} actions=push_vlan:0x8100,set_field:4101->vlan_vid,output:patch-tun"
        in found["br-int", 94]
    )
    assert ("br-tun", 21) not in found


def test_a_router_that_comes_changes_and_goes_leaves_no_flow_of_the_time_before(start: Start) -> None:
    # given a network in a VPN without router
    stage = start()
    before = everything(stage)
    stage.has(NET, [net_association(IN_RED, FOUR)])
    stage.handle_port(details(port()), 7)
    assert stage.settle()
    without = everything(stage)
    # when a router comes, then another takes its place
    other = "fa:16:3e:00:00:99"
    for mac in (ROUTER_MAC, other):
        stage.has(NET, [net_association(IN_RED, routed(FOUR, mac))])
        stage.push(NET, [net_association(IN_RED, routed(FOUR, mac))], "updated")
    assert stage.settle()
    # then only the MAC of the present one is redirected
    shown = repr(everything(stage))
    assert other in shown
    assert ROUTER_MAC not in shown
    assert "arp_op=1" not in shown
    # when it goes, all is as before it came
    stage.has(NET, [net_association(IN_RED, FOUR)])
    stage.push(NET, [net_association(IN_RED, FOUR)], "updated")
    assert stage.settle()
    assert everything(stage) == without
    # and when the last port goes, nothing is left
    stage.delete_port(PORT)
    assert stage.settle()
    assert everything(stage) == before
    assert stage.attachments(PORT) is None


def test_of_two_associations_the_flows_stay_until_the_second_has_ended(start: Start) -> None:
    stage = start()
    before = everything(stage)
    stage.has(NET, [net_association(IN_RED, FOUR), net_association(IN_BLUE, FOUR)])
    stage.handle_port(details(port()), 7)
    assert stage.settle()
    with_both = everything(stage)
    stage.push(NET, [net_association(IN_RED, FOUR)], "deleted")
    assert stage.settle()
    assert everything(stage) == with_both
    assert stage.attachments(PORT)[0]["import_rts"] == sorted(BLUE.import_rts)
    stage.push(NET, [net_association(IN_BLUE, FOUR)], "deleted")
    assert stage.settle()
    assert everything(stage) == before


def test_only_the_port_itself_is_redirected_where_an_association_is_of_a_port(start: Start) -> None:
    stage = start()
    before = everything(stage)
    stage.has(PORT_KIND, [port_association(own(RED), FOUR)])
    stage.handle_port(details(port()), 7)
    assert stage.settle()
    flows = [flow for held in added(stage, before).values() for flow in held]
    assert len(flows) == 2
    assert all(f"dl_src={MAC}" in flow for flow in flows)


def test_without_the_openvswitch_firewall_local_traffic_to_a_router_is_found_by_its_port(start: Start) -> None:
    stage = start(firewall_driver="noop")
    before = everything(stage)
    stage.has(NET, [net_association(IN_RED, routed(FOUR))])
    stage.handle_port(details(port()), 7)
    assert stage.settle()
    found = added(stage, before)
    assert ("br-int", 94) not in found
    out = "push_vlan:0x8100,set_field:4101->vlan_vid,output:patch-tun"
    assert f"priority=50,in_port=7,dl_dst={ROUTER_MAC} actions={out}" in found["br-int", 60]
    stage.delete_port(PORT)
    assert stage.settle()
    assert everything(stage) == before


@pytest.mark.parametrize("firewall", ["openvswitch", "noop"])
@pytest.mark.parametrize("way", [{"network_type": "vlan"}, {"tunnels": False}], ids=["VLAN network", "no br-tun"])
def test_without_a_tunnel_br_int_hands_over_by_itself_and_for_its_own_ports_alone(
    start: Start, firewall: str, way: dict[str, Any]
) -> None:
    stage = start(firewall_driver=firewall, **way)
    table = 94 if firewall == "openvswitch" else 60
    before = stage.flows("br-int", table)
    tunnel_before = stage.flows("br-tun", 2)
    stage.has(NET, [net_association(IN_RED, FOUR, SIX)])
    stage.handle_port(details(port(tunnelled=way != {"network_type": "vlan"})), 7)
    assert stage.settle()
    found = stage.flows("br-int", table) - before
    mine, low = ("reg6=0x5", 2) if firewall == "openvswitch" else ("in_port=7", 50)
    out = "push_vlan:0x8100,set_field:4101->vlan_vid,output:patch-int-from-"  # names are cut at 15 characters
    expected = {
        f"priority={low},{mine},dl_dst={GATEWAY_MAC} actions={out}",
        f"priority={low + 1},arp,{mine},arp_tpa=10.0.0.1,arp_op=1 actions={ANSWER}",
        f"priority={low + 1},icmp6,{mine},icmp_type=135,nd_target=2001:db8::1 actions={out}",
        f"priority={low + 2},icmp6,{mine},ipv6_src=::,icmp_type=135,nd_target=2001:db8::1 actions=NORMAL",
    }
    if firewall == "noop":
        back = f"in_port=patch-int-from-,dl_vlan=5,dl_dst={MAC} actions=pop_vlan,output:7"
        expected.add(f"priority=50,{back}")
    assert found == expected
    assert stage.flows("br-tun", 2) == tunnel_before
    stage.delete_port(PORT)
    assert stage.settle()
    assert stage.flows("br-int", table) == before


def test_open_vswitch_restarted_gets_all_flows_again(start: Start) -> None:
    stage = start()
    stage.has(NET, [net_association(IN_RED, routed(FOUR), SIX)])
    stage.handle_port(details(port()), 7)
    assert stage.settle()
    before = everything(stage)
    # when vswitchd comes back without a flow
    stage.switch.stop_switch()
    stage.switch.start_switch()
    stage.switch_restarted()
    assert stage.settle(30), stage.log()
    # then all are there
    assert everything(stage) == before


def test_an_agent_that_starts_again_never_leaves_the_switch_without_the_flows(start: Start) -> None:
    # given an agent with flows, whose server does not answer after its next start
    stage = start()
    known = f'external_ids={{iface-id="{PORT}",attached-mac="{MAC}"}}'
    stage.switch.vsctl("add-port", "br-int", "tap1", "--", "set", "interface", "tap1", known)
    standing = everything(stage)
    stage.has(NET, [net_association(IN_RED, FOUR)])
    stage.handle_port(details(port()), 7)
    assert stage.settle()
    before = everything(stage)
    stage.close()
    # when it starts anew and cleans up all flows that it does not know
    stage = start()
    stage.server_is_silent(True)
    stage.handle_port(details(port()), 7)
    stage.clean_up_flows()
    # then the flows are still there
    assert everything(stage) == before
    # and when the server has answered that the association is gone, they go
    stage.server_is_silent(False)
    assert stage.settle()
    stage.complete()
    deadline = time.monotonic() + 10
    while stage.flows("br-tun", 21) & before["br-tun", 21] - standing["br-tun", 21] and time.monotonic() < deadline:
        time.sleep(0.1)
    assert everything(stage) == standing


def test_flows_of_the_daemon_for_l2_vpns_are_spared_when_the_agent_cleans_up(start: Start) -> None:
    stage = start()
    daemons, strangers = (f"table=20,priority=5,cookie={cookie:#x},dl_vlan={vlan},actions=drop"
                          for cookie, vlan in ((COOKIE, 5), (COOKIE + 1, 6)))  # fmt: skip
    stage.switch.vsctl("add", "bridge", "br-tun", "protocols", "OpenFlow15")
    for flow in (daemons, strangers):
        stage.switch.ofctl("add-flow", "br-tun", flow)
    stage.clean_up_flows()
    left = stage.switch.ofctl("dump-flows", "br-tun", "table=20")
    assert "dl_vlan=5" in left
    assert "dl_vlan=6" not in left


def test_a_bridge_that_is_not_there_yet_is_waited_for(switch: OpenVSwitch) -> None:
    with Staged(switch) as stage:
        stage.bind_network(NETWORK, 5, "vxlan", 77)
        stage.has(NET, [net_association(IN_RED, FOUR)])
        stage.initialize()
        stage.handle_port(details(port()), 7)
        time.sleep(1)
        assert "there is no bridge br-mpls (mpls_bridge in [bagpipe])" in stage.log()
        assert stage.attachments(PORT) is None
        # when it comes
        switch.add_bridge("br-mpls")
        deadline = time.monotonic() + 15
        while stage.attachments(PORT) is None and time.monotonic() < deadline:
            time.sleep(0.1)
        assert stage.settle()
        # then ports are attached by the numbers of its ports
        number = int(switch.vsctl("get", "interface", "patch-from-tun", "ofport"))
        assert stage.attachments(PORT)[0]["local_port"]["number"] == number


@pytest.mark.parametrize("patched", [True, False], ids=["eventlet", "threads"])
def test_it_works_under_neutron_of_2024_2_as_well(start: Start, patched: bool) -> None:
    stage = start(python=REFERENCE_PYTHON, patched=patched)
    before = everything(stage)
    stage.has(NET, [net_association(IN_RED, FOUR, SIX)])
    stage.handle_port(details(port()), 7)
    assert stage.settle(), stage.log()
    assert len(stage.attachments(PORT)) == 1
    assert {place: len(flows) for place, flows in added(stage, before).items()} == {("br-tun", 2): 3, ("br-tun", 21): 1}
    stage.delete_port(PORT)
    assert stage.settle()
    assert everything(stage) == before
