"""What the drivers refuse, as answers of the API: all of them 400, and nothing is stored."""

from neutron_lib import exceptions


class BGPVPNExternalNetAssociation(exceptions.BadRequest):
    """A network association of an external network."""

    message = "Network %(net_id)s is external: it cannot be associated with a BGPVPN"


class BGPVPNExternalPortAssociation(exceptions.BadRequest):
    """A port association of a port on an external network."""

    message = "Port %(port_id)s is on network %(net_id)s, which is external: it cannot be associated with a BGPVPN"


class BGPVPNOwnedPortAssociation(exceptions.BadRequest):
    """A port association of a port of Neutron's own."""

    message = "Port %(port_id)s belongs to %(owner)s: ports of network services cannot be associated with a BGPVPN"
