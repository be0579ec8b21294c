"""EVPN instances as plain JSON values, for the looking glass and the v2 interface.

The names of the looking glass are those of networking-bagpipe (``vpns`` and below it). Routes are decoded only here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bagpipe.dataplane.model import FloodKey, MacKey, Neighbour, NeighbourKey
from bagpipe.identifiers import RouteTarget
from bagpipe.rib.view import attribute_values, next_hop_text
from bagpipe.vpn.evpn.evi import Endpoint, Evi
from bagpipe.vpn.evpn.explain import Explained, competition, flood_list
from bagpipe.vpn.evpn.route_keys import BRIDGED, fault_of, place
from bagpipe.vpn.views import targets
from bagpipe.vpn.vrf import keys_of
from bagpipe.wire.attributes import Attributes
from bagpipe.wire.family import EVPN
from bagpipe.wire.nlri import CODECS

if TYPE_CHECKING:
    from bagpipe.vpn.evpn.instances import EvpnInstances

Plain = dict[str, object]

_FAMILY = "l2vpn/evpn"


def instance(instances: EvpnInstances, evi: Evi) -> Plain:
    """``vpns/instances/<id>`` without its lists of routes, which have functions of their own."""
    first = next((each.key.ip for each in evi.endpoints.values() if each.key.ip is not None), None)
    gateway = next((str(each) for one in evi.endpoints.values() for each in one.attachment.gateways), None)
    return {
        "name": evi.name,
        "external_instance_id": evi.external_id,
        "instance_type": "EVI",
        "description": evi.description,
        "route_targets": {"import": targets(evi.import_rts), "export": targets(evi.export_rts)},
        "route_distinguisher": str(evi.rd),
        "gateway_ip": gateway,
        "subnet_prefix_length": first.network.prefixlen if first is not None else None,
        "instance_dataplane_id": evi.number,
        "vni": evi.vni,
        "linuxbr": evi.bridge,
        "gateway_port": None,
        "ports": ports(instances, evi),
        "readvertise": None,
        "attract_traffic": None,
        "fallback": None,
        "flooding": [_flooding(instances, record) for record in flood_list(evi, instances.tracker)],
        "held_macs": sorted(mac.hex(":") for mac in evi.moves.frozen),
        "counts": {
            "endpoints": len(evi.endpoints),
            "macs": len({*evi.mac_routes, *evi.hosts}),
            "neighbours": len({*evi.address_routes, *evi.addresses}),
            "unusable_routes": len(evi.unusable),
        },
    }


def _flooding(instances: EvpnInstances, record: FloodKey) -> Plain:
    hops = instances.tracker.desired[record]
    return {"node": place(record.octets), "next_hops": [str(hop) for hop in hops] if isinstance(hops, tuple) else []}


def ports(instances: EvpnInstances, evi: Evi) -> Plain:
    """``…/ports``: the endpoints by the name of their port."""
    found: Plain = {}
    for name in sorted(evi.plugged):
        found[name] = {"endpoints": [endpoint(instances, each) for each in evi.plugged[name]]}
    return found


def endpoint(instances: EvpnInstances, each: Endpoint) -> Plain:
    """One endpoint of ``…/ports``, with its state in the dataplane."""
    attachment, evi = each.attachment, each.evi
    state = instances.endpoint_state(evi.external_id, each.key)
    host = evi.hosts.get(each.mac_record)
    own_targets = attachment.export_rts
    return {
        "label": evi.vni,
        "mac_address": str(each.key.mac),
        "ip_address": str(each.key.ip) if each.key.ip is not None else None,
        "local_pref": attachment.local_pref,
        "rd": str(evi.rd),
        "description": attachment.description,
        "direction": attachment.direction.value,
        "lb_consistent_hash_order": attachment.order,
        "port": str(attachment.port),
        "route_targets": targets(own_targets) if own_targets is not None else None,
        "sequence": host.sequence if host is not None else None,
        "sticky": attachment.sticky,
        "state": state.state,
        "reason": state.reason,
        "announced": bool(instances.exports.routes_of(each)),
    }


def macs(instances: EvpnInstances, evi: Evi) -> Iterator[Plain | None]:
    """Every MAC with all that claims it, best first, and the reasons (v2); it may change while the caller takes its
    time: None for one that has gone.
    """
    for record in sorted({*evi.mac_routes, *evi.hosts}):
        yield mac(instances, evi, record)


def mac(instances: EvpnInstances, evi: Evi, record: MacKey) -> Plain | None:
    """One MAC of an instance; None if nobody claims it."""
    found = competition(evi, record, instances.decisions)
    if not found:
        return None
    hops = instances.tracker.desired.get(record)
    return {
        "mac": record.octets.hex(":"),
        "next_hops": [str(hop) for hop in hops] if isinstance(hops, tuple) else [],
        "held": record.octets in evi.moves.frozen,
        "moves": evi.moves.count(record.octets, instances.clock()),
        "candidates": [_candidate(each) for each in found],
    }


def _candidate(each: Explained) -> Plain:
    return {
        "route_distinguisher": each.route_distinguisher,
        "peer": each.peer,
        "node": each.node,
        "ip_address": each.address,
        "ethernet_segment": each.segment,
        "sequence": each.sequence,
        "sticky": each.sticky,
        "default_gateway": each.gateway,
        "next_hops": list(each.next_hops),
        "used": each.used,
        "reason": each.reason,
    }


def neighbours(instances: EvpnInstances, evi: Evi) -> Iterator[Plain]:
    """What is answered for ARP and ND, by address."""
    for record in sorted({*evi.address_routes, *evi.addresses}, key=lambda each: (len(each), each)):
        answer = instances.tracker.desired.get(NeighbourKey(evi.number, record.octets))
        if isinstance(answer, Neighbour):
            told = {"mac_address": str(answer.mac), "is_router": answer.is_router}
            yield {"ip_address": place(record.octets), **told}


def _route_values(attributes: Attributes, source: str) -> Plain:
    return {
        "afi-safi": _FAMILY,
        "attributes": attribute_values(attributes.block),
        "next_hop": next_hop_text(attributes),
        "source": {"id": source},
        "route_targets": targets(RouteTarget(target) for target in attributes.route_targets),
    }


def _imported(instances: EvpnInstances, evi: Evi) -> list[bytes]:
    """The keys of all routes of others that an instance imports, in order."""
    table = instances.store.table(EVPN, 0)
    found = {
        key
        for target in evi.imports
        for bundle in instances.store.by_route_target.get(target, ())
        if bundle.table is table and not bundle.source.origin.is_local
        for key in bundle.routes
        if key[0] in BRIDGED
    }
    return sorted(found)


def received_routes(instances: EvpnInstances, evi: Evi) -> Iterator[Plain | None]:
    """``…/received_routes``: every route of others that the instance imports, and why it cannot be used, if so."""
    table = instances.store.table(EVPN, 0)
    for key in _imported(instances, evi):
        entry = table.entries.get(key)
        for bundle in entry.bundles if entry is not None else ():
            payload = bundle.routes.get(key)
            if payload is None or bundle.source.origin.is_local:
                continue
            if evi.imports.isdisjoint(bundle.attributes.route_targets):
                continue
            told = instances.decisions.reader.told(bundle)
            values = _route_values(bundle.attributes, bundle.source.origin.name)
            reason = told.reason or fault_of(key) or (told.no_flood if key[0] == 3 else "")
            if reason:
                values["unusable"] = reason
            yield {str(table.codec.decode(0, key, payload)): values}
        instances.decisions.reader.forget()


def best_routes(instances: EvpnInstances, evi: Evi) -> Iterator[Plain | None]:
    """``…/best_routes``: by MAC (in upper case) the routes that frames take, and by node those of flooding; an endpoint
    of the instance is its own route.
    """
    for record in sorted({*evi.mac_routes, *evi.hosts}):
        found = _best_of(instances, evi, record)
        yield {record.octets.hex(":").upper(): found} if found else None
    for flood in flood_list(evi, instances.tracker):
        told = [_told(instances, evi, key) for key in keys_of(evi.flood_routes.get(flood))]
        yield {place(flood.octets): [each for each in told if each is not None]}


def _best_of(instances: EvpnInstances, evi: Evi, record: MacKey) -> list[Plain]:
    verdict = instances.decisions.verdict(evi, record)
    winner = verdict.winner
    best: list[Plain] = []
    for claim in verdict.ordered:
        if winner is None or claim.place != winner.place:
            continue
        if claim.bundle is None:
            best.append({record.octets.hex(":").upper(): {"next_hop": str(claim.hops[0]), "source": {"id": evi.name}}})
        else:
            told = _told(instances, evi, claim.key)
            best += [told] if told is not None else []
    instances.decisions.reader.forget()
    return best


def _told(instances: EvpnInstances, evi: Evi, key: bytes) -> Plain | None:
    bundle = instances.decisions.bundle(evi, key)
    if bundle is None:
        return None
    text = str(bundle.table.codec.decode(0, key, bundle.routes[key]))
    return {text: _route_values(bundle.attributes, bundle.source.origin.name)}


def adv_routes(instances: EvpnInstances, evi: Evi) -> list[Plain]:
    """``…/adv_routes``: what the instance announces."""
    owners: list[object] = [evi, *evi.endpoints.values()]
    routes = sorted({route for owner in owners for route in instances.exports.routes_of(owner)})
    announced = [(route, instances.exports.announced[route]) for route in routes]
    return [
        {str(CODECS[EVPN].decode(0, route.key, offer.payload)): _route_values(offer.attributes, evi.name)}
        for route, offer in announced
    ]
