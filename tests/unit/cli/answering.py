"""A tiny HTTP server on loopback that gives prepared answers and keeps what it was asked."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answering:
    """``answers`` by method and path (``GET /v2/audit``): the JSON value, or a status and a value."""

    answers: dict[str, Any]
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def _handler(world: Answering) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            world.asked.append((self.command, self.path, body))
            missing = (404, {"code": 404, "description": "there is no such thing"})
            found = world.answers.get(f"{self.command} {self.path.partition('?')[0]}", missing)
            status, value = found if isinstance(found, tuple) else (200, found)
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_DELETE = answer

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    return Handler


@contextlib.contextmanager
def answering(answers: dict[str, Any]) -> Iterator[Answering]:
    """Serve until the block ends; ``answers`` may be filled in meanwhile."""
    world = Answering(answers)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(world))
    world.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield world
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
