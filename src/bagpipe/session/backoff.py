"""How long a neighbour that fails is left alone (RFC 4271 section 8.1.1, DampPeerOscillations; jitter: section 10)."""

from __future__ import annotations

from collections.abc import Callable


class Backoff:
    """Counts failures in a row and says how long to pause: ``first`` seconds, then twice as long each time, at most
    ``longest``, times a jitter.

    From the second failure on, connections that the peer opens are refused for a part of the pause as well. The part is
    small enough (a quarter, jitter reaches down to three quarters) that two neighbours with this rule cannot refuse
    each other forever: whoever pauses longer finds the other's door open.
    """

    __slots__ = ("_first", "_jitter", "_longest", "failures", "refuse_until")

    def __init__(self, first: float, longest: float, jitter: Callable[[], float]) -> None:
        self._first = first
        self._longest = longest
        self._jitter = jitter
        self.failures = 0
        self.refuse_until = 0.0
        """Incoming connections are not wanted before this time."""

    def failed(self, now: float) -> float:
        """One more failure at ``now``; returns when to start again."""
        # The exponent is bounded because a float is: 2.0 ** 1024 does not exist.
        pause = min(self._first * 2.0 ** min(self.failures, 32), self._longest)
        self.failures += 1
        if self.failures > 1:
            self.refuse_until = now + pause / 4
        return now + pause * self._jitter()

    def forget(self) -> None:
        """The next failure counts as the first."""
        self.failures = 0
        self.refuse_until = 0.0
