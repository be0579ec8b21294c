"""FRR with a VRF and an L3 VNI of the kernel, and our node with Open vSwitch: EVPN's prefix routes carry packets."""

from __future__ import annotations

import pytest

from tests.vm.frr_vni import CHECKS
from tests.vm.selected import Results, results_of

SECONDS = 300


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest) -> Results:
    return results_of("frr_vni", CHECKS, request, SECONDS)


@pytest.mark.limit(350)
@pytest.mark.parametrize("check", CHECKS)
def test_frr_and_our_node_route_for_each_other(results: Results, check: str) -> None:
    result = results[check]
    assert result["passed"], result["why"]
