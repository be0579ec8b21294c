"""What a restart of ``bagpipe-bgp`` costs in packets: two nodes on Open vSwitch, 1,000 echo requests a second.

The userspace datapath carries real packets between namespaces. One stream stays on the node whose daemon is restarted,
the other goes to the other node. What is lost on the first is the dataplane's; the second also loses what is sent while
the neighbours have withdrawn the node's routes, because its sessions are down.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.quiet import Failed
from tests.system.ovs_nodes import Vm
from tests.system.vpn_site import VpnSite, reaches, streaming

_TARGETS = ["64512:1"]
_BEFORE = 0.5
_SECONDS = 8


@dataclass(frozen=True, slots=True)
class Restarted:
    """Echo requests sent and lost, within the node and to another node; ``away`` is how many seconds the session of the
    daemon was down.
    """

    sent_within: int
    lost_within: int
    sent_between: int
    lost_between: int
    away: float


def restarted(number: signal.Signals) -> Restarted:
    """End the daemon by ``number``, start it again at once, and count. Raises ``Failed``."""
    try:
        with (
            _site() as (site, a, near, b),
            streaming(a, near.addresses[0], _SECONDS) as within,
            streaming(a, b.addresses[0], _SECONDS) as between,
        ):
            time.sleep(_BEFORE)
            began = time.monotonic()
            site.west.stop(number)
            site.west.start()
            site.west.wait_established()
            away = time.monotonic() - began
            if not reaches(a, b.addresses[0], 30):
                raise Failed("the other node is not reached any more")
            return Restarted(within.count, within.lost(), between.count, between.lost(), away)
    except AssertionError as error:
        raise Failed(str(error)) from error


@contextmanager
def _site() -> Iterator[tuple[VpnSite, Vm, Vm, Vm]]:
    """Two nodes; ``a`` and ``near`` on the first, ``b`` on the second, all in one VPN and reaching each other."""
    with VpnSite("MPLS in GRE") as site:
        west, east = site.nodes.west, site.nodes.east
        a, near = west.vm("a", 0x0A, ["10.0.0.1/32"]), west.vm("near", 0x2A, ["10.0.0.3/32"])
        b = east.vm("b", 0x0B, ["10.0.0.2/32"])
        for compute, vm in ((site.west, a), (site.west, near), (site.east, b)):
            compute.attach("red", vm, rt=_TARGETS)
        if not (reaches(a, "10.0.0.3") and reaches(a, "10.0.0.2")):
            raise Failed("the machines do not reach each other before the restart")
        yield site, a, near, b
