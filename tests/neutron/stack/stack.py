"""The lab's cloud as a test uses it: the commands that a person types, in a lab of the test run's own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended, and all that it said."""

    status: int
    text: str


class Stack:
    """One lab by name. ``story`` is what ``up`` said."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.story = ""

    def lab(self, *arguments: str, timeout: float = 200) -> Done:
        """``python -m bagpipe.lab …`` to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "bagpipe.lab", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=timeout,
            cwd=ROOT,
            env={**os.environ, "BAGPIPE_LAB": self.name, "COLUMNS": "200"},
        )
        return Done(done.returncode, done.stdout)

    def up(self, *arguments: str) -> Done:
        """Start it, told by ``arguments`` what it is made of."""
        done = self.lab("up", *arguments)
        self.story = done.text
        return done

    def down(self) -> None:
        """End it."""
        done = self.lab("down")
        assert done.status == 0, done.text

    def logs(self) -> str:
        """The ends of the logs, for the report of a failed test."""
        state = Path("/run") / self.name
        found = []
        for log in sorted(state.glob("*/*.log")):
            lines = log.read_text(errors="replace").splitlines()
            troubles = [line for line in lines if " ERROR " in line or "Traceback" in line][-8:]
            if troubles:
                found.append("\n".join([f"--- {log}", *(line[:300] for line in troubles)]))
        return "\n".join(found)

    def played(self, name: str) -> str:
        """Play a scenario; its story, which ended well."""
        done = self.lab("scenario", name)
        assert done.status == 0, f"{done.text}\n{self.logs()}"
        assert f"── {name}: all as it should be" in done.text, done.text
        return done.text
