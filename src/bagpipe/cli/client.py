"""A client of the HTTP interface with the standard library: over TCP or a unix socket, whole answers or events."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

DEFAULT_SERVER = "http://127.0.0.1:8082"
TIMEOUT = 30.0


class ClientError(Exception):
    """The server cannot be reached or refuses. The text is one line."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, whatever its status."""

    status: int
    reason: str
    text: str

    @property
    def json(self) -> Any:
        """The value of the body; None for an empty one. Raises ValueError."""
        return json.loads(self.text) if self.text.strip() else None

    @property
    def fault(self) -> str:
        """What the server says is wrong, one line."""
        try:
            return str(self.json["description"]).removeprefix("API error: ")
        except (ValueError, KeyError, TypeError):
            return self.reason


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Client:
    """``server`` is ``http://host:port``, ``host:port`` or ``unix:/path``. Raises ClientError for another form."""

    def __init__(self, server: str = DEFAULT_SERVER) -> None:
        self.server = server
        self._unix = server.removeprefix("unix:") if server.startswith("unix:") else ""
        if self._unix:
            return
        text = server if "://" in server else f"http://{server}"
        try:
            parts = urlsplit(text)
            self._host, self._port = parts.hostname or "", parts.port or 8082
        except ValueError as error:
            raise ClientError(f"{server}: {error}") from error
        if parts.scheme != "http" or not self._host:
            raise ClientError(f"{server}: expected http://HOST:PORT or unix:PATH")

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        if self._unix:
            return _UnixConnection(self._unix, timeout)
        return http.client.HTTPConnection(self._host, self._port, timeout=timeout)

    def _send(
        self, method: str, path: str, query: dict[str, str], timeout: float, body: object = None
    ) -> http.client.HTTPResponse:
        connection = self._connection(timeout)
        headers = {"Accept": "application/json", "Connection": "close"}
        data = None
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        try:
            connection.request(method, f"{path}?{urlencode(query)}" if query else path, data, headers)
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise ClientError(f"{self.server}: {reason}") from error

    def _open(self, path: str, query: dict[str, str], timeout: float = TIMEOUT) -> http.client.HTTPResponse:
        response = self._send("GET", path, query, timeout)
        if response.status != http.client.OK:
            with response:
                answer = _whole(response)
            raise ClientError(f"{self.server}: {answer.status}: {answer.fault}")
        return response

    def exchange(
        self,
        method: str,
        path: str,
        body: object = None,
        query: dict[str, str] | None = None,
        timeout: float = TIMEOUT,
    ) -> Answer:
        """One request and its answer, whatever its status. ``body`` is sent as JSON. Raises ClientError."""
        try:
            with self._send(method, path, query or {}, timeout, body) as response:
                return _whole(response)
        except (OSError, http.client.HTTPException) as error:
            raise ClientError(f"{self.server}: the answer is not whole: {error}") from error

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        query: dict[str, str] | None = None,
        timeout: float = TIMEOUT,
    ) -> Any:
        """One request and the JSON of its answer. Raises ClientError, for a status other than 200 and 202 too."""
        answer = self.exchange(method, path, body, query, timeout)
        if answer.status not in (http.client.OK, http.client.ACCEPTED):
            raise ClientError(f"{self.server}: {answer.status}: {answer.fault}")
        try:
            return answer.json
        except ValueError as error:
            raise ClientError(f"{self.server}: the answer is not whole: {error}") from error

    def get(self, path: str, query: dict[str, str] | None = None) -> Any:
        """A JSON answer. Raises ClientError."""
        return self.ask("GET", path, query=query)

    def copy(self, path: str, query: dict[str, str]) -> Iterator[bytes]:
        """An answer as it comes, in pieces. Raises ClientError."""
        try:
            with self._open(path, query) as response:
                while piece := response.read(65536):
                    yield piece
        except (OSError, http.client.HTTPException) as error:
            raise ClientError(f"{self.server}: the answer is not whole: {error}") from error

    def events(self, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Server-sent events, their kind and value, until the server ends. Raises ClientError."""
        with self._open(path, {}, 60.0) as response:
            kind = ""
            try:
                for line in response:
                    text = line.decode().rstrip("\n")
                    if text.startswith("event: "):
                        kind = text.removeprefix("event: ")
                    elif text.startswith("data: "):
                        yield kind, json.loads(text.removeprefix("data: "))
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise ClientError(f"{self.server}: {error}") from error


def _whole(response: http.client.HTTPResponse) -> Answer:
    return Answer(response.status, response.reason, response.read().decode(errors="replace"))
