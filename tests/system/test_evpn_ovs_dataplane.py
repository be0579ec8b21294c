"""EVPN on Open vSwitch with packets: two nodes, beside Neutron's flows and on bridges of the driver's own."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from ipaddress import ip_address

import pytest

from bagpipe.dataplane.model import (
    Access,
    AccessKey,
    Bridge,
    BridgeKey,
    Delivery,
    DeliveryKey,
    Encapsulation,
    ForwardKey,
    Key,
    MacKey,
    Plug,
    PlugKey,
    Port,
    Remote,
    SourceKey,
    Value,
)
from bagpipe.dataplane.ovs.settings import OvsSettings
from tests.system.evpn_nodes import (
    EVI,
    Member,
    Wiretap,
    add_neutron,
    driving,
    dump,
    flows_of_others,
    forget_neighbours,
    is_question,
    of_others,
    on_loop,
    our_flows,
    reaches,
    remote,
    send,
)
from tests.system.ovs_driving import Driven, prefix
from tests.system.ovs_driving import driving as driving_vpns
from tests.system.ovs_nodes import Nodes, Vm

A, A2, B, B2 = (f"192.168.9.{number}" for number in (1, 11, 2, 12))
A6, B6 = "fd00:9::1", "fd00:9::2"
UNKNOWN = bytes.fromhex("020000000099")


@dataclass(frozen=True, slots=True)
class Site:
    """Machines ``a`` and ``a2`` in the west, ``b`` and ``b2`` in the east; beside Neutron the VLANs differ."""

    west: Member
    east: Member
    a: Vm
    a2: Vm
    b: Vm
    b2: Vm

    def wanted(self, *, neighbours: bool = True, which: int = 0) -> tuple[dict[Key, Value], dict[Key, Value]]:
        """All records of the west and of the east."""
        here = self.west.records(self.a, self.a2) | of_others(
            self.east, self.b, self.b2, neighbours=neighbours, which=which
        )
        there = self.east.records(self.b, self.b2) | of_others(
            self.west, self.a, self.a2, neighbours=neighbours, which=which
        )
        return here, there

    @contextlib.asynccontextmanager
    async def joined(self, **more: object) -> AsyncIterator[tuple[Driven, Driven]]:
        """Drivers on both nodes that have swept what an earlier test left."""
        west, east = self.west.settings(**more), self.east.settings(**more)  # type: ignore[arg-type]
        async with driving(west, sweeps=True) as one, driving(east, sweeps=True) as other:
            yield one, other


@pytest.fixture(scope="module", params=["neutron", "own"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with Nodes() as nodes:
        west, east = Member(nodes.west, request.param, 5), Member(nodes.east, request.param, 7)
        if request.param == "neutron":
            add_neutron(nodes.west)
            add_neutron(nodes.east, arp_responder=False)
        yield Site(
            west,
            east,
            west.machine("a", 0x0A, [f"{A}/24", f"{A6}/64"]),
            west.machine("a2", 0x1A, [f"{A2}/24"]),
            east.machine("b", 0x0B, [f"{B}/24", f"{B6}/64"]),
            east.machine("b2", 0x1B, [f"{B2}/24"]),
        )


def broadcast(vm: Vm, mark: bytes) -> bytes:
    """A frame from a machine to all, of an ethertype for experiments (IEEE 802 local), with a mark in it."""
    return b"\xff" * 6 + vm.mac.packed + b"\x88\xb5" + mark.ljust(46, b"\0")


def heard(tap: Wiretap, mark: bytes, seconds: float = 1.0) -> int:
    """How many frames with a mark were heard, after a while in which more might have come."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.05)
    return sum(mark in frame for frame in tap.frames)


@pytest.mark.parametrize("which", [0, 1], ids=["IPv4 underlay", "IPv6 underlay"])
@on_loop
async def test_machines_of_two_nodes_reach_each_other_and_their_questions_are_answered_at_home(
    site: Site, which: int
) -> None:
    here, there = site.wanted(which=which)
    async with site.joined(which=which) as (west, east):
        # given all records, all in effect
        await west.want(here)
        await east.want(there)
        assert west.refused == east.refused == {}

        # when everybody asks everybody for the first time, then all are reached
        forget_neighbours(site.a, site.a2, site.b, site.b2)
        with Wiretap(site.west.node.namespace, "wire") as wire:
            for vm, address in ((site.a, B), (site.a, B6), (site.b, A), (site.b, A6), (site.a2, B2), (site.b2, A)):
                assert await asyncio.to_thread(reaches, vm, address), f"{vm.name} to {address}"
            # and no question has crossed the wire, though other frames have
            assert wire.tunnelled
            assert [frame.hex() for frame in wire.tunnelled if is_question(frame)] == []

        # and machines of one node reach each other
        assert await asyncio.to_thread(reaches, site.a, A2)
        # and what is programmed is what should be
        assert await west.driver.audit(west.tracker.desired) == []
        assert await east.driver.audit(east.tracker.desired) == []


@on_loop
async def test_what_is_for_many_reaches_everybody_once(site: Site) -> None:
    here, there = site.wanted(neighbours=False)
    async with site.joined() as (west, east):
        await west.want(here)
        await east.want(there)

        # given nobody's addresses are known, when machines ask, then the questions are flooded and answered
        forget_neighbours(site.a, site.b)
        assert await asyncio.to_thread(reaches, site.a, B)
        assert await asyncio.to_thread(reaches, site.b, A6)

        # when a machine sends to all, then each of the others hears it once, and it itself does not
        with contextlib.ExitStack() as held:
            taps = {vm.name: held.enter_context(Wiretap(vm.namespace, "eth0")) for vm in (site.a2, site.b, site.b2)}
            wire = held.enter_context(Wiretap(site.west.node.namespace, "wire"))
            send(site.a, broadcast(site.a, b"to all"))
            counts = await asyncio.to_thread(lambda: {name: heard(tap, b"to all", 0.5) for name, tap in taps.items()})
            assert counts == {"a2": 1, "b": 1, "b2": 1}
            assert sum(b"to all" in frame for frame in wire.tunnelled) == 1

            # and so it is with a MAC that nobody knows
            send(site.a, UNKNOWN + broadcast(site.a, b"to someone")[6:])
            counts = await asyncio.to_thread(
                lambda: {name: heard(tap, b"to someone", 0.5) for name, tap in taps.items()}
            )
            assert counts == {"a2": 1, "b": 1, "b2": 1}


@on_loop
async def test_what_is_not_to_be_flooded_is_not(site: Site) -> None:
    here, there = site.wanted()
    async with site.joined(unknown_unicast="drop") as (west, east):
        await west.want(here)
        await east.want(there)
        with Wiretap(site.west.node.namespace, "wire") as wire:
            send(site.a, UNKNOWN + broadcast(site.a, b"to someone")[6:])
            send(site.a, broadcast(site.a, b"to all"))
            await asyncio.to_thread(heard, wire, b"to all", 0.5)
            assert [b"to someone" in frame for frame in wire.tunnelled if b"to " in frame] == [False]
        assert await asyncio.to_thread(reaches, site.a, B)
    async with site.joined(broadcast="drop") as (west, east):
        await west.want(here)
        await east.want(there)
        with Wiretap(site.west.node.namespace, "wire") as wire:
            send(site.a, broadcast(site.a, b"to all"))
            send(site.a, UNKNOWN + broadcast(site.a, b"to someone")[6:])
            await asyncio.to_thread(heard, wire, b"to someone", 0.5)
            assert [b"to all" in frame for frame in wire.tunnelled if b"to " in frame] == [False]
        # and who is known is reached, since questions are answered
        forget_neighbours(site.a, site.b)
        assert await asyncio.to_thread(reaches, site.a, B)


@on_loop
async def test_a_segment_of_several_nodes_hears_many_by_its_designated_node_alone(site: Site) -> None:
    here, there = site.wanted()
    plugs = [key for key in there if isinstance(key, PlugKey)]
    west_address = remote(site.west.node).address
    async with site.joined() as (west, east):
        await west.want(here)
        for plug in (Plug(EVI, designated=False), Plug(EVI, shielded=(west_address,))):
            # given a node that is not designated, or a sender that is on the segment itself
            await east.want(there | dict.fromkeys(plugs, plug))
            assert east.refused == {}
            # then frames to all do not come out there, and those to a machine do
            with Wiretap(site.b.namespace, "eth0") as tap:
                send(site.a, broadcast(site.a, b"hidden"))
                assert await asyncio.to_thread(heard, tap, b"hidden", 0.4) == 0
                assert await asyncio.to_thread(reaches, site.a, B)
        # and when it is designated, then they do
        await east.want(there)
        with Wiretap(site.b.namespace, "eth0") as tap:
            send(site.a, broadcast(site.a, b"open"))
            assert await asyncio.to_thread(heard, tap, b"open", 0.4) == 1


@on_loop
async def test_a_machine_that_moves_is_followed_by_its_records(site: Site) -> None:
    here, there = site.wanted(neighbours=False)
    key = MacKey(EVI, site.b2.mac.packed)
    async with site.joined() as (west, east):
        await west.want(here)
        await east.want(there)
        assert await asyncio.to_thread(reaches, site.a, B2)

        # when the MAC of b2 is said to be elsewhere, then frames go there
        other = Remote(ip_address("192.0.2.77").packed, 9, Encapsulation.VXLAN)
        await west.want({key: (other,)})
        assert west.refused == {}
        carried = await west.driver.carried(key, (other,))
        assert carried.missing == () and "set_field:0x9->tun_id" in carried.parts[0]
        await west.until(lambda: site.a.ping(B2, wait=0.3) == 0, "the datapath has heard of it")

        # when it comes back, or is on this node in between, then nothing of it is left
        await west.want({key: here[MacKey(EVI, site.a.mac.packed)]})
        await west.want({key: (remote(site.east.node),)})
        assert await asyncio.to_thread(reaches, site.a, B2)
        assert await west.driver.audit(west.tracker.desired) == []


def routed(vm: Vm, other: Vm, label: int, far: str, far_label: int) -> dict[Key, Value]:
    """The records of an IP VPN with one machine here and one on the node ``far``."""
    there, hop = other.addresses[0], Remote(ip_address(far).packed, far_label, Encapsulation.VXLAN)
    return {
        AccessKey(Port(vm.port)): Access(1),
        DeliveryKey(label): Delivery(1, Port(vm.port), vm.mac),
        ForwardKey(1, prefix(there)): (hop,),
        SourceKey(hop.address): True,
    }


@on_loop
async def test_evpn_and_ip_vpns_by_vxlan_share_address_and_udp_port(site: Site) -> None:
    # given IP VPNs by VXLAN on br-mpls, with one machine on each node
    nodes = site.west.node, site.east.node
    c, d = nodes[0].vm("c", 0x0C, ["10.0.0.1/32"]), nodes[1].vm("d", 0x0D, ["10.0.0.2/32"])
    here, there = site.wanted()
    async with contextlib.AsyncExitStack() as held:
        planes = []
        for node in nodes:
            directory, local = node.ovs.directory, ip_address(node.addresses[0])
            database = f"unix:{directory}/db.sock"
            settings = OvsSettings(local, "br-mpls", database, str(directory), vxlan_encap=True, mpls_over_gre=False)
            planes.append(await held.enter_async_context(driving_vpns(settings)))
        await planes[0].want(routed(c, d, 600_001, nodes[1].addresses[0], 600_002))
        await planes[1].want(routed(d, c, 600_002, nodes[0].addresses[0], 600_001))
        assert await asyncio.to_thread(reaches, c, "10.0.0.2")

        # when EVPN comes with the same addresses and UDP port, then both pass
        west, east = await held.enter_async_context(site.joined())
        await west.want(here)
        await east.want(there)
        for plane in planes:
            await plane.settle()
            assert plane.refused == {}
        assert west.refused == east.refused == {}
        forget_neighbours(site.a, site.b)
        for _ in range(2):
            assert await asyncio.to_thread(reaches, site.a, B)
            assert await asyncio.to_thread(reaches, site.b, A6)
            assert await asyncio.to_thread(reaches, c, "10.0.0.2")
            assert await asyncio.to_thread(reaches, d, "10.0.0.1")
        # and a VNI that is a label with a port of its own is refused
        if site.west.mode == "neutron":
            await west.want({BridgeKey(EVI): Bridge("net", 600_001)})
            assert "VNI 600001 is taken away by vxlan-600001 of br-mpls" in west.refused.values()
        for plane in planes:
            await plane.driver.reset()


def durations(member: Member) -> dict[str, float]:
    """The age of each of our flows, by its table, priority and match."""
    found = {}
    for line in member.node.ovs.run(
        "ovs-ofctl", "-O", "OpenFlow15", "dump-flows", member.node.ovs.target(member.bridge)
    ).splitlines():
        if age := re.search(r"cookie=0xba6e000000000000, duration=([\d.]+)s,", line):
            stats = re.sub(r"(duration|n_packets|n_bytes|idle_age|hard_age)=[^,]*, ?", "", line)
            found[stats.strip()] = float(age[1])
    return found


@on_loop
async def test_a_restart_touches_nothing_that_is_right_and_removes_what_is_left_over(site: Site) -> None:
    here, there = site.wanted()
    lonely = MacKey(EVI, UNKNOWN)
    async with site.joined() as (west, east):
        await west.want(here | {lonely: (remote(site.east.node),)})
        await east.want(there)
        assert await asyncio.to_thread(reaches, site.a, B)
    before = await asyncio.to_thread(durations, site.west)
    assert any(UNKNOWN.hex(":") in flow for flow in before)
    await asyncio.sleep(1)

    # while nobody is there, traffic goes on
    forget_neighbours(site.a, site.b)
    assert await asyncio.to_thread(reaches, site.a, B)

    # when a new process comes with the same records but for one
    async with driving(site.west.settings(), ready=False) as west:
        for key, value in here.items():
            west.tracker.set(key, value)
        await west.until(lambda: west.is_ready and not west.tracker.has_changes, "adopted")
        # then it has touched no flow, and removed none
        after = await asyncio.to_thread(durations, site.west)
        assert after.keys() == before.keys()
        assert [flow for flow, age in before.items() if after[flow] < age + 1] == []
        # and once it may, it removes the one that is not wanted any more, and touches no other
        assert await west.driver.adopt(dict(west.tracker.desired), sweep=True) == {}
        swept = await asyncio.to_thread(durations, site.west)
        assert [flow for flow in before if flow not in swept] == [flow for flow in before if UNKNOWN.hex(":") in flow]
        assert all(age >= after[flow] for flow, age in swept.items())
        assert await asyncio.to_thread(reaches, site.a, B)


@on_loop
async def test_flows_that_others_delete_come_back(site: Site) -> None:
    here, there = site.wanted()
    async with site.joined() as (west, east):
        await west.want(here)
        await east.want(there)
        assert await asyncio.to_thread(reaches, site.a, B)
        ours = our_flows(site.west.node.ovs, site.west.bridge)
        assert ours

        # when all flows of ours are deleted, then they are put back
        site.west.node.ovs.ofctl("del-flows", site.west.bridge, "cookie=0xba6e000000000000/-1")

        await west.until(lambda: our_flows(site.west.node.ovs, site.west.bridge) == ours, "the flows are back")
        assert await asyncio.to_thread(reaches, site.a, B)


@on_loop
async def test_a_reset_leaves_nothing_of_ours_and_all_of_others(site: Site) -> None:
    here, _ = site.wanted()
    async with driving(site.west.settings(), sweeps=True) as west:
        before_ports = site.west.node.ovs.vsctl("list-ports", site.west.bridge).split()
        others = flows_of_others(site.west.node.ovs, site.west.bridge)
        await west.want(here)
        assert west.refused == {}
        assert await west.driver.reset() > 0
    if site.west.mode == "own":
        assert site.west.bridge not in site.west.node.ovs.vsctl("list-br").split()
    else:
        assert dump(site.west.node.ovs, site.west.bridge) == others
        assert site.west.node.ovs.vsctl("list-ports", site.west.bridge).split() == before_ports
