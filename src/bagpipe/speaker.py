"""Sessions and RIB joined: what a neighbour says goes in, what it should hear comes out.

RFC 4271 (speaker), RFC 4456 (reflector), RFC 4684 (route target membership both ways). Each neighbour is a
:class:`bagpipe.peer.Peer`. Pure like the rooms below: fed with bytes, events and ``now`` (seconds of any steady clock),
answers with actions. It does not restart gracefully itself (RFC 4724 section 4.1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from bagpipe.errors import LocalMisuse
from bagpipe.identifiers import RouteDistinguisher, RouteTarget
from bagpipe.peer import Notice, NoticeKind, Peer, PeerSettings, Retain
from bagpipe.rib.bundle import Origin, Source
from bagpipe.rib.export import Profile
from bagpipe.rib.membership import DEFAULT
from bagpipe.rib.origination import local_attributes, membership_key
from bagpipe.rib.store import Store
from bagpipe.rib.update_group import Member, UpdateGroup
from bagpipe.rib.view import RouteRow, rows
from bagpipe.session.outputs import Action
from bagpipe.wire.attributes import Attributes
from bagpipe.wire.family import RTC, Family
from bagpipe.wire.nlri.codec import Payload

__all__ = [
    "Counts",
    "Notice",
    "NoticeKind",
    "Peer",
    "PeerSettings",
    "Retain",
    "RouteRow",
    "Speaker",
    "SpeakerSettings",
    "local_attributes",
    "membership_key",
]


@dataclass(frozen=True, slots=True)
class SpeakerSettings:
    """The node: its AS, its BGP identifier, and whether it reflects (``cluster_id`` defaults to ``router_id``).

    A reflector asks its neighbours for everything by the default membership, or with ``default_membership`` false for
    what its other neighbours ask of it (RFC 4684 section 3.2); then every neighbour should speak RTC.
    """

    local_as: int
    router_id: IPv4Address
    cluster_id: IPv4Address | None = None
    reflector: bool = False
    default_membership: bool = True
    retain: Retain = Retain.AUTO


@dataclass(frozen=True, slots=True)
class Counts:
    """How much the speaker holds. ``paths`` and ``best`` are by family name."""

    paths: dict[str, int]
    best: dict[str, int]
    local: int
    attribute_blocks: int
    peers: int
    established: int


def _ignore(_: object) -> None:
    """Nobody listens yet."""


def _import_nothing() -> None:
    """Nobody imports yet."""


class Speaker:
    """One BGP speaker: neighbours, tables, update groups and what this node originates.

    The edge sets ``wake`` (a neighbour has something to hear: call :meth:`Peer.outbound`), ``notice``, and ``importer``
    (routes that this node imports may have changed: take them from the store).
    """

    def __init__(self, settings: SpeakerSettings, *, jitter: Callable[[], float]) -> None:
        self.settings = settings
        self.jitter = jitter
        self.store = Store(relays=settings.reflector)
        self.peers: dict[str, Peer] = {}
        self.groups: dict[Profile, UpdateGroup] = {}
        self.wake: Callable[[Peer], None] = _ignore
        self.notice: Callable[[Notice], None] = _ignore
        self.importer: Callable[[], None] = _import_nothing
        self.local = Source(Origin("local", True, True, False, settings.router_id.packed, b""))
        asks_for_all = settings.reflector and settings.default_membership
        if asks_for_all or settings.retain is Retain.ALWAYS:
            self.originate(RTC, 0, [DEFAULT], [DEFAULT], self._membership_attributes())

    @property
    def cluster_id(self) -> bytes:
        """The 4 octets put into CLUSTER_LIST (RFC 4456 section 7)."""
        return (self.settings.cluster_id or self.settings.router_id).packed

    def add_peer(self, settings: PeerSettings, now: float) -> Peer:
        """A new neighbour, not started. Raises LocalMisuse if the name is taken."""
        del now
        if settings.name in self.peers:
            raise LocalMisuse("peer", settings.name, "there is a peer of this name already")
        peer = Peer(self, settings)
        self.peers[settings.name] = peer
        return peer

    def remove_peer(self, name: str, now: float) -> list[Action]:
        """End the neighbour's session and forget it. Raises LocalMisuse if there is none of that name."""
        peer = self.peers.get(name)
        if peer is None:
            raise LocalMisuse("peer", name, "there is no such peer")
        actions = peer.stop(now)
        peer.forget()
        del self.peers[name]
        self.changed()
        return actions

    def group_for(self, profile: Profile) -> UpdateGroup:
        """The update group of a profile, made when first asked for."""
        group = self.groups.get(profile)
        if group is None:
            group = self.groups[profile] = UpdateGroup(self.store, profile)
        return group

    def leave_group(self, group: UpdateGroup, member: Member) -> None:
        """A session ended; an empty group goes."""
        group.leave(member)
        if not group.members:
            group.close()
            del self.groups[group.profile]

    def changed(self) -> None:
        """Tables may have changed: tell the importer, and wake the neighbours that have something to hear."""
        if self.store.has_wanted_changes:
            self.importer()
        for group in self.groups.values():
            if group.has_changes:
                for name in group.members:
                    self.wake(self.peers[name])

    def originate(
        self,
        family: Family,
        shape: int,
        keys: Sequence[bytes],
        payloads: Sequence[Payload],
        attributes: Attributes,
    ) -> None:
        """Announce routes of this node; a route that is announced already is replaced."""
        table = self.store.table(family, shape)
        identity = (attributes.block, attributes.next_hop, b"", family, shape)
        bundle = self.local.bundles.get(identity)
        if bundle is None:
            bundle = self.store.bundle(self.local, table, attributes, identity)
        added = table.learn(bundle, keys, payloads)
        self.local.count[table] = self.local.count.get(table, 0) + added
        self.changed()

    def withdraw(self, family: Family, shape: int, keys: Iterable[bytes]) -> None:
        """Withdraw routes of this node; keys that were not announced are passed over."""
        table = self.store.tables.get((family, shape))
        if table is None:
            return
        gone = table.forget(self.local, keys)
        self.local.count[table] = self.local.count.get(table, 0) - gone
        self.changed()

    def _membership_attributes(self) -> Attributes:
        return local_attributes(RTC, self.settings.router_id)

    def import_route_target(self, route_target: RouteTarget) -> None:
        """This node imports ``route_target`` from now on: ask for its routes by RTC, refresh, or what is kept."""
        if route_target.packed in self.store.imported:
            return
        self.store.import_route_target(route_target.packed)
        key = membership_key(self.settings.local_as, route_target)
        self.originate(RTC, 0, [key], [key], self._membership_attributes())
        for peer in self.peers.values():
            peer.imports_grew()

    def cease_import(self, route_target: RouteTarget) -> None:
        """This node no longer imports ``route_target``: routes nobody wants now go, unless they are retained."""
        if route_target.packed not in self.store.imported:
            return
        unwanted = self.store.cease_import(route_target.packed)
        retained = {source for peer in self.peers.values() for source in peer.retaining_sources()}
        retained.add(self.local)
        self.store.remove_bundles([b for b in unwanted if b.source not in retained and b.table.family != RTC])
        self.withdraw(RTC, 0, [membership_key(self.settings.local_as, route_target)])

    def routes(
        self,
        family: Family | None = None,
        route_target: RouteTarget | None = None,
        route_distinguisher: RouteDistinguisher | None = None,
    ) -> Iterator[RouteRow]:
        """Every path held of the routes asked for, best first; safe to take slowly while routes change."""
        return rows(self.store, family, route_target, route_distinguisher)

    def counts(self) -> Counts:
        """How much is held now."""
        paths: dict[str, int] = {}
        best: dict[str, int] = {}
        for table in self.store.tables.values():
            name = str(table.family)
            best[name] = best.get(name, 0) + len(table.entries)
        sources = [self.local, *(source for peer in self.peers.values() for source in peer.sources())]
        blocks = 0
        for source in sources:
            blocks += len(source.bundles) + len(source.stale)
            for table, number in source.count.items():
                name = str(table.family)
                paths[name] = paths.get(name, 0) + number
        established = sum(1 for peer in self.peers.values() if peer.negotiated is not None)
        local = sum(self.local.count.values())
        return Counts(paths, best, local, blocks, len(self.peers), established)
