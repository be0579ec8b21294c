"""EVPN routes between our daemon, with its Linux dataplane, and GoBGP and ExaBGP, which have no dataplane.

GoBGP 3.10 says route types 1 to 5, but no MAC mobility and no single-active segments; it shows all. ExaBGP 4.2 can say
no EVPN route; it is the witness of what is on the wire. BIRD 2.0.12 has no EVPN.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from itertools import count

import pytest

from tests.system.evpn_nodes import Wiretap

from .harness.exabgp import ExaBgp
from .harness.gobgp import GoBgp
from .harness.http import socket_on
from .harness.machine import Machine, addresses_in
from .harness.node import Node
from .harness.peer import AS, Neighbor
from .harness.route import Family
from .harness.site import Site
from .harness.waiting import wait_until

SEGMENT = "00:11:22:33:44:55:66:77:88:99"
ESI = f"esi ARBITRARY {SEGMENT[3:]}"
ENCAPSULATION, MOBILITY = (3, 12), (6, 0)


@dataclass
class Scene:
    """Our node and its neighbours; each test has a network of its own."""

    site: Site
    node: Node
    west: GoBgp
    east: GoBgp
    witness: ExaBgp
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def network(self) -> tuple[int, Machine]:
        """A new network, its VNI, and a machine at our node in it."""
        subnet = next(self.numbers)
        machine = self.machine(5000 + subnet, 1)
        self.node.house(machine)
        self.node.attach(machine, 5000 + subnet)
        return 5000 + subnet, machine

    def machine(self, vni: int, number: int) -> Machine:
        """A machine of a network that is plugged nowhere."""
        return Machine(self.site.network, f"m{vni}-{number}", vni - 5000, number)


def said_by(gobgp: GoBgp, vni: int, label: int | None = None) -> str:
    """How the routes of GoBGP for a network end; ``label`` is the VNI there."""
    rest = f"rd {gobgp.address}:{vni} rt {AS}:{vni} encap vxlan nexthop {gobgp.address}"
    return f"etag 0 {rest}" if label is None else f"etag 0 label {label} {rest}"


def hop(gobgp: GoBgp, vni: int) -> str:
    return f"{gobgp.address} label {vni} vxlan"


@pytest.fixture(scope="module")
def scene(module_site: Site) -> Scene:
    node, west, east = module_site.add(Node, "node"), module_site.add(GoBgp, "west"), module_site.add(GoBgp, "east")
    made = Scene(module_site, node, west, east, module_site.add(ExaBgp, "witness"))
    others = (made.west, made.east, made.witness)
    node.peers = tuple(each.address for each in others)
    for each in others:
        each.neighbors = (Neighbor(node.address, families=(Family.EVPN,)),)
    for peer in module_site.peers:
        peer.start()
    for each in others:
        node.ready().meets(each.address)
    return made


def test_gobgp_reads_our_routes_as_they_are_meant(scene: Scene) -> None:
    vni, machine = scene.network()
    rd = scene.node.rd(vni)

    for text in (f"mac {machine.mac} {machine.address}", f"mac {machine.mac} {machine.address6}"):
        heard = scene.west.learns(Family.EVPN, (rd, text))
        assert (heard.label, heard.next_hop, heard.route_targets) == (
            vni,
            scene.node.address,
            frozenset({f"{AS}:{vni}"}),
        )
    flooding = scene.west.learns(Family.EVPN, (rd, f"multicast {scene.node.address}"))
    assert (flooding.label, flooding.next_hop) == (vni, scene.node.address)

    paths = [
        path
        for path in scene.west.paths(Family.EVPN)
        if path["nlri"]["value"]["rd"]["assigned"] == int(rd.split(":")[1])
    ]
    assert len(paths) == 3
    for path in paths:
        attributes = {one["type"]: one for one in path["attrs"]}
        communities = {(one["type"], one["subtype"]): one for one in attributes[16]["value"]}
        assert communities[ENCAPSULATION]["tunnel_type"] == 8
        assert MOBILITY not in communities
        assert path["nlri"]["value"]["etag"] == 0
        assert path["nlri"]["value"].get("esi", "single-homed") == "single-homed"
        if path["nlri"]["type"] == 3:
            assert (attributes[22]["tunnel-type"], attributes[22]["tunnel-id"]) == (6, scene.node.address)


def test_our_routes_are_on_the_wire_as_the_rfcs_write_them(scene: Scene) -> None:
    vni, machine = scene.network()
    rd = scene.node.rd(vni)
    node = ip_address(scene.node.address).packed.hex()
    admin = f"0001{node}{int(rd.split(':')[1]):04x}"

    def raw() -> set[str]:
        updates = [
            message["neighbor"]["message"]["update"]
            for message in scene.witness.messages("update")
            if "update" in message["neighbor"]["message"]
        ]
        groups = [group for update in updates for group in update.get("announce", {}).get("l2vpn evpn", {}).values()]
        return {entry["raw"].lower() for group in groups for entry in group}

    # RFC 7432 section 7.3: RD, Ethernet tag, originator; section 7.2: RD, ESI, Ethernet tag, MAC, address, label field
    mac = f"{'00' * 10}{'00' * 4}30{machine.mac.replace(':', '')}"
    wanted = {f"0311{admin}{'00' * 4}20{node}"}
    for length, bits, address in (("25", "20", machine.address), ("31", "80", machine.address6)):
        wanted.add(f"02{length}{admin}{mac}{bits}{ip_address(address).packed.hex()}{vni:06x}")
    wait_until(raw, wanted.issubset, f"ExaBGP has {wanted}")


def test_routes_of_gobgp_are_in_our_kernel_with_the_vni_that_they_say(scene: Scene) -> None:
    node, west, (vni, machine) = scene.node, scene.west, scene.network()
    subnet = vni - 5000
    four, six = addresses_in(subnet, 9)
    macs = [f"02:00:00:00:{subnet:02x}:{number:02x}" for number in (7, 8, 9)]

    # when GoBGP says a MAC with the network's VNI, one with another, and one with two addresses
    said = [
        f"macadv {macs[0]} 0.0.0.0 {said_by(west, vni, vni)}",
        f"macadv {macs[1]} 0.0.0.0 {said_by(west, vni, 9001)}",
        f"macadv {macs[2]} {four} {said_by(west, vni, vni)}",
        f"macadv {macs[2]} {six} {said_by(west, vni, vni)}",
        f"multicast {west.address} {said_by(west, vni)} pmsi ingress-repl 9002 {west.address}",
    ]
    for text in said:
        west.announce(Family.EVPN, text)

    # then each is in the kernel
    node.sends(macs[0], vni, [hop(west, vni)])
    node.sends(macs[1], vni, [hop(west, 9001)])
    node.floods(vni, hop(west, 9002))
    node.tunnels(macs[0], west.address)
    node.tunnels(macs[1], f"{west.address} vni 9001")
    node.tunnels(macs[2], west.address)
    node.tunnels("00:00:00:00:00:00", f"{west.address} vni 9002")
    # and our machine is told both addresses without anybody being asked
    with Wiretap(west.host.namespace, "eth0") as tap:
        for address in (four, six):
            machine.ping(address, wait=0.2)
            assert machine.knows(address) == macs[2]
        sent = {
            frame[:6].hex(":") for frame in tap.tunnelled if frame[6:12].hex(":") == machine.mac and frame[:1] == b"\2"
        }
    assert sent == {macs[2]}

    # when one of the addresses is withdrawn, then the MAC stays; when the other one is, then it goes
    west.withdraw(Family.EVPN, said[2])
    wait_until(lambda: len(node.macs(vni)[macs[2]]["candidates"]), lambda left: left == 1, "one route is left")
    node.tunnels(macs[2], west.address)
    for text in (said[0], said[1], said[3], said[4]):
        west.withdraw(Family.EVPN, text)
    wait_until(lambda: set(node.macs(vni)), lambda left: left == {machine.mac}, "ours is left")
    for mac in macs:
        node.tunnels(mac)
    node.floods(vni)


def test_a_machine_that_comes_here_outbids_gobgp_and_a_sticky_one_says_so(scene: Scene) -> None:
    node, west, east, (vni, _) = scene.node, scene.west, scene.east, scene.network()
    moving, sticky = scene.machine(vni, 2), scene.machine(vni, 3)
    west.announce(Family.EVPN, f"macadv {moving.mac} {moving.address} {said_by(west, vni, vni)}")
    node.sends(moving.mac, vni, [hop(west, vni)])

    for machine in (moving, sticky):
        node.house(machine)
        node.attach(machine, vni, sticky=machine is sticky)

    node.sends(moving.mac, vni, [f"{moving.mac} at {moving.port}"])
    for machine, sequence, is_sticky in ((moving, 1, False), (sticky, 0, True)):
        key = (node.rd(vni), f"mac {machine.mac} {machine.address}")
        east.learns(Family.EVPN, key)
        (mobility,) = [one for one in east.communities(Family.EVPN, key) if (one["type"], one["subtype"]) == MOBILITY]
        assert (mobility["sequence"], mobility.get("is_sticky", False)) == (sequence, is_sticky)


def test_a_segment_of_two_nodes_shares_the_traffic_until_one_withdraws_it(scene: Scene) -> None:
    # given a segment that two nodes are attached to, and a MAC that one of them has announced
    node, west, east, (vni, machine) = scene.node, scene.west, scene.east, scene.network()
    subnet = vni - 5000
    address, mac = addresses_in(subnet, 9)[0], f"02:00:00:00:{subnet:02x}:09"
    whole = {
        each: f"a-d {ESI} etag 4294967295 label 0 rd {each.address}:1 rt {AS}:{vni} esi-label 0 nexthop {each.address}"
        for each in (west, east)
    }
    within = {each: f"a-d {ESI} {said_by(each, vni, vni)}" for each in (west, east)}
    for each in (west, east):
        each.announce(Family.EVPN, f"esi {each.address} {ESI} rd {each.address}:1 rt {AS}:{vni} nexthop {each.address}")
        each.announce(Family.EVPN, whole[each])
        each.announce(Family.EVPN, within[each])
    said = f"macadv {mac} {address} {ESI} {said_by(west, vni, vni)}"
    west.announce(Family.EVPN, said)

    # then both are used (RFC 7432 section 8.4), in the kernel by one group
    row = node.sends(mac, vni, [hop(west, vni), hop(east, vni)])
    (candidate,) = row["candidates"]
    assert candidate["ethernet_segment"] == SEGMENT and candidate["node"] == west.address

    def shared() -> set[str]:
        (entry,) = node.tunnelled(mac)
        return node.sharing()[int(entry.removeprefix("nhid "))]

    wait_until(shared, lambda nodes: nodes == {west.address, east.address}, "the kernel has a group of both")
    # and flows are spread over both
    with (
        Wiretap(west.host.namespace, "eth0") as left,
        Wiretap(east.host.namespace, "eth0") as right,
        socket_on(machine.namespace, socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        for port in range(40000, 40064):
            sender.sendto(b"x", (address, port))

        def shares() -> list[int]:
            return [len([frame for frame in tap.tunnelled if frame[:6].hex(":") == mac]) for tap in (left, right)]

        seen = wait_until(shares, lambda seen: sum(seen) >= 64, "all frames have arrived")
    assert sum(seen) == 64 and min(seen) > 8, seen

    # when the other announces the MAC too, then nothing changes
    again = f"macadv {mac} {address} {ESI} {said_by(east, vni, vni)}"
    east.announce(Family.EVPN, again)
    wait_until(lambda: len(node.macs(vni)[mac]["candidates"]), lambda found: found == 2, "both announce it")
    node.sends(mac, vni, [hop(west, vni), hop(east, vni)])

    # when one withdraws the segment as a whole, then its MACs go at once (RFC 7432 section 8.2), though still announced
    west.withdraw(Family.EVPN, whole[west])
    row = node.sends(mac, vni, [hop(east, vni)])
    assert {each["node"] for each in row["candidates"]} == {west.address, east.address}
    node.tunnels(mac, east.address)
    assert node.sharing() == {}

    # when it is back, then both are used; when the other's session is lost, then it alone is
    west.announce(Family.EVPN, whole[west])
    node.sends(mac, vni, [hop(west, vni), hop(east, vni)])
    east.kill()
    node.sends(mac, vni, [hop(west, vni)])
    node.tunnels(mac, west.address)
    east.start()
    node.meets(east.address)


def test_prefix_and_segment_routes_leave_a_network_as_it_is(scene: Scene) -> None:
    node, west, (vni, machine) = scene.node, scene.west, scene.network()
    before = node.macs(vni)

    rest = f"rd {west.address}:{vni} rt {AS}:{vni} encap vxlan nexthop {west.address}"
    said = [
        f"prefix 10.9.0.0/24 etag 0 label 6001 {rest} router-mac 02:00:00:00:00:99",
        f"esi {west.address} {ESI} {rest}",
        f"a-d {ESI} {said_by(west, vni, vni)}",
    ]
    for text in said:
        west.announce(Family.EVPN, text)
    wait_until(
        lambda: [
            row
            for row in node.rows(Family.EVPN)
            if row["peer"] == west.address and row["route_distinguisher"] == f"{west.address}:{vni}"
        ],
        lambda rows: len(rows) == 3,
        "we hold all three",
    )

    assert node.macs(vni) == before and list(before) == [machine.mac]
    node.floods(vni)
    assert node.established(west.address)
