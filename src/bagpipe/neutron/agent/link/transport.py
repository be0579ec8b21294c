"""HTTP requests to a daemon over TCP or a unix socket, with the standard library: whole answers, or a stream of events.

Works with native threads and under eventlet's monkey patching: nothing here but blocking sockets with a timeout.
:meth:`Transport.interrupt` ends whatever another thread waits for.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bagpipe.neutron.agent.link.settings import LinkSettings

CONNECT_TIMEOUT = 2.0
EVENTS_TIMEOUT = 40.0
"""Seconds without an event or a sign of life (the daemon gives one each 15 s) after which a stream is given up."""
LONGEST_REASON = 500


class Unreachable(Exception):
    """The daemon does not answer, or not in HTTP. The text is one line."""


class Unusable(Unreachable):
    """There is an answer, and it is none that can be used."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; ``value`` is the JSON of its body, None if it has none."""

    status: int
    reason: str
    value: Any

    @property
    def fault(self) -> str:
        """What the daemon says is wrong, one line."""
        if isinstance(self.value, dict) and isinstance(self.value.get("description"), str):
            return str(self.value["description"]).removeprefix("API error: ")[:LONGEST_REASON]
        return f"{self.status} {self.reason}"

    @property
    def field(self) -> str:
        """The field that is wrong, empty if the daemon names none."""
        told = self.value.get("field") if isinstance(self.value, dict) else None
        return told if isinstance(told, str) else ""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Transport:
    """Requests of one thread, one after the other, each over a connection of its own."""

    def __init__(self, settings: LinkSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._open: socket.socket | None = None
        self._is_closed = False

    def ask(self, method: str, path: str, body: object = None, *, timeout: float) -> Answer:
        """One request and its answer, whatever its status; ``body`` is sent as JSON. Raises Unreachable."""
        with self._exchange(method, path, body, timeout) as response:
            text = response.read()
            try:
                value = json.loads(text) if text.strip() else None
            except ValueError:
                value = None
            return Answer(response.status, response.reason, value)

    def events(self, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Server-sent events, kind and value, until the daemon ends. Raises Unreachable; Unusable if there are none."""
        with self._exchange("GET", path, None, EVENTS_TIMEOUT) as response:
            if response.status != http.client.OK:
                raise Unusable(f"{path}: {response.status} {response.reason}")
            kind = ""
            for line in response:
                text = line.decode(errors="replace").rstrip("\r\n")
                if text.startswith("event: "):
                    kind = text.removeprefix("event: ")
                elif text.startswith("data: "):
                    value = json.loads(text.removeprefix("data: "))
                    if isinstance(value, dict):
                        yield kind, value

    @contextlib.contextmanager
    def _exchange(self, method: str, path: str, body: object, timeout: float) -> Iterator[http.client.HTTPResponse]:
        connection = self._connection(timeout)
        headers = {"Accept": "application/json", "Connection": "close", "User-Agent": self._settings.user_agent}
        data = None
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        try:
            connection.connect()
            connection.sock.settimeout(timeout)
            self._opened(connection.sock)
            connection.request(method, path, data, headers)
            with connection.getresponse() as response:
                yield response
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unreachable(self._told(error)) from error
        finally:
            with self._lock:
                self._open = None
            connection.close()

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        connecting = min(timeout, CONNECT_TIMEOUT)
        connection = (
            _UnixConnection(self._settings.socket_path, connecting)
            if self._settings.socket_path
            else http.client.HTTPConnection(self._settings.address, self._settings.port, timeout=connecting)
        )
        if self._is_closed:
            raise Unreachable("the link is stopped")
        return connection

    def _opened(self, sock: socket.socket) -> None:
        # The connection itself lets go of its socket as soon as an answer begins.
        with self._lock:
            if self._is_closed:
                raise Unreachable("the link is stopped")
            self._open = sock

    def _told(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return "no answer in time"
        return getattr(error, "strerror", None) or str(error) or type(error).__name__

    def interrupt(self) -> None:
        """Let the request that is waited for end with Unreachable."""
        with self._lock:
            if self._open is not None:
                with contextlib.suppress(OSError):
                    self._open.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Interrupt, and make no request any more."""
        with self._lock:
            self._is_closed = True
        self.interrupt()
