"""Compute nodes as they are run: a real Open vSwitch, ``bagpipe-bgp`` and ``bagpipe-fakerr``, driven over REST alone.

Stands on ``ovs_nodes``: two nodes with VMs. The reflector runs on the first one, at the address of its underlay.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.system.ovs_nodes import Node, Nodes, Vm, inside
from tests.system.running import DAEMON, REFLECTOR, Program, wait_for

AS = 64512
API = 8082
REFLECTOR_ID = "192.0.2.100"
WAYS: dict[str, str] = {
    "MPLS on Ethernet": "mpls_interface = wire",
    "MPLS in GRE": "mpls_interface = *gre*\ngre_tunnel_options = packet_type=legacy_l3",
    "MPLS in Ethernet in GRE": "mpls_interface = *gre*",
    "VXLAN": "vxlan_encap = True\nmpls_over_gre = False",
    "MPLS in GRE on IPv6": "gre_tunnel_options = packet_type=legacy_l3\ndataplane_local_address = {six}",
    "MPLS in Ethernet in GRE on IPv6": "dataplane_local_address = {six}",
    "VXLAN on IPv6": "vxlan_encap = True\nmpls_over_gre = False\ndataplane_local_address = {six}",
}
"""What an operator says for each way between nodes; ``{six}`` is the IPv6 address of the node's underlay."""


def call(namespace: str, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """An HTTP request to the daemon of a node; the status, and the JSON of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", API, timeout=40)
    try:
        with inside(namespace):
            connection.connect()
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"Content-Type": "application/json", "Accept": "application/json"})
        answer = connection.getresponse()
        said = answer.read()
    finally:
        connection.close()
    return answer.status, json.loads(said) if said else None


class Compute:
    """A node with our daemon."""

    def __init__(self, node: Node, peers: str, way: str, directory: Path, more: str = "") -> None:
        self.node = node
        self.log = directory / f"{node.name}.log"
        self._configuration = directory / f"{node.name}.conf"
        said = WAYS[way].format(six=node.addresses[1])
        self._configuration.write_text(
            f"[BGP]\nlocal_address = {node.addresses[0]}\npeers = {peers}\nmy_as = {AS}\n"
            f"[COMMON]\nstate_dir = {directory / node.name}\n"
            f"[DATAPLANE_DRIVER_IPVPN]\ndataplane_driver = ovs\n{said}\narp_responder = True\n"
            f"ovsdb_connection = unix:{node.ovs.directory}/db.sock\novs_run_directory = {node.ovs.directory}\n{more}"
        )
        self.program: Program | None = None

    @property
    def address(self) -> str:
        """The address of its underlay."""
        return self.node.addresses[0]

    def start(self) -> Self:
        """Start the daemon and wait until it answers."""
        self.program = Program(
            DAEMON, "--config-file", str(self._configuration), log=self.log, namespace=self.node.namespace
        )
        self.program.wait_started()
        wait_for(lambda: self.get("/v2/health"), "the API answers")
        return self

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End the daemon."""
        if self.program is not None:
            if self.program.process.poll() is None:
                self.program.process.send_signal(number)
            self.program.process.wait(10)
            self.program = None

    def get(self, path: str) -> Any:
        """What a path answers, None unless with 200."""
        status, answer = call(self.node.namespace, "GET", path)
        return answer if status == 200 else None

    def body(self, vpn: str, vm: Vm, address: str, **more: object) -> dict[str, object]:
        """An attach of the v1 interface: ``rt`` is imported and exported unless ``more`` says otherwise."""
        targets = more.pop("rt", [])
        gateway = "fd00::1" if ":" in address else "10.255.255.1"
        port: dict[str, object] = {"linuxif": f"{vm.port}-{vm.vlan}" if vm.vlan else vm.port}
        port["ovs"] = {"plugged": True, "port_name": vm.port, **({"vlan": vm.vlan} if vm.vlan else {})}
        return {
            "vpn_instance_id": vpn,
            "vpn_type": "ipvpn",
            "mac_address": str(vm.mac),
            "ip_address": address,
            "gateway_ip": gateway,
            "local_port": port,
            "import_rt": targets,
            "export_rt": targets,
            **more,
        }

    def attach(self, vpn: str, vm: Vm, *addresses: str, **more: object) -> None:
        """Attach a VM by its addresses (all it has, if none is given); each has to be confirmed."""
        for address in addresses or vm.addresses:
            status, answer = call(
                self.node.namespace, "POST", "/attach_localport", self.body(vpn, vm, address, **dict(more))
            )
            assert (status, answer) == (200, None), answer

    def detach(self, vpn: str, vm: Vm, *addresses: str) -> None:
        """Detach a VM's addresses."""
        for address in addresses or vm.addresses:
            status, answer = call(self.node.namespace, "POST", "/detach_localport", self.body(vpn, vm, address))
            assert (status, answer) == (200, None), answer

    def wait_established(self) -> None:
        """Wait until every session is up."""
        wait_for(
            lambda: (health := self.get("/v2/health")) and health["established"] == health["peers"] > 0,
            f"{self.node.name}: sessions up",
            30,
        )


class VpnSite:
    """Two computes, ``west`` and ``east``, with a reflector on the first. Use as a context manager."""

    def __init__(self, way: str, more: str = "", datapath: str = "netdev") -> None:
        self._way = way
        self._more = more
        self._datapath = datapath
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Self:
        try:
            self.nodes = self._held.enter_context(Nodes(self._datapath))
            self.directory = Path(self._held.enter_context(tempfile.TemporaryDirectory(prefix="vpns-")))
            west = self.nodes.west
            self.reflector = self._held.enter_context(
                Program(
                    *(REFLECTOR, "--listen", west.addresses[0], "--router-id", REFLECTOR_ID),
                    log=self.directory / "reflector.log",
                    namespace=west.namespace,
                )
            ).wait_started()
            self.west, self.east = self._computes(self._way)
            self._held.callback(lambda: [compute.stop() for compute in (self.west, self.east)])
            self._start()
        except BaseException:
            self._held.close()
            raise
        return self

    def change(self, way: str) -> None:
        """The daemons once more, with another encapsulation and nothing that was attached before."""
        for compute in (self.west, self.east):
            compute.stop()
            shutil.rmtree(self.directory / compute.node.name, ignore_errors=True)
        self.west, self.east = self._computes(way)
        self._start()

    def _computes(self, way: str) -> tuple[Compute, Compute]:
        west, east = self.nodes.west, self.nodes.east
        made = [Compute(node, west.addresses[0], way, self.directory, self._more) for node in (west, east)]
        return made[0], made[1]

    def _start(self) -> None:
        for compute in (self.west, self.east):
            compute.start()
        for compute in (self.west, self.east):
            compute.wait_established()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()


def bare(address: str) -> str:
    """An address without its prefix length."""
    return address.split("/", maxsplit=1)[0]


def reaches(vm: Vm, address: str, seconds: float = 10.0) -> bool:
    """Whether an echo request is answered before long."""
    try:
        return bool(wait_for(lambda: vm.ping(bare(address), wait=0.5) == 1, "an answer", seconds))
    except AssertionError:
        return False


def reaches_not(vm: Vm, address: str) -> bool:
    """Whether three echo requests stay without an answer."""
    return vm.ping(bare(address), count=3, wait=0.7) == 0


class Stream:
    """Echo requests from ``vm``, 1,000 a second for ``seconds``."""

    def __init__(self, vm: Vm, address: str, seconds: int) -> None:
        self.count = seconds * 1000
        argv = ["ping", "-n", "-q", "-i", "0.001", "-c", str(self.count), "-W", "1", bare(address)]
        self._process = subprocess.Popen(
            ["ip", "netns", "exec", vm.namespace, *argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def lost(self) -> int:
        """Wait until all were sent and the last answer had its time; how many were not answered."""
        said, _ = self._process.communicate(timeout=self.count / 100 + 30)
        found = re.search(r"(\d+) packets transmitted, (\d+) received", said)
        assert found is not None, said
        assert int(found[1]) == self.count, said
        return self.count - int(found[2])

    def end(self) -> None:
        """End it, whatever is still to be sent."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def streaming(vm: Vm, address: str, seconds: int) -> Iterator[Stream]:
    """A stream that does not outlive the block."""
    stream = Stream(vm, address, seconds)
    try:
        yield stream
    finally:
        stream.end()
