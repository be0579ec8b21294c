"""Routes that share their source and their attributes are one bundle.

A BGP decision looks at attributes and at the neighbour, never at the prefix. So the RIB keeps, for each source, table
and distinct attribute block, one :class:`Bundle` with all its routes, and a table entry only points to a bundle. Where
several bundles claim a key, the entry points to a :class:`Contest`: the interned set of competitors, decided once for
all keys that have these very competitors.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bagpipe.rib.decision import Ranking, rank
from bagpipe.wire.attributes import Attributes
from bagpipe.wire.nlri.codec import Payload

if TYPE_CHECKING:
    from bagpipe.rib.table import Table


@dataclass(frozen=True, slots=True)
class Origin:
    """Who a source is, as far as the decision process asks (RFC 4271 section 9.1.2.2, RFC 4456 section 9)."""

    name: str
    is_local: bool
    is_ibgp: bool
    is_client: bool
    router_id: bytes
    address: bytes


class Source:
    """A neighbour's Adj-RIB-In (or what this node originates), seen from the tables: its bundles and its counts.

    A neighbour that sends several paths (RFC 7911) has one source for each path identifier.
    """

    __slots__ = ("bundles", "count", "origin", "path_id", "stale")

    def __init__(self, origin: Origin, path_id: int = 0) -> None:
        self.origin = origin
        self.path_id = path_id
        self.bundles: dict[Hashable, Bundle] = {}
        self.stale: dict[Bundle, None] = {}
        self.count: dict[Table, int] = {}


class Bundle:
    """All routes of one table from one source with one attribute block: keys and payloads in ``routes``.

    ``wanted`` tells that a local importer asked for one of the route targets.
    """

    __slots__ = ("_contests", "attributes", "identity", "routes", "serial", "source", "table", "wanted")

    def __init__(self, source: Source, table: Table, attributes: Attributes, identity: Hashable, serial: int) -> None:
        self.source = source
        self.table = table
        self.attributes = attributes
        self.identity = identity
        self.serial = serial
        self.routes: dict[bytes, Payload] = {}
        self.wanted = False
        self._contests: dict[tuple[Bundle, ...], Contest] | None = None

    @property
    def best(self) -> Bundle:
        """Itself: alone, a bundle is the best."""
        return self

    @property
    def bundles(self) -> tuple[Bundle, ...]:
        """The competitors: only itself."""
        return (self,)

    @property
    def is_stale(self) -> bool:
        """Whether it is kept only until the neighbour has told its routes again (RFC 4724, RFC 7313)."""
        return self in self.source.stale

    def end_contests(self) -> None:
        """Forget every contest this bundle takes part in; called when it holds no route any more."""
        for competitors in self._contests or ():
            for other in competitors:
                if other is not self and other._contests is not None:
                    other._contests.pop(competitors, None)
        self._contests = None

    def contests(self) -> dict[tuple[Bundle, ...], Contest]:
        """The contests this bundle takes part in, by their competitors."""
        if self._contests is None:
            self._contests = {}
        return self._contests


class Contest:
    """Several bundles that claim the same keys, ranked once."""

    __slots__ = ("_ranking", "best", "bundles")

    def __init__(self, bundles: tuple[Bundle, ...]) -> None:
        self._ranking: Ranking[Bundle] = rank(bundles)
        self.bundles = self._ranking.ordered
        self.best: Bundle = self.bundles[0]

    @property
    def reasons(self) -> tuple[str, ...]:
        """For each of ``bundles`` after the best, why the one before it won over it."""
        return self._ranking.reasons

    @property
    def multipath(self) -> tuple[Bundle, ...]:
        """The best and those that equal it up to the tie-breakers (RFC 4271 section 9.1.2.2 f and g)."""
        return self._ranking.multipath


Entry = Bundle | Contest


def contest(bundles: Sequence[Bundle]) -> Entry:
    """The entry for these competitors; the same competitors always give the same object."""
    if len(bundles) == 1:
        return bundles[0]
    competitors = tuple(sorted(bundles, key=_serial))
    known = competitors[0].contests().get(competitors)
    if known is None:
        known = Contest(competitors)
        for bundle in competitors:
            bundle.contests()[competitors] = known
    return known


def _serial(bundle: Bundle) -> int:
    return bundle.serial
