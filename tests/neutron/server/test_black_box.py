"""The drivers under other people's rules: networking-bgpvpn's own tests, the oldest Neutron that is supported."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import pytest

from tests.neutron.server.runs import OURS, ROOT, V1, V2, script, sent, steps

OLDEST_PYTHON = str(Path(os.environ.get("BAGPIPE_REFERENCE_VENV", ROOT / ".venv-reference")) / "bin" / "python")


@pytest.mark.parametrize("driver", [V1, V2])
def test_the_api_passes_the_tests_of_networking_bgpvpn(driver: str) -> None:
    run = script(sys.executable, "bgpvpn_suite.py", f"{OURS}.{driver}", paths=(ROOT / "src",))
    assert run.returncode == 0, (run.stdout + run.stderr)[-4000:]


@pytest.mark.parametrize("driver", [V1, V2])
def test_neutron_of_2024_2_tells_agents_the_same(driver: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        answer = Path(directory) / "answer.json"
        run = script(OLDEST_PYTHON, "story.py", f"{OURS}.{driver}", str(answer), paths=(ROOT / "src",))
        assert answer.is_file(), run.stderr[-3000:]
        oldest = json.loads(answer.read_text())
    newest = steps("story.py", f"{OURS}.{driver}")
    assert [step for step in newest if sent(newest, step) != sent(oldest, step)] == []
