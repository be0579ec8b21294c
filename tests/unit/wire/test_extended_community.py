"""Extended communities: octets, fields and text of each type."""

from __future__ import annotations

import pytest

from bagpipe.errors import LocalMisuse, Outcome, RemoteFault
from bagpipe.identifiers import MacAddress, RouteTarget
from bagpipe.wire.extended_community import (
    ArpNd,
    Color,
    DefaultGateway,
    Encapsulation,
    EsiLabel,
    EsImport,
    ExtendedCommunity,
    Layer2Attributes,
    LoadBalanceOrder,
    MacMobility,
    RedirectToRouteTarget,
    RouteOrigin,
    RouterMac,
    RouteTargetCommunity,
    RouteTargetRecord,
    TrafficAction,
    TrafficMarking,
    TrafficRate,
    decode_extended_communities,
    encode_extended_communities,
    extended_community,
    route_targets_of,
)
from bagpipe.wire.tunnel_type import TunnelType

TWO = RouteTarget.from_text("64512:77")
IPV4 = RouteTarget.from_text("192.0.2.1:5")
FOUR = RouteTarget.from_text("4200000000:7")
MAC = MacAddress.from_text("fa:16:3e:00:00:02")

KNOWN: list[tuple[ExtendedCommunity, str, str]] = [
    (RouteTargetCommunity.of(TWO), "0002fc000000004d", "target:64512:77"),
    (RouteTargetCommunity.of(IPV4), "0102c00002010005", "target:192.0.2.1:5"),
    (RouteTargetCommunity.of(FOUR), "0202fa56ea000007", "target:4200000000:7"),
    (RouteOrigin.of(TWO), "0003fc000000004d", "origin:64512:77"),
    (RouteOrigin.of(IPV4), "0103c00002010005", "origin:192.0.2.1:5"),
    (RouteTargetRecord.of(TWO), "0013fc000000004d", "target-record:64512:77"),
    (RouteTargetRecord.of(FOUR), "0213fa56ea000007", "target-record:4200000000:7"),
    (RedirectToRouteTarget.of(TWO), "8008fc000000004d", "redirect:64512:77"),
    (RedirectToRouteTarget.of(IPV4), "8108c00002010005", "redirect:192.0.2.1:5"),
    (RedirectToRouteTarget.of(FOUR), "8208fa56ea000007", "redirect:4200000000:7"),
    (Encapsulation.of(TunnelType.MPLS), "030c00000000000a", "encapsulation:mpls"),
    (Encapsulation.of(77), "030c00000000004d", "encapsulation:77"),
    (LoadBalanceOrder.of(3), "0314000000030000", "load-balance-order:3"),
    (Color.of(100), "030b000000000064", "color:100"),
    (Color.of(100, 0x4000), "030b400000000064", "color:100:flags-0x4000"),
    (DefaultGateway.of(), "030d000000000000", "default-gateway"),
    (MacMobility.of(7), "0600000000000007", "mac-mobility:7"),
    (MacMobility.of(0, sticky=True), "0600010000000000", "mac-mobility:0:sticky"),
    (EsiLabel.of(1001, single_active=False), "06010000000003e9", "esi-label:1001:all-active"),
    (EsiLabel.of(1001, single_active=True), "06010100000003e9", "esi-label:1001:single-active"),
    (EsImport.of(MAC), "0602fa163e000002", "es-import:fa:16:3e:00:00:02"),
    (RouterMac.of(MAC), "0603fa163e000002", "router-mac:fa:16:3e:00:00:02"),
    (Layer2Attributes.of(0x0002, 1500), "0604000205dc0000", "l2-attributes:flags-0x0002:mtu-1500"),
    (ArpNd.of(0x09), "0608090000000000", "arp-nd:flags-0x09"),
    (TrafficRate.of(0), "8006000000000000", "traffic-rate:0:octets"),
    (TrafficRate.of(1000, packets=True, autonomous_system=64512), "800cfc00447a0000", "traffic-rate:1000:packets"),
    (TrafficAction.of(sample=True, go_on=False), "8007000000000002", "traffic-action:sample"),
    (TrafficAction.of(sample=False, go_on=False), "8007000000000000", "traffic-action:terminal"),
    (TrafficMarking.of(46), "800900000000002e", "traffic-marking:dscp-46"),
]


@pytest.mark.parametrize(("community", "packed", "text"), KNOWN, ids=lambda value: str(value)[:32])
def test_each_type_stands_on_the_wire_as_drawn_and_reads_back_as_itself(
    community: ExtendedCommunity, packed: str, text: str
) -> None:
    assert community.packed.hex() == packed
    found = extended_community(bytes.fromhex(packed))
    assert found == community
    assert type(found) is type(community)
    assert str(found) == text


def test_the_fields_of_those_that_steer_forwarding_are_read() -> None:
    value = encode_extended_communities(community for community, _, _ in KNOWN)
    found = decode_extended_communities(value)
    assert [type(community) for community in found] == [type(community) for community, _, _ in KNOWN]
    assert [c.tunnel_type for c in found if isinstance(c, Encapsulation)] == [TunnelType.MPLS, 77]
    assert [c.order for c in found if isinstance(c, LoadBalanceOrder)] == [3]
    assert [(c.number, c.sticky) for c in found if isinstance(c, MacMobility)] == [(7, False), (0, True)]
    assert [c.route_target for c in found if isinstance(c, RedirectToRouteTarget)] == [TWO, IPV4, FOUR]
    assert [c.route_target for c in found if isinstance(c, RouteTargetRecord)] == [TWO, FOUR]
    assert [c.route_target for c in found if isinstance(c, RouteTargetCommunity)] == [TWO, IPV4, FOUR]
    assert [c.mac for c in found if isinstance(c, RouterMac)] == [MAC]
    assert [(c.label_field, c.single_active) for c in found if isinstance(c, EsiLabel)] == [(1001, False), (1001, True)]
    assert [c.rate for c in found if isinstance(c, TrafficRate)] == [0.0, 1000.0]


@pytest.mark.parametrize("packed", ["0005c00002010000", "0306000000000100", "0107c000020100ff", "430c00000000000a"])
def test_types_that_are_not_known_are_kept_and_shown_as_hex(packed: str) -> None:
    found = extended_community(bytes.fromhex(packed))
    assert type(found) is ExtendedCommunity
    assert str(found) == f"0x{packed}"
    assert found.packed.hex() == packed


def test_reserved_octets_of_a_known_type_survive() -> None:
    found = extended_community(bytes.fromhex("030c010203040008"))
    assert str(found) == "encapsulation:vxlan"
    assert found.packed.hex() == "030c010203040008"
    assert found != Encapsulation.of(TunnelType.VXLAN)


def test_transitive_ones_are_told_from_the_others() -> None:
    assert extended_community(bytes.fromhex("0002fc000000004d")).is_transitive
    assert not extended_community(bytes.fromhex("4004fc0000000000")).is_transitive


@pytest.mark.parametrize(
    ("tunnel_type", "name"),
    [
        (1, "l2tpv3"),
        (2, "gre"),
        (7, "ip-in-ip"),
        (8, "vxlan"),
        (9, "nvgre"),
        (10, "mpls"),
        (11, "mpls-in-gre"),
        (12, "vxlan-gpe"),
        (13, "mpls-in-udp"),
        (19, "geneve"),
    ],
)
def test_tunnel_types_have_their_registered_numbers(tunnel_type: int, name: str) -> None:
    assert str(Encapsulation.of(TunnelType(tunnel_type))) == f"encapsulation:{name}"


def test_route_targets_are_picked_out_by_type_and_sub_type() -> None:
    value = encode_extended_communities(community for community, _, _ in KNOWN)
    assert route_targets_of(value) == (TWO.packed, IPV4.packed, FOUR.packed)
    assert route_targets_of(bytes.fromhex("4002fc000000004d 0602fa163e000002 8002fc000000004d")) == ()
    assert route_targets_of(b"") == ()


@pytest.mark.parametrize("length", [0, 7, 9, 15])
def test_a_length_that_is_no_multiple_of_eight_is_treated_as_withdraw(length: int) -> None:
    with pytest.raises(RemoteFault) as caught:
        decode_extended_communities(bytes(length))
    assert caught.value.outcome is Outcome.TREAT_AS_WITHDRAW


def test_values_that_do_not_fit_their_field_are_refused_by_name() -> None:
    with pytest.raises(LocalMisuse) as caught:
        LoadBalanceOrder.of(1 << 32)
    assert (caught.value.field, caught.value.value) == ("order", 1 << 32)
    with pytest.raises(LocalMisuse):
        Encapsulation.of(-1)
    with pytest.raises(LocalMisuse):
        TrafficMarking.of(64)
    with pytest.raises(LocalMisuse):
        EsiLabel.of(1 << 24, single_active=False)
    with pytest.raises(LocalMisuse):
        ExtendedCommunity(bytes(7))
