"""The HTTP interface's socket, taken at the start; the interface itself is loaded with the first connection.

FastAPI and what it needs are 20 MB in memory. A node where nobody asks does not pay for them, and a port that is in use
still ends the start at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import logging
import socket
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from bagpipe.daemon.start_error import StartError
from bagpipe.daemon.views import Seen

if TYPE_CHECKING:
    from bagpipe.daemon.api import ApiServer

LOG = logging.getLogger(__name__)
BACKLOG = 128
NEEDED = ("fastapi", "uvicorn")


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """Where the HTTP interface is served: on a unix socket if ``socket_path`` is set, else on ``host`` and ``port``.

    ``attach_timeout``: seconds that a v1 call waits for the dataplane. ``reattach_timeout``: seconds in which v1 agents
    attach again after a restart, 0 for ever.
    """

    host: str
    port: int
    socket_path: Path | None = None
    attach_timeout: float = 20.0
    reattach_timeout: float = 120.0


def bind_api(settings: ApiSettings) -> socket.socket:
    """A socket that listens where the settings say. Raises StartError with one line."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise StartError(f"[API] needs {' and '.join(missing)}, which is not installed; or set enabled = false")
    try:
        if settings.socket_path is not None:
            return _unix_socket(settings.socket_path)
        family = socket.AF_INET6 if ip_address(settings.host.partition("%")[0]).version == 6 else socket.AF_INET
        # With the protocol named asyncio switches Nagle's algorithm off, which costs 40 ms for each answer.
        sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((settings.host, settings.port))
            sock.listen(BACKLOG)
        except BaseException:
            sock.close()
            raise
        return sock
    except OSError as error:
        where = settings.socket_path or f"{settings.host} port {settings.port}"
        raise StartError(f"[API] {where}: {error.strerror or error}") from error


def _unix_socket(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            sock.connect(str(path))
        except FileNotFoundError:
            pass
        except ConnectionRefusedError:
            path.unlink()
        else:
            raise OSError(0, "another program serves this socket")
        sock.close()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind(str(path))
        path.chmod(0o660)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


class ApiListener:
    """Waits for the first connection, then loads the interface and gives it the socket."""

    def __init__(self, sock: socket.socket, seen: Seen) -> None:
        self.seen = seen
        self._socket = sock
        self._path = str(sock.getsockname()) if sock.family == socket.AF_UNIX else ""
        self._loading: asyncio.Task[None] | None = None
        self._server: ApiServer | None = None

    def start(self) -> None:
        """Begin to wait."""
        self._socket.setblocking(False)
        asyncio.get_running_loop().add_reader(self._socket, self._first)

    def _first(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket)
        self._loading = loop.create_task(self._load())

    async def _load(self) -> None:
        # In a thread, because it takes half a second in which neighbours are to be heard.
        await asyncio.to_thread(importlib.import_module, "bagpipe.daemon.api")
        from bagpipe.daemon.api import ApiServer  # noqa: PLC0415 - see the head of this file

        self._server = ApiServer(self.seen, self._socket)
        await self._server.start()
        LOG.debug("HTTP interface loaded")

    async def close(self) -> None:
        """Stop serving."""
        if self._loading is not None and self._server is None:
            self._loading.cancel()
        if self._server is not None:
            await self._server.close()
        else:
            asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        if self._path:
            with contextlib.suppress(OSError):
                Path(self._path).unlink()
