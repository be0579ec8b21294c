"""How neighbours are reached, and who may connect: values that the TCP edge acts on.

Addresses have no scope: link-local neighbours cannot be had.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from bagpipe.daemon.socket_options import IPAddress, IPNetwork, Protection
from bagpipe.speaker import PeerSettings

BGP_PORT = 179


@dataclass(frozen=True, slots=True)
class Reach:
    """``host`` is an address, or a name looked up at each attempt; ``source`` is None for the system's choice."""

    host: str
    port: int = BGP_PORT
    source: IPAddress | None = None
    protection: Protection = field(default_factory=Protection)


@dataclass(frozen=True, slots=True)
class ClientRange:
    """Any address of ``prefix`` may connect and becomes a neighbour with ``settings(address)`` until it leaves."""

    prefix: IPNetwork
    protection: Protection
    settings: Callable[[IPAddress], PeerSettings]


@dataclass(frozen=True, slots=True)
class Limits:
    """How many accepted connections are open at a time, in all and from one address."""

    total: int = 1024
    per_address: int = 2


def canonical(host: str) -> IPAddress | None:
    """The address that ``host`` is, without scope, IPv4-mapped ones as IPv4; None for a name."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def covering(ranges: Iterable[ClientRange], address: IPAddress) -> ClientRange | None:
    """The most specific range with ``address`` in it."""
    matches = [entry for entry in ranges if entry.prefix.version == address.version and address in entry.prefix]
    return max(matches, key=lambda entry: entry.prefix.prefixlen, default=None)
