"""Several kinds of VPN instances share one speaker: a route target is imported while one of them imports it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from bagpipe.identifiers import RouteTarget
from bagpipe.vpn.settings import Announcer


def change_interest(announcer: Announcer, added: Iterable[bytes], orphaned: Iterable[bytes]) -> None:
    """Some begin to want these route targets (8 octets each), nobody wants those any more."""
    for target in added:
        announcer.import_route_target(RouteTarget(target))
    for target in orphaned:
        announcer.cease_import(RouteTarget(target))


class SharedAnnouncer:
    """An announcer for several who import. They announce through it as if each were alone: no two have the same key."""

    def __init__(self, announcer: Announcer) -> None:
        self._announcer = announcer
        self._importers: Counter[RouteTarget] = Counter()
        self.originate = announcer.originate
        self.withdraw = announcer.withdraw

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
