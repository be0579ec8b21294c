"""IP VPNs carried by EVPN's IP prefix routes between compute nodes: packets of VMs, and what is on the wire."""

from __future__ import annotations

import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any

import pytest

from bagpipe.dataplane.model import default_router_mac
from tests.system.ovs_nodes import GATEWAY_MAC, Node, Vm
from tests.system.running import wait_for
from tests.system.vpn_site import Compute, VpnSite, bare, call, reaches, reaches_not, streaming

RED = ["64512:1"]
WAYS = {"VXLAN": 0, "VXLAN on IPv6": 1}
"""The ways of a site, and which address of a node its tunnels have."""
_FRAME = re.compile(
    r"VXLAN, flags \[I\] \(0x08\), vni (?P<vni>\d+)\n\s*(?P<source>[\da-f:]{17}) > (?P<to>[\da-f:]{17}),"
)


@contextmanager
def captured(node: Node) -> Iterator[list[tuple[int, str, str]]]:
    """VNI, source and destination MAC of the frames that were in VXLAN on the node's underlay meanwhile."""
    found: list[tuple[int, str, str]] = []
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as said:
        argv = ["tcpdump", "--immediate-mode", "-nel", "-i", "wire", "udp port 4789"]
        program = subprocess.Popen(["ip", "netns", "exec", node.namespace, *argv], stdout=out, stderr=said, text=True)
        try:

            def listens() -> bool:
                said.seek(0)
                return "listening on" in said.read()

            wait_for(listens, "tcpdump listens")
            yield found
        finally:
            program.send_signal(signal.SIGINT)
            program.wait(10)
        out.seek(0)
        found += [(int(one["vni"]), one["source"], one["to"]) for one in _FRAME.finditer(out.read())]


def router(node: Node, which: int = 0) -> str:
    return str(default_router_mac(ip_address(node.addresses[which])))


def vni_of(compute: Compute, vpn: str = "red") -> int:
    number: int = compute.get(f"/looking-glass/vpns/instances/{vpn}")["vni"]
    return number


def put(compute: Compute, name: str, vm: Vm, **instance: object) -> Any:
    """Attach a VM by the v2 interface; the status, and the answer."""
    body = {
        "owner": "test",
        "instance": {"id": "red", "import_rts": RED, "export_rts": RED, **instance},
        "port": {"name": vm.port},
        "mac": str(vm.mac),
        "addresses": list(vm.addresses),
        "gateways": ["10.255.255.1", "fd00::1"],
    }
    return call(compute.node.namespace, "PUT", f"/v2/attachments/{name}", body)


@pytest.mark.parametrize("way", WAYS)
def test_machines_of_a_vpn_that_evpn_carries_reach_each_other_from_router_to_router(way: str) -> None:
    with VpnSite(way, "carried_by = evpn\n") as site:
        west, east = site.nodes.west, site.nodes.east
        a, b = (
            west.vm("a", 0x0A, ["10.0.0.1/32", "fd00:1::1/128"]),
            east.vm("b", 0x0B, ["10.0.0.2/32", "fd00:1::2/128"]),
        )
        near, other = west.vm("near", 0x2A, ["10.0.0.4/32"]), east.vm("other", 0x1B, ["10.0.0.3/32"])

        # given machines on two nodes in an instance that is carried by EVPN, and one in another instance
        site.west.attach("red", a, rt=RED)
        site.east.attach("red", b, rt=RED)
        site.east.attach("blue", other, rt=["64512:2"])

        # then they reach each other through two routers, and the third is apart
        for vm, peer in ((a, b), (b, a)):
            for address in peer.addresses:
                assert reaches(vm, address)
                assert vm.ping(bare(address), count=20) == 20
                assert vm.ttl_of_ping(bare(address)) == 62
        assert reaches_not(a, "10.0.0.3/32")
        assert site.west.get("/v2/routes?family=vpnv4")["routes"] == []

        # then the frames on the wire have the VNI of their receiver and both routers' MACs
        which = WAYS[way]
        with captured(west) as frames:
            for address in b.addresses:
                assert a.ping(bare(address), count=5) == 5
        there = (vni_of(site.east), router(west, which), router(east, which))
        back = (vni_of(site.west), router(east, which), router(west, which))
        assert set(frames) == {there, back}, frames
        assert len(frames) >= 20

        # then one is told why
        told = site.west.get("/v2/explain?instance=red&destination=10.0.0.2")
        assert f"label {there[0]} vxlan router {there[2]}" in str(told), told

        # when the daemon in the west is killed and comes back, no packet on its host is lost, and the VNI is the same
        site.west.attach("red", near, rt=RED)
        assert reaches(near, a.addresses[0])
        with streaming(near, a.addresses[0], 4) as stream:
            site.west.stop(signal.SIGKILL)
            site.west.start().wait_established()
            assert stream.lost() == 0
        assert vni_of(site.west) == back[0]
        assert site.west.get("/v2/audit")["differences"] == []
        for vm, peer in ((a, b), (b, a)):
            assert all(reaches(vm, address) for address in peer.addresses)

        # when one is detached, it is not reached any more, and nothing of the instance is left
        site.east.detach("red", b)
        wait_for(lambda: reaches_not(a, b.addresses[0]), "b is gone")
        site.east.detach("blue", other)
        for vm in (a, near):
            site.west.detach("red", vm)
        for node in (west, east):
            wait_for(lambda node=node: [flow for flow in node.flows() if "reg0" in flow] == [], "no flows are left")


def test_frames_that_are_not_for_the_router_are_not_delivered_by_its_vni() -> None:
    with VpnSite("VXLAN", "carried_by = evpn\nrouter_mac = 02:00:5e:00:00:99\n") as site:
        west, east = site.nodes.west, site.nodes.east
        a, b = west.vm("a", 0x0A, ["10.0.0.1/32"]), east.vm("b", 0x0B, ["10.0.0.2/32"])
        site.west.attach("red", a, rt=RED)
        site.east.attach("red", b, rt=RED)
        assert reaches(a, b.addresses[0])

        # when somebody in the west sends what fits but for the MAC of the frame, then it is not delivered
        (flow,) = [one for one in west.flows() if "nw_dst=10.0.0.2 " in one and "output" in one]
        assert "set_field:02:00:5e:00:00:99->eth_dst" in flow
        spoilt = re.sub(r"set_field:02:00:5e:00:00:99->eth_dst", f"set_field:{GATEWAY_MAC}->eth_dst", flow)
        west.ofctl(
            "add-flow", re.sub(r"^.*?table=(\d+), priority=\d+,", r"cookie=0xbad,table=\1,priority=64000,", spoilt)
        )
        assert reaches_not(a, b.addresses[0])
        west.ofctl("del-flows", "table=2,cookie=0xbad/-1")
        assert reaches(a, b.addresses[0])


def test_an_instance_says_by_which_families_it_is_carried_and_with_which_vni() -> None:
    with VpnSite("VXLAN") as site:
        west, east = site.nodes.west, site.nodes.east
        a, b = (
            west.vm("a", 0x0A, ["10.0.0.1/32", "fd00:1::1/128"]),
            east.vm("b", 0x0B, ["10.0.0.2/32", "fd00:1::2/128"]),
        )

        # given one VNI on both nodes, in the west by both families and in the east by EVPN alone
        assert put(site.west, "a", a, vni=5000, carried_by=["vpn", "evpn"])[0] == 200
        assert put(site.east, "b", b, vni=5000, carried_by=["evpn"])[0] == 200
        for vm, peer in ((a, b), (b, a)):
            assert all(reaches(vm, address) for address in peer.addresses)
        families = [len(site.east.get(f"/v2/routes?family={name}")["routes"]) for name in ("vpnv4", "vpnv6")]
        assert families == [1, 1]

        # then the west goes by EVPN, the east by the VPN route, whose label is not the VNI
        with captured(west) as frames:
            assert a.ping("10.0.0.2", count=5) == 5
        assert {(source, to) for vni, source, to in frames if vni == 5000} == {(router(west), router(east))}
        assert {(source, to) for vni, source, to in frames if vni != 5000} == {(GATEWAY_MAC, GATEWAY_MAC)}

        # when the west is carried by the VPN families alone, both still pass, and it has no route of EVPN
        assert put(site.west, "a", a, vni=5000, carried_by=["vpn"])[0] == 200
        wait_for(lambda: len(site.east.get("/v2/routes?family=evpn")["routes"]) == 2, "two routes of EVPN are left")
        for vm, peer in ((a, b), (b, a)):
            assert all(reaches(vm, address) for address in peer.addresses)

        # when another instance asks for the VNI, or for a family that there is not, it is told so
        other = east.vm("other", 0x1B, ["10.0.0.3/32"])
        status, answer = put(site.east, "other", other, id="blue", vni=5000, carried_by=["evpn"])
        assert status == 400 and "5000" in str(answer) and "red" in str(answer), answer
        status, answer = put(site.east, "other", other, id="blue", carried_by=["mpls"])
        assert status in (400, 422) and "carried_by" in str(answer), answer


def test_a_node_without_vxlan_says_that_evpn_cannot_carry_an_instance() -> None:
    with VpnSite("MPLS in GRE") as site:
        a = site.nodes.west.vm("a", 0x0A, ["10.0.0.1/32"])
        status, answer = put(site.west, "a", a, carried_by=["evpn"])
        assert status == 400 and "carried_by" in str(answer) and "vxlan_encap" in str(answer), answer
        assert site.west.get("/v2/instances") == {"instances": []}
