"""IP prefix routes of EVPN (RFC 9136) between a VRF of our speaker and real routers: what they take, what we take.

The dataplane is the one that forwards nothing; packets are what ``tests/system`` sends. FRR makes usable prefix routes
only of a VRF of the kernel, which ``tests/vm`` has; those that it originates by configuration alone name neither a
tunnel nor a target.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from bagpipe.dataplane.model import default_router_mac

from .harness.bagpipe import Speaker
from .harness.frr import Frr
from .harness.gobgp import GoBgp
from .harness.http import call
from .harness.peer import Neighbor
from .harness.route import Family
from .harness.site import Site
from .harness.waiting import wait_until

RED = frozenset({"64512:65"})
THEIR_MAC = "02:00:5e:00:00:02"


def attach(speaker: Speaker, address: str, vni: int = 5000) -> None:
    body = {
        "instance": {"id": "red", "import_rts": sorted(RED), "export_rts": sorted(RED), "vni": vni},
        "port": {"name": "tap1", "number": 1},
        "mac": "02:00:00:00:00:01",
        "addresses": [address],
    }
    name = address.replace(":", "-").replace("/", "-")
    assert call(speaker.host, 8082, "PUT", f"/v2/attachments/{name}", body) is not None


def forwarded(speaker: Speaker) -> dict[str, list[str]]:
    """The routes of the VRF: prefix, and the next hops that are used."""
    routes = speaker.ask("v2/instances/red")["routes"]
    return {route["prefix"]: [one["next_hop"] for one in route["candidates"] if one["used"]] for route in routes}


def speaker_of(site: Site) -> Speaker:
    speaker = site.add(Speaker, "speaker")
    speaker.options["retain_routes"] = "auto"
    speaker.sections["DATAPLANE_DRIVER_IPVPN"] = {"dataplane_driver": "dummy", "carried_by": "evpn"}
    return speaker


def paths(frr: Frr) -> list[dict[str, Any]]:
    """What FRR holds of EVPN."""
    table = frr.json("show bgp l2vpn evpn route detail")
    return [
        path
        for entries in table.values()
        if isinstance(entries, dict)
        for entry in entries.values()
        if isinstance(entry, dict)
        for several in entry["paths"]
        for path in several
    ]


@pytest.mark.parametrize("own", ["10.1.0.7/32", "2001:db8:1::7/128"])
def test_frr_takes_the_prefix_route_of_a_vrf_with_vni_and_router_mac(site: Site, own: str) -> None:
    # given FRR and an endpoint of a VRF that EVPN carries
    speaker, frr = speaker_of(site), site.add(Frr, "router")
    frr.neighbors = (Neighbor(speaker.address, families=(Family.EVPN,)),)
    speaker.peers = (frr.address,)
    for peer in (frr, speaker):
        peer.start()
    speaker.ready().meets(frr.address)
    attach(speaker, own)

    # then FRR has the route as one of type 5, valid, with VNI, target, VXLAN and router's MAC
    heard = frr.learns(Family.EVPN, (f"{speaker.address}:0", f"prefix {own}"))
    assert (heard.label, heard.route_targets, heard.next_hop) == (5000, RED, speaker.address)
    mac = default_router_mac(ip_address(speaker.address))
    (shown,) = paths(frr)
    assert shown["valid"] and {"ET:8", f"Rmac:{mac}"} <= set(shown["extendedCommunity"]["string"].split()), shown


def test_gobgp_and_a_vrf_exchange_prefix_routes(site: Site) -> None:
    # given GoBGP and an endpoint of a VRF that EVPN carries
    speaker, gobgp = speaker_of(site), site.add(GoBgp, "router")
    gobgp.neighbors = (Neighbor(speaker.address, families=(Family.EVPN,)),)
    speaker.peers = (gobgp.address,)
    for peer in (gobgp, speaker):
        peer.start()
    speaker.ready().meets(gobgp.address)
    attach(speaker, "10.1.0.7/32")

    # then GoBGP has our route
    heard = gobgp.learns(Family.EVPN, (f"{speaker.address}:0", "prefix 10.1.0.7/32"))
    assert (heard.label, heard.route_targets) == (5000, RED)

    # when it announces one that is usable, one without a router's MAC and one with a gateway, then the first is used
    rest = f"rd 64512:2 rt 64512:65 encap vxlan nexthop {gobgp.address}"
    gobgp.announce(Family.EVPN, f"prefix 10.2.0.0/24 etag 0 label 6001 {rest} router-mac {THEIR_MAC}")
    gobgp.announce(Family.EVPN, f"prefix 10.3.0.0/24 etag 0 label 6001 {rest}")
    gobgp.announce(Family.EVPN, f"prefix 10.4.0.0/24 gw 10.9.9.9 etag 0 label 6001 {rest} router-mac {THEIR_MAC}")
    seen = wait_until(lambda: forwarded(speaker), lambda seen: len(seen) == 4, "the VRF has all four routes")
    assert seen["10.2.0.0/24"] == [f"{gobgp.address} label 6001 vxlan router {THEIR_MAC}"]
    assert seen["10.3.0.0/24"] == seen["10.4.0.0/24"] == []

    # and withdraws it, then it is gone
    gobgp.withdraw(Family.EVPN, f"prefix 10.2.0.0/24 etag 0 label 6001 {rest} router-mac {THEIR_MAC}")
    wait_until(lambda: forwarded(speaker), lambda seen: "10.2.0.0/24" not in seen, "the route is withdrawn")
