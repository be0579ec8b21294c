"""Flows per second from a route to the flow that Open vSwitch has acknowledged.

``python -m bench.openflow [FLOWS ...]`` starts an ovsdb-server and an ovs-vswitchd of its own with the dummy datapath,
turns FLOWS routes (default 10,000 and 100,000) into typed flows, writes them into one atomic bundle and waits for its
commit. Prints wall-clock and CPU seconds of this process and of vswitchd. Needs root only where Open vSwitch does.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from pathlib import Path

from bagpipe.dataplane.openflow import Bridge, FlowMod, Match, Ours, apply
from bagpipe.dataplane.openflow import fields as f
from bagpipe.dataplane.openflow.actions import DEC_TTL, ETH_IPV4, Action, Output, PushMpls, SetField
from bagpipe.dataplane.openflow.fields import Criterion
from tests.system.openvswitch import OpenVSwitch

_COOKIE = Ours(0xBA60 << 48, 0xFFFF << 48)
_IP = f.ETH_TYPE(ETH_IPV4)
_VRF = f.REG[0](7)
_PUSH = PushMpls()
_TUNNEL = Output(1)


def routes(count: int) -> list[tuple[bytes, int, bytes]]:
    """Prefix of 32 bits, label and next hop of ``count`` routes from 50 provider edges."""
    return [
        ((0x0A000000 + number).to_bytes(4), 16 + number % 1_000_000, (0xC0000200 + number % 50).to_bytes(4))
        for number in range(count)
    ]


def flow(prefix: bytes, label: int, next_hop: Criterion) -> FlowMod:
    actions: tuple[Action, ...] = (DEC_TTL, _PUSH, SetField(f.MPLS_LABEL(label)), SetField(next_hop), _TUNNEL)
    return FlowMod(2, 36768, Match.of(_IP, _VRF, f.IPV4_DST(prefix)), apply(*actions), _COOKIE.cookie)


def cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(bridge: Bridge, pid: int, count: int, atomic: bool) -> str:
    given = routes(count)
    own, switch, start = time.process_time(), cpu_of(pid), time.monotonic()
    flows = [flow(prefix, label, f.TUN_DST(next_hop)) for prefix, label, next_hop in given]
    made = time.monotonic() - start
    result = await bridge.apply(flows, atomic=atomic)
    wall = time.monotonic() - start
    result.check()
    own, switch = time.process_time() - own, cpu_of(pid) - switch
    start = time.monotonic()
    read = await bridge.flows(_COOKIE)
    dump = time.monotonic() - start
    if {entry.as_addition for entry in read} != set(flows):
        raise SystemExit(f"{len(read)} flows were read back, which are not the {count} written")
    await bridge.apply([FlowMod.deletion(_COOKIE.cookie, _COOKIE.mask)])
    how = "one atomic bundle" if atomic else "message by message"
    return (
        f"{count:>7} flows, {how}: {count / wall:>9,.0f} flows/s ({wall:.3f} s, of which {made:.3f} s to make them;"
        f" CPU {own:.3f} s here, {switch:.3f} s vswitchd); read back {count / dump:,.0f} flows/s"
    )


async def main(counts: list[int]) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-openflow-") as directory, OpenVSwitch(Path(directory)) as ovs:
        ovs.add_bridge("br0")
        for watch in (None, _COOKIE):
            print("changes by others watched" if watch else "no watch")
            async with Bridge(ovs.target("br0"), watch=watch) as bridge:
                await bridge.wait_connected(10)
                for count in counts:
                    for atomic in (True, False):
                        print(await measure(bridge, ovs.vswitchd_pid, count, atomic), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="flows per second, from route to acknowledged flow")
    parser.add_argument("flows", nargs="*", type=int, default=[10_000, 100_000])
    asyncio.run(main(parser.parse_args().flows))
