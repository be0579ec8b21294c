"""FRR with a VRF and an L3 VNI of the kernel, and our node with Open vSwitch: EVPN's prefix routes carry packets."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from tests.system.running import ROOT
from tests.vm.frr_vni import CHECKS
from tests.vm.machine import run

SECONDS = 300


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    here = [item for item in request.session.items if item.path == request.path]
    selected = {item.callspec.params["check"] for item in here if isinstance(item, pytest.Function)}
    environment = {"PYTHONPATH": f"{ROOT}/src:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    names = [name for name in CHECKS if name in selected]
    command = [sys.executable, "-W", "ignore", "-m", "tests.vm.frr_vni", *names]
    ended = run(command, seconds=SECONDS, directory=ROOT, environment=environment)
    lines = [json.loads(line) for line in ended.output.splitlines() if line.startswith("{")]
    assert ended.status == 0, ended.output
    return {line["check"]: line for line in lines}


@pytest.mark.limit(350)
@pytest.mark.parametrize("check", CHECKS)
def test_frr_and_our_node_route_for_each_other(results: dict[str, dict[str, Any]], check: str) -> None:
    result = results[check]
    assert result["passed"], result["why"]
