"""Numbers are given once, and again only when no other is left."""

from __future__ import annotations

import pytest

from bagpipe.errors import LocalMisuse
from bagpipe.vpn.allocation import Allocator


def test_a_freed_number_comes_again_only_after_all_others_and_the_oldest_first() -> None:
    numbers = Allocator("labels", 16, 20)
    assert [numbers.allocate() for _ in range(3)] == [16, 17, 18]
    numbers.free(17)
    numbers.free(16)
    assert [numbers.allocate() for _ in range(4)] == [19, 20, 17, 16]


def test_when_all_are_in_use_it_says_so() -> None:
    numbers = Allocator("labels", 1, 2)
    numbers.require(2)
    numbers.allocate()
    numbers.allocate()
    with pytest.raises(LocalMisuse, match="labels"):
        numbers.allocate()
    numbers.free(1)
    assert numbers.allocate() == 1


def test_a_wanted_number_is_given_unless_it_is_in_use_or_out_of_range() -> None:
    numbers = Allocator("labels", 16, 30)
    assert numbers.allocate(20) == 20
    assert numbers.allocate(20) == 21
    assert numbers.allocate(3) == 22
    assert numbers.allocate(18) == 18


def test_what_a_wanted_number_skipped_is_given_last() -> None:
    numbers = Allocator("labels", 1, 6)
    numbers.allocate(4)
    assert [numbers.allocate() for _ in range(5)] == [5, 6, 1, 2, 3]


def test_a_number_wanted_out_of_turn_is_never_given_twice() -> None:
    numbers = Allocator("labels", 1, 6)
    numbers.allocate(6)
    numbers.allocate(2)
    numbers.free(2)
    numbers.allocate(2)
    assert sorted(numbers.allocate() for _ in range(4)) == [1, 3, 4, 5]
    assert numbers.available == 0


def test_a_number_that_is_held_is_passed_over_until_it_is_freed() -> None:
    numbers = Allocator("labels", 16, 20)
    assert numbers.hold(17)
    assert not numbers.hold(17)
    assert not numbers.hold(21)
    assert [numbers.allocate() for _ in range(3)] == [16, 18, 19]
    numbers.free(17)
    assert [numbers.allocate() for _ in range(2)] == [20, 17]
    assert numbers.available == 0
