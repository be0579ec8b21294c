"""EVPN routes per second through the Linux driver: from a record to the entry that the kernel has acknowledged.

``python -m bench.evpn_linux [MACS ...]`` (root) makes a network namespace and gives the driver MACS addresses (default
10,000 and 100,000) at 50 other nodes, in batches as the programmer does; each is an entry of the VXLAN device and one
of the bridge. Then the same with an IPv4 address each, which is a neighbour as well. Then it adopts them (nothing
differs, nothing is sent) and removes them. Prints wall-clock and CPU seconds of this process, which the kernel's work
is part of, and the longest time for which the loop was held.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address

from bagpipe.dataplane.delta import Change
from bagpipe.dataplane.driver import DriverEvent
from bagpipe.dataplane.linux.driver import LinuxDataplane
from bagpipe.dataplane.linux.settings import LinuxSettings
from bagpipe.dataplane.model import (
    Bridge,
    BridgeKey,
    Encapsulation,
    Key,
    MacKey,
    Neighbour,
    NeighbourKey,
    Remote,
    Value,
)
from bagpipe.dataplane.programmer import BATCH
from bagpipe.identifiers import MacAddress
from tests.system.evpn_hosts import a_site
from tests.system.ovs_nodes import inside

_VNI = 5000
_BRIDGE: dict[Key, Value] = {BridgeKey(7): Bridge("bench", _VNI)}


def macs(count: int) -> dict[Key, Value]:
    """MACs at other nodes."""
    return {
        MacKey(7, b"\x02\x01" + number.to_bytes(4)): (
            Remote((0xC6336400 + number % 50).to_bytes(4), _VNI, Encapsulation.VXLAN),
        )
        for number in range(count)
    }


def neighbours(count: int) -> dict[Key, Value]:
    """An address for each of the MACs."""
    return {
        NeighbourKey(7, (0x0A000000 + number).to_bytes(4)): Neighbour(MacAddress(b"\x02\x01" + number.to_bytes(4)))
        for number in range(count)
    }


class Longest:
    """The longest time for which nobody else had the loop, while the block runs."""

    async def __aenter__(self) -> Longest:
        self.seconds = 0.0
        self._task = asyncio.create_task(self._watch())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(0)
        self._task.cancel()

    async def _watch(self) -> None:
        before = time.monotonic()
        while True:
            await asyncio.sleep(0)
            now = time.monotonic()
            self.seconds, before = max(self.seconds, now - before), now


async def timed(what: str, count: int, act: Callable[[], Awaitable[object]]) -> None:
    """Do it and print how long it took."""
    wall, cpu = time.monotonic(), time.process_time()
    async with Longest() as longest:
        refused = await act()
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    if refused:
        raise SystemExit(f"{what}: {refused}")
    held = f"loop held {longest.seconds * 1000:.0f} ms at most"
    print(f"{count:>7} {what:<26} {count / wall:>9,.0f} /s ({wall:.3f} s, CPU {cpu:.3f} s, {held})", flush=True)


async def apply(driver: LinuxDataplane, changes: Sequence[Change]) -> dict[Key, str]:
    """As the programmer does it: so many at a time."""
    refused: dict[Key, str] = {}
    for start in range(0, len(changes), BATCH):
        refused |= await driver.apply(changes[start : start + BATCH])
    return refused


async def main(counts: list[int]) -> None:
    with a_site() as site:
        host = site.hosts[0]
        said: asyncio.Queue[DriverEvent] = asyncio.Queue()
        with inside(host.namespace):
            driver = LinuxDataplane(LinuxSettings(ip_address(host.addresses[0])))
            await driver.start(said.put_nowait)
        await said.get()
        for count in counts:
            made = [("MACs", macs(count)), ("MACs with an address", macs(count) | neighbours(count))]
            for name, given in made:
                refused = await driver.adopt(_BRIDGE, sweep=True)
                if refused:
                    raise SystemExit(f"{refused}")
                added = [Change(key, None, value) for key, value in given.items()]
                removed = [Change(key, value, None) for key, value in given.items()]
                desired = _BRIDGE | given
                await timed(f"{name}, applied", count, lambda added=added: apply(driver, added))  # type: ignore[misc]
                await timed(
                    f"{name}, adopted",
                    count,
                    lambda desired=desired: driver.adopt(desired, sweep=True),  # type: ignore[misc]
                )
                await timed(f"{name}, removed", count, lambda removed=removed: apply(driver, removed))  # type: ignore[misc]
        await driver.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="EVPN routes per second through the Linux driver")
    parser.add_argument("macs", nargs="*", type=int, default=[10_000, 100_000])
    asyncio.run(main(parser.parse_args().macs))
