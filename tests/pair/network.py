"""Speakers joined by a network that exists only on a virtual clock: delay, cuts and restarts as a test likes."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import TypeVar

from bagpipe.session.outputs import Action, Close, Connect, Send
from bagpipe.session.settings import Mode, SessionSettings
from bagpipe.speaker import Peer, PeerSettings, Retain, Speaker, SpeakerSettings
from bagpipe.wire.family import CARRIED, Family


@dataclass(eq=False)
class Wire:
    """One TCP connection between two ends; an end is (node name, peer name, connection number)."""

    ends: tuple[tuple[str, str, int], tuple[str, str, int]]
    is_open: bool = True
    last_arrival: list[float] = field(default_factory=lambda: [0.0, 0.0])


class Network:
    """Nodes by name, each a speaker whose peers are named after the nodes they lead to."""

    def __init__(self, seed: int = 0, *, delay: Callable[[random.Random], float] | None = None) -> None:
        self.now = 0.0
        self.dice = random.Random(seed)
        self.delay = delay or (lambda dice: 0.001)
        self.piece = 0
        self.nodes: dict[str, Speaker] = {}
        self.notices: list[tuple[str, object]] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._wires: dict[tuple[str, str, int], Wire] = {}
        self._incoming = itertools.count(1, 2)
        self._down: set[frozenset[str]] = set()
        self._woken: list[tuple[str, Peer]] = []
        self.deaf: set[tuple[str, str]] = set()

    # ------------------------------------------------------------------ building

    def node(
        self,
        name: str,
        number: int,
        *,
        reflector: bool = False,
        retain: Retain = Retain.ALWAYS,
        default_membership: bool = True,
    ) -> Speaker:
        """A speaker of AS 64512 with router id 10.0.0.``number``."""
        settings = SpeakerSettings(
            64512,
            IPv4Address(f"10.0.0.{number}"),
            reflector=reflector,
            default_membership=default_membership,
            retain=retain,
        )
        speaker = Speaker(settings, jitter=lambda: 0.75 + self.dice.random() / 4)
        speaker.notice = lambda notice: self.notices.append((name, notice))
        speaker.wake = lambda peer: self._woken.append((name, peer))
        self.nodes[name] = speaker
        return speaker

    def link(
        self,
        one: str,
        other: str,
        *,
        clients: tuple[str, ...] = (),
        families: tuple[Family, ...] = CARRIED,
        hold_time: int = 90,
        modes: tuple[Mode, Mode] = (Mode.BOTH, Mode.BOTH),
        maximum_prefixes: int | None = None,
    ) -> None:
        """Make two nodes neighbours and start both; names in ``clients`` are clients of the other end."""
        for (here, there), mode in zip(((one, other), (other, one)), modes, strict=True):
            speaker = self.nodes[here]
            session = SessionSettings(
                local_as=64512,
                peer_as=64512,
                router_id=speaker.settings.router_id,
                families=families,
                hold_time=hold_time,
                mode=mode,
            )
            address = str(self.nodes[there].settings.router_id)
            peer = speaker.add_peer(
                PeerSettings(there, address, session, client=there in clients, maximum_prefixes=maximum_prefixes),
                self.now,
            )
            self._act(here, peer, peer.start(self.now))

    def restart(self, name: str, make: Callable[[], Speaker]) -> None:
        """The process of a node dies and starts again with what ``make`` gives it; its neighbours notice."""
        old = self.nodes.pop(name)
        for (node, _, _), wire in list(self._wires.items()):
            if node == name:
                self._cut(wire, "connection reset")
        self._wires = {end: wire for end, wire in self._wires.items() if end[0] != name}
        make()
        fresh = self.nodes[name]
        for peer in old.peers.values():
            again = fresh.add_peer(peer.settings, self.now)
            self._act(name, again, again.start(self.now))

    def cut(self, one: str, other: str, *, down: bool = False) -> None:
        """Break the connections between two nodes; with ``down`` none can be made until :meth:`mend`."""
        if down:
            self._down.add(frozenset((one, other)))
        for wire in set(self._wires.values()):
            if {end[0] for end in wire.ends} == {one, other}:
                self._cut(wire, "connection reset")

    def mend(self, one: str, other: str) -> None:
        """Connections between two nodes are possible again."""
        self._down.discard(frozenset((one, other)))

    # ------------------------------------------------------------------ time

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while True:
            self._flush()
            moment = self._next()
            if moment is None or moment > end:
                break
            self.now = max(self.now, moment)
            if self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()
            else:
                self._tick()
        self.now = end

    def _next(self) -> float | None:
        moments = [event[0] for event in self._events[:1]]
        for speaker in self.nodes.values():
            for peer in speaker.peers.values():
                deadline = peer.deadline()
                if deadline is not None:
                    moments.append(deadline)
        return min(moments, default=None)

    def _tick(self) -> None:
        for name, speaker in list(self.nodes.items()):
            for peer in list(speaker.peers.values()):
                deadline = peer.deadline()
                if deadline is not None and deadline <= self.now:
                    self._act(name, peer, peer.tick(self.now))

    def _flush(self) -> None:
        while self._woken:
            name, peer = self._woken.pop()
            if self.nodes.get(name) is not peer.speaker or (name, peer.name) in self.deaf:
                continue
            while peer.established_connection is not None and (data := peer.outbound(self.now)):
                self._act(name, peer, [Send(peer.established_connection, data)])

    def hear_again(self, name: str, peer: str) -> None:
        """The node's output towards ``peer`` flows again after it was in ``deaf``."""
        self.deaf.discard((name, peer))
        self._woken.append((name, self.nodes[name].peers[peer]))

    # ------------------------------------------------------------------ the edge

    def _at(self, delay: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + delay, next(self._order), what))

    def _act(self, name: str, peer: Peer, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Connect):
                self._at(self.delay(self.dice), lambda a=action: self._connect(name, peer, a.connection))  # type: ignore[misc]
            elif isinstance(action, Send):
                self._send((name, peer.name, action.connection), action.data)
            elif isinstance(action, Close):
                wire = self._wires.get((name, peer.name, action.connection))
                if wire is not None:
                    self._cut(wire, "closed by the peer", by=name)

    def _connect(self, name: str, peer: Peer, connection: int) -> None:
        if self.nodes.get(name) is not peer.speaker:
            return
        far = self.nodes.get(peer.name)
        far_peer = far.peers.get(name) if far is not None else None
        if far_peer is None or frozenset((name, peer.name)) in self._down:
            self._act(name, peer, peer.refused(connection, self.now, "connection refused"))
            return
        number = next(self._incoming)
        wire = Wire(((name, peer.name, connection), (peer.name, name, number)))
        for end in wire.ends:
            self._wires[end] = wire
        self._act(name, peer, peer.connected(connection, self.now))
        self._act(peer.name, far_peer, far_peer.accepted(number, self.now))

    def _send(self, end: tuple[str, str, int], data: bytes) -> None:
        wire = self._wires.get(end)
        if wire is None or not wire.is_open:
            return
        side = wire.ends.index(end)
        pieces = [data] if not self.piece else [data[i : i + self.piece] for i in range(0, len(data), self.piece)]
        for piece in pieces:
            arrival = max(self.now + self.delay(self.dice), wire.last_arrival[side])
            wire.last_arrival[side] = arrival
            self._at(arrival - self.now, lambda p=piece: self._deliver(wire, 1 - side, p))  # type: ignore[misc]

    def _deliver(self, wire: Wire, side: int, data: bytes) -> None:
        name, peer_name, connection = wire.ends[side]
        if not wire.is_open or wire.ends[side] not in self._wires:
            return
        peer = self.nodes[name].peers.get(peer_name) if name in self.nodes else None
        if peer is not None:
            self._act(name, peer, peer.received(connection, data, self.now))

    def _cut(self, wire: Wire, reason: str, by: str | None = None) -> None:
        """Close a wire; what one side closed itself reaches the other after what was sent before."""
        if by is None:
            wire.is_open = False
        for side, end in enumerate(wire.ends):
            self._wires.pop(end, None)
            if end[0] == by:
                continue
            arrival = max(self.now, wire.last_arrival[1 - side])
            self._wires[end] = wire
            self._at(arrival - self.now, lambda e=end: self._gone(wire, e, reason))  # type: ignore[misc]

    def _gone(self, wire: Wire, end: tuple[str, str, int], reason: str) -> None:
        wire.is_open = False
        if self._wires.get(end) is not wire:
            return
        del self._wires[end]
        speaker = self.nodes.get(end[0])
        if speaker is None or end[1] not in speaker.peers:
            return
        peer = speaker.peers[end[1]]
        self._act(end[0], peer, peer.closed(end[2], self.now, reason))


H = TypeVar("H")


def clients_of_a_reflector(
    network: Network, make: Callable[[str, int], H], names: Sequence[str], families: tuple[Family, ...] = CARRIED
) -> list[H]:
    """The node ``rr`` with number 1, and as its clients those that ``make`` gives for a name and a number from 2 on.

    Half a minute has passed, and their sessions are up.
    """
    network.node("rr", 1, reflector=True)
    made = []
    for number, name in enumerate(names, 2):
        made.append(make(name, number))
        network.link("rr", name, clients=(name,), families=families)
    network.run(30)
    return made
