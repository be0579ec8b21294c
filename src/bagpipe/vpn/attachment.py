"""An attachment: one endpoint at one port in one VPN instance, as an agent states it.

Values only, checked by whoever makes them (the HTTP interface). What depends on other attachments is checked by
:class:`bagpipe.vpn.instances.Instances`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface

from bagpipe.dataplane.model import Address, Classifier, Direction, Port, Prefix
from bagpipe.dataplane.model import Fallback as FallbackRecord
from bagpipe.identifiers import MacAddress, RouteDistinguisher, RouteTarget

DEFAULT_LOCAL_PREF = 100


class Unsaid(enum.Enum):
    """The value of what an attachment does not speak of: it stays as it is."""

    UNSAID = "unsaid"


UNSAID = Unsaid.UNSAID


class InstanceType(enum.Enum):
    """``vpn_type`` of the API."""

    IPVPN = "ipvpn"
    EVPN = "evpn"


class CarriedBy(enum.Enum):
    """By which routes an IP VPN instance is announced."""

    VPN = "vpn"
    """VPN-IPv4 and VPN-IPv6 (RFC 4364, RFC 4659)."""
    EVPN = "evpn"
    """IP prefix routes of EVPN (RFC 9136)."""


@dataclass(frozen=True, slots=True)
class Readvertise:
    """Routes with one of the targets ``from_rts`` are announced again with ``to_rts``, through this node."""

    from_rts: frozenset[RouteTarget]
    to_rts: frozenset[RouteTarget]


@dataclass(frozen=True, slots=True)
class AttractTraffic:
    """Traffic that ``classifier`` picks in the VPNs that import ``redirect_rts`` is drawn here (RFC 8955 section 7).

    ``to_rts`` and ``static_destinations``: one default route to ``to_rts``, and one FlowSpec route for each static
    destination, which takes the place of the classifier's. Without them, each readvertised prefix is the destination.
    """

    redirect_rts: frozenset[RouteTarget]
    classifier: Classifier
    to_rts: frozenset[RouteTarget] = frozenset()
    static_destinations: tuple[Prefix, ...] = ()


@dataclass(frozen=True, slots=True)
class InstanceSpec:
    """The VPN instance an attachment belongs to.

    All of it holds for the whole instance and is that of the latest attachment which speaks of it; None or none: there
    is to be none. Only ``route_distinguisher`` counts when the instance is created; None: this node chooses one. Of
    EVPN instances, and of IP VPN instances that are carried by EVPN: ``vni`` (1 to 2**24 - 1; None: this node chooses
    one). Of EVPN instances: ``bridge``, the Linux bridge that the caller has made for it (None: the dataplane makes
    one). Of IP VPN instances: ``carried_by``, at least one (None: what the node is configured to).
    """

    external_id: str
    type: InstanceType
    import_rts: frozenset[RouteTarget]
    export_rts: frozenset[RouteTarget]
    gateway: Address | Unsaid | None = UNSAID
    description: str | Unsaid | None = UNSAID
    fallback: FallbackRecord | Unsaid | None = UNSAID
    readvertise: Readvertise | Unsaid | None = UNSAID
    attract: AttractTraffic | Unsaid | None = UNSAID
    static_routes: tuple[Prefix, ...] | Unsaid = UNSAID
    route_distinguisher: RouteDistinguisher | None = None
    vni: int | Unsaid | None = UNSAID
    bridge: str | Unsaid | None = UNSAID
    carried_by: frozenset[CarriedBy] | Unsaid | None = UNSAID


@dataclass(frozen=True, slots=True)
class EndpointKey:
    """What identifies an endpoint within its instance: MAC, and address with prefix length (None: the MAC alone)."""

    mac: MacAddress
    ip: IPv4Interface | IPv6Interface | None


@dataclass(frozen=True, slots=True)
class Attachment:
    """One endpoint at one port in one VPN instance.

    ``advertise_subnet``: announce the network of ``key.ip`` and not only the address. ``order`` is the load balance
    order (lb_consistent_hash_order). ``description`` is any JSON value, for people. ``gateways`` are answered for at
    this port in addition to the instance's own. Of EVPN instances: with ``sticky`` the MAC never moves (RFC 7432
    section 15.2), and ``export_rts`` (None: those of the instance) are what the endpoint is announced with.
    ``owner`` and ``name`` are who stated it and under which name (v2).
    """

    instance: InstanceSpec
    key: EndpointKey
    port: Port
    direction: Direction = Direction.BOTH
    advertise_subnet: bool = False
    local_pref: int = DEFAULT_LOCAL_PREF
    order: int = 0
    description: object = None
    gateways: tuple[Address, ...] = ()
    sticky: bool = False
    export_rts: frozenset[RouteTarget] | None = None
    owner: str = ""
    name: str = ""
    extra: dict[str, object] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Reserved:
    """Identifiers given to an attachment before a restart, to be given again: numbers of the instance (0: none known),
    of the route distinguishers (type 1, the part after the colon) and of the label. Of an endpoint of an EVPN instance,
    which has no route distinguisher of its own: the VNI, if this node has chosen it (0: it has not), as the label, and
    the sequence number of its MAC mobility. ``vni`` is that of an IP VPN instance, if this node has chosen it (0:
    it has not).
    """

    instance: int
    instance_rd: int
    endpoint_rd: int
    label: int
    sequence: int = 0
    vni: int = 0
