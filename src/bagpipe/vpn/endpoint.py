"""Endpoints, the labels that deliver to them, and the ports they are plugged into."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_network
from typing import TYPE_CHECKING

from bagpipe.dataplane.model import (
    Access,
    AccessKey,
    Address,
    Delivery,
    DeliveryKey,
    Direction,
    Key,
    Local,
    Port,
    Prefix,
)
from bagpipe.errors import LocalMisuse
from bagpipe.identifiers import MacAddress, RouteDistinguisher

if TYPE_CHECKING:
    from bagpipe.vpn.attachment import Attachment
    from bagpipe.vpn.vrf import Vrf


def announced_prefix(attachment: Attachment) -> Prefix:
    """What an endpoint is announced as: its address, or with ``advertise_subnet`` the network of its address.

    Raises LocalMisuse if the attachment has no address.
    """
    ip = attachment.key.ip
    if ip is None:
        raise LocalMisuse("ip_address", None, "an endpoint of an IP VPN needs an address")
    return Prefix.of(ip.network if attachment.advertise_subnet else ip_network(ip.ip))


def takes_traffic(direction: Direction) -> bool:
    """Whether traffic goes to the port: it has a label and a route."""
    return direction is not Direction.FROM_PORT


def gives_traffic(direction: Direction) -> bool:
    """Whether traffic comes from the port: it has access to the VRF."""
    return direction is not Direction.TO_PORT


class LabelGroup:
    """The endpoints of one MAC and one IP version in one VRF: they share a label."""

    __slots__ = ("endpoints", "label", "mac", "port", "version", "vrf")

    def __init__(self, vrf: Vrf, mac: MacAddress, version: int, label: int, port: Port) -> None:
        self.vrf = vrf
        self.mac = mac
        self.version = version
        self.label = label
        self.port = port
        self.endpoints: dict[Endpoint, None] = {}

    @property
    def key(self) -> DeliveryKey:
        """The record of the label."""
        return DeliveryKey(self.label)

    @property
    def delivery(self) -> Delivery:
        """What the record says."""
        return Delivery(self.vrf.number, self.port, self.mac, self.version)

    def hop(self, order: int) -> Local:
        """The endpoint as a next hop of this node."""
        return Local(self.port, self.mac, order)


class PortAccess:
    """The endpoints that let the traffic of one port into one VRF: they share a record."""

    __slots__ = ("_gateways", "endpoints", "port", "vrf")

    def __init__(self, vrf: Vrf, port: Port) -> None:
        self.vrf = vrf
        self.port = port
        self.endpoints: dict[Endpoint, tuple[Address, ...]] = {}
        self._gateways: Counter[Address] = Counter()

    def add(self, endpoint: Endpoint, gateways: tuple[Address, ...]) -> None:
        """One more endpoint, or one with other gateways than before."""
        self._gateways.subtract(self.endpoints.get(endpoint, ()))
        self._gateways.update(gateways)
        self.endpoints[endpoint] = gateways

    def remove(self, endpoint: Endpoint) -> None:
        """One endpoint less."""
        self._gateways.subtract(self.endpoints.pop(endpoint))

    @property
    def key(self) -> AccessKey:
        """The record of the port."""
        return AccessKey(self.port)

    @property
    def access(self) -> Access:
        """What the record says."""
        gateways = {gateway for gateway, number in self._gateways.items() if number}
        if self.vrf.gateway is not None:
            gateways.add(self.vrf.gateway)
        return Access(self.vrf.number, tuple(sorted(gateways, key=lambda each: (each.version, each.packed))))


class Endpoint:
    """One endpoint as it is attached now.

    ``ready`` tells that its records were in effect once since it was attached: its routes may be announced, those of
    EVPN for prefixes that are ``arriving``: what comes for them by the VNI of its VRF has been delivered to it since.
    ``group`` and ``access`` are None if its direction asks for none.
    """

    __slots__ = ("access", "arriving", "attachment", "group", "prefix", "rd", "rd_number", "ready", "vrf")

    def __init__(self, vrf: Vrf, attachment: Attachment, rd_number: int, rd: RouteDistinguisher) -> None:
        self.vrf = vrf
        self.attachment = attachment
        self.rd_number = rd_number
        self.rd = rd
        self.prefix = announced_prefix(attachment)
        self.group: LabelGroup | None = None
        self.access: PortAccess | None = None
        self.ready = False
        self.arriving: frozenset[Prefix] = frozenset()

    @property
    def version(self) -> int:
        """The IP version of its address."""
        return self.prefix.version

    @property
    def keys(self) -> tuple[Key, ...]:
        """The records that have to be in effect before all of it is announced."""
        prefixes = self.vrf.own_prefixes(self)
        return *self.own_keys, *dict.fromkeys(key for prefix in prefixes for key in self.arrival_keys(prefix))

    def arrival_keys(self, prefix: Prefix) -> tuple[Key, ...]:
        """Those of packets that come for ``prefix`` by the VNI of its VRF; none if it has no VNI."""
        key = self.vrf.arrival_key
        return () if key is None else (key, self.vrf.arrival(prefix))

    @property
    def own_keys(self) -> tuple[Key, ...]:
        """The records of its port and its label."""
        keys: list[Key] = []
        if self.access is not None:
            keys.append(self.access.key)
        if self.group is not None:
            keys.append(self.group.key)
        return tuple(keys)

    @property
    def is_announced(self) -> bool:
        """Whether its routes may be announced now."""
        return self.ready and self.group is not None

    def __str__(self) -> str:
        return f"{self.attachment.key.mac} {self.attachment.key.ip}"
