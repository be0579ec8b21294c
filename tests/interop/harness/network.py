"""Hosts as network namespaces on one bridge, made for one scenario and always taken down again.

A namespace's name carries the process id of the test run that made it, so that several runs never meet and a run that
was killed is swept up by the next one.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

PREFIX = "bagpipe-it"
SUBNET4 = "192.0.2.{}"
SUBNET6 = "2001:db8::{:x}"
COMMAND_PATIENCE = 30.0
"""Seconds for a short command of a program, on a machine with other work beside."""
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Host:
    """A machine of the scenario: a namespace with one interface, `eth0`, on the scenario's bridge."""

    name: str
    namespace: str
    address: str
    address6: str

    def command(self, *argv: str) -> list[str]:
        """The command line that runs `argv` on this host."""
        return ["ip", "netns", "exec", self.namespace, *argv]

    def run(self, *argv: str, timeout: float = COMMAND_PATIENCE) -> str:
        """Run a short command on this host and give its standard output; a failure raises `CommandFailed`."""
        return run(self.command(*argv), timeout=timeout)

    def sum_in_software(self, interface: str = "eth0") -> None:
        """Have checksums made before packets leave: the userspace datapath of Open vSwitch takes them as they are."""
        self.run("ethtool", "-K", interface, "tx", "off")

    def cut(self) -> None:
        """Take the host off the network without telling anybody: packets are lost, no TCP reset is sent."""
        run(["ip", "-n", self.namespace, "link", "set", "eth0", "down"])

    def mend(self) -> None:
        """Undo `cut`."""
        batch(
            self.namespace,
            ["link set eth0 addrgenmode none up", f"address replace {self.address6}/64 dev eth0 nodad"],
        )


class CommandFailed(Exception):
    """A command that a test needs ended with a status other than 0."""


def run(argv: Sequence[str], timeout: float = COMMAND_PATIENCE) -> str:
    """Run `argv` to its end and give its standard output; `CommandFailed` when it fails or does not end in time."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"{' '.join(argv)}: not ended after {timeout:.0f} s") from error
    if done.returncode != 0:
        raise CommandFailed(f"{' '.join(argv)}: status {done.returncode}: {done.stdout.strip()} {done.stderr.strip()}")
    return done.stdout


def batch(namespace: str, lines: Sequence[str]) -> None:
    """Run several `ip` commands in one namespace by one process."""
    argv = ["ip", "-n", namespace, "-batch", "-"]
    done = subprocess.run(
        argv, input="\n".join(lines), capture_output=True, text=True, timeout=COMMAND_PATIENCE, check=False
    )
    if done.returncode != 0:
        raise CommandFailed(f"{' '.join(argv)}: {done.stderr.strip()} in {lines}")


class Network:
    """A bridge in a namespace of its own, and the hosts on it. Use as a context manager."""

    def __init__(self) -> None:
        """Nothing is made before the context is entered."""
        self._base = f"{PREFIX}-{os.getpid()}-{next(_numbers)}"
        self._made: list[str] = []
        self._host_numbers = itertools.count(1)
        self.hosts: dict[str, Host] = {}

    def __enter__(self) -> Self:
        """Make the bridge."""
        sweep()
        try:
            self.namespace("bridge")
            batch(f"{self._base}-bridge", ["link add br0 type bridge", "link set br0 up"])
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take everything down."""
        self.remove()

    def host(self, name: str) -> Host:
        """Add a host. The n-th one has the addresses 192.0.2.n and 2001:db8::n, as in the documentation."""
        number = next(self._host_numbers)
        namespace = self.namespace(name)
        host = Host(name, namespace, SUBNET4.format(number), SUBNET6.format(number))
        self.hosts[name] = host
        bridge = f"{self._base}-bridge"
        port = f"port{number}"
        batch(bridge, [f"link add {port} type veth peer name eth0 netns {namespace}"])
        batch(bridge, [f"link set {port} master br0 up"])
        batch(
            namespace,
            [
                "link set lo up",
                # Without a link-local address: FRR adds it to VPNv6 next hops if it comes in time (RFC 4659 section
                # 3.2.1.1), and OpenBGPD and ExaBGP drop their sessions at such a next hop.
                "link set eth0 addrgenmode none up",
                f"address add {host.address}/24 dev eth0",
                f"address add {host.address6}/64 dev eth0 nodad",
            ],
        )
        return host

    def remove(self) -> None:
        """Delete every namespace that was made, newest first. Whatever runs in them must have been stopped."""
        while self._made:
            subprocess.run(["ip", "netns", "del", self._made.pop()], capture_output=True, check=False)
        self.hosts.clear()

    def namespace(self, name: str) -> str:
        """Make a namespace that is taken down with the others; its full name."""
        namespace = f"{self._base}-{name}"
        self._made.append(namespace)
        run(["ip", "netns", "add", namespace])
        return namespace


def sweep() -> None:
    """Delete the namespaces of test runs that are no more, after ending what still runs in them."""
    for entry in Path("/run/netns").glob(f"{PREFIX}-*"):
        owner = entry.name.removeprefix(f"{PREFIX}-").split("-")[0]
        if not owner.isdigit() or Path(f"/proc/{owner}").exists():
            continue
        for attempt in range(2):
            done = subprocess.run(["ip", "netns", "pids", entry.name], capture_output=True, text=True, check=False)
            for pid in done.stdout.split():
                subprocess.run(["kill", "-9" if attempt else "-15", pid], capture_output=True, check=False)
            if not done.stdout.strip():
                break
            time.sleep(0.2)
        subprocess.run(["ip", "netns", "del", entry.name], capture_output=True, check=False)
