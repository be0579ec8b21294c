"""A driver on a bridge, with a tracker in front of it, as the daemon runs it: changes in, answers settled."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from ipaddress import ip_network

from bagpipe.dataplane.delta import Tracker
from bagpipe.dataplane.driver import Again, DriverEvent, Gone, Ready
from bagpipe.dataplane.errors import Unreachable
from bagpipe.dataplane.model import Key, Prefix, Value
from bagpipe.dataplane.openflow import Timing
from bagpipe.dataplane.ovs.driver import OvsDataplane
from bagpipe.dataplane.ovs.settings import OvsSettings
from bagpipe.dataplane.ovs_evpn.driver import OvsEvpnDataplane

QUICK = Timing(retry=0.02, retry_limit=0.2)


def prefix(text: str) -> Prefix:
    """``10.0.0.2/32`` as a prefix."""
    return Prefix.of(ip_network(text))


class Driven:
    """A driver with its tracker; what the driver says is in ``said`` and obeyed by :meth:`settle`."""

    def __init__(self, driver: OvsDataplane | OvsEvpnDataplane) -> None:
        self.driver = driver
        self.tracker = Tracker()
        self.said: list[DriverEvent] = []
        self._news = asyncio.Event()
        self._must_adopt = False
        self._lives = 0
        self.sweeps = False

    def hear(self, event: DriverEvent) -> None:
        self.said.append(event)
        if isinstance(event, Ready):
            self._must_adopt = True
        elif isinstance(event, Gone):
            self._lives += 1
            self.tracker.lost()
            self._must_adopt = False
        else:
            self.tracker.again(event.keys)
        self._news.set()

    @property
    def is_ready(self) -> bool:
        last = next((event for event in reversed(self.said) if not isinstance(event, Again)), None)
        return isinstance(last, Ready)

    async def until(self, is_met: Callable[[], bool], what: str = "", seconds: float = 8) -> None:
        """Settle until the condition is met."""
        end = time.monotonic() + seconds
        while True:
            await self.settle()
            if is_met():
                return
            assert time.monotonic() < end, f"{what or is_met}: not within {seconds} s; {self.said[-3:]} {self.refused}"
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await self._news.wait()

    async def settle(self) -> None:
        """Adopt if the driver is new, then send what is to be sent."""
        while self.is_ready and (self._must_adopt or self.tracker.has_changes):
            lives, adopts, self._must_adopt = self._lives, self._must_adopt, False
            taken = dict(self.tracker.desired)
            try:
                if adopts:
                    refused = await self.driver.adopt(taken, sweep=self.sweeps)
                else:
                    refused = await self.driver.apply(self.tracker.take())
            except Unreachable:
                self.tracker.lost()
                self._must_adopt = True
                return
            if lives != self._lives:
                continue
            if adopts:
                self.tracker.adopted(refused, taken, swept=self.sweeps)
            else:
                self.tracker.settle(refused)

    async def want(self, records: Mapping[Key, Value | None]) -> None:
        """Have records (None: not any more) and send the changes."""
        for key, value in records.items():
            if value is None:
                self.tracker.remove(key)
            else:
                self.tracker.set(key, value)
        await self.settle()

    @property
    def refused(self) -> dict[str, str]:
        """The refused records as text, with the reasons."""
        return {str(key): refusal.reason for key, refusal in self.tracker.refused.items()}


def driving(settings: OvsSettings, *, ready: bool = True, sweeps: bool = False) -> AbstractAsyncContextManager[Driven]:
    """A driver that is started and, unless told otherwise, ready."""
    return started(OvsDataplane(settings, timing=QUICK), ready=ready, sweeps=sweeps)


@contextlib.asynccontextmanager
async def started(
    driver: OvsDataplane | OvsEvpnDataplane, *, ready: bool = True, sweeps: bool = False
) -> AsyncIterator[Driven]:
    """The same with a driver that is made."""
    driven = Driven(driver)
    driven.sweeps = sweeps
    await driver.start(driven.hear)
    try:
        if ready:
            await driven.until(lambda: driven.is_ready, "the driver is ready")
        yield driven
    finally:
        await driver.close()
