"""Compute nodes with a real Open vSwitch, joined by a cable, with "VMs" behind their bridge.

A node is a network namespace, with the userspace datapath or, where the kernel has it, a datapath of the kernel that is
its own. Its bridge ``br-mpls`` holds the underlay's interface ``wire`` and its addresses, as native tunnels of the
userspace datapath want it, and one flow that is not the driver's: what nobody else wants goes where a learning switch
would send it. A VM is a namespace whose interface is plugged into the bridge as ``tap-NAME``, or, with a VLAN, into
``br-int``, from which a patch port leads to the bridge. Names of namespaces carry the process id of the test run.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from bagpipe.identifiers import MacAddress
from tests.system.openvswitch import OpenVSwitch

BRIDGE = "br-mpls"
INTEGRATION = "br-int"
PATCH = "patch-int"
GATEWAY_MAC = "00:00:5e:00:43:64"
_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)
_runs = itertools.count(1)


def ip(*arguments: str) -> str:
    """Run ``ip`` and give its output; its failure is an AssertionError."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
    return done.stdout


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Within the block, sockets that this thread opens belong to the namespace."""
    with Path("/proc/self/ns/net").open() as here, Path(f"/run/netns/{namespace}").open() as there:
        assert _LIBC.setns(there.fileno(), _CLONE_NEWNET) == 0
        try:
            yield
        finally:
            assert _LIBC.setns(here.fileno(), _CLONE_NEWNET) == 0


@dataclass(frozen=True, slots=True)
class Vm:
    """A namespace with one interface ``eth0``; ``port`` is its name on the bridge, ``vlan`` the tag of its frames."""

    name: str
    namespace: str
    mac: MacAddress
    addresses: tuple[str, ...]
    port: str
    vlan: int | None = None

    def run(self, *argv: str, timeout: float = 20) -> subprocess.CompletedProcess[str]:
        """Run a command in the VM to its end."""
        return subprocess.run(
            ["ip", "netns", "exec", self.namespace, *argv], capture_output=True, text=True, timeout=timeout, check=False
        )

    def ping(self, address: str, *, count: int = 1, wait: float = 1.0, size: int = 56) -> int:
        """How many of ``count`` echo requests, sent at once one after the other, were answered."""
        done = self.run("ping", "-n", "-i", "0.01", "-c", str(count), "-W", str(wait), "-s", str(size), address)
        found = re.search(r"(\d+) received", done.stdout)
        assert found is not None, done.stdout + done.stderr
        return int(found.group(1))

    def ttl_of_ping(self, address: str) -> int | None:
        """The TTL or hop limit with which the answer to an echo request arrives, None if there is no answer."""
        done = self.run("ping", "-n", "-c", "1", "-W", "1", address)
        found = re.search(r"ttl=(\d+)", done.stdout)
        return int(found.group(1)) if found else None


class Node:
    """A namespace with an Open vSwitch. ``addresses`` are those of the underlay."""

    def __init__(self, name: str, number: int, base: str, directory: Path, datapath: str) -> None:
        self.name = name
        self.namespace = f"{base}-{name}"
        self.addresses = (f"192.0.2.{number}", f"2001:db8::{number}")
        self.ovs = OpenVSwitch(directory, self.namespace, datapath)
        self._base = base
        self._vms: list[str] = []

    def ofctl(self, command: str, *arguments: str) -> str:
        """Run ovs-ofctl on the bridge."""
        return self.ovs.ofctl(command, BRIDGE, *arguments)

    def count(self) -> None:
        """Have the counters of all flows brought up to date, which happens about once a second by itself."""
        self.ovs.run("ovs-appctl", "-t", f"{self.ovs.directory}/ovs-vswitchd.ctl", "revalidator/wait")

    def flows(self, *, stats: bool = False) -> list[str]:
        """The flows of the bridge but for the one that is not the driver's."""
        shown = self.ofctl("dump-flows", *([] if stats else ["--no-stats"])).splitlines()
        return [line.strip() for line in shown if "actions=NORMAL" not in line and "actions=" in line]

    def vm(self, name: str, number: int, addresses: Sequence[str], vlan: int | None = None) -> Vm:
        """Plug a VM whose default gateways 10.255.255.1 and fd00::1 have the anycast MAC.

        With a ``vlan`` it is plugged into ``br-int``, and its frames reach the bridge with that tag by a patch port.
        """
        namespace, port = f"{self._base}-{name}", f"tap-{name}"
        ip("netns", "add", namespace)
        self._vms.append(namespace)
        mac = MacAddress(bytes((2, 0, 0, 0, 0, number)))
        ip("-n", self.namespace, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        ip("-n", self.namespace, "link", "set", port, "up")
        ip("-n", namespace, "link", "set", "lo", "up")
        ip("-n", namespace, "link", "set", "eth0", "address", str(mac), "up")
        _checksums_in_software(namespace, "eth0")
        _checksums_in_software(self.namespace, port)
        for address in addresses:
            six = ":" in address
            ip("-n", namespace, "address", "add", address, "dev", "eth0", *(["nodad"] if six else []))
            gateway = "fd00::1" if six else "10.255.255.1"
            family = "-6" if six else "-4"
            ip("-n", namespace, "neigh", "replace", gateway, "lladdr", GATEWAY_MAC, "dev", "eth0", "nud", "permanent")
            ip("-n", namespace, family, "route", "replace", "default", "via", gateway, "dev", "eth0", "onlink")
        if vlan is None:
            self.ovs.vsctl("add-port", BRIDGE, port)
            return Vm(name, namespace, mac, tuple(addresses), port)
        self.ovs.vsctl("add-port", INTEGRATION, port, f"tag={vlan}")
        return Vm(name, namespace, mac, tuple(addresses), PATCH, vlan)

    def _start(self) -> None:
        self.ovs.__enter__()
        self.ovs.add_bridge(BRIDGE)
        self.ovs.vsctl("add-port", BRIDGE, "wire")
        self._bring_up()
        self.ovs.vsctl(
            *("add-br", INTEGRATION, "--", "set", "bridge", INTEGRATION, f"datapath_type={self.ovs.datapath}"),
            *_patch(INTEGRATION, "patch-mpls", PATCH),
            *_patch(BRIDGE, PATCH, "patch-mpls"),
        )

    def start_switch(self) -> None:
        """Start vswitchd again after it was stopped; the device of the bridge is a new one, without address."""
        self.ovs.start_switch()
        for _ in wait_for("the bridge is back", 10):
            shown = subprocess.run(
                ["ip", "-n", self.namespace, "link", "show", BRIDGE], capture_output=True, check=False
            )
            if shown.returncode == 0 and (self.ovs.directory / f"{BRIDGE}.mgmt").is_socket():
                break
        self._bring_up()

    def _bring_up(self) -> None:
        """Give the bridge's device its addresses, and the bridge the flow that is not the driver's."""
        for address in self.addresses:
            six = ":" in address
            more = ["nodad"] if six else []
            ip("-n", self.namespace, "address", "replace", f"{address}/{64 if six else 24}", "dev", BRIDGE, *more)
        ip("-n", self.namespace, "link", "set", BRIDGE, "up")
        _checksums_in_software(self.namespace, BRIDGE)
        for _ in wait_for("the bridge takes flows", 10):
            with contextlib.suppress(AssertionError):
                self.ofctl("add-flow", "priority=0,actions=NORMAL")
                break

    def _stop(self) -> None:
        self.ovs.__exit__(None, None, None)
        for namespace in [*self._vms, self.namespace]:
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True, check=False)


def _patch(bridge: str, port: str, peer: str) -> list[str]:
    made = f"--|add-port|{bridge}|{port}|--|set|interface|{port}|type=patch|options:peer={peer}"
    return made.split("|")


def _checksums_in_software(namespace: str, interface: str) -> None:
    argv = ["ip", "netns", "exec", namespace, "ethtool", "-K", interface, "tx", "off"]
    subprocess.run(argv, capture_output=True, check=False)


class Nodes:
    """Two nodes, ``west`` and ``east``, on one cable; ``datapath`` is ``netdev`` or ``system``. A context manager."""

    def __init__(self, datapath: str = "netdev") -> None:
        self._datapath = datapath
        self._held = contextlib.ExitStack()
        self._base = f"bovs{os.getpid()}-{next(_runs)}"

    def __enter__(self) -> Self:
        directory = Path(self._held.enter_context(tempfile.TemporaryDirectory(prefix="ovsn-")))
        self.west, self.east = self._node("west", 1, directory), self._node("east", 2, directory)
        names = self.west.namespace, self.east.namespace
        try:
            for name in names:
                ip("netns", "add", name)
                self._held.callback(subprocess.run, ["ip", "netns", "del", name], capture_output=True, check=False)
                ip("-n", name, "link", "set", "lo", "up")
            ip("link", "add", "wire", "netns", names[0], "type", "veth", "peer", "name", "wire", "netns", names[1])
            for node in (self.west, self.east):
                ip("-n", node.namespace, "link", "set", "wire", "mtu", "2000", "up")
                # The kernel sees what arrives there too, and must not answer for the bridge's addresses.
                ip("netns", "exec", node.namespace, "sysctl", "-qw", "net.ipv4.conf.wire.arp_ignore=1")
                _checksums_in_software(node.namespace, "wire")
                node.ovs.directory.mkdir()
                self._held.callback(node._stop)
                node._start()
        except BaseException:
            self._held.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._held.close()

    def _node(self, name: str, number: int, directory: Path) -> Node:
        return Node(name, number, self._base, directory / name, self._datapath)


def wait_for(what: str, seconds: float = 5.0) -> Iterator[None]:
    """Iterate until the caller breaks; an AssertionError after ``seconds``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds} s")
