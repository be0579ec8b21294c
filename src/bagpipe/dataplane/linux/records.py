"""From records of MACs, flooding and neighbours to orders for the kernel.

An entry goes to another place by one order where the kernel can; it cannot make an entry for one node one for a group
or the other way round, so there the old one goes first, and frames are flooded meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import NamedTuple, Self

from bagpipe.dataplane.linux import entries
from bagpipe.dataplane.linux.domains import Domain, Domains
from bagpipe.dataplane.linux.netlink import Refused, Request
from bagpipe.dataplane.linux.next_hops import NextHops, Nodes
from bagpipe.dataplane.linux.settings import LinuxSettings
from bagpipe.dataplane.model import FloodKey, Forward, Key, Local, MacKey, Neighbour, NeighbourKey, Remote, Value

EntryKey = MacKey | FloodKey | NeighbourKey


class Way(NamedTuple):
    """How frames to a MAC leave: by a port (an interface), to one node with a VNI (None: the tunnel's own), or to the
    nodes of a group.
    """

    port: int | None = None
    address: bytes | None = None
    vni: int | None = None
    nodes: Nodes = ()


@dataclass(slots=True)
class Orders:
    """Requests in order, each with the record it is for (None: for none that is desired)."""

    requests: list[Request] = field(default_factory=list)
    owners: list[Key | None] = field(default_factory=list)

    def add(self, owner: Key | None, *requests: Request) -> None:
        """Append."""
        for request in requests:
            self.requests.append(request)
            self.owners.append(owner)

    @classmethod
    def of(cls, requests: Iterable[Request]) -> Self:
        """Requests that are for no record."""
        kept = list(requests)
        return cls(kept, [None] * len(kept))


class Records:
    """Writes orders. ``shares`` tells that the kernel has groups of next hops for forwarding entries."""

    def __init__(self, settings: LinuxSettings, domains: Domains, hops: NextHops, *, shares: bool) -> None:
        self.settings = settings
        self.domains = domains
        self.hops = hops
        self.shares = shares
        self.odd: set[tuple[int, bytes]] = set()
        """Entries of tunnels that are not of any record, so that it is not known what kind they are."""
        self._size = len(settings.local_address.packed)

    # ------------------------------------------------------------------ what is wanted

    def way(self, domain: Domain, value: Forward) -> Way:
        """How frames to a MAC should leave. Raises Refused."""
        first = value[0]
        if isinstance(first, Local):
            return Way(port=self.domains.find_port(domain, first.port).index)
        domain.check()
        address, label = first.address, first.label
        if len(address) != self._size:
            raise Refused(f"node {ip_address(address)} cannot be reached from {self.settings.local_address}")
        if label != domain.vni:
            return Way(address=address, vni=label)
        if len(value) > 1 and self.shares:
            nodes = {hop.address for hop in value if isinstance(hop, Remote) and hop.label == label}
            nodes = {node for node in nodes if len(node) == self._size}
            if len(nodes) > 1:
                return Way(nodes=tuple(sorted(nodes)))
        return Way(address=address)

    def shortfall(self, domain: Domain, value: Forward) -> str | None:
        """What of several next hops is not used, and why; None if all are."""
        if isinstance(value[0], Local):
            return None
        nodes = {hop.address for hop in value if isinstance(hop, Remote)}
        unused = len(nodes) - max(1, len(self.way(domain, value).nodes))
        if not unused:
            return None
        why = "the VNIs of its nodes differ" if self.shares else "the kernel has no groups of next hops for it"
        return f"{unused} of its nodes get no share of the traffic: {why}"

    # ------------------------------------------------------------------ orders

    def put(self, orders: Orders, domain: Domain, key: EntryKey, old: Value | None, new: Value) -> None:
        """Have a record in effect. Raises Refused."""
        if isinstance(key, MacKey):
            assert isinstance(new, tuple)
            self._put_mac(orders, domain, key, old if isinstance(old, tuple) else None, new)
            return
        domain.check()
        if isinstance(key, FloodKey):
            assert isinstance(new, tuple)
            self._put_flood(orders, domain, key, old if isinstance(old, tuple) else None, new)
        elif domain.answers is not None:
            assert isinstance(new, Neighbour)
            is_router = new.is_router and len(key.octets) == 16
            orders.add(key, entries.put_neighbour(domain.answers, key.octets, new.mac.packed, is_router=is_router))

    def _put_mac(self, orders: Orders, domain: Domain, key: MacKey, old: Forward | None, new: Forward) -> None:
        mac = key[5:]
        was_remote = old is not None and isinstance(old[0], Remote) and old != new
        if isinstance(new[0], Local):
            domain.place(key, new[0].port.on_bridge)
        elif domain.ports_of:
            domain.displace(key)
        port, address, vni, nodes = self.way(domain, new)
        if not nodes:
            self.hops.leave(key)
        if port is not None:
            orders.add(key, entries.put_local(port, mac, sticky=domain.is_given))
            if was_remote or (domain.tunnel, mac) in self.odd:
                orders.add(key, entries.take_tunnelled(domain.tunnel, mac))
            return
        was_shared = False
        if was_remote and old is not None and len(old) > 1:
            was_shared = bool(self.way(domain, old).nodes)
        if (was_remote and was_shared != bool(nodes)) or (self.odd and (domain.tunnel, mac) in self.odd):
            orders.add(key, entries.take_tunnelled(domain.tunnel, mac))
        if nodes:
            number, requests = self.hops.use(key, nodes)
            orders.add(key, *requests, entries.put_shared(domain.tunnel, mac, number))
        else:
            assert address is not None
            orders.requests.append(entries.put_remote(domain.tunnel, mac, address, vni))
            orders.owners.append(key)

    def stands(self, domain: Domain, key: EntryKey, value: Value) -> None:
        """A record is in effect as it is. Raises Refused."""
        domain.keys.add(key)
        if isinstance(key, MacKey):
            assert isinstance(value, tuple)
            if isinstance(value[0], Local):
                domain.place(key, value[0].port.on_bridge)
            nodes = self.way(domain, value).nodes
            if nodes:
                self.hops.use(key, nodes)

    def flood_of(self, domain: Domain, value: Forward) -> tuple[bytes, int | None]:
        """Where frames to many should go too: a node and the VNI, None for the tunnel's own. Raises Refused."""
        hop = value[0]
        if not isinstance(hop, Remote) or len(hop.address) != self._size:
            raise Refused(f"{hop} cannot be reached from {self.settings.local_address}")
        return hop.address, None if hop.label == domain.vni else hop.label

    def _put_flood(self, orders: Orders, domain: Domain, key: FloodKey, old: Forward | None, new: Forward) -> None:
        if not self.settings.floods:
            return
        to = self.flood_of(domain, new)
        if old is not None and old != new:
            was = self.flood_of(domain, old)
            if was != to:
                orders.add(key, entries.take_flood(domain.tunnel, *was))
        orders.add(key, entries.add_flood(domain.tunnel, *to))

    def take(self, orders: Orders, domain: Domain, key: EntryKey, old: Value | None) -> None:
        """Have a record in effect no more."""
        if isinstance(key, MacKey):
            self.hops.leave(key)
            domain.displace(key)
        if domain.why_not is not None or old is None:
            return
        if isinstance(key, NeighbourKey):
            if domain.answers is not None:
                orders.add(key, entries.take_neighbour(domain.answers, key.octets))
        elif isinstance(key, FloodKey):
            assert isinstance(old, tuple)
            if self.settings.floods:
                orders.add(key, entries.take_flood(domain.tunnel, *self.flood_of(domain, old)))
        else:
            assert isinstance(old, tuple)
            mac, first = key[5:], old[0]
            if isinstance(first, Remote):
                orders.add(key, entries.take_bridged(domain.tunnel, mac), entries.take_tunnelled(domain.tunnel, mac))
                return
            link = self.domains.links.by_name.get(first.port.on_bridge)
            if link is not None:
                orders.add(key, entries.take_bridged(link.index, mac))
