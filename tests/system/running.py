"""Real processes of this project on loopback addresses, and a scripted neighbour that speaks just enough BGP."""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import itertools
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
DAEMON = "bagpipe.daemon.main"
REFLECTOR = "bagpipe.reflector.main"
CLI = "bagpipe.cli.main"
_LIBC = ctypes.CDLL(None, use_errno=True)
_octets = itertools.count(os.getpid() % 200)


def free_port() -> int:
    """A TCP port that nobody has now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def address(host: int) -> str:
    """A loopback address of this process's own block; ``host`` is 1 to 254."""
    return f"127.{100 + os.getpid() % 100}.{os.getpid() // 100 % 256}.{host}"


def wait_for(look: Callable[[], T], what: str, timeout: float = 15.0) -> T:
    """Call ``look`` until what it gives is true, and give that."""
    end = time.monotonic() + timeout
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException, LookupError, ValueError):
            value = look()
            if value:
                return value
        assert time.monotonic() < end, f"{timeout:.0f} s passed without: {what}"
        time.sleep(0.05)


def _die_with_parent() -> None:
    _LIBC.prctl(1, signal.SIGTERM)


def run(module: str, *arguments: str, timeout: float = 20.0) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )


class Program:
    """A program that runs until the block ends, in a network namespace if one is named."""

    def __init__(
        self,
        module: str,
        *arguments: str,
        log: Path,
        environment: dict[str, str] | None = None,
        namespace: str | None = None,
    ) -> None:
        self.log = log
        there = [] if namespace is None else ["ip", "netns", "exec", namespace]
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [*there, sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT / "src"),
                    "STATE_DIRECTORY": str(log.parent / "state"),
                    **(environment or {}),
                },
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - the tests have no threads
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            sys.stderr.write(f"--- {self.log}\n{self.text[-4000:]}\n")
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    @property
    def text(self) -> str:
        """All that it has logged."""
        return self.log.read_text(errors="replace")

    def wait_started(self) -> Self:
        """Wait until it says that it has started."""
        wait_for(lambda: self.process.poll() is not None or "started:" in self.text, "the program has started")
        assert self.process.poll() is None, self.text
        return self

    def wait_logged(self, pattern: str, timeout: float = 15.0) -> re.Match[str]:
        """Wait until the log matches."""
        return wait_for(lambda: re.search(pattern, self.text), f"{pattern} in the log\n{self.text[-2000:]}", timeout)

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Send a signal; the exit status, and the seconds until it came."""
        begin = time.monotonic()
        self.process.send_signal(number)
        status = self.process.wait(10)
        return status, time.monotonic() - begin

    @property
    def resident(self) -> int:
        """Resident set size in octets."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024


def get(port: int, path: str, method: str = "GET") -> tuple[int, Any]:
    """An HTTP request to 127.0.0.1; the status, and the JSON of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        text = response.read()
    finally:
        connection.close()
    return response.status, json.loads(text) if text else None


def peer_states(port: int) -> dict[str, str]:
    """The session state of each neighbour, by name."""
    return {peer["name"]: peer["state"] for peer in get(port, "/v2/peers")[1]["peers"]}


# ---------------------------------------------------------------------- a scripted neighbour

OPEN, UPDATE, NOTIFICATION, KEEPALIVE = 1, 2, 3, 4
VPNV4 = bytes.fromhex("00010080")


def message(kind: int, body: bytes = b"") -> bytes:
    """A BGP message."""
    return b"\xff" * 16 + struct.pack("!HB", 19 + len(body), kind) + body


def open_message(identifier: str, local_as: int = 64512, hold: int = 90) -> bytes:
    """An OPEN for VPNv4 with 4-octet AS and route refresh, without graceful restart."""
    capabilities = b"\x01\x04" + VPNV4 + b"\x02\x00" + b"\x41\x04" + local_as.to_bytes(4)
    parameters = bytes((2, len(capabilities))) + capabilities
    short = local_as if local_as < 65536 else 23456
    body = struct.pack("!BHH4sB", 4, short, hold, socket.inet_aton(identifier), len(parameters)) + parameters
    return message(OPEN, body)


def vpnv4_update(
    next_hop: str, numbers: Sequence[int], label: int = 16, target: int = 1, preference: int = 100
) -> bytes:
    """An UPDATE that announces one /32 of RD 64512:1 for each number, with route target 64512:``target``."""
    label_octets = (label << 4 | 1).to_bytes(3)
    prefixes = b"".join(
        b"\x78" + label_octets + bytes.fromhex("0000fc0000000001") + (0x0A000000 + number).to_bytes(4)
        for number in numbers
    )
    reach = VPNV4[:2] + b"\x80\x0c" + bytes(8) + socket.inet_aton(next_hop) + b"\0" + prefixes
    attributes = (
        bytes.fromhex("40010100 400200 400504")
        + preference.to_bytes(4)
        + bytes.fromhex("c01008 0002fc00")
        + target.to_bytes(4)
        + b"\x90\x0e"
        + struct.pack("!H", len(reach))
        + reach
    )
    return message(UPDATE, b"\0\0" + struct.pack("!H", len(attributes)) + attributes)


class Talker:
    """A neighbour made of one TCP connection."""

    def __init__(
        self,
        source: str,
        remote: tuple[str, int],
        *,
        md5: bytes = b"",
        ttl: int = 0,
        buffer: int = 0,
        patience: float = 5.0,
    ) -> None:
        self.source = source
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.settimeout(patience)
        if md5:
            peer = struct.pack("=HH4s120x", socket.AF_INET, 0, socket.inet_aton(remote[0]))
            self.socket.setsockopt(6, 14, struct.pack("=128sBBHI80s", peer, 0, 0, len(md5), 0, md5))
        if ttl:
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self._waiting = b""
        try:
            self.socket.bind((source, 0))
            self.socket.connect(remote)
        except OSError:
            self.socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *messages: bytes) -> None:
        """Send messages."""
        self.socket.sendall(b"".join(messages))

    def receive(self, timeout: float = 5.0) -> tuple[int, bytes] | None:
        """The next message as type and body; None when the connection is closed. Raises TimeoutError."""
        self.socket.settimeout(timeout)
        while len(self._waiting) < 19 or len(self._waiting) < self._length:
            try:
                more = self.socket.recv(65536)
            except ConnectionError:
                return None
            if not more:
                return None
            self._waiting += more
        kind, body = self._waiting[18], self._waiting[19 : self._length]
        self._waiting = self._waiting[self._length :]
        return kind, body

    @property
    def _length(self) -> int:
        return int.from_bytes(self._waiting[16:18])

    def until(self, wanted: int, timeout: float = 5.0) -> bytes:
        """Messages are read and dropped until one of this type comes; its body."""
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            got = self.receive(left)
            assert got is not None, f"closed without a message of type {wanted}"
            if got[0] == wanted:
                return got[1]
        raise TimeoutError(f"no message of type {wanted}")

    def establish(self, local_as: int = 64512, hold: int = 90) -> Self:
        """Bring the session up."""
        self.send(open_message(self.source, local_as, hold))
        self.until(OPEN)
        self.send(message(KEEPALIVE))
        self.until(KEEPALIVE)
        return self

    def updates(self, quiet: float = 0.5) -> Iterator[bytes]:
        """UPDATE bodies until nothing has come for ``quiet`` seconds."""
        while True:
            try:
                got = self.receive(quiet)
            except TimeoutError:
                return
            if got is None:
                return
            if got[0] == UPDATE:
                yield got[1]


_ROUTE = re.compile(rb"\x78...\x00\x00\xfc\x00\x00\x00\x00\x01(....)", re.DOTALL)


def prefixes_in(updates: Iterable[bytes]) -> set[bytes]:
    """The addresses that :func:`vpnv4_update` announced, out of UPDATE bodies."""
    return {found[1] for body in updates for found in _ROUTE.finditer(body)}
