"""EVPN routes as values: RFC 7432 sections 7.1 to 7.4, RFC 9136 section 3.1.

A label field is 24 bits as on the wire: an MPLS label in its upper 20, or a VNI (RFC 8365 section 5.1.3). Types 6 to 8
(RFC 9251) and unknown ones have no fields here but their octets.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from bagpipe.errors import LocalMisuse
from bagpipe.identifiers import EthernetSegmentIdentifier, MacAddress, RouteDistinguisher

ETHERNET_AUTO_DISCOVERY = 1
MAC_IP = 2
INCLUSIVE_MULTICAST = 3
ETHERNET_SEGMENT = 4
IP_PREFIX = 5

_MAXIMUM_VALUE = 255
_NAMES = {6: "selective-multicast", 7: "membership-report-synch", 8: "leave-synch"}

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class EthernetAutoDiscovery:
    """Type 1, per Ethernet segment or per EVI (RFC 7432 section 7.1)."""

    route_distinguisher: RouteDistinguisher
    ethernet_segment: EthernetSegmentIdentifier
    ethernet_tag: int
    label_field: int

    @classmethod
    def of(cls, key: bytes, payload: bytes) -> EthernetAutoDiscovery:
        """The value of a key and payload."""
        segment = EthernetSegmentIdentifier(key[9:19])
        return cls(RouteDistinguisher(key[1:9]), segment, int.from_bytes(key[19:23]), int.from_bytes(payload))

    @property
    def key(self) -> bytes:
        """The type octet and what identifies the route."""
        return b"\x01" + self.route_distinguisher.packed + self.ethernet_segment.packed + self.ethernet_tag.to_bytes(4)

    @property
    def payload(self) -> bytes:
        """The label field."""
        return self.label_field.to_bytes(3)

    def __str__(self) -> str:
        return (
            f"ethernet-ad {self.route_distinguisher} esi {self.ethernet_segment} tag {self.ethernet_tag}"
            f" label field {self.label_field}"
        )


@dataclass(frozen=True, slots=True)
class MacIpAdvertisement:
    """Type 2 (RFC 7432 section 7.2): ``label_fields`` are one, or two with that of the IP VRF (RFC 9135)."""

    route_distinguisher: RouteDistinguisher
    ethernet_segment: EthernetSegmentIdentifier
    ethernet_tag: int
    mac: MacAddress
    ip: Address | None
    label_fields: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.label_fields) not in (1, 2):
            raise LocalMisuse("label_fields", self.label_fields, "expected one or two")

    @classmethod
    def of(cls, key: bytes, payload: bytes) -> MacIpAdvertisement:
        """The value of a key and payload."""
        return cls(
            RouteDistinguisher(key[1:9]),
            EthernetSegmentIdentifier(payload[:10]),
            int.from_bytes(key[9:13]),
            MacAddress(key[14:20]),
            ip_address(key[21:]) if key[20] else None,
            tuple(int.from_bytes(payload[at : at + 3]) for at in range(10, len(payload), 3)),
        )

    @property
    def key(self) -> bytes:
        """The type octet and what identifies the route."""
        address = self.ip.packed if self.ip else b""
        return b"".join(
            (
                b"\x02",
                self.route_distinguisher.packed,
                self.ethernet_tag.to_bytes(4),
                b"\x30",
                self.mac.packed,
                bytes((8 * len(address),)),
                address,
            )
        )

    @property
    def payload(self) -> bytes:
        """The ESI and the label fields."""
        return self.ethernet_segment.packed + b"".join(field.to_bytes(3) for field in self.label_fields)

    def __str__(self) -> str:
        address = f" ip {self.ip}" if self.ip else ""
        segment = "" if self.ethernet_segment.is_single_homed else f" esi {self.ethernet_segment}"
        fields = ",".join(str(field) for field in self.label_fields)
        return (
            f"mac-ip {self.route_distinguisher} tag {self.ethernet_tag} mac {self.mac}{address}{segment}"
            f" label field {fields}"
        )


@dataclass(frozen=True, slots=True)
class InclusiveMulticast:
    """Type 3 (RFC 7432 section 7.3)."""

    route_distinguisher: RouteDistinguisher
    ethernet_tag: int
    originator: Address

    @classmethod
    def of(cls, key: bytes, payload: bytes) -> InclusiveMulticast:
        """The value of a key; the payload is empty."""
        del payload
        return cls(RouteDistinguisher(key[1:9]), int.from_bytes(key[9:13]), ip_address(key[14:]))

    @property
    def key(self) -> bytes:
        """The type octet and the whole value."""
        address = self.originator.packed
        tag = self.ethernet_tag.to_bytes(4)
        return b"\x03" + self.route_distinguisher.packed + tag + bytes((8 * len(address),)) + address

    @property
    def payload(self) -> bytes:
        """Nothing."""
        return b""

    def __str__(self) -> str:
        return f"multicast {self.route_distinguisher} tag {self.ethernet_tag} originator {self.originator}"


@dataclass(frozen=True, slots=True)
class EthernetSegment:
    """Type 4 (RFC 7432 section 7.4)."""

    route_distinguisher: RouteDistinguisher
    ethernet_segment: EthernetSegmentIdentifier
    originator: Address

    @classmethod
    def of(cls, key: bytes, payload: bytes) -> EthernetSegment:
        """The value of a key; the payload is empty."""
        del payload
        return cls(RouteDistinguisher(key[1:9]), EthernetSegmentIdentifier(key[9:19]), ip_address(key[20:]))

    @property
    def key(self) -> bytes:
        """The type octet and the whole value."""
        address = self.originator.packed
        segment = self.ethernet_segment.packed
        return b"\x04" + self.route_distinguisher.packed + segment + bytes((8 * len(address),)) + address

    @property
    def payload(self) -> bytes:
        """Nothing."""
        return b""

    def __str__(self) -> str:
        return f"ethernet-segment {self.route_distinguisher} esi {self.ethernet_segment} originator {self.originator}"


@dataclass(frozen=True, slots=True)
class IpPrefix:
    """Type 5 (RFC 9136 section 3.1): ``gateway`` is of the prefix's version, its unspecified address for none."""

    route_distinguisher: RouteDistinguisher
    ethernet_segment: EthernetSegmentIdentifier
    ethernet_tag: int
    prefix: IPv4Network | IPv6Network
    gateway: Address
    label_field: int

    def __post_init__(self) -> None:
        if self.gateway.version != self.prefix.version:
            raise LocalMisuse("gateway", str(self.gateway), "not of the IP version of the prefix")

    @classmethod
    def of(cls, key: bytes, payload: bytes) -> IpPrefix:
        """The value of a key and payload."""
        return cls(
            RouteDistinguisher(key[1:9]),
            EthernetSegmentIdentifier(payload[:10]),
            int.from_bytes(key[9:13]),
            ip_network((key[14:], key[13])),
            ip_address(payload[10:-3]),
            int.from_bytes(payload[-3:]),
        )

    @property
    def key(self) -> bytes:
        """The type octet and what identifies the route."""
        return b"".join(
            (
                b"\x05",
                self.route_distinguisher.packed,
                self.ethernet_tag.to_bytes(4),
                bytes((self.prefix.prefixlen,)),
                self.prefix.network_address.packed,
            )
        )

    @property
    def payload(self) -> bytes:
        """The ESI, the gateway and the label field."""
        return self.ethernet_segment.packed + self.gateway.packed + self.label_field.to_bytes(3)

    def __str__(self) -> str:
        segment = "" if self.ethernet_segment.is_single_homed else f" esi {self.ethernet_segment}"
        gateway = "" if self.gateway.is_unspecified else f" gateway {self.gateway}"
        return (
            f"ip-prefix {self.route_distinguisher} tag {self.ethernet_tag} {self.prefix}{gateway}{segment}"
            f" label field {self.label_field}"
        )


@dataclass(frozen=True, slots=True)
class OpaqueEvpnRoute:
    """A route whose fields are not read: its type and the octets of its value.

    Raises LocalMisuse for a type that has a class of its own, or a value that its length octet cannot say.
    """

    kind: int
    value: bytes

    def __post_init__(self) -> None:
        if ETHERNET_AUTO_DISCOVERY <= self.kind <= IP_PREFIX or not 0 <= self.kind <= 255:
            raise LocalMisuse("kind", self.kind, "not an opaque route type")
        if len(self.value) > _MAXIMUM_VALUE:
            raise LocalMisuse("value", self.value.hex(), f"longer than {_MAXIMUM_VALUE} octets")

    @classmethod
    def of(cls, key: bytes, payload: bytes) -> OpaqueEvpnRoute:
        """The value of a key and payload."""
        return cls(key[0], key[1:] + payload)

    def parts(self, tail: int) -> tuple[bytes, bytes]:
        """Key and payload, the payload being the last ``tail`` octets."""
        end = len(self.value) - tail
        if end < 0:
            raise LocalMisuse("value", self.value.hex(), f"shorter than {tail} octets")
        return bytes((self.kind,)) + self.value[:end], self.value[end:]

    def __str__(self) -> str:
        return f"{_NAMES.get(self.kind, f'type-{self.kind}')} 0x{self.value.hex()}"


EvpnRoute = (
    EthernetAutoDiscovery | MacIpAdvertisement | InclusiveMulticast | EthernetSegment | IpPrefix | OpaqueEvpnRoute
)
