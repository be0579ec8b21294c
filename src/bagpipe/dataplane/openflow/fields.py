"""The packet and register fields that flows match, set and copy: OXM and NXM type-length-values.

OpenFlow Switch Specification 1.5.1 sections 7.2.3.1 to 7.2.3.9 (OXM) and the fields of ovs-fields(7). Holds the fields
that the daemon uses; any other field that a switch shows is kept as octets under its class and number. A value is the
octets that the wire carries. Does not know prerequisites beyond the order of the table: a field stands after those
that its presence depends on, as OpenFlow 1.5.1 section 7.2.3.8 wants them sent.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

from bagpipe.dataplane.openflow.octets import Octets
from bagpipe.errors import LocalMisuse

NXM_0 = 0x0000
NXM_1 = 0x0001
ERICSSON = 0x1000
BASIC = 0x8000
PACKET_REGISTERS = 0x8001
EXPERIMENTER = 0xFFFF
_UNKNOWN_RANK = 1 << 20


class Packed(Protocol):
    """An address or identifier that knows its octets, as those of ``ipaddress`` and ``bagpipe.identifiers`` do."""

    @property
    def packed(self) -> bytes:
        """The octets, network order."""


class Form(enum.Enum):
    """How a person reads a field's value."""

    DECIMAL = 1
    HEXADECIMAL = 2
    MAC = 3
    IPV4 = 4
    IPV6 = 5


@dataclass(frozen=True, slots=True, repr=False)
class Field:
    """A field by its OXM class and number; ``size`` in octets, ``bits`` those that may be set.

    Calling a field with a value gives the :class:`Criterion` that the field has this value.
    """

    name: str = field(compare=False)
    oxm_class: int
    number: int
    size: int
    bits: int = field(compare=False)
    form: Form = field(compare=False, default=Form.DECIMAL)
    experimenter: int | None = None
    rank: int = field(compare=False, default=_UNKNOWN_RANK)
    order: tuple[int, ...] = field(init=False, compare=False, repr=False)
    header: bytes = field(init=False, compare=False, repr=False)
    masked_header: bytes = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        order = (self.rank, self.oxm_class, self.number, self.experimenter or 0, self.size)
        object.__setattr__(self, "order", order)
        object.__setattr__(self, "header", self._header(self.size, 0))
        masked = self._header(2 * self.size, 1) if 2 * self.size + 4 * self.is_experimental < 256 else b""
        object.__setattr__(self, "masked_header", masked)

    def _header(self, size: int, has_mask: int) -> bytes:
        tail = b"" if self.experimenter is None else self.experimenter.to_bytes(4)
        head = self.oxm_class << 16 | self.number << 9 | has_mask << 8 | size + len(tail)
        return head.to_bytes(4) + tail

    def __repr__(self) -> str:
        return f"<{self.name}>"

    @property
    def is_experimental(self) -> bool:
        """Whether the header carries an experimenter's number."""
        return self.experimenter is not None

    def octets(self, value: int | bytes | Packed) -> bytes:
        """``value`` as this field's octets. Raises LocalMisuse if it does not fit."""
        if isinstance(value, int):
            if value < 0 or value >> self.bits:
                raise LocalMisuse(self.name, value, f"more than {self.bits} bits")
            return value.to_bytes(self.size)
        data = value if isinstance(value, bytes) else value.packed
        if len(data) != self.size:
            raise LocalMisuse(self.name, data.hex(), f"expected {self.size} octets")
        return data

    def __call__(self, value: int | bytes | Packed) -> Criterion:
        """The whole field has ``value``. Raises LocalMisuse if it does not fit."""
        return Criterion(self, self.octets(value))

    def masked(self, value: int | bytes | Packed, mask: int | bytes | Packed) -> Criterion:
        """Those bits of the field that are set in ``mask`` are those of ``value``; other bits of ``value`` are dropped.

        Raises LocalMisuse if value or mask do not fit.
        """
        wanted = self.octets(mask)
        number = int.from_bytes(wanted)
        value_octets = (int.from_bytes(self.octets(value)) & number).to_bytes(self.size)
        whole = number == (1 << self.bits) - 1 or number == (1 << 8 * self.size) - 1
        return Criterion(self, value_octets, None if whole else wanted)

    def prefix(self, value: int | bytes | Packed, length: int) -> Criterion:
        """The first ``length`` bits of the field are those of ``value``. A length of 0 matches anything.

        Raises LocalMisuse if the value or the length do not fit.
        """
        if length == self.bits:
            return Criterion(self, self.octets(value))
        if not 0 <= length < self.bits:
            raise LocalMisuse(f"{self.name} prefix length", length, f"expected 0 to {self.bits}")
        return self.masked(value, (1 << self.bits) - (1 << self.bits - length))

    def whole(self) -> Criterion:
        """Every bit of the field set: names the whole field where a group is told what to hash."""
        return Criterion(self, ((1 << self.bits) - 1).to_bytes(self.size))

    def text(self, value: bytes) -> str:
        """``value`` for a person."""
        if self.form is Form.MAC:
            return value.hex(":")
        if self.form is Form.IPV4:
            return str(IPv4Address(value))
        if self.form is Form.IPV6:
            return str(IPv6Address(value))
        number = int.from_bytes(value)
        return str(number) if self.form is Form.DECIMAL else hex(number)


@dataclass(frozen=True, slots=True)
class Criterion:
    """A field with a value and perhaps a mask, each of the field's size in octets.

    In a match it says what a packet must have, in an action what the field is set to. Raises LocalMisuse if sizes
    disagree or the value has bits that the mask has not: switches refuse that.
    """

    field: Field
    value: bytes
    mask: bytes | None = None

    def __post_init__(self) -> None:
        if len(self.value) != self.field.size:
            raise LocalMisuse(self.field.name, self.value.hex(), f"expected {self.field.size} octets")
        if self.mask is not None:
            if len(self.mask) != self.field.size or not self.field.masked_header:
                raise LocalMisuse(f"{self.field.name} mask", self.mask.hex(), f"expected {self.field.size} octets")
            if int.from_bytes(self.value) & ~int.from_bytes(self.mask):
                raise LocalMisuse(self.field.name, self.value.hex(), f"bits outside the mask {self.mask.hex()}")

    @property
    def packed(self) -> bytes:
        """Header, value and mask as OpenFlow has them."""
        if self.mask is None:
            return self.field.header + self.value
        return self.field.masked_header + self.value + self.mask

    @property
    def number(self) -> int:
        """The value as a number."""
        return int.from_bytes(self.value)

    @property
    def is_anything(self) -> bool:
        """Whether the mask has no bit, so that every packet meets it."""
        return self.mask is not None and not any(self.mask)

    def __str__(self) -> str:
        text = f"{self.field.name}={self.field.text(self.value)}"
        if self.mask is None:
            return text
        bits = f"{int.from_bytes(self.mask):0{8 * self.field.size}b}"
        if self.field.form in (Form.IPV4, Form.IPV6) and "01" not in bits:
            return f"{text}/{bits.count('1')}"
        return f"{text}/{self.field.text(self.mask) if self.field.form is Form.MAC else hex(int.from_bytes(self.mask))}"


_known: dict[tuple[int, int, int | None], Field] = {}


def _field(name: str, oxm_class: int, number: int, size: int, bits: int = 0, form: Form = Form.DECIMAL) -> Field:
    made = Field(name, oxm_class, number, size, bits or 8 * size, form, None, len(_known))
    _known[oxm_class, number, None] = made
    return made


# The order is the order in which a match is sent: what a field depends on stands before it.
IN_PORT = _field("in_port", BASIC, 0, 4)
NXM_IN_PORT = _field("in_port", NXM_0, 0, 2)
PACKET_TYPE = _field("packet_type", BASIC, 44, 4, form=Form.HEXADECIMAL)
METADATA = _field("metadata", BASIC, 2, 8, form=Form.HEXADECIMAL)
TUNNEL_ID = _field("tun_id", BASIC, 38, 8, form=Form.HEXADECIMAL)
TUN_SRC = _field("tun_src", NXM_1, 31, 4, form=Form.IPV4)
TUN_DST = _field("tun_dst", NXM_1, 32, 4, form=Form.IPV4)
TUN_IPV6_SRC = _field("tun_ipv6_src", NXM_1, 109, 16, form=Form.IPV6)
TUN_IPV6_DST = _field("tun_ipv6_dst", NXM_1, 110, 16, form=Form.IPV6)
REG = tuple(_field(f"reg{number}", NXM_1, number, 4, form=Form.HEXADECIMAL) for number in range(16))
XREG = tuple(_field(f"xreg{number}", PACKET_REGISTERS, number, 8, form=Form.HEXADECIMAL) for number in range(8))
ETH_DST = _field("eth_dst", BASIC, 3, 6, form=Form.MAC)
ETH_SRC = _field("eth_src", BASIC, 4, 6, form=Form.MAC)
ETH_TYPE = _field("eth_type", BASIC, 5, 2, form=Form.HEXADECIMAL)
VLAN_VID = _field("vlan_vid", BASIC, 6, 2, 13, form=Form.HEXADECIMAL)
VLAN_PCP = _field("vlan_pcp", BASIC, 7, 1, 3)
MPLS_LABEL = _field("mpls_label", BASIC, 34, 4, 20)
MPLS_TC = _field("mpls_tc", BASIC, 35, 1, 3)
MPLS_BOS = _field("mpls_bos", BASIC, 36, 1, 1)
MPLS_TTL = _field("mpls_ttl", NXM_1, 30, 1)
IP_DSCP = _field("ip_dscp", BASIC, 8, 1, 6)
IP_ECN = _field("ip_ecn", BASIC, 9, 1, 2)
IP_TTL = _field("nw_ttl", NXM_1, 29, 1)
IP_FRAG = _field("ip_frag", NXM_1, 26, 1, 2)
IP_PROTO = _field("nw_proto", BASIC, 10, 1)
IPV4_SRC = _field("ip_src", BASIC, 11, 4, form=Form.IPV4)
IPV4_DST = _field("ip_dst", BASIC, 12, 4, form=Form.IPV4)
IPV6_SRC = _field("ipv6_src", BASIC, 26, 16, form=Form.IPV6)
IPV6_DST = _field("ipv6_dst", BASIC, 27, 16, form=Form.IPV6)
IPV6_LABEL = _field("ipv6_label", BASIC, 28, 4, 20, form=Form.HEXADECIMAL)
ARP_OP = _field("arp_op", BASIC, 21, 2)
ARP_SPA = _field("arp_spa", BASIC, 22, 4, form=Form.IPV4)
ARP_TPA = _field("arp_tpa", BASIC, 23, 4, form=Form.IPV4)
ARP_SHA = _field("arp_sha", BASIC, 24, 6, form=Form.MAC)
ARP_THA = _field("arp_tha", BASIC, 25, 6, form=Form.MAC)
TCP_SRC = _field("tcp_src", BASIC, 13, 2)
TCP_DST = _field("tcp_dst", BASIC, 14, 2)
TCP_FLAGS = _field("tcp_flags", BASIC, 42, 2, 12, form=Form.HEXADECIMAL)
UDP_SRC = _field("udp_src", BASIC, 15, 2)
UDP_DST = _field("udp_dst", BASIC, 16, 2)
SCTP_SRC = _field("sctp_src", BASIC, 17, 2)
SCTP_DST = _field("sctp_dst", BASIC, 18, 2)
ICMPV4_TYPE = _field("icmp_type", BASIC, 19, 1)
ICMPV4_CODE = _field("icmp_code", BASIC, 20, 1)
ICMPV6_TYPE = _field("icmpv6_type", BASIC, 29, 1)
ICMPV6_CODE = _field("icmpv6_code", BASIC, 30, 1)
ND_TARGET = _field("nd_target", BASIC, 31, 16, form=Form.IPV6)
ND_SLL = _field("nd_sll", BASIC, 32, 6, form=Form.MAC)
ND_TLL = _field("nd_tll", BASIC, 33, 6, form=Form.MAC)
ND_RESERVED = _field("nd_reserved", ERICSSON, 1, 4, form=Form.HEXADECIMAL)
ND_OPTIONS_TYPE = _field("nd_options_type", ERICSSON, 2, 1)

KNOWN: tuple[Field, ...] = tuple(_known.values())
VLAN_PRESENT = 0x1000
"""The bit of VLAN_VID that says the packet has a tag (OpenFlow 1.5.1 section 7.2.3.8)."""


def vlan(vid: int) -> Criterion:
    """A packet tagged with ``vid`` (0 to 4095). Raises LocalMisuse for another number."""
    if not 0 <= vid < VLAN_PRESENT:
        raise LocalMisuse("vlan_vid", vid, "expected 0 to 4095")
    return VLAN_VID(VLAN_PRESENT | vid)


TAGGED = VLAN_VID.masked(VLAN_PRESENT, VLAN_PRESENT)
UNTAGGED = VLAN_VID(0)


def read_header(data: Octets) -> tuple[Field, bool]:
    """A field's header, and whether a mask follows the value. Raises MalformedMessage."""
    head = data.u32()
    oxm_class, number, has_mask, length = head >> 16, head >> 9 & 0x7F, bool(head & 0x100), head & 0xFF
    experimenter = None
    if oxm_class == EXPERIMENTER:
        experimenter = data.u32()
        length -= 4
    if length < 0 or (has_mask and length % 2):
        raise data.fault(f"length {length} of field {oxm_class:#x}/{number}")
    size = length // 2 if has_mask else length
    known = _known.get((oxm_class, number, experimenter))
    if known is None:
        name = f"oxm-{oxm_class:#x}-{number}" + ("" if experimenter is None else f"-{experimenter:#x}")
        return Field(name, oxm_class, number, size, 8 * size, Form.HEXADECIMAL, experimenter), has_mask
    if size != known.size:
        raise data.fault(f"{known.name} of {size} octets")
    return known, has_mask


def read_criterion(data: Octets) -> Criterion:
    """One field with its value. Raises MalformedMessage."""
    of, has_mask = read_header(data)
    value = data.take(of.size)
    return Criterion(of, value, data.take(of.size) if has_mask else None)
