"""The attachments that were accepted, by name and owner: changed all or nothing, kept in the journal, replayed from it.

A *statement* is what an agent asked for under one name: one endpoint (v1), or one for each of its addresses (v2). A
change puts some statements and removes others. Either all of it is valid and done, or LocalMisuse is raised and
everything is as before. Nothing here waits for the dataplane.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from bagpipe.daemon.attach_v1 import read_attach
from bagpipe.daemon.departures import Departures
from bagpipe.daemon.journal import Journal
from bagpipe.daemon.journal_entry import Entry, JournalError, Write
from bagpipe.daemon.statements import Place, Statement, statement_v1, statement_v2
from bagpipe.dataplane.model import Key
from bagpipe.errors import LocalMisuse
from bagpipe.vpn.attachment import Attachment, Reserved
from bagpipe.vpn.vpns import Vpns

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Changed:
    """What was done: the records to be confirmed (set or removed), and when it is in the journal."""

    keys: tuple[Key, ...]
    kept: asyncio.Future[None] | None


class Attachments:
    """All statements in force. ``stated`` is by name."""

    def __init__(self, vpns: Vpns, journal: Journal | None, changed: Callable[[], None]) -> None:
        self.vpns = vpns
        self.journal = journal
        self.stated: dict[str, Statement] = {}
        self.reserved: dict[Place, Reserved] = {}
        self.departures = Departures()
        self.forgotten: asyncio.Future[None] | None = None
        """When the journal has forgotten what went last."""
        self.unclaimed: set[str] = set()
        """v1 statements of before a restart that no agent has stated again."""
        self._changed = changed
        self._keys: dict[Place, tuple[Key, ...]] = {}
        self._held_by: dict[Place, str] = {}
        self._by_key: dict[Key, dict[str, None]] = {}
        self._sequence = 0

    # ------------------------------------------------------------------ looking

    def holder(self, place: Place) -> Statement | None:
        """Who states an endpoint."""
        name = self._held_by.get(place)
        return None if name is None else self.stated[name]

    def of_owner(self, owner: str) -> list[Statement]:
        """All that an owner states by v2."""
        return [one for one in self.stated.values() if one.api == 2 and one.owner == owner]

    def touched(self, keys: Iterable[Key]) -> dict[str, None]:
        """The statements that need one of these records."""
        found: dict[str, None] = {}
        by_key = self._by_key
        for key in filter(by_key.__contains__, keys):
            found.update(by_key[key])
        return found

    def keys_of(self, statement: Statement) -> tuple[Key, ...]:
        """The records that have to be in effect for a statement."""
        return tuple(dict.fromkeys(key for place in statement.places for key in self._keys.get(place, ())))

    # ------------------------------------------------------------------ changing

    def change(self, put: Sequence[Statement], remove: Iterable[str] = ()) -> Changed:
        """Put statements in force and remove others (by name), all or nothing. Raises LocalMisuse.

        The records of one that was removed before and is not known to be gone are among those to be confirmed.
        """
        try:
            return self._change(put, remove)
        except _Faulty as faulty:
            raise faulty.misuse from faulty

    def replace_owner(self, owner: str, put: Sequence[Statement]) -> Changed:
        """Put these in force and remove whatever else this owner states.

        Raises LocalMisuse; its field is ``attachments.<id>.<field>``.
        """
        names = {one.id for one in put}
        held = [*self.of_owner(owner), *self.departures.of_owner(owner)]
        return self._change_owner(put, [one.id for one in held if one.id not in names])

    def amend_owner(self, owner: str, put: Sequence[Statement], remove: Iterable[str]) -> Changed:
        """Put these in force and remove those of this owner, all or nothing; a name that is not there is passed over.

        Raises LocalMisuse; its field is ``attachments.<id>.<field>``.
        """
        gone = []
        for name in remove:
            departure = self.departures.get(name)
            known = self.stated.get(name) or (departure.statement if departure is not None else None)
            if known is None:
                continue
            if (known.owner, known.api) != (owner, 2):
                raise within(name, LocalMisuse("id", name, f"is in use by owner {known.owner!r}"))
            gone.append(name)
        return self._change_owner(put, gone)

    def _change_owner(self, put: Sequence[Statement], remove: Iterable[str]) -> Changed:
        try:
            return self._change(put, remove)
        except _Faulty as faulty:
            raise within(faulty.name, faulty.misuse) from faulty

    def _change(self, put: Sequence[Statement], remove: Iterable[str]) -> Changed:
        new = {one.id: one for one in put}
        removed = [name for name in remove if name not in new]
        gone = {name: self.stated[name] for name in removed if name in self.stated}
        self._claim(new, gone)
        old = {name: self.stated[name] for name in new if name in self.stated}
        try:
            keys = self._perform(new, gone, old, detach_first=False)
        except _Faulty:
            if not any(one.api == 2 for one in old.values()) and not gone:
                raise
            keys = self._perform(new, gone, old, detach_first=True)
        leaving = self.departures.keys_of(removed)
        return self._accept(new, gone, old, keys, leaving)

    def _claim(self, new: dict[str, Statement], gone: dict[str, Statement]) -> None:
        """Check that nobody else holds the endpoints; what the other API stated of the same endpoints gives way."""
        claimed: dict[Place, str] = {}
        for one in new.values():
            known = self.stated.get(one.id)
            if known is not None and (known.owner, known.api) != (one.owner, one.api):
                raise _Faulty(one.id, LocalMisuse("id", one.id, f"is in use by owner {known.owner!r}"))
            for place in one.places:
                other = claimed.setdefault(place, one.id)
                holder = self.holder(place)
                if holder is not None and holder.id != one.id and holder.id not in gone and holder.id not in new:
                    if holder.api != one.api and holder.places.keys() <= one.places.keys():
                        gone[holder.id] = holder
                    else:
                        other = holder.id
                if other != one.id:
                    text = f"the endpoint {place[1].mac} {place[1].ip} of {place[0]} is attached as {other!r}"
                    field = "mac" if one.api == 2 else "mac_address"
                    raise _Faulty(one.id, LocalMisuse(field, str(place[1].mac), text))

    def _perform(
        self, new: dict[str, Statement], gone: dict[str, Statement], old: dict[str, Statement], *, detach_first: bool
    ) -> dict[Place, tuple[Key, ...]]:
        """Do it; if something is refused undo what was done and raise. Gives the records of each endpoint."""
        before = {place: one for held in (*gone.values(), *old.values()) for place, one in held.places.items()}
        after = {place: one for held in new.values() for place, one in held.places.items()}
        undo: list[Callable[[], object]] = []
        keys: dict[Place, tuple[Key, ...]] = {}
        leaving = [
            place for place, one in before.items() if place not in after or (detach_first and after[place] != one)
        ]
        try:
            if detach_first:
                self._leave(leaving, before, keys, undo)
            for held in new.values():
                for place, attachment in held.places.items():
                    keys[place] = self._join(held, place, attachment, before, undo)
            if not detach_first:
                self._leave(leaving, before, keys, undo)
        except BaseException:
            for step in reversed(undo):
                step()
            self._restore(place[0] for place in {**before, **after})
            raise
        return keys

    def _join(
        self,
        held: Statement,
        place: Place,
        attachment: Attachment,
        before: dict[Place, Attachment],
        undo: list[Callable[[], object]],
    ) -> tuple[Key, ...]:
        reserved, present = self.reserved.get(place), before.get(place)
        try:
            attached = self.vpns.attach(attachment, reserved)
        except LocalMisuse as error:
            raise _Faulty(held.id, error) from error
        if present is not None:
            undo.append(lambda: self.vpns.attach(present, reserved))
        else:
            undo.append(lambda: self.vpns.detach(*place))
        self.reserved[place] = attached.reserved
        return tuple(attached.keys)

    def _leave(
        self,
        leaving: Iterable[Place],
        before: dict[Place, Attachment],
        keys: dict[Place, tuple[Key, ...]],
        undo: list[Callable[[], object]],
    ) -> None:
        for place in leaving:
            detached = self.vpns.detach(*place)
            attachment, reserved = before[place], self.reserved.get(place)

            def back(attachment: Attachment = attachment, reserved: Reserved | None = reserved) -> None:
                self.vpns.attach(attachment, reserved)

            undo.append(back)
            keys[place] = tuple(detached.keys)

    def _restore(self, external_ids: Iterable[str]) -> None:
        """What holds for a whole instance is that of its latest statement again; identifiers are what they were."""
        for external_id in set(external_ids):
            latest = self._latest(external_id)
            if latest is not None:
                self.vpns.attach(latest)
        for place in [place for place in self.reserved if place not in self._held_by]:
            del self.reserved[place]

    def _latest(self, external_id: str) -> Attachment | None:
        found = [
            (statement.changed, attachment)
            for statement in self.stated.values()
            for attachment in statement.endpoints
            if attachment.instance.external_id == external_id
        ]
        return max(found, key=lambda one: one[0])[1] if found else None

    def _accept(
        self,
        new: dict[str, Statement],
        gone: dict[str, Statement],
        old: dict[str, Statement],
        keys: dict[Place, tuple[Key, ...]],
        leaving: Iterable[Key],
    ) -> Changed:
        for held in (*gone.values(), *old.values()):
            self._forget(held)
        writes = [self._depart(held, keys) for held in gone.values()]
        for one in new.values():
            if self.departures.forget(one.id):
                writes.append(one.id)
            self._sequence += 1
            known = old.get(one.id)
            self.unclaimed.discard(one.id)
            accepted = replace(one, created=known.created if known else self._sequence, changed=self._sequence)
            self._remember(accepted, keys)
            writes.append(self._entry(accepted))
        for name in gone:
            self.unclaimed.discard(name)
        for place in [place for place in keys if place not in self._held_by]:
            self.reserved.pop(place, None)
        self._changed()
        kept = self.journal.note(*writes) if self.journal is not None and writes else None
        found = (key for records in keys.values() for key in records)
        return Changed(tuple(dict.fromkeys((*found, *leaving))), kept)

    def _depart(self, held: Statement, keys: Mapping[Place, tuple[Key, ...]]) -> Write:
        """A statement is not in force any more: what the journal keeps until its records are known to be gone."""
        records = tuple(key for place in held.places if place not in self._held_by for key in keys.get(place, ()))
        if not records:
            return held.id
        self.departures.begin(held, records)
        return replace(self._entry(held), leaving=True)

    def forget_gone(self) -> None:
        """Forget what was removed and is known to be gone."""
        done = self.departures.take_done(self.vpns.tracker_of) if self.departures else []
        if done and self.journal is not None:
            self.forgotten = self.journal.note(*done)

    def _remember(self, statement: Statement, keys: Mapping[Place, tuple[Key, ...]]) -> None:
        self.stated[statement.id] = statement
        for place in statement.places:
            self._held_by[place] = statement.id
            self._keys[place] = keys[place]
            for key in keys[place]:
                self._by_key.setdefault(key, {})[statement.id] = None

    def _forget(self, statement: Statement) -> None:
        del self.stated[statement.id]
        for place in statement.places:
            del self._held_by[place]
            for key in self._keys.pop(place):
                names = self._by_key.get(key, {})
                names.pop(statement.id, None)
                if not names:
                    self._by_key.pop(key, None)

    def _entry(self, one: Statement) -> Entry:
        reserved = {str(place[1].ip or ""): asdict(self.reserved[place]) for place in one.places}
        return Entry(one.id, one.owner, one.api, one.body, reserved, one.created, one.changed)

    # ------------------------------------------------------------------ the journal

    def replay(self) -> int:
        """Attach what the journal has, with the identifiers it had; how many statements that were.

        What cannot be attached any more is dropped with a warning. What was leaving is attached and leaves at once: so
        what it had in the dataplane is known, and goes.
        """
        if self.journal is None:
            return 0
        try:
            entries = self.journal.entries()
        except JournalError as error:
            LOG.error("%s: cannot be read: %s; agents have to attach again", self.journal.path, error)
            return 0
        for entry in entries:
            self._sequence = max(self._sequence, entry.changed)
            try:
                statement = _statement_of(entry)
                keys = self._enter_again(statement, entry)
            except (_Faulty, LocalMisuse, LookupError, TypeError, ValueError, AttributeError) as error:
                LOG.warning("attachment %s of the journal is dropped: %s", entry.id, getattr(error, "misuse", error))
                self.journal.note(entry.id)
                continue
            self._remember(statement, keys)
            if entry.leaving:
                self._leave_again(statement)
            elif statement.api == 1:
                self.unclaimed.add(statement.id)
        self._repeat_latest()
        self._changed()
        return len(self.stated)

    def _enter_again(self, statement: Statement, entry: Entry) -> dict[Place, tuple[Key, ...]]:
        """Attach it with the identifiers it had; the records of each endpoint."""
        self._claim({statement.id: statement}, {})
        for place in statement.places:
            known = entry.reserved.get(str(place[1].ip or ""))
            if known is not None:
                self.reserved[place] = Reserved(**known)
        return self._perform({statement.id: statement}, {}, {}, detach_first=False)

    def _leave_again(self, statement: Statement) -> None:
        """It was removed before the restart, and its records were not known to be gone."""
        keys = self._perform({}, {statement.id: statement}, {}, detach_first=False)
        self._forget(statement)
        self.departures.begin(statement, tuple(key for records in keys.values() for key in records))
        for place in statement.places:
            self.reserved.pop(place, None)

    def _repeat_latest(self) -> None:
        """State again what was stated last of each instance, if that was not created last."""
        created: dict[str, tuple[int, int]] = {}
        changed: dict[str, tuple[int, Attachment]] = {}
        for statement in self.stated.values():
            for attachment in statement.endpoints:
                external_id = attachment.instance.external_id
                created[external_id] = max(created.get(external_id, (0, 0)), (statement.created, statement.changed))
                known = changed.get(external_id)
                if known is None or known[0] <= statement.changed:
                    changed[external_id] = (statement.changed, attachment)
        for external_id, (moment, attachment) in changed.items():
            if created[external_id][1] != moment:
                self.vpns.attach(attachment)

    def drop_unclaimed(self) -> list[str]:
        """Remove the v1 statements that no agent has stated again since the restart; their names."""
        names = sorted(self.unclaimed)
        if names:
            self.change((), names)
        return names


def within(name: str, error: LocalMisuse) -> LocalMisuse:
    """The error with the path of the statement, one of several, before the field."""
    return LocalMisuse(f"attachments.{name}.{error.field}", error.value, error.reason)


class _Faulty(Exception):
    """What is wrong with one statement."""

    def __init__(self, name: str, misuse: LocalMisuse) -> None:
        super().__init__(name, misuse)
        self.name = name
        self.misuse = misuse


def _statement_of(entry: Entry) -> Statement:
    read = statement_v1(read_attach(entry.body), entry.body) if entry.api == 1 else statement_v2(entry.id, entry.body)
    return replace(read, created=entry.created, changed=entry.changed)
