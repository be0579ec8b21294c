"""Which news about associations is too young to rest on: what ended a moment ago, what was told twice, what is stale.

A push and an answer travel by different ways. A server may say that an association ends a little before it does, so
that an answer which was read in between still has it; pushes may overtake each other. What ended is remembered for a
while, and what may have been overtaken is asked again.
"""

from __future__ import annotations

from typing import Final


class Recency:
    """Times are seconds of a steady clock. Not thread-safe."""

    MEMORY: Final = 10.0
    """Seconds for which the end of an association is remembered."""
    DOUBT: Final = 1.0
    """Two pushes of one association within so many seconds may have come in the wrong order."""

    def __init__(self) -> None:
        self._ended: dict[tuple[str, str], float] = {}
        self._told: dict[str, float] = {}
        self._asked: dict[str, float] = {}

    def ended(self, association_id: str, subject: str, now: float) -> None:
        """The association has ended for a network or port."""
        self._ended = {key: when for key, when in self._ended.items() if now - when < self.MEMORY}
        self._ended[association_id, subject] = now

    def began(self, association_id: str, subject: str) -> None:
        """The association holds for a network, also if it has ended before: a router can come back to it."""
        self._ended.pop((association_id, subject), None)

    def is_ended(self, association_id: str, subject: str, now: float) -> bool:
        """Whether it ended a moment ago."""
        when = self._ended.get((association_id, subject))
        return when is not None and now - when < self.MEMORY

    def told(self, association_id: str, now: float) -> bool:
        """Something was pushed about the association; whether it may have been overtaken."""
        self._told = {key: when for key, when in self._told.items() if now - when < self.DOUBT}
        is_doubtful = association_id in self._told
        self._told[association_id] = now
        return is_doubtful

    def ask_network(self, network_id: str, fresh: float, now: float) -> bool:
        """Whether to ask for the network: not if that was done within ``fresh`` seconds."""
        when = self._asked.get(network_id)
        if when is not None and now - when < fresh:
            return False
        self._asked[network_id] = now
        return True

    def network_answered(self, network_id: str, now: float) -> None:
        """The server has answered for the network."""
        if network_id in self._asked:
            self._asked[network_id] = now

    def forget_network(self, network_id: str) -> None:
        """The network has no port here any more."""
        self._asked.pop(network_id, None)
