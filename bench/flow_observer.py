"""When a switch takes up flows, as one who watches from outside sees it.

A connection of its own asks for the switch's flow monitor (OpenFlow 1.5.1 section 7.3.5.17) and notes when each piece
of the answers arrives; what the pieces say is read only afterwards, so that watching costs next to nothing while it
counts. A switch that has more to tell than a reader takes at once pauses and tells the rest a little later: figures are
never too good.
"""

from __future__ import annotations

import bisect
import re
import socket
import struct
import threading
import time
from itertools import accumulate
from types import TracebackType
from typing import Self

from bagpipe.dataplane.openflow.fields import IPV4_DST, Field
from bagpipe.dataplane.openflow.monitoring import MonitorFlags, MonitorRequest
from bench.quiet import Failed

_VERSION = 6
_HEADER = struct.Struct("!BBHI")
_HELLO, _ERROR, _ECHO_REQUEST, _ECHO_REPLY = 0, 1, 2, 3
_READ = 1 << 20
_PATIENCE = 5.0
_MONITOR = 1


class FlowObserver:
    """Watches the switch at the socket ``path`` while the block lasts, for flows that match ``field``.

    Raises ``Failed`` if it cannot.
    """

    def __init__(self, path: str, field: Field = IPV4_DST) -> None:
        self._path = path
        self._value = re.compile(re.escape(field.header) + b"(.{%d})" % field.size, re.DOTALL)
        self._pieces: list[bytes] = []
        self._moments: list[float] = []
        self._ends = threading.Event()
        self._socket = socket.socket(socket.AF_UNIX)
        self._thread = threading.Thread(target=self._watch, name="flow observer", daemon=True)

    def __enter__(self) -> Self:
        self._socket.settimeout(_PATIENCE)
        try:
            self._socket.connect(self._path)
            self._socket.sendall(_message(_HELLO, 1))
            request = MonitorRequest(_MONITOR, MonitorFlags.ADD | MonitorFlags.MODIFY)
            self._socket.sendall(_message(request.kind, 2, request.body))
            self._socket.sendall(_message(_ECHO_REQUEST, 3))
            self._until_answered()
        except OSError as cause:
            self._socket.close()
            raise Failed(f"the switch cannot be watched: {cause}") from cause
        self._socket.settimeout(0.1)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ends.set()
        self._thread.join()
        self._socket.close()

    def count(self) -> int:
        """How many octets have been heard: when it does not grow, there is no news."""
        return sum(map(len, self._pieces))

    def seen(self) -> dict[bytes, float]:
        """When (``time.perf_counter``) the first flow with each value of the field was told."""
        moments = self._moments
        ends = list(accumulate(map(len, self._pieces[: len(moments)])))
        found: dict[bytes, float] = {}
        for match in self._value.finditer(b"".join(self._pieces[: len(moments)])):
            # what is cut in two counts when its end has come
            found.setdefault(match[1], moments[bisect.bisect_left(ends, match.end())])
        return found

    def _until_answered(self) -> None:
        """Wait for the answer to the echo request that followed the request of the monitor."""
        heard = b""
        while True:
            while len(heard) >= _HEADER.size and len(heard) >= (size := _HEADER.unpack_from(heard)[2]):
                kind = heard[1]
                heard = heard[size:]
                if kind == _ERROR:
                    raise Failed("the switch has no flow monitor")
                if kind == _ECHO_REPLY:
                    return
            piece = self._socket.recv(_READ)
            if not piece:
                raise Failed("the switch has ended the connection")
            heard += piece

    def _watch(self) -> None:
        while not self._ends.is_set():
            try:
                piece = self._socket.recv(_READ)
            except TimeoutError:
                continue
            if not piece:
                return
            self._pieces.append(piece)
            self._moments.append(time.perf_counter())


def _message(kind: int, xid: int, body: bytes = b"") -> bytes:
    return _HEADER.pack(_VERSION, kind, _HEADER.size + len(body), xid) + body
