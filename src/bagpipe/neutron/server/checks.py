"""What the drivers check before anything is stored.

External networks and the ports of network services (DHCP, routers, floating addresses, whatever ``network:*`` owns) get
no connectivity by BGP VPNs: an external network belongs to the provider and not to the tenant whose VPN it is, and
a router's or DHCP server's port that had a route of its own would be reached around the service that it stands for.
"""

from __future__ import annotations

from typing import Any

from neutron.db import models_v2
from neutron.db.models import external_net
from neutron_lib import constants
from neutron_lib.db import api as db_api
from sqlalchemy import select

from bagpipe.neutron.server import refusals


def network_is_internal(context: Any, network_id: str) -> None:
    """Raise :class:`refusals.BGPVPNExternalNetAssociation` if a network is external."""
    if is_external(context, network_id):
        raise refusals.BGPVPNExternalNetAssociation(net_id=network_id)


def port_may_have_connectivity(context: Any, port_id: str) -> None:
    """Raise a refusal if a port is on an external network, or is one of a network service."""
    port = models_v2.Port
    row = context.session.execute(select(port.network_id, port.device_owner).where(port.id == port_id)).one()
    if is_external(context, row.network_id):
        raise refusals.BGPVPNExternalPortAssociation(port_id=port_id, net_id=row.network_id)
    if (row.device_owner or "").startswith(constants.DEVICE_OWNER_NETWORK_PREFIX):
        raise refusals.BGPVPNOwnedPortAssociation(port_id=port_id, owner=row.device_owner)


def is_external(context: Any, network_id: str) -> bool:
    """Whether a network is external."""
    model = external_net.ExternalNetwork
    with db_api.CONTEXT_READER.using(context):
        found = context.session.scalar(select(model.network_id).where(model.network_id == network_id))
    return found is not None
