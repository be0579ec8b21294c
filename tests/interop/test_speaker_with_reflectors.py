"""Our speaker under two reflectors of each kind at a time, one of which is then killed: nothing may be lost.

ExaBGP says the VPN and FlowSpec routes and GoBGP those of EVPN, each as a client of both reflectors.

The reflectors run the very configuration that `docs/reflectors/` shows: the test takes it from there.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .harness.bagpipe import Reflector, Speaker
from .harness.bird import Bird
from .harness.exabgp import ExaBgp
from .harness.frr import Frr
from .harness.gobgp import GoBgp
from .harness.openbgpd import OpenBgpd
from .harness.peer import Neighbor, Peer
from .harness.route import Family, Routes
from .harness.site import Site
from .harness.waiting import stays, wait_until

VPN_AND_EVPN = (Family.VPNV4, Family.VPNV6, Family.EVPN, Family.FLOWSPEC)
DOCUMENTS = Path(__file__).parents[2] / "docs" / "reflectors"
FAMILIES = {
    "frr": (Family.VPNV4, Family.VPNV6, Family.EVPN),
    "gobgp": (Family.VPNV4, Family.VPNV6, Family.EVPN, Family.FLOWSPEC),
    "bird": (Family.VPNV4, Family.VPNV6),
    "openbgpd": (Family.VPNV4, Family.VPNV6),
    "bagpipe": (Family.VPNV4, Family.VPNV6, Family.EVPN, Family.FLOWSPEC),
}
ROUTES = 20
MACS = 3
STATION = ("64512:1", "mac 52:54:00:00:00:01 10.1.0.1")


def documented(kind: str) -> str:
    """The configuration in the documentation, that of 192.0.2.1."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", (DOCUMENTS / f"{kind}.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1, f"{kind}.md shows one configuration"
    return str(blocks[0])


def exchanged(text: str) -> str:
    """The same for 192.0.2.2, made as the documentation says."""
    return text.replace("192.0.2.1", "192.0.2.X").replace("192.0.2.2", "192.0.2.1").replace("192.0.2.X", "192.0.2.2")


def reflector(site: Site, kind: str, number: int) -> Peer:
    """One of the two reflectors; the first two hosts of a site are 192.0.2.1 and 192.0.2.2."""
    name = f"{kind}{number}"
    if kind == "bagpipe":
        return site.add(Reflector, name)
    text = documented(kind) if number == 1 else exchanged(documented(kind))
    peer: Frr | GoBgp | Bird | OpenBgpd
    match kind:
        case "frr":
            peer = site.add(Frr, name)
        case "gobgp":
            peer = site.add(GoBgp, name)
        case "bird":
            peer = site.add(Bird, name)
        case _:
            peer = site.add(OpenBgpd, name)
    peer.config = text
    return peer


class Twice:
    """Two reflectors of a kind, our speaker, and an injector, each client on both reflectors."""

    def __init__(self, site: Site, kind: str) -> None:
        self.kind = kind
        self.families = FAMILIES[kind]
        self.reflectors = [reflector(site, kind, number) for number in (1, 2)]
        self.speaker = site.add(Speaker, "speaker")
        self.injector = site.add(ExaBgp, "injector")
        self.stations = site.add(GoBgp, "stations") if Family.EVPN in self.families else None
        self.has_stations = False

    def start(self) -> None:
        """Start all; the injector says `ROUTES` routes of every family that it and the reflector have."""
        for one in self.reflectors:
            one.start()
        addresses = tuple(one.address for one in self.reflectors)
        self.speaker.peers = addresses
        self.injector.neighbors = tuple(Neighbor(address, families=self.families) for address in addresses)
        self.speaker.start().ready()
        self.injector.start()
        for address in addresses:
            self.speaker.meets(address)
            self.injector.meets(address)
        for number in range(ROUTES):
            self.say("announce", number)

    def say_stations(self, stations: GoBgp) -> None:
        """Start GoBGP, which says `MACS` MAC/IP routes; from now on they belong to everything."""
        addresses = [one.address for one in self.reflectors]
        stations.neighbors = tuple(Neighbor(address, families=(Family.EVPN,)) for address in addresses)
        stations.start()
        for address in addresses:
            stations.meets(address)
        for number in range(MACS):
            stations.announce(Family.EVPN, self.station(stations, number))
        self.has_stations = True

    @staticmethod
    def station(stations: GoBgp, number: int) -> str:
        """A MAC/IP route in GoBGP's words."""
        return (
            f"macadv 52:54:00:00:00:{number:02x} 10.{number}.0.1 etag 0 label {1000 + number} rd 64512:{number} "
            f"rt 64512:{number} encap vxlan nexthop {stations.address}"
        )

    def say(self, verb: str, number: int) -> None:
        """Announce or withdraw the routes of a number."""
        here, here6 = self.injector.address, self.injector.host.address6
        common = f"rd 64512:{number} label {1000 + number} extended-community [ target:64512:{number} ]"
        self.injector.say(f"{verb} route 10.{number}.0.0/24 next-hop {here} {common}")
        self.injector.say(f"{verb} route 2001:db8:{number:x}::/64 next-hop {here6} {common}")
        if Family.FLOWSPEC in self.families:
            self.injector.say(
                f"{verb} flow route {{ rd 64512:{number}; match {{ destination 10.{number}.0.1/32; }} "
                f"then {{ redirect 64512:200; extended-community [ target:64512:{number} ]; }} }}"
            )

    def said(self, family: Family) -> set[tuple[str, str]]:
        """The keys of all that the injector, or for EVPN GoBGP, said in a family."""
        texts: dict[Family, Callable[[int], str]] = {
            Family.VPNV4: lambda number: f"10.{number}.0.0/24",
            Family.VPNV6: lambda number: f"2001:db8:{number:x}::/64",
            Family.FLOWSPEC: lambda number: f"10.{number}.0.1/32",
        }
        if family not in self.families or (family is Family.EVPN and not self.has_stations):
            return set()
        if family is Family.EVPN:
            return {(f"64512:{number}", f"mac 52:54:00:00:00:{number:02x} 10.{number}.0.1") for number in range(MACS)}
        return {(f"64512:{number}", texts[family](number).replace("db8:0::", "db8::")) for number in range(ROUTES)}

    def everything(self) -> dict[Family, Routes]:
        """The best routes that our speaker holds."""
        return {family: self.speaker.routes(family) for family in VPN_AND_EVPN}

    def complete(self, held: dict[Family, Routes]) -> bool:
        """Whether all that was said is there."""
        return all(set(held[family]) >= self.said(family) for family in held)

    def paths(self) -> set[str]:
        """The neighbours that our speaker has the first route of."""
        return {row["peer"] for row in self.speaker.rows(Family.VPNV4) if row["route_distinguisher"] == "64512:0"}


@pytest.fixture(params=list(FAMILIES))
def twice(site: Site, request: pytest.FixtureRequest) -> Iterator[Twice]:
    made = Twice(site, request.param)
    made.start()
    yield made


def test_two_reflectors_give_every_route_twice_and_the_death_of_one_loses_none(twice: Twice) -> None:
    first, second = twice.reflectors
    wait_until(twice.everything, twice.complete, "the speaker holds every route")
    both = {first.address, second.address}
    wait_until(twice.paths, lambda paths: paths == both, "it has each from both reflectors")
    route = twice.speaker.routes(Family.VPNV4)[("64512:7", "10.7.0.0/24")]
    assert (route.next_hop, route.label) == (twice.injector.address, 1007)
    assert route.route_targets == {"64512:7"}
    # GoBGP 3.10 sends the other reflector a route without ORIGINATOR_ID, which takes its sender for the originator.
    senders = both if twice.kind == "gobgp" else set()
    assert route.originator_id in {twice.injector.address} | senders
    assert route.cluster_list in {(first.address,), (second.address,)}
    if twice.stations is not None:
        twice.say_stations(twice.stations)
        wait_until(twice.everything, twice.complete, "the speaker holds every EVPN route too")
        station = twice.speaker.routes(Family.EVPN)[STATION]
        assert (station.next_hop, station.label) == (twice.stations.address, 1001)
        assert station.route_targets == {"64512:1"}
        if twice.kind != "gobgp":  # docs/reflectors/gobgp.md: GoBGP may name the other reflector
            assert station.originator_id == twice.stations.address
        assert station.cluster_list in {(first.address,), (second.address,)}

    first.kill()

    stays(twice.everything, twice.complete, "every route is there while a reflector dies", 1.0)
    wait_until(twice.paths, lambda paths: paths == {second.address}, "the dead one's paths are gone")
    assert twice.complete(twice.everything())
    twice.say("withdraw", 7)
    if twice.kind == "openbgpd":
        time.sleep(1)
        assert ("64512:7", "10.7.0.0/24") in twice.speaker.routes(Family.VPNV4), "tell docs/reflectors/openbgpd.md"
    else:
        twice.speaker.loses(Family.VPNV4, ("64512:7", "10.7.0.0/24"))
    if twice.stations is not None:
        twice.stations.withdraw(Family.EVPN, twice.station(twice.stations, 1))
        twice.speaker.loses(Family.EVPN, STATION)
