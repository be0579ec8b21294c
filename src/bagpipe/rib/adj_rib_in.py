"""What one neighbour says, read from UPDATE bodies into the tables.

The hot path: an UPDATE whose attributes were seen before costs one dictionary look-up. The block is known by its raw
bytes in three pieces (before MP_REACH_NLRI, its family and next hop, after it), which are found by guessing that
MP_REACH_NLRI stands where it stood in the last UPDATE; a wrong guess cannot hit, because the pieces together must be
those of a block that was taken apart in full before.

RFC 4271 section 9, RFC 4456 section 8 and RFC 4271 section 9.1.2 (own routes coming back), RFC 7606 (faults), RFC 4724
section 4.2 and RFC 7313 section 4 (stale routes), RFC 7911 (several paths, received only).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bagpipe.errors import Outcome, RemoteFault
from bagpipe.rib.bundle import Bundle, Origin, Source
from bagpipe.rib.store import Store
from bagpipe.rib.table import Table
from bagpipe.wire import as_path, update
from bagpipe.wire.attributes import Attributes, Context, parse
from bagpipe.wire.family import RTC, VPNV4, VPNV6, Family
from bagpipe.wire.nlri import CODECS
from bagpipe.wire.nlri.codec import Payload

_REJECTED_KEPT = 4096

Identity = tuple[bytes, bytes, bytes, int]


@dataclass(frozen=True, slots=True)
class Gate:
    """What lets a route in: own identities for loop checks, and whether routes that nobody imports are kept."""

    local_as: int
    router_id: bytes
    cluster_id: bytes | None
    is_ibgp: bool


@dataclass(slots=True)
class Notes:
    """What is worth telling people about one batch: by fault, the UPDATE bodies that had it; never a line per route."""

    discarded: dict[str, list[bytes]] = field(default_factory=dict)
    withdrawn: dict[str, list[bytes]] = field(default_factory=dict)
    ended: list[Family] = field(default_factory=list)


def _mark(family: Family, shape: int, nlri: bytes) -> int:
    """The fourth part of an identity, which the hot path takes from the first octet of the NLRI field.

    For VPN families that octet is the shape. RTC never goes the short way, because somebody must be told.
    """
    if family in (VPNV4, VPNV6):
        return shape
    return -1 if family == RTC else nlri[0]


def _never(table: Table, keys: Sequence[bytes], present: bool) -> None:
    del table, keys, present


class AdjRibIn:
    """Reads UPDATE bodies of one established session.

    ``families`` are those negotiated; NLRI of others are passed over (RFC 4760 section 6 leaves it open). ``retain``
    keeps routes that nobody imports. ``on_membership`` is told of RTC routes that came or went. ``culprit`` is the last
    UPDATE body that asked for a reset.
    """

    def __init__(
        self,
        store: Store,
        origin: Origin,
        gate: Gate,
        context: Context,
        families: frozenset[Family],
        add_path: frozenset[Family],
    ) -> None:
        self._store = store
        self.gate = gate
        self.context = context
        self.families = families
        self.add_path = add_path
        self.source = Source(origin)
        self.by_path_id: dict[int, Source] = {}
        self.retain = True
        self.on_membership: Callable[[Table, Sequence[bytes], bool], None] = _never
        self._rejected: dict[Identity, str] = {}
        self._guess = 4
        self.ignored_ipv4 = 0
        self.culprit = b""

    @property
    def sources(self) -> list[Source]:
        """The source, and one more for each path identifier seen."""
        return [self.source, *self.by_path_id.values()]

    def count(self, family: Family) -> int:
        """How many routes of ``family`` the neighbour holds here."""
        return sum(
            number for source in self.sources for table, number in source.count.items() if table.family == family
        )

    def learn(self, bodies: Sequence[bytes]) -> Notes:
        """Read UPDATE bodies in order.

        Raises RemoteFault (reset) at the first one that RFC 7606 does not forgive; those before it have been read.
        """
        notes = Notes()
        bundles = self.source.bundles
        counts = self.source.count
        for body in bodies:
            at = self._guess
            size = len(body)
            if at + 5 < size and body[at + 1] == 14 and int.from_bytes(body[:4]) == size - 4:
                if body[at] & 0x10:
                    start = at + 4
                    end = start + (body[at + 2] << 8 | body[at + 3])
                else:
                    start = at + 3
                    end = start + body[at + 2]
                if start + 5 < end <= size:
                    next_hop_end = start + 4 + body[start + 3]
                    nlri = body[next_hop_end + 1 : end]
                    if nlri:
                        bundle = bundles.get((body[4:at], body[start:next_hop_end], body[end:], nlri[0]))
                        if bundle is not None:
                            table = bundle.table
                            runs = table.codec.split(nlri)
                            if len(runs) == 1 and runs[0][0] == table.shape:
                                _, keys, payloads = runs[0]
                                added = table.learn(bundle, keys, payloads)
                                if added:
                                    counts[table] += added
                                continue
            try:
                self._learn_slowly(body, notes)
            except RemoteFault:
                self.culprit = body
                raise
        return notes

    def _learn_slowly(self, body: bytes, notes: Notes) -> None:
        parts = update.take_apart(body)
        if parts.plain_ipv4:
            self.ignored_ipv4 += 1
        ended = parts.end_of_rib
        if ended is not None:
            notes.ended.append(ended)
            return
        if parts.unreach is not None:
            self._withdraw(*parts.unreach)
        if parts.reach is None:
            self._check_without_routes(parts, notes)
            return
        family = parts.reach.family
        if family not in self.families:
            return
        try:
            if parts.fault is not None:
                raise parts.fault
            self._announce(body, parts, parts.reach, notes)
        except RemoteFault as fault:
            if fault.outcome is not Outcome.TREAT_AS_WITHDRAW:
                raise
            notes.withdrawn.setdefault(fault.text, []).append(body)
            self._take_away(family, parts.reach.nlri)

    def _check_without_routes(self, parts: update.Parts, notes: Notes) -> None:
        """RFC 7606 section 5.2: with no route in the message a fault may hide one, so nothing less than a reset."""
        if parts.fault is not None:
            raise RemoteFault(parts.fault.text, code=3, subcode=1)
        del notes

    def _withdraw(self, family: Family, nlri: bytes) -> None:
        if family in self.families and nlri:
            self._take_away(family, nlri, announced=False)

    def _take_away(self, family: Family, nlri: bytes, *, announced: bool = True) -> None:
        """Forget the routes of an NLRI field, which stands as announced or as withdrawn."""
        codec = CODECS[family]
        if family in self.add_path:
            for path_id, shape, key, _ in codec.split_add_path(nlri):
                source = self.by_path_id.get(path_id)
                if source is not None:
                    self._forget(source, self._store.table(family, shape), [key])
            return
        runs = [(shape, keys) for shape, keys, _ in codec.split(nlri)] if announced else codec.split_withdrawn(nlri)
        for shape, keys in runs:
            table = self._store.tables.get((family, shape))
            if table is not None:
                self._forget(self.source, table, keys)

    def _forget(self, source: Source, table: Table, keys: Sequence[bytes]) -> None:
        gone = table.forget(source, keys)
        if gone:
            source.count[table] -= gone
        if source.path_id and not source.bundles and not source.stale:
            self.by_path_id.pop(source.path_id, None)
        if table.family == RTC:
            self.on_membership(table, keys, False)

    def _announce(self, body: bytes, parts: update.Parts, reach: update.Reach, notes: Notes) -> None:
        family = reach.family
        at = reach.at
        header = 4 if body[at] & 0x10 else 3
        length = int.from_bytes(body[at + 2 : at + header])
        pieces = (body[4:at], body[at + header : at + header + 4 + len(reach.next_hop)], body[at + header + length :])
        guessable = body[:2] == b"\0\0" and parts.unreach is None and not parts.plain_ipv4
        if guessable:
            self._guess = at
        attributes: Attributes | None = None
        if family in self.add_path:
            attributes = self._parsed(body, reach, parts.block, notes)
            for path_id, shape, key, payload in CODECS[family].split_add_path(reach.nlri):
                run = (shape, [key], [payload])
                self._give(self._path_source(path_id), (*pieces, shape) if guessable else None, attributes, run, family)
            return
        for shape, keys, payloads in CODECS[family].split(reach.nlri):
            identity: Identity = (*pieces, _mark(family, shape, reach.nlri))
            bundle = self.source.bundles.get(identity) if guessable else None
            if bundle is not None:
                self._enter(bundle, keys, payloads)
                continue
            if identity in self._rejected and guessable:
                self._refuse(family, shape, keys)
                continue
            if attributes is None:
                attributes = self._parsed(body, reach, parts.block, notes)
            self._give(self.source, identity if guessable else None, attributes, (shape, keys, payloads), family)

    def _parsed(self, body: bytes, reach: update.Reach, block: bytes, notes: Notes) -> Attributes:
        attributes = parse(reach.family, reach.next_hop, block, self.context)
        for text in attributes.discarded:
            notes.discarded.setdefault(text, []).append(body)
        return attributes

    def _path_source(self, path_id: int) -> Source:
        source = self.by_path_id.get(path_id)
        if source is None:
            source = self.by_path_id[path_id] = Source(self.source.origin, path_id)
        return source

    def _give(
        self,
        source: Source,
        identity: Identity | None,
        attributes: Attributes,
        run: tuple[int, Sequence[bytes], Sequence[Payload]],
        family: Family,
    ) -> None:
        shape, keys, payloads = run
        refusal = self.refusal(attributes, family)
        if refusal is not None:
            if identity is not None and source is self.source:
                if len(self._rejected) >= _REJECTED_KEPT:
                    self._rejected.clear()
                self._rejected[identity] = refusal
            table = self._store.tables.get((family, shape))
            if table is not None:
                self._forget(source, table, keys)
            return
        table = self._store.table(family, shape)
        known = identity or (attributes.block, attributes.next_hop, b"", family, shape)
        bundle = source.bundles.get(known)
        if bundle is None:
            bundle = self._store.bundle(source, table, attributes, known)
        self._enter(bundle, keys, payloads)

    def _enter(self, bundle: Bundle, keys: Sequence[bytes], payloads: Sequence[Payload]) -> None:
        table = bundle.table
        added = table.learn(bundle, keys, payloads)
        counts = bundle.source.count
        counts[table] = counts.get(table, 0) + added
        if table.family == RTC:
            self.on_membership(table, keys, True)

    def _refuse(self, family: Family, shape: int, keys: Sequence[bytes]) -> None:
        table = self._store.tables.get((family, shape))
        if table is not None:
            self._forget(self.source, table, keys)

    def refusal(self, attributes: Attributes, family: Family) -> str | None:
        """Why a route with these attributes is not let in, or None."""
        gate = self.gate
        if attributes.originator_id == gate.router_id:
            return "ORIGINATOR_ID is this speaker"
        if gate.cluster_id is not None and attributes.cluster_list:
            clusters = attributes.cluster_list
            if any(clusters[i : i + 4] == gate.cluster_id for i in range(0, len(clusters), 4)):
                return "CLUSTER_LIST has this cluster"
        if attributes.as_path and as_path.contains(attributes.as_path, gate.local_as):
            return "AS_PATH has this AS"
        if not self.retain and family != RTC and not self._store.wants(attributes):
            return "nobody imports its route targets"
        return None

    def forget_rejections(self) -> None:
        """What was refused may be wanted now: the imported route targets changed."""
        self._rejected.clear()

    def mark_stale(self, families: frozenset[Family]) -> None:
        """Keep the routes of ``families`` until :meth:`sweep` (RFC 4724 section 4.2, RFC 7313 section 4.1)."""
        for source in self.sources:
            for identity, bundle in list(source.bundles.items()):
                if bundle.table.family in families:
                    source.stale[bundle] = None
                    del source.bundles[identity]

    def sweep(self, families: frozenset[Family]) -> int:
        """Remove what is still stale in ``families``; how many routes that was."""
        removed = 0
        for source in self.sources:
            bundles = [bundle for bundle in source.stale if bundle.table.family in families]
            removed += self._sweep(bundles)
        return removed

    def _sweep(self, bundles: list[Bundle]) -> int:
        removed = 0
        for bundle in bundles:
            keys = list(bundle.routes)
            removed += self._store.remove_bundles([bundle])
            if bundle.table.family == RTC:
                self.on_membership(bundle.table, keys, False)
        return removed

    def clear(self, families: frozenset[Family] | None = None) -> int:
        """Remove all that the neighbour said (in ``families`` if given); how many routes that was."""
        removed = 0
        for source in self.sources:
            bundles = [*source.bundles.values(), *source.stale]
            removed += self._sweep([b for b in bundles if families is None or b.table.family in families])
        self._rejected.clear()
        return removed
