"""Which instances want the routes of which route targets (RFC 4364 section 4.3.2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

_KEPT = 65536
"""Sets of route targets for which it is kept who wants them."""


class _Numbered(Protocol):
    @property
    def number(self) -> int: ...


I = TypeVar("I", bound=_Numbered)  # noqa: E741


class TargetIndex(Generic[I]):
    """Instances by route target (8 octets)."""

    def __init__(self) -> None:
        self._by_target: dict[bytes, dict[I, None]] = {}
        self._by_targets: dict[tuple[bytes, ...], tuple[I, ...]] = {}

    def __contains__(self, target: bytes) -> bool:
        return target in self._by_target

    def change(self, instance: I, before: frozenset[bytes], after: frozenset[bytes]) -> None:
        """An instance wants ``after`` and no longer ``before``."""
        for target in before - after:
            del self._by_target[target][instance]
            if not self._by_target[target]:
                del self._by_target[target]
        for target in after - before:
            self._by_target.setdefault(target, {})[instance] = None
        self._by_targets.clear()

    def of(self, targets: tuple[bytes, ...]) -> tuple[I, ...]:
        """Those that want one of these, by their number."""
        known = self._by_targets.get(targets)
        if known is None:
            if len(self._by_targets) >= _KEPT:
                self._by_targets.clear()
            found: dict[I, None] = {}
            for target in targets:
                found.update(self._by_target.get(target, {}))
            known = self._by_targets[targets] = by_number(found)
        return known


def by_number(instances: Iterable[I]) -> tuple[I, ...]:
    """Instances in the order of their numbers, each once."""
    return tuple(sorted(set(instances), key=lambda each: each.number))
