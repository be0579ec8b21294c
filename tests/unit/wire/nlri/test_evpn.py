"""EVPN NLRI (RFC 7432 section 7, RFC 9136, RFC 9251): keys, payloads, and what is wrong with a route."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from bagpipe.errors import LocalMisuse, Outcome, RemoteFault
from bagpipe.identifiers import EthernetSegmentIdentifier, MacAddress, RouteDistinguisher
from bagpipe.wire.nlri.evpn import EVPN_CODEC
from bagpipe.wire.nlri.evpn_route import (
    EthernetAutoDiscovery,
    EthernetSegment,
    EvpnRoute,
    InclusiveMulticast,
    IpPrefix,
    MacIpAdvertisement,
    OpaqueEvpnRoute,
)

RD = RouteDistinguisher.from_text("192.0.2.1:3")
ESI = EthernetSegmentIdentifier.from_text("00:11:22:33:44:55:66:77:88:99")
MAC = MacAddress.from_text("fa:16:3e:00:00:02")
NO_ESI = EthernetSegmentIdentifier(bytes(10))
R, E, M = "0001c00002010003", "00112233445566778899", "fa163e000002"

ROUTES: list[tuple[EvpnRoute, str, str]] = [
    (EthernetAutoDiscovery(RD, ESI, 0xFFFFFFFF, 16 << 4), f"01 19 {R}{E}ffffffff000100", "ethernet-ad 192.0.2.1:3"),
    (
        MacIpAdvertisement(RD, NO_ESI, 0, MAC, ip_address("10.0.0.2"), (1001,)),
        f"02 25 {R}{'00' * 10}00000000 30{M} 200a000002 0003e9",
        "mac-ip 192.0.2.1:3 tag 0 mac fa:16:3e:00:00:02 ip 10.0.0.2 label field 1001",
    ),
    (MacIpAdvertisement(RD, ESI, 7, MAC, None, (1001,)), f"02 21 {R}{E}00000007 30{M} 00 0003e9", "esi 00:11"),
    (
        MacIpAdvertisement(RD, ESI, 7, MAC, ip_address("2001:db8::2"), (1001, 5000)),
        f"02 34 {R}{E}00000007 30{M} 80 20010db8000000000000000000000002 0003e9 001388",
        "label field 1001,5000",
    ),
    (InclusiveMulticast(RD, 0, ip_address("192.0.2.1")), f"03 11 {R}00000000 20c0000201", "originator 192.0.2.1"),
    (InclusiveMulticast(RD, 0, ip_address("2001:db8::1")), f"03 1d {R}00000000 8020010db8{'00' * 11}01", "2001:db8::1"),
    (EthernetSegment(RD, ESI, ip_address("192.0.2.1")), f"04 17 {R}{E}20c0000201", "ethernet-segment 192.0.2.1:3"),
    (
        IpPrefix(RD, NO_ESI, 0, ip_network("10.1.0.0/16"), ip_address("0.0.0.0"), 5000),
        f"05 22 {R}{'00' * 10}00000000 10 0a010000 00000000 001388",
        "ip-prefix 192.0.2.1:3 tag 0 10.1.0.0/16 label field 5000",
    ),
    (
        IpPrefix(RD, NO_ESI, 0, ip_network("2001:db8::/32"), ip_address("2001:db8::9"), 5000),
        f"05 3a {R}{'00' * 10}00000000 20 20010db8{'00' * 12} 20010db8{'00' * 11}09 001388",
        "gateway 2001:db8::9",
    ),
    (
        OpaqueEvpnRoute(6, bytes.fromhex(f"{R}00000000 00 00 20c0000201 05")),
        f"06 14 {R}00000000000020c000020105",
        "sel",
    ),
    (OpaqueEvpnRoute(0x99, b"new"), "99 03 6e6577", "type-153 0x6e6577"),
]


@pytest.mark.parametrize(("route", "packed", "text"), ROUTES, ids=lambda value: str(value)[:40])
def test_each_route_type_stands_on_the_wire_as_its_rfc_draws_it(route: EvpnRoute, packed: str, text: str) -> None:
    data = bytes.fromhex(packed)
    ((shape, (key,), (payload,)),) = EVPN_CODEC.split(data)
    assert EVPN_CODEC.decode(shape, key, payload) == route
    assert EVPN_CODEC.encode(route) == (shape, key, payload)
    assert EVPN_CODEC.join(shape, key, payload) == data
    assert text in str(route)


def test_a_field_of_many_types_is_one_run_in_its_order() -> None:
    data = b"".join(bytes.fromhex(packed) for _, packed, _ in ROUTES)
    ((shape, keys, payloads),) = EVPN_CODEC.split(data)
    found = [EVPN_CODEC.decode(shape, key, payload) for key, payload in zip(keys, payloads, strict=True)]
    assert found == [route for route, _, _ in ROUTES]
    assert b"".join(EVPN_CODEC.join_many(shape, keys, payloads)) == data


@pytest.mark.parametrize(("route", "packed", "text"), ROUTES, ids=lambda value: str(value)[:40])
def test_a_withdrawal_made_from_the_key_alone_names_the_same_route(route: EvpnRoute, packed: str, text: str) -> None:
    del packed, text
    shape, key, payload = EVPN_CODEC.encode(route)
    withdrawal = EVPN_CODEC.join_withdrawn(shape, key)
    assert EVPN_CODEC.split_withdrawn(withdrawal) == [(shape, [key])]
    assert len(withdrawal) in (len(EVPN_CODEC.join(shape, key, payload)), len(EVPN_CODEC.join(shape, key, payload)) - 3)


def test_esi_and_labels_are_no_part_of_the_key_of_a_mac_route() -> None:
    one = MacIpAdvertisement(RD, NO_ESI, 0, MAC, ip_address("10.0.0.2"), (1001,))
    moved = MacIpAdvertisement(RD, ESI, 0, MAC, ip_address("10.0.0.2"), (1002, 7))
    assert EVPN_CODEC.encode(one)[1] == EVPN_CODEC.encode(moved)[1]
    assert EVPN_CODEC.encode(one)[2] != EVPN_CODEC.encode(moved)[2]


@pytest.mark.parametrize("changed", ["route_distinguisher", "ethernet_tag", "mac", "ip"])
def test_everything_else_is_part_of_the_key_of_a_mac_route(changed: str) -> None:
    one = MacIpAdvertisement(RD, NO_ESI, 0, MAC, ip_address("10.0.0.2"), (1,))
    others = {
        "route_distinguisher": replace(one, route_distinguisher=RouteDistinguisher.from_text("64512:9")),
        "ethernet_tag": replace(one, ethernet_tag=1),
        "mac": replace(one, mac=MacAddress.from_text("fa:16:3e:00:00:03")),
        "ip": replace(one, ip=None),
    }
    other = others[changed]
    assert EVPN_CODEC.encode(one)[1] != EVPN_CODEC.encode(other)[1]


def test_esi_gateway_and_label_are_no_part_of_the_key_of_a_prefix_route() -> None:
    one = IpPrefix(RD, NO_ESI, 0, ip_network("10.1.0.0/16"), ip_address("0.0.0.0"), 5000)
    other = IpPrefix(RD, ESI, 0, ip_network("10.1.0.0/16"), ip_address("10.9.9.9"), 1)
    assert EVPN_CODEC.encode(one)[1] == EVPN_CODEC.encode(other)[1]


def test_bits_past_the_prefix_length_do_not_make_another_route() -> None:
    clean = bytes.fromhex(f"05 22 {R}{'00' * 10}00000000 10 0a010000 00000000 001388")
    dirty = bytes.fromhex(f"05 22 {R}{'00' * 10}00000000 10 0a01ffff 00000000 001388")
    assert EVPN_CODEC.split(dirty) == EVPN_CODEC.split(clean)


def test_flags_are_no_part_of_the_key_of_a_multicast_route() -> None:
    ((_, (key,), _),) = EVPN_CODEC.split(bytes.fromhex(f"06 14 {R}00000000000020c000020105"))
    ((_, (same,), _),) = EVPN_CODEC.split(bytes.fromhex(f"06 14 {R}00000000000020c000020107"))
    ((_, (other,), _),) = EVPN_CODEC.split(bytes.fromhex(f"06 14 {R}00000000000020c000020205"))
    assert key == same
    assert key != other


@pytest.mark.parametrize("tail", ["", "0003e9", "0003e9001388", "00"])
def test_a_withdrawn_mac_route_is_known_by_its_key_whatever_label_it_repeats(tail: str) -> None:
    value = bytes.fromhex(f"{R}{E}00000000 30{M} 200a000002 {tail}")
    ((_, (key,)),) = EVPN_CODEC.split_withdrawn(bytes((2, len(value))) + value)
    assert key == EVPN_CODEC.encode(MacIpAdvertisement(RD, NO_ESI, 0, MAC, ip_address("10.0.0.2"), (5,)))[1]


GOOD = bytes.fromhex(ROUTES[1][1])


@pytest.mark.parametrize(
    "packed",
    [
        f"02 25 {R}{E}00000000 28{M} 200a000002 0003e9",
        f"02 25 {R}{E}00000000 30{M} 180a000002 0003e9",
        f"02 25 {R}{E}00000000 30{M} 800a000002 0003e9",
        f"02 08 {R}",
        f"01 08 {R}",
        f"03 11 {R}00000000 00c0000201",
        f"03 12 {R}00000000 20c000020100",
        f"04 08 {R}",
        f"05 22 {R}{E}00000000 21 0a010000 00000000 001388",
        f"05 21 {R}{E}00000000 10 0a010000 00000000 0013",
        f"06 08 {R}",
        "03 00",
    ],
)
def test_a_delimited_route_whose_key_cannot_be_is_passed_over_and_its_neighbours_stay(packed: str) -> None:
    data = GOOD + bytes.fromhex(packed) + GOOD
    ((_, keys, payloads),) = EVPN_CODEC.split(data)
    assert (len(keys), len(payloads)) == (2, 2)
    ((_, withdrawn),) = EVPN_CODEC.split_withdrawn(data)
    assert withdrawn == keys


@pytest.mark.parametrize(
    "packed",
    [
        "02",
        f"02 26 {R}",
        f"02 26 {R}{E}00000000 30{M} 200a000002 0003e900",
        f"02 22 {R}{E}00000000 30{M} 200a000002",
        f"01 18 {R}{E}ffffffff0001",
    ],
)
def test_what_cannot_be_told_apart_or_would_leave_a_stale_route_resets_the_session(packed: str) -> None:
    with pytest.raises(RemoteFault) as caught:
        EVPN_CODEC.split(GOOD + bytes.fromhex(packed))
    assert (caught.value.outcome, caught.value.code, caught.value.subcode) == (Outcome.RESET_SESSION, 3, 10)


def test_path_identifiers_come_with_their_routes() -> None:
    ((_, (key,), (payload,)),) = EVPN_CODEC.split(GOOD)
    data = b"\0\0\0\1" + GOOD + b"\0\0\0\2" + GOOD
    assert EVPN_CODEC.split_add_path(data) == [(1, 0, key, payload), (2, 0, key, payload)]
    with pytest.raises(RemoteFault):
        EVPN_CODEC.split_add_path(data + b"\0\0\0\3\2")


def test_the_route_distinguisher_of_known_types_is_found_and_none_is_guessed() -> None:
    for route, _, _ in ROUTES[:-1]:
        assert EVPN_CODEC.route_distinguisher(0, EVPN_CODEC.encode(route)[1]) == RD.packed
    assert EVPN_CODEC.route_distinguisher(0, EVPN_CODEC.encode(ROUTES[-1][0])[1]) is None


def test_values_that_could_not_stand_on_the_wire_are_refused() -> None:
    with pytest.raises(LocalMisuse):
        MacIpAdvertisement(RD, ESI, 0, MAC, None, ())
    with pytest.raises(LocalMisuse):
        IpPrefix(RD, ESI, 0, ip_network("10.0.0.0/8"), ip_address("::"), 0)
    with pytest.raises(LocalMisuse):
        OpaqueEvpnRoute(2, b"")
    with pytest.raises(LocalMisuse):
        OpaqueEvpnRoute(9, bytes(256))
    with pytest.raises(LocalMisuse):
        EVPN_CODEC.encode(OpaqueEvpnRoute(8, bytes(5)))
