"""Two compute nodes for EVPN: the bridges of Neutron with the flows of its agent, or a bridge of the driver's own.

The underlay is that of :mod:`tests.system.ovs_nodes`: ``br-mpls`` holds the wire and the address of the node. Beside
Neutron a machine is in ``br-int`` with a VLAN, and a patch port leads to ``br-tun``, which has the flows that
``br_tun.py`` of Neutron's agent installs. On an own bridge its interface is a port of that bridge.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from ipaddress import ip_address
from typing import Any, ParamSpec

from bagpipe.dataplane.model import (
    Bridge,
    BridgeKey,
    Encapsulation,
    FloodKey,
    Key,
    Local,
    MacKey,
    Neighbour,
    NeighbourKey,
    Plug,
    PlugKey,
    Port,
    Remote,
    SourceKey,
    Value,
)
from bagpipe.dataplane.ovs_evpn.driver import OvsEvpnDataplane
from bagpipe.dataplane.ovs_evpn.pipeline import COOKIE
from bagpipe.dataplane.ovs_evpn.settings import OvsEvpnSettings
from tests.system.openvswitch import OpenVSwitch
from tests.system.ovs_driving import QUICK, Driven, started
from tests.system.ovs_nodes import Node, Vm, inside

TUNNELS, OWN, INTEGRATION = "br-tun", "br-evpn", "br-int"
VNI, VLAN, EVI = 4100, 5, 1
NEUTRON_COOKIE = 0x1122334455667788


P = ParamSpec("P")


def on_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """A test that is a coroutine, run on an event loop of its own."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


def remote(node: Node, vni: int = VNI, which: int = 0) -> Remote:
    """A node as a next hop."""
    return Remote(ip_address(node.addresses[which]).packed, vni, Encapsulation.VXLAN)


def add_neutron(node: Node, *, arp_responder: bool = True) -> None:
    """Make ``br-tun`` beside the ``br-int`` of a node."""
    # The patch port to br-mpls of these nodes has Neutron's name.
    node.ovs.vsctl("del-port", "br-mpls", "patch-int", "--", "del-port", INTEGRATION, "patch-mpls")
    add_tunnel_bridge(node.ovs, arp_responder=arp_responder)


def add_tunnel_bridge(ovs: OpenVSwitch, *, arp_responder: bool = True) -> None:
    """Make ``br-tun`` as Neutron's agent does: ports, OpenFlow versions and the flows that are there for all."""
    ovs.vsctl(
        *("add-br", TUNNELS, "--", "set", "bridge", TUNNELS, f"datapath_type={ovs.datapath}"),
        *("fail_mode=secure", "protocols=OpenFlow10,OpenFlow13"),
        *f"-- add-port {INTEGRATION} patch-tun -- set interface patch-tun type=patch options:peer=patch-int".split(),
        *f"-- add-port {TUNNELS} patch-int -- set interface patch-int type=patch options:peer=patch-tun".split(),
    )
    add_flows_of_neutron(ovs, arp_responder=arp_responder)


def add_flows_of_neutron(ovs: OpenVSwitch, *, arp_responder: bool = True) -> None:
    """Install what Neutron's agent installs when it starts."""
    inside = number_of(ovs, "patch-int")
    learn = "learn(table=20,hard_timeout=300,priority=1,NXM_OF_VLAN_TCI[0..11],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[]"
    learn += ",load:0->NXM_OF_VLAN_TCI[],load:NXM_NX_TUN_ID[]->NXM_NX_TUN_ID[],output:OXM_OF_IN_PORT[])"
    flows = [
        f"table=0,priority=1,in_port={inside},actions=goto_table:2",
        "table=0,priority=0,actions=drop",
        "table=2,priority=0,dl_dst=00:00:00:00:00:00/01:00:00:00:00:00,actions=goto_table:20",
        "table=2,priority=0,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00,actions=goto_table:22",
        *(f"table={table},priority=0,actions=drop" for table in (3, 4, 6)),
        f"table=10,priority=1,actions={learn},output:{inside}",
        "table=20,priority=0,actions=goto_table:22",
        "table=22,priority=0,actions=drop",
    ]
    if arp_responder:
        flows.append("table=2,priority=1,arp,dl_dst=ff:ff:ff:ff:ff:ff,actions=goto_table:21")
        flows.append("table=21,priority=0,actions=goto_table:22")
    for flow in flows:
        neutron_flow(ovs, flow)


def neutron_flow(ovs: OpenVSwitch, flow: str) -> None:
    """Add a flow with the cookie of Neutron's agent, in its version of OpenFlow."""
    target = ovs.target(TUNNELS)
    ovs.run("ovs-ofctl", "-O", "OpenFlow13", "add-flow", target, f"cookie={NEUTRON_COOKIE:#x},{flow}")


def neutron_tunnel(ovs: OpenVSwitch, address: str, local: str) -> int:
    """Make the tunnel port to a node as Neutron's agent does, or have it if it is there; its OpenFlow port."""
    name = f"vxlan-{ip_address(address).packed.hex()}"
    options = f"df_default=true remote_ip={address} local_ip={local} in_key=flow out_key=flow egress_pkt_mark=0"
    ovs.vsctl(
        *("--may-exist", "add-port", TUNNELS, name, "--", "set", "interface", name, "type=vxlan"),
        *(f"options:{option}" for option in options.split()),
    )
    number = number_of(ovs, name)
    neutron_flow(ovs, f"table=0,priority=1,in_port={number},actions=goto_table:4")
    return number


def number_of(ovs: OpenVSwitch, port: str) -> int:
    """The OpenFlow port of a name."""
    return int(ovs.vsctl("get", "interface", port, "ofport"))


def dump(ovs: OpenVSwitch, bridge: str, *arguments: str) -> list[str]:
    """All flows of a bridge as text, without what they saw."""
    shown = ovs.run("ovs-ofctl", "-O", "OpenFlow13", "dump-flows", "--no-stats", ovs.target(bridge), *arguments)
    return sorted(line.strip() for line in shown.splitlines() if "actions=" in line)


def our_flows(ovs: OpenVSwitch, bridge: str = TUNNELS) -> list[str]:
    """Those of the driver, without their cookie."""
    mark = f"cookie={COOKIE:#x}, "
    return [line.removeprefix(mark) for line in dump(ovs, bridge) if line.startswith(mark)]


def flows_of_others(ovs: OpenVSwitch, bridge: str = TUNNELS) -> list[str]:
    """All but those of the driver."""
    return [line for line in dump(ovs, bridge) if f"cookie={COOKIE:#x}" not in line]


class Member:
    """A node in an EVI, in one way of working."""

    def __init__(self, node: Node, mode: str, vlan: int = VLAN) -> None:
        self.node, self.mode, self.vlan = node, mode, vlan
        self.bridge = TUNNELS if mode == "neutron" else OWN

    def settings(self, which: int = 0, **more: object) -> OvsEvpnSettings:
        """The settings of its driver."""
        directory = self.node.ovs.directory
        local = ip_address(self.node.addresses[which])
        return OvsEvpnSettings(local, self.bridge, f"unix:{directory}/db.sock", str(directory), **more)  # type: ignore[arg-type]

    def machine(self, name: str, number: int, addresses: list[str]) -> Vm:
        """Plug a machine into the network."""
        vm = self.node.vm(name, number, addresses, self.vlan if self.mode == "neutron" else None)
        if self.mode == "own":
            self.node.ovs.vsctl("del-port", "br-mpls", f"tap-{name}")
        return vm

    def port(self, name: str) -> Port:
        """The port of a machine as the records name it."""
        if self.mode == "neutron":
            return Port(f"patch2tun:{self.vlan}", vlan=self.vlan)
        return Port(f"tap-{name}", plugged=False)

    def records(self, *machines: Vm, vni: int = VNI) -> dict[Key, Value]:
        """Those of the EVI and of the machines on this node."""
        made: dict[Key, Value] = {BridgeKey(EVI): Bridge("net", vni)}
        for vm in machines:
            port = self.port(vm.name)
            made[PlugKey(port)] = Plug(EVI)
            made[MacKey(EVI, vm.mac.packed)] = (Local(port, vm.mac),)
        return made


def of_others(
    member: Member, *machines: Vm, vni: int = VNI, neighbours: bool = True, which: int = 0
) -> dict[Key, Value]:
    """The records of machines on another node."""
    hop = remote(member.node, vni, which)
    made: dict[Key, Value] = {SourceKey(hop.address): True, FloodKey(EVI, hop.address): (hop,)}
    for vm in machines:
        made[MacKey(EVI, vm.mac.packed)] = (hop,)
        for address in vm.addresses if neighbours else ():
            made[NeighbourKey(EVI, ip_address(address.split("/")[0]).packed)] = Neighbour(vm.mac)
    return made


def driving(
    settings: OvsEvpnSettings, *, ready: bool = True, sweeps: bool = False
) -> AbstractAsyncContextManager[Driven]:
    """A driver that is started and, unless told otherwise, ready."""
    return started(OvsEvpnDataplane(settings, timing=QUICK), ready=ready, sweeps=sweeps)


class Wiretap:
    """Hears every frame of an interface from the beginning of the block on."""

    def __init__(self, namespace: str, interface: str) -> None:
        self._namespace, self._interface = namespace, interface
        self._frames: list[bytes] = []

    def __enter__(self) -> Wiretap:
        with inside(self._namespace):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self._socket.bind((self._interface, 0x0003))
        self._socket.setblocking(False)
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def frames(self) -> list[bytes]:
        """What was heard until now."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._frames.append(self._socket.recv(4096))
        return self._frames

    @property
    def tunnelled(self) -> list[bytes]:
        """The frames inside VXLAN (RFC 7348) to UDP port 4789."""
        found = []
        for frame in self.frames:
            kind = int.from_bytes(frame[12:14])
            udp = 34 if kind == 0x0800 and frame[23] == 17 else 54 if kind == 0x86DD and frame[20] == 17 else 0
            if udp and int.from_bytes(frame[udp + 2 : udp + 4]) == 4789:
                found.append(frame[udp + 16 :])
        return found


def is_question(frame: bytes) -> bool:
    """Whether a frame asks all for an address (ARP or ND), and is of one that has an address itself."""
    kind = int.from_bytes(frame[12:14])
    if kind == 0x0806:
        return frame[:6] == b"\xff" * 6 and frame[20:22] == b"\0\1" and any(frame[28:32])
    return frame[:2] == b"\x33\x33" and kind == 0x86DD and frame[20] == 58 and frame[54] == 135 and any(frame[22:38])


def reaches(vm: Vm, address: str, *, seconds: float = 5) -> bool:
    """Whether a machine gets an answer from an address, after the first packets that wait for the underlay's ARP."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if vm.ping(address, wait=0.3):
            return True
    return False


def forget_neighbours(*machines: Vm) -> None:
    """Have machines ask again for whom they know."""
    for vm in machines:
        vm.run("ip", "neigh", "flush", "all")


def send(vm: Vm, frame: bytes) -> None:
    """Have a machine send a frame just as it is."""
    with inside(vm.namespace), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind(("eth0", 0))
        raw.send(frame)
