"""A route as a program shows it, in one form whatever the program, so that what two programs see can be compared."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import Enum


class Family(Enum):
    """The families that travel between the programs; the value is the AFI and SAFI."""

    VPNV4 = (1, 128)
    VPNV6 = (2, 128)
    EVPN = (25, 70)
    FLOWSPEC = (1, 134)
    RTC = (1, 132)


@dataclass(frozen=True, slots=True)
class Route:
    """One route. None and the empty tuple stand for what the route has not, or what the program does not show.

    `nlri` without the route distinguisher is `10.0.0.0/24` for a VPN prefix, `mac 52:54:00:00:00:01 10.0.0.1`,
    `multicast 192.0.2.1` or `prefix 10.0.0.0/24` for EVPN, and the destination prefix for FlowSpec.
    `label` is the first label, for EVPN the VNI as 24 bits.
    """

    rd: str
    nlri: str
    next_hop: str
    label: int | None = None
    route_targets: frozenset[str] = frozenset()
    local_pref: int | None = None
    originator_id: str | None = None
    cluster_list: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """What the route is found by."""
        return self.rd, self.nlri


Routes = dict[tuple[str, str], Route]


def by_key(routes: list[Route]) -> Routes:
    """The routes, each under its key."""
    return {route.key: route for route in routes}


def plain_address(text: str) -> str:
    """An address in its usual form, an IPv4-mapped one as IPv4; anything else as it is."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
