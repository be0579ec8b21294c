"""Extended communities: RFC 4360, RFC 5668, RFC 7153, and those that VPNs use.

Encapsulation and color (RFC 9012 sections 4.1 and 4.3), default gateway, ES-import, ESI label and MAC mobility (RFC
7432 section 7), router's MAC (RFC 9135 section 8.1), Layer 2 attributes (RFC 8214 section 3.1), ARP/ND (RFC 9047),
FlowSpec actions (RFC 8955 section 7), the route target record (sub-type 0x13) and the load balance order (type 0x03,
sub-type 0x14: four octets of order, two of zero), both as networking-bagpipe sends them.

Each is eight octets and stays so: ``packed`` is the value, fields are read from it, so whatever is reserved survives.
Types that are not known, OSPF's among them, are :class:`ExtendedCommunity` and shown as hex. IPv6 ones (RFC 5701) are
in ``ipv6_extended_community``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from bagpipe.errors import LocalMisuse
from bagpipe.identifiers import MacAddress, RouteTarget
from bagpipe.wire.community import pieces
from bagpipe.wire.tunnel_type import tunnel_name

SIZE = 8
_NON_TRANSITIVE = 0x40


def _octets(value: int, size: int, field: str) -> bytes:
    """``value`` in ``size`` octets; raises LocalMisuse that names ``field`` if it does not fit."""
    if not 0 <= value < 1 << (8 * size):
        raise LocalMisuse(field, value, f"not a number of {size} octets")
    return value.to_bytes(size)


@dataclass(frozen=True, slots=True, order=True)
class ExtendedCommunity:
    """Any extended community: eight octets, type and sub-type first. Raises LocalMisuse for another length."""

    packed: bytes

    def __post_init__(self) -> None:
        if len(self.packed) != SIZE:
            raise LocalMisuse("extended community", self.packed.hex(), "expected 8 octets")

    @property
    def kind(self) -> int:
        """Type octet and sub-type octet as one number, such as 0x030c."""
        return int.from_bytes(self.packed[:2])

    @property
    def is_transitive(self) -> bool:
        """Whether it may cross the border of an AS (RFC 4360 section 2)."""
        return not self.packed[0] & _NON_TRANSITIVE

    @property
    def number(self) -> int:
        """The last four octets as a number."""
        return int.from_bytes(self.packed[4:])

    def __str__(self) -> str:
        return f"0x{self.packed.hex()}"


class _Administered(ExtendedCommunity):
    """One whose six octets are those of a route target."""

    __slots__ = ()

    def _as_route_target(self) -> RouteTarget:
        return RouteTarget(bytes((self.packed[0] & 0x0F, 2)) + self.packed[2:])


class RouteTargetCommunity(_Administered):
    """RFC 4360 section 4: types 0x00, 0x01, 0x02, sub-type 0x02."""

    __slots__ = ()

    @classmethod
    def of(cls, route_target: RouteTarget) -> Self:
        """The community of a route target."""
        return cls(route_target.packed)

    @property
    def route_target(self) -> RouteTarget:
        """The route target."""
        return RouteTarget(self.packed)

    def __str__(self) -> str:
        return f"target:{self.route_target}"


class RouteOrigin(_Administered):
    """RFC 4360 section 5: sub-type 0x03, the site of origin."""

    __slots__ = ()

    @classmethod
    def of(cls, origin: RouteTarget) -> Self:
        """The origin that is written like ``origin``."""
        return cls(origin.packed[:1] + b"\x03" + origin.packed[2:])

    def __str__(self) -> str:
        return f"origin:{self._as_route_target()}"


class RouteTargetRecord(_Administered):
    """Sub-type 0x13: a route target that a readvertised route had before; the guard against loops of readvertising."""

    __slots__ = ()

    @classmethod
    def of(cls, route_target: RouteTarget) -> Self:
        """The record of ``route_target``."""
        return cls(route_target.packed[:1] + b"\x13" + route_target.packed[2:])

    @property
    def route_target(self) -> RouteTarget:
        """The route target on record."""
        return self._as_route_target()

    def __str__(self) -> str:
        return f"target-record:{self.route_target}"


class RedirectToRouteTarget(_Administered):
    """RFC 8955 section 7.4: types 0x80, 0x81, 0x82, sub-type 0x08: matching packets go to the VRF that imports it."""

    __slots__ = ()

    @classmethod
    def of(cls, route_target: RouteTarget) -> Self:
        """The redirect to ``route_target``."""
        return cls(bytes((0x80 | route_target.packed[0], 0x08)) + route_target.packed[2:])

    @property
    def route_target(self) -> RouteTarget:
        """Where to."""
        return self._as_route_target()

    def __str__(self) -> str:
        return f"redirect:{self.route_target}"


class Encapsulation(ExtendedCommunity):
    """RFC 9012 section 4.1."""

    __slots__ = ()

    @classmethod
    def of(cls, tunnel_type: int) -> Self:
        """The encapsulation of a tunnel type."""
        return cls(b"\x03\x0c\0\0\0\0" + _octets(tunnel_type, 2, "tunnel type"))

    @property
    def tunnel_type(self) -> int:
        """A :class:`~bagpipe.wire.tunnel_type.TunnelType`, or any other number."""
        return int.from_bytes(self.packed[6:])

    def __str__(self) -> str:
        return f"encapsulation:{tunnel_name(self.tunnel_type)}"


class LoadBalanceOrder(ExtendedCommunity):
    """0x0314: where this route stands among those that a consistent hash chooses from."""

    __slots__ = ()

    @classmethod
    def of(cls, order: int) -> Self:
        """The community of an order of 32 bits."""
        return cls(b"\x03\x14" + _octets(order, 4, "order") + b"\0\0")

    @property
    def order(self) -> int:
        """The order."""
        return int.from_bytes(self.packed[2:6])

    def __str__(self) -> str:
        return f"load-balance-order:{self.order}"


class Color(ExtendedCommunity):
    """RFC 9012 section 4.3."""

    __slots__ = ()

    @classmethod
    def of(cls, color: int, flags: int = 0) -> Self:
        """A color of 32 bits and its 16 flags."""
        return cls(b"\x03\x0b" + _octets(flags, 2, "flags") + _octets(color, 4, "color"))

    def __str__(self) -> str:
        flags = int.from_bytes(self.packed[2:4])
        return f"color:{self.number}" + (f":flags-0x{flags:04x}" if flags else "")


class DefaultGateway(ExtendedCommunity):
    """RFC 7432 section 7.8."""

    __slots__ = ()

    @classmethod
    def of(cls) -> Self:
        """The community."""
        return cls(b"\x03\x0d\0\0\0\0\0\0")

    def __str__(self) -> str:
        return "default-gateway"


class MacMobility(ExtendedCommunity):
    """RFC 7432 section 7.7."""

    __slots__ = ()

    @classmethod
    def of(cls, sequence: int, *, sticky: bool = False) -> Self:
        """A sequence number of 32 bits; ``sticky`` for a MAC that does not move."""
        return cls(bytes((0x06, 0x00, int(sticky), 0)) + _octets(sequence, 4, "sequence"))

    @property
    def sticky(self) -> bool:
        """Whether the MAC does not move."""
        return self.packed[2] & 1 != 0

    def __str__(self) -> str:
        return f"mac-mobility:{self.number}" + (":sticky" if self.sticky else "")


class EsiLabel(ExtendedCommunity):
    """RFC 7432 section 7.5."""

    __slots__ = ()

    @classmethod
    def of(cls, label_field: int, *, single_active: bool) -> Self:
        """A label field of 24 bits as on the wire and the redundancy mode."""
        return cls(bytes((0x06, 0x01, int(single_active), 0, 0)) + _octets(label_field, 3, "label field"))

    @property
    def label_field(self) -> int:
        """24 bits: a label in the upper 20, or a VNI."""
        return int.from_bytes(self.packed[5:])

    @property
    def single_active(self) -> bool:
        """Whether one PE at a time forwards for the segment."""
        return self.packed[2] & 1 != 0

    def __str__(self) -> str:
        return f"esi-label:{self.label_field}:{'single-active' if self.single_active else 'all-active'}"


class _WithMac(ExtendedCommunity):
    __slots__ = ()

    @property
    def mac(self) -> MacAddress:
        """The six octets after the sub-type."""
        return MacAddress(self.packed[2:])


class EsImport(_WithMac):
    """ES-Import route target, RFC 7432 section 7.6. Not a route target of type 0, 1 or 2."""

    __slots__ = ()

    @classmethod
    def of(cls, mac: MacAddress) -> Self:
        """The community of the six octets of an ESI."""
        return cls(b"\x06\x02" + mac.packed)

    def __str__(self) -> str:
        return f"es-import:{self.mac}"


class RouterMac(_WithMac):
    """RFC 9135 section 8.1."""

    __slots__ = ()

    @classmethod
    def of(cls, mac: MacAddress) -> Self:
        """The community of a router's MAC."""
        return cls(b"\x06\x03" + mac.packed)

    def __str__(self) -> str:
        return f"router-mac:{self.mac}"


class Layer2Attributes(ExtendedCommunity):
    """RFC 8214 section 3.1: control flags and MTU."""

    __slots__ = ()

    @classmethod
    def of(cls, flags: int, mtu: int) -> Self:
        """16 control flags and an MTU in octets (0: not given)."""
        return cls(b"\x06\x04" + _octets(flags, 2, "flags") + _octets(mtu, 2, "mtu") + b"\0\0")

    def __str__(self) -> str:
        flags, mtu = int.from_bytes(self.packed[2:4]), int.from_bytes(self.packed[4:6])
        return f"l2-attributes:flags-0x{flags:04x}:mtu-{mtu}"


class ArpNd(ExtendedCommunity):
    """RFC 9047 section 2."""

    __slots__ = ()

    @classmethod
    def of(cls, flags: int) -> Self:
        """Flags: 0x01 router, 0x02 override, 0x08 immutable."""
        return cls(b"\x06\x08" + _octets(flags, 1, "flags") + bytes(5))

    def __str__(self) -> str:
        return f"arp-nd:flags-0x{self.packed[2]:02x}"


class TrafficRate(ExtendedCommunity):
    """RFC 8955 sections 7.1 and 7.2: 0x8006 in octets, 0x800c in packets, per second; 0 drops."""

    __slots__ = ()

    @classmethod
    def of(cls, rate: float, *, packets: bool = False, autonomous_system: int = 0) -> Self:
        """A rate per second, in octets or packets, and a two-octet AS that means nothing to the receiver."""
        lead = bytes((0x80, 0x0C if packets else 0x06)) + _octets(autonomous_system, 2, "autonomous system")
        return cls(lead + struct.pack("!f", rate))

    @property
    def rate(self) -> float:
        """The rate; whatever float the peer sent, not a number included."""
        (rate,) = struct.unpack("!f", self.packed[4:])
        return float(rate)

    def __str__(self) -> str:
        return f"traffic-rate:{self.rate:g}:{'packets' if self.packed[1] == 0x0C else 'octets'}"


class TrafficAction(ExtendedCommunity):
    """RFC 8955 section 7.3."""

    __slots__ = ()

    @classmethod
    def of(cls, *, sample: bool, go_on: bool) -> Self:
        """``sample``: log and sample; ``go_on``: later flow specifications are looked at, too."""
        return cls(b"\x80\x07\0\0\0\0\0" + bytes((sample << 1 | go_on,)))

    def __str__(self) -> str:
        flags = [name for bit, name in ((2, "sample"), (1, "continue")) if self.packed[7] & bit]
        return f"traffic-action:{'+'.join(flags) or 'terminal'}"


class TrafficMarking(ExtendedCommunity):
    """RFC 8955 section 7.5."""

    __slots__ = ()

    @classmethod
    def of(cls, dscp: int) -> Self:
        """A DSCP of 6 bits."""
        if dscp > 0x3F:
            raise LocalMisuse("dscp", dscp, "not a number of 6 bits")
        return cls(b"\x80\x09\0\0\0\0\0" + _octets(dscp, 1, "dscp"))

    def __str__(self) -> str:
        return f"traffic-marking:dscp-{self.packed[7] & 0x3F}"


_CLASSES: dict[int, type[ExtendedCommunity]] = {
    0x0002: RouteTargetCommunity,
    0x0102: RouteTargetCommunity,
    0x0202: RouteTargetCommunity,
    0x0003: RouteOrigin,
    0x0103: RouteOrigin,
    0x0203: RouteOrigin,
    0x0013: RouteTargetRecord,
    0x0113: RouteTargetRecord,
    0x0213: RouteTargetRecord,
    0x030B: Color,
    0x030C: Encapsulation,
    0x030D: DefaultGateway,
    0x0314: LoadBalanceOrder,
    0x0600: MacMobility,
    0x0601: EsiLabel,
    0x0602: EsImport,
    0x0603: RouterMac,
    0x0604: Layer2Attributes,
    0x0608: ArpNd,
    0x8006: TrafficRate,
    0x800C: TrafficRate,
    0x8007: TrafficAction,
    0x8009: TrafficMarking,
    0x8008: RedirectToRouteTarget,
    0x8108: RedirectToRouteTarget,
    0x8208: RedirectToRouteTarget,
}


def extended_community(packed: bytes) -> ExtendedCommunity:
    """One extended community as the class of its type."""
    return _CLASSES.get(int.from_bytes(packed[:2]), ExtendedCommunity)(packed)


def decode_extended_communities(value: bytes) -> tuple[ExtendedCommunity, ...]:
    """The value of EXTENDED_COMMUNITIES. Raises RemoteFault (treat as withdraw, RFC 7606 section 7.14)."""
    return tuple(extended_community(item) for item in pieces(value, SIZE, "EXTENDED_COMMUNITIES"))


def encode_extended_communities(communities: Iterable[ExtendedCommunity]) -> bytes:
    """The attribute value of ``communities``, in their order."""
    return b"".join(community.packed for community in communities)


def route_targets_of(value: bytes) -> tuple[bytes, ...]:
    """The route targets, eight octets each, in the value of EXTENDED_COMMUNITIES, whose length is a multiple of 8."""
    return tuple(
        [value[at : at + 8] for at in range(0, len(value), 8) if value[at + 1] == 2 and value[at] <= 2],
    )
