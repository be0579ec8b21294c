"""How often a neighbour that fails is tried."""

from __future__ import annotations

import pytest

from bagpipe.session.backoff import Backoff
from bagpipe.session.fsm import State
from bagpipe.session.outputs import Connect
from bagpipe.wire.message import KEEPALIVE
from tests.unit.session.script import Script, closed_connections, notification, notifications, of, peer_open


def pauses(script: Script, times: int) -> list[float]:
    """The pauses after each of ``times`` failures of a session that a NOTIFICATION ends."""
    connection = script.dial_and_connect()
    found = []
    for _ in range(times):
        script.receive(connection, notification(6, 5))
        begin = script.now
        while not (connects := of(Connect, script.pass_time((script.neighbor.deadline() or 0) - script.now))):
            assert script.neighbor.state is State.IDLE
        found.append(script.now - begin)
        connection = connects[0].connection
        script.neighbor.connected(connection, script.now)
    return found


def test_the_pause_doubles_with_each_failure_up_to_its_maximum() -> None:
    assert pauses(Script(idle_hold=1.0, idle_hold_max=10.0), 6) == [1, 2, 4, 8, 10, 10]


def test_the_pause_has_jitter() -> None:
    assert pauses(Script(jitter=0.75, idle_hold=4.0, idle_hold_max=100.0), 3) == [3, 6, 12]


def test_a_session_that_lasted_forgives_the_failures_before_it() -> None:
    script = Script(idle_hold=1.0, idle_hold_max=100.0, hold_time=0)
    pauses(script, 4)
    connection = script.neighbor._main.connection
    assert connection is not None
    script.receive(connection, peer_open(), KEEPALIVE)
    script.pass_time(100)
    script.neighbor.closed(connection, script.now, "reset")
    assert script.neighbor.deadline() == script.now + 1


def test_a_session_that_did_not_last_does_not() -> None:
    script = Script(idle_hold=1.0, idle_hold_max=100.0, hold_time=0)
    pauses(script, 4)
    connection = script.neighbor._main.connection
    assert connection is not None
    script.receive(connection, peer_open(), KEEPALIVE)
    script.pass_time(99)
    script.neighbor.closed(connection, script.now, "reset")
    assert script.neighbor.deadline() == script.now + 16


def test_an_operators_start_forgives_the_failures() -> None:
    script = Script(idle_hold=1.0)
    pauses(script, 5)
    script.neighbor.stop(script.now)
    assert pauses(script, 1) == [1]


def test_after_one_failure_the_peers_connection_is_welcome_at_once() -> None:
    script = Script()
    connection = script.establish()
    script.neighbor.closed(connection, script.now, "reset")
    theirs, outputs = script.accept()
    assert closed_connections(outputs) == []
    script.receive(theirs, peer_open(), KEEPALIVE)
    assert script.neighbor.connection == theirs
    assert script.pass_time(10) == []


def test_from_the_second_failure_on_the_door_is_closed_for_a_quarter_of_the_pause() -> None:
    script = Script(idle_hold=8.0)
    connection = script.dial_and_connect()
    for _ in range(2):
        script.receive(connection, notification(6, 5))
        refused_at = script.now
        (connect,) = of(Connect, script.pass_time((script.neighbor.deadline() or 0) - script.now))
        connection = connect.connection
        script.neighbor.connected(connection, script.now)
    script.receive(connection, notification(6, 5))
    refused_at = script.now
    theirs, outputs = script.accept()
    assert [str(one) for one in notifications(outputs)] == ["cease / connection rejected"]
    assert closed_connections(outputs) == [theirs]
    assert script.pass_time(8 * 4 / 4) == []
    assert script.now == refused_at + 8
    _, outputs = script.accept()
    assert closed_connections(outputs) == []


def test_a_peer_that_is_not_there_is_tried_every_connect_retry_for_ever() -> None:
    script = Script(connect_retry=5.0)
    connection = script.start_and_dial()
    begin = script.now
    times = []
    for _ in range(50):
        script.neighbor.refused(connection, script.now, "connection refused")
        (connect,) = of(Connect, script.pass_time(5))
        connection = connect.connection
        times.append(script.now - begin)
    assert times == [5.0 * (number + 1) for number in range(50)]


@pytest.mark.parametrize("failures", [0, 1, 5, 2000])
def test_the_pause_is_never_longer_than_its_maximum(failures: int) -> None:
    backoff = Backoff(1.0, 30.0, lambda: 1.0)
    for _ in range(failures):
        backoff.failed(0.0)
    assert 0 < backoff.failed(100.0) - 100.0 <= 30.0
    backoff.forget()
    assert backoff.failed(0.0) == 1.0
