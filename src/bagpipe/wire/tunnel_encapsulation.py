"""The Tunnel Encapsulation attribute (23): RFC 9012 sections 2 and 3.

The attribute is a list of tunnels, each a tunnel type and a list of sub-TLVs. All of them are kept as octets in their
order; the sub-TLVs that this speaker may act on are read from there. Section 13 on what is wrong: lengths that do not
add up make the attribute malformed (treat as withdraw); an unknown tunnel or sub-TLV is no fault; a known sub-TLV of
the wrong size is as one that is not there.

Not done: prefix SID, MPLS label stack, load-balancing block and IPsec sub-TLVs are octets only; the choice between
tunnels (section 6) is the VPN layer's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from bagpipe.errors import LocalMisuse, Outcome
from bagpipe.identifiers import MacAddress
from bagpipe.wire.reader import Reader
from bagpipe.wire.tunnel_type import TunnelType, tunnel_name

ENCAPSULATION = 1
PROTOCOL_TYPE = 2
COLOR = 4
EGRESS_ENDPOINT = 6
DS_FIELD = 7
UDP_DESTINATION_PORT = 8
EMBEDDED_LABEL_HANDLING = 9

_LONG_LENGTH = 0x80
_AFI_OCTETS = {0: 0, 1: 4, 2: 16}
_COLOR_LEAD = b"\x03\x0b"
_VNI_VALID = 0x80
_MAC_VALID = 0x40


@dataclass(frozen=True, slots=True)
class SubTlv:
    """One sub-TLV: its type octet and its value. Raises LocalMisuse for what its length field cannot say."""

    kind: int
    value: bytes

    def __post_init__(self) -> None:
        if not 0 <= self.kind <= 0xFF:
            raise LocalMisuse("kind", self.kind, "not an octet")
        if len(self.value) > (0xFFFF if self.kind & _LONG_LENGTH else 0xFF):
            raise LocalMisuse("value", len(self.value), "too long for its length field")

    @property
    def packed(self) -> bytes:
        """The sub-TLV on the wire: a length of one octet for types below 128, else of two (RFC 9012 section 2)."""
        return bytes((self.kind,)) + len(self.value).to_bytes(2 if self.kind & _LONG_LENGTH else 1) + self.value


@dataclass(frozen=True, slots=True)
class VxlanHeader:
    """The encapsulation sub-TLV of VXLAN (RFC 9012 section 3.2.1): what the peer wants in the VXLAN header."""

    vni: int | None
    mac: MacAddress | None

    @property
    def sub_tlv(self) -> SubTlv:
        """The sub-TLV of these values."""
        flags = (0 if self.vni is None else _VNI_VALID) | (0 if self.mac is None else _MAC_VALID)
        mac = self.mac.packed if self.mac else bytes(6)
        return SubTlv(ENCAPSULATION, bytes((flags,)) + (self.vni or 0).to_bytes(3) + mac + bytes(2))


@dataclass(frozen=True, slots=True)
class Tunnel:
    """One tunnel: its type (a :class:`TunnelType` or another number) and its sub-TLVs in order.

    Raises LocalMisuse for a type that does not fit its field.
    """

    tunnel_type: int
    sub_tlvs: tuple[SubTlv, ...]

    def __post_init__(self) -> None:
        if not 0 <= self.tunnel_type <= 0xFFFF:
            raise LocalMisuse("tunnel type", self.tunnel_type, "not a number of 16 bits")

    @property
    def packed(self) -> bytes:
        """The tunnel on the wire."""
        value = b"".join(sub_tlv.packed for sub_tlv in self.sub_tlvs)
        return self.tunnel_type.to_bytes(2) + len(value).to_bytes(2) + value

    def value(self, kind: int) -> bytes | None:
        """The value of the first sub-TLV of a type; later ones are passed over (RFC 9012 section 3)."""
        return next((sub_tlv.value for sub_tlv in self.sub_tlvs if sub_tlv.kind == kind), None)

    @property
    def egress_endpoint(self) -> IPv4Address | IPv6Address | None:
        """Where the tunnel ends (section 3.1); None if not given or given as the route's next hop (family 0)."""
        value = self.value(EGRESS_ENDPOINT) or b""
        if len(value) < 6 or _AFI_OCTETS.get(int.from_bytes(value[4:6])) != len(value) - 6:
            return None
        return ip_address(value[6:]) if len(value) > 6 else None

    @property
    def vxlan(self) -> VxlanHeader | None:
        """The VXLAN header (section 3.2.1) if the tunnel is VXLAN and says something of it."""
        value = self.value(ENCAPSULATION)
        if self.tunnel_type != TunnelType.VXLAN or value is None or len(value) != 12:
            return None
        vni = int.from_bytes(value[1:4]) if value[0] & _VNI_VALID else None
        return VxlanHeader(vni, MacAddress(value[4:10]) if value[0] & _MAC_VALID else None)

    @property
    def protocol_type(self) -> int | None:
        """The Ethertype of the payload (section 3.4.1)."""
        return _number(self.value(PROTOCOL_TYPE), 2)

    @property
    def udp_destination_port(self) -> int | None:
        """The UDP port of the outer header (section 3.3.2); 0 means nothing."""
        return _number(self.value(UDP_DESTINATION_PORT), 2) or None

    @property
    def color(self) -> int | None:
        """The color (section 3.4.2), which stands there as an extended community."""
        value = self.value(COLOR)
        return _number(value[4:], 4) if value is not None and value[:2] == _COLOR_LEAD and len(value) == 8 else None

    def __str__(self) -> str:
        known = {
            "endpoint": self.egress_endpoint,
            "vni": self.vxlan.vni if self.vxlan else None,
            "mac": self.vxlan.mac if self.vxlan else None,
            "protocol": None if self.protocol_type is None else f"0x{self.protocol_type:04x}",
            "udp-port": self.udp_destination_port,
            "color": self.color,
        }
        shown = [f"{name} {value}" for name, value in known.items() if value is not None]
        read = {EGRESS_ENDPOINT, ENCAPSULATION, PROTOCOL_TYPE, UDP_DESTINATION_PORT, COLOR}
        rest = [f"sub-tlv-{each.kind} 0x{each.value.hex()}" for each in self.sub_tlvs if each.kind not in read]
        return " ".join((tunnel_name(self.tunnel_type), *shown, *rest))


def egress_endpoint(address: IPv4Address | IPv6Address) -> SubTlv:
    """The sub-TLV of a tunnel's end (RFC 9012 section 3.1): four reserved octets, address family, address."""
    return SubTlv(EGRESS_ENDPOINT, bytes(4) + (1 if address.version == 4 else 2).to_bytes(2) + address.packed)


def udp_destination_port(port: int) -> SubTlv:
    """The sub-TLV of a UDP port (RFC 9012 section 3.3.2)."""
    return SubTlv(UDP_DESTINATION_PORT, port.to_bytes(2))


def protocol_type(ethertype: int) -> SubTlv:
    """The sub-TLV of a payload's Ethertype (RFC 9012 section 3.4.1)."""
    return SubTlv(PROTOCOL_TYPE, ethertype.to_bytes(2))


def color(value: int) -> SubTlv:
    """The sub-TLV of a color (RFC 9012 section 3.4.2)."""
    return SubTlv(COLOR, _COLOR_LEAD + bytes(2) + value.to_bytes(4))


def decode(value: bytes) -> tuple[Tunnel, ...]:
    """The tunnels of an attribute value. Raises RemoteFault (treat as withdraw) if its lengths do not add up."""
    reader = Reader(value, "TUNNEL_ENCAPSULATION", code=3, subcode=5, outcome=Outcome.TREAT_AS_WITHDRAW)
    tunnels = []
    while reader.remaining:
        tunnel_type = reader.u16()
        inner = reader.sub(reader.u16(), f"TUNNEL_ENCAPSULATION tunnel type {tunnel_type}")
        sub_tlvs = []
        while inner.remaining:
            kind = inner.u8()
            size = inner.u16() if kind & _LONG_LENGTH else inner.u8()
            sub_tlvs.append(SubTlv(kind, inner.take(size)))
        tunnels.append(Tunnel(tunnel_type, tuple(sub_tlvs)))
    return tuple(tunnels)


def encode(tunnels: Iterable[Tunnel]) -> bytes:
    """The attribute value of ``tunnels``."""
    return b"".join(tunnel.packed for tunnel in tunnels)


def _number(value: bytes | None, size: int) -> int | None:
    return int.from_bytes(value) if value is not None and len(value) == size else None
