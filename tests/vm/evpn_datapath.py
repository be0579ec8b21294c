"""What is checked of EVPN on Open vSwitch with the datapath of the kernel. Runs as root in a machine of its own.

Two compute nodes as in ``tests.system.evpn_nodes``, beside Neutron's flows and on bridges of the driver's own. For each
check one line of JSON is written: ``check``, ``passed``, ``why``.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
import traceback

from tests.system.evpn_nodes import (
    Member,
    Wiretap,
    add_neutron,
    driving,
    forget_neighbours,
    is_question,
    of_others,
    reaches,
)
from tests.system.ovs_nodes import Nodes
from tests.vm.kernel_datapath import MODULES, SETTLED

CHECKS = [f"{mode} on {underlay}" for mode in ("neutron", "own") for underlay in ("IPv4", "IPv6")]
A, B, A6, B6 = "192.168.9.1", "192.168.9.2", "fd00:9::1", "fd00:9::2"


async def machines_reach_each_other_and_no_question_crosses_the_wire(mode: str, which: int) -> None:
    """Raises AssertionError."""
    with Nodes("system") as nodes:
        west, east = Member(nodes.west, mode, 5), Member(nodes.east, mode, 7)
        if mode == "neutron":
            add_neutron(nodes.west)
            add_neutron(nodes.east, arp_responder=False)
        a = west.machine("a", 0x0A, [f"{A}/24", f"{A6}/64"])
        b = east.machine("b", 0x0B, [f"{B}/24", f"{B6}/64"])
        async with driving(west.settings(which)) as one, driving(east.settings(which)) as other:
            await one.want(west.records(a) | of_others(east, b, which=which))
            await other.want(east.records(b) | of_others(west, a, which=which))
            assert one.refused == other.refused == {}
            forget_neighbours(a, b)
            with Wiretap(nodes.west.namespace, "wire") as wire:
                for vm, address in ((a, B), (b, A), (a, B6), (b, A6)):
                    assert await asyncio.to_thread(reaches, vm, address, seconds=15), f"{vm.name} to {address}"
                assert wire.tunnelled
                assert [frame.hex() for frame in wire.tunnelled if is_question(frame)] == []
            assert await one.driver.audit(one.tracker.desired) == []


def main(names: list[str]) -> int:
    """Run these checks; 0 if they could be run, whatever came of them."""
    for module in MODULES:
        subprocess.run(["modprobe", module], check=True, timeout=30)
    time.sleep(max(0.0, SETTLED - time.clock_gettime(time.CLOCK_BOOTTIME)))
    for name in names:
        mode, _, underlay = name.partition(" on ")
        why = ""
        try:
            asyncio.run(
                machines_reach_each_other_and_no_question_crosses_the_wire(mode, ("IPv4", "IPv6").index(underlay))
            )
        except Exception:  # it is told, and judged outside
            why = traceback.format_exc()
        print(json.dumps({"check": name, "passed": not why, "why": why}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or CHECKS))
