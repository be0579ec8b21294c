"""What the bench has to know of a program to measure it."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.lab import Lab


class Unavailable(Exception):
    """The program is not installed, or cannot do what a case needs; the text says which."""


class CounterFailed(Exception):
    """The program's own counter of routes could not be read."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start a program: its command line in the foreground, and what to add to its environment."""

    argv: list[str]
    environment: dict[str, str]


class Program(Protocol):
    """One speaker as it is run for measurement.

    ``dials``: it connects to the sender, and does not listen. ``honours_rtc``: it sends an observer only what that
    asked for (RFC 4684). ``pace``: seconds it is given for each octet of a message before the next; 0 for every
    program that reads a stream as a stream. ``family``: AFI and SAFI of the routes that it is sent.
    """

    dials: bool
    honours_rtc: bool
    pace: float
    family: bytes

    def version(self) -> str:
        """The version in the report. Raises ``Unavailable``."""
        ...

    def launch(self, directory: Path, clients: list[str]) -> Launch:
        """Write what the program reads into ``directory``; every address of ``clients`` is an iBGP client."""
        ...

    def routes(self, lab: Lab, directory: Path) -> int:
        """Routes of the family that the program says it holds from the sender. Raises ``CounterFailed``."""
        ...


class Forwarder(Program, Protocol):
    """One that brings routes into VRFs: ports are attached at ``api_port``.

    ``switch``: the directory of the Open vSwitch that it is to program; None, where it starts with a null dataplane.
    """

    api_port: int
    switch: Path | None


class Importer(Program, Protocol):
    """One that brings MAC addresses into an EVPN instance."""

    def beside(self, lab: Lab) -> AbstractContextManager[None]:
        """A context in which what it needs beside it is there."""
        ...

    def join(self, lab: Lab, directory: Path, targets: int) -> None:
        """Have one instance that imports the first ``targets`` route targets. Raises ``CounterFailed``."""
        ...

    def imported(self, lab: Lab, directory: Path) -> int:
        """MAC addresses of others that the program says the instance has. Raises ``CounterFailed``."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the report: ``name`` is what ``--only`` takes, ``title`` what people read.

    ``evpn`` is the program where it is sent routes of EVPN, ``importer`` where an EVPN instance of it imports them.
    """

    name: str
    title: str
    receiver: Program
    reflector: Program | None
    forwarder: Forwarder | None = None
    evpn: Program | None = None
    importer: Importer | None = None


def executable(*names: str) -> str:
    """The first of these programs that exists. Raises ``Unavailable``."""
    for name in names:
        found = shutil.which(name)
        if found:
            return found
    raise Unavailable(f"{names[0]} is not installed")


def ask(argv: list[str], timeout: float = 30.0) -> str:
    """Standard output of a command that reads a counter. Raises ``CounterFailed``."""
    try:
        done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=timeout)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CounterFailed(f"{Path(argv[0]).name}: {error}") from error
    if done.returncode:
        raise CounterFailed(f"{' '.join(argv)}: status {done.returncode}: {(done.stderr or done.stdout).strip()[:200]}")
    return done.stdout


def reference_binary(name: str) -> str:
    """A program of the virtual environment that ``BAGPIPE_REFERENCE_VENV`` names. Raises ``Unavailable``."""
    root = os.environ.get("BAGPIPE_REFERENCE_VENV", ".venv-reference")
    found = Path(root) / "bin" / name
    if not found.exists():
        raise Unavailable(f"{found} does not exist: `make reference` makes it")
    return str(found.absolute())


def first_line(argv: list[str]) -> str:
    """The first line that a program says about its version, from either output."""
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=30)
    lines = (done.stdout + done.stderr).strip().splitlines()
    if not lines:
        raise Unavailable(f"{argv[0]} does not say its version")
    return lines[0]
