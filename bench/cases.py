"""What is measured: receiving, withdrawing, reflecting, latency. Each function runs one program once.

A figure is given only if the program's own counter, or what the observers were sent, agrees with what went in.
"""

from __future__ import annotations

import functools
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench import evpn_inputs, inputs
from bench.lab import PROBER_ADDRESS, SENDER_ADDRESS, Lab, observer_addresses
from bench.programs.program import CounterFailed, Program, Unavailable
from bench.programs.running import Running
from bench.quiet import Failed, Watch, settle
from bench.session import RTC_END_OF_RIB, Session, SessionLost, attributes, keys, membership

_COUNTER_PATIENCE = 5.0
_IDLE_INTERVAL = 0.02
_LOADED_INTERVAL = 0.005
_IDLE_PAUSE = 0.001
_PROBE_PATIENCE = 5.0
_REFLECT_PATIENCE = 15.0
_BUSY_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Received:
    """One program took ``routes`` routes: CPU seconds for that, and what of its memory they are.

    ``resident_at_rest`` is before its counter is asked for the first time, ``resident_asked`` after that.
    """

    routes: int
    cpu: float
    octets_per_route: float
    resident_at_rest: int
    resident_asked: int
    withdraw_cpu: float | None
    withdraw_error: str


@dataclass(frozen=True, slots=True)
class Reflected:
    """One program took ``routes`` routes and sent them to ``observers``: CPU seconds of the whole."""

    routes: int
    observers: int
    cpu: float
    resident_at_rest: int


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from the sending of an UPDATE to its reading by an observer, over ``probes`` of them."""

    probes: int
    probes_loaded: int
    p50: float | None
    p99: float | None
    p50_loaded: float | None
    p99_loaded: float | None


WITHDRAWALS = {"packed": "withdraw", "mac-packed": "mac-withdraw"}
"""The input that withdraws what another announces."""


@functools.lru_cache(maxsize=4)
def messages(kind: str, routes: int) -> list[bytes]:
    """The messages of one input, encoded once."""
    makers: dict[str, Callable[[int], list[bytes]]] = {
        "packed": inputs.packed,
        "churn": inputs.churn,
        "withdraw": inputs.withdraw_packed,
        "mac-packed": evpn_inputs.packed,
        "mac-churn": evpn_inputs.churn,
        "mac-withdraw": evpn_inputs.withdraw_packed,
    }
    return makers[kind](routes)


@functools.lru_cache(maxsize=4)
def blob(kind: str, routes: int) -> bytes:
    """The messages of one input as they go over the wire."""
    return b"".join(messages(kind, routes))


def receive(lab: Lab, program: Program, kind: str, routes: int, limit: float, *, withdraw: bool = False) -> Received:
    """Send ``routes`` routes over one session, and withdraw them if asked.

    Raises ``Unavailable``, ``Failed`` or ``OverBudget``.
    """
    with Running(lab, program, [SENDER_ADDRESS]) as running, _losses(running):
        sender = running.establish()
        turn = functools.partial(_drain, [sender])
        settle(running, turn)
        at_rest = running.resident()
        _check_counter(running, 0)
        idle = settle(running, turn)
        asked = running.resident()
        cpu = _send_and_settle(running, sender, (kind, routes), limit, idle)
        octets = (running.resident() - asked) / routes
        _check_counter(running, routes)
        withdraw_cpu, error = None, ""
        if withdraw:
            try:
                withdraw_cpu = _send_and_settle(running, sender, (WITHDRAWALS[kind], routes), limit, idle)
                _check_counter(running, 0)
            except Failed as failed:
                withdraw_cpu, error = None, str(failed)
        return Received(routes, cpu, octets, at_rest, asked, withdraw_cpu, error)


def reflect(lab: Lab, program: Program, routes: int, observers: int, limit: float) -> Reflected:
    """Send ``routes`` packed routes while ``observers`` other clients listen; each must hear every route once.

    Raises ``Unavailable``, ``Failed`` or ``OverBudget``.
    """
    sources = observer_addresses(observers)
    with Running(lab, program, [SENDER_ADDRESS, *sources]) as running, _losses(running):
        sender = running.establish()
        watchers = [running.establish(source, remember=source == sources[0]) for source in sources]
        for watcher in watchers:
            watcher.send(inputs.end_of_rib())
        turn = functools.partial(_drain, [sender, *watchers])
        idle = settle(running, turn)
        at_rest = running.resident()
        watch = Watch(running, limit, idle)
        with _sending(sender, [blob("packed", routes)]) as thread:
            progress = time.monotonic()
            while thread.is_alive() or any(watcher.announced < routes for watcher in watchers):
                watch.spent()
                if turn():
                    progress = time.monotonic()
                elif not thread.is_alive() and time.monotonic() - progress > _REFLECT_PATIENCE:
                    break
                else:
                    time.sleep(_IDLE_PAUSE)
        cpu = watch.until_quiet(turn)
        _check_heard(watchers, routes)
        return Reflected(routes, observers, cpu, at_rest)


def latency(lab: Lab, program: Program, probes: int, load: int, limit: float) -> Latency:
    """Time single UPDATEs through the program to an observer: at idle, and while ``load`` routes come in beside them.

    The loaded figure needs clients that are not sent the load, so it is measured only where the program honours
    route-target membership. Raises ``Unavailable``, ``Failed`` or ``OverBudget``.
    """
    listener = observer_addresses(1)[0]
    with Running(lab, program, [SENDER_ADDRESS, PROBER_ADDRESS, listener]) as running, _losses(running):
        rtc = program.honours_rtc
        sender, prober = running.establish(rtc=rtc), running.establish(PROBER_ADDRESS, rtc=rtc)
        observer = running.establish(listener, rtc=rtc)
        for session in (sender, prober, observer):
            session.send(inputs.end_of_rib())
        if rtc:
            observer.send(membership(inputs.probe(0).route_target))
            for session in (sender, prober):
                session.send(RTC_END_OF_RIB)
        settle(running, functools.partial(_drain, [sender, prober, observer]))
        idle = _Probes(prober, observer, _IDLE_INTERVAL)
        watch = Watch(running, limit)
        while len(idle.seen) < probes:
            watch.spent()
            idle.turn()
            prober.read()
        idle.finish()
        loaded = _Probes(prober, observer, _LOADED_INTERVAL, first=2 * probes)
        if rtc and load:
            watch = Watch(running, limit)
            with _sending(sender, [blob("packed", load)]) as thread:
                while thread.is_alive() or watch.busy(_BUSY_SHARE):
                    watch.spent()
                    loaded.turn()
            loaded.finish()
        figures = [_percentile(samples, percent) for samples in (idle.seen, loaded.seen) for percent in (50, 99)]
        return Latency(len(idle.seen), len(loaded.seen), *figures)


def _send_and_settle(running: Running, sender: Session, what: tuple[str, int], limit: float, idle: float) -> float:
    kind, routes = what
    turn = functools.partial(_drain, [sender])
    pieces = messages(kind, routes) if running.program.pace else [blob(kind, routes)]
    watch = Watch(running, limit, idle)
    with _sending(sender, pieces, running.program.pace) as thread:
        while thread.is_alive():
            turn()
            watch.spent()
            thread.join(0.02)
    return watch.until_quiet(turn)


def _take_in(
    running: Running, end_of_rib: bytes, join: Callable[[], None], what: tuple[str, int], limit: float
) -> Received:
    """Have an instance made by ``join``, send the routes of ``what`` and see that all of them count."""
    routes = what[1]
    sender = _established(running, end_of_rib)
    turn = functools.partial(_drain, [sender])
    settle(running, turn)
    at_rest = running.resident()
    join()
    idle = settle(running, turn)
    asked = running.resident()
    cpu = _send_and_settle(running, sender, what, limit, idle)
    octets = (running.resident() - asked) / routes
    _check_counter(running, routes)
    return Received(routes, cpu, octets, at_rest, asked, None, "")


def _established(running: Running, end_of_rib: bytes) -> Session:
    """A session on which a reflector has said that it has no routes yet, and asks for all."""
    rtc = running.program.honours_rtc
    sender = running.establish(rtc=rtc)
    sender.send(end_of_rib)
    if rtc:
        sender.send(RTC_END_OF_RIB)
    return sender


def _ready(running: Running, end_of_rib: bytes, join: Callable[[], None]) -> Session:
    """The same once ``join`` has made an instance and the program is at rest."""
    sender = _established(running, end_of_rib)
    turn = functools.partial(_drain, [sender])
    settle(running, turn)
    join()
    settle(running, turn)
    return sender


def _check_counter(running: Running, expected: int) -> None:
    _check(running.routes, expected, "its counter", "it counts {} routes")


def _check(count: Callable[[], int], expected: int, counter: str, claim: str) -> None:
    """Give a counter of the program's own a while to say what is expected. Raises ``Failed``."""
    deadline = time.monotonic() + _COUNTER_PATIENCE
    while True:
        try:
            counted = count()
        except CounterFailed as error:
            raise Failed(f"{counter} cannot be read: {error}") from error
        if counted == expected:
            return
        if time.monotonic() > deadline:
            raise Failed(f"cross-check: {claim.format(counted)}, {expected} expected")
        time.sleep(0.5)


def _check_heard(watchers: list[Session], routes: int) -> None:
    for number, watcher in enumerate(watchers, 1):
        if (watcher.announced, watcher.withdrawn) != (routes, 0):
            raise Failed(
                f"cross-check: observer {number} of {len(watchers)} heard {watcher.announced} announcements and "
                f"{watcher.withdrawn} withdrawals, {routes} and 0 expected"
            )
    promised = {route.nlri[4:] for route in inputs.routes(routes)}
    if watchers and watchers[0].held != promised:
        raise Failed(f"cross-check: observer 1 holds {len(watchers[0].held & promised)} of {routes} promised routes")


def _drain(sessions: list[Session]) -> int:
    heard = 0
    for session in sessions:
        heard += len(session.read())
        session.keep_alive()
    return heard


class _Probes:
    """Single UPDATEs sent at fixed times, whether or not those before were seen: waiting would hide the worst."""

    def __init__(self, prober: Session, observer: Session, interval: float, first: int = 0) -> None:
        self._prober = prober
        self._observer = observer
        self._interval = interval
        self._number = first
        self._next = time.perf_counter()
        self._sent: dict[bytes, float] = {}
        self.seen: list[float] = []

    def turn(self) -> None:
        """Send a probe if one is due, and read what was reflected."""
        now = time.perf_counter()
        if now >= self._next:
            self._next = max(self._next + self._interval, now)
            route = inputs.probe(self._number)
            self._number += 1
            data = inputs.announcement([route])
            self._sent[route.nlri[4:]] = time.perf_counter()
            self._prober.send(data)
        self.listen()

    def listen(self) -> None:
        """Read what was reflected."""
        bodies = self._observer.read()
        now = time.perf_counter()
        for body in bodies:
            for kind, value in attributes(body):
                if kind == 14:
                    self.seen += [now - self._sent.pop(key) for key in keys(value[5 + value[3] :]) if key in self._sent]

    def finish(self) -> None:
        """Wait for what is on its way. Raises ``Failed`` if some of it never comes."""
        deadline = time.perf_counter() + _PROBE_PATIENCE
        while self._sent:
            self.listen()
            if time.perf_counter() > deadline:
                raise Failed(f"{len(self._sent)} probes were not seen in {_PROBE_PATIENCE:.0f} s")


def _percentile(samples: list[float], percent: int) -> float | None:
    if len(samples) < 2:
        return samples[0] if samples else None
    return statistics.quantiles(samples, n=100, method="inclusive")[percent - 1]


@contextmanager
def _sending(sender: Session, pieces: list[bytes], pace: float = 0.0) -> Iterator[threading.Thread]:
    def work() -> None:
        try:
            for piece in pieces:
                sender.send(piece)
                time.sleep(pace * len(piece))
        except SessionLost as error:
            trouble.append(error)

    trouble: list[SessionLost] = []
    thread = threading.Thread(target=work, name="blaster", daemon=True)
    thread.start()
    yield thread
    if trouble:
        raise trouble[0]


@contextmanager
def _losses(running: Running) -> Iterator[None]:
    try:
        yield
    except SessionLost as error:
        raise Failed(f"the session was lost: {error}; {running.output()}") from error


__all__ = ["WITHDRAWALS", "Latency", "Received", "Reflected", "Unavailable", "blob", "latency", "receive", "reflect"]
