"""A client of the HTTP interface with the standard library: over TCP or a unix socket, whole answers or events."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode, urlsplit

DEFAULT_SERVER = "http://127.0.0.1:8082"
TIMEOUT = 30.0


class ClientError(Exception):
    """The server cannot be reached or refuses. The text is one line."""


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

    def _request(self, path: str, query: dict[str, str], timeout: float | None) -> http.client.HTTPResponse:
        seconds = TIMEOUT if timeout is None else timeout
        connection = (
            _UnixConnection(self._unix, seconds)
            if self._unix
            else http.client.HTTPConnection(self._host, self._port, timeout=seconds)
        )
        target = f"{path}?{urlencode(query)}" if query else path
        try:
            connection.request("GET", target, headers={"Accept": "application/json", "Connection": "close"})
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise ClientError(f"{self.server}: {reason}") from error
        if response.status != http.client.OK:
            raise ClientError(f"{self.server}: {response.status}: {_description(response)}")
        return response

    def get(self, path: str, query: dict[str, str] | None = None) -> Any:
        """A JSON answer. Raises ClientError."""
        try:
            with self._request(path, query or {}, None) as response:
                return json.load(response)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ClientError(f"{self.server}: the answer is not whole: {error}") from error

    def copy(self, path: str, query: dict[str, str]) -> Iterator[bytes]:
        """An answer as it comes, in pieces. Raises ClientError."""
        try:
            with self._request(path, query, None) as response:
                while piece := response.read(65536):
                    yield piece
        except (OSError, http.client.HTTPException) as error:
            raise ClientError(f"{self.server}: the answer is not whole: {error}") from error

    def events(self, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Server-sent events, their kind and value, until the server ends. Raises ClientError."""
        with self._request(path, {}, 60.0) as response:
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


def _description(response: http.client.HTTPResponse) -> str:
    body = response.read()
    try:
        return str(json.loads(body)["description"]).removeprefix("API error: ")
    except (ValueError, KeyError, TypeError):
        return response.reason
