"""How the lab tells its story: what happens, when, and what programs answered, for people at a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable

from bagpipe.lab.hosts import STATE, LabFault

PATIENCE = 40.0
"""Seconds that sessions and routes get to come up."""


class Story:
    """Lines on standard output, with the seconds since it began."""

    def __init__(self) -> None:
        self._begin = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._begin

    def chapter(self, *lines: str) -> None:
        """Something happens now."""
        print(f"\n[{self.seconds:4.1f} s] {lines[0]}", flush=True)
        for line in lines[1:]:
            print(f"         {line}", flush=True)


def say(*lines: str) -> None:
    """A paragraph."""
    print()
    for line in lines:
        print(line, flush=True)


def indent(text: str) -> None:
    """What a program answered."""
    for line in text.rstrip().splitlines():
        print(f"    {line}")
    print(flush=True)


def wait_for(condition: Callable[[], bool], what: str, pause: float = 0.5, patience: float = PATIENCE) -> None:
    """Ask until it is so. Raises LabFault after ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise LabFault(f"waited {patience:.0f} s in vain for: {what}; the logs are in {STATE}")
        time.sleep(pause)
