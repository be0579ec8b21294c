"""What an EVI announces: RFC 7432 sections 7.2, 7.3, 7.7, 7.9 and 11.1, RFC 8365 section 5.1.3.

One route of type 3, with ingress replication, while an endpoint that takes frames is ready; one of type 2 for each
endpoint while its records are in effect and its MAC is here. All have the route distinguisher of the EVI, ESI and
Ethernet tag 0, and VXLAN as encapsulation, so that label fields are VNIs.
"""

from __future__ import annotations

from bagpipe.identifiers import RouteTarget
from bagpipe.vpn.endpoint import takes_traffic
from bagpipe.vpn.evpn.evi import Endpoint, Evi
from bagpipe.vpn.evpn.route_keys import mac_payload, mac_route, multicast_route
from bagpipe.vpn.export import Exports, LocalAttributes, Offer
from bagpipe.vpn.settings import VpnSettings


class Origination:
    """Offers the routes of endpoints and EVIs."""

    def __init__(self, exports: Exports, attributes: LocalAttributes, settings: VpnSettings) -> None:
        self._exports = exports
        self._attributes = attributes
        self._originator = settings.next_hop

    def refresh(self, endpoint: Endpoint) -> None:
        """Offer what is to be announced of an endpoint now."""
        evi, attachment = endpoint.evi, endpoint.attachment
        host = evi.hosts.get(endpoint.mac_record)
        announced = host is not None and host.is_here and endpoint in host.endpoints and host.announces(endpoint)
        if host is None or not (announced and endpoint.ready and endpoint.placed):
            self._exports.put(endpoint, {})
            return
        attributes = self._attributes.mac(
            _targets(endpoint),
            local_pref=attachment.local_pref,
            order=attachment.order,
            sequence=host.sequence,
            sticky=host.sticky,
        )
        route = mac_route(evi.rd, endpoint.key.mac.packed, endpoint.address)
        self._exports.put(endpoint, {route: Offer(mac_payload(evi.vni), attributes)})

    def refresh_flooding(self, evi: Evi) -> None:
        """Offer the route of type 3 of an EVI, or cease to: to all that hear of the EVI or one of its endpoints."""
        ready = [each for each in evi.endpoints.values() if each.ready and takes_traffic(each.attachment.direction)]
        if not ready:
            self._exports.put(evi, {})
            return
        targets = evi.export_rts.union(*(_targets(each) for each in ready))
        attributes = self._attributes.multicast(targets, evi.vni)
        self._exports.put(evi, {multicast_route(evi.rd, self._originator): Offer(b"", attributes)})


def _targets(endpoint: Endpoint) -> frozenset[RouteTarget]:
    """What the route of an endpoint carries: its own route targets, or else those of its EVI."""
    own = endpoint.attachment.export_rts
    return own if own is not None else endpoint.evi.export_rts
