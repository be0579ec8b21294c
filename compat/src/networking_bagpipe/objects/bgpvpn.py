"""The versioned objects of BGP VPNs, as bagpipe has them."""

from bagpipe.neutron.objects import (
    BGPVPN,
    BGPVPNNetAssociation,
    BGPVPNPortAssociation,
    BGPVPNPortAssociationRoute,
    BGPVPNRouterAssociation,
)

__all__ = [
    "BGPVPN",
    "BGPVPNNetAssociation",
    "BGPVPNPortAssociation",
    "BGPVPNPortAssociationRoute",
    "BGPVPNRouterAssociation",
]
