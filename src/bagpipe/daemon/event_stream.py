"""Server-sent events: what happens to sessions and attachments, and how much is held, told to those who watch.

The first event is ``hello`` with the number of the process: who hears another number knows that the daemon restarted.
Then come ``notice`` (:class:`bagpipe.speaker.Notice`), ``attachment`` and ``dataplane`` (what happens to them), and
``counts`` (at the start, then at most once a second when they have changed). A watcher that does not read loses events
and is told how many; it makes no queue grow.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator

from bagpipe import __version__
from bagpipe.daemon.views import Seen, counts_view, notice_view
from bagpipe.speaker import Notice

MOST_WATCHERS = 32
KEPT_EVENTS = 1000
COUNTS_PAUSE = 1.0
KEEPALIVE = 15.0


class EventStreams:
    """All streams that are open."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._open: set[_Stream] = set()

    def open(self) -> AsyncIterator[str] | None:
        """A new stream, None when there are too many."""
        if len(self._open) >= MOST_WATCHERS:
            return None
        return self._follow(_Stream())

    async def _follow(self, stream: _Stream) -> AsyncIterator[str]:
        self._open.add(stream)
        self._seen.notices.watchers.add(stream.put)
        happenings = None if self._seen.forwarding is None else self._seen.forwarding.happenings
        if happenings is not None:
            happenings.watchers.add(stream.add)
        loop = asyncio.get_running_loop()
        told: dict[str, object] | None = None
        last = loop.time()
        try:
            yield _event("hello", {"process": self._seen.process, "version": __version__})
            while not stream.closed:
                counts = counts_view(self._seen)
                if counts != told:
                    told = counts
                    yield _event("counts", counts)
                for text in stream.take():
                    yield text
                    last = loop.time()
                if loop.time() - last > KEEPALIVE:
                    yield ": still here\n\n"
                    last = loop.time()
                await stream.wait(COUNTS_PAUSE)
        finally:
            self._open.discard(stream)
            self._seen.notices.watchers.discard(stream.put)
            if happenings is not None:
                happenings.watchers.discard(stream.add)

    def close(self) -> None:
        """End all streams."""
        for stream in self._open:
            stream.end()


class _Stream:
    def __init__(self) -> None:
        self.closed = False
        self._lost = 0
        self._events: deque[str] = deque()
        self._news = asyncio.Event()
        self.put = self._put
        self.add = self._add

    def _put(self, notice: Notice) -> None:
        self._add("notice", notice_view(notice))

    def _add(self, kind: str, value: dict[str, object]) -> None:
        if len(self._events) >= KEPT_EVENTS:
            self._events.popleft()
            self._lost += 1
        self._events.append(_event(kind, value))
        self._news.set()

    def take(self) -> list[str]:
        """What is to be told now."""
        texts = list(self._events)
        if self._lost:
            texts.insert(0, _event("lost", {"notices": self._lost}))
        self._events.clear()
        self._lost = 0
        self._news.clear()
        return texts

    def end(self) -> None:
        """Tell no more."""
        self.closed = True
        self._news.set()

    async def wait(self, seconds: float) -> None:
        """Wait for an event, and no longer than this."""
        try:
            await asyncio.wait_for(self._news.wait(), seconds)
        except TimeoutError:
            return


def _event(kind: str, value: dict[str, object]) -> str:
    return f"event: {kind}\ndata: {json.dumps(value)}\n\n"
