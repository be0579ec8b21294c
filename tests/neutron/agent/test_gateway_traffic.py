"""Packets: machines that know nothing but their gateway's address reach each other across two networks of a VPN.

Neutron's real bridges, the extension and its link, our daemon and the userspace datapath; IPv4 by ARP and IPv6 by
neighbour discovery, by br-tun and straight from br-int.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.neutron.agent.staging import Staged
from tests.neutron.agent.world import (
    FOUR,
    IN_BLUE,
    IN_RED,
    NETWORK,
    OTHER_NETWORK,
    PORT,
    RED,
    SIBLING,
    SIX,
    details,
    net_association,
    port,
)
from tests.system.ovs_nodes import BRIDGE, PATCH, Node, Nodes, Vm, ip
from tests.system.running import wait_for
from tests.system.vpn_site import Compute

NET = "BGPVPNNetAssociation"
OTHER_FOUR = replace(FOUR, id="four", cidr="10.1.0.0/24", gateway_ip="10.1.0.1")
OTHER_SIX = replace(SIX, id="six", cidr="2001:db8:1::/64", gateway_ip="2001:db8:1::1")
IN_RED_TOO = replace(IN_BLUE, vpn=RED)


def plug(node: Node, name: str, number: int, vlan: int, four: str, six: str) -> tuple[Vm, int]:
    """A machine with an address of each family and nothing but the addresses of its gateways; its OpenFlow port."""
    vm = node.vm(name, number, (), vlan)
    for address, gateway in ((f"{four}.2/24", f"{four}.1"), (f"{six}::2/64", f"{six}::1")):
        ip("-n", vm.namespace, "address", "add", address, "dev", "eth0", *(["nodad"] if ":" in address else []))
        ip("-n", vm.namespace, *(["-6"] if ":" in address else []), "route", "add", "default", "via", gateway)
    return vm, int(node.ovs.vsctl("get", "interface", f"tap-{name}", "ofport"))


def lead_to_wire_only(node: Node) -> None:
    """br-mpls as in a cloud: its host by the wire, and nothing else of itself; no patch port but the extension's."""
    node.ofctl("del-flows")
    wire = int(node.ovs.vsctl("get", "interface", "wire", "ofport"))
    node.ofctl("add-flow", f"priority=0,in_port={wire},actions=LOCAL")
    node.ofctl("add-flow", f"priority=0,in_port=LOCAL,actions=output:{wire}")
    node.ovs.vsctl("del-port", "br-int", "patch-mpls")
    node.ovs.vsctl("del-port", BRIDGE, PATCH)


@pytest.mark.limit(240)
@pytest.mark.parametrize("tunnelled", [True, False], ids=["by br-tun", "straight from br-int"])
def test_machines_reach_each_other_by_arp_and_neighbour_discovery_until_the_association_ends(
    tmp_path: Path, tunnelled: bool
) -> None:
    with Nodes() as nodes:
        node = nodes.west
        lead_to_wire_only(node)
        one, one_port = plug(node, "one", 1, 5, "10.0.0", "2001:db8")
        two, two_port = plug(node, "two", 2, 6, "10.1.0", "2001:db8:1")
        compute = Compute(node, "192.0.2.99", "MPLS in GRE", tmp_path)
        compute.start()
        try:
            with Staged(node.ovs, has_daemon=True, firewall_driver="noop") as stage:
                kind: dict[str, Any] = {"tunnelled": tunnelled, "segmentation_id": None}
                first = port(PORT, str(one.mac), addresses=("10.0.0.2", "2001:db8::2"), vlan=5, **kind)
                second = port(
                    SIBLING,
                    str(two.mac),
                    addresses=("10.1.0.2", "2001:db8:1::2"),
                    vlan=6,
                    network_id=OTHER_NETWORK,
                    **kind,
                )
                stage.bind_network(NETWORK, 5, "vxlan", None)
                stage.bind_network(OTHER_NETWORK, 6, "vxlan", None)
                stage.initialize()
                # given two networks in one VPN, which no router joins
                ours = net_association(IN_RED, FOUR, SIX)
                stage.has(NET, [ours, net_association(IN_RED_TOO, OTHER_FOUR, OTHER_SIX, network_id=OTHER_NETWORK)])
                # when their ports come
                stage.handle_port(details(first), one_port)
                stage.handle_port(details(second), two_port)
                assert stage.settle(), stage.log()
                for each in (PORT, SIBLING):
                    assert stage.link_is_settled(each, 20), stage.log()
                # then each reaches the other in both families
                wait_for(lambda: one.ping("10.1.0.2", count=5) == 5, "IPv4 passes")
                wait_for(lambda: one.ping("2001:db8:1::2", count=5) == 5, "IPv6 passes")
                wait_for(lambda: two.ping("10.0.0.2", count=5) == 5, "IPv4 passes back")
                # when the association of one ends
                stage.has(NET, [])
                stage.push(NET, [ours], "deleted")
                assert stage.settle()
                assert stage.link_is_settled(PORT, 20)
                # then no packet passes any more
                assert one.ping("10.1.0.2", wait=1) == 0
                assert two.ping("2001:db8::2", wait=1) == 0
        finally:
            compute.stop()
