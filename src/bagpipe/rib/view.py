"""Routes as people and programs look at them: decoded only here, when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address

from bagpipe.errors import RemoteFault
from bagpipe.identifiers import RouteDistinguisher, RouteTarget
from bagpipe.rib.bundle import Bundle, Entry
from bagpipe.rib.store import Store
from bagpipe.rib.table import Table
from bagpipe.wire import as_path, pmsi, tunnel_encapsulation
from bagpipe.wire import attributes as codes
from bagpipe.wire.attributes import Attributes, walk
from bagpipe.wire.community import decode_communities, decode_large_communities
from bagpipe.wire.extended_community import decode_extended_communities
from bagpipe.wire.family import Family
from bagpipe.wire.ipv6_extended_community import decode_ipv6_extended_communities
from bagpipe.wire.nlri.vpn import VpnNlri

_ORIGINS = ("igp", "egp", "incomplete")
_CACHED_BLOCKS = 1024


@dataclass(frozen=True, slots=True)
class RouteRow:
    """One path to one route. ``attributes`` are JSON-able, ``reason`` says why it is best or what beat it.

    ``label`` is the 20-bit label of a VPN route, None for other families.
    """

    family: str
    nlri: str
    route_distinguisher: str | None
    peer: str
    next_hop: str
    route_targets: tuple[str, ...]
    label: int | None
    attributes: dict[str, object]
    best: bool
    reason: str
    stale: bool


def _dotted(value: bytes) -> list[str]:
    return [str(ip_address(value[at : at + 4])) for at in range(0, len(value), 4)]


def _texts(decode: Callable[[bytes], Iterable[object]]) -> Callable[[bytes], object]:
    return lambda value: [str(item) for item in decode(value)]


_SHOWN: dict[int, tuple[str, Callable[[bytes], object]]] = {
    codes.ORIGIN: ("origin", lambda value: _ORIGINS[value[0]]),
    codes.AS_PATH: ("as_path", as_path.text),
    codes.MULTI_EXIT_DISC: ("med", int.from_bytes),
    codes.LOCAL_PREF: ("local_pref", int.from_bytes),
    codes.ATOMIC_AGGREGATE: ("atomic_aggregate", lambda value: True),
    codes.COMMUNITIES: ("communities", _texts(decode_communities)),
    codes.ORIGINATOR_ID: ("originator_id", lambda value: _dotted(value)[0]),
    codes.CLUSTER_LIST: ("cluster_list", _dotted),
    codes.EXTENDED_COMMUNITIES: ("extended_communities", _texts(decode_extended_communities)),
    codes.PMSI_TUNNEL: ("pmsi_tunnel", lambda value: str(pmsi.decode(value))),
    codes.TUNNEL_ENCAPSULATION: ("tunnel_encapsulation", _texts(tunnel_encapsulation.decode)),
    codes.IPV6_EXTENDED_COMMUNITIES: ("ipv6_extended_communities", _texts(decode_ipv6_extended_communities)),
    codes.LARGE_COMMUNITIES: ("large_communities", _texts(decode_large_communities)),
}


def attribute_values(block: bytes) -> dict[str, object]:
    """The attributes of a block by name; what is unknown, or cannot be read further, in hexadecimal."""
    return dict(_attribute_values(block))


@lru_cache(_CACHED_BLOCKS)
def _attribute_values(block: bytes) -> dict[str, object]:
    values: dict[str, object] = {}
    for _, code, value in walk(block):
        name, show = _SHOWN.get(code, (f"attribute_{code}", bytes.hex))
        try:
            values[name] = show(value)
        except RemoteFault:
            values[name] = value.hex()
    return values


def next_hop_text(attributes: Attributes) -> str:
    """The next hop address, empty if the route has none (FlowSpec)."""
    address = attributes.next_hop_address
    return str(ip_address(address)) if address else ""


def rows(
    store: Store,
    family: Family | None = None,
    route_target: RouteTarget | None = None,
    route_distinguisher: RouteDistinguisher | None = None,
) -> Iterator[RouteRow]:
    """Every path of the routes asked for, best first. The tables may change while the caller takes his time."""
    wanted = route_distinguisher.packed if route_distinguisher is not None else None
    for table in list(store.tables.values()):
        if family is not None and table.family != family:
            continue
        for key in _keys(store, table, route_target):
            if wanted is not None and table.codec.route_distinguisher(table.shape, key) != wanted:
                continue
            entry = table.entries.get(key)
            if entry is not None:
                yield from _rows_of(table, key, entry, route_target)


def _keys(store: Store, table: Table, route_target: RouteTarget | None) -> list[bytes]:
    if route_target is None:
        return list(table.entries)
    bundles = store.by_route_target.get(route_target.packed, ())
    return list(dict.fromkeys(key for bundle in bundles if bundle.table is table for key in bundle.routes))


def _rows_of(table: Table, key: bytes, entry: Entry, route_target: RouteTarget | None) -> Iterator[RouteRow]:
    if isinstance(entry, Bundle):
        yield _row(table, key, entry, True, "only path")
        return
    for place, bundle in enumerate(entry.bundles):
        if route_target is not None and route_target.packed not in bundle.attributes.route_targets:
            continue
        reason = entry.reasons[max(0, place - 1)]
        yield _row(table, key, bundle, place == 0, reason if place == 0 else f"beaten by {reason}")


def _row(table: Table, key: bytes, bundle: Bundle, best: bool, reason: str) -> RouteRow:
    payload = bundle.routes[key]
    nlri = table.codec.decode(table.shape, key, payload)
    rd = table.codec.route_distinguisher(table.shape, key)
    attributes = bundle.attributes
    return RouteRow(
        family=str(table.family),
        nlri=str(nlri),
        route_distinguisher=str(RouteDistinguisher(rd)) if rd is not None else None,
        peer=bundle.source.origin.name,
        next_hop=next_hop_text(attributes),
        route_targets=tuple(str(RouteTarget(target)) for target in attributes.route_targets),
        label=nlri.label if isinstance(nlri, VpnNlri) else None,
        attributes=attribute_values(attributes.block),
        best=best,
        reason=reason,
        stale=bundle.is_stale,
    )
