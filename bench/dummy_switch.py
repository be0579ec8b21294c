"""An Open vSwitch with a dummy datapath: flows are checked and kept as ever, no packet moves."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.quiet import Failed
from tests.system.openvswitch import OpenVSwitch

_POLL = 0.005


@contextmanager
def dummy_switch(bridge: str, port: str) -> Iterator[OpenVSwitch]:
    """One with a bridge and a port in it, while the block lasts."""
    with tempfile.TemporaryDirectory(prefix="bflow-") as directory, OpenVSwitch(Path(directory)) as switch:
        switch.add_bridge(bridge)
        switch.vsctl("add-port", bridge, port, "--", "set", "interface", port, "type=dummy")
        yield switch


def flow_count(switch: OpenVSwitch, bridge: str) -> int:
    """How many flows the switch says that a bridge has. Raises ``Failed``."""
    found = re.search(r"flow_count=(\d+)", switch.ofctl("dump-aggregate", bridge))
    if found is None:
        raise Failed("the switch does not count its flows")
    return int(found[1])


def wait_flows(switch: OpenVSwitch, bridge: str, flows: int, turn: Callable[[], object]) -> None:
    """Wait until a bridge has so many; meanwhile ``turn`` is called again and again, and what it raises ends it."""
    while flow_count(switch, bridge) < flows:
        turn()
        time.sleep(_POLL)
