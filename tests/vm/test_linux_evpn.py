"""The Linux dataplane of EVPN instances on the kernel of Debian 12, older than most and with VLANs on bridges."""

from __future__ import annotations

import re
import sys

import pytest

from tests.system.running import ROOT
from tests.vm.machine import run

CHECKS = ("reach_each_other", "arp_and_nd", "shares_its_traffic", "restart_touches_nothing", "others_are_used_and_stay")


@pytest.mark.limit(400)
def test_the_kernel_of_debian_carries_evpn_instances_as_that_of_this_machine_does() -> None:
    tests = [f"tests/system/test_evpn_linux_{name}.py" for name in ("dataplane", "devices")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, "-k", " or ".join(CHECKS)]
    environment = {"PYTHONPATH": f"{ROOT}/src:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    ended = run(command, seconds=380, directory=ROOT, environment=environment)
    assert ended.status == 0, ended.output
    passed = re.search(r"(\d+) passed", ended.output)
    assert passed is not None, ended.output
    assert int(passed[1]) >= len(CHECKS)
