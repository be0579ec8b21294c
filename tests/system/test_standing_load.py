"""What no change may break, on real sockets: a burst, a peer that splits every byte, long messages, a dead client."""

from __future__ import annotations

import re
import socket
import struct
import time
from pathlib import Path
from typing import Any

from tests.system.running import (
    KEEPALIVE,
    NOTIFICATION,
    OPEN,
    REFLECTOR,
    UPDATE,
    VPNV4,
    Program,
    Talker,
    address,
    free_port,
    get,
    message,
    peer_states,
    prefixes_in,
    vpnv4_update,
    wait_for,
)

ROUTES_IN_AN_UPDATE = 200
BURST_OCTETS = 10 << 20
_LABELLED = re.compile(rb"\x78(...)\x00\x00\xfc\x00\x00\x00\x00\x01(....)", re.DOTALL)


def reflector(tmp_path: Path, port: int, api: int) -> Program:
    return Program(
        REFLECTOR, "--listen", address(1), "--port", str(port), "--api", f"127.0.0.1:{api}", log=tmp_path / "log"
    )


def held(api: int) -> int:
    counts: dict[str, Any] = get(api, "/v2/counts")[1]
    return int(counts["paths"].get("vpnv4", 0))


def test_ten_megabytes_in_one_burst_are_read_and_reflected_without_a_word_in_the_log(tmp_path: Path) -> None:
    """The same 20,000 routes again and again with another label: 10 MB, each chunk a change."""
    port, api = free_port(), free_port()
    where = (address(1), port)
    batches = [list(range(first, first + ROUTES_IN_AN_UPDATE)) for first in range(0, 20_000, ROUTES_IN_AN_UPDATE)]
    burst = b""
    label = 16
    while len(burst) < BURST_OCTETS:
        burst += b"".join(vpnv4_update(address(2), batch, label=label) for batch in batches)
        label += 1
    with (
        reflector(tmp_path, port, api).wait_started() as program,
        Talker(address(2), where).establish() as sender,
        Talker(address(3), where).establish() as listener,
    ):
        wait_for(lambda: list(peer_states(api).values()) == ["established"] * 2, "both sessions")
        lines = len(program.text.splitlines())
        sender.socket.settimeout(60)
        sender.socket.sendall(burst)
        wait_for(lambda: held(api) == 20_000, "every route is held", 60)
        last: dict[bytes, bytes] = {}
        wanted = (label - 1) << 4 | 1
        while len(last) < 20_000 or any(int.from_bytes(seen) != wanted for seen in last.values()):
            kind, body = listener.receive(30) or (0, b"")
            assert kind, "the session of the listener ended"
            if kind == UPDATE:
                last.update(labels_in(body))

        assert program.text.splitlines()[lines:] == []


def test_a_hundred_thousand_routes_in_one_burst_reach_the_other_client_and_go_with_their_author(tmp_path: Path) -> None:
    count = 100_000
    port, api = free_port(), free_port()
    where = (address(1), port)
    firsts = range(0, count, ROUTES_IN_AN_UPDATE)
    burst = b"".join(vpnv4_update(address(2), range(first, first + ROUTES_IN_AN_UPDATE)) for first in firsts)
    with (
        reflector(tmp_path, port, api).wait_started() as program,
        Talker(address(3), where).establish() as listener,
    ):
        with Talker(address(2), where).establish() as sender:
            wait_for(lambda: list(peer_states(api).values()) == ["established"] * 2, "both sessions")
            lines = len(program.text.splitlines())
            sender.socket.settimeout(60)
            sender.socket.sendall(burst)
            wait_for(lambda: held(api) == count, "every route is held", 60)
            heard: set[bytes] = set()
            while len(heard) < count:
                kind, body = listener.receive(30) or (0, b"")
                assert kind, "the session of the listener ended"
                heard |= prefixes_in([body]) if kind == UPDATE else set()

            assert heard == {(0x0A000000 + number).to_bytes(4) for number in range(count)}
            assert program.text.splitlines()[lines:] == []
        wait_for(lambda: held(api) == 0, "the routes go with their author", 60)


def labels_in(body: bytes) -> dict[bytes, bytes]:
    """Prefix -> label field of an UPDATE body with routes like those of :func:`vpnv4_update`."""
    return {found[2]: found[1] for found in _LABELLED.finditer(body)}


def test_a_peer_that_sends_every_byte_on_its_own_is_understood(tmp_path: Path) -> None:
    port, api = free_port(), free_port()
    where = (address(1), port)
    with reflector(tmp_path, port, api).wait_started(), Talker(address(2), where) as sender:
        sender.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        octets = b"".join(
            (
                open_of(address(2)),
                message(KEEPALIVE),
                vpnv4_update(address(2), range(5)),
                vpnv4_update(address(2), range(5, 90), label=99),
            )
        )
        for octet in octets:
            sender.socket.sendall(bytes((octet,)))
        sender.until(OPEN)
        wait_for(lambda: held(api) == 90, "all routes are held")


def open_of(identifier: str, extended: bool = False) -> bytes:
    capabilities = b"\x01\x04" + VPNV4 + b"\x41\x04" + (64512).to_bytes(4) + (b"\x06\x00" if extended else b"")
    parameters = bytes((2, len(capabilities))) + capabilities
    identity = socket.inet_aton(identifier)
    return message(OPEN, struct.pack("!BHH4sB", 4, 64512, 90, identity, len(parameters)) + parameters)


def test_messages_of_64_kib_are_read_where_they_were_negotiated_and_refused_where_not(tmp_path: Path) -> None:
    port, api = free_port(), free_port()
    where = (address(1), port)
    long_update = vpnv4_update(address(2), range(4000))
    assert 4096 < len(long_update) <= 65_535
    with reflector(tmp_path, port, api).wait_started():
        with Talker(address(2), where) as sender:
            sender.send(open_of(address(2), extended=True), message(KEEPALIVE))
            sender.until(KEEPALIVE)
            sender.send(long_update)
            wait_for(lambda: held(api) == 4000, "all routes are held")
        wait_for(lambda: held(api) == 0, "the routes go with the session")
        with Talker(address(3), where) as sender:
            sender.send(open_of(address(3)), message(KEEPALIVE))
            sender.until(KEEPALIVE)
            sender.send(long_update)
            assert sender.until(NOTIFICATION)[:2] == b"\x01\x02"


def test_a_client_that_does_not_read_costs_bounded_memory_and_nobody_else_anything(tmp_path: Path) -> None:
    port, api = free_port(), free_port()
    where = (address(1), port)
    with (
        reflector(tmp_path, port, api).wait_started() as program,
        Talker(address(2), where).establish() as sender,
        Talker(address(3), where, buffer=4096).establish() as dead,
        Talker(address(4), where).establish() as alive,
    ):
        sender.socket.settimeout(60)
        sender.send(*(vpnv4_update(address(2), range(i, i + 200)) for i in range(0, 1000, 200)))
        assert len(prefixes_in(alive.updates())) == 1000
        before = program.resident
        for label in range(17, 617):
            for first in range(0, 1000, 200):
                sender.send(vpnv4_update(address(2), range(first, first + 200), label=label))
            if label % 50 == 0:
                sender.send(message(KEEPALIVE))
        final = (616 << 4 | 1).to_bytes(3)
        last: dict[bytes, bytes] = {}
        end = time.monotonic() + 60
        while len(last) < 1000 or set(last.values()) != {final}:
            assert time.monotonic() < end, "the living client does not get the last state"
            kind, body = alive.receive(30) or (0, b"")
            assert kind, "the living client lost its session"
            if kind == UPDATE:
                last.update(labels_in(body))
        grown = program.resident - before
        assert grown < 32 << 20, f"{grown >> 20} MB for a client that does not read"
        late: dict[bytes, bytes] = {}
        while len(late) < 1000 or set(late.values()) != {final}:
            assert time.monotonic() < end + 30, "the silent client does not get the last state when it reads again"
            kind, body = dead.receive(30) or (0, b"")
            assert kind, "the silent client lost its session"
            if kind == UPDATE:
                late.update(labels_in(body))
