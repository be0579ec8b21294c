"""Standard communities (RFC 1997) and large communities (RFC 8092), with the registered well-known names.

A standard community is a number of 32 bits. The text of both is decimal, parts joined by colons. What a well-known
community asks for (RFC 1997, RFC 7999, RFC 8326, RFC 9494) is not done here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from bagpipe.errors import LocalMisuse, Outcome, RemoteFault

WELL_KNOWN = {
    0xFFFF0000: "graceful-shutdown",
    0xFFFF0001: "accept-own",
    0xFFFF0002: "route-filter-translated-v4",
    0xFFFF0003: "route-filter-v4",
    0xFFFF0004: "route-filter-translated-v6",
    0xFFFF0005: "route-filter-v6",
    0xFFFF0006: "llgr-stale",
    0xFFFF0007: "no-llgr",
    0xFFFF0008: "accept-own-nexthop",
    0xFFFF0009: "standby-pe",
    0xFFFF029A: "blackhole",
    0xFFFFFF01: "no-export",
    0xFFFFFF02: "no-advertise",
    0xFFFFFF03: "no-export-subconfed",
    0xFFFFFF04: "no-peer",
}
"""Names of the IANA registry "BGP Well-known Communities"."""

_NUMBERS = {name: value for value, name in WELL_KNOWN.items()}
_STANDARD_TEXT = re.compile(r"([0-9]{1,5}):([0-9]{1,5})\Z")
_LARGE_TEXT = re.compile(r"([0-9]{1,10}):([0-9]{1,10}):([0-9]{1,10})\Z")
_MAXIMUM = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, order=True)
class Community:
    """One standard community. Raises LocalMisuse for a value of more than 32 bits."""

    value: int

    def __post_init__(self) -> None:
        if not 0 <= self.value <= _MAXIMUM:
            raise LocalMisuse("community", self.value, "not a number of 32 bits")

    @classmethod
    def from_text(cls, text: str, field: str = "community") -> Self:
        """Read ``64512:100`` or a well-known name. Raises LocalMisuse that names ``field``."""
        name = text.strip().lower()
        if name in _NUMBERS:
            return cls(_NUMBERS[name])
        found = _STANDARD_TEXT.match(name)
        if not found or int(found[1]) > 0xFFFF or int(found[2]) > 0xFFFF:
            raise LocalMisuse(field, text, "expected two numbers of 0 to 65535 with a colon, or a well-known name")
        return cls(int(found[1]) << 16 | int(found[2]))

    @property
    def packed(self) -> bytes:
        """Four octets."""
        return self.value.to_bytes(4)

    def __str__(self) -> str:
        return WELL_KNOWN.get(self.value, f"{self.value >> 16}:{self.value & 0xFFFF}")


@dataclass(frozen=True, slots=True, order=True)
class LargeCommunity:
    """One large community: a global administrator and two parts of local data, 32 bits each (RFC 8092 section 3)."""

    administrator: int
    first: int
    second: int

    def __post_init__(self) -> None:
        for value in (self.administrator, self.first, self.second):
            if not 0 <= value <= _MAXIMUM:
                raise LocalMisuse("large community", value, "not a number of 32 bits")

    @classmethod
    def from_text(cls, text: str, field: str = "large community") -> Self:
        """Read ``4200000000:1:2``. Raises LocalMisuse that names ``field``."""
        found = _LARGE_TEXT.match(text.strip())
        if not found or any(int(part) > _MAXIMUM for part in found.groups()):
            raise LocalMisuse(field, text, "expected three numbers of 0 to 4294967295 with colons")
        return cls(int(found[1]), int(found[2]), int(found[3]))

    @property
    def packed(self) -> bytes:
        """Twelve octets."""
        return self.administrator.to_bytes(4) + self.first.to_bytes(4) + self.second.to_bytes(4)

    def __str__(self) -> str:
        return f"{self.administrator}:{self.first}:{self.second}"


def decode_communities(value: bytes) -> tuple[Community, ...]:
    """The value of COMMUNITIES. Raises RemoteFault (treat as withdraw, RFC 7606 section 7.8)."""
    return tuple(Community(int.from_bytes(item)) for item in pieces(value, 4, "COMMUNITIES"))


def decode_large_communities(value: bytes) -> tuple[LargeCommunity, ...]:
    """The value of LARGE_COMMUNITY. Raises RemoteFault (treat as withdraw, RFC 8092 section 6)."""
    return tuple(
        LargeCommunity(int.from_bytes(item[:4]), int.from_bytes(item[4:8]), int.from_bytes(item[8:]))
        for item in pieces(value, 12, "LARGE_COMMUNITY")
    )


def pieces(value: bytes, size: int, name: str) -> list[bytes]:
    """An attribute value cut into communities of ``size`` octets.

    Raises RemoteFault (treat as withdraw) if it is empty or not a multiple of that (RFC 7606 sections 7.8, 7.14, 7.15).
    """
    if not value or len(value) % size:
        raise RemoteFault(
            f"{name}: {len(value)} octets, expected a multiple of {size}",
            outcome=Outcome.TREAT_AS_WITHDRAW,
            code=3,
            subcode=5,
        )
    return [value[at : at + size] for at in range(0, len(value), size)]
