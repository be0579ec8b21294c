"""What a neighbour asked for: route target membership, RFC 4684 sections 4 and 5.

An RTC NLRI is a prefix of 0 to 96 bits over origin AS (32 bits) and route target (64 bits). The origin AS says nothing
about which routes the neighbour wants; a prefix of 32 bits or fewer asks for every route target.
"""

from __future__ import annotations

from collections.abc import Iterable

DEFAULT = b"\0"
"""The NLRI of no bits: it asks for every route target."""
EVERYTHING = 32
"""An NLRI of so many bits or fewer asks for every route target."""
FULL_LENGTH = 96
"""An NLRI of so many bits asks for exactly one."""
_AS_BITS = 32


class Membership:
    """The route targets one neighbour wants.

    Without RTC on the session it wants everything (``constrained`` false).
    """

    __slots__ = ("_exact", "_prefixes", "constrained")

    def __init__(self, *, constrained: bool) -> None:
        self.constrained = constrained
        self._exact: dict[bytes, set[bytes]] = {}
        self._prefixes: dict[bytes, tuple[int, int]] = {}

    def add(self, key: bytes) -> None:
        """The neighbour sent this NLRI (length octet and masked prefix octets)."""
        if key[0] == FULL_LENGTH:
            self._exact.setdefault(key[5:], set()).add(key)
        else:
            bits = max(0, key[0] - _AS_BITS)
            value = int.from_bytes(key[5:].ljust(8, b"\0"))
            self._prefixes[key] = (64 - bits, value >> (64 - bits))

    def remove(self, key: bytes) -> None:
        """The neighbour withdrew this NLRI."""
        if key[0] == FULL_LENGTH:
            origins = self._exact.get(key[5:])
            if origins is not None:
                origins.discard(key)
                if not origins:
                    del self._exact[key[5:]]
        else:
            self._prefixes.pop(key, None)

    def wants(self, route_target: bytes) -> bool:
        """Whether routes with this route target (8 octets) are wanted."""
        if not self.constrained or route_target in self._exact:
            return True
        if self._prefixes:
            number = int.from_bytes(route_target)
            return any(number >> shift == value for shift, value in self._prefixes.values())
        return False

    def wants_any(self, route_targets: Iterable[bytes]) -> bool:
        """Whether a route with these route targets is wanted; one with none is wanted only by who wants all."""
        if not self.constrained:
            return True
        if any(self.wants(route_target) for route_target in route_targets):
            return True
        return any(shift == 64 for shift, _ in self._prefixes.values())

    @staticmethod
    def covers(key: bytes, route_target: bytes) -> bool:
        """Whether the NLRI ``key`` asks for ``route_target``."""
        shift = 64 - max(0, key[0] - _AS_BITS)
        value = int.from_bytes(key[5:].ljust(8, b"\0")) >> shift
        return int.from_bytes(route_target) >> shift == value
