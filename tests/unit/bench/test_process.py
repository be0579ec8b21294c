"""Processor time and memory are those of the whole program, and nothing of it is left at the end."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench import process

BURN = "import time\nwhile time.process_time() < 0.3: pass\nprint('done', flush=True)\ntime.sleep(60)"
THREADS = (
    "import threading, time\n"
    "def burn():\n"
    "    end = time.thread_time() + 0.2\n"
    "    while time.thread_time() < end: pass\n"
    "for _ in range(2):\n"
    "    t = threading.Thread(target=burn); t.start(); t.join()\n"
    "print('done', flush=True)\ntime.sleep(60)"
)
CHILD = (
    "import subprocess, sys, time\n"
    "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print(p.pid, flush=True)\ntime.sleep(60)"
)


def started(code: str) -> tuple[subprocess.Popen[bytes], str]:
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    assert child.stdout is not None
    with child.stdout:
        return child, child.stdout.readline().decode().strip()


@pytest.mark.parametrize(("code", "least"), [(BURN, 0.3), (THREADS, 0.4)])
def test_processor_time_is_that_of_all_threads_also_ended_ones(code: str, least: float) -> None:
    child, _ = started(code)
    try:
        assert least <= process.cpu_seconds([child.pid]) < least + 0.5
    finally:
        process.end(child)


def test_processor_time_agrees_with_proc() -> None:
    child, _ = started(BURN)
    try:
        fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        ticks = (int(fields[11]) + int(fields[12])) / 100
        assert process.cpu_seconds([child.pid]) == pytest.approx(ticks, abs=0.03)
    finally:
        process.end(child)


def test_a_program_and_its_children_are_ended_together() -> None:
    child, said = started(CHILD)
    grandchild = int(said)
    assert process.family_of(child.pid) == [child.pid, grandchild]
    assert process.resident_bytes([child.pid, grandchild]) > process.resident_bytes([child.pid]) > 1_000_000
    process.end(child)
    deadline = time.monotonic() + 5
    while Path(f"/proc/{grandchild}/stat").exists() and time.monotonic() < deadline:
        if Path(f"/proc/{grandchild}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.05)
    assert process.cpu_seconds([child.pid]) == 0.0
    assert child.returncode is not None


def test_a_process_that_is_gone_costs_nothing() -> None:
    child, _ = started("print('x')")
    child.wait(10)
    assert process.cpu_seconds([child.pid]) == 0.0
    assert process.resident_bytes([child.pid]) == 0
