"""FlowSpec NLRI of VPNs (RFC 8955, RFC 8956): components, lengths, and what is malformed."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from bagpipe.errors import LocalMisuse, Outcome, RemoteFault
from bagpipe.identifiers import RouteDistinguisher
from bagpipe.wire.nlri.flowspec import FLOWSPEC_VPNV4_CODEC, FLOWSPEC_VPNV6_CODEC, FlowSpecNlri
from bagpipe.wire.nlri.flowspec_component import (
    AND,
    DESTINATION_PORT,
    DESTINATION_PREFIX,
    EQUAL,
    FLOW_LABEL,
    GREATER,
    LESS,
    PROTOCOL,
    SOURCE_PREFIX,
    PrefixComponent,
    Term,
    TermsComponent,
    numeric,
)

RD = RouteDistinguisher.from_text("192.0.2.1:7")
R = "0001c00002010007"


def field(packed: str) -> bytes:
    """One NLRI with its length and route distinguisher before ``packed``."""
    value = bytes.fromhex(R + packed)
    return bytes((len(value),)) + value


@pytest.mark.parametrize(
    ("components", "text"),
    [
        ("01 18 140000", "destination 20.0.0.0/24"),
        ("02 08 01 03 81 06 05 81 50", "source 1.0.0.0/8 protocol =6 destination-port =80"),
        ("04 03 89 45 8b 91 1f90", "port >=137&<=139,=8080"),
        ("05 13 0050 d5 005a", "destination-port >=80&<=90"),
        ("09 81 02 ", "tcp-flags =0x2"),
        ("09 02 01 c1 10 0c 80 04", "tcp-flags !&0x1&=0x10 fragment &0x4"),
        ("03 80 00", "protocol false"),
        ("03 87 00", "protocol true"),
        ("03 86 11", "protocol !=17"),
        ("0b 81 2e", "dscp =46"),
        ("", ""),
    ],
)
def test_ipv4_components_are_readable_and_go_out_as_they_came(components: str, text: str) -> None:
    data = field(components)
    ((shape, (key,), (payload,)),) = FLOWSPEC_VPNV4_CODEC.split(data)
    found = FLOWSPEC_VPNV4_CODEC.decode(shape, key, payload)
    assert str(found) == f"flow 192.0.2.1:7 {text}".strip()
    assert FLOWSPEC_VPNV4_CODEC.encode(found) == (shape, key, payload)
    assert FLOWSPEC_VPNV4_CODEC.join(shape, key, payload) == data
    assert FLOWSPEC_VPNV4_CODEC.join_withdrawn(shape, key) == data


@pytest.mark.parametrize(
    ("components", "text"),
    [
        ("01 20 00 20010db8", "destination 2001:db8::/32"),
        ("01 00 00", "destination ::/0"),
        ("02 68 40 123456789a", "source ::1234:5678:9a00:0/64-104"),
        ("02 41 40 80", "source ::8000:0:0:0/64-65"),
        ("0d 91 1234", "flow-label =4660"),
    ],
)
def test_ipv6_prefixes_have_an_offset_and_there_is_a_flow_label(components: str, text: str) -> None:
    data = field(components)
    ((shape, (key,), (payload,)),) = FLOWSPEC_VPNV6_CODEC.split(data)
    found = FLOWSPEC_VPNV6_CODEC.decode(shape, key, payload)
    assert str(found) == f"flow 192.0.2.1:7 {text}"
    assert FLOWSPEC_VPNV6_CODEC.encode(found) == (shape, key, payload)
    assert FLOWSPEC_VPNV6_CODEC.join(shape, key, payload) == data


def test_a_prefix_component_shows_its_address_in_its_place() -> None:
    assert PrefixComponent(DESTINATION_PREFIX, 65, 64, b"\x80", ipv6=True).address == ip_address("::8000:0:0:0")
    assert PrefixComponent(DESTINATION_PREFIX, 0, 0, b"", ipv6=False).address == ip_address("0.0.0.0")


MALFORMED_IPV4 = [
    "02 08 01 01 08 01",
    "01 08 01 01 08 02",
    "0d 81 01",
    "0e 81 01",
    "00 00",
    "01 21 0000000000",
    "01 18 1400",
    "03",
    "03 01 06",
    "03 91 06",
]
MALFORMED_IPV6 = ["01 81 00", "01 20 20", "01 10 18 00", "01 20 00 20010d", "0e 81 01"]


@pytest.mark.parametrize("components", MALFORMED_IPV4)
def test_a_malformed_ipv4_specification_is_passed_over_and_its_neighbours_stay(components: str) -> None:
    good = field("01 18 140000")
    data = good + field(components) + good
    assert FLOWSPEC_VPNV4_CODEC.split(data) == FLOWSPEC_VPNV4_CODEC.split(good + good)
    assert FLOWSPEC_VPNV4_CODEC.split_withdrawn(data) == FLOWSPEC_VPNV4_CODEC.split_withdrawn(good + good)


@pytest.mark.parametrize("components", MALFORMED_IPV6)
def test_a_malformed_ipv6_specification_is_passed_over(components: str) -> None:
    assert FLOWSPEC_VPNV6_CODEC.split(field(components)) == []


def test_what_is_shorter_than_a_route_distinguisher_is_passed_over() -> None:
    assert FLOWSPEC_VPNV4_CODEC.split(b"\x02\0\0") == []


@pytest.mark.parametrize("packed", ["16 0001", "f0", "f1 00 00", "ef"])
def test_a_length_that_overruns_the_field_resets_the_session(packed: str) -> None:
    for split in (FLOWSPEC_VPNV4_CODEC.split, FLOWSPEC_VPNV4_CODEC.split_withdrawn):
        with pytest.raises(RemoteFault) as caught:
            split(bytes.fromhex(packed))
        assert (caught.value.outcome, caught.value.code, caught.value.subcode) == (Outcome.RESET_SESSION, 3, 10)


@pytest.mark.parametrize(("ports", "length"), [((80,) * 115, 239), ((80,) * 114 + (8080,), 240), ((80,) * 2000, 4009)])
def test_a_length_takes_two_octets_from_240_on(ports: tuple[int, ...], length: int) -> None:
    component = numeric(DESTINATION_PORT, *((EQUAL, port) for port in ports))
    shape, key, payload = FLOWSPEC_VPNV4_CODEC.encode(FlowSpecNlri(RD, (component,)))
    data = FLOWSPEC_VPNV4_CODEC.join(shape, key, payload)
    assert len(key) == length
    assert len(data) - len(key) == (1 if length < 240 else 2)
    assert FLOWSPEC_VPNV4_CODEC.split(data) == [(shape, [key], [payload])]


def test_a_short_length_in_two_octets_is_read_and_sent_on_in_one() -> None:
    value = bytes.fromhex(R + "01 18 140000")
    ((shape, (key,), (payload,)),) = FLOWSPEC_VPNV4_CODEC.split(b"\xf0" + bytes((len(value),)) + value)
    assert FLOWSPEC_VPNV4_CODEC.join(shape, key, payload) == bytes((len(value),)) + value


def test_path_identifiers_come_with_their_routes() -> None:
    value = bytes.fromhex(R + "01 18 140000")
    assert FLOWSPEC_VPNV4_CODEC.split_add_path(b"\0\0\0\5" + field("01 18 140000")) == [(5, 0, value, b"")]
    with pytest.raises(RemoteFault):
        FLOWSPEC_VPNV4_CODEC.split_add_path(b"\0\0\0\5")


def test_numeric_takes_the_fewest_octets_and_ends_its_list() -> None:
    found = numeric(DESTINATION_PORT, (GREATER | EQUAL, 80), (AND | LESS, 70000))
    assert found.packed == bytes.fromhex("05 03 50 e4 00011170")
    assert str(found) == "destination-port >=80&<70000"


def test_values_that_could_not_stand_on_the_wire_are_refused() -> None:
    protocol = numeric(PROTOCOL, (EQUAL, 6))
    source = PrefixComponent(SOURCE_PREFIX, 8, 0, b"\1", ipv6=False)
    with pytest.raises(LocalMisuse):
        FlowSpecNlri(RD, (protocol, source))
    with pytest.raises(LocalMisuse):
        FlowSpecNlri(RD, (protocol, protocol))
    with pytest.raises(LocalMisuse):
        PrefixComponent(SOURCE_PREFIX, 8, 4, b"\1", ipv6=False)
    with pytest.raises(LocalMisuse):
        PrefixComponent(PROTOCOL, 8, 0, b"\1", ipv6=False)
    with pytest.raises(LocalMisuse):
        PrefixComponent(SOURCE_PREFIX, 8, 0, b"", ipv6=False)
    with pytest.raises(LocalMisuse):
        TermsComponent(PROTOCOL, (Term(EQUAL, 6),))
    with pytest.raises(LocalMisuse):
        TermsComponent(SOURCE_PREFIX, (Term(0x81, 6),))
    with pytest.raises(LocalMisuse):
        Term(EQUAL, 256)
    with pytest.raises(LocalMisuse):
        FLOWSPEC_VPNV6_CODEC.encode(FlowSpecNlri(RD, (source,)))
    with pytest.raises(LocalMisuse):
        FLOWSPEC_VPNV4_CODEC.encode(FlowSpecNlri(RD, (numeric(FLOW_LABEL, (EQUAL, 1)),)))
    with pytest.raises(LocalMisuse):
        FLOWSPEC_VPNV4_CODEC.encode(FlowSpecNlri(RD, (numeric(PROTOCOL, *((EQUAL, 6),) * 2100),)))


def test_the_route_distinguisher_leads_the_key() -> None:
    assert FLOWSPEC_VPNV4_CODEC.route_distinguisher(0, bytes.fromhex(R + "01 18 140000")) == RD.packed
