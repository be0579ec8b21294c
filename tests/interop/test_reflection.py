"""Our reflector with FRR, BIRD, GoBGP, OpenBGPD, ExaBGP, the reference daemon and our speaker as clients at once.

What each of them says must reach each of the others as it was said: RFC 4456 section 8 (ORIGINATOR_ID, CLUSTER_LIST,
nothing else changed), RFC 4364, 4659, 7432 and 8955 for the families.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from .harness.bagpipe import Reflector, Speaker
from .harness.bird import Bird
from .harness.exabgp import ExaBgp
from .harness.gobgp import GoBgp
from .harness.openbgpd import OpenBgpd
from .harness.peer import Neighbor, Peer
from .harness.reference import Reference
from .harness.route import Family, Route
from .harness.site import Site
from .harness.vtep import Vtep
from .harness.waiting import wait_until

RED = frozenset({"64512:65"})
BLUE = frozenset({"64512:66"})
RED_AND_GREEN = frozenset({"64512:65", "64512:67"})
VNI = 1001
EVPN_SPEAKERS = (Family.VPNV4, Family.VPNV6, Family.EVPN)
FLOWSPEC_SPEAKERS = (*EVPN_SPEAKERS, Family.FLOWSPEC)
REDIRECT = (
    "match {{ destination {0}; protocol tcp; destination-port =80; }} "
    "then {{ redirect 64512:200; extended-community [ target:64512:65 ]; }}"
)


class Clients:
    """The reflector, its clients, and what each client says."""

    def __init__(self, site: Site) -> None:
        self.reflector = site.add(Reflector, "reflector")
        self.frr = site.add(Vtep, "frr")
        self.bird = site.add(Bird, "bird")
        self.gobgp = site.add(GoBgp, "gobgp")
        self.openbgpd = site.add(OpenBgpd, "openbgpd")
        self.exabgp = site.add(ExaBgp, "exabgp")
        self.reference = site.add(Reference, "reference")
        self.speaker = site.add(Speaker, "speaker")
        self.all: list[Peer] = [peer for peer in site.peers if peer is not self.reflector]
        self.said: dict[Family, dict[str, Route]] = {
            Family.VPNV4: {
                "frr": Route("64512:2", "10.2.0.0/24", self.frr.address, 1002, RED, 150),
                "bird": Route("64512:3", "10.3.0.0/24", self.bird.address, 1003, RED_AND_GREEN, 150),
                "gobgp": Route("64512:4", "10.4.0.0/24", self.gobgp.address, 1004, RED_AND_GREEN, 100),
                "exabgp": Route("192.0.2.6:6", "10.6.0.0/24", self.exabgp.address, 1006, RED, 150),
                "reference": Route("192.0.2.7:0", "10.7.0.1/32", self.reference.address, None, RED, 100),
            },
            Family.VPNV6: {
                "frr": Route("64512:2", "2001:db8:2::/64", self.frr.host.address6, 1002, RED, 150),
                "bird": Route("64512:3", "2001:db8:3::/64", self.bird.host.address6, 1003, RED, 150),
                "gobgp": Route("64512:4", "2001:db8:4::/64", self.gobgp.host.address6, 1004, RED, 100),
                "exabgp": Route("192.0.2.6:6", "2001:db8:6::/64", self.exabgp.host.address6, 1006, RED, 150),
            },
            Family.EVPN: {
                "frr": Route(
                    "192.0.2.2:2", "mac 52:54:00:00:00:02", self.frr.address, VNI, frozenset({"64512:1001"}), 100
                ),
                "gobgp": Route("64512:4", "mac 52:54:00:00:00:04 10.4.0.1", self.gobgp.address, VNI, BLUE, 100),
                "reference": Route(
                    "192.0.2.7:2", "mac 52:54:00:00:00:07 10.7.0.1", self.reference.address, VNI, BLUE, 100
                ),
            },
            Family.FLOWSPEC: {
                "gobgp": Route("64512:4", "10.4.0.1/32", "", None, RED),
                "exabgp": Route("192.0.2.6:6", "10.6.0.1/32", "", None, RED),
            },
        }

    def start(self) -> None:
        """Start the reflector, then everybody else, and have each one say its routes."""
        up = self.reflector.address
        self.frr.neighbors = (Neighbor(up, families=EVPN_SPEAKERS),)
        self.frr.networks = (self.said[Family.VPNV4]["frr"], self.said[Family.VPNV6]["frr"])
        self.frr.add_network(VNI, 1)
        self.bird.neighbors = self.openbgpd.neighbors = (Neighbor(up),)
        self.bird.networks = (self.said[Family.VPNV4]["bird"], self.said[Family.VPNV6]["bird"])
        self.gobgp.neighbors = (Neighbor(up, families=tuple(Family)),)
        self.exabgp.neighbors = (Neighbor(up, families=FLOWSPEC_SPEAKERS),)
        self.reference.peers = self.speaker.peers = (up,)
        self.reflector.start().ready()
        for peer in self.all:
            peer.start()
        for peer in self.all:
            peer.meets(up)
        self.frr.settles(up)
        self._speak()

    def _speak(self) -> None:
        self.frr.add_station(VNI, "52:54:00:00:00:02")
        for family in (Family.VPNV4, Family.VPNV6):
            self.gobgp.announce(family, gobgp_text(self.said[family]["gobgp"]))
            self.exabgp.say(f"announce {exabgp_text(self.said[family]['exabgp'])}")
        self.gobgp.announce(
            Family.EVPN,
            f"macadv 52:54:00:00:00:04 10.4.0.1 etag 0 label {VNI} rd 64512:4 rt 64512:66 encap vxlan "
            f"nexthop {self.gobgp.address}",
        )
        self.gobgp.announce(
            Family.FLOWSPEC,
            "rd 64512:4 match destination 10.4.0.1/32 protocol tcp then redirect 64512:200 rt 64512:65",
        )
        self.exabgp.say(f"announce flow route {{ rd 192.0.2.6:6; {REDIRECT.format('10.6.0.1/32')} }}")
        self.gobgp.want("red", "64512:65")
        self.gobgp.want("blue", "64512:66")
        self.gobgp.want("edge", "64512:1001")
        self.reference.attach(**port("ipvpn", "64512:65"))
        self.reference.attach(**port("evpn", "64512:66"), vni=VNI)
        self.reference.attach(**{**port("evpn", "64512:1001"), "vpn_instance_id": "edge", "vni": 1002})

    def by_name(self, name: str) -> Peer:
        """A client."""
        return next(peer for peer in self.all if peer.host.name == name)


def gobgp_text(route: Route) -> str:
    targets = " ".join(f"rt {target}" for target in sorted(route.route_targets))
    return f"{route.nlri} label {route.label} rd {route.rd} {targets} nexthop {route.next_hop} local-pref 100"


def exabgp_text(route: Route) -> str:
    targets = " ".join(f"target:{target}" for target in sorted(route.route_targets))
    return (
        f"route {route.nlri} rd {route.rd} label {route.label} next-hop {route.next_hop} "
        f"local-preference {route.local_pref} extended-community [ {targets} ]"
    )


def port(kind: str, target: str) -> dict[str, object]:
    """What the reference is told about a port."""
    return {
        "vpn_instance_id": kind,
        "vpn_type": kind,
        "import_rt": [target],
        "export_rt": [target],
        "mac_address": "52:54:00:00:00:07",
        "ip_address": "10.7.0.1/32",
        "gateway_ip": "10.7.0.254",
        "local_port": {"linuxif": f"tap-{kind}-{target}"},
    }


@pytest.fixture(scope="module")
def clients(module_site: Site) -> Iterator[Clients]:
    made = Clients(module_site)
    made.start()
    yield made


def as_received(clients: Clients, sent: Route, sender: str) -> Route:
    """A route with what a reflector must add to it."""
    origin = clients.by_name(sender).address
    return replace(sent, originator_id=origin, cluster_list=(clients.reflector.address,))


def check(clients: Clients, family: Family, receiver: str, sender: str) -> None:
    """The receiver holds the sender's route unchanged, in all that the receiver shows of a route."""
    wanted = as_received(clients, clients.said[family][sender], sender)
    seen = clients.by_name(receiver).learns(family, wanted.key)
    wanted = replace(
        wanted,
        label=seen.label if None in {seen.label, wanted.label} else wanted.label,
        local_pref=seen.local_pref if None in {seen.local_pref, wanted.local_pref} else wanted.local_pref,
        next_hop=seen.next_hop if family is Family.FLOWSPEC else wanted.next_hop,
    )
    assert seen == wanted


@pytest.mark.parametrize("receiver", ["frr", "bird", "gobgp", "openbgpd", "exabgp", "reference", "speaker"])
def test_a_vpnv4_route_of_every_other_client_arrives_unchanged(clients: Clients, receiver: str) -> None:
    for sender in clients.said[Family.VPNV4].keys() - {receiver}:
        check(clients, Family.VPNV4, receiver, sender)


@pytest.mark.parametrize("receiver", ["frr", "gobgp", "openbgpd", "exabgp", "speaker"])
def test_a_vpnv6_route_of_every_other_client_arrives_unchanged(clients: Clients, receiver: str) -> None:
    for sender in clients.said[Family.VPNV6].keys() - {receiver}:
        check(clients, Family.VPNV6, receiver, sender)


def test_bird_takes_vpnv6_routes_except_those_with_an_ipv4_mapped_next_hop(clients: Clients) -> None:
    mapped = Route("64512:97", "2001:db8:97::/64", clients.gobgp.address, 1097, RED, 100)
    clients.gobgp.announce(Family.VPNV6, gobgp_text(mapped))

    assert clients.frr.learns(Family.VPNV6, mapped.key) == as_received(clients, mapped, "gobgp")

    for sender in ("frr", "gobgp", "exabgp"):
        check(clients, Family.VPNV6, "bird", sender)
    assert mapped.key not in clients.bird.routes(Family.VPNV6)
    assert f"({clients.gobgp.address} for vpn6-mpls)" in (clients.bird.directory / "events.log").read_text()


@pytest.mark.parametrize("receiver", ["frr", "gobgp", "exabgp", "reference", "speaker"])
def test_an_evpn_mac_route_of_every_other_client_arrives_unchanged(clients: Clients, receiver: str) -> None:
    for sender in clients.said[Family.EVPN].keys() - {receiver}:
        check(clients, Family.EVPN, receiver, sender)


@pytest.mark.parametrize("receiver", ["gobgp", "exabgp", "speaker"])
def test_an_evpn_multicast_route_carries_its_pmsi_tunnel_to_the_other_clients(clients: Clients, receiver: str) -> None:
    for sender, rd in (("frr", "192.0.2.2:2"), ("reference", "192.0.2.7:2")):
        address = clients.by_name(sender).address
        seen = clients.by_name(receiver).learns(Family.EVPN, (rd, f"multicast {address}"))
        assert (seen.next_hop, seen.originator_id) == (address, address)
        assert seen.label in ({None} if receiver == "exabgp" else {VNI})


@pytest.mark.parametrize("receiver", ["gobgp", "exabgp", "speaker"])
def test_a_vpn_flowspec_route_of_every_other_client_arrives_unchanged(clients: Clients, receiver: str) -> None:
    for sender in clients.said[Family.FLOWSPEC].keys() - {receiver}:
        check(clients, Family.FLOWSPEC, receiver, sender)


def test_without_any_argument_it_reflects_between_whoever_connects(site: Site) -> None:
    reflector, frr, speaker = site.add(Reflector, "reflector"), site.add(Vtep, "frr"), site.add(Speaker, "speaker")
    route = Route("64512:2", "10.2.0.0/24", frr.address, 1002, RED, 150)
    frr.neighbors = (Neighbor(reflector.address),)
    frr.networks = (route,)
    speaker.peers = (reflector.address,)

    reflector.start_bare()
    for peer in (frr, speaker):
        peer.start()

    speaker.ready().meets(reflector.address)
    # Its identifier is not its address, which a daemon on its host may have as well.
    cluster = "0." + reflector.address.partition(".")[2]
    wanted = replace(route, originator_id=frr.address, cluster_list=(cluster,))
    assert speaker.learns(Family.VPNV4, route.key) == wanted


def test_no_client_is_told_its_own_routes(clients: Clients) -> None:
    own = clients.said[Family.VPNV4]["exabgp"].key

    clients.speaker.learns(Family.VPNV4, own)

    assert own not in clients.exabgp.routes(Family.VPNV4)


def test_every_client_sees_the_end_of_rib_of_the_families_it_negotiated(clients: Clients) -> None:
    told = [
        message["neighbor"]["message"]["eor"]
        for message in clients.exabgp.messages("update")
        if "eor" in message["neighbor"]["message"]
    ]

    assert sorted((marker["afi"], marker["safi"]) for marker in told) == [
        ("ipv4", "flow-vpn"), ("ipv4", "mpls-vpn"), ("ipv6", "mpls-vpn"), ("l2vpn", "evpn"),
    ]  # fmt: skip


@pytest.mark.parametrize("family", [Family.VPNV4, Family.VPNV6])
def test_a_withdraw_passes_to_everybody_and_openbgpd_alone_keeps_the_route(clients: Clients, family: Family) -> None:
    given = replace(clients.said[family]["exabgp"], rd="64512:99")
    everybody = [peer for peer in clients.all if peer not in {clients.exabgp, clients.reference}]
    clients.exabgp.say(f"announce {exabgp_text(given)}")
    for peer in everybody:
        peer.learns(family, given.key)

    clients.exabgp.say(f"withdraw {exabgp_text(given)}")

    clients.reflector.loses(family, given.key)
    for peer in everybody:
        if peer is not clients.openbgpd:
            peer.loses(family, given.key)
    assert given.key in clients.openbgpd.routes(family), "OpenBGPD 7.7's defect is gone: tell it in docs/reflectors"


def test_a_changed_route_replaces_the_former_one_everywhere(clients: Clients) -> None:
    given = replace(clients.said[Family.VPNV4]["exabgp"], rd="64512:98")
    changed = replace(given, label=2006, local_pref=50, route_targets=RED_AND_GREEN)
    clients.exabgp.say(f"announce {exabgp_text(given)}")
    receivers = [clients.frr, clients.bird, clients.gobgp, clients.speaker]
    for peer in receivers:
        peer.learns(Family.VPNV4, given.key)

    clients.exabgp.say(f"announce {exabgp_text(changed)}")

    wanted = as_received(clients, changed, "exabgp")
    for peer in receivers:
        wait_until(
            lambda peer=peer: peer.routes(Family.VPNV4)[given.key],  # type: ignore[misc]
            lambda seen: seen == wanted,
            f"{peer.host.name} holds {wanted}",
        )


def test_a_client_that_leaves_takes_its_routes_along_and_no_others(clients: Clients) -> None:
    bird, frr = clients.said[Family.VPNV4]["bird"], clients.said[Family.VPNV4]["frr"]
    clients.exabgp.learns(Family.VPNV4, bird.key)

    clients.bird.ask("disable", "peer0")

    for peer in (clients.exabgp, clients.frr, clients.gobgp, clients.speaker):
        peer.loses(Family.VPNV4, bird.key)
    assert frr.key in clients.exabgp.routes(Family.VPNV4)
    clients.bird.ask("enable", "peer0")
    clients.exabgp.learns(Family.VPNV4, bird.key)
