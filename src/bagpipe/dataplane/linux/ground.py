"""What the driver stands on while it is started: the kernel's sockets, and all that is known by them."""

from __future__ import annotations

from collections.abc import Container

from bagpipe.dataplane.errors import Unreachable
from bagpipe.dataplane.linux import entries
from bagpipe.dataplane.linux.domains import Domains
from bagpipe.dataplane.linux.links import Link, Links
from bagpipe.dataplane.linux.netlink import Kernel, News, Refused
from bagpipe.dataplane.linux.next_hops import NextHops
from bagpipe.dataplane.linux.records import Records
from bagpipe.dataplane.linux.settings import LinuxSettings
from bagpipe.dataplane.linux.watch import Watch
from bagpipe.dataplane.model import Bridge


def can_share() -> bool:
    """Whether the kernel has groups of next hops for forwarding entries (Linux 5.8)."""
    try:
        kernel = Kernel()
    except Unreachable:
        return False
    try:
        for _ in entries.dump_next_hops(kernel):
            pass
    except (Refused, Unreachable):
        return False
    finally:
        kernel.close()
    return True


class Ground:
    """Sockets of the network namespace in which it is made, and what they are read into. Raises Unreachable."""

    def __init__(self, settings: LinuxSettings, *, shares: bool) -> None:
        self.kernel = Kernel()
        self.news = News()
        self.links = Links()
        self.hops = NextHops()
        self.watch = Watch(self.news, self.links, self.hops)
        self.devices = Domains(settings, self.kernel, self.links, self.watch.follow)
        self.records = Records(settings, self.devices, self.hops, shares=shares)
        self.read()

    def read(self) -> None:
        """Forget what was wanted, and begin with the interfaces and next hops as they are. Raises Unreachable."""
        self.watch.follow()
        self.watch.forget()
        self.news.is_lost = False
        self.links.read(self.kernel)
        self.devices.find_underlay()
        self.hops.adopt(entries.dump_next_hops(self.kernel) if self.records.shares else ())

    def close(self) -> None:
        """Let go of the kernel."""
        self.kernel.close()
        self.news.close()

    def wanted(self) -> list[Bridge]:
        """The instances that should be."""
        return [domain.wanted for domain in self.watch.domains.values() if domain.wanted is not None]

    def places(self, numbers: Container[int] | None = None) -> tuple[set[int], set[int]]:
        """The VXLAN devices and the bridges of these instances, or of all, by index."""
        domains = [one for number, one in self.watch.domains.items() if numbers is None or number in numbers]
        return {domain.tunnel for domain in domains} - {0}, {domain.bridge for domain in domains} - {0}

    def strangers(self) -> list[Link]:
        """The ports of our own bridges that are of no instance."""
        plugged = {key.port.on_bridge for key in self.watch.plugs}
        return [link for domain in self.watch.domains.values() for link in self.devices.strangers(domain, plugged)]
