"""What agents older than Queens are told, read from the database.

They know one IPv4 address of a port, one gateway of a network, and BGP VPNs that a network is associated with, or that
routers on it are associated with, if it is associated with none itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from networking_bgpvpn.neutron.db import bgpvpn_db as models
from neutron.db import models_v2
from neutron.db.models import l3
from neutron_lib.db import api as db_api
from sqlalchemy import select

from bagpipe.neutron.objects import stored, versioned

Message = dict[str, Any]


def targets(bgpvpns: Iterable[versioned.BGPVPN]) -> Message:
    """The route targets of BGP VPNs by kind: ``{"l3vpn": {"import_rt": [...], "export_rt": [...]}}``."""
    found: dict[str, tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    for bgpvpn in bgpvpns:
        imported, exported = found[f"{bgpvpn.type}vpn"]
        imported.update(bgpvpn.route_targets, bgpvpn.import_targets)
        exported.update(bgpvpn.route_targets, bgpvpn.export_targets)
    return {
        kind: {"import_rt": sorted(imported), "export_rt": sorted(exported)}
        for kind, (imported, exported) in found.items()
    }


def bgpvpn_on_network(context: Any, bgpvpn: versioned.BGPVPN, network_id: str) -> Message:
    """A BGP VPN as a network has it."""
    return {
        "id": bgpvpn.id,
        "network_id": network_id,
        "gateway_mac": gateway_mac(context, network_id),
        **targets([bgpvpn]),
    }


def port(context: Any, current: Mapping[str, Any]) -> Message | None:
    """A port with its first IPv4 address, or None if it has none. ``current`` is the port as the API shows it."""
    network_id = current["network_id"]
    addresses = [fixed for fixed in current["fixed_ips"] if ":" not in fixed["ip_address"]]
    if not addresses:
        return None
    address, subnet = addresses[0], models_v2.Subnet
    with db_api.CONTEXT_READER.using(context):
        cidr, gateway_ip = context.session.execute(
            select(subnet.cidr, subnet.gateway_ip).where(subnet.id == address["subnet_id"])
        ).one()
    return {
        "id": current["id"],
        "network_id": network_id,
        "mac_address": current["mac_address"],
        "ip_address": f"{address['ip_address']}/{str(cidr).partition('/')[2]}",
        "gateway_ip": gateway_ip,
        "gateway_mac": gateway_mac(context, network_id),
        **targets(bgpvpns_of_network(context, network_id)),
    }


def gateway_mac(context: Any, network_id: str) -> str | None:
    """The MAC of the router interface on a network: of several, the one that has the gateway's IPv4 address."""
    router_port, interface = models_v2.Port, l3.RouterPort
    with db_api.CONTEXT_READER.using(context):
        macs = set(
            context.session.scalars(
                select(router_port.mac_address)
                .join(interface, interface.port_id == router_port.id)
                .where(router_port.network_id == network_id, interface.port_type.in_(stored.INTERFACE_OWNERS))
            )
        )
        subnets = stored.subnets_of(context.session, [network_id]).get(network_id, [])
    at_gateway = [subnet["gateway_mac"] for subnet in subnets if subnet["gateway_mac"] in macs]
    return next(iter([*at_gateway, *sorted(macs)]), None)


def bgpvpns_of_network(context: Any, network_id: str) -> list[versioned.BGPVPN]:
    """The BGP VPNs that a network is associated with, or else those of the routers on it."""
    by_network = models.BGPVPNNetAssociation
    by_router = models.BGPVPNRouterAssociation
    with db_api.CONTEXT_READER.using(context):
        direct = context.session.scalars(select(by_network.bgpvpn_id).where(by_network.network_id == network_id)).all()
        through_routers = context.session.scalars(
            select(by_router.bgpvpn_id).where(by_router.router_id.in_(stored.router_ids_on(network_id)))
        ).all()
    found = direct or through_routers
    return stored.bgpvpns(context, id=list(found)) if found else []


def networks_of_routers(context: Any, router_ids: Collection[str]) -> list[str]:
    """The networks that routers have interfaces on."""
    with db_api.CONTEXT_READER.using(context):
        found = stored.connected_networks(context.session, router_ids, excluded=True)
    return sorted(set().union(*found.values()))


def served_networks(context: Any, network_ids: Collection[str]) -> list[str]:
    """Those of some networks that are internal and have a port which is administratively up."""
    port = models_v2.Port
    with db_api.CONTEXT_READER.using(context):
        return sorted(
            set(
                context.session.scalars(
                    select(port.network_id).where(
                        port.network_id.in_(list(network_ids)),
                        port.admin_state_up.is_(True),
                        stored.internal(port.network_id),
                    )
                )
            )
        )
