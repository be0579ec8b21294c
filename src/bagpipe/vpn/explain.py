"""Why packets to an address go where they go, or nowhere: for people and for ``bagpipe explain``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bagpipe.dataplane.delta import Tracker
from bagpipe.dataplane.model import (
    ARRIVING,
    Access,
    AccessKey,
    Address,
    Delivery,
    Forward,
    ForwardKey,
    Key,
    Local,
    Prefix,
    SourceKey,
    Value,
)
from bagpipe.identifiers import RouteDistinguisher
from bagpipe.rib.view import next_hop_text
from bagpipe.vpn.candidates import Candidate
from bagpipe.vpn.imports import Imports
from bagpipe.vpn.steering import Steering, redirect_name
from bagpipe.vpn.vrf import Vrf


@dataclass(frozen=True, slots=True)
class Explained:
    """One route that competes. ``route_distinguisher`` is empty for an endpoint of the VRF itself, ``next_hop`` None
    for a route that cannot be used. ``used`` tells that packets take it, ``reason`` why, or why not.
    """

    prefix: str
    route_distinguisher: str
    peer: str
    next_hop: str | None
    local_pref: int
    used: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Lookup:
    """What becomes of packets to ``destination`` in an instance.

    ``prefix`` is the longest prefix that has a next hop (None: there is none), ``key`` its record, ``candidates`` all
    that compete for it, best first, and after them those of longer prefixes that nobody can use. ``why`` says what
    happens if there is no prefix. ``steering`` are the flow specifications that some of the packets meet before.
    """

    instance: str
    number: int
    destination: Address
    prefix: Prefix | None
    key: Key | None
    next_hops: Forward
    candidates: tuple[Explained, ...]
    why: str
    steering: tuple[str, ...] = ()


def competition(vrf: Vrf, prefix: Prefix, imports: Imports) -> list[Explained]:
    """All that competes for a prefix, best first."""
    candidates = imports.candidates(vrf, prefix)
    ranking = imports.resolver.ranked(candidates)
    explained = []
    if ranking is not None:
        used = ranking.multipath if imports.resolver.multipath else ranking.ordered[:1]
        for place, candidate in enumerate(ranking.ordered):
            if len(ranking.ordered) == 1:
                reason = "only path"
            elif place == 0:
                reason = ranking.reasons[0]
            elif candidate in used:
                reason = "shares the traffic with the best"
            else:
                reason = f"beaten by {ranking.reasons[place - 1]}"
            explained.append(_explained(prefix, candidate, candidate in used, reason))
    explained += [_explained(prefix, each, False, each.reason) for each in candidates if each.hop is None]
    imports.resolver.forget()
    return explained


def _explained(prefix: Prefix, candidate: Candidate, used: bool, reason: str) -> Explained:
    rd = _route_distinguisher(candidate)
    hop = str(candidate.hop) if candidate.hop is not None else None
    if hop is None and not candidate.source.origin.is_local:
        reason = f"{next_hop_text(candidate.attributes)} is not usable: {reason}"
    origin = candidate.source.origin.name if candidate.key else "attached"
    return Explained(str(prefix), rd, origin, hop, candidate.attributes.local_pref, used, reason)


def _route_distinguisher(candidate: Candidate) -> str:
    if candidate.bundle is None:
        return ""
    table = candidate.bundle.table
    octets = table.codec.route_distinguisher(table.shape, candidate.key)
    return str(RouteDistinguisher(octets)) if octets is not None else ""


def steered(vrf: Vrf, destination: Address, steering: Steering) -> tuple[str, ...]:
    """The flow specifications of a VRF that packets to ``destination`` may meet, and where they are looked up then."""
    return tuple(
        f"{classifier} are looked up in {redirect_name(target)}"
        for classifier, target in sorted(steering.steered(vrf), key=lambda each: str(each[0]))
        if classifier.version == destination.version
        and (classifier.destination is None or destination in classifier.destination.network)
    )


def look_up(vrf: Vrf, destination: Address, imports: Imports, steering: Steering, tracker: Tracker) -> Lookup:
    """The longest match for ``destination`` in a VRF and how it came to be."""
    elsewhere = steered(vrf, destination, steering)
    octets = destination.packed
    bits = int.from_bytes(octets)
    width = 8 * len(octets)
    passed_over: list[Explained] = []
    for length in range(width, -1, -1):
        masked = (bits >> (width - length) << (width - length)).to_bytes(len(octets))
        prefix = Prefix(destination.version, length, masked[: (length + 7) >> 3])
        key = vrf.record(prefix)
        hops = tracker.desired.get(key)
        if isinstance(hops, tuple):
            candidates = (*competition(vrf, prefix, imports), *passed_over)
            return Lookup(vrf.external_id, vrf.number, destination, prefix, key, hops, candidates, "", elsewhere)
        if key in vrf.unusable:
            passed_over += competition(vrf, prefix, imports)
    why = f"every route that covers {destination} is unusable" if passed_over else f"no route covers {destination}"
    fallback: Key | None = None
    if vrf.fallback_key in tracker.desired:
        fallback = vrf.fallback_key
        why += ": it leaves by the fallback"
    return Lookup(vrf.external_id, vrf.number, destination, None, fallback, (), tuple(passed_over), why, elsewhere)


def passed(found: Lookup, desired: Mapping[Key, Value]) -> dict[Key, Value]:
    """The records that packets meet on this node: those of the VRF's ports, the route, and where an endpoint is here
    those that let in and deliver what other nodes send to it.
    """
    routes = {found.key}
    if isinstance(found.key, ForwardKey):
        routes.add(ForwardKey(found.number | ARRIVING, found.key.prefix))
    here = {(hop.port, hop.mac, found.destination.version) for hop in found.next_hops if isinstance(hop, Local)}
    records: dict[Key, Value] = {}
    for key, value in desired.items():
        if isinstance(value, Access):
            is_met = isinstance(key, AccessKey) and value.instance == found.number
        elif isinstance(value, Delivery):
            is_met = (value.port, value.mac, value.version) in here or (
                bool(here) and value.port is None and value.instance == found.number | ARRIVING
            )
        else:
            is_met = key in routes or (bool(here) and isinstance(key, SourceKey))
        if is_met:
            records[key] = value
    return records
