"""The Linux dataplane of EVPN instances on a real kernel: hosts in namespaces, packets between machines included."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path

import pytest

from bagpipe.dataplane.driver import Again, Ready
from bagpipe.dataplane.linux.settings import LinuxSettings
from bagpipe.dataplane.model import Key, MacKey, Value
from bagpipe.identifiers import MacAddress
from tests.system.evpn_hosts import (
    EVI,
    VNI,
    Capture,
    Changes,
    Host,
    Site,
    a_site,
    bridge,
    elsewhere,
    flood,
    mac_of,
    play,
    plug,
    remote,
)
from tests.system.ovs_nodes import Vm


@pytest.fixture
def site() -> Iterator[Site]:
    with a_site() as made:
        yield made


def records(host: Host, here: Vm, there: Vm, other: Host, *, six: bool = False, knows: bool = True) -> dict[Key, Value]:
    """All that a host has of an instance with a machine here and one at another host."""
    hop = remote(other.addresses[six])
    addresses = there.addresses if knows else ()
    return bridge() | plug(here.port, here.mac) | elsewhere(there.mac, hop, addresses=addresses) | flood(hop)


def asks(lines: list[str]) -> list[str]:
    """The questions of ARP and ND among captured packets."""
    return [line for line in lines if "Request who-has" in line or "neighbor solicitation" in line]


@pytest.mark.parametrize("six", [False, True], ids=["IPv4", "IPv6"])
def test_machines_of_two_hosts_reach_each_other_through_vxlan(site: Site, six: bool) -> None:
    async def scene() -> None:
        a, b, _ = site.hosts
        one, two = site.machine(a, 1), site.machine(b, 2)
        async with a.driven(six=six) as at_a, b.driven(six=six) as at_b:
            assert await at_a.want(records(a, one, two, b, six=six)) == {}
            assert await at_b.want(records(b, two, one, a, six=six)) == {}
            with Capture(a.namespace, "wire0", "udp port 4789") as wire:
                assert one.ping(two.addresses[0]) == 1
                assert two.ping(one.addresses[1]) == 1
            assert any(f"vni {VNI}" in line for line in wire.lines), wire.lines

    play(scene())


def test_each_host_sends_with_the_vni_of_the_receiver(site: Site) -> None:
    async def scene() -> None:
        a, b, _ = site.hosts
        one, two = site.machine(a, 1), site.machine(b, 2)
        to_b, to_a = remote(b.addresses[0], 6000), remote(a.addresses[0], 5000)
        async with a.driven() as at_a, b.driven() as at_b:
            mine = bridge(vni=5000) | plug(one.port, one.mac) | elsewhere(two.mac, to_b) | flood(to_b)
            theirs = bridge(vni=6000) | plug(two.port, two.mac) | elsewhere(one.mac, to_a) | flood(to_a)
            assert await at_a.want(mine) == {}
            assert await at_b.want(theirs) == {}
            assert one.ping(two.addresses[0]) == 1
            assert await at_a.driver.audit(at_a.tracker.desired) == []

    play(scene())


@pytest.mark.parametrize("knows", [True, False], ids=["known", "not known"])
def test_arp_and_nd_for_known_neighbours_do_not_leave_the_host(site: Site, knows: bool) -> None:
    async def scene() -> None:
        a, b, _ = site.hosts
        one, two = site.machine(a, 1), site.machine(b, 2)
        async with a.driven() as at_a, b.driven() as at_b:
            await at_a.want(records(a, one, two, b, knows=knows))
            await at_b.want(records(b, two, one, a, knows=knows))
            with Capture(a.namespace, "wire0", "udp port 4789") as wire:
                assert one.ping(two.addresses[0]) == 1
                assert one.ping(two.addresses[1]) == 1
            questions = [line for line in asks(wire.lines) if "10.0.0." in line or "fd00::" in line]
            # What the machines' own kernels ask once in a while to see that a neighbour is still there is for one MAC.
            to_many = [line for line in questions if "ff:ff:ff:ff:ff:ff" in line or "33:33:" in line]
            assert (to_many == []) is knows

    play(scene())


def test_frames_to_many_go_to_every_node_once(site: Site) -> None:
    async def scene() -> None:
        a, b, c = site.hosts
        one = site.machine(a, 1)
        async with a.driven() as at_a:
            hops = [remote(host.addresses[0]) for host in (b, c)]
            assert await at_a.want(bridge() | plug(one.port, one.mac) | flood(*hops)) == {}

            def receivers(address: str) -> list[str]:
                """The hosts that a question for this address goes to, when it is asked once."""
                with Capture(a.namespace, "wire0", "udp port 4789") as wire:
                    one.ping(address, wait=0.2)
                outer = [line for line, inner in pairwise(wire.lines) if f"who-has {address}" in inner]
                return sorted(line.partition(" > 192.0.2.")[2].partition(".")[0] for line in outer)

            assert receivers("10.0.0.99") == ["2", "3"]
            await at_a.drop(flood(hops[1]))
            assert receivers("10.0.0.97") == ["2"]

    play(scene())


@pytest.mark.parametrize(
    ("unknown", "broadcast", "seen"),
    [("drop", "flood", "broadcast"), ("flood", "drop", "unknown"), ("drop", "drop", "")],
)
def test_what_is_to_be_dropped_does_not_leave_the_host(site: Site, unknown: str, broadcast: str, seen: str) -> None:
    async def scene() -> None:
        a, b, _ = site.hosts
        one = site.machine(a, 1)
        settings = LinuxSettings(
            ip_address(a.addresses[0]),
            unknown_unicast=unknown,  # type: ignore[arg-type]
            broadcast=broadcast,  # type: ignore[arg-type]
        )
        async with a.driven(settings=settings) as at_a:
            assert await at_a.want(bridge() | plug(one.port, one.mac) | flood(remote(b.addresses[0]))) == {}
            one.run("ip", "neigh", "replace", "10.0.0.50", "lladdr", "02:aa:aa:aa:aa:aa", "dev", "eth0")
            with Capture(a.namespace, "wire0", "udp port 4789") as wire:
                one.ping("10.0.0.50", wait=0.2)
                one.ping("10.0.0.51", wait=0.2)
            sent = "".join(wire.lines)
            assert ("02:aa:aa:aa:aa:aa" in sent) is (seen == "unknown")
            assert ("10.0.0.51" in sent) is (seen == "broadcast")
            assert await at_a.driver.audit(at_a.tracker.desired) == []

    play(scene())


def test_a_machine_that_moves_to_another_host_is_reached_there_and_nowhere_else(site: Site) -> None:
    async def scene() -> None:
        a, b, _ = site.hosts
        one, moving, moved = site.machine(a, 1), site.machine(a, 2), site.machine(b, 2)
        to_b, to_a = remote(b.addresses[0]), remote(a.addresses[0])
        async with a.driven() as at_a, b.driven() as at_b:
            await at_a.want(bridge() | plug(one.port, one.mac) | plug(moving.port, moving.mac) | flood(to_b))
            await at_b.want(
                bridge()
                | plug(moved.port)
                | elsewhere(one.mac, to_a, addresses=one.addresses)
                | elsewhere(moving.mac, to_a)
                | flood(to_a)
            )
            assert one.ping("10.0.0.2") == 1
            a.ip("link", "set", moving.port, "down")
            assert await at_b.want(plug(moved.port, moved.mac)) == {}
            assert await at_a.want(elsewhere(moving.mac, to_b, addresses=moved.addresses)) == {}
            assert one.ping("10.0.0.2") == 1
            assert await at_a.driver.audit(at_a.tracker.desired) == []
            assert await at_b.driver.audit(at_b.tracker.desired) == []
            # And back.
            a.ip("link", "set", moving.port, "up")
            assert await at_a.want(plug(moving.port, moving.mac)) == {}
            assert await at_b.want(elsewhere(moving.mac, to_a)) == {}
            assert one.ping("10.0.0.2") == 1
            assert await at_a.driver.audit(at_a.tracker.desired) == []
            assert not [line for line in a.fdb(str(moving.mac)) if "self" in line]

    play(scene())


@pytest.mark.parametrize("six", [False, True], ids=["IPv4", "IPv6"])
def test_a_mac_at_several_nodes_shares_its_traffic_among_them(site: Site, six: bool) -> None:
    async def scene() -> None:
        a, b, c = site.hosts
        one = site.machine(a, 1)
        both = [remote(host.addresses[six]) for host in (b, c)]
        async with a.driven(six=six) as at_a:
            many = elsewhere(mac_of(2), *both, addresses=["10.0.0.2"]) | elsewhere(mac_of(3), *reversed(both))
            assert await at_a.want(bridge() | plug(one.port, one.mac) | many) == {}
            program = (
                "import socket\n"
                "for n in range(64):\n"
                "    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b'x', ('10.0.0.2', 1000 + n))\n"
            )
            with Capture(a.namespace, "wire0", "udp port 4789") as wire:
                one.run("python3", "-c", program)
            sent = "".join(wire.lines)
            assert f"> {b.addresses[six]}.4789" in sent
            assert f"> {c.addresses[six]}.4789" in sent
            # Two MACs, one group of two nodes.
            assert len(a.ip("nexthop", "show").splitlines()) == 3
            assert await at_a.driver.audit(at_a.tracker.desired) == []
            assert await at_a.want(elsewhere(mac_of(2), both[0])) == {}
            assert any(f"dst {b.addresses[six]}" in line for line in a.fdb(str(mac_of(2))))
            assert await at_a.want(elsewhere(mac_of(2), *both)) == {}
            assert await at_a.driver.audit(at_a.tracker.desired) == []
            assert await at_a.drop(elsewhere(mac_of(2)) | elsewhere(mac_of(3))) == {}
            assert a.ip("nexthop", "show") == ""

    play(scene())


def test_nodes_with_different_vnis_cannot_share_and_that_is_told(site: Site) -> None:
    async def scene() -> None:
        a, b, c = site.hosts
        hops = remote(b.addresses[0]), remote(c.addresses[0], 6000)
        async with a.driven() as at_a:
            wanted = elsewhere(mac_of(2), *hops)
            assert await at_a.want(bridge() | wanted) == {}
            [(key, value)] = wanted.items()
            carried = await at_a.driver.carried(key, value)
            assert any("192.0.2.2" in part for part in carried.parts), carried
            assert carried.missing == ("1 of its nodes get no share of the traffic: the VNIs of its nodes differ",)

    play(scene())


def test_a_port_that_is_not_there_is_refused_and_plugged_as_soon_as_it_comes(site: Site) -> None:
    async def scene() -> None:
        a, _, _ = site.hosts
        async with a.driven() as at_a:
            wanted = plug("later", mac_of(1))
            refused = await at_a.want(bridge() | wanted)
            assert set(refused.values()) == {"interface later does not exist"}
            a.ip("link", "add", "later", "type", "veth", "peer", "name", "other")
            seconds = await at_a.until(lambda: all(map(at_a.tracker.in_effect, wanted)), "the port is plugged", 1)
            assert seconds < 0.8, "it was the next try that plugged it"
            assert any("dev later" in line and "static" in line for line in a.fdb(str(mac_of(1))))
            a.ip("link", "del", "later")
            await at_a.until(lambda: set(map(str, at_a.tracker.refused)) == set(map(str, wanted)), "it is missed", 1)

    play(scene())


def test_what_others_take_away_comes_back(site: Site) -> None:
    async def scene() -> None:
        a, b, c = site.hosts
        one = site.machine(a, 1)
        both = [remote(host.addresses[0]) for host in (b, c)]
        async with a.driven() as at_a:
            wanted = bridge() | plug(one.port, one.mac) | flood(*both) | elsewhere(mac_of(3), *both)
            wanted |= elsewhere(mac_of(2), both[0], addresses=["10.0.0.2", "fd00::2"])
            assert await at_a.want(wanted) == {}
            [made], [tunnel] = a.links("bridge"), a.links("vxlan")

            async def put_right(*command: str) -> None:
                a.run(*command)
                assert await at_a.driver.audit(at_a.tracker.desired) != [], command
                await asyncio.sleep(0.2)
                await at_a.until(lambda: all(map(at_a.tracker.in_effect, wanted)), f"put right after {command}", 1)
                assert await at_a.driver.audit(at_a.tracker.desired) == [], command

            await put_right("ip", "link", "del", made)
            await put_right("ip", "link", "del", tunnel)
            await put_right("ip", "link", "set", tunnel, "nomaster")
            await put_right("ip", "link", "set", tunnel, "down")
            await put_right("ip", "link", "set", made, "down")
            await put_right("ip", "link", "set", tunnel, "mtu", "1400")
            await put_right("bridge", "link", "set", "dev", tunnel, "neigh_suppress", "off")
            await put_right("ip", "link", "set", one.port, "nomaster")
            await put_right("bridge", "fdb", "del", str(one.mac), "dev", one.port, "master")
            await put_right("bridge", "fdb", "del", str(mac_of(2)), "dev", tunnel, "self")
            await put_right("bridge", "fdb", "del", str(mac_of(2)), "dev", tunnel, "master")
            await put_right("bridge", "fdb", "del", "00:00:00:00:00:00", "dev", tunnel, "dst", "192.0.2.3", "self")
            await put_right("ip", "neigh", "del", "10.0.0.2", "dev", made)
            await put_right("ip", "neigh", "del", "fd00::2", "dev", made)
            await put_right("ip", "nexthop", "flush")

    play(scene())


def test_a_restart_touches_nothing(site: Site) -> None:
    async def scene() -> None:
        a, b, c = site.hosts
        one = site.machine(a, 1)
        both = [remote(host.addresses[0]) for host in (b, c)]
        wanted = bridge() | plug(one.port, one.mac) | flood(*both) | elsewhere(mac_of(3), *both)
        wanted |= elsewhere(mac_of(2), both[0], addresses=["10.0.0.2", "fd00::2"])
        async with a.driven() as at_a:
            assert await at_a.want(wanted) == {}
            # The kernel finds out by itself, within a second, that a bridge whose ports are up is up.
            await at_a.until(lambda: "state UP" in a.ip("link", "show", a.links("bridge")[0]), "the bridge is up")
        before = a.fdb(), a.ip("nexthop", "show")
        with Changes(a.namespace) as changes:
            async with a.driven(wanted) as at_a:
                await at_a.until(lambda: at_a.programmer.swept, "leftovers are swept")
                await asyncio.sleep(0.3)
                assert await at_a.driver.audit(at_a.tracker.desired) == []
        assert [line for line in changes.lines if "dev wire0" not in line] == []
        assert (a.fdb(), a.ip("nexthop", "show")) == before

    play(scene())


def test_a_restart_costs_no_packet(site: Site) -> None:
    async def scene() -> None:
        a, b, _ = site.hosts
        one, two = site.machine(a, 1), site.machine(b, 2)
        async with a.driven() as at_a, b.driven() as at_b:
            await at_a.want(records(a, one, two, b))
            await at_b.want(records(b, two, one, a))
        assert one.ping(two.addresses[0]) == 1
        pinging = asyncio.create_task(asyncio.to_thread(one.ping, two.addresses[0], count=100))
        async with a.driven(sweeps=False) as at_a, b.driven(sweeps=False) as at_b:
            await at_a.want(records(a, one, two, b))
            await at_b.want(records(b, two, one, a))
            assert await pinging == 100

    play(scene())


def test_what_is_left_over_goes_with_the_sweep_and_not_before(site: Site) -> None:
    async def scene() -> None:
        a, b, c = site.hosts
        one, two = site.machine(a, 1), site.machine(a, 2)
        both = [remote(host.addresses[0]) for host in (b, c)]
        red = bridge(evi=8, vni=8000, name="red") | plug(two.port, two.mac, evi=8)
        kept = bridge() | plug(one.port, one.mac) | flood(both[0]) | elsewhere(mac_of(5), both[0])
        gone = flood(both[1]) | elsewhere(mac_of(6), both[0], addresses=["10.0.0.6"]) | elsewhere(mac_of(7), *both)
        three = site.machine(a, 3)
        async with a.driven() as at_a:
            assert await at_a.want(red | kept | gone | plug(three.port, mac_of(9))) == {}
        async with a.driven(sweeps=False) as at_a:
            assert await at_a.want(kept) == {}
            assert len(a.links("vxlan")) == 2
            assert a.fdb(str(mac_of(6)))
            # An entry for several nodes is in the place of one for one node.
            assert await at_a.want(elsewhere(mac_of(7), both[0])) == {}
            at_a.programmer.sweep_when_ready()
            await at_a.until(lambda: at_a.programmer.swept, "leftovers are swept")
            assert len(a.links("vxlan")) == len(a.links("bridge")) == 1
            assert not a.fdb(str(mac_of(6)))
            assert not a.fdb(str(mac_of(9)))
            assert "10.0.0.6" not in a.ip("neigh", "show")
            assert "192.0.2.3" not in "".join(a.fdb("self"))
            assert a.ip("nexthop", "show") == ""
            assert "master" not in a.ip("link", "show", two.port)
            assert "master" not in a.ip("link", "show", three.port)
            assert await at_a.driver.audit(at_a.tracker.desired) == []

    play(scene())


def test_ten_thousand_macs_are_programmed_and_taken_and_the_loop_lives(site: Site) -> None:
    async def scene() -> None:
        a, b, _ = site.hosts
        hop = remote(b.addresses[0])
        many: dict[Key, Value] = {}
        for number in range(10_000):
            mac = MacAddress(bytes((2, 1)) + number.to_bytes(4))
            many |= elsewhere(mac, hop, addresses=[str(ip_address(0x0A000000 + number))])
        async with a.driven() as at_a:
            assert await at_a.want(bridge()) == {}
            assert await at_a.want(many, seconds=30) == {}
            assert len(a.fdb("192.0.2.2")) == 10_000
            assert await at_a.driver.audit(at_a.tracker.desired) == []
            told = [event for event in at_a.said if isinstance(event, Again)]
            assert await at_a.drop(many) == {}
            await asyncio.sleep(0.2)
            assert [event for event in at_a.said if isinstance(event, Again)] == told == []
            assert a.fdb("192.0.2.2") == []

    play(scene())


def test_news_that_the_kernel_had_no_room_for_is_made_good(site: Site, tmp_path: Path) -> None:
    async def scene() -> None:
        a, b, _ = site.hosts
        wanted = bridge() | elsewhere(mac_of(9), remote(b.addresses[0]))
        batch = tmp_path / "batch"
        async with a.driven() as at_a:
            assert await at_a.want(wanted) == {}
            [tunnel] = a.links("vxlan")
            lines = [
                f"fdb add 02:99:00:00:{n >> 8:02x}:{n & 255:02x} dev {tunnel} dst 192.0.2.9" for n in range(30_000)
            ]
            batch.write_text("\n".join(lines))
            # The loop stands still meanwhile.
            a.run("bridge", "-batch", str(batch))
            a.run("bridge", "fdb", "del", str(mac_of(9)), "dev", tunnel, "self")
            await at_a.until(lambda: any(isinstance(event, Ready) for event in at_a.said[1:]), "all is read again")
            await at_a.until(lambda: all(map(at_a.tracker.in_effect, wanted)), "all is back")
            assert await at_a.driver.audit(at_a.tracker.desired) == []

    play(scene())


def test_what_carries_a_record_is_told_and_what_is_missing(site: Site) -> None:
    async def scene() -> None:
        a, b, c = site.hosts
        one, two = site.machine(a, 1), site.machine(b, 2)
        wanted = records(a, one, two, b) | elsewhere(mac_of(5), *[remote(host.addresses[0]) for host in (b, c)])
        async with a.driven() as at_a:
            assert await at_a.want(wanted) == {}
            one.ping(two.addresses[0], wait=0.1)
            told = {str(key): await at_a.driver.carried(key, value) for key, value in wanted.items()}
            assert all(carried.missing == () and carried.parts for carried in told.values()), told
            assert told["bridge of EVI 7"].counters["packets_out"] > 0
            assert "192.0.2.2" in told[f"MAC {two.mac} of EVI 7"].parts[1]
            assert "192.0.2.2, 192.0.2.3" in told[f"MAC {mac_of(5)} of EVI 7"].parts[2]
            other = MacKey(EVI, mac_of(77).packed)
            assert (await at_a.driver.carried(other, (remote("192.0.2.2"),))).missing == (f"{other}: missing",)
            shown = at_a.driver.overview()
            assert shown["ready"] is True
            assert shown["instances"] == {
                "blue": {
                    "vni": VNI,
                    "bridge": a.links("bridge")[0],
                    "bridge_is_given": False,
                    "vxlan": a.links("vxlan")[0],
                    "vxlan_is_of_others": False,
                    "why_not": None,
                    "records": len(wanted) - 1,
                }
            }

    play(scene())
