"""FRR as a provider edge that forwards: zebra and bgpd over the VRFs and the MPLS of the Linux kernel.

It takes the place of the eastern node: its Open vSwitch is a plain switch meanwhile, so that what has a label and the
address of this host gets to the kernel. They speak eBGP: from iBGP FRR takes no VPN route whose next hop is not the end
of a path that LDP or the like has told it. Of IPv6 the way to FRR is checked and not the way back: the Linux kernel has
no IPv6 route by an IPv4 next hop, which is what the address of our node is.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from pathlib import Path

from tests.system.ovs_nodes import BRIDGE, Node, Vm
from tests.system.running import wait_for
from tests.system.test_vpn_traffic import A4, RED, World
from tests.system.vpn_site import AS, Compute, bare, reaches
from tests.vm.frr_vrf import PREFIX4, PREFIX6, SPEAKER, customer, frr, run, shown

MODULES = ("mpls_router", "mpls_iptunnel", "vrf")
FRR_AS = 64513
FIRST = "MPLS on Ethernet"
_FAMILY = """\
 address-family {family} unicast
  redistribute connected
  label vpn export auto
  rd vpn export {asn}:99
  rt vpn both {target}
  export vpn
  import vpn
 exit-address-family
"""
_FORWARDING = """\
interface {bridge}
 mpls bgp forwarding
"""
_CONFIGURATION = """\
 address-family ipv4 vpn
  neighbor {west} activate
 exit-address-family
 address-family ipv6 vpn
  neighbor {west} activate
 exit-address-family
router bgp {asn} vrf red
 bgp router-id {address}
"""
_QUESTIONS = (
    "show bgp summary",
    "show bgp ipv4 vpn",
    "show bgp ipv6 vpn",
    "show bgp vrf red ipv4",
    "show ip route vrf red",
    "show mpls table",
)


def vms_of_frr_and_of_our_node_reach_each_other(world: World) -> None:
    """By labels that each side has told the other."""
    site, node = world.site, world.site.nodes.east
    for compute in (world.west, world.east):
        compute.stop()
    try:
        node.ofctl("del-flows")
        node.ofctl("add-flow", "priority=0,actions=NORMAL")
        with tempfile.TemporaryDirectory(prefix="frr-") as name, customer(node) as vm:
            directory = Path(name)
            (directory / "west").mkdir()
            more = f"[PEER {node.addresses[0]}]\nas = {FRR_AS}\n"
            west = Compute(site.nodes.west, node.addresses[0], FIRST, directory / "west", more)
            run(node, "sysctl", "-qw", "net.mpls.platform_labels=1000", f"net.mpls.conf.{BRIDGE}.input=1")
            with frr(node, directory, bgpd=_configuration(node, west.address)), contextlib.ExitStack() as held:
                held.callback(west.stop)
                west.start()
                west.attach("red", world.a, rt=RED)
                try:
                    _pings(west, world.a, vm)
                except AssertionError as fault:
                    raise AssertionError(f"{fault}\n{shown(node, directory, _QUESTIONS)}") from fault
                west.detach("red", world.a)
    finally:
        for compute in (world.west, world.east):
            compute.start()
        for compute in (world.west, world.east):
            compute.wait_established()


def _pings(west: Compute, ours: Vm, theirs: Vm) -> None:
    for address in (f"{PREFIX4}.2", f"{PREFIX6}:2"):
        path = f"/v2/explain?instance=red&destination={address}"
        wait_for(lambda path=path: "in-effect" in str(west.get(path)), f"a route to {address}", 20)
    assert reaches(ours, f"{PREFIX4}.2")
    assert ours.ttl_of_ping(f"{PREFIX4}.2") == 63
    assert reaches(theirs, bare(A4))
    before = _echo_requests6(theirs)
    wait_for(lambda: ours.ping(f"{PREFIX6}:2", wait=0.2) or _echo_requests6(theirs) > before, "it arrives", 10)


def _echo_requests6(vm: Vm) -> int:
    found = re.search(r"^Icmp6InEchos\s+(\d+)", vm.run("cat", "/proc/net/snmp6").stdout, re.MULTILINE)
    assert found is not None
    return int(found[1])


def _configuration(node: Node, west: str) -> str:
    values = {"asn": FRR_AS, "address": node.addresses[0], "west": west, "west_as": AS, "bridge": BRIDGE}
    families = [_FAMILY.format(family=family, asn=FRR_AS, target=RED[0]) for family in ("ipv4", "ipv6")]
    return "".join([(_FORWARDING + SPEAKER + _CONFIGURATION).format(**values), *families])
