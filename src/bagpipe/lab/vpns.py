"""``make lab-speaker``: IP VPNs between two compute hosts on Open vSwitch, with real packets, told as a story.

blue1  red1            blue2  red2          "VMs": the two VPNs use the same addresses
  └──┬───┘               └──┬───┘
  compute1                compute2          bagpipe-bgp and Open vSwitch (userspace datapath)
      └───────── fabric ─────┘              a switch: MPLS on Ethernet goes through here
                    │
                reflector                   bagpipe-fakerr
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Any

from bagpipe.lab.compute import (
    BRIDGE,
    ENCAPSULATIONS,
    MACHINE_INTERFACE,
    PROGRAMS,
    UNDERLAY_MTU,
    UPLINK,
    Compute,
    Encapsulation,
    Machine,
)
from bagpipe.lab.hosts import STATE, Host, LabFault, existing_hosts, join, take_down
from bagpipe.lab.offload import checksums_in_software
from bagpipe.lab.programs import ask, installed, program, shown, start_daemon, start_reflector, succeeds
from bagpipe.lab.telling import Story, indent, say, wait_for

AS = 64512
FABRIC, REFLECTOR = Host("fabric"), Host("reflector")
REFLECTOR_ADDRESS = "10.98.0.254"
COMPUTES = (Compute(Host("compute1"), "10.98.0.1"), Compute(Host("compute2"), "10.98.0.2"))
TARGETS = {"blue": "64512:10", "red": "64512:20"}
ONLY_RED = "10.66.0.1"
"""An address that one machine of the VPN red has and nobody else."""
SWITCH = "switch"


def _machine(vpn: str, place: int) -> Machine:
    """The machine of a VPN on a compute host, 1 or 2; those of both VPNs have the same addresses."""
    return Machine(
        Host(f"{vpn}{place}"),
        vpn,
        f"02:00:00:00:{list(TARGETS).index(vpn) + 1:02x}:0{place}",
        (f"10.{place}.0.2/24", f"fd00:{place}::2/64"),
        (f"10.{place}.0.1", f"fd00:{place}::1"),
    )


MACHINES = {(vpn, place): _machine(vpn, place) for vpn, place in product(TARGETS, (1, 2))}


def up(encapsulation: str = "mpls") -> None:
    """Build the lab and tell what it does. Raises LabFault, if a packet goes where it should not as well."""
    way = ENCAPSULATIONS[encapsulation]
    installed(*PROGRAMS)
    if existing_hosts():
        say("A lab is up already: it is taken down first.")
        take_down()
    say(*(__doc__ or "").split("\n\n", 1)[1].splitlines())
    story = Story()
    story.chapter("Hosts, each a network namespace of this machine, and the switch between them.")
    _build()
    story.chapter(f"Open vSwitch, the reflector and the daemons start; {encapsulation} between the hosts.")
    _start(way)
    story.chapter(
        "Four machines are plugged in and attached to two VPNs,",
        "with the same addresses in both; the VPNs differ in their route targets.",
    )
    _attach()
    story.chapter("Their routes go by BGP to the other host, which programs them into its switch.")
    _wait_for_routes()
    for compute in COMPUTES:
        ask(compute.host, "instances")
    ask(COMPUTES[0].host, "instances", "blue")
    story.chapter("Machines reach each other within their VPN, over IPv4 and IPv6, and nobody across.")
    _ping()
    story.chapter(
        "What the switch between the hosts sees of a ping in each VPN, as tcpdump reads it:",
        "the label (with vxlan the VNI) tells whom the packet is for.",
    )
    indent("\n".join(_on_the_wire(way)))
    story.chapter("Why blue1 reaches blue2, as the daemon of its host knows it:")
    ask(COMPUTES[0].host, "explain", "blue", _address(MACHINES["blue", 2], 4))
    story.chapter("All of this works and runs on.")
    _where_next()


def show() -> None:
    """Tell what each host knows now. Raises LabFault when the lab is not up."""
    say("The reflector:")
    ask(REFLECTOR, "peers")
    for compute in COMPUTES:
        say(f"{compute.host.name}:")
        ask(compute.host, "instances")
        for name in _instances(compute):
            ask(compute.host, "instances", name)
        try:
            ask(compute.host, "audit")
        except LabFault as differences:
            indent(str(differences))
    _where_next()


def _instances(compute: Compute) -> list[str]:
    told = _told(compute, "instances")
    return [] if told is None else [str(one["id"]) for one in told["instances"]]


def _where_next() -> None:
    first, machine = COMPUTES[0], MACHINES["blue", 1]
    bagpipe, glass = shown("bagpipe"), shown("bagpipe-looking-glass")
    say(
        "Where to look next:",
        f"    ip netns exec {machine.host.namespace} ping {_address(MACHINES['blue', 2], 4)}",
        f"    ip netns exec {FABRIC.namespace} tcpdump -n -i {SWITCH}",
        f"    ip netns exec {first.host.namespace} {bagpipe} explain red {_address(MACHINES['red', 2], 6)}",
        f"    ip netns exec {first.host.namespace} {bagpipe} audit",
        f"    ip netns exec {first.host.namespace} {glass} -r vpns",
        f"    ovs-ofctl -O OpenFlow15 dump-flows unix:{first.directory}/br-mpls.mgmt",
        "`make lab-show` tells what each host knows now.",
        f"Logs and configuration are in {STATE}. `make lab-down` ends it.",
    )


def _address(machine: Machine, version: int) -> str:
    return machine.addresses[0 if version == 4 else 1].partition("/")[0]


def _build() -> None:
    for host in (FABRIC, REFLECTOR, *(compute.host for compute in COMPUTES)):
        host.create()
    FABRIC.ip("link", "add", SWITCH, "type", "bridge")
    join(REFLECTOR, [f"{REFLECTOR_ADDRESS}/24"], FABRIC, [], names=("eth0", REFLECTOR.name), mtu=UNDERLAY_MTU)
    checksums_in_software(REFLECTOR, "eth0")
    for compute in COMPUTES:
        join(compute.host, [], FABRIC, [], names=(UPLINK, compute.host.name), mtu=UNDERLAY_MTU)
    for name in (REFLECTOR.name, *(compute.host.name for compute in COMPUTES)):
        FABRIC.ip("link", "set", name, "master", SWITCH)
    FABRIC.ip("link", "set", SWITCH, "up")
    for host, address in ((REFLECTOR, REFLECTOR_ADDRESS), *((one.host, one.address) for one in COMPUTES)):
        print(f"    {host.name:10} {address}", flush=True)


def _start(way: Encapsulation) -> None:
    start_reflector(REFLECTOR)
    for compute in COMPUTES:
        compute.start_switch()
    for compute in COMPUTES:
        compute.make_bridge()
        start_daemon(compute.host, compute.configuration(REFLECTOR_ADDRESS, AS, way))
    for compute in COMPUTES:
        wait_for(partial(_is_ready, compute), f"session and dataplane of {compute.host.name}", 0.2)
        print(f"    {compute.host.name} has its session with the reflector and its switch.", flush=True)
    _meet()


def _meet() -> None:
    """Let each switch see ARP for the other host: its datapath drops what it would send into a tunnel before that."""
    for compute, other in (COMPUTES, reversed(COMPUTES)):
        compute.host.ip("neigh", "flush", "dev", BRIDGE)
        ping = ["ping", "-n", "-c", "1", "-W", "1", other.address]
        wait_for(partial(succeeds, compute.host, ping), f"{other.host.name} at {compute.host.name}", 0.2)


def _told(compute: Compute, *arguments: str) -> dict[str, Any] | None:
    """What the daemon of a host says as JSON; None while it does not answer."""
    try:
        value = json.loads(compute.host.run([*program("bagpipe"), *arguments, "--json"]))
    except (LabFault, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _is_ready(compute: Compute) -> bool:
    peers = _told(compute, "peers")
    audit = _told(compute, "audit")
    established = peers is not None and '"established"' in json.dumps(peers["peers"])
    return established and audit is not None


def _attach() -> None:
    for (vpn, place), machine in MACHINES.items():
        compute = COMPUTES[place - 1]
        compute.plug(machine)
        addresses = [*machine.addresses]
        if (vpn, place) == ("red", 2):
            machine.host.address(MACHINE_INTERFACE, f"{ONLY_RED}/32")
            addresses.append(f"{ONLY_RED}/32")
        ask(
            compute.host,
            *("attach", machine.host.name, "--instance", vpn, "--rt", TARGETS[vpn], "--port", machine.port),
            *("--mac", machine.mac),
            *(word for address in addresses for word in ("--address", address)),
            *(word for gateway in machine.gateways for word in ("--gateway", gateway)),
        )


def _wait_for_routes() -> None:
    for (vpn, place), version in product(MACHINES, (4, 6)):
        compute, other = COMPUTES[place - 1], MACHINES[vpn, 3 - place]
        what = f"the route to {other.host.name} at {compute.host.name}"
        wait_for(partial(_is_carried, compute, vpn, _address(other, version)), what, 0.2)
    wait_for(partial(_is_carried, COMPUTES[0], "red", ONLY_RED), f"the route to {ONLY_RED}", 0.2)


def _is_carried(compute: Compute, vpn: str, destination: str) -> bool:
    told = _told(compute, "explain", vpn, destination)
    return told is not None and not told["missing"]


def _ping() -> None:
    """Ping within each VPN and count at every machine what arrives. Raises LabFault where it is not as it should be."""
    for (vpn, place), version in product(MACHINES, (4, 6)):
        source, target = MACHINES[vpn, place], MACHINES[vpn, 3 - place]
        before = {machine.host.name: machine.echo_requests() for machine in MACHINES.values()}
        answered, milliseconds = source.ping(_address(target, version))
        arrived = {
            machine.host.name: machine.echo_requests() - before[machine.host.name] for machine in MACHINES.values()
        }
        if answered != 3 or {name for name, number in arrived.items() if number} != {target.host.name}:
            raise LabFault(f"{source.host.name} pings {_address(target, version)}: {answered} of 3 answers, {arrived}")
        print(
            f"    {source.host.name:5} → {_address(target, version):9}  3 of 3 answered by {target.host.name},"
            f" {milliseconds} ms; nothing arrived at any other machine",
            flush=True,
        )
    for name, expected in (("red", 3), ("blue", 0)):
        source = MACHINES[name, 1]
        answered, _ = source.ping(ONLY_RED, 3 if expected else 1)
        if answered != expected:
            raise LabFault(f"{source.host.name} pings {ONLY_RED}, which only red has: {answered} answers")
        text = "3 of 3 answered" if expected else "no answer: only the VPN red has this address"
        print(f"    {source.host.name:5} → {ONLY_RED:9}  {text}", flush=True)


def _on_the_wire(way: Encapsulation) -> Iterator[str]:
    """A ping of each VPN and version as tcpdump reads it between the hosts. Raises LabFault."""
    packets = FABRIC.directory / "tcpdump.log"
    FABRIC.start("tcpdump", ["tcpdump", "-Z", "root", "-n", "-l", "-i", SWITCH, way.capture])
    wait_for(lambda: "listening on" in packets.read_text(), "tcpdump", 0.05)
    pings = list(product(TARGETS, (4, 6)))
    for vpn, version in pings:
        MACHINES[vpn, 1].ping(_address(MACHINES[vpn, 2], version), 1)
    wait_for(lambda: packets.read_text().count("echo reply") >= len(pings), "packets between the hosts", 0.1)
    FABRIC.stop()
    # A packet is one line that begins with the time, or is continued on lines that do not.
    lines = re.sub(r"\n\s*(?!\s*\d\d:\d\d:)", " ", packets.read_text()).splitlines()
    seen = [line for line in lines if "echo re" in line]
    for number, (vpn, version) in enumerate(pings):
        yield f"blue and red alike have these addresses; this is {vpn}, IPv{version}:"
        yield from (f"  {line}" for line in seen[2 * number : 2 * number + 2])
