"""Server-sent events do not make memory grow, and say what was lost."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from bagpipe.daemon.event_stream import KEPT_EVENTS, MOST_WATCHERS, EventStreams
from bagpipe.daemon.happenings import Happenings
from bagpipe.daemon.service import NoticeBoard
from bagpipe.speaker import Counts, Notice, NoticeKind

NOTICE = Notice("192.0.2.1", NoticeKind.SESSION_UP, "AS 64512")


def seen() -> Any:
    speaker = SimpleNamespace(counts=lambda: Counts({}, {}, 0, 0, 1, 0))
    forwarding = SimpleNamespace(happenings=Happenings())
    return cast(Any, SimpleNamespace(notices=NoticeBoard(), speaker=speaker, forwarding=forwarding, process=77))


def test_a_watcher_hears_which_process_it_is_then_counts_and_then_what_happens() -> None:
    async def story() -> list[str]:
        view = seen()
        stream = EventStreams(view).open()
        assert stream is not None
        told = [await anext(stream), await anext(stream)]
        view.notices(NOTICE)
        view.forwarding.happenings.tell("attachment", {"id": "a", "state": "in-effect"})
        return [*told, await anext(stream), await anext(stream)]

    hello, counts, notice, attachment = asyncio.run(story())
    assert hello.startswith('event: hello\ndata: {"process": 77, "version": "')
    assert counts.startswith("event: counts\ndata: {")
    assert counts.endswith("}\n\n")
    assert notice.startswith("event: notice\n")
    assert '"peer": "192.0.2.1", "kind": "session up", "text": "AS 64512"' in notice
    assert attachment == 'event: attachment\ndata: {"id": "a", "state": "in-effect"}\n\n'


def test_a_watcher_that_does_not_read_loses_the_oldest_and_is_told_how_many() -> None:
    async def story() -> tuple[int, str]:
        view = seen()
        stream = EventStreams(view).open()
        assert stream is not None
        await anext(stream)
        await anext(stream)
        for _ in range(KEPT_EVENTS + 5):
            view.notices(NOTICE)
        lost = await anext(stream)
        told = 0
        for _ in range(KEPT_EVENTS):
            told += (await anext(stream)).startswith("event: notice")
        return told, lost

    told, lost = asyncio.run(story())
    assert told == KEPT_EVENTS
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
        assert view.notices.watchers == view.forwarding.happenings.watchers == set()
        assert streams.open() is not None

    asyncio.run(story())
