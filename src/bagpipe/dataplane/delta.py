"""The tracker: what the dataplane should hold, and what of it the dataplane has not confirmed yet. No I/O.

A record is *in effect* once a dataplane has confirmed it. What is not is pending (to be sent), in flight (sent, not
answered) or refused (answered with a reason; to be sent again). The tracker keeps only what is not in effect beside the
desired state, so at rest it costs one dictionary. While it is not known what the dataplane holds (after
:meth:`Tracker.lost`) all that is desired is pending, and so is what was removed: it may be there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice, repeat
from typing import NamedTuple

from bagpipe.dataplane.model import Key, Value


class Change(NamedTuple):
    """One record to program: from ``old`` (None: nothing was programmed) to ``new`` (None: remove it).

    ``old`` is what was confirmed last. What was sent since and refused may be there in part or not: both have to be
    coped with. ``old == new`` asks to program the record again.
    """

    key: Key
    old: Value | None
    new: Value | None


_make = tuple.__new__
"""Makes a named tuple in half the time of its class."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a change is not in effect, how often it was tried, and what was programmed before it (None: nothing)."""

    reason: str
    tries: int
    old: Value | None


class Tracker:
    """Desired state, and what of it is not in effect."""

    def __init__(self) -> None:
        self.desired: dict[Key, Value] = {}
        self.refused: dict[Key, Refusal] = {}
        self._pending: dict[Key, Value | None] = {}
        self._in_flight: dict[Key, Value | None] = {}
        self._moved: set[Key] = set()
        self._is_unknown = False

    def set(self, key: Key, value: Value) -> None:
        """The dataplane should hold ``value`` under ``key``."""
        old = self.desired.get(key)
        if old == value:
            return
        self.desired[key] = value
        self._note(key, old, value)

    def set_all(self, records: dict[Key, Value]) -> None:
        """:meth:`set` each of them; as long as all are new it costs little."""
        desired, pending = self.desired, self._pending
        if self.refused or not (desired.keys().isdisjoint(records) and pending.keys().isdisjoint(records)):
            for key, value in records.items():
                self.set(key, value)
            return
        desired.update(records)
        pending.update(dict.fromkeys(records))

    def remove(self, key: Key) -> None:
        """The dataplane should hold nothing under ``key``; no error if it never should have."""
        old = self.desired.pop(key, None)
        if old is not None:
            self._note(key, old, None)

    def _note(self, key: Key, old: Value | None, new: Value | None) -> None:
        """``desired[key]`` went from ``old`` to ``new``."""
        if self._is_unknown:
            self._pending[key] = old if new is None else None
        elif key not in self._pending:
            self._pending[key] = self._before(key, old)
        elif self._pending[key] == new and not (key in self.refused or key in self._in_flight or key in self._moved):
            del self._pending[key]

    def _before(self, key: Key, sent: Value | None) -> Value | None:
        """What was programmed before a new change: ``sent``, what was desired until now, unless that was refused.

        What is in flight counts as sent, though an earlier try was refused; should this one be, :meth:`settle` says so.
        """
        refusal = None if not self.refused or key in self._in_flight else self.refused.get(key)
        return sent if refusal is None else refusal.old

    def again(self, keys: Iterable[Key]) -> None:
        """These records have to be programmed once more: something beneath them has changed."""
        for key in keys:
            # Also what is not desired is noted: it may come back before the adoption in progress has ended.
            self._moved.add(key)
            if key not in self._pending and key in self.desired:
                self._pending[key] = self._before(key, self.desired[key])

    def retry(self, keys: Iterable[Key] | None = None) -> None:
        """Send what was refused again, or only those of ``keys`` that were."""
        for key in list(self.refused) if keys is None else keys:
            refusal = self.refused.get(key)
            if refusal is not None and key not in self._in_flight:
                self._pending.setdefault(key, refusal.old)

    @property
    def has_changes(self) -> bool:
        """Whether something waits to be sent."""
        return bool(self._pending)

    def take(self, limit: int | None = None) -> list[Change]:
        """The changes to send now, at most ``limit``; they are in flight until :meth:`settle` or :meth:`lost`.

        One batch is in flight at a time.
        """
        if limit is None or limit >= len(self._pending):
            taken, self._pending = self._pending, {}
            self._moved.clear()
        else:
            taken = dict(islice(self._pending.items(), limit))
            for key in taken:
                del self._pending[key]
            self._moved.difference_update(taken)
        desired = self.desired
        self._in_flight = taken
        return list(map(_make, repeat(Change), zip(taken, taken.values(), map(desired.get, taken), strict=True)))

    def settle(self, refusals: Mapping[Key, str]) -> list[Key]:
        """The batch in flight was answered: all of it is in effect but ``refusals``. The keys now in effect.

        A key that was changed meanwhile is pending and not among them.
        """
        if not (refusals or self.refused) and self._pending.keys().isdisjoint(self._in_flight):
            done, self._in_flight = list(self._in_flight), {}
            return done
        confirmed = []
        for key, old in self._in_flight.items():
            reason = refusals.get(key)
            if reason is not None:
                known = self.refused.get(key)
                self.refused[key] = Refusal(reason, known.tries + 1 if known else 1, old)
                if key in self._pending:
                    self._pending[key] = old
                continue
            self.refused.pop(key, None)
            if key not in self._pending:
                confirmed.append(key)
        self._in_flight = {}
        return confirmed

    def lost(self) -> None:
        """What the dataplane holds is not known any more: until it has been adopted nothing is in effect, and nothing
        that was removed is known to be gone.
        """
        removals = {key: refusal.old for key, refusal in self.refused.items() if key not in self.desired}
        for changes in (self._in_flight, self._pending):
            removals.update((key, old) for key, old in changes.items() if key not in self.desired)
        self._is_unknown = True
        self._in_flight = {}
        self._pending = dict.fromkeys(self.desired)
        self._pending.update(removals)
        self._moved.clear()
        self.refused.clear()

    def adopted(self, refusals: Mapping[Key, str], taken: Mapping[Key, Value], *, swept: bool = False) -> list[Key]:
        """The dataplane was brought to hold ``taken`` but for ``refusals``, and with ``swept`` nothing else. The keys
        now in effect, and those that are gone now.

        What was set, removed or had something move beneath it since ``taken`` was taken is pending and not among them.
        """
        confirmed = []
        desired = self.desired
        for key, value in taken.items():
            reason = refusals.get(key)
            if reason is None:
                self.refused.pop(key, None)
            else:
                self.refused[key] = Refusal(reason, 1, None)
            if desired.get(key) != value or key in self._moved:
                self._pending[key] = value if reason is None else None
                continue
            self._pending.pop(key, None)
            if reason is None:
                confirmed.append(key)
        if swept:
            gone = [key for key in self._pending if key not in desired and key not in taken]
            for key in gone:
                del self._pending[key]
            confirmed += gone
        self._is_unknown = False
        # What was not taken may have been removed as a leftover, or not: it is sent whatever becomes of it.
        for key in desired.keys() - taken.keys():
            self._pending.setdefault(key, None)
        self._moved.update(self._pending.keys() - taken.keys())
        return confirmed

    def in_effect(self, key: Key) -> bool:
        """Whether the dataplane has confirmed the present value of ``key``."""
        return (
            key in self.desired and key not in self._pending and key not in self._in_flight and key not in self.refused
        )

    def is_open(self, key: Key) -> bool:
        """Whether an answer about ``key`` (its value or its removal) is still to come."""
        return key in self._pending or key in self._in_flight

    def counts(self) -> dict[str, int]:
        """How many records are desired, pending, in flight and refused."""
        return {
            "desired": len(self.desired),
            "pending": len(self._pending),
            "in_flight": len(self._in_flight),
            "refused": len(self.refused),
        }
