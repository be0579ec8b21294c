"""The identifiers that BGP VPNs are made of, as packed bytes with a text form.

Route distinguishers (RFC 4364 section 4.2), route targets (RFC 4360 section 4, RFC 5668), MAC addresses, Ethernet
segment identifiers (RFC 7432 section 5), MPLS labels (RFC 3032 section 2.1) and VXLAN network identifiers (RFC 7348
section 5). Equality, hash and order are those of the packed bytes. Types that are not known are kept and shown as
hex. IPv6 route targets (RFC 5701) are not here: they are communities of 20 octets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from typing import Self

from bagpipe.errors import LocalMisuse

MINIMUM_LABEL, MAXIMUM_LABEL = 16, 0xFFFFF
"""Labels that can be given out: RFC 3032 section 2.1 reserves those below."""
MAXIMUM_VNI = 0xFFFFFF

_TWO_OCTET_AS = 0
_IPV4_ADDRESS = 1
_FOUR_OCTET_AS = 2
_RT_SUBTYPE = 2
_RT_PREFIX = "target:"
_DECIMAL = re.compile(r"[0-9]{1,10}\Z")
_HEX_PACKED = re.compile(r"0x([0-9a-fA-F]{16})\Z")
_MAC_FORMS = tuple(
    re.compile(separator.join([f"([0-9a-f]{{{low},{high}}})"] * groups) + r"\Z")
    for groups, low, high, separators in ((6, 1, 2, ":-"), (3, 1, 4, ":-."), (2, 5, 6, ":-"), (1, 11, 12, ":"))
    for separator in (re.escape(character) for character in separators)
)
_ESI = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){9}\Z")


def _number(text: str, maximum: int) -> int | None:
    """Decimal ``text`` as a number of 0 to ``maximum``, else None."""
    if not _DECIMAL.match(text):
        return None
    value = int(text)
    return value if value <= maximum else None


def _administrator(text: str) -> tuple[int, bytes] | None:
    """The type and octets of the part before the last colon; AS numbers may be asdot (RFC 5396), then of 4 octets."""
    if text.count(".") == 3:
        try:
            return _IPV4_ADDRESS, IPv4Address(text).packed
        except AddressValueError:
            return None
    if "." in text:
        high, _, low = text.partition(".")
        upper, lower = _number(high, 0xFFFF), _number(low, 0xFFFF)
        return None if upper is None or lower is None else (_FOUR_OCTET_AS, (upper << 16 | lower).to_bytes(4))
    number = _number(text, 0xFFFFFFFF)
    if number is None:
        return None
    return (_TWO_OCTET_AS, number.to_bytes(2)) if number <= 0xFFFF else (_FOUR_OCTET_AS, number.to_bytes(4))


def _pack(text: str, prefix: str, field: str) -> tuple[int, bytes]:
    """The type and the six octets of ``administrator:assigned``."""
    administrator, colon, assigned = text.removeprefix(prefix).strip().rpartition(":")
    found = _administrator(administrator)
    if not colon or found is None:
        raise LocalMisuse(field, text, "expected AS:number, IPv4:number or 4-octet AS:number")
    kind, octets = found
    size = 6 - len(octets)
    number = _number(assigned, (1 << 8 * size) - 1)
    if number is None:
        raise LocalMisuse(field, text, f"the number after the colon is not 0 to {(1 << 8 * size) - 1}")
    return kind, octets + number.to_bytes(size)


def _text(kind: int, six: bytes) -> str:
    """``administrator:assigned`` of the six octets of a known type."""
    if kind == _TWO_OCTET_AS:
        return f"{int.from_bytes(six[:2])}:{int.from_bytes(six[2:])}"
    number = int.from_bytes(six[4:])
    if kind == _IPV4_ADDRESS:
        return f"{six[0]}.{six[1]}.{six[2]}.{six[3]}:{number}"
    autonomous_system = int.from_bytes(six[:4])
    if autonomous_system <= 0xFFFF:
        return f"0.{autonomous_system}:{number}"
    return f"{autonomous_system}:{number}"


@dataclass(frozen=True, slots=True, order=True)
class RouteDistinguisher:
    """Eight octets: type (2), administrator and assigned number (6). RFC 4364 section 4.2.

    Raises LocalMisuse if ``packed`` is not of 8 octets.
    """

    packed: bytes

    def __post_init__(self) -> None:
        if len(self.packed) != 8:
            raise LocalMisuse("route distinguisher", self.packed, "expected 8 octets")

    @classmethod
    def from_text(cls, text: str, field: str = "route distinguisher") -> Self:
        """Read ``64512:1`` (type 0), ``192.0.2.1:5`` (type 1), ``4200000000:7`` or ``0.64512:7`` (type 2).

        ``0x`` and 16 hex digits give the eight octets as they stand. Raises LocalMisuse that names ``field``.
        """
        if raw := _HEX_PACKED.match(text.strip()):
            return cls(bytes.fromhex(raw[1]))
        kind, six = _pack(text, "", field)
        return cls(kind.to_bytes(2) + six)

    @property
    def kind(self) -> int:
        """The type field."""
        return int.from_bytes(self.packed[:2])

    def __str__(self) -> str:
        return _text(self.kind, self.packed[2:]) if self.kind <= _FOUR_OCTET_AS else f"0x{self.packed.hex()}"


@dataclass(frozen=True, slots=True, order=True)
class RouteTarget:
    """Eight octets of an extended community of types 0x00, 0x01 or 0x02 and sub-type 0x02. RFC 4360 section 4.

    Other types are kept, as a route target constraint (RFC 4684) may carry any. Raises LocalMisuse if ``packed`` is
    not of 8 octets.
    """

    packed: bytes

    def __post_init__(self) -> None:
        if len(self.packed) != 8:
            raise LocalMisuse("route target", self.packed, "expected 8 octets")

    @classmethod
    def from_text(cls, text: str, field: str = "route target") -> Self:
        """Read ``64512:1``, ``192.0.2.1:5``, ``4200000000:7`` or ``0.64512:7``, each also after ``target:``.

        ``0x`` and 16 hex digits give the eight octets as they stand. Raises LocalMisuse that names ``field``.
        """
        if raw := _HEX_PACKED.match(text.strip()):
            return cls(bytes.fromhex(raw[1]))
        kind, six = _pack(text, _RT_PREFIX, field)
        return cls(bytes((kind, _RT_SUBTYPE)) + six)

    @property
    def is_known(self) -> bool:
        """Whether type and sub-type are those of a route target."""
        return self.packed[0] <= _FOUR_OCTET_AS and self.packed[1] == _RT_SUBTYPE

    def __str__(self) -> str:
        return _text(self.packed[0], self.packed[2:]) if self.is_known else f"0x{self.packed.hex()}"


@dataclass(frozen=True, slots=True, order=True)
class MacAddress:
    """Six octets. Raises LocalMisuse if ``packed`` is not of 6 octets."""

    packed: bytes

    def __post_init__(self) -> None:
        if len(self.packed) != 6:
            raise LocalMisuse("MAC address", self.packed, "expected 6 octets")

    @classmethod
    def from_text(cls, text: str, field: str = "MAC address") -> Self:
        """Read six groups (``:`` or ``-``), three (``:``, ``-`` or ``.``), two (``:`` or ``-``) or bare hex digits.

        Leading zeros of a group may be left out. Raises LocalMisuse that names ``field``.
        """
        for form in _MAC_FORMS:
            if found := form.match(text.strip().lower()):
                groups = found.groups()
                digits = "".join(group.zfill(12 // len(groups)) for group in groups)
                return cls(bytes.fromhex(digits))
        raise LocalMisuse(field, text, "expected 12 hex digits, such as fa:16:3e:00:00:02")

    def __str__(self) -> str:
        return self.packed.hex(":")


@dataclass(frozen=True, slots=True, order=True)
class EthernetSegmentIdentifier:
    """Ten octets, the first of which is the type. RFC 7432 section 5. Raises LocalMisuse for another length."""

    packed: bytes

    def __post_init__(self) -> None:
        if len(self.packed) != 10:
            raise LocalMisuse("Ethernet segment identifier", self.packed, "expected 10 octets")

    @classmethod
    def from_text(cls, text: str, field: str = "Ethernet segment identifier") -> Self:
        """Read ten pairs of hex digits with colons, or ``0`` for none. Raises LocalMisuse that names ``field``."""
        lowered = text.strip().lower()
        if lowered == "0":
            return cls(bytes(10))
        if not _ESI.match(lowered):
            raise LocalMisuse(field, text, "expected ten pairs of hex digits with colons")
        return cls(bytes.fromhex(lowered.replace(":", "")))

    @property
    def is_single_homed(self) -> bool:
        """Whether this is the reserved value 0: no multihoming."""
        return not any(self.packed)

    def __str__(self) -> str:
        return "0" if self.is_single_homed else self.packed.hex(":")


SINGLE_HOMED = EthernetSegmentIdentifier(bytes(10))


def label(value: int, field: str = "label") -> int:
    """``value`` if it is an MPLS label of 20 bits (0 to 1048575); else raises LocalMisuse that names ``field``."""
    return _within(value, MAXIMUM_LABEL, field)


def vni(value: int, field: str = "vni") -> int:
    """``value`` if it is a VNI of 24 bits (0 to 16777215); else raises LocalMisuse that names ``field``."""
    return _within(value, MAXIMUM_VNI, field)


def _within(value: int, maximum: int, field: str) -> int:
    if not 0 <= value <= maximum:
        raise LocalMisuse(field, value, f"not a number of 0 to {maximum}")
    return value
