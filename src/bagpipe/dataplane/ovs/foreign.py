"""What others have in our tables of a bridge, and what of it may take packets before ours does. Changes nothing.

A flow of others may be first if a flow of ours in the same table has no higher priority, and a packet could meet both:
no field is asked for with different values. That is all that is looked at, so such a packet need not exist.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from bagpipe.dataplane.driver import Foreign, Order
from bagpipe.dataplane.model import Address, DeliveryKey, Prefix, SourceKey
from bagpipe.dataplane.openflow import Bridge, FlowCommand, FlowEntry, FlowMod, GroupMod, Ours, PackedFlow
from bagpipe.dataplane.openflow import fields as f
from bagpipe.dataplane.openflow.fields import Criterion
from bagpipe.dataplane.ovs.adoption import place
from bagpipe.dataplane.ovs.pipeline import destination
from bagpipe.dataplane.ovs.plan import Plan

Flow = FlowMod | PackedFlow
Asked = dict[bytes, tuple[int, int]]
"""What a match asks for: value and mask by the header of the field."""
_AT_ONCE = 500
"""Flows that are looked at before others on the loop have their turn."""


class Way(NamedTuple):
    """Packets that have what ``packets`` asks for, and the flows of ours that they are to meet."""

    flows: Sequence[Flow]
    packets: tuple[Criterion, ...] = ()


def all_packets(plan: Plan, foundation: Iterable[Flow]) -> list[Way]:
    """The way of every packet that a flow of ours is for."""
    return [Way([*_flows(plan), *foundation])]


def packets_to(address: Address, plan: Plan, foundation: Iterable[Flow]) -> list[Way]:
    """The ways of packets to an address: from ports of this node, and from other nodes by each label of the plan."""
    senders = [flow for flow in foundation if isinstance(flow, FlowMod) and flow.instructions]
    deliveries: list[FlowMod] = []
    from_ports: list[Flow] = []
    for message, owner in zip(plan.messages, plan.owners, strict=True):
        if isinstance(message, GroupMod):
            continue
        if isinstance(owner, DeliveryKey) and isinstance(message, FlowMod):
            deliveries.append(message)
        elif isinstance(owner, SourceKey) and isinstance(message, FlowMod):
            senders.append(message)
        else:
            from_ports.append(message)
    host = destination(Prefix(address.version, address.max_prefixlen, address.packed))
    ways = [Way(from_ports, host)]
    for flow in deliveries:
        # By another port before, if the label has one of its own.
        arriving = {one.field: one for one in flow.match.criteria if one.field != f.IN_PORT}
        if f.MPLS_LABEL not in arriving:
            arriving |= {one.field: one for one in host}
        ways.append(Way([flow, *senders], tuple(arriving.values())))
    return ways


def _flows(plan: Plan) -> Iterator[Flow]:
    return (message for message in plan.messages if not isinstance(message, GroupMod))


async def foreign_flows(
    bridge: Bridge, ours: Ours, tables: Collection[int], lowest: int, ways: Iterable[Way]
) -> list[Foreign]:
    """The flows of others in these tables. Below the priority ``lowest`` they are wanted, also where something of ours
    is as low. Raises DataplaneError.
    """
    theirs: list[FlowEntry] = []
    for cookies in _all_but(ours):
        theirs += [flow for flow in await bridge.flows(cookies) if flow.table in tables]
    first: set[int] = set()
    for way in ways:
        first |= await _before(theirs, way)
    found = []
    for number, flow in enumerate(theirs):
        order = Order.AFTER if flow.priority < lowest else Order.BEFORE if number in first else Order.BESIDE
        where: dict[str, int | str] = {
            "table": flow.table,
            "priority": flow.priority,
            "cookie": hex(flow.cookie),
            "match": str(flow.match),
        }
        found.append((flow.table, -flow.priority, Foreign("flow", order, str(flow), where)))
    found.sort(key=lambda each: each[:2])
    return [each for _, _, each in found]


async def foreign_groups(bridge: Bridge, ours: range) -> list[Foreign]:
    """The groups of others: those with a number that is not of ``ours``. Raises DataplaneError."""
    groups = [entry for entry in await bridge.groups() if entry.group not in ours]
    return [Foreign("group", Order.BESIDE, str(entry), {"group": entry.group}) for entry in groups]


def _all_but(ours: Ours) -> Iterator[Ours]:
    """All cookies that are not ours, by the first bit that differs: ours may be many, and need not be shown."""
    above = 0
    for place_of_bit in range(ours.mask.bit_length() - 1, -1, -1):
        bit = ours.mask & 1 << place_of_bit
        if bit:
            yield Ours(ours.cookie & above | ~ours.cookie & bit, above | bit)
            above |= bit


async def _before(theirs: Sequence[FlowEntry], way: Way) -> set[int]:
    """Which of ``theirs`` may be first, by their places."""
    highest: dict[int, int] = {}
    for flow in theirs:
        highest[flow.table] = max(flow.priority, highest.get(flow.table, 0))
    packets = _asked(way.packets)
    # Flows of ours differ in little: what none of them can share with a flow of others is looked at once.
    alike: dict[tuple[int, tuple[Criterion, ...]], list[tuple[int, Asked]]] = {}
    for number, ours in enumerate(way.flows):
        if not number % _AT_ONCE:
            await asyncio.sleep(0)
        table, priority = _rank(ours)
        if priority > highest.get(table, -1):
            continue
        made = ours if isinstance(ours, FlowMod) else ours.unpacked
        criteria = made.match.criteria
        asked = _asked(criteria)
        if made.command is FlowCommand.ADD and _could_meet(asked, packets):
            alike.setdefault((table, criteria[:2]), []).append((priority, asked))
    found = set()
    for number, flow in enumerate(theirs):
        await asyncio.sleep(0)
        asked = _asked(flow.match.criteria)
        if _could_meet(asked, packets) and any(
            _could_meet(asked, _asked(shared))
            and any(flow.priority >= least and _could_meet(asked, one) for least, one in members)
            for (table, shared), members in alike.items()
            if table == flow.table
        ):
            found.add(number)
    return found


def _rank(flow: Flow) -> tuple[int, int]:
    """Table and priority."""
    if isinstance(flow, FlowMod):
        return flow.table, flow.priority
    octets = place(flow.octets)
    return octets[0], int.from_bytes(octets[1:3])


def _asked(criteria: Iterable[Criterion]) -> Asked:
    return {one.field.header: (one.number, -1 if one.mask is None else int.from_bytes(one.mask)) for one in criteria}


def _could_meet(one: Asked, other: Asked) -> bool:
    """Whether no field is asked for with different values."""
    for header, (value, mask) in one.items():
        there = other.get(header)
        if there is not None and (value ^ there[0]) & mask & there[1]:
            return False
    return True
