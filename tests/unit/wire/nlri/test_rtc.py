"""Route target membership NLRI (RFC 4684 section 4)."""

from __future__ import annotations

import pytest

from bagpipe.errors import LocalMisuse, Outcome, RemoteFault
from bagpipe.identifiers import RouteTarget
from bagpipe.wire.nlri.rtc import DEFAULT_ROUTE_TARGET, RTC_CODEC, RtcNlri

FULL = bytes.fromhex("60 0000fc00 0002fc000000004d")


def test_a_full_membership_names_its_origin_and_route_target() -> None:
    ((shape, (key,), (payload,)),) = RTC_CODEC.split(FULL)
    found = RTC_CODEC.decode(shape, key, payload)
    assert (shape, key) == (0, FULL)
    assert (found.origin_as, found.route_target) == (64512, RouteTarget.from_text("64512:77"))
    assert str(found) == "64512:64512:77"
    assert found == RtcNlri.of(64512, RouteTarget.from_text("64512:77"))


def test_many_full_memberships_are_split_in_their_order() -> None:
    others = [FULL[:-1] + bytes((number,)) for number in range(5)]
    assert RTC_CODEC.split(b"".join(others)) == [(0, others, [b""] * 5)]
    assert RTC_CODEC.split_withdrawn(b"".join(others)) == [(0, others)]


def test_the_default_route_target_has_length_zero() -> None:
    ((_, (key,), (payload,)),) = RTC_CODEC.split(b"\0")
    assert RTC_CODEC.decode(0, key, payload) == DEFAULT_ROUTE_TARGET
    assert str(DEFAULT_ROUTE_TARGET) == "default"
    assert DEFAULT_ROUTE_TARGET.origin_as is None
    assert RTC_CODEC.encode(DEFAULT_ROUTE_TARGET) == (0, b"\0", b"")


@pytest.mark.parametrize("bits", range(32, 97))
def test_every_length_from_32_to_96_is_read_with_its_padding_cleared(bits: int) -> None:
    octets = (bits + 7) // 8
    data = bytes((bits,)) + b"\xff" * octets + FULL + b"\0"
    ((_, keys, _),) = RTC_CODEC.split(data)
    spare = 8 * octets - bits
    assert keys == [bytes((bits,)) + b"\xff" * (octets - 1) + bytes((0xFF << spare & 0xFF,)), FULL, b"\0"]


@pytest.mark.parametrize(
    ("packed", "text"),
    [("20 0000fc00", "64512:0x/0"), ("30 0000fc00 0002", "64512:0x0002/16"), ("28 0000fc00 00", "64512:0x00/8")],
)
def test_a_shorter_prefix_shows_its_origin_and_what_there_is_of_the_route_target(packed: str, text: str) -> None:
    ((_, (key,), _),) = RTC_CODEC.split(bytes.fromhex(packed))
    found = RTC_CODEC.decode(0, key, b"")
    assert str(found) == text
    assert found.route_target is None


@pytest.mark.parametrize("data", ["01 80", "1f 00000000", "61 00000000000000000000000000", "ff", "60 0000", "20"])
def test_a_length_that_rfc_4684_does_not_have_or_that_overruns_resets_the_session(data: str) -> None:
    for split in (RTC_CODEC.split, RTC_CODEC.split_withdrawn):
        with pytest.raises(RemoteFault) as caught:
            split(FULL + bytes.fromhex(data))
        assert (caught.value.outcome, caught.value.code, caught.value.subcode) == (Outcome.RESET_SESSION, 3, 10)


def test_an_empty_field_has_no_route() -> None:
    assert RTC_CODEC.split(b"") == []
    assert RTC_CODEC.split_withdrawn(b"") == []


def test_path_identifiers_come_with_their_routes() -> None:
    data = b"\0\0\0\1" + FULL + b"\0\0\0\2\0"
    assert RTC_CODEC.split_add_path(data) == [(1, 0, FULL, b""), (2, 0, b"\0", b"")]
    with pytest.raises(RemoteFault):
        RTC_CODEC.split_add_path(data[:-1])


@pytest.mark.parametrize(("length", "prefix"), [(8, b"\0"), (97, bytes(13)), (96, bytes(11)), (33, b"\0\0\0\0\x40")])
def test_a_value_that_could_not_stand_on_the_wire_is_refused(length: int, prefix: bytes) -> None:
    with pytest.raises(LocalMisuse):
        RtcNlri(length, prefix)


def test_there_is_no_route_distinguisher() -> None:
    assert RTC_CODEC.route_distinguisher(0, FULL) is None
