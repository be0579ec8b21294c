"""The programmer between a tracker and a dataplane that fails in every way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import pytest

from bagpipe.dataplane import programmer as module
from bagpipe.dataplane.delta import Change, Tracker
from bagpipe.dataplane.driver import Again, Gone
from bagpipe.dataplane.errors import Unreachable
from bagpipe.dataplane.memory import MemoryDataplane
from bagpipe.dataplane.model import Delivery, DeliveryKey, Key, Value
from bagpipe.dataplane.programmer import BATCH, Programmer, pause


def key(number: int) -> DeliveryKey:
    return DeliveryKey(16 + number)


def value(instance: int = 1) -> Delivery:
    return Delivery(instance, None, None)


class Scene:
    """A programmer that runs, and what it has told."""

    def __init__(self, driver: MemoryDataplane) -> None:
        self.tracker = Tracker()
        self.driver = driver
        self.confirmed: list[Key] = []
        self.refused: list[tuple[Key, str]] = []
        self.losses = 0
        self.programmer = Programmer(self.tracker, driver, self._settled, self._lost)

    def _settled(self, confirmed: Sequence[Key], refused: Mapping[Key, str]) -> None:
        self.confirmed += confirmed
        self.refused += refused.items()

    def _lost(self) -> None:
        self.losses += 1

    def set(self, *numbers: int, to: int = 1) -> list[Key]:
        keys: list[Key] = [key(number) for number in numbers]
        for one in keys:
            self.tracker.set(one, value(to))
        self.programmer.wake()
        return keys


def play(story: Callable[[Scene], Awaitable[None]], driver: MemoryDataplane | None = None) -> Scene:
    async def run() -> Scene:
        scene = Scene(driver or MemoryDataplane())
        await scene.programmer.start()
        await story(scene)
        await scene.programmer.close()
        return scene

    return asyncio.run(run())


async def until(look: Callable[[], bool]) -> None:
    for _ in range(500):
        if look():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to pass")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(module, "GONE_PATIENCE", 0.05)


def test_changes_of_one_turn_go_together_and_are_told_when_they_are_in_effect() -> None:
    async def story(scene: Scene) -> None:
        await scene.programmer.wait_settled(scene.set(1), 1)
        assert scene.driver.batches == 0  # the first ones came with the adoption
        keys = scene.set(2) + scene.set(3) + scene.set(4)
        assert await scene.programmer.wait_settled(keys, 1) == {}
        assert scene.driver.batches == 1

    scene = play(story)
    assert set(scene.driver.held) == {key(number) for number in (1, 2, 3, 4)}
    assert set(scene.confirmed) == set(scene.driver.held)


def test_what_was_desired_before_the_dataplane_came_is_adopted() -> None:
    async def story(scene: Scene) -> None:
        assert await scene.programmer.wait_settled(scene.set(1, 2), 1) == {}

    assert len(play(story).driver.held) == 2


def test_a_batch_in_flight_is_bounded() -> None:
    sizes = []

    class Counting(MemoryDataplane):
        async def apply(self, changes: Sequence[Change]) -> dict[Key, str]:
            sizes.append(len(changes))
            return await super().apply(changes)

    async def story(scene: Scene) -> None:
        await scene.programmer.wait_settled(scene.set(1), 1)
        await scene.programmer.wait_settled(scene.set(*range(2 * BATCH + 5)), 5)

    play(story, Counting())
    assert sizes == [BATCH, BATCH, 4]


def test_a_refused_record_is_told_and_tried_again_until_it_is_taken(quick: None) -> None:
    driver = MemoryDataplane()
    driver.refusals[key(1)] = "no such port"

    async def story(scene: Scene) -> None:
        told = await scene.programmer.wait_settled(scene.set(1, 2), 1)
        assert told == {key(1): "no such port"}
        assert key(2) in driver.held
        await until(lambda: scene.tracker.refused[key(1)].tries >= 3)
        driver.refusals.clear()
        await until(lambda: key(1) in driver.held)

    scene = play(story, driver)
    assert scene.confirmed.count(key(1)) == 1
    assert scene.programmer.retries >= 3
    assert scene.tracker.counts()["refused"] == 0


def test_who_asks_for_a_refused_record_again_has_it_tried_at_once() -> None:
    driver = MemoryDataplane()
    driver.refusals[key(1)] = "no such port"

    async def story(scene: Scene) -> None:
        await scene.programmer.wait_settled(scene.set(1), 1)
        driver.refusals.clear()
        assert await scene.programmer.wait_settled(scene.set(1), 0.5) == {}

    assert key(1) in play(story, driver).driver.held


def test_the_pause_grows_and_is_bounded() -> None:
    pauses = [pause(tries) for tries in (1, 2, 3, 10, 1000)]
    assert 0.75 <= pauses[0] <= 1
    assert 1.5 <= pauses[1] <= 2
    assert 3 <= pauses[2] <= 4
    assert all(45 <= seconds <= 60 for seconds in pauses[3:])


def test_a_lost_connection_loses_nothing(quick: None) -> None:
    async def story(scene: Scene) -> None:
        await scene.programmer.wait_settled(scene.set(1, 2), 1)
        scene.driver.lose("the switch has ended", forget=True)
        gone = scene.set(3)
        scene.tracker.remove(key(1))
        told = await scene.programmer.wait_settled(gone, 1)
        assert told == {key(3): "the dataplane cannot be programmed: the switch has ended"}
        scene.driver.regain()
        assert await scene.programmer.wait_settled([key(2), key(3)], 1) == {}

    scene = play(story)
    assert set(scene.driver.held) == {key(2), key(3)}
    assert scene.losses >= 1


def test_a_connection_that_fails_while_a_batch_is_in_flight_is_adopted_anew(quick: None) -> None:
    class Flaky(MemoryDataplane):
        failures = 2

        async def apply(self, changes: Sequence[Change]) -> dict[Key, str]:
            if self.failures:
                self.failures -= 1
                raise Unreachable("the connection was reset")
            return await super().apply(changes)

    async def story(scene: Scene) -> None:
        await scene.programmer.wait_settled(scene.set(1), 1)
        assert await scene.programmer.wait_settled(scene.set(2), 2) == {}

    scene = play(story, Flaky())
    assert set(scene.driver.held) == {key(1), key(2)}


def test_a_driver_that_breaks_does_not_end_the_programmer(quick: None) -> None:
    class Broken(MemoryDataplane):
        breaks = True

        async def adopt(self, desired: Mapping[Key, Value], *, sweep: bool) -> dict[Key, str]:
            if self.breaks:
                self.breaks = False
                raise RuntimeError("a fault in the driver")
            return await super().adopt(desired, sweep=sweep)

    async def story(scene: Scene) -> None:
        assert await scene.programmer.wait_settled(scene.set(1), 2) == {}

    assert key(1) in play(story, Broken()).driver.held


def test_leftovers_go_only_when_it_is_known_that_they_are_left_over(quick: None) -> None:
    driver = MemoryDataplane()
    driver.held[key(9)] = value()

    async def story(scene: Scene) -> None:
        await scene.programmer.wait_settled(scene.set(1), 1)
        assert set(driver.held) == {key(1), key(9)}
        scene.programmer.sweep_when_ready()
        await until(lambda: scene.programmer.swept)
        assert set(driver.held) == {key(1)}
        # from then on a reconnection sweeps as well
        driver.lose("away")
        scene.tracker.remove(key(1))
        driver.regain()
        await until(lambda: not driver.held)

    play(story, driver)


def test_a_sweep_that_is_asked_for_while_the_dataplane_is_away_waits_for_it() -> None:
    driver = MemoryDataplane()
    driver.held[key(9)] = value()
    driver.reachable = False

    async def story(scene: Scene) -> None:
        scene.programmer.sweep_when_ready()
        await asyncio.sleep(0.02)
        assert key(9) in driver.held
        driver.regain()
        await until(lambda: not driver.held)

    play(story, driver)


def test_what_changed_beneath_a_record_has_it_programmed_again() -> None:
    async def story(scene: Scene) -> None:
        await scene.programmer.wait_settled(scene.set(1), 1)
        scene.driver.held.clear()
        scene.programmer._heard(Again((key(1),), "its flow was deleted"))
        await until(lambda: key(1) in scene.driver.held)

    assert play(story).confirmed.count(key(1)) == 2


def test_an_answer_that_comes_after_the_connection_was_lost_confirms_nothing(quick: None) -> None:
    class Slow(MemoryDataplane):
        def __init__(self) -> None:
            super().__init__()
            self.answer = asyncio.Event()

        async def apply(self, changes: Sequence[Change]) -> dict[Key, str]:
            await self.answer.wait()
            return {}

    async def run() -> Scene:
        driver = Slow()
        scene = Scene(driver)
        await scene.programmer.start()
        await scene.programmer.wait_settled(scene.set(1), 1)
        scene.set(2)
        await asyncio.sleep(0.02)
        scene.programmer._heard(Gone("reset"))
        driver.answer.set()
        await asyncio.sleep(0.02)
        assert key(2) not in scene.confirmed
        assert not scene.tracker.in_effect(key(2))
        driver.regain()
        assert await scene.programmer.wait_settled([key(2)], 1) == {}
        await scene.programmer.close()
        return scene

    assert key(2) in asyncio.run(run()).driver.held


def test_a_removal_is_waited_for_like_a_value() -> None:
    async def story(scene: Scene) -> None:
        keys = scene.set(1)
        await scene.programmer.wait_settled(keys, 1)
        scene.tracker.remove(key(1))
        scene.programmer.wake()
        assert await scene.programmer.wait_settled(keys, 1) == {}
        assert scene.driver.held == {}

    play(story)


def test_the_time_that_batches_take_is_counted() -> None:
    async def story(scene: Scene) -> None:
        await scene.programmer.wait_settled(scene.set(1), 1)
        await scene.programmer.wait_settled(scene.set(2), 1)

    latency = play(story).programmer.latency
    assert sum(latency.counts) == 1
    assert len(latency.counts) == len(latency.bounds) + 1
    assert 0 < latency.total < 1
