"""EVPN routes per second through the drivers: from a record to the entry or flow that is acknowledged.

``python -m bench.evpn_drivers [MACS ...]`` (root) gives the Linux driver, in a network namespace, and that of Open
vSwitch, on a bridge of its own and beside Neutron (dummy datapath), MACS addresses (default 10,000 and 100,000) at 50
other nodes, in batches as the programmer does. On Linux each is an entry of the VXLAN device and one of the bridge, on
Open vSwitch a flow. Then the same with an IPv4 address each, which is a neighbour, or two flows that answer, as well.
Then the driver adopts them (nothing differs, nothing is sent) and removes them. Prints wall-clock and CPU seconds of
this process, which the kernel's work for Linux is part of, and the longest time for which the loop was held.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from bagpipe.dataplane.delta import Change
from bagpipe.dataplane.driver import Dataplane, DriverEvent
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
    Plug,
    PlugKey,
    Port,
    Remote,
    SourceKey,
    Value,
)
from bagpipe.dataplane.ovs_evpn.driver import OvsEvpnDataplane
from bagpipe.dataplane.ovs_evpn.settings import OvsEvpnSettings
from bagpipe.dataplane.programmer import BATCH
from bagpipe.identifiers import MacAddress
from bench.quiet import Failed
from tests.system.evpn_hosts import a_site
from tests.system.openvswitch import OpenVSwitch
from tests.system.ovs_nodes import inside

DRIVERS = {"linux": "", "ovs": "br-evpn", "neutron": "br-tun"}
"""And the bridge of a switch that they program."""
_EVI = 7
_VNI = 5000
_NODES = [(0xC6336400 + number).to_bytes(4) for number in range(50)]
_PORT = Port("bench", number=3, vlan=5)
_PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Applied:
    """``routes`` records of MAC addresses and what belongs to them: seconds until all was acknowledged, processor
    seconds of this process, and the longest time for which nobody else had the loop.
    """

    routes: int
    seconds: float
    cpu: float
    held: float


def ground() -> dict[Key, Value]:
    """The records that are there beforehand: the instance, and whom to accept frames from."""
    return {BridgeKey(_EVI): Bridge("bench", _VNI), **{SourceKey(node): True for node in _NODES}}


def macs(count: int) -> dict[Key, Value]:
    """MACs at other nodes."""
    hops = [(Remote(node, _VNI, Encapsulation.VXLAN),) for node in _NODES]
    return {MacKey(_EVI, b"\x02\x01" + number.to_bytes(4)): hops[number % len(hops)] for number in range(count)}


def neighbours(count: int) -> dict[Key, Value]:
    """An address for each of the MACs."""
    return {
        NeighbourKey(_EVI, (0x0A000000 + number).to_bytes(4)): Neighbour(MacAddress(b"\x02\x01" + number.to_bytes(4)))
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


async def timed(count: int, act: Callable[[], Awaitable[object]]) -> Applied:
    """Do it. Raises ``Failed`` for what is refused."""
    wall, cpu = time.monotonic(), time.process_time()
    async with Longest() as longest:
        refused = await act()
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    if refused:
        raise Failed(f"the driver refuses: {str(refused)[:300]}")
    return Applied(count, wall, cpu, longest.seconds)


async def apply(driver: Dataplane, changes: Sequence[Change]) -> dict[Key, str]:
    """As the programmer does it: so many at a time."""
    refused: dict[Key, str] = {}
    for start in range(0, len(changes), BATCH):
        refused |= await driver.apply(changes[start : start + BATCH])
    return refused


async def applied(name: str, count: int, *, addresses: bool) -> Applied:
    """Give one driver ``count`` MACs at other nodes, with an address each or without. Raises ``Failed``."""
    with _place(name) as driver:
        async with _running(driver):
            given = macs(count) | (neighbours(count) if addresses else {})
            return await timed(count, lambda: apply(driver, [Change(key, None, given[key]) for key in given]))


@contextmanager
def _place(name: str) -> Iterator[Dataplane]:
    """A driver that is not started, and what it is to program."""
    if name == "linux":
        with a_site() as site, inside(site.hosts[0].namespace):
            yield LinuxDataplane(LinuxSettings(ip_address(site.hosts[0].addresses[0])))
        return
    with tempfile.TemporaryDirectory(prefix="bench-ovs-") as directory, OpenVSwitch(Path(directory)) as switch:
        switch.add_bridge(DRIVERS[name])
        database = f"unix:{directory}/db.sock"
        yield OvsEvpnDataplane(OvsEvpnSettings(ip_address("127.0.0.1"), DRIVERS[name], database, directory))


@asynccontextmanager
async def _running(driver: Dataplane) -> AsyncIterator[None]:
    """The driver with the ground beneath it. Raises ``Failed`` for what is refused."""
    said: asyncio.Queue[DriverEvent] = asyncio.Queue()
    await driver.start(said.put_nowait)
    try:
        await asyncio.wait_for(said.get(), _PATIENCE)
        refused = await driver.adopt(_base(driver), sweep=True)
        if refused:
            raise Failed(f"the driver refuses: {refused}")
        yield
    finally:
        await driver.close()


def _base(driver: Dataplane) -> dict[Key, Value]:
    if isinstance(driver, LinuxDataplane):
        return ground()
    return ground() | {PlugKey(_PORT): Plug(_EVI)}


async def main(counts: list[int]) -> None:
    """Measure both drivers and print."""
    for name in DRIVERS:
        with _place(name) as driver:
            async with _running(driver):
                for count in counts:
                    made = [("MACs", macs(count)), ("MACs with an address", macs(count) | neighbours(count))]
                    for title, given in made:
                        added = [Change(key, None, value) for key, value in given.items()]
                        removed = [Change(key, value, None) for key, value in given.items()]
                        desired = _base(driver) | given
                        steps: dict[str, Callable[[], Awaitable[object]]] = {
                            "applied": lambda added=added: apply(driver, added),  # type: ignore[misc]
                            "adopted": lambda desired=desired: driver.adopt(desired, sweep=True),  # type: ignore[misc]
                            "removed": lambda removed=removed: apply(driver, removed),  # type: ignore[misc]
                        }
                        for what, act in steps.items():
                            found = await timed(count, act)
                            told = f"{found.seconds:.3f} s, CPU {found.cpu:.3f} s, loop held {found.held * 1000:.0f} ms"
                            rate = f"{count / found.seconds:>9,.0f} /s"
                            print(f"{name:>7} {count:>7} {title}, {what:<8} {rate} ({told} at most)", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="EVPN routes per second through the drivers")
    parser.add_argument("macs", nargs="*", type=int, default=[10_000, 100_000])
    asyncio.run(main(parser.parse_args().macs))
