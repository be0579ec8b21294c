"""IP VPNs between compute nodes as they are run: packets of VMs that were attached over REST."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator

import pytest

from tests.system.ovs_nodes import Node, Vm
from tests.system.running import wait_for
from tests.system.vpn_site import WAYS, VpnSite, bare, call, reaches, reaches_not, streaming

RED, BLUE = ["64512:1"], ["64512:2"]
A4, A6 = "10.0.0.1/32", "fd00:1::1/128"
B4, B6 = "10.0.0.2/32", "fd00:1::2/128"


class World:
    """A site with VMs: ``a``, ``a2`` in the west, ``b``, ``b2``, ``s`` in the east. The 2s have the same addresses."""

    def __init__(self, site: VpnSite) -> None:
        self.site = site
        self.west, self.east = site.west, site.east
        west, east = site.nodes.west, site.nodes.east
        self.a, self.a2 = (west.vm(name, number, [A4, A6]) for name, number in (("a", 0x0A), ("a2", 0x1A)))
        self.b, self.b2 = (east.vm(name, number, [B4, B6]) for name, number in (("b", 0x0B), ("b2", 0x1B)))
        self.near = west.vm("near", 0x2A, ["10.0.0.3/32", "fd00:1::3/128"])
        self.s = east.vm("s", 0x0C, ["10.0.0.9/32", "fd00:1::9/128"], vlan=7)
        self.attached: list[tuple[str, str, Vm, tuple[str, ...]]] = []

    def attach(self, where: str, vpn: str, vm: Vm, *addresses: str, **more: object) -> None:
        compute = self.west if where == "west" else self.east
        compute.attach(vpn, vm, *addresses, **more)
        if (entry := (where, vpn, vm, addresses)) not in self.attached:
            self.attached.append(entry)

    def detach(self, vpn: str, vm: Vm) -> None:
        """Detach a VM from a VPN, wherever it is."""
        for entry in [entry for entry in self.attached if entry[1] == vpn and entry[2] is vm]:
            where, _, _, addresses = entry
            (self.west if where == "west" else self.east).detach(vpn, vm, *addresses)
            self.attached.remove(entry)

    def clear(self) -> None:
        """Detach everything, and see that nothing is left behind."""
        for _, vpn, vm, _ in list(self.attached):
            self.detach(vpn, vm)
        for compute in (self.west, self.east):
            wait_for(
                lambda compute=compute: compute.get("/v2/health")["dataplane"]["records"]["pending"] == 0, "settled"
            )
            assert compute.get("/v2/instances") == {"instances": []}
            left = [flow for flow in compute.node.flows() if "reg0" in flow]
            assert left == []


@pytest.fixture(scope="module")
def gre() -> Iterator[World]:
    with VpnSite("MPLS in GRE") as site:
        yield World(site)


@pytest.fixture
def world(gre: World) -> Iterator[World]:
    yield gre
    gre.clear()


def packets(node: Node, pattern: str) -> int:
    """What the flows that match ``pattern`` have seen."""
    time.sleep(1.1)  # vswitchd learns it from the datapath once a second
    found = [re.search(r"n_packets=(\d+)", flow) for flow in node.flows(stats=True) if re.search(pattern, flow)]
    return sum(int(one[1]) for one in found if one)


@pytest.mark.parametrize("way", [way for way in WAYS if way != "MPLS in GRE"])
def test_vms_of_a_vpn_reach_each_other_and_no_one_else(way: str) -> None:
    with VpnSite(way) as site:
        two_vpns_with_the_same_addresses(World(site))


def test_vms_of_a_vpn_reach_each_other_and_no_one_else_by_gre(world: World) -> None:
    two_vpns_with_the_same_addresses(world)


def two_vpns_with_the_same_addresses(world: World) -> None:
    world.attach("west", "red", world.a, rt=RED)
    world.attach("east", "red", world.b, rt=RED)
    world.attach("west", "blue", world.a2, rt=BLUE)
    for address in (B4, B6):
        assert reaches(world.a, address)
        assert reaches_not(world.a2, address)
    world.attach("east", "blue", world.b2, rt=BLUE)
    for address in (B4, B6):
        assert reaches(world.a2, address)
        assert world.a.ttl_of_ping(bare(address)) == 63
    # what b answers is what a asked, not what a2 did: b2 gone, blue is silent and red is not
    world.detach("blue", world.b2)
    wait_for(lambda: reaches_not(world.a2, B4), "blue is silent")
    assert reaches(world.a, B4)


def test_packets_up_to_the_mtu_pass_and_longer_ones_do_not(world: World) -> None:
    world.attach("west", "red", world.a, rt=RED)
    world.attach("east", "red", world.b, rt=RED)
    assert reaches(world.a, B4) and reaches(world.a, B6)
    assert world.a.ping(bare(B4), size=1500 - 28) == 1
    assert world.a.ping(bare(B6), size=1500 - 48) == 1
    too_long = world.a.run("ping", "-n", "-c", "1", "-W", "1", "-M", "do", "-s", "1473", bare(B4))
    assert too_long.returncode != 0


def test_a_packet_at_the_end_of_its_ttl_goes_no_further(world: World) -> None:
    world.attach("west", "red", world.a, rt=RED)
    world.attach("east", "red", world.b, rt=RED)
    for address in (B4, B6):
        assert reaches(world.a, address)
        assert world.a.run("ping", "-n", "-c", "1", "-W", "1", "-t", "1", bare(address)).returncode != 0
        assert world.a.run("ping", "-n", "-c", "1", "-W", "1", "-t", "2", bare(address)).returncode == 0


def test_spokes_reach_the_hub_and_not_each_other(world: World) -> None:
    spoke = {"import_rt": ["64512:10"], "export_rt": ["64512:11"]}
    world.attach("west", "spoke1", world.a, **spoke)
    world.attach("east", "spoke2", world.b, **spoke)
    world.attach("west", "hub", world.near, import_rt=["64512:11"], export_rt=["64512:10"])
    for vm in (world.a, world.b):
        assert reaches(vm, "10.0.0.3") and reaches(vm, "fd00:1::3")
    assert reaches_not(world.a, B4) and reaches_not(world.b, A4)


def test_vpns_of_one_host_that_import_each_other_reach_each_other(world: World) -> None:
    world.attach("west", "left", world.a, import_rt=["64512:21"], export_rt=["64512:20"])
    world.attach("west", "right", world.near, import_rt=["64512:20"], export_rt=["64512:21"])
    assert reaches(world.a, "10.0.0.3") and reaches(world.near, A6)
    # the import ends: so does the traffic, though both stay
    world.attach("west", "left", world.a, import_rt=[], export_rt=["64512:20"])
    wait_for(lambda: reaches_not(world.a, "10.0.0.3"), "the leak is closed")


def test_traffic_goes_to_the_better_of_two_and_to_the_other_when_it_is_gone(world: World) -> None:
    world.attach("west", "red", world.a, rt=RED)
    world.attach("east", "best", world.b, B4, rt=RED, local_pref=200)
    world.attach("east", "second", world.b2, B4, rt=RED, local_pref=50)
    # both have to route back to a, so that both can answer
    assert reaches(world.a, B4)
    best, second = f"dl_dst.*{world.b.mac}|{world.b.mac}.*dl_dst", f"{world.b2.mac}"
    assert world.a.ping(bare(B4), count=20) == 20
    before = packets(world.site.nodes.east, second)
    assert world.a.ping(bare(B4), count=20) == 20
    assert packets(world.site.nodes.east, second) == before, best
    world.detach("best", world.b)
    assert reaches(world.a, B4)
    assert packets(world.site.nodes.east, second) > before


def test_equal_routes_share_the_traffic(world: World) -> None:
    world.attach("west", "red", world.a, rt=RED)
    world.attach("east", "one", world.b, B4, B6, rt=RED)
    world.attach("east", "two", world.b2, B4, B6, rt=RED)
    assert reaches(world.a, B4) and reaches(world.a, B6)
    wait_for(lambda: "type=select" in world.site.nodes.west.ofctl("dump-groups"), "a group of next hops")
    for address in (B4, B6):
        before = [packets(world.site.nodes.east, str(vm.mac)) for vm in (world.b, world.b2)]
        family = "AF_INET6" if ":" in address else "AF_INET"
        program = (
            f"import socket\nfor _ in range(64):\n  with socket.socket(socket.{family}, socket.SOCK_DGRAM) as s: "
            f"s.sendto(b'x', ('{bare(address)}', 9))\n"
        )
        assert world.a.run("python3", "-c", program).returncode == 0
        after = [packets(world.site.nodes.east, str(vm.mac)) for vm in (world.b, world.b2)]
        assert min(now - then for then, now in zip(before, after, strict=True)) >= 5


def test_what_no_route_covers_leaves_by_the_fallback(world: World) -> None:
    west = world.site.nodes.west
    number = int(west.ovs.vsctl("get", "interface", world.near.port, "ofport"))
    fallback = {"src_mac": "00:00:5e:2a:10:00", "dst_mac": str(world.near.mac), "ovs_port_number": number}
    world.attach("west", "red", world.a, rt=RED, fallback=fallback)
    before = packets(west, f"{fallback['src_mac']}")
    world.a.ping("10.66.0.1", count=3, wait=0.5)
    assert packets(west, f"{fallback['src_mac']}") == before + 3


def test_a_service_is_put_into_the_path_of_the_traffic_it_attracts(world: World) -> None:
    world.attach("west", "red", world.a, rt=RED)
    world.attach("east", "red", world.b, rt=RED)
    assert reaches(world.a, B4)
    attract = {
        "redirect_rts": RED,
        "classifier": {"protocol": "udp", "destinationPort": "5000:5010"},
        "to_rt": ["64512:200"],
        "static_destination_prefixes": [B4],
    }
    world.attach("east", "service", world.s, "10.0.0.9/32", import_rt=[], export_rt=[], attract_traffic=attract)
    wait_for(lambda: "tp_dst" in "".join(world.site.nodes.west.flows()), "the redirection at the other node")
    before = [packets(world.site.nodes.east, f"{vm.mac}") for vm in (world.b, world.s)]
    program = (
        "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        f"for port in (4999, 5000, 5005, 5010, 5011): s.sendto(b'x', ('{bare(B4)}', port))\n"
    )
    assert world.a.run("python3", "-c", program).returncode == 0
    after = [packets(world.site.nodes.east, f"{vm.mac}") for vm in (world.b, world.s)]
    assert [now - then for then, now in zip(before, after, strict=True)] == [2, 3]
    # the service leaves: everything takes the short way again
    world.detach("service", world.s)
    wait_for(lambda: "tp_dst" not in "".join(world.site.nodes.west.flows()), "no redirection")
    assert {one["id"] for one in world.west.get("/v2/instances")["instances"]} == {"red"}


def test_flows_that_an_operator_deletes_come_back(world: World) -> None:
    world.attach("west", "red", world.a, rt=RED)
    world.attach("east", "red", world.b, rt=RED)
    assert reaches(world.a, B4) and reaches(world.a, B6)
    before = sorted(world.site.nodes.west.flows())
    world.site.nodes.west.ofctl("del-flows", "table=2")
    wait_for(lambda: sorted(world.site.nodes.west.flows()) == before, "the flows are back")
    assert reaches(world.a, B4)


def test_everything_is_back_after_open_vswitch_was_restarted(world: World) -> None:
    world.attach("west", "red", world.a, rt=RED)
    world.attach("west", "red", world.near, rt=RED)
    world.attach("east", "red", world.b, rt=RED)
    assert reaches(world.a, B4) and reaches(world.a, "10.0.0.3")
    node = world.site.nodes.west
    node.ovs.stop_switch()
    assert reaches_not(world.a, "10.0.0.3")
    node.start_switch()
    assert reaches(world.a, "10.0.0.3", 20)
    assert reaches(world.a, B4, 20)


@pytest.mark.limit(240)
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_a_restart_of_the_daemon_costs_no_packet_between_vms_of_its_host(world: World, how: signal.Signals) -> None:
    world.attach("west", "red", world.a, rt=RED)
    world.attach("west", "red", world.near, rt=RED)
    world.attach("east", "red", world.b, rt=RED)
    assert reaches(world.a, B4) and reaches(world.a, B6) and reaches(world.a, "10.0.0.3")
    before = sorted(world.site.nodes.west.flows())
    with streaming(world.a, "10.0.0.3", 8) as near:
        time.sleep(0.5)
        world.west.stop(how)
        world.west.start()
        world.west.wait_established()
        wait_for(lambda: sorted(world.site.nodes.west.flows()) == before, "the same flows", 70)
        assert near.lost() == 0
    assert reaches(world.a, B4)
    assert world.west.get("/v2/audit")["differences"] == []


def test_traffic_between_hosts_comes_back_by_itself_after_a_restart(world: World) -> None:
    world.attach("west", "red", world.a, rt=RED)
    world.attach("east", "red", world.b, rt=RED)
    assert reaches(world.a, B4)
    with streaming(world.a, B4, 8) as stream:
        time.sleep(0.5)
        world.east.stop(signal.SIGKILL)
        world.east.start()
        world.east.wait_established()
        assert reaches(world.a, B4)
        # while its sessions are down the other nodes do not know its routes; the flows of the node itself stay
        assert stream.lost() < stream.count


def test_explain_names_the_flow_and_what_is_missing(world: World) -> None:
    world.attach("west", "red", world.a, rt=RED)
    world.attach("east", "red", world.b, rt=RED)
    assert reaches(world.a, B4)
    explained = world.west.get(f"/v2/explain?instance=red&destination={bare(B4)}")
    assert "192.0.2.2" in str(explained) and "mpls" in str(explained).lower()
    nowhere = world.west.get("/v2/explain?instance=red&destination=10.66.0.1")
    assert "no route covers 10.66.0.1" in str(nowhere)
    status, answer = call(world.west.node.namespace, "GET", "/v2/explain?instance=none&destination=10.66.0.1")
    assert status in {400, 404} and "none" in str(answer)
