"""VXLAN of VPNs beside that of Neutron: the same hosts, local addresses and UDP port, and both get their packets."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from bagpipe.dataplane.model import Delivery, DeliveryKey, Key, Port, Value
from bagpipe.dataplane.ovs.settings import OvsSettings
from bagpipe.identifiers import MacAddress
from tests.system.ovs_driving import driving
from tests.system.ovs_nodes import Node, Vm
from tests.system.running import wait_for
from tests.system.vpn_site import VpnSite, bare, reaches

TARGETS = ["64512:1"]
FIRST_LABEL = 524288
VNI, VLAN = 100, 5
WAYS = {"VXLAN": 0, "VXLAN on IPv6": 1}
"""The ways of a site, and which address of a node its tunnels have."""


class TunnelBridge:
    """``br-tun`` of a node as Neutron's agent makes it, with one VM in a network with a VNI."""

    def __init__(self, node: Node, other: Node, number: int, which: int) -> None:
        self.node = node
        self._local, self._remote = node.addresses[which], other.addresses[which]
        self.port = f"vxlan-{ip_address(self._remote).packed[-4:].hex()}"
        node.ovs.add_bridge("br-tun")
        self.vm: Vm = node.vm(f"n{number}", 0x70 + number, [f"10.77.0.{number}/24"])
        node.ovs.vsctl("del-port", self.vm.port, "--", "add-port", "br-tun", self.vm.port)

    def connect(self) -> None:
        """Make the tunnel to the other node, and the flows between VNI and VLAN."""
        options = f"df_default=true remote_ip={self._remote} local_ip={self._local} in_key=flow out_key=flow"
        self.node.ovs.vsctl(
            *("add-port", "br-tun", self.port, "--", "set", "interface", self.port, "type=vxlan"),
            *(f"options:{option}" for option in f"{options} egress_pkt_mark=0".split()),
        )
        tap, tunnel = (self.node.ovs.vsctl("get", "interface", name, "ofport") for name in (self.vm.port, self.port))
        self.node.ovs.ofctl("del-flows", "br-tun")
        for flow in (
            f"table=0,in_port={tap},actions=mod_vlan_vid:{VLAN},resubmit(,2)",
            f"table=0,in_port={tunnel},actions=resubmit(,4)",
            f"table=2,dl_vlan={VLAN},actions=strip_vlan,set_tunnel:{VNI},output:{tunnel}",
            f"table=4,tun_id={VNI},actions=mod_vlan_vid:{VLAN},resubmit(,10)",
            f"table=10,dl_vlan={VLAN},actions=strip_vlan,output:{tap}",
        ):
            self.node.ovs.ofctl("add-flow", "br-tun", flow)

    def disconnect(self) -> None:
        """Remove the tunnel."""
        self.node.ovs.vsctl("del-port", "br-tun", self.port)


def label_ports(node: Node) -> list[int]:
    """The labels that have a port of their own."""
    names = node.ovs.vsctl("list-ports", "br-mpls").split()
    return sorted(int(found[1]) for name in names if (found := re.fullmatch(r"vxlan-(\d+)", name)))


def labels(site: VpnSite, node: str) -> list[int]:
    """The labels that a node delivers."""
    compute = site.west if node == "west" else site.east
    found = [re.search(r"tun_id=(0x[0-9a-f]+)", flow) for flow in compute.node.flows() if "table=1," in flow]
    return sorted(int(one[1], 16) for one in found if one)


@pytest.fixture(params=WAYS)
def site(request: pytest.FixtureRequest) -> Iterator[VpnSite]:
    with VpnSite(request.param) as site:
        yield site


def test_vpns_and_networks_of_neutron_share_address_and_udp_port(site: VpnSite, request: pytest.FixtureRequest) -> None:
    west, east = site.nodes.west, site.nodes.east
    a, b = west.vm("a", 0x0A, ["10.0.0.1/32", "fd00:1::1/128"]), east.vm("b", 0x0B, ["10.0.0.2/32", "fd00:1::2/128"])
    which = WAYS[request.node.callspec.params["site"]]
    tunnels = TunnelBridge(west, east, 1, which), TunnelBridge(east, west, 2, which)
    n1, n2 = (tunnel.vm for tunnel in tunnels)

    def vpn_passes() -> bool:
        return all(
            reaches(vm, address) and vm.ping(bare(address), count=20) == 20
            for vm, other in ((a, b), (b, a))
            for address in other.addresses
        )

    def neutron_passes() -> bool:
        return all(
            reaches(vm, other.addresses[0]) and vm.ping(bare(other.addresses[0]), count=20) == 20
            for vm, other in ((n1, n2), (n2, n1))
        )

    # given a VPN by VXLAN on the usual UDP port and nobody else: one port for all
    site.west.attach("red", a, rt=TARGETS)
    site.east.attach("red", b, rt=TARGETS)
    assert vpn_passes()
    assert label_ports(west) == label_ports(east) == []

    # when tunnels of Neutron come, then both pass, by ports of their own
    for tunnel in tunnels:
        tunnel.connect()
    for name, node in (("west", west), ("east", east)):
        wait_for(lambda name=name, node=node: label_ports(node) == labels(site, name) != [], "ports of labels", 10)
        assert all(label >= FIRST_LABEL for label in label_ports(node))
    assert vpn_passes() and neutron_passes()
    overview = site.west.get("/v2/health")["dataplane"]
    assert overview["records"]["refused"] == 0

    # when the daemons are killed and come back, or Open vSwitch is restarted, then both still pass
    before = label_ports(west), label_ports(east)
    for compute in (site.west, site.east):
        compute.stop(signal.SIGKILL)
    assert neutron_passes()
    for compute in (site.west, site.east):
        compute.start().wait_established()
    assert (label_ports(west), label_ports(east)) == before
    assert vpn_passes() and neutron_passes()
    west.ovs.stop_switch()
    west.start_switch()
    tunnels[0].disconnect()
    tunnels[0].connect()
    assert vpn_passes() and neutron_passes()

    # when somebody deletes a port of a label it comes back
    west.ovs.vsctl("del-port", f"vxlan-{before[0][0]}")
    wait_for(lambda: label_ports(west) == before[0], "the port is back", 10)
    assert vpn_passes() and neutron_passes()

    # when an address is detached its port goes with the label, and what remains passes
    site.east.detach("red", b, b.addresses[1])
    wait_for(lambda: len(label_ports(east)) == 1, "the port is gone", 10)
    assert reaches(a, b.addresses[0])

    # when Neutron's tunnels go, then the ports of labels do
    for tunnel in tunnels:
        tunnel.disconnect()
    for node in (west, east):
        wait_for(lambda node=node: label_ports(node) == [], "no ports of labels", 10)
    assert reaches(a, b.addresses[0])
    left = [flow for node in (west, east) for flow in node.flows() if "priority=36856" in flow]
    assert left == []


def test_five_hundred_labels_get_their_ports_within_seconds() -> None:
    with VpnSite("VXLAN") as site:
        node = site.nodes.west
        for compute in (site.west, site.east):
            compute.stop()
        tunnel = TunnelBridge(node, site.nodes.east, 1, 0)
        settings = OvsSettings(
            ip_address(node.addresses[0]),
            database=f"unix:{node.ovs.directory}/db.sock",
            run_directory=str(node.ovs.directory),
            vxlan_encap=True,
            mpls_over_gre=False,
        )
        port, mac = Port("wire"), MacAddress(bytes.fromhex("020000000001"))
        wanted: dict[Key, Value] = {
            DeliveryKey(FIRST_LABEL + number): Delivery(1, port, mac, 4) for number in range(500)
        }

        async def scenario() -> list[float]:
            async with driving(settings) as driven:
                await driven.until(lambda: driven.is_ready)
                await driven.want(wanted)
                # when the first tunnel of Neutron comes, then all get a port; one more label gets one quickly; none
                # has one any more when that tunnel has gone
                took = []
                begin = time.monotonic()
                await asyncio.to_thread(tunnel.connect)
                await driven.until(lambda: len(label_ports(node)) == 500, "500 ports", 30)
                await driven.until(lambda: not driven.refused and not driven.tracker.has_changes, seconds=30)
                took.append(time.monotonic() - begin)
                begin = time.monotonic()
                await driven.want({DeliveryKey(FIRST_LABEL + 500): Delivery(1, port, mac, 4)})
                took.append(time.monotonic() - begin)
                assert driven.refused == {}
                begin = time.monotonic()
                await asyncio.to_thread(tunnel.disconnect)
                await driven.until(lambda: label_ports(node) == [], "no ports", 30)
                took.append(time.monotonic() - begin)
                return took

        took = asyncio.run(scenario())
        print("500 ports made, one more, all removed, in seconds:", took)
        assert took[0] < 10 and took[1] < 2 and took[2] < 10
