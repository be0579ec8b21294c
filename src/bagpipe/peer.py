"""One neighbour of the speaker: its session, its Adj-RIB-In and its place in an update group.

RFC 4271 (what a session means for routes), RFC 2918 and RFC 7313 (refresh), RFC 4724 section 4.2 (helping a restarting
neighbour), RFC 4684 section 6 (End-of-RIB after the memberships), RFC 4486 (prefix limit). Pure: bytes, events and
``now`` (seconds of any steady clock) in, actions out.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from bagpipe.errors import RemoteFault
from bagpipe.rib.adj_rib_in import AdjRibIn, Gate, Notes
from bagpipe.rib.bundle import Origin, Source
from bagpipe.rib.export import Profile
from bagpipe.rib.membership import Membership
from bagpipe.rib.table import Table
from bagpipe.rib.update_group import Member, UpdateGroup
from bagpipe.session.negotiation import Negotiated
from bagpipe.session.neighbor import Neighbor
from bagpipe.session.outputs import Action, Down, Output, Refresh, Send, Up, Updates
from bagpipe.session.settings import SessionSettings
from bagpipe.wire import update
from bagpipe.wire.attributes import Context
from bagpipe.wire.family import IPV4_UNICAST, RTC, VPNV4, Family
from bagpipe.wire.message import CeaseSubcode, RefreshSubtype
from bagpipe.wire.nlri import CODECS

if TYPE_CHECKING:
    from bagpipe.speaker import Speaker

MEMBERSHIP_WAIT = 60.0
"""Seconds to wait for a neighbour's End-of-RIB of RTC before its VPN End-of-RIB is sent (RFC 4684 section 6)."""
MALFORMED_PAUSE = 10.0
"""Seconds between two notices of one kind of malformed UPDATE; those in between are counted."""
FAULTS_KEPT = 256
"""Kinds of malformed UPDATE that are counted at a time."""
STALE_WAIT = 360.0
"""Seconds after a restarted neighbour is back until what it has not told again goes (RFC 4724 section 4.2)."""


class Retain(enum.Enum):
    """Whether routes that nobody on this node imports are kept.

    ``AUTO`` keeps them only of neighbours that could not send them again: no RTC and no route refresh.
    """

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """One neighbour. ``maximum_prefixes`` counts routes of each family; a warning comes at ``warning_percent``."""

    name: str
    address: str
    session: SessionSettings
    client: bool = False
    maximum_prefixes: int | None = None
    warning_percent: int = 75


class NoticeKind(enum.Enum):
    """What a notice is about; ``is_warning`` tells how loud to say it."""

    SESSION_UP = "session up"
    SESSION_DOWN = "session down"
    PREFIX_WARNING = "prefix limit is near"
    PREFIX_LIMIT = "prefix limit exceeded"
    MALFORMED = "malformed UPDATE"
    STALE_REMOVED = "stale routes removed"

    @property
    def is_warning(self) -> bool:
        """Whether an operator should see it without asking for details."""
        return self not in (NoticeKind.SESSION_UP, NoticeKind.STALE_REMOVED)


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to log about a neighbour. Never one per route."""

    peer: str
    kind: NoticeKind
    text: str


class Peer:
    """A neighbour of the speaker: its session, its Adj-RIB-In and its place in an update group.

    Every method takes ``now`` and returns the actions for the edge, in order.
    """

    def __init__(self, speaker: Speaker, settings: PeerSettings) -> None:
        self.speaker = speaker
        self.settings = settings
        self.neighbor = Neighbor(settings.session, jitter=speaker.jitter)
        self.negotiated: Negotiated | None = None
        self.established_connection: int | None = None
        self.adj_rib_in: AdjRibIn | None = None
        self.member: Member | None = None
        self.group: UpdateGroup | None = None
        self._refresh_wanted: set[Family] = set()
        self._warned: set[Family] = set()
        self._heard_end: set[Family] = set()
        self._faults: dict[str, tuple[float, int]] = {}
        self._stale_until: float | None = None
        self._membership_until: float | None = None

    @property
    def name(self) -> str:
        """The name it was configured by."""
        return self.settings.name

    @property
    def has_told_all(self) -> bool:
        """Whether the session is up and the neighbour has sent End-of-RIB for each of its families."""
        return self.negotiated is not None and self.negotiated.families <= self._heard_end | {IPV4_UNICAST}

    def start(self, now: float) -> list[Action]:
        """Begin to connect, or to accept."""
        return self._digest(self.neighbor.start(now), now)

    def stop(self, now: float, reason: CeaseSubcode = CeaseSubcode.ADMINISTRATIVE_SHUTDOWN) -> list[Action]:
        """End the session (Cease, RFC 4486) and stay idle."""
        return self._digest(self.neighbor.stop(now, reason), now)

    def connected(self, connection: int, now: float) -> list[Action]:
        """A Connect action succeeded."""
        return self._digest(self.neighbor.connected(connection, now), now)

    def refused(self, connection: int, now: float, reason: str) -> list[Action]:
        """A Connect action failed."""
        return self._digest(self.neighbor.refused(connection, now, reason), now)

    def accepted(self, connection: int, now: float) -> list[Action]:
        """The neighbour connected to us."""
        return self._digest(self.neighbor.accepted(connection, now), now)

    def closed(self, connection: int, now: float, reason: str) -> list[Action]:
        """A connection is gone."""
        return self._digest(self.neighbor.closed(connection, now, reason), now)

    def received(self, connection: int, data: bytes, now: float) -> list[Action]:
        """Bytes came."""
        return self._digest(self.neighbor.received(connection, data, now), now)

    def tick(self, now: float) -> list[Action]:
        """The deadline may have passed."""
        if self._stale_until is not None and now >= self._stale_until:
            self._stale_until = None
            self._sweep(None)
        if self._membership_until is not None and now >= self._membership_until:
            self._release_end_of_rib()
        return self._digest(self.neighbor.tick(now), now)

    def deadline(self) -> float | None:
        """When :meth:`tick` is due, or None."""
        known = [
            moment
            for moment in (self.neighbor.deadline(), self._stale_until, self._membership_until)
            if moment is not None
        ]
        return min(known, default=None)

    def outbound(self, now: float) -> bytes:
        """The next messages for the established connection, b"" when there is nothing to say.

        The edge asks only while the connection can take more, so a slow neighbour never makes a queue grow.
        """
        if self.member is None or self.group is None:
            return b""
        for family in sorted(self._refresh_wanted):
            sends = self.neighbor.request_refresh(family, now)
            self.member.before += [output.data for output in sends if isinstance(output, Send)]
        self._refresh_wanted.clear()
        data = self.group.next_for(self.member)
        if data:
            self.neighbor.sent(now, update.count(data))
        return data

    def _digest(self, outputs: Iterable[Output], now: float) -> list[Action]:
        actions: list[Action] = []
        touched = False
        for output in outputs:
            if isinstance(output, Updates):
                touched = True
                actions += self._learn(output.bodies, now)
            elif isinstance(output, Up):
                self._up(output, now)
                touched = True
            elif isinstance(output, Down):
                self._down(output, now)
                touched = True
            elif isinstance(output, Refresh):
                self._refresh(output, now)
            else:
                actions.append(output)
        if touched:
            self.speaker.changed()
        return actions

    def _up(self, event: Up, now: float) -> None:
        negotiated = event.negotiated
        speaker = self.speaker
        settings = speaker.settings
        self.negotiated = negotiated
        self.established_connection = event.connection
        self._open_adj_rib_in(negotiated, now)
        profile = Profile(
            is_ibgp=negotiated.is_ibgp,
            is_client=self.settings.client,
            four_octet_as=negotiated.four_octet_as,
            maximum_message=negotiated.max_message,
            reflector=settings.reflector,
            local_as=settings.local_as,
            router_id=settings.router_id.packed,
            cluster_id=speaker.cluster_id,
        )
        constrained = RTC in negotiated.families
        self.group = speaker.group_for(profile)
        self.member = self.group.join(
            self.name,
            negotiated.families,
            Membership(constrained=constrained),
            ipv6_next_hops=(VPNV4, 2) in negotiated.extended_next_hop,
        )
        ends = sorted(negotiated.families)
        if constrained:
            self._membership_until = now + MEMBERSHIP_WAIT
            ends = [RTC]
        self.member.unended |= negotiated.families - {IPV4_UNICAST}
        self._end(ends)
        families = ", ".join(str(family) for family in sorted(negotiated.families)) or "no common family"
        self._say(NoticeKind.SESSION_UP, f"AS {negotiated.peer_as}, {negotiated.peer_router_id}: {families}")
        speaker.wake(self)

    def _open_adj_rib_in(self, negotiated: Negotiated, now: float) -> None:
        settings = self.speaker.settings
        router_id = negotiated.peer_router_id.packed
        known = self.adj_rib_in
        origin = Origin(
            name=self.name,
            is_local=False,
            is_ibgp=negotiated.is_ibgp,
            is_client=self.settings.client,
            router_id=router_id,
            address=_address_octets(self.settings.address),
        )
        gate = Gate(
            local_as=settings.local_as,
            router_id=settings.router_id.packed,
            cluster_id=self.speaker.cluster_id if settings.reflector else None,
            is_ibgp=negotiated.is_ibgp,
        )
        if known is not None and known.source.origin != origin:
            known.clear()
            known = None
        fresh = AdjRibIn(
            self.speaker.store,
            origin,
            gate,
            Context(negotiated.four_octet_as, negotiated.is_ibgp),
            negotiated.families & CODECS.keys(),
            negotiated.add_path_receive,
        )
        fresh.on_membership = self._membership
        if known is not None:
            fresh.source, fresh.by_path_id = known.source, known.by_path_id
        self.adj_rib_in = fresh
        self._decide_retention(negotiated)
        if known is not None:
            restarted = negotiated.peer_graceful_restart
            kept = {family for family, forwarding in restarted.families if forwarding} if restarted else set()
            self._sweep(_stale_families(fresh) - kept)
            self._stale_until = now + STALE_WAIT if _stale_families(fresh) else None

    def _decide_retention(self, negotiated: Negotiated) -> None:
        assert self.adj_rib_in is not None
        retain = self.speaker.settings.retain
        resendable = RTC in negotiated.families or negotiated.route_refresh
        self.adj_rib_in.retain = (
            self.speaker.settings.reflector or retain is Retain.ALWAYS or (retain is Retain.AUTO and not resendable)
        )

    def _down(self, event: Down, now: float) -> None:
        negotiated = self.negotiated
        if negotiated is not None and self.adj_rib_in is not None:
            stale: frozenset[Family] = frozenset()
            restart = negotiated.peer_graceful_restart
            if event.by_graceful_restart and restart is not None:
                stale = frozenset(family for family, _ in restart.families) & negotiated.families - {RTC}
                self._stale_until = now + restart.restart_time
            self._sweep(None)
            self.adj_rib_in.clear(negotiated.families - stale)
            self.adj_rib_in.mark_stale(stale)
            if not stale:
                self._stale_until = None
            self._say(NoticeKind.SESSION_DOWN, event.reason)
        self._leave()

    def _leave(self) -> None:
        if self.group is not None and self.member is not None:
            self.speaker.leave_group(self.group, self.member)
        self.group = self.member = self.negotiated = None
        self.established_connection = None
        self._membership_until = None
        self._refresh_wanted.clear()
        self._warned.clear()
        self._heard_end.clear()

    def forget(self) -> None:
        """Remove all that the neighbour said; it is leaving the configuration."""
        self._leave()
        if self.adj_rib_in is not None:
            self.adj_rib_in.clear()
            self.adj_rib_in = None

    def _learn(self, bodies: Sequence[bytes], now: float) -> list[Action]:
        adj_rib_in = self.adj_rib_in
        if adj_rib_in is None or self.negotiated is None:
            return []
        try:
            notes = adj_rib_in.learn(bodies)
        except RemoteFault as fault:
            self._say(NoticeKind.MALFORMED, f"{fault.text}; session reset; UPDATE body {adj_rib_in.culprit.hex()}")
            return self._digest(self.neighbor.fault(fault, now), now)
        if notes.discarded or notes.withdrawn or notes.ended:
            self._read_notes(notes, now)
        if self.settings.maximum_prefixes is not None:
            return self._check_limit(self.settings.maximum_prefixes, now)
        return []

    def _read_notes(self, notes: Notes, now: float) -> None:
        for text, bodies in notes.discarded.items():
            self._malformed(f"{text}; attribute discarded", bodies, now)
        for text, bodies in notes.withdrawn.items():
            self._malformed(f"{text}; treated as withdraw", bodies, now)
        for family in notes.ended:
            self._heard_end.add(family)
            self._sweep(frozenset((family,)))
            if family == RTC:
                self._release_end_of_rib()

    def _malformed(self, text: str, bodies: Sequence[bytes], now: float) -> None:
        """Tell a fault with one whole UPDATE (RFC 7606 section 6), each kind at most once in ``MALFORMED_PAUSE``."""
        if len(self._faults) > FAULTS_KEPT:
            self._faults.clear()
        due, untold = self._faults.get(text, (now, 0))
        untold += len(bodies)
        if now < due:
            self._faults[text] = (due, untold)
            return
        self._faults[text] = (now + MALFORMED_PAUSE, 0)
        self._say(NoticeKind.MALFORMED, f"{text}, {untold} times; UPDATE body {bodies[0].hex()}")

    def _release_end_of_rib(self) -> None:
        """The neighbour has told its memberships: what it asked for goes first, then the End-of-RIB markers."""
        self._membership_until = None
        if self.member is not None and self.negotiated is not None and self.member.membership.constrained:
            self._end(sorted(self.negotiated.families - {RTC}))
            self.speaker.wake(self)

    def _end(self, families: Iterable[Family]) -> None:
        """The End-of-RIB of ``families`` follows what is owed now."""
        if self.member is not None:
            self.member.after += [(update.end_of_rib(family), family) for family in families if family != IPV4_UNICAST]

    def _check_limit(self, limit: int, now: float) -> list[Action]:
        assert self.adj_rib_in is not None
        for family in self.adj_rib_in.families:
            number = self.adj_rib_in.count(family)
            if number > limit:
                self._say(NoticeKind.PREFIX_LIMIT, f"{number} {family} routes, {limit} allowed")
                return self._digest(self.neighbor.limit_exceeded(family, limit, now), now)
            threshold = limit * self.settings.warning_percent / 100
            if number >= threshold and family not in self._warned:
                self._warned.add(family)
                self._say(NoticeKind.PREFIX_WARNING, f"{number} {family} routes, {limit} allowed")
            elif number < threshold:
                self._warned.discard(family)
        return []

    def _refresh(self, event: Refresh, now: float) -> None:
        if self.adj_rib_in is None or self.member is None or self.group is None or self.negotiated is None:
            return
        if event.family not in self.negotiated.families:
            return
        one = frozenset((event.family,))
        if event.subtype == RefreshSubtype.REQUEST:
            self._tell_again(self.group, self.member, event.family, now)
        elif self.negotiated.peer_graceful_restart is not None and event.family not in self._heard_end:
            return  # RFC 7313 section 4.2: not before its End-of-RIB
        elif event.subtype == RefreshSubtype.BEGIN:
            self.adj_rib_in.mark_stale(one)
        else:
            self._sweep(one)

    def _tell_again(self, group: UpdateGroup, member: Member, family: Family, now: float) -> None:
        """Answer a request; before the first End-of-RIB without the marks of RFC 7313 (section 4.1)."""
        group.tell_again(member, family)
        if family not in member.unended:
            marks = [self.neighbor.mark_refresh(family, begin, now) for begin in (True, False)]
            before, after = ([o.data for o in outputs if isinstance(o, Send)] for outputs in marks)
            member.before += before
            member.after += [(data, None) for data in after]
        self.speaker.wake(self)

    def _sweep(self, families: frozenset[Family] | None) -> None:
        adj_rib_in = self.adj_rib_in
        if adj_rib_in is None:
            return
        gone = adj_rib_in.sweep(families if families is not None else _stale_families(adj_rib_in))
        if gone:
            self._say(NoticeKind.STALE_REMOVED, f"{gone} routes were not told again")
            self.speaker.changed()

    def _membership(self, table: Table, keys: Sequence[bytes], present: bool) -> None:
        if self.group is not None and self.member is not None:
            self.group.membership_changed(self.member, table, keys, added=present)
            self.speaker.wake(self)

    def imports_grew(self) -> None:
        """A new route target is imported: ask again where neither RTC nor kept routes bring its routes."""
        if self.adj_rib_in is None or self.negotiated is None:
            return
        self.adj_rib_in.forget_rejections()
        if RTC not in self.negotiated.families and not self.adj_rib_in.retain and self.negotiated.route_refresh:
            self._refresh_wanted |= self.negotiated.families
            self.speaker.wake(self)

    def sources(self) -> list[Source]:
        """What the neighbour said, by path identifier."""
        return self.adj_rib_in.sources if self.adj_rib_in is not None else []

    def retaining_sources(self) -> list[Source]:
        """The sources whose routes stay even if nobody imports them."""
        return self.sources() if self.adj_rib_in is not None and self.adj_rib_in.retain else []

    def _say(self, kind: NoticeKind, text: str) -> None:
        self.speaker.notice(Notice(self.name, kind, text))


def _stale_families(adj_rib_in: AdjRibIn) -> frozenset[Family]:
    return frozenset(bundle.table.family for source in adj_rib_in.sources for bundle in source.stale)


def _address_octets(address: str) -> bytes:
    try:
        return ip_address(address).packed
    except ValueError:
        return address.encode()
