"""Server-sent events do not make memory grow, and say what was lost."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from bagpipe.daemon.event_stream import KEPT_NOTICES, MOST_WATCHERS, EventStreams
from bagpipe.daemon.service import NoticeBoard
from bagpipe.speaker import Counts, Notice, NoticeKind

NOTICE = Notice("192.0.2.1", NoticeKind.SESSION_UP, "AS 64512")


def seen() -> Any:
    speaker = SimpleNamespace(counts=lambda: Counts({}, {}, 0, 0, 1, 0))
    return cast(Any, SimpleNamespace(notices=NoticeBoard(), speaker=speaker))


def test_a_watcher_hears_counts_first_and_then_notices() -> None:
    async def story() -> list[str]:
        view = seen()
        stream = EventStreams(view).open()
        assert stream is not None
        first = await anext(stream)
        view.notices(NOTICE)
        return [first, await anext(stream)]

    first, second = asyncio.run(story())
    assert first.startswith("event: counts\ndata: {")
    assert first.endswith("}\n\n")
    assert second.startswith("event: notice\n")
    assert '"peer": "192.0.2.1", "kind": "session up", "text": "AS 64512"' in second


def test_a_watcher_that_does_not_read_loses_the_oldest_and_is_told_how_many() -> None:
    async def story() -> tuple[int, str]:
        view = seen()
        stream = EventStreams(view).open()
        assert stream is not None
        await anext(stream)
        for _ in range(KEPT_NOTICES + 5):
            view.notices(NOTICE)
        lost = await anext(stream)
        told = 0
        for _ in range(KEPT_NOTICES):
            told += (await anext(stream)).startswith("event: notice")
        return told, lost

    told, lost = asyncio.run(story())
    assert told == KEPT_NOTICES
    assert lost == 'event: lost\ndata: {"notices": 5}\n\n'


def test_who_leaves_is_forgotten_and_there_are_not_too_many() -> None:
    async def story() -> None:
        view = seen()
        streams = EventStreams(view)
        opened = []
        for _ in range(MOST_WATCHERS):
            stream = streams.open()
            assert stream is not None
            await anext(stream)
            opened.append(cast(Any, stream))
        assert streams.open() is None
        for stream in opened:
            await stream.aclose()
        assert view.notices.watchers == set()
        assert streams.open() is not None

    asyncio.run(story())
