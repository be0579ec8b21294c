"""Statements are put in force all or nothing, by owner, and survive a restart with their identifiers."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from bagpipe.daemon.journal import FILE
from bagpipe.errors import LocalMisuse
from tests.unit.daemon.forwarding_scene import Scene, first, play, second


def test_an_endpoint_is_in_effect_and_announced_and_then_gone() -> None:
    async def story(scene: Scene) -> None:
        empty = scene.outline()
        assert await scene.put(first(2)) == {}
        assert scene.announced() == {"192.0.2.11:0:10.0.0.2/32 label 16"}
        assert scene.forwarding.state_of(scene.attachments.stated[first(2).id]) == ("in-effect", None)
        await scene.remove(first(2).id)
        assert scene.driver.held == {}
        assert scene.outline() == empty

    play(story)


def test_putting_the_same_again_changes_nothing() -> None:
    async def story(scene: Scene) -> None:
        await scene.put(first(2), second("a", 3, addresses=["10.0.0.3", "2001:db8::3"]))
        before, batches = scene.outline(), scene.driver.batches
        assert await scene.put(first(2), second("a", 3, addresses=["10.0.0.3", "2001:db8::3"])) == {}
        assert scene.outline() == before
        assert scene.driver.batches == batches

    play(story)


def test_another_port_for_the_same_endpoint_is_refused_in_v1_and_done_in_v2() -> None:
    async def story(scene: Scene) -> None:
        await scene.put(first(2), second("a", 3))
        before = scene.outline()
        with pytest.raises(LocalMisuse, match="not consistent"):
            scene.attachments.change([first(2, port="elsewhere")])
        assert scene.outline() == before
        assert await scene.put(second("a", 3, port="elsewhere")) == {}
        (moved,) = scene.attachments.stated["a"].endpoints
        assert moved.port.name == "elsewhere"
        assert scene.attachments.reserved[("net1", moved.key)].label == 17
        assert len(scene.announced()) == 2

    play(story)


def test_a_change_of_addresses_keeps_those_that_stay() -> None:
    async def story(scene: Scene) -> None:
        await scene.put(second("a", 2, addresses=["10.0.0.2", "10.0.0.3"]))
        assert await scene.put(second("a", 2, addresses=["10.0.0.3", "10.0.0.4"])) == {}
        prefixes = {text.split(":")[2].split()[0] for text in scene.announced()}
        assert prefixes == {"10.0.0.3/32", "10.0.0.4/32"}
        assert [vrf.number for vrf in scene.forwarding.vpns.ipvpn.instances.values()] == [1]

    play(story)


def test_one_fault_in_an_owners_list_changes_nothing_and_is_named() -> None:
    async def story(scene: Scene) -> None:
        scene.attachments.replace_owner("agent", [second("a", 2, owner="agent"), second("b", 3, owner="agent")])
        await scene.put(first(9))
        before = scene.outline()
        wrong = [
            second("a", 2, owner="agent", instance="net2", port="moved"),
            second("c", 4, owner="agent", local_pref=7),
            second("d", 5, owner="agent", addresses=["10.0.0.9"]),
        ]
        with pytest.raises(LocalMisuse) as caught:
            scene.attachments.replace_owner("agent", wrong)
        assert caught.value.field.startswith("attachments.d.")
        assert scene.outline() == before

    play(story)


def test_an_owners_list_replaces_all_that_it_holds_and_nothing_of_others() -> None:
    async def story(scene: Scene) -> None:
        scene.attachments.replace_owner("agent", [second("a", 2, owner="agent"), second("b", 3, owner="agent")])
        scene.attachments.replace_owner("other", [second("x", 4, owner="other")])
        await scene.put(first(9))

        changed = scene.attachments.replace_owner(
            "agent", [second("b", 3, owner="agent"), second("c", 5, owner="agent")]
        )
        assert await scene.forwarding.settle(changed, 2) == {}

        assert set(scene.attachments.stated) == {"b", "c", "x", first(9).id}
        assert {text.split(":")[2].split("/")[0][-1] for text in scene.announced()} == {"3", "5", "4", "9"}
        scene.attachments.replace_owner("agent", [])
        assert set(scene.attachments.stated) == {"x", first(9).id}

    play(story)


def test_a_change_of_an_owners_list_leaves_what_it_does_not_name_and_touches_nothing_of_others() -> None:
    async def story(scene: Scene) -> None:
        scene.attachments.replace_owner("agent", [second("a", 2, owner="agent"), second("b", 3, owner="agent")])
        await scene.put(second("x", 4, owner="other"))
        before = scene.outline()
        for put, remove in (
            ([second("c", 5, owner="agent")], ["a", "x"]),
            ([second("c", 4, owner="agent")], ["a"]),
        ):
            with pytest.raises(LocalMisuse) as caught:
                scene.attachments.amend_owner("agent", put, remove)
            assert caught.value.field.startswith(("attachments.x.id", "attachments.c."))
            assert scene.outline() == before

        changed = scene.attachments.amend_owner("agent", [second("c", 2, owner="agent")], ["a", "never there"])
        assert await scene.forwarding.settle(changed, 2) == {}
        assert set(scene.attachments.stated) == {"b", "c", "x"}

    play(story)


def test_an_endpoint_has_one_holder_and_a_name_one_owner() -> None:
    async def story(scene: Scene) -> None:
        await scene.put(second("a", 2, owner="agent"))
        with pytest.raises(LocalMisuse, match="attached as 'a'"):
            scene.attachments.change([second("b", 2, owner="agent")])
        with pytest.raises(LocalMisuse, match="in use by owner 'agent'"):
            scene.attachments.change([second("a", 2, owner="other")])
        with pytest.raises(LocalMisuse, match="attached as"):
            scene.attachments.change([second("c", 4), second("d", 4)])
        assert set(scene.attachments.stated) == {"a"}

    play(story)


def test_what_a_v1_agent_attached_gives_way_to_the_same_by_v2() -> None:
    async def story(scene: Scene) -> None:
        await scene.put(first(2))
        announced = scene.announced()
        assert await scene.put(second("a", 2)) == {}
        assert set(scene.attachments.stated) == {"a"}
        assert scene.announced() == announced

    play(story)


def test_two_owners_may_exchange_their_ports_in_one_list() -> None:
    async def story(scene: Scene) -> None:
        await scene.put(second("a", 2, port="one"), second("b", 3, port="two"))
        assert await scene.put(second("a", 2, port="two"), second("b", 3, port="one")) == {}
        assert {name: held.endpoints[0].port.name for name, held in scene.attachments.stated.items()} == {
            "a": "two",
            "b": "one",
        }

    play(story)


def test_a_restart_gives_each_endpoint_its_identifiers_again(tmp_path: Path) -> None:
    async def fill(scene: Scene) -> dict[str, str]:
        for number in range(2, 12):
            await scene.put(first(number, f"net{number % 3}"))
        await scene.put(second("a", 20, addresses=["10.0.0.20", "2001:db8::20"]))
        await scene.remove(first(2, "net2").id, first(5, "net2").id)
        return {str(place): str(one) for place, one in scene.attachments.reserved.items()}

    async def again(scene: Scene) -> dict[str, str]:
        assert (
            await scene.forwarding.ipvpn.programmer.wait_settled(list(scene.forwarding.ipvpn.tracker.desired), 2) == {}
        )
        assert len(scene.announced()) == 10
        return {str(place): str(one) for place, one in scene.attachments.reserved.items()}

    before = play(fill, state=tmp_path)
    assert len(before) == 10
    assert play(again, state=tmp_path) == before
    assert play(again, state=tmp_path) == before


def test_a_restart_has_the_route_targets_that_were_stated_last(tmp_path: Path) -> None:
    async def fill(scene: Scene) -> None:
        await scene.put(first(2), first(3))
        await scene.put(first(2, export_rt=["64512:5"]))

    async def again(scene: Scene) -> list[str]:
        return [str(target) for target in scene.forwarding.vpns.ipvpn.instances["net1"].export_rts]

    play(fill, state=tmp_path)
    assert play(again, state=tmp_path) == ["64512:5"]


def test_what_the_journal_has_and_cannot_be_attached_is_dropped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def fill(scene: Scene) -> None:
        await scene.put(first(2), first(3))
        await scene.put(second("a", 4), second("b", 5))

    async def again(scene: Scene) -> set[str]:
        return set(scene.attachments.stated)

    play(fill, state=tmp_path)
    with sqlite3.connect(tmp_path / FILE) as connection:
        for name, body in ((first(2).id, "[]"), ("a", '{"mac": 5}'), ("b", '{"instance": 3, "mac": "zz"}')):
            connection.execute("UPDATE attachment SET body = ? WHERE id = ?", (body, name))
    assert play(again, state=tmp_path) == {first(3).id}
    assert caplog.text.count("is dropped") == 3
    caplog.clear()
    assert play(again, state=tmp_path) == {first(3).id}
    assert "is dropped" not in caplog.text
