"""One VRF: what was said of it, its endpoints, and which routes of the RIB it looks at for each prefix."""

from __future__ import annotations

from typing import TypeVar

from bagpipe.dataplane.model import ARRIVING, Address, DeliveryKey, Fallback, FallbackKey, ForwardKey, Prefix
from bagpipe.identifiers import MacAddress, RouteDistinguisher, RouteTarget
from bagpipe.vpn.attachment import AttractTraffic, CarriedBy, EndpointKey, Readvertise
from bagpipe.vpn.endpoint import Endpoint, LabelGroup, PortAccess

RibKeys = bytes | tuple[bytes, ...]
"""The keys of one prefix in its table: nearly always one, so that one is not put in a tuple."""


def with_key(present: RibKeys | None, key: bytes) -> RibKeys:
    """``present`` and ``key``."""
    if present is None or present == key:
        return key
    if isinstance(present, bytes):
        return tuple(sorted((present, key)))
    return present if key in present else tuple(sorted((*present, key)))


def without_key(present: RibKeys | None, key: bytes) -> RibKeys | None:
    """``present`` less ``key``, None if nothing is left."""
    if present is None or present == key:
        return None
    if isinstance(present, bytes):
        return present
    left = tuple(each for each in present if each != key)
    return left[0] if len(left) == 1 else left or None


def keys_of(present: RibKeys | None) -> tuple[bytes, ...]:
    """The keys one by one."""
    if present is None:
        return ()
    return (present,) if isinstance(present, bytes) else present


_K = TypeVar("_K")


def _drop(index: dict[_K, dict[Endpoint, None]], key: _K, endpoint: Endpoint) -> None:
    del index[key][endpoint]
    if not index[key]:
        del index[key]


class Vrf:
    """A VPN instance of type IP VPN.

    ``redirect_target`` is set for an instance that exists only because packets are steered into it. ``routes`` are the
    keys of imported routes by the record of their prefix (the tracker has the same object), ``own`` the endpoints (and
    static routes through them) and ``unusable`` counts the candidates that this node has no way to reach, both by
    record too. ``sources`` are the keys of routes that match ``readvertise``, by prefix, and ``readvertised`` has for
    each IP version the prefixes told on, with their route target records. ``carried_by`` are the families of its own
    routes, ``vni`` the number that EVPN carries it by (None: it does not), and ``stated_vni`` the one that was asked
    for (None: this node chooses).
    """

    def __init__(self, external_id: str, number: int, rd_number: int, rd: RouteDistinguisher) -> None:
        self.external_id = external_id
        self.number = number
        self.rd_number = rd_number
        self.rd = rd
        self.redirect_target: RouteTarget | None = None
        self.import_rts: frozenset[RouteTarget] = frozenset()
        self.export_rts: frozenset[RouteTarget] = frozenset()
        self.imports: frozenset[bytes] = frozenset()
        self.description: str | None = None
        self.fallback: Fallback | None = None
        self.gateway: Address | None = None
        self.readvertise: Readvertise | None = None
        self.readvertise_from: frozenset[bytes] = frozenset()
        self.attract: AttractTraffic | None = None
        self.static_routes: tuple[Prefix, ...] = ()
        self.carried_by: frozenset[CarriedBy] = frozenset()
        self.vni: int | None = None
        self.stated_vni: int | None = None
        self.endpoints: dict[EndpointKey, Endpoint] = {}
        self.plugged: dict[str, dict[Endpoint, None]] = {}
        self.macs: dict[MacAddress, dict[Endpoint, None]] = {}
        self.groups: dict[tuple[MacAddress, int], LabelGroup] = {}
        self.ports: dict[str, PortAccess] = {}
        self.routes: dict[ForwardKey, RibKeys] = {}
        self.sources: dict[Prefix, RibKeys] = {}
        self.own: dict[ForwardKey, dict[Endpoint, None]] = {}
        self.unusable: dict[ForwardKey, int] = {}
        self.readvertised: dict[int, dict[Prefix, bytes]] = {4: {}, 6: {}}

    def enter(self, endpoint: Endpoint) -> None:
        """An endpoint is attached; nothing changes if it was."""
        attachment = endpoint.attachment
        self.endpoints[attachment.key] = endpoint
        self.plugged.setdefault(attachment.port.name, {})[endpoint] = None
        self.macs.setdefault(attachment.key.mac, {})[endpoint] = None

    def leave(self, endpoint: Endpoint) -> None:
        """An endpoint is detached."""
        attachment = endpoint.attachment
        del self.endpoints[attachment.key]
        _drop(self.plugged, attachment.port.name, endpoint)
        _drop(self.macs, attachment.key.mac, endpoint)

    @property
    def name(self) -> str:
        """The name that networking-bagpipe shows."""
        return f"VRF-{self.number}"

    @property
    def fallback_key(self) -> FallbackKey:
        """The record of the fallback."""
        return FallbackKey(self.number)

    def record(self, prefix: Prefix) -> ForwardKey:
        """The record of a prefix."""
        return ForwardKey(self.number, prefix)

    @property
    def arrival_key(self) -> DeliveryKey | None:
        """The record of packets that come by the VNI, if there is one."""
        return DeliveryKey(self.vni) if self.vni is not None else None

    def arrival(self, prefix: Prefix) -> ForwardKey:
        """The record of a prefix for packets that come by the VNI: they go to what of the VRF is on this node."""
        return ForwardKey(self.number | ARRIVING, prefix)

    def prefixes(self) -> list[Prefix]:
        """All that a route or an endpoint leads to, in order."""
        return sorted([record.prefix for record in {*self.routes, *self.own}])

    def own_prefixes(self, endpoint: Endpoint) -> tuple[Prefix, ...]:
        """The prefixes that lead to an endpoint within this VRF."""
        if endpoint.group is None:
            return ()
        statics = tuple(prefix for prefix in self.static_routes if prefix.version == endpoint.version)
        return (endpoint.prefix, *(prefix for prefix in statics if prefix != endpoint.prefix))

    def __repr__(self) -> str:
        return f"<{self.name} {self.external_id}>"
