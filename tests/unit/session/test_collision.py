"""Two connections at once: RFC 4271 section 6.8, RFC 6286 section 2.3, RFC 4724 section 5."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from bagpipe.session.fsm import State
from bagpipe.session.outputs import Close, Connect, Down, Up
from bagpipe.wire.message import KEEPALIVE, MessageType
from tests.unit.session.script import (
    HELPED,
    HIGHER_ID,
    LOCAL_ID,
    LOWER_ID,
    Script,
    closed_connections,
    down,
    messages,
    notifications,
    of,
    peer_open,
)

COLLISION = "cease / connection collision resolution"


def two_connections(script: Script) -> tuple[int, int]:
    """Ours and theirs, both with our OPEN sent."""
    ours = script.dial_and_connect()
    theirs, outputs = script.accept()
    assert [kind for kind, _ in messages(outputs, theirs)] == [MessageType.OPEN]
    return ours, theirs


@pytest.mark.parametrize("first", ["ours", "theirs"])
@pytest.mark.parametrize(("peer", "survivor"), [(HIGHER_ID, "theirs"), (LOWER_ID, "ours")])
def test_the_connection_of_the_higher_identifier_stays_whichever_open_comes_first(
    first: str, peer: IPv4Address, survivor: str
) -> None:
    script = Script()
    ours, theirs = two_connections(script)
    order = (ours, theirs) if first == "ours" else (theirs, ours)
    stays, goes = (ours, theirs) if survivor == "ours" else (theirs, ours)

    assert notifications(script.receive(order[0], peer_open(router_id=peer))) == []
    outputs = script.receive(order[1], peer_open(router_id=peer))

    assert [str(one) for one in notifications(outputs, goes)] == [COLLISION]
    assert closed_connections(outputs) == [goes]
    assert of(Up, script.receive(stays, KEEPALIVE))
    assert script.neighbor.connection == stays


@pytest.mark.parametrize(("peer_as", "survivor"), [(64513, "theirs"), (64511, "ours")])
def test_of_equal_identifiers_the_higher_as_wins(peer_as: int, survivor: str) -> None:
    script = Script(peer_as=peer_as)
    ours, theirs = two_connections(script)
    script.receive(ours, peer_open(asn=peer_as, router_id=LOCAL_ID))
    outputs = script.receive(theirs, peer_open(asn=peer_as, router_id=LOCAL_ID))
    assert closed_connections(outputs) == [theirs if survivor == "ours" else ours]


def test_identifiers_are_compared_as_unsigned_numbers() -> None:
    script = Script(router_id=IPv4Address("9.255.255.255"))
    ours, theirs = two_connections(script)
    script.receive(ours, peer_open(router_id=IPv4Address("200.0.0.0")))
    assert closed_connections(script.receive(theirs, peer_open(router_id=IPv4Address("200.0.0.0")))) == [ours]


def test_the_first_to_be_established_ends_a_connection_that_has_not_heard_an_open() -> None:
    script = Script()
    ours, theirs = two_connections(script)
    outputs = script.receive(ours, peer_open(), KEEPALIVE)
    assert [str(one) for one in notifications(outputs, theirs)] == [COLLISION]
    assert closed_connections(outputs) == [theirs]
    assert script.neighbor.connection == ours


def test_the_winner_of_a_collision_is_left_alone_afterwards() -> None:
    script = Script(hold_time=0)
    ours, theirs = two_connections(script)
    script.receive(ours, peer_open())
    script.receive(theirs, peer_open(), KEEPALIVE)
    assert script.neighbor.deadline() is None
    assert script.neighbor.closed(ours, script.now, "late") == []
    assert script.neighbor.state is State.ESTABLISHED


def test_when_the_winner_fails_the_neighbour_dials_again() -> None:
    script = Script()
    ours, theirs = two_connections(script)
    script.receive(ours, peer_open())
    script.receive(theirs, peer_open())
    script.neighbor.closed(theirs, script.now, "reset")
    assert script.neighbor.state is State.IDLE
    assert of(Connect, script.pass_time(1))


def test_a_rival_that_sends_garbage_does_not_harm_the_other_connection() -> None:
    script = Script()
    ours, theirs = two_connections(script)
    outputs = script.receive(theirs, b"GET / HTTP/1.1\r\n\r\n ")
    assert [str(one) for one in notifications(outputs, theirs)] == [
        "message header error / connection not synchronized"
    ]
    assert of(Up, script.receive(ours, peer_open(), KEEPALIVE))


def test_a_peer_that_connects_anew_gives_up_its_earlier_attempt() -> None:
    script = Script()
    script.neighbor.start(script.now)
    first, _ = script.accept()
    second, outputs = script.accept()
    assert closed_connections(outputs) == [first]
    assert of(Up, script.receive(second, peer_open(), KEEPALIVE))


def test_a_peer_that_connects_anew_gives_up_its_earlier_attempt_also_beside_ours() -> None:
    script = Script()
    ours, theirs = two_connections(script)
    again, outputs = script.accept()
    assert closed_connections(outputs) == [theirs]
    script.receive(ours, peer_open())
    script.receive(again, peer_open())
    assert of(Up, script.receive(again, KEEPALIVE))


def test_a_second_session_beside_an_established_one_is_closed() -> None:
    script = Script()
    script.establish()
    second, outputs = script.accept()
    assert [str(one) for one in notifications(outputs, second)] == [COLLISION]
    assert closed_connections(outputs) == [second]
    assert script.neighbor.state is State.ESTABLISHED


@pytest.mark.parametrize("passively", [False, True])
def test_with_graceful_restart_a_new_session_replaces_the_old_once_its_open_has_come(passively: bool) -> None:
    script = Script()
    old = script.establish_passively(HELPED) if passively else script.establish(HELPED)
    new, outputs = script.accept()
    assert closed_connections(outputs) == []
    assert script.neighbor.connection == old

    outputs = script.receive(new, peer_open(HELPED))
    assert closed_connections(outputs) == [old]
    assert notifications(outputs) == []
    assert down(outputs) == Down("replaced by a new connection of the peer", by_graceful_restart=True)
    assert script.neighbor.state is State.OPEN_CONFIRM

    (up,) = script.receive(new, KEEPALIVE)
    assert isinstance(up, Up)
    assert script.neighbor.connection == new


def test_with_graceful_restart_a_new_connection_that_never_opens_harms_nothing() -> None:
    script = Script()
    old = script.establish(HELPED)
    new, _ = script.accept()
    outputs = script.receive(new, peer_open(asn=64999))
    assert closed_connections(outputs) == [new]
    assert of(Down, outputs) == []
    assert script.neighbor.connection == old
    assert script.receive(old, KEEPALIVE) == []


def test_the_old_session_may_end_by_itself_while_its_successor_opens() -> None:
    script = Script()
    old = script.establish(HELPED)
    new, _ = script.accept()
    assert down(script.neighbor.closed(old, script.now, "reset")).by_graceful_restart
    assert of(Up, script.receive(new, peer_open(HELPED), KEEPALIVE))
    assert script.neighbor.connection == new


def test_settings_can_let_a_new_session_replace_the_old_without_graceful_restart() -> None:
    script = Script(replace_established=True)
    old = script.establish()
    new, _ = script.accept()
    outputs = script.receive(new, peer_open(), KEEPALIVE)
    assert [str(one) for one in notifications(outputs, old)] == [COLLISION]
    assert Close(old) in outputs
    assert down(outputs).by_graceful_restart is False
    assert script.neighbor.connection == new


def test_the_identifiers_of_the_test_are_as_named() -> None:
    assert LOWER_ID < LOCAL_ID < HIGHER_ID
