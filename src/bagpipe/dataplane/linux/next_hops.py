"""Groups of next hops, each made once however many MACs share their traffic by it.

The kernel keeps next hops by number. Ours start at a number that is unlikely to be met, are marked with our protocol
number, and are taken over by what they say after a restart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from bagpipe.dataplane.linux import entries
from bagpipe.dataplane.linux.entries import NextHop
from bagpipe.dataplane.linux.netlink import Request
from bagpipe.dataplane.model import Key

_FIRST = 0x0BA60001

Nodes = tuple[bytes, ...]
"""The addresses of a group, ascending."""


@dataclass(slots=True)
class _Group:
    number: int
    is_whole: bool = False
    users: set[Key] = field(default_factory=set)


class NextHops:
    """Which groups there are and who uses them."""

    def __init__(self) -> None:
        self._nodes: dict[bytes, int] = {}
        self._groups: dict[Nodes, _Group] = {}
        self._of: dict[Key, Nodes] = {}
        self._taken: set[int] = set()
        self._next = _FIRST
        self._strays: list[int] = []

    def adopt(self, found: Iterable[NextHop]) -> None:
        """Begin with what the kernel has."""
        kept = list(found)
        self._groups.clear()
        self._of.clear()
        self._taken = {hop.number for hop in kept}
        addresses = {hop.number: hop.address for hop in kept if hop.is_ours and hop.address is not None}
        self._nodes = {address: number for number, address in addresses.items()}
        known = set(self._nodes.values())
        for hop in kept:
            members = [addresses[number] for number in hop.members if number in known]
            nodes = tuple(sorted(members))
            if hop.is_ours and nodes and len(nodes) == len(hop.members) and nodes not in self._groups:
                self._groups[nodes] = _Group(hop.number, is_whole=True)
                known.add(hop.number)
        self._strays = [hop.number for hop in kept if hop.is_ours and hop.number not in known]

    def _number(self) -> int:
        while self._next in self._taken:
            self._next += 1
        self._taken.add(self._next)
        return self._next

    def use(self, key: Key, nodes: Nodes) -> tuple[int, list[Request]]:
        """The number of the group of these nodes, and what has to be asked of the kernel first."""
        group = self._groups.get(nodes)
        if group is None:
            group = self._groups[nodes] = _Group(self._number())
        requests = []
        if not group.is_whole:
            for node in nodes:
                if node not in self._nodes:
                    self._nodes[node] = self._number()
                requests.append(entries.put_node(self._nodes[node], node))
            requests.append(entries.put_group(group.number, [self._nodes[node] for node in nodes]))
            group.is_whole = True
        if self._of.get(key) != nodes:
            self.leave(key)
            self._of[key] = nodes
        group.users.add(key)
        return group.number, requests

    def number(self, nodes: Nodes) -> int | None:
        """The number of the group of these nodes, None if there is none."""
        group = self._groups.get(nodes)
        return None if group is None else group.number

    def leave(self, key: Key) -> None:
        """A MAC is not reached by a group any more."""
        nodes = self._of.pop(key, None)
        if nodes is not None and nodes in self._groups:
            self._groups[nodes].users.discard(key)

    def doubt(self, key: Key) -> None:
        """What a MAC is reached by may not be there as it should: make it again with the next use."""
        nodes = self._of.get(key)
        if nodes is not None:
            self._groups[nodes].is_whole = False

    def lose(self, number: int) -> list[Key]:
        """The kernel has lost a next hop or a group: what used it."""
        keys: list[Key] = []
        for nodes, group in self._groups.items():
            if group.number == number or any(self._nodes.get(node) == number for node in nodes):
                group.is_whole = False
                keys += group.users
        return keys

    def unused(self) -> list[Request]:
        """Forget the groups and nodes that nothing uses; what has to be asked of the kernel for that."""
        # Groups before their nodes: those are the later ones.
        requests = [entries.take_next_hop(number) for number in sorted(self._strays, reverse=True)]
        self._taken.difference_update(self._strays)
        self._strays = []
        for nodes in [nodes for nodes, group in self._groups.items() if not group.users]:
            number = self._groups.pop(nodes).number
            self._taken.discard(number)
            requests.append(entries.take_next_hop(number))
        used = {node for nodes in self._groups for node in nodes}
        for node in [node for node in self._nodes if node not in used]:
            number = self._nodes.pop(node)
            self._taken.discard(number)
            requests.append(entries.take_next_hop(number))
        return requests

    def in_use(self) -> dict[int, Nodes]:
        """The groups by number."""
        return {group.number: nodes for nodes, group in self._groups.items()}
