"""The Tunnel Encapsulation attribute (RFC 9012) and its sub-TLVs."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from bagpipe.errors import LocalMisuse, Outcome, RemoteFault
from bagpipe.identifiers import MacAddress
from bagpipe.wire import tunnel_encapsulation
from bagpipe.wire.tunnel_encapsulation import (
    EGRESS_ENDPOINT,
    ENCAPSULATION,
    SubTlv,
    Tunnel,
    VxlanHeader,
    color,
    egress_endpoint,
    protocol_type,
    udp_destination_port,
)
from bagpipe.wire.tunnel_type import TunnelType

MAC = MacAddress.from_text("fa:16:3e:00:00:02")
VXLAN = Tunnel(
    TunnelType.VXLAN,
    (
        egress_endpoint(ip_address("192.0.2.1")),
        VxlanHeader(1001, MAC).sub_tlv,
        protocol_type(0x6558),
        udp_destination_port(4790),
        color(100),
        SubTlv(0x83, b"\x01" * 300),
    ),
)
PACKED = bytes.fromhex(
    "0008 015b"
    "06 0a 00000000 0001 c0000201"
    "01 0c c0 0003e9 fa163e000002 0000"
    "02 02 6558"
    "08 02 12b6"
    "04 08 030b000000000064"
    "83 012c" + "01" * 300
)


def test_a_tunnel_stands_on_the_wire_as_rfc_9012_draws_it_and_reads_back() -> None:
    assert tunnel_encapsulation.encode([VXLAN]) == PACKED
    assert tunnel_encapsulation.decode(PACKED) == (VXLAN,)


def test_the_known_sub_tlvs_are_readable() -> None:
    (found,) = tunnel_encapsulation.decode(PACKED)
    assert found.egress_endpoint == ip_address("192.0.2.1")
    assert found.vxlan == VxlanHeader(1001, MAC)
    assert (found.protocol_type, found.udp_destination_port, found.color) == (0x6558, 4790, 100)
    assert str(found).startswith(
        "vxlan endpoint 192.0.2.1 vni 1001 mac fa:16:3e:00:00:02 protocol 0x6558 udp-port 4790 color 100 sub-tlv-131 0x"
    )


def test_several_tunnels_stay_in_their_order_unknown_ones_too() -> None:
    others = (VXLAN, Tunnel(TunnelType.MPLS_IN_UDP, ()), Tunnel(999, (SubTlv(77, b"x"),)))
    assert tunnel_encapsulation.decode(tunnel_encapsulation.encode(others)) == others
    assert [str(tunnel) for tunnel in others[1:]] == ["mpls-in-udp", "999 sub-tlv-77 0x78"]


def test_a_known_sub_tlv_of_the_wrong_size_is_as_one_that_is_not_there() -> None:
    found = Tunnel(
        TunnelType.VXLAN,
        (
            SubTlv(EGRESS_ENDPOINT, bytes.fromhex("00000000 0001 c00002")),
            SubTlv(ENCAPSULATION, b"\xc0"),
            SubTlv(2, b"\1"),
            SubTlv(8, b"\1\2\3"),
            SubTlv(4, bytes(8)),
        ),
    )
    assert (found.egress_endpoint, found.vxlan, found.protocol_type) == (None, None, None)
    assert (found.udp_destination_port, found.color) == (None, None)


def test_the_first_of_two_sub_tlvs_of_a_type_counts() -> None:
    found = Tunnel(TunnelType.GRE, (protocol_type(1), protocol_type(2)))
    assert found.protocol_type == 1


def test_an_endpoint_of_family_zero_is_the_next_hop_of_the_route() -> None:
    assert Tunnel(TunnelType.GRE, (SubTlv(EGRESS_ENDPOINT, bytes(6)),)).egress_endpoint is None
    ipv6 = ip_address("2001:db8::1")
    assert Tunnel(TunnelType.GRE, (egress_endpoint(ipv6),)).egress_endpoint == ipv6


def test_vni_and_mac_count_only_with_their_flags() -> None:
    assert Tunnel(TunnelType.VXLAN, (VxlanHeader(None, None).sub_tlv,)).vxlan == VxlanHeader(None, None)
    assert Tunnel(TunnelType.GRE, (VxlanHeader(1, None).sub_tlv,)).vxlan is None


@pytest.mark.parametrize("cut", [1, 3, 5, 20, 100])
def test_lengths_that_do_not_add_up_are_treated_as_withdraw(cut: int) -> None:
    with pytest.raises(RemoteFault) as caught:
        tunnel_encapsulation.decode(PACKED[:-cut])
    assert caught.value.outcome is Outcome.TREAT_AS_WITHDRAW
    with pytest.raises(RemoteFault):
        tunnel_encapsulation.decode(PACKED + b"\0")


def test_a_sub_tlv_that_overruns_its_tunnel_is_treated_as_withdraw() -> None:
    with pytest.raises(RemoteFault) as caught:
        tunnel_encapsulation.decode(bytes.fromhex("0008 0003 02 02 65 0002 0000"))
    assert "tunnel type 8" in caught.value.text


def test_what_a_length_field_cannot_say_is_refused() -> None:
    with pytest.raises(LocalMisuse):
        SubTlv(1, bytes(256))
    with pytest.raises(LocalMisuse):
        SubTlv(256, b"")
    with pytest.raises(LocalMisuse):
        Tunnel(1 << 16, ())
