"""FRR as a provider edge that forwards: zebra and bgpd over the VRFs and the MPLS of the Linux kernel.

It takes the place of the eastern node: its Open vSwitch is a plain switch meanwhile, so that what has a label and the
address of this host gets to the kernel. They speak eBGP: from iBGP FRR takes no VPN route whose next hop is not the end
of a path that LDP or the like has told it. Of IPv6 the way to FRR is checked and not the way back: the Linux kernel has
no IPv6 route by an IPv4 next hop, which is what the address of our node is.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.system.openvswitch import die_with_parent
from tests.system.ovs_nodes import BRIDGE, Node, Vm, ip
from tests.system.running import wait_for
from tests.system.test_vpn_traffic import A4, RED, World
from tests.system.vpn_site import AS, Compute, bare, reaches

MODULES = ("mpls_router", "mpls_iptunnel", "vrf")
FRR_AS = 64513
FIRST = "MPLS on Ethernet"
TABLE = 10
PREFIX4, PREFIX6 = "10.20.0", "fd00:20:"
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
_CONFIGURATION = """\
interface {bridge}
 mpls bgp forwarding
router bgp {asn}
 bgp router-id {address}
 no bgp default ipv4-unicast
 no bgp ebgp-requires-policy
 neighbor {west} remote-as {west_as}
 neighbor {west} passive
 address-family ipv4 vpn
  neighbor {west} activate
 exit-address-family
 address-family ipv6 vpn
  neighbor {west} activate
 exit-address-family
router bgp {asn} vrf red
 bgp router-id {address}
"""


_DAEMONS = {"zebra": ["-g", "frrvty"], "bgpd": ["-g", "root", "-S"]}


def vms_of_frr_and_of_our_node_reach_each_other(world: World) -> None:
    """By labels that each side has told the other."""
    site, node = world.site, world.site.nodes.east
    for compute in (world.west, world.east):
        compute.stop()
    try:
        node.ofctl("del-flows")
        node.ofctl("add-flow", "priority=0,actions=NORMAL")
        with tempfile.TemporaryDirectory(prefix="frr-") as name, _customer(world, node) as vm:
            directory = Path(name)
            (directory / "west").mkdir()
            more = f"[PEER {node.addresses[0]}]\nas = {FRR_AS}\n"
            west = Compute(site.nodes.west, node.addresses[0], FIRST, directory / "west", more)
            with _frr(node, west.address, directory), contextlib.ExitStack() as held:
                held.callback(west.stop)
                west.start()
                west.attach("red", world.a, rt=RED)
                try:
                    _pings(west, world.a, vm)
                except AssertionError as fault:
                    raise AssertionError(f"{fault}\n{_shown(node, directory)}") from fault
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


@contextlib.contextmanager
def _customer(world: World, node: Node) -> Iterator[Vm]:
    """A VM behind an interface of the VRF ``red``, which the kernel makes and FRR finds."""
    namespace = f"{node.namespace}-customer"
    here = ("-n", node.namespace)
    ip("netns", "add", namespace)
    try:
        ip(*here, "link", "add", "red", "type", "vrf", "table", str(TABLE))
        ip(*here, "link", "set", "red", "up")
        ip(*here, "link", "add", "customer", "type", "veth", "peer", "name", "eth0", "netns", namespace)
        ip(*here, "link", "set", "customer", "master", "red", "up")
        ip("-n", namespace, "link", "set", "eth0", "up")
        for prefix, length in ((f"{PREFIX4}.", "24"), (f"{PREFIX6}:", "64")):
            six = [] if "." in prefix else ["nodad"]
            ip(*here, "address", "add", f"{prefix}1/{length}", "dev", "customer", *six)
            ip("-n", namespace, "address", "add", f"{prefix}2/{length}", "dev", "eth0", *six)
            ip("-n", namespace, "route", "add", "default", "via", f"{prefix}1")
        settings = ("net.mpls.platform_labels=1000", f"net.mpls.conf.{BRIDGE}.input=1")
        more = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        _inside(node, "sysctl", "-qw", *settings, *more)
        yield Vm("customer", namespace, world.b.mac, (), "customer")
    finally:
        ip("netns", "del", namespace)
        ip(*here, "link", "del", "red")


@contextlib.contextmanager
def _frr(node: Node, west: str, directory: Path) -> Iterator[None]:
    values = {"asn": FRR_AS, "address": node.addresses[0], "west": west, "west_as": AS, "bridge": BRIDGE}
    families = "".join(_FAMILY.format(family=family, asn=FRR_AS, target=RED[0]) for family in ("ipv4", "ipv6"))
    (directory / "bgpd.conf").write_text(_CONFIGURATION.format(**values) + families)
    (directory / "zebra.conf").write_text("")
    Path("/run/frr").mkdir(exist_ok=True)
    socket = directory / "zserv.api"
    own = ["-u", "root", "--vty_socket", str(directory), "-P", "0", "-z", str(socket)]
    with contextlib.ExitStack() as held:
        for daemon, rights in _DAEMONS.items():
            files = ["-f", str(directory / f"{daemon}.conf"), "-i", str(directory / f"{daemon}.pid")]
            log = held.enter_context((directory / f"{daemon}.log").open("wb"))
            argv = ["ip", "netns", "exec", node.namespace, f"/usr/lib/frr/{daemon}", *own, *rights, *files]
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - the threads of a check hold no lock that this needs
            )
            held.callback(process.wait, 10)
            held.callback(process.terminate)
            wait_for(socket.exists, "zebra listens")
        yield


def _inside(node: Node, *argv: str) -> str:
    command = ["ip", "netns", "exec", node.namespace, *argv]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout + done.stderr


def _shown(node: Node, directory: Path) -> str:
    """What FRR and the kernel know, for whoever looks why no packet passes."""
    questions = (
        "show bgp summary",
        "show bgp ipv4 vpn",
        "show bgp ipv6 vpn",
        "show bgp vrf red ipv4",
        "show ip route vrf red",
        "show mpls table",
    )
    asked = [word for question in questions for word in ("-c", question)]
    shown = [_inside(node, "vtysh", "--vty_socket", str(directory), *asked)]
    shown += [_inside(node, "ip", *kind, "route", "show", *table) for kind, table in _TABLES]
    return "\n".join([*shown, *(path.read_text(errors="replace")[-1000:] for path in directory.glob("*.log"))])


_QUESTIONS = (
    "bgp nexthop",
    "ip route",
    "bgp summary",
    "bgp ipv4 vpn",
    "bgp ipv6 vpn",
    "ip route vrf red",
    "ipv6 route vrf red",
    "mpls table",
)
_TABLES = ((("-f", "mpls"), ()), (("-4",), ("table", str(TABLE))), (("-6",), ("table", str(TABLE))))
