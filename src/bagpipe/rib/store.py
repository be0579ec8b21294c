"""All tables, and the index by route target: route target -> bundles -> keys."""

from __future__ import annotations

from collections.abc import Container, Hashable, Iterable, Iterator
from itertools import count

from bagpipe.rib.bundle import Bundle, Entry, Source
from bagpipe.rib.table import Table
from bagpipe.wire.attributes import Attributes
from bagpipe.wire.family import Family
from bagpipe.wire.nlri import CODECS


class Store:
    """Owns tables and bundles. ``relays``: neighbours are told routes of other neighbours, not of this node alone.

    ``imported`` are the route targets that somebody on this node imports: bundles that carry one are wanted, and the
    changes of their keys are collected for the importers (:meth:`take_wanted_changes`). ``on_new_table`` is called
    with each table made, so that whoever keeps journals can add his.
    """

    def __init__(self, *, relays: bool = True) -> None:
        self.relays = relays
        self.tables: dict[tuple[Family, int], Table] = {}
        self.by_route_target: dict[bytes, dict[Bundle, None]] = {}
        self.imported: set[bytes] = set()
        self.observers: list[TableObserver] = []
        self._serials = count(1)

    def table(self, family: Family, shape: int) -> Table:
        """The table of a family and shape, made when first asked for."""
        found = self.tables.get((family, shape))
        if found is None:
            found = Table(self, family, shape, CODECS[family])
            self.tables[family, shape] = found
            for observer in self.observers:
                observer.table_made(found)
        return found

    def tables_of(self, family: Family) -> list[Table]:
        """The tables of one family."""
        return [table for (of, _), table in self.tables.items() if of == family]

    def bundle(self, source: Source, table: Table, attributes: Attributes, identity: Hashable) -> Bundle:
        """A new bundle, entered in its source and in the index. The caller looked for ``identity`` before."""
        made = Bundle(source, table, attributes, identity, next(self._serials))
        made.wanted = self.wants(attributes)
        source.bundles[identity] = made
        for route_target in attributes.route_targets:
            self.by_route_target.setdefault(route_target, {})[made] = None
        return made

    def wants(self, attributes: Attributes) -> bool:
        """Whether some importer asked for one of these route targets."""
        return bool(self.imported) and not self.imported.isdisjoint(attributes.route_targets)

    def drop(self, bundle: Bundle) -> None:
        """Forget a bundle that holds no route any more."""
        source = bundle.source
        if source.bundles.get(bundle.identity) is bundle:
            del source.bundles[bundle.identity]
        source.stale.pop(bundle, None)
        bundle.end_contests()
        for route_target in bundle.attributes.route_targets:
            bundles = self.by_route_target.get(route_target)
            if bundles is not None:
                bundles.pop(bundle, None)
                if not bundles:
                    del self.by_route_target[route_target]

    def remove_bundles(self, bundles: Iterable[Bundle]) -> int:
        """Withdraw every route of these bundles; how many they were."""
        removed = 0
        for bundle in bundles:
            table = bundle.table
            gone = table.forget(bundle.source, list(bundle.routes))
            bundle.source.count[table] = bundle.source.count.get(table, 0) - gone
            removed += gone
        return removed

    def import_route_target(self, route_target: bytes) -> None:
        """Somebody imports ``route_target`` (8 octets) from now on; what is held of it counts as changed."""
        if route_target in self.imported:
            return
        self.imported.add(route_target)
        for bundle in self.by_route_target.get(route_target, ()):
            bundle.wanted = True
            bundle.table.wanted_changes.update(dict.fromkeys(bundle.routes))

    def cease_import(self, route_target: bytes) -> list[Bundle]:
        """Nobody imports ``route_target`` any more; the bundles that nobody wants now."""
        self.imported.discard(route_target)
        unwanted = []
        for bundle in self.by_route_target.get(route_target, ()):
            bundle.wanted = self.wants(bundle.attributes)
            if not bundle.wanted:
                unwanted.append(bundle)
        return unwanted

    @property
    def has_wanted_changes(self) -> bool:
        """Whether :meth:`take_wanted_changes` has something to give."""
        return bool(self.imported) and any([table.wanted_changes for table in self.tables.values()])

    def take_wanted_changes(self, families: Container[Family]) -> list[tuple[Table, dict[bytes, None]]]:
        """The keys that changed in wanted bundles of these families since the last call, table by table."""
        taken = []
        for table in self.tables.values():
            if table.wanted_changes and table.family in families:
                taken.append((table, table.wanted_changes))
                table.wanted_changes = {}
        return taken

    def routes_of(self, route_target: bytes) -> Iterator[tuple[Bundle, bytes, Entry]]:
        """Every route that carries ``route_target``: its bundle, key and entry."""
        for bundle in self.by_route_target.get(route_target, ()):
            entries = bundle.table.entries
            for key in bundle.routes:
                yield bundle, key, entries[key]


class TableObserver:
    """Told of each new table."""

    def table_made(self, table: Table) -> None:
        """``table`` exists now, still empty."""
        raise NotImplementedError
