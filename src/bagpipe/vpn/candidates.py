"""The routes that compete for one prefix in one VRF, in the order of preference, and the next hops that follow.

RFC 4364 section 4.3 (import), RFC 4271 section 9.1 (decision, by :mod:`bagpipe.rib.decision`). The routes of a prefix
may have different route distinguishers and so different keys; here they meet. Routes of which the decision says nothing
are ordered by their octets, so that the outcome never depends on the order of arrival.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address

from bagpipe.dataplane.model import Capabilities, Forward, Local, NextHop, Prefix, Remote
from bagpipe.rib.bundle import Bundle, Source
from bagpipe.rib.decision import Ranking, rank
from bagpipe.vpn.encapsulation import Reach, extended_communities, load_balance_order, reach, router_reach
from bagpipe.vpn.endpoint import LabelGroup
from bagpipe.vpn.prefix_routes import fault_of, place_of, vni_of
from bagpipe.vpn.settings import VpnSettings
from bagpipe.vpn.vrf import Vrf
from bagpipe.wire.attributes import Attributes
from bagpipe.wire.family import EVPN
from bagpipe.wire.nlri.codec import Payload


class Candidate:
    """One route for a prefix. ``hop`` None: this node cannot use it, for ``reason``. ``key`` is empty for an endpoint
    of the VRF itself, which needs no route.
    """

    __slots__ = ("attributes", "bundle", "hop", "key", "reason", "source")

    def __init__(
        self,
        attributes: Attributes,
        source: Source,
        key: bytes,
        hop: NextHop | None,
        reason: str = "",
        bundle: Bundle | None = None,
    ) -> None:
        self.attributes = attributes
        self.source = source
        self.key = key
        self.hop = hop
        self.reason = reason
        self.bundle = bundle

    @property
    def is_of_evpn(self) -> bool:
        """Whether it is an IP prefix route of EVPN."""
        return self.bundle is not None and self.bundle.table.family == EVPN


def _preferring(tied: list[Candidate], ranking: Ranking[Candidate]) -> Ranking[Candidate]:
    """The ranking with ``tied``, which are among those that may share the traffic with the best, before all others."""
    first, rest = rank(tied), rank([each for each in ranking.ordered if each not in tied])
    reasons = (*first.reasons, "VPN route before EVPN", *rest.reasons)
    return Ranking(first.ordered + rest.ordered, reasons, first.multipath)


def _to_endpoint_of(vrf: Vrf, prefix: Prefix, bundle: Bundle) -> Local | None:
    """The endpoint that a route of EVPN of a VRF of this node leads to: of several the one that is told first."""
    order = load_balance_order(extended_communities(bundle.attributes))
    hops = [
        (-each.attachment.local_pref, hop_order(hop), hop)
        for each in vrf.own.get(vrf.record(prefix), ())
        if each.group is not None
        for hop in (each.group.hop(order),)
    ]
    return min(hops, key=lambda each: each[:2])[2] if hops else None


def content(bundle: Bundle | Candidate) -> tuple[object, ...]:
    """What orders routes that the decision finds equal."""
    origin = bundle.source.origin
    return bundle.attributes.block, bundle.attributes.next_hop, origin.name, bundle.source.path_id


def _content(candidate: Candidate) -> tuple[object, ...]:
    return *content(candidate), candidate.key, hop_order(candidate.hop) if candidate.hop else ()


def hop_order(hop: NextHop) -> tuple[object, ...]:
    """The order of next hops: as the routes ask, then this node's endpoints, then by address and label."""
    if isinstance(hop, Local):
        return hop.order, 0, hop.port.name.encode(), hop.mac.packed, "", b""
    return hop.order, 1, hop.address, hop.label.to_bytes(3), hop.encapsulation.value, hop.mac


def in_order(hops: Iterable[NextHop]) -> Forward:
    """Distinct next hops in order; of those that differ in the order they ask for only, the first."""
    found: dict[object, NextHop] = {}
    for hop in sorted(hops, key=hop_order):
        found.setdefault(hop_order(hop)[1:], hop)
    return tuple(found.values())


class Resolver:
    """Finds the next hop of routes. What it found of a bundle is kept until :meth:`forget`."""

    def __init__(self, settings: VpnSettings, labels: dict[int, LabelGroup], vnis: dict[int, Vrf]) -> None:
        self._capabilities: Capabilities = settings.capabilities
        self._own_address = settings.next_hop.packed
        self._labels = labels
        self._vnis = vnis
        self._reaches: dict[Bundle, Reach] = {}

    def forget(self) -> None:
        """Drop what was kept: bundles come and go."""
        self._reaches.clear()

    def reach(self, bundle: Bundle) -> Reach:
        """How to reach the next hop of a neighbour's routes."""
        found = self._reaches.get(bundle)
        if found is None:
            find = router_reach if bundle.table.family == EVPN else reach
            found = find(bundle.attributes, self._capabilities)
            if found.address == self._own_address:
                found = Reach(
                    found.address, None, found.order, f"its next hop {ip_address(found.address)} is this node"
                )
            self._reaches[bundle] = found
        return found

    def candidate(self, vrf: Vrf, bundle: Bundle, key: bytes) -> Candidate | None:
        """A route of the RIB as a candidate; None for a route that ``vrf`` itself announces."""
        payload = bundle.routes[key]
        if not isinstance(payload, int):
            return self._prefix_candidate(vrf, bundle, key, payload)
        label = payload >> 4 & 0xFFFFF
        if bundle.source.origin.is_local:
            group = self._labels.get(label)
            if group is None:
                return Candidate(bundle.attributes, bundle.source, key, None, f"label {label} is gone", bundle)
            if group.vrf is vrf:
                return None
            order = load_balance_order(extended_communities(bundle.attributes))
            return Candidate(bundle.attributes, bundle.source, key, group.hop(order), "", bundle)
        found = self.reach(bundle)
        if found.encapsulation is None:
            return Candidate(bundle.attributes, bundle.source, key, None, found.reason, bundle)
        hop = Remote(found.address, label, found.encapsulation, found.order)
        return Candidate(bundle.attributes, bundle.source, key, hop, "", bundle)

    def _prefix_candidate(self, vrf: Vrf, bundle: Bundle, key: bytes, payload: Payload) -> Candidate | None:
        """The same for an IP prefix route of EVPN."""
        if bundle.source.origin.is_local:
            vni = vni_of(payload)
            other = self._vnis.get(vni)
            if other is vrf:
                return None
            local = _to_endpoint_of(other, place_of(key).prefix(key), bundle) if other is not None else None
            reason = "" if local is not None else f"VNI {vni} is gone"
            return Candidate(bundle.attributes, bundle.source, key, local, reason, bundle)
        found = self.reach(bundle)
        reason = found.reason or fault_of(payload)
        hop = None
        if found.encapsulation is not None and not reason:
            hop = Remote(found.address, vni_of(payload), found.encapsulation, found.order, found.mac)
        return Candidate(bundle.attributes, bundle.source, key, hop, reason, bundle)

    def is_own(self, vrf: Vrf, bundle: Bundle, key: bytes) -> bool:
        """Whether ``vrf`` itself announces a route, or somebody sends this node its own."""
        payload = bundle.routes[key]
        if bundle.source.origin.is_local:
            owner: Vrf | None
            if isinstance(payload, int):
                group = self._labels.get(payload >> 4 & 0xFFFFF)
                owner = group.vrf if group is not None else None
            else:
                owner = self._vnis.get(vni_of(payload))
            return owner is None or owner is vrf
        return self.reach(bundle).address == self._own_address

    @property
    def multipath(self) -> bool:
        """Whether a prefix may have several next hops."""
        return self._capabilities.multipath

    def ranked(self, candidates: Sequence[Candidate]) -> Ranking[Candidate] | None:
        """The usable ones, best first; None if there is none.

        Where routes of the VPN families and of EVPN equal each other up to the tie-breakers, those of EVPN are not
        used: one node is not sent to in two ways.
        """
        usable = sorted([each for each in candidates if each.hop is not None], key=_content)
        if not usable:
            return None
        ranking = rank(usable)
        tied = [each for each in ranking.multipath if not each.is_of_evpn]
        return ranking if len(tied) in (0, len(ranking.multipath)) else _preferring(tied, ranking)

    def forward(self, ranking: Ranking[Candidate]) -> Forward:
        """The next hops of the best, or of all that equal it where the dataplane can share among several."""
        if not self.multipath:
            hop = ranking.ordered[0].hop
            return (hop,) if hop is not None else ()
        return in_order([each.hop for each in ranking.multipath if each.hop is not None])

    def used(self, bundles: Iterable[Bundle]) -> tuple[Bundle, ...]:
        """The bundles of neighbours to use for a key that they claim."""
        usable = sorted([each for each in bundles if self.reach(each).encapsulation is not None], key=content)
        if not usable:
            return ()
        ranking = rank(usable)
        return ranking.multipath if self.multipath else ranking.ordered[:1]
