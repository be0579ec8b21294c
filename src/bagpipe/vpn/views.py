"""VPN instances as plain JSON values, for the looking glass and the v2 interface.

The names of the looking glass are those of networking-bagpipe (``vpns`` and below it). Routes are decoded only here.
"""

from __future__ import annotations

from collections.abc import Iterable

from bagpipe.dataplane.model import Classifier, Ports, Prefix
from bagpipe.identifiers import RouteTarget
from bagpipe.rib.bundle import Bundle
from bagpipe.rib.view import attribute_values, next_hop_text
from bagpipe.vpn.attachment import AttractTraffic
from bagpipe.vpn.endpoint import Endpoint
from bagpipe.vpn.explain import competition
from bagpipe.vpn.export import Offer, RouteId
from bagpipe.vpn.instances import Instances
from bagpipe.vpn.vrf import Vrf, keys_of
from bagpipe.wire.attributes import Attributes
from bagpipe.wire.family import EVPN, FLOWSPEC_VPNV4, FLOWSPEC_VPNV6, VPNV4, VPNV6, Family
from bagpipe.wire.nlri import CODECS

Plain = dict[str, object]

_FAMILY_NAMES: dict[Family, str] = {
    VPNV4: "ipv4/mpls-vpn",
    VPNV6: "ipv6/mpls-vpn",
    FLOWSPEC_VPNV4: "ipv4/flow-vpn",
    FLOWSPEC_VPNV6: "ipv6/flow-vpn",
    EVPN: "l2vpn/evpn",
}


def targets(route_targets: Iterable[RouteTarget]) -> list[str]:
    """Route targets as the looking glass writes them: ``target:64512:1``."""
    return [f"target:{target}" for target in sorted(route_targets)]


def instance(instances: Instances, vrf: Vrf) -> Plain:
    """``vpns/instances/<id>`` without its lists of routes, which have functions of their own."""
    first = next(iter(vrf.endpoints.values()), None)
    ip = first.attachment.key.ip if first is not None else None
    readvertise = vrf.readvertise
    fallback = vrf.fallback
    return {
        "name": vrf.name,
        "external_instance_id": vrf.external_id,
        "instance_type": "VRF",
        "description": vrf.description,
        "route_targets": {"import": targets(vrf.import_rts), "export": targets(vrf.export_rts)},
        "route_distinguisher": str(vrf.rd) if vrf.redirect_target is None else None,
        "gateway_ip": _gateway(vrf),
        "subnet_prefix_length": ip.network.prefixlen if ip is not None else None,
        "instance_dataplane_id": vrf.number,
        "carried_by": sorted(family.value for family in vrf.carried_by),
        "vni": vrf.vni,
        "ports": ports(instances, vrf),
        "readvertise": None
        if readvertise is None
        else {"from": targets(readvertise.from_rts), "to": targets(readvertise.to_rts)},
        "attract_traffic": _attract(vrf.attract) if vrf.attract is not None else None,
        "fallback": None
        if fallback is None
        else {
            "src_mac": str(fallback.source),
            "dst_mac": str(fallback.destination),
            "ovs_port_number": fallback.port_number,
            "vlan": fallback.vlan,
        },
        "static_routes": [str(prefix) for prefix in vrf.static_routes],
        "redirect_target": f"target:{vrf.redirect_target}" if vrf.redirect_target is not None else None,
        "steering": [
            {"classifier": classifier_values(classifier), "redirect": f"target:{target}"}
            for classifier, target in instances.steering.steered(vrf)
        ],
        "counts": {
            "endpoints": len(vrf.endpoints),
            "prefixes": len({*vrf.routes, *vrf.own}),
            "unusable_routes": sum(vrf.unusable.values()),
        },
    }


def ports(instances: Instances, vrf: Vrf) -> Plain:
    """``…/ports``: the endpoints by the name of their port."""
    found: Plain = {}
    for name in sorted(vrf.plugged):
        found[name] = {"endpoints": [endpoint(instances, each) for each in vrf.plugged[name]]}
    return found


def endpoint(instances: Instances, each: Endpoint) -> Plain:
    """One endpoint of ``…/ports``, with its state in the dataplane."""
    attachment = each.attachment
    state = instances.endpoint_state(each.vrf.external_id, attachment.key)
    is_host = each.prefix.is_host
    return {
        "label": each.group.label if each.group is not None else None,
        "mac_address": str(attachment.key.mac),
        "ip_address": str(attachment.key.ip),
        "local_pref": attachment.local_pref,
        "rd": str(each.vrf.rd if is_host else each.rd),
        "endpoint_rd": str(each.rd),
        "description": attachment.description,
        "direction": attachment.direction.value,
        "lb_consistent_hash_order": attachment.order,
        "port": str(attachment.port),
        "state": state.state,
        "reason": state.reason,
        "announced": each.is_announced,
    }


def _gateway(vrf: Vrf) -> str | None:
    """The instance's own, else that of its oldest endpoint."""
    stated = (gateway for endpoint in vrf.endpoints.values() for gateway in endpoint.attachment.gateways)
    gateway = vrf.gateway or next(stated, None)
    return None if gateway is None else str(gateway)


def _attract(attract: AttractTraffic) -> Plain:
    return {
        "redirect_rts": targets(attract.redirect_rts),
        "classifier": classifier_values(attract.classifier),
        "to_rt": targets(attract.to_rts),
        "static_destination_prefixes": [str(prefix) for prefix in attract.static_destinations],
    }


def _ports_text(ports: Ports | None) -> str | None:
    if ports is None:
        return None
    return str(ports.low) if ports.low == ports.high else f"{ports.low}:{ports.high}"


def classifier_values(classifier: Classifier) -> Plain:
    """A classifier with the names of the attach API; what matches anything is left out."""
    values = {
        "sourcePrefix": str(classifier.source) if classifier.source is not None else None,
        "destinationPrefix": str(classifier.destination) if classifier.destination is not None else None,
        "sourcePort": _ports_text(classifier.source_ports),
        "destinationPort": _ports_text(classifier.destination_ports),
        "protocol": classifier.protocol,
    }
    return {name: value for name, value in values.items() if value is not None}


def _route_values(family: Family, attributes: Attributes, source: str) -> Plain:
    return {
        "afi-safi": _FAMILY_NAMES.get(family, str(family)),
        "attributes": attribute_values(attributes.block),
        "next_hop": next_hop_text(attributes),
        "source": {"id": source},
        "route_targets": targets(RouteTarget(target) for target in attributes.route_targets),
    }


def _paths(instances: Instances, vrf: Vrf, prefix: Prefix) -> list[tuple[str, Bundle]]:
    wanted = vrf.imports | vrf.readvertise_from
    present = {*keys_of(vrf.routes.get(vrf.record(prefix))), *keys_of(vrf.sources.get(prefix))}
    found = []
    for bundle, key in instances.imports.bundles(prefix, tuple(sorted(present)), wanted):
        if bundle.source.origin.is_local and instances.imports.resolver.is_own(vrf, bundle, key):
            continue
        table = bundle.table
        found.append((str(table.codec.decode(table.shape, key, bundle.routes[key])), bundle))
    return found


def received_prefixes(vrf: Vrf) -> list[Prefix]:
    """The prefixes of all routes of others that the instance imports or readvertises, in order."""
    return sorted({*vrf.sources, *(record.prefix for record in vrf.routes)})


def received_routes(instances: Instances, vrf: Vrf, prefixes: Iterable[Prefix] | None = None) -> list[Plain]:
    """``…/received_routes``: every route of others that the instance imports or readvertises, used or not.

    ``prefixes``: those of these alone.
    """
    return [
        {text: _route_values(bundle.table.family, bundle.attributes, bundle.source.origin.name)}
        for prefix in (received_prefixes(vrf) if prefixes is None else prefixes)
        for text, bundle in _paths(instances, vrf, prefix)
    ]


def best_routes(instances: Instances, vrf: Vrf, prefixes: Iterable[Prefix] | None = None) -> Plain:
    """``…/best_routes``: by prefix, the routes that packets take; an endpoint of the instance is its own route.

    ``prefixes``: those of these alone.
    """
    found: Plain = {}
    for prefix in vrf.prefixes() if prefixes is None else prefixes:
        best: list[Plain] = []
        for candidate in instances.imports.used(vrf, prefix):
            if candidate.bundle is None:
                values: Plain = {"next_hop": str(candidate.hop), "source": {"id": vrf.name}}
                best.append({str(prefix): values})
            else:
                bundle = candidate.bundle
                table = bundle.table
                text = str(table.codec.decode(table.shape, candidate.key, bundle.routes[candidate.key]))
                best.append({text: _route_values(table.family, bundle.attributes, bundle.source.origin.name)})
        if best:
            found[str(prefix)] = best
    return found


def _announced(instances: Instances, vrf: Vrf) -> Iterable[tuple[RouteId, Offer]]:
    owners: list[object] = [vrf, *vrf.endpoints.values()]
    routes = {route for owner in owners for route in instances.exports.routes_of(owner)}
    return [(route, instances.exports.announced[route]) for route in sorted(routes)]


def adv_routes(instances: Instances, vrf: Vrf) -> list[Plain]:
    """``…/adv_routes``: what the instance announces."""
    return [
        {
            str(CODECS[route.family].decode(route.shape, route.key, offer.payload)): _route_values(
                route.family, offer.attributes, vrf.name
            )
        }
        for route, offer in _announced(instances, vrf)
    ]


def readvertised(vrf: Vrf) -> list[str]:
    """``…/readvertised``: the prefixes that are told on, or whose traffic is attracted."""
    return [str(prefix) for version in (4, 6) for prefix in sorted(vrf.readvertised[version])]


def prefix_routes(instances: Instances, vrf: Vrf, prefix: Prefix) -> Plain | None:
    """All that competes for a prefix of an instance, best first, and the reasons (v2); None if nothing does."""
    candidates = [
        {
            "route_distinguisher": each.route_distinguisher,
            "peer": each.peer,
            "next_hop": each.next_hop,
            "local_pref": each.local_pref,
            "used": each.used,
            "reason": each.reason,
        }
        for each in competition(vrf, prefix, instances.imports)
    ]
    return {"prefix": str(prefix), "candidates": candidates} if candidates else None
