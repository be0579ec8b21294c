"""EVPN over VXLAN between our daemon, with its Linux dataplane, and FRR as a VXLAN edge, frames of machines included.

FRR 8.4 takes a network for one VNI everywhere: it sends with its own VNI whatever a route says (RFC 8365 section 5.1.3
would have it otherwise), so that networks with a different VNI at either side pass in one direction only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from socket import inet_aton
from time import monotonic

import pytest

from tests.system.evpn_nodes import Wiretap, is_question

from .harness.machine import Machine
from .harness.node import Node
from .harness.ovs_node import OvsNode
from .harness.peer import AS, Neighbor
from .harness.route import Family
from .harness.site import Site
from .harness.vtep import Vtep
from .harness.waiting import stays, wait_until


@dataclass
class Fabric:
    """A node of ours and FRR, with a session; networks and machines are made as they are needed."""

    site: Site
    node: Node
    switch: OvsNode
    frr: Vtep
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    standing: dict[str, tuple[int, Machine]] = field(default_factory=dict)
    since: float = 0.0

    def stand(self) -> None:
        """Have a network that is old enough at each of our nodes, and a machine of ours in it.

        In the first five seconds of a network a node takes what it is told of a machine of its own for older than that.
        """
        for name, node in (("linux", self.node), ("ovs", self.switch)):
            vni = self.network()
            self.standing[name] = vni, replace(self, node=node).ours(vni)
        self.since = monotonic()

    def network(self) -> int:
        """A new network at FRR; its VNI."""
        subnet = next(self.numbers)
        self.frr.add_network(5000 + subnet, subnet)
        return 5000 + subnet

    def machine(self, vni: int) -> Machine:
        """A machine of a network that is plugged nowhere."""
        number = next(self.numbers)
        return Machine(self.site.network, f"m{number}", vni - 5000, number)

    def ours(self, vni: int) -> Machine:
        """A machine at our node."""
        machine = self.machine(vni)
        self.node.house(machine)
        self.node.attach(machine, vni)
        return machine

    def theirs(self, vni: int) -> Machine:
        """A machine at FRR, which knows its addresses."""
        machine = self.machine(vni)
        self.frr.house(machine, vni, vni - 5000)
        return machine

    def learns(self, machine: Machine, vni: int) -> None:
        """Wait until our node has FRR's routes of a machine: of the MAC alone and with either address."""
        wait_until(
            lambda: {each["ip_address"] for each in self.node.macs(vni)[machine.mac]["candidates"]},
            lambda found: found == {None, machine.address, machine.address6},
            f"FRR's routes of {machine.name}",
        )

    def is_heard(self, machine: Machine, vni: int) -> None:
        """Wait until FRR has our routes of a machine."""
        for address in (machine.address, machine.address6):
            self.frr.learns(Family.EVPN, (self.node.rd(vni), f"mac {machine.mac} {address}"))

    def to_frr(self, vni: int) -> str:
        """FRR as a next hop."""
        return f"{self.frr.address} label {vni} vxlan"


@pytest.fixture(scope="module")
def fabric(module_site: Site) -> Fabric:
    # FRR's address is the lowest, so that of two equal claims to a MAC that of FRR is the better one.
    frr, node, switch = module_site.add(Vtep, "frr"), module_site.add(Node, "node"), module_site.add(OvsNode, "switch")
    made = Fabric(module_site, node, switch, frr)
    made.frr.neighbors = tuple(Neighbor(each.address, families=(Family.EVPN,)) for each in (node, switch))
    node.peers = (made.frr.address, switch.address)
    switch.peers = (made.frr.address, node.address)
    for peer in module_site.peers:
        peer.host.sum_in_software()
        peer.start()
    for each in (node, switch):
        for neighbor in each.peers:
            each.ready().meets(neighbor)
    made.stand()
    return made


def with_(fabric: Fabric, dataplane: str) -> Fabric:
    """The fabric, ours being the node with a dataplane."""
    return replace(fabric, node={"linux": fabric.node, "ovs": fabric.switch}[dataplane])


DATAPLANES = pytest.mark.parametrize("dataplane", ["linux", "ovs"])


@DATAPLANES
def test_machines_behind_frr_and_behind_our_node_reach_each_other(fabric: Fabric, dataplane: str) -> None:
    fabric = with_(fabric, dataplane)
    # given a network at both, with FRR's automatic route target (RFC 8365 section 5.1.2.1), and a machine at each
    node, frr, vni = fabric.node, fabric.frr, fabric.network()
    a, b = fabric.ours(vni), fabric.theirs(vni)

    # then FRR has our routes of type 2, of both addresses, and of type 3
    for text in (f"mac {a.mac} {a.address}", f"mac {a.mac} {a.address6}", f"multicast {node.address}"):
        heard = frr.learns(Family.EVPN, (node.rd(vni), text))
        assert (heard.label, heard.next_hop, heard.route_targets) == (vni, node.address, frozenset({f"{AS}:{vni}"}))
    # and we have its ones: of the MAC alone and with either address, and of type 3
    fabric.learns(b, vni)
    node.sends(b.mac, vni, [fabric.to_frr(vni)])
    node.floods(vni, fabric.to_frr(vni))

    # then they reach each other
    for machine, other in ((a, b), (b, a)):
        machine.reaches(other.address, other.address6)
        assert machine.ping(other.address, count=20) == machine.ping(other.address6, count=20) == 20
        assert machine.knows(other.address) == machine.knows(other.address6) == other.mac


@DATAPLANES
def test_nobody_asks_through_the_tunnel_for_a_machine_that_a_route_names(fabric: Fabric, dataplane: str) -> None:
    fabric = with_(fabric, dataplane)
    vni = fabric.network()
    a, b = fabric.ours(vni), fabric.theirs(vni)
    fabric.learns(b, vni)
    fabric.is_heard(a, vni)
    a.reaches(b.address, b.address6)
    for machine in (a, b):
        machine.forget()

    with Wiretap(fabric.node.host.namespace, "eth0") as tap:
        for machine, other in ((a, b), (b, a)):
            assert machine.ping(other.address) == machine.ping(other.address6) == 1
        seen = [frame for frame in tap.tunnelled if frame[6:12].hex(":") in (a.mac, b.mac)]

    assert len(seen) >= 8
    assert [frame.hex() for frame in seen if is_question(frame)] == []


def test_what_leaves_is_withdrawn_and_forgotten_at_both(fabric: Fabric) -> None:
    node, frr, vni = fabric.node, fabric.frr, fabric.network()
    a, other, b = fabric.ours(vni), fabric.ours(vni), fabric.theirs(vni)
    fabric.learns(b, vni)
    fabric.is_heard(a, vni)
    rd = node.rd(vni)

    # when one of our two machines is detached, then FRR has forgotten it alone
    node.detach(a)
    for address in (a.address, a.address6):
        frr.loses(Family.EVPN, (rd, f"mac {a.mac} {address}"))
    wait_until(lambda: frr.mac(vni, a.mac), lambda told: told == {}, "zebra has forgotten it")
    other.reaches(b.address)
    assert (rd, f"multicast {node.address}") in frr.routes(Family.EVPN)

    # when FRR's machine has gone, then so has its entry in our kernel
    node.tunnels(b.mac, frr.address)
    b.unplug(frr.host)
    wait_until(lambda: node.macs(vni), lambda seen: b.mac not in seen, "FRR's routes are withdrawn")
    node.tunnels(b.mac)

    # when our last one is detached, then FRR does not flood to us any more
    node.detach(other)
    frr.loses(Family.EVPN, (rd, f"multicast {node.address}"))
    assert not [key for key in frr.routes(Family.EVPN) if key[0] == rd]
    assert vni not in [each["vni"] for each in node.ask("v2/instances")["instances"]]


def crossing_of(tap: Wiretap, machine: Machine) -> set[tuple[str, str]]:
    """From whom to whom IPv4 packets to and from a machine went through the tunnel."""
    pairs = {(frame[6:12].hex(":"), frame[:6].hex(":")) for frame in tap.tunnelled if frame[12:14] == b"\x08\0"}
    return {pair for pair in pairs if machine.mac in pair}


@DATAPLANES
def test_a_machine_moves_to_frr_and_back_and_frames_follow(fabric: Fabric, dataplane: str) -> None:
    fabric = with_(fabric, dataplane)
    # given a machine at our node that has a port at FRR as well, and a machine that stays at each
    node, frr, (vni, near) = fabric.node, fabric.frr, fabric.standing[dataplane]
    wait_until(monotonic, lambda now: now > fabric.since + 5, "the network is old enough")
    moving, far = fabric.ours(vni), fabric.theirs(vni)
    frr.plug(moving, vni)
    fabric.is_heard(moving, vni)
    fabric.learns(far, vni)
    near.reaches(moving.address)
    far.reaches(moving.address)

    for sequence in (1, 3):
        # when it goes to FRR, then FRR outbids us, and we withdraw, though it is attached here still
        moving.live(frr.host)
        row = node.sends(moving.mac, vni, [fabric.to_frr(vni)])
        assert row["candidates"][0]["sequence"] == sequence and not row["held"]
        frr.loses(Family.EVPN, (node.rd(vni), f"mac {moving.mac} {moving.address}"))
        assert frr.mac(vni, moving.mac)["localSequence"] == sequence
        near.reaches(moving.address)
        # then frames from FRR's machine to it do not cross the underlay
        with Wiretap(node.host.namespace, "eth0") as tap:
            assert far.ping(moving.address, count=5) == near.ping(moving.address, count=5) == 5
            crossing = crossing_of(tap, moving)
        assert crossing == {(moving.mac, near.mac), (near.mac, moving.mac)}
        node.detach(moving)
        near.reaches(moving.address)

        # when it comes back, then we outbid FRR, which withdraws
        node.attach(moving, vni)
        moving.live(node.host)
        fabric.is_heard(moving, vni)
        wait_until(
            lambda: frr.mac(vni, moving.mac),
            lambda told, wanted=sequence + 1: (told.get("type"), told.get("remoteSequence")) == ("remote", wanted),  # type: ignore[misc]
            "zebra has it at our node",
        )
        (own,) = node.macs(vni)[moving.mac]["candidates"]
        assert own["peer"] == "attached" and own["sequence"] == sequence + 1
        far.reaches(moving.address)
        with Wiretap(node.host.namespace, "eth0") as tap:
            assert far.ping(moving.address, count=5) == near.ping(moving.address, count=5) == 5
            crossing = crossing_of(tap, moving)
        assert crossing == {(moving.mac, far.mac), (far.mac, moving.mac)}

    # then neither takes it for a duplicate
    assert frr.mac(vni, moving.mac)["isDuplicate"] is False
    assert node.network(vni)["held_macs"] == []


def test_the_first_machine_of_a_network_here_outbids_frr_where_it_came_from(fabric: Fabric) -> None:
    # given a network that our node is not in, so that it holds none of its routes, and two machines at FRR
    node, frr, vni = fabric.node, fabric.frr, fabric.network()
    moving, far = fabric.theirs(vni), fabric.theirs(vni)
    moving.plug(node.host)

    # when one comes here, then we outbid FRR as soon as we are told of it, and FRR withdraws
    node.attach(moving, vni)
    moving.live(node.host)
    wait_until(
        lambda: frr.mac(vni, moving.mac),
        lambda told: (told.get("type"), told.get("remoteSequence")) == ("remote", 1),
        "zebra has it at our node",
    )
    (own,) = wait_until(
        lambda: node.macs(vni)[moving.mac]["candidates"], lambda left: len(left) == 1, "FRR withdraws its routes"
    )
    assert own["peer"] == "attached" and own["sequence"] == 1
    for machine, other in ((moving, far), (far, moving)):
        machine.reaches(other.address, other.address6)

    # when it goes back at once, while what we are told may still be older than that, then frames follow what it says
    moving.live(frr.host)
    far.reaches(moving.address)
    node.sends(moving.mac, vni, [fabric.to_frr(vni)])
    assert node.network(vni)["held_macs"] == [] and frr.mac(vni, moving.mac)["isDuplicate"] is False


def test_a_sticky_mac_of_either_side_is_not_outbid_by_the_other(fabric: Fabric) -> None:
    node, frr, vni = fabric.node, fabric.frr, fabric.network()
    ours, near, far = fabric.machine(vni), fabric.ours(vni), fabric.theirs(vni)
    fabric.learns(far, vni)

    # given a MAC that is sticky here
    node.house(ours)
    frr.plug(ours, vni)
    node.attach(ours, vni, sticky=True)
    fabric.is_heard(ours, vni)
    assert "MM" in frr.vty("show bgp l2vpn evpn route")

    # when it is heard at FRR, then it stays ours
    ours.live(frr.host)
    stays(lambda: node.macs(vni)[ours.mac]["next_hops"], lambda hops: hops == [f"{ours.mac} at {ours.port}"], "here")
    ours.live(node.host)
    near.reaches(ours.address)

    # given a MAC that is sticky at FRR
    theirs = fabric.machine(vni)
    frr.plug(theirs, vni)
    frr.host.run("bridge", "fdb", "replace", theirs.mac, "dev", theirs.port, "master", "static", "sticky")
    row = node.sends(theirs.mac, vni, [fabric.to_frr(vni)])
    assert row["candidates"][0]["sticky"], row

    # when it is attached here, then it stays FRR's
    theirs.plug(node.host)
    node.attach(theirs, vni)
    row = node.macs(vni)[theirs.mac]
    assert row["next_hops"] == [fabric.to_frr(vni)] and row["candidates"][1]["peer"] == "attached"


def test_frames_to_frr_have_the_vni_that_its_routes_say(fabric: Fabric) -> None:
    # given a network with another VNI here than at FRR, whose route target is stated here
    node, vni = fabric.node, fabric.network()
    b, a = fabric.theirs(vni), fabric.machine(vni)
    node.house(a)
    node.attach(a, 9001, target=f"{AS}:{vni}")
    node.sends(b.mac, 9001, [fabric.to_frr(vni)])
    node.floods(9001, fabric.to_frr(vni))
    assert fabric.frr.learns(Family.EVPN, (node.rd(9001), f"mac {a.mac} {a.address}")).label == 9001

    # when our machine sends, then FRR delivers it
    with Wiretap(b.namespace, "eth0") as tap:
        a.ping(b.address, wait=0.2)
        asked = [frame for frame in tap.frames if frame[6:12].hex(":") == a.mac and frame[12:14] == b"\x08\0"]
    assert asked


def test_a_session_that_is_lost_takes_all_along_and_brings_it_back(fabric: Fabric) -> None:
    node, frr, vni = fabric.node, fabric.frr, fabric.network()
    a, b = fabric.ours(vni), fabric.theirs(vni)
    fabric.learns(b, vni)
    a.reaches(b.address)

    # when bgpd is killed, then nothing is sent to FRR any more
    frr.bgpd.kill()
    wait_until(lambda: node.macs(vni), lambda seen: b.mac not in seen, "FRR's routes are gone")
    node.tunnels(b.mac)
    node.floods(vni)
    assert a.ping(b.address, count=3, wait=0.3) == 0

    # when it is back, then both reach each other as before
    frr.start_bgpd()
    fabric.learns(b, vni)
    fabric.is_heard(a, vni)
    for machine, other in ((a, b), (b, a)):
        machine.reaches(other.address, other.address6)
    node.tunnels(b.mac, frr.address)


def test_nodes_with_different_vnis_send_with_that_of_the_receiver(fabric: Fabric) -> None:
    # given a network with one VNI at our node and another at our other one
    node, switch, target = fabric.node, fabric.switch, f"{AS}:70"
    a, b = fabric.machine(5250), fabric.machine(5250)
    node.house(a)
    node.attach(a, 7001, target)
    switch.house(b)
    switch.attach(b, 7002, target)
    node.sends(b.mac, 7001, [f"{switch.address} label 7002 vxlan"])
    switch.sends(a.mac, 7002, [f"{node.address} label 7001 vxlan"])

    # then they reach each other, and each frame has the VNI of who receives it
    a.reaches(b.address, b.address6)
    with Wiretap(node.host.namespace, "eth0") as tap:
        assert a.ping(b.address, count=5) == b.ping(a.address, count=5) == 5
        seen = {
            (frame[26:30], int.from_bytes(frame[46:49]))
            for frame in tap.frames
            if {frame[50:56].hex(":"), frame[56:62].hex(":")} == {a.mac, b.mac}
        }
    assert seen == {(inet_aton(node.address), 7002), (inet_aton(switch.address), 7001)}
    node.tunnels(b.mac, f"{switch.address} vni 7002")
