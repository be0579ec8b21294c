"""Changes of records to messages for the switch, and what is programmed once they are confirmed. No I/O.

As in :mod:`bagpipe.dataplane.ovs.plan` a plan is made against what is programmed and changes nothing of it, so that a
batch of which the switch refused a part is planned once more without that part. Bridge, plugs and flooding of an EVI
make flows together: they are compiled as a whole, and what differs from what is programmed is sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bagpipe.dataplane.delta import Change
from bagpipe.dataplane.model import (
    BridgeKey,
    FloodKey,
    Key,
    MacKey,
    Neighbour,
    NeighbourKey,
    Plug,
    PlugKey,
    Remote,
    SourceKey,
    Value,
)
from bagpipe.dataplane.openflow import FlowCommand, FlowMod, GroupMod, Match
from bagpipe.dataplane.openflow import fields as f
from bagpipe.dataplane.openflow.fields import Criterion
from bagpipe.dataplane.ovs.ground import Dependents, Missing, Need
from bagpipe.dataplane.ovs.groups import GroupPool, Hops, usable
from bagpipe.dataplane.ovs.plan import Grouping, Message, Owner, Place, Plan, SharedBy, Together, place_of
from bagpipe.dataplane.ovs_evpn.answers import Answers
from bagpipe.dataplane.ovs_evpn.evis import Evi
from bagpipe.dataplane.ovs_evpn.macs import Macs
from bagpipe.dataplane.ovs_evpn.pipeline import COOKIE, GROUPS, SELECTION, WHOLE_COOKIE
from bagpipe.dataplane.ovs_evpn.ways import Made, Way

_NOTHING: frozenset[Need] = frozenset()


def _tag(instance: int) -> str:
    """What MACs and neighbours need of their EVI: that it is told by something."""
    return f"EVI {instance}"


class _Told(NamedTuple):
    """An EVI in a plan: what its frames have (None: it cannot be told, ``why`` says the reason), what MACs and
    neighbours need for that, and that joined with other needs.
    """

    evi: Evi
    where: tuple[Criterion, ...] | None
    why: str
    needs: frozenset[Need]
    joined: dict[frozenset[Need], frozenset[Need]]


class _Several(NamedTuple):
    """What becomes of several next hops: their group (None if one alone can be used), the instructions, what they
    need, and why not all are used.
    """

    hops: Hops | None
    instructions: bytes
    needs: frozenset[Need]
    reason: str | None


@dataclass(slots=True)
class EviPlan(Plan):
    """Beside what a plan of IP VPNs has: the EVIs as they are after it with their flows; ``moved`` are those that are
    told by something else then, and ``again`` the records that have to be programmed once more because of it.
    """

    evis: dict[int, Evi] = field(default_factory=dict)
    flows: dict[int, dict[Place, Made]] = field(default_factory=dict)
    moved: list[int] = field(default_factory=list)
    again: list[Key] = field(default_factory=list)
    plugged: dict[PlugKey, int | None] = field(default_factory=dict)
    passages: dict[Place, FlowMod] = field(default_factory=dict)


class Program(Grouping):
    """What is programmed in one way."""

    def __init__(self, way: Way) -> None:
        super().__init__(GroupPool(SELECTION, GROUPS))
        self.way = way
        self.dependents = Dependents()
        self.evis: dict[int, Evi] = {}
        self.macs = Macs(way)
        self._answers: dict[tuple[Criterion, ...], Answers] = {}
        self._plugged: dict[PlugKey, int] = {}
        self._flows: dict[int, dict[Place, Made]] = {}
        self._claims: dict[Place, tuple[Key, ...]] = {}
        self._refused: set[Key] = set()
        self._passages: dict[Place, FlowMod] = {}
        self._tried: dict[Place, Made] = {}
        """What earlier tries of the same batch may have made of EVIs, though it was refused as a whole."""
        self._sets: dict[Hops, _Several] = {}
        self._tolds: dict[int, _Told] = {}

    # ------------------------------------------------------------------ whose a flow is

    def keys_at(self, table: int, priority: int, match: Match) -> tuple[Key, ...]:
        """The records that have a flow there, as far as they are known by it."""
        found = self._claims.get((table, priority, match))
        if found is not None:
            return found
        of = self.way.belongs(match)
        instance = next((number for number, evi in self.evis.items() if of in self._told_by(evi)), None)
        if instance is None:
            return ()
        for known, make in ((f.ETH_DST, MacKey), (f.ARP_TPA, NeighbourKey), (f.ND_TARGET, NeighbourKey)):
            criterion = match.get(known)
            if criterion is None or criterion.mask is not None:
                continue
            if table == (self.way.unicast if make is MacKey else self.way.answer):
                return (make(instance, criterion.value),)
        return ()

    # ------------------------------------------------------------------ planning

    def plan(self, changes: Sequence[Change], excluded: Mapping[Key, str]) -> EviPlan:
        """The messages that bring ``changes`` about but for ``excluded``, which are refused for the given reasons."""
        plan = EviPlan(refusals=dict(excluded))
        single: list[Change] = []
        forced: set[int] = set()
        for change in changes:
            key = change.key
            if isinstance(key, BridgeKey | PlugKey | FloodKey):
                self._take(plan, change, key in excluded, forced)
            else:
                single.append(change)
        removals = self._evis(plan, forced, bool(excluded))
        plan.again = self._others_touched(plan, changes)
        self._tolds, self._sets = {}, {}
        singles = Plan()
        again: set[Hops] = set()
        for change in single:
            key = change.key
            value = None if key in excluded else change.new
            if isinstance(key, MacKey):
                self._mac(plan, singles, key, change, value, again)
            elif isinstance(key, NeighbourKey):
                self._neighbour(plan, singles, key, value)
            elif isinstance(key, SourceKey):
                self._source(plan, singles, key, change, value)
            else:
                plan.refusals[key] = f"{key} is not known to this dataplane"
        gone = self._groups(plan, self.macs, again, was_refused=bool(excluded))
        self.way.ground.take_asked()
        for flow, owner in removals:
            plan.add(flow, owner)
        self._passages_of(plan)
        for instance in plan.flows:
            before = {} if instance in forced else self._flows.get(instance, {})
            for place, (flow, keys) in plan.flows[instance].items():
                if place not in before or before[place][0] != flow:
                    plan.add(flow, Together(keys))
        plan.messages += singles.messages
        plan.owners += singles.owners
        for hops in gone:
            plan.add(GroupMod.deletion(self.pool.number(hops)), SharedBy(hops))
        return plan

    def _others_touched(self, plan: EviPlan, changes: Sequence[Change]) -> list[Key]:
        """The records that are not among ``changes``, but are told by something else now, or cannot be programmed any
        more, or can again.
        """
        touched = self.dependents.of(map(_tag, plan.moved))
        for evi in plan.evis.values():
            touched += (key for key in (*evi.keys, *evi.floods) if (key in plan.refusals) != (key in self._refused))
        here = {change.key for change in changes} if touched else set()
        return [key for key in touched if key not in here]

    def _evi(self, plan: EviPlan, instance: int) -> Evi:
        evi = plan.evis.get(instance)
        if evi is None:
            known = self.evis.get(instance)
            evi = plan.evis[instance] = Evi(instance) if known is None else known.copy()
        return evi

    def _take(self, plan: EviPlan, change: Change, is_excluded: bool, forced: set[int]) -> None:
        key, value = change.key, None if is_excluded else change.new
        if isinstance(key, PlugKey):
            known = plan.plugged[key] if key in plan.plugged else self._plugged.get(key)
            to = change.new.instance if isinstance(change.new, Plug) else None
            for instance in {known, to} - {None}:
                assert instance is not None
                self._evi(plan, instance).take(key, value if instance == to else None)
            plan.plugged[key] = to
            instances = [instance for instance in (known, to) if instance is not None]
        else:
            assert isinstance(key, BridgeKey | FloodKey)
            self._evi(plan, key.instance).take(key, value)
            instances = [key.instance]
        if change.old == change.new or is_excluded:
            forced.update(instances)

    def _evis(self, plan: EviPlan, forced: set[int], was_refused: bool) -> list[tuple[FlowMod, Owner]]:
        """Compile the EVIs of the plan. Gives the removal of what they have and shall not."""
        removals: list[tuple[FlowMod, Owner]] = []
        claims: dict[Place, tuple[Key, ...]] = {}
        for instance, evi in plan.evis.items():
            evi.choose_vlan(self._vlans_of_others(plan, instance))
            before, after = self._told_by(self.evis.get(instance)), self._told_by(evi)
            if before != after:
                plan.moved.append(instance)
                removals += ((flow, None) for flow in self._all_of(before))
            self._compile(plan, evi, claims)
        old = {place: made for instance in plan.evis for place, made in self._flows.get(instance, {}).items()}
        if was_refused:
            old |= self._tried
        else:
            self._tried = {}
        self._tried |= {place: made for flows in plan.flows.values() for place, made in flows.items()}
        removals += (
            (flow.removal(WHOLE_COOKIE), Together(keys))
            for place, (flow, keys) in old.items()
            if place not in claims and not self._claimed_by_others(place, plan)
        )
        return removals

    def _compile(self, plan: EviPlan, evi: Evi, claims: dict[Place, tuple[Key, ...]]) -> None:
        """The flows of one EVI; what stands where another EVI has a flow is refused."""
        compiled = self.way.compile(evi)
        wanted: dict[Place, Made] = {}
        for flow, keys in compiled.flows:
            place = place_of(flow)
            other = claims.get(place) or self._claimed_by_others(place, plan)
            if other:
                reason = f"{', '.join(map(str, other))} has the same place on the bridge"
                compiled.refusals.update(dict.fromkeys(keys, reason))
            else:
                wanted[place] = flow, keys
        claims.update((place, keys) for place, (_, keys) in wanted.items())
        plan.flows[evi.instance] = wanted
        for key, reason in compiled.refusals.items():
            plan.refusals.setdefault(key, reason)
        now = (*evi.keys, *evi.floods)
        for key in now:
            self.dependents.note(key, compiled.needs.get(key, _NOTHING))
        before = self.evis.get(evi.instance)
        gone = () if before is None else {*before.keys, *before.floods}.difference(now)
        for key in gone:
            if not (isinstance(key, PlugKey) and plan.plugged.get(key)):
                self.dependents.note(key, _NOTHING)

    def _claimed_by_others(self, place: Place, plan: EviPlan) -> tuple[Key, ...]:
        keys = self._claims.get(place, ())
        if not keys:
            return ()
        owner = next(number for number, flows in self._flows.items() if place in flows)
        return () if owner in plan.evis else keys

    def _vlans_of_others(self, plan: EviPlan, instance: int) -> set[int]:
        others = {**self.evis, **plan.evis}
        return {evi.vlan for number, evi in others.items() if number != instance and evi.vlan is not None}

    def _told_by(self, evi: Evi | None) -> tuple[Criterion, ...]:
        """What tells the frames of an EVI; nothing if it cannot be told."""
        try:
            return () if evi is None else self.way.where(evi)
        except Missing:
            return ()

    def _all_of(self, where: tuple[Criterion, ...]) -> Iterator[FlowMod]:
        """The removal of all flows of MACs and answers with this."""
        match = Match.of(*where)
        for table in (self.way.unicast, self.way.answer) if where else ():
            yield FlowMod(table, 0, match, cookie=COOKIE, cookie_mask=WHOLE_COOKIE, command=FlowCommand.DELETE)

    def _told(self, plan: EviPlan, instance: int) -> _Told:
        told = self._tolds.get(instance)
        if told is None:
            evi = plan.evis.get(instance) or self.evis.get(instance) or Evi(instance)
            where, why = None, ""
            try:
                where = self.way.where(evi)
            except Missing as cause:
                why = str(cause)
            told = self._tolds[instance] = _Told(evi, where, why, frozenset({_tag(instance)}), {})
        return told

    # ------------------------------------------------------------------ records with flows of their own

    def _mac(self, plan: EviPlan, to: Plan, key: MacKey, change: Change, value: Value | None, again: set[Hops]) -> None:
        told = self._told(plan, key.instance)
        needs = told.needs
        hops: Hops | None = None
        instructions: bytes | None = None
        ground = self.way.ground
        try:
            if not isinstance(value, tuple):
                pass
            elif told.where is None:
                raise Missing(told.why)
            elif len(value) > 1:
                hops, instructions, asked, reason = self._several(value)
                needs |= asked
                if reason is not None:
                    plan.refusals[key] = reason
            elif isinstance(hop := value[0], Remote):
                instructions, asked = self.macs.remote(hop)
                needs = told.joined.get(asked) or told.joined.setdefault(asked, needs | asked)
            else:
                instructions = self.macs.local(told.evi, hop)
        except Missing as cause:
            plan.refusals.setdefault(key, str(cause))
        if ground.asked:
            needs |= ground.take_asked()
        self.dependents.note(key, _NOTHING if change.new is None else needs)
        self._share(plan, key, hops, again)
        if told.where is None:
            return
        if instructions is None:
            to.add(self.macs.removal(told.where, key), key)
        else:
            to.add(self.macs.addition(told.where, key, instructions), key)

    def _several(self, value: Hops) -> _Several:
        """What becomes of several next hops. Raises Missing if none of them can be used."""
        known = self._sets.get(value)
        if known is not None:
            return known
        hops, reason = usable(value, self.macs)
        needs = self.way.ground.take_asked()
        alone = hops[0] if len(hops) == 1 else None
        if isinstance(alone, Remote):
            several = _Several(None, self.macs.remote(alone)[0], needs, reason)
        else:
            several = _Several(hops, self.macs.to_group(self.pool.number(hops)), needs, reason)
        self._sets[value] = several
        return several

    def _neighbour(self, plan: EviPlan, to: Plan, key: NeighbourKey, value: Value | None) -> None:
        told = self._told(plan, key.instance)
        self.dependents.note(key, _NOTHING if value is None else told.needs)
        if told.where is None:
            if value is not None:
                plan.refusals.setdefault(key, told.why)
            return
        answers = self._answers.get(told.where)
        if answers is None:
            way = self.way
            answers = self._answers[told.where] = Answers(way.answer, told.where, way.onward, way.advertise)
        if isinstance(value, Neighbour) and self.way.is_answered(value):
            flows = answers.additions(key.octets, value)
        else:
            flows = answers.removals(key.octets)
        for flow in flows:
            to.add(flow, key)

    def _source(self, plan: EviPlan, to: Plan, key: SourceKey, change: Change, value: Value | None) -> None:
        flows: tuple[FlowMod, ...] = ()
        try:
            flows = self.way.source(key.address)
        except Missing as cause:
            if value is not None:
                plan.refusals.setdefault(key, str(cause))
        asked = self.way.ground.take_asked()
        self.dependents.note(key, _NOTHING if change.new is None else asked)
        for flow in flows:
            to.add(flow if value is not None else flow.removal(WHOLE_COOKIE), key)

    # ------------------------------------------------------------------ tunnel ports

    def _passages_of(self, plan: EviPlan) -> None:
        plan.passages = {place_of(flow): flow for flow in self.way.passages(self.dependents.needs())}
        for place, flow in self._passages.items():
            if place not in plan.passages:
                plan.add(flow.removal(WHOLE_COOKIE), None)
        for place, flow in plan.passages.items():
            if place not in self._passages:
                plan.add(flow, None)

    def messages_of(self, key: Key, value: Value) -> tuple[list[Message], list[str]]:
        """What a record has on the bridge, and what keeps it from working."""
        if isinstance(key, BridgeKey | PlugKey | FloodKey):
            made = [flow for flows in self._flows.values() for flow, keys in flows.values() if key in keys]
            missing = self.way.compile(self._of(key)).refusals.get(key)
            self.way.ground.take_asked()
            return [*made], [] if missing is None else [missing]
        alone = Program(self.way)
        alone.evis = self.evis
        plan = alone.plan([Change(key, None, value)], {})
        owned = zip(plan.messages, plan.owners, strict=True)
        # The flow of a tunnel port is for what comes from its node.
        messages = [message for message, owner in owned if owner is not None or isinstance(key, SourceKey)]
        return messages, list(plan.refusals.values())

    def _of(self, key: BridgeKey | PlugKey | FloodKey) -> Evi:
        instance = self._plugged.get(key) if isinstance(key, PlugKey) else key.instance
        return self.evis.get(-1 if instance is None else instance) or Evi(-1)

    @property
    def passages(self) -> list[FlowMod]:
        """The flows of tunnel ports, which are there whatever records use them."""
        return list(self._passages.values())

    def commit(self, plan: EviPlan) -> None:
        """The switch has confirmed all messages of the plan."""
        for instance, evi in plan.evis.items():
            for place in self._flows.pop(instance, {}):
                self._claims.pop(place, None)
            before = self.evis.pop(instance, None)
            if before is not None:
                self._refused.difference_update((*before.keys, *before.floods))
            if not evi.is_empty:
                self.evis[instance] = evi
            self._refused.update(key for key in (*evi.keys, *evi.floods) if key in plan.refusals)
        for instance, flows in plan.flows.items():
            if flows:
                self._flows[instance] = flows
                self._claims.update((place, keys) for place, (_, keys) in flows.items())
        for key, plugged in plan.plugged.items():
            self._plugged.pop(key, None)
            if plugged is not None:
                self._plugged[key] = plugged
        self._commit_groups(plan)
        self._passages = plan.passages
