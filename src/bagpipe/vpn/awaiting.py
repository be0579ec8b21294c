"""Endpoints that wait for the dataplane to confirm records, before more of them is announced."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

from bagpipe.dataplane.model import Key

E = TypeVar("E", bound=Hashable)


class Awaiting(Generic[E]):
    """Who waits for which records."""

    def __init__(self) -> None:
        self._by_key: dict[Key, dict[E, None]] = {}
        self._keys: dict[E, tuple[Key, ...]] = {}

    def wait(self, endpoint: E, keys: Iterable[Key]) -> None:
        """An endpoint waits for these records, and no longer for others."""
        self.leave(endpoint)
        wanted = tuple(dict.fromkeys(keys))
        if wanted:
            self._keys[endpoint] = wanted
        for key in wanted:
            self._by_key.setdefault(key, {})[endpoint] = None

    def leave(self, endpoint: E) -> None:
        """An endpoint waits for nothing."""
        for key in self._keys.pop(endpoint, ()):
            waiting = self._by_key[key]
            del waiting[endpoint]
            if not waiting:
                del self._by_key[key]

    def of(self, keys: Iterable[Key]) -> list[E]:
        """Those that wait for one of these records, each once."""
        if not self._by_key:
            return []
        found: dict[E, None] = {}
        for key in keys:
            found.update(self._by_key.get(key, {}))
        return list(found)

    def all(self) -> list[E]:
        """All that wait."""
        return list(self._keys)
