"""The PMSI Tunnel attribute (22): RFC 6514 section 5, with the use of RFC 7432 section 11.2 and RFC 8365 section 5.1.3.

Flags, tunnel type, a label field of 24 bits kept as it came (MPLS label in the upper 20, or VNI), tunnel identifier.
The identifier is read for ingress replication only; those of the other tunnel types stay octets.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from bagpipe.errors import LocalMisuse, Outcome
from bagpipe.wire.reader import Reader

LEAF_INFORMATION_REQUIRED = 0x01
"""Flag of RFC 6514 section 5."""


class PmsiTunnelType(enum.IntEnum):
    """RFC 6514 section 5; RFC 7524, RFC 8556 and RFC 9624 add further ones, which stay numbers."""

    NONE = 0
    RSVP_TE_P2MP = 1
    MLDP_P2MP = 2
    PIM_SSM = 3
    PIM_SM = 4
    BIDIR_PIM = 5
    INGRESS_REPLICATION = 6
    MLDP_MP2MP = 7


_NAMES: dict[int, str] = {
    PmsiTunnelType.NONE: "none",
    PmsiTunnelType.RSVP_TE_P2MP: "rsvp-te-p2mp",
    PmsiTunnelType.MLDP_P2MP: "mldp-p2mp",
    PmsiTunnelType.PIM_SSM: "pim-ssm",
    PmsiTunnelType.PIM_SM: "pim-sm",
    PmsiTunnelType.BIDIR_PIM: "bidir-pim",
    PmsiTunnelType.INGRESS_REPLICATION: "ingress-replication",
    PmsiTunnelType.MLDP_MP2MP: "mldp-mp2mp",
}


@dataclass(frozen=True, slots=True)
class PmsiTunnel:
    """One value; ``tunnel_type`` is a :class:`PmsiTunnelType` or another octet.

    Raises LocalMisuse for a number that does not fit its field.
    """

    flags: int
    tunnel_type: int
    label_field: int
    identifier: bytes

    def __post_init__(self) -> None:
        for field, value, maximum in (
            ("flags", self.flags, 0xFF),
            ("tunnel type", self.tunnel_type, 0xFF),
            ("label field", self.label_field, 0xFFFFFF),
        ):
            if not 0 <= value <= maximum:
                raise LocalMisuse(field, value, f"not a number of 0 to {maximum}")

    @classmethod
    def ingress_replication(cls, endpoint: IPv4Address | IPv6Address, label_field: int) -> PmsiTunnel:
        """Copies are to be sent to ``endpoint`` (RFC 7432 section 11.2)."""
        return cls(0, PmsiTunnelType.INGRESS_REPLICATION, label_field, endpoint.packed)

    @property
    def endpoint(self) -> IPv4Address | IPv6Address | None:
        """Where copies go under ingress replication; None for other tunnel types."""
        if self.tunnel_type != PmsiTunnelType.INGRESS_REPLICATION or len(self.identifier) not in (4, 16):
            return None
        return ip_address(self.identifier)

    @property
    def packed(self) -> bytes:
        """The attribute value."""
        return bytes((self.flags, self.tunnel_type)) + self.label_field.to_bytes(3) + self.identifier

    def __str__(self) -> str:
        name = _NAMES.get(self.tunnel_type, f"type-{self.tunnel_type}")
        identifier = str(self.endpoint or f"0x{self.identifier.hex()}")
        return f"{name} {identifier} label field {self.label_field}"


def decode(value: bytes) -> PmsiTunnel:
    """The tunnel of an attribute value.

    Raises RemoteFault (treat as withdraw, RFC 7606 section 7.12) if it is shorter than its fixed fields, or an ingress
    replication's identifier is no address.
    """
    reader = Reader(value, "PMSI_TUNNEL", code=3, subcode=5, outcome=Outcome.TREAT_AS_WITHDRAW)
    tunnel = PmsiTunnel(reader.u8(), reader.u8(), reader.u24(), reader.rest())
    if tunnel.tunnel_type == PmsiTunnelType.INGRESS_REPLICATION and tunnel.endpoint is None:
        raise reader.fault(f"an ingress replication endpoint of {len(tunnel.identifier)} octets")
    return tunnel
