"""What is checked of IP prefix routes of EVPN with FRR, packets included. Runs as root in a machine of its own.

In the west is our node with the kernel's datapath, and a VM in an instance that EVPN carries; in the east FRR as the
router of a fabric, with the devices of its documentation: the VRF, in it a bridge (the SVI), and on that the VXLAN
device of the VRF's VNI (the L3 VNI). The eastern Open vSwitch is a plain switch. For each check one line of JSON is
written: ``check``, ``passed``, ``seconds``, ``why``.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.system.ovs_nodes import BRIDGE, Node, Nodes, Vm, ip
from tests.system.running import wait_for
from tests.system.test_vpn_by_evpn import RED, captured, put, router
from tests.system.vpn_site import AS, Compute, bare, call, reaches, reaches_not
from tests.vm.frr_vrf import PREFIX4, PREFIX6, SPEAKER, TABLE, customer, frr, run, shown
from tests.vm.kernel_datapath import BULK, SETTLED, UNDERLAY_MTU, say, sent, tail

MODULES = ("openvswitch", "vport-vxlan", "vrf")
SESSIONS = {"iBGP": AS, "eBGP": 64513}
"""FRR's AS for each kind of session."""
VNI = 5000
SVI, VXLAN = "svi", "vxlan"
ROUTER, NEXT_ROUTER = "02:00:5e:00:00:42", "02:00:5e:00:00:43"
"""What FRR has as its router's MAC: that of the SVI."""
SITES = {f"{PREFIX4}.0/24": f"{PREFIX4}.9", f"{PREFIX6}:/64": f"{PREFIX6}:9"}
"""The prefixes of FRR's site, and an address in each."""
_ZEBRA = """\
vrf red
 vni {vni}
exit-vrf
"""
_BGPD = """\
 address-family l2vpn evpn
  neighbor {west} activate
  advertise-all-vni
 exit-address-family
router bgp {asn} vrf red
 bgp router-id {address}
 address-family ipv4 unicast
  redistribute connected
 exit-address-family
 address-family ipv6 unicast
  redistribute connected
 exit-address-family
 address-family l2vpn evpn
  advertise ipv4 unicast
  advertise ipv6 unicast
  rd {asn}:99
  route-target both {target}
 exit-address-family
"""
_QUESTIONS = (
    "show bgp l2vpn evpn summary",
    "show bgp l2vpn evpn route detail",
    "show bgp vrf red ipv4",
    "show bgp vrf red ipv6",
    "show ip route vrf red",
    "show ipv6 route vrf red",
    "show evpn vni detail",
    "show evpn rmac vni all",
    "show evpn next-hops vni all",
)


@dataclass(frozen=True, slots=True)
class Fabric:
    """Our node with its VM, and FRR's with the machine of its customer."""

    west: Compute
    east: Node
    ours: Vm
    theirs: Vm

    def explained(self, destination: str) -> str:
        """How our node forwards to an address."""
        return str(self.west.get(f"/v2/explain?instance=red&destination={destination}"))

    def installed(self, address: str) -> str:
        """The kernel's route to an address in FRR's VRF, nothing if it has none but the default."""
        version = "-6" if ":" in address else "-4"
        return run(self.east, "ip", version, "route", "show", "table", str(TABLE), "exact", address).strip()


def the_routes_of_each_lead_to_the_router_of_the_other(fabric: Fabric) -> None:
    west, east = fabric.west.node, fabric.east
    for address in SITES.values():
        assert f"label {VNI} vxlan router {ROUTER}" in fabric.explained(address), fabric.explained(address)
    for address in fabric.ours.addresses:
        route = fabric.installed(address)
        assert f"{west.addresses[0]} dev {SVI}" in route and "onlink" in route, route
    assert router(west) in run(east, "ip", "neigh", "show", west.addresses[0], "dev", SVI)
    assert f"dst {west.addresses[0]}" in run(east, "bridge", "fdb", "get", router(west), "dev", VXLAN, "self")


def machines_reach_each_other_through_both_routers(fabric: Fabric) -> None:
    for vm, peer in ((fabric.ours, fabric.theirs), (fabric.theirs, fabric.ours)):
        for address in peer.addresses:
            assert reaches(vm, address), f"{vm.name} to {address}"
            assert vm.ping(bare(address), count=20) == 20
            assert vm.ttl_of_ping(bare(address)) == 62


def frames_on_the_wire_are_from_router_to_router(fabric: Fabric) -> None:
    west = fabric.west.node
    with captured(west) as frames:
        for vm, peer in ((fabric.ours, fabric.theirs), (fabric.theirs, fabric.ours)):
            for address in peer.addresses:
                assert vm.ping(bare(address), count=5) == 5
    assert set(frames) == {(VNI, router(west), ROUTER), (VNI, ROUTER, router(west))}, frames
    assert len(frames) >= 40


def packets_up_to_the_mtu_and_tcp_pass(fabric: Fabric) -> None:
    for vm, peer in ((fabric.ours, fabric.theirs), (fabric.theirs, fabric.ours)):
        for address, header in zip(peer.addresses, (28, 48), strict=True):
            assert vm.ping(bare(address), size=1500 - header) == 1
            seconds = sent(vm, peer, bare(address))
            assert seconds < 10, f"{BULK} octets took {seconds:.1f} s"


def what_one_withdraws_the_other_forgets(fabric: Fabric) -> None:
    ours, theirs, gateway = fabric.ours, fabric.theirs, f"{PREFIX4}.1/24"
    ip("-n", fabric.east.namespace, "address", "del", gateway, "dev", "customer")
    wait_for(lambda: "no route covers" in fabric.explained(f"{PREFIX4}.9"), "FRR's route is gone")
    ip("-n", fabric.east.namespace, "address", "add", gateway, "dev", "customer")
    assert reaches(ours, theirs.addresses[0], 20)
    assert call(fabric.west.node.namespace, "DELETE", "/v2/attachments/a")[0] == 200
    wait_for(lambda: not any(map(fabric.installed, ours.addresses)), "our routes are gone")
    assert reaches_not(theirs, ours.addresses[0])
    joined(fabric)
    for address in ours.addresses:
        assert reaches(theirs, address, 20)


def a_new_mac_of_the_other_router_is_followed(fabric: Fabric) -> None:
    # The device is down meanwhile: FRR loses the other routers if it is up, and does not find them again.
    for change in (("down",), ("address", NEXT_ROUTER), ("up",)):
        ip("-n", fabric.east.namespace, "link", "set", SVI, *change)
    for address in SITES.values():
        wait_for(lambda address=address: f"router {NEXT_ROUTER}" in fabric.explained(address), "the new MAC", 30)
    machines_reach_each_other_through_both_routers(fabric)


EVERY_SESSION: dict[str, Callable[[Fabric], None]] = {
    "the routes of each lead to the router of the other": the_routes_of_each_lead_to_the_router_of_the_other,
    "machines reach each other through both routers": machines_reach_each_other_through_both_routers,
}
IBGP: dict[str, Callable[[Fabric], None]] = {
    "frames on the wire are from router to router": frames_on_the_wire_are_from_router_to_router,
    "packets up to the MTU and TCP pass": packets_up_to_the_mtu_and_tcp_pass,
    "what one withdraws the other forgets": what_one_withdraws_the_other_forgets,
    "a new MAC of the other router is followed": a_new_mac_of_the_other_router_is_followed,
}
CHECKS = {
    f"{session}: {name}": (session, check)
    for session in SESSIONS
    for name, check in (EVERY_SESSION | (IBGP if session == "iBGP" else {})).items()
}


def joined(fabric: Fabric) -> None:
    """Our VM is attached, and both have the routes of the other."""
    status, answer = put(fabric.west, "a", fabric.ours, vni=VNI, carried_by=["evpn"])
    assert status == 200, answer
    for address in SITES.values():
        wait_for(lambda address=address: "in-effect" in fabric.explained(address), f"a route to {address}", 30)
    for address in fabric.ours.addresses:
        wait_for(lambda address=address: fabric.installed(address), f"FRR has a route to {address}", 30)


@contextlib.contextmanager
def l3_vni(node: Node) -> Iterator[None]:
    """The bridge that belongs to the VRF and the VXLAN device of its VNI."""
    here = ("-n", node.namespace, "link")
    ip(*here, "add", SVI, "address", ROUTER, "type", "bridge", "mcast_snooping", "0")
    ip(*here, "set", SVI, "master", "red", "addrgenmode", "none")
    tunnel = ("local", node.addresses[0], "dstport", "4789", "nolearning")
    ip(*here, "add", VXLAN, "mtu", "1500", "type", "vxlan", "id", str(VNI), *tunnel)
    ip(*here, "set", VXLAN, "master", SVI, "addrgenmode", "none")
    ip(*here, "set", VXLAN, "type", "bridge_slave", "learning", "off")
    try:
        for device in (VXLAN, SVI):
            ip(*here, "set", device, "up")
        yield
    finally:
        for device in (VXLAN, SVI):
            ip(*here, "del", device)


@contextlib.contextmanager
def fabric_of(nodes: Nodes, ours: Vm, directory: Path, asn: int) -> Iterator[Fabric]:
    """FRR and our daemon on these nodes, with the session up and the VM attached; ``asn`` is FRR's AS."""
    with contextlib.ExitStack() as held:
        east, here = nodes.east, nodes.west.addresses[0]
        theirs = held.enter_context(customer(east))
        held.enter_context(l3_vni(east))
        bgpd = (SPEAKER + _BGPD).format(address=east.addresses[0], asn=asn, west=here, west_as=AS, target=RED[0])
        (directory / "frr").mkdir()
        held.enter_context(frr(east, directory / "frr", bgpd=bgpd, zebra=_ZEBRA.format(vni=VNI)))
        west = Compute(nodes.west, east.addresses[0], "VXLAN", directory, f"[PEER {east.addresses[0]}]\nas = {asn}\n")
        held.callback(west.stop)
        fabric = Fabric(west.start(), east, ours, theirs)
        west.wait_established()
        try:
            joined(fabric)
        except AssertionError as fault:
            raise AssertionError(f"{fault}\n{state(fabric, directory)}") from fault
        yield fabric


def state(fabric: Fabric, directory: Path) -> str:
    """What both know, for whoever looks why a check failed."""
    return shown(fabric.east, directory / "frr", _QUESTIONS) + tail(fabric.west.log)


def main(names: Sequence[str]) -> int:
    """Run these checks; 0 if they could be run, whatever came of them."""
    for module in MODULES:
        subprocess.run(["modprobe", module], check=True, timeout=30)
    time.sleep(max(0.0, SETTLED - time.clock_gettime(time.CLOCK_BOOTTIME)))
    with Nodes("system") as nodes:
        for node in (nodes.west, nodes.east):
            node.ovs.vsctl("set", "interface", BRIDGE, f"mtu_request={UNDERLAY_MTU}")
        ours = nodes.west.vm("a", 0x0A, ["10.0.0.1/32", "fd00:1::1/128"])
        for session, asn in SESSIONS.items():
            if here := [name for name in names if CHECKS[name][0] == session]:
                with tempfile.TemporaryDirectory(prefix="frr-") as made:
                    directory = Path(made)
                    with fabric_of(nodes, ours, directory, asn) as fabric:
                        for name in here:
                            say(name, *judged(CHECKS[name][1], fabric, directory))
    return 0


def judged(check: Callable[[Fabric], None], fabric: Fabric, directory: Path) -> tuple[str, float]:
    """Why a check failed, nothing if it did not, and the seconds it took."""
    begin, why = time.monotonic(), ""
    try:
        check(fabric)
    except Exception:  # it is told, and judged outside
        why = traceback.format_exc() + state(fabric, directory)
    return why, time.monotonic() - begin


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(CHECKS)))
