"""What one daemon should hold, what it was told and has confirmed, and what to send next. No I/O, no clock.

Things are *entries*: a name, the Neutron port it belongs to, and the body that states it. The ledger is state and no
queue: however often an entry changes while the daemon is away, what is sent later is what is wanted then. An entry that
is not wanted any more stays until the daemon has confirmed that it is gone. What was sent and not answered is
*uncertain*: the daemon may have taken it or not, and so it is sent again.

``now`` is an argument everywhere, seconds of a steady clock.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from bagpipe.neutron.agent.link.wishes import Wishes

Body = Mapping[str, object]

FIRST_RETRY = 30.0
"""Seconds until what was refused is tried again; twice as long each time."""
LONGEST_RETRY = 600.0
EARLY_RETRY = 1.0
"""Seconds between two tries of what was refused, when something else has changed since."""
LATE = 5.0
"""Seconds in which a request that nobody waits for any more may still be done by a daemon that was stopped."""
FIRST_LOOK = 1.0
"""Seconds until the daemon is asked what has become of what its dataplane had not confirmed; then longer and longer."""
LONGEST_LOOK = 30.0
LOOK_ANYWAY = 300.0
"""Seconds between two looks at what the daemon holds, whatever happened."""


class Standing(enum.Enum):
    """What has become of an entry."""

    WAITING = "waiting"  # to be sent
    PENDING = "pending"  # the daemon has it, its dataplane has not confirmed
    REFUSED = "refused"  # by the daemon, or by its dataplane
    IN_EFFECT = "in-effect"


@dataclass(frozen=True, slots=True)
class Batch:
    """What to send in one request: bodies to state, and entries to remove with the body that they were stated by."""

    puts: Mapping[str, Body]
    removals: Mapping[str, Body]

    def __bool__(self) -> bool:
        return bool(self.puts or self.removals)

    def __len__(self) -> int:
        return len(self.puts) + len(self.removals)

    @property
    def names(self) -> tuple[str, ...]:
        """All that is in it, removals first."""
        return (*self.removals, *self.puts)

    def halves(self) -> tuple[Batch, Batch]:
        """Two of half the size."""
        names = self.names
        return self.only(names[: len(names) // 2]), self.only(names[len(names) // 2 :])

    def only(self, names: Iterable[str]) -> Batch:
        """The part with these names."""
        kept = set(names)
        return Batch(
            {name: body for name, body in self.puts.items() if name in kept},
            {name: body for name, body in self.removals.items() if name in kept},
        )


@dataclass(frozen=True, slots=True)
class Told:
    """What a daemon says of an entry; ``body`` None: it does not say by what it was stated."""

    standing: Standing
    reason: str = ""
    body: Body | None = None


@dataclass(slots=True)
class _Entry:
    port: str
    desired: Body | None = None
    held: Body | None = None
    """What the daemon has, or if that is uncertain, what it was told last."""
    subject: Body | None = None
    """The last body that it had or may have had."""
    certain: bool = True
    is_flying: bool = False
    """It is in a batch that is not answered yet."""
    standing: Standing = Standing.WAITING
    reason: str = ""
    refusals: int = 0
    tried: float = 0.0
    retry_at: float | None = None
    is_late: bool = False
    """A request that was not answered may still be done."""
    repeat_at: float | None = None
    is_orphan: bool = False
    """The daemon had it before the agent said anything of its port."""

    @property
    def is_done(self) -> bool:
        return self.certain and not self.is_flying and self.desired == self.held


def _never(_held: Body, _wanted: Body) -> bool:
    return False


def _alike(_body: Body) -> int:
    return 0


@dataclass(slots=True)
class Ledger:
    """Entries by name.

    ``replaces`` says of two bodies of one name that the daemon does not get from the first to the second but by a
    removal. ``rank`` is the place of a body among those stated (smaller first; removals the other way round).
    ``can_be_read``: the daemon tells what it holds (:meth:`learn`), and is to be asked at ``look_at``; else what may be
    done late is sent twice.
    """

    wishes: Wishes
    replaces: Callable[[Body, Body], bool] = _never
    rank: Callable[[Body], int] = _alike
    can_be_read: bool = True
    _entries: dict[str, _Entry] = field(default_factory=dict)
    _by_port: dict[str, dict[str, None]] = field(default_factory=dict)
    _open: dict[str, None] = field(default_factory=dict)
    """The entries that are not done, in the order in which they changed."""
    _repeating: dict[str, None] = field(default_factory=dict)
    look_at: float | None = None
    _is_late: bool = False
    _look_pause: float = FIRST_LOOK

    # ------------------------------------------------------------------ what is wanted

    def want(self, port: str, bodies: Mapping[str, Body]) -> bool:
        """All that is wanted of a port, nothing if it is gone; whether that changes anything."""
        changed = False
        for name in list(self._by_port.get(port, ())):
            entry = self._entries[name]
            if entry.is_orphan:
                entry.is_orphan, changed = False, True
            if name not in bodies and entry.desired is not None:
                changed = True
                self._desire(name, entry, None)
        for name, body in bodies.items():
            known = self._entries.get(name) or self._enter(name, port)
            if known.desired != body:
                changed = True
                self._desire(name, known, body)
        if changed:
            self._hasten()
        return changed

    def _enter(self, name: str, port: str) -> _Entry:
        entry = self._entries[name] = _Entry(port)
        self._by_port.setdefault(port, {})[name] = None
        return entry

    def _desire(self, name: str, entry: _Entry, body: Body | None) -> None:
        if entry.desired != body:
            entry.refusals, entry.retry_at = 0, None
            if entry.standing is Standing.REFUSED:
                entry.standing, entry.reason = Standing.WAITING, ""
        entry.desired = body
        self._judge(name, entry)

    def _judge(self, name: str, entry: _Entry) -> None:
        """Keep an entry among those that are open, or not; drop one of which nothing is left."""
        if not entry.is_done:
            self._open.setdefault(name)
            return
        self._open.pop(name, None)
        if entry.desired is None and entry.repeat_at is None:
            del self._entries[name]
            self._repeating.pop(name, None)
            names = self._by_port[entry.port]
            del names[name]
            if not names:
                del self._by_port[entry.port]

    def _hasten(self) -> None:
        """Something has changed: what was refused for the sake of something else may go well now."""
        for name in self._open:
            entry = self._entries[name]
            if entry.retry_at is not None:
                entry.retry_at = min(entry.retry_at, entry.tried + EARLY_RETRY)

    # ------------------------------------------------------------------ what to send

    def plan(self, now: float, most: int) -> Batch:
        """What to send now, at most so many entries; what was refused goes alone, when there is nothing else."""
        self._repeat(now)
        removals: list[tuple[str, Body]] = []
        puts: list[tuple[str, Body]] = []
        again: str | None = None
        for name in self._open:
            entry = self._entries[name]
            waits = entry.retry_at is not None and entry.retry_at > now
            if waits or entry.is_flying or self._is_spared(entry, now):
                continue
            if entry.retry_at is not None:
                again = again or name
            elif entry.desired is None or self._is_replaced(entry):
                removals.append((name, entry.subject or {}))
            else:
                puts.append((name, entry.desired))
        if not removals and not puts:
            return self._second_try(again)
        removals.sort(key=lambda one: -self.rank(one[1]))
        puts.sort(key=lambda one: self.rank(one[1]))
        return Batch(dict(puts[: max(most - len(removals), 0)]), dict(removals[:most]))

    def _second_try(self, name: str | None) -> Batch:
        if name is None:
            return Batch({}, {})
        entry = self._entries[name]
        if entry.desired is None or self._is_replaced(entry):
            return Batch({}, {name: entry.subject or {}})
        return Batch({name: entry.desired}, {})

    def _is_replaced(self, entry: _Entry) -> bool:
        return entry.desired is not None and entry.held is not None and self.replaces(entry.held, entry.desired)

    def _is_spared(self, entry: _Entry, now: float) -> bool:
        """Whether it is of a port that the agent may state still."""
        return entry.is_orphan and self.wishes.spares(entry.port, now)

    def _repeat(self, now: float) -> None:
        for name in list(self._repeating):
            entry = self._entries[name]
            if entry.repeat_at is not None and entry.repeat_at <= now:
                entry.repeat_at = None
                entry.certain = False
                del self._repeating[name]
                self._judge(name, entry)

    def next_moment(self) -> float | None:
        """When there may be something to do that there is not now; None if only a change can tell."""
        moments = [] if self.look_at is None else [self.look_at]
        for name in self._open:
            entry = self._entries[name]
            if entry.retry_at is not None:
                moments.append(entry.retry_at)
            if entry.is_orphan and self.wishes.grace_end is not None:
                moments.append(self.wishes.grace_end)
        for name in self._repeating:
            repeat_at = self._entries[name].repeat_at
            if repeat_at is not None:
                moments.append(repeat_at)
        return min(moments, default=None)

    # ------------------------------------------------------------------ what the daemon answers

    def sending(self, batch: Batch) -> None:
        """A batch is on its way."""
        for name in batch.names:
            self._entries[name].is_flying = True

    def returned(self, batch: Batch) -> None:
        """The daemon took nothing of a batch, and has what it had."""
        for name in batch.names:
            self._entries[name].is_flying = False
            self._judge(name, self._entries[name])

    def accepted(self, batch: Batch, told: Mapping[str, Told], now: float) -> None:
        """It has all of a batch; ``told`` is what it says of the entries that were put (nothing: in effect)."""
        for name in batch.names:
            entry, body = self._entries[name], batch.puts.get(name)
            entry.is_flying = False
            default = Told(Standing.WAITING if body is None else Standing.IN_EFFECT)
            self._confirm(name, entry, body, told.get(name, default), now)
        self._hasten()
        self._answered(now)

    def _answered(self, now: float) -> None:
        """There is an answer: what was sent before it is done by now, or soon."""
        if not self.can_be_read:
            return
        if self._is_late:
            self._is_late = False
            self._look(now + LATE)
        if self.awaits_dataplane:
            self._look(now + self._look_pause)

    def _look(self, moment: float) -> None:
        self.look_at = moment if self.look_at is None else min(self.look_at, moment)

    def _confirm(self, name: str, entry: _Entry, held: Body | None, told: Told, now: float) -> None:
        entry.held, entry.certain = held, True
        entry.subject = held or entry.subject
        entry.refusals, entry.retry_at, entry.tried = 0, None, now
        entry.standing, entry.reason = told.standing, told.reason
        if entry.is_late:
            entry.is_late = False
            entry.repeat_at = now + LATE
            self._repeating.setdefault(name)
        if told.standing is Standing.PENDING:
            self._look_pause = FIRST_LOOK
        self._judge(name, entry)

    def refused(self, batch: Batch, reason: str, now: float) -> bool:
        """It did not take the one entry of a batch, and what it had of it is as before; whether that is news."""
        (name,) = batch.names
        entry = self._entries[name]
        entry.is_flying = False
        is_news = False
        if entry.desired == batch.puts.get(name):  # else something else is wanted by now
            is_news = entry.standing is not Standing.REFUSED or entry.reason != reason
            entry.standing, entry.reason, entry.tried = Standing.REFUSED, reason, now
            entry.retry_at = now + min(FIRST_RETRY * 2.0**entry.refusals, LONGEST_RETRY)
            entry.refusals = min(entry.refusals + 1, 16)
        self._judge(name, entry)
        self._answered(now)
        return is_news

    def failed(self, batch: Batch) -> None:
        """There was no answer: it may have taken all or nothing of a batch, and may still."""
        for name in batch.names:
            entry = self._entries[name]
            entry.is_flying = False
            entry.held = batch.puts.get(name, entry.held)
            entry.subject = entry.held or entry.subject
            entry.certain = False
            entry.is_late = not self.can_be_read
            self._judge(name, entry)
        self._is_late = True

    def told(self, name: str, told: Told) -> None:
        """The daemon says what has become of an entry that it has."""
        entry = self._entries.get(name)
        if entry is not None and entry.retry_at is None:
            entry.standing, entry.reason = told.standing, told.reason

    def learn(self, present: Mapping[str, Told], port_of: Callable[[str], str], now: float) -> None:
        """This is all that the daemon holds. ``port_of`` gives the port of a name that is not known here."""
        for name, told in present.items():
            entry = self._entries.get(name)
            if entry is None:
                entry = self._enter(name, port_of(name))
                entry.is_orphan = self.wishes.spares(entry.port, now)
            entry.held, entry.certain = told.body, True
            entry.subject = told.body
            if entry.retry_at is None:
                entry.standing, entry.reason = told.standing, told.reason
            self._judge(name, entry)
        for name in [name for name in self._entries if name not in present]:
            entry = self._entries[name]
            entry.held, entry.certain = None, True
            if entry.retry_at is None:
                entry.standing, entry.reason = Standing.WAITING, ""
            self._judge(name, entry)
        self.look_at = now + LOOK_ANYWAY
        if self.awaits_dataplane:
            self._look(now + self._look_pause)
            self._look_pause = min(self._look_pause * 2, LONGEST_LOOK)
        else:
            self._look_pause = FIRST_LOOK

    def look_again(self, now: float) -> None:
        """The daemon may hold something else than it did."""
        self._look(now)

    def doubt(self) -> None:
        """Another process answers now, which may have all that the last one had, or nothing."""
        for name, entry in list(self._entries.items()):
            entry.certain = entry.held is None and entry.certain
            entry.retry_at, entry.refusals = None, 0
            entry.is_late, entry.repeat_at = False, None
            self._repeating.pop(name, None)
            self._judge(name, entry)

    # ------------------------------------------------------------------ looking

    def is_settled(self, port: str) -> bool:
        """Whether the daemon has just what is wanted of a port, and its dataplane too."""
        for name in self._by_port.get(port, ()):
            entry = self._entries[name]
            if not entry.is_done or (entry.desired is not None and entry.standing is not Standing.IN_EFFECT):
                return False
        return True

    def unconfirmed(self, now: float) -> dict[str, str]:
        """The entries that are to be sent or not confirmed, with what is known of the reason."""
        return {
            name: entry.reason
            for name, entry in self._entries.items()
            if entry.standing is not Standing.REFUSED
            and not self._is_spared(entry, now)
            and not (entry.is_done and entry.standing is Standing.IN_EFFECT)
        }

    def refusals(self) -> dict[str, str]:
        """The entries that the daemon or its dataplane refuses, and why."""
        return {name: one.reason for name, one in self._entries.items() if one.standing is Standing.REFUSED}

    @property
    def awaits_dataplane(self) -> bool:
        """Whether the daemon has something that its dataplane has not confirmed or refuses."""
        return any(
            entry.standing in (Standing.PENDING, Standing.REFUSED) and entry.retry_at is None and entry.is_done
            for entry in self._entries.values()
        )

    @property
    def wanted(self) -> int:
        """How many entries are wanted."""
        return sum(entry.desired is not None for entry in self._entries.values())
