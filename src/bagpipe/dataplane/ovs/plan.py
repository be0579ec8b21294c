"""Changes of records to messages for the switch, and what is programmed once they are confirmed. No I/O.

A plan is made against what is programmed and changes nothing of it; :meth:`Program.commit` does. So a batch of which
the switch refused a part is planned once more without that part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from bagpipe.dataplane.delta import Change
from bagpipe.dataplane.model import ForwardKey, Key, NextHop
from bagpipe.dataplane.openflow import FlowMod, GroupMod, Match, PackedFlow
from bagpipe.dataplane.ovs.ground import Dependents, Ground, Missing, Need
from bagpipe.dataplane.ovs.groups import Compiler, GroupPool, Hops, usable
from bagpipe.dataplane.ovs.next_hops import NextHops, to_group
from bagpipe.dataplane.ovs.pipeline import WHOLE_COOKIE
from bagpipe.dataplane.ovs.records import Records
from bagpipe.dataplane.ovs.routes import Routes
from bagpipe.errors import LocalMisuse

Message = FlowMod | PackedFlow | GroupMod
Place = tuple[int, int, Match]


class SharedBy(NamedTuple):
    """Owns the message of a group: every record with these next hops does."""

    hops: Hops


class Together(NamedTuple):
    """Own the message of a flow that several records make."""

    keys: tuple[Key, ...]


Owner = Key | SharedBy | Together | None


class _Several(NamedTuple):
    """What becomes of several next hops: their group (None if one alone can be used), the instructions of the route
    (None if none can), why not all are used, and what they need.
    """

    hops: Hops | None
    instructions: bytes | None
    reason: str | None
    needs: frozenset[Need]


@dataclass(slots=True)
class Plan:
    """``messages`` in the order of sending, ``owners`` whose each one is, ``refusals`` the records that are not in it
    with the reason. What a record refused had programmed is removed.
    """

    messages: list[Message] = field(default_factory=list)
    owners: list[Owner] = field(default_factory=list)
    refusals: dict[Key, str] = field(default_factory=dict)
    held: dict[Key, tuple[FlowMod, ...]] = field(default_factory=dict)
    grouped: dict[Key, Hops | None] = field(default_factory=dict)

    def add(self, message: Message, owner: Owner) -> None:
        """Append a message."""
        self.messages.append(message)
        self.owners.append(owner)

    def keys_of(self, owner: Owner) -> Iterator[Key]:
        """The records that an owner stands for."""
        if isinstance(owner, SharedBy):
            yield from (key for key, hops in self.grouped.items() if hops == owner.hops)
        elif isinstance(owner, Together):
            yield from owner.keys
        elif owner is not None:
            yield owner


def place_of(flow: FlowMod) -> Place:
    """What makes a flow the same flow: there is one at most on the bridge."""
    return flow.table, flow.priority, flow.match


class Grouping:
    """Which records share a group, and what becomes of the groups as that changes."""

    def __init__(self, pool: GroupPool) -> None:
        self.pool = pool
        self.grouped: dict[Key, Hops] = {}

    def _share(self, plan: Plan, key: Key, hops: Hops | None, again: set[Hops]) -> None:
        """A record uses the group of these next hops now, or none. Groups that stay in use go to ``again``."""
        before = self.grouped.get(key)
        if hops is not None or before is not None:
            plan.grouped[key] = hops
            if hops is not None and hops == before:
                again.add(hops)

    def _groups(self, plan: Plan, compiler: Compiler, again: set[Hops], *, was_refused: bool) -> list[Hops]:
        """Put the messages that make groups into the plan, and give the groups that no record will use.

        Groups of records that were refused may have been made while each message was tried by itself.
        """
        users = self.pool.users
        change: dict[Hops, int] = dict.fromkeys(self.pool.unused(), 0) if was_refused else {}
        for key, hops in plan.grouped.items():
            before = self.grouped.get(key)
            if before is not None:
                change[before] = change.get(before, 0) - 1
            if hops is not None:
                change[hops] = change.get(hops, 0) + 1
        gone = []
        for hops, more in change.items():
            if users.get(hops, 0) + more <= 0:
                gone.append(hops)
            elif not users.get(hops) or hops in again:
                plan.add(self.pool.put(hops, compiler), SharedBy(hops))
        return gone

    def _commit_groups(self, plan: Plan) -> None:
        users = self.pool.users
        for key, hops in plan.grouped.items():
            before = self.grouped.pop(key, None)
            if before is not None:
                users[before] -= 1
            if hops is not None:
                self.grouped[key] = hops
                users[hops] = users.get(hops, 0) + 1
        self.pool.release_unused()


class Program(Grouping):
    """What is programmed on one ground."""

    def __init__(self, ground: Ground) -> None:
        super().__init__(GroupPool(ground.settings.selection))
        self.ground = ground
        self.dependents = Dependents()
        self.next_hops = NextHops(ground)
        self.held: dict[Key, tuple[FlowMod, ...]] = {}
        self.routes = Routes(ground.settings.tables.vrf)
        self._records = Records(ground)
        self._claims: dict[Place, Key] = {}
        self._sets: dict[tuple[NextHop, ...], _Several] = {}

    def key_at(self, table: int, priority: int, match: Match) -> Key | None:
        """The record that has a flow there, unless it is a route."""
        return self._claims.get((table, priority, match))

    def plan(self, changes: Iterable[Change], excluded: Mapping[Key, str]) -> Plan:
        """The messages that bring ``changes`` about but for ``excluded``, which are refused for the given reasons."""
        plan = Plan()
        routed = Plan()
        others: list[tuple[Key, tuple[FlowMod, ...]]] = []
        refused: list[tuple[Key, tuple[FlowMod, ...]]] = []
        again: set[Hops] = set()
        self._sets = {}
        for change in changes:
            key = change.key
            if type(key) is ForwardKey:
                self._route(plan, routed, key, change, excluded.get(key), again)
            else:
                left = self._left(change)
                flows = self._flows(plan, change)
                if left:
                    refused.append((key, left))
                if key in excluded:
                    plan.refusals[key] = excluded[key]
                    refused.append((key, flows))
                    flows = ()
                others.append((key, flows))
        gone = self._groups(plan, self.next_hops, again, was_refused=bool(excluded))
        self.ground.take_asked()
        self._others(plan, others, refused)
        plan.messages += routed.messages
        plan.owners += routed.owners
        for hops in gone:
            plan.add(GroupMod.deletion(self.pool.number(hops)), SharedBy(hops))
        return plan

    def commit(self, plan: Plan) -> None:
        """The switch has confirmed all messages of the plan."""
        for key, flows in plan.held.items():
            for flow in self.held.pop(key, ()):
                if self._claims.get(place_of(flow)) == key:
                    del self._claims[place_of(flow)]
            if flows:
                self.held[key] = flows
        for key, flows in plan.held.items():
            self._claims.update((place_of(flow), key) for flow in flows)
        self._commit_groups(plan)

    # ------------------------------------------------------------------ routes

    def _route(
        self, plan: Plan, routed: Plan, key: ForwardKey, change: Change, refused: str | None, again: set[Hops]
    ) -> None:
        hops: Hops | None = None
        instructions: bytes | None = None
        reason = None
        value = change.new
        if isinstance(value, tuple):
            try:
                if len(value) == 1:
                    instructions = self.next_hops.instructions(value[0])
                else:
                    several = self._sets.get(value)
                    if several is None:
                        several = self._sets[value] = self._several(value)
                    self.ground.asked |= several.needs
                    hops, instructions, reason = several.hops, several.instructions, several.reason
            except (Missing, LocalMisuse) as cause:
                reason = str(cause)
        self._note(key)
        if refused is not None:
            hops, instructions, reason = None, None, refused
        self._share(plan, key, hops, again)
        if reason is not None:
            plan.refusals[key] = reason
        if instructions is None:
            routed.add(self.routes.removal(key), key)
        else:
            routed.add(self.routes.addition(key, instructions), key)

    def _several(self, value: tuple[NextHop, ...]) -> _Several:
        try:
            hops, reason = usable(value, self.next_hops)
        except Missing as cause:
            return _Several(None, None, str(cause), frozenset(self.ground.asked))
        needs = frozenset(self.ground.asked)
        if len(hops) == 1:
            return _Several(None, self.next_hops.instructions(hops[0]), reason, needs)
        return _Several(hops, to_group(self.pool.number(hops)), reason, needs)

    # ------------------------------------------------------------------ all other records

    def _left(self, change: Change) -> tuple[FlowMod, ...]:
        """What a record that is to be removed may have on the bridge though it was not adopted."""
        if change.new is not None or change.old is None or change.key in self.held:
            return ()
        try:
            return self._records.flows(change.key, change.old)
        except (Missing, LocalMisuse):
            return ()

    def _flows(self, plan: Plan, change: Change) -> tuple[FlowMod, ...]:
        flows: tuple[FlowMod, ...] = ()
        if change.new is not None:
            try:
                flows = self._records.flows(change.key, change.new)
            except (Missing, LocalMisuse) as cause:
                plan.refusals[change.key] = str(cause)
        self._note(change.key, keep=change.new is not None)
        return flows

    def _others(
        self,
        plan: Plan,
        others: list[tuple[Key, tuple[FlowMod, ...]]],
        refused: list[tuple[Key, tuple[FlowMod, ...]]],
    ) -> None:
        """Put the flows of all records but routes into the plan, removals first. Of a record that was refused some
        flows may have been made while each message was tried by itself.
        """
        mine = {key for key, _ in others}
        claims: dict[Place, Key] = {}
        additions: list[tuple[FlowMod, Key]] = []
        for key, wanted in others:
            flows = wanted
            for flow in flows:
                place = place_of(flow)
                owner = claims.get(place) or self._claims.get(place)
                if owner is not None and owner != key and (place in claims or owner not in mine):
                    plan.refusals[key] = f"{owner} has the same place on the bridge"
                    flows = ()
                    break
            plan.held[key] = flows
            claims.update((place_of(flow), key) for flow in flows)
            additions += ((flow, key) for flow in flows)
        removals: dict[Place, tuple[FlowMod, Key]] = {}
        for key, flows in [*((key, self.held.get(key, ())) for key, _ in others), *refused]:
            for flow in flows:
                place = place_of(flow)
                if place not in claims and self._claims.get(place, key) == key:
                    removals[place] = flow, key
        for flow, key in removals.values():
            plan.add(flow.removal(WHOLE_COOKIE), key)
        for flow, key in additions:
            plan.add(flow, key)

    def _note(self, key: Key, *, keep: bool = True) -> None:
        asked = self.ground.take_asked() if self.ground.asked else _NOTHING
        self.dependents.note(key, asked if keep else _NOTHING)


_NOTHING: frozenset[str | bytes] = frozenset()
