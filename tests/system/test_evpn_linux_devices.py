"""The devices of the Linux dataplane of EVPN instances: its own, those of others, and what is in the way of them."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from bagpipe.dataplane.model import Key, Plug, PlugKey, Port, Value
from tests.system.evpn_hosts import (
    EVI,
    VNI,
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
from tests.system.ovs_nodes import inside


@pytest.fixture
def site() -> Iterator[Site]:
    with a_site() as made:
        yield made


def test_a_reset_leaves_nothing_of_ours_and_all_that_is_of_others(site: Site) -> None:
    async def scene() -> None:
        a, b, c = site.hosts
        one = site.machine(a, 1)
        given(a)
        before = state(a)
        both = [remote(host.addresses[0]) for host in (b, c)]
        lent = bridge("brq1", vni=6000, evi=8, name="lent") | plug("tap-given", mac_of(4), evi=8)
        lent |= elsewhere(mac_of(9), remote(b.addresses[0], 6000), addresses=["10.0.0.9"], evi=8)
        async with a.driven() as at_a:
            wanted = bridge() | plug(one.port, one.mac) | flood(*both) | elsewhere(mac_of(3), *both)
            assert await at_a.want(wanted | lent | elsewhere(mac_of(2), both[0], addresses=["10.0.0.2"])) == {}
            assert state(a) != before
            assert await at_a.driver.reset() > 0
            assert state(a) == before

    play(scene())


def given(host: Host, *, options: str = "") -> None:
    """A bridge with a VXLAN device and a port, as Neutron's Linux bridge agent makes them."""
    host.ip("link", "add", "brq1", "type", "bridge")
    vxlan = ["type", "vxlan", "id", "6000", "local", host.addresses[0], "dstport", "4789", "nolearning"]
    host.ip("link", "add", "vxlan-6000", *vxlan, *options.split())
    host.ip("link", "add", "tap-given", "type", "veth", "peer", "name", "its-machine")
    for name in ("vxlan-6000", "tap-given"):
        host.ip("link", "set", name, "master", "brq1")
    for name in ("brq1", "vxlan-6000", "tap-given", "its-machine"):
        host.ip("link", "set", name, "up")
    host.run("bridge", "fdb", "append", "00:00:00:00:00:00", "dev", "vxlan-6000", "dst", "192.0.2.77")
    host.run("bridge", "fdb", "append", "02:77:00:00:00:00", "dev", "vxlan-6000", "dst", "192.0.2.77")


def state(host: Host) -> list[str]:
    """The names of bridges and tunnels, what is on them, and the next hops."""
    made = (" self", " static", " permanent", " extern_learn")
    found = [line for line in host.fdb() if any(mark in line for mark in made)]
    found += host.ip("-o", "neigh", "show", "nud", "permanent").splitlines()
    found += host.ip("nexthop", "show").splitlines()
    for kind in ("bridge", "vxlan", "veth"):
        for line in host.ip("-o", "link", "show", "type", kind).splitlines():
            found.append(line.split(": ")[1] + " on " + line.partition(" master ")[2].partition(" ")[0])
            found.append("altname" + line.partition("altname")[2])
    return sorted(line for line in found if "wire0" not in line)


def test_the_bridge_and_the_vxlan_device_of_others_are_used_and_stay(site: Site) -> None:
    async def scene() -> None:
        a, b, _ = site.hosts
        given(a)
        before = state(a)
        to_b = remote(b.addresses[0], 6000)
        lent = bridge("brq1", vni=6000) | plug("tap-given", mac_of(4)) | flood(to_b)
        lent |= elsewhere(mac_of(9), to_b, addresses=["10.0.0.9"])
        tunnel = "vxlan-6000"
        async with a.driven() as at_a:
            assert await at_a.want(lent) == {}
            assert a.links("vxlan") == [tunnel]
            assert any("192.0.2.2" in line for line in a.fdb(str(mac_of(9))))
            assert any("tap-given" in line and "sticky" in line for line in a.fdb(str(mac_of(4))))
            assert await at_a.driver.audit(at_a.tracker.desired) == []
            others = [
                str(one.where["mac"]) for one in await at_a.driver.foreign(lent) if one.where["interface"] == tunnel
            ]
            assert sorted(others) == ["00:00:00:00:00:00", "02:77:00:00:00:00"]
            asked = await at_a.driver.foreign(elsewhere(mac_of(9), to_b), ip_address("10.0.0.9"))
            assert {one.where["mac"] for one in asked} == {"00:00:00:00:00:00"}
            [neighbour] = [(key, value) for key, value in lent.items() if "neighbour" in str(key)]
            assert "vxlan-6000" in (await at_a.driver.carried(*neighbour)).missing[0]
        # What was left by a process that did not live to take it away goes with the next sweep.
        async with a.driven() as at_a:
            await at_a.until(lambda: at_a.programmer.swept, "leftovers are swept")
            left = [line for line in state(a) if line not in before]
            assert left == ["00:00:00:00:00:00 dev vxlan-6000 dst 192.0.2.2 self permanent"]
        async with a.driven() as at_a:
            assert await at_a.want(lent) == {}
            assert await at_a.drop(lent) == {}
            assert state(a) == before

    play(scene())


def test_a_vxlan_device_of_others_with_proxy_answers_from_our_neighbours(site: Site) -> None:
    async def scene() -> None:
        a, b, _ = site.hosts
        given(a, options="proxy")
        async with a.driven() as at_a:
            wanted = elsewhere(mac_of(9), remote(b.addresses[0], 6000), addresses=["10.0.0.9"])
            assert await at_a.want(bridge("brq1", vni=6000) | wanted) == {}
            assert "10.0.0.9 dev vxlan-6000" in a.ip("neigh", "show")
            assert await at_a.driver.audit(at_a.tracker.desired) == []

    play(scene())


def test_a_given_bridge_is_waited_for_and_gets_a_tunnel_if_it_has_none(site: Site) -> None:
    async def scene() -> None:
        a, b, _ = site.hosts
        one = site.machine(a, 1)
        wanted = bridge("brq2") | plug(one.port, one.mac) | elsewhere(mac_of(9), remote(b.addresses[0]))
        async with a.driven() as at_a:
            refused = await at_a.want(wanted)
            assert refused["bridge of EVI 7"] == "bridge brq2 does not exist"
            assert set(refused) == set(map(str, wanted))
            a.ip("link", "add", "brq2", "type", "bridge")
            a.ip("link", "set", "brq2", "up")
            await at_a.until(lambda: len(at_a.tracker.refused) == 2, "the bridge is used", 1)
            reasons = {refusal.reason for refusal in at_a.tracker.refused.values()}
            assert reasons == {f"interface {one.port} is on no bridge, not on bridge brq2"}
            a.ip("link", "set", one.port, "master", "brq2")
            await at_a.until(lambda: not at_a.tracker.refused, "the port is taken", 1)
            assert len(a.links("vxlan")) == 1
            assert await at_a.driver.audit(at_a.tracker.desired) == []
            assert await at_a.drop(wanted) == {}
            assert a.links("vxlan") == []
            assert a.links("bridge") == ["brq2"]

    play(scene())


def test_what_is_in_the_way_is_named_and_used_as_soon_as_it_has_gone(site: Site) -> None:
    async def scene() -> None:
        a, _, _ = site.hosts
        one = site.machine(a, 1)
        a.ip("link", "add", "theirs", "type", "bridge")
        a.ip("link", "set", one.port, "master", "theirs")
        a.ip("link", "add", "rival", "type", "vxlan", "id", str(VNI), "dstport", "4789")
        async with a.driven() as at_a:
            refused = await at_a.want(bridge())
            assert refused == {
                "bridge of EVI 7": f"VNI {VNI} is in use by VXLAN device rival (VNI {VNI}, from any address, port 4789)"
            }
            a.ip("link", "del", "rival")
            await at_a.until(lambda: not at_a.tracker.refused, "the VNI is free", 1)
            refused = await at_a.want(plug(one.port))
            assert "bridge theirs" in refused[f"plug of {one.port}"]
            a.ip("link", "set", one.port, "nomaster")
            await at_a.until(lambda: not at_a.tracker.refused, "the port is free", 1)
            assert (await at_a.want(elsewhere(mac_of(9), remote("2001:db8::2")))) == {
                f"MAC {mac_of(9)} of EVI 7": "node 2001:db8::2 cannot be reached from 192.0.2.1"
            }

    play(scene())


@pytest.mark.parametrize(
    ("port", "value", "why"),
    [
        (Port("tap9", vlan=5), Plug(EVI), "takes no ports with a VLAN tag"),
        (Port("tap9"), Plug(EVI, designated=False), "takes no ports of a segment"),
        (Port("tap9"), Plug(EVI, shielded=(bytes(4),)), "takes no ports of a segment"),
    ],
)
def test_a_port_that_this_dataplane_cannot_serve_is_refused(site: Site, port: Port, value: Plug, why: str) -> None:
    async def scene() -> None:
        a, _, _ = site.hosts
        a.ip("link", "add", "tap9", "type", "veth", "peer", "name", "peer9")
        async with a.driven() as at_a:
            [reason] = (await at_a.want(bridge() | {PlugKey(port): value})).values()
            assert why in reason
            assert "master" not in a.ip("link", "show", "tap9")

    play(scene())


def test_instances_with_long_names_that_begin_alike_have_devices_of_their_own(site: Site) -> None:
    async def scene() -> None:
        a, _, _ = site.hosts
        long = "a-network-with-a-name-that-is-long-" * 8
        async with a.driven() as at_a:
            names = [long + "1", long + "2", "a b/c\u00e9", "\ud800\0"]
            for number, name in enumerate(names):
                assert await at_a.want(bridge(evi=20 + number, vni=9000 + number, name=name)) == {}
            assert len(a.links("bridge")) == len(a.links("vxlan")) == 4
        async with a.driven(sweeps=False) as at_a:
            assert await at_a.want(bridge(evi=3, vni=9001, name=names[1])) == {}
            assert len(a.links("bridge")) == 4

    play(scene())


def test_an_instance_whose_vni_or_name_changes_takes_all_its_records_along(site: Site) -> None:
    async def scene() -> None:
        a, b, _ = site.hosts
        one = site.machine(a, 1)
        to_b = remote(b.addresses[0])
        wanted = plug(one.port, one.mac) | flood(to_b) | elsewhere(mac_of(9), to_b, addresses=["10.0.0.9"])
        async with a.driven() as at_a:
            assert await at_a.want(bridge() | wanted) == {}
            for changed in (bridge(vni=5001), bridge(vni=5001, name="green"), bridge()):
                assert await at_a.want(changed) == {}
                await at_a.until(lambda: all(map(at_a.tracker.in_effect, wanted)), f"all of {changed}")
                assert await at_a.driver.audit(at_a.tracker.desired) == []
                assert len(a.links("vxlan")) == len(a.links("bridge")) == 1

    play(scene())


def test_an_instance_goes_from_a_bridge_of_ours_to_a_given_one_and_back(site: Site) -> None:
    async def scene() -> None:
        a, b, _ = site.hosts
        given(a)
        to_b = remote(b.addresses[0], 6000)
        wanted = flood(to_b) | elsewhere(mac_of(9), to_b, addresses=["10.0.0.9"])
        before = state(a)
        async with a.driven() as at_a:
            assert await at_a.want(bridge("brq1", vni=6000) | plug("tap-given", mac_of(4)) | wanted) == {}
            a.ip("link", "del", "vxlan-6000")
            await at_a.until(lambda: len(a.links("vxlan")) == 1, "a tunnel of our own takes its place", 1)
            await at_a.until(lambda: all(map(at_a.tracker.in_effect, wanted)), "all stands on it")
            assert await at_a.driver.audit(at_a.tracker.desired) == []
            assert await at_a.want(bridge(vni=6000)) == {}
            a.ip("link", "set", "tap-given", "nomaster")
            await at_a.until(lambda: not at_a.tracker.refused, "the port is on our bridge", 2)
            assert await at_a.driver.audit(at_a.tracker.desired) == []
            assert len(a.links("bridge")) == 2
            assert await at_a.drop(at_a.tracker.desired.copy()) == {}
            assert [line for line in state(a) if line not in before and "tap-given" not in line] == []

    play(scene())


def test_a_taken_udp_port_is_named(site: Site) -> None:
    async def scene() -> None:
        a, _, _ = site.hosts
        with inside(a.namespace):
            taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with taken:
            taken.bind(("0.0.0.0", 4789))
            async with a.driven() as at_a:
                [reason] = (await at_a.want(bridge())).values()
                assert reason.endswith(f"(VNI {VNI}, from 192.0.2.1, port 4789) up: Address already in use")
                taken.close()
                assert await at_a.want(bridge()) == {}

    play(scene())


def test_the_mtu_of_tunnels_follows_that_of_the_underlay(site: Site) -> None:
    async def scene() -> None:
        a, _, _ = site.hosts

        def mtu() -> int:
            return int(a.ip("-o", "link", "show", "type", "vxlan").partition(" mtu ")[2].split()[0])

        async with a.driven() as at_a:
            assert await at_a.want(bridge()) == {}
            assert mtu() == 1550
            a.ip("link", "set", "wire0", "mtu", "1500")
            await at_a.until(lambda: mtu() == 1450, "it is smaller", 1)
            a.ip("address", "del", "192.0.2.1/24", "dev", "wire0")
            a.ip("link", "set", "wire0", "mtu", "9000")
            a.ip("address", "add", "192.0.2.1/24", "dev", "wire0")
            await at_a.until(lambda: mtu() == 8950, "it is larger", 1)
        async with a.driven(six=True, sweeps=False) as at_a:
            assert await at_a.want(bridge()) == {}
            assert mtu() == 8930

    play(scene())


def test_who_may_not_change_the_network_is_told_so(site: Site) -> None:
    async def scene() -> None:
        a, _, _ = site.hosts
        program = (
            "import asyncio, ctypes\n"
            "from ipaddress import ip_address\n"
            "from bagpipe.dataplane.delta import Change\n"
            "from bagpipe.dataplane.linux.driver import LinuxDataplane\n"
            "from bagpipe.dataplane.linux.settings import LinuxSettings\n"
            "from bagpipe.dataplane.model import Bridge, BridgeKey\n"
            "async def main():\n"
            "    driver = LinuxDataplane(LinuxSettings(ip_address('192.0.2.1')))\n"
            "    await driver.start(print)\n"
            "    print(await driver.apply([Change(BridgeKey(1), None, Bridge('blue', 5000))]))\n"
            "    print(driver.capabilities.multipath)\n"
            "asyncio.run(main())\n"
        )
        said = a.run("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", sys.executable, "-c", program)
        assert "making evib-" in said
        assert "Operation not permitted" in said
        assert "True" in said

    play(scene())


def test_hundreds_of_instances_come_are_adopted_and_go_in_seconds(site: Site) -> None:
    async def scene() -> None:
        a, _, _ = site.hosts
        a.ip("link", "add", "theirs", "group", str(0x0BA60001), "type", "bridge")
        many: dict[Key, Value] = {}
        for number in range(200):
            many |= bridge(evi=number, vni=10_000 + number, name=f"network {number}")
        async with a.driven() as at_a:
            assert await at_a.want(many, seconds=30) == {}
            assert len(a.links("vxlan")) == 200
            begin = time.monotonic()
            assert await at_a.drop(many) == {}
            assert time.monotonic() - begin < 5
            assert a.links("vxlan") == []
            assert await at_a.want(many, seconds=30) == {}
        async with a.driven(many) as at_a:
            await at_a.until(lambda: all(map(at_a.tracker.in_effect, many)), "they are adopted")
            begin = time.monotonic()
            assert await at_a.driver.reset() == 400
            assert time.monotonic() - begin < 5
        assert a.links("bridge") == ["theirs"]
        assert a.links("vxlan") == []

    play(scene())
