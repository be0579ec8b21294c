"""VPN-IPv4 and VPN-IPv6 NLRI (RFC 4364 section 4.3.4, RFC 4659 section 3, RFC 8277)."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from bagpipe.errors import Outcome, RemoteFault
from bagpipe.identifiers import RouteDistinguisher
from bagpipe.wire.nlri.vpn import VPNV4_CODEC, VPNV6_CODEC, VpnNlri

RD = RouteDistinguisher.from_text("127.0.0.1:1")
HOST = bytes.fromhex("78 000111 00017f0000010001 0a000002")


def test_a_host_route_is_split_into_distinguisher_and_prefix_and_the_label_is_payload() -> None:
    ((shape, (key,), (payload,)),) = VPNV4_CODEC.split(HOST)
    assert (shape, bytes(key)) == (0x78, HOST[4:])
    assert VPNV4_CODEC.decode(shape, key, payload) == VpnNlri(RD, ip_network("10.0.0.2/32"), 0x111)
    assert str(VPNV4_CODEC.decode(shape, key, payload)) == "127.0.0.1:1:10.0.0.2/32 label 17"
    assert VPNV4_CODEC.join(shape, key, payload) == HOST
    assert VPNV4_CODEC.route_distinguisher(shape, key) == RD.packed


def test_a_withdrawal_is_known_by_its_key_whatever_label_it_repeats() -> None:
    ((shape, (key,), _),) = VPNV4_CODEC.split(HOST)
    withdrawal = VPNV4_CODEC.join_withdrawn(shape, key)
    assert withdrawal == bytes.fromhex("78 800000 00017f0000010001 0a000002")
    for data in (HOST, withdrawal, HOST + withdrawal):
        ((found, keys),) = VPNV4_CODEC.split_withdrawn(data)
        assert (found, set(keys)) == (shape, {key})


@pytest.mark.parametrize("bits", range(129))
def test_every_ipv6_prefix_length_has_its_own_shape_and_padding_bits_mean_nothing(bits: int) -> None:
    octets = (bits + 7) // 8
    dirty = bytes((88 + bits,)) + b"\0\1\1" + RD.packed + b"\xff" * octets
    ((shape, (key,), (payload,)),) = VPNV6_CODEC.split(dirty)
    found = VPNV6_CODEC.decode(shape, key, payload)
    assert found.prefix.prefixlen == bits
    assert VPNV6_CODEC.encode(found) == (shape, key, payload)
    assert shape == 88 + bits


def test_mixed_lengths_come_in_runs_in_their_order() -> None:
    default = bytes.fromhex("58 000111 00017f0000010001")
    runs = VPNV4_CODEC.split(HOST + default + HOST)
    joined = [
        VPNV4_CODEC.join(shape, key, item) for shape, keys, items in runs for key, item in zip(keys, items, strict=True)
    ]
    assert b"".join(joined) == HOST + default + HOST


@pytest.mark.parametrize("data", ["57 0001110000000000000000", "79 000111", "00", "78 000111", "ff" + "00" * 32])
def test_a_length_that_cannot_be_or_overruns_resets_the_session(data: str) -> None:
    for split in (VPNV4_CODEC.split, VPNV4_CODEC.split_withdrawn):
        with pytest.raises(RemoteFault) as caught:
            split(bytes.fromhex(data))
        assert (caught.value.outcome, caught.value.code, caught.value.subcode) == (Outcome.RESET_SESSION, 3, 10)
