"""What a neighbour counts, for people and metrics."""

from __future__ import annotations

from dataclasses import dataclass, field

from bagpipe.wire.message import MessageType


def _zeros() -> dict[int, int]:
    return {int(kind): 0 for kind in MessageType}


@dataclass(slots=True)
class Counters:
    """Since the neighbour was made. Keys of ``received`` and ``sent`` are message types (:class:`MessageType`)."""

    received: dict[int, int] = field(default_factory=_zeros)
    sent: dict[int, int] = field(default_factory=_zeros)
    flaps: int = 0
    """How often an established session ended."""
    up_since: float | None = None
    """When the session that is up came up, by the clock of the ``now`` values; None while it is not up."""
