"""What follows for one record of an EVI from all that competes for it: a MAC, an address, a node to flood to.

RFC 7432 sections 9.2.2 (MAC routes), 10 (ARP and ND), 11.2 (flooding) and 15 (mobility). For many new records of one
neighbour there is a shorter way (:mod:`bagpipe.vpn.evpn.imports`), with the same outcome.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from bagpipe.dataplane.delta import Tracker
from bagpipe.dataplane.model import Encapsulation, FloodKey, MacKey, Neighbour, NeighbourKey, Remote
from bagpipe.identifiers import MacAddress
from bagpipe.rib.bundle import Bundle
from bagpipe.rib.table import Table
from bagpipe.vpn.evpn import segments
from bagpipe.vpn.evpn.claims import Claim, Place, Verdict, settle
from bagpipe.vpn.evpn.evi import Endpoint, Evi, Host, Segment
from bagpipe.vpn.evpn.route_keys import ESI, FIELD, MAC_OCTETS, NO_SEGMENTS, SEGMENT, fault_of
from bagpipe.vpn.evpn.told import Reader
from bagpipe.vpn.settings import VpnSettings
from bagpipe.vpn.vrf import keys_of

NO_VNI = "its VNI is 0"


class Decisions:
    """Sets the records of MACs, addresses and flooding.

    ``on_move`` is told of a MAC attached here that another has a better claim to from now on, before its record
    changes, and after it has changed of one that is here again. ``outbids`` is asked before such a MAC is given up:
    whether it has a higher sequence number now, in view of these claims.
    """

    def __init__(self, table: Table, tracker: Tracker, reader: Reader, settings: VpnSettings) -> None:
        self._table = table
        self._tracker = tracker
        self._multipath = settings.capabilities.multipath
        self.reader = reader
        self.on_move: Callable[[Evi, Host, Place], None] = _nobody
        self.outbids: Callable[[Evi, Host, list[Claim]], bool] = _never

    # ------------------------------------------------------------ routes of the RIB

    def bundle(self, evi: Evi, key: bytes) -> Bundle | None:
        """The best of the paths of a key that an EVI imports: of those it can use, if there are such."""
        entry = self._table.entries.get(key)
        if entry is None:
            return None
        best = None
        for bundle in entry.bundles:
            if bundle.source.origin.is_local or evi.imports.isdisjoint(bundle.attributes.route_targets):
                continue
            if not self.reader.told(bundle).reason:
                return bundle
            best = best or bundle
        return best

    def claim(self, evi: Evi, key: bytes) -> Claim | None:
        """The claim that a route of type 2 makes; its hops are those of the route alone."""
        bundle = self.bundle(evi, key)
        if bundle is None:
            return None
        told = self.reader.told(bundle)
        payload = bundle.routes[key]
        assert isinstance(payload, bytes)
        field = int.from_bytes(payload[FIELD])
        reason = told.reason or fault_of(key) or ("" if field else NO_VNI)
        return Claim(
            key=key,
            bundle=bundle,
            address=told.address,
            segment=payload[ESI],
            sequence=told.sequence,
            gateway=told.gateway,
            sticky=told.sticky,
            hops=() if reason else (told.remote(field, evi.vni),),
            reason=reason,
        )

    # ------------------------------------------------------------ MAC addresses

    def claims(self, evi: Evi, record: MacKey) -> list[Claim]:
        """All claims to a MAC, usable or not."""
        found = [claim for key in keys_of(evi.mac_routes.get(record)) if (claim := self.claim(evi, key)) is not None]
        if any(claim.segment not in NO_SEGMENTS for claim in found):
            found = self._on_segments(evi, found)
        host = evi.hosts.get(record)
        if host is not None:
            found.append(self._own_claim(host))
        return found

    def _own_claim(self, host: Host) -> Claim:
        """That of a MAC which is attached here."""
        address, segment = self.reader.own_address, NO_SEGMENTS[0]
        return Claim(b"", None, address, segment, host.sequence, False, host.sticky, (host.hop,))

    def _on_segments(self, evi: Evi, claims: list[Claim]) -> list[Claim]:
        """The claims with the next hops that their segments have."""
        advertisers: dict[bytes, dict[bytes, Remote]] = {}
        for claim in sorted(claims, key=lambda each: each.order, reverse=True):
            for hop in claim.hops:
                assert isinstance(hop, Remote)
                advertisers.setdefault(claim.segment, {})[claim.address] = hop
        found = []
        for claim in claims:
            if claim.segment in NO_SEGMENTS or not claim.hops:
                found.append(claim)
                continue
            attached = self.attached(evi, claim.segment)
            hops = segments.hops(attached, advertisers[claim.segment], multipath=self._multipath)
            reason = "" if hops else segments.fault(attached)
            found.append(replace(claim, hops=hops, reason=reason))
        return found

    def attached(self, evi: Evi, segment: bytes) -> segments.Attached:
        """Who is attached to a segment, as far as this EVI is told."""
        found = segments.Attached()
        known = evi.segments.get(segment, Segment())
        for key in keys_of(known.whole):
            bundle = self.bundle(evi, key)
            if bundle is not None and not self.reader.told(bundle).reason:
                found.present.add(self.reader.told(bundle).address)
                found.single = found.single or self.reader.told(bundle).single
        for key in sorted(keys_of(known.within), reverse=True):
            bundle = self.bundle(evi, key)
            if bundle is None or self.reader.told(bundle).reason:
                continue
            payload = bundle.routes[key]
            assert isinstance(payload, bytes)
            if any(payload):
                told = self.reader.told(bundle)
                found.aliases[told.address] = told.remote(int.from_bytes(payload), evi.vni)
        return found

    def verdict(self, evi: Evi, record: MacKey) -> Verdict:
        """Who has a MAC."""
        return settle(self.claims(evi, record), evi.moves.place(record.octets))

    def decide(self, evi: Evi, record: MacKey) -> None:
        """Set the record of a MAC."""
        host = evi.hosts.get(record)
        if host is None and record not in evi.mac_routes:
            if evi.on_segments:
                evi.set_segments(record, frozenset())
            self._tracker.remove(record)
            return
        claims = self.claims(evi, record)
        named = frozenset(claim.segment for claim in claims if claim.bundle and claim.segment not in NO_SEGMENTS)
        if named or evi.on_segments:
            evi.set_segments(record, named)
        verdict = settle(claims, evi.moves.place(record.octets))
        winner = verdict.winner
        if winner is None:
            self._tracker.remove(record)
            return
        if host is not None and host.is_early and not winner.is_own and self.outbids(evi, host, claims):
            self.decide(evi, record)
            return
        moves = host is not None and host.is_here != winner.is_own
        if host is not None and moves and not winner.is_own:
            host.is_here = False
            self.on_move(evi, host, winner.place)
        self._tracker.set(record, verdict.hops)
        if host is not None and moves and winner.is_own:
            host.is_here = True
            self.on_move(evi, host, winner.place)

    # ------------------------------------------------------------ addresses

    def neighbours(self, evi: Evi, record: NeighbourKey) -> list[tuple[Claim, Neighbour]]:
        """Who claims an address, best first, and what is answered for it."""
        found: list[tuple[Claim, Neighbour]] = []
        for key in keys_of(evi.address_routes.get(record)):
            claim = self.claim(evi, key)
            if claim is not None and claim.hops and claim.bundle is not None:
                router = self.reader.told(claim.bundle).router
                found.append((claim, Neighbour(MacAddress(key[MAC_OCTETS]), router)))
        for endpoint in evi.addresses.get(record, ()):
            found.append((self._own_claim(evi.hosts[endpoint.mac_record]), Neighbour(endpoint.key.mac, is_here=True)))
        return sorted(found, key=lambda each: (*each[0].order, each[1].mac))

    def decide_neighbour(self, evi: Evi, record: NeighbourKey) -> None:
        """Set the record of an address."""
        found = self.neighbours(evi, record)
        if found:
            self._tracker.set(record, found[0][1])
        else:
            self._tracker.remove(record)

    def answers(self, endpoint: Endpoint) -> bool:
        """Whether what is answered for the address of an endpoint is its MAC."""
        record = endpoint.neighbour_record
        answer = self._tracker.desired.get(record) if record is not None else None
        return isinstance(answer, Neighbour) and answer.mac == endpoint.key.mac

    # ------------------------------------------------------------ flooding

    def decide_flood(self, evi: Evi, record: FloodKey) -> None:
        """Set the record of a node that frames to many go to."""
        found = []
        for key in keys_of(evi.flood_routes.get(record)):
            bundle = self.bundle(evi, key)
            told = self.reader.told(bundle) if bundle is not None else None
            if told is not None and told.flood is not None and told.flood[0] == record.octets and told.flood[1]:
                vni = told.vni(told.flood[1], evi.vni)
                found.append(Remote(record.octets, vni, Encapsulation.VXLAN))
        if found:
            self._tracker.set(record, (min(found),))
        else:
            self._tracker.remove(record)

    def decide_segment(self, evi: Evi, segment: bytes) -> None:
        """Set the records of all MACs on a segment: who is attached to it has changed."""
        for record in list(evi.by_segment.get(segment, ())):
            self.decide(evi, record)


def segment_of(key: bytes) -> bytes:
    """The ESI of a route of type 1."""
    return key[SEGMENT]


def _nobody(evi: Evi, host: Host, place: Place) -> None:
    """Nobody listens."""


def _never(evi: Evi, host: Host, found: list[Claim]) -> bool:
    return False
