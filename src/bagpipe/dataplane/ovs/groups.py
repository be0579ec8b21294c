"""Groups of next hops, shared by all routes that have the same ones.

A group's number follows from its next hops, so that it is the same in every process and after any order of events (but
where two sets of next hops meet at one number; then the later one takes the next that is free).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Protocol

from bagpipe.dataplane.model import NextHop, Remote
from bagpipe.dataplane.openflow import Bucket, GroupCommand, GroupMod, GroupType, Selection
from bagpipe.dataplane.openflow.actions import Action
from bagpipe.dataplane.openflow.groups import BUCKET_MAX
from bagpipe.dataplane.ovs.ground import Missing
from bagpipe.dataplane.ovs.pipeline import GROUPS

Hops = tuple[NextHop, ...]


class Compiler(Protocol):
    """Who knows what is done to a packet that goes to a next hop."""

    def actions(self, hop: NextHop) -> tuple[Action, ...]:
        """As in a bucket. Raises Missing."""
        ...


def _place(hop: NextHop) -> tuple[int, str]:
    return hop.order, _text(hop)


def _text(hop: NextHop) -> str:
    if isinstance(hop, Remote):
        router = f" {hop.mac.hex()}" if hop.mac else ""
        return f"remote {hop.address.hex()} {hop.encapsulation.value} {hop.label:06x} {hop.order}{router}"
    return f"local {hop.port.name} {hop.port.vlan} {hop.port.number} {hop.port.interface} {hop.mac} {hop.order}"


def in_order(hops: Iterable[NextHop]) -> Hops:
    """Next hops by the place that their routes ask for, each once."""
    return tuple(sorted(dict.fromkeys(hops), key=_place))


def usable(hops: Iterable[NextHop], compiler: Compiler) -> tuple[Hops, str | None]:
    """The next hops that can be used now, in order, and why not all can. Raises Missing if none can."""
    wanted = in_order(hops)
    found, reasons = [], []
    for hop in wanted:
        try:
            compiler.actions(hop)
        except Missing as cause:
            reasons.append(str(cause))
        else:
            found.append(hop)
    if not found:
        raise Missing("; ".join(dict.fromkeys(reasons)))
    reason = f"{'; '.join(reasons)} ({len(found)} of {len(wanted)} next hops in use)" if reasons else None
    return tuple(found), reason


def bucket_numbers(hops: Hops) -> list[int]:
    """The number of each next hop's bucket: the place its route asks for where that is free, else the lowest free."""
    taken: set[int] = set()
    numbers = []
    for hop in hops:
        number = hop.order
        if number in taken or not 0 <= number <= BUCKET_MAX:
            number = next(free for free in range(len(hops) + 1) if free not in taken)
        taken.add(number)
        numbers.append(number)
    return numbers


class GroupPool:
    """Which group numbers of ``span`` are in use, for which next hops, and by how many routes."""

    def __init__(self, selection: Selection, span: range = GROUPS) -> None:
        self._selection = selection
        self._span = span
        self._numbers: dict[Hops, int] = {}
        self._holders: dict[int, Hops] = {}
        self.users: dict[Hops, int] = {}

    def number(self, hops: Hops) -> int:
        """The group for these next hops; the number stays while a route uses it."""
        number = self._numbers.get(hops)
        if number is None:
            text = "\n".join(map(_text, hops)).encode()
            start = int.from_bytes(hashlib.blake2s(text, digest_size=3).digest())
            span = self._span
            number = next(
                span[(start + more) % len(span)]
                for more in range(len(span))
                if span[(start + more) % len(span)] not in self._holders
            )
            self._numbers[hops] = number
            self._holders[number] = hops
        return number

    def unused(self) -> list[Hops]:
        """Next hops that have a number though no route uses them."""
        return [hops for hops in self._numbers if not self.users.get(hops)]

    def in_use(self) -> dict[int, Hops]:
        """The next hops of every group that a route uses."""
        return {self._numbers[hops]: hops for hops in self.users}

    def put(self, hops: Hops, next_hops: Compiler) -> GroupMod:
        """The message that makes the group, or makes it right. Raises Missing."""
        return self._mod(hops, next_hops, GroupCommand.ADD_OR_MODIFY)

    def wanted(self, hops: Hops, next_hops: Compiler) -> GroupMod:
        """The group as the switch would show it. Raises Missing."""
        return self._mod(hops, next_hops, GroupCommand.ADD)

    def _mod(self, hops: Hops, next_hops: Compiler, command: GroupCommand) -> GroupMod:
        if len(hops) < 2:
            raise Missing("a group needs several next hops")
        buckets = tuple(
            Bucket(number, next_hops.actions(hop)) for number, hop in zip(bucket_numbers(hops), hops, strict=True)
        )
        return GroupMod(self.number(hops), GroupType.SELECT, buckets, self._selection, command)

    def release_unused(self) -> None:
        """Forget the numbers of groups that no route uses."""
        self.users = {hops: count for hops, count in self.users.items() if count > 0}
        for hops in self._numbers.keys() - self.users.keys():
            del self._holders[self._numbers.pop(hops)]
