"""The link in an agent that eventlet has patched: Neutron 25's own patching, with both daemons."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.interop.harness.reference import reference_program
from tests.neutron.link.daemons import Ours, Theirs, running
from tests.system.running import ROOT

AGENT = Path(__file__).with_name("eventlet_agent.py")


def agent(port: int, daemon: int) -> dict[str, Any]:
    ended = subprocess.run(
        [str(reference_program("python")), str(AGENT), str(port), str(daemon)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert isinstance(told, dict)
    return told


@pytest.mark.parametrize("kind", ["v2", "v1"])
def test_green_threads_run_on_while_a_daemon_is_told_or_stands_still(tmp_path: Path, kind: str) -> None:
    daemon = Ours(tmp_path) if kind == "v2" else Theirs(tmp_path)
    with running(daemon):
        daemon.start()
        process = daemon.process if isinstance(daemon, Theirs) else daemon.program and daemon.program.process
        assert process is not None
        told = agent(daemon.port, process.pid)
        assert (told["patched"], told["kind"]) == (True, kind)
        assert told["attached"]
        assert told["detached"]
        assert told["said"] < 0.1
        assert told["forgot"] < 0.1
        assert told["ticks while it stands still"] > 50
        assert told["stopped"] < 0.5
        assert daemon.endpoints() == set()
