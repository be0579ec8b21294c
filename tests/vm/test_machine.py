"""The machine that other tests run in: what goes in comes out, and nothing stays."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tests.vm.machine import MachineFailed, run


def kernels() -> set[str]:
    """The control directories that the kernels of this machine have been started with."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        found |= {os.fsdecode(word) for word in words if word.startswith(b"uml_dir=")}
    return found


def directories() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("vm-*"))


def test_a_command_runs_as_root_with_modules_and_gives_its_output_and_status() -> None:
    script = 'id -u; echo "$SAID"; modprobe mpls_router && cat /proc/sys/net/mpls/platform_labels; : >/written; exit 3'
    ended = run(["sh", "-c", script], seconds=60, environment={"SAID": "a b"})
    assert (ended.output.split("\n"), ended.status) == (["0", "a b", "0", ""], 3)
    # what it writes stays in there
    assert not Path("/written").exists()


def test_a_command_that_does_not_end_is_ended_and_leaves_nothing() -> None:
    before = kernels(), directories()
    with pytest.raises(MachineFailed, match=r"(?s)not ended after 6 s\nbegun.*--- console"):
        run(["sh", "-c", "echo begun; sync; sleep 1000"], seconds=6)
    assert kernels() <= before[0]
    assert directories() <= before[1]
