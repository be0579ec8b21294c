"""A machine of a tenant: a namespace with one interface that can be plugged into several hosts, and speaks at one.

Its interface ``eth0`` is a bridge with one leg to each host it is plugged into, of which at most one is alive, as a
machine that moves is for a moment at two hosts and runs at one. What it knows of its neighbours moves along.
"""

from __future__ import annotations

import re
import socket

from .http import socket_on
from .network import CommandFailed, Host, Network, batch, run
from .waiting import PATIENCE, wait_until


def addresses_in(subnet: int, number: int) -> tuple[str, str]:
    """The addresses of a machine in a subnet."""
    return f"10.0.{subnet}.{number}", f"fd00:{subnet:x}::{number:x}"


class Machine:
    """In subnet S it has 10.0.S.N/24, fd00:S::N/64 and the MAC 02:00:00:00:S:N, all in hexadecimal but for the first.
    ``port`` is its interface on each host.
    """

    def __init__(self, network: Network, name: str, subnet: int, number: int) -> None:
        """It is plugged nowhere. ``subnet`` and ``number`` are 0 to 255."""
        self.name = name
        self.port = f"tap-{name}"
        self.namespace = network.namespace(f"vm-{name}")
        self.mac = f"02:00:00:00:{subnet:02x}:{number:02x}"
        self.address, self.address6 = addresses_in(subnet, number)
        self._legs: dict[str, str] = {}
        batch(
            self.namespace,
            [
                "link set lo up",
                f"link add eth0 address {self.mac} type bridge mcast_snooping 0",
                "link set eth0 mtu 1450 up",
                f"address add {self.address}/24 dev eth0",
                f"address add {self.address6}/64 dev eth0 nodad",
            ],
        )

    def plug(self, host: Host) -> None:
        """Have a port on a host, on no bridge, that nothing comes out of yet."""
        leg = self._legs[host.name] = f"leg{len(self._legs)}"
        batch(host.namespace, [f"link add {self.port} type veth peer name {leg} netns {self.namespace}"])
        batch(host.namespace, [f"link set {self.port} addrgenmode none up"])
        batch(self.namespace, [f"link set {leg} addrgenmode none up"])

    def live(self, host: Host, *, quiet: bool = False) -> None:
        """Run on a host and no other; unless ``quiet`` tell the network, as a hypervisor does after a migration."""
        lines = [f"link set {leg} nomaster" for leg in self._legs.values()]
        batch(self.namespace, [*lines, f"link set {self._legs[host.name]} master eth0"])
        if not quiet:
            self.tell()

    def unplug(self, host: Host) -> None:
        """Take the port off a host."""
        del self._legs[host.name]
        batch(host.namespace, [f"link delete {self.port}"])

    def tell(self) -> None:
        """Send a gratuitous ARP request (RFC 5944 section 4.6)."""
        mac, address = bytes.fromhex(self.mac.replace(":", "")), socket.inet_aton(self.address)
        arp = b"\0\1\x08\0\6\4\0\1" + mac + address + bytes(6) + address
        with socket_on(self.namespace, socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind(("eth0", 0))
            raw.send(b"\xff" * 6 + mac + b"\x08\x06" + arp)

    def ping(self, address: str, *, count: int = 1, wait: float = 1.0) -> int:
        """How many of ``count`` echo requests are answered."""
        argv = ["ping", "-n", "-i", "0.01", "-c", str(count), "-W", str(wait), address]
        try:
            text = run(["ip", "netns", "exec", self.namespace, *argv])
        except CommandFailed as failure:
            text = str(failure)
        found = re.search(r"(\d+) received", text)
        if found is None:
            raise CommandFailed(text)
        return int(found[1])

    def reaches(self, *addresses: str, timeout: float = PATIENCE) -> None:
        """Wait until each of these answers."""
        for address in addresses:
            what = f"{self.name} reaches {address}"
            wait_until(lambda address=address: self.ping(address, wait=0.3), bool, what, timeout)  # type: ignore[misc]

    def forget(self) -> None:
        """Forget who has which address."""
        run(["ip", "-n", self.namespace, "neigh", "flush", "all"])

    def knows(self, address: str) -> str | None:
        """The MAC that it has for an address."""
        shown = run(["ip", "-n", self.namespace, "neigh", "show", address])
        found = re.search(r"lladdr (\S+)", shown)
        return found[1] if found is not None else None
