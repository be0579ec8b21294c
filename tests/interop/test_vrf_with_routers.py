"""A VRF of our speaker and the routes of real routers: imported by route target, exported, told again when it changes.

The dataplane is the one that forwards nothing; packets to other nodes are what ``tests/system`` sends.
"""

from __future__ import annotations

import pytest

from .harness.bagpipe import Speaker
from .harness.bird import Bird
from .harness.frr import Frr
from .harness.gobgp import GoBgp
from .harness.http import call
from .harness.peer import Neighbor
from .harness.route import Family, Route
from .harness.site import Site
from .harness.waiting import wait_until

RED, GREEN = frozenset({"64512:65"}), frozenset({"64512:66"})
Router = Frr | Bird | GoBgp


def attachment(speaker: Speaker, imports: frozenset[str], exports: frozenset[str]) -> dict[str, object]:
    del speaker
    return {
        "vpn_instance_id": "red",
        "vpn_type": "ipvpn",
        "mac_address": "02:00:00:00:00:01",
        "ip_address": "10.1.0.7/24",
        "gateway_ip": "10.1.0.1",
        "local_port": {"linuxif": "tap1"},
        "import_rt": sorted(imports),
        "export_rt": sorted(exports),
    }


def attach(speaker: Speaker, imports: frozenset[str], exports: frozenset[str]) -> None:
    body = attachment(speaker, imports, exports)
    assert call(speaker.host, 8082, "POST", "/attach_localport", body) is None


def forwarded(speaker: Speaker) -> dict[str, str]:
    """The routes of the VRF: prefix, and the next hops with their labels."""
    routes = speaker.ask("v2/instances/red")["routes"]
    return {route["prefix"]: str([one["next_hop"] for one in route["candidates"] if one["used"]]) for route in routes}


def router(site: Site, kind: type[Frr] | type[Bird]) -> tuple[Speaker, Frr | Bird]:
    speaker = site.add(Speaker, "speaker")
    speaker.options["retain_routes"] = "auto"
    other = site.add(kind, "router")
    other.neighbors = (Neighbor(speaker.address),)
    other.networks = (
        Route("64512:2", "10.2.0.0/24", other.address, 1002, RED),
        Route("64512:2", "10.3.0.0/24", other.address, 1003, GREEN),
    )
    speaker.peers = (other.address,)
    return speaker, other


@pytest.mark.parametrize("kind", [Frr, Bird])
def test_a_vrf_imports_what_its_targets_say_and_is_heard_by_the_router(
    site: Site, kind: type[Frr] | type[Bird]
) -> None:
    speaker, other = router(site, kind)
    for peer in (other, speaker):
        peer.start()
    speaker.ready().meets(other.address)

    # An import after the session is up: neither program has route target constraint, so it comes by route refresh.
    attach(speaker, RED, RED)
    seen = wait_until(lambda: forwarded(speaker), lambda seen: "10.2.0.0/24" in seen, "the VRF has the red route")
    assert other.address in seen["10.2.0.0/24"] and "1002" in seen["10.2.0.0/24"]
    assert "10.3.0.0/24" not in seen
    key = (f"{speaker.address}:0", "10.1.0.7/32")
    heard = other.learns(Family.VPNV4, key)
    assert heard.route_targets == RED
    assert heard.next_hop == speaker.address

    # Other targets: the routes of the old ones go, those of the new ones come, and our own is told again.
    attach(speaker, GREEN, GREEN)
    wait_until(
        lambda: set(forwarded(speaker)),
        lambda seen: "10.3.0.0/24" in seen and "10.2.0.0/24" not in seen,
        "the VRF has the green route alone",
    )
    wait_until(lambda: other.routes(Family.VPNV4)[key].route_targets, lambda now: now == GREEN, "told again")

    call(speaker.host, 8082, "POST", "/detach_localport", attachment(speaker, GREEN, GREEN))
    other.loses(Family.VPNV4, key)
    assert speaker.ask("v2/instances") == {"instances": []}


def test_with_route_target_constraint_a_router_is_asked_for_what_the_vrf_imports(site: Site) -> None:
    speaker, gobgp = site.add(Speaker, "speaker"), site.add(GoBgp, "router")
    speaker.options["retain_routes"] = "auto"
    gobgp.neighbors = (Neighbor(speaker.address, families=(Family.VPNV4, Family.RTC)),)
    speaker.peers = (gobgp.address,)
    for peer in (gobgp, speaker):
        peer.start()
    speaker.ready().meets(gobgp.address)
    for number, target in ((2, RED), (3, GREEN)):
        (text,) = target
        gobgp.announce(
            Family.VPNV4,
            f"10.{number}.0.0/24 label {1000 + number} rd 64512:2 rt {text} nexthop {gobgp.address}",
        )
    assert [row for row in speaker.rows(Family.VPNV4) if row["peer"] != "local"] == []

    attach(speaker, RED, RED)

    seen = wait_until(lambda: forwarded(speaker), lambda seen: "10.2.0.0/24" in seen, "the VRF has the red route")
    assert gobgp.address in seen["10.2.0.0/24"]
    assert {row["nlri"].split(" ")[0] for row in speaker.rows(Family.VPNV4) if row["peer"] != "local"} == {
        "64512:2:10.2.0.0/24"
    }
