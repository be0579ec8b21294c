"""What it costs to bring received MAC addresses into an EVPN instance: into a null dataplane, Linux and Open vSwitch.

A program runs with one EVPN instance that imports every route target of the input. A figure of a dataplane counts from
the sending of the first octet until the last entry is there: on Linux as the kernel's notifications tell another
socket, on Open vSwitch (dummy datapath, a bridge of its own) as its count of flows does.
"""

from __future__ import annotations

import contextlib
import functools
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import evpn_inputs
from bench.cases import Received, _check_counter, _drain, _losses, _send_and_settle
from bench.forwarding import Forwarded
from bench.kernel_observer import KernelObserver
from bench.lab import SENDER_ADDRESS, Lab
from bench.programs.ours import PORT, Evi
from bench.programs.program import CounterFailed, Importer, ask
from bench.programs.running import Running
from bench.quiet import Failed, Watch, settle
from bench.session import RTC_END_OF_RIB, Session
from tests.system.openvswitch import OpenVSwitch

BRIDGE = "br-evpn"
_FLOWS = {False: 1, True: 3}
"""Of a route without and with an address: where to, an answer to ARP requests, and one for those who announce."""
_PATIENCE = 5.0
_POLL = 0.005
_SILENCE = 0.5


def imported(lab: Lab, program: Importer, kind: str, routes: int, limit: float) -> Received:
    """Receive ``routes`` routes of type 2 that one EVPN instance imports all of, the dataplane being somebody else's.

    Raises ``Unavailable``, ``Failed`` or ``OverBudget``.
    """
    with program.beside(lab), Running(lab, program, [SENDER_ADDRESS]) as running, _losses(running):
        sender = _established(running)
        turn = functools.partial(_drain, [sender])
        settle(running, turn)
        at_rest = running.resident()
        _join(running, program, routes)
        idle = settle(running, turn)
        asked = running.resident()
        cpu = _send_and_settle(running, sender, (kind, routes), limit, idle)
        octets = (running.resident() - asked) / routes
        _check_counter(running, routes)
        _check_imported(running, program, routes)
        return Received(routes, cpu, octets, at_rest, asked, None, "")


def into_linux(lab: Lab, routes: int, addresses: bool, limit: float) -> Forwarded:
    """Send a burst of ``routes`` packed routes, with an IPv4 address each or without, until the kernel has them all.

    Raises ``Unavailable``, ``Failed`` or ``OverBudget``.
    """
    program = Evi("linux")
    population = evpn_inputs.routes(routes, addresses=addresses)
    expected = {route.mac for route in population} | {route.address for route in population if addresses}
    with _interface(lab), Running(lab, program, [SENDER_ADDRESS]) as running, _losses(running):
        sender = _ready(running, program, routes)
        with KernelObserver(lab.near) as observer:
            resident, watch = running.resident(), Watch(running, limit)
            begin = _burst(sender, routes, addresses)
            heard = -1
            while observer.count() != heard or not expected <= observer.seen().keys():
                heard = observer.count()
                watch.spent()
                sender.read()
                time.sleep(_SILENCE)
            cpu = watch.until_quiet(functools.partial(_drain, [sender]))
            seen = observer.seen()
        shown = ask(lab.command(["bridge", "fdb", "show"]))
        held = len({line[:17] for line in shown.splitlines() if " dst 10.254." in line})
        if held != routes:
            raise Failed(f"cross-check: the kernel has {held} MAC addresses at other nodes, {routes} expected")
        octets = (running.resident() - resident) / routes
        return Forwarded(routes, max(seen[one] for one in expected) - begin, cpu, octets)


def into_switch(lab: Lab, routes: int, addresses: bool, limit: float) -> Forwarded:
    """The same until Open vSwitch holds their flows."""
    with tempfile.TemporaryDirectory(prefix="bflow-") as directory, OpenVSwitch(Path(directory)) as switch:
        switch.add_bridge(BRIDGE)
        switch.vsctl("add-port", BRIDGE, PORT, "--", "set", "interface", PORT, "type=dummy")
        program = Evi(
            "ovs",
            f"ovs_bridge = {BRIDGE}\novsdb_connection = unix:{directory}/db.sock\novs_run_directory = {directory}\n",
        )
        flows = routes * _FLOWS[addresses]
        with Running(lab, program, [SENDER_ADDRESS]) as running, _losses(running):
            sender = _ready(running, program, routes)
            before, resident = _flows(switch), running.resident()
            watch = Watch(running, limit)
            begin = _burst(sender, routes, addresses)
            while _flows(switch) - before < flows:
                watch.spent()
                sender.read()
                time.sleep(_POLL)
            seconds = time.perf_counter() - begin
            cpu = watch.until_quiet(functools.partial(_drain, [sender]))
            return Forwarded(routes, seconds, cpu, (running.resident() - resident) / routes)


def _established(running: Running) -> Session:
    """A session on which a reflector has said that it has no routes yet, and asks for all."""
    program = running.program
    sender = running.establish(rtc=program.honours_rtc)
    sender.send(evpn_inputs.END_OF_RIB)
    if program.honours_rtc:
        sender.send(RTC_END_OF_RIB)
    return sender


def _ready(running: Running, program: Importer, routes: int) -> Session:
    sender = _established(running)
    settle(running, functools.partial(_drain, [sender]))
    _join(running, program, routes)
    settle(running, functools.partial(_drain, [sender]))
    return sender


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


def _flows(switch: OpenVSwitch) -> int:
    found = re.search(r"flow_count=(\d+)", switch.ofctl("dump-aggregate", BRIDGE))
    if found is None:
        raise Failed("the switch does not count its flows")
    return int(found[1])


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


def _check_imported(running: Running, program: Importer, expected: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            counted = program.imported(running.lab, running.directory)
        except CounterFailed as error:
            raise Failed(f"its instance cannot be read: {error}") from error
        if counted == expected:
            return
        if time.monotonic() > deadline:
            raise Failed(f"cross-check: its instance has {counted} MAC addresses, {expected} expected")
        time.sleep(0.5)
