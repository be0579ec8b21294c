"""What it costs to bring received MAC addresses into an EVPN instance: into a null dataplane, Linux and Open vSwitch.

A program runs with one EVPN instance that imports every route target of the input. A figure of a dataplane counts from
the sending of the first octet until the last entry is there: on Linux as the kernel's notifications tell another
socket, on Open vSwitch (dummy datapath, a bridge of its own) as its count of flows does.
"""

from __future__ import annotations

import contextlib
import functools
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench import evpn_inputs
from bench.cases import Received, _check, _drain, _losses, _ready, _take_in
from bench.dummy_switch import dummy_switch, flow_count, wait_flows
from bench.forwarding import Forwarded
from bench.kernel_observer import KernelObserver
from bench.lab import SENDER_ADDRESS, Lab
from bench.programs.ours import PORT, Evi
from bench.programs.program import CounterFailed, Importer, ask
from bench.programs.running import Running
from bench.quiet import Failed, Watch
from bench.session import Session

BRIDGE = "br-evpn"
_FLOWS = {False: 1, True: 3}
"""Of a route without and with an address: where to, an answer to ARP requests, and one for those who announce."""


def imported(lab: Lab, program: Importer, kind: str, routes: int, limit: float) -> Received:
    """Receive ``routes`` routes of type 2 that one EVPN instance imports all of, the dataplane being somebody else's.

    Raises ``Unavailable``, ``Failed`` or ``OverBudget``.
    """
    with program.beside(lab), Running(lab, program, [SENDER_ADDRESS]) as running, _losses(running):
        join = functools.partial(_join, running, program, routes)
        received = _take_in(running, evpn_inputs.END_OF_RIB, join, (kind, routes), limit)
        count = functools.partial(program.imported, running.lab, running.directory)
        _check(count, routes, "its instance", "its instance has {} MAC addresses")
        return received


def into_linux(lab: Lab, routes: int, addresses: bool, limit: float) -> Forwarded:
    """Send a burst of ``routes`` packed routes, with an IPv4 address each or without, until the kernel has them all.

    Raises ``Unavailable``, ``Failed`` or ``OverBudget``.
    """
    program = Evi("linux")
    population = evpn_inputs.routes(routes, addresses=addresses)
    expected = {route.mac for route in population} | {route.address for route in population if addresses}
    with _interface(lab), Running(lab, program, [SENDER_ADDRESS]) as running, _losses(running):
        sender = _sender(running, program, routes)
        with KernelObserver(lab.near) as observer:
            resident, watch = running.resident(), Watch(running, limit)
            begin = _burst(sender, routes, addresses)
            seen = observer.wait(lambda seen: expected <= seen.keys(), lambda: (watch.spent(), sender.read()))
            cpu = watch.until_quiet(functools.partial(_drain, [sender]))
        shown = ask(lab.command(["bridge", "fdb", "show"]))
        held = len({line[:17] for line in shown.splitlines() if " dst 10.254." in line})
        if held != routes:
            raise Failed(f"cross-check: the kernel has {held} MAC addresses at other nodes, {routes} expected")
        octets = (running.resident() - resident) / routes
        return Forwarded(routes, max(seen[one] for one in expected) - begin, cpu, octets)


def into_switch(lab: Lab, routes: int, addresses: bool, limit: float) -> Forwarded:
    """The same until Open vSwitch holds their flows."""
    with dummy_switch(BRIDGE, PORT) as switch:
        directory = switch.directory
        program = Evi(
            "ovs",
            f"ovs_bridge = {BRIDGE}\novsdb_connection = unix:{directory}/db.sock\novs_run_directory = {directory}\n",
        )
        flows = routes * _FLOWS[addresses]
        with Running(lab, program, [SENDER_ADDRESS]) as running, _losses(running):
            sender = _sender(running, program, routes)
            before, resident = flow_count(switch, BRIDGE), running.resident()
            watch = Watch(running, limit)
            begin = _burst(sender, routes, addresses)
            wait_flows(switch, BRIDGE, before + flows, lambda: (watch.spent(), sender.read()))
            seconds = time.perf_counter() - begin
            cpu = watch.until_quiet(functools.partial(_drain, [sender]))
            return Forwarded(routes, seconds, cpu, (running.resident() - resident) / routes)


def _sender(running: Running, program: Importer, routes: int) -> Session:
    return _ready(running, evpn_inputs.END_OF_RIB, functools.partial(_join, running, program, routes))


def _join(running: Running, program: Importer, routes: int) -> None:
    try:
        program.join(running.lab, running.directory, evpn_inputs.instances(routes))
    except CounterFailed as error:
        raise Failed(f"there is no instance: {error}") from error


def _burst(sender: Session, routes: int, addresses: bool) -> float:
    """Send all at once; when (``time.perf_counter``) that began."""
    data = b"".join(evpn_inputs.packed(routes, addresses=addresses))
    begin = time.perf_counter()
    sender.send(data)
    return begin


@contextmanager
def _interface(lab: Lab) -> Iterator[None]:
    """The machine's interface at the program's end, and nothing of the driver after the block."""
    ask(["ip", "-n", lab.near, "link", "add", PORT, "type", "veth", "peer", "name", f"{PORT}-peer"])
    try:
        yield
    finally:
        with contextlib.suppress(CounterFailed):
            for kind in ("vxlan", "bridge"):
                for line in ask(["ip", "-n", lab.near, "-o", "link", "show", "type", kind]).splitlines():
                    name = line.split(": ")[1].split("@")[0]
                    _delete(lab, name)
        _delete(lab, PORT)


def _delete(lab: Lab, device: str) -> None:
    subprocess.run(["ip", "-n", lab.near, "link", "del", device], check=False, capture_output=True)
