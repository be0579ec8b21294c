"""One table: the routes of a family that have the same shape.

For VPN-IPv4 and VPN-IPv6 that is one table for each prefix length, so that a key is a slice of the received bytes;
other families have one table. The work is done for many keys at a time where they share their bundle.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from bagpipe.rib.bundle import Bundle, Entry, Source, contest
from bagpipe.wire.family import RTC, Family
from bagpipe.wire.nlri.codec import Codec, Payload

if TYPE_CHECKING:
    from bagpipe.rib.store import Store


class Table:
    """``entries`` maps each key to the bundle, or the contest of bundles, that claims it.

    ``journals`` are where keys are noted whose best route changed: one for each update group. A route told again
    unchanged is no change, or two speakers would answer each other for ever; and where nobody is told the routes of
    others (``store.relays``), a neighbour's route to a key that nobody claimed is none either. With ``every_path`` a
    path that is not the best counts too where it may be told instead (:func:`_told`; RFC 4684 section 3.2). Every
    change of a wanted bundle is noted in ``wanted_changes`` as well, for those who import.
    """

    __slots__ = (
        "_snapshot",
        "codec",
        "entries",
        "every_path",
        "family",
        "journals",
        "shape",
        "store",
        "version",
        "wanted_changes",
    )

    def __init__(self, store: Store, family: Family, shape: int, codec: Codec) -> None:
        self.store = store
        self.family = family
        self.shape = shape
        self.codec = codec
        self.entries: dict[bytes, Entry] = {}
        self.journals: list[dict[bytes, None]] = []
        self.wanted_changes: dict[bytes, None] = {}
        self.version = 0
        self.every_path = family == RTC
        self._snapshot: tuple[int, list[bytes]] = (0, [])

    def keys(self) -> list[bytes]:
        """All keys of this moment. Those who ask while nothing changes share one list; it is not theirs to change."""
        if self._snapshot[0] != self.version:
            self._snapshot = (self.version, list(self.entries))
        return self._snapshot[1]

    def release_keys(self) -> None:
        """Nobody is likely to ask for :meth:`keys` again soon."""
        self._snapshot = (-1, [])

    def learn(self, bundle: Bundle, keys: Sequence[bytes], payloads: Sequence[Payload]) -> int:
        """Give ``keys`` to ``bundle`` in place of what its source said before; how many the source did not have."""
        entries = self.entries
        routes = bundle.routes
        changed: Sequence[bytes] = keys
        told = self.store.relays or bundle.source.origin.is_local
        if len(keys) == 1:
            key = keys[0]
            current = entries.get(key)
            if current is None:
                entries[key] = bundle
                routes[key] = payloads[0]
                added = 1
            else:
                changed = []
                told = True
                added = self._replace(bundle, key, payloads[0], current, changed)
        elif entries.keys().isdisjoint(keys):
            before = len(routes)
            routes.update(zip(keys, payloads, strict=True))
            entries.update(dict.fromkeys(keys, bundle))
            added = len(routes) - before
        else:
            added = 0
            changed = []
            told = True
            for key, payload in zip(keys, payloads, strict=True):
                added += self._replace(bundle, key, payload, entries.get(key), changed)
        if changed:
            self.version += 1
            if told:
                self._journal(changed)
        if bundle.wanted:
            self.wanted_changes.update(dict.fromkeys(keys))
        return added

    def _replace(
        self, bundle: Bundle, key: bytes, payload: Payload, current: Entry | None, changed: list[bytes]
    ) -> int:
        """Give one key to ``bundle``; 1 if its source did not have it. Adds the key to ``changed`` if the best did."""
        if current is None:
            self.entries[key] = bundle
            bundle.routes[key] = payload
            changed.append(key)
            return 1
        if current is bundle:
            if bundle.routes[key] != payload:
                bundle.routes[key] = payload
                changed.append(key)
            return 0
        best = current.best
        told = best.routes[key]
        before = _told(current) if self.every_path else ()
        source = bundle.source
        others: list[Bundle] = []
        added = 1
        for other in current.bundles:
            if other.source is source:
                added = 0
                if other is not bundle:
                    self._leave(other, key)
            else:
                others.append(other)
        bundle.routes[key] = payload
        others.append(bundle)
        entry = self.entries[key] = contest(others)
        if entry.best is not best or entry.best.routes[key] != told or (self.every_path and _told(entry) != before):
            changed.append(key)
        return added

    def _leave(self, bundle: Bundle, key: bytes) -> None:
        """A bundle loses a key; an empty bundle is dropped."""
        del bundle.routes[key]
        if bundle.wanted:
            self.wanted_changes[key] = None
        if not bundle.routes:
            self.store.drop(bundle)

    def forget(self, source: Source, keys: Iterable[bytes]) -> int:
        """Take ``keys`` away from ``source``; how many it had. Keys it never gave are passed over."""
        entries = self.entries
        changed: list[bytes] = []
        removed = 0
        last: Bundle | None = None
        for key in keys:
            current = entries.get(key)
            if current is None:
                continue
            if type(current) is Bundle:
                if current.source is not source:
                    continue
                del entries[key]
                if current is not last or current.wanted or len(current.routes) == 1:
                    self._leave(current, key)
                    last = current
                else:
                    del current.routes[key]
                removed += 1
                changed.append(key)
                continue
            others = [other for other in current.bundles if other.source is not source]
            if len(others) == len(current.bundles):
                continue
            best = current.best
            for other in current.bundles:
                if other.source is source:
                    self._leave(other, key)
            entry = entries[key] = contest(others)
            removed += 1
            if entry.best is not best or (self.every_path and _told(entry) != _told(current)):
                changed.append(key)
        if changed:
            self.version += 1
            self._journal(changed)
        return removed

    def _journal(self, changed: Sequence[bytes]) -> None:
        for journal in self.journals:
            journal.update(dict.fromkeys(changed))


def _told(entry: Entry) -> tuple[Bundle | None, ...]:
    """The paths that neighbours of some kind are told where the best may not be told to them.

    Non-clients of a reflector hear the first that no internal non-client said, the neighbours of who does not reflect
    only what this node says itself. While these and the best stay, telling the key again would repeat what was told.
    """
    passed_on = own = None
    for bundle in entry.bundles:
        origin = bundle.source.origin
        if passed_on is None and (origin.is_local or origin.is_client or not origin.is_ibgp):
            passed_on = bundle
        if own is None and origin.is_local:
            own = bundle
    return passed_on, own
