"""Open vSwitch with the datapath of the kernel carries what the daemon programs: every encapsulation, real packets.

All checks share one machine, which is up for about four minutes, and runs those that are selected.
"""

from __future__ import annotations

import pytest

from tests.vm.kernel_datapath import CHECKS
from tests.vm.selected import Results, results_of

SECONDS = 560


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest) -> Results:
    return results_of("kernel_datapath", CHECKS, request, SECONDS)


@pytest.mark.limit(600)
@pytest.mark.parametrize("check", CHECKS)
def test_the_kernel_datapath_carries_the_vpns(results: Results, check: str) -> None:
    result = results[check]
    assert result["passed"], result["why"]
