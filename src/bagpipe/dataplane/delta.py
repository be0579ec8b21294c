"""The tracker: what the dataplane should hold, and what of it the dataplane has not confirmed yet. No I/O.

A record is *in effect* once a dataplane has confirmed it. What is not is pending (to be sent), in flight (sent, not
answered) or refused (answered with a reason; to be sent again). The tracker keeps only what is not in effect beside the
desired state, so at rest it costs one dictionary.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from bagpipe.dataplane.model import Key, Value


class Change(NamedTuple):
    """One record to program: from ``old`` (None: nothing was programmed) to ``new`` (None: remove it).

    ``old`` is what was sent last, so a record whose last sending failed may be there or not: both have to be coped
    with. ``old == new`` asks to program the record again.
    """

    key: Key
    old: Value | None
    new: Value | None


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
        self._in_flight: dict[Key, Change] = {}

    def set(self, key: Key, value: Value) -> None:
        """The dataplane should hold ``value`` under ``key``."""
        old = self.desired.get(key)
        if old == value:
            return
        self.desired[key] = value
        self._note(key, old, value)

    def remove(self, key: Key) -> None:
        """The dataplane should hold nothing under ``key``; no error if it never should have."""
        old = self.desired.pop(key, None)
        if old is not None:
            self._note(key, old, None)

    def _note(self, key: Key, old: Value | None, new: Value | None) -> None:
        """``desired[key]`` went from ``old`` to ``new``."""
        if key not in self._pending:
            refusal = self.refused.get(key)
            self._pending[key] = old if refusal is None else refusal.old
        elif self._pending[key] == new and key not in self.refused and key not in self._in_flight:
            del self._pending[key]

    def again(self, keys: Iterable[Key]) -> None:
        """These records have to be programmed once more: something beneath them has changed."""
        for key in keys:
            if key not in self._pending and key in self.desired:
                self._pending[key] = self.desired[key]

    def retry(self) -> None:
        """Send what was refused again."""
        for key, refusal in self.refused.items():
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
        else:
            taken = dict(islice(self._pending.items(), limit))
            for key in taken:
                del self._pending[key]
        desired = self.desired
        changes = [Change(key, old, desired.get(key)) for key, old in taken.items()]
        self._in_flight = {change.key: change for change in changes}
        return changes

    def settle(self, refusals: Mapping[Key, str]) -> list[Key]:
        """The batch in flight was answered: all of it is in effect but ``refusals``. The keys now in effect.

        A key that was changed meanwhile is pending and not among them.
        """
        confirmed = []
        for key, change in self._in_flight.items():
            reason = refusals.get(key)
            if reason is not None:
                known = self.refused.get(key)
                self.refused[key] = Refusal(reason, known.tries + 1 if known else 1, change.old)
                continue
            self.refused.pop(key, None)
            if key not in self._pending:
                confirmed.append(key)
        self._in_flight = {}
        return confirmed

    def lost(self) -> None:
        """What the dataplane holds is not known any more: nothing is in effect until it has been adopted."""
        self._in_flight = {}
        self._pending = dict.fromkeys(self.desired)
        self.refused.clear()

    def adopted(self, refusals: Mapping[Key, str], taken: Mapping[Key, Value]) -> list[Key]:
        """The dataplane was brought to hold ``taken`` but for ``refusals``. The keys now in effect."""
        confirmed = []
        desired = self.desired
        for key, value in taken.items():
            if key in refusals:
                self.refused[key] = Refusal(refusals[key], 1, value)
                self._pending.pop(key, None)
            elif desired.get(key) == value:
                self.refused.pop(key, None)
                self._pending.pop(key, None)
                confirmed.append(key)
            else:
                self._pending[key] = value
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
