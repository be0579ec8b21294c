"""Stacks that are ours in part, or otherwise configured: networking-bagpipe's driver, agents and daemons beside ours.

The reference agent and driver are those of networking-bagpipe 25.0.0, the daemon that of 20.0.0.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest

from tests.neutron.stack.stack import Stack

pytestmark = pytest.mark.limit(400)
MIXED: dict[str, tuple[str, ...]] = {
    "our agents, the reference daemon on one host": ("--daemons", "ours,reference"),
    "reference agents, our daemons": ("--agents", "reference"),
    "one agent of each": ("--agents", "ours,reference"),
    "our v1 driver": ("--driver", "v1"),
    "the noop firewall": ("--firewall", "noop"),
    "the reference's v2 driver": ("--driver", "reference-v2"),
}

PLAYED = {"the noop firewall": "vlan", "one agent of each": "bridged"}
"""The scenario that is played then, if it is another than the usual one."""


@pytest.fixture
def mixed() -> Iterator[Stack]:
    made = Stack(f"bagpipe-mixed-{os.getpid()}")
    yield made
    made.down()


@pytest.mark.parametrize("what", MIXED)
def test_machines_reach_each_other_both_ways_and_the_backbone_with(mixed: Stack, what: str) -> None:
    done = mixed.up(*MIXED[what])

    assert done.status == 0, f"{done.text}\n{mixed.logs()}"
    answered = re.findall(r"^ +(\w+) +→ (\S+) +3 of 3 answered: (.*)$", done.text, re.MULTILINE)
    assert {source for source, _, _ in answered} >= {"vm1", "vm2", "site"}, done.text
    assert "vm2, other network and host" in {who for _, _, who in answered}
    assert mixed.played(PLAYED.get(what, "route-target-update"))


@pytest.mark.parametrize("reflector", ["frr", "gobgp", "bird"])
def test_machines_reach_each_other_with_another_reflector(mixed: Stack, reflector: str) -> None:
    done = mixed.up("--reflector", reflector)

    assert done.status == 0, f"{done.text}\n{mixed.logs()}"
    assert re.search(r"^ +vm1 +→ 172\.16\.0\.10 +3 of 3 answered", done.text, re.MULTILINE)
