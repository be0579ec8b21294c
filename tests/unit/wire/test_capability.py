"""Capabilities to bytes and back, the unknown and the malformed among them (RFC 5492)."""

from __future__ import annotations

import pytest

from bagpipe.errors import RemoteFault
from bagpipe.wire.capability import (
    AddPath,
    Capability,
    EnhancedRouteRefresh,
    ExtendedMessage,
    ExtendedNextHop,
    FourOctetAs,
    GracefulRestart,
    HostName,
    LongLivedGracefulRestart,
    Multiprotocol,
    RouteRefreshSupport,
    UnknownCapability,
    decode_capabilities,
)
from bagpipe.wire.family import EVPN, VPNV4, VPNV6, Family
from bagpipe.wire.reader import Reader

EXAMPLES = [
    (Multiprotocol(VPNV4), "010400010080", "multiprotocol vpnv4"),
    (Multiprotocol(Family(16388, 71)), "010440040047", "multiprotocol afi-16388/safi-71"),
    (RouteRefreshSupport(), "0200", "route-refresh"),
    (ExtendedNextHop(((VPNV4, 2),)), "0506000100800002", "extended-next-hop vpnv4 via afi-2"),
    (ExtendedMessage(), "0600", "extended-message"),
    (GracefulRestart(120), "40020078", "graceful-restart 120 s"),
    (
        GracefulRestart(4095, ((VPNV4, True), (EVPN, False)), restarting=True, notification=True),
        "400acfff0001808000194600",
        "graceful-restart 4095 s, restarting, notification, vpnv4 (forwarding), evpn",
    ),
    (FourOctetAs(4200000001), "4104fa56ea01", "4-octet-as 4200000001"),
    (AddPath(((VPNV4, 1), (VPNV6, 3))), "450800018001" + "00028003", "add-path vpnv4 receive, vpnv6 both"),
    (EnhancedRouteRefresh(), "4600", "enhanced-route-refresh"),
    (LongLivedGracefulRestart(((VPNV4, True, 99),)), "470700018080000063", "long-lived-graceful-restart vpnv4 99 s"),
    (HostName(b"pe1", b"example"), "490c03706531076578616d706c65", "host-name pe1.example"),
    (UnknownCapability(8, b"\0\1\x80\2"), "080400018002", "multiple-labels 00018002"),
    (UnknownCapability(200, b""), "c800", "capability-200"),
]


def decode(data: bytes) -> list[Capability]:
    return decode_capabilities(Reader(data, "capabilities", code=2, subcode=0))


@pytest.mark.parametrize(("capability", "octets", "text"), EXAMPLES, ids=[text for _, _, text in EXAMPLES])
def test_each_capability_has_its_octets_and_its_text(capability: Capability, octets: str, text: str) -> None:
    assert capability.encode().hex() == octets
    assert decode(bytes.fromhex(octets)) == [capability]
    assert str(capability) == text


def test_capabilities_keep_their_order_and_their_repetitions() -> None:
    several = [capability for capability, _, _ in EXAMPLES] * 2
    assert decode(b"".join(one.encode() for one in several)) == several


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param("0103000180", id="multiprotocol of 3"),
        pytest.param("01050001008000", id="multiprotocol of 5"),
        pytest.param("020100", id="route refresh with a value"),
        pytest.param("050500010080" + "00", id="extended next hop of 5"),
        pytest.param("060100", id="extended message with a value"),
        pytest.param("400100", id="graceful restart of 1"),
        pytest.param("4005007800" + "0180", id="graceful restart with half a family"),
        pytest.param("4103000001", id="4-octet AS of 3"),
        pytest.param("4503000180", id="add-path of 3"),
        pytest.param("470600018080000e", id="long-lived of 6"),
        pytest.param("490503706531" + "09", id="host name cut short"),
    ],
)
def test_a_known_capability_of_a_wrong_length_counts_as_unknown_and_the_next_is_read(octets: str) -> None:
    data = bytes.fromhex(octets)
    assert decode(data + b"\x02\x00") == [UnknownCapability(data[0], data[2:]), RouteRefreshSupport()]


@pytest.mark.parametrize("octets", ["01", "0105000100", "0200" + "41"])
def test_a_capability_that_runs_over_the_end_is_a_fault_of_the_open(octets: str) -> None:
    with pytest.raises(RemoteFault) as caught:
        decode(bytes.fromhex(octets))
    assert (caught.value.code, caught.value.subcode) == (2, 0)


def test_reserved_bits_are_ignored_on_receipt_and_zero_when_sent() -> None:
    (multiprotocol,) = decode(bytes.fromhex("01040001ff80"))
    assert multiprotocol == Multiprotocol(VPNV4)
    (graceful,) = decode(bytes.fromhex("4006307800" + "01807f"))
    assert graceful == GracefulRestart(120, ((VPNV4, False),))
    assert graceful.encode().hex() == "40060078" + "00018000"


def test_a_host_name_cannot_write_on_the_terminal() -> None:
    assert str(HostName(b"a\x1b[2Jb\xff")) == r"host-name a\x1b[2Jb\xff"
