"""Fields with values and masks, and how a person reads them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bagpipe.dataplane.openflow import fields
from bagpipe.dataplane.openflow.fields import Criterion, Field
from bagpipe.dataplane.openflow.octets import Octets, padded, padding
from bagpipe.errors import LocalMisuse
from bagpipe.identifiers import MacAddress
from tests.unit.dataplane.openflow import values


@settings(max_examples=300)
@given(values.criteria())
def test_a_criterion_comes_back_with_its_value_and_mask(criterion: Criterion) -> None:
    octets = criterion.packed
    assert len(octets) == 4 + (octets[3])
    read = fields.read_criterion(Octets(octets, "criterion"))
    assert read == criterion
    assert str(read) == str(criterion)


@pytest.mark.parametrize(
    ("criterion", "text"),
    [
        (fields.IN_PORT(7), "in_port=7"),
        (fields.ETH_TYPE(0x8847), "eth_type=0x8847"),
        (fields.ETH_DST(MacAddress.from_text("00:00:5e:00:43:64")), "eth_dst=00:00:5e:00:43:64"),
        (fields.ETH_DST.masked(1 << 40, 1 << 40), "eth_dst=01:00:00:00:00:00/01:00:00:00:00:00"),
        (fields.IPV4_DST(IPv4Address("10.1.2.3")), "ip_dst=10.1.2.3"),
        (fields.IPV4_DST.prefix(IPv4Address("10.1.2.3"), 24), "ip_dst=10.1.2.0/24"),
        (fields.IPV4_DST.prefix(IPv4Address("10.1.2.3"), 32), "ip_dst=10.1.2.3"),
        (fields.IPV4_DST.masked(0x0A000001, 0xFF0000FF), "ip_dst=10.0.0.1/0xff0000ff"),
        (fields.IPV6_DST.prefix(IPv6Address("2001:db8::7"), 64), "ipv6_dst=2001:db8::/64"),
        (fields.REG[3].masked(0x10, 0xF0), "reg3=0x10/0xf0"),
        (fields.MPLS_LABEL(1048575), "mpls_label=1048575"),
        (fields.TUNNEL_ID(16), "tun_id=0x10"),
        (fields.vlan(5), "vlan_vid=0x1005"),
        (fields.TAGGED, "vlan_vid=0x1000/0x1000"),
        (fields.UNTAGGED, "vlan_vid=0x0"),
    ],
)
def test_a_criterion_reads_as_a_person_expects(criterion: Criterion, text: str) -> None:
    assert str(criterion) == text


@pytest.mark.parametrize("field", fields.KNOWN, ids=repr)
def test_a_field_takes_what_fits_and_refuses_the_rest(field: Field) -> None:
    most = (1 << field.bits) - 1
    assert field(most).number == most
    assert field(most) == field.whole()
    for value in (most + 1, -1, bytes(field.size + 1), bytes(field.size - 1)):
        with pytest.raises(LocalMisuse, match=field.name):
            field(value)


@settings(max_examples=200)
@given(st.sampled_from(fields.KNOWN), st.data())
def test_a_prefix_has_its_first_bits_and_no_others(field: Field, data: st.DataObject) -> None:
    value, length = data.draw(values.number(field.bits)), data.draw(st.integers(0, field.bits))
    criterion = field.prefix(value, length)
    assert criterion.number == value >> field.bits - length << field.bits - length
    if length == field.bits:
        assert criterion.mask is None
    else:
        assert criterion.mask is not None
        assert int.from_bytes(criterion.mask).bit_count() == length
    assert criterion.is_anything == (length == 0)


def test_a_prefix_length_that_cannot_be_is_refused() -> None:
    with pytest.raises(LocalMisuse, match="ip_dst prefix length"):
        fields.IPV4_DST.prefix(0, 33)
    with pytest.raises(LocalMisuse, match="vlan_vid"):
        fields.vlan(4096)


def test_a_value_with_bits_outside_its_mask_is_refused_when_made_and_cut_when_masked() -> None:
    with pytest.raises(LocalMisuse, match="bits outside the mask"):
        Criterion(fields.REG[0], b"\0\0\0\xff", b"\0\0\0\x0f")
    assert fields.REG[0].masked(0xFF, 0x0F) == Criterion(fields.REG[0], b"\0\0\0\x0f", b"\0\0\0\x0f")


def test_a_mask_of_all_bits_is_no_mask() -> None:
    assert fields.VLAN_VID.masked(5, 0x1FFF) == fields.VLAN_VID(5)
    assert fields.REG[0].masked(5, 0xFFFFFFFF) == fields.REG[0](5)


def test_every_field_has_a_number_of_its_own() -> None:
    assert len({(one.oxm_class, one.number) for one in fields.KNOWN}) == len(fields.KNOWN)


@given(st.binary(max_size=40))
def test_padding_leads_to_the_next_multiple_of_eight(data: bytes) -> None:
    assert len(data + padding(len(data))) % 8 == 0
    assert padded(data).startswith(data)
    assert len(padded(data)) - len(data) < 8
