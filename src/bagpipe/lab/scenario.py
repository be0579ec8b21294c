"""The lab's one scenario: a reflector in the middle, two compute nodes and a router around it.

    router (GoBGP) ── reflector (bagpipe-fakerr) ── node1, node2 (bagpipe-bgp)

The router has a VPN's routes. The nodes have no VPN yet, so node2 asks for nothing and hears nothing (RFC 4684); node1
is told to keep everything (``retain_routes = always``), asks for the default route target, and hears it all.
"""

from __future__ import annotations

from dataclasses import dataclass

from bagpipe.lab import gobgp
from bagpipe.lab.hosts import STATE, Host, LabFault, existing_hosts, join, take_down
from bagpipe.lab.programs import ask, installed, program, shown, start_daemon, start_reflector
from bagpipe.lab.telling import indent, say, wait_for

AS = 64512
REFLECTOR = Host("reflector")


@dataclass(frozen=True, slots=True)
class Place:
    """A host on a cable of its own to the reflector, which has address 1 there."""

    host: Host
    number: int
    tells: str

    @property
    def address(self) -> str:
        """The IPv4 address of the host, its BGP identifier as well."""
        return f"10.99.{self.number}.2"

    @property
    def reflector(self) -> str:
        """The reflector's IPv4 address on this cable."""
        return f"10.99.{self.number}.1"


NODE1 = Place(Host("node1"), 1, "a compute node that keeps every route (retain_routes = always)")
NODE2 = Place(Host("node2"), 2, "a compute node without a VPN: it asks for no route target")
ROUTER = Place(Host("router"), 3, "a router of the backbone, GoBGP, with the routes of a VPN")
PLACES = (NODE1, NODE2, ROUTER)

_BGP_CONF = """\
[BGP]
local_address = {address}
peers = {reflector}
my_as = {my_as}
retain_routes = {retain}
"""

# Without "rtc": GoBGP before 3.36 ends with a nil pointer when it hears the default membership (osrg/gobgp#2900).
_GOBGP_FAMILIES = ("l3vpn-ipv4-unicast", "l3vpn-ipv6-unicast", "l2vpn-evpn")

INJECTED: tuple[str, ...] = (
    "vpnv4 10.1.0.0/24 label 100 rd 64512:1 rt 64512:10",
    "vpnv4 10.1.7.9/32 label 101 rd 64512:1 rt 64512:10 64512:11",
    "vpnv6 2001:db8:1::/48 label 102 rd 64512:1 rt 64512:10",
    "evpn macadv 02:00:00:00:00:01 10.2.0.7 etag 0 label 77 rd 64512:2 rt 64512:20 encap vxlan",
    "evpn multicast 10.99.3.2 etag 0 rd 64512:2 rt 64512:20 encap vxlan pmsi ingress-repl 77 10.99.3.2",
)
"""What the router announces, in the words of ``gobgp global rib add``: family first."""


def up() -> None:
    """Build the lab and tell what it does. Raises LabFault."""
    installed("ip", "gobgpd", "gobgp")
    if existing_hosts():
        say("A lab is up already: it is taken down first.")
        take_down()
    say("Four hosts, each a network namespace of this machine, and a cable from each to the reflector:")
    _build()
    say("The programs start. The reflector and the nodes are ours, the router is GoBGP.")
    _start()
    say("The router has the routes of a VPN:")
    for route in INJECTED:
        print(f"    $ {gobgp.announce(ROUTER.host, route, _next_hop(route))}")
    wait_for(_everything_arrived, "all routes at node1")
    show()
    say(
        "The programs run on. Look around with `make lab-show`, or go to a host, for example",
        f"    ip netns exec {NODE1.host.namespace} {shown('bagpipe')} routes --rt 64512:20 --json",
        f"Logs and configuration are in {STATE}. `make lab-down` ends it.",
    )


def show() -> None:
    """Tell what each speaker knows now. Raises LabFault when no lab is up."""
    if not existing_hosts():
        raise LabFault("no lab is up: `make lab` starts one")
    say("The reflector, whose clients are whoever connects:")
    ask(REFLECTOR, "peers")
    for place in (NODE1, NODE2):
        say(f"{place.host.name}, {place.tells}:")
        ask(place.host, "peers")
        ask(place.host, "routes")
    say("What GoBGP says of its session with the reflector:")
    print(f"    $ ip netns exec {ROUTER.host.namespace} gobgp neighbor")
    indent(ROUTER.host.run(["gobgp", "neighbor"]))


def _build() -> None:
    REFLECTOR.create()
    for place in PLACES:
        place.host.create()
        join(REFLECTOR, [f"{place.reflector}/24"], place.host, [f"{place.address}/24"])
        print(f"    {place.host.name:8} {place.address}  ── {place.reflector} reflector    {place.tells}")


def _start() -> None:
    start_reflector(REFLECTOR)
    for place, retain in ((NODE1, "always"), (NODE2, "auto")):
        configuration = _BGP_CONF.format(address=place.address, reflector=place.reflector, my_as=AS, retain=retain)
        start_daemon(place.host, configuration)
    gobgp.start(ROUTER.host, gobgp.speaker(ROUTER.address, ROUTER.reflector, AS, _GOBGP_FAMILIES))


def _next_hop(route: str) -> str:
    """VPNv6 over IPv4 has the IPv4-mapped form (RFC 4659 section 3.2.1.2)."""
    return f"::ffff:{ROUTER.address}" if route.startswith("vpnv6") else ROUTER.address


def _everything_arrived() -> bool:
    try:
        text = NODE1.host.run([*program("bagpipe"), "routes", "--json"])
    except LabFault:
        return False
    return all(mark in text for mark in ("10.1.0.0/24", "10.1.7.9/32", "2001:db8:1::/48", "02:00:00:00:00:01"))
