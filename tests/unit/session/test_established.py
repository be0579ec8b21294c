"""An established session: keepalive rhythm, hold timer, UPDATEs, route refresh, and how it ends."""

from __future__ import annotations

import pytest

from bagpipe.errors import RemoteFault
from bagpipe.session.fsm import State
from bagpipe.session.outputs import Close, Connect, Down, Output, Refresh, Send, Up, Updates
from bagpipe.wire.capability import Multiprotocol
from bagpipe.wire.family import EVPN, RTC, VPNV4
from bagpipe.wire.message import (
    KEEPALIVE,
    CeaseSubcode,
    MessageType,
    Notification,
    Open,
    RouteRefresh,
    frame,
    update,
)
from tests.unit.session.script import (
    HIGHER_ID,
    LOCAL_AS,
    Script,
    closed_connections,
    down,
    messages,
    notification,
    notifications,
    of,
    peer_open,
    refresh,
)


def times_of_keepalives(script: Script, seconds: float) -> list[float]:
    """When, from now, KEEPALIVEs are sent while the peer sends its own every second."""
    begin, times = script.now, []
    while script.now < begin + seconds:
        for output in script.pass_time(1.0):
            if isinstance(output, Send) and output.data == KEEPALIVE:
                times.append(round(script.now - begin, 3))
        script.receive(2, KEEPALIVE)
    return times


def test_keepalives_go_out_every_third_of_the_hold_time() -> None:
    script = Script(hold_time=30)
    script.establish()
    assert times_of_keepalives(script, 60) == [10, 20, 30, 40, 50, 60]


def test_keepalives_have_jitter_downwards() -> None:
    script = Script(jitter=0.8, hold_time=30)
    script.establish()
    assert times_of_keepalives(script, 40) == [8, 16, 24, 32, 40]


def test_keepalives_are_never_closer_than_a_second() -> None:
    script = Script(jitter=0.75, hold_time=3)
    script.establish()
    assert times_of_keepalives(script, 5) == [1, 2, 3, 4, 5]


def test_updates_that_go_out_stand_in_for_keepalives() -> None:
    script = Script(hold_time=30)
    script.establish()
    script.pass_time(9)
    assert script.neighbor.sent(script.now, updates=7) == []
    assert script.pass_time(9.9) == []
    assert [kind for kind, _ in messages(script.pass_time(0.1))] == [MessageType.KEEPALIVE]
    assert script.neighbor.counters.sent[MessageType.UPDATE] == 7


def test_with_a_hold_time_of_zero_nothing_is_sent_and_nothing_awaited() -> None:
    script = Script(hold_time=0)
    script.establish()
    assert script.neighbor.deadline() is None
    assert script.pass_time(1e6) == []
    assert script.neighbor.sent(script.now, updates=1) == []
    assert script.neighbor.send_blocked(script.now) == []
    assert script.neighbor.deadline() is None


def test_silence_for_the_hold_time_ends_the_session() -> None:
    script = Script(hold_time=30)
    connection = script.establish()
    assert of(Down, script.pass_time(29.9)) == []
    outputs = script.pass_time(0.1)
    assert notifications(outputs) == [Notification(4)]
    assert closed_connections(outputs) == [connection]
    assert down(outputs).reason == "hold timer expired: nothing received in time"
    assert script.neighbor.state is State.IDLE


@pytest.mark.parametrize(
    "message", [KEEPALIVE, update(b"\0\0\0\0"), refresh(RouteRefresh(VPNV4))], ids=["keepalive", "update", "refresh"]
)
def test_each_message_of_the_peer_starts_the_hold_timer_anew(message: bytes) -> None:
    script = Script(hold_time=30)
    connection = script.establish()
    script.pass_time(29)
    script.receive(connection, message)
    assert of(Down, script.pass_time(29.9)) == []
    assert of(Down, script.pass_time(0.1))


def test_a_part_of_a_message_does_not_start_the_hold_timer_anew() -> None:
    script = Script(hold_time=30)
    connection = script.establish()
    script.pass_time(29)
    script.receive(connection, KEEPALIVE[:18])
    assert of(Down, script.pass_time(1))


def test_consecutive_updates_come_as_one_event() -> None:
    script = Script()
    connection = script.establish()
    bodies = [bytes([0, 0, 0, 0, number]) for number in range(100)]
    outputs = script.receive(
        connection, *map(update, bodies[:60]), KEEPALIVE, *map(update, bodies[60:]), refresh(RouteRefresh(EVPN))
    )
    assert outputs == [Updates(bodies[:60]), Updates(bodies[60:]), Refresh(EVPN, 0)]
    assert script.neighbor.counters.received == {1: 1, 2: 100, 3: 0, 4: 2, 5: 1}


@pytest.mark.parametrize("subtype", [0, 1, 2])
def test_a_refresh_of_each_kind_is_told(subtype: int) -> None:
    script = Script()
    connection = script.establish()
    assert script.receive(connection, refresh(RouteRefresh(VPNV4, subtype))) == [Refresh(VPNV4, subtype)]


@pytest.mark.parametrize("message", [RouteRefresh(VPNV4, 3), RouteRefresh(VPNV4, 255), RouteRefresh(RTC)])
def test_a_refresh_of_an_unknown_kind_or_another_family_is_ignored(message: RouteRefresh) -> None:
    script = Script()
    connection = script.establish()
    assert script.receive(connection, refresh(message)) == []
    assert script.neighbor.state is State.ESTABLISHED


def plain_peer(script: Script) -> int:
    """Come up with a peer that has no capability but its families."""
    connection = script.dial_and_connect()
    body = Open(LOCAL_AS, 90, HIGHER_ID, (Multiprotocol(VPNV4),)).encode()
    assert of(Up, script.receive(connection, frame(MessageType.OPEN, body), KEEPALIVE))
    return connection


def test_refresh_messages_go_out_only_as_far_as_negotiated() -> None:
    script = Script()
    script.establish()
    sent = [
        *script.neighbor.request_refresh(VPNV4, script.now),
        *script.neighbor.mark_refresh(EVPN, True, script.now),
        *script.neighbor.mark_refresh(EVPN, False, script.now),
        *script.neighbor.request_refresh(RTC, script.now),
    ]
    assert [RouteRefresh.decode(body) for _, body in messages(sent)] == [
        RouteRefresh(VPNV4, 0),
        RouteRefresh(EVPN, 1),
        RouteRefresh(EVPN, 2),
    ]

    plain = Script()
    plain_peer(plain)
    assert plain.neighbor.request_refresh(VPNV4, plain.now) == []
    assert plain.neighbor.mark_refresh(VPNV4, True, plain.now) == []


def test_a_refresh_of_a_wrong_length_is_answered_as_rfc_7313_says() -> None:
    script = Script()
    connection = script.establish()
    message = frame(MessageType.ROUTE_REFRESH, b"\0\1\1\x80\0")
    outputs = script.receive(connection, message)
    assert notifications(outputs) == [Notification(7, 1, message)]
    assert down(outputs).reason.startswith("sent NOTIFICATION: route refresh message error")


def test_to_a_peer_without_enhanced_refresh_a_wrong_length_is_a_header_error() -> None:
    script = Script()
    connection = plain_peer(script)
    outputs = script.receive(connection, frame(MessageType.ROUTE_REFRESH, b"\0\1\0"))
    assert notifications(outputs) == [Notification(1, 2, b"\0\x16")]


def test_a_notification_never_exceeds_4096_octets() -> None:
    script = Script()
    connection = script.establish()
    outputs = script.receive(connection, frame(MessageType.ROUTE_REFRESH, bytes(60000)))
    (sent,) = of(Send, outputs)
    assert len(sent.data) == 4096
    assert sent.data[18:21] == b"\3\7\1"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"\0" + b"\xff" * 15 + b"\0\x13\4", Notification(1, 1)),
        (b"\xff" * 16 + b"\0\x12\4", Notification(1, 2, b"\0\x12")),
        (b"\xff" * 16 + b"\0\x14\4", Notification(1, 2, b"\0\x14")),
        (b"\xff" * 16 + b"\0\x13\x06", Notification(1, 3, b"\6")),
        (b"\xff" * 16 + b"\0\x13\0", Notification(1, 3, b"\0")),
    ],
)
def test_a_bad_header_ends_the_session_after_what_came_before_it(header: bytes, expected: Notification) -> None:
    script = Script()
    connection = script.establish()
    outputs = script.receive(connection, update(b"\0\0\0\0"), header, b"whatever follows")
    assert outputs[0] == Updates([b"\0\0\0\0"])
    assert notifications(outputs) == [expected]
    assert outputs[-2] == Close(connection)
    assert down(outputs).reason.startswith("sent NOTIFICATION: message header error")
    assert script.receive(connection, KEEPALIVE) == []


def test_an_open_in_established_is_unexpected() -> None:
    script = Script()
    connection = script.establish()
    outputs = script.receive(connection, peer_open())
    assert notifications(outputs) == [Notification(5, 3, b"\1")]
    assert down(outputs).reason == "unexpected OPEN in Established"


@pytest.mark.parametrize(
    ("message", "kind"), [(KEEPALIVE, 4), (update(b"\0\0\0\0"), 2), (refresh(RouteRefresh(VPNV4)), 5)]
)
def test_any_other_message_before_the_open_is_unexpected(message: bytes, kind: int) -> None:
    script = Script()
    connection = script.dial_and_connect()
    outputs = script.receive(connection, message)
    assert notifications(outputs) == [Notification(5, 1, bytes([kind]))]
    assert outputs[-1] == Close(connection)


@pytest.mark.parametrize(
    ("message", "kind"), [(peer_open(), 1), (update(b"\0\0\0\0"), 2), (refresh(RouteRefresh(VPNV4)), 5)]
)
def test_any_other_message_before_the_keepalive_is_unexpected(message: bytes, kind: int) -> None:
    script = Script()
    connection = script.dial_and_connect()
    outputs = script.receive(connection, peer_open(), message)
    assert notifications(outputs) == [Notification(5, 2, bytes([kind]))]
    assert script.neighbor.state is State.IDLE


def test_a_fault_that_the_speaker_finds_resets_the_session() -> None:
    script = Script()
    connection = script.establish()
    error = RemoteFault("AS_PATH: cut short", code=3, subcode=11, data=b"\x40\2\0")
    outputs = script.neighbor.fault(error, script.now)
    assert notifications(outputs) == [Notification(3, 11, b"\x40\2\0")]
    assert closed_connections(outputs) == [connection]
    assert down(outputs).reason == (
        "sent NOTIFICATION: update message error / malformed as path [400200] (AS_PATH: cut short)"
    )
    assert script.neighbor.fault(error, script.now) == []


def test_too_many_routes_are_ceased_with_family_and_limit() -> None:
    script = Script()
    script.establish()
    outputs = script.neighbor.limit_exceeded(VPNV4, 1000, script.now)
    assert notifications(outputs) == [Notification(6, 1, b"\0\1\x80\0\0\3\xe8")]
    assert down(outputs).reason == "more than 1000 routes of vpnv4"


def test_a_notification_of_the_peer_ends_the_session_without_an_answer() -> None:
    script = Script()
    connection = script.establish()
    outputs = script.receive(connection, notification(6, 2, b"\x07at 5 pm"), KEEPALIVE)
    assert outputs == [
        Close(connection),
        Down('received NOTIFICATION: cease / administrative shutdown: "at 5 pm"', by_graceful_restart=False),
    ]


def test_a_stop_is_told_to_the_peer_and_stays() -> None:
    script = Script()
    connection = script.establish()
    outputs = script.neighbor.stop(script.now, CeaseSubcode.ADMINISTRATIVE_SHUTDOWN, "maintenance")
    assert [one.communication for one in notifications(outputs)] == ["maintenance"]
    assert closed_connections(outputs) == [connection]
    assert down(outputs).by_graceful_restart is False
    assert script.neighbor.deadline() is None
    assert script.neighbor.closed(connection, script.now, "closed") == []
    assert script.neighbor.state is State.IDLE


@pytest.mark.parametrize("state", ["connect", "open sent", "open confirm"])
def test_a_stop_before_the_session_is_up_leaves_nothing_behind(state: str) -> None:
    script = Script()
    connection = script.start_and_dial()
    outputs: list[Output] = []
    if state != "connect":
        script.neighbor.connected(connection, script.now)
    if state == "open confirm":
        script.receive(connection, peer_open())
    outputs = script.neighbor.stop(script.now)
    assert [one.code for one in notifications(outputs)] == ([] if state == "connect" else [6])
    assert outputs[-1] == Close(connection)
    assert script.neighbor.deadline() is None
    assert of(Connect, script.neighbor.start(script.now))


def test_a_session_comes_up_again_by_itself_after_it_ended() -> None:
    script = Script()
    connection = script.establish()
    outputs = script.neighbor.closed(connection, script.now, "connection reset by peer")
    assert down(outputs).reason == "connection reset by peer"
    (connect,) = of(Connect, script.pass_time(1))
    script.neighbor.connected(connect.connection, script.now)
    assert of(Up, script.receive(connect.connection, peer_open(), KEEPALIVE))
    assert script.neighbor.counters.flaps == 1
    assert script.neighbor.counters.up_since == script.now
    assert script.neighbor.last_down == "connection reset by peer"


def test_a_peer_that_does_not_read_for_eight_minutes_is_dropped() -> None:
    script = Script(hold_time=90)
    connection = script.establish()
    script.neighbor.send_blocked(script.now)

    def keep_hearing(seconds: int) -> list[Output]:
        outputs: list[Output] = []
        for _ in range(seconds // 20):
            outputs += script.pass_time(20) + script.receive(connection, KEEPALIVE)
        return [one for one in outputs if not isinstance(one, Send)]

    assert keep_hearing(460) == []
    assert script.neighbor.send_drained(script.now) == []
    assert keep_hearing(480) == []
    script.neighbor.send_blocked(script.now)
    script.neighbor.send_blocked(script.now)
    assert keep_hearing(460) == []
    outputs = script.pass_time(20)
    assert notifications(outputs) == []
    assert down(outputs).reason == "send hold timer expired: the peer does not read"


def test_what_comes_for_a_connection_that_is_gone_is_ignored() -> None:
    script = Script()
    connection = script.establish()
    script.neighbor.closed(connection, script.now, "reset")
    assert script.receive(connection, update(b"\0\0\0\0")) == []
    assert script.neighbor.closed(connection, script.now, "again") == []
    assert script.neighbor.refused(connection, script.now, "again") == []
    assert script.neighbor.last_down == "reset"


def test_what_follows_the_end_of_the_session_in_the_same_piece_is_not_read() -> None:
    script = Script()
    connection = script.establish()
    before = dict(script.neighbor.counters.received)
    outputs = script.receive(connection, notification(6, 4), notification(6, 4), update(b"\0\0\0\0"), KEEPALIVE)
    assert of(Updates, outputs) == []
    assert script.neighbor.counters.received[MessageType.UPDATE] == before[MessageType.UPDATE]
    assert script.neighbor.counters.received[MessageType.KEEPALIVE] == before[MessageType.KEEPALIVE]
