"""Questions to the kernel about routes and neighbours, and its news of them: rtnetlink(7).

Messages are those of pyroute2, the sockets plain: the kernel has answered a question when ``send`` returns, so that a
question takes microseconds and neither a thread nor a task. Does: the route to an address, all neighbours, to have a
neighbour resolved (NTF_USE, by ARP or ND of the kernel itself), and to be told of changes. Changes nothing else.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from struct import Struct
from typing import Any

from pyroute2.netlink.rtnl.ndmsg import (
    NTF_USE,
    NUD_DELAY,
    NUD_INCOMPLETE,
    NUD_NONE,
    NUD_PERMANENT,
    NUD_PROBE,
    NUD_REACHABLE,
    NUD_STALE,
    ndmsg,
)
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from bagpipe.dataplane.errors import DataplaneError

_HEADER = Struct("=IHHII")
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_RTM_NEWNEIGH, _RTM_DELNEIGH, _RTM_GETNEIGH, _RTM_GETROUTE = 28, 29, 30, 26
_REQUEST, _ACK, _DUMP, _CREATE = 0x1, 0x4, 0x300, 0x400
_RTN_UNICAST = 1
# RTMGRP_LINK, _NEIGH, _IPV4_IFADDR, _IPV4_ROUTE, _IPV4_RULE, _IPV6_IFADDR, _IPV6_ROUTE, and the group of IPv6 rules.
_GROUPS = 0x1 | 0x4 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400
_IPV6_RULE = 19
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_ROOM = 1 << 21
_READ = 1 << 16

USABLE = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT
"""The states in which a neighbour's MAC may be used."""
UNDECIDED = NUD_NONE | NUD_INCOMPLETE | NUD_DELAY | NUD_PROBE
"""The states in which the kernel is busy finding out."""
SETTLED = NUD_REACHABLE | NUD_PERMANENT
"""The states that the kernel leaves by itself when it has to."""


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """A neighbour by its interface and its address of 4 or 16 octets."""

    interface: int
    address: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """What the kernel knows of a neighbour: its state (NUD_*, 0 if it was deleted) and, if it has one, its MAC."""

    target: Target
    state: int
    mac: bytes | None


def _family(address: bytes) -> int:
    return socket.AF_INET if len(address) == 4 else socket.AF_INET6


def _encoded(message: Any, kind: int, flags: int, sequence: int) -> bytes:
    message["header"] = {"type": kind, "flags": _REQUEST | flags, "sequence_number": sequence, "pid": 0}
    message.encode()
    return bytes(message.data)


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Type, sequence number and octets (header and all) of each message of a datagram."""
    start = 0
    while start + _HEADER.size <= len(data):
        size, kind, _, sequence, _ = _HEADER.unpack_from(data, start)
        if size < _HEADER.size:
            return
        yield kind, sequence, data[start : start + size]
        start += (size + 3) & ~3


def entry_of(octets: bytes, is_gone: bool) -> Entry | None:
    """The neighbour of a message; None if it is not of ARP or ND."""
    message = ndmsg(octets)
    message.decode()
    if message["family"] not in (socket.AF_INET, socket.AF_INET6):
        return None
    address, mac = message.get_attr("NDA_DST"), message.get_attr("NDA_LLADDR")
    if address is None:
        return None
    target = Target(message["ifindex"], ip_address(address).packed)
    return Entry(target, NUD_NONE if is_gone else message["state"], None if is_gone else _mac(mac))


def _mac(text: object) -> bytes | None:
    """The MAC in a link-layer address; that of a tunnel is an IP address, which pyroute2 gives as such."""
    parts = text.split(":") if isinstance(text, str) else []
    if len(parts) != 6 or any(len(part) != 2 for part in parts):
        return None
    octets = bytes.fromhex("".join(parts))
    return octets if any(octets) else None


class Kernel:
    """Two sockets of the network namespace in which it was made: one for questions, one for news (``fileno``).

    Raises DataplaneError if they cannot be made.
    """

    def __init__(self) -> None:
        self._sequence = 0
        try:
            self._asking = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
            self._asking.settimeout(2)
            self._asking.bind((0, 0))
            self._news = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
            self._news.setblocking(False)
            self._news.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _ROOM)
            self._news.bind((0, _GROUPS))
            self._news.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _IPV6_RULE)
        except OSError as cause:
            raise DataplaneError(f"netlink: {cause.strerror}") from cause

    def close(self) -> None:
        """Close both sockets."""
        self._asking.close()
        self._news.close()

    def fileno(self) -> int:
        """The descriptor that is readable when there is news."""
        return self._news.fileno()

    def _ask(self, message: Any, kind: int, flags: int) -> Iterator[tuple[int, bytes]]:
        """The messages of the answer. Raises OSError with the kernel's error."""
        self._sequence = self._sequence % 0xFFFFFFFF + 1
        self._asking.send(_encoded(message, kind, flags, self._sequence))
        while True:
            for one, sequence, octets in _messages(self._asking.recv(_READ)):
                if sequence != self._sequence or one == _NLMSG_DONE:
                    if sequence == self._sequence:
                        return
                    continue
                if one == _NLMSG_ERROR:
                    error = -int.from_bytes(octets[16:20], "little", signed=True)
                    if error:
                        raise OSError(error, os.strerror(error))
                    return
                yield one, octets
                if not flags & (_DUMP | _ACK):
                    return

    def route(self, address: bytes) -> Target | None:
        """The neighbour through which the kernel would reach ``address``; None if it would not or is it itself."""
        message = rtmsg()
        message["family"], message["dst_len"] = _family(address), 8 * len(address)
        message["attrs"] = [("RTA_DST", str(ip_address(address)))]
        try:
            for _, octets in self._ask(message, _RTM_GETROUTE, 0):
                return _next_hop(octets, address)
        except OSError as cause:
            if cause.errno not in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EINVAL, errno.EACCES, errno.ENODEV):
                raise DataplaneError(f"netlink: route to {ip_address(address)}: {cause.strerror}") from cause
        return None

    def neighbours(self) -> list[Entry]:
        """All neighbours that the kernel knows. Raises DataplaneError."""
        message = ndmsg()
        message["family"] = socket.AF_UNSPEC
        try:
            entries = [entry_of(octets, False) for _, octets in self._ask(message, _RTM_GETNEIGH, _DUMP)]
        except OSError as cause:
            raise DataplaneError(f"netlink: neighbours: {cause.strerror}") from cause
        return [entry for entry in entries if entry is not None]

    def resolve(self, target: Target) -> None:
        """Have the kernel find out the MAC, or whether the one that it knows still holds. Raises DataplaneError."""
        message = ndmsg()
        message["family"], message["ifindex"] = _family(target.address), target.interface
        message["flags"], message["state"] = NTF_USE, NUD_NONE
        message["attrs"] = [("NDA_DST", str(ip_address(target.address)))]
        try:
            for _ in self._ask(message, _RTM_NEWNEIGH, _CREATE | _ACK):
                pass
        except OSError as cause:
            raise DataplaneError(f"netlink: neighbour {ip_address(target.address)}: {cause.strerror}") from cause

    def news(self) -> tuple[list[Entry], bool]:
        """The neighbours that have changed, and whether a route, link, rule or address has. Does not block.

        Raises BlockingIOError if there is no news, BufferError if some was lost.
        """
        try:
            data = self._news.recv(_READ)
        except OSError as cause:
            if cause.errno == errno.ENOBUFS:
                raise BufferError("the kernel had more news than the socket holds") from cause
            raise
        entries, is_moved = [], False
        for kind, _, octets in _messages(data):
            if kind in (_RTM_NEWNEIGH, _RTM_DELNEIGH):
                entry = entry_of(octets, kind == _RTM_DELNEIGH)
                if entry is not None:
                    entries.append(entry)
            else:
                is_moved = True
        return entries, is_moved


def _next_hop(octets: bytes, address: bytes) -> Target | None:
    message = rtmsg(octets)
    message.decode()
    interface = message.get_attr("RTA_OIF")
    if message["type"] != _RTN_UNICAST or interface is None:
        return None
    gateway, via = message.get_attr("RTA_GATEWAY"), message.get_attr("RTA_VIA")
    if gateway is None and via is not None:
        gateway = via["addr"]
    return Target(interface, address if gateway is None else ip_address(gateway).packed)
