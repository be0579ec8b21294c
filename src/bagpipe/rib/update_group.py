"""Adj-RIB-Out: neighbours that hear the same bytes are one group.

Changed keys gather in a journal for each table. When a member can take more, the journal becomes a *segment*: encoded
once, each message with a bit mask of the members that get it, so that route target membership (RFC 4684) and split
horizon (RFC 4456 section 6) choose messages, not encodings. A member that does not keep up loses its place in the
segments and is left with a backlog, a set of keys: what it is told later is the state of that time, so memory is
bounded by the table and a later state replaces an earlier one. New members, refresh requests and changed memberships
are backlogs too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from bagpipe.rib.bundle import Bundle, Entry
from bagpipe.rib.export import Profile
from bagpipe.rib.membership import DEFAULT, EVERYTHING, FULL_LENGTH, Membership
from bagpipe.rib.store import Store, TableObserver
from bagpipe.rib.table import Table
from bagpipe.wire import update
from bagpipe.wire.family import RTC, VPNV4, Family

SEGMENT_KEYS = 8192
SEGMENTS_KEPT = 128
OCTETS_KEPT = 8 << 20


@dataclass(slots=True)
class Walk:
    """A whole table that a member has to hear: the keys of one moment, and how far it is."""

    table: Table
    keys: list[bytes]
    position: int = 0

    def step(self) -> list[bytes]:
        """The next keys."""
        keys = self.keys[self.position : self.position + SEGMENT_KEYS]
        self.position += len(keys)
        return keys

    @property
    def is_done(self) -> bool:
        """Whether all keys were taken."""
        return self.position >= len(self.keys)


@dataclass(slots=True, eq=False)
class Member:
    """One neighbour in a group: what it negotiated, what it asked for and what it has still to hear.

    ``after`` are messages that follow what is owed, each with the family whose End-of-RIB it is; ``unended`` are the
    families whose End-of-RIB was not sent yet.
    """

    name: str
    bit: int
    families: frozenset[Family]
    membership: Membership
    ipv6_next_hops: bool
    walks: list[Walk] = field(default_factory=list)
    backlog: dict[Table, dict[bytes, None]] = field(default_factory=dict)
    cursor: int | None = None
    before: list[bytes] = field(default_factory=list)
    after: list[tuple[bytes, Family | None]] = field(default_factory=list)
    unended: set[Family] = field(default_factory=set)


@dataclass(slots=True)
class _Segment:
    """Messages with the masks of their readers; ``waiting`` has the bits of those who have not taken them yet."""

    messages: list[tuple[int, bytes]]
    keys: list[tuple[Table, list[bytes]]]
    waiting: int
    octets: int
    whole: bytes | None = None

    def take(self, bit: int) -> bytes:
        self.waiting &= ~bit
        if all(mask & bit for mask, _ in self.messages):
            if self.whole is None:
                self.whole = b"".join([message for _, message in self.messages])
            return self.whole
        return b"".join([message for mask, message in self.messages if mask & bit])


class UpdateGroup(TableObserver):
    """The members that share a profile."""

    def __init__(self, store: Store, profile: Profile) -> None:
        self._store = store
        self.profile = profile
        self.members: dict[str, Member] = {}
        self._journals: dict[Table, dict[bytes, None]] = {}
        self._advertised: dict[Table, dict[bytes, int]] = {}
        self._segments: deque[_Segment] = deque()
        self._first = 0
        self._octets = 0
        self._interest: dict[tuple[bytes, ...], int] = {}
        self._carriers: dict[Family, int] = {}
        self._ipv6_next_hops = 0
        store.observers.append(self)
        for table in store.tables.values():
            self.table_made(table)

    def close(self) -> None:
        """Leave the tables; the group has no member any more."""
        self._store.observers.remove(self)
        for table, journal in self._journals.items():
            table.journals[:] = [kept for kept in table.journals if kept is not journal]

    def table_made(self, table: Table) -> None:
        """Keep a journal of the new table."""
        journal: dict[bytes, None] = {}
        table.journals.append(journal)
        self._journals[table] = journal
        self._advertised[table] = {}

    def join(self, name: str, families: frozenset[Family], membership: Membership, *, ipv6_next_hops: bool) -> Member:
        """A neighbour's session is up: it has everything to hear."""
        used = 0
        for member in self.members.values():
            used |= member.bit
        bit = ~used & (used + 1)
        joined = Member(name, bit, families, membership, ipv6_next_hops)
        self.members[name] = joined
        self._members_changed()
        for family in families:
            self.tell_again(joined, family)
        return joined

    def leave(self, member: Member) -> None:
        """The session is down: what it was told counts no more."""
        del self.members[member.name]
        self._members_changed()
        self._miss_segments(member)
        for advertised in self._advertised.values():
            for key in [key for key, mask in advertised.items() if mask & member.bit]:
                rest = advertised[key] & ~member.bit
                if rest:
                    advertised[key] = rest
                else:
                    del advertised[key]

    def _members_changed(self) -> None:
        self._interest.clear()
        self._carriers.clear()
        self._ipv6_next_hops = 0
        for member in self.members.values():
            for family in member.families:
                self._carriers[family] = self._carriers.get(family, 0) | member.bit
            if member.ipv6_next_hops:
                self._ipv6_next_hops |= member.bit

    def tell_again(self, member: Member, family: Family) -> None:
        """All of ``family`` goes into the backlog (a new member, or RFC 2918)."""
        if family != RTC and member.membership.constrained and not member.membership.wants_any(()):
            for route_target, bundles in self._store.by_route_target.items():
                if member.membership.wants(route_target):
                    for bundle in bundles:
                        if bundle.table.family == family:
                            self._owe(member, bundle.table, bundle.routes)
            return
        self._walk(member, family)

    def _walk(self, member: Member, family: Family) -> None:
        self._demote(member)
        for table in self._store.tables_of(family):
            if table.entries:
                member.walks.append(Walk(table, table.keys()))
        member.walks.sort(key=lambda walk: walk.table.family != RTC)

    def membership_changed(self, member: Member, table: Table, keys: Iterable[bytes], *, added: bool) -> None:
        """The member sent or withdrew RTC routes: what they cover is told or withdrawn."""
        del table
        self._interest.clear()
        membership = member.membership
        for key in keys:
            if added:
                membership.add(key)
            else:
                membership.remove(key)
            if key[0] <= EVERYTHING:
                for family in member.families - {RTC}:
                    self._walk(member, family)
                continue
            if key[0] == FULL_LENGTH:
                touched: Iterable[bytes] = (key[5:],)
            else:
                touched = [rt for rt in self._store.by_route_target if membership.covers(key, rt)]
            for route_target in touched:
                for bundle in self._store.by_route_target.get(route_target, ()):
                    if bundle.table.family in member.families and bundle.table.family != RTC:
                        self._owe(member, bundle.table, bundle.routes)

    def _owe(self, member: Member, table: Table, keys: Iterable[bytes]) -> None:
        self._demote(member)
        member.backlog.setdefault(table, {}).update(dict.fromkeys(keys))

    def _demote(self, member: Member) -> None:
        """Take the member out of the segments: what it has not heard of them becomes its backlog."""
        if member.cursor is None:
            return
        for segment in islice(self._segments, member.cursor - self._first, None):
            if not segment.waiting & member.bit:
                continue
            for table, keys in segment.keys:
                if table.family not in member.families:
                    continue
                member.backlog.setdefault(table, {}).update(dict.fromkeys(keys))
                advertised = self._advertised[table]
                for key in keys:
                    advertised[key] = advertised.get(key, 0) | member.bit
        self._miss_segments(member)
        member.cursor = None

    def _miss_segments(self, member: Member) -> None:
        for segment in self._segments:
            segment.waiting &= ~member.bit
        self._trim()

    def _trim(self) -> None:
        while self._segments and not self._segments[0].waiting:
            self._octets -= self._segments.popleft().octets
            self._first += 1

    @property
    def has_changes(self) -> bool:
        """Whether some journal holds keys that no segment has yet."""
        return any(self._journals.values())

    def next_for(self, member: Member) -> bytes:
        """The next messages for a member that can take them, b"" when it has heard everything."""
        while True:
            if member.before:
                data = b"".join(member.before)
                member.before.clear()
                return data
            if member.walks:
                data = self._from_walk(member)
            elif member.backlog:
                data = self._from_backlog(member)
            elif member.cursor is None:
                member.cursor = self._first + len(self._segments)
                continue
            elif member.after:
                return _ends(member)
            elif member.cursor < self._first + len(self._segments):
                segment = self._segments[member.cursor - self._first]
                data = segment.take(member.bit)
                member.cursor += 1
                self._trim()
            elif self.has_changes:
                self._close_segment()
                continue
            else:
                return b""
            if data:
                return data

    def _from_walk(self, member: Member) -> bytes:
        walk = member.walks[0]
        keys = walk.step()
        if walk.is_done:
            member.walks.pop(0)
            walk.table.release_keys()
        return b"".join([message for _, message in self._encode(walk.table, keys, member.bit)])

    def _from_backlog(self, member: Member) -> bytes:
        table = min(member.backlog, key=lambda table: table.family != RTC)
        pending = member.backlog[table]
        keys = list(islice(pending, SEGMENT_KEYS))
        for key in keys:
            del pending[key]
        if not pending:
            del member.backlog[table]
        return b"".join([message for _, message in self._encode(table, keys, member.bit)])

    def _close_segment(self) -> None:
        current = 0
        lagging = []
        for member in self.members.values():
            if member.cursor is None:
                lagging.append(member)
            else:
                current |= member.bit
        messages: list[tuple[int, bytes]] = []
        taken: list[tuple[Table, list[bytes]]] = []
        room = SEGMENT_KEYS
        for table, journal in self._journals.items():
            if not journal:
                continue
            if len(journal) <= room:
                keys = list(journal)
                journal.clear()
            else:
                keys = list(islice(journal, room))
                for key in keys:
                    del journal[key]
            room -= len(keys)
            taken.append((table, keys))
            messages += self._encode(table, keys, current)
            for member in lagging:
                if table.family in member.families:
                    member.backlog.setdefault(table, {}).update(dict.fromkeys(keys))
            if room <= 0:
                break
        octets = sum([len(message) for _, message in messages])
        self._segments.append(_Segment(messages, taken, current, octets))
        self._octets += octets
        self._trim()
        self._leave_behind()

    def _leave_behind(self) -> None:
        """Members that wait too far back lose their place."""
        while len(self._segments) > 1 and (len(self._segments) > SEGMENTS_KEPT or self._octets > OCTETS_KEPT):
            waiting = self._segments[0].waiting
            for member in self.members.values():
                if member.bit & waiting:
                    self._demote(member)

    def _encode(self, table: Table, keys: list[bytes], audience: int) -> list[tuple[int, bytes]]:
        """Messages that bring ``audience`` (a mask) from what it was told about ``keys`` to what holds now."""
        entries = table.entries
        advertised = self._advertised[table]
        present: dict[Bundle, list[bytes]] = {}
        masks: dict[Bundle, int] = {}
        gone: dict[int, list[bytes]] = {}
        beyond = ~audience
        choose = self._choice if table.family == RTC and not self.profile.is_client else _best
        redundant = table.family == RTC and _asks_for_all(entries.get(DEFAULT))
        for key in keys:
            entry = None if redundant and key != DEFAULT else entries.get(key)
            old = advertised.get(key, 0)
            new = 0
            if entry is not None:
                bundle = choose(entry)
                known = masks.get(bundle)
                if known is None:
                    known = masks[bundle] = self._mask(bundle) & audience
                    if known:
                        present[bundle] = []
                if known:
                    new = known
                    present[bundle].append(key)
            lost = old & audience & ~new
            if lost:
                gone.setdefault(lost, []).append(key)
            now = (old & beyond) | new
            if now != old:
                if now:
                    advertised[key] = now
                else:
                    del advertised[key]
        return self._messages(table, present, masks, gone)

    def _messages(
        self,
        table: Table,
        present: dict[Bundle, list[bytes]],
        masks: dict[Bundle, int],
        gone: dict[int, list[bytes]],
    ) -> list[tuple[int, bytes]]:
        codec = table.codec
        shape = table.shape
        maximum = self.profile.maximum_message
        messages: list[tuple[int, bytes]] = []
        for mask, keys in gone.items():
            nlri = [codec.join_withdrawn(shape, key) for key in keys]
            messages += [(mask, message) for message in update.withdraw(table.family, nlri, maximum)]
        for bundle, keys in present.items():
            routes = bundle.routes
            nlri = [codec.join(shape, key, routes[key]) for key in keys]
            next_hop, block = self.profile.attributes_for(bundle)
            mask = masks[bundle]
            told = update.announce(table.family, next_hop, block, nlri, maximum)
            if not told:
                # the route has grown too long for a message: what was told of it before must not stay (RFC 8654 4)
                withdrawn = [codec.join_withdrawn(shape, key) for key in keys]
                told = update.withdraw(table.family, withdrawn, maximum)
            messages += [(mask, message) for message in told]
        return messages

    def _choice(self, entry: Entry) -> Bundle:
        """What a non-client hears of a membership: a client's path, if the best may not be told (RFC 4684 3.2)."""
        for bundle in entry.bundles:
            if self.profile.may_hear(bundle.source.origin):
                return bundle
        return entry.best

    def _mask(self, bundle: Bundle) -> int:
        """The members that should have the routes of ``bundle``."""
        origin = bundle.source.origin
        if not self.profile.may_hear(origin):
            return 0
        family = bundle.table.family
        mask = self._carriers.get(family, 0)
        if family != RTC:
            mask &= self._interested(bundle.attributes.route_targets)
        if family == VPNV4 and len(bundle.attributes.next_hop) > 12:
            mask &= self._ipv6_next_hops
        author = self.members.get(origin.name)
        if author is not None and not (family == RTC and self.profile.is_client):
            mask &= ~author.bit
        return mask

    def _interested(self, route_targets: tuple[bytes, ...]) -> int:
        mask = self._interest.get(route_targets)
        if mask is None:
            mask = 0
            for member in self.members.values():
                if member.membership.wants_any(route_targets):
                    mask |= member.bit
            if len(self._interest) > 65536:
                self._interest.clear()
            self._interest[route_targets] = mask
        return mask


def _asks_for_all(entry: Entry | None) -> bool:
    """Whether this node tells the default membership: it covers every other, so none is told beside it."""
    return entry is not None and entry.best.source.origin.is_local


def _ends(member: Member) -> bytes:
    """What follows the last owed route: End-of-RIB markers, which are told with their family, and EoRR."""
    data = b"".join([message for message, _ in member.after])
    member.unended.difference_update([family for _, family in member.after if family is not None])
    member.after.clear()
    return data


def _best(entry: Entry) -> Bundle:
    return entry.best
