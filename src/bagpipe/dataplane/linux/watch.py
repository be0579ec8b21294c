"""What others change beneath the records: from news of the kernel to the records that have to be programmed again.

Interfaces are looked at as a whole: a bridge or a port that is not as it was when something was last done about it is
tried again, whether that broke it or made it possible. Entries are looked at one by one; what our own orders remove is
announced beforehand.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bagpipe.dataplane.linux import entries
from bagpipe.dataplane.linux import netlink as nl
from bagpipe.dataplane.linux.domains import Domain, Domains, Seen
from bagpipe.dataplane.linux.entries import Place, place_of
from bagpipe.dataplane.linux.links import Links
from bagpipe.dataplane.linux.netlink import News, Request
from bagpipe.dataplane.linux.next_hops import NextHops
from bagpipe.dataplane.model import BridgeKey, FloodKey, Key, MacKey, NeighbourKey, PlugKey


@dataclass(slots=True)
class Plugged:
    """A port's instance, and what the port was like when something was last done about it."""

    instance: int
    seen: Seen = ()


class Watch:
    """Follows the kernel. ``domains`` are the instances by number, ``plugs`` their ports."""

    def __init__(self, news: News, links: Links, hops: NextHops) -> None:
        self._news = news
        self._links = links
        self._hops = hops
        self.domains: dict[int, Domain] = {}
        self.plugs: dict[PlugKey, Plugged] = {}
        self._by_interface: dict[int, Domain] = {}
        self._expected: set[Place] = set()
        self._again: dict[Key, None] = {}
        self.links_moved = False
        self.addresses_moved = False

    def laid(self, domain: Domain) -> None:
        """An instance has these devices now."""
        self.gone(domain)
        for interface in {domain.bridge, domain.tunnel} - {0}:
            self._by_interface[interface] = domain

    def gone(self, domain: Domain) -> None:
        """What becomes of the devices of an instance is of no interest any more."""
        for interface in [index for index, known in self._by_interface.items() if known is domain]:
            del self._by_interface[interface]

    def forget(self) -> None:
        """Begin anew."""
        self.domains.clear()
        self.plugs.clear()
        self._by_interface.clear()
        self._again.clear()
        self._expected.clear()

    def expect(self, requests: list[Request]) -> None:
        """These orders remove entries; it is no news when they do."""
        for kind, _, body in requests:
            if kind == nl.DELNEIGHBOUR:
                place = place_of(body)
                if place is not None:
                    self._expected.add(place)

    def expected_has_come(self) -> None:
        """All that was ordered is done, and what it caused was told."""
        self.follow()
        self._expected.clear()

    def again(self, keys: Iterable[Key]) -> None:
        """These records have to be programmed again."""
        self._again.update(dict.fromkeys(keys))

    # ------------------------------------------------------------------ news

    def follow(self) -> None:
        """Take all that the kernel has told."""
        for kind, body in self._news.take():
            if kind in (nl.NEWLINK, nl.DELLINK):
                self._links.hear(kind, body)
                self.links_moved = True
            elif kind in (nl.NEWNEIGHBOUR, nl.DELNEIGHBOUR):
                self._entry_moved(kind, body)
            elif kind in (nl.NEWADDRESS, nl.DELADDRESS):
                self.addresses_moved = True
            elif kind == nl.DELNEXTHOP:
                hop = entries.next_hop_of(body)
                if hop.is_ours:
                    self.again(self._hops.lose(hop.number))

    def _entry_moved(self, kind: int, body: bytes) -> None:
        interface = int.from_bytes(body[4:8], "little")
        domain = self._by_interface.get(interface) or self._by_port(interface)
        if domain is None:
            return
        if kind == nl.NEWNEIGHBOUR:
            entry = entries.entry_of(body)
            if entry is None or entry.lasts:
                return
        place = place_of(body)
        if place is None or place in self._expected:
            return
        key = _key(domain.number, body[0], place)
        if key in domain.keys:
            self._again[key] = None

    def _by_port(self, interface: int) -> Domain | None:
        link = self._links.by_index.get(interface)
        return None if link is None or not link.master else self._by_interface.get(link.master)

    def look(self, devices: Domains) -> None:
        """Find what has to be tried again as interfaces or addresses have changed. Raises Unreachable."""
        if self.addresses_moved:
            devices.find_underlay()
        elif not self.links_moved:
            return
        self.links_moved = self.addresses_moved = False
        for domain in self.domains.values():
            if domain.wanted is not None and domain.seen != devices.seen(domain):
                self._again[BridgeKey(domain.number)] = None
        for key, plugged in self.plugs.items():
            if plugged.seen != devices.port_seen(key.port):
                self._again[key] = None
                found = self.domains.get(plugged.instance)
                if found is not None:
                    self.again(found.locals.get(key.port.on_bridge, ()))

    @property
    def has_again(self) -> bool:
        """Whether :meth:`take_again` gives something."""
        return bool(self._again)

    def take_again(self) -> tuple[Key, ...]:
        """The records that have to be programmed again: bridges, then ports, then the rest."""
        taken, self._again = self._again, {}
        return tuple(sorted(taken, key=_rank))


def _rank(key: Key) -> int:
    return 0 if isinstance(key, BridgeKey) else 1 if isinstance(key, PlugKey) else 2


def _key(instance: int, family: int, place: Place) -> Key:
    octets = place.octets
    if family != nl.AF_BRIDGE:
        return NeighbourKey(instance, octets)
    if len(octets) > len(entries.MANY):
        return FloodKey(instance, octets[len(entries.MANY) :])
    return MacKey(instance, octets)
