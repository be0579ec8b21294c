"""Two neighbours joined by a network that exists only on a virtual clock (the habit of quinn's tests).

TCP as the session sees it: bytes arrive in order and after a delay, or the connection breaks, or nothing arrives any
more and nobody says so.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from bagpipe.session.fsm import State
from bagpipe.session.neighbor import Neighbor
from bagpipe.session.outputs import Close, Connect, Down, Output, Send, Up
from bagpipe.session.settings import SessionSettings


@dataclass(eq=False)
class Tcp:
    """One TCP connection. ``numbers``: what each side calls it; None where the side does not have it (any more)."""

    numbers: list[int | None]
    is_hole: bool = False
    arrivals: list[float] = field(default_factory=lambda: [0.0, 0.0])


class Pair:
    """Sides 0 and 1, the network between them, and the clock."""

    def __init__(self, sides: tuple[SessionSettings, SessionSettings], seed: int, delay: float = 0.01) -> None:
        self.now = 0.0
        self.dice = random.Random(seed)
        self.delay = delay
        self.settings = sides
        self.loses_connects = False
        self.events: tuple[list[Output], list[Output]] = ([], [])
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._incoming = itertools.count(1, 2)
        self._tcp: list[Tcp] = []
        self._life = [0, 0]
        self.sides = [self._make(0), self._make(1)]
        for side in (0, 1):
            self._do(side, self.sides[side].start(self.now))

    # What a test does to it.

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while (moment := self._next()) <= end:
            self.now = max(self.now, moment)
            if self._queue and self._queue[0][0] <= self.now:
                heapq.heappop(self._queue)[2]()
                continue
            for side in (0, 1):
                due = self.sides[side].deadline()
                if due is not None and due <= self.now:
                    self._do(side, self.sides[side].tick(self.now))
        self.now = end

    def reset_connections(self) -> None:
        """All connections break, and both sides notice."""
        for tcp in list(self._tcp):
            for side in (0, 1):
                self._break(tcp, side, "connection reset")

    def lose_silently(self) -> None:
        """What is sent on the present connections does not arrive any more."""
        for tcp in self._tcp:
            tcp.is_hole = True

    def restart(self, side: int, silently: bool) -> None:
        """The process of a side starts anew; the other side hears of it only if not ``silently``."""
        self._life[side] += 1
        for tcp in list(self._tcp):
            tcp.numbers[side] = None
            tcp.is_hole = True
            if not silently:
                self._break(tcp, 1 - side, "connection reset")
        self.sides[side] = self._make(side)
        self._do(side, self.sides[side].start(self.now))

    def bounce(self, side: int) -> None:
        """The operator of a side stops and starts the neighbour."""
        self._do(side, self.sides[side].stop(self.now))
        self._do(side, self.sides[side].start(self.now))

    @property
    def is_up(self) -> bool:
        """Whether both sides are Established, over one and the same connection."""
        if any(side.state is not State.ESTABLISHED for side in self.sides):
            return False
        numbers = [self.sides[0].connection, self.sides[1].connection]
        return any(tcp.numbers == numbers for tcp in self._tcp)

    # The network.

    def _make(self, side: int) -> Neighbor:
        return Neighbor(self.settings[side], jitter=lambda: 0.75 + self.dice.random() / 4)

    def _next(self) -> float:
        moments = [self._queue[0][0]] if self._queue else []
        moments += [due for side in self.sides if (due := side.deadline()) is not None]
        return min(moments, default=float("inf"))

    def _later(self, moment: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (moment, next(self._order), what))

    def _some_delay(self) -> float:
        return self.delay * (0.5 + self.dice.random())

    def _do(self, side: int, outputs: list[Output]) -> None:
        for output in outputs:
            if isinstance(output, Connect):
                dial = partial(self._dial, side, self._life[side], output.connection)
                self._later(self.now + self._some_delay(), dial)
            elif isinstance(output, Send):
                self._send(side, output)
            elif isinstance(output, Close):
                for tcp in list(self._tcp):
                    if tcp.numbers[side] == output.connection:
                        tcp.numbers[side] = None
                        self._break(tcp, 1 - side, "closed by the peer")
            else:
                self.events[side].append(output)

    def _dial(self, side: int, life: int, connection: int) -> None:
        if self.loses_connects or self._life[side] != life:
            return
        number = next(self._incoming)
        tcp = Tcp([connection, number] if side == 0 else [number, connection])
        self._tcp.append(tcp)
        self._do(side, self.sides[side].connected(connection, self.now))
        self._do(1 - side, self.sides[1 - side].accepted(number, self.now))

    def _send(self, side: int, output: Send) -> None:
        for tcp in self._tcp:
            if tcp.numbers[side] == output.connection:
                self._arrive(tcp, 1 - side, partial(self._deliver, tcp, 1 - side, output.data))

    def _arrive(self, tcp: Tcp, side: int, what: Callable[[], None]) -> None:
        """In order with all that goes to ``side`` over ``tcp``."""
        moment = max(tcp.arrivals[side], self.now + self._some_delay())
        tcp.arrivals[side] = moment
        self._later(moment, what)

    def _deliver(self, tcp: Tcp, side: int, data: bytes) -> None:
        number = tcp.numbers[side]
        if number is None or tcp.is_hole:
            return
        cut = self.dice.randrange(len(data) + 1)
        for piece in (data[:cut], data[cut:]):
            self._do(side, self.sides[side].received(number, piece, self.now))

    def _break(self, tcp: Tcp, side: int, reason: str) -> None:
        def gone() -> None:
            number = tcp.numbers[side]
            tcp.numbers[side] = None
            if number is not None:
                self._do(side, self.sides[side].closed(number, self.now, reason))
            if tcp.numbers == [None, None] and tcp in self._tcp:
                self._tcp.remove(tcp)

        if tcp.is_hole and reason == "closed by the peer":
            return
        self._arrive(tcp, side, gone)

    def ups_and_downs(self, side: int) -> list[type[Output]]:
        """The kinds of the session events of a side, in order."""
        return [type(one) for one in self.events[side] if isinstance(one, Up | Down)]
