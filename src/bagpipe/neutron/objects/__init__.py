"""What a server tells agents about BGP VPNs: five versioned objects, the same on the wire as networking-bagpipe's.

The names, versions and fields are those of networking-bagpipe since Queens (8.0.0), so servers and agents of both
understand each other. Importing this package makes them RPC resources of Neutron: a server answers pulls for them and
pushes them, an agent reports that it knows them. No database is needed for that; an agent does not even need
networking-bgpvpn. What reads the database is imported when :meth:`get_objects` is first called.

networking-bagpipe registers objects of the same names, so a process can load one of the two only.
"""

from neutron.api.rpc.callbacks import resources
from neutron.objects import base

if "BGPVPN" in base.NeutronObjectRegistry.obj_classes():
    raise ImportError("the objects of networking-bagpipe are loaded already: a process can have those or bagpipe's")

from bagpipe.neutron.objects.versioned import (
    BGPVPN,
    BGPVPNNetAssociation,
    BGPVPNPortAssociation,
    BGPVPNPortAssociationRoute,
    BGPVPNRouterAssociation,
)

# What agents subscribe to and pull; a route travels inside its port association only.
RESOURCES = (BGPVPN, BGPVPNNetAssociation, BGPVPNRouterAssociation, BGPVPNPortAssociation)

for _resource in RESOURCES:
    resources.register_resource_class(_resource)

__all__ = [
    "BGPVPN",
    "RESOURCES",
    "BGPVPNNetAssociation",
    "BGPVPNPortAssociation",
    "BGPVPNPortAssociationRoute",
    "BGPVPNRouterAssociation",
]
