"""MACs that move too often: RFC 7432 section 15.1 (duplicate MAC detection), with a way out after a while.

A move is that a MAC comes to this node or leaves it while it is attached somewhere else as well. ``MOVES`` of them
within ``WITHIN`` seconds are taken for two stations with one MAC: it is *frozen*, stays where it was last, and what
routes say of it counts no more, for ``DAMPING`` seconds. Times are seconds of a steady clock.
"""

from __future__ import annotations

from bagpipe.vpn.evpn.claims import Place

MOVES = 5
WITHIN = 180.0
DAMPING = 180.0
_KEPT = 1024
"""MACs whose moves are counted before it is looked which of them have come to rest."""


class Moves:
    """The moves of the MACs of one EVI, by MAC (6 octets). ``frozen`` has where a MAC is held and until when."""

    def __init__(self) -> None:
        self.frozen: dict[bytes, tuple[Place, float]] = {}
        self._moments: dict[bytes, list[float]] = {}

    def note(self, mac: bytes, place: Place, now: float) -> bool:
        """A MAC has moved to ``place``. Whether that was once too often: it is frozen there from now on."""
        moments = [moment for moment in self._moments.get(mac, ()) if moment > now - WITHIN]
        if len(self._moments) >= _KEPT and mac not in self._moments:
            self._forget(now)
        self._moments[mac] = moments = [*moments[1 - MOVES :], now]
        if len(moments) < MOVES or mac in self.frozen:
            return False
        self.frozen[mac] = place, now + DAMPING
        return True

    def count(self, mac: bytes, now: float) -> int:
        """How often a MAC has moved lately."""
        return len([moment for moment in self._moments.get(mac, ()) if moment > now - WITHIN])

    def place(self, mac: bytes) -> Place | None:
        """Where a MAC is held; None: it is not."""
        found = self.frozen.get(mac)
        return found[0] if found is not None else None

    def release(self, now: float) -> list[bytes]:
        """The MACs whose time is over; they may move again. What was counted long ago is forgotten."""
        released = [mac for mac, (_, until) in self.frozen.items() if until <= now]
        for mac in released:
            del self.frozen[mac]
            self._moments.pop(mac, None)
        self._forget(now)
        return released

    def _forget(self, now: float) -> None:
        for mac in [mac for mac, moments in self._moments.items() if moments[-1] <= now - WITHIN]:
            del self._moments[mac]

    @property
    def deadline(self) -> float | None:
        """When :meth:`release` has something to do; None: as long as nothing happens, never."""
        return min((until for _, until in self.frozen.values()), default=None)
