"""A compute host of the lab: a real Open vSwitch with the userspace datapath, and machines plugged into its bridge.

The bridge holds the interface of the underlay and, as the userspace datapath wants it, the address of the underlay.
By itself it forwards what goes between that interface and the host, and nothing else: the rest is the daemon's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bagpipe.lab.hosts import Host, LabFault, join
from bagpipe.lab.offload import checksums_in_software
from bagpipe.lab.telling import wait_for

BRIDGE = "br-mpls"
UPLINK = "uplink"
UNDERLAY_MTU = 1600
"""Room for labels and tunnels around packets of 1500 octets."""
SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
PROGRAMS = ("ip", "ethtool", "ping", "tcpdump", "ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovs-ofctl")

_BGP_CONF = """\
[BGP]
local_address = {address}
peers = {reflector}
my_as = {my_as}

[DATAPLANE_DRIVER_IPVPN]
dataplane_driver = ovs
{encapsulation}
ovs_bridge = {bridge}
ovsdb_connection = unix:{directory}/db.sock
ovs_run_directory = {directory}
arp_responder = True
"""


class Encapsulation(NamedTuple):
    """How packets travel between the hosts: what ``bgp.conf`` says, and what tcpdump looks for."""

    configuration: str
    capture: str


ENCAPSULATIONS = {
    "mpls": Encapsulation(f"mpls_interface = {UPLINK}", "mpls"),
    "mpls-gre": Encapsulation("mpls_interface = *gre*\ngre_tunnel_options = packet_type=legacy_l3", "proto gre"),
    "vxlan": Encapsulation("mpls_over_gre = False\nvxlan_encap = True", "udp port 4789"),
}
"""By the names that routes show; the first is the usual one."""


@dataclass(frozen=True, slots=True)
class Compute:
    """A compute host; ``address`` is that of the underlay."""

    host: Host
    address: str

    @property
    def directory(self) -> Path:
        """Where the switch has its database, sockets and logs."""
        return self.host.directory / "ovs"

    def configuration(self, reflector: str, my_as: int, encapsulation: Encapsulation) -> str:
        """``bgp.conf`` for the daemon."""
        return _BGP_CONF.format(
            address=self.address,
            reflector=reflector,
            my_as=my_as,
            encapsulation=encapsulation.configuration,
            bridge=BRIDGE,
            directory=self.directory,
        )

    def start_switch(self, *remotes: str) -> None:
        """Start database and switch of this host alone, without waiting for them. Raises LabFault.

        ``remotes`` are further places where the database listens, such as ``ptcp:6640:127.0.0.1``.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        self.host.run(["ovsdb-tool", "create", f"{self.directory}/conf.db", str(SCHEMA)])
        listening = [f"--remote={remote}" for remote in (f"punix:{self._socket}", *remotes)]
        self._start("ovsdb-server", f"{self.directory}/conf.db", *listening)
        wait_for(self._socket.exists, f"the database of {self.host.name}", 0.02)
        self.vsctl("--no-wait", "init")
        self.start_vswitchd()

    def start_vswitchd(self) -> None:
        """Start the switch on what its database holds, without waiting for it."""
        self._start("ovs-vswitchd", f"unix:{self._socket}", "--disable-system")

    @property
    def _socket(self) -> Path:
        return self.directory / "db.sock"

    def make_bridge(self) -> None:
        """Make the bridge, with the uplink and its address. Raises LabFault."""
        self.vsctl(
            *("add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "datapath_type=netdev", "fail_mode=secure"),
            *("--", "add-port", BRIDGE, UPLINK),
        )
        self.bring_up_bridge()

    def bring_up_bridge(self) -> None:
        """Give the bridge, new or again new after a restart of the switch, what is the host's. Raises LabFault."""
        self.host.address(BRIDGE, f"{self.address}/24")
        self.host.ip("link", "set", BRIDGE, "up")
        checksums_in_software(self.host, BRIDGE)
        number = self.vsctl("get", "interface", UPLINK, "ofport").strip()
        for way in (f"in_port={number},actions=LOCAL", f"in_port=LOCAL,actions=output:{number}"):
            self.ofctl("add-flow", f"priority=0,{way}")

    def plug(self, machine: Machine) -> None:
        """Make a machine and plug it into the bridge. Raises LabFault."""
        machine.host.create()
        join(machine.host, machine.addresses, self.host, [], names=(MACHINE_INTERFACE, machine.port))
        checksums_in_software(machine.host, MACHINE_INTERFACE)
        checksums_in_software(self.host, machine.port)
        machine.host.ip("link", "set", MACHINE_INTERFACE, "address", machine.mac)
        for gateway in machine.gateways:
            machine.host.ip("route", "replace", "default", "via", gateway, "dev", MACHINE_INTERFACE)
        self.vsctl("add-port", BRIDGE, machine.port)

    def vsctl(self, *arguments: str) -> str:
        """Run ovs-vsctl. Raises LabFault."""
        return self.host.run(["ovs-vsctl", f"--db=unix:{self.directory}/db.sock", "--timeout=10", *arguments])

    def ofctl(self, command: str, *arguments: str) -> str:
        """Run ovs-ofctl on the bridge. Raises LabFault."""
        target = f"unix:{self.directory}/{BRIDGE}.mgmt"
        return self.host.run(["ovs-ofctl", "-O", "OpenFlow15", command, target, *arguments])

    def _start(self, program: str, *arguments: str) -> None:
        environment = [f"{name}={self.directory}" for name in ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR")]
        control = f"--unixctl={self.directory}/{program}.ctl"
        self.host.start(program, ["env", *environment, program, *arguments, control, "-vconsole:warn"])


MACHINE_INTERFACE = "eth0"


@dataclass(frozen=True, slots=True)
class Machine:
    """A "VM": a host with one interface, whose gateways are the VPN's. Addresses have lengths."""

    host: Host
    vpn: str
    mac: str
    addresses: tuple[str, ...]
    gateways: tuple[str, ...]

    @property
    def port(self) -> str:
        """Its port on the bridge."""
        return f"tap-{self.host.name}"

    def ping(self, address: str, count: int = 3) -> tuple[int, float | None]:
        """How many of ``count`` echo requests were answered, and the shortest time in milliseconds."""
        command = ["ping", "-n", "-q", "-i", "0.05", "-c", str(count), "-W", "1", address]
        try:
            told = self.host.run(command)
        except LabFault as fault:
            told = str(fault)
        received = re.search(r"(\d+) received", told)
        shortest = re.search(r"= ([\d.]+)/", told)
        if received is None:
            raise LabFault(told)
        return int(received[1]), float(shortest[1]) if shortest else None

    def echo_requests(self) -> int:
        """How many echo requests, IPv4 and IPv6, the machine has received. Raises LabFault."""
        six = re.search(r"Icmp6InEchos\s+(\d+)", self.host.run(["cat", "/proc/net/snmp6"]))
        return self.host.counter("Icmp", "InEchos") + (int(six[1]) if six else 0)
