"""Numbers given out and taken back: VPN instances, labels, route distinguishers.

A peer may use a number for a while after it was freed (a label of a withdrawn route, packets on their way). So numbers
are given in ascending order, and one that was freed comes again only when no other is left, the oldest first.
"""

from __future__ import annotations

from collections import deque

from bagpipe.errors import LocalMisuse
from bagpipe.identifiers import MAXIMUM_LABEL, MINIMUM_LABEL

_LAST_INSTANCE = 0x7FFFFF
_LAST_RD = 0xFFFF


class Allocator:
    """Numbers from ``first`` to ``last``; ``field`` names them in errors."""

    def __init__(self, field: str, first: int, last: int) -> None:
        self.field = field
        self.first = first
        self.last = last
        self.live: set[int] = set()
        self._next = first
        self._waiting: deque[tuple[int, int]] = deque()

    @property
    def available(self) -> int:
        """How many can still be given."""
        return self.last - self.first + 1 - len(self.live)

    def require(self, count: int) -> None:
        """Raises LocalMisuse unless ``count`` more can be given."""
        if self.available < count:
            raise LocalMisuse(self.field, len(self.live), f"all numbers of {self.first} to {self.last} are in use")

    def allocate(self, wanted: int | None = None) -> int:
        """``wanted`` if it is not in use, else the next. Raises LocalMisuse if all are in use."""
        self.require(1)
        if wanted is not None and self.first <= wanted <= self.last and wanted not in self.live:
            number = wanted
            if number >= self._next:
                # what lies between may have been in use before a restart: it waits as if it had been freed now
                if number > self._next:
                    self._waiting.append((self._next, number - 1))
                self._next = number + 1
        else:
            number = self._draw()
        self.live.add(number)
        return number

    def hold(self, number: int) -> bool:
        """Give ``number`` to nobody until it is freed: it is used as one of these, though it was chosen elsewhere.

        False: it is not one of these, or in use already.
        """
        if number in self.live or not self.first <= number <= self.last:
            return False
        self.live.add(number)
        return True

    def _draw(self) -> int:
        while self._next <= self.last:
            self._next += 1
            if self._next - 1 not in self.live:
                return self._next - 1
        while True:
            low, high = self._waiting.popleft()
            if low < high:
                self._waiting.appendleft((low + 1, high))
            if low not in self.live:
                return low

    def free(self, number: int) -> None:
        """``number`` is not in use any more."""
        self.live.remove(number)
        self._waiting.append((number, number))


class Numbers:
    """What the VPN instances of this node, of whatever type, share: their own numbers, those of route distinguishers,
    and labels (``labels`` from the lowest to the highest), of which a VNI that this node chooses is one.
    """

    def __init__(self, labels: tuple[int, int] = (MINIMUM_LABEL, MAXIMUM_LABEL)) -> None:
        self.instances = Allocator("instances", 1, _LAST_INSTANCE)
        self.rds = Allocator("route distinguishers", 0, _LAST_RD)
        self.labels = Allocator("labels", *labels)
