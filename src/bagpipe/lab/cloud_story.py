"""``make lab``: a real Neutron with BGP VPNs on two compute hosts and a backbone, told as a story.

vm1     vm4         vm2     vm3                 site              machines, and the customer's site
 └───┬───┘           └───┬───┘                    │
 compute1            compute2                   edge              Open vSwitch; on the edge GoBGP
  │    └────────────────│──┴──── underlay ────────┴── reflector   MPLS and BGP, 10.98.0.0/24
  └─────────────────────┴─────── management ── controller         Neutron, RabbitMQ, MariaDB, 10.97.0.0/24
"""

from __future__ import annotations

from functools import partial

from bagpipe.lab.cloud import (
    BACKBONE_TARGET,
    CONTROLLER,
    EDGE,
    FABRIC,
    REFLECTOR,
    UNDERLAY,
    Choice,
    Cloud,
    running,
)
from bagpipe.lab.cloud_scenarios import SITE, SITE_6
from bagpipe.lab.controller import API_PORT
from bagpipe.lab.hosts import STATE, Host, LabFault, existing_hosts, take_down
from bagpipe.lab.programs import ask, shown
from bagpipe.lab.reflectors import WITHOUT_VPNV6
from bagpipe.lab.scene import expect
from bagpipe.lab.telling import Story, indent, say, wait_for
from bagpipe.lab.tenant import Tenant
from bagpipe.lab.traffic import Capture, answers, reaches


def up(choice: Choice) -> None:
    """Build the cloud, connect machines by the API, and tell. Raises LabFault where a packet does not arrive."""
    if existing_hosts():
        say("A lab is up already: it is taken down first.")
        take_down()
    say(*(__doc__ or "").split("\n\n", 1)[1].splitlines())
    story = Story()
    cloud = Cloud(choice)
    story.chapter("Hosts, each a network namespace of this machine, and the two networks between them.")
    cloud.build()
    kinds = " ".join(f"{one.name}: agent {one.kinds.agent}, daemon {one.kinds.daemon};" for one in cloud.hosts.values())
    story.chapter("The programs start.", f"driver {choice.driver}, reflector {choice.reflector}; {kinds[:-1]}.")
    cloud.start(lambda line: print(f"         {story.seconds:5.1f} s  {line}", flush=True))
    story.chapter("A tenant makes networks and machines. Nothing routes between the networks.")
    tenant = Tenant(cloud, "demo")
    blue = tenant.network("blue", "10.1.0.0/24", "fd00:1::/64")
    green = tenant.network("green", "10.2.0.0/24", "fd00:2::/64")
    red = tenant.network("red", "10.2.0.0/24", "fd00:2::/64")
    vm1, vm2, vm3, vm4 = tenant.vms(
        ("vm1", blue, "compute1"), ("vm2", green, "compute2"), ("vm3", blue, "compute2"), ("vm4", red, "compute1")
    )
    for vm, network in ((vm1, blue), (vm2, green), (vm3, blue), (vm4, red)):
        addresses = ", ".join(one.partition("/")[0] for one in vm.addresses)
        place = next(one.name for one in cloud.hosts.values() if vm.tap in one.switch.vsctl("list-ports", "br-int"))
        print(f"    {vm.host.name}  {addresses:24} on network {network.name:5}, {place}", flush=True)
    _answered(vm1.host, vm3.address(), "vm3, same network, other host: Neutron's own VXLAN")
    _unanswered(vm1.host, vm2.address(), "vm2, another network")
    story.chapter(
        "An l3 BGPVPN with the backbone's route target, associated with two of the three networks:",
        f"$ openstack bgpvpn create --name backbone --type l3 --route-target {BACKBONE_TARGET}",
        "$ openstack bgpvpn network association create backbone blue",
        "$ openstack bgpvpn network association create backbone green",
    )
    vpn = tenant.bgpvpn("backbone", BACKBONE_TARGET)
    for network in (blue, green):
        tenant.associate(vpn, "network", network.id)
    capture = Capture(FABRIC, UNDERLAY, "mpls")
    pings = [(vm1.host, vm2.address(), "vm2, other network and host"), (vm1.host, SITE, "the customer's site")]
    pings += [(vm2.host, SITE, "the customer's site"), (EDGE.site, vm3.address(), "vm3, from the backbone")]
    ours = {"ours"} == {kind for one in cloud.hosts.values() for kind in (one.kinds.agent, one.kinds.daemon)}
    if choice.reflector not in WITHOUT_VPNV6 and ours:
        pings += [(vm1.host, vm2.address(6), "vm2, IPv6"), (EDGE.site, vm1.address(6), "vm1, IPv6 from the backbone")]
        pings += [(vm3.host, SITE_6, "the customer's site, IPv6")]
    else:
        print("    no IPv6: the reference has none, nor has BIRD over an IPv4 underlay", flush=True)
    for source, address, who in pings:
        _answered(source, address, who)
    _unanswered(vm4.host, SITE, "the site: vm4 is on red, which has the addresses of green and no VPN")
    story.chapter("What passed the underlay meanwhile, as tcpdump reads it: one label for each machine.")
    packets = [line for line in capture.end() if "ICMP" in line and "MPLS" in line]
    expect(len(packets) >= 4, f"tcpdump saw {len(packets)} labelled pings on the underlay")
    indent("\n".join(line.partition("ethertype ")[2] or line for line in packets[:6]))
    if choice.reflector == "ours":
        story.chapter("The reflector has these routes, and passes each host those that it asked for.")
        ask(REFLECTOR, "routes", "--rt", BACKBONE_TARGET)
    story.chapter("All of this works and runs on.")
    _where_next(vm2.address())


def show() -> None:
    """Tell what the daemons of the running cloud know. Raises LabFault."""
    cloud = running()
    say(f"Neutron, {cloud.controller.service.driver}:")
    for vpn in cloud.api.get("bgpvpn/bgpvpns"):
        networks = ", ".join(vpn["networks"])
        print(f"    {vpn['name']}: route targets {', '.join(vpn['route_targets'])}; networks {networks or 'none'}")
    for agent in cloud.api.get("agents"):
        print(f"    {agent['host']}: {agent['agent_type']}, {'alive' if agent['alive'] else 'not alive'}")
    for one in cloud.hosts.values():
        if one.kinds.daemon == "ours":
            say(f"{one.name}:")
            ask(one.host, "peers")
            ask(one.host, "instances")
    _where_next(None)


def _answered(source: Host, address: str, who: str) -> None:
    reaches(source, address, 30)
    got = 0

    def all_of_three() -> bool:
        nonlocal got
        got = answers(source, address, 3)
        return got == 3

    wait_for(all_of_three, f"three answers in a row from {address} to {source.name}", 0.1, 20)
    print(f"    {source.name:4} → {address:18} {got} of 3 answered: {who}", flush=True)


def _unanswered(source: Host, address: str, who: str) -> None:
    got = answers(source, address, 2, 0.5)
    if got:
        raise LabFault(f"{source.name} has answers from {address}, which it should not reach: {who}")
    print(f"    {source.name:4} → {address:18} no answer: {who}", flush=True)


def _where_next(address: str | None) -> None:
    python = partial("{} -m bagpipe.lab {}".format, shown("python"))
    pings = f"ping {SITE}" if address is None else f"ping {address}, ping {SITE}"
    compute, glass = Host("compute1").namespace, shown("bagpipe-looking-glass")
    say(
        "What to try next:",
        f"    make lab-shell VM=vm1                 # then: {pings}",
        f"    {python('openstack bgpvpn list')}",
        f"    {python('openstack bgpvpn network association list backbone')}",
        f"    {python('api GET bgpvpn/bgpvpns')}",
        "    make lab-scenario                     # the list; then NAME=live-migration, for example",
        f"    ip netns exec {compute} {shown('bagpipe')} instances",
        f"    ip netns exec {compute} {glass} -r vpns",
        f"    ip netns exec {FABRIC.namespace} tcpdump -n -e -i {UNDERLAY} mpls",
        f"The looking glass of compute1 is http://127.0.0.1:8082/looking-glass in the namespace {compute},",
        f"Neutron's API http://10.97.0.1:{API_PORT} in {CONTROLLER.namespace}, or by the unix socket"
        f" {CONTROLLER.directory}/neutron-api.sock.",
        f"`make lab-show` tells what the hosts know now. Logs and configuration are in {STATE}.",
        "`make lab-down` ends all of it.",
    )
