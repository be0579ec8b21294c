"""Our speaker's sessions with FRR and BIRD: TCP MD5, GTSM, IPv6 transport, another AS, route refresh, End-of-RIB."""

from __future__ import annotations

import pytest

from .harness.bagpipe import Speaker
from .harness.bird import Bird
from .harness.frr import Frr
from .harness.peer import Neighbor
from .harness.route import Family, Route
from .harness.site import Site
from .harness.waiting import stays, wait_until

RED = frozenset({"64512:65"})


def network(frr: Frr | Bird) -> Route:
    return Route("64512:2", "10.2.0.0/24", frr.address, 1002, RED, 150)


def test_a_session_with_tcp_md5_comes_up_and_one_with_a_wrong_key_does_not(site: Site) -> None:
    speaker, right, wrong = site.add(Speaker, "speaker"), site.add(Frr, "right"), site.add(Frr, "wrong")
    right.neighbors = (Neighbor(speaker.address, password="secret-of-both"),)
    wrong.neighbors = (Neighbor(speaker.address, password="another-secret"),)
    right.networks = (network(right),)
    speaker.sections = {f"PEER {peer.address}": {"password": "secret-of-both"} for peer in (right, wrong)}

    for peer in (right, wrong, speaker):
        peer.start()

    speaker.ready().meets(right.address)
    assert speaker.learns(Family.VPNV4, ("64512:2", "10.2.0.0/24")).next_hop == right.address
    stays(lambda: speaker.established(wrong.address), lambda up: not up, "no session with the wrong key", 2.0)


def test_a_session_under_gtsm_comes_up_with_a_neighbour_one_hop_away(site: Site) -> None:
    speaker, frr = site.add(Speaker, "speaker"), site.add(Frr, "frr")
    speaker.options["my_as"] = "64512"
    frr.neighbors = (Neighbor(speaker.address, remote_as=64512, ttl_security=True),)
    frr.local_as = 64513
    frr.networks = (network(frr),)
    speaker.sections = {f"PEER {frr.address}": {"ttl_security": "1", "as": "64513"}}

    for peer in (frr, speaker):
        peer.start()

    speaker.ready().meets(frr.address)
    assert speaker.learns(Family.VPNV4, ("64512:2", "10.2.0.0/24")).next_hop == frr.address
    assert frr.neighbor(speaker.address)["externalBgpNbrMaxHopsAway"] == 1


def test_a_neighbour_without_gtsm_cannot_reach_a_speaker_that_demands_it(site: Site) -> None:
    speaker, frr = site.add(Speaker, "speaker"), site.add(Frr, "frr")
    frr.local_as = 64513
    frr.neighbors = (Neighbor(speaker.address, remote_as=64512),)
    speaker.sections = {f"PEER {frr.address}": {"ttl_security": "1", "as": "64513"}}

    for peer in (frr, speaker):
        peer.start()

    speaker.ready()
    wait_until(lambda: frr.neighbor(speaker.address), lambda told: "bgpState" in told, "FRR knows the neighbour")
    stays(lambda: speaker.established(frr.address), lambda up: not up, "packets with a TTL of 1 are not heard", 3.0)


def test_a_session_over_ipv6_carries_vpnv4_and_vpnv6_of_frr_and_of_bird(site: Site) -> None:
    speaker, frr, bird = site.add(Speaker, "speaker"), site.add(Frr, "frr"), site.add(Bird, "bird")
    here = speaker.host.address6
    frr.neighbors = bird.neighbors = (Neighbor(here),)
    frr.networks = (Route("64512:2", "2001:db8:2::/64", frr.host.address6, 1002, RED),)
    bird.networks = (
        Route("64512:3", "10.3.0.0/24", bird.address, 1003, RED),
        Route("64512:3", "2001:db8:3::/64", bird.host.address6, 1003, RED),
    )
    speaker.peers = (frr.host.address6, bird.host.address6)

    for peer in (frr, bird, speaker):
        peer.start()

    speaker.ready().meets(frr.host.address6)
    speaker.meets(bird.host.address6)
    assert speaker.learns(Family.VPNV6, ("64512:2", "2001:db8:2::/64")).next_hop == frr.host.address6
    assert speaker.learns(Family.VPNV4, ("64512:3", "10.3.0.0/24")).next_hop == bird.address
    assert speaker.learns(Family.VPNV6, ("64512:3", "2001:db8:3::/64")).next_hop == bird.host.address6


def test_a_neighbour_of_another_as_is_heard_with_its_as_in_the_path(site: Site) -> None:
    speaker, frr = site.add(Speaker, "speaker"), site.add(Frr, "frr")
    frr.local_as = 4200000001
    frr.neighbors = (Neighbor(speaker.address, remote_as=64512, families=(Family.VPNV4, Family.VPNV6, Family.EVPN)),)
    frr.networks = (Route("64512:2", "10.2.0.0/24", frr.address, 1002, RED),)
    speaker.sections = {f"PEER {frr.address}": {"as": "4200000001"}}

    for peer in (frr, speaker):
        peer.start()

    speaker.ready().learns(Family.VPNV4, ("64512:2", "10.2.0.0/24"))
    (row,) = speaker.rows(Family.VPNV4)
    assert row["attributes"]["as_path"] == "4200000001"
    assert speaker.sessions()[frr.address]["peer_as"] == 4200000001
    assert frr.neighbor(speaker.address)["nbrExternalLink"] is True


def test_a_neighbour_of_an_as_that_is_not_the_configured_one_is_refused(site: Site) -> None:
    speaker, frr = site.add(Speaker, "speaker"), site.add(Frr, "frr")
    frr.local_as = 64513
    frr.neighbors = (Neighbor(speaker.address, remote_as=64512),)
    speaker.peers = (frr.address,)

    for peer in (frr, speaker):
        peer.start()

    speaker.ready()
    wait_until(
        lambda: speaker.sessions()[frr.address]["last_down"],
        lambda reason: "bad peer as" in reason.lower(),
        "the reason names the AS",
    )
    assert not speaker.established(frr.address)


def test_end_of_rib_is_seen_both_ways_with_frr(site: Site) -> None:
    speaker, frr = site.add(Speaker, "speaker"), site.add(Frr, "frr")
    frr.neighbors = (Neighbor(speaker.address, families=(Family.VPNV4, Family.VPNV6, Family.EVPN)),)
    speaker.peers = (frr.address,)

    for peer in (frr, speaker):
        peer.start()

    speaker.ready().meets(frr.address)
    wanted = {"ipv4Vpn": True, "ipv6Vpn": True, "l2VpnEvpn": True}
    told = wait_until(
        lambda: frr.neighbor(speaker.address)["gracefulRestartInfo"],
        lambda told: told["endOfRibRecv"] == wanted and told["endOfRibSend"] == wanted,
        "FRR has sent and received End-of-RIB of each family",
    )
    assert told["remoteGrMode"] == "Helper", "our speaker restarts nobody's forwarding: it is a helper"

    def updates() -> int:
        received: int = speaker.sessions()[frr.address]["messages_received"]["update"]
        return received

    wait_until(updates, lambda heard: heard == 3, "FRR's three End-of-RIB have come")
    stays(updates, lambda heard: heard == 3, "nothing but FRR's three End-of-RIB")


def test_end_of_rib_of_bird_ends_its_routes(site: Site) -> None:
    speaker, bird = site.add(Speaker, "speaker"), site.add(Bird, "bird")
    bird.neighbors = (Neighbor(speaker.address),)
    bird.networks = (network(bird),)
    speaker.peers = (bird.address,)

    for peer in (bird, speaker):
        peer.start()

    speaker.ready().learns(Family.VPNV4, ("64512:2", "10.2.0.0/24"))
    wait_until(
        lambda: speaker.sessions()[bird.address]["messages_received"]["update"],
        lambda updates: updates == 3,
        "one UPDATE with the route, and End-of-RIB of VPNv4 and VPNv6",
    )
    assert "Long-lived graceful restart" in bird.protocol(speaker.address)


@pytest.mark.parametrize("way", ["soft in", "soft out"])
def test_a_route_refresh_brings_every_route_again_and_changes_none(site: Site, way: str) -> None:
    speaker, frr = site.add(Speaker, "speaker"), site.add(Frr, "frr")
    frr.neighbors = (Neighbor(speaker.address),)
    frr.networks = (network(frr),)
    speaker.peers = (frr.address,)
    for peer in (frr, speaker):
        peer.start()
    before = speaker.ready().learns(Family.VPNV4, ("64512:2", "10.2.0.0/24"))

    frr.vty(f"clear bgp ipv4 vpn {speaker.address} {way}")

    def heard() -> tuple[int, int]:
        session = speaker.sessions()[frr.address]
        return session["messages_received"]["route_refresh"], session["messages_received"]["update"]

    wanted = (1, 3) if way == "soft in" else (0, 4)
    wait_until(heard, lambda seen: seen >= wanted, f"route refresh messages and updates received reach {wanted}")
    assert frr.neighbor(speaker.address)["bgpState"] == "Established"
    assert speaker.sessions()[frr.address]["flaps"] == 0
    assert speaker.routes(Family.VPNV4)[before.key] == before


def test_a_neighbour_that_restarts_gracefully_keeps_its_routes_as_stale_until_it_is_back(site: Site) -> None:
    speaker, frr = site.add(Speaker, "speaker"), site.add(Frr, "frr")
    frr.neighbors = (Neighbor(speaker.address),)
    frr.networks = (network(frr),)
    frr.graceful_restart = True
    speaker.peers = (frr.address,)
    for peer in (frr, speaker):
        peer.start()
    key = ("64512:2", "10.2.0.0/24")
    speaker.ready().learns(Family.VPNV4, key)

    def stale() -> list[bool]:
        return [row["stale"] for row in speaker.rows(Family.VPNV4)]

    wait_until(stale, lambda seen: seen == [False], "the route is fresh")
    frr.kill()
    wait_until(stale, lambda seen: seen == [True], "the route is stale while its neighbour is away")
    assert not speaker.established(frr.address)
    stays(stale, lambda seen: seen == [True], "the route stays", 2.0)
    frr.start()

    speaker.meets(frr.address)
    wait_until(stale, lambda seen: seen == [False], "the route is fresh again")


def test_a_neighbour_that_dies_without_keeping_its_forwarding_state_loses_its_routes_until_it_is_back(
    site: Site,
) -> None:
    speaker, frr = site.add(Speaker, "speaker"), site.add(Frr, "frr")
    frr.neighbors = (Neighbor(speaker.address),)
    frr.networks = (network(frr),)
    speaker.peers = (frr.address,)
    for peer in (frr, speaker):
        peer.start()
    key = ("64512:2", "10.2.0.0/24")
    speaker.ready().learns(Family.VPNV4, key)

    frr.kill()
    speaker.loses(Family.VPNV4, key)
    frr.start()

    speaker.meets(frr.address)
    speaker.learns(Family.VPNV4, key)


def test_every_path_is_taken_from_a_neighbour_that_sends_several(site: Site) -> None:
    speaker, bird = site.add(Speaker, "speaker"), site.add(Bird, "bird")
    speaker.sections = {f"PEER {bird.address}": {"add_path_receive": "vpnv4"}}
    # What BIRD has twice for one prefix: the same static route in two protocols, with another label and preference.
    statics = [
        f"protocol static static{number} {{ vpn4 {{ table vpn4tab; }};\n"
        f"  route 64512:2 10.2.0.0/24 via {bird.address}%eth0 mpls {label} "
        f"{{ bgp_ext_community.add((rt, 64512, 65)); bgp_local_pref = {preference}; }};\n}}"
        for number, label, preference in ((1, 1001, 200), (2, 1002, 50))
    ]
    bird.config = "\n".join(
        [
            f'log "{bird.directory}/events.log" all;\nrouter id {bird.address};\nprotocol device {{}}',
            "vpn4 table vpn4tab;",
            *statics,
            f"protocol bgp peer0 {{ local {bird.address} as 64512; neighbor {speaker.address} as 64512;",
            "  connect delay time 1; error wait time 1, 2;",
            "  vpn4 mpls { table vpn4tab; import all; export all; next hop keep; add paths tx; }; }",
        ]
    )
    bird.neighbors = (Neighbor(speaker.address, families=(Family.VPNV4,)),)
    for peer in (bird, speaker):
        peer.start()
    speaker.ready().meets(bird.address)

    def paths() -> dict[int, tuple[bool, str]]:
        return {row["label"]: (row["best"], row["reason"]) for row in speaker.rows(Family.VPNV4)}

    seen = wait_until(paths, lambda seen: set(seen) == {1001, 1002}, "both paths")
    assert seen[1001][0] and not seen[1002][0]
    assert "LOCAL_PREF" in seen[1002][1]

    # One of the two goes, by its path identifier alone.
    bird.write("bird.conf", bird.config.replace(statics[0], ""))
    bird.ask("configure")

    wait_until(
        paths, lambda seen: {label: best for label, (best, _) in seen.items()} == {1002: True}, "the other stays"
    )
