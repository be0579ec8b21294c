"""The dummy dataplane tells the truth about what it holds."""

from __future__ import annotations

import asyncio

import pytest

from bagpipe.dataplane.delta import Change
from bagpipe.dataplane.errors import Unreachable
from bagpipe.dataplane.memory import MemoryDataplane
from bagpipe.dataplane.model import Delivery, DeliveryKey, Direction, Key, Value

ONE, TWO, THREE = DeliveryKey(16), DeliveryKey(17), DeliveryKey(18)
VALUE, OTHER = Delivery(1, None, None), Delivery(2, None, None)


def test_an_audit_names_each_kind_of_difference() -> None:
    driver = MemoryDataplane()
    driver.held = {ONE: VALUE, TWO: OTHER}
    desired: dict[Key, Value] = {TWO: VALUE, THREE: VALUE}

    found = asyncio.run(driver.audit(desired))

    assert {(difference.kind, difference.key) for difference in found} == {
        ("extra", ONE),
        ("changed", TWO),
        ("missing", THREE),
    }


def test_it_forwards_nothing_and_says_so() -> None:
    driver = MemoryDataplane()
    asyncio.run(driver.apply([Change(ONE, None, VALUE)]))

    carried = asyncio.run(driver.carried(ONE, VALUE))

    assert carried.missing == ("the dummy dataplane forwards nothing",)
    assert asyncio.run(driver.carried(ONE, OTHER)).missing == (f"{ONE}: not held",)
    assert driver.capabilities.encapsulations == ()
    assert driver.capabilities.directions == {Direction.BOTH}


def test_what_it_need_not_keep_is_taken_to_be_there() -> None:
    driver = MemoryDataplane(keeps=False)

    assert asyncio.run(driver.adopt({ONE: VALUE}, sweep=True)) == {}
    assert asyncio.run(driver.apply([Change(TWO, None, VALUE)])) == {}

    assert driver.held == {}
    assert asyncio.run(driver.audit({ONE: VALUE, TWO: VALUE})) == []
    assert asyncio.run(driver.carried(TWO, VALUE)).parts == (f"{TWO}: taken",)
    assert driver.overview() == {"reachable": True}


def test_what_it_refuses_it_refuses_whether_it_keeps_the_rest_or_not() -> None:
    for keeps in (True, False):
        driver = MemoryDataplane(keeps=keeps)
        driver.refusals = {ONE: "no"}
        changes = [Change(ONE, None, VALUE), Change(TWO, None, VALUE)]

        assert asyncio.run(driver.apply(changes)) == {ONE: "no"}
        assert asyncio.run(driver.adopt({ONE: VALUE, TWO: VALUE}, sweep=False)) == {ONE: "no"}
        assert driver.held == ({TWO: VALUE} if keeps else {})


def test_a_reset_says_how_much_there_was() -> None:
    driver = MemoryDataplane()
    driver.held = {ONE: VALUE, TWO: VALUE}
    assert asyncio.run(driver.reset()) == 2
    assert driver.overview() == {"reachable": True, "records": 0}


def test_away_it_does_nothing() -> None:
    driver = MemoryDataplane()
    driver.lose("told to")
    with pytest.raises(Unreachable):
        asyncio.run(driver.apply([Change(ONE, None, VALUE)]))
    assert driver.held == {}
