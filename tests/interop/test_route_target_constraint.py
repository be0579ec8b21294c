"""RFC 4684 through our reflector: a client hears of the route targets it asked for, and of no others.

GoBGP asks by its VRFs, the reference daemon by its ports, our speaker for everything (the default membership).
FRR, BIRD, OpenBGPD and ExaBGP have no such family and hear everything.

GoBGP before 3.36 dies when a VRF goes while it holds the default membership (osrg/gobgp#2900). Where it drops one the
reflector runs without its own, and our speaker, whose default membership would be reflected, has a site of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .harness.bagpipe import Reflector, Speaker
from .harness.exabgp import ExaBgp
from .harness.gobgp import GoBgp
from .harness.peer import Neighbor
from .harness.reference import Reference
from .harness.route import Family
from .harness.site import Site
from .harness.waiting import stays, wait_until

TARGETS = range(1, 6)


def key(number: int) -> tuple[str, str]:
    """The route that carries the route target 64512:number."""
    return f"64512:{number}", f"10.{number}.0.0/24"


def port(number: int, **more: object) -> dict[str, object]:
    """A port of the reference in a VPN of its own."""
    return {
        "vpn_instance_id": f"vpn{number}",
        "vpn_type": "ipvpn",
        "import_rt": [f"64512:{number}"],
        "export_rt": [f"64512:{number}"],
        "mac_address": f"52:54:00:00:01:{number:02x}",
        "ip_address": f"10.20{number}.0.1/32",
        "gateway_ip": f"10.20{number}.0.254",
        "local_port": {"linuxif": f"tap{number}"},
        **more,
    }


def say_a_route_for_each_target(injector: ExaBgp) -> None:
    for number in TARGETS:
        injector.say(
            f"announce route 10.{number}.0.0/24 rd 64512:{number} label {1000 + number} "
            f"next-hop {injector.address} extended-community [ target:64512:{number} ]"
        )


class Constrained:
    """One injector of a route for each target, and the clients that choose among them."""

    def __init__(self, site: Site) -> None:
        self.reflector = site.add(Reflector, "reflector")
        self.injector = site.add(ExaBgp, "injector")
        self.gobgp = site.add(GoBgp, "gobgp")
        self.reference = site.add(Reference, "reference")

    def start(self) -> None:
        up = self.reflector.address
        self.injector.neighbors = (Neighbor(up, families=(Family.VPNV4,)),)
        self.gobgp.neighbors = (Neighbor(up, families=(Family.VPNV4, Family.RTC)),)
        self.reference.peers = (up,)
        self.reflector.options = ("--no-default-membership",)
        self.reflector.start().ready()
        for peer in (self.injector, self.gobgp, self.reference):
            peer.start()
        for peer in (self.injector, self.gobgp, self.reference):
            peer.meets(up)
        say_a_route_for_each_target(self.injector)

    def gobgp_heard(self) -> set[tuple[str, str]]:
        """What the reflector told GoBGP of the injector's routes."""
        return set(self.gobgp.routes(Family.VPNV4)) & {key(number) for number in TARGETS}


@pytest.fixture(scope="module")
def constrained(module_site: Site) -> Iterator[Constrained]:
    made = Constrained(module_site)
    made.start()
    yield made


def test_a_client_that_asked_for_nothing_hears_nothing(constrained: Constrained) -> None:
    for number in TARGETS:
        constrained.reflector.learns(Family.VPNV4, key(number))

    stays(constrained.gobgp_heard, lambda heard: not heard, "GoBGP without a VRF hears of no VPN", 1.0)


def test_a_client_hears_what_it_asks_for_and_loses_what_it_asks_for_no_more(constrained: Constrained) -> None:
    constrained.gobgp.want("one", "64512:1")
    wait_until(constrained.gobgp_heard, lambda heard: heard == {key(1)}, "GoBGP hears of VPN 1 alone")

    constrained.gobgp.want("two", "64512:2")
    wait_until(constrained.gobgp_heard, lambda heard: heard == {key(1), key(2)}, "GoBGP hears of VPN 1 and 2")

    constrained.gobgp.unwant("one")
    wait_until(constrained.gobgp_heard, lambda heard: heard == {key(2)}, "GoBGP hears of VPN 2 alone")

    constrained.gobgp.unwant("two")
    wait_until(constrained.gobgp_heard, lambda heard: not heard, "GoBGP hears of no VPN")


def test_a_speaker_that_sends_the_default_membership_hears_everything(site: Site) -> None:
    reflector, injector = site.add(Reflector, "reflector"), site.add(ExaBgp, "injector")
    speaker = site.add(Speaker, "speaker")
    injector.neighbors = (Neighbor(reflector.address, families=(Family.VPNV4,)),)
    speaker.peers = (reflector.address,)
    reflector.start().ready()
    for peer in (injector, speaker):
        peer.start()
    for peer in (injector, speaker):
        peer.meets(reflector.address)

    say_a_route_for_each_target(injector)

    for number in TARGETS:
        speaker.learns(Family.VPNV4, key(number))
    asked = {(row["peer"], row["nlri"]) for row in reflector.rows(Family.RTC)}
    assert (speaker.address, "default") in asked


def test_the_reference_daemon_hears_of_a_vpn_while_it_has_a_port_in_it(constrained: Constrained) -> None:
    constrained.reference.attach(**port(3))
    constrained.reference.learns(Family.VPNV4, key(3))
    constrained.reference.attach(**port(4))
    constrained.reference.learns(Family.VPNV4, key(4))
    assert not {key(1), key(2), key(5)} & set(constrained.reference.routes(Family.VPNV4))

    constrained.reference.detach(**port(3))

    constrained.reference.loses(Family.VPNV4, key(3))
    assert key(4) in constrained.reference.routes(Family.VPNV4)


def test_a_route_that_moves_to_another_target_moves_between_the_clients(constrained: Constrained) -> None:
    constrained.gobgp.want("five", "64512:5")
    wait_until(constrained.gobgp_heard, lambda heard: heard == {key(5)}, "GoBGP hears of VPN 5 alone")

    constrained.injector.say(
        "announce route 10.5.0.0/24 rd 64512:5 label 1005 "
        f"next-hop {constrained.injector.address} extended-community [ target:64512:55 ]"
    )

    wait_until(constrained.gobgp_heard, lambda heard: not heard, "the route that left VPN 5 is withdrawn")
    constrained.gobgp.unwant("five")
