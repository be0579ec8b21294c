"""Capabilities of the OPEN message: RFC 5492 and the documents that define each capability.

Understood: multiprotocol (RFC 4760), route refresh (RFC 2918), extended next hop (RFC 8950), extended message
(RFC 8654), graceful restart (RFC 4724, N bit of RFC 8538), 4-octet AS (RFC 6793), ADD-PATH (RFC 7911), enhanced route
refresh (RFC 7313), long-lived graceful restart (RFC 9494), host name (draft-walton-bgp-hostname-capability). All
others, multiple labels (RFC 8277) among them, are :class:`UnknownCapability`: kept, shown, and ignored, as RFC 5492
section 3 wants.

A capability that is known but whose value has a wrong length is kept as :class:`UnknownCapability` too, hence counts as
not offered: RFC 5492 makes only the enclosing OPEN parameter an error, and ignoring is what it asks for whatever is
not understood. A capability that runs over the end of its parameter is a fault of the OPEN (RFC 4271 section 6.2,
code 2 subcode 0).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

from bagpipe.errors import RemoteFault
from bagpipe.wire.family import Family
from bagpipe.wire.reader import Reader

NAMES: Final[dict[int, str]] = {
    1: "multiprotocol",
    2: "route-refresh",
    3: "outbound-route-filtering",
    5: "extended-next-hop",
    6: "extended-message",
    7: "bgpsec",
    8: "multiple-labels",
    9: "role",
    64: "graceful-restart",
    65: "4-octet-as",
    67: "dynamic-capability",
    68: "multisession",
    69: "add-path",
    70: "enhanced-route-refresh",
    71: "long-lived-graceful-restart",
    72: "routing-policy-distribution",
    73: "host-name",
    75: "software-version",
    76: "paths-limit",
    128: "route-refresh-prestandard",
}
"""Names of the IANA registry of capability codes, for people."""

ADD_PATH_RECEIVE: Final = 1
ADD_PATH_SEND: Final = 2
ADD_PATH_BOTH: Final = 3


@dataclass(frozen=True, slots=True)
class Capability:
    """One capability. ``code`` is its number; :attr:`value` its value octets, without code and length."""

    code: ClassVar[int]

    @property
    def number(self) -> int:
        """The capability code, also where no class stands for it."""
        return self.code

    @property
    def value(self) -> bytes:
        """The value octets."""
        return b""

    @property
    def name(self) -> str:
        """The registered name, or ``capability-<code>``."""
        return NAMES.get(self.number, f"capability-{self.number}")

    def encode(self) -> bytes:
        """Code, length, value (RFC 5492 section 4)."""
        return bytes((self.number, len(self.value))) + self.value

    def __str__(self) -> str:
        detail = self._detail()
        return f"{self.name} {detail}" if detail else self.name

    def _detail(self) -> str:
        return ""


@dataclass(frozen=True, slots=True)
class UnknownCapability(Capability):
    """A capability without a class here, or a known one with a value that cannot be read."""

    unknown_code: int
    raw: bytes

    @property
    def number(self) -> int:
        """The code as received."""
        return self.unknown_code

    @property
    def value(self) -> bytes:
        """The value as received."""
        return self.raw

    def _detail(self) -> str:
        return self.raw.hex()


@dataclass(frozen=True, slots=True)
class Multiprotocol(Capability):
    """Routes of ``family`` can be exchanged (RFC 4760 section 8). 4 octets: AFI, reserved, SAFI."""

    code: ClassVar[int] = 1
    family: Family

    @property
    def value(self) -> bytes:
        """AFI, a zero octet, SAFI."""
        return bytes((self.family.afi >> 8, self.family.afi & 0xFF, 0, self.family.safi))

    def _detail(self) -> str:
        return str(self.family)


@dataclass(frozen=True, slots=True)
class RouteRefreshSupport(Capability):
    """ROUTE-REFRESH messages are understood (RFC 2918)."""

    code: ClassVar[int] = 2


@dataclass(frozen=True, slots=True)
class ExtendedNextHop(Capability):
    """``entries`` are (family, AFI of the next hop) pairs that can be used (RFC 8950 section 4)."""

    code: ClassVar[int] = 5
    entries: tuple[tuple[Family, int], ...]

    @property
    def value(self) -> bytes:
        """Per entry 6 octets: AFI, SAFI (2 octets), next hop AFI."""
        return b"".join(
            family.afi.to_bytes(2) + family.safi.to_bytes(2) + next_hop.to_bytes(2) for family, next_hop in self.entries
        )

    def _detail(self) -> str:
        return ", ".join(f"{family} via afi-{next_hop}" for family, next_hop in self.entries)


@dataclass(frozen=True, slots=True)
class ExtendedMessage(Capability):
    """Messages of up to 65535 octets are accepted (RFC 8654)."""

    code: ClassVar[int] = 6


@dataclass(frozen=True, slots=True)
class GracefulRestart(Capability):
    """Graceful restart (RFC 4724 section 3).

    ``restarting`` is the R bit, ``notification`` the N bit (RFC 8538), ``restart_time`` seconds (0 to 4095),
    ``families`` pairs of a family and its F bit (forwarding state was preserved). No family at all says: helper only.
    """

    code: ClassVar[int] = 64
    restart_time: int
    families: tuple[tuple[Family, bool], ...] = ()
    restarting: bool = False
    notification: bool = False

    @property
    def value(self) -> bytes:
        """Flags and restart time in 2 octets, then per family AFI, SAFI, flags."""
        head = self.restarting << 15 | self.notification << 14 | self.restart_time & 0xFFF
        return head.to_bytes(2) + b"".join(
            family.packed + (0x80 if forwarding else 0).to_bytes(1) for family, forwarding in self.families
        )

    def _detail(self) -> str:
        bits = {"restarting": self.restarting, "notification": self.notification}
        flags = [name for name, is_set in bits.items() if is_set]
        families = [f"{family} (forwarding)" if forwarding else str(family) for family, forwarding in self.families]
        return ", ".join((f"{self.restart_time} s", *flags, *families))


@dataclass(frozen=True, slots=True)
class FourOctetAs(Capability):
    """AS numbers of 4 octets, and the sender's own (RFC 6793 section 3)."""

    code: ClassVar[int] = 65
    asn: int

    @property
    def value(self) -> bytes:
        """The AS number in 4 octets."""
        return self.asn.to_bytes(4)

    def _detail(self) -> str:
        return str(self.asn)


@dataclass(frozen=True, slots=True)
class AddPath(Capability):
    """``entries`` are (family, 1 receive / 2 send / 3 both) pairs (RFC 7911 section 4)."""

    code: ClassVar[int] = 69
    entries: tuple[tuple[Family, int], ...]

    @property
    def value(self) -> bytes:
        """Per entry 4 octets: AFI, SAFI, mode."""
        return b"".join(family.packed + mode.to_bytes(1) for family, mode in self.entries)

    def _detail(self) -> str:
        modes = {ADD_PATH_RECEIVE: "receive", ADD_PATH_SEND: "send", ADD_PATH_BOTH: "both"}
        return ", ".join(f"{family} {modes.get(mode, str(mode))}" for family, mode in self.entries)


@dataclass(frozen=True, slots=True)
class EnhancedRouteRefresh(Capability):
    """Begin and end of a route refresh are marked (RFC 7313)."""

    code: ClassVar[int] = 70


@dataclass(frozen=True, slots=True)
class LongLivedGracefulRestart(Capability):
    """``entries`` are (family, F bit, stale time in seconds) (RFC 9494 section 3)."""

    code: ClassVar[int] = 71
    entries: tuple[tuple[Family, bool, int], ...]

    @property
    def value(self) -> bytes:
        """Per entry 7 octets: AFI, SAFI, flags, stale time in 3 octets."""
        return b"".join(
            family.packed + (0x80 if forwarding else 0).to_bytes(1) + stale_time.to_bytes(3)
            for family, forwarding, stale_time in self.entries
        )

    def _detail(self) -> str:
        return ", ".join(f"{family} {stale_time} s" for family, _, stale_time in self.entries)


@dataclass(frozen=True, slots=True)
class HostName(Capability):
    """Host and domain name of the speaker, for people (draft-walton-bgp-hostname-capability)."""

    code: ClassVar[int] = 73
    host: bytes
    domain: bytes = b""

    @property
    def value(self) -> bytes:
        """Two strings, each after its length octet."""
        return len(self.host).to_bytes(1) + self.host + len(self.domain).to_bytes(1) + self.domain

    def _detail(self) -> str:
        text = b".".join(part for part in (self.host, self.domain) if part).decode("utf-8", "backslashreplace")
        return "".join(sign if sign.isprintable() else f"\\x{ord(sign):02x}" for sign in text)


def decode_capabilities(reader: Reader) -> list[Capability]:
    """All capabilities of one OPEN parameter of type 2, in their order.

    Raises :class:`RemoteFault` (the reader's) if one runs over the end of the parameter.
    """
    found: list[Capability] = []
    while reader.remaining:
        code = reader.u8()
        found.append(_decode_one(code, reader.take(reader.u8())))
    return found


def _decode_one(code: int, value: bytes) -> Capability:
    decoder = _DECODERS.get(code)
    if decoder is None:
        return UnknownCapability(code, value)
    reader = Reader(value, NAMES[code], code=2, subcode=0)
    try:
        capability = decoder(reader)
        reader.finish()
    except RemoteFault:
        return UnknownCapability(code, value)
    return capability


def _family(reader: Reader) -> Family:
    return Family(reader.u16(), reader.u8())


def _multiprotocol(reader: Reader) -> Capability:
    afi, safi = reader.u16(), reader.u16() & 0xFF
    return Multiprotocol(Family(afi, safi))


def _extended_next_hop(reader: Reader) -> Capability:
    entries: list[tuple[Family, int]] = []
    while reader.remaining:
        entries.append((Family(reader.u16(), reader.u16()), reader.u16()))
    return ExtendedNextHop(tuple(entries))


def _graceful_restart(reader: Reader) -> Capability:
    head = reader.u16()
    families: list[tuple[Family, bool]] = []
    while reader.remaining:
        families.append((_family(reader), bool(reader.u8() & 0x80)))
    return GracefulRestart(head & 0xFFF, tuple(families), bool(head & 0x8000), bool(head & 0x4000))


def _add_path(reader: Reader) -> Capability:
    entries: list[tuple[Family, int]] = []
    while reader.remaining:
        entries.append((_family(reader), reader.u8()))
    return AddPath(tuple(entries))


def _long_lived_graceful_restart(reader: Reader) -> Capability:
    entries: list[tuple[Family, bool, int]] = []
    while reader.remaining:
        entries.append((_family(reader), bool(reader.u8() & 0x80), reader.u24()))
    return LongLivedGracefulRestart(tuple(entries))


def _host_name(reader: Reader) -> Capability:
    return HostName(reader.take(reader.u8()), reader.take(reader.u8()))


_DECODERS: dict[int, Callable[[Reader], Capability]] = {
    Multiprotocol.code: _multiprotocol,
    RouteRefreshSupport.code: lambda reader: RouteRefreshSupport(),
    ExtendedNextHop.code: _extended_next_hop,
    ExtendedMessage.code: lambda reader: ExtendedMessage(),
    GracefulRestart.code: _graceful_restart,
    FourOctetAs.code: lambda reader: FourOctetAs(reader.u32()),
    AddPath.code: _add_path,
    EnhancedRouteRefresh.code: lambda reader: EnhancedRouteRefresh(),
    LongLivedGracefulRestart.code: _long_lived_graceful_restart,
    HostName.code: _host_name,
}
