"""Routes per second through the Open vSwitch driver: from a record to the flow that the switch has acknowledged.

``python -m bench.ovs_driver [ROUTES ...]`` starts an Open vSwitch of its own with the dummy datapath, gives the driver
ROUTES routes (default 10,000 and 100,000) to 50 provider edges, each with a label of its own, in one batch; then has it
adopt them (nothing differs, nothing is sent) and removes them. Prints wall-clock and CPU seconds of this process.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from pathlib import Path

from bagpipe.dataplane.delta import Change
from bagpipe.dataplane.model import Encapsulation, Forward, ForwardKey, Prefix, Remote
from bagpipe.dataplane.ovs.settings import ANY_GRE, OvsSettings
from tests.system.openvswitch import OpenVSwitch
from tests.system.ovs_driving import driving


def routes(count: int) -> dict[ForwardKey, Forward]:
    """Host routes of one VRF."""
    return {
        ForwardKey(7, Prefix(4, 32, (0x0A000000 + number).to_bytes(4))): (
            Remote((0xC0000200 + number % 50).to_bytes(4), 16 + number % 1_000_000, Encapsulation.MPLS_GRE),
        )
        for number in range(count)
    }


async def timed(what: str, count: int, act: Callable[[], Awaitable[object]]) -> None:
    wall, cpu = time.monotonic(), time.process_time()
    refused = await act()
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    if refused:
        raise SystemExit(f"{what}: {refused}")
    print(f"{count:>7} routes {what:<8} {count / wall:>9,.0f} /s ({wall:.3f} s, CPU here {cpu:.3f} s)", flush=True)


async def main(counts: list[int]) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-ovs-") as directory, OpenVSwitch(Path(directory)) as ovs:
        ovs.add_bridge("br-mpls")
        settings = OvsSettings(
            ip_address("192.0.2.1"),
            database=f"unix:{directory}/db.sock",
            run_directory=directory,
            mpls_interface=ANY_GRE,
            tunnel_options=(("packet_type", "legacy_l3"),),
        )
        async with driving(settings) as driven:
            driver = driven.driver
            for count in counts:
                given = routes(count)
                added = [Change(key, None, value) for key, value in given.items()]
                removed = [Change(key, value, None) for key, value in given.items()]
                await timed("applied", count, lambda added=added: driver.apply(added))  # type: ignore[misc]
                await timed("adopted", count, lambda given=given: driver.adopt(given, sweep=True))  # type: ignore[misc]
                await timed("removed", count, lambda removed=removed: driver.apply(removed))  # type: ignore[misc]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="routes per second through the Open vSwitch driver")
    parser.add_argument("routes", nargs="*", type=int, default=[10_000, 100_000])
    asyncio.run(main(parser.parse_args().routes))
