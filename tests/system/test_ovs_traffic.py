"""Packets between two real Open vSwitches: each encapsulation, both IP versions, one next hop and several."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from ipaddress import ip_address

import pytest

from bagpipe.dataplane.model import (
    Access,
    AccessKey,
    Classifier,
    Delivery,
    DeliveryKey,
    Encapsulation,
    Fallback,
    FallbackKey,
    ForwardKey,
    Key,
    Local,
    NextHop,
    Port,
    Ports,
    Remote,
    SourceKey,
    Steer,
    SteerKey,
    Value,
)
from bagpipe.dataplane.ovs.settings import ANY_GRE, OvsSettings
from bagpipe.identifiers import MacAddress
from tests.system.ovs_driving import Driven, driving, prefix
from tests.system.ovs_nodes import BRIDGE, GATEWAY_MAC, Node, Nodes, Vm, inside, ip

L3 = (("packet_type", "legacy_l3"),)
ANYCAST = ("10.9.9.9", "fd00:9::9")
RED, BLUE = 1, 2

# What the operator says, and whether the underlay is IPv6.
WAYS: dict[str, tuple[dict[str, object], bool]] = {
    "MPLS on Ethernet": ({"mpls_interface": "wire"}, False),
    "MPLS on Ethernet to IPv6 next hops": ({"mpls_interface": "wire"}, True),
    "MPLS in GRE": ({"mpls_interface": ANY_GRE, "tunnel_options": L3}, False),
    "MPLS in Ethernet in GRE": ({"mpls_interface": ANY_GRE}, False),
    "VXLAN": ({"vxlan_encap": True, "mpls_over_gre": False}, False),
    "MPLS in GRE on IPv6": ({"mpls_interface": ANY_GRE, "tunnel_options": L3}, True),
    "MPLS in Ethernet in GRE on IPv6": ({"mpls_interface": ANY_GRE}, True),
    "VXLAN on IPv6": ({"vxlan_encap": True, "mpls_over_gre": False}, True),
}


class Site:
    """Two nodes with their VMs: ``a`` and ``near`` in the west, ``b`` and, behind a patch port, ``c`` in the east."""

    def __init__(self, nodes: Nodes) -> None:
        self.west, self.east = nodes.west, nodes.east
        self.a = self.west.vm("a", 0x0A, ["10.0.0.1/32", "fd00:1::1/128"])
        self.near = self.west.vm("near", 0x1A, ["10.0.0.11/32", "fd00:1::11/128"])
        self.b = self.east.vm("b", 0x0B, ["10.0.0.2/32", "fd00:1::2/128", *(f"{one}" for one in ANYCAST)])
        self.c = self.east.vm("c", 0x0C, ["10.0.0.3/32", "fd00:1::3/128", *ANYCAST], vlan=5)
        self.d = self.east.vm("d", 0x0D, ["10.0.0.4/32", "fd00:1::4/128"], vlan=5)

    def node_of(self, vm: Vm) -> Node:
        return self.west if vm in (self.a, self.near) else self.east


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Nodes() as nodes:
        yield Site(nodes)


def port_of(vm: Vm) -> Port:
    return Port(vm.port, vlan=vm.vlan) if vm.vlan is None else Port(f"{vm.port}:{vm.vlan}", None, vm.port, vm.vlan)


def label_of(vm: Vm, version: int) -> int:
    return 100 + 2 * vm.mac.packed[5] + (version == 6)


def packed(text: str) -> bytes:
    return ip_address(text).packed


def settings_of(node: Node, way: str, **more: object) -> OvsSettings:
    given, six = WAYS[way]
    directory = node.ovs.directory
    return replace(
        OvsSettings(
            ip_address(node.addresses[six]),
            database=f"unix:{directory}/db.sock",
            run_directory=str(directory),
            vxlan_encap=True,
        ),
        **{"vxlan_encap": False, **given, **more},  # type: ignore[arg-type]
    )


def hop_to(site: Site, node: Node, vm: Vm, version: int, settings: OvsSettings) -> NextHop:
    """How ``node`` reaches a VM."""
    home = site.node_of(vm)
    if home is node:
        return Local(port_of(vm), vm.mac)
    address = packed(home.addresses[settings.local_address.version == 6])
    return Remote(address, label_of(vm, version), settings.encapsulations[0])


def records_of(site: Site, node: Node, settings: OvsSettings, instance: int = RED) -> dict[Key, Value]:
    """Everything that ``node`` should hold so that all VMs reach each other."""
    records: dict[Key, Value] = {}
    other = site.east if node is site.west else site.west
    records[SourceKey(packed(other.addresses[settings.local_address.version == 6]))] = True
    for vm in (site.a, site.near, site.b, site.c, site.d):
        local = site.node_of(vm) is node
        if local:
            records[AccessKey(port_of(vm))] = Access(instance, tuple(map(ip_address, ("10.255.255.1", "fd00::1"))))
        for version, address in ((4, vm.addresses[0]), (6, vm.addresses[1])):
            hop = hop_to(site, node, vm, version, settings)
            records[ForwardKey(instance, prefix(address))] = (hop,)
            if local:
                records[DeliveryKey(label_of(vm, version))] = Delivery(instance, port_of(vm), vm.mac, version)
    for version, address in ((4, ANYCAST[0]), (6, ANYCAST[1])):
        hops = tuple(hop_to(site, node, vm, version, settings) for vm in (site.b, site.c))
        records[ForwardKey(instance, prefix(address))] = hops
    return records


@contextlib.asynccontextmanager
async def both(site: Site, way: str, **more: object) -> AsyncIterator[tuple[Driven, Driven]]:
    """A driver on each node, holding all records; both leave nothing behind."""
    async with contextlib.AsyncExitStack() as held:
        driven = []
        for node in (site.west, site.east):
            settings = settings_of(node, way, **more)
            with inside(node.namespace):
                one = await held.enter_async_context(driving(settings))
            await one.want(records_of(site, node, settings))
            await one.until(lambda one=one: not one.refused, "all is programmed")  # type: ignore[misc]
            driven.append(one)
        try:
            yield driven[0], driven[1]
        finally:
            for one in driven:
                await one.driver.reset()


async def run(function: object, *arguments: object) -> object:
    return await asyncio.to_thread(function, *arguments)  # type: ignore[arg-type]


def reaches(vm: Vm, address: str) -> bool:
    """Whether an echo request is answered; the first packet to a node may be lost to the resolution of its MAC."""
    return vm.ping(address, wait=1) == 1 or vm.ping(address, wait=1) == 1


def send_datagrams(vm: Vm, address: str, count: int = 64) -> None:
    family = "AF_INET6" if ":" in address else "AF_INET"
    program = (
        "import socket\n"
        f"for _ in range({count}):\n"
        f"  with socket.socket(socket.{family}, socket.SOCK_DGRAM) as s: s.sendto(b'x', ('{address}', 9))\n"
    )
    done = vm.run("python3", "-c", program)
    assert done.returncode == 0, done.stderr


def packets_at(node: Node, text: str) -> int:
    """What the flows whose text has ``text`` have seen."""
    node.count()
    found = [re.search(r"n_packets=(\d+)", line) for line in node.flows(stats=True) if text in line]
    return sum(int(one.group(1)) for one in found if one)


@pytest.mark.parametrize("way", WAYS)
def test_packets_reach_other_nodes_by_each_encapsulation(site: Site, way: str) -> None:
    async def scenario() -> None:
        async with both(site, way) as (west, _):
            for version in (4, 6):
                # One next hop, plain and behind a VLAN; one router on the way, each way.
                for vm in (site.b, site.c):
                    address = vm.addresses[version == 6].split("/")[0]
                    assert await run(reaches, site.a, address), f"{way}: {address}"
                    assert await run(site.a.ttl_of_ping, address) == 63
                # Several next hops: both get their share.
                before = [packets_at(site.east, _label(way, vm, version)) for vm in (site.b, site.c)]
                await run(send_datagrams, site.a, ANYCAST[version == 6])
                after = [packets_at(site.east, _label(way, vm, version)) for vm in (site.b, site.c)]
                seen = [late - early for early, late in zip(before, after, strict=True)]
                assert sum(seen) >= 64 and min(seen) >= 5, (way, version, seen)
            assert await west.driver.audit(west.tracker.desired) == []

    asyncio.run(scenario())


def _label(way: str, vm: Vm, version: int) -> str:
    label = label_of(vm, version)
    return f"tun_id={label:#x}," if "VXLAN" in way else f"mpls_label={label},"


def test_endpoints_of_one_node_reach_each_other_also_behind_one_patch_port(site: Site) -> None:
    async def scenario() -> None:
        async with both(site, "MPLS in GRE"):
            for version in (4, 6):
                for one, other in ((site.a, site.near), (site.c, site.d), (site.d, site.b)):
                    address = other.addresses[version == 6].split("/")[0]
                    assert await run(one.ttl_of_ping, address) == 63, (one.name, other.name)

    asyncio.run(scenario())


def test_frames_of_one_mac_behind_a_shared_port_belong_to_a_vrf_of_their_own(site: Site) -> None:
    async def scenario() -> None:
        async with both(site, "MPLS in GRE") as (_, east):
            assert await run(reaches, site.c, "10.0.0.1") and await run(reaches, site.d, "10.0.0.1")
            own = AccessKey(replace(port_of(site.d), name="d alone", source=site.d.mac))
            await east.want({own: Access(BLUE)})
            assert not east.refused
            # d is in the other VRF, which has no route to anywhere; c is where it was.
            assert site.d.ping("10.0.0.1", wait=1) == 0
            assert await run(reaches, site.c, "10.0.0.1")
            await east.want({own: None})
            assert await run(reaches, site.d, "10.0.0.1")

    asyncio.run(scenario())


def test_another_vrf_is_another_world_and_a_packet_at_the_end_of_its_ttl_goes_no_further(site: Site) -> None:
    async def scenario() -> None:
        async with both(site, "MPLS in GRE") as (west, _):
            assert await run(reaches, site.a, "10.0.0.2")
            for six, address in ((False, "10.0.0.2"), (True, "fd00:1::2")):
                short = await run(site.a.run, "ping", "-n", "-c", "1", "-W", "1", "-t", "1", address)
                assert " 0 received" in short.stdout, (six, short.stdout)  # type: ignore[attr-defined]
            # The same endpoint in a VRF without routes.
            await west.want({AccessKey(port_of(site.a)): Access(BLUE)})
            assert await run(site.a.ping, "10.0.0.2") == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("vm_name", ["a", "c"])
def test_gateways_are_asked_for_and_answer_with_the_anycast_mac(site: Site, vm_name: str) -> None:
    vm: Vm = getattr(site, vm_name)

    async def scenario() -> None:
        async with both(site, "MPLS in GRE", arp_responder=True):
            assert await run(resolved, vm, "10.255.255.1") == GATEWAY_MAC
            assert await run(resolved, vm, "fd00::1") == GATEWAY_MAC
            assert await run(resolved, vm, "10.255.255.7") is None
        async with both(site, "MPLS in GRE", proxy_arp=True):
            assert await run(resolved, vm, "10.255.255.7") == GATEWAY_MAC
            assert await run(resolved, vm, "fd00::7") == GATEWAY_MAC
            # Nobody is told that an address is taken when it asks for its own.
            probe = await run(vm.run, "ping", "-c", "1", "-W", "1", "10.255.255.8")
            assert probe.returncode != 0  # type: ignore[attr-defined]

    asyncio.run(scenario())


def resolved(vm: Vm, address: str) -> str | None:
    """The MAC that an address answers with, asked for anew."""
    family = "-6" if ":" in address else "-4"
    ip("-n", vm.namespace, family, "route", "replace", address, "dev", "eth0")
    ip("-n", vm.namespace, "neigh", "replace", address, "lladdr", "02:00:00:00:00:99", "dev", "eth0", "nud", "stale")
    ip("-n", vm.namespace, "neigh", "del", address, "dev", "eth0")
    try:
        vm.ping(address, wait=0.5)
        found = re.search(r"lladdr ([0-9a-f:]{17})", ip("-n", vm.namespace, family, "neigh", "show", address))
        return found.group(1) if found else None
    finally:
        ip("-n", vm.namespace, family, "route", "del", address, "dev", "eth0")
        if address in ("10.255.255.1", "fd00::1"):
            entry = (address, "lladdr", GATEWAY_MAC, "dev", "eth0", "nud", "permanent")
            ip("-n", vm.namespace, "neigh", "replace", *entry)


@pytest.mark.parametrize("way", ["MPLS in GRE", "VXLAN", "VXLAN on IPv6"])
def test_packets_of_unknown_senders_are_dropped_and_counted(site: Site, way: str) -> None:
    async def scenario() -> None:
        async with both(site, way) as (west, east):
            assert await run(reaches, site.a, "10.0.0.2")
            (source,) = (key for key in east.tracker.desired if isinstance(key, SourceKey))
            dropped = packets_at(site.east, "priority=36860")
            await east.want({source: None})
            assert await run(site.a.ping, "10.0.0.2") == 0
            assert packets_at(site.east, "priority=36860") > dropped
            await east.want({source: True})
            assert await run(site.a.ping, "10.0.0.2") == 1
            del west
        async with both(site, way, known_sources_only=False) as (_, east):
            (source,) = (key for key in east.tracker.desired if isinstance(key, SourceKey))
            await east.want({source: None})
            assert await run(reaches, site.a, "10.0.0.2")

    asyncio.run(scenario())


def test_what_no_route_covers_takes_the_fallback(site: Site) -> None:
    number = int(site.west.ovs.vsctl("get", "interface", site.near.port, "ofport"))
    source = MacAddress(bytes.fromhex("020000000077"))

    async def scenario() -> None:
        async with both(site, "MPLS in GRE") as (west, _):
            ip("-n", site.near.namespace, "address", "add", "10.77.0.1/32", "dev", "eth0")
            try:
                assert await run(site.a.ping, "10.77.0.1") == 0
                await west.want({FallbackKey(RED): Fallback(source, site.near.mac, number)})
                assert await run(site.a.ping, "10.77.0.1") == 1
                # What a route covers does not.
                assert await run(reaches, site.a, "10.0.0.2")
            finally:
                ip("-n", site.near.namespace, "address", "del", "10.77.0.1/32", "dev", "eth0")

    asyncio.run(scenario())


def test_steered_packets_are_looked_up_in_another_vrf(site: Site) -> None:
    async def scenario() -> None:
        async with both(site, "MPLS in GRE") as (west, _):
            settings = settings_of(site.west, "MPLS in GRE")
            for version, target in ((4, "10.0.0.2/32"), (6, "fd00:1::2/128")):
                # The VRF that steering leads to takes everything to c.
                everywhere = prefix("0.0.0.0/0" if version == 4 else "::/0")
                key = SteerKey(RED, Classifier(version, None, prefix(target), 17, None, Ports(5000, 5010)))
                await west.want(
                    {
                        ForwardKey(BLUE, everywhere): (hop_to(site, site.west, site.c, version, settings),),
                        key: Steer(BLUE),
                    }
                )
                address = target.split("/")[0]
                assert await run(reaches, site.a, address)
                before = [packets_at(site.east, _label("MPLS", vm, version)) for vm in (site.b, site.c)]
                for port in (4999, 5000, 5007, 5010, 5011):
                    await run(send_datagram, site.a, address, port)
                after = [packets_at(site.east, _label("MPLS", vm, version)) for vm in (site.b, site.c)]
                assert [late - early for early, late in zip(before, after, strict=True)] == [2, 3]

    asyncio.run(scenario())


def send_datagram(vm: Vm, address: str, port: int) -> None:
    family = "AF_INET6" if ":" in address else "AF_INET"
    program = f"import socket; socket.socket(socket.{family}, socket.SOCK_DGRAM).sendto(b'x', ('{address}', {port}))"
    done = vm.run("python3", "-c", program)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("way", ["MPLS on Ethernet", "MPLS in GRE", "VXLAN"])
def test_a_label_of_a_vrf_leads_to_a_look_up_and_out_again_by_the_same_port(site: Site, way: str) -> None:
    hub = 900

    async def scenario() -> None:
        async with both(site, way) as (west, east):
            assert await run(reaches, site.a, "10.0.0.2")
            settings = settings_of(site.west, way)
            there = packed(site.east.addresses[0])
            back = packed(site.west.addresses[0])
            encapsulation: Encapsulation = settings.encapsulations[0]
            # a's packets to `near` go to the east first, which sends them back by a VRF of its own.
            await east.want(
                {
                    DeliveryKey(hub): Delivery(BLUE, None, None, 4),
                    ForwardKey(BLUE, prefix("10.0.0.11/32")): (Remote(back, label_of(site.near, 4), encapsulation),),
                }
            )
            await west.want({ForwardKey(RED, prefix("10.0.0.11/32")): (Remote(there, hub, encapsulation),)})
            # Request by the hub (two routers), answer directly; the TTL that is seen is the answer's.
            assert await run(site.a.ttl_of_ping, "10.0.0.11") == 63
            assert packets_at(site.east, f"reg0={BLUE:#x},nw_dst=10.0.0.11") > 0

    asyncio.run(scenario())


def test_a_vxlan_port_of_neutron_for_the_same_node_takes_no_packets_of_ours(site: Site) -> None:
    ovs = site.west.ovs

    async def scenario() -> None:
        ovs.vsctl("add-br", "br-tun", "--", "set", "bridge", "br-tun", "datapath_type=netdev", "fail_mode=secure")
        options = f"options:remote_ip={site.east.addresses[0]} options:local_ip={site.west.addresses[0]}"
        made = f"add-port br-tun vxlan-c0000202 -- set interface vxlan-c0000202 type=vxlan options:key=flow {options}"
        ovs.vsctl(*made.split())
        try:
            async with both(site, "VXLAN") as (west, _):
                # Packets of the east would land in br-tun if their labels had no port of their own.
                assert await run(reaches, site.a, "10.0.0.2")
                key = DeliveryKey(label_of(site.a, 4))
                carried = await west.driver.carried(key, west.tracker.desired[key])
                assert carried.missing == () and f"port vxlan-{key.label}" in carried.parts
                ovs.vsctl("del-port", f"vxlan-{key.label}")
                own = f"vxlan-{key.label}"
                await west.until(lambda: own in ovs.vsctl("list-ports", BRIDGE).split(), "it is made again")
                assert await run(reaches, site.a, "10.0.0.2")
            async with both(site, "VXLAN", vxlan_port=4790) as (west, _):
                assert west.driver.overview()["vxlan_beside"] == []
                assert await run(reaches, site.a, "10.0.0.2")
        finally:
            ovs.vsctl("del-br", "br-tun")

    asyncio.run(scenario())


def test_a_route_on_ethernet_waits_for_its_next_hops_mac_and_follows_it(site: Site) -> None:
    late = "192.0.2.77"
    key = ForwardKey(RED, prefix("10.0.0.77/32"))
    hops = (Remote(packed(late), 777, Encapsulation.MPLS),)

    async def scenario() -> None:
        async with both(site, "MPLS on Ethernet") as (west, _):
            await west.want({key: hops})
            assert west.refused == {str(key): f"no MAC of {late} yet"}
            ip("-n", site.east.namespace, "address", "add", f"{late}/24", "dev", BRIDGE)
            try:
                await west.until(lambda: not west.refused and not west.tracker.has_changes, "it is resolved")
                east_mac = site.east.ovs.vsctl("get", "interface", BRIDGE, "mac_in_use").strip().strip('"')
                line = next(line for line in site.west.flows() if "nw_dst=10.0.0.77 " in line)
                assert f"set_field:{east_mac}->eth_dst" in line
                carried = await west.driver.carried(key, hops)
                assert carried.neighbours == {late: east_mac} and carried.missing == ()
                # Another node takes the address over.
                entry = (late, "lladdr", "02:00:00:00:00:99", "dev", BRIDGE)
                ip("-n", site.west.namespace, "neigh", "replace", *entry)
                await west.until(
                    lambda: any("nw_dst=10.0.0.77 " in line and "00:99->eth_dst" in line for line in site.west.flows()),
                    "the new MAC is used",
                )
            finally:
                ip("-n", site.east.namespace, "address", "del", f"{late}/24", "dev", BRIDGE)

    asyncio.run(scenario())


def test_the_mtu_that_the_operator_wants_is_that_of_the_bridge_and_its_underlay(site: Site) -> None:
    async def scenario() -> None:
        async with both(site, "MPLS on Ethernet", interfaces_mtu=1900):
            assert await run(reaches, site.a, "10.0.0.2")
            for name in (BRIDGE, "wire"):
                assert "mtu 1900 " in ip("-n", site.west.namespace, "link", "show", name)

    asyncio.run(scenario())
    for node in (site.west, site.east):
        for name in (BRIDGE, "wire"):
            node.ovs.vsctl("set", "interface", name, "mtu_request=2000")
