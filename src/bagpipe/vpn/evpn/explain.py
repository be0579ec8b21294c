"""Why frames to a MAC go where they go, or nowhere, and what is answered for an address: for people."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bagpipe.dataplane.delta import Tracker
from bagpipe.dataplane.model import FloodKey, Forward, Key, MacKey, Neighbour, NeighbourKey
from bagpipe.identifiers import MacAddress, RouteDistinguisher
from bagpipe.vpn.evpn.claims import Claim, Verdict
from bagpipe.vpn.evpn.decisions import Decisions
from bagpipe.vpn.evpn.evi import Evi
from bagpipe.vpn.evpn.route_keys import NO_SEGMENTS, place


@dataclass(frozen=True, slots=True)
class Explained:
    """One claim to a MAC. ``route_distinguisher`` and ``peer`` are those of its route; an endpoint here has none, and
    is said by ``attached``. ``address`` is the IP address that comes along, ``segment`` the ESI. ``used`` tells that
    frames take it, ``reason`` why, or why not.
    """

    route_distinguisher: str
    peer: str
    node: str
    address: str | None
    segment: str | None
    sequence: int
    sticky: bool
    gateway: bool
    next_hops: tuple[str, ...]
    used: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Lookup:
    """What becomes of frames to ``mac`` in an instance. ``key`` is the record of the MAC (None: there is none),
    ``candidates`` all that claims it, best first, then what cannot be used. ``why`` says what happens if no record is
    there. ``asked`` is what was looked up, and ``neighbour`` the record that answers for it, if it is an address.
    """

    instance: str
    number: int
    asked: str
    mac: MacAddress | None
    key: Key | None
    next_hops: Forward
    candidates: tuple[Explained, ...]
    why: str
    neighbour: Key | None = None


def competition(evi: Evi, record: MacKey, decisions: Decisions) -> list[Explained]:
    """All claims to a MAC, best first, then those that cannot be used."""
    claims = decisions.claims(evi, record)
    verdict = decisions.verdict(evi, record)
    winner = verdict.winner
    explained = []
    for at, claim in enumerate(verdict.ordered):
        shares = winner is not None and claim.place == winner.place
        explained.append(_explained(claim, shares, _reason(verdict, at)))
    explained += [_explained(claim, False, f"not usable: {claim.reason}") for claim in claims if not claim.hops]
    decisions.reader.forget()
    return explained


def _reason(verdict: Verdict, at: int) -> str:
    ordered = verdict.ordered
    claim, winner = ordered[at], ordered[0]
    if len(ordered) == 1:
        return "only claim"
    if at == 0:
        if verdict.frozen is not None:
            return "the MAC has moved too often and is held here"
        others = [each for each in ordered if each.place != claim.place]
        return claim.beats(others[0]) if others else "all claims are to one place"
    if claim.place == winner.place:
        return "the same place as the best"
    if verdict.frozen is not None:
        return "beaten: the MAC has moved too often and is held elsewhere"
    return f"beaten: {winner.beats(claim)}"


def _explained(claim: Claim, used: bool, reason: str) -> Explained:
    bundle = claim.bundle
    return Explained(
        route_distinguisher=str(RouteDistinguisher(claim.key[1:9])) if claim.key else "",
        peer=bundle.source.origin.name if bundle is not None else "attached",
        node=place(claim.address) if len(claim.address) in (4, 16) else "",
        address=place(claim.key[21:]) if len(claim.key) > 21 else None,
        segment=claim.segment.hex(":") if claim.segment not in NO_SEGMENTS else None,
        sequence=claim.sequence,
        sticky=claim.sticky,
        gateway=claim.gateway,
        next_hops=tuple(map(str, claim.hops)),
        used=used,
        reason=reason,
    )


def look_up(evi: Evi, destination: MacAddress | bytes, decisions: Decisions, tracker: Tracker) -> Lookup:
    """What becomes of frames to a MAC, or to the MAC that an address (4 or 16 octets) belongs to."""
    neighbour, mac, asked = None, None, ""
    if isinstance(destination, MacAddress):
        mac, asked = destination, str(destination)
    else:
        asked = place(destination)
        answer = tracker.desired.get(NeighbourKey(evi.number, destination))
        if isinstance(answer, Neighbour):
            neighbour, mac = NeighbourKey(evi.number, destination), answer.mac
    if mac is None:
        why = f"nobody has announced {asked}: ARP or ND for it goes to {_flooded(evi, tracker.desired)}"
        return Lookup(evi.external_id, evi.number, asked, None, None, (), (), why)
    record = evi.mac_record(mac.packed)
    hops = tracker.desired.get(record)
    candidates = tuple(competition(evi, record, decisions))
    if isinstance(hops, tuple):
        return Lookup(evi.external_id, evi.number, asked, mac, record, hops, candidates, "", neighbour)
    why = f"every route of {mac} is unusable" if candidates else f"nobody has announced {mac}"
    why += f": frames to it are unknown unicast, which goes to {_flooded(evi, tracker.desired)} if it is flooded"
    return Lookup(evi.external_id, evi.number, asked, mac, None, (), candidates, why, neighbour)


def _flooded(evi: Evi, desired: Iterable[Key]) -> str:
    nodes = len([record for record in evi.flood_routes if record in desired])
    return f"the ports of the instance here and {nodes} other node{'' if nodes == 1 else 's'}"


def flood_list(evi: Evi, tracker: Tracker) -> list[FloodKey]:
    """The records of the nodes that frames to many go to, in order."""
    return sorted(record for record in evi.flood_routes if record in tracker.desired)
