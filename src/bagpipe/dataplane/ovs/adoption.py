"""What the bridge holds of ours, and how it differs from a plan. No I/O.

A flow that is as it should be is not sent again, so its counters and its age stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bagpipe.dataplane.openflow import FlowCommand, FlowMod, GroupCommand, GroupEntry, GroupMod, PackedFlow
from bagpipe.dataplane.openflow import fields as f
from bagpipe.dataplane.openflow.matches import read_match
from bagpipe.dataplane.openflow.octets import Octets
from bagpipe.dataplane.ovs.pipeline import GROUPS, WHOLE_COOKIE
from bagpipe.dataplane.ovs.plan import Message, Owner, Plan

# The ofp_flow_mod structure (OpenFlow 1.5.1 section 7.3.4.2): where table, command, priority and match stand.
_TABLE, _COMMAND, _PRIORITY, _MATCH = 16, 17, 22, 40


def place(octets: bytes) -> bytes:
    """Table, priority and match of a flow-mod: what makes a flow the same flow."""
    end = _MATCH + int.from_bytes(octets[_MATCH + 2 : _MATCH + 4])
    return octets[_TABLE : _TABLE + 1] + octets[_PRIORITY : _PRIORITY + 2] + octets[_MATCH:end]


def _padded(size: int) -> int:
    return size + (-size & 7)


@dataclass(frozen=True, slots=True)
class Unlike:
    """A message of a plan that is not in effect; ``is_there`` if something else is in its place."""

    message: Message
    owner: Owner
    is_there: bool


class MatchOrder:
    """Brings the criteria of matches into our order. A switch has its own, and routes differ in their address alone:
    all else is looked at once.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, bytes], tuple[bytes, bytes]] = {}

    def of(self, match: bytes) -> bytes:
        """An ofp_match structure in our order. Raises MalformedMessage or LocalMisuse."""
        header, at, size = b"", len(match), 0
        for known, octets in _ADDRESSES:
            found = match.find(known)
            if found >= 0:
                header, at, size = known, found + len(known), octets
                break
        address = match[at : at + size]
        around = match[:at], match[at + size :]
        ours = self._known.get(around)
        if ours is None:
            ordered = read_match(Octets(match, "match")).packed
            at = ordered.find(header) + len(header) if size else len(ordered)
            ours = ordered[:at], ordered[at + size :]
            if ordered[at : at + size] != address:
                return ordered
            self._known[around] = ours
        return ours[0] + address + ours[1]


_ADDRESSES = tuple(
    (header, field.size)
    for field in (f.IPV4_DST, f.IPV6_DST, f.ARP_TPA, f.ND_TARGET, f.ETH_DST)
    for header in (field.header, field.masked_header)
)


class Actual:
    """The flows and groups of ours that the bridge holds; ours are groups with a number of ``span``.

    Raises MalformedMessage or LocalMisuse.
    """

    def __init__(self, flows: Iterable[PackedFlow], groups: Iterable[GroupEntry], span: range = GROUPS) -> None:
        order = MatchOrder()
        self._flows: dict[bytes, bytes] = {}
        for flow in flows:
            octets = flow.octets
            end = _MATCH + _padded(int.from_bytes(octets[_MATCH + 2 : _MATCH + 4]))
            octets = octets[:_MATCH] + order.of(octets[_MATCH:end]) + octets[end:]
            self._flows[place(octets)] = octets
        self._groups = {entry.group: entry.as_addition for entry in groups if entry.group in span}

    @property
    def groups(self) -> list[int]:
        """The numbers of our groups."""
        return sorted(self._groups)

    def __len__(self) -> int:
        return len(self._flows) + len(self._groups)

    def unlike(self, plan: Plan) -> Iterator[Unlike]:
        """The additions of the plan that are not in effect."""
        for message, owner in zip(plan.messages, plan.owners, strict=True):
            if isinstance(message, GroupMod):
                if message.command is GroupCommand.ADD_OR_MODIFY:
                    there = self._groups.get(message.group)
                    wanted = GroupMod(message.group, message.type, message.buckets, message.selection)
                    if there != wanted:
                        yield Unlike(message, owner, there is not None)
                continue
            octets = message.body
            if octets[_COMMAND] == FlowCommand.ADD:
                held = self._flows.get(place(octets))
                if held is None or (held != octets and PackedFlow(held).unpacked.body != octets):
                    yield Unlike(message, owner, held is not None)

    def extra_flows(self, plan: Plan) -> list[FlowMod]:
        """The flows that the plan does not add."""
        wanted = {
            place(message.body)
            for message in plan.messages
            if isinstance(message, FlowMod | PackedFlow) and message.body[_COMMAND] == FlowCommand.ADD
        }
        return [PackedFlow(octets).unpacked for at, octets in self._flows.items() if at not in wanted]

    def extra_groups(self, plan: Plan) -> list[GroupMod]:
        """The groups that the plan does not make."""
        wanted = {message.group for message in plan.messages if isinstance(message, GroupMod)}
        return [group for number, group in self._groups.items() if number not in wanted]

    def still_to_do(self, plan: Plan, *, sweep: bool) -> Plan:
        """The part of the plan that is not in effect yet and, with ``sweep``, the removal of what is not in it."""
        todo = Plan(refusals=plan.refusals, held=plan.held, grouped=plan.grouped)
        unlike = list(self.unlike(plan))
        for one in unlike:
            if isinstance(one.message, GroupMod):
                todo.add(one.message, one.owner)
        if sweep:
            for flow in self.extra_flows(plan):
                todo.add(flow.removal(WHOLE_COOKIE), None)
        for one in unlike:
            if not isinstance(one.message, GroupMod):
                todo.add(one.message, one.owner)
        if sweep:
            for group in self.extra_groups(plan):
                todo.add(GroupMod.deletion(group.group), None)
        return todo
