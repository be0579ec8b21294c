"""The observer of the bench sees each flow, in its time."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from bench.flow_observer import FlowObserver
from tests.system.openvswitch import OpenVSwitch

FLOWS = 20_000


def test_every_flow_is_seen_with_the_time_at_which_the_switch_told_of_it() -> None:
    with tempfile.TemporaryDirectory(prefix="obs-") as directory, OpenVSwitch(Path(directory)) as switch:
        # given a flow that was there before
        switch.add_bridge("br-mpls")
        switch.ofctl("add-flow", "br-mpls", "ip,nw_dst=10.9.9.9,actions=drop")
        many = Path(directory) / "flows"
        many.write_text("".join(f"ip,nw_dst=10.1.{n >> 8}.{n & 255},actions=drop\n" for n in range(FLOWS)))
        with FlowObserver(switch.target("br-mpls").removeprefix("unix:")) as observer:
            # when one flow is added, and then so many together that the switch has to pause
            times = [time.perf_counter()]
            switch.ofctl("add-flow", "br-mpls", "ip,nw_dst=10.0.0.1,actions=drop")
            times.append(time.perf_counter())
            bundle = ("--bundle", "-O", "OpenFlow15", "add-flows", switch.target("br-mpls"), str(many))
            switch.run("ovs-ofctl", *bundle)
            heard = -1
            while observer.count() != heard:
                heard = observer.count()
                time.sleep(0.5)
            seen = observer.seen()
    # then each was seen once it was there, and the one before was not news
    assert seen.keys() == {
        bytes((10, 0, 0, 1)),
        *(bytes((10, 1, number >> 8, number & 255)) for number in range(FLOWS)),
    }
    assert times[0] < seen[bytes((10, 0, 0, 1))] < min(moment for address, moment in seen.items() if address[1] == 1)
    assert seen[bytes((10, 0, 0, 1))] < times[1] + 0.5
