"""Attachments, the dataplane and what is told of both, with a dataplane that fails when it is told to."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bagpipe.daemon import forwarding as module
from bagpipe.daemon.statements import statement_v2
from bagpipe.dataplane import programmer
from bagpipe.dataplane.memory import MemoryDataplane
from bagpipe.dataplane.model import Delivery, DeliveryKey
from tests.unit.daemon.forwarding_scene import Scene, body_v2, first, play, second, until
from tests.unit.vpn.evpn.node import PE1, mac_update


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
        states = [value for kind, value in scene.told if kind == "dataplane" and value["plane"] == "ipvpn"]
        assert {"plane": "ipvpn", "state": "unreachable", "why": "the switch has ended"} in states
        assert states[-1] == {"plane": "ipvpn", "state": "connected", "why": None}

    play(story)


def test_what_an_endpoint_needs_is_removed_while_the_dataplane_is_away() -> None:
    async def story(scene: Scene) -> None:
        await scene.put(first(2), first(3))
        await until(lambda: scene.forwarding.ipvpn.programmer.swept)
        scene.driver.lose("away")
        await scene.remove(first(2).id)
        scene.driver.regain()
        await until(lambda: len(scene.driver.held) == 3)
        assert {text.split("/")[0][-1] for text in scene.announced()} == {"3"}

    play(story)


def test_a_removal_is_not_done_until_the_dataplane_has_confirmed_it_and_may_be_asked_again() -> None:
    async def story(scene: Scene) -> None:
        name = first(2).id
        await scene.put(first(2), first(3))
        scene.driver.lose("away")
        for _ in range(2):
            left = await scene.forwarding.settle(scene.attachments.change((), [name]), 2)
            assert set(left.values()) == {"the dataplane cannot be programmed: away"}
            assert scene.attachments.departures.get(name) is not None
        assert name not in scene.attachments.stated
        scene.driver.regain()
        assert await scene.forwarding.settle(scene.attachments.change((), [name]), 2) == {}
        assert scene.attachments.departures.get(name) is None
        assert len(scene.driver.held) == 3

    play(story)


def test_a_removal_that_was_not_confirmed_survives_a_restart_and_is_done_before_leftovers_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.Forwarding, "_all_told", lambda _: False)
    monkeypatch.setattr(module, "SWEEP_AFTER", 60.0)
    driver = MemoryDataplane()
    name = first(2).id

    async def removed(scene: Scene) -> None:
        apart = body_v2(4) | {"instance": {"id": "net2", "import_rts": ["64512:2"], "export_rts": ["64512:2"]}}
        await scene.put(first(2), first(3), statement_v2("other", apart))
        driver.lose("away")
        await scene.remove(name, "other")

    async def removed_again(scene: Scene) -> None:
        # given a restart without the dataplane: it is not in force, and not gone
        assert list(scene.attachments.stated) == [first(3).id]
        assert await scene.forwarding.settle(scene.attachments.change((), [name]), 2) != {}
        assert await scene.forwarding.settle(scene.attachments.replace_owner("", []), 2) != {}
        assert len(driver.held) > 3
        # when the dataplane comes, then it goes with no wait for what else may be left over
        driver.regain()
        await until(lambda: len(driver.held) == 3)
        assert not scene.forwarding.ipvpn.programmer.swept
        await until(lambda: not scene.attachments.departures)

    async def gone(scene: Scene) -> None:
        assert list(scene.attachments.stated) == [first(3).id] and not scene.attachments.departures

    play(removed, driver=driver, state=tmp_path)
    play(removed_again, driver=driver, state=tmp_path)
    play(gone, driver=driver, state=tmp_path)


def test_what_took_the_place_of_something_that_is_leaving_has_it_after_a_restart(tmp_path: Path) -> None:
    driver = MemoryDataplane()

    async def story(scene: Scene) -> None:
        await scene.put(second("old", 2), first(3))
        driver.lose("away")
        await scene.remove("old", first(3).id)
        # given the same endpoint under another name, and a port that is in another VPN now
        await scene.put(second("new", 2), first(3, "net2", "tap3-net1"))

    async def restarted(scene: Scene) -> None:
        assert sorted(scene.attachments.stated) == sorted(["new", first(3, "net2", "tap3-net1").id])
        assert {one.statement.id for one in scene.attachments.departures} == {"old", first(3).id}
        driver.regain()
        await until(lambda: len(scene.announced()) == 2 and not scene.attachments.departures)
        assert {key.instance for key in driver.held.values() if isinstance(key, Delivery)} == {
            vrf.number for vrf in scene.forwarding.vpns.ipvpn.instances.values()
        }

    play(story, driver=driver, state=tmp_path)
    play(restarted, driver=driver, state=tmp_path)


def test_what_is_attached_again_before_its_removal_was_confirmed_stays(tmp_path: Path) -> None:
    driver = MemoryDataplane()

    async def story(scene: Scene) -> None:
        await scene.put(first(2))
        held = set(driver.held)
        driver.lose("away")
        await scene.remove(first(2).id)
        await scene.put(first(2))
        assert not scene.attachments.departures
        driver.regain()
        await until(lambda: bool(scene.announced()))
        assert len(driver.held) == len(held)

    async def restarted(scene: Scene) -> None:
        assert list(scene.attachments.stated) == [first(2).id] and not scene.attachments.departures

    play(story, driver=driver, state=tmp_path)
    play(restarted, driver=driver, state=tmp_path)


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
        await until(lambda: scene.forwarding.ipvpn.programmer.swept)
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


def test_of_a_mac_that_is_elsewhere_by_now_the_state_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLING", 0.0)
    body = {
        "instance": {"id": "blue", "type": "evpn", "import_rts": ["64512:1"], "export_rts": ["64512:1"]},
        "port": {"name": "tap2"},
        "mac": "fa:16:3e:00:00:02",
    }

    async def story(scene: Scene) -> None:
        await scene.put(statement_v2("two", body))
        scene.learn(mac_update(2, sequence=7))
        await until(lambda: scene.forwarding.state_of(scene.attachments.stated["two"])[1])
        state, reason = scene.forwarding.state_of(scene.attachments.stated["two"])
        assert state == "in-effect"
        assert reason == f"MAC is now at {PE1}, sequence 7 (here: sequence 0)"

    play(story)
