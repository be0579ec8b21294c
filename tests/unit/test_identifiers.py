"""Route distinguishers, route targets, MAC addresses, ESIs, labels and VNIs: text, octets, and what is refused."""

from __future__ import annotations

import pytest

from bagpipe.errors import LocalMisuse
from bagpipe.identifiers import (
    EthernetSegmentIdentifier,
    MacAddress,
    RouteDistinguisher,
    RouteTarget,
    label,
    vni,
)

SIX_OCTETS = [
    ("64512:1", 0, "fc0000000001"),
    ("0:0", 0, "000000000000"),
    ("65535:4294967295", 0, "ffffffffffff"),
    ("192.0.2.1:5", 1, "c00002010005"),
    ("4200000000:7", 2, "fa56ea000007"),
    ("65536:65535", 2, "00010000ffff"),
    ("0.64512:7", 2, "0000fc000007"),
]
NONSENSE = ["", "64512", "64512:", ":1", "64512:4294967296", "65536:65536", "4294967296:1", "192.0.2.1:65536"]
MORE_NONSENSE = [
    "192.0.2.256:1",
    "a:b",
    "-1:1",
    "64512:-1",
    "64512:1:2",
    "1.2.3:4",
    "70000.1:1",
    "64512: 1x",
    "0x0002fc00",
    "\u0663:1",
]


@pytest.mark.parametrize(("text", "kind", "six"), SIX_OCTETS)
def test_a_route_distinguisher_reads_and_shows_each_kind(text: str, kind: int, six: str) -> None:
    found = RouteDistinguisher.from_text(text)
    assert found.packed == kind.to_bytes(2) + bytes.fromhex(six)
    assert found.kind == kind
    assert str(found) == text


@pytest.mark.parametrize(("text", "kind", "six"), SIX_OCTETS)
def test_a_route_target_reads_and_shows_each_kind_also_after_the_word_target(text: str, kind: int, six: str) -> None:
    found = RouteTarget.from_text(text)
    assert found.packed == bytes((kind, 2)) + bytes.fromhex(six)
    assert found.is_known
    assert str(found) == text
    assert RouteTarget.from_text(f"target:{text}") == found


@pytest.mark.parametrize("text", NONSENSE + MORE_NONSENSE)
def test_nonsense_is_refused_with_the_field_and_the_value(text: str) -> None:
    with pytest.raises(LocalMisuse) as of_target:
        RouteTarget.from_text(text, "import_rt")
    assert (of_target.value.field, of_target.value.value) == ("import_rt", text)
    with pytest.raises(LocalMisuse) as of_distinguisher:
        RouteDistinguisher.from_text(text)
    assert (of_distinguisher.value.field, of_distinguisher.value.value) == ("route distinguisher", text)


def test_a_four_octet_as_below_65536_is_told_from_a_two_octet_one() -> None:
    two = RouteTarget(bytes.fromhex("0002fc0000000007"))
    four = RouteTarget(bytes.fromhex("02020000fc000007"))
    assert (str(two), str(four)) == ("64512:7", "0.64512:7")
    assert two != four


def test_types_that_are_not_known_are_kept_and_shown_as_hex_that_reads_back() -> None:
    distinguisher = RouteDistinguisher(bytes.fromhex("0009000000000001"))
    target = RouteTarget(bytes.fromhex("060202aabbccddee"))
    assert (str(distinguisher), str(target)) == ("0x0009000000000001", "0x060202aabbccddee")
    assert RouteDistinguisher.from_text(str(distinguisher)) == distinguisher
    assert RouteTarget.from_text(str(target)) == target
    assert not target.is_known


def test_equality_hash_and_order_are_those_of_the_octets() -> None:
    first, same, later = (RouteTarget.from_text(text) for text in ("64512:1", "target:64512:1", "64512:2"))
    assert first == same
    assert hash(first) == hash(same)
    assert sorted([later, first]) == [first, later]
    assert len({first, same, later}) == 2


@pytest.mark.parametrize("make", [RouteDistinguisher, RouteTarget, MacAddress, EthernetSegmentIdentifier])
def test_octets_of_the_wrong_number_are_refused(make: type) -> None:
    with pytest.raises(LocalMisuse):
        make(b"\0" * 7)


@pytest.mark.parametrize(
    "text",
    [
        "fa:16:3e:00:00:02",
        "FA:16:3E:00:00:02",
        "fa-16-3e-00-00-02",
        "fa:16:3e:0:0:2",
        "fa16.3e00.0002",
        "fa16:3e00:2",
        "fa16-3e00-0002",
        "fa163e-000002",
        "fa163e:000002",
        "fa163e000002",
        " fa:16:3e:00:00:02 ",
    ],
)
def test_every_usual_form_of_a_mac_address_is_the_same_address(text: str) -> None:
    assert str(MacAddress.from_text(text)) == "fa:16:3e:00:00:02"


@pytest.mark.parametrize(
    "text", ["", "zz", "fa:16:3e:00:00", f"fa{':16' * 6}", "fa:16-3e:00:00:02", "fa:16:3e:00:00:0g"]
)
def test_what_is_no_mac_address_is_refused_by_name(text: str) -> None:
    with pytest.raises(LocalMisuse) as caught:
        MacAddress.from_text(text, "mac_address")
    assert caught.value.field == "mac_address"


def test_an_esi_reads_ten_octets_and_shows_the_reserved_one_as_zero() -> None:
    found = EthernetSegmentIdentifier.from_text("00:11:22:33:44:55:66:77:88:99")
    assert found.packed == bytes.fromhex("00112233445566778899")
    assert not found.is_single_homed
    assert str(found) == "00:11:22:33:44:55:66:77:88:99"
    assert str(EthernetSegmentIdentifier.from_text("0")) == "0"
    assert EthernetSegmentIdentifier(bytes(10)).is_single_homed
    with pytest.raises(LocalMisuse):
        EthernetSegmentIdentifier.from_text("00:11")


def test_labels_have_20_bits_and_vnis_24() -> None:
    assert label(0xFFFFF) == 0xFFFFF
    assert vni(0xFFFFFF) == 0xFFFFFF
    with pytest.raises(LocalMisuse) as of_label:
        label(0x100000, "label")
    assert of_label.value.value == 0x100000
    with pytest.raises(LocalMisuse) as of_vni:
        vni(1 << 24, "vni")
    assert of_vni.value.field == "vni"
    with pytest.raises(LocalMisuse):
        vni(-1)
