"""The routes that compete for one prefix in one VRF, in the order of preference, and the next hops that follow.

RFC 4364 section 4.3 (import), RFC 4271 section 9.1 (decision, by :mod:`bagpipe.rib.decision`). The routes of a prefix
may have different route distinguishers and so different keys; here they meet. Routes of which the decision says nothing
are ordered by their octets, so that the outcome never depends on the order of arrival.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address

from bagpipe.dataplane.model import Capabilities, Forward, Local, NextHop, Remote
from bagpipe.rib.bundle import Bundle, Source
from bagpipe.rib.decision import Ranking, rank
from bagpipe.vpn.encapsulation import Reach, extended_communities, load_balance_order, reach
from bagpipe.vpn.endpoint import LabelGroup
from bagpipe.vpn.settings import VpnSettings
from bagpipe.vpn.vrf import Vrf
from bagpipe.wire.attributes import Attributes


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


def content(bundle: Bundle | Candidate) -> tuple[object, ...]:
    """What orders routes that the decision finds equal."""
    origin = bundle.source.origin
    return bundle.attributes.block, bundle.attributes.next_hop, origin.name, bundle.source.path_id


def _content(candidate: Candidate) -> tuple[object, ...]:
    return *content(candidate), candidate.key, hop_order(candidate.hop) if candidate.hop else ()


def hop_order(hop: NextHop) -> tuple[object, ...]:
    """The order of next hops: as the routes ask, then this node's endpoints, then by address and label."""
    if isinstance(hop, Local):
        return hop.order, 0, hop.port.name.encode(), hop.mac.packed, ""
    return hop.order, 1, hop.address, hop.label.to_bytes(3), hop.encapsulation.value


def in_order(hops: Iterable[NextHop]) -> Forward:
    """Distinct next hops in order; of those that differ in the order they ask for only, the first."""
    found: dict[object, NextHop] = {}
    for hop in sorted(hops, key=hop_order):
        found.setdefault(hop_order(hop)[1:], hop)
    return tuple(found.values())


class Resolver:
    """Finds the next hop of routes. What it found of a bundle is kept until :meth:`forget`."""

    def __init__(self, settings: VpnSettings, labels: dict[int, LabelGroup]) -> None:
        self._capabilities: Capabilities = settings.capabilities
        self._own_address = settings.next_hop.packed
        self._labels = labels
        self._reaches: dict[Bundle, Reach] = {}

    def forget(self) -> None:
        """Drop what was kept: bundles come and go."""
        self._reaches.clear()

    def reach(self, bundle: Bundle) -> Reach:
        """How to reach the next hop of a neighbour's routes."""
        found = self._reaches.get(bundle)
        if found is None:
            found = reach(bundle.attributes, self._capabilities)
            if found.address == self._own_address:
                found = Reach(
                    found.address, None, found.order, f"its next hop {ip_address(found.address)} is this node"
                )
            self._reaches[bundle] = found
        return found

    def candidate(self, vrf: Vrf, bundle: Bundle, key: bytes) -> Candidate | None:
        """A route of the RIB as a candidate; None for a route that ``vrf`` itself announces."""
        payload = bundle.routes[key]
        assert isinstance(payload, int)
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

    def is_own(self, vrf: Vrf, bundle: Bundle, key: bytes) -> bool:
        """Whether ``vrf`` itself announces a route, or somebody sends this node its own."""
        payload = bundle.routes[key]
        if bundle.source.origin.is_local and isinstance(payload, int):
            group = self._labels.get(payload >> 4 & 0xFFFFF)
            return group is None or group.vrf is vrf
        return self.reach(bundle).address == self._own_address

    @property
    def multipath(self) -> bool:
        """Whether a prefix may have several next hops."""
        return self._capabilities.multipath

    def ranked(self, candidates: Sequence[Candidate]) -> Ranking[Candidate] | None:
        """The usable ones, best first; None if there is none."""
        usable = sorted([each for each in candidates if each.hop is not None], key=_content)
        return rank(usable) if usable else None

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
