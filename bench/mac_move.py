"""How long the others send to the wrong node after a machine has moved: two nodes, their daemons and a reflector.

Machines are attached at the first node, and the time passes in which a node takes what it hears of a machine for older
than its own attachment (``SETTLING``). Then each is attached at the second one as well, as Neutron does when it has
migrated there; the time counts from the sending of that request until the first node's dataplane sends frames for the
machine's MAC address to the second node. On Linux the kernel's notifications tell that to another socket, on Open
vSwitch (userspace datapath, a bridge of its own) its flow monitor does. Every machine moves once: who moves to and fro
is held in its place (RFC 7432 section 15.1).
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bagpipe.daemon.forwarding import SETTLING
from bagpipe.dataplane.openflow.fields import ETH_DST
from bench.cases import Latency, _percentile
from bench.flow_observer import FlowObserver
from bench.kernel_observer import KernelObserver
from bench.listener import Listener
from bench.quiet import Failed
from tests.system.evpn_hosts import a_site
from tests.system.ovs_nodes import Node, Nodes, ip
from tests.system.running import DAEMON, REFLECTOR, Program, wait_for
from tests.system.vpn_site import AS, call

BRIDGE = "br-evpn"
_PORT = "tap1"
_INSTANCE = "blue"
_TARGETS = [f"{AS}:1"]
_VNI = 5000
_INTERVAL = 0.02
_PATIENCE = 30.0
_CONFIGURATION = """\
[BGP]
local_address = {address}
peers = {reflector}
my_as = {asn}
[COMMON]
state_dir = {directory}/{namespace}
[DATAPLANE_DRIVER_IPVPN]
dataplane_driver = dummy
[DATAPLANE_DRIVER_EVPN]
dataplane_driver = {driver}
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A node: where its daemon runs, at which address, with which driver."""

    namespace: str
    address: str
    driver: str


def moved_on_linux(moves: int) -> Latency:
    """Time ``moves`` moves between two nodes with the Linux dataplane. Raises ``Failed``."""
    try:
        with a_site() as site:
            for host in site.hosts[:2]:
                host.ip("link", "add", _PORT, "type", "veth", "peer", "name", f"{_PORT}-peer")
                host.ip("link", "set", _PORT, "up")
            first, second, third = (Place(host.namespace, host.addresses[0], "linux") for host in site.hosts)
            with _daemons(first, second, third) as settled:
                settled(moves)
                with KernelObserver(first.namespace) as observer:
                    return _moves(second, moves, observer)
    except AssertionError as error:
        raise Failed(str(error)) from error


def moved_on_switches(moves: int) -> Latency:
    """The same between two nodes with Open vSwitch. Raises ``Failed``."""
    try:
        with Nodes() as nodes:
            first, second = (_with_switch(node) for node in (nodes.west, nodes.east))
            with _daemons(first, second, first) as settled:
                settled(moves)
                switch = nodes.west.ovs
                with FlowObserver(switch.target(BRIDGE).removeprefix("unix:"), ETH_DST) as observer:
                    found = _moves(second, moves, observer)
                flows = switch.ofctl("dump-flows", BRIDGE).splitlines()
                there = [one for one in flows if "dl_dst=02:02:" in one and f"{second.address}->tun_dst" in one]
                if len(there) != moves + 1:
                    raise Failed(f"cross-check: {len(there)} MAC addresses at the second node, {moves + 1} expected")
                return found
    except AssertionError as error:
        raise Failed(str(error)) from error


def _with_switch(node: Node) -> Place:
    node.ovs.add_bridge(BRIDGE)
    ip("-n", node.namespace, "link", "add", _PORT, "type", "veth", "peer", "name", f"{_PORT}-peer")
    node.ovs.vsctl("add-port", BRIDGE, _PORT)
    directory = node.ovs.directory
    options = f"ovs_bridge = {BRIDGE}\novsdb_connection = unix:{directory}/db.sock\novs_run_directory = {directory}"
    return Place(node.namespace, node.addresses[0], f"ovs\n{options}")


class Settling(Protocol):
    """Attaches machines at the first node and waits until the second knows them."""

    def __call__(self, machines: int) -> None: ...


@contextmanager
def _daemons(first: Place, second: Place, reflector: Place) -> Iterator[Settling]:
    with ExitStack() as held:
        directory = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="bmove-")))
        listen = ("--listen", reflector.address, "--router-id", "192.0.2.100", "--as", str(AS))
        _run(held, REFLECTOR, *listen, log=directory / "reflector.log", namespace=reflector.namespace)
        for number, place in enumerate((first, second)):
            configuration = directory / f"{number}.conf"
            configuration.write_text(
                _CONFIGURATION.format(
                    address=place.address,
                    reflector=reflector.address,
                    asn=AS,
                    directory=directory,
                    namespace=place.namespace,
                    driver=place.driver,
                )
            )
            log = directory / f"{number}.log"
            _run(held, DAEMON, "--config-file", str(configuration), log=log, namespace=place.namespace)
        for place in (first, second):
            wait_for(lambda place=place: _established(place), "the sessions are up", _PATIENCE)  # type: ignore[misc]

        def settled(machines: int) -> None:
            _attach(second, _body(machines))  # one that stays
            for number in range(machines):
                _attach(first, _body(number))
            wait_for(lambda: _known(second) == machines + 1, "the second node knows all machines", _PATIENCE)
            time.sleep(SETTLING)

        yield settled


def _run(held: ExitStack, module: str, *arguments: str, log: Path, namespace: str) -> None:
    held.enter_context(Program(module, *arguments, log=log, namespace=namespace)).wait_started()


def _moves(to: Place, moves: int, observer: Listener) -> Latency:
    began = []
    for number in range(moves):
        began.append(time.perf_counter())
        _attach(to, _body(number))
        time.sleep(_INTERVAL)
    expected = {_mac(number) for number in range(moves)}
    deadline = time.monotonic() + _PATIENCE

    def look() -> None:
        if time.monotonic() > deadline:
            raise Failed(f"{len(expected - observer.seen().keys())} of {moves} moves were not seen")

    seen = observer.wait(lambda seen: expected <= seen.keys(), look)
    took = [seen[_mac(number)] - moment for number, moment in enumerate(began)]
    return Latency(moves, 0, _percentile(took, 50), _percentile(took, 99), None, None)


def _mac(number: int) -> bytes:
    return b"\x02\x02" + number.to_bytes(4)


def _body(number: int) -> dict[str, object]:
    return {
        "vpn_instance_id": _INSTANCE,
        "vpn_type": "evpn",
        "mac_address": _mac(number).hex(":"),
        "ip_address": f"10.0.{number >> 8}.{number & 255}/32",
        "local_port": {"linuxif": _PORT, "ovs": {"plugged": True, "port_name": _PORT}},
        "vni": _VNI,
        "import_rt": _TARGETS,
        "export_rt": _TARGETS,
    }


def _attach(place: Place, body: dict[str, object]) -> None:
    status, answer = call(place.namespace, "POST", "/attach_localport", body)
    if status != 200:
        raise Failed(f"a machine cannot be attached: {status} {str(answer)[:300]}")


def _established(place: Place) -> bool:
    with contextlib.suppress(OSError):
        status, health = call(place.namespace, "GET", "/v2/health")
        return status in (200, 503) and health["established"] == health["peers"] > 0
    return False


def _known(place: Place) -> int:
    status, shown = call(place.namespace, "GET", f"/looking-glass/vpns/instances/{_INSTANCE}")
    return int(shown["counts"]["macs"]) if status == 200 else 0
