"""The checks of a module that the selected tests ask for, all run in one machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

import pytest

from tests.system.running import ROOT
from tests.vm.machine import run

Results = dict[str, dict[str, Any]]
"""What a check came to, by its name: ``check``, ``passed``, ``seconds``, ``why``."""


def results_of(module: str, checks: Iterable[str], request: pytest.FixtureRequest, seconds: float) -> Results:
    """Run those of the checks of a module of this package that selected tests have as their parameter ``check``.

    The machine is up for ``seconds`` at most. The module is run with the names, in the order of ``checks``, and writes
    one line of JSON for each.
    """
    here = [item for item in request.session.items if item.path == request.path]
    selected = {item.callspec.params["check"] for item in here if isinstance(item, pytest.Function)}
    names = [name for name in checks if name in selected]
    environment = {"PYTHONPATH": f"{ROOT}/src:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-W", "ignore", "-m", f"tests.vm.{module}", *names]
    ended = run(command, seconds=seconds, directory=ROOT, environment=environment)
    lines = [json.loads(line) for line in ended.output.splitlines() if line.startswith("{")]
    assert ended.status == 0, ended.output
    return {line["check"]: line for line in lines}
