"""Attachments, the dataplane and what is told of both, with a dataplane that fails when it is told to."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bagpipe.daemon import forwarding as module
from bagpipe.dataplane import programmer
from bagpipe.dataplane.memory import MemoryDataplane
from bagpipe.dataplane.model import Delivery, DeliveryKey
from tests.unit.daemon.forwarding_scene import Scene, first, play, second, until


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programmer, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(programmer, "GONE_PATIENCE", 0.1)
    monkeypatch.setattr(module, "SWEEP_AFTER", 0.2)
    monkeypatch.setattr(module, "SWEEP_LOOK", 0.02)


def test_nothing_is_announced_that_the_dataplane_refuses_and_it_is_once_it_takes_it() -> None:
    driver = MemoryDataplane()
    driver.refusals[DeliveryKey(16)] = "no such port"

    async def story(scene: Scene) -> None:
        left = await scene.put(first(2))
        assert list(left.values()) == ["no such port"]
        state, reason = scene.forwarding.state_of(scene.attachments.stated[first(2).id])
        assert state == "refused"
        assert "no such port" in str(reason)
        assert scene.announced() == set()
        driver.refusals.clear()
        await until(scene.announced)
        events = [value["state"] for kind, value in scene.told if kind == "attachment"]
        assert events[0] == "refused"
        assert events[-1] == "in-effect"

    play(story, driver=driver)


def test_while_the_dataplane_is_away_an_attachment_waits_and_says_why() -> None:
    driver = MemoryDataplane()
    driver.reachable = False

    async def story(scene: Scene) -> None:
        left = await scene.put(first(2))
        assert set(left.values()) == {"the dataplane cannot be programmed: not connected yet"}
        assert scene.announced() == set()
        state, reason = scene.forwarding.state_of(scene.attachments.stated[first(2).id])
        assert (state, reason) == ("pending", "no dataplane: not connected yet")
        driver.regain()
        await until(scene.announced)

    play(story, driver=driver)


def test_a_dataplane_that_comes_back_empty_is_filled_and_the_routes_stay_announced() -> None:
    async def story(scene: Scene) -> None:
        await scene.put(first(2), first(3))
        announced, held = scene.announced(), dict(scene.driver.held)
        scene.driver.lose("the switch has ended", forget=True)
        await asyncio.sleep(0.02)
        assert scene.announced() == announced
        scene.driver.regain()
        await until(lambda: scene.driver.held == held)
        assert scene.announced() == announced
        states = [value for kind, value in scene.told if kind == "dataplane"]
        assert {"state": "unreachable", "why": "the switch has ended"} in states
        assert states[-1] == {"state": "connected", "why": None}

    play(story)


def test_what_an_endpoint_needs_is_removed_while_the_dataplane_is_away() -> None:
    async def story(scene: Scene) -> None:
        await scene.put(first(2), first(3))
        await until(lambda: scene.forwarding.programmer.swept)
        scene.driver.lose("away")
        await scene.remove(first(2).id)
        scene.driver.regain()
        await until(lambda: len(scene.driver.held) == 3)
        assert {text.split("/")[0][-1] for text in scene.announced()} == {"3"}

    play(story)


def test_leftovers_of_the_last_process_are_removed_after_a_while(tmp_path: Path) -> None:
    driver = MemoryDataplane()
    driver.held[DeliveryKey(99)] = Delivery(7, None, None)

    async def story(scene: Scene) -> None:
        await scene.put(first(2))
        assert DeliveryKey(99) in driver.held
        await until(lambda: DeliveryKey(99) not in driver.held)
        assert len(driver.held) == 3

    play(story, driver=driver, state=tmp_path)


def test_a_restart_leaves_what_the_dataplane_holds_untouched(tmp_path: Path) -> None:
    driver = MemoryDataplane()
    touched = []

    class Watched(MemoryDataplane):
        async def apply(self, changes: object) -> dict[object, str]:  # type: ignore[override]
            touched.append(changes)
            return {}

    async def fill(scene: Scene) -> None:
        await scene.put(*(first(number) for number in range(2, 12)))

    async def again(scene: Scene) -> None:
        await until(lambda: scene.forwarding.programmer.swept)
        assert len(scene.announced()) == 10

    play(fill, state=tmp_path, driver=driver)
    held = dict(driver.held)
    second_driver = Watched()
    second_driver.held = dict(held)
    play(again, state=tmp_path, driver=second_driver)
    assert second_driver.held == held
    assert touched == []


def test_what_no_v1_agent_attaches_again_is_dropped_once_one_is_back(tmp_path: Path) -> None:
    async def fill(scene: Scene) -> None:
        await scene.put(*(first(number) for number in range(2, 6)))
        await scene.put(second("kept", 9))

    async def nobody(scene: Scene) -> None:
        await asyncio.sleep(0.3)
        assert len(scene.attachments.stated) == 5

    async def somebody(scene: Scene) -> None:
        for number in (2, 3):
            scene.forwarding.put([first(number)])
            await asyncio.sleep(0.06)
        assert len(scene.attachments.stated) == 5
        await until(lambda: set(scene.attachments.stated) == {first(2).id, first(3).id, "kept"})

    async def afterwards(scene: Scene) -> None:
        assert set(scene.attachments.stated) == {first(2).id, first(3).id, "kept"}

    play(fill, state=tmp_path)
    play(nobody, state=tmp_path, reattach_timeout=0.1)
    play(somebody, state=tmp_path, reattach_timeout=0.1)
    play(afterwards, state=tmp_path)


def test_an_agent_of_v2_that_takes_over_from_one_of_v1_leaves_nothing_of_it_behind(tmp_path: Path) -> None:
    async def fill(scene: Scene) -> None:
        await scene.put(*(first(number) for number in range(2, 6)))

    async def takes_over(scene: Scene) -> None:
        scene.forwarding.replace_owner("agent", [second("a", 2, owner="agent"), second("b", 3, owner="agent")])
        assert len(scene.attachments.stated) == 4
        await until(lambda: set(scene.attachments.stated) == {"a", "b"})

    play(fill, state=tmp_path)
    play(takes_over, state=tmp_path, reattach_timeout=0.1)


def test_stopping_tears_nothing_down() -> None:
    driver = MemoryDataplane()

    async def story(scene: Scene) -> None:
        await scene.put(first(2))

    play(story, driver=driver)
    assert len(driver.held) == 3
