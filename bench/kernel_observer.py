"""When the kernel takes up forwarding entries and neighbours, as one who watches from outside sees it.

A netlink socket of its own hears what rtnetlink(7) tells of neighbours (RTNLGRP_NEIGH) in a namespace and notes when
each piece arrives; what the pieces say is read only afterwards.
"""

from __future__ import annotations

import socket
import struct
from typing import Self

from bench.listener import Listener
from tests.system.ovs_nodes import inside

_GROUP = 1 << 2
_NEW = 28
_HEADER = struct.Struct("=IHHII")
_ENTRY = struct.Struct("=BxxxiHBB")
_ATTRIBUTE = struct.Struct("=HH")
_DST, _LLADDR = 1, 2
_BUFFER = 1 << 28
_FORCE_BUFFER = 33


class KernelObserver(Listener):
    """Watches the neighbours of a namespace while the block lasts."""

    def __init__(self, namespace: str) -> None:
        super().__init__("kernel observer", 1 << 16)
        self._namespace = namespace

    def __enter__(self) -> Self:
        with inside(self._namespace):
            connection = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        connection.setsockopt(socket.SOL_SOCKET, _FORCE_BUFFER, _BUFFER)
        connection.bind((0, _GROUP))
        self.listen(connection)
        return self

    def count(self) -> int:
        """How many pieces have been heard."""
        return len(self.heard())

    def seen(self) -> dict[bytes, float]:
        """When (``time.perf_counter``) it was first told of each MAC address at another node (6 octets), and of each
        neighbour's address (4 or 16).
        """
        found: dict[bytes, float] = {}
        for moment, piece in self.heard():
            for key in _entries(piece):
                found.setdefault(key, moment)
        return found


def _entries(piece: bytes) -> list[bytes]:
    found = []
    at = 0
    while at + _HEADER.size <= len(piece):
        size, kind, *_ = _HEADER.unpack_from(piece, at)
        if kind == _NEW:
            family = piece[at + _HEADER.size]
            attributes = _attributes(piece[at + _HEADER.size + _ENTRY.size : at + size])
            if family == socket.AF_BRIDGE and _DST in attributes:
                found.append(attributes[_LLADDR])
            elif family in (socket.AF_INET, socket.AF_INET6) and _LLADDR in attributes:
                found.append(attributes[_DST])
        at += size + 3 & ~3
    return found


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, at)
        found[kind & 0x3FFF] = data[at + _ATTRIBUTE.size : at + size]
        at += max(size, _ATTRIBUTE.size) + 3 & ~3
    return found
