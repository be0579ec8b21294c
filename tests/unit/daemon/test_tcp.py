"""The TCP edge with a scripted peer in place of the speaker's: what it asks for, when, and how much."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bagpipe.daemon import tcp
from bagpipe.daemon.reach import Reach
from bagpipe.daemon.tcp import FLUSH_PAUSE, HIGH_WATER, Edge
from bagpipe.session.outputs import Action, Close, Connect, Send
from bagpipe.speaker import PeerSettings, Speaker

CHUNK = bytes(64 * 1024)


class ScriptedPeer:
    """Established as soon as it is connected. ``endless`` makes it have output for ever."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.established_connection: int | None = None
        self.endless = False
        self.waiting: list[bytes] = []
        self.asked: list[float] = []
        self.calls: list[str] = []
        self.due: float | None = None
        self.blocked = 0
        self.answers: list[Action] = []
        self.neighbor = SimpleNamespace(send_blocked=self._block, send_drained=self._drain)

    def _block(self, now: float) -> None:
        self.blocked += 1

    def _drain(self, now: float) -> None:
        self.blocked -= 1

    def start(self, now: float) -> list[Action]:
        return [Connect(2)]

    def stop(self, now: float) -> list[Action]:
        return [Send(2, b"bye"), Close(2)]

    def connected(self, connection: int, now: float) -> list[Action]:
        self.calls.append("connected")
        self.established_connection = connection
        return []

    def refused(self, connection: int, now: float, reason: str) -> list[Action]:
        self.calls.append(f"refused: {reason}")
        return []

    def closed(self, connection: int, now: float, reason: str) -> list[Action]:
        self.calls.append("closed")
        self.established_connection = None
        return []

    def received(self, connection: int, data: bytes, now: float) -> list[Action]:
        self.calls.append(f"received {len(data)}")
        return self.answers

    def tick(self, now: float) -> list[Action]:
        self.calls.append("tick")
        self.due = None
        return []

    def deadline(self) -> float | None:
        return self.due

    def outbound(self, now: float) -> bytes:
        self.asked.append(now)
        if self.endless:
            return CHUNK
        return self.waiting.pop() if self.waiting else b""


class ScriptedSpeaker:
    def __init__(self) -> None:
        self.peers: dict[str, ScriptedPeer] = {}
        self.wake: Callable[[ScriptedPeer], None] = lambda peer: None

    def add_peer(self, settings: Any, now: float) -> ScriptedPeer:
        peer = self.peers[settings.name] = ScriptedPeer(settings.name)
        return peer

    def remove_peer(self, name: str, now: float) -> list[Action]:
        return self.peers.pop(name).stop(now)


class Scene:
    """An edge with one peer that is connected to a plain socket, ``other``."""

    def __init__(self) -> None:
        self.speaker = ScriptedSpeaker()
        self.edge = Edge(cast(Speaker, self.speaker))
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen()
        self.listener.setblocking(False)
        self.loop = asyncio.get_running_loop()

    async def connect(self, name: str = "one") -> tuple[ScriptedPeer, socket.socket]:
        port = self.listener.getsockname()[1]
        settings = cast(PeerSettings, SimpleNamespace(name=name))
        self.edge.add(settings, Reach("127.0.0.1", port))
        other, _ = await self.loop.sock_accept(self.listener)
        peer = self.speaker.peers[name]
        await until(lambda: peer.established_connection is not None)
        return peer, other

    def buffered(self) -> int:
        return sum(
            connection.transport.get_write_buffer_size() for connection in self.edge.open if connection.transport
        )


async def until(condition: Callable[[], bool], timeout: float = 5.0) -> None:
    end = asyncio.get_running_loop().time() + timeout
    while not condition():
        assert asyncio.get_running_loop().time() < end, "it did not come so far"
        await asyncio.sleep(0.001)


def play(story: Callable[[Scene], Awaitable[None]]) -> None:
    async def act() -> None:
        scene = Scene()
        try:
            await story(scene)
        finally:
            await scene.edge.close()
            scene.listener.close()

    asyncio.run(act())


def test_a_quiet_peer_is_asked_at_once_and_a_busy_one_at_most_every_ten_milliseconds() -> None:
    async def story(scene: Scene) -> None:
        peer, other = await scene.connect()
        begin = scene.loop.time()
        peer.waiting = [b"first"]
        scene.edge.speaker.wake(cast(Any, peer))
        assert await scene.loop.sock_recv(other, 10) == b"first"
        assert peer.asked[0] - begin < FLUSH_PAUSE

        before = len(peer.asked)
        for _ in range(30):
            scene.edge.speaker.wake(cast(Any, peer))
            await asyncio.sleep(0.001)
        assert 0 < len(peer.asked) - before <= 6
        other.close()

    play(story)


def test_a_neighbour_that_does_not_read_is_not_asked_for_more_and_the_buffer_stays_small() -> None:
    async def story(scene: Scene) -> None:
        peer, other = await scene.connect()
        peer.endless = True
        scene.edge.speaker.wake(cast(Any, peer))
        await until(lambda: peer.blocked == 1)
        asked = len(peer.asked)
        for _ in range(20):
            scene.edge.speaker.wake(cast(Any, peer))
            await asyncio.sleep(0.002)

        # then nothing more is asked for, and little waits
        assert len(peer.asked) == asked
        assert scene.buffered() <= HIGH_WATER + len(CHUNK)

        # when it reads, the output goes on by itself
        read = 0
        while len(peer.asked) < asked + 20:
            read += len(await scene.loop.sock_recv(other, 1 << 20))
        assert read > 0
        peer.endless = False
        other.close()

    play(story)


def test_one_busy_peer_leaves_turns_to_the_others() -> None:
    async def story(scene: Scene) -> None:
        busy, reader = await scene.connect("busy")
        quiet, other = await scene.connect("quiet")
        busy.endless = True
        drained = scene.loop.create_task(_drain(reader))
        scene.edge.speaker.wake(cast(Any, busy))
        await until(lambda: len(busy.asked) > 100)

        before = len(busy.asked)
        quiet.waiting = [b"hello"]
        scene.edge.speaker.wake(cast(Any, quiet))
        assert await scene.loop.sock_recv(other, 10) == b"hello"
        assert len(busy.asked) - before < 100
        busy.endless = False
        drained.cancel()
        other.close()
        reader.close()

    play(story)


async def _drain(sock: socket.socket) -> None:
    while await asyncio.get_running_loop().sock_recv(sock, 1 << 20):
        pass


def test_what_comes_is_taken_in_bounded_pieces() -> None:
    async def story(scene: Scene) -> None:
        peer, other = await scene.connect()
        await scene.loop.sock_sendall(other, bytes(1_000_000))
        sizes: list[int] = []

        def all_came() -> bool:
            sizes[:] = [int(call.split()[1]) for call in peer.calls if call.startswith("received")]
            return sum(sizes) == 1_000_000

        await until(all_came)
        assert max(sizes) <= tcp.READ_SIZE
        other.close()

    play(story)


def test_the_timer_follows_the_deadline() -> None:
    async def story(scene: Scene) -> None:
        peer, other = await scene.connect()
        begin = scene.loop.time()
        peer.due = begin + 0.05
        other.send(b"x")
        await until(lambda: "tick" in peer.calls)
        assert 0.045 < scene.loop.time() - begin < 0.5
        await asyncio.sleep(0.1)
        assert peer.calls.count("tick") == 1
        other.close()

    play(story)


def test_what_is_sent_before_a_close_arrives_though_the_neighbour_goes_on_talking() -> None:
    async def story(scene: Scene) -> None:
        # given a neighbour with octets under way that nobody will read
        peer, other = await scene.connect()
        peer.answers = [Send(2, b"notification"), Close(2)]
        other.send(b"bad")
        await until(lambda: bool(peer.calls[1:]))
        other.send(bytes(100_000))

        # then it hears the last word, and no reset takes it away
        await asyncio.sleep(0.05)
        assert await scene.loop.sock_recv(other, 100) == b"notification"
        assert await scene.loop.sock_recv(other, 100) == b""
        other.close()
        await until(lambda: not scene.edge.open)
        assert "closed" not in peer.calls, "a close that was asked for is not told back"

    play(story)


def test_a_connection_that_the_neighbour_never_ends_is_dropped_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "LINGER", 0.1)

    async def story(scene: Scene) -> None:
        peer, other = await scene.connect()
        scene.edge.remove("one")
        await until(lambda: not scene.edge.open, 2)
        assert peer.name not in scene.edge.links
        other.close()

    play(story)


def test_an_attempt_that_fails_is_told_with_the_reason() -> None:
    async def story(scene: Scene) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            for name, reach, reason in (
                ("refused", Reach("127.0.0.1", port), "onnect"),
                ("source", Reach("127.0.0.1", port, IPv4Address("192.0.2.1")), "assign requested address"),
                ("name", Reach("no-such-host.invalid", port), "no-such-host.invalid"),
            ):
                scene.edge.add(cast(PeerSettings, SimpleNamespace(name=name)), reach)
                calls = scene.speaker.peers[name].calls
                await until(lambda calls=calls: bool(calls), 15)
                assert calls[0].startswith("refused: ")
                assert reason in calls[0]

    play(story)


def test_an_attempt_that_is_given_up_is_not_told_about() -> None:
    async def story(scene: Scene) -> None:
        scene.edge.add(cast(PeerSettings, SimpleNamespace(name="far")), Reach("192.0.2.1", 1))
        peer = scene.speaker.peers["far"]
        scene.edge.links["far"].perform([Close(2)])
        await asyncio.sleep(0.05)
        assert peer.calls == []
        assert scene.edge.links["far"].attempts == {}

    play(story)


def test_a_close_by_the_neighbour_is_told() -> None:
    async def story(scene: Scene) -> None:
        peer, other = await scene.connect()
        other.close()
        await until(lambda: "closed" in peer.calls)
        assert scene.edge.open == set()

    play(story)
