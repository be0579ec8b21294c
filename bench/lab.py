"""Two network namespaces joined by a veth: the senders' end and the end of the program under measurement.

Needs CAP_SYS_ADMIN and CAP_NET_ADMIN. Sockets of both ends are made from the bench's own process: a socket stays in
the namespace in which it was created. Nothing outside the two namespaces is touched.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import types
from typing import Self

PROGRAM_ADDRESS = "10.77.0.1"
SENDER_ADDRESS = "10.77.1.1"
PROBER_ADDRESS = "10.77.1.2"
BGP_PORT = 179
_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


def observer_addresses(count: int) -> list[str]:
    """The source addresses of ``count`` observers, at most 250."""
    if not 0 <= count <= 250:
        raise ValueError(f"{count} observers asked, 0 to 250 possible")
    return [f"10.77.2.{i}" for i in range(1, count + 1)]


class Lab:
    """A context in which the two namespaces exist."""

    def __init__(self, observers: int = 100) -> None:
        self._far = f"bbench-{os.getpid()}-far"
        self.near = f"bbench-{os.getpid()}-near"
        self._observers = observers

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self._remove()

    def command(self, argv: list[str]) -> list[str]:
        """``argv`` as it is run at the end of the program under measurement."""
        return ["ip", "netns", "exec", self.near, *argv]

    def connect(self, source: str, timeout: float) -> socket.socket:
        """A TCP connection from an address of the senders' end to the program's BGP port."""
        with self._socket_in(self._far) as made:
            made.settimeout(timeout)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made.bind((source, 0))
            made.connect((PROGRAM_ADDRESS, BGP_PORT))
            return made.dup()

    def listen(self, address: str) -> socket.socket:
        """A listening socket on the BGP port of an address of the senders' end."""
        made = self._socket_in(self._far)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, BGP_PORT))
        made.listen(4)
        return made

    def local(self, port: int, timeout: float) -> socket.socket:
        """A TCP connection to a loopback port at the program's end, for its own counters."""
        made = self._socket_in(self.near)
        made.settimeout(timeout)
        made.connect(("127.0.0.1", port))
        return made

    def _build(self) -> None:
        for name in (self._far, self.near):
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", self._far, "link", "add", "far", "type", "veth", "peer", "name", "near", "netns", self.near)
        _ip("-n", self.near, "address", "add", f"{PROGRAM_ADDRESS}/16", "dev", "near")
        for address in (SENDER_ADDRESS, PROBER_ADDRESS, *observer_addresses(self._observers)):
            _ip("-n", self._far, "address", "add", f"{address}/16", "dev", "far")
        _ip("-n", self._far, "link", "set", "far", "up")
        _ip("-n", self.near, "link", "set", "near", "up")

    def _remove(self) -> None:
        for name in (self._far, self.near):
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)

    def _socket_in(self, namespace: str) -> socket.socket:
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
        try:
            _enter(there)
            try:
                return socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            finally:
                _enter(home)
        finally:
            os.close(home)
            os.close(there)


def _enter(namespace: int) -> None:
    if _LIBC.setns(namespace, _CLONE_NEWNET):
        error = ctypes.get_errno()
        raise OSError(error, f"setns: {os.strerror(error)}")


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
