"""The programmer: takes what the tracker wants changed, has a driver program it, and tells what came of it.

One batch is in flight at a time. Changes of one turn of the loop go together. What the driver refuses is tried again
with a growing pause, each record at its own time. A lost connection loses nothing: what the dataplane holds is read
back and adopted when it can be reached again. Leftovers are removed only once :meth:`Programmer.sweep_when_ready` was
called: before that it is not known yet what is left over.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bagpipe.dataplane.delta import Tracker
from bagpipe.dataplane.driver import Again, Dataplane, DriverEvent, Gone, Ready
from bagpipe.dataplane.errors import DataplaneError
from bagpipe.dataplane.model import Key

LOG = logging.getLogger(__name__)

BATCH = 10_000
"""Records in flight at most."""
FIRST_PAUSE = 1.0
"""Seconds until a refused record is tried again for the first time; doubled with each try."""
LONGEST_PAUSE = 60.0
GONE_PATIENCE = 5.0
"""Seconds that a caller waits for a dataplane that cannot be reached, however long it would wait for an answer."""
LOGGED = 5
"""Refused records of one batch that are logged one by one."""

Settled = Callable[[Sequence[Key], Mapping[Key, str]], None]


def pause(tries: int) -> float:
    """Seconds until the next try after ``tries`` that failed, with up to a quarter less by chance."""
    return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(tries - 1, 16)) * random.uniform(0.75, 1.0))


@dataclass(slots=True)
class Latency:
    """How long batches took from being sent to being answered. ``counts[i]`` took ``bounds[i]`` seconds at most, the
    last one longer than all bounds.
    """

    bounds: tuple[float, ...] = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
    counts: list[int] = field(default_factory=lambda: [0] * 14)
    total: float = 0.0

    def note(self, seconds: float) -> None:
        """One batch."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds


@dataclass(slots=True)
class _Waiter:
    keys: list[Key]
    done: asyncio.Future[None]


class Programmer:
    """Lives on the running loop, between one tracker and one driver.

    ``settled`` is called with the records that came into effect and those that were refused; ``lost`` when it is not
    known any more what is in effect; ``state_changed`` when the dataplane came or went. ``why`` says why it is not
    ``connected``. Whoever changes the tracker calls :meth:`wake`.
    """

    def __init__(self, tracker: Tracker, driver: Dataplane, settled: Settled, lost: Callable[[], None]) -> None:
        self.tracker = tracker
        self.driver = driver
        self.settled = settled
        self.lost = lost
        self.state_changed: Callable[[], None] = lambda: None
        self.connected = False
        self.why = "not connected yet"
        self.latency = Latency()
        self.retries = 0
        self.swept = False
        self._sweep = False
        self._adopt = False
        self._adoptions_failed = 0
        self._not_before = 0.0
        self._due: dict[Key, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._woken = asyncio.Event()
        self._generation = 0
        self._adopted_once = False
        self._waiters: list[_Waiter] = []
        self._task: asyncio.Task[None] | None = None
        # An earlier process may have left anything.
        tracker.lost()

    async def start(self) -> None:
        """Start the driver and begin to program. Raises LocalMisuse for settings that can never work."""
        await self.driver.start(self._heard)
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Program no more. What is programmed stays."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self.driver.close()

    def wake(self) -> None:
        """The tracker may have changes."""
        self._woken.set()

    def sweep_when_ready(self) -> None:
        """From now on what is ours in the dataplane and not desired is left over: remove it."""
        if not self._sweep:
            self._sweep = True
            self._woken.set()

    def retry(self, keys: Iterable[Key]) -> None:
        """Try these again now if they were refused."""
        refused = [key for key in keys if key in self.tracker.refused]
        if refused:
            self.retries += len(refused)
            for key in refused:
                self._due.pop(key, None)
            self.tracker.retry(refused)
            self._woken.set()

    async def wait_settled(self, keys: Iterable[Key], timeout: float) -> dict[Key, str]:
        """Wait until each of ``keys`` (its value or its removal) is in effect or refused, ``timeout`` seconds at most.

        Gives those that are not in effect with the reason; what was refused before is tried again first. Where the
        dataplane cannot be reached the wait is ``GONE_PATIENCE`` at most.
        """
        wanted = list(keys)
        self.retry(wanted)
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        gone_end = min(end, loop.time() + GONE_PATIENCE)
        while any(self.tracker.is_open(key) for key in wanted):
            left = (end if self.connected else gone_end) - loop.time()
            if left <= 0:
                break
            waiter = _Waiter(wanted, loop.create_future())
            self._waiters.append(waiter)
            try:
                await asyncio.wait_for(waiter.done, left)
            except TimeoutError:
                continue
            finally:
                self._waiters.remove(waiter)
        return {key: reason for key in wanted if (reason := self.reason(key)) is not None}

    def reason(self, key: Key) -> str | None:
        """Why ``key`` is not in effect, None if it is."""
        refusal = self.tracker.refused.get(key)
        if refusal is not None:
            return refusal.reason
        if not self.tracker.is_open(key):
            return None
        return "not confirmed yet" if self.connected else f"the dataplane cannot be programmed: {self.why}"

    # ------------------------------------------------------------------ what the driver tells

    def _heard(self, event: DriverEvent) -> None:
        match event:
            case Ready():
                if self._adopted_once or self._generation:
                    self._forget()
                self._set_state(True, "")
                self._adopt = True
                self._not_before = 0.0
            case Gone(why):
                self._forget()
                self._set_state(False, why)
            case Again(keys, why):
                LOG.debug("%d records are programmed again: %s", len(keys), why)
                self.tracker.again(keys)
        self._woken.set()

    def _set_state(self, connected: bool, why: str) -> None:
        if (connected, why) == (self.connected, self.why):
            return
        if connected:
            LOG.info("dataplane %s: ready", self.driver.capabilities.name)
        elif why != self.why:
            LOG.warning("dataplane %s: cannot be programmed: %s", self.driver.capabilities.name, why)
        self.connected, self.why = connected, why
        self.state_changed()
        self._tell_waiters(every=True)

    def _forget(self) -> None:
        """What the dataplane holds is not known any more."""
        self._generation += 1
        self._due.clear()
        self.tracker.lost()
        self.lost()

    # ------------------------------------------------------------------ the task

    async def _run(self) -> None:
        while True:
            await self._woken.wait()
            await asyncio.sleep(0)
            self._woken.clear()
            try:
                await self._work()
            except DataplaneError as error:
                self._failed(error)
            except Exception:
                LOG.exception("the dataplane driver failed")
                self._failed(None)

    async def _work(self) -> None:
        while self.connected and asyncio.get_running_loop().time() >= self._not_before:
            if self._adopt or self._sweep != self.swept:
                await self._adopt_all()
            elif self.tracker.has_changes:
                await self._apply()
            else:
                return

    async def _adopt_all(self) -> None:
        self._adopt = False
        sweep = self._sweep
        generation = self._generation
        taken = dict(self.tracker.desired)
        refused = await self.driver.adopt(taken, sweep=sweep)
        if generation != self._generation:
            return
        self.swept = sweep
        self._adopted_once = True
        self._adoptions_failed = 0
        confirmed = self.tracker.adopted(refused, taken, swept=sweep)
        LOG.info(
            "dataplane %s: %d records adopted, %d refused%s",
            self.driver.capabilities.name,
            len(confirmed),
            len(refused),
            ", leftovers removed" if sweep else "",
        )
        self._answered(confirmed, refused)

    async def _apply(self) -> None:
        generation = self._generation
        loop = asyncio.get_running_loop()
        begin = loop.time()
        refused = await self.driver.apply(self.tracker.take(BATCH))
        if generation != self._generation:
            return
        self.latency.note(loop.time() - begin)
        self._answered(self.tracker.settle(refused), refused)

    def _answered(self, confirmed: Sequence[Key], refused: Mapping[Key, str]) -> None:
        if self._due:
            for key in confirmed:
                self._due.pop(key, None)
        if refused:
            self._plan(refused)
        self.settled(confirmed, refused)
        self._tell_waiters(every=False)

    def _tell_waiters(self, *, every: bool) -> None:
        for waiter in self._waiters:
            if not waiter.done.done() and (every or not any(self.tracker.is_open(key) for key in waiter.keys)):
                waiter.done.set_result(None)

    def _failed(self, error: DataplaneError | None) -> None:
        """The connection failed, or the driver did; it is tried again from the start, after a pause."""
        why = str(error) if error is not None else "the driver failed, see the log"
        self._forget()
        if not self.connected:
            return
        self._adopt = True
        self._adoptions_failed += 1
        LOG.warning("dataplane %s: %s", self.driver.capabilities.name, why)
        loop = asyncio.get_running_loop()
        self._not_before = loop.time() + pause(self._adoptions_failed)
        loop.call_at(self._not_before, self._woken.set)

    # ------------------------------------------------------------------ trying again

    def _plan(self, refused: Mapping[Key, str]) -> None:
        now = asyncio.get_running_loop().time()
        new: list[str] = []
        for key, reason in refused.items():
            refusal = self.tracker.refused.get(key)
            if refusal is None:
                continue
            if refusal.tries == 1:
                new.append(f"{key} refused: {reason}")
            self._due[key] = now + pause(refusal.tries)
        for text in new[:LOGGED]:
            LOG.warning("%s", text)
        if len(new) > LOGGED:
            LOG.warning("%d more records refused", len(new) - LOGGED)
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._due:
            self._timer = asyncio.get_running_loop().call_at(min(self._due.values()), self._retry_due)

    def _retry_due(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time() + 0.05
        self.retry([key for key, moment in self._due.items() if moment <= now])
        for key in [key for key in self._due if key not in self.tracker.refused]:
            del self._due[key]
        self._arm()
