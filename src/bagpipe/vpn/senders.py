"""Whom tunnelled packets are taken from: nodes that routes lead to, and those that are accepted whatever routes say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from bagpipe.dataplane.delta import Tracker
from bagpipe.dataplane.model import SourceKey


class Senders:
    """Counts why a node (4 or 16 octets) may send; it has a record while there is a reason."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._reasons: Counter[bytes] = Counter()
        self._accepted: tuple[bytes, ...] = ()

    def enter(self, addresses: Iterable[bytes]) -> None:
        """One reason more for each of these."""
        for address in addresses:
            self._reasons[address] += 1
            self._tracker.set(SourceKey(address), True)

    def leave(self, addresses: Iterable[bytes]) -> None:
        """One reason less."""
        for address in addresses:
            self._reasons[address] -= 1
            if not self._reasons[address]:
                del self._reasons[address]
                self._tracker.remove(SourceKey(address))

    def accept_from(self, addresses: Iterable[bytes]) -> None:
        """These may send whatever routes there are, and those told before no longer."""
        accepted = tuple(dict.fromkeys(addresses))
        self.enter(accepted)
        self.leave(self._accepted)
        self._accepted = accepted
