"""The scenarios of the lab's cloud about l2 BGPVPNs: networks that are one broadcast domain, by EVPN.

Networks have the same subnet here, and their machines addresses that do not collide.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bagpipe.lab.cloud import AS, BACKBONE_TARGET, EDGE, FABRIC, REFLECTOR_ADDRESS, UNDERLAY
from bagpipe.lab.cloud_host import CloudHost, Vm, http_get
from bagpipe.lab.cloud_scenarios import SITE, SITE_6
from bagpipe.lab.compute import UNDERLAY_MTU
from bagpipe.lab.hosts import Host, join
from bagpipe.lab.moving import move
from bagpipe.lab.offload import checksums_in_software
from bagpipe.lab.programs import program, start_daemon, succeeds
from bagpipe.lab.scene import Scenario, Scene, expect
from bagpipe.lab.telling import wait_for
from bagpipe.lab.tenant import Network
from bagpipe.lab.traffic import Capture

_LEAF, _LEAF_ADDRESS, _RACK = Host("leaf"), "10.98.0.98", Host("rack")
_RACK_ADDRESSES = {4: "10.81.0.200/24", 6: "fd00:81::200/64"}
_LEAF_MAC, _RACK_MAC = "02:00:00:00:98:01", "02:00:00:00:98:02"
_VNI = 77810
_LEAF_CONF = f"""\
[BGP]
local_address = {_LEAF_ADDRESS}
peers = {REFLECTOR_ADDRESS}
my_as = {AS}

[DATAPLANE_DRIVER_EVPN]
dataplane_driver = linux
"""


def bridged(scene: Scene) -> None:
    """Two networks of one subnet and a machine outside the cloud are one broadcast domain, until one network leaves."""
    tenant, target = scene.tenant, "64512:371"
    west, east = (_network(scene, f"br-{name}", 81) for name in ("west", "east"))
    a, b = _machines(scene, 81, ("br-a", west, "compute1"), ("br-b", east, "compute2"))
    scene.tell("Two networks with the same subnet, a machine on each, on two compute hosts.")
    scene.never_reached(a, b.address(), "br-b")
    scene.tell("An l2 BGPVPN is associated with both.")
    vpn = tenant.bgpvpn("br", target, type="l2")
    first, _ = (tenant.associate(vpn, "network", network.id) for network in (west, east))
    for version in (4, 6):
        scene.reached(a, b.address(version), "br-b on the other network and host")
        scene.reached(b, a.address(version), "br-a")
    _expect_vnis(scene, target, 2)
    scene.tell("Who has an address is answered on the machine's own host: nobody asks on the underlay.")
    # The reference's agent states no IPv6: that is asked for by flooding.
    stated = (4, 6) if all(host.kinds.agent == "ours" for host in scene.cloud.hosts.values()) else (4,)
    capture = Capture(FABRIC, UNDERLAY, "udp port 4789")
    for version in stated:
        a.host.ip("neigh", "flush", "dev", a.interface)
        scene.reached(a, b.address(version), "br-b")
    seen = [line for line in capture.end() if a.mac in line]
    pings = [line for line in seen if "echo request" in line]
    expect(len(pings) >= len(stated), f"of the pings the underlay carried {pings}")
    asked = [line for line in seen if "Request who-has" in line or "> 33:33:ff:" in line]
    expect(not asked, f"the underlay carried {asked}")
    scene.note(f"the underlay carried {len(seen)} frames of theirs, none of them for all, such as")
    scene.note(f"  {pings[0]}")
    scene.tell("A leaf of the data centre, with a machine in its rack, has the same route target.")
    with _leaf(target):
        for version in (4, 6):
            scene.reached(a, _RACK_ADDRESSES[version].partition("/")[0], "the machine in the rack")
            scene.reached(_RACK, b.address(version), "br-b")
    scene.not_reached(a, _RACK_ADDRESSES[4].partition("/")[0], "the machine in the rack: the leaf is gone")
    scene.tell("The first network leaves.")
    tenant.disassociate(vpn, "network", first)
    scene.not_reached(a, b.address(), "br-b")
    scene.tell("Both are in another, which has a VNI.")
    vpn = tenant.bgpvpn("br-vni", target, type="l2", vni=_VNI)
    for network in (west, east):
        tenant.associate(vpn, "network", network.id)
    scene.reached(a, b.address(), "br-b")
    _expect_vnis(scene, target, 1)


def bridged_port(scene: Scene) -> None:
    """One machine of a network is in an l2 VPN and its neighbour is not."""
    tenant, target = scene.tenant, "64512:372"
    shared, remote = (_network(scene, f"bp-{name}", 82) for name in ("shared", "remote"))
    inside, outside, far = _machines(
        scene, 82, ("bp-in", shared, "compute1"), ("bp-out", shared, "compute1"), ("bp-far", remote, "compute2")
    )
    vpn = tenant.bgpvpn("bp", target, type="l2")
    tenant.associate(vpn, "network", remote.id)
    association = tenant.associate(vpn, "port", inside.port_id)
    scene.reached(inside, far.address(), "bp-far")
    scene.reached(far, inside.address(6), "bp-in")
    _expect_announced(scene, target, [inside, far])
    scene.reached(inside, outside.address(), "bp-out, by its own network")
    scene.tell("The association ends.")
    tenant.disassociate(vpn, "port", association)
    scene.not_reached(far, inside.address(), "bp-in")
    _expect_announced(scene, target, [far])


def bridged_and_routed(scene: Scene) -> None:
    """A network is in an l2 and in an l3 VPN at once."""
    tenant, target = scene.tenant, "64512:373"
    west, east = (_network(scene, f"bb-{name}", 83) for name in ("west", "east"))
    a, b = _machines(scene, 83, ("bb-a", west, "compute1"), ("bb-b", east, "compute2"))
    vpn, routed = tenant.bgpvpn("bb-l2", target, type="l2"), tenant.bgpvpn("bb-l3", BACKBONE_TARGET)
    for network in (west, east):
        tenant.associate(vpn, "network", network.id)
    tenant.associate(routed, "network", west.id)
    for version, site in ((4, SITE), (6, SITE_6)):
        scene.reached(a, b.address(version), "bb-b, bridged")
        scene.reached(a, site, "the customer's site, routed")
        scene.reached(EDGE.site, a.address(version), "bb-a, routed")


def bridged_migration(scene: Scene) -> None:
    """A machine of an l2 VPN moves to another host while it is pinged; the old one, whose agent hangs, lets go."""
    tenant, target = scene.tenant, "64512:374"
    source, destination = scene.cloud.hosts["compute1"], scene.cloud.hosts["compute2"]
    network = _network(scene, "bm", 81)
    vm, other = _machines(scene, 81, ("bm-vm", network, source.name), ("bm-other", network, destination.name))
    tenant.associate(tenant.bgpvpn("bm", target, type="l2"), "network", network.id)
    with _leaf(target):
        scene.reached(_RACK, vm.address(), "bm-vm on compute1")
        scene.tell("From now on Neutron's agent of compute1 hangs.")
        with source.paused_agent():
            move(scene, vm, destination, _RACK)
            _expect_sequence(scene, target, vm, destination, 1)
        scene.tell("It goes on, and takes back what it has told its daemon.")
        wait_for(lambda: not _is_attached(source, vm), f"{vm.host.name} not attached to {source.name} any more", 0.1)
        for one in (_RACK, other):
            scene.reached(one, vm.address(6), "bm-vm on compute2", 3)


BRIDGED = (Scenario(bridged), Scenario(bridged_port), Scenario(bridged_and_routed), Scenario(bridged_migration))


def bridged_pair(scene: Scene, prefix: str, number: int, target: str) -> tuple[Vm, Vm]:
    """Two machines on two networks of one subnet and on two hosts, in an l2 VPN, that reach each other."""
    networks = [_network(scene, f"{prefix}-l2-{place}", number) for place in (1, 2)]
    hosts = zip(networks, scene.cloud.hosts, strict=True)
    a, b = _machines(scene, number, *((f"{network.name}", network, host) for network, host in hosts))
    vpn = scene.tenant.bgpvpn(f"{prefix}-l2", target, type="l2")
    for network in networks:
        scene.tenant.associate(vpn, "network", network.id)
    scene.reached(a, b.address(), f"{b.host.name}, bridged")
    return a, b


def _network(scene: Scene, name: str, number: int) -> Network:
    return scene.tenant.network(name, f"10.{number}.0.0/24", f"fd00:{number}::/64")


def _machines(scene: Scene, number: int, *asked: tuple[str, Network, str]) -> list[Vm]:
    """Machines with addresses of their own in the subnets that all networks of this number have."""
    made = [
        scene.tenant.vm(*one, f"10.{number}.0.{place}", f"fd00:{number}::{place}")
        for place, one in enumerate(asked, 11)
    ]
    scene.tenant.wait_active(made)
    return made


def _found(scene: Scene, target: str, pattern: str) -> set[str]:
    """What is found of a pattern in the EVPN routes that our reflector has with a route target."""
    routes = [str(one["nlri"]) for one in scene.cloud.routes_at_reflector(target) if one["family"] == "evpn"]
    return {found[1] for route in routes if (found := re.search(pattern, route))}


def _expect_vnis(scene: Scene, target: str, number: int) -> None:
    """Wait until MACs are announced with so many VNIs. Raises LabFault."""
    if scene.cloud.choice.reflector == "ours":
        wait_for(lambda: len(_found(scene, target, r"label field (\d+)")) == number, f"{number} VNIs", 0.1, 15)
        vnis = sorted(_found(scene, target, r"label field (\d+)"))
        scene.note(f"the reflector has MACs with the VNI {' and '.join(vnis)}")


def _expect_sequence(scene: Scene, target: str, vm: Vm, host: CloudHost, number: int) -> None:
    """Wait until a machine is announced by one host alone, with this number of MAC mobility. Raises LabFault."""
    if scene.cloud.choice.reflector == "ours":
        wanted = {(host.switch.address, f"mac-mobility:{number}")}
        wait_for(lambda: _mobility(scene, target, vm) == wanted, f"{vm.mac} announced as {wanted}", 0.1, 15)
        scene.note(f"the reflector has its MAC from {host.name} alone, with sequence number {number}")


def _mobility(scene: Scene, target: str, vm: Vm) -> set[tuple[str, str]]:
    found = set()
    for route in scene.cloud.routes_at_reflector(target):
        if f" mac {vm.mac} " in route["nlri"]:
            told = [one for one in route["attributes"]["extended_communities"] if one.startswith("mac-mobility")]
            found.add((route["next_hop"], *told))
    return found


def _is_attached(host: CloudHost, vm: Vm) -> bool:
    told = http_get(host.host, "/v2/attachments")
    return told is None or vm.mac in str(told)


def _expect_announced(scene: Scene, target: str, vms: Sequence[Vm]) -> None:
    """Wait until the MACs of these machines are announced, and no others. Raises LabFault."""
    if scene.cloud.choice.reflector == "ours":
        wanted = {vm.mac for vm in vms}
        wait_for(
            lambda: _found(scene, target, r"mac (\S+)") == wanted, f"the MACs {sorted(wanted)} and no others", 0.1, 15
        )
        scene.note(f"the reflector has the MACs of {', '.join(vm.host.name for vm in vms)}")


@contextmanager
def _leaf(target: str) -> Iterator[None]:
    """A node outside the cloud, with a machine behind it: ``bagpipe-bgp`` on Linux's bridge and VXLAN."""
    made = []
    try:
        for host in (_LEAF, _RACK):
            host.create()
            made.append(host)
        join(_LEAF, [f"{_LEAF_ADDRESS}/24"], FABRIC, [], names=("eth0", "leaf-u"), mtu=UNDERLAY_MTU)
        # Open vSwitch keeps the MAC of a tunnel's other end for minutes: a leaf that comes again has the same.
        _LEAF.ip("link", "set", "eth0", "address", _LEAF_MAC)
        FABRIC.ip("link", "set", "leaf-u", "master", UNDERLAY)
        join(_RACK, list(_RACK_ADDRESSES.values()), _LEAF, [], names=("eth0", "rack"))
        for host, interface in ((_LEAF, "eth0"), (_RACK, "eth0"), (_LEAF, "rack")):
            checksums_in_software(host, interface)
        _RACK.ip("link", "set", "eth0", "address", _RACK_MAC)
        start_daemon(_LEAF, _LEAF_CONF)
        attach = [*program("bagpipe"), "attach", "rack", "--type", "evpn", "--instance", "rack", "--rt", target]
        attach += ["--port", "rack", "--mac", _RACK_MAC]
        attach += [word for address in _RACK_ADDRESSES.values() for word in ("--address", address)]
        wait_for(lambda: succeeds(_LEAF, attach), f"the leaf; its log is {_LEAF.directory}/bagpipe-bgp.log", 0.2)
        yield
    finally:
        for host in made:
            host.end()
            shutil.rmtree(host.directory, ignore_errors=True)
