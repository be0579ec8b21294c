"""Machines behind one port and VLAN of the bridge, told apart by their MACs: each has the VRF that its frames enter."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.ovs_nodes import Vm
from tests.system.running import wait_for
from tests.system.vpn_site import Compute, VpnSite, bare, call, reaches, reaches_not

VLAN = 7
THERE = ["10.0.0.9/32", "fd00:1::9/128"]
ONLY = {"red": "10.66.1.1/32", "blue": "10.66.2.1/32", "green": "10.66.3.1/32"}
"""An address that one machine alone has, by its VPN."""
TARGETS = {"red": ["64512:1"], "blue": ["64512:2"], "green": ["64512:3"]}
PING = 3


class Shared:
    """A site: in the west a machine for each VPN, behind one port and VLAN, in the east as many with one address."""

    def __init__(self, site: VpnSite) -> None:
        self.west, self.east = site.west, site.east
        self.here, self.there = {}, {}
        for number, vpn in enumerate(TARGETS, 1):
            addresses = [f"10.0.0.{number}/32", f"fd00:1::{number}/128"]
            self.here[vpn] = site.nodes.west.vm(f"w-{vpn}", number, addresses, vlan=VLAN)
            self.there[vpn] = site.nodes.east.vm(f"e-{vpn}", 0x10 + number, [*THERE, ONLY[vpn]])
            put(self.east, f"there-{vpn}", vpn, self.there[vpn])

    def attach(self, vpn: str) -> None:
        """The machine in the west, by frames of its MAC alone."""
        vm = self.here[vpn]
        put(self.west, f"here-{vpn}", vpn, vm, vlan=VLAN, source_mac=str(vm.mac))

    def clear(self) -> None:
        """Nothing is attached in the west any more."""
        for one in self.west.get("/v2/attachments")["attachments"]:
            remove(self.west, one["id"])
        assert self.west.get("/v2/instances") == {"instances": []}

    def arrived(self, vpn: str, address: str) -> dict[str, int]:
        """How many of some echo requests of a VPN's machine came to each machine in the east; all were answered."""
        before = {name: echoes(vm) for name, vm in self.there.items()}
        assert reaches(self.here[vpn], address)
        for _ in range(PING):  # one by one: after the last of several, ping waits no longer than for two round trips
            assert self.here[vpn].ping(bare(address)) == 1
        return {name: echoes(vm) - before[name] for name, vm in self.there.items() if echoes(vm) != before[name]}


def put(compute: Compute, name: str, vpn: str, vm: Vm, **port: object) -> None:
    """Attach a machine, with a name of its own for the place where it is."""
    body = {
        "instance": {"id": vpn, "import_rts": TARGETS[vpn], "export_rts": TARGETS[vpn]},
        "port": {"name": name, "interface": vm.port, **port},
        "mac": str(vm.mac),
        "addresses": list(vm.addresses),
    }
    status, answer = call(compute.node.namespace, "PUT", f"/v2/attachments/{name}", body)
    assert (status, answer["state"]) == (200, "in-effect"), answer


def remove(compute: Compute, name: str) -> None:
    """Detach it; that is confirmed."""
    status, answer = call(compute.node.namespace, "DELETE", f"/v2/attachments/{name}")
    assert (status, answer["state"]) == (200, "removed"), answer


def echoes(vm: Vm) -> int:
    """Echo requests of both IP versions that a machine has received."""
    four = [line.split() for line in vm.run("cat", "/proc/net/snmp").stdout.splitlines() if line.startswith("Icmp:")]
    six = dict(line.split() for line in vm.run("cat", "/proc/net/snmp6").stdout.splitlines())
    return int(dict(zip(*four, strict=True))["InEchos"]) + int(six["Icmp6InEchos"])


@pytest.fixture(scope="module")
def site() -> Iterator[Shared]:
    with VpnSite("MPLS on Ethernet") as made:
        yield Shared(made)


@pytest.fixture
def shared(site: Shared) -> Iterator[Shared]:
    yield site
    site.clear()


def test_machines_of_one_port_and_vlan_reach_each_its_own_vpn_and_not_the_other(shared: Shared) -> None:
    for vpn in ("red", "blue"):
        shared.attach(vpn)
    for vpn, other in (("red", "blue"), ("blue", "red")):
        for address in THERE:
            assert set(shared.arrived(vpn, address)) == {vpn}
        for address in shared.here[vpn].addresses:
            assert reaches(shared.there[vpn], address)
            assert reaches_not(shared.there[other], address)
        assert reaches(shared.here[vpn], ONLY[vpn])
        assert reaches_not(shared.here[vpn], ONLY[other])


def test_one_of_them_that_is_detached_leaves_the_other_where_it_is(shared: Shared) -> None:
    for vpn in ("red", "blue"):
        shared.attach(vpn)
        assert reaches(shared.here[vpn], THERE[0])

    remove(shared.west, "here-red")

    assert [one["id"] for one in shared.west.get("/v2/instances")["instances"]] == ["blue"]
    before = {name: echoes(vm) for name, vm in shared.there.items()}
    for address in (*THERE, ONLY["red"], ONLY["blue"]):
        assert reaches_not(shared.here["red"], address)
    assert {name: echoes(vm) for name, vm in shared.there.items()} == before
    assert [flow for flow in shared.west.node.flows() if str(shared.here["red"].mac) in flow] == []
    for address in THERE:
        assert set(shared.arrived("blue", address)) == {"blue"}
    shared.attach("red")
    assert set(shared.arrived("red", THERE[0])) == {"red"}


def test_what_has_no_vrf_of_its_own_enters_that_of_the_port_and_vlan(shared: Shared) -> None:
    put(shared.west, "here-green", "green", shared.here["green"], vlan=VLAN)
    shared.attach("red")
    for vpn in ("red", "green"):
        for address in THERE:
            assert set(shared.arrived(vpn, address)) == {vpn}
    assert reaches_not(shared.here["red"], ONLY["green"])

    remove(shared.west, "here-red")

    # Its frames now enter the VRF of the place, from which nothing leads back to it.
    before = echoes(shared.there["green"])
    assert reaches_not(shared.here["red"], ONLY["green"])
    wait_for(lambda: echoes(shared.there["green"]) > before, "requests without an answer")
    assert set(shared.arrived("green", THERE[0])) == {"green"}
