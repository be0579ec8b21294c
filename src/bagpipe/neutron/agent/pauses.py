"""How long to wait before the next try: short at first, so that a restart is noticed at once."""

from __future__ import annotations


class Pauses:
    """Each pause is ``factor`` times the one before, up to ``longest`` seconds."""

    def __init__(self, first: float, longest: float, factor: float = 2.0) -> None:
        self._first = first
        self._longest = longest
        self._factor = factor
        self._next = first

    def take(self) -> float:
        """The next pause, in seconds."""
        pause = self._next
        self._next = min(pause * self._factor, self._longest)
        return pause

    def reset(self) -> None:
        """Begin with the shortest again."""
        self._next = self._first
