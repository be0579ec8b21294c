"""When a measurement is over: the program's processor time has stopped growing and its counter agrees."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.programs.running import Running

WINDOW = 1.0
IDLE_SHARE = 0.006
_PAUSE = 0.02


class OverBudget(Exception):
    """The measurement was stopped at its limit; ``cpu`` is what was used until then, in seconds."""

    def __init__(self, cpu: float, limit: float) -> None:
        super().__init__(f"more than {cpu:.1f} CPU s, stopped after {limit:.0f} s")
        self.cpu = cpu


class Failed(Exception):
    """The cross-check failed or the program died: an error in the report, not a number."""


@dataclass(slots=True)
class Watch:
    """Follows one program's processor time from the moment it is made.

    ``limit`` is wall-clock seconds. ``idle`` is the share of a processor that the program uses without
    anything to do.
    """

    running: Running
    limit: float
    idle: float = 0.0
    started: float = 0.0
    first: float = 0.0
    _recent: deque[tuple[float, float]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.started = time.monotonic()
        self.first = self.running.cpu()

    def spent(self) -> float:
        """Processor seconds since the watch was made. Raises ``OverBudget`` past the limit, ``Failed`` if it died."""
        if not self.running.alive():
            raise Failed(f"the program ended: {self.running.output()}")
        used = self.running.cpu() - self.first
        if time.monotonic() - self.started > self.limit:
            raise OverBudget(used, self.limit)
        return used

    def busy(self, share: float, window: float = 0.2) -> bool:
        """Whether more than ``share`` of a processor was used since the last ``window`` seconds began."""
        now, used = time.monotonic(), self.running.cpu()
        self._recent.append((now, used))
        while len(self._recent) > 1 and now - self._recent[1][0] >= window:
            self._recent.popleft()
        then, before = self._recent[0]
        return now - then < window or used - before > share * (now - then)

    def until_quiet(self, turn: Callable[[], object], window: float = WINDOW) -> float:
        """Call ``turn`` again and again until ``window`` seconds pass with next to no work; give the seconds spent.

        What the program idles with during those seconds is not counted.
        """
        most = max(IDLE_SHARE, 2 * self.idle)
        samples: deque[tuple[float, float]] = deque()
        while True:
            turn()
            now = time.monotonic()
            samples.append((now, self.spent()))
            while len(samples) > 1 and now - samples[1][0] >= window:
                samples.popleft()
            elapsed, used = now - samples[0][0], samples[-1][1] - samples[0][1]
            if elapsed >= window and used <= most * elapsed:
                return samples[-1][1] - self.idle * elapsed
            time.sleep(_PAUSE)


def settle(running: Running, turn: Callable[[], object], limit: float = 20.0) -> float:
    """Wait until a started program has nothing more to do; give the share of a processor that it idles with."""
    Watch(running, limit, idle=0.5).until_quiet(turn, 0.4)
    before = running.cpu()
    began = time.monotonic()
    while time.monotonic() - began < WINDOW:
        turn()
        time.sleep(_PAUSE)
    return (running.cpu() - before) / (time.monotonic() - began)
