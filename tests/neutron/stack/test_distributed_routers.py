"""The lab's cloud with distributed routers: Neutron's agents with DVR, and on each host its L3 agent."""

from __future__ import annotations

import os
import re

import pytest

from tests.neutron.stack.stack import Stack


@pytest.mark.limit(400)
def test_networks_of_a_distributed_router_are_in_the_vpn_and_what_it_does_not_cover_stays_with_the_router() -> None:
    stack = Stack(f"bagpipe-distributed-{os.getpid()}")
    try:
        done = stack.up("--distributed")
        assert done.status == 0, f"{done.text}\n{stack.logs()}"
        said = stack.played("distributed-router")
    finally:
        stack.down()
    for vm in ("di-a", "di-e"):
        assert f"3 of 3 pings of {vm} to di-b had a label on the underlay" in said
    for vm in ("di-a", "di-near", "di-e", "di-f"):
        by_router = (
            rf"{vm} → 10\.82\.0\.\d+ \(di-b, which is not in the VPN: by the router of the machine's host\): answered"
        )
        assert re.search(by_router, said), said
