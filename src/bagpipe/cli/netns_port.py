"""A port of a VPN that leads into a network namespace: a veth pair, made by iproute2 for ``bagpipe-rest-attach``.

One end stays on this host, the other is an interface with addresses and a default route in the namespace, which is made
if it is not there. Needs root. The MTUs are those of networking-bagpipe.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

HOST_MTU = 9000
NAMESPACE_MTU = 1420
RAW = "ns2vpn-raw"
"""The interface in the namespace that carries a tagged one."""
TIMEOUT = 30.0


class PortFault(Exception):
    """A port could not be made or removed; one line."""


def run(*argv: str) -> str:
    """Run a program to its end and give its output. Raises PortFault."""
    try:
        ended = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PortFault(f"{' '.join(argv)}: {error}") from error
    if ended.returncode:
        raise PortFault(f"{' '.join(argv)}: {(ended.stderr or ended.stdout).strip()}")
    return ended.stdout


def _works(*argv: str) -> bool:
    try:
        run(*argv)
    except PortFault:
        return False
    return True


@dataclass(frozen=True, slots=True)
class NetnsPort:
    """``outside`` is the interface on this host, ``inside`` the one in ``namespace``; ``vlan`` tags its frames."""

    namespace: str
    outside: str
    inside: str
    vlan: int | None = None

    def create(
        self,
        address: IPv4Interface | IPv6Interface,
        gateway: IPv4Address | IPv6Address,
        mac: str | None = None,
    ) -> str:
        """Make it anew and give the MAC of the inner interface. What has its names is replaced. Raises PortFault."""
        if self.namespace not in _namespaces():
            run("ip", "netns", "add", self.namespace)
        inner = self.inside if self.vlan is None else RAW
        _works("ip", "link", "delete", self.outside)
        _works(*self._in("link", "delete", inner))
        run(
            *("ip", "link", "add", self.outside, "mtu", str(HOST_MTU), "type", "veth"),
            *("peer", "name", inner, "netns", self.namespace),
        )
        run("ip", "link", "set", self.outside, "up")
        run(*self._in("link", "set", "lo", "up"))
        run(*self._in("link", "set", inner, "mtu", str(NAMESPACE_MTU), *(["address", mac] if mac else []), "up"))
        if self.vlan is not None:
            run(*self._in("link", "add", "link", inner, "name", self.inside, "type", "vlan", "id", str(self.vlan)))
            run(*self._in("link", "set", self.inside, "up"))
        six = address.version == 6
        run(*self._in("address", "add", str(address), "dev", self.inside, *(["nodad"] if six else [])))
        family = ["-6"] if six else ["-4"]
        run(*self._in(*family, "route", "replace", "default", "via", str(gateway), "dev", self.inside, "onlink"))
        return self.mac

    @property
    def mac(self) -> str:
        """The MAC of the inner interface. Raises PortFault."""
        shown = json.loads(run(*self._in("-json", "link", "show", self.inside)))
        return str(shown[0]["address"])

    def delete(self) -> None:
        """Remove the pair, and the namespace if nothing else lives in it. Raises PortFault."""
        if self.namespace in _namespaces():
            if self._exists_inside():
                run(*self._in("link", "delete", self.inside if self.vlan is None else RAW))
            if self._is_empty():
                run("ip", "netns", "delete", self.namespace)
        _works("ip", "link", "delete", self.outside)

    def _exists_inside(self) -> bool:
        return _works(*self._in("link", "show", self.inside if self.vlan is None else RAW))

    def _is_empty(self) -> bool:
        names = [str(link["ifname"]) for link in json.loads(run(*self._in("-json", "link", "show")))]
        return names == ["lo"] and not run("ip", "netns", "pids", self.namespace).split()

    def _in(self, *arguments: str) -> Sequence[str]:
        return ["ip", "-n", self.namespace, *arguments]


def _namespaces() -> set[str]:
    return {line.split()[0] for line in run("ip", "netns", "list").splitlines() if line.strip()}


def plug(bridge: str, port: str) -> None:
    """Put a port on an Open vSwitch bridge, anew if it is there. Raises PortFault."""
    run("ovs-vsctl", "--timeout=10", "--", "--if-exists", "del-port", port, "--", "add-port", bridge, port)


def unplug(port: str) -> None:
    """Take a port off whichever bridge has it. Raises PortFault."""
    run("ovs-vsctl", "--timeout=10", "--if-exists", "del-port", port)
