"""From routes to forwarding records: which VRFs a route belongs to, and what it means there. The hot path.

RFC 4364 section 4.3.2: a route belongs to each VRF that imports one of its route targets. What matters of a route for
that is the same for all routes of a bundle, so it is found once (:class:`_Plan`), and for each key only its label and
its prefix are looked at; where many new keys of a bundle come together, all at once (:meth:`Imports._import`). The work
for a route does not grow with the number of VRFs, but with those that import it. IP prefix routes of EVPN (RFC 9136)
are routes to the same prefixes; their keys, told apart by their length, stand beside those of the VPN families.

``_seen`` tells for each key what was made of it (:class:`_Trace`, shared by all keys of which the same was made), so
that a route that changes or goes is taken from where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import TypeVar, cast

from bagpipe.dataplane.delta import Tracker
from bagpipe.dataplane.model import Forward, ForwardKey, Key, Prefix, Remote, Value
from bagpipe.identifiers import MAXIMUM_LABEL
from bagpipe.rib.bundle import Bundle, Entry, Source
from bagpipe.rib.store import Store
from bagpipe.rib.table import Table
from bagpipe.vpn.candidates import Candidate, Resolver, in_order
from bagpipe.vpn.endpoint import Endpoint
from bagpipe.vpn.prefix_routes import Place, fault_of, is_evpn_key, is_prefix_route, place_of, prefix_shape
from bagpipe.vpn.senders import Senders
from bagpipe.vpn.targets import TargetIndex, by_number
from bagpipe.vpn.vrf import RibKeys, Vrf, keys_of, with_key, without_key
from bagpipe.wire.attributes import Attributes
from bagpipe.wire.family import EVPN, FLOWSPEC_VPNV4, FLOWSPEC_VPNV6, VPNV4, VPNV6
from bagpipe.wire.nlri.codec import Payload

_FIXED_BITS = 24 + 64
_AFTER_RD = slice(8, None)
"""The octets of a key of a VPN family that are its prefix."""
_P = TypeVar("_P")
_VERSIONS = {VPNV4: 4, VPNV6: 6}
FLOW_FAMILIES = (FLOWSPEC_VPNV4, FLOWSPEC_VPNV6)
_FAMILIES = frozenset((*_VERSIONS, *FLOW_FAMILIES))
_PLANS_KEPT = 1024
"""Plans that may be kept before it is looked which of them nobody needs any more."""
_packed = bytes.__new__
"""Makes a packed value of octets that are right already."""


class _Trace:
    """Which VRFs forward by a key and which readvertise it, and the nodes it leads to; ``count`` keys have it."""

    __slots__ = ("addresses", "count", "importers", "readvertisers")

    def __init__(
        self, importers: tuple[Vrf, ...], readvertisers: tuple[Vrf, ...], addresses: tuple[bytes, ...]
    ) -> None:
        self.importers = importers
        self.readvertisers = readvertisers
        self.addresses = addresses
        self.count = 0

    @property
    def identity(self) -> tuple[object, ...]:
        return self.importers, self.readvertisers, self.addresses


class _Plan:
    """What to make of the keys of an entry. ``hops`` are (bundle, next hop but for its label) if the entry alone
    settles the next hops of each key, None if each key has to be looked at.
    """

    __slots__ = ("_forward", "_payload", "hops", "trace")

    def __init__(self, trace: _Trace | None, hops: tuple[tuple[Bundle, Remote], ...] | None) -> None:
        self.trace = trace
        self.hops = hops
        self._payload: Payload = -1
        self._forward: Forward = ()

    def forward(self, key: bytes) -> Forward:
        """The next hops of a key; none if its route has to be looked at."""
        hops = self.hops or ()
        if len(hops) == 1:
            bundle, like = hops[0]
            return self._made(like, bundle.routes[key])
        return _together({_to(like, bundle.routes[key]) for bundle, like in hops})

    def forwards(self, keys: list[bytes]) -> list[Forward]:
        """The next hops of each key, nothing if one has to be looked at; those with the same label share one tuple."""
        hops = self.hops or ()
        if len(hops) != 1:
            return [self.forward(key) for key in keys]
        bundle, like = hops[0]
        payloads = list(map(bundle.routes.__getitem__, keys))
        distinct = set(payloads)
        if len(distinct) == 1:
            return [self._made(like, payloads[0])] * len(keys)
        way = like.way
        made: dict[Payload, Forward] = {
            payload: (_packed(Remote, (payload >> 4 & MAXIMUM_LABEL).to_bytes(3) + way),)
            for payload in cast("set[int]", distinct)
        }
        return list(map(made.__getitem__, payloads))

    def _made(self, like: Remote, payload: Payload) -> Forward:
        """The next hop with the label of a payload; the tuple made last serves again."""
        if payload != self._payload:
            self._payload = payload
            self._forward = (_to(like, payload),)
        return self._forward


class _PrefixPlan(_Plan):
    """What to make of the keys of IP prefix routes of EVPN that one neighbour alone claims."""

    __slots__ = ()

    def forward(self, key: bytes) -> Forward:
        assert self.hops is not None
        bundle, like = self.hops[0]
        payload = cast(bytes, bundle.routes[key])
        if payload != self._payload:
            self._payload = payload
            self._forward = () if fault_of(payload) else (_to_router(like, payload),)
        return self._forward

    def forwards(self, keys: list[bytes]) -> list[Forward]:
        found = [self.forward(key) for key in keys]
        return found if all(found) else []


def _to(like: Remote, payload: Payload) -> Remote:
    """The next hop with the label of a route's payload, which is the label field of RFC 8277 as a number."""
    return _packed(Remote, (cast(int, payload) >> 4 & MAXIMUM_LABEL).to_bytes(3) + like.way)


def _to_router(like: Remote, payload: Payload) -> Remote:
    """The next hop with the VNI of an IP prefix route's payload."""
    return _packed(Remote, cast(bytes, payload)[-3:] + like.way)


def _together(hops: set[Remote]) -> Forward:
    return tuple(hops) if len(hops) == 1 else in_order(hops)


_NOTHING = _Plan(None, None)
_Roles = tuple[tuple[Vrf, ...], tuple[Vrf, ...]]


class Imports:
    """Keeps the forwarding records of every VRF as its routes and endpoints have it.

    ``own_attributes`` gives the attributes an endpoint is announced with, ``on_source`` is told of prefixes whose
    routes to readvertise changed, ``on_flow`` of FlowSpec keys that changed.
    """

    def __init__(self, store: Store, tracker: Tracker, resolver: Resolver, own_source: Source) -> None:
        self._store = store
        self._tracker = tracker
        self._own_source = own_source
        self.resolver = resolver
        self.own_attributes: Callable[[Endpoint], Attributes] = _no_attributes
        self.on_source: Callable[[Vrf, Prefix], None] = _nobody
        self.on_flow: Callable[[Table, bytes], None] = _nobody
        self.senders = Senders(tracker)
        self._importers: TargetIndex[Vrf] = TargetIndex()
        self._readvertisers: TargetIndex[Vrf] = TargetIndex()
        self._prefix_table: Table | None = None
        self._seen: dict[Table, dict[bytes, _Trace]] = {}
        self._traces: dict[tuple[object, ...], _Trace] = {}
        self._plans: dict[Entry, _Plan] = {}
        self._plans_kept = _PLANS_KEPT
        self._used: dict[tuple[Bundle, ...], dict[Bundle, Remote]] = {}
        self._losers: dict[tuple[_Trace, _Trace | None], _Roles] = {}
        self._again: list[tuple[Table, dict[bytes, None], Vrf | None]] = []

    # ------------------------------------------------------------ who imports what

    def retarget(
        self, vrf: Vrf, imports: frozenset[bytes], sources: frozenset[bytes]
    ) -> tuple[list[bytes], list[bytes]]:
        """``vrf`` imports these route targets and readvertises those; what that changes is noted for :meth:`drain`.

        The targets that nobody wanted before, and those that nobody wants now, in ascending order.
        """
        changed = (vrf.imports ^ imports) | (vrf.readvertise_from ^ sources)
        wanted = {target for target in changed if self._is_wanted(target)}
        self._importers.change(vrf, vrf.imports, imports)
        self._readvertisers.change(vrf, vrf.readvertise_from, sources)
        vrf.imports, vrf.readvertise_from = imports, sources
        if changed:
            self._plans.clear()
        for target in changed:
            for bundle in self._store.by_route_target.get(target, ()):
                self._again.append((bundle.table, dict.fromkeys(bundle.routes), vrf))
        added = sorted(target for target in changed if self._is_wanted(target) and target not in wanted)
        return added, sorted(target for target in wanted if not self._is_wanted(target))

    def _is_wanted(self, target: bytes) -> bool:
        return target in self._importers or target in self._readvertisers

    def importers(self, targets: tuple[bytes, ...]) -> tuple[Vrf, ...]:
        """The VRFs that import one of these route targets, by their number."""
        return self._importers.of(targets)

    def _roles(self, targets: tuple[bytes, ...]) -> _Roles:
        return self._importers.of(targets), self._readvertisers.of(targets)

    # ------------------------------------------------------------ what the routes say

    def again(self, table: Table, *keys: bytes) -> None:
        """What these keys mean has changed, though the RIB does not know, or somebody else took the change."""
        self._again.append((table, dict.fromkeys(keys), None))

    def drain(self) -> bool:
        """Take in all that has changed; whether that was anything."""
        changes, self._again = self._again, []
        changes += [(table, keys, None) for table, keys in self._store.take_wanted_changes(_FAMILIES)]
        self._forget()
        for table, keys, vrf in changes:
            version = _VERSIONS.get(table.family)
            if version is not None:
                self._take(table, Place(version, table.shape - _FIXED_BITS, _AFTER_RD), keys, vrf)
            elif table.family == EVPN:
                self._take_prefixes(table, keys, vrf)
            elif table.family in FLOW_FAMILIES:
                for key in keys:
                    self.on_flow(table, key)
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
        self._used.clear()
        self._losers.clear()
        self.resolver.forget()

    def _take_prefixes(self, table: Table, keys: Iterable[bytes], only: Vrf | None) -> None:
        """Take in those keys of the EVPN table that are of IP prefix routes."""
        found: dict[tuple[int, int], list[bytes]] = {}
        for key in keys:
            if is_prefix_route(key):
                found.setdefault(prefix_shape(key), []).append(key)
        for alike in found.values():
            self._prefix_table = table
            self._take(table, place_of(alike[0]), alike, only)

    def _take(self, table: Table, place: Place, keys: Iterable[bytes], only: Vrf | None) -> None:
        """Take in keys of one place; with ``only`` nothing has changed but what this VRF imports.

        Keys come in runs that have the same entry, as neighbours announce them; a run is treated as one.
        """
        seen = self._seen.setdefault(table, {})
        version, length, octets = place
        for entry, group in groupby(keys, table.entries.get):
            run = list(group)
            plan = _NOTHING if entry is None else self._plans.get(entry) or self._plan(entry)
            trace = plan.trace
            self._see(place, seen, run, trace)
            if trace is None:
                continue
            for vrf in trace.importers if only is None else _just(only, trace.importers):
                self._import(vrf, ForwardKey.scope(vrf.number, version, length), octets, run, plan)
            for vrf in trace.readvertisers if only is None else _just(only, trace.readvertisers):
                for key in run:
                    prefix = place.prefix(key)
                    vrf.sources[prefix] = with_key(vrf.sources.get(prefix), key)
                    self.on_source(vrf, prefix)
        if not seen:
            del self._seen[table]

    def _see(self, place: Place, seen: dict[bytes, _Trace], run: list[bytes], trace: _Trace | None) -> None:
        """From now on these keys have this trace."""
        if not seen.keys().isdisjoint(run):
            for key in run:
                old = seen.get(key)
                if old is not trace:
                    self._retrace(place, seen, key, old, trace)
        elif trace is not None:
            seen.update(dict.fromkeys(run, trace))
            self._use(trace, len(run))

    def _import(self, vrf: Vrf, scope: bytes, octets: slice, run: list[bytes], plan: _Plan) -> None:
        """A VRF imports these keys, whose ``octets`` are their prefix and whose records begin with ``scope``."""
        routes = vrf.routes
        records = [_packed(ForwardKey, scope + key[octets]) for key in run]
        settled = plan.hops is not None
        if settled and len(run) > 1 and routes.keys().isdisjoint(records) and vrf.own.keys().isdisjoint(records):
            fresh: dict[Key, Value] = dict(zip(records, plan.forwards(run), strict=False))
            if len(fresh) == len(run):
                routes.update(zip(records, run, strict=True))
                self._tracker.set_all(fresh)
                return
        for record, key in zip(records, run, strict=True):
            present = routes.get(record)
            if present is None:
                routes[record] = key
            elif present != key:
                routes[record] = with_key(present, key)
            is_alone = settled and (present is None or present == key) and record not in vrf.own
            forward = plan.forward(key) if is_alone else ()
            if forward:
                vrf.unusable.pop(record, None)
                self._tracker.set(record, forward)
            else:
                self.decide(vrf, record)

    def _retrace(
        self, place: Place, seen: dict[bytes, _Trace], key: bytes, old: _Trace | None, new: _Trace | None
    ) -> None:
        """A key is treated otherwise than before: count what it leads to, and take it from the VRFs that lost it."""
        if new is not None:
            seen[key] = new
            self._use(new, 1)
        if old is None:
            return
        if new is None:
            del seen[key]
        old.count -= 1
        if not old.count:
            self.senders.leave(old.addresses)
            if self._traces.get(old.identity) is old:
                del self._traces[old.identity]
        prefix = place.prefix(key)
        importers, readvertisers = self._lost(old, new)
        for vrf in importers:
            record = vrf.record(prefix)
            _lose(vrf.routes, record, key)
            self.decide(vrf, record)
        for vrf in readvertisers:
            _lose(vrf.sources, prefix, key)
            self.on_source(vrf, prefix)

    def _use(self, trace: _Trace, keys: int) -> None:
        """So many more keys have the trace."""
        if not trace.count:
            self.senders.enter(trace.addresses)
        trace.count += keys

    def _lost(self, old: _Trace, new: _Trace | None) -> _Roles:
        """The VRFs that a key is taken from when it is treated as ``new`` and no longer as ``old``."""
        found = self._losers.get((old, new))
        if found is None:
            importers = set(new.importers) if new is not None else set()
            readvertisers = set(new.readvertisers) if new is not None else set()
            found = (
                tuple(vrf for vrf in old.importers if vrf not in importers),
                tuple(vrf for vrf in old.readvertisers if vrf not in readvertisers),
            )
            self._losers[old, new] = found
        return found

    def _plan(self, entry: Entry) -> _Plan:
        plan = self._plans[entry] = self._plan_anew(entry)
        return plan

    def _plan_anew(self, entry: Entry) -> _Plan:
        if isinstance(entry, Bundle) and not entry.source.origin.is_local:
            return self._plan_of_one(entry)
        bundles = entry.bundles
        roles = [self._roles(bundle.attributes.route_targets) for bundle in bundles]
        importers, readvertisers = roles[0]
        alike = all(each[0] == importers for each in roles)
        if len(roles) > 1:
            importers = by_number(vrf for each, _ in roles for vrf in each)
            readvertisers = by_number(vrf for _, each in roles for vrf in each)
        if not importers and not readvertisers:
            return _NOTHING
        remote = [bundle for bundle in bundles if not bundle.source.origin.is_local]
        reaches = [
            self.resolver.reach(bundle)
            for bundle, (mine, _) in zip(bundles, roles, strict=True)
            if mine and bundle in remote
        ]
        usable = [each for each in reaches if each.encapsulation is not None]
        trace = self._trace(importers, readvertisers, tuple(sorted({each.address for each in usable})))
        if not alike or len(usable) < len(bundles) or bundles[0].table.family == EVPN:
            return _Plan(trace, None)
        hops = tuple((bundle, like) for bundle in self.resolver.used(bundles) for like in self._likes(bundle))
        return _Plan(trace, hops)

    def _plan_of_one(self, bundle: Bundle) -> _Plan:
        """The plan of keys that one neighbour alone claims: nothing competes."""
        importers, readvertisers = self._roles(bundle.attributes.route_targets)
        if not importers and not readvertisers:
            return _NOTHING
        found = self.resolver.reach(bundle)
        if found.encapsulation is None or not importers:
            addresses = (found.address,) if importers and found.encapsulation is not None else ()
            return _Plan(self._trace(importers, readvertisers, addresses), None)
        trace = self._trace(importers, readvertisers, (found.address,))
        kind = _PrefixPlan if bundle.table.family == EVPN else _Plan
        return kind(trace, tuple((bundle, like) for like in self._likes(bundle)))

    def _trace(
        self, importers: tuple[Vrf, ...], readvertisers: tuple[Vrf, ...], addresses: tuple[bytes, ...]
    ) -> _Trace:
        trace = _Trace(importers, readvertisers, addresses)
        return self._traces.setdefault(trace.identity, trace)

    # ------------------------------------------------------------ what follows for one prefix

    def decide(self, vrf: Vrf, record: ForwardKey) -> None:
        """Set the record of one prefix of one VRF from all that competes for it."""
        if record not in vrf.routes and record not in vrf.own:
            vrf.unusable.pop(record, None)
            self._tracker.remove(record)
            return
        forward = self._among_neighbours(vrf, record)
        if forward is not None:
            vrf.unusable.pop(record, None)
            self._tracker.set(record, forward)
            return
        candidates = self.candidates(vrf, record.prefix)
        unusable = sum([each.hop is None for each in candidates])
        if unusable:
            vrf.unusable[record] = unusable
        else:
            vrf.unusable.pop(record, None)
        ranking = self.resolver.ranked(candidates)
        if ranking is None:
            self._tracker.remove(record)
        else:
            self._tracker.set(record, self.resolver.forward(ranking))

    def decide_own(self, vrf: Vrf, record: ForwardKey) -> None:
        """:meth:`decide` after the endpoints for a prefix have changed; what comes by the VNI of the VRF follows."""
        if vrf.vni is not None:
            self._arrive(vrf, record)
        self.decide(vrf, record)

    def _arrive(self, vrf: Vrf, record: ForwardKey) -> None:
        """Set the record of a prefix for what comes by the VNI of a VRF: the endpoints that it is announced for."""
        arrival = vrf.arrival(record.prefix)
        ranking = self.resolver.ranked(self._own_candidates(vrf, record))
        if ranking is None:
            self._tracker.remove(arrival)
        else:
            self._tracker.set(arrival, self.resolver.forward(ranking))

    def _among_neighbours(self, vrf: Vrf, record: ForwardKey) -> Forward | None:
        """The next hops if only usable routes of neighbours, all of one kind, compete: then the decision is that of
        their bundles, and known if the same bundles competed before. None: it is not that simple.
        """
        if record in vrf.own:
            return None
        keys = vrf.routes.get(record)
        paths = self.bundles(record.prefix, keys, vrf.imports)
        to = _to
        if self._prefix_table is not None:
            kinds = {is_evpn_key(key, record[4]) for key in keys_of(keys)}
            if True in kinds:
                if False in kinds or any([fault_of(bundle.routes[key]) for bundle, key in paths]):
                    return None
                to = _to_router
        bundles = tuple([bundle for bundle, _ in paths])
        used = self._used.get(bundles)
        if used is None:
            used = self._used[bundles] = self._decided(bundles)
        hops = {to(used[bundle], bundle.routes[key]) for bundle, key in paths if bundle in used}
        if not hops or (len(hops) > 1 and not self.resolver.multipath):
            return None
        return _together(hops)

    def _decided(self, bundles: tuple[Bundle, ...]) -> dict[Bundle, Remote]:
        """The bundles to use, each with its next hop but for the label; none if some are local or unusable."""
        if any(
            bundle.source.origin.is_local or self.resolver.reach(bundle).encapsulation is None for bundle in bundles
        ):
            return {}
        return {bundle: like for bundle in self.resolver.used(dict.fromkeys(bundles)) for like in self._likes(bundle)}

    def _likes(self, bundle: Bundle) -> list[Remote]:
        found = self.resolver.reach(bundle)
        encapsulation = found.encapsulation
        return [Remote(found.address, 0, encapsulation, found.order, found.mac)] if encapsulation is not None else []

    def _own_candidates(self, vrf: Vrf, record: ForwardKey) -> list[Candidate]:
        """The endpoints of a VRF for a prefix."""
        return [
            Candidate(
                self.own_attributes(endpoint), self._own_source, b"", endpoint.group.hop(endpoint.attachment.order)
            )
            for endpoint in vrf.own.get(record, ())
            if endpoint.group is not None
        ]

    def candidates(self, vrf: Vrf, prefix: Prefix) -> list[Candidate]:
        """All that competes for a prefix in a VRF: its own endpoints and the routes it imports, usable or not."""
        record = vrf.record(prefix)
        found = self._own_candidates(vrf, record)
        for bundle, key in self.bundles(prefix, vrf.routes.get(record), vrf.imports):
            candidate = self.resolver.candidate(vrf, bundle, key)
            if candidate is not None:
                found.append(candidate)
        return found

    def used(self, vrf: Vrf, prefix: Prefix) -> tuple[Candidate, ...]:
        """The candidates that packets to a prefix take."""
        ranking = self.resolver.ranked(self.candidates(vrf, prefix))
        if ranking is None:
            return ()
        return ranking.multipath if self.resolver.multipath else ranking.ordered[:1]

    def bundles(self, prefix: Prefix, keys: RibKeys | None, targets: frozenset[bytes]) -> list[tuple[Bundle, bytes]]:
        """The paths of a prefix under these keys that carry one of ``targets``, each with its key."""
        version, length, _ = prefix
        table = self._store.tables.get((VPNV4 if version == 4 else VPNV6, _FIXED_BITS + length))
        prefix_table = self._prefix_table
        found: list[tuple[Bundle, bytes]] = []
        for key in keys_of(keys):
            of = prefix_table if prefix_table is not None and is_evpn_key(key, version) else table
            entry = of.entries.get(key) if of is not None else None
            if entry is not None:
                for bundle in entry.bundles:
                    if not targets.isdisjoint(bundle.attributes.route_targets):
                        found.append((bundle, key))
        return found


def _lose(routes: dict[_P, RibKeys], place: _P, key: bytes) -> None:
    left = without_key(routes.get(place), key)
    if left is None:
        routes.pop(place, None)
    else:
        routes[place] = left


def _just(only: Vrf, vrfs: tuple[Vrf, ...]) -> tuple[Vrf, ...]:
    return (only,) if only in vrfs else ()


def _nobody(first: object, second: object) -> None:
    """Nobody listens."""


def _no_attributes(endpoint: Endpoint) -> Attributes:
    raise AssertionError(f"the attributes of {endpoint} are asked for before they can be known")
