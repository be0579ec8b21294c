"""EVPN through route reflectors, with machines: our node, with its Linux dataplane, FRR as a VXLAN edge, and the daemon
of networking-bagpipe 20.0.0 with its own Linux dataplane.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import pytest

from tests.system.evpn_nodes import Wiretap, is_question

from .harness.bagpipe import Reflector
from .harness.frr import Frr
from .harness.gobgp import GoBgp
from .harness.machine import Machine
from .harness.network import CommandFailed
from .harness.node import Node
from .harness.peer import AS, Neighbor
from .harness.reference import Reference
from .harness.route import Family
from .harness.site import Site
from .harness.vtep import Vtep
from .harness.waiting import wait_until


@pytest.mark.parametrize("kind", [Reflector, Frr, GoBgp])
def test_frr_and_our_node_meet_through_a_reflector(site: Site, kind: type[Reflector] | type[Frr] | type[GoBgp]) -> None:
    # given a reflector with FRR, which has two networks, and our node as clients; ours alone has target constraint
    reflector, node, frr = site.add(kind, "reflector"), site.add(Node, "node"), site.add(Vtep, "frr")
    if not isinstance(reflector, Reflector):
        families = (Family.EVPN, Family.RTC) if kind is GoBgp else (Family.EVPN,)
        clients = (
            Neighbor(node.address, families=families, client=True),
            Neighbor(frr.address, families=(Family.EVPN,), client=True),
        )
        reflector.neighbors = clients
    frr.neighbors = (Neighbor(reflector.address, families=(Family.EVPN,)),)
    node.peers = (reflector.address,)
    for peer in site.peers:
        peer.start()
    node.ready().meets(reflector.address)
    frr.meets(reflector.address)
    a, b, c = (
        Machine(site.network, name, subnet, number) for name, subnet, number in (("a", 1, 1), ("b", 1, 2), ("c", 2, 3))
    )
    for machine, vni, subnet in ((b, 5001, 1), (c, 5002, 2)):
        frr.add_network(vni, subnet)
        frr.house(machine, vni, subnet)
        reflector.learns(Family.EVPN, (rd_of(frr, vni), f"mac {machine.mac} {machine.address}"))

    # when a machine is attached to one of the networks here, then we have the routes of this one alone
    node.house(a)
    node.attach(a, 5001)
    node.sends(b.mac, 5001, [f"{frr.address} label 5001 vxlan"])
    node.floods(5001, f"{frr.address} label 5001 vxlan")
    learned = [row for row in node.rows(Family.EVPN) if row["peer"] != "local"]
    assert {row["route_distinguisher"] for row in learned} == {rd_of(frr, 5001)}
    assert {row["attributes"]["originator_id"] for row in learned} == {frr.address}
    assert ("rtc" in node.sessions()[reflector.address]["families"]) == (kind is not Frr)
    # and machines reach each other
    frr.learns(Family.EVPN, (node.rd(5001), f"mac {a.mac} {a.address6}"))
    for machine, other in ((a, b), (b, a)):
        machine.reaches(other.address, other.address6)

    # when another is attached to the other network, then the routes of that come too
    d = Machine(site.network, "d", 2, 4)
    node.house(d)
    node.attach(d, 5002)
    node.sends(c.mac, 5002, [f"{frr.address} label 5002 vxlan"])
    d.reaches(c.address, c.address6)


def rd_of(frr: Vtep, vni: int) -> str:
    """The route distinguisher that FRR has chosen for a VNI."""
    told = frr.json(f"show bgp l2vpn evpn vni {vni}")
    return str(told["rd"])


@dataclass
class Pair:
    """Our node and the reference, which meet through our reflector."""

    site: Site
    node: Node
    reference: Reference
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def machines(self) -> tuple[Machine, Machine]:
        """A machine at either, in a subnet of their own."""
        subnet = next(self.numbers)
        a, b = (Machine(self.site.network, f"{side}{subnet}", subnet, at) for at, side in ((1, "a"), (2, "b")))
        self.node.house(a)
        b.plug(self.reference.host)
        b.live(self.reference.host, quiet=True)
        return a, b

    def body(self, machine: Machine, vni: int, target: str) -> dict[str, object]:
        """What the reference's agent says of a machine."""
        return {
            "vpn_instance_id": f"ref{vni}",
            "vpn_type": "evpn",
            "vni": vni,
            "import_rt": [target],
            "export_rt": [target],
            "mac_address": machine.mac,
            "ip_address": f"{machine.address}/24",
            "gateway_ip": "10.0.0.254",
            "local_port": {"linuxif": machine.port},
        }


@pytest.fixture(scope="module")
def pair(module_site: Site) -> Pair:
    reflector = module_site.add(Reflector, "reflector")
    node, reference = module_site.add(Node, "node"), module_site.add(Reference, "reference")
    reference.evpn_driver = "linux"
    node.peers = reference.peers = (reflector.address,)
    for peer in module_site.peers:
        peer.start()
    for peer in (node, reference):
        peer.meets(reflector.address)
    return Pair(module_site, node, reference)


@pytest.mark.parametrize(("here", "there"), [(5001, 5001), (5002, 6002)])
def test_machines_behind_the_reference_and_behind_our_node_reach_each_other(pair: Pair, here: int, there: int) -> None:
    # given a network with one VNI or with a different one at either; the reference has one address for a MAC
    node, reference, target = pair.node, pair.reference, f"{AS}:{here}"
    a, b = pair.machines()
    node.attach(a, here, target, addresses=[a.address])
    reference.attach(**pair.body(b, there, target))

    # then each sends with the VNI of the other
    node.sends(b.mac, here, [f"{reference.address} label {there} vxlan"])
    node.floods(here, f"{reference.address} label {there} vxlan")
    reference.learns(Family.EVPN, (node.rd(here), f"mac {a.mac} {a.address}"))
    for machine, other in ((a, b), (b, a)):
        machine.reaches(other.address)
        assert machine.ping(other.address, count=20) == 20
    # and nobody asks through the tunnel
    for machine in (a, b):
        machine.forget()
    with Wiretap(node.host.namespace, "eth0") as tap:
        assert a.ping(b.address, count=2) == b.ping(a.address, count=2) == 2
        seen = [frame for frame in tap.tunnelled if frame[6:12].hex(":") in (a.mac, b.mac)]
    assert len(seen) >= 8
    assert [frame.hex() for frame in seen if is_question(frame)] == []

    # when either is detached, then the other one has forgotten it; the reference withdraws before it fails to unplug
    with contextlib.suppress(CommandFailed):
        reference.detach(**pair.body(b, there, target))
    wait_until(lambda: set(node.macs(here)), lambda seen: seen == {a.mac}, "the reference's route is gone")
    rd = node.rd(here)
    node.detach(a)
    reference.loses(Family.EVPN, (rd, f"mac {a.mac} {a.address}"))
