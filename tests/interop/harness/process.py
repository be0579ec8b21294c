"""A program that runs on a host for the length of a scenario, ended by its process id."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from .network import Host

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


class Program:
    """One started process. Its output goes to a file that is shown when a test fails."""

    def __init__(
        self, host: Host, argv: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """Start `argv` on `host`, standard output and error appended to `log`."""
        self.argv = list(argv)
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                host.command(*argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - no other thread runs when a program is started
            )

    @property
    def pid(self) -> int:
        """The process id, the program's own: `ip netns exec` becomes the program."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status, or None while it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """End the process and its children at once, as a crash would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def stop(self, grace: float = 10.0) -> int:
        """End the process by SIGTERM, by SIGKILL after `grace` seconds; give its exit status."""
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace)
        status = self._process.poll()
        self.kill()
        return self._process.returncode if status is None else status

    def tail(self, lines: int = 40) -> str:
        """The last lines of the log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def _die_with_parent() -> None:
    """Ask the kernel to end this process when the test run is killed."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
