"""What the daemon and the reflector do alike once they are configured: run until a signal says to end.

Signals, the watchdog, the log of notices and the state of the collector. SIGTERM and SIGINT end within two seconds;
every neighbour hears CEASE (RFC 4486 subcode 2) first. SIGHUP calls ``reload``.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import random
import resource
import signal
from collections.abc import Awaitable, Callable
from typing import Protocol

from bagpipe.daemon.notify import Notifier
from bagpipe.daemon.tcp import Edge
from bagpipe.speaker import Notice

LOG = logging.getLogger("bagpipe")

GC_THRESHOLDS = (100_000, 50, 1000)
"""Routes are long-lived and in no cycles: a collection that walks them all is time lost."""


class Stoppable(Protocol):
    """Something served beside BGP, the HTTP interface."""

    async def close(self) -> None:
        """Stop serving, within a second."""


def jitter() -> float:
    """The factor for timers: 0.75 to 1.0, uniform (RFC 4271 section 10)."""
    return random.uniform(0.75, 1.0)


class NoticeBoard:
    """Passes each notice of the speaker to the log and to whoever watches."""

    def __init__(self) -> None:
        self.watchers: set[Callable[[Notice], None]] = set()

    def __call__(self, notice: Notice) -> None:
        """Log a notice and hand it on."""
        level = logging.WARNING if notice.kind.is_warning else logging.INFO
        LOG.log(level, "%s: %s: %s", notice.peer, notice.kind.value, notice.text)
        for watcher in list(self.watchers):
            watcher(notice)


def prepare_process() -> None:
    """Allow as many open files as the system lets us have: one for each neighbour."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def run(
    edge: Edge,
    beside: Stoppable | None,
    status: str,
    reload: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Run until SIGTERM or SIGINT, then stop everything. ``status`` is shown by systemctl."""
    loop = asyncio.get_running_loop()
    notifier = Notifier()
    ended = asyncio.Event()
    reloads: asyncio.Queue[None] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    loop.add_signal_handler(signal.SIGHUP, reloads.put_nowait, None)
    tasks = [loop.create_task(_reload_again(reloads, reload, notifier, status))]
    if notifier.watchdog:
        tasks.append(loop.create_task(_watch(notifier, notifier.watchdog)))
    gc.collect()
    _give_back()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    notifier.ready(status)
    LOG.info("started: %s", status)
    await ended.wait()
    LOG.info("stopping")
    notifier.stopping()
    for task in tasks:
        task.cancel()
    await asyncio.gather(edge.close(), *([beside.close()] if beside is not None else []))
    LOG.info("stopped")


def _give_back() -> None:
    """Give the memory that the start used and freed back to the system, which glibc does not do by itself."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


async def _watch(notifier: Notifier, pause: float) -> None:
    while True:
        notifier.alive()
        await asyncio.sleep(pause)


async def _reload_again(
    reloads: asyncio.Queue[None], reload: Callable[[], Awaitable[None]] | None, notifier: Notifier, status: str
) -> None:
    while True:
        await reloads.get()
        if reload is None:
            LOG.info("nothing to reload")
            continue
        notifier.reloading()
        try:
            await reload()
        except Exception:
            LOG.exception("the reload failed; what was not changed yet stays")
        notifier.ready(status)
