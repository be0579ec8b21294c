"""What networking-bagpipe 20.0.0 sent, and what it means (README.md beside this file)."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest

from bagpipe.wire import attributes, pmsi, update
from bagpipe.wire.extended_community import decode_extended_communities, route_targets_of
from bagpipe.wire.family import EVPN, FLOWSPEC_VPNV4, RTC, VPNV4, Family
from bagpipe.wire.message import Open
from bagpipe.wire.nlri import CODECS

CAPTURES = Path(__file__).parent / "captures"
ADDRESS = IPv4Address("127.0.0.1").packed
ROUTE_TARGET_77 = ("encapsulation:mpls", "target:64512:77")
NOTHING: tuple[str, ...] = ()

# What each UPDATE says: announced or withdrawn, family, NLRI, LOCAL_PREF, extended communities, PMSI tunnel.
ALL_CASES: list[tuple[str, Family, str, int, tuple[str, ...], str]] = [
    ("announce", VPNV4, "127.0.0.1:0:10.0.0.2/32 label 17", 150, ROUTE_TARGET_77, ""),
    ("announce", RTC, "64512:64512:77", 100, NOTHING, ""),
    (
        "announce",
        EVPN,
        "multicast 127.0.0.1:3 tag 0 originator 127.0.0.1",
        100,
        ("encapsulation:vxlan", "target:64512:78"),
        "ingress-replication 127.0.0.1 label field 1001",
    ),
    ("announce", RTC, "64512:64512:78", 100, NOTHING, ""),
    (
        "announce",
        EVPN,
        "mac-ip 127.0.0.1:3 tag 0 mac fa:16:3e:00:00:02 ip 10.0.0.2 label field 1001",
        100,
        ("encapsulation:vxlan", "target:64512:78"),
        "",
    ),
    (
        "announce",
        EVPN,
        "mac-ip 127.0.0.1:5 tag 0 mac fa:16:3e:00:00:03 label field 1001",
        100,
        ("encapsulation:vxlan", "target:64512:78"),
        "",
    ),
    ("announce", RTC, "64512:64512:99", 100, NOTHING, ""),
    ("announce", RTC, "64512:64512:96", 100, NOTHING, ""),
    ("announce", RTC, "64512:64512:199", 100, NOTHING, ""),
    (
        "announce",
        VPNV4,
        "127.0.0.1:7:10.0.0.2/32 label 25",
        100,
        ("encapsulation:mpls", "target:64512:198"),
        "",
    ),
    (
        "announce",
        VPNV4,
        "127.0.0.1:8:0.0.0.0/0 label 25",
        100,
        ("encapsulation:mpls", "load-balance-order:3", "target:64512:200"),
        "",
    ),
    (
        "announce",
        FLOWSPEC_VPNV4,
        "flow 127.0.0.1:7 destination 20.0.0.0/24 source 1.0.0.0/8 protocol =6 destination-port =80",
        100,
        ("redirect:64512:200", "target:64512:201"),
        "",
    ),
    (
        "withdraw",
        EVPN,
        "mac-ip 127.0.0.1:3 tag 0 mac fa:16:3e:00:00:02 ip 10.0.0.2 label field 1001",
        100,
        ("encapsulation:vxlan", "target:64512:79"),
        "",
    ),
    (
        "withdraw",
        EVPN,
        "mac-ip 127.0.0.1:5 tag 0 mac fa:16:3e:00:00:03 label field 1001",
        100,
        ("encapsulation:vxlan", "target:64512:79"),
        "",
    ),
    ("withdraw", VPNV4, "127.0.0.1:0:10.0.0.2/32 label 17", 150, ROUTE_TARGET_77, ""),
    ("announce", VPNV4, "127.0.0.1:0:10.0.0.2/32 label 17", 150, ("encapsulation:mpls",), ""),
    (
        "withdraw",
        EVPN,
        "mac-ip 127.0.0.1:3 tag 0 mac fa:16:3e:00:00:02 ip 10.0.0.2 label field 1001",
        100,
        ("encapsulation:vxlan", "target:64512:79"),
        "",
    ),
    ("withdraw", VPNV4, "127.0.0.1:0:10.0.0.2/32 label 17", 150, ("encapsulation:mpls",), ""),
]


def bodies(name: str) -> list[bytes]:
    return [bytes.fromhex(line) for line in (CAPTURES / name).read_text().split()]


def routes(family: Family, nlri: bytes) -> list[str]:
    codec = CODECS[family]
    return [
        str(codec.decode(shape, key, payload))
        for shape, keys, payloads in codec.split(nlri)
        for key, payload in zip(keys, payloads, strict=True)
    ]


def meaning(body: bytes) -> tuple[str, Family, str, int, tuple[str, ...], str]:
    """What an UPDATE body says, in the form of ``ALL_CASES``."""
    parts = update.take_apart(body)
    assert parts.fault is None
    values = {code: value for _, code, value in attributes.walk(parts.block)}
    assert values[attributes.ORIGIN] == b"\0"
    assert values[attributes.AS_PATH] == b""
    extended = values.get(attributes.EXTENDED_COMMUNITIES)
    tunnel = values.get(attributes.PMSI_TUNNEL)
    if parts.reach is not None:
        kind, family, nlri = "announce", parts.reach.family, parts.reach.nlri
        assert parts.unreach is None
    else:
        assert parts.unreach is not None
        kind, (family, nlri) = "withdraw", parts.unreach
    (route,) = routes(family, nlri)
    return (
        kind,
        family,
        route,
        int.from_bytes(values[attributes.LOCAL_PREF]),
        tuple(str(community) for community in decode_extended_communities(extended)) if extended else (),
        str(pmsi.decode(tunnel)) if tunnel else "",
    )


def test_there_is_a_meaning_for_every_captured_update() -> None:
    assert len(bodies("updates_all_cases.txt")) == len(ALL_CASES)


@pytest.mark.parametrize("number", range(len(ALL_CASES)))
def test_a_captured_update_means_what_the_daemon_was_told(number: int) -> None:
    assert meaning(bodies("updates_all_cases.txt")[number]) == ALL_CASES[number]


@pytest.mark.parametrize("name", ["updates_all_cases.txt", "rt_change_withdraws.txt"])
def test_every_captured_route_goes_out_again_as_it_came(name: str) -> None:
    seen = 0
    for body in bodies(name):
        parts = update.take_apart(body)
        family, nlri = (parts.reach.family, parts.reach.nlri) if parts.reach else parts.unreach or (None, b"")
        assert family is not None
        codec = CODECS[family]
        joined = [each for shape, keys, items in codec.split(nlri) for each in codec.join_many(shape, keys, items)]
        assert b"".join(joined) == nlri
        seen += len(joined)
    assert seen == len(bodies(name))


def test_the_next_hops_are_the_address_of_the_daemon_and_none_for_a_flow_specification() -> None:
    for body in bodies("updates_all_cases.txt"):
        reach = update.take_apart(body).reach
        if reach is not None:
            expected = b"" if reach.family == FLOWSPEC_VPNV4 else ADDRESS
            assert attributes.next_hop_address(reach.family, reach.next_hop) == expected


def test_a_withdrawal_names_the_same_key_as_its_announcement_though_it_repeats_another_route_target() -> None:
    captured = bodies("rt_change_withdraws.txt")
    announced, withdrawn = captured[:-6], captured[-6:]
    keys = []
    for body in announced:
        reach = update.take_apart(body).reach
        assert reach is not None
        if reach.family == VPNV4:
            ((shape, (key,), _),) = CODECS[VPNV4].split(reach.nlri)
            keys.append((shape, bytes(key)))
    gone = []
    for body in withdrawn:
        parts = update.take_apart(body)
        assert parts.reach is None
        assert parts.unreach is not None
        ((shape, (key,)),) = CODECS[VPNV4].split_withdrawn(parts.unreach[1])
        gone.append((shape, bytes(key)))
        values = {code: value for _, code, value in attributes.walk(parts.block)}
        (target,) = route_targets_of(values[attributes.EXTENDED_COMMUNITIES])
        assert target.hex() == "0002fc0000000058"
    assert gone == keys
    assert len(set(keys)) == 6


def test_the_open_offers_four_families_and_no_four_octet_as_numbers() -> None:
    (body,) = bodies("open.txt")
    found = Open.decode(body)
    assert (found.version, found.my_as, found.hold_time) == (4, 64512, 180)
    assert found.router_id == IPv4Address("127.0.0.1")
    assert [(each.number, each.value) for each in found.capabilities] == [
        (1, bytes.fromhex("00010080")),
        (1, bytes.fromhex("00010084")),
        (1, bytes.fromhex("00010086")),
        (1, bytes.fromhex("00190046")),
    ]
