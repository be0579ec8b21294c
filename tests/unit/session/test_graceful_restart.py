"""When the peer's routes outlive the session: RFC 4724 section 4.2, RFC 8538 section 4."""

from __future__ import annotations

import pytest

from bagpipe.errors import RemoteFault
from bagpipe.session.outputs import Connect
from bagpipe.wire.capability import GracefulRestart
from bagpipe.wire.family import VPNV4
from bagpipe.wire.message import CeaseSubcode, Notification
from tests.unit.session.script import HELPED, HELPED_WITH_N, Script, down, notification, notifications, of

FAULT = RemoteFault("bad", code=3, subcode=1)


def test_tcp_that_ends_without_notification_keeps_the_routes_of_a_peer_with_graceful_restart() -> None:
    script = Script()
    connection = script.establish(HELPED)
    assert down(script.neighbor.closed(connection, script.now, "reset")).by_graceful_restart


def test_tcp_that_ends_keeps_nothing_of_a_peer_without_graceful_restart() -> None:
    script = Script()
    connection = script.establish()
    assert not down(script.neighbor.closed(connection, script.now, "reset")).by_graceful_restart


def test_a_peer_that_only_helps_lists_no_family_so_nothing_is_kept() -> None:
    script = Script()
    connection = script.establish(GracefulRestart(90))
    assert not down(script.neighbor.closed(connection, script.now, "reset")).by_graceful_restart


def test_nothing_is_kept_if_we_did_not_offer_graceful_restart() -> None:
    script = Script(graceful_restart_time=None)
    connection = script.establish(HELPED_WITH_N)
    assert not down(script.neighbor.closed(connection, script.now, "reset")).by_graceful_restart


@pytest.mark.parametrize(("offer", "kept"), [(HELPED, False), (HELPED_WITH_N, True)])
def test_a_notification_keeps_the_routes_only_if_both_set_the_n_bit(offer: GracefulRestart, kept: bool) -> None:
    script = Script()
    connection = script.establish(offer)
    assert down(script.receive(connection, notification(6, 4))).by_graceful_restart is kept

    script = Script()
    script.establish(offer)
    assert down(script.neighbor.fault(FAULT, script.now)).by_graceful_restart is kept

    script = Script(hold_time=30)
    script.establish(offer)
    assert down(script.pass_time(30)).by_graceful_restart is kept


def test_a_hard_reset_of_the_peer_keeps_nothing() -> None:
    script = Script()
    connection = script.establish(HELPED_WITH_N)
    outputs = script.receive(connection, notification(6, 9, b"\6\2"))
    assert not down(outputs).by_graceful_restart
    assert down(outputs).reason == "received NOTIFICATION: cease / hard reset (cease / administrative shutdown)"


@pytest.mark.parametrize(
    ("reason", "is_hard"),
    [
        (CeaseSubcode.ADMINISTRATIVE_SHUTDOWN, True),
        (CeaseSubcode.PEER_DECONFIGURED, True),
        (CeaseSubcode.ADMINISTRATIVE_RESET, False),
    ],
)
def test_a_stop_is_a_hard_reset_where_the_routes_must_go(reason: CeaseSubcode, is_hard: bool) -> None:
    script = Script()
    script.establish(HELPED_WITH_N)
    outputs = script.neighbor.stop(script.now, reason)
    (sent,) = notifications(outputs)
    assert sent.is_hard_reset is is_hard
    assert sent.cause == Notification(6, reason)
    assert not down(outputs).by_graceful_restart


def test_too_many_routes_are_a_hard_reset_too() -> None:
    script = Script()
    script.establish(HELPED_WITH_N)
    outputs = script.neighbor.limit_exceeded(VPNV4, 5, script.now)
    (sent,) = notifications(outputs)
    assert sent.is_hard_reset and sent.cause.subcode == CeaseSubcode.MAXIMUM_PREFIXES_REACHED
    assert not down(outputs).by_graceful_restart


def test_what_an_earlier_session_negotiated_does_not_reach_into_the_next() -> None:
    script = Script()
    connection = script.establish(HELPED_WITH_N)
    script.neighbor.closed(connection, script.now, "reset")
    (connect,) = of(Connect, script.pass_time(1))
    script.neighbor.connected(connect.connection, script.now)
    assert [str(one) for one in notifications(script.neighbor.stop(script.now))] == ["cease / administrative shutdown"]
