"""The tracker: what is in effect, whatever is set, removed, refused, lost and adopted in whatever order.

The state machine drives it with a dataplane that refuses at will, loses its connection at will and stands on ground
that moves: what is programmed is as good as the ground was when it was compiled.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bagpipe.dataplane.delta import Change, Refusal, Tracker
from bagpipe.dataplane.model import Key, SourceKey, Value

A, B, C = (SourceKey(bytes((192, 0, 2, number))) for number in (1, 2, 3))
# The tracker does not look at values; these stand for any.
ONE, TWO, THREE = (("one",), ("two",), ("three",))


def tracker(**desired: Any) -> Tracker:
    """A tracker with A, B, C (by lower case letters) confirmed at the given values."""
    made = Tracker()
    for name, value in desired.items():
        made.set({"a": A, "b": B, "c": C}[name], value)
    made.take()
    made.settle({})
    return made


def put(made: Tracker, key: Key, value: Any) -> None:
    made.set(key, value)


def changed(made: Tracker) -> list[tuple[Key, Any, Any]]:
    return [tuple(change) for change in made.take()]  # type: ignore[misc]


def test_a_record_is_in_effect_once_it_was_sent_and_confirmed() -> None:
    made = Tracker()
    put(made, A, ONE)
    assert made.has_changes and made.is_open(A) and not made.in_effect(A)
    assert changed(made) == [(A, None, ONE)]
    assert not made.has_changes and made.is_open(A) and not made.in_effect(A)
    assert made.settle({}) == [A]
    assert made.in_effect(A) and not made.is_open(A)
    assert made.counts() == {"desired": 1, "pending": 0, "in_flight": 0, "refused": 0}


def test_what_is_set_to_what_it_is_changes_nothing() -> None:
    made = tracker(a=ONE)
    put(made, A, ONE)
    made.remove(B)
    assert not made.has_changes


def test_many_set_at_once_are_as_if_set_one_by_one() -> None:
    made = tracker(a=ONE, b=ONE)
    made.set_all({A: ONE, B: TWO, C: THREE})
    assert changed(made) == [(B, ONE, TWO), (C, None, THREE)]
    made.settle({})
    made.remove(C)
    made.set_all({C: THREE})
    assert not made.has_changes


def test_changes_before_they_are_sent_are_one_change() -> None:
    made = tracker(a=ONE)
    put(made, A, TWO)
    put(made, A, THREE)
    put(made, B, ONE)
    assert changed(made) == [(A, ONE, THREE), (B, None, ONE)]


def test_what_comes_and_goes_before_it_is_sent_is_no_change() -> None:
    made = tracker(a=ONE)
    put(made, B, ONE)
    made.remove(B)
    put(made, A, TWO)
    put(made, A, ONE)
    assert not made.has_changes
    assert made.in_effect(A) and not made.is_open(B)


def test_a_change_during_the_flight_is_sent_after_it_even_if_it_goes_back() -> None:
    made = tracker(a=ONE)
    put(made, A, TWO)
    made.take()
    put(made, A, ONE)
    assert made.settle({}) == []
    assert not made.in_effect(A)
    assert changed(made) == [(A, TWO, ONE)]
    assert made.settle({}) == [A]


def test_a_removal_is_open_until_it_is_confirmed_and_is_told_then() -> None:
    made = tracker(a=ONE)
    made.remove(A)
    assert made.is_open(A) and not made.in_effect(A)
    assert changed(made) == [(A, ONE, None)]
    assert made.settle({}) == [A]
    assert not made.is_open(A) and made.counts()["desired"] == 0


def test_what_is_refused_is_not_in_effect_and_is_sent_again_when_retried() -> None:
    made = tracker(a=ONE)
    put(made, A, TWO)
    put(made, B, ONE)
    made.take()
    assert made.settle({A: "no port"}) == [B]
    assert made.refused == {A: Refusal("no port", 1, ONE)}
    assert not made.in_effect(A) and not made.is_open(A) and not made.has_changes

    made.retry()
    assert changed(made) == [(A, ONE, TWO)]
    made.settle({A: "still no port"})
    assert made.refused == {A: Refusal("still no port", 2, ONE)}

    made.retry([B, A])
    assert changed(made) == [(A, ONE, TWO)]
    assert made.settle({}) == [A]
    assert made.refused == {} and made.in_effect(A)


def test_what_is_refused_and_then_changed_is_sent_with_what_was_confirmed_before() -> None:
    made = tracker(a=ONE)
    put(made, A, TWO)
    made.take()
    put(made, A, THREE)
    made.settle({A: "no"})
    assert changed(made) == [(A, ONE, THREE)]


def test_what_is_refused_and_then_set_back_is_sent_all_the_same() -> None:
    made = tracker(a=ONE)
    put(made, A, TWO)
    made.take()
    made.settle({A: "no"})
    put(made, A, ONE)
    assert changed(made) == [(A, ONE, ONE)]
    assert made.settle({}) == [A]


def test_a_new_record_that_was_refused_and_removed_is_cleared_away() -> None:
    made = Tracker()
    put(made, A, ONE)
    made.take()
    made.settle({A: "no"})
    made.remove(A)
    assert changed(made) == [(A, None, None)]
    assert made.settle({}) == [A]
    assert made.counts() == dict.fromkeys(("desired", "pending", "in_flight", "refused"), 0)


def test_a_removal_that_was_refused_is_retried() -> None:
    made = tracker(a=ONE)
    made.remove(A)
    made.take()
    assert made.settle({A: "busy"}) == []
    made.retry()
    assert changed(made) == [(A, ONE, None)]
    assert made.settle({}) == [A]


def test_what_moved_beneath_is_programmed_again_and_what_is_not_desired_is_not() -> None:
    made = tracker(a=ONE)
    made.again([A, B])
    assert not made.in_effect(A)
    assert changed(made) == [(A, ONE, ONE)]
    assert made.settle({}) == [A]


def test_what_moved_beneath_is_programmed_again_though_the_record_went_and_came_back() -> None:
    made = tracker(a=ONE)
    made.again([A])
    put(made, A, TWO)
    put(made, A, ONE)
    assert changed(made) == [(A, ONE, ONE)]


def test_what_moved_beneath_during_the_flight_is_programmed_once_more() -> None:
    made = Tracker()
    put(made, A, ONE)
    made.take()
    made.again([A])
    assert made.settle({}) == []
    assert changed(made) == [(A, ONE, ONE)]


def test_what_was_refused_is_programmed_again_when_something_moves_beneath() -> None:
    made = tracker(a=ONE)
    put(made, A, TWO)
    made.take()
    made.settle({A: "no port"})
    made.again([A])
    assert changed(made) == [(A, ONE, TWO)]


def test_a_limit_takes_the_eldest_first_and_leaves_the_rest() -> None:
    made = Tracker()
    for key in (A, B, C):
        put(made, key, ONE)
    assert [change.key for change in made.take(2)] == [A, B]
    made.settle({})
    assert made.is_open(C)
    assert made.take(2) == [Change(C, None, ONE)]


def test_a_lost_connection_leaves_nothing_in_effect_and_forgets_refusals() -> None:
    made = tracker(a=ONE, b=ONE)
    put(made, B, TWO)
    made.take()
    put(made, C, ONE)
    made.lost()
    assert not any(map(made.in_effect, (A, B, C)))
    assert made.counts() == {"desired": 3, "pending": 3, "in_flight": 0, "refused": 0}
    assert made.settle({}) == []

    assert made.adopted({C: "no"}, dict(made.desired)) == [A, B]
    assert made.in_effect(A) and made.in_effect(B) and not made.in_effect(C)
    assert made.refused == {C: Refusal("no", 1, None)}
    assert not made.has_changes


def test_what_changes_while_it_is_adopted_is_sent_afterwards() -> None:
    made = tracker(a=ONE, b=ONE)
    made.lost()
    taken = dict(made.desired)
    put(made, A, TWO)
    made.remove(B)
    put(made, C, ONE)
    assert made.adopted({}, taken) == []
    assert set(changed(made)) == {(A, ONE, TWO), (B, ONE, None), (C, None, ONE)}


def test_what_was_removed_while_the_connection_was_lost_is_open_until_it_is_known_to_be_gone() -> None:
    made = tracker(a=ONE, b=ONE, c=ONE)
    made.remove(A)
    made.lost()
    made.remove(B)
    assert made.is_open(A) and made.is_open(B)
    # adopted without a look at what is left over, it has to be removed
    assert made.adopted({}, dict(made.desired)) == [C]
    assert made.is_open(A) and made.is_open(B)
    assert set(changed(made)) == {(A, ONE, None), (B, ONE, None)}
    assert set(made.settle({})) == {A, B}
    # when nothing but what is desired is there, it is gone
    made.lost()
    made.remove(C)
    assert made.is_open(C)
    assert made.adopted({}, dict(made.desired), swept=True) == [C]
    assert not made.is_open(C) and not made.has_changes


def test_what_is_in_flight_or_refused_when_the_connection_is_lost_and_was_to_go_stays_open() -> None:
    made = tracker(a=ONE, b=ONE)
    made.remove(A)
    made.take()
    made.settle({A: "no"})
    made.remove(B)
    made.take()
    made.lost()
    assert made.is_open(A) and made.is_open(B)
    assert made.adopted({}, {}) == []
    assert set(changed(made)) == {(A, ONE, None), (B, ONE, None)}


def test_what_comes_back_while_the_connection_is_lost_is_sent_again() -> None:
    made = tracker(a=ONE)
    made.lost()
    made.remove(A)
    put(made, A, ONE)
    assert made.is_open(A) and not made.in_effect(A)
    assert made.adopted({}, dict(made.desired)) == [A]
    assert made.in_effect(A)


def test_what_was_about_to_go_and_comes_back_while_leftovers_are_removed_is_sent() -> None:
    made = tracker(a=ONE)
    made.remove(A)
    taken = dict(made.desired)
    put(made, A, ONE)
    assert made.adopted({}, taken) == []
    assert changed(made) == [(A, None, ONE)]


def test_what_is_refused_while_it_is_adopted_and_has_changed_since_is_sent_at_once() -> None:
    made = tracker(a=ONE)
    made.lost()
    taken = dict(made.desired)
    put(made, A, TWO)
    made.adopted({A: "no"}, taken)
    assert made.refused[A].reason == "no"
    assert [(change.key, change.new) for change in made.take()] == [(A, TWO)]
    assert made.settle({}) == [A]
    assert made.refused == {}


def test_what_moves_beneath_while_it_is_adopted_is_programmed_again() -> None:
    made = tracker(a=ONE, b=ONE)
    made.lost()
    taken = dict(made.desired)
    made.again([A, B])
    assert made.adopted({B: "no port"}, taken) == []
    assert not made.in_effect(A)
    assert {change.key for change in made.take()} == {A, B}
    assert set(made.settle({})) == {A, B}


KEYS = st.sampled_from([A, B, C])
SOME = st.sets(KEYS)
VALUES = st.sampled_from([ONE, TWO, THREE])


def test_what_was_refused_once_and_is_in_flight_again_counts_as_sent() -> None:
    # given a value that was refused and is on its way once more
    made = tracker()
    put(made, A, ONE)
    made.take()
    made.settle({A: "no"})
    made.retry()
    made.take()
    # when another is wanted before the answer, which is good, and then none
    put(made, A, TWO)
    made.settle({})
    made.remove(A)
    # then what the dataplane holds has to be removed
    assert changed(made) == [(A, ONE, None)]


class Life(RuleBasedStateMachine):
    """A tracker and a dataplane; ``held`` is what the dataplane has, by the value and the ground it was made on."""

    def __init__(self) -> None:
        super().__init__()
        self.tracker = Tracker()
        self.ground: dict[Key, int] = dict.fromkeys((A, B, C), 0)
        self.held: dict[Key, tuple[Any, int]] = {}
        self.flight: list[tuple[Change, int]] | None = None
        self.adoption: dict[Key, tuple[Any, int]] | None = None
        self.is_known = True
        self.is_swept = True

    # what the control plane and the ground do, at any time

    @rule(key=KEYS, value=VALUES)
    def set(self, key: Key, value: Any) -> None:
        self.tracker.set(key, value)

    @rule(records=st.dictionaries(KEYS, VALUES))
    def set_all(self, records: dict[Key, Any]) -> None:
        self.tracker.set_all(records)
        assert records.items() <= self.tracker.desired.items()

    @rule(key=KEYS)
    def remove(self, key: Key) -> None:
        self.tracker.remove(key)

    @rule(key=KEYS)
    def the_ground_moves(self, key: Key) -> None:
        self.ground[key] += 1
        self.tracker.again([key])

    @rule(keys=st.none() | SOME)
    def retry(self, keys: set[Key] | None) -> None:
        self.tracker.retry(keys)

    # what the programmer does: one thing at a time

    @precondition(lambda self: self.is_known and self.flight is None and self.adoption is None)
    @rule(limit=st.none() | st.integers(1, 2))
    def take(self, limit: int | None) -> None:
        self.flight = [(change, self.ground[change.key]) for change in self.tracker.take(limit)]
        assert limit is None or len(self.flight) <= limit

    @precondition(lambda self: self.flight is not None)
    @rule(refused=SOME, spoiled=SOME)
    def settle(self, refused: set[Key], spoiled: set[Key]) -> None:
        assert self.flight is not None
        flight, self.flight = self.flight, None
        for change, ground in flight:
            if change.key not in refused:
                self._hold(change.key, change.new, ground)
            elif change.key in spoiled:
                self.held.pop(change.key, None)
        sent = {change.key for change, _ in flight}
        confirmed = self.tracker.settle(dict.fromkeys(refused & sent, "no"))
        assert set(confirmed) <= sent - refused
        for key in confirmed:
            assert self.held.get(key) == self._wanted(key)
        for key in refused & sent:
            assert self.tracker.refused[key].reason == "no"

    @rule(forgets=st.booleans(), done=SOME)
    def lose(self, forgets: bool, done: set[Key]) -> None:
        for change, ground in self.flight or ():
            if change.key in done:
                self._hold(change.key, change.new, ground)
        if forgets:
            self.held.clear()
        self.flight = self.adoption = None
        self.is_known = self.is_swept = False
        self.tracker.lost()

    @precondition(lambda self: self.flight is None and self.adoption is None)
    @rule()
    def begin_to_adopt(self) -> None:
        self.adoption = {key: (value, self.ground[key]) for key, value in self.tracker.desired.items()}

    @precondition(lambda self: self.adoption is not None)
    @rule(refused=SOME, sweep=st.booleans())
    def adopt(self, refused: set[Key], sweep: bool) -> None:
        assert self.adoption is not None
        adoption, self.adoption = self.adoption, None
        if sweep:
            self.held = {key: value for key, value in self.held.items() if key in adoption}
        for key, (value, ground) in adoption.items():
            if key not in refused:
                self._hold(key, value, ground)
        refusals = dict.fromkeys(refused & adoption.keys(), "no")
        confirmed = self.tracker.adopted(refusals, {key: value for key, (value, _) in adoption.items()})
        self.is_known = True
        self.is_swept = self.is_swept or sweep
        assert all(self.tracker.in_effect(key) for key in confirmed)

    def _hold(self, key: Key, value: Value | None, ground: int) -> None:
        if value is None:
            self.held.pop(key, None)
        else:
            self.held[key] = (value, ground)

    def _wanted(self, key: Key) -> tuple[Any, int] | None:
        value = self.tracker.desired.get(key)
        return None if value is None else (value, self.ground[key])

    # what must hold, always

    @invariant()
    def what_is_in_effect_is_held_as_desired_on_the_present_ground(self) -> None:
        for key in (A, B, C):
            if self.tracker.in_effect(key):
                assert self.held.get(key) == self._wanted(key)

    @invariant()
    def what_is_neither_open_nor_refused_is_as_desired(self) -> None:
        for key in (A, B, C):
            if self.tracker.is_open(key) or key in self.tracker.refused or not self.is_swept:
                continue
            assert self.held.get(key) == self._wanted(key)

    @invariant()
    def counts_are_true(self) -> None:
        counts = self.tracker.counts()
        open_keys = sum(map(self.tracker.is_open, (A, B, C)))
        assert counts["desired"] == len(self.tracker.desired)
        assert max(counts["pending"], counts["in_flight"]) <= open_keys <= counts["pending"] + counts["in_flight"]
        assert self.tracker.has_changes == (counts["pending"] > 0)
        assert counts["in_flight"] == len(self.flight or ())

    def teardown(self) -> None:
        """In the end, with a dataplane that refuses nothing, everything is as desired and nothing is left over."""
        self.flight = self.adoption = None
        self.tracker.lost()
        self.begin_to_adopt()
        self.adopt(set(), True)
        self.tracker.retry()
        self.take(None)
        self.settle(set(), set())
        assert not self.tracker.has_changes
        assert self.tracker.refused == {}
        assert self.held == {key: self._wanted(key) for key in self.tracker.desired}
        assert all(self.tracker.in_effect(key) for key in self.tracker.desired)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=250, stateful_step_count=40)
