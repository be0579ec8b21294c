"""EVPN on Open vSwitch with the datapath of the kernel: real packets, and answers to ARP and ND at home."""

from __future__ import annotations

import pytest

from tests.vm.evpn_datapath import CHECKS
from tests.vm.selected import Results, results_of

SECONDS = 400


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest) -> Results:
    return results_of("evpn_datapath", CHECKS, request, SECONDS)


@pytest.mark.limit(450)
@pytest.mark.parametrize("check", CHECKS)
def test_the_kernel_datapath_carries_evpn(results: Results, check: str) -> None:
    result = results[check]
    assert result["passed"], result["why"]
