"""``advertise_extra_routes`` of a router association, said so that agents of any age understand it.

A router's extra route ``destination via nexthop`` leads to the machine that has the address ``nexthop`` on a network
that the router is connected to. To announce it is what a port association of that machine's port with a ``prefix``
route asks for, so that is what agents are told: one port association for each router association and next-hop port,
which does not exist in the API, whose identifiers follow from those of the router association and the port.

A next hop that is no fixed IP of a port, or of a port that ``network:*`` owns, leads nowhere that an agent could
announce; such a route is left out.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

from networking_bgpvpn.neutron.db import bgpvpn_db as models
from neutron.db import models_v2
from neutron.db.models import l3
from neutron_lib.api.definitions import bgpvpn_routes_control as routes_api
from neutron_lib.db import api as db_api
from neutron_lib.utils import net as net_utils
from sqlalchemy import and_, literal, orm, select, union_all

from bagpipe.neutron.objects import stored, versioned


class ExtraRoute(NamedTuple):
    """A static route of a router: ``192.0.2.0/24`` via ``10.0.0.5``."""

    destination: str
    nexthop: str


def port_associations(
    context: Any, *, routes: Iterable[ExtraRoute] | None = None, whatever_was_asked: bool = False, **filters: Any
) -> list[versioned.BGPVPNPortAssociation]:
    """What the extra routes of routers with router associations ask of ports.

    Filters: ``router_id``, ``bgpvpn_id``, ``project_id`` and ``id`` of the router association, ``port_id`` of the next
    hop. ``routes`` takes the place of what the database has as routes of the routers; ``whatever_was_asked`` takes
    associations that do not advertise extra routes as well.
    """
    association, port = models.BGPVPNRouterAssociation, models_v2.Port
    interface, its_port = l3.RouterPort, orm.aliased(models_v2.Port)
    address = models_v2.IPAllocation
    destination, nexthop, same_router = _routes(routes)

    port_id = filters.pop("port_id", None)
    conditions = [stored.wanted(getattr(association, name), value) for name, value in filters.items()]
    conditions += [
        interface.port_type.in_(stored.INTERFACE_OWNERS),
        stored.internal(port.network_id),
        port.device_owner.not_like(f"{stored.NETWORK_OWNED}%"),
    ]
    if port_id is not None:
        conditions.append(stored.wanted(port.id, port_id))
    if not whatever_was_asked:
        conditions.append(association.advertise_extra_routes.is_(True))

    query = (
        select(association, port.id, port.network_id, destination)
        .join(interface, interface.router_id == association.router_id)
        .join(its_port, its_port.id == interface.port_id)
        .join(nexthop.table, same_router(association.router_id))
        .join(address, and_(address.network_id == its_port.network_id, address.ip_address == nexthop))
        .join(port, port.id == address.port_id)
        .where(*conditions)
        .options(orm.lazyload(association.router), orm.joinedload(association.bgpvpn))
        .order_by(association.id, port.id)
    )
    with db_api.CONTEXT_READER.using(context):
        found: dict[tuple[Any, str, str], set[str]] = defaultdict(set)
        for row, found_port, network_id, prefix in context.session.execute(query).unique():
            found[row, found_port, network_id].add(str(prefix))
        subnets = stored.subnets_of(context.session, {network_id for _, _, network_id in found})
        return [
            _port_association(context, row, found_port, subnets.get(network_id, []), prefixes)
            for (row, found_port, network_id), prefixes in found.items()
        ]


def _routes(routes: Iterable[ExtraRoute] | None) -> tuple[Any, Any, Any]:
    """Columns of destination and next hop, and the condition that joins them to a router."""
    if routes is None:
        table = l3.RouterRoute.__table__
        return table.c.destination, table.c.nexthop, lambda router_id: table.c.router_id == router_id
    rows = [select(literal(d).label("destination"), literal(n).label("nexthop")) for d, n in routes]
    none = select(literal("").label("destination"), literal("").label("nexthop")).where(literal(1) == literal(0))
    given = union_all(*rows, none).subquery("given")
    return given.c.destination, given.c.nexthop, lambda _: literal(1) == literal(1)


def _port_association(
    context: Any, row: Any, port_id: str, subnets: stored.Subnets, prefixes: Iterable[str]
) -> versioned.BGPVPNPortAssociation:
    name = uuid.uuid5(uuid.UUID(row.id), port_id)
    bgpvpn = stored.bgpvpn_object(context, row.bgpvpn)
    routes = [
        versioned.BGPVPNPortAssociationRoute(
            context,
            id=str(uuid.uuid5(name, prefix)),
            port_association_id=str(name),
            type=routes_api.PREFIX_TYPE,
            prefix=net_utils.AuthenticIPNetwork(prefix),
        )
        for prefix in sorted(prefixes)
    ]
    for route in routes:
        route.obj_reset_changes()
    made = versioned.BGPVPNPortAssociation(
        context,
        id=str(name),
        project_id=row.project_id,
        bgpvpn_id=row.bgpvpn_id,
        bgpvpn=bgpvpn,
        port_id=port_id,
        subnets=subnets,
        routes=routes,
        advertise_fixed_ips=False,
        revision_number=row.revision_number,
    )
    made.obj_reset_changes()
    return made
