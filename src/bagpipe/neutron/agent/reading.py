"""From Neutron's objects and port details to facts. What a server of any age or make sends is taken as it comes."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from bagpipe.neutron.agent.facts import (
    LeakRoute,
    NetworkAssociation,
    Port,
    PortAssociation,
    PrefixRoute,
    Subnet,
    Vpn,
    VpnType,
)

_TUNNELLED = frozenset({"vxlan", "gre", "geneve"})


def vpn(given: Any) -> Vpn:
    """From a ``BGPVPN`` object."""
    both = frozenset(given.route_targets or ())
    return Vpn(
        id=given.id,
        type=VpnType(given.type),
        import_rts=both | frozenset(given.import_targets or ()),
        export_rts=both | frozenset(given.export_targets or ()),
        route_distinguishers=tuple(given.route_distinguishers or ()),
        local_pref=given.local_pref,
        vni=given.vni,
        name=given.name or "",
    )


def subnets(given: Iterable[Mapping[str, Any]] | None) -> tuple[Subnet, ...]:
    """From the subnets of an association, IPv4 first, then by their networks."""
    read = [
        Subnet(
            id=str(each.get("id") or each["cidr"]),
            ip_version=int(each["ip_version"]),
            cidr=str(each["cidr"]),
            gateway_ip=None if not each.get("gateway_ip") else str(ipaddress.ip_address(each["gateway_ip"])),
            gateway_mac=None if not each.get("gateway_mac") else mac(each["gateway_mac"]),
        )
        for each in given or ()
    ]
    return _ordered(read)


def connected(given: Any) -> dict[str, tuple[Subnet, ...]]:
    """The networks of a ``BGPVPNRouterAssociation``, each with its subnets."""
    found: dict[str, tuple[Subnet, ...]] = {}
    for each in given.connected_networks or ():
        network_id = str(each["network_id"])
        known = {subnet.id: subnet for subnet in (*found.get(network_id, ()), *subnets(each.get("subnets")))}
        found[network_id] = tuple(
            sorted(known.values(), key=lambda subnet: (subnet.ip_version, subnet.cidr, subnet.id))
        )
    return found


def network_association(given: Any) -> NetworkAssociation:
    """From a ``BGPVPNNetAssociation`` or a ``BGPVPNRouterAssociation``."""
    return NetworkAssociation(given.id, vpn(given.bgpvpn))


def port_association(given: Any) -> PortAssociation:
    """From a ``BGPVPNPortAssociation``."""
    routes = list(given.routes or ())
    return PortAssociation(
        id=given.id,
        vpn=vpn(given.bgpvpn),
        port_id=given.port_id,
        advertise_fixed_ips=bool(given.advertise_fixed_ips),
        prefixes=tuple(
            sorted(
                (PrefixRoute(prefix(route.prefix), route.local_pref) for route in routes if route.type == "prefix"),
                key=lambda route: route.prefix,
            )
        ),
        leaks=tuple(
            sorted(
                (LeakRoute(vpn(route.bgpvpn), route.local_pref) for route in routes if route.type == "bgpvpn"),
                key=lambda route: route.vpn.id,
            )
        ),
    )


def port(details: Mapping[str, Any], *, vlan: int | None, ofport: int | None, active: bool = True) -> Port:
    """From the details that an L2 agent hands to its extensions."""
    network_type = details.get("network_type")
    own = mac(details["mac_address"])
    pairs = {
        (mac(pair.get("mac_address") or own), str(pair["ip_address"]))
        for pair in details.get("allowed_address_pairs") or ()
    }
    return Port(
        id=details["port_id"],
        network_id=details["network_id"],
        mac=own,
        addresses=tuple(str(ipaddress.ip_address(each["ip_address"])) for each in details.get("fixed_ips") or ()),
        pairs=tuple(sorted(pairs)),
        vlan=vlan,
        ofport=ofport,
        tunnelled=network_type in _TUNNELLED,
        segmentation_id=details.get("segmentation_id") if network_type == "vxlan" else None,
        admin_up=bool(details.get("admin_state_up", True)),
        active=active,
    )


def _ordered(given: Iterable[Subnet]) -> tuple[Subnet, ...]:
    return tuple(sorted(given, key=lambda subnet: (subnet.ip_version, subnet.cidr, subnet.id)))


def mac(given: Any) -> str:
    """A MAC as all the house writes it."""
    return str(given).lower().replace("-", ":")


def prefix(given: Any) -> str:
    """A prefix without host bits."""
    return str(ipaddress.ip_network(str(given), strict=False))
