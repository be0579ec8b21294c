"""Hosts of the lab: network namespaces, the links between them, and the programs that run on them.

A host is a namespace whose name starts with that of the lab; taking the lab down ends every process inside those
namespaces and nothing else. Needs root and iproute2. Interfaces exist only inside the namespaces.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

NAME = os.environ.get("BAGPIPE_LAB", "bagpipe-lab")
"""The name of the lab; another name is another lab, beside the first."""
PREFIX = f"{NAME}-"
STATE = Path("/run") / NAME
END_GRACE = 3.0
"""Seconds between SIGTERM and SIGKILL."""


class LabFault(Exception):
    """Something the lab needs did not happen; the text is for the person who started it."""


def _ip(*arguments: str) -> str:
    ended = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise LabFault(f"ip {' '.join(arguments)}: {ended.stderr.strip()}")
    return ended.stdout


@dataclass(frozen=True, slots=True)
class Host:
    """A namespace with a name that people read, such as ``node1``."""

    name: str

    @property
    def namespace(self) -> str:
        """The name of the network namespace."""
        return PREFIX + self.name

    @property
    def directory(self) -> Path:
        """Where configuration and logs of this host are."""
        return STATE / self.name

    def create(self) -> None:
        """Make the namespace with its loopback up. Raises LabFault."""
        self.directory.mkdir(parents=True, exist_ok=True)
        _ip("netns", "add", self.namespace)
        _ip("-n", self.namespace, "link", "set", "lo", "up")

    def address(self, interface: str, address: str) -> None:
        """Give an interface an address, with its length. Raises LabFault."""
        nodad = ["nodad"] if ":" in address else []
        self.ip("address", "replace", address, "dev", interface, *nodad)

    def ip(self, *arguments: str) -> str:
        """Run ``ip`` for this host and give its output. Raises LabFault."""
        return _ip("-n", self.namespace, *arguments)

    def argv(self, command: Sequence[str]) -> list[str]:
        """``command`` as it is run on this host."""
        return ["ip", "netns", "exec", self.namespace, *command]

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
        """Start a program that outlives this process; its log is ``<directory>/<name>.log``. Gives its process id.

        ``environment`` is added to that of this process. The number is kept for :meth:`end_program` as well.
        """
        with (self.directory / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                self.argv(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )
        (self.directory / f"{name}.pid").write_text(f"{process.pid}\n")
        return process.pid

    def process_of(self, name: str) -> int | None:
        """The process id of a program that was started under this name and runs; None when it does not."""
        try:
            process = int((self.directory / f"{name}.pid").read_text())
        except (OSError, ValueError):
            return None
        return process if process in self.processes() else None

    def end_program(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """End one program, and what it has started itself, and wait for that. Nothing happens where it does not run.

        ``number`` goes to the program; whatever of its session is left then gets SIGKILL. Raises LabFault.
        """
        process = self.process_of(name)
        if process is None:
            return
        _send(process, number)
        deadline = time.monotonic() + END_GRACE
        while _runs(process) and time.monotonic() < deadline:
            time.sleep(0.01)
        while _runs(process) or _kill_session(process):
            if time.monotonic() > deadline + END_GRACE:
                raise LabFault(f"{self.name}: {name}, process {process}, does not end")
            time.sleep(0.01)

    def run(self, command: Sequence[str], timeout: float = 20.0) -> str:
        """Run a command to its end and give its output. Raises LabFault when it fails."""
        try:
            ended = subprocess.run(self.argv(command), capture_output=True, text=True, check=False, timeout=timeout)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise LabFault(f"{self.name}: {' '.join(command)}: {error}") from error
        if ended.returncode:
            raise LabFault(f"{self.name}: {' '.join(command)}: {(ended.stderr or ended.stdout).strip()}")
        return ended.stdout

    def counter(self, protocol: str, name: str) -> int:
        """A counter of the kernel for IPv4 (/proc/net/snmp), such as ``Icmp`` and ``InEchos``. Raises LabFault."""
        lines = [line.split() for line in self.run(["cat", "/proc/net/snmp"]).splitlines()]
        names, values = (line for line in lines if line[0] == f"{protocol}:")
        return int(values[names.index(name)])

    def processes(self) -> list[int]:
        """The process ids inside the namespace; none when it does not exist."""
        listed = subprocess.run(["ip", "netns", "pids", self.namespace], capture_output=True, text=True, check=False)
        return [int(word) for word in listed.stdout.split()]

    def stop(self) -> None:
        """End all processes of the host."""
        deadline = time.monotonic() + END_GRACE
        number = signal.SIGTERM
        while processes := self.processes():
            for process in processes:
                _send(process, number)
            time.sleep(0.1)
            if time.monotonic() > deadline:
                number = signal.SIGKILL

    def end(self) -> None:
        """End all processes of the host, then remove the namespace."""
        self.stop()
        _ip("netns", "delete", self.namespace)


def _kill_session(leader: int) -> bool:
    """Send SIGKILL to what is left of a session; whether something was."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _runs(process: int) -> bool:
    """Whether a process is there and is more than its exit status."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process, os.WNOHANG)
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state != "Z"


def _send(process: int, number: signal.Signals) -> None:
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return


def existing_hosts() -> list[Host]:
    """The hosts of a lab that is up."""
    names = [line.split()[0] for line in _ip("netns", "list").splitlines() if line]
    return [Host(name.removeprefix(PREFIX)) for name in names if name.startswith(PREFIX)]


def take_down() -> None:
    """End the processes of the lab, remove its namespaces and its directory."""
    with ThreadPoolExecutor(8, "down") as pool:
        list(pool.map(Host.end, existing_hosts()))
    shutil.rmtree(STATE, ignore_errors=True)


def join(
    left: Host,
    left_addresses: Sequence[str],
    right: Host,
    right_addresses: Sequence[str],
    *,
    names: tuple[str, str] | None = None,
    mtu: int = 1500,
) -> None:
    """A cable between two hosts. Addresses have lengths.

    ``names`` are those of its interfaces, left and right; without them each is named after the host at the other end.
    """
    ends = names if names is not None else (right.name, left.name)
    _ip(
        *("link", "add", ends[0], "netns", left.namespace, "mtu", str(mtu), "type", "veth"),
        *("peer", "name", ends[1], "netns", right.namespace, "mtu", str(mtu)),
    )
    for host, interface, addresses in ((left, ends[0], left_addresses), (right, ends[1], right_addresses)):
        for address in addresses:
            host.address(interface, address)
        _ip("-n", host.namespace, "link", "set", interface, "up")
