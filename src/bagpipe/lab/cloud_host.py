"""A compute host of the lab's cloud: Open vSwitch, Neutron's L2 agent with the BGPVPN extension, and the BGP daemon.

Agent and daemon can each be ours or the reference's. A virtual machine is a namespace with one interface, plugged into
the integration bridge as Nova does it.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bagpipe.lab.compute import BRIDGE, MACHINE_INTERFACE, UPLINK, Compute
from bagpipe.lab.controller import OURS, REFERENCE, program_of
from bagpipe.lab.hosts import Host, LabFault, join
from bagpipe.lab.l3_agent import L3_AGENT, configuration
from bagpipe.lab.offload import checksums_in_software
from bagpipe.lab.programs import program, succeeds
from bagpipe.lab.telling import wait_for

FALLBACK_MAC = "00:00:5e:2a:10:00"
"""The source of what goes back to a network's router."""
INTEGRATION = "br-int"
TUNNEL = "br-tun"
PHYSICAL = "physnet1"
"""The physical network of VLANs by the name that Neutron has for it, and the interface that leads there."""
_PROVIDER = f"br-{PHYSICAL}"
API_PORT = 8082
AGENT = "neutron-openvswitch-agent"
REFERENCE_DAEMON = Path(os.environ.get("BAGPIPE_REFERENCE_VENV", Path.cwd() / ".venv-reference"))
"""networking-bagpipe 20.0.0, whose daemon still opens BGP sessions."""
ANYCAST_MAC = "00:00:5e:00:43:64"
"""The MAC of a VPN's gateway towards the machines."""

_AGENT_CONF = """\
[DEFAULT]
host = {name}
state_path = {directory}
transport_url = rabbit://lab:lab@{controller}:5672/
rpc_response_timeout = 30
use_journal = False

[oslo_concurrency]
lock_path = {directory}/lock

[ovs]
datapath_type = netdev
local_ip = {address}
bridge_mappings = {physical}
ovsdb_connection = tcp:127.0.0.1:6640
of_listen_address = 127.0.0.1

[agent]
tunnel_types = vxlan
l2_population = True
arp_responder = True
enable_distributed_routing = {distributed}
extensions = {extensions}
root_helper = env
polling_interval = 1
report_interval = 10

[securitygroup]
firewall_driver = {firewall}

[bagpipe]
mpls_bridge = br-mpls
bagpipe_bgp_port = 8082
"""

_OUR_DAEMON = """\
[BGP]
local_address = {address}
peers = {reflector}
my_as = {my_as}

[API]
host = 127.0.0.1
port = 8082

[DATAPLANE_DRIVER_IPVPN]
dataplane_driver = ovs
mpls_interface = {uplink}
ovs_bridge = {bridge}
ovsdb_connection = unix:{ovs}/db.sock
ovs_run_directory = {ovs}

[DATAPLANE_DRIVER_EVPN]
dataplane_driver = ovs
ovs_bridge = {tunnel}
ovsdb_connection = unix:{ovs}/db.sock
ovs_run_directory = {ovs}
"""

_REFERENCE_DAEMON = """\
[BGP]
local_address = {address}
peers = {reflector}
my_as = {my_as}
enable_rtc = True

[API]
host = 127.0.0.1
port = 8082

[COMMON]
root_helper = env

[OVS]
ovsdb_connection = unix:{ovs}/db.sock

[DATAPLANE_DRIVER_IPVPN]
dataplane_driver = ovs
mpls_interface = {uplink}
mpls_over_gre = auto
ovs_bridge = {bridge}

[DATAPLANE_DRIVER_EVPN]
dataplane_driver = dummy
"""

_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def _inside(host: Host) -> Iterator[None]:
    """Within the block, sockets that this thread opens belong to the host."""
    with Path("/proc/self/ns/net").open() as here, Path(f"/run/netns/{host.namespace}").open() as there:
        if _LIBC.setns(there.fileno(), _CLONE_NEWNET):
            raise LabFault(f"cannot enter {host.namespace}: {os.strerror(ctypes.get_errno())}")
        try:
            yield
        finally:
            if _LIBC.setns(here.fileno(), _CLONE_NEWNET):
                raise LabFault(f"cannot leave {host.namespace}: {os.strerror(ctypes.get_errno())}")


def http_get(host: Host, path: str, port: int = API_PORT) -> Any:
    """The JSON that a daemon of the host answers; None where it does not answer with 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        with _inside(host):
            connection.connect()
        connection.request("GET", path, headers={"Accept": "application/json"})
        answer = connection.getresponse()
        said = answer.read()
        return json.loads(said) if answer.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


@dataclass(frozen=True, slots=True)
class Kinds:
    """Whose programs a compute host runs, each ``ours`` or ``reference``; ``agent`` can be ``plain``: no extension.

    ``distributed``: its part of distributed routers as well.
    """

    agent: str = "ours"
    daemon: str = "ours"
    firewall: str = "openvswitch"
    distributed: bool = False


@dataclass(frozen=True, slots=True)
class Vm:
    """A virtual machine: the port as Neutron has it, on a host of its own. Addresses have lengths."""

    host: Host
    port_id: str
    mac: str
    addresses: tuple[str, ...]
    gateways: tuple[str, ...]
    interface: str = MACHINE_INTERFACE

    @property
    def tap(self) -> str:
        """Its port on the integration bridge."""
        return f"tap{self.port_id[:11]}"

    def start(self) -> None:
        """Give the interface what the port has: MAC, addresses, gateways. Raises LabFault."""
        self.host.ip("link", "set", self.interface, "address", self.mac)
        for address in self.addresses:
            self.host.address(self.interface, address)
        for gateway in self.gateways:
            self.host.ip("route", "replace", "default", "via", gateway, "dev", self.interface)

    def address(self, version: int = 4) -> str:
        """Its first address of an IP version. Raises LabFault where it has none."""
        for address in self.addresses:
            if (":" in address) == (version == 6):
                return address.partition("/")[0]
        raise LabFault(f"{self.host.name} has no address of IPv{version}")


@dataclass(frozen=True, slots=True)
class CloudHost:
    """A compute host; ``controller`` is the address of the broker, ``reflector`` that of the BGP neighbour."""

    switch: Compute
    kinds: Kinds
    controller: str
    reflector: str
    my_as: int

    @property
    def host(self) -> Host:
        """Its namespace."""
        return self.switch.host

    @property
    def name(self) -> str:
        """What Neutron calls it: ``binding:host_id``."""
        return self.host.name

    def start_switch(self) -> None:
        """Start Open vSwitch and make the bridges of underlay and physical network. Raises LabFault."""
        self.switch.start_switch("ptcp:6640:127.0.0.1")
        # The kernel sees what arrives at the uplink as well, and must not answer for the bridge's address.
        self.host.run(["sysctl", "-qw", f"net.ipv4.conf.{UPLINK}.arp_ignore=8"])
        self.switch.make_bridge()
        self.switch.vsctl(
            *("add-br", _PROVIDER, "--", "set", "bridge", _PROVIDER, "datapath_type=netdev"),
            *("--", "add-port", _PROVIDER, PHYSICAL),
        )

    def restart_switch(self) -> None:
        """End and start vswitchd, and do what whoever runs such a host has to: address and flows of the underlay."""
        self.host.end_program("ovs-vswitchd", signal.SIGKILL)
        (self.switch.directory / "ovs-vswitchd.ctl").unlink(missing_ok=True)
        self.switch.start_vswitchd()
        wait_for(partial(succeeds, self.host, ["ip", "link", "show", BRIDGE]), f"{BRIDGE} of {self.name} is back", 0.05)
        management = self.switch.directory / f"{BRIDGE}.mgmt"
        wait_for(
            partial(succeeds, self.host, ["ovs-ofctl", "-O", "OpenFlow15", "show", f"unix:{management}"]),
            f"{BRIDGE} of {self.name} answers",
            0.05,
        )
        self.switch.bring_up_bridge()

    def start_agent(self) -> None:
        """Start Neutron's L2 agent, without waiting for it. Raises LabFault."""
        environment = REFERENCE if self.kinds.agent == "reference" else OURS
        extensions = "" if self.kinds.agent == "plain" else "bagpipe_bgpvpn"
        file = self.host.directory / "openvswitch_agent.ini"
        state = self.host.directory / "neutron"
        state.mkdir(exist_ok=True)
        file.write_text(
            _AGENT_CONF.format(
                name=self.name,
                directory=state,
                controller=self.controller,
                address=self.switch.address,
                distributed=self.kinds.distributed,
                physical=f"{PHYSICAL}:{_PROVIDER}",
                extensions=extensions,
                firewall=self.kinds.firewall,
            )
        )
        command = [program_of(environment, AGENT), "--config-file", str(file)]
        self.host.start(AGENT, command, self._environment(environment))

    def start_router_agent(self) -> None:
        """Start Neutron's L3 agent, without waiting for it. Raises LabFault."""
        command = [program_of(OURS, L3_AGENT), "--config-file", str(configuration(self.host, self.controller))]
        alone = [sys.executable, "-m", "bagpipe.lab.l3_agent"]
        self.host.start(L3_AGENT, [*alone, *command], self._environment(OURS))

    def start_daemon(self) -> None:
        """Start the BGP daemon, without waiting for it. Raises LabFault."""
        ours = self.kinds.daemon == "ours"
        text = (_OUR_DAEMON if ours else _REFERENCE_DAEMON).format(
            address=self.switch.address,
            reflector=self.reflector,
            my_as=self.my_as,
            uplink=UPLINK,
            bridge=BRIDGE,
            tunnel=TUNNEL,
            ovs=self.switch.directory,
        )
        if ours:
            text += f"\n[COMMON]\nstate_dir = {self.host.directory / 'state'}\n"
        file = self.host.directory / "bgp.conf"
        file.write_text(text)
        command = program("bagpipe-bgp") if ours else [program_of(REFERENCE_DAEMON, "bagpipe-bgp")]
        environment = OURS if ours else REFERENCE_DAEMON
        self.host.start("bagpipe-bgp", [*command, "--config-file", str(file)], self._environment(environment))

    def restart_agent(self) -> None:
        """End the agent at once, as a crash would, and start it again."""
        self.host.end_program(AGENT, signal.SIGKILL)
        self.start_agent()

    @contextlib.contextmanager
    def paused_agent(self) -> Iterator[None]:
        """Within the block the agent does nothing, as one that hangs. Raises LabFault."""
        process = self.host.process_of(AGENT)
        if process is None:
            raise LabFault(f"{AGENT} of {self.name} does not run")
        os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(process, signal.SIGCONT)

    def restart_daemon(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End the daemon and start it again."""
        self.host.end_program("bagpipe-bgp", number)
        self.start_daemon()

    def daemon_is_ready(self) -> bool:
        """Whether the daemon has its BGP session."""
        if self.kinds.daemon == "ours":
            health = http_get(self.host, "/v2/health")
            return health is not None and health["established"] == health["peers"] > 0
        summary = http_get(self.host, "/looking-glass/summary")
        return summary is not None and summary["BGP_established_peers"] == 1

    def plug(self, vm: Vm) -> None:
        """Make the machine where it is not there yet, and plug it in as Nova does. Raises LabFault."""
        if not Path(f"/run/netns/{vm.host.namespace}").exists():
            vm.host.create()
        self.cable(vm, vm.interface)
        vm.start()
        self.add_tap(vm)

    def cable(self, vm: Vm, interface: str) -> None:
        """Lead an interface of the machine's, which may get its proper name later, to its port. Raises LabFault."""
        join(vm.host, [], self.host, [], names=(interface, vm.tap))
        for host, one in ((vm.host, interface), (self.host, vm.tap)):
            checksums_in_software(host, one)

    def add_tap(self, vm: Vm) -> None:
        """Put the machine's port on the integration bridge. Raises LabFault."""
        names = {"iface-id": vm.port_id, "attached-mac": vm.mac, "iface-status": "active"}
        said = [f"external_ids:{key}={json.dumps(value)}" for key, value in names.items()]
        self.switch.vsctl("--may-exist", "add-port", INTEGRATION, vm.tap, "--", "set", "Interface", vm.tap, *said)

    def unplug(self, vm: Vm) -> None:
        """Take the machine's port off the integration bridge and away. Raises LabFault."""
        self.switch.vsctl("--if-exists", "del-port", INTEGRATION, vm.tap)
        with contextlib.suppress(LabFault):
            self.host.ip("link", "delete", vm.tap)

    def remove(self, vm: Vm) -> None:
        """Unplug the machine and remove it. Raises LabFault."""
        self.unplug(vm)
        vm.host.end()
        shutil.rmtree(vm.host.directory, ignore_errors=True)

    def flows(self, bridge: str, *arguments: str) -> list[str]:
        """The flows of one of Neutron's bridges, or of the underlay's."""
        target = f"unix:{self.switch.directory}/{bridge}.mgmt"
        told = self.host.run(
            ["ovs-ofctl", "-O", "OpenFlow13,OpenFlow15", "dump-flows", "--no-stats", target, *arguments]
        )
        return [line.strip() for line in told.splitlines() if "actions=" in line]

    def _environment(self, virtual: Path) -> Mapping[str, str]:
        """Open vSwitch's programs find this host's sockets, and Neutron's find each other."""
        directory = str(self.switch.directory)
        return {
            "OVS_RUNDIR": directory,
            "OVS_LOGDIR": directory,
            "OVS_DBDIR": directory,
            "PATH": f"{virtual / 'bin'}{os.pathsep}{os.environ['PATH']}",
        }
