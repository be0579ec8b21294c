"""Hosts with the Linux dataplane for EVPN instances, in namespaces on one wire, and machines behind their ports.

Each host is driven as the daemon does: a tracker, a programmer and the driver; what BGP would bring is given to the
trackers by hand.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Self

from bagpipe.dataplane.delta import Tracker
from bagpipe.dataplane.driver import DriverEvent, Listener
from bagpipe.dataplane.linux.driver import LinuxDataplane
from bagpipe.dataplane.linux.settings import LinuxSettings
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
    Value,
)
from bagpipe.dataplane.programmer import Programmer
from bagpipe.identifiers import MacAddress
from tests.system.openvswitch import die_with_parent
from tests.system.ovs_nodes import Vm, inside, ip

VNI = 5000
EVI = 7


def play(scene: Coroutine[None, None, None]) -> None:
    """Run what a test does to its end."""
    asyncio.run(scene)


def packed(address: str) -> bytes:
    """An address in 4 or 16 octets."""
    return ip_address(address).packed


def mac_of(number: int) -> MacAddress:
    """The MAC of a machine."""
    return MacAddress(bytes((2, 0, 0, 0, number >> 8, number & 255)))


def remote(address: str, vni: int = VNI) -> Remote:
    """Another host as a next hop."""
    return Remote(packed(address), vni, Encapsulation.VXLAN)


def bridge(device: str | None = None, vni: int = VNI, evi: int = EVI, name: str = "blue") -> dict[Key, Value]:
    """The record of an instance."""
    return {BridgeKey(evi): Bridge(name, vni, device)}


def plug(port: str, mac: MacAddress | None = None, evi: int = EVI) -> dict[Key, Value]:
    """The records of a port, and of the MAC behind it."""
    there = Port(port)
    found: dict[Key, Value] = {PlugKey(there): Plug(evi)}
    return found if mac is None else found | {MacKey(evi, mac.packed): (Local(there, mac),)}


def elsewhere(mac: MacAddress, *hops: Remote, addresses: Sequence[str] = (), evi: int = EVI) -> dict[Key, Value]:
    """The records of a machine at other hosts."""
    found: dict[Key, Value] = {MacKey(evi, mac.packed): hops}
    return found | {NeighbourKey(evi, packed(address)): Neighbour(mac) for address in addresses}


def flood(*hops: Remote, evi: int = EVI) -> dict[Key, Value]:
    """The records of flooding to these hosts."""
    return {FloodKey(evi, hop.address): (hop,) for hop in hops}


class _Overheard(LinuxDataplane):
    """A driver whose events are noted in ``said``."""

    def __init__(self, settings: LinuxSettings, said: list[DriverEvent]) -> None:
        super().__init__(settings)
        self._said = said

    async def start(self, listener: Listener) -> None:
        def note(event: DriverEvent) -> None:
            self._said.append(event)
            listener(event)

        await super().start(note)


class Driven:
    """The dataplane of a host while it runs."""

    def __init__(self, settings: LinuxSettings) -> None:
        self.tracker = Tracker()
        self.effects: list[Key] = []
        self.said: list[DriverEvent] = []
        self.driver = _Overheard(settings, self.said)
        self.programmer = Programmer(self.tracker, self.driver, self._settled, lambda: None)

    def _settled(self, confirmed: Sequence[Key], refused: Mapping[Key, str]) -> None:
        self.effects += confirmed

    async def want(self, records: Mapping[Key, Value | None], *, seconds: float = 10) -> dict[str, str]:
        """Have records (None: not any more); those that are refused, with the reason."""
        for key, value in records.items():
            if value is None:
                self.tracker.remove(key)
            else:
                self.tracker.set(key, value)
        self.programmer.wake()
        found = await self.programmer.wait_settled(records, seconds)
        return {str(key): reason for key, reason in found.items()}

    async def drop(self, records: Mapping[Key, Value]) -> dict[str, str]:
        """Have these records no more."""
        return await self.want(dict.fromkeys(records))

    async def until(self, is_met: Callable[[], bool], what: str, seconds: float = 5) -> float:
        """Wait; the seconds that it took."""
        begin = time.monotonic()
        while not is_met():
            refused = [f"{key}: {refusal.reason}" for key, refusal in self.tracker.refused.items()]
            assert time.monotonic() < begin + seconds, f"not within {seconds} s: {what}; refused: {refused[:5]}"
            await asyncio.sleep(0.01)
        return time.monotonic() - begin


class Host:
    """A namespace with an address on the wire."""

    def __init__(self, base: str, name: str, number: int) -> None:
        self.base = base
        self.namespace = f"{base}{name}"
        self.addresses = f"192.0.2.{number}", f"2001:db8::{number}"

    def ip(self, *arguments: str) -> str:
        """Run ``ip`` here."""
        return ip("-n", self.namespace, *arguments)

    def run(self, *argv: str) -> str:
        """Run a program here to its end and give its output; its failure is an AssertionError."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.namespace, *argv], capture_output=True, text=True, timeout=20, check=False
        )
        assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
        return done.stdout

    def fdb(self, of: str = "") -> list[str]:
        """The entries of bridges and VXLAN devices, those of groups of the kernel's own left out."""
        shown = self.run("bridge", "-d", "fdb", "show").splitlines()
        return [line.strip() for line in shown if of in line and not line.startswith(("33:33:", "01:"))]

    def links(self, kind: str) -> list[str]:
        """The names of the interfaces of a kind."""
        return [line.split(": ")[1].split("@")[0] for line in self.ip("-o", "link", "show", "type", kind).splitlines()]

    @contextlib.asynccontextmanager
    async def driven(
        self,
        wanted: Mapping[Key, Value] | None = None,
        *,
        six: bool = False,
        sweeps: bool = True,
        settings: LinuxSettings | None = None,
    ) -> AsyncIterator[Driven]:
        """The dataplane runs until the block ends; ``wanted`` is what is known before it starts."""
        chosen = settings or LinuxSettings(ip_address(self.addresses[six]))
        with inside(self.namespace):
            run = Driven(chosen)
            run.tracker.set_all(dict(wanted or {}))
            await run.programmer.start()
        try:
            await run.until(lambda: run.programmer.connected, "the driver is ready")
            if sweeps:
                run.programmer.sweep_when_ready()
            yield run
        finally:
            await run.programmer.close()


class Site:
    """Hosts ``a``, ``b`` and ``c`` on one wire, and their machines."""

    def __init__(self) -> None:
        self._base = f"evpn{os.getpid()}-"
        self._fabric = f"{self._base}wire"
        self._namespaces: list[str] = []
        self.hosts: list[Host] = []

    def start(self) -> None:
        """Make the namespaces."""
        self._add(self._fabric)
        ip("-n", self._fabric, "link", "add", "wire", "type", "bridge", "mcast_snooping", "0")
        ip("-n", self._fabric, "link", "set", "wire", "up")
        for number, name in enumerate("abc", 1):
            host = Host(self._base, name, number)
            self._add(host.namespace)
            self.hosts.append(host)
            cable = ["link", "add", "wire0", "mtu", "1600", "netns", host.namespace, "type", "veth"]
            ip(*cable, "peer", "name", f"to-{name}", "netns", self._fabric)
            ip("-n", self._fabric, "link", "set", f"to-{name}", "master", "wire", "mtu", "1600", "up")
            host.ip("link", "set", "wire0", "up")
            host.ip("address", "add", f"{host.addresses[0]}/24", "dev", "wire0")
            host.ip("address", "add", f"{host.addresses[1]}/64", "dev", "wire0", "nodad")

    def _add(self, namespace: str) -> None:
        ip("netns", "add", namespace)
        self._namespaces.append(namespace)
        ip("-n", namespace, "link", "set", "lo", "up")

    def stop(self) -> None:
        """Remove them."""
        for namespace in self._namespaces:
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True, check=False)

    def machine(self, host: Host, number: int, mac: MacAddress | None = None) -> Vm:
        """A machine with 10.0.0.NUMBER and fd00::NUMBER behind a port of a host that is on no bridge."""
        count = len(self._namespaces)
        namespace, port = f"{self._base}vm{count}", f"tap{count}"
        self._add(namespace)
        addresses = f"10.0.0.{number}", f"fd00::{number:x}"
        made = Vm(port, namespace, mac or mac_of(number), addresses, port)
        host.ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        ip("-n", namespace, "link", "set", "eth0", "address", str(made.mac), "mtu", "1500", "up")
        subprocess.run(
            ["ip", "netns", "exec", namespace, "sysctl", "-qw", "net.ipv6.conf.eth0.accept_dad=0"], check=True
        )
        ip("-n", namespace, "address", "add", f"{made.addresses[0]}/24", "dev", "eth0")
        ip("-n", namespace, "address", "add", f"{made.addresses[1]}/64", "dev", "eth0", "nodad")
        return made


class _Heard:
    """What a program says while the block runs, in ``lines``."""

    def __init__(self, namespace: str, *command: str) -> None:
        self._command = ["ip", "netns", "exec", namespace, *command]
        self.lines: list[str] = []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - the tests have no threads
        )
        self._wait_ready(self._process)
        return self

    def _wait_ready(self, process: subprocess.Popen[str]) -> None:
        raise NotImplementedError

    def __exit__(self, *_: object) -> None:
        time.sleep(0.3)
        self._process.terminate()
        self.lines = self._process.communicate(timeout=10)[0].splitlines()


class Capture(_Heard):
    """The packets at an interface, with their MACs."""

    def __init__(self, namespace: str, interface: str, expression: str = "") -> None:
        super().__init__(namespace, "tcpdump", "-nnle", "-i", interface, *expression.split())

    def _wait_ready(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        assert any("listening on" in line for line in process.stderr)


class Changes(_Heard):
    """What changes of interfaces, entries, neighbours and next hops."""

    def __init__(self, namespace: str) -> None:
        super().__init__(namespace, "ip", "-o", "monitor", "link", "neigh", "nexthop")

    def _wait_ready(self, process: subprocess.Popen[str]) -> None:
        end = time.monotonic() + 5
        while not self._listens(process.pid):
            assert time.monotonic() < end, "ip monitor does not listen"
            time.sleep(0.02)

    def _listens(self, pid: int) -> bool:
        shown = Path(f"/proc/{pid}/net/netlink").read_text().splitlines()[1:]
        return any(line.split()[2] == str(pid) and int(line.split()[3], 16) for line in shown)


@contextlib.contextmanager
def a_site() -> Iterator[Site]:
    """A site until the block ends."""
    site = Site()
    try:
        site.start()
        yield site
    finally:
        site.stop()
