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
from itertools import accumulate
from typing import Self

from bagpipe.dataplane.openflow.fields import IPV4_DST, Field
from bagpipe.dataplane.openflow.monitoring import MonitorFlags, MonitorRequest
from bench.listener import Listener
from bench.quiet import Failed

_VERSION = 6
_HEADER = struct.Struct("!BBHI")
_HELLO, _ERROR, _ECHO_REQUEST, _ECHO_REPLY = 0, 1, 2, 3
_READ = 1 << 20
_PATIENCE = 5.0
_MONITOR = 1


class FlowObserver(Listener):
    """Watches the switch at the socket ``path`` while the block lasts, for flows that match ``field``.

    Raises ``Failed`` if it cannot.
    """

    def __init__(self, path: str, field: Field = IPV4_DST) -> None:
        super().__init__("flow observer", _READ)
        self._path = path
        self._value = re.compile(re.escape(field.header) + b"(.{%d})" % field.size, re.DOTALL)

    def __enter__(self) -> Self:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_PATIENCE)
        try:
            connection.connect(self._path)
            connection.sendall(_message(_HELLO, 1))
            request = MonitorRequest(_MONITOR, MonitorFlags.ADD | MonitorFlags.MODIFY)
            connection.sendall(_message(request.kind, 2, request.body))
            connection.sendall(_message(_ECHO_REQUEST, 3))
            _until_answered(connection)
        except OSError as cause:
            connection.close()
            raise Failed(f"the switch cannot be watched: {cause}") from cause
        self.listen(connection)
        return self

    def count(self) -> int:
        """How many octets have been heard."""
        return sum(len(piece) for _, piece in self.heard())

    def seen(self) -> dict[bytes, float]:
        """When (``time.perf_counter``) the first flow with each value of the field was told."""
        heard = self.heard()
        ends = list(accumulate(len(piece) for _, piece in heard))
        found: dict[bytes, float] = {}
        for match in self._value.finditer(b"".join(piece for _, piece in heard)):
            # what is cut in two counts when its end has come
            found.setdefault(match[1], heard[bisect.bisect_left(ends, match.end())][0])
        return found


def _until_answered(connection: socket.socket) -> None:
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
        piece = connection.recv(_READ)
        if not piece:
            raise Failed("the switch has ended the connection")
        heard += piece


def _message(kind: int, xid: int, body: bytes = b"") -> bytes:
    return _HEADER.pack(_VERSION, kind, _HEADER.size + len(body), xid) + body
