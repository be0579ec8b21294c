"""What a program costs: processor time of all its threads and children, and resident memory.

Processor time is the kernel's clock of each process (``clock_getcpuclockid(3)``): the sum that ``/proc/PID/stat``
shows as utime and stime, in nanoseconds instead of ticks of 10 ms.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

_SCHED_CLOCK = 2
_PAGE = os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pids: list[int]) -> float:
    """Processor time of whole processes since they began, ended threads included."""
    total = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += time.clock_gettime((~pid << 3) | _SCHED_CLOCK)
    return total


def resident_bytes(pids: list[int]) -> int:
    """Resident set of the processes; pages that they share are counted in each."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    return total


def family_of(pid: int) -> list[int]:
    """``pid`` and every process below it."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for one in found:
        found.extend(parents.get(one, []))
    return found


def end(process: subprocess.Popen[bytes], patience: float = 3.0) -> None:
    """Ask the process and all below it to end; after ``patience`` seconds, make them."""
    family = family_of(process.pid)
    _signal([process.pid], signal.SIGTERM)
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        _signal(family, signal.SIGKILL)
        process.wait(patience)
    _signal([pid for pid in family[1:] if _session(pid) == process.pid], signal.SIGKILL)


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
