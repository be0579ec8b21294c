"""What the kernel holds of forwarding entries and neighbours, and how it differs from what is wanted. No I/O.

What is right is not sent again. Ours are: all lasting entries on devices of ours; on a bridge that somebody else made
the entries that lead into the tunnel and those that are sticky; on a VXLAN device of somebody else the entries that a
control plane made, for frames to one MAC (those to many cannot be told from its owner's and are left); neighbours with
our protocol number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from bagpipe.dataplane.linux import entries
from bagpipe.dataplane.linux.domains import Domain
from bagpipe.dataplane.linux.entries import MANY, Entry, Known
from bagpipe.dataplane.linux.netlink import Request
from bagpipe.dataplane.linux.records import Records, Way
from bagpipe.dataplane.model import FloodKey, Key, MacKey, Neighbour, NeighbourKey, Value


class Actual:
    """Entries by their place. ``tunnels`` and ``bridges`` are the interfaces that matter."""

    def __init__(self, tunnels: Iterable[int], bridges: Iterable[int]) -> None:
        self._tunnels = frozenset(tunnels)
        self._bridges = frozenset(bridges)
        self.tunnelled: dict[tuple[int, bytes], Entry] = {}
        self.floods: dict[tuple[int, bytes | None, int | None], Entry] = {}
        self.bridged: dict[tuple[int, bytes], Entry] = {}
        self.neighbours: dict[tuple[int, bytes], Known] = {}
        self.odd: set[tuple[int, bytes]] = set()
        """Entries of tunnels that are there for a record and lead elsewhere."""

    def note(self, entry: Entry) -> None:
        """Take an entry of a bridge or a tunnel, if it matters."""
        if entry.master is not None:
            if entry.master in self._bridges:
                self.bridged[entry.master, entry.mac] = entry
        elif entry.interface in self._tunnels:
            if entry.mac == MANY:
                self.floods[entry.interface, entry.address, entry.vni] = entry
            else:
                self.tunnelled[entry.interface, entry.mac] = entry

    def note_neighbour(self, known: Known) -> None:
        """Take a neighbour, if it matters."""
        if known.interface in self._bridges or known.interface in self._tunnels:
            self.neighbours[known.interface, known.address] = known

    # ------------------------------------------------------------------ against what is wanted

    def differs(self, records: Records, domain: Domain, key: Key, value: Value) -> str | None:
        """How what is held differs from a record: ``missing`` or ``changed``, None if it does not. Raises Refused.

        What is in the place of the record is taken out: what is left when all were looked at is of none.
        """
        if isinstance(key, MacKey):
            assert isinstance(value, tuple)
            return self._mac_differs(records, domain, key.octets, records.way(domain, value))
        domain.check()
        if isinstance(key, FloodKey):
            assert isinstance(value, tuple)
            if not records.settings.floods:
                return None
            held = self.floods.pop((domain.tunnel, *records.flood_of(domain, value)), None)
            return None if held is not None else "missing"
        if not isinstance(key, NeighbourKey) or domain.answers is None:
            return None
        assert isinstance(value, Neighbour)
        known = self.neighbours.pop((domain.answers, key.octets), None)
        if known is None:
            return "missing"
        is_router = value.is_router and len(key.octets) == 16
        is_right = (known.mac, known.is_router, known.lasts) == (value.mac.packed, is_router, True)
        return None if is_right else "changed"

    def _mac_differs(self, records: Records, domain: Domain, mac: bytes, way: Way) -> str | None:
        bridged = self.bridged.pop((domain.bridge, mac), None)
        difference = None
        if bridged is None:
            difference = "missing"
        elif not bridged.lasts or bridged.interface != (domain.tunnel if way.port is None else way.port):
            difference = "changed"
        if way.port is not None:
            return difference
        tunnelled = self.tunnelled.pop((domain.tunnel, mac), None)
        if tunnelled is None:
            return difference or "missing"
        group = records.hops.number(way.nodes) if way.nodes else None
        if (tunnelled.address, tunnelled.vni, tunnelled.group) == (way.address, way.vni, group):
            return difference
        self.odd.add((domain.tunnel, mac))
        return "changed"

    def extras(self, domains: Iterable[Domain]) -> Iterator[tuple[str, Request]]:
        """What is ours and was not taken out: as text, and the order that takes it away."""
        for entry, is_ours in self._left(domains):
            if not is_ours:
                continue
            if entry.master is not None:
                yield told(entry), entries.take_bridged(entry.interface, entry.mac)
            elif entry.mac != MANY:
                yield told(entry), entries.take_tunnelled(entry.interface, entry.mac)
            elif entry.address is not None:
                yield told(entry), entries.take_flood(entry.interface, entry.address, entry.vni)
        for (interface, address), known in self.neighbours.items():
            if known.is_ours:
                yield f"neighbour {ip_address(address)}", entries.take_neighbour(interface, address)

    def others(self, domains: Iterable[Domain]) -> list[Entry]:
        """The entries that somebody else made, or the kernel by what it saw."""
        return [entry for entry, is_ours in self._left(domains) if not is_ours and not (entry.master and entry.is_own)]

    def _left(self, domains: Iterable[Domain]) -> Iterator[tuple[Entry, bool]]:
        """The entries that were not taken out, and whether they are ours."""
        by_tunnel, by_bridge = {}, {}
        for domain in domains:
            by_tunnel[domain.tunnel] = by_bridge[domain.bridge] = domain
        for entry in self.tunnelled.values():
            found = by_tunnel.get(entry.interface)
            yield entry, entry.is_outside or (found is not None and not found.is_borrowed)
        for entry in self.floods.values():
            found = by_tunnel.get(entry.interface)
            yield entry, found is not None and not found.is_borrowed
        for (bridge, _), entry in self.bridged.items():
            found = by_bridge.get(bridge)
            is_ours = found is not None and not found.is_given
            is_ours = is_ours or entry.is_sticky or (entry.is_outside and entry.interface in self._tunnels)
            yield entry, is_ours and entry.lasts and not entry.is_own


def told(entry: Entry) -> str:
    """An entry for people."""
    mac = "frames to many" if entry.mac == MANY else f"MAC {entry.mac.hex(':')}"
    parts = [mac]
    if entry.master is not None:
        parts.append(f"at port {entry.interface} of bridge {entry.master}")
    else:
        parts.append(f"by VXLAN device {entry.interface}")
    if entry.address is not None:
        parts.append(f"to {ip_address(entry.address)}")
    if entry.vni is not None:
        parts.append(f"VNI {entry.vni}")
    if entry.group is not None:
        parts.append(f"to next hops {entry.group}")
    return " ".join(parts)
