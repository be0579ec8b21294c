"""From EVPN routes to records: which EVIs a route belongs to, and what it means there. The hot path.

RFC 7432 section 7: a route belongs to each EVI that imports one of its route targets. What matters of a route for that,
but for its key and label field, is the same for all routes of a bundle and is found once (:class:`_Plan`); where many
new keys of a bundle come together, they are treated all at once. The work for a route does not grow with the number of
EVIs, but with those that import it. Types 1 to 3 are read, keys of type 5 handed on to whoever imports prefixes.

``_seen`` tells for each key what was made of it (:class:`_Trace`, shared by all keys of which the same was made), so
that a route that changes or goes is taken from where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import cast

from bagpipe.dataplane.delta import Tracker
from bagpipe.dataplane.model import FloodKey, Forward, Key, MacKey, Neighbour, NeighbourKey, Value
from bagpipe.identifiers import MacAddress
from bagpipe.rib.bundle import Bundle, Entry
from bagpipe.rib.store import Store
from bagpipe.rib.table import Table
from bagpipe.vpn.evpn.decisions import Decisions, segment_of
from bagpipe.vpn.evpn.evi import Evi
from bagpipe.vpn.evpn.route_keys import (
    ADDRESS_AT,
    ADDRESS_LENGTH_AT,
    AUTO_DISCOVERY,
    BRIDGED,
    ESI,
    FIELD,
    GROUP_BIT,
    MAC,
    MAC_OCTETS,
    MULTICAST,
    NO_SEGMENTS,
    NO_TAG,
    PREFIX,
    SEGMENT_TAG,
    TAG_AND_FIRST,
    WHOLE_SEGMENT,
    fault_of,
)
from bagpipe.vpn.evpn.told import Told
from bagpipe.vpn.senders import Senders
from bagpipe.vpn.targets import TargetIndex, by_number
from bagpipe.vpn.vrf import keys_of, with_key, without_key
from bagpipe.wire.family import EVPN

_FAMILIES = frozenset((EVPN,))
_PLANS_KEPT = 1024
"""Plans that may be kept before it is looked which of them nobody needs any more."""
_packed = bytes.__new__
"""Makes a packed value of octets that are right already."""


class _Trace:
    """Which EVIs import a key, and the node it leads to (none if it cannot be used); ``count`` keys have it."""

    __slots__ = ("address", "count", "importers")

    def __init__(self, importers: tuple[Evi, ...], address: bytes) -> None:
        self.importers = importers
        self.address = address
        self.count = 0

    @property
    def identity(self) -> tuple[object, ...]:
        return self.importers, self.address


class _Plan:
    """What to make of the keys of an entry: which EVIs import them. If ``bundle`` alone settles what follows, it is the
    best of each key, and ``told`` what it tells; if None each key has to be looked at for each EVI. ``unicast`` and
    ``flood`` are the nodes that frames to one and to many go to; no octets: they cannot. ``last`` has the next hops
    that were made last, and of which payload and VNI: most routes of a bundle share them.
    """

    __slots__ = ("bundle", "flood", "importers", "last", "told", "unicast")

    def __init__(
        self, importers: tuple[Evi, ...], bundle: Bundle | None, told: Told | None, unicast: bytes, flood: bytes
    ) -> None:
        self.importers = importers
        self.bundle = bundle
        self.told = told
        self.unicast = unicast
        self.flood = flood
        self.last: tuple[bytes, int, Forward] = (b"", 0, ())


_NOTHING = _Plan((), None, None, b"", b"")


class Imports:
    """Keeps the records of every EVI as its routes have it. ``on_prefix_routes`` is told of keys of type 5."""

    def __init__(self, store: Store, tracker: Tracker, decisions: Decisions) -> None:
        self._store = store
        self._table = store.table(EVPN, 0)
        self._tracker = tracker
        self._decisions = decisions
        self.on_prefix_routes: Callable[[Table, list[bytes]], None] = _nobody
        self.senders = Senders(tracker)
        self._importers: TargetIndex[Evi] = TargetIndex()
        self._seen: dict[bytes, _Trace] = {}
        self._traces: dict[tuple[object, ...], _Trace] = {}
        self._plans: dict[Entry, _Plan] = {}
        self._plans_kept = _PLANS_KEPT
        self._again: list[tuple[dict[bytes, None], Evi | None]] = []

    # ------------------------------------------------------------ who imports what

    def retarget(self, evi: Evi, imports: frozenset[bytes]) -> tuple[list[bytes], list[bytes]]:
        """``evi`` imports these route targets; what that changes is noted for :meth:`drain`.

        The targets that no EVI wanted before, and those that none wants now, in ascending order.
        """
        changed = evi.imports ^ imports
        wanted = {target for target in changed if target in self._importers}
        self._importers.change(evi, evi.imports, imports)
        evi.imports = imports
        if changed:
            self._plans.clear()
        for target in sorted(changed):
            for bundle in self._store.by_route_target.get(target, ()):
                if bundle.table is self._table:
                    self._again.append((dict.fromkeys(bundle.routes), evi))
        added = sorted(target for target in changed if target in self._importers and target not in wanted)
        return added, sorted(target for target in wanted if target not in self._importers)

    def importers(self, targets: tuple[bytes, ...]) -> tuple[Evi, ...]:
        """The EVIs that import one of these route targets, by their number."""
        return self._importers.of(targets)

    def renumbered(self, evi: Evi) -> None:
        """The VNI of an EVI is another: what its routes mean may have changed (see :mod:`bagpipe.vpn.evpn.told`)."""
        keys = [key for present in (*evi.mac_routes.values(), *evi.flood_routes.values()) for key in keys_of(present)]
        if keys:
            self._again.append((dict.fromkeys(keys), evi))

    # ------------------------------------------------------------ what the routes say

    def drain(self) -> bool:
        """Take in all that has changed; whether that was anything."""
        changes, self._again = self._again, []
        changes += [(keys, None) for _, keys in self._store.take_wanted_changes(_FAMILIES)]
        self._forget()
        for keys, evi in changes:
            self._take(keys, evi)
        self._forget()
        return bool(changes)

    def _forget(self) -> None:
        """Drop what was found of bundles and holds for one round only. Plans hold until the imports change, but those
        of bundles that are gone have to go some time.
        """
        if len(self._plans) > self._plans_kept:
            self._plans = {
                entry: plan for entry, plan in self._plans.items() if all(bundle.routes for bundle in entry.bundles)
            }
            self._plans_kept = max(_PLANS_KEPT, 2 * len(self._plans))
        self._decisions.reader.forget()

    def _take(self, keys: Iterable[bytes], only: Evi | None) -> None:
        """Take in keys; with ``only`` nothing has changed but what this EVI imports.

        Keys come in runs that have the same entry, as neighbours announce them; a run is treated as one.
        """
        prefixes: list[bytes] = []
        for entry, group in groupby(keys, self._table.entries.get):
            run = list(group)
            plan = _NOTHING if entry is None else self._plans.get(entry) or self._plan(entry)
            kinds = {key[0] for key in run}
            if len(kinds) == 1:
                self._take_alike(kinds.pop(), run, plan, only, prefixes)
            else:
                for kind in sorted(kinds):
                    self._take_alike(kind, [key for key in run if key[0] == kind], plan, only, prefixes)
        if prefixes:
            self.on_prefix_routes(self._table, prefixes)

    def _take_alike(self, kind: int, run: list[bytes], plan: _Plan, only: Evi | None, prefixes: list[bytes]) -> None:
        """Take in keys of one type that have the same plan."""
        if kind not in BRIDGED:
            if kind == PREFIX and only is None:
                prefixes += run
            return
        evis = plan.importers if only is None else _just(only, plan.importers)
        if kind == MAC:
            faulty = _faulty(run)
            good = [key for key in run if not fault_of(key)] if faulty else run
            for keys, address in ((good, plan.unicast), (faulty, b"")):
                if not keys:
                    continue
                self._see(keys, self._trace(plan, address))
                for evi in evis:
                    forwards = [] if keys is faulty else self._forwards(evi, keys, plan)
                    self._import_macs(evi, keys, plan, forwards)
                    self._import_addresses(evi, keys, plan, is_plain=bool(forwards))
            return
        for key in run:
            fault = bool(fault_of(key))
            address = b"" if fault else plan.flood if kind == MULTICAST else plan.unicast
            self._see([key], self._trace(plan, address))
            for evi in evis:
                if kind == AUTO_DISCOVERY:
                    self._import_discovery(evi, key, plan)
                else:
                    self._import_flooding(evi, key, address)
                self._mark(evi, key, plan, fault=not address)

    def _see(self, run: list[bytes], trace: _Trace | None) -> None:
        """From now on these keys have this trace."""
        seen = self._seen
        if not seen.keys().isdisjoint(run):
            for key in run:
                old = seen.get(key)
                if old is not trace:
                    self._retrace(key, old, trace)
        elif trace is not None:
            seen.update(dict.fromkeys(run, trace))
            self._use(trace, len(run))

    def _retrace(self, key: bytes, old: _Trace | None, new: _Trace | None) -> None:
        """A key is treated otherwise than before: count what it leads to, and take it from the EVIs that lost it."""
        if new is not None:
            self._seen[key] = new
            self._use(new, 1)
        if old is None:
            return
        if new is None:
            del self._seen[key]
        old.count -= 1
        if not old.count:
            if old.address:
                self.senders.leave((old.address,))
            if self._traces.get(old.identity) is old:
                del self._traces[old.identity]
        kept, address = (set(new.importers), new.address) if new is not None else (set(), b"")
        for evi in old.importers:
            if evi not in kept:
                self._lose(evi, key, old)
            elif key[0] == MULTICAST and old.address != address:
                self._lose_flooding(evi, key, old)

    def _use(self, trace: _Trace, keys: int) -> None:
        """So many more keys have the trace."""
        if not trace.count and trace.address:
            self.senders.enter((trace.address,))
        trace.count += keys

    def _lose(self, evi: Evi, key: bytes, old: _Trace) -> None:
        """An EVI does not import a key any more."""
        evi.unusable.pop(key, None)
        decisions = self._decisions
        if key[0] == AUTO_DISCOVERY:
            evi.lose_segment_key(segment_of(key), key)
            decisions.decide_segment(evi, segment_of(key))
        elif key[0] == MULTICAST:
            self._lose_flooding(evi, key, old)
        else:
            mac = MacKey(evi.number, key[MAC_OCTETS])
            left = without_key(evi.mac_routes.get(mac), key)
            if left is None:
                evi.mac_routes.pop(mac, None)
            else:
                evi.mac_routes[mac] = left
            decisions.decide(evi, mac)
            if key[ADDRESS_LENGTH_AT]:
                record = NeighbourKey(evi.number, key[ADDRESS_AT:])
                left = without_key(evi.address_routes.get(record), key)
                if left is None:
                    evi.address_routes.pop(record, None)
                else:
                    evi.address_routes[record] = left
                decisions.decide_neighbour(evi, record)

    def _lose_flooding(self, evi: Evi, key: bytes, old: _Trace) -> None:
        if not old.address:
            return
        record = FloodKey(evi.number, old.address)
        left = without_key(evi.flood_routes.get(record), key)
        if left is None:
            evi.flood_routes.pop(record, None)
        else:
            evi.flood_routes[record] = left
        self._decisions.decide_flood(evi, record)

    def _mark(self, evi: Evi, key: bytes, plan: _Plan, *, fault: bool) -> None:
        """Keep in mind whether an EVI can use a key."""
        bundle = plan.bundle or self._decisions.bundle(evi, key)
        if fault or (bundle is not None and self._decisions.reader.told(bundle).reason):
            evi.unusable[key] = None
        else:
            evi.unusable.pop(key, None)

    # ------------------------------------------------------------ type 2

    def _import_macs(self, evi: Evi, run: list[bytes], plan: _Plan, forwards: list[Forward]) -> None:
        """An EVI imports these routes of type 2: the records of their MACs, which lead to ``forwards`` if nothing
        competes.
        """
        routes = evi.mac_routes
        scope = MacKey.scope(evi.number)
        records = [_packed(MacKey, scope + key[MAC_OCTETS]) for key in run]
        if forwards and routes.keys().isdisjoint(records) and evi.hosts.keys().isdisjoint(records):
            fresh: dict[Key, Value] = dict(zip(records, forwards, strict=True))
            if len(fresh) == len(run):
                routes.update(zip(records, run, strict=True))
                self._tracker.set_all(fresh)
                return
        self._import_each_mac(evi, run, records, forwards, plan)

    def _import_each_mac(
        self, evi: Evi, run: list[bytes], records: list[MacKey], forwards: list[Forward], plan: _Plan
    ) -> None:
        """The same one by one. A MAC that nothing else leads to, or that all leads to in the same way, needs no
        decision.
        """
        routes, tracker, unusable = evi.mac_routes, self._tracker, evi.unusable
        open_: dict[MacKey, None] = {}
        for at, (record, key) in enumerate(zip(records, run, strict=True)):
            present = routes.get(record)
            is_new = present is None or key not in keys_of(present)
            if is_new:
                routes[record] = with_key(present, key)
            if not forwards:
                self._mark_mac(evi, key, plan)
                open_[record] = None
                continue
            if unusable:
                unusable.pop(key, None)
            if record in evi.hosts or record in evi.on_segments or record in open_:
                open_[record] = None
            elif present is None or present == key:
                tracker.set(record, forwards[at])
            elif not is_new or tracker.desired.get(record) != forwards[at]:
                open_[record] = None
        for record in open_:
            self._decisions.decide(evi, record)

    def _mark_mac(self, evi: Evi, key: bytes, plan: _Plan) -> None:
        claim = self._decisions.claim(evi, key)
        self._mark(evi, key, plan, fault=claim is not None and bool(claim.reason))

    def _forwards(self, evi: Evi, run: list[bytes], plan: _Plan) -> list[Forward]:
        """The next hops of each key if nothing competes; nothing if each has to be looked at."""
        bundle, told = plan.bundle, plan.told
        if bundle is None or told is None or told.reason:
            return []
        payloads = cast("list[bytes]", list(map(bundle.routes.__getitem__, run)))
        made: dict[bytes, Forward] = {}
        for payload in set(payloads):
            last, vni, forward = plan.last
            if last != payload or vni != evi.vni:
                field = int.from_bytes(payload[FIELD])
                if not field or payload[ESI] not in NO_SEGMENTS:
                    return []
                forward = (told.remote(field, evi.vni),)
                plan.last = payload, evi.vni, forward
            made[payload] = forward
        return list(map(made.__getitem__, payloads))

    def _import_addresses(self, evi: Evi, run: list[bytes], plan: _Plan, *, is_plain: bool) -> None:
        """An EVI imports these routes of type 2: the records of their addresses. ``is_plain``: they can be used, and
        nothing of them has to be looked at.
        """
        run = [key for key in run if key[ADDRESS_LENGTH_AT]]
        if not run:
            return
        routes, told = evi.address_routes, plan.told
        scope = NeighbourKey.scope(evi.number)
        records = [_packed(NeighbourKey, scope + key[ADDRESS_AT:]) for key in run]
        answers = _neighbours(run, router=told is not None and told.router) if is_plain else []
        if answers and routes.keys().isdisjoint(records) and evi.addresses.keys().isdisjoint(records):
            fresh: dict[Key, Value] = dict(zip(records, answers, strict=True))
            if len(fresh) == len(run):
                routes.update(zip(records, run, strict=True))
                self._tracker.set_all(fresh)
                return
        open_: dict[NeighbourKey, None] = {}
        for at, (record, key) in enumerate(zip(records, run, strict=True)):
            present = routes.get(record)
            routes[record] = with_key(present, key)
            is_alone = (present is None or present == key) and record not in evi.addresses and record not in open_
            if answers and is_alone:
                self._tracker.set(record, answers[at])
            else:
                open_[record] = None
        for record in open_:
            self._decisions.decide_neighbour(evi, record)

    # ------------------------------------------------------------ types 1 and 3

    def _import_discovery(self, evi: Evi, key: bytes, plan: _Plan) -> None:
        segment = segment_of(key)
        evi.take_segment_key(segment, key, whole=key[SEGMENT_TAG] == WHOLE_SEGMENT)
        self._decisions.decide_segment(evi, segment)

    def _import_flooding(self, evi: Evi, key: bytes, address: bytes) -> None:
        if not address:
            return
        record = FloodKey(evi.number, address)
        evi.flood_routes[record] = with_key(evi.flood_routes.get(record), key)
        self._decisions.decide_flood(evi, record)

    # ------------------------------------------------------------ plans

    def _plan(self, entry: Entry) -> _Plan:
        plan = self._plans[entry] = self._plan_anew(entry)
        return plan

    def _plan_anew(self, entry: Entry) -> _Plan:
        bundles = [bundle for bundle in entry.bundles if not bundle.source.origin.is_local]
        roles = [self.importers(bundle.attributes.route_targets) for bundle in bundles]
        if not any(roles):
            return _NOTHING
        told = [self._decisions.reader.told(bundle) for bundle in bundles]
        usable = [at for at, each in enumerate(told) if roles[at] and not each.reason]
        best = told[usable[0]] if usable else None
        unicast = best.address if best is not None else b""
        flood = best.flood[0] if best is not None and best.flood is not None and best.flood[1] else b""
        if all(each == roles[0] for each in roles):
            at = usable[0] if usable else 0
            return _Plan(roles[0], bundles[at], told[at], unicast, flood)
        importers = by_number(evi for each in roles for evi in each)
        return _Plan(importers, None, None, unicast, flood)

    def _trace(self, plan: _Plan, address: bytes) -> _Trace | None:
        """What is made of keys with this plan, of which frames go to ``address``; None: nothing."""
        if not plan.importers:
            return None
        trace = _Trace(plan.importers, address)
        return self._traces.setdefault(trace.identity, trace)


def _faulty(run: list[bytes]) -> list[bytes]:
    """Those of some keys of type 2 that cannot be used whoever sent them."""
    heads = {key[TAG_AND_FIRST] for key in run}
    if all(head[:4] == NO_TAG and head[5] > 0 and not head[5] & GROUP_BIT for head in heads):
        return []
    return [key for key in run if fault_of(key)]


_set_packed = MacAddress.__dict__["packed"].__set__
_set_mac = Neighbour.__dict__["mac"].__set__
_set_router = Neighbour.__dict__["is_router"].__set__
_set_here = Neighbour.__dict__["is_here"].__set__
_new = object.__new__


def _neighbours(run: list[bytes], *, router: bool) -> list[Neighbour]:
    """What is answered for the addresses of these keys: made of octets that are right, in half the time it takes to
    check them again.
    """
    made = []
    for key in run:
        mac, answer = _new(MacAddress), _new(Neighbour)
        _set_packed(mac, key[14:20])
        _set_mac(answer, mac)
        _set_router(answer, router)
        _set_here(answer, False)
        made.append(answer)
    return made


def _just(only: Evi, evis: tuple[Evi, ...]) -> tuple[Evi, ...]:
    return (only,) if only in evis else ()


def _nobody(table: Table, keys: list[bytes]) -> None:
    """Nobody listens."""
