"""What it costs to bring received routes into a VRF: into a null dataplane, and into Open vSwitch.

A program runs with one VRF that imports every route target of the input. With Open vSwitch (dummy datapath: flows are
checked and kept as ever, no packet moves) a figure counts from the sending of the first octet until the switch holds
the last flow: for single UPDATEs as the switch's flow monitor tells, for bursts as its own count of flows does.
"""

from __future__ import annotations

import asyncio
import functools
import http.client
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bagpipe.dataplane.openflow import Bridge, BridgeEvent, Ours, Touched
from bagpipe.dataplane.openflow.fields import IPV4_DST
from bench import inputs
from bench.cases import Latency, Received, _drain, _losses, _percentile, _ready, _take_in
from bench.dummy_switch import dummy_switch, flow_count, wait_flows
from bench.flow_observer import FlowObserver
from bench.lab import SENDER_ADDRESS, Lab
from bench.programs.program import Forwarder
from bench.programs.running import Running
from bench.quiet import Failed, Watch
from bench.session import Session
from tests.system.openvswitch import OpenVSwitch

BRIDGE = "br-mpls"
PORT = "tap1"
VRF = "bench"
_PAUSE = 0.02
_PROBE_INTERVAL = 0.02


@dataclass(frozen=True, slots=True)
class Forwarded:
    """``flows`` routes sent in one burst: seconds until the switch held the last flow, and CPU seconds of the program
    for all of it. ``octets_per_flow`` is what its resident set grew by.
    """

    flows: int
    seconds: float
    cpu: float
    octets_per_flow: float


def imported(lab: Lab, program: Forwarder, routes: int, limit: float) -> Received:
    """Receive ``routes`` packed routes that one VRF imports all of.

    Raises ``Unavailable``, ``Failed`` or ``OverBudget``.
    """
    with Running(lab, program, [SENDER_ADDRESS]) as running, _losses(running):
        join = functools.partial(_attach, lab, program, routes)
        return _take_in(running, inputs.end_of_rib(), join, ("packed", routes), limit)


def forwarded(lab: Lab, program: Forwarder, routes: int, limit: float) -> Forwarded:
    """Send a burst of ``routes`` packed routes. Raises ``Unavailable``, ``Failed`` or ``OverBudget``."""
    messages = inputs.packed(routes, inputs.ENCAPSULATION_GRE)
    with _switch(program) as switch, Running(lab, program, [SENDER_ADDRESS]) as running, _losses(running):
        sender = _sender(lab, program, running, routes)
        before, resident = flow_count(switch, BRIDGE), running.resident()
        watch = Watch(running, limit)
        begin = time.monotonic()
        for message in messages if program.pace else [b"".join(messages)]:
            sender.send(message)
            time.sleep(program.pace * len(message))
        wait_flows(switch, BRIDGE, before + routes, lambda: (watch.spent(), sender.read()))
        seconds = time.monotonic() - begin
        cpu = watch.until_quiet(functools.partial(_drain, [sender]))
        held = flow_count(switch, BRIDGE) - before
        if held < routes:
            raise Failed(f"cross-check: the switch holds {held} flows more than before, {routes} or more expected")
        return Forwarded(routes, seconds, cpu, (running.resident() - resident) / routes)


def update_to_flow(lab: Lab, program: Forwarder, probes: int, limit: float) -> Latency:
    """Time single UPDATEs to their flow. Raises ``Unavailable``, ``Failed`` or ``OverBudget``."""
    with _switch(program) as switch, Running(lab, program, [SENDER_ADDRESS]) as running, _losses(running):
        sender = _sender(lab, program, running, 100)
        seen = asyncio.run(_probe(sender, switch.target(BRIDGE), probes, Watch(running, limit)))
        return Latency(len(seen), 0, _percentile(seen, 50), _percentile(seen, 99), None, None)


def updates_to_flows(lab: Lab, program: Forwarder, routes: int, limit: float) -> Latency:
    """Time each of ``routes`` routes that come at once, from the sending of its own UPDATE to its flow.

    Raises ``Unavailable``, ``Failed`` or ``OverBudget``.
    """
    population = inputs.routes(routes)
    messages = inputs.packed(routes, inputs.ENCAPSULATION_GRE)
    with _switch(program) as switch, Running(lab, program, [SENDER_ADDRESS]) as running, _losses(running):
        sender = _sender(lab, program, running, routes)
        with FlowObserver(switch.target(BRIDGE).removeprefix("unix:")) as observer:
            watch = Watch(running, limit)
            moments = []
            for message in messages:
                moments.append(time.perf_counter())
                sender.send(message)
            seen = observer.wait(lambda seen: len(seen) >= routes, lambda: (watch.spent(), sender.read()))
    took = [seen[route.prefix] - moments[place // inputs.BLOCK] for place, route in enumerate(population)]
    return Latency(routes, 0, _percentile(took, 50), _percentile(took, 99), None, None)


async def _probe(sender: Session, target: str, probes: int, watch: Watch) -> list[float]:
    sent: dict[bytes, float] = {}
    seen: list[float] = []

    def heard(event: BridgeEvent) -> None:
        if not isinstance(event, Touched):
            return
        now = time.perf_counter()
        for update in event.updates:
            address = next((one.value for one in update.match.criteria if one.field is IPV4_DST), b"")
            if address in sent:
                seen.append(now - sent.pop(address))

    async with Bridge(target, listener=heard, watch=Ours(0, 0)) as bridge:
        await bridge.wait_connected(10)
        for number in range(probes):
            route = inputs.probe(number)
            data = inputs.announcement([route], inputs.ENCAPSULATION_GRE)
            sent[route.prefix] = time.perf_counter()
            sender.send(data)
            await asyncio.sleep(_PROBE_INTERVAL)
            sender.read()
            watch.spent()
        while sent:
            watch.spent()
            await asyncio.sleep(_PAUSE)
    return seen


def _sender(lab: Lab, program: Forwarder, running: Running, routes: int) -> Session:
    return _ready(running, inputs.end_of_rib(), functools.partial(_attach, lab, program, routes))


def _attach(lab: Lab, program: Forwarder, routes: int) -> None:
    """Attach the one endpoint of the VRF, which imports every route target of the input. Raises ``Failed``."""
    body = {
        "vpn_instance_id": VRF,
        "vpn_type": "ipvpn",
        "mac_address": "02:00:00:00:00:01",
        "ip_address": "10.0.0.1/32",
        "gateway_ip": "10.0.0.254",
        "local_port": {"linuxif": PORT, "ovs": {"plugged": True, "port_name": PORT}},
        "import_rt": [f"64512:{number}" for number in range(1, inputs.vrfs(routes) + 1)],
        "export_rt": [],
    }
    connection = http.client.HTTPConnection("127.0.0.1", program.api_port, timeout=60)
    try:
        connection.sock = lab.local(program.api_port, 60)
        connection.request("POST", "/attach_localport", json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        said = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise Failed(f"the port cannot be attached: {error}") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise Failed(f"the port cannot be attached: {answer.status} {said[:300]}")


@contextmanager
def _switch(program: Forwarder) -> Iterator[OpenVSwitch]:
    """An Open vSwitch with the bridge and a port, told to the program."""
    with dummy_switch(BRIDGE, PORT) as switch:
        program.switch = switch.directory
        yield switch
