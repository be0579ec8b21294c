"""The bench's end of a session counts what it is sent, however the octets arrive."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from bench import inputs
from bench.session import KEEPALIVE, Session, SessionLost, attributes, keys, membership, open_message

OPEN = open_message("192.0.2.1")


@pytest.fixture(name="ends")
def made_ends() -> Iterator[tuple[Session, socket.socket]]:
    near, far = socket.socketpair()
    far.sendall(OPEN + KEEPALIVE)
    session = Session(near, source="192.0.2.2", remember=True)
    assert far.recv(4096) == open_message("192.0.2.2") + KEEPALIVE
    with near, far:
        yield session, far


def read_all(session: Session, far: socket.socket, data: bytes, piece: int) -> None:
    for start in range(0, len(data), piece):
        far.sendall(data[start : start + piece])
        session.read()


@pytest.mark.parametrize("piece", [1, 7, 19, 100_000])
def test_every_route_is_counted_however_the_octets_are_cut(ends: tuple[Session, socket.socket], piece: int) -> None:
    session, far = ends
    read_all(session, far, b"".join(inputs.packed(120)) + inputs.end_of_rib() + KEEPALIVE, piece)
    assert (session.announced, session.withdrawn) == (120, 0)
    assert session.held == {route.nlri[4:] for route in inputs.routes(120)}


def test_withdrawals_are_counted_and_forgotten(ends: tuple[Session, socket.socket]) -> None:
    session, far = ends
    read_all(session, far, b"".join(inputs.packed(100) + inputs.withdraw_packed(50)), 4096)
    assert (session.announced, session.withdrawn) == (100, 50)
    assert session.held == {route.nlri[4:] for route in inputs.routes(100)[50:]}


def test_nothing_to_read_is_not_an_end(ends: tuple[Session, socket.socket]) -> None:
    session, _ = ends
    assert session.read() == []


def test_a_closed_connection_is_a_lost_session(ends: tuple[Session, socket.socket]) -> None:
    session, far = ends
    far.close()
    with pytest.raises(SessionLost, match="closed"):
        session.read()


def test_a_notification_is_a_lost_session_and_is_shown(ends: tuple[Session, socket.socket]) -> None:
    session, far = ends
    far.sendall(inputs.message(3, b"\x06\x02"))
    with pytest.raises(SessionLost, match="0602"):
        session.read()


def test_a_session_reads_while_another_thread_sends(ends: tuple[Session, socket.socket]) -> None:
    session, far = ends
    blocked = threading.Thread(target=session.send, args=(b"\x00" * 4_000_000,))
    blocked.start()
    read_all(session, far, b"".join(inputs.packed(50)), 4096)
    left = 4_000_000
    while left:
        left -= len(far.recv(1 << 20))
    blocked.join(10)
    assert not blocked.is_alive()
    assert session.announced == 50


def test_another_message_than_open_is_refused() -> None:
    near, far = socket.socketpair()
    with near, far:
        far.sendall(inputs.message(3, b"\x02\x02"))
        with pytest.raises(SessionLost, match="type 3 instead of 1"):
            Session(near, source="192.0.2.2")


def test_a_field_with_other_prefix_lengths_is_not_miscounted() -> None:
    with pytest.raises(SessionLost, match="17 octets"):
        keys(b"\x00" * 17)


def test_membership_asks_for_one_route_target_and_ends_the_rib() -> None:
    target = inputs.probe(0).route_target
    data = membership(target)
    size = int.from_bytes(data[16:18])
    reach = dict(attributes(data[19:size]))[14]
    assert reach == b"\x00\x01\x84\x04\x0a\x4d\x02\x01\x00\x60" + inputs.LOCAL_AS.to_bytes(4) + target
    assert dict(attributes(data[size + 19 :])) == {15: b"\x00\x01\x84"}
