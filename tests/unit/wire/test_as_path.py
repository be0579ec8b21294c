"""AS_PATH: reading, length, prepending, and peers that know two octets only."""

from __future__ import annotations

import pytest

from bagpipe.errors import LocalMisuse, Outcome, RemoteFault
from bagpipe.wire import as_path
from bagpipe.wire.as_path import AS_TRANS, Segment, SegmentKind

SET, SEQUENCE = SegmentKind.AS_SET, SegmentKind.AS_SEQUENCE
CONFED_SEQUENCE, CONFED_SET = SegmentKind.AS_CONFED_SEQUENCE, SegmentKind.AS_CONFED_SET


def path(*segments: tuple[SegmentKind, tuple[int, ...]]) -> bytes:
    return as_path.encode(Segment(kind, numbers) for kind, numbers in segments)


MIXED = path((CONFED_SEQUENCE, (65001, 65002)), (SEQUENCE, (64512, 4200000000)), (SET, (1, 2)), (CONFED_SET, (65003,)))


def test_every_kind_of_segment_is_read_and_shown() -> None:
    assert as_path.decode(MIXED) == (
        Segment(CONFED_SEQUENCE, (65001, 65002)),
        Segment(SEQUENCE, (64512, 4200000000)),
        Segment(SET, (1, 2)),
        Segment(CONFED_SET, (65003,)),
    )
    assert as_path.text(MIXED) == "(65001 65002) 64512 4200000000 {1 2} [65003]"
    assert as_path.text(b"") == ""


def test_a_set_counts_one_and_confederation_segments_count_nothing() -> None:
    assert as_path.length(MIXED) == 3
    assert as_path.length(b"") == 0


def test_the_first_as_is_that_of_a_leading_sequence() -> None:
    assert as_path.first_as(path((SEQUENCE, (64513, 1)))) == 64513
    assert as_path.first_as(path((SET, (64513, 1)))) is None
    assert as_path.first_as(b"") is None


def test_an_as_is_found_in_any_segment_and_not_across_numbers() -> None:
    for number in (65001, 64512, 4200000000, 2, 65003):
        assert as_path.contains(MIXED, number)
    assert not as_path.contains(path((SEQUENCE, (0x00010002, 0x00030004))), 0x00020003)


@pytest.mark.parametrize(
    ("packed", "size"),
    [
        ("02", 4),
        ("0200", 4),
        ("0201 0000fc", 4),
        ("0001 0000fc00", 4),
        ("0501 0000fc00", 4),
        ("0201 0000fc00 02", 4),
        ("0201 00000000", 4),
        ("0202 fc000000", 2),
        ("0201 fc", 2),
    ],
)
def test_a_malformed_path_is_treated_as_withdraw(packed: str, size: int) -> None:
    with pytest.raises(RemoteFault) as caught:
        as_path.check(bytes.fromhex(packed), size)
    assert (caught.value.outcome, caught.value.code, caught.value.subcode) == (Outcome.TREAT_AS_WITHDRAW, 3, 11)


def test_the_own_as_is_put_into_the_leading_sequence_while_there_is_room() -> None:
    assert as_path.prepend(b"", 64512) == path((SEQUENCE, (64512,)))
    assert as_path.prepend(path((SEQUENCE, (1,))), 64512) == path((SEQUENCE, (64512, 1)))
    assert as_path.prepend(path((SET, (1, 2))), 64512) == path((SEQUENCE, (64512,)), (SET, (1, 2)))
    full = path((SEQUENCE, (1,) * 255))
    assert as_path.prepend(full, 64512) == path((SEQUENCE, (64512,))) + full


def test_an_old_peer_hears_as_trans_for_what_does_not_fit() -> None:
    wide = path((SEQUENCE, (64512, 4200000000)), (SET, (65536, 7)))
    assert as_path.decode(as_path.narrow(wide), 2) == (
        Segment(SEQUENCE, (64512, AS_TRANS)),
        Segment(SET, (AS_TRANS, 7)),
    )
    assert as_path.needs_four_octets(wide)
    assert not as_path.needs_four_octets(path((SEQUENCE, (64512, 65535))))


def test_the_path_of_an_old_peer_gets_its_real_numbers_back_from_as4_path() -> None:
    real = path((SEQUENCE, (64512, 4200000000)), (SET, (65536, 7)))
    assert as_path.merge(as_path.widen(as_path.narrow(real)), real) == real


def test_what_old_speakers_prepended_leads_the_merged_path() -> None:
    old = path((SEQUENCE, (3, 2, AS_TRANS, 1)))
    assert as_path.merge(old, path((SEQUENCE, (4200000000, 1)))) == path((SEQUENCE, (3, 2, 4200000000, 1)))


def test_a_set_that_old_speakers_put_first_stays_whole() -> None:
    old = path((SET, (7, 8, 9)), (SEQUENCE, (AS_TRANS,)))
    assert as_path.merge(old, path((SEQUENCE, (4200000000,)))) == path((SET, (7, 8, 9)), (SEQUENCE, (4200000000,)))


def test_confederation_segments_of_as_path_stay_and_those_of_as4_path_are_dropped() -> None:
    old = path((CONFED_SEQUENCE, (65001,)), (SEQUENCE, (2, AS_TRANS)))
    new = path((CONFED_SEQUENCE, (9,)), (SEQUENCE, (4200000000,)))
    assert as_path.merge(old, new) == path((CONFED_SEQUENCE, (65001,)), (SEQUENCE, (2, 4200000000)))


def test_an_as4_path_longer_than_as_path_is_passed_over() -> None:
    old = path((SEQUENCE, (AS_TRANS,)))
    assert as_path.merge(old, path((SEQUENCE, (4200000000, 1)))) == old
    assert as_path.merge(old, b"") == old


def test_a_merged_sequence_never_overflows_its_count() -> None:
    merged = as_path.merge(path((SEQUENCE, (1,) * 255), (SEQUENCE, (2,) * 10)), path((SEQUENCE, (3,) * 200)))
    assert as_path.length(merged) == 265
    assert [len(segment.numbers) for segment in as_path.decode(merged)] == [65, 200]


def test_as4_path_goes_out_without_confederation_segments() -> None:
    assert as_path.decode(as_path.without_confederations(MIXED)) == (
        Segment(SEQUENCE, (64512, 4200000000)),
        Segment(SET, (1, 2)),
    )


@pytest.mark.parametrize("count", [0, 256])
def test_a_segment_has_1_to_255_numbers(count: int) -> None:
    with pytest.raises(LocalMisuse):
        Segment(SEQUENCE, (1,) * count)
