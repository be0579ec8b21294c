"""What this node originates: offers of its endpoints and instances, and what was told of them to the speaker.

Several owners may offer the same route (one address given twice with different masks); one offer is announced, the
same whatever the order. Changes are gathered and told together, withdrawals first.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import NamedTuple

from bagpipe.dataplane.model import Address, Prefix
from bagpipe.identifiers import RouteDistinguisher, RouteTarget
from bagpipe.rib.origination import local_attributes
from bagpipe.vpn.encapsulation import own_encapsulations, own_router
from bagpipe.vpn.settings import Announcer, VpnSettings
from bagpipe.wire.attributes import DEFAULT_LOCAL_PREF, OPTIONAL, PMSI_TUNNEL, TRANSITIVE, Attributes, pack
from bagpipe.wire.extended_community import Encapsulation, LoadBalanceOrder, MacMobility
from bagpipe.wire.family import EVPN, VPNV4, VPNV6, Family
from bagpipe.wire.nlri.codec import Payload
from bagpipe.wire.pmsi import PmsiTunnel
from bagpipe.wire.tunnel_type import TunnelType

_FIXED_BITS = 24 + 64
_CACHED = 4096
_VXLAN = Encapsulation.of(TunnelType.VXLAN).packed


class RouteId(NamedTuple):
    """What identifies a route: its table and its key in it."""

    family: Family
    shape: int
    key: bytes


class Offer(NamedTuple):
    """The rest of a route."""

    payload: Payload
    attributes: Attributes

    @property
    def content(self) -> tuple[object, ...]:
        """What a neighbour would see."""
        return self.payload, self.attributes.next_hop, self.attributes.block


Routes = dict[RouteId, Offer]


def vpn_route(rd: RouteDistinguisher, prefix: Prefix) -> RouteId:
    """The VPN route to ``prefix``."""
    family = VPNV4 if prefix.version == 4 else VPNV6
    return RouteId(family, _FIXED_BITS + prefix.length, rd.packed + prefix.octets)


def label_payload(prefix: Prefix, label: int) -> int:
    """The payload of a VPN route: its length octet and its label, at the bottom of the stack."""
    return _FIXED_BITS + prefix.length << 24 | label << 4 | 1


def packed_targets(targets: Iterable[RouteTarget]) -> bytes:
    """Route targets as extended communities, in ascending order."""
    return b"".join(sorted(target.packed for target in targets))


class LocalAttributes:
    """The attributes of this node's routes, made once for each content."""

    def __init__(self, settings: VpnSettings) -> None:
        self._next_hop: Address = settings.next_hop
        self._encapsulations = own_encapsulations(settings.capabilities)
        self._router = own_router(settings.router_mac) if settings.router_mac is not None else b""
        self._made: dict[tuple[Family, int, bytes, bytes], Attributes] = {}

    def vpn(
        self,
        version: int,
        targets: Iterable[RouteTarget],
        *,
        local_pref: int = DEFAULT_LOCAL_PREF,
        order: int = 0,
        records: bytes = b"",
    ) -> Attributes:
        """Of a VPN route: encapsulations, load balance order if it is not 0, route targets, route target records."""
        communities = self._encapsulations
        if order:
            communities += LoadBalanceOrder.of(order).packed
        communities += packed_targets(targets) + records
        return self._of(VPNV4 if version == 4 else VPNV6, local_pref, communities, self._next_hop)

    def prefix(self, targets: Iterable[RouteTarget], *, local_pref: int, order: int) -> Attributes:
        """Of an IP prefix route of EVPN: as of a VPN route, but for VXLAN and the router's MAC as encapsulation."""
        communities = self._router + (LoadBalanceOrder.of(order).packed if order else b"") + packed_targets(targets)
        return self._of(EVPN, local_pref, communities, self._next_hop)

    def mac(
        self, targets: Iterable[RouteTarget], *, local_pref: int, order: int, sequence: int, sticky: bool
    ) -> Attributes:
        """Of a route of type 2 of EVPN: VXLAN, load balance order and MAC mobility if there is something to tell (RFC
        7432 section 7.7), route targets.
        """
        communities = _VXLAN + (LoadBalanceOrder.of(order).packed if order else b"")
        if sequence or sticky:
            communities += MacMobility.of(sequence, sticky=sticky).packed
        return self._of(EVPN, local_pref, communities + packed_targets(targets), self._next_hop)

    def multicast(self, targets: Iterable[RouteTarget], vni: int) -> Attributes:
        """Of a route of type 3 of EVPN: VXLAN, route targets, and ingress replication (RFC 8365 section 5.1.3)."""
        tunnel = PmsiTunnel.ingress_replication(self._next_hop, vni).packed
        more = pack(OPTIONAL | TRANSITIVE, PMSI_TUNNEL, tunnel)
        return self._of(EVPN, DEFAULT_LOCAL_PREF, _VXLAN + packed_targets(targets), self._next_hop, more)

    def flow(self, family: Family, communities: bytes) -> Attributes:
        """Of a FlowSpec route: it has no next hop (RFC 8955 section 4)."""
        return self._of(family, DEFAULT_LOCAL_PREF, communities, None)

    def _of(
        self, family: Family, local_pref: int, communities: bytes, next_hop: Address | None, more: bytes = b""
    ) -> Attributes:
        key = (family, local_pref, communities, more)
        made = self._made.get(key)
        if made is None:
            if len(self._made) >= _CACHED:
                self._made.clear()
            made = local_attributes(
                family, next_hop, local_pref=local_pref, extended_communities=communities, more=more
            )
            self._made[key] = made
        return made


class Exports:
    """Offers by owner, and what is announced of them."""

    def __init__(self, announcer: Announcer) -> None:
        self._announcer = announcer
        self._offers: dict[RouteId, dict[Hashable, Offer]] = {}
        self._by_owner: dict[Hashable, Routes] = {}
        self._dirty: dict[RouteId, None] = {}
        self.announced: Routes = {}

    def routes_of(self, owner: Hashable) -> Mapping[RouteId, Offer]:
        """What an owner offers now."""
        return self._by_owner.get(owner, {})

    def put(self, owner: Hashable, routes: Routes) -> None:
        """``owner`` offers these routes and no others."""
        for route in [route for route in self._by_owner.get(owner, ()) if route not in routes]:
            self.retract(owner, route)
        for route, offer in routes.items():
            self.offer(owner, route, offer)

    def offer(self, owner: Hashable, route: RouteId, offer: Offer) -> None:
        """``owner`` offers this route, too."""
        self._by_owner.setdefault(owner, {})[route] = offer
        self._offers.setdefault(route, {})[owner] = offer
        self._dirty[route] = None

    def retract(self, owner: Hashable, route: RouteId) -> None:
        """``owner`` does not offer this route any more; no error if it did not."""
        routes = self._by_owner.get(owner)
        if routes is None or routes.pop(route, None) is None:
            return
        if not routes:
            del self._by_owner[owner]
        offers = self._offers[route]
        del offers[owner]
        if not offers:
            del self._offers[route]
        self._dirty[route] = None

    def flush(self) -> None:
        """Tell the speaker what has changed."""
        gone: dict[tuple[Family, int], list[bytes]] = {}
        told: dict[tuple[Family, int, Attributes], list[tuple[bytes, Payload]]] = {}
        while self._dirty:
            route, _ = self._dirty.popitem()
            offers = self._offers.get(route)
            before = self.announced.get(route)
            if offers is None:
                if before is not None:
                    del self.announced[route]
                    gone.setdefault((route.family, route.shape), []).append(route.key)
                continue
            chosen = min(offers.values(), key=_preference) if len(offers) > 1 else next(iter(offers.values()))
            if before is None or before.content != chosen.content:
                self.announced[route] = chosen
                told.setdefault((route.family, route.shape, chosen.attributes), []).append((route.key, chosen.payload))
        for (family, shape), keys in gone.items():
            self._announcer.withdraw(family, shape, keys)
        for (family, shape, attributes), routes in told.items():
            keys, payloads = [key for key, _ in routes], [payload for _, payload in routes]
            self._announcer.originate(family, shape, keys, payloads, attributes)


def _preference(offer: Offer) -> tuple[int, str, bytes]:
    return -offer.attributes.local_pref, repr(offer.payload), offer.attributes.block
