"""What was detached and is not known to be gone from the dataplane: waited for, told and kept until it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from bagpipe.daemon.statements import Place, Statement
from bagpipe.dataplane.delta import Tracker
from bagpipe.dataplane.model import Key
from bagpipe.vpn.attachment import EndpointKey


@dataclass(frozen=True, slots=True)
class Departure:
    """A statement that is in force no more, and the records that went with it."""

    statement: Statement
    keys: tuple[Key, ...]


class Departures:
    """By the name of the statement."""

    def __init__(self) -> None:
        self._held: dict[str, Departure] = {}

    def __bool__(self) -> bool:
        return bool(self._held)

    def __iter__(self) -> Iterator[Departure]:
        return iter(self._held.values())

    def get(self, name: str) -> Departure | None:
        """The departure of this name; None if there is none."""
        return self._held.get(name)

    def begin(self, statement: Statement, keys: tuple[Key, ...]) -> None:
        """A statement was removed together with these records."""
        self._held[statement.id] = Departure(statement, keys)

    def forget(self, name: str) -> bool:
        """A statement of this name is in force again; whether there was a departure of it."""
        return self._held.pop(name, None) is not None

    def of_endpoint(self, external_id: str, wanted: EndpointKey) -> list[Statement]:
        """The v1 statements of an endpoint that are leaving an instance; without an IP address those of its MAC."""

        def fits(place: Place) -> bool:
            there, key = place
            return there == external_id and key.mac == wanted.mac and wanted.ip in (None, key.ip)

        return [
            one.statement
            for one in self._held.values()
            if one.statement.api == 1 and any(map(fits, one.statement.places))
        ]

    def of_owner(self, owner: str) -> list[Statement]:
        """The v2 statements of an owner that are leaving."""
        held = (one.statement for one in self._held.values())
        return [one for one in held if one.api == 2 and one.owner == owner]

    def keys_of(self, names: Iterable[str]) -> list[Key]:
        """The records that went with these."""
        return [key for name in names if name in self._held for key in self._held[name].keys]

    def take_done(self, tracker_of: Callable[[Key], Tracker]) -> list[str]:
        """The names of those whose records are all gone (or somebody else's by now); they are forgotten."""

        def leaves(key: Key) -> bool:
            tracker = tracker_of(key)
            return key not in tracker.desired and (tracker.is_open(key) or key in tracker.refused)

        done = [name for name, one in self._held.items() if not any(map(leaves, one.keys))]
        for name in done:
            del self._held[name]
        return done
