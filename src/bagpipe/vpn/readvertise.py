"""What endpoints and VRFs announce: their own routes, routes told on, and what attracts traffic to them.

A VRF that readvertises announces the prefixes it learns with ``from_rts`` again (networking-bagpipe): the same prefix,
its endpoints' own route distinguishers, labels and next hop, ``to_rts``, and a record of every route target the route
had. A route whose record names a target that it would get is not told on, or two such nodes would feed each other for
ever. A VRF that attracts traffic tells a default route and flow specifications that redirect to it (RFC 8955 section
7.4): for its static destinations, and, in place of the prefixes themselves, for what it would have readvertised.

An endpoint carries the routes of its own IP version only: its label says which (RFC 4364 section 4.3.2 leaves it open).
Own routes are told by the families that carry the VRF; what is told on and what attracts are VPN routes. IP prefix
routes of EVPN have the VRF's route distinguisher and VNI, whichever endpoint they are of.
"""

from __future__ import annotations

from dataclasses import replace

from bagpipe.dataplane.model import Prefix
from bagpipe.identifiers import RouteTarget
from bagpipe.rib.decision import rank
from bagpipe.vpn.attachment import AttractTraffic, CarriedBy
from bagpipe.vpn.candidates import content
from bagpipe.vpn.encapsulation import extended_communities
from bagpipe.vpn.endpoint import Endpoint
from bagpipe.vpn.export import (
    Exports,
    LocalAttributes,
    Offer,
    RouteId,
    Routes,
    label_payload,
    packed_targets,
    vpn_route,
)
from bagpipe.vpn.imports import Imports
from bagpipe.vpn.prefix_routes import prefix_payload, prefix_route
from bagpipe.vpn.steering import flow_route
from bagpipe.vpn.vrf import Vrf
from bagpipe.wire.attributes import Attributes
from bagpipe.wire.extended_community import RedirectToRouteTarget, RouteTargetRecord

DEFAULT_ROUTES = {4: Prefix(4, 0, b""), 6: Prefix(6, 0, b"")}
_RECORD = 0x13
_KNOWN_TYPES = 2


def _records(targets: frozenset[bytes] | tuple[bytes, ...]) -> list[bytes]:
    return [RouteTargetRecord.of(RouteTarget(target)).packed for target in targets]


class Origination:
    """Keeps the offers of endpoints and VRFs as they should be."""

    def __init__(self, exports: Exports, attributes: LocalAttributes, imports: Imports) -> None:
        self._exports = exports
        self._attributes = attributes
        self._imports = imports

    def own_attributes(self, endpoint: Endpoint) -> Attributes:
        """The attributes of an endpoint's own route."""
        return self._through(endpoint, endpoint.vrf.export_rts)

    def _through(self, endpoint: Endpoint, targets: frozenset[RouteTarget], records: bytes = b"") -> Attributes:
        attachment = endpoint.attachment
        return self._attributes.vpn(
            endpoint.version, targets, local_pref=attachment.local_pref, order=attachment.order, records=records
        )

    def refresh(self, endpoint: Endpoint) -> None:
        """Offer exactly what an endpoint should have announced now."""
        self._exports.put(endpoint, self._routes(endpoint) if endpoint.is_announced else {})
        if endpoint.vrf.attract is not None:
            self._exports.put(endpoint.vrf, self._flows(endpoint.vrf, endpoint.vrf.attract))

    def restate(self, vrf: Vrf) -> None:
        """What the VRF readvertises, attracts or routes statically is another: offer all of it anew."""
        for version in (4, 6):
            vrf.readvertised[version] = {}
        for prefix in vrf.sources:
            records = self._best_records(vrf, prefix)
            if records is not None:
                vrf.readvertised[prefix.version][prefix] = records
        if vrf.attract is None:
            self._exports.put(vrf, {})
        for endpoint in vrf.endpoints.values():
            self.refresh(endpoint)

    def _routes(self, endpoint: Endpoint) -> Routes:
        vrf = endpoint.vrf
        routes = self._prefix_routes(endpoint)
        if CarriedBy.VPN not in vrf.carried_by:
            return routes
        if vrf.attract is None:
            for prefix, records in vrf.readvertised[endpoint.version].items():
                route, offer = self._readvertised(endpoint, prefix, records)
                routes[route] = offer
        else:
            default = DEFAULT_ROUTES[endpoint.version]
            targets, records = self._attracting(vrf, vrf.attract, endpoint.version)
            if targets:
                attributes = self._through(endpoint, targets, records)
                routes[vpn_route(endpoint.rd, default)] = _offer(endpoint, default, attributes)
        own = self.own_attributes(endpoint)
        for prefix in vrf.own_prefixes(endpoint):
            rd = vrf.rd if prefix == endpoint.prefix and prefix.is_host else endpoint.rd
            routes[vpn_route(rd, prefix)] = _offer(endpoint, prefix, own)
        return routes

    def _prefix_routes(self, endpoint: Endpoint) -> Routes:
        """Its routes of EVPN."""
        vrf, attachment = endpoint.vrf, endpoint.attachment
        if vrf.vni is None:
            return {}
        attributes = self._attributes.prefix(vrf.export_rts, local_pref=attachment.local_pref, order=attachment.order)
        return {
            prefix_route(vrf.rd, prefix): Offer(prefix_payload(prefix, vrf.vni), attributes)
            for prefix in vrf.own_prefixes(endpoint)
            if prefix in endpoint.arriving
        }

    # ------------------------------------------------------------ attracted traffic

    def _attracting(self, vrf: Vrf, attract: AttractTraffic, version: int) -> tuple[frozenset[RouteTarget], bytes]:
        """The route targets and records of the default route, none if there is to be no such route."""
        targets: frozenset[RouteTarget] = frozenset()
        records: bytes = b""
        if any(prefix.version == version for prefix in attract.static_destinations):
            targets = attract.to_rts
        if vrf.readvertise is not None and vrf.readvertised[version]:
            targets |= vrf.readvertise.to_rts
            records = b"".join(sorted(_records(vrf.readvertise_from)))
        return targets, records

    def _flows(self, vrf: Vrf, attract: AttractTraffic) -> Routes:
        versions = {endpoint.version for endpoint in vrf.endpoints.values() if endpoint.is_announced}
        routes: Routes = {}
        if vrf.readvertise is not None:
            for version in versions:
                for prefix in vrf.readvertised[version]:
                    self._add_flow(routes, vrf, attract, prefix, vrf.readvertise.to_rts)
        for prefix in attract.static_destinations:
            if prefix.version in versions:
                self._add_flow(routes, vrf, attract, prefix, attract.to_rts)
        return routes

    def _add_flow(
        self, routes: Routes, vrf: Vrf, attract: AttractTraffic, prefix: Prefix, redirect: frozenset[RouteTarget]
    ) -> None:
        if not redirect:
            return
        classifier = replace(attract.classifier, version=prefix.version, destination=prefix)
        route = flow_route(vrf.rd, classifier)
        communities = RedirectToRouteTarget.of(min(redirect)).packed + packed_targets(attract.redirect_rts)
        routes[route] = Offer(b"", self._attributes.flow(route.family, communities))

    # ------------------------------------------------------------ routes told on

    def _readvertised(self, endpoint: Endpoint, prefix: Prefix, records: bytes) -> tuple[RouteId, Offer]:
        readvertise = endpoint.vrf.readvertise
        targets = readvertise.to_rts if readvertise is not None else frozenset()
        attributes = self._attributes.vpn(prefix.version, targets, records=records)
        return vpn_route(endpoint.rd, prefix), _offer(endpoint, prefix, attributes)

    def source_changed(self, vrf: Vrf, prefix: Prefix) -> None:
        """The routes to a prefix that a VRF readvertises have changed."""
        present = vrf.readvertised[prefix.version]
        records = self._best_records(vrf, prefix)
        if records == present.get(prefix):
            return
        was_empty = not present
        if records is None:
            del present[prefix]
        else:
            present[prefix] = records
        endpoints = [each for each in vrf.endpoints.values() if each.is_announced and each.version == prefix.version]
        if vrf.attract is not None:
            if was_empty or not present:
                for endpoint in endpoints:
                    self.refresh(endpoint)
            else:
                self._flow_changed(vrf, vrf.attract, prefix, bool(endpoints) and records is not None)
            return
        for endpoint in endpoints:
            if prefix in vrf.own_prefixes(endpoint):
                self.refresh(endpoint)
            elif records is None:
                self._exports.retract(endpoint, vpn_route(endpoint.rd, prefix))
            else:
                self._exports.offer(endpoint, *self._readvertised(endpoint, prefix, records))

    def _flow_changed(self, vrf: Vrf, attract: AttractTraffic, prefix: Prefix, is_told: bool) -> None:
        if vrf.readvertise is None or prefix in attract.static_destinations:
            return
        routes: Routes = {}
        self._add_flow(routes, vrf, attract, prefix, vrf.readvertise.to_rts)
        for route, offer in routes.items():
            if is_told:
                self._exports.offer(vrf, route, offer)
            else:
                self._exports.retract(vrf, route)

    def _best_records(self, vrf: Vrf, prefix: Prefix) -> bytes | None:
        """The records to tell a prefix on with: the best route's targets and records; None if none may be told on."""
        readvertise = vrf.readvertise
        if readvertise is None:
            return None
        barred = set(readvertise.to_rts)
        if vrf.attract is not None:
            barred |= vrf.attract.redirect_rts
        no_loop = set(_records(tuple(target.packed for target in barred)))
        found = []
        for bundle, key in self._imports.bundles(prefix, vrf.sources.get(prefix), vrf.readvertise_from):
            if self._imports.resolver.is_own(vrf, bundle, key):
                continue
            communities = extended_communities(bundle.attributes)
            records = {each for each in communities if each[1] == _RECORD and each[0] <= _KNOWN_TYPES}
            if records.isdisjoint(no_loop):
                found.append((bundle, key, records))
        if not found:
            return None
        found.sort(key=lambda each: (*content(each[0]), each[1]))
        best = rank([bundle for bundle, _, _ in found]).ordered[0]
        records = next(records for bundle, _, records in found if bundle is best)
        return b"".join(sorted(records | set(_records(best.attributes.route_targets))))


def _offer(endpoint: Endpoint, prefix: Prefix, attributes: Attributes) -> Offer:
    assert endpoint.group is not None
    return Offer(label_payload(prefix, endpoint.group.label), attributes)
