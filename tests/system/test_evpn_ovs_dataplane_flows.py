"""EVPN records to flows and ports on a real Open vSwitch without devices: beside Neutron, and on an own bridge."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from bagpipe.dataplane.model import (
    Bridge,
    BridgeKey,
    Encapsulation,
    FloodKey,
    Key,
    Local,
    MacKey,
    Neighbour,
    NeighbourKey,
    Plug,
    PlugKey,
    Port,
    Remote,
    SourceKey,
    Value,
)
from bagpipe.dataplane.ovs_evpn.neutron import tunnel_name
from bagpipe.dataplane.ovs_evpn.pipeline import COOKIE
from bagpipe.dataplane.ovs_evpn.settings import OvsEvpnSettings
from bagpipe.errors import LocalMisuse
from bagpipe.identifiers import MacAddress
from tests.system.evpn_nodes import (
    EVI,
    INTEGRATION,
    OWN,
    TUNNELS,
    VLAN,
    VNI,
    add_flows_of_neutron,
    add_tunnel_bridge,
    driving,
    flows_of_others,
    neutron_flow,
    neutron_tunnel,
    number_of,
    on_loop,
    our_flows,
)
from tests.system.openvswitch import OpenVSwitch

LOCAL = "127.0.0.1"
EAST, SOUTH, NORTH = ip_address("192.0.2.2").packed, ip_address("192.0.2.3").packed, "192.0.2.77"
MAC = MacAddress(bytes.fromhex("020000000001"))
PORT = Port(f"patch2tun:{VLAN}", vlan=VLAN)
NETWORK: dict[Key, Value] = {BridgeKey(EVI): Bridge("net", VNI), PlugKey(PORT): Plug(EVI)}


def node(address: bytes, vni: int = VNI) -> Remote:
    return Remote(address, vni, Encapsulation.VXLAN)


def flooding(*hops: Remote) -> dict[Key, Value]:
    return {FloodKey(EVI, hop.address): (hop,) for hop in hops}


def ports(ovs: OpenVSwitch, bridge: str = TUNNELS) -> list[str]:
    return [name for name in ovs.vsctl("list-ports", bridge).split() if name != "patch-int"]


def flows(ovs: OpenVSwitch, table: int, bridge: str = TUNNELS) -> list[str]:
    """Our flows of one table."""
    mark = "" if table == 0 else f"table={table}, "
    return [
        flow.removeprefix(mark) for flow in our_flows(ovs, bridge) if ("table=" in flow) == bool(table) and mark in flow
    ]


@pytest.fixture
def ovs() -> Iterator[OpenVSwitch]:
    with tempfile.TemporaryDirectory(prefix="ovse-") as directory, OpenVSwitch(Path(directory)) as running:
        running.add_bridge(INTEGRATION)
        add_tunnel_bridge(running)
        yield running


def settings(ovs: OpenVSwitch, bridge: str = TUNNELS, **more: object) -> OvsEvpnSettings:
    local = ip_address(LOCAL)
    return OvsEvpnSettings(local, bridge, f"unix:{ovs.directory}/db.sock", str(ovs.directory), **more)  # type: ignore[arg-type]


@on_loop
async def test_beside_neutron_the_flows_are_those_of_the_contract(ovs: OpenVSwitch) -> None:
    before = flows_of_others(ovs)
    async with driving(settings(ovs)) as driven:
        await driven.want(
            NETWORK
            | flooding(node(EAST), node(SOUTH, 77))
            | {SourceKey(EAST): True, MacKey(EVI, MAC.packed): (node(SOUTH, 77),)}
            | {NeighbourKey(EVI, ip_address("10.0.0.1").packed): Neighbour(MAC)}
        )
        assert driven.refused == {}
        east, south = (number_of(ovs, tunnel_name(address)) for address in (EAST, SOUTH))

        assert (await driven.driver.carried(SourceKey(EAST), True)).parts == (
            f"cookie={COOKIE:#x},table=0,priority=5,in_port={east} actions=resubmit(,4)",
        )
        # then VNI, MAC and flooding are at the places that the reference has them, and nothing of Neutron's is changed
        assert flows(ovs, 4) == [
            f"priority=5,tun_id={VNI:#x} actions=push_vlan:0x8100,set_field:{4096 + VLAN}->vlan_vid,resubmit(,10)"
        ]
        assert flows(ovs, 20) == [
            f"priority=5,dl_vlan={VLAN},dl_dst={MAC} actions=pop_vlan,set_field:{77:#x}->tun_id,output:{south}"
        ]
        assert flows(ovs, 22) == [
            f"priority=5,dl_vlan={VLAN} actions=pop_vlan,set_field:{77:#x}->tun_id,output:{south}"
            f",set_field:{VNI:#x}->tun_id,output:{east}"
        ]
        assert flows(ovs, 0) == [
            f"priority=5,in_port={number} actions=resubmit(,4)" for number in sorted((east, south))
        ]
        assert any("arp_tpa=10.0.0.1" in flow and f"set_field:{MAC}->arp_sha" in flow for flow in flows(ovs, 21))
        assert flows_of_others(ovs) == before
        # and the tunnel ports are as Neutron would make them, and marked
        shown = ovs.vsctl("get", "interface", "vxlan-c0000202", "options")
        assert set(re.findall(r'(\w+)="?([^",}]+)', shown)) == {
            *(("df_default", "true"), ("in_key", "flow"), ("out_key", "flow"), ("egress_pkt_mark", "0")),
            *(("local_ip", LOCAL), ("remote_ip", "192.0.2.2")),
        }
        assert "bagpipe-owner" in ovs.vsctl("get", "port", "vxlan-c0000202", "external_ids")

        # when all records go, then so do flows and ports
        await driven.want(dict.fromkeys(driven.tracker.desired))
        assert [flow for flow in our_flows(ovs) if "table=121" not in flow] == []
        assert ports(ovs) == []


@on_loop
async def test_questions_for_the_gateway_of_an_ip_vpn_are_left_to_the_flows_of_the_agents_extension(
    ovs: OpenVSwitch,
) -> None:
    """Traced by Open vSwitch itself, with flows at the places that the extension gives them."""
    tap = number_of(ovs, "patch-int")
    neutron_flow(ovs, f"table=2,priority=3,dl_vlan={VLAN},arp,arp_op=1,arp_tpa=10.0.0.254,actions=drop")
    neutron_flow(ovs, f"table=2,priority=3,dl_vlan={VLAN},icmp6,icmp_type=135,nd_target=fd00::fe,actions=drop")
    arp = f"in_port={tap},dl_vlan={VLAN},dl_dst=ff:ff:ff:ff:ff:ff,dl_src={MAC},arp,arp_op=1,arp_spa=10.0.0.9"
    nd = f"in_port={tap},dl_vlan={VLAN},dl_dst=33:33:ff:00:00:01,dl_src={MAC},icmp6,icmpv6_type=135,icmpv6_code=0"
    nd += f",ipv6_src=fd00::9,nd_sll={MAC}"

    def traced(packet: str) -> str:
        control = f"{ovs.directory}/ovs-vswitchd.ctl"
        return ovs.run("ovs-appctl", "-t", control, "ofproto/trace", TUNNELS, packet)

    async with driving(settings(ovs)) as driven:
        addresses = ("10.0.0.1", "fd00::1")
        await driven.want(
            NETWORK
            | flooding(node(EAST))
            | {NeighbourKey(EVI, ip_address(text).packed): Neighbour(MAC) for text in addresses}
        )
        for gateway in (f"{arp},arp_tpa=10.0.0.254", f"{nd},nd_target=fd00::fe"):
            assert "Datapath actions: drop" in traced(gateway)
        for known in (f"{arp},arp_tpa=10.0.0.1", f"{nd},nd_target=fd00::1"):
            assert "IN_PORT" in traced(known)
        for other in (f"{arp},arp_tpa=10.0.0.7", f"{nd},nd_target=fd00::7"):
            assert f"output:{number_of(ovs, tunnel_name(EAST))}" in traced(other)


@on_loop
@pytest.mark.parametrize(("bridge", "asks"), [(TUNNELS, True), (OWN, False)])
async def test_a_machine_of_this_node_answers_for_itself_where_br_int_asks_it(
    ovs: OpenVSwitch, bridge: str, asks: bool
) -> None:
    records = [NeighbourKey(EVI, ip_address(text).packed) for text in ("10.0.0.1", "fd00::1")]

    def answers() -> list[str]:
        return [flow for flow in our_flows(ovs, bridge) if "arp_tpa=10.0.0.1," in flow or "nd_target=fd00::1 " in flow]

    async with driving(settings(ovs, bridge)) as driven:
        await driven.want(NETWORK | dict.fromkeys(records, Neighbour(MAC)))
        elsewhere = answers()
        assert any("arp_tpa" in flow for flow in elsewhere)
        assert any("nd_target" in flow for flow in elsewhere)
        # when the machine comes here, and when it goes again
        await driven.want(dict.fromkeys(records, Neighbour(MAC, is_here=True)))
        assert answers() == ([] if asks else elsewhere)
        await driven.want(dict.fromkeys(records, Neighbour(MAC)))
        assert answers() == elsewhere


@on_loop
async def test_a_tunnel_port_is_shared_with_neutron_and_removed_by_its_last_user(ovs: OpenVSwitch) -> None:
    name, other = tunnel_name(EAST), tunnel_name(SOUTH)
    async with driving(settings(ovs)) as driven:
        # given a port that Neutron has made, when we use it and use it no more, then it is as it was
        theirs = neutron_tunnel(ovs, "192.0.2.2", LOCAL)
        before = flows_of_others(ovs)
        await driven.want(NETWORK | flooding(node(EAST)))
        assert f"output:{theirs}" in flows(ovs, 22)[0]
        assert ovs.vsctl("get", "port", name, "external_ids").strip() == "{}"
        await driven.want(dict.fromkeys(flooding(node(EAST))))
        assert flows(ovs, 22) == [] and flows(ovs, 0) == []
        assert number_of(ovs, name) == theirs and flows_of_others(ovs) == before

        # given a port that we have made and Neutron has come to use, then it stays for Neutron
        await driven.want(flooding(node(SOUTH)))
        ours = number_of(ovs, other)
        assert neutron_tunnel(ovs, "192.0.2.3", LOCAL) == ours
        await driven.want(dict.fromkeys(flooding(node(SOUTH))))
        assert number_of(ovs, other) == ours
        assert ovs.vsctl("get", "port", other, "external_ids").strip() == "{}"

        # when Neutron removes a port that we use, then it is there again, and the flows follow its number
        await driven.want(flooding(node(EAST)) | {MacKey(EVI, MAC.packed): (node(EAST),), SourceKey(EAST): True})
        ovs.vsctl("del-port", TUNNELS, name)

        def is_followed() -> bool:
            if name not in ports(ovs):
                return False
            number = number_of(ovs, name)
            expected = {f"in_port={number} " in flows(ovs, 0)[0], f"output:{number}" in flows(ovs, 20)[0]}
            return number > 0 and expected | {f"output:{number}" in flows(ovs, 22)[0]} == {True}

        await driven.until(is_followed, "the port is back")
        assert "bagpipe-owner" in ovs.vsctl("get", "port", name, "external_ids")
        assert driven.refused == {}


@on_loop
async def test_a_bgp_neighbour_that_nothing_is_sent_to_gets_no_tunnel(ovs: OpenVSwitch) -> None:
    async with driving(settings(ovs)) as driven:
        await driven.want(NETWORK | {SourceKey(EAST): True})
        assert (ports(ovs), driven.refused) == ([], {})
        # when it is one that frames go to
        await driven.want(flooding(node(EAST)))
        assert ports(ovs) == [tunnel_name(EAST)]
        # and no more
        await driven.want(dict.fromkeys(flooding(node(EAST))))
        await driven.want({SourceKey(EAST): None})
        assert (ports(ovs), flows(ovs, 0)) == ([], [])


@on_loop
async def test_nodes_that_neutron_alone_floods_to_are_flooded_to_as_well(ovs: OpenVSwitch) -> None:
    async with driving(settings(ovs)) as driven:
        await driven.want(NETWORK | flooding(node(EAST)))
        east = number_of(ovs, tunnel_name(EAST))
        assert flows(ovs, 22)[0].endswith(f"set_field:{VNI:#x}->tun_id,output:{east}")

        # when Neutron floods the VLAN to that node and to one more, such as a network node
        neutron_tunnel(ovs, "192.0.2.2", LOCAL)
        north = neutron_tunnel(ovs, NORTH, LOCAL)
        neutron_flow(
            ovs,
            f"table=22,priority=1,dl_vlan={VLAN},actions=strip_vlan,set_field:900->tun_id,output:{east},output:{north}",
        )
        # then each gets the frame once, by the identifier that it knows the network by
        wanted = f"set_field:{VNI:#x}->tun_id,output:{east},set_field:{900:#x}->tun_id,output:{north}"
        await driven.until(lambda: flows(ovs, 22)[0].endswith(wanted), "the other node is flooded to")
        assert await driven.driver.audit(driven.tracker.desired) == []

        # and when Neutron floods no more, then we do not do it in its place
        ovs.run(
            "ovs-ofctl",
            "-O",
            "OpenFlow13",
            "--strict",
            "del-flows",
            ovs.target(TUNNELS),
            f"table=22,priority=1,dl_vlan={VLAN}",
        )
        await driven.until(lambda: flows(ovs, 22)[0].endswith(f"tun_id,output:{east}"), "it is not any more")


@on_loop
async def test_when_neutrons_agent_starts_again_and_cleans_up_our_flows_are_put_back(ovs: OpenVSwitch) -> None:
    async with driving(settings(ovs)) as driven:
        await driven.want(
            NETWORK
            | flooding(node(EAST))
            | {SourceKey(EAST): True, MacKey(EVI, MAC.packed): (node(EAST),)}
            | {NeighbourKey(EVI, ip_address(text).packed): Neighbour(MAC) for text in ("10.0.0.1", "fd00::1")}
        )
        ours, theirs = our_flows(ovs), flows_of_others(ovs)
        assert len(ours) > 8
        # as its cleanup_flows does for a cookie that it does not know, table by table
        for table in (0, 2, 4, 10, 20, 21, 22):
            ovs.ofctl("del-flows", TUNNELS, f"table={table},cookie={COOKIE:#x}/-1")
        await driven.until(lambda: our_flows(ovs) == ours, "our flows are back")
        # or all of them
        ovs.ofctl("del-flows", TUNNELS)
        add_flows_of_neutron(ovs)
        await driven.until(lambda: our_flows(ovs) == ours, "our flows are back")
        assert flows_of_others(ovs) == theirs


@on_loop
async def test_everything_comes_back_after_open_vswitch_does(ovs: OpenVSwitch) -> None:
    for bridge in (TUNNELS, OWN):
        async with driving(settings(ovs, bridge)) as driven:
            await driven.want(NETWORK | flooding(node(EAST)) | {MacKey(EVI, MAC.packed): (node(EAST), node(SOUTH))})
            if bridge == OWN:
                assert list(driven.refused) == [f"plug of {PORT}"]
            await asyncio.to_thread(ovs.stop_switch)
            await driven.until(lambda: not driven.is_ready, "the switch is gone")
            await asyncio.to_thread(ovs.start_switch)
            await driven.until(lambda: driven.is_ready and not driven.tracker.has_changes, "the switch is back")
            assert await driven.driver.audit(driven.tracker.desired) == [] or bridge == OWN
            assert "group:" in flows(ovs, 20 if bridge == TUNNELS else 5, bridge)[-1]
            await driven.driver.reset()


@on_loop
async def test_several_nodes_share_the_traffic_to_a_mac(ovs: OpenVSwitch) -> None:
    key, many = MacKey(EVI, MAC.packed), (node(EAST), node(SOUTH, 77))
    async with driving(settings(ovs)) as driven:
        await driven.want(NETWORK | {key: many})
        assert driven.refused == {}
        east, south = (number_of(ovs, tunnel_name(address)) for address in (EAST, SOUTH))
        group = re.search(r"actions=pop_vlan,group:(\d+)", flows(ovs, 20)[0])
        assert group is not None and int(group[1]) >> 24 == 0xBE
        shown = ovs.ofctl("dump-groups", TUNNELS)
        assert "type=select" in shown
        assert f"actions=set_field:{VNI:#x}->tun_id,output:{east}" in shown
        assert f"actions=set_field:{77:#x}->tun_id,output:{south}" in shown
        # a second MAC has the same group; with the last the group goes
        second = MacKey(EVI, bytes.fromhex("020000000002"))
        await driven.want({second: many})
        assert ovs.ofctl("dump-groups", TUNNELS).count("group_id=") == 1
        await driven.want({key: (node(EAST),)})
        assert ovs.ofctl("dump-groups", TUNNELS).count("group_id=") == 1
        await driven.want({second: None})
        assert "group_id=" not in ovs.ofctl("dump-groups", TUNNELS)
        assert flows(ovs, 20)[0].endswith(f"output:{east}")


@on_loop
async def test_a_network_that_gets_another_vlan_is_followed(ovs: OpenVSwitch) -> None:
    other = Port("patch2tun:9", vlan=9)
    async with driving(settings(ovs)) as driven:
        await driven.want(
            NETWORK
            | flooding(node(EAST))
            | {MacKey(EVI, MAC.packed): (node(EAST),)}
            | {NeighbourKey(EVI, ip_address("10.0.0.1").packed): Neighbour(MAC)}
        )
        before = our_flows(ovs)
        # when the last port goes, nothing that names the VLAN stays, and what is left says why
        await driven.want({PlugKey(PORT): None})
        assert not any(f"dl_vlan={VLAN}" in flow for flow in our_flows(ovs))
        await driven.until(lambda: len(driven.refused) == 2, "the others are refused")
        assert set(driven.refused.values()) == {f"no port of EVI {EVI} has a VLAN on this node"}
        # and with a port of another VLAN all is there
        await driven.want({PlugKey(other): Plug(EVI)})
        wanted = sorted(
            flow.replace(f"dl_vlan={VLAN}", "dl_vlan=9").replace(f"set_field:{4096 + VLAN}", f"set_field:{4096 + 9}")
            for flow in before
        )
        await driven.until(lambda: our_flows(ovs) == wanted, "all is in the other VLAN")
        assert driven.refused == {}


@on_loop
async def test_what_cannot_be_is_refused_with_its_reason_and_the_rest_is_programmed(ovs: OpenVSwitch) -> None:
    bare, wrong, second = Port("bare"), Port("wrong", vlan=6), Port("second", vlan=VLAN)
    six = ip_address("2001:db8::2").packed
    async with driving(settings(ovs)) as driven:
        await driven.want(NETWORK)
        await driven.want(
            {PlugKey(bare): Plug(EVI), PlugKey(wrong): Plug(EVI)}
            | flooding(node(EAST), node(six))
            | {BridgeKey(2): Bridge("other", 78), PlugKey(second): Plug(2)}
        )
        assert driven.refused == {
            f"plug of {bare}": "port bare has no VLAN: beside Neutron it needs that of its network",
            f"plug of {wrong}": f"VLAN 6 is not that of the EVI's other ports, {VLAN}",
            f"flooding of EVI {EVI} to 2001:db8::2": f"no tunnel to 2001:db8::2 can start at the local address {LOCAL}",
            f"plug of {second}": f"VLAN {VLAN} is that of another EVI",
        }
        assert len(flows(ovs, 22)) == len(flows(ovs, 4)) == 1
        # this node itself may be among those that are known, and is no node to send to
        here = ip_address(LOCAL).packed
        await driven.want({SourceKey(here): True} | flooding(node(here)))
        assert driven.refused[f"flooding of EVI {EVI} to {LOCAL}"] == f"{LOCAL} is this node itself"
        assert f"tunnels from {LOCAL}" not in driven.refused

        # a VNI that another tunnel of the host takes away
        ovs.add_bridge("br-x")
        options = f"options:local_ip={LOCAL} options:remote_ip=flow options:in_key={VNI}"
        ovs.vsctl(*f"add-port br-x label -- set interface label type=vxlan {options}".split())
        await driven.until(lambda: f"bridge of EVI {EVI}" in driven.refused, "the VNI is refused")
        assert driven.refused[f"bridge of EVI {EVI}"] == f"VNI {VNI} is taken away by label of br-x"
        ovs.vsctl("del-port", "br-x", "label")
        await driven.until(lambda: f"bridge of EVI {EVI}" not in driven.refused, "it is free again")


@on_loop
async def test_an_own_bridge_is_made_with_a_port_for_each_vni_and_goes_with_the_reset(ovs: OpenVSwitch) -> None:
    key = MacKey(EVI, MAC.packed)
    async with driving(settings(ovs, OWN)) as driven:
        await driven.want(
            {BridgeKey(EVI): Bridge("net", VNI), BridgeKey(2): Bridge("other", 78)} | flooding(node(EAST))
        )
        assert driven.refused == {}
        assert ports(ovs, OWN) == [f"evpn-{VNI}", "evpn-78", "evpn-out"]
        assert ovs.vsctl("get", "bridge", OWN, "fail_mode").strip() == "secure"
        # a VNI that changes has another port, one that goes has none
        await driven.want({BridgeKey(EVI): Bridge("net", 79), BridgeKey(2): None})
        assert ports(ovs, OWN) == ["evpn-79", "evpn-out"]
        # a port that is not there is named, and taken once it is
        tap = Port("tap1")
        await driven.want({PlugKey(tap): Plug(EVI), key: (Local(tap, MAC),)})
        assert set(driven.refused.values()) == {f"port tap1 is not on bridge {OWN}"}
        ovs.vsctl("add-port", OWN, "tap1", "--", "set", "interface", "tap1", "type=dummy")
        await driven.until(lambda: driven.refused == {}, "the port is taken")
        assert flows(ovs, 5, OWN)[-1].endswith(f"output:{number_of(ovs, 'tap1')}")
        # what others have put on the bridge keeps it alive
        assert await driven.driver.reset() > 0
        assert ports(ovs, OWN) == ["tap1"] and our_flows(ovs, OWN) == []
    ovs.vsctl("del-port", OWN, "tap1")
    async with driving(settings(ovs, OWN)) as driven:
        await driven.driver.reset()
    assert OWN not in ovs.vsctl("list-br").split()


@on_loop
async def test_a_port_that_goes_to_another_evi_is_of_that_alone(ovs: OpenVSwitch) -> None:
    ovs.add_bridge(OWN)
    ovs.vsctl("add-port", OWN, "tap1", "--", "set", "interface", "tap1", "type=dummy")
    key, number = PlugKey(Port("tap1")), number_of(ovs, "tap1")
    async with driving(settings(ovs, OWN)) as driven:
        await driven.want({BridgeKey(1): Bridge("one", 77), BridgeKey(2): Bridge("two", 78), key: Plug(2)})
        for instance in (1, 2, 1):
            await driven.want({key: Plug(instance)})
            assert driven.refused == {}
            (access,) = (flow for flow in flows(ovs, 0, OWN) if f"in_port={number}," in flow)
            assert f"set_field:{instance:#x}->reg0" in access
            assert flows(ovs, 6, OWN) == [f"priority=5,reg0={instance:#x} actions=output:{number}"]
            # and it is still known that the flows stand on the port
            ovs.vsctl("del-port", OWN, "tap1")
            await driven.until(lambda: str(key) in driven.refused, "the port is missed")
            ovs.vsctl("add-port", OWN, "tap1", "--", "set", "interface", "tap1", "type=dummy")
            await driven.until(lambda: driven.refused == {}, "the port is there again")
            number = number_of(ovs, "tap1")


@on_loop
async def test_more_nodes_than_a_flow_can_name_are_refused_and_the_others_flooded_to(ovs: OpenVSwitch) -> None:
    nodes = [node((0x0A000001 + number).to_bytes(4)) for number in range(2000)]
    async with driving(settings(ovs, OWN)) as driven:
        await driven.want({BridgeKey(EVI): Bridge("net", VNI)} | flooding(*nodes))
        (flow,) = flows(ovs, 6, OWN)
        assert flow.count("->tun_dst") + len(driven.refused) == len(nodes)
        assert set(driven.refused.values()) == {"there is no room for more nodes in the flow that floods"}
        assert len(driven.refused) < 500


@on_loop
async def test_a_vni_of_neutron_is_not_taken_from_it_by_an_own_bridge(ovs: OpenVSwitch) -> None:
    ovs.vsctl("add-port", INTEGRATION, "vm", "--", "set", "interface", "vm", "type=dummy")
    ovs.vsctl("set", "port", "vm", "other_config:network_type=vxlan", f"other_config:segmentation_id={VNI}")
    async with driving(settings(ovs, OWN)) as driven:
        await driven.want({BridgeKey(EVI): Bridge("net", VNI)})
        reason = f"VNI {VNI} is that of a network of Neutron on this host, whose frames it would take"
        assert driven.refused == {f"bridge of EVI {EVI}": reason}
        ovs.vsctl("del-port", INTEGRATION, "vm")
        await driven.until(lambda: driven.refused == {}, "the VNI is free")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("ovs_bridge", {"bridge": "a-name-that-is-too-long"}),
        ("vxlan_port", {"vxlan_port": 0}),
        ("ovs_mode", {"mode": "shared"}),
        ("unknown_unicast", {"unknown_unicast": "learn"}),
        ("broadcast", {"broadcast": "some"}),
    ],
)
def test_a_setting_that_can_never_work_is_named(name: str, values: dict[str, str]) -> None:
    good = OvsEvpnSettings(ip_address(LOCAL))
    with pytest.raises(LocalMisuse) as caught:
        replace(good, **values)
    assert name in str(caught.value)
