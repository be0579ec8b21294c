"""What is checked of Open vSwitch with the datapath of the kernel. Runs as root in a machine of its own.

Two compute nodes and a reflector as in ``tests.system.vpn_site``, each node with a datapath of its own since each is a
network namespace. For each check one line of JSON is written: ``check``, ``passed``, ``seconds``, ``why``.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.system import test_vpn_traffic as traffic
from tests.system.ovs_nodes import BRIDGE, GATEWAY_MAC, Node, Vm, inside, ip
from tests.system.running import wait_for
from tests.system.test_vpn_traffic import B4, B6, RED, World
from tests.system.vpn_site import WAYS, VpnSite, bare, reaches
from tests.vm import frr_edge

MODULES = ("openvswitch", "vport-gre", "ip6_gre", "vport-vxlan", "mpls_gso", *frr_edge.MODULES)
"""Without mpls_gso a kernel does not cut the long segments of TCP that carry a label."""
SETTLED = 10.5
"""Open vSwitch 3.1 that starts in the first ten seconds of a kernel never gets a packet from it."""
IMPOSSIBLE = "MPLS in GRE on IPv6"
"""The kernel takes such a packet from Open vSwitch and sends nothing."""
NEAR4, NEAR6 = "10.0.0.3", "fd00:1::3"
UNDERLAY_MTU = 2000
BULK = 4 << 20


def joined(world: World) -> None:
    """``a`` and ``near`` in the west, ``b`` in the east, in one VPN."""
    world.attach("west", "red", world.a, rt=RED)
    world.attach("west", "red", world.near, rt=RED)
    world.attach("east", "red", world.b, rt=RED)


def the_datapath_is_the_kernels(world: World) -> None:
    joined(world)
    assert reaches(world.a, B4)
    for node in (world.site.nodes.west, world.site.nodes.east):
        assert appctl(node, "dpif/show").startswith("system@ovs-system")
        assert "eth_type(0x8847)" in appctl(node, "dpctl/dump-flows")


def vms_of_one_host_reach_each_other(world: World) -> None:
    joined(world)
    for address in (NEAR4, NEAR6):
        assert reaches(world.a, address)
        assert world.a.ttl_of_ping(address) == 63


def packets_up_to_the_mtu_and_tcp_pass(world: World) -> None:
    joined(world)
    for address, header in ((B4, 28), (B6, 48)):
        assert reaches(world.a, address)
        assert world.a.ping(bare(address), size=1500 - header) == 1
        seconds = sent(world.a, world.b, bare(address))
        assert seconds < 10, f"{BULK} octets took {seconds:.1f} s"


def gateways_answer_arp_and_neighbour_solicitations(world: World) -> None:
    joined(world)
    solicit_without_link_layer_address(world.a, "fd00::1")
    for gateway, address in (("10.255.255.1", B4), ("fd00::1", B6)):
        ip("-n", world.a.namespace, "neigh", "del", gateway, "dev", "eth0")
        try:
            assert reaches(world.a, address)
            learned = ip("-n", world.a.namespace, "neigh", "show", gateway, "dev", "eth0")
            assert GATEWAY_MAC in learned, learned
            assert ("router" in learned) == (":" in gateway), learned
        finally:
            permanent = ("lladdr", GATEWAY_MAC, "dev", "eth0", "nud", "permanent")
            ip("-n", world.a.namespace, "neigh", "replace", gateway, *permanent)


def packets_pass_after_open_vswitch_was_restarted(world: World) -> None:
    joined(world)
    assert reaches(world.a, B4) and reaches(world.a, NEAR4)
    node = world.site.nodes.west
    node.ovs.stop_switch()
    node.start_switch()
    assert reaches(world.a, NEAR4, 20) and reaches(world.a, B4, 20)
    wait_for(lambda: not world.west.get("/v2/audit")["differences"], "nothing differs")


def says_what_it_cannot(world: World) -> None:
    wait_for(lambda: "packet_type=legacy_l3" in str(world.west.get("/v2/health")["dataplane"]["why"]), "it says so")
    assert world.west.get("/v2/health")["status"] == "degraded"


EVERY_WAY: dict[str, Callable[[World], None]] = {
    "VMs of a VPN reach each other and no one else": traffic.two_vpns_with_the_same_addresses,
    "packets up to the MTU and TCP pass": packets_up_to_the_mtu_and_tcp_pass,
}
ONE_WAY: dict[str, Callable[[World], None]] = {
    "the datapath is the kernel's": the_datapath_is_the_kernels,
    "VMs of one host reach each other": vms_of_one_host_reach_each_other,
    "gateways answer ARP and neighbour solicitations": gateways_answer_arp_and_neighbour_solicitations,
    "a packet at the end of its TTL goes no further": traffic.test_a_packet_at_the_end_of_its_ttl_goes_no_further,
    "equal routes share the traffic": traffic.test_equal_routes_share_the_traffic,
    "a service behind a VLAN gets the traffic it attracts": (
        traffic.test_a_service_is_put_into_the_path_of_the_traffic_it_attracts
    ),
    "what no route covers leaves by the fallback": traffic.test_what_no_route_covers_leaves_by_the_fallback,
    "packets pass after Open vSwitch was restarted": packets_pass_after_open_vswitch_was_restarted,
    "VMs of FRR and of our node reach each other": frr_edge.vms_of_frr_and_of_our_node_reach_each_other,
}
IMPOSSIBLE_WAY: dict[str, Callable[[World], None]] = {"the node says what the datapath cannot do": says_what_it_cannot}
FIRST = "MPLS on Ethernet"
CHECKS = {
    f"{way}: {name}": (way, check)
    for way in WAYS
    for name, check in {FIRST: EVERY_WAY | ONE_WAY, IMPOSSIBLE: IMPOSSIBLE_WAY}.get(way, EVERY_WAY).items()
}


def appctl(node: Node, *command: str) -> str:
    return node.ovs.run("ovs-appctl", "-t", f"{node.ovs.directory}/ovs-vswitchd.ctl", *command)


def sent(source: Vm, sink: Vm, address: str) -> float:
    """The seconds it takes to send BULK octets by TCP."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with inside(sink.namespace):
        server = socket.create_server((address, 0), family=family)
    with server, inside(source.namespace), socket.create_connection((address, server.getsockname()[1]), 10) as client:
        there, _ = server.accept()
        with there:
            there.settimeout(20)
            begin = time.monotonic()
            writer = threading.Thread(target=client.sendall, args=(bytes(BULK),), daemon=True)
            writer.start()
            left = BULK
            while left and (got := len(there.recv(1 << 20))):
                left -= got
            assert left == 0
            writer.join(10)
            return time.monotonic() - begin


def solicit_without_link_layer_address(vm: Vm, target: str) -> None:
    """Ask who has ``target`` without saying who asks, which stays without an answer, and must not spoil later ones."""
    solicitation = bytes((135, 0, 0, 0, 0, 0, 0, 0)) + socket.inet_pton(socket.AF_INET6, target)
    group = "ff02::1:ff" + socket.inet_pton(socket.AF_INET6, target)[-3:].hex(":", 2)
    with inside(vm.namespace), socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
        raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        for _ in range(3):
            raw.sendto(solicitation, (group, 0, 0, socket.if_nametoindex("eth0")))
            time.sleep(0.1)


def main(names: Sequence[str]) -> int:
    """Run these checks; 0 if they could be run, whatever came of them."""
    for module in MODULES:
        subprocess.run(["modprobe", module], check=True, timeout=30)
    uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
    time.sleep(max(0.0, SETTLED - uptime))
    with VpnSite(FIRST, datapath="system") as site:
        for node in (site.nodes.west, site.nodes.east):
            node.ovs.vsctl("set", "interface", BRIDGE, f"mtu_request={UNDERLAY_MTU}")
        world = World(site)
        now = FIRST
        say("ready", "", time.clock_gettime(time.CLOCK_BOOTTIME))
        for name in names:
            way, check = CHECKS[name]
            begin = time.monotonic()
            why = ""
            try:
                if way != now:
                    site.change(way)
                    world.west, world.east, now = site.west, site.east, way
                check(world)
                if world.attached:
                    world.clear()
            except Exception:
                why = traceback.format_exc() + "".join(tail(compute.log) for compute in (site.west, site.east))
                with contextlib.suppress(Exception):
                    world.clear()
            say(name, why, time.monotonic() - begin)
    return 0


def tail(log: Path) -> str:
    return f"--- {log}\n{log.read_text(errors='replace')[-1500:]}"


def say(name: str, why: str, seconds: float) -> None:
    print(json.dumps({"check": name, "passed": not why, "seconds": round(seconds, 1), "why": why}), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(CHECKS)))
