"""Standard, large and IPv6 extended communities."""

from __future__ import annotations

import pytest

from bagpipe.errors import LocalMisuse, Outcome, RemoteFault
from bagpipe.wire.community import (
    WELL_KNOWN,
    Community,
    LargeCommunity,
    decode_communities,
    decode_large_communities,
)
from bagpipe.wire.ipv6_extended_community import Ipv6ExtendedCommunity, decode_ipv6_extended_communities


def test_standard_communities_are_two_numbers_or_a_well_known_name() -> None:
    found = decode_communities(bytes.fromhex("fc000064 ffffff01 ffff0006 ffff029a"))
    assert [str(community) for community in found] == ["64512:100", "no-export", "llgr-stale", "blackhole"]
    assert b"".join(community.packed for community in found) == bytes.fromhex("fc000064 ffffff01 ffff0006 ffff029a")


@pytest.mark.parametrize("value", [*WELL_KNOWN, 0, 0xFC000064, 0xFFFF0100])
def test_the_text_of_a_standard_community_reads_back(value: int) -> None:
    assert Community.from_text(str(Community(value))).value == value


@pytest.mark.parametrize("text", ["", "64512", "64512:65536", "65536:1", "1:2:3", "no-such-name"])
def test_what_is_no_standard_community_is_refused_by_name(text: str) -> None:
    with pytest.raises(LocalMisuse) as caught:
        Community.from_text(text, "communities")
    assert caught.value.field == "communities"


def test_large_communities_are_three_numbers() -> None:
    packed = bytes.fromhex("fa56ea00 00000001 ffffffff")
    (found,) = decode_large_communities(packed)
    assert found == LargeCommunity(4200000000, 1, 4294967295)
    assert found.packed == packed
    assert LargeCommunity.from_text(str(found)) == found


@pytest.mark.parametrize("text", ["1:2", "1:2:4294967296", "a:b:c", ""])
def test_what_is_no_large_community_is_refused(text: str) -> None:
    with pytest.raises(LocalMisuse):
        LargeCommunity.from_text(text)


def test_numbers_of_more_than_32_bits_are_refused() -> None:
    with pytest.raises(LocalMisuse):
        Community(1 << 32)
    with pytest.raises(LocalMisuse):
        LargeCommunity(0, 0, 1 << 32)


def test_ipv6_extended_communities_are_kept_and_shown() -> None:
    packed = bytes.fromhex("0002 20010db8000000000000000000000001 0005" + "000d 20010db8000000000000000000000002 0006")
    target, other = decode_ipv6_extended_communities(packed)
    assert str(target) == "target:[2001:db8::1]:5"
    assert str(other) == "0x000d:[2001:db8::2]:6"
    assert target.packed + other.packed == packed
    with pytest.raises(LocalMisuse):
        Ipv6ExtendedCommunity(bytes(8))


@pytest.mark.parametrize(
    ("decode", "size"),
    [(decode_communities, 4), (decode_large_communities, 12), (decode_ipv6_extended_communities, 20)],
)
def test_a_length_that_is_no_multiple_is_treated_as_withdraw(decode: object, size: int) -> None:
    assert callable(decode)
    for length in (0, 1, size - 1, size + 1, 2 * size - 1):
        with pytest.raises(RemoteFault) as caught:
            decode(bytes(length))
        assert caught.value.outcome is Outcome.TREAT_AS_WITHDRAW
        assert (caught.value.code, caught.value.subcode) == (3, 5)
