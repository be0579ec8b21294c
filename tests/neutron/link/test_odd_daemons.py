"""Whoever else answers at the daemon's place: the link waits, says why, and falls over nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from bagpipe.neutron.agent.link.daemon_link import DaemonLink
from bagpipe.neutron.agent.link.ledger import Standing
from tests.neutron.link.daemons import attachment, linked, port_id
from tests.system.running import wait_for

Reply = Callable[[str, str, Any], tuple[int, bytes]]


@contextmanager
def answering(reply: Reply) -> Iterator[int]:
    """An HTTP server on a port; ``reply`` gives status and body for method, path and body."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body = reply(self.command, self.path.partition("?")[0], json.loads(text) if text else None)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = answer

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def reason(link: DaemonLink, text: str) -> None:
    wait_for(lambda: text in link.state.why, f"{text}, not {link.state.why}", 5)


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (200, b"hello", "no bagpipe-bgp"),
        (200, b"[1]", "no bagpipe-bgp"),
        (500, b"", "no bagpipe-bgp (/v2/health: 500"),
        (404, b"", "/ping: 404"),
    ],
)
def test_what_is_no_daemon_is_not_told(status: int, body: bytes, why: str) -> None:
    methods = set()

    def reply(method: str, path: str, _: Any) -> tuple[int, bytes]:
        methods.add(method)
        return status, body

    with answering(reply) as port, linked(port, ping_interval=0.2) as link:
        link.set_port(port_id(1), [attachment(1)])
        reason(link, why)
        assert (link.state.is_up, link.state.kind) == (False, "")
    assert methods == {"GET"}


class Odd:
    """Speaks v2 but for what ``replies`` says of a path; no stream of events unless ``stream`` has one."""

    def __init__(self) -> None:
        self.held: dict[str, Any] = {}
        self.replies: dict[tuple[str, str], tuple[int, bytes]] = {}
        self.asked: list[str] = []
        self.most = 1000
        self.poisoned = ""

    def __call__(self, method: str, path: str, body: Any) -> tuple[int, bytes]:
        self.asked.append(f"{method} {path}")
        if (method, path) in self.replies:
            return self.replies[method, path]
        if method == "PATCH":
            if len(body["attachments"]) > self.most:
                return 413, b"{}"
            if any(self.poisoned and self.poisoned in name for name in body["attachments"]):
                return 500, b'{"description": "internal error, see the log"}'
            for name, one in body["attachments"].items():
                self.held.pop(name, None) if one is None else self.held.update({name: one})
            return 200, self.views
        known = {
            "/v2/health": (200, b'{"status": "ok"}'),
            "/ping": (200, b"7"),
            "/v2/owners/neutron/attachments": (200, self.views),
        }
        return known.get(path, (503, b'{"description": "too many watchers"}'))

    @property
    def views(self) -> bytes:
        views = {name: {"state": "in-effect", "reason": None, "stated": one} for name, one in self.held.items()}
        return json.dumps({"attachments": views}).encode()


def test_without_a_stream_of_events_ping_has_to_do() -> None:
    odd = Odd()
    with answering(odd) as port, linked(port, ping_interval=0.1) as link:
        link.set_port(port_id(1), [attachment(1)])
        assert link.settled(port_id(1), 5)
        odd.held.clear()
        odd.replies["GET", "/ping"] = (200, b"8")
        wait_for(lambda: odd.held, "another number is another process, which is told again", 5)


def test_one_that_makes_the_daemon_fail_is_found_by_halves_and_keeps_nobody_out() -> None:
    odd = Odd()
    odd.poisoned = port_id(13)
    odd.most = 8
    odd.replies["GET", "/v2/health"] = (503, b"")
    with answering(odd) as port, linked(port) as link:
        for number in range(1, 51):
            link.set_port(port_id(number), [attachment(number)])
        del odd.replies["GET", "/v2/health"]
        wait_for(lambda: len(odd.held) == 49, "all others are there", 5)
        wait_for(lambda: link.state.refused, "the one is refused")
        assert link.state.refused == {attachment(13).name: "internal error, see the log"}
        assert len([one for one in odd.asked if one.startswith("PATCH")]) < 40


@pytest.mark.parametrize("method", ["GET", "PATCH"])
@pytest.mark.parametrize("answer", [(200, b"nonsense"), (200, b'{"attachments": [1]}'), (404, b""), (200, b"")])
def test_an_answer_that_cannot_be_used_is_asked_for_again(method: str, answer: tuple[int, bytes]) -> None:
    odd = Odd()
    odd.replies[method, "/v2/owners/neutron/attachments"] = answer
    with answering(odd) as port, linked(port) as link:
        link.set_port(port_id(1), [attachment(1)])
        wait_for(lambda: link.state.is_up and link.state.why, "it says why", 5)
        assert not link.settled(port_id(1), 0)
        odd.replies.clear()
        assert link.settled(port_id(1), 5)
        assert link.state.why == ""


def test_what_a_view_leaves_out_is_pending_and_not_a_fault() -> None:
    odd = Odd()
    views = json.dumps({"attachments": {attachment(1).name: {"state": "marvellous"}, "odd": 3}}).encode()
    odd.replies["PATCH", "/v2/owners/neutron/attachments"] = (200, views)
    with answering(odd) as port, linked(port) as link:
        link.set_port(port_id(1), [attachment(1)])
        wait_for(lambda: any(one.startswith("PATCH") for one in odd.asked), "it was sent")
        assert attachment(1).name in wait_for(lambda: link.state.pending, "it is pending")
        assert Standing.PENDING.value == "pending"
