"""The components of a flow specification: RFC 8955 section 4.2, RFC 8956 section 3.

A component is a type and either a prefix or a list of (operator, value) terms. Operators stay octets, reserved bits and
all, so that what came goes out again as it came.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from bagpipe.errors import LocalMisuse, Outcome
from bagpipe.wire.reader import Reader

DESTINATION_PREFIX = 1
SOURCE_PREFIX = 2
PROTOCOL = 3
PORT = 4
DESTINATION_PORT = 5
SOURCE_PORT = 6
ICMP_TYPE = 7
ICMP_CODE = 8
TCP_FLAGS = 9
PACKET_LENGTH = 10
DSCP = 11
FRAGMENT = 12
FLOW_LABEL = 13

END_OF_LIST = 0x80
AND = 0x40
LESS = 0x04
GREATER = 0x02
EQUAL = 0x01
NOT = 0x02
MATCH = 0x01

_NAMES = {
    DESTINATION_PREFIX: "destination",
    SOURCE_PREFIX: "source",
    PROTOCOL: "protocol",
    PORT: "port",
    DESTINATION_PORT: "destination-port",
    SOURCE_PORT: "source-port",
    ICMP_TYPE: "icmp-type",
    ICMP_CODE: "icmp-code",
    TCP_FLAGS: "tcp-flags",
    PACKET_LENGTH: "packet-length",
    DSCP: "dscp",
    FRAGMENT: "fragment",
    FLOW_LABEL: "flow-label",
}
_PREFIXES = (DESTINATION_PREFIX, SOURCE_PREFIX)
_BITMASKS = (TCP_FLAGS, FRAGMENT)
_COMPARISONS = ("false", "=", ">", ">=", "<", "<=", "!=", "true")
_MATCHES = ("&", "=", "!&", "!=")


@dataclass(frozen=True, slots=True)
class PrefixComponent:
    """Types 1 and 2. ``pattern`` has the bits from ``offset`` to ``length``, padded to octets; IPv4 has no offset."""

    kind: int
    length: int
    offset: int
    pattern: bytes
    ipv6: bool

    def __post_init__(self) -> None:
        if self.kind not in _PREFIXES:
            raise LocalMisuse("kind", self.kind, "not a prefix component")
        if (self.offset and not self.ipv6) or not _prefix_fits(self.length, self.offset, 128 if self.ipv6 else 32):
            raise LocalMisuse("length", (self.offset, self.length), "no such range of address bits")
        if len(self.pattern) != (self.length - self.offset + 7) >> 3:
            raise LocalMisuse("pattern", self.pattern.hex(), "not of the octets that its length asks for")

    @property
    def address(self) -> IPv4Address | IPv6Address:
        """The pattern in its place, all other bits zero."""
        width = self.length - self.offset
        bits = int.from_bytes(self.pattern) >> (8 * len(self.pattern) - width)
        return IPv6Address(bits << (128 - self.length)) if self.ipv6 else IPv4Address(bits << (32 - self.length))

    @property
    def packed(self) -> bytes:
        """The component on the wire."""
        bounds = (self.kind, self.length, self.offset) if self.ipv6 else (self.kind, self.length)
        return bytes(bounds) + self.pattern

    def __str__(self) -> str:
        offset = f"{self.offset}-" if self.offset else ""
        return f"{_NAMES[self.kind]} {self.address}/{offset}{self.length}"


@dataclass(frozen=True, slots=True)
class Term:
    """One operator octet (its length bits say how many octets ``value`` takes: 1, 2, 4 or 8) and its operand."""

    operator: int
    value: int

    def __post_init__(self) -> None:
        if not 0 <= self.operator <= 0xFF:
            raise LocalMisuse("operator", self.operator, "not an octet")
        if not 0 <= self.value < 1 << (8 * self.size):
            raise LocalMisuse("value", self.value, f"not a number of {self.size} octets")

    @property
    def size(self) -> int:
        """Octets of the operand."""
        return 1 << (self.operator >> 4 & 3)

    @property
    def is_last(self) -> bool:
        """Whether the end-of-list bit is set."""
        return self.operator & END_OF_LIST != 0

    @property
    def packed(self) -> bytes:
        """The term on the wire."""
        return bytes((self.operator,)) + self.value.to_bytes(self.size)


@dataclass(frozen=True, slots=True)
class TermsComponent:
    """Types 3 to 13: at least one term; the last, and no other, has the end-of-list bit."""

    kind: int
    terms: tuple[Term, ...]

    def __post_init__(self) -> None:
        if self.kind in _PREFIXES or self.kind not in _NAMES:
            raise LocalMisuse("kind", self.kind, "not a component of terms")
        ends = [term.is_last for term in self.terms]
        if ends.count(True) != 1 or not ends[-1]:
            raise LocalMisuse("terms", self.terms, "the end-of-list bit belongs on the last of them")

    @property
    def packed(self) -> bytes:
        """The component on the wire."""
        return bytes((self.kind,)) + b"".join(term.packed for term in self.terms)

    def __str__(self) -> str:
        return f"{_NAMES[self.kind]} {''.join(self._texts())}"

    def _texts(self) -> Iterable[str]:
        for number, term in enumerate(self.terms):
            if number:
                yield "&" if term.operator & AND else ","
            if self.kind in _BITMASKS:
                yield f"{_MATCHES[term.operator & (NOT | MATCH)]}0x{term.value:x}"
            elif term.operator & 7 in (0, 7):
                yield _COMPARISONS[term.operator & 7]
            else:
                yield f"{_COMPARISONS[term.operator & 7]}{term.value}"


Component = PrefixComponent | TermsComponent


def numeric(kind: int, *comparisons: tuple[int, int]) -> TermsComponent:
    """A component that matches any of ``comparisons``: (comparison bits, possibly with AND; value)."""
    terms = []
    for number, (operator, value) in enumerate(comparisons, start=1):
        if not 0 <= value <= 0xFFFFFFFFFFFFFFFF:
            raise LocalMisuse("value", value, "not a number of 8 octets")
        exponent = max(0, ((value.bit_length() + 7) // 8 - 1).bit_length())
        last = END_OF_LIST if number == len(comparisons) else 0
        terms.append(Term(operator | exponent << 4 | last, value))
    return TermsComponent(kind, tuple(terms))


def parse(data: bytes, *, ipv6: bool) -> tuple[Component, ...]:
    """The components of one flow specification.

    Raises RemoteFault (treat as withdraw) if they are malformed, out of order or unknown (RFC 8955 section 4.2).
    """
    reader = Reader(data, "flow specification", code=3, subcode=10, outcome=Outcome.TREAT_AS_WITHDRAW)
    components: list[Component] = []
    latest = 0
    while reader.remaining:
        kind = reader.u8()
        if kind <= latest:
            raise reader.fault(f"type {kind} after type {latest}")
        if kind not in _NAMES or (kind == FLOW_LABEL and not ipv6):
            raise reader.fault(f"unknown component type {kind}")
        components.append(_prefix(reader, kind, ipv6) if kind in _PREFIXES else _terms(reader, kind))
        latest = kind
    return tuple(components)


def pack(components: Iterable[Component], *, ipv6: bool) -> bytes:
    """Components on the wire. Raises LocalMisuse for one that the IP version does not have."""
    pieces = []
    for component in components:
        if not _belongs(component, ipv6):
            raise LocalMisuse("components", str(component), f"not of an IPv{6 if ipv6 else 4} flow specification")
        pieces.append(component.packed)
    return b"".join(pieces)


def _belongs(component: Component, ipv6: bool) -> bool:
    if isinstance(component, PrefixComponent):
        return component.ipv6 is ipv6
    return ipv6 or component.kind != FLOW_LABEL


def _prefix_fits(length: int, offset: int, width: int) -> bool:
    return (length == 0 and offset == 0) or 0 <= offset < length <= width


def _prefix(reader: Reader, kind: int, ipv6: bool) -> PrefixComponent:
    length = reader.u8()
    offset = reader.u8() if ipv6 else 0
    if not _prefix_fits(length, offset, 128 if ipv6 else 32):
        raise reader.fault(f"type {kind} from bit {offset} to bit {length}")
    return PrefixComponent(kind, length, offset, reader.take((length - offset + 7) >> 3), ipv6)


def _terms(reader: Reader, kind: int) -> TermsComponent:
    terms: list[Term] = []
    while not terms or not terms[-1].is_last:
        operator = reader.u8()
        size = 1 << (operator >> 4 & 3)
        terms.append(Term(operator, int.from_bytes(reader.take(size))))
    return TermsComponent(kind, tuple(terms))
