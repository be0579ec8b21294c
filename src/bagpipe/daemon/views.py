"""What people and programs see of the speaker: plain values for JSON, made when asked for."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, fields
from itertools import islice
from typing import TYPE_CHECKING

from bagpipe import __version__
from bagpipe.daemon.recent_records import RecentRecords
from bagpipe.daemon.service import NoticeBoard
from bagpipe.daemon.tcp import Edge
from bagpipe.speaker import Notice, Peer, RouteRow, Speaker
from bagpipe.wire.message import MessageType

if TYPE_CHECKING:  # the reflector has views, and no VPN instances
    from bagpipe.daemon.forwarding import Forwarding
    from bagpipe.daemon.plane import Plane

_PLANES = {"ipvpn": "dataplane", "evpn": "evpn_dataplane"}
MOST_REFUSED = 100
"""Refused records that are told one by one."""
ROW_FIELDS = tuple(entry.name for entry in fields(RouteRow))


@dataclass(slots=True)
class Seen:
    """All that can be looked at, and since when. ``configuration`` is by section, without secrets.

    ``forwarding`` is None in a reflector, which has no VPN instances.
    """

    speaker: Speaker
    edge: Edge
    notices: NoticeBoard
    configuration: dict[str, dict[str, object]] = field(default_factory=dict)
    records: RecentRecords = field(default_factory=RecentRecords)
    started: float = field(default_factory=time.time)
    process: int = field(default_factory=lambda: int.from_bytes(os.urandom(16)))
    forwarding: Forwarding | None = None
    attach_timeout: float = 20.0

    @property
    def now(self) -> float:
        """The clock of the speaker, in seconds."""
        return self.edge.loop.time()


def route_view(row: RouteRow) -> dict[str, object]:
    """A route, field by field."""
    return {name: getattr(row, name) for name in ROW_FIELDS}


def notice_view(notice: Notice) -> dict[str, object]:
    """A notice with the time of day it is told at, seconds since 1970."""
    return {"time": round(time.time(), 3), "peer": notice.peer, "kind": notice.kind.value, "text": notice.text}


def route_counts(peer: Peer) -> dict[str, int]:
    """How many routes a neighbour has told us, by family."""
    told = peer.adj_rib_in
    return {} if told is None else {str(family): told.count(family) for family in sorted(told.families)}


def peer_view(peer: Peer, now: float) -> dict[str, object]:
    """A neighbour. Times are seconds; ``uptime`` is None while the session is not established."""
    settings, neighbor, negotiated = peer.settings, peer.neighbor, peer.negotiated
    counters = neighbor.counters
    return {
        "name": peer.name,
        "address": settings.address,
        "state": neighbor.state.name.lower(),
        "local_as": settings.session.local_as,
        "peer_as": settings.session.peer_as if negotiated is None else negotiated.peer_as,
        "router_id": None if negotiated is None else str(negotiated.peer_router_id),
        "uptime": None if counters.up_since is None else round(now - counters.up_since, 1),
        "hold_time": settings.session.hold_time if negotiated is None else negotiated.hold_time,
        "keepalive": None if negotiated is None else negotiated.keepalive,
        "families": [] if negotiated is None else [str(family) for family in sorted(negotiated.families)],
        "capabilities": [] if negotiated is None else [_text(one) for one in negotiated.peer_capabilities],
        "routes": route_counts(peer),
        "maximum_prefixes": settings.maximum_prefixes,
        "client": settings.client,
        "mode": settings.session.mode.value,
        "last_down": neighbor.last_down,
        "flaps": counters.flaps,
        "messages_received": _messages(counters.received),
        "messages_sent": _messages(counters.sent),
    }


def _messages(numbers: dict[int, int]) -> dict[str, int]:
    return {MessageType(kind).name.lower(): number for kind, number in numbers.items()}


def _text(value: object) -> str:
    """A capability for people: its repr is that of a dataclass."""
    return str(value)


def counts_view(seen: Seen) -> dict[str, object]:
    """How much is held."""
    counts = seen.speaker.counts()
    return {
        "paths": counts.paths,
        "best": counts.best,
        "local": counts.local,
        "attribute_blocks": counts.attribute_blocks,
        "peers": counts.peers,
        "established": counts.established,
    }


def health_view(seen: Seen) -> dict[str, object]:
    """``status`` is ``ok`` when every neighbour's session is established and all that is attached is in effect, else
    ``degraded``.
    """
    counts = seen.speaker.counts()
    down = [peer.name for peer in seen.speaker.peers.values() if peer.negotiated is None]
    planes = () if seen.forwarding is None else seen.forwarding.planes
    dataplanes = {_PLANES[plane.name]: dataplane_view(plane) for plane in planes}
    return {
        "status": "degraded" if down or not all(plane.is_well for plane in planes) else "ok",
        "version": __version__,
        "uptime": round(time.time() - seen.started, 1),
        "peers": counts.peers,
        "established": counts.established,
        "down": down,
        "warnings_and_errors": seen.records.count,
        **dataplanes,
    }


def dataplane_view(plane: Plane) -> dict[str, object]:
    """What carries the VPNs of a type: whether it can be programmed, how much is in effect, and what is refused."""
    programmer, tracker = plane.programmer, plane.tracker
    refused = [
        {"record": str(key), "reason": refusal.reason, "tries": refusal.tries}
        for key, refusal in islice(tracker.refused.items(), MOST_REFUSED)
    ]
    return {
        "driver": plane.driver.capabilities.name,
        "state": "connected" if programmer.connected else "unreachable",
        "why": programmer.why or None,
        "records": tracker.counts(),
        "refused": refused,
        "leftovers_removed": programmer.swept,
    }
