"""One started program: its processes, its directory, its end."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
import types
from pathlib import Path
from typing import Self

from bench import process
from bench.lab import SENDER_ADDRESS, Lab
from bench.programs.program import Program, Unavailable
from bench.session import Session, SessionLost

_FAMILY_AGE = 0.5


class Running:
    """A context in which ``program`` runs with ``clients`` configured; at its end nothing of it is left."""

    def __init__(self, lab: Lab, program: Program, clients: list[str], patience: float = 30.0) -> None:
        self.lab = lab
        self.program = program
        self._clients = clients
        self._patience = patience
        self._sessions: list[Session] = []
        self._pids: list[int] = []
        self._family_read = -_FAMILY_AGE

    def __enter__(self) -> Self:
        self.directory = Path(tempfile.mkdtemp(prefix="bbench-"))
        self._listener = self.lab.listen(SENDER_ADDRESS) if self.program.dials else None
        try:
            launch = self.program.launch(self.directory, self._clients)
            with (self.directory / "output").open("wb") as output:
                self._process = subprocess.Popen(
                    self.lab.command(launch.argv),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=os.environ | launch.environment,
                    start_new_session=True,
                )
        except BaseException:
            self._clear()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        for session in self._sessions:
            session.close()
        process.end(self._process)
        self._clear()

    def establish(self, source: str = SENDER_ADDRESS, *, rtc: bool = False, remember: bool = False) -> Session:
        """An established session from ``source``. Raises ``Unavailable`` when there is none in time."""
        deadline = time.monotonic() + self._patience
        trouble = "no answer"
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise Unavailable(f"ended with status {self._process.returncode}: {self.output()}")
            try:
                session = self._attempt(source, rtc, remember, deadline - time.monotonic())
            except (OSError, SessionLost) as error:
                trouble = str(error)
                time.sleep(0.2)
                continue
            self._sessions.append(session)
            return session
        raise Unavailable(f"no session in {self._patience:.0f} s: {trouble}; {self.output()}")

    def cpu(self) -> float:
        """Processor seconds of all its processes so far."""
        return process.cpu_seconds(self._family())

    def resident(self) -> int:
        """Octets resident in all its processes."""
        return process.resident_bytes(self._family())

    def alive(self) -> bool:
        """Whether its first process still runs."""
        return self._process.poll() is None

    def routes(self) -> int:
        """What its own counter says."""
        return self.program.routes(self.lab, self.directory)

    def output(self) -> str:
        """The end of what it wrote."""
        text = (self.directory / "output").read_text(errors="replace").strip()
        return text[-400:]

    def _family(self) -> list[int]:
        now = time.monotonic()
        if now - self._family_read > _FAMILY_AGE:
            self._pids = process.family_of(self._process.pid)
            self._family_read = now
        return self._pids

    def _attempt(self, source: str, rtc: bool, remember: bool, wait: float) -> Session:
        if self._listener is not None and source == SENDER_ADDRESS:
            self._listener.settimeout(min(wait, 1.0))
            connection, _ = self._listener.accept()
        else:
            connection = self.lab.connect(source, min(wait, 5.0))
        try:
            return Session(
                connection,
                source=source,
                family=self.program.family,
                rtc=rtc,
                remember=remember,
                wait=min(wait, 10.0),
            )
        except BaseException:
            connection.close()
            raise

    def _clear(self) -> None:
        if self._listener is not None:
            self._listener.close()
        shutil.rmtree(self.directory, ignore_errors=True)
