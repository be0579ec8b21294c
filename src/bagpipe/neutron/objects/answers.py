"""What a pull of each resource is answered with.

An agent asks what a network or a port is in; external networks, and ports that ``network:*`` owns, are in nothing.
Asked by other filters, an association is shown whatever it is with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bagpipe.neutron.objects import extra_routes, stored, versioned


def net_associations(context: Any, **filters: Any) -> list[versioned.BGPVPNNetAssociation]:
    """Network associations."""
    return stored.net_associations(context, excluded="network_id" not in filters, **filters)


def router_associations(context: Any, **filters: Any) -> list[versioned.BGPVPNRouterAssociation]:
    """Router associations; those of a network if the network is internal."""
    found = stored.router_associations(context, **filters)
    if "network_id" not in filters:
        return found
    network_id = filters["network_id"]
    asked = {network_id} if isinstance(network_id, str) else set(network_id)
    return [one for one in found if asked & {network["network_id"] for network in one.connected_networks}]


def port_associations(context: Any, **filters: Any) -> list[versioned.BGPVPNPortAssociation]:
    """Port associations; those of a port with what its being the next hop of extra routes amounts to."""
    if "port_id" not in filters:
        return stored.port_associations(context, excluded=True, **filters)
    return [*stored.port_associations(context, **filters), *extra_routes.port_associations(context, **filters)]


READERS: Mapping[str, Callable[..., list[Any]]] = {
    "BGPVPN": stored.bgpvpns,
    "BGPVPNNetAssociation": net_associations,
    "BGPVPNRouterAssociation": router_associations,
    "BGPVPNPortAssociation": port_associations,
}
