"""Reads the objects from the database of a Neutron server, in a fixed number of queries however many there are.

A reader gives the objects that match its filters. Unless asked for ``excluded`` ones, those that give no connectivity
are left out: associations with networks that are external now, and with ports that ``network:*`` owns.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from networking_bgpvpn.neutron.db import bgpvpn_db as models
from networking_bgpvpn.neutron.services.common import utils as bgpvpn_text
from neutron.db import models_v2
from neutron.db.models import external_net, l3
from neutron_lib import constants
from neutron_lib.db import api as db_api
from neutron_lib.objects.extensions import standardattributes
from neutron_lib.utils import net as net_utils
from sqlalchemy import and_, orm, select

from bagpipe.neutron.objects import versioned

NETWORK_OWNED = constants.DEVICE_OWNER_NETWORK_PREFIX
# Who has the address that a network's machines use as their gateway, or could: not the router's leg to the outside, nor
# the interfaces that distributed and highly available routers use among themselves.
INTERFACE_OWNERS = constants.ROUTER_INTERFACE_OWNERS

_TARGETS = ("route_targets", "import_targets", "export_targets", "route_distinguishers")
_STANDARD = tuple(standardattributes.STANDARD_ATTRIBUTES)

Subnets = list[dict[str, Any]]


def wanted(column: Any, value: Any) -> Any:
    """The condition that a column has a value, or one of a list of values."""
    if isinstance(value, str) or not isinstance(value, Collection):
        return column == value
    return column.in_(list(value))


def internal(network_id: Any) -> Any:
    """The condition that a column names a network that is not external."""
    return network_id.not_in(select(external_net.ExternalNetwork.network_id))


def router_ids_on(network_id: Any) -> Any:
    """A query for the routers that have an interface on a network, or on one of a list of networks."""
    return (
        select(l3.RouterPort.router_id)
        .join(models_v2.Port, models_v2.Port.id == l3.RouterPort.port_id)
        .where(l3.RouterPort.port_type.in_(INTERFACE_OWNERS), wanted(models_v2.Port.network_id, network_id))
    )


def subnets_of(session: Any, network_ids: Iterable[str]) -> Mapping[str, Subnets]:
    """The subnets of networks by network, IPv4 first, with the MAC of whatever port has the gateway's address."""
    subnet, allocation, port = models_v2.Subnet, models_v2.IPAllocation, models_v2.Port
    rows = session.execute(
        select(subnet.network_id, subnet.ip_version, subnet.id, subnet.cidr, subnet.gateway_ip, port.mac_address)
        .outerjoin(allocation, and_(allocation.subnet_id == subnet.id, allocation.ip_address == subnet.gateway_ip))
        .outerjoin(port, port.id == allocation.port_id)
        .where(subnet.network_id.in_(list(network_ids)))
        .order_by(subnet.ip_version, subnet.id)
    )
    found: dict[str, Subnets] = defaultdict(list)
    for network_id, version, subnet_id, cidr, gateway, mac in rows:
        found[network_id].append(
            {
                "ip_version": version,
                "id": subnet_id,
                "cidr": str(cidr),
                "gateway_ip": None if gateway is None else str(gateway),
                "gateway_mac": None if mac is None else str(mac),
            }
        )
    return found


def _columns(row: Any, *names: str) -> dict[str, Any]:
    """Columns and standard attributes that have a value; a field that has none stays unset, on the wire too."""
    values = ((name, getattr(row, name)) for name in (*names, *_STANDARD))
    return {name: value for name, value in values if value is not None}


def bgpvpn_object(context: Any, row: Any) -> versioned.BGPVPN:
    """The object of a row of ``bgpvpns``."""
    targets = {name: bgpvpn_text.rtrd_str2list(getattr(row, name)) for name in _TARGETS}
    columns = _columns(row, "id", "project_id", "type", "name", "local_pref", "vni")
    made = versioned.BGPVPN(context, **columns, **targets)
    made.obj_reset_changes()
    return made


def _association(context: Any, cls: type[versioned.StoredObject], row: Any, **more: Any) -> Any:
    made = cls(
        context,
        **_columns(row, "id", "project_id", "bgpvpn_id"),
        bgpvpn=bgpvpn_object(context, row.bgpvpn),
        **more,
    )
    made.obj_reset_changes()
    return made


def bgpvpns(context: Any, **filters: Any) -> list[versioned.BGPVPN]:
    """BGP VPNs by ``id``, ``project_id`` or ``type``."""
    with db_api.CONTEXT_READER.using(context):
        conditions = [wanted(getattr(models.BGPVPN, name), value) for name, value in filters.items()]
        rows = context.session.scalars(select(models.BGPVPN).where(*conditions).order_by(models.BGPVPN.id))
        return [bgpvpn_object(context, row) for row in rows]


def net_associations(context: Any, *, excluded: bool = False, **filters: Any) -> list[versioned.BGPVPNNetAssociation]:
    """Network associations by ``id``, ``project_id``, ``bgpvpn_id`` or ``network_id``."""
    model = models.BGPVPNNetAssociation
    conditions = [wanted(getattr(model, name), value) for name, value in filters.items()]
    if not excluded:
        conditions.append(internal(model.network_id))
    with db_api.CONTEXT_READER.using(context):
        rows = _rows(context, model, conditions, orm.lazyload(model.network))
        subnets = subnets_of(context.session, {row.network_id for row in rows})
        return [
            _association(
                context,
                versioned.BGPVPNNetAssociation,
                row,
                network_id=row.network_id,
                subnets=subnets.get(row.network_id, []),
            )
            for row in rows
        ]


def router_associations(
    context: Any, *, excluded: bool = False, **filters: Any
) -> list[versioned.BGPVPNRouterAssociation]:
    """Router associations by ``id``, ``project_id``, ``bgpvpn_id``, ``router_id`` or a connected ``network_id``."""
    model = models.BGPVPNRouterAssociation
    network_id = filters.pop("network_id", None)
    conditions = [wanted(getattr(model, name), value) for name, value in filters.items()]
    if network_id is not None:
        conditions.append(model.router_id.in_(router_ids_on(network_id)))
    with db_api.CONTEXT_READER.using(context):
        rows = _rows(context, model, conditions, orm.lazyload(model.router))
        connected = connected_networks(context.session, {row.router_id for row in rows}, excluded=excluded)
        subnets = subnets_of(context.session, set().union(*connected.values()))
        return [
            _association(
                context,
                versioned.BGPVPNRouterAssociation,
                row,
                router_id=row.router_id,
                connected_networks=[
                    {"network_id": network, "subnets": subnets.get(network, [])}
                    for network in sorted(connected.get(row.router_id, ()))
                ],
            )
            for row in rows
        ]


def port_associations(
    context: Any, *, excluded: bool = False, leaking_from: str | None = None, **filters: Any
) -> list[versioned.BGPVPNPortAssociation]:
    """Port associations by ``id``, ``project_id``, ``bgpvpn_id``, ``port_id``, ``network_id`` of the port.

    Or by a BGP VPN that one of their routes leaks from.
    """
    model, route, port = models.BGPVPNPortAssociation, models.BGPVPNPortAssociationRoute, models_v2.Port
    network_id = filters.pop("network_id", None)
    conditions = [wanted(getattr(model, name), value) for name, value in filters.items()]
    if leaking_from is not None:
        conditions.append(model.id.in_(select(route.port_association_id).where(route.bgpvpn_id == leaking_from)))
    if network_id is not None:
        conditions.append(model.port_id.in_(select(port.id).where(wanted(port.network_id, network_id))))
    if not excluded:
        served = select(port.id).where(internal(port.network_id), port.device_owner.not_like(f"{NETWORK_OWNED}%"))
        conditions.append(model.port_id.in_(served))
    with db_api.CONTEXT_READER.using(context):
        rows = _rows(context, model, conditions, orm.lazyload(model.port))
        routes = _routes(context, [row.id for row in rows])
        networks = networks_of_ports(context.session, {row.port_id for row in rows})
        subnets = subnets_of(context.session, set(networks.values()))
        return [
            _association(
                context,
                versioned.BGPVPNPortAssociation,
                row,
                port_id=row.port_id,
                subnets=subnets.get(networks[row.port_id], []),
                routes=routes.get(row.id, []),
                advertise_fixed_ips=row.advertise_fixed_ips,
            )
            for row in rows
        ]


def networks_of_ports(session: Any, port_ids: Iterable[str]) -> dict[str, str]:
    """The network of each port."""
    port = models_v2.Port
    return dict(session.execute(select(port.id, port.network_id).where(port.id.in_(list(port_ids)))).all())


def _rows(context: Any, model: Any, conditions: list[Any], without: Any) -> list[Any]:
    """Associations with their BGP VPN, in one query, in the order of their identifiers."""
    query = select(model).where(*conditions).options(without, orm.joinedload(model.bgpvpn)).order_by(model.id)
    return list(context.session.scalars(query).unique())


def connected_networks(session: Any, router_ids: Collection[str], *, excluded: bool = False) -> dict[str, set[str]]:
    """The networks that each router has an interface on."""
    port = models_v2.Port
    query = (
        select(l3.RouterPort.router_id, port.network_id)
        .join(port, port.id == l3.RouterPort.port_id)
        .where(l3.RouterPort.port_type.in_(INTERFACE_OWNERS), l3.RouterPort.router_id.in_(list(router_ids)))
    )
    if not excluded:
        query = query.where(internal(port.network_id))
    found: dict[str, set[str]] = defaultdict(set)
    for router_id, network_id in session.execute(query):
        found[router_id].add(network_id)
    return found


def _routes(context: Any, association_ids: list[str]) -> dict[str, list[versioned.BGPVPNPortAssociationRoute]]:
    model = models.BGPVPNPortAssociationRoute
    query = (
        select(model)
        .where(model.port_association_id.in_(association_ids))
        .options(orm.lazyload(model.port_association), orm.joinedload(model.bgpvpn))
        .order_by(model.id)
    )
    found: dict[str, list[versioned.BGPVPNPortAssociationRoute]] = defaultdict(list)
    for row in context.session.scalars(query).unique():
        route = versioned.BGPVPNPortAssociationRoute(
            context, id=row.id, port_association_id=row.port_association_id, type=row.type
        )
        if row.local_pref is not None:
            route.local_pref = row.local_pref
        if row.prefix is not None:
            route.prefix = net_utils.AuthenticIPNetwork(row.prefix)
        if row.bgpvpn is not None:
            route.bgpvpn_id, route.bgpvpn = row.bgpvpn_id, bgpvpn_object(context, row.bgpvpn)
        route.obj_reset_changes()
        found[row.port_association_id].append(route)
    return found
