"""Messages to the kernel and from it: rtnetlink(7), many in one go.

The kernel has done what a message asks when ``send`` returns, and answers in order. So a batch of messages is one
system call: errors come back with the sequence number of their message, and only the last message asks for a word when
all went well. A dump and the news of what others changed are read the same way. Nothing is known here of what the
messages say.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import socket
from collections.abc import Iterator, Sequence
from struct import Struct
from typing import NamedTuple

from bagpipe.dataplane.errors import DataplaneError, Unreachable

REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
REPLACE, EXCLUSIVE, CREATE, APPEND = 0x100, 0x200, 0x400, 0x800
NEWLINK, DELLINK, GETLINK, SETLINK = 16, 17, 18, 19
NEWADDRESS, DELADDRESS, GETADDRESS = 20, 21, 22
NEWNEIGHBOUR, DELNEIGHBOUR, GETNEIGHBOUR = 28, 29, 30
NEWNEXTHOP, DELNEXTHOP, GETNEXTHOP = 104, 105, 106
NEWLINKPROPERTY, DELLINKPROPERTY = 108, 109
AF_BRIDGE = 7
LEARNED_OUTSIDE = 0x10
"""NTF_EXT_LEARNED: the flag of an entry that a control plane made."""

_HEADER = Struct("=IHHII")
_ATTRIBUTE = Struct("=HH")
_ERROR, _DONE = 2, 3
_SOL_NETLINK, _ADD_MEMBERSHIP, _CAP_ACK, _EXT_ACK, _STRICT = 270, 1, 10, 11, 12
_SO_RCVBUFFORCE, _SO_ATTACH_FILTER = 33, 26
_ACK_TEXTS = 0x200
_ERROR_TEXT = 1
_TOGETHER = 128
"""Messages in one system call."""
_TURN = 4
"""System calls until others have the loop, some milliseconds."""
_READ = 1 << 17
_ROOM = 1 << 23
_GROUPS = (1, 3, 5, 9, 32)
"""RTNLGRP_LINK, _NEIGH, _IPV4_IFADDR, _IPV6_IFADDR, _NEXTHOP."""


class Request(NamedTuple):
    """A message without its header."""

    kind: int
    flags: int
    body: bytes


class Refused(DataplaneError):
    """The kernel, or what it holds, is in the way of something. ``number`` is the kernel's errno, 0 if it has none."""

    def __init__(self, text: str, number: int = 0) -> None:
        super().__init__(text)
        self.number = number


def attribute(kind: int, value: bytes) -> bytes:
    """An attribute, padded."""
    return _ATTRIBUTE.pack(len(value) + 4, kind) + value + bytes(-len(value) & 3)


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute that holds others."""
    return attribute(kind | 0x8000, b"".join(attributes))


def attributes_of(data: bytes, at: int = 0) -> Iterator[tuple[int, bytes]]:
    """Kind and value of each attribute from ``at`` on."""
    end = len(data)
    while at + 4 <= end:
        size, kind = _ATTRIBUTE.unpack_from(data, at)
        if size < 4:
            return
        yield kind & 0x3FFF, data[at + 4 : at + size]
        at += (size + 3) & ~3


def table_of(data: bytes, at: int = 0) -> dict[int, bytes]:
    """The attributes from ``at`` on by kind: of several of one kind the last."""
    found, end, unpack = {}, len(data), _ATTRIBUTE.unpack_from
    while at + 4 <= end:
        size, kind = unpack(data, at)
        if size < 4:
            break
        found[kind & 0x3FFF] = data[at + 4 : at + size]
        at += (size + 3) & ~3
    return found


def _messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Type, flags, sequence number and body of each message of a datagram."""
    at = 0
    while at + 16 <= len(data):
        size, kind, flags, sequence, _ = _HEADER.unpack_from(data, at)
        if size < 16:
            return
        yield kind, flags, sequence, data[at + 16 : at + size]
        at += (size + 3) & ~3


def _fault(body: bytes, flags: int) -> Refused | None:
    """What an NLMSG_ERROR message says; None if it is a mere acknowledgement."""
    number = -int.from_bytes(body[:4], "little", signed=True)
    if not number:
        return None
    texts = table_of(body, 20) if flags & _ACK_TEXTS else {}
    text = texts.get(_ERROR_TEXT, b"").rstrip(b"\0").decode(errors="replace").rstrip(".")
    told = os.strerror(number)
    return Refused(f"{told}: {text}" if text else told, number)


def _socket() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)


class Kernel:
    """A socket for questions and orders, in the network namespace in which it was made. Raises Unreachable."""

    def __init__(self) -> None:
        self._sequence = 0
        try:
            self._socket = _socket()
            self._socket.settimeout(5)
            for option in (_CAP_ACK, _EXT_ACK, _STRICT):
                self._socket.setsockopt(_SOL_NETLINK, option, 1)
            self._socket.bind((0, 0))
        except OSError as cause:
            raise Unreachable(f"netlink: {cause.strerror}") from cause

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _send(self, requests: Sequence[Request]) -> int:
        """Send some in one datagram; the sequence number of the first."""
        first = self._sequence + 1 if self._sequence < 0x7FFFFFFF else 1
        self._sequence = first + len(requests) - 1
        last = len(requests) - 1
        pack, parts = _HEADER.pack, []
        for number, (kind, flags, body) in enumerate(requests):
            more = REQUEST if number < last or flags & DUMP == DUMP else REQUEST | ACK
            parts.append(pack(len(body) + 16, kind, flags | more, first + number, 0))
            parts.append(body)
        try:
            self._socket.send(b"".join(parts))
        except OSError as cause:
            raise Unreachable(f"netlink: {cause.strerror}") from cause
        return first

    def _answers(self) -> Iterator[tuple[int, int, int, bytes]]:
        while True:
            try:
                data = self._socket.recv(_READ)
            except OSError as cause:
                raise Unreachable(f"netlink: {cause.strerror or cause}") from cause
            yield from _messages(data)

    def tell(self, request: Request) -> None:
        """Have one thing done. Raises Refused with what the kernel says against it."""
        for fault in self._together([request]).values():
            raise fault

    def _together(self, requests: Sequence[Request]) -> dict[int, Refused]:
        first = self._send(requests)
        faults: dict[int, Refused] = {}
        for kind, flags, sequence, body in self._answers():
            number = sequence - first
            if kind != _ERROR or not 0 <= number < len(requests):
                continue
            fault = _fault(body, flags)
            if fault is not None:
                faults[number] = fault
            if number == len(requests) - 1:
                break
        return faults

    async def tell_all(self, requests: Sequence[Request], news: News) -> dict[int, Refused]:
        """Have many things done, in order; what is refused, by its place. One refusal does not stop the others.

        ``news`` is read in between, so that there is room for what the orders themselves cause.
        """
        faults: dict[int, Refused] = {}
        for turn, start in enumerate(range(0, len(requests), _TOGETHER), 1):
            found = self._together(requests[start : start + _TOGETHER])
            faults.update((start + number, fault) for number, fault in found.items())
            news.drain()
            if not turn % _TURN:
                await asyncio.sleep(0)
        return faults

    def dump(self, kind: int, body: bytes, flags: int = DUMP) -> Iterator[tuple[int, bytes]]:
        """The type and body of each message of the answer, which has to be read to its end. Raises Refused."""
        first = self._send([Request(kind, flags, body)])
        for answer, told, sequence, octets in self._answers():
            if sequence != first:
                continue
            if answer in (_ERROR, _DONE):
                fault = _fault(octets, told)
                if fault is not None:
                    raise fault
                return
            yield answer, octets


class News:
    """A socket that hears what changes in the network namespace in which it was made. Raises Unreachable.

    Entries that a control plane adds are not told of: those are our own, thousands at a time.
    """

    def __init__(self) -> None:
        self._held: list[tuple[int, bytes]] = []
        self.is_lost = False
        try:
            self._socket = _socket()
            self._socket.setblocking(False)
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _ROOM)
            except PermissionError:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _ROOM)
            self._attach_filter()
            self._socket.bind((0, 0))
            for group in _GROUPS:
                self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
        except OSError as cause:
            raise Unreachable(f"netlink: {cause.strerror}") from cause

    def _attach_filter(self) -> None:
        """Classic BPF: drop RTM_NEWNEIGH but those of bridges and VXLAN devices without NTF_EXT_LEARNED."""
        program = (
            (0x28, 0, 0, 4),  # the type, its octets in network order
            (0x15, 0, 5, socket.htons(NEWNEIGHBOUR)),
            (0x30, 0, 0, 16),  # ndm_family
            (0x15, 0, 2, AF_BRIDGE),
            (0x30, 0, 0, 26),  # ndm_flags
            (0x45, 0, 1, LEARNED_OUTSIDE),
            (0x06, 0, 0, 0),
            (0x06, 0, 0, 0xFFFFFFFF),
        )
        octets = b"".join(Struct("=HBBI").pack(*step) for step in program)
        held = ctypes.create_string_buffer(octets)
        self._socket.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, Struct("@HP").pack(len(program), ctypes.addressof(held))
        )

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def fileno(self) -> int:
        """The descriptor that is readable when there is news."""
        return self._socket.fileno()

    def drain(self) -> None:
        """Read all that there is, and keep it for :meth:`take`."""
        while True:
            try:
                data = self._socket.recv(_READ)
            except BlockingIOError:
                return
            except OSError as cause:
                if cause.errno != errno.ENOBUFS:
                    raise Unreachable(f"netlink: {cause.strerror}") from cause
                self.is_lost = True
                continue
            self._held += [(kind, body) for kind, _, _, body in _messages(data)]

    def take(self) -> list[tuple[int, bytes]]:
        """Type and body of all that was not taken yet."""
        self.drain()
        held, self._held = self._held, []
        return held
