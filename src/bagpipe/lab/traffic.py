"""Packets of the lab's machines: pings, streams of them that tell what was lost and when, and what the wire carries."""

from __future__ import annotations

import itertools
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from bagpipe.lab.hosts import Host, LabFault
from bagpipe.lab.telling import wait_for

_REPLY = re.compile(r"^\[(\d+\.\d+)\] \d+ bytes from \S+: icmp_seq=(\d+) ", re.MULTILINE)
_SENT = re.compile(r"(\d+) packets transmitted, (\d+) received")


def answers(host: Host, address: str, count: int = 3, wait: float = 1.0, source: str | None = None) -> int:
    """How many of ``count`` echo requests are answered. Raises LabFault where ping itself cannot work."""
    more = [] if source is None else ["-I", source]
    command = ["ping", "-n", "-q", "-i", "0.05", "-c", str(count), "-W", str(wait), *more, address]
    done = subprocess.run(
        host.argv(command), capture_output=True, text=True, check=False, timeout=30 + count * (wait + 0.1)
    )
    found = _SENT.search(done.stdout)
    if found is None:
        if "nreachable" in done.stdout + done.stderr:
            return 0
        raise LabFault(f"{host.name}: {' '.join(command)}: {(done.stderr or done.stdout).strip()}")
    return int(found[2])


def reaches(host: Host, address: str, patience: float = 15.0, source: str | None = None) -> float:
    """Seconds until an echo request is answered. Raises LabFault after ``patience`` seconds without."""
    began = time.monotonic()
    while not answers(host, address, 1, 0.3, source):
        if time.monotonic() - began > patience:
            raise LabFault(f"{host.name} has no answer from {address} in {patience:.0f} s")
    return time.monotonic() - began


def reaches_no_more(host: Host, address: str, patience: float = 10.0) -> float:
    """Seconds until three echo requests in a row are not answered. Raises LabFault when they go on being answered."""
    began = time.monotonic()
    while answers(host, address, 3, 0.3):
        if time.monotonic() - began > patience:
            raise LabFault(f"{host.name} still has answers from {address} after {patience:.0f} s")
    return time.monotonic() - began


@dataclass(frozen=True, slots=True)
class Streamed:
    """What became of a stream: requests ``sent``, ``lost``; ``gap`` the longest time in seconds without an answer,
    ``first`` and ``last`` when the first and the last answer came, in seconds since 1970; None without one.
    """

    sent: int
    lost: int
    gap: float
    first: float | None
    last: float | None

    def said(self, interval: float) -> str:
        """The loss in words, of a stream with ``interval`` seconds between two requests."""
        per_second = f"{1 / interval:.0f} a second"
        return f"{self.lost} of {self.sent} packets lost, {per_second}; longest time without one {self.gap:.2f} s"


class Stream:
    """Echo requests from a host, one every ``interval`` seconds until :meth:`end`."""

    def __init__(self, host: Host, address: str, interval: float = 0.01) -> None:
        self._file = Path(host.directory) / f"ping-{address.replace(':', '-')}.out"
        self._began = time.time()
        command = ["ping", "-n", "-D", "-i", str(interval), "-W", "1", address]
        with self._file.open("wb") as output:
            self._process = subprocess.Popen(
                host.argv(command), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )

    def replies(self) -> list[tuple[float, int]]:
        """Time in seconds since 1970 and number of every answer so far."""
        return [(float(when), int(number)) for when, number in _REPLY.findall(self._file.read_text(errors="replace"))]

    def first_reply(self, patience: float = 20.0) -> float:
        """Wait for an answer; when the first came, in seconds since 1970. Raises LabFault."""
        deadline = time.monotonic() + patience
        while not (found := self.replies()):
            if time.monotonic() > deadline:
                raise LabFault(f"no answer in {patience:.0f} s: {self._file}")
            time.sleep(0.02)
        return found[0][0]

    def last_reply(self, quiet: float = 1.0, patience: float = 20.0) -> float:
        """Wait until no answer has come for ``quiet`` seconds; when the last came. Raises LabFault."""
        deadline = time.monotonic() + patience
        while True:
            found = self.replies()
            if found and time.time() - found[-1][0] > quiet:
                return found[-1][0]
            if time.monotonic() > deadline:
                raise LabFault(f"answers still come after {patience:.0f} s: {self._file}")
            time.sleep(0.05)

    def end(self) -> Streamed:
        """End it and tell. What was sent in the last 0.2 seconds without an answer yet is not counted as lost."""
        ended = time.time()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        self._process.wait(10)
        found = _SENT.search(self._file.read_text(errors="replace"))
        if found is None:
            raise LabFault(f"ping did not tell what it sent: {self._file}")
        replies = self.replies()
        highest = max((number for _, number in replies), default=0)
        sent = int(found[1])
        interval = (ended - self._began) / max(sent, 1)
        tail = min(sent - highest, round(0.2 / interval) if interval else 0)
        answered = len({number for _, number in replies})
        times = [self._began, *(when for when, _ in replies), *([] if sent - highest <= tail else [ended])]
        gap = max((after - before for before, after in itertools.pairwise(times)), default=0.0)
        first, last = (replies[0][0], replies[-1][0]) if replies else (None, None)
        return Streamed(sent, sent - tail - answered, gap, first, last)


class Capture:
    """What passes an interface of a host, as tcpdump reads it."""

    def __init__(self, host: Host, interface: str, expression: str) -> None:
        self._host = host
        self._name = f"tcpdump-{interface}"
        self._file = host.directory / f"{self._name}.log"
        self._file.unlink(missing_ok=True)
        command = ["tcpdump", "-Z", "root", "-n", "-e", "-l", "--immediate-mode", "-i", interface, *expression.split()]
        host.start(self._name, command)
        wait_for(lambda: "listening on" in self._file.read_text(), "tcpdump", 0.05)

    def packets(self) -> list[str]:
        """A line for each packet so far."""
        text = self._file.read_text(errors="replace")
        # A packet is one line that begins with the time, or is continued on lines that do not.
        joined = re.sub(r"\n\s*(?!\s*\d\d:\d\d:)", " ", text)
        return [line for line in joined.splitlines() if re.match(r"\d\d:\d\d:", line)]

    def end(self) -> list[str]:
        """End it and give the packets."""
        time.sleep(0.1)
        self._host.end_program(self._name, signal.SIGINT)
        return self.packets()
