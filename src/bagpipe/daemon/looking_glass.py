"""The looking glass of networking-bagpipe: one tree of plain values, walked by path.

A part of the tree that is a callable is a resource of its own: its parent shows an absolute ``href`` in its place.
Of the VPN instances a reflector has the empty frame.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bagpipe import __version__
from bagpipe.daemon.pieces import Pieces
from bagpipe.daemon.views import Seen, peer_view, route_counts
from bagpipe.speaker import Peer, RouteRow
from bagpipe.wire.family import CARRIED, EVPN, FLOWSPEC_VPNV4, FLOWSPEC_VPNV6, RTC, VPNV4, VPNV6, Family

if TYPE_CHECKING:
    from bagpipe.daemon.forwarding import Forwarding

FAMILY_NAMES: dict[Family, str] = {
    VPNV4: "ipv4/mpls-vpn",
    VPNV6: "ipv6/mpls-vpn",
    EVPN: "l2vpn/evpn",
    RTC: "ipv4/rtc",
    FLOWSPEC_VPNV4: "ipv4/flow-vpn",
    FLOWSPEC_VPNV6: "ipv6/flow-vpn",
}


@dataclass(frozen=True, slots=True)
class Listing:
    """A list of things with an ``id`` each, and the resource behind each id."""

    entries: dict[str, dict[str, object]]
    resource: Callable[[str], object]


@dataclass(frozen=True, slots=True)
class RouteListing:
    """Routes by family, too many for one turn of the loop; ``local`` is only what this node originates."""

    local: bool = False


def look(seen: Seen, parts: list[str], href: Callable[[list[str]], str]) -> object:
    """The value at a path, its sub-resources as links. Raises LookupError when there is nothing."""
    node: Any = _root(seen)
    for part in parts:
        if isinstance(node, Listing):
            if part not in node.entries:
                raise LookupError(part)
            node = node.resource(part)
        elif isinstance(node, dict):
            node = node[part]
        else:
            raise LookupError(part)
        if callable(node):
            node = node()
    return node if isinstance(node, RouteListing | Pieces) else _shown(node, parts, href)


def _shown(node: object, parts: list[str], href: Callable[[list[str]], str]) -> object:
    if isinstance(node, Listing):
        return [{"id": name, **entry, "href": href([*parts, name])} for name, entry in node.entries.items()]
    if isinstance(node, dict):
        return {
            key: {"href": href([*parts, key])} if callable(value) else _shown(value, [*parts, key], href)
            for key, value in node.items()
        }
    return node


def _root(seen: Seen) -> dict[str, object]:
    return {
        "summary": _summary(seen),
        "config": lambda: seen.configuration,
        "bgp": lambda: _bgp(seen),
        "vpns": lambda: _vpns(seen.forwarding),
        "logs": lambda: list(seen.records.records),
    }


def _vpns(forwarding: Forwarding | None) -> dict[str, object]:
    if forwarding is None:
        return {"instances": [], "dataplane": {}, "instances_per_vni": {}}
    from bagpipe.daemon import vpn_glass  # noqa: PLC0415 - a reflector has no VPN instances

    return {
        "instances": Listing(vpn_glass.entries(forwarding), lambda name: vpn_glass.resource(forwarding, name)),
        "dataplane": lambda: vpn_glass.dataplane(forwarding),
        "instances_per_vni": vpn_glass.instances_per_vni(forwarding),
    }


def _numbers(seen: Seen) -> dict[str, object]:
    counts = seen.speaker.counts()
    return {"local_routes_count": counts.local, "received_routes_count": sum(counts.paths.values()) - counts.local}


def _summary(seen: Seen) -> dict[str, object]:
    return {
        "BGP_established_peers": seen.speaker.counts().established,
        "route_counts": _numbers(seen),
        "vpn_instances_count": 0 if seen.forwarding is None else len(seen.forwarding.vpns.all()),
        "warnings_and_errors": seen.records.count,
        "start_time": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seen.started)),
        "version": __version__,
    }


def _bgp(seen: Seen) -> dict[str, object]:
    peers = seen.speaker.peers
    return {
        "peers": Listing(
            {name: {"state": peer.neighbor.state.name.capitalize()} for name, peer in peers.items()},
            lambda name: _peer(seen, peers[name]),
        ),
        "routes": RouteListing,
        "workers": Listing(
            {name: {} for name in (*(f"BGP-{name}" for name in peers), *_workers(seen.forwarding))},
            lambda worker: {"name": worker, "internals": _internals()},
        ),
        "route_counts": _numbers(seen),
        "adv_routes": lambda: RouteListing(local=True),
    }


def _workers(forwarding: Forwarding | None) -> list[str]:
    return [] if forwarding is None else [each.name for each in forwarding.vpns.all()]


def _internals() -> dict[str, object]:
    return {"event queue length": 0, "subscriptions": []}


def _peer(seen: Seen, peer: Peer) -> dict[str, object]:
    view = peer_view(peer, seen.now)
    session = peer.settings.session
    negotiated = peer.negotiated
    carried = [family for family in CARRIED if negotiated is not None and family in negotiated.families]
    link = seen.edge.links.get(peer.name)
    source = link.reach.source if link is not None else None
    since = peer.neighbor.counters.up_since
    changed = None if since is None else time.time() - (seen.now - since)
    return {
        "name": f"BGP-{peer.name}",
        "peeringAddresses": {"peerAddress": peer.settings.address, "localAddress": str(source) if source else None},
        "as_info": {"local": session.local_as, "peer": view["peer_as"]},
        "rtc": {"active": RTC in carried, "enabled": RTC in session.families},
        "active_families": [FAMILY_NAMES[family] for family in carried],
        "protocol": {
            "state": peer.neighbor.state.name.capitalize(),
            "previous_state": None,
            "hold_time": view["hold_time"],
            "last_transition_time": changed and time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(changed)),
            "last_down": view["last_down"],
        },
        "internals": _internals(),
        "received_routes_count": route_counts(peer),
        "logs": [record for record in seen.records.records if f"{peer.name}:" in record["message"]],
    }


def family_key(family: Family) -> str:
    """The key of a family in ``bgp/routes``."""
    return f"{FAMILY_NAMES[family]},*"


def route_entry(row: RouteRow, family: Family, href: Callable[[list[str]], str]) -> dict[str, object]:
    """A route as the looking glass has it: the NLRI's text, and what belongs to it."""
    source: dict[str, object] = {"id": f"BGP-{row.peer}"}
    if row.peer != "local":
        source["href"] = href(["bgp", "peers", row.peer])
    return {
        row.nlri: {
            "afi-safi": FAMILY_NAMES[family],
            "attributes": row.attributes,
            "next_hop": row.next_hop,
            "source": source,
            "route_targets": list(row.route_targets),
        }
    }


def wanted_rows(seen: Seen, family: Family, listing: RouteListing) -> Iterator[RouteRow | None]:
    """The routes of one family; None for one that is passed over."""
    for row in seen.speaker.routes(family):
        yield row if row.peer == "local" or not listing.local else None
