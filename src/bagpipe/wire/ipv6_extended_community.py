"""IPv6 address specific extended communities: RFC 5701 section 2.

Twenty octets: type, sub-type, an IPv6 address and a number of 16 bits. They are kept and shown; nothing here imports or
exports by an IPv6 route target.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address

from bagpipe.errors import LocalMisuse
from bagpipe.wire.community import pieces

SIZE = 20
_NAMES = {0x0002: "target", 0x0003: "origin"}


@dataclass(frozen=True, slots=True, order=True)
class Ipv6ExtendedCommunity:
    """Twenty octets. Raises LocalMisuse for another length."""

    packed: bytes

    def __post_init__(self) -> None:
        if len(self.packed) != SIZE:
            raise LocalMisuse("IPv6 extended community", self.packed.hex(), "expected 20 octets")

    @property
    def kind(self) -> int:
        """Type octet and sub-type octet as one number."""
        return int.from_bytes(self.packed[:2])

    @property
    def address(self) -> IPv6Address:
        """The global administrator."""
        return IPv6Address(self.packed[2:18])

    @property
    def number(self) -> int:
        """The local administrator."""
        return int.from_bytes(self.packed[18:])

    def __str__(self) -> str:
        name = _NAMES.get(self.kind, f"0x{self.kind:04x}")
        return f"{name}:[{self.address}]:{self.number}"


def decode_ipv6_extended_communities(value: bytes) -> tuple[Ipv6ExtendedCommunity, ...]:
    """The value of attribute 25. Raises RemoteFault (treat as withdraw, RFC 7606 section 7.15)."""
    return tuple(Ipv6ExtendedCommunity(item) for item in pieces(value, SIZE, "IPV6_EXTENDED_COMMUNITIES"))
