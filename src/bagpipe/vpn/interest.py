"""Several kinds of VPN instances share one speaker: a route target is imported while one of them imports it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from bagpipe.identifiers import RouteTarget
from bagpipe.vpn.settings import Announcer
from bagpipe.wire.attributes import Attributes
from bagpipe.wire.family import Family
from bagpipe.wire.nlri.codec import Payload


class SharedAnnouncer:
    """An announcer for several who import."""

    def __init__(self, announcer: Announcer) -> None:
        self._announcer = announcer
        self._importers: Counter[RouteTarget] = Counter()

    def originate(
        self,
        family: Family,
        shape: int,
        keys: Sequence[bytes],
        payloads: Sequence[Payload],
        attributes: Attributes,
    ) -> None:
        """As :meth:`Announcer.originate`: no two of them have the same key."""
        self._announcer.originate(family, shape, keys, payloads, attributes)

    def withdraw(self, family: Family, shape: int, keys: Iterable[bytes]) -> None:
        """As :meth:`Announcer.withdraw`."""
        self._announcer.withdraw(family, shape, keys)

    def import_route_target(self, route_target: RouteTarget) -> None:
        """One more wants the routes of a route target."""
        self._importers[route_target] += 1
        if self._importers[route_target] == 1:
            self._announcer.import_route_target(route_target)

    def cease_import(self, route_target: RouteTarget) -> None:
        """One less wants them."""
        self._importers[route_target] -= 1
        if not self._importers[route_target]:
            del self._importers[route_target]
            self._announcer.cease_import(route_target)
