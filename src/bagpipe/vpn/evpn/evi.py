"""One EVPN instance (EVI): what was said of it, its endpoints, and which routes of the RIB it looks at for each record.

The service is VLAN-based (RFC 7432 section 6.1): an EVI has one broadcast domain and Ethernet tag 0.
"""

from __future__ import annotations

from typing import TypeVar

from bagpipe.dataplane.model import BridgeKey, FloodKey, Local, MacKey, NeighbourKey, PlugKey
from bagpipe.identifiers import MacAddress, RouteDistinguisher, RouteTarget
from bagpipe.vpn.attachment import Attachment, EndpointKey
from bagpipe.vpn.endpoint import takes_traffic
from bagpipe.vpn.evpn.moves import Moves
from bagpipe.vpn.vrf import RibKeys, keys_of, with_key, without_key

_K = TypeVar("_K")


class Endpoint:
    """A MAC, with an address or without, as it is attached now.

    ``ready`` tells that bridge and plug were in effect once since it was attached, ``placed`` that the records that
    lead to it were since its MAC is here: then its route may be announced.
    """

    __slots__ = ("attachment", "evi", "placed", "ready")

    def __init__(self, evi: Evi, attachment: Attachment) -> None:
        self.evi = evi
        self.attachment = attachment
        self.ready = False
        self.placed = False

    @property
    def key(self) -> EndpointKey:
        """What identifies it within its EVI."""
        return self.attachment.key

    @property
    def address(self) -> bytes:
        """Its IP address, 4 or 16 octets; none if it has none."""
        return self.key.ip.ip.packed if self.key.ip is not None else b""

    @property
    def takes(self) -> bool:
        """Whether frames go to it: its direction asks for that."""
        return takes_traffic(self.attachment.direction)

    @property
    def mac_record(self) -> MacKey:
        """The record of its MAC."""
        return MacKey(self.evi.number, self.key.mac.packed)

    @property
    def neighbour_record(self) -> NeighbourKey | None:
        """The record of its address."""
        return NeighbourKey(self.evi.number, self.address) if self.address else None

    def __str__(self) -> str:
        return f"{self.key.mac} {self.key.ip}" if self.key.ip is not None else str(self.key.mac)


class Host:
    """A MAC that is attached at this node and takes frames.

    ``sequence`` is that of its mobility, ``is_here`` tells that nobody has a better claim to the MAC: it is announced.
    ``is_early``: it was attached before it could be known where else it is (:attr:`Evi.heard_at`).
    """

    __slots__ = ("endpoints", "is_early", "is_here", "mac", "sequence")

    def __init__(self, mac: MacAddress, sequence: int) -> None:
        self.mac = mac
        self.sequence = sequence
        self.is_here = True
        self.is_early = False
        self.endpoints: dict[Endpoint, None] = {}

    @property
    def sticky(self) -> bool:
        """Whether it never moves (RFC 7432 section 15.2)."""
        return any(each.attachment.sticky for each in self.endpoints)

    @property
    def hop(self) -> Local:
        """Where frames to it go."""
        return Local(next(iter(self.endpoints)).attachment.port, self.mac)

    def announces(self, endpoint: Endpoint) -> bool:
        """Whether a route is made of an endpoint: one without an address has none beside one that is announced with."""
        if endpoint.key.ip is not None:
            return True
        return not any(each.ready and each.placed for each in self.endpoints if each.key.ip is not None)


class Segment:
    """The routes of type 1 for an Ethernet segment: those for the segment as a whole and those for this EVI."""

    __slots__ = ("whole", "within")

    def __init__(self) -> None:
        self.whole: RibKeys | None = None
        self.within: RibKeys | None = None


class Evi:
    """A VPN instance of type EVPN.

    ``vni`` is what others put on frames for it, ``stated_vni`` the one that was asked for (None: this node has chosen).
    ``hosts`` and ``addresses`` are what is attached, ``mac_routes``, ``address_routes`` and ``flood_routes`` the keys
    of imported routes, all by their record (the tracker has the same objects). ``segments`` are by ESI;
    ``on_segments`` has the ESIs of MACs whose routes name some, ``unusable`` the keys of routes that are imported and
    cannot be used. ``heard_at`` is when, by the clock, neighbours have had the time to tell what the EVI has asked for
    last.
    """

    def __init__(self, external_id: str, number: int, rd_number: int, rd: RouteDistinguisher) -> None:
        self.external_id = external_id
        self.number = number
        self.rd_number = rd_number
        self.rd = rd
        self.vni = 0
        self.stated_vni: int | None = None
        self.bridge: str | None = None
        self.import_rts: frozenset[RouteTarget] = frozenset()
        self.export_rts: frozenset[RouteTarget] = frozenset()
        self.imports: frozenset[bytes] = frozenset()
        self.description: str | None = None
        self.endpoints: dict[EndpointKey, Endpoint] = {}
        self.plugged: dict[str, dict[Endpoint, None]] = {}
        self.macs: dict[MacAddress, dict[Endpoint, None]] = {}
        self.hosts: dict[MacKey, Host] = {}
        self.addresses: dict[NeighbourKey, dict[Endpoint, None]] = {}
        self.mac_routes: dict[MacKey, RibKeys] = {}
        self.address_routes: dict[NeighbourKey, RibKeys] = {}
        self.flood_routes: dict[FloodKey, RibKeys] = {}
        self.segments: dict[bytes, Segment] = {}
        self.on_segments: dict[MacKey, frozenset[bytes]] = {}
        self.by_segment: dict[bytes, dict[MacKey, None]] = {}
        self.unusable: dict[bytes, None] = {}
        self.heard_at = 0.0
        self.moves = Moves()

    @property
    def name(self) -> str:
        """The name that networking-bagpipe shows."""
        return f"EVI-{self.number}"

    @property
    def bridge_key(self) -> BridgeKey:
        """The record of its bridge."""
        return BridgeKey(self.number)

    def mac_record(self, mac: bytes) -> MacKey:
        """The record of a MAC."""
        return MacKey(self.number, mac)

    def enter(self, endpoint: Endpoint) -> None:
        """An endpoint is attached; nothing changes if it was."""
        self.endpoints[endpoint.key] = endpoint
        self.plugged.setdefault(endpoint.attachment.port.name, {})[endpoint] = None
        self.macs.setdefault(endpoint.key.mac, {})[endpoint] = None

    def leave(self, endpoint: Endpoint) -> None:
        """An endpoint is detached."""
        del self.endpoints[endpoint.key]
        _drop(self.plugged, endpoint.attachment.port.name, endpoint)
        _drop(self.macs, endpoint.key.mac, endpoint)

    def leave_address(self, record: NeighbourKey, endpoint: Endpoint) -> None:
        """An endpoint has an address no longer; nothing changes if it had not."""
        if endpoint in self.addresses.get(record, ()):
            _drop(self.addresses, record, endpoint)

    def plug_key(self, endpoint: Endpoint) -> PlugKey:
        """The record of an endpoint's port."""
        return PlugKey(endpoint.attachment.port)

    def set_segments(self, record: MacKey, segments: frozenset[bytes]) -> None:
        """The routes for a MAC name these segments."""
        before = self.on_segments.get(record, frozenset())
        if segments == before:
            return
        if segments:
            self.on_segments[record] = segments
        else:
            del self.on_segments[record]
        for gone in before - segments:
            del self.by_segment[gone][record]
            if not self.by_segment[gone]:
                del self.by_segment[gone]
        for come in segments - before:
            self.by_segment.setdefault(come, {})[record] = None

    def take_segment_key(self, segment: bytes, key: bytes, *, whole: bool) -> None:
        """A route of type 1 is imported."""
        found = self.segments.setdefault(segment, Segment())
        if whole:
            found.whole = with_key(found.whole, key)
        else:
            found.within = with_key(found.within, key)

    def lose_segment_key(self, segment: bytes, key: bytes) -> None:
        """A route of type 1 is not imported any more."""
        found = self.segments[segment]
        found.whole = without_key(found.whole, key) if key in keys_of(found.whole) else found.whole
        found.within = without_key(found.within, key) if key in keys_of(found.within) else found.within
        if found.whole is None and found.within is None:
            del self.segments[segment]

    def __repr__(self) -> str:
        return f"<{self.name} {self.external_id}>"


def _drop(index: dict[_K, dict[Endpoint, None]], key: _K, endpoint: Endpoint) -> None:
    del index[key][endpoint]
    if not index[key]:
        del index[key]
