"""A measurement ends when the program is quiet, and at its limit at the latest."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import cast

import pytest

from bench import quiet
from bench.programs.running import Running
from bench.quiet import Failed, OverBudget, Watch, settle


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Worker:
    """A program whose processor time is a function of the time."""

    def __init__(self, clock: Clock, used: Callable[[float], float], dies_at: float = float("inf")) -> None:
        self.clock = clock
        self.used = used
        self.dies_at = dies_at
        self.began = clock.now

    def cpu(self) -> float:
        return 5.0 + self.used(self.clock.now - self.began)

    def alive(self) -> bool:
        return self.clock.now - self.began < self.dies_at

    def output(self) -> str:
        return "last words"


@pytest.fixture(name="clock")
def made_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    monkeypatch.setattr(time, "sleep", clock.sleep)
    return clock


def watch(worker: Worker, limit: float = 60.0) -> Watch:
    return Watch(cast(Running, worker), limit)


def test_what_is_given_is_the_time_of_the_work_without_what_was_before(clock: Clock) -> None:
    worker = Worker(clock, lambda t: min(t, 2.0))
    assert watch(worker).until_quiet(lambda: None) == pytest.approx(2.0, abs=0.01)


def test_work_that_pauses_for_less_than_the_window_is_not_over(clock: Clock) -> None:
    worker = Worker(clock, lambda t: min(t, 0.5) if t < 1.4 else min(0.5 + t - 1.4, 1.0))
    assert watch(worker).until_quiet(lambda: None) == pytest.approx(1.0, abs=0.01)


def test_work_without_end_is_over_budget(clock: Clock) -> None:
    with pytest.raises(OverBudget, match=r"more than 10\.\d CPU s, stopped after 10 s"):
        watch(Worker(clock, lambda t: t), limit=10.0).until_quiet(lambda: None)


def test_a_program_that_ends_fails_with_what_it_said(clock: Clock) -> None:
    with pytest.raises(Failed, match="last words"):
        watch(Worker(clock, lambda t: t, dies_at=3.0)).until_quiet(lambda: None)


def test_a_program_that_idles_with_some_work_is_still_found_quiet(clock: Clock) -> None:
    worker = Worker(clock, lambda t: 0.03 * t)
    share = settle(cast(Running, worker), lambda: None)
    assert share == pytest.approx(0.03, rel=0.01)
    busy = Worker(clock, lambda t: 0.03 * t + min(t, 1.0))
    spent = Watch(cast(Running, busy), 60.0, share).until_quiet(lambda: None)
    assert spent == pytest.approx(1.03, abs=0.02)


def test_a_program_is_busy_while_it_uses_its_share(clock: Clock) -> None:
    watched = watch(Worker(clock, lambda t: min(t, 1.0)))
    seen = []
    for _ in itertools.repeat(None, 150):
        seen.append(watched.busy(0.25))
        clock.sleep(0.01)
    assert all(seen[:100])
    assert not any(seen[121:])


def test_the_window_is_the_documented_second() -> None:
    assert quiet.WINDOW == 1.0
