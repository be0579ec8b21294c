"""Two reference daemons, networking-bagpipe 20.0.0, that meet through our reflector: what operators run today.

Ports are attached over REST on both; what each of them makes of the other's routes is read from its looking glass.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .harness.bagpipe import Reflector
from .harness.reference import Reference
from .harness.route import Family
from .harness.site import Site
from .harness.waiting import wait_until


class Pair:
    """The reflector and the two daemons."""

    def __init__(self, site: Site) -> None:
        self.reflector = site.add(Reflector, "reflector")
        self.left = site.add(Reference, "left")
        self.right = site.add(Reference, "right")


@pytest.fixture(scope="module")
def pair(module_site: Site) -> Iterator[Pair]:
    made = Pair(module_site)
    made.reflector.start().ready()
    for daemon in (made.left, made.right):
        daemon.peers = (made.reflector.address,)
        daemon.start()
    for daemon in (made.left, made.right):
        daemon.meets(made.reflector.address)
    yield made


def port(kind: str, number: int, target: str, **more: object) -> dict[str, object]:
    return {
        "vpn_instance_id": f"{kind}-{target}",
        "vpn_type": kind,
        "import_rt": [target],
        "export_rt": [target],
        "mac_address": f"52:54:00:00:00:{number:02x}",
        "ip_address": f"10.0.0.{number}/32",
        "gateway_ip": "10.0.0.254",
        "local_port": {"linuxif": f"tap-{kind}-{number}"},
        **more,
    }


def best(daemon: Reference, instance: str) -> str:
    """The best routes of an instance, as the looking glass writes them."""
    return str(daemon.glass(f"vpns/instances/{instance}/best_routes"))


def test_a_port_of_one_daemon_is_a_best_route_in_the_vrf_of_the_other(pair: Pair) -> None:
    pair.left.attach(**port("ipvpn", 1, "64512:10"))
    pair.right.attach(**port("ipvpn", 2, "64512:10"))

    wait_until(lambda: best(pair.right, "ipvpn-64512:10"), lambda seen: "10.0.0.1/32" in seen, "left's port at right")
    wait_until(lambda: best(pair.left, "ipvpn-64512:10"), lambda seen: "10.0.0.2/32" in seen, "right's port at left")

    seen = pair.right.routes(Family.VPNV4)[(f"{pair.left.address}:0", "10.0.0.1/32")]
    assert (seen.next_hop, seen.originator_id) == (pair.left.address, pair.left.address)
    assert seen.cluster_list == (pair.reflector.address,)


def test_a_detached_port_leaves_the_vrf_of_the_other(pair: Pair) -> None:
    pair.left.attach(**port("ipvpn", 3, "64512:11"))
    pair.right.attach(**port("ipvpn", 4, "64512:11"))
    wait_until(lambda: best(pair.right, "ipvpn-64512:11"), lambda seen: "10.0.0.3/32" in seen, "left's port at right")

    pair.left.detach(**port("ipvpn", 3, "64512:11"))

    wait_until(lambda: best(pair.right, "ipvpn-64512:11"), lambda seen: "10.0.0.3/32" not in seen, "it is gone")


def test_macs_and_multicast_routes_of_one_daemon_reach_the_evi_of_the_other(pair: Pair) -> None:
    pair.left.attach(**port("evpn", 5, "64512:12", vni=1012))
    pair.right.attach(**port("evpn", 6, "64512:12", vni=1012))

    for here, there, number in ((pair.left, pair.right, 6), (pair.right, pair.left, 5)):
        seen = wait_until(
            lambda here=here: best(here, "evpn-64512:12"),  # type: ignore[misc]
            lambda text, number=number: f"52:54:00:00:00:0{number}" in text,  # type: ignore[misc]
            "the other's MAC is a best route",
        )
        assert f"multicast::{there.address}" in seen


def test_a_flowspec_route_and_its_redirect_reach_the_vrf_of_the_other(pair: Pair) -> None:
    pair.right.attach(**port("ipvpn", 8, "64512:14"))
    pair.left.attach(
        **port(
            "ipvpn",
            7,
            "64512:13",
            attract_traffic={
                "redirect_rts": ["64512:14"],
                "classifier": {"destinationPort": "80", "protocol": "tcp"},
                "to_rt": ["64512:15"],
                "static_destination_prefixes": ["10.0.0.8/32"],
            },
        )
    )

    sent = wait_until(
        lambda: pair.reflector.rows(Family.FLOWSPEC),
        lambda rows: any("10.0.0.8/32" in row["nlri"] for row in rows),
        "the reflector holds the FlowSpec route",
    )
    assert "64512:14" in sent[0]["route_targets"]
    wait_until(
        lambda: pair.right.routes(Family.FLOWSPEC),
        lambda routes: any(nlri == "10.0.0.8/32" for _, nlri in routes),
        "the other daemon holds the FlowSpec route",
    )
    wait_until(
        lambda: [entry["id"] for entry in pair.right.glass("vpns/instances")],
        lambda names: "redirect-to-ipvpn-64512_15" in names,
        "the other daemon follows the redirection",
    )


def test_each_daemon_hears_of_the_vpns_it_is_in_and_of_no_others(pair: Pair) -> None:
    pair.left.attach(**port("ipvpn", 20, "64512:30"))
    pair.left.attach(**port("ipvpn", 21, "64512:31"))
    pair.right.attach(**port("ipvpn", 22, "64512:31"))

    wait_until(lambda: best(pair.right, "ipvpn-64512:31"), lambda seen: "10.0.0.21/32" in seen, "the common VPN")

    prefixes = {nlri for _, nlri in pair.right.routes(Family.VPNV4)}
    assert "10.0.0.20/32" not in prefixes
    assert "10.0.0.20/32" in {nlri for _, nlri in pair.reflector.routes(Family.VPNV4)}


def test_both_sessions_lived_through_it_all(pair: Pair) -> None:
    sessions = pair.reflector.sessions()

    assert {name: peer["state"] for name, peer in sessions.items()} == {
        pair.left.address: "established",
        pair.right.address: "established",
    }
    assert [peer["flaps"] for peer in sessions.values()] == [0, 0]


def test_a_daemon_that_is_killed_takes_its_routes_along(pair: Pair) -> None:
    pair.left.attach(**port("ipvpn", 23, "64512:32"))
    pair.right.attach(**port("ipvpn", 24, "64512:32"))
    wait_until(lambda: best(pair.right, "ipvpn-64512:32"), lambda seen: "10.0.0.23/32" in seen, "left's port at right")

    pair.left.kill()

    wait_until(lambda: best(pair.right, "ipvpn-64512:32"), lambda seen: "10.0.0.23/32" not in seen, "it is gone")
