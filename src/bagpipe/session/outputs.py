"""What a session answers: actions for the edge, which owns the sockets, and events for the speaker.

An output list is in order: an edge carries out its actions one after the other. ``Close`` after ``Send`` means that
what was sent should still reach the peer, within a bound that the edge sets.
"""

from __future__ import annotations

from dataclasses import dataclass

from bagpipe.session.negotiation import Negotiated
from bagpipe.wire.family import Family


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a TCP connection to the peer; report it with ``connected`` or ``refused``."""

    connection: int


@dataclass(frozen=True, slots=True)
class Send:
    """Write ``data`` to the connection."""

    connection: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection, or give up the attempt to open it. Nothing more is wanted to be heard of it."""

    connection: int


@dataclass(frozen=True, slots=True)
class Up:
    """The session is established; UPDATEs for it go to ``connection``."""

    connection: int
    negotiated: Negotiated


@dataclass(frozen=True, slots=True)
class Down:
    """The session that was up has ended. ``by_graceful_restart``: keep the peer's routes, as stale, of the families it
    listed in its capability (RFC 4724 section 4.2, RFC 8538 section 4)."""

    reason: str
    by_graceful_restart: bool


@dataclass(frozen=True, slots=True)
class Updates:
    """Consecutive UPDATE bodies, without headers, in the order received."""

    bodies: list[bytes]


@dataclass(frozen=True, slots=True)
class Refresh:
    """A ROUTE-REFRESH for a negotiated family. ``subtype``: 0 request, 1 begin, 2 end (RFC 7313); 1 and 2 only come if
    enhanced route refresh was negotiated."""

    family: Family
    subtype: int


Action = Connect | Send | Close
Event = Up | Down | Updates | Refresh
Output = Action | Event
