"""What the dataplane should hold: immutable records by key, the one language between VPN instances and dataplanes.

The desired state is a mapping of :data:`Key` to :data:`Value`. It is a function of the present attachments and routes,
never of the order in which they came. A dataplane turns each record into whatever it programs; it reads nothing else.
Records of IP VPNs are here (access, delivery, forwarding, fallback, steering), those of EVPN instances (bridges, plugs,
MAC addresses, flooding, neighbours), and whom to accept tunnels from. Each kind of VPN has a tracker of its own.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from hashlib import blake2s
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import ClassVar, NamedTuple, Self

from bagpipe.identifiers import MAXIMUM_LABEL, MINIMUM_LABEL, MacAddress

Address = IPv4Address | IPv6Address

GATEWAY_MAC = MacAddress(bytes.fromhex("00005e004364"))
"""The anycast MAC of every gateway: it answers for gateways and is the source of what the VRF delivers."""


def default_router_mac(address: Address) -> MacAddress:
    """The MAC of a node as a router that has not been told one: locally administered, the same for the same address of
    its tunnels, of IPv4 its octets.
    """
    octets = address.packed if address.version == 4 else blake2s(address.packed, digest_size=4).digest()
    return MacAddress(b"\x02\xba" + octets)


class Encapsulation(enum.Enum):
    """How a packet with a label travels to another node."""

    MPLS = "mpls"
    """RFC 3032: MPLS on Ethernet."""
    MPLS_GRE = "mpls-gre"
    """RFC 4023: MPLS in GRE (or, if the node is told so, in Ethernet in GRE, as networking-bagpipe has it)."""
    VXLAN = "vxlan"
    """RFC 7348: VXLAN with the label as VNI and the IP packet in an Ethernet frame."""


class Prefix(NamedTuple):
    """An IP prefix as a VPN NLRI has it: ``octets`` are the significant ones only, bits after ``length`` are zero."""

    version: int
    length: int
    octets: bytes

    @classmethod
    def of(cls, network: IPv4Network | IPv6Network) -> Self:
        """The prefix of a network."""
        octets = network.network_address.packed[: (network.prefixlen + 7) >> 3]
        return cls(network.version, network.prefixlen, octets)

    @property
    def address(self) -> bytes:
        """All 4 or 16 octets."""
        return self.octets.ljust(4 if self.version == 4 else 16, b"\0")

    @property
    def network(self) -> IPv4Network | IPv6Network:
        """The prefix as a network of the standard library."""
        return ip_network((self.address, self.length))

    @property
    def is_host(self) -> bool:
        """Whether it is one address."""
        return self.length == (32 if self.version == 4 else 128)

    def __str__(self) -> str:
        return f"{ip_address(self.address)}/{self.length}"


@dataclass(frozen=True, slots=True, order=True)
class Port:
    """Where an endpoint is plugged: ``name`` is its key, an interface's name or one that only looks like it.

    ``number`` is the OpenFlow port if the caller gave it, ``interface`` the port's name on the bridge otherwise (None:
    ``name``). ``vlan`` (1 to 4094) is the tag its frames have. ``plugged`` tells that somebody else put it on the
    bridge and takes it off; if not, the dataplane does. With ``source`` only frames of this MAC come from it: so ports
    of several VRFs can be one place of the bridge.
    """

    name: str
    number: int | None = None
    interface: str | None = None
    vlan: int | None = None
    plugged: bool = True
    source: MacAddress | None = None

    @property
    def on_bridge(self) -> str:
        """The name under which the bridge knows it."""
        return self.interface if self.interface is not None else self.name

    def __str__(self) -> str:
        where = self.on_bridge if self.number is None else f"{self.name} (port {self.number})"
        where = where if self.vlan is None else f"{where} vlan {self.vlan}"
        return where if self.source is None else f"{where} from {self.source}"


# ---------------------------------------------------------------------- next hops


_ENCAPSULATIONS = tuple(Encapsulation)


class Remote(bytes):
    """Another node. ``address`` has 4 or 16 octets (never an IPv4-mapped one), ``label`` 20 bits, or 24 where it is a
    VNI that is no label.

    ``order`` (32 bits) is the place that the route asks for among several (load balance order), lower first. ``mac`` (6
    octets, or none) is that of the node as a router, to which the frame in the tunnel goes (RFC 9135 section 8.1).
    There is one for nearly every route, so it is one packed value: label in 3 octets, and ``way``, what is left of it
    without the label: encapsulation (1), address, MAC, order (4).
    """

    __slots__ = ()

    def __new__(
        cls, address: bytes, label: int, encapsulation: Encapsulation, order: int = 0, mac: bytes = b""
    ) -> Self:
        """Raises OverflowError for a label or an order out of range."""
        kind = bytes((_ENCAPSULATIONS.index(encapsulation),))
        return super().__new__(cls, label.to_bytes(3) + kind + address + mac + order.to_bytes(4))

    @property
    def address(self) -> bytes:
        """The node, 4 or 16 octets."""
        return self[4:8] if len(self) < _SIXTEEN else self[4:20]

    @property
    def mac(self) -> bytes:
        """The node's MAC as a router, 6 octets, or none."""
        return self[8:-4] if len(self) < _SIXTEEN else self[20:-4]

    @property
    def label(self) -> int:
        """What the node knows the packet by."""
        return int.from_bytes(self[:3])

    @property
    def encapsulation(self) -> Encapsulation:
        """How the packet travels."""
        return _ENCAPSULATIONS[self[3]]

    @property
    def order(self) -> int:
        """The place among several."""
        return int.from_bytes(self[-4:])

    @property
    def way(self) -> bytes:
        """All but the label: the octets that follow it."""
        return self[3:]

    def __repr__(self) -> str:
        return f"<{self} order {self.order}>"

    def __str__(self) -> str:
        router = f" router {self.mac.hex(':')}" if self.mac else ""
        return f"{ip_address(self.address)} label {self.label} {self.encapsulation.value}{router}"


_SIXTEEN = 24
"""Octets that a :class:`Remote` with an address of 16 has at least."""


@dataclass(frozen=True, slots=True, order=True)
class Local:
    """An endpoint of this node: of this VRF, or of one whose routes it imports."""

    port: Port
    mac: MacAddress
    order: int = 0

    def __str__(self) -> str:
        return f"{self.mac} at {self.port}"


NextHop = Remote | Local

# ---------------------------------------------------------------------- records: keys and their values


@dataclass(frozen=True, slots=True)
class AccessKey:
    """What comes in from ``port`` belongs to the VRF ``instance``."""

    port: Port

    def __str__(self) -> str:
        return f"access from {self.port}"


@dataclass(frozen=True, slots=True)
class Access:
    """``gateways`` are answered for by ARP and ND with the anycast MAC."""

    instance: int
    gateways: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True)
class DeliveryKey:
    """What arrives from another node with ``label`` (as MPLS label or as VNI) is delivered."""

    label: int

    def __str__(self) -> str:
        return f"delivery of label {self.label}"


@dataclass(frozen=True, slots=True)
class Delivery:
    """To the endpoint ``mac`` at ``port``; or, where ``port`` is None, by a look-up in the VRF ``instance``, and with
    ``mac`` only of frames to it: this node's as a router.

    ``version`` is the IP version of all that the label carries (a switch that pops it has to be told what is below), so
    an endpoint has one label for its IPv4 and another for its IPv6 addresses. None: packets of both come, by VXLAN
    alone, as frames tell it.
    """

    instance: int
    port: Port | None
    mac: MacAddress | None
    version: int | None = 4


class ForwardKey(bytes):
    """The route of a VRF to ``prefix``; its value is a tuple of next hops, best or lowest order first, never empty.

    There is one for every route, so it is one packed value: :meth:`scope`, then the octets of the prefix. An instance
    with :data:`ARRIVING` in its number holds what of the VRF is on this node, for packets that other nodes send.
    """

    __slots__ = ()

    def __new__(cls, instance: int, prefix: Prefix) -> Self:
        """Raises OverflowError for an instance of more than 32 bits."""
        version, length, octets = prefix
        return super().__new__(cls, cls.scope(instance, version, length) + octets)

    @staticmethod
    def scope(instance: int, version: int, length: int) -> bytes:
        """What the keys of a VRF's prefixes of one length begin with: instance (4 octets), IP version, length."""
        return instance.to_bytes(4) + bytes((version, length))

    @property
    def instance(self) -> int:
        """The number of the VRF."""
        return int.from_bytes(self[:4])

    @property
    def prefix(self) -> Prefix:
        """Where packets go."""
        return Prefix(self[4], self[5], self[6:])

    def __repr__(self) -> str:
        return f"<{self}>"

    def __str__(self) -> str:
        number = self.instance
        if number & ARRIVING:
            return f"route of what comes to VRF {number ^ ARRIVING} from other nodes, to {self.prefix}"
        return f"route of VRF {number} to {self.prefix}"


ARRIVING = 1 << 24
"""The bit of an instance's number that tells a VRF from what of it is on this node; VRFs have lower numbers."""

Forward = tuple[NextHop, ...]


@dataclass(frozen=True, slots=True)
class FallbackKey:
    """What no route of the VRF ``instance`` covers."""

    instance: int

    def __str__(self) -> str:
        return f"fallback of VRF {self.instance}"


@dataclass(frozen=True, slots=True)
class Fallback:
    """Leaves by the OpenFlow port ``port_number`` with these MACs, with the VLAN tag ``vlan`` if there is one."""

    source: MacAddress
    destination: MacAddress
    port_number: int
    vlan: int | None = None


@dataclass(frozen=True, slots=True)
class Ports:
    """An inclusive range of TCP or UDP ports (0 to 65535)."""

    low: int
    high: int

    def __str__(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"


@dataclass(frozen=True, slots=True)
class Classifier:
    """Which packets are steered; None matches any. Ports need ``protocol`` 6 (TCP), 17 (UDP) or 132 (SCTP)."""

    version: int = 4
    source: Prefix | None = None
    destination: Prefix | None = None
    protocol: int | None = None
    source_ports: Ports | None = None
    destination_ports: Ports | None = None

    def __str__(self) -> str:
        parts = {
            "from": self.source,
            "to": self.destination,
            "protocol": self.protocol,
            "source port": self.source_ports,
            "destination port": self.destination_ports,
        }
        told = [f"{name} {value}" for name, value in parts.items() if value is not None]
        return " ".join((f"IPv{self.version} packets", *told))


@dataclass(frozen=True, slots=True)
class SteerKey:
    """Packets in the VRF ``instance`` that ``classifier`` picks, before any route is looked up (RFC 8955)."""

    instance: int
    classifier: Classifier

    def __str__(self) -> str:
        return f"steering in VRF {self.instance} of {self.classifier}"


@dataclass(frozen=True, slots=True)
class Steer:
    """Are looked up in the VRF ``instance`` instead."""

    instance: int


@dataclass(frozen=True, slots=True)
class SourceKey:
    """Tunnelled packets are taken from this node (4 or 16 octets); the value is True."""

    address: bytes

    def __str__(self) -> str:
        return f"tunnels from {ip_address(self.address)}"


# ---------------------------------------------------------------------- records of EVPN instances


@dataclass(frozen=True, slots=True)
class BridgeKey:
    """The broadcast domain of the EVPN instance (EVI) ``instance`` on this node."""

    instance: int

    def __str__(self) -> str:
        return f"bridge of EVI {self.instance}"


@dataclass(frozen=True, slots=True)
class Bridge:
    """``name`` is what callers call the instance, ``vni`` (24 bits) what others put on frames for it, ``device`` the
    Linux bridge that the caller has made for it (None: the dataplane makes one).
    """

    name: str
    vni: int
    device: str | None = None


@dataclass(frozen=True, slots=True)
class PlugKey:
    """``port`` belongs to a bridge."""

    port: Port

    def __str__(self) -> str:
        return f"plug of {self.port}"


@dataclass(frozen=True, slots=True)
class Plug:
    """To that of the EVI ``instance``. Of a segment that several nodes are attached to: frames to many that came from
    another node go out here only if this node is ``designated`` (RFC 7432 section 8.5), and never those from one of
    ``shielded`` (4 or 16 octets each), which has sent them to the segment itself (RFC 8365 section 8.3.1).
    """

    instance: int
    designated: bool = True
    shielded: tuple[bytes, ...] = ()


class _EviKey(bytes):
    """A kind (1 octet), the number of the EVI (4) and what the record is of: packed, as there are many."""

    __slots__ = ()
    _kind: ClassVar[bytes]

    def __new__(cls, instance: int, octets: bytes) -> Self:
        """Raises OverflowError for an instance of more than 32 bits."""
        return super().__new__(cls, cls.scope(instance) + octets)

    @classmethod
    def scope(cls, instance: int) -> bytes:
        """What the keys of this kind of an EVI begin with."""
        return cls._kind + instance.to_bytes(4)

    @property
    def instance(self) -> int:
        """The number of the EVI."""
        return int.from_bytes(self[1:5])

    @property
    def octets(self) -> bytes:
        """What the record is of."""
        return self[5:]

    def __str__(self) -> str:
        return f"{self.octets.hex(':')} of EVI {self.instance}"

    def __repr__(self) -> str:
        return f"<{self!s}>"


class MacKey(_EviKey):
    """Frames to a MAC address (6 octets); the value is a tuple of next hops, never empty: one endpoint of this node, or
    nodes to share the traffic among (several where the MAC is on a segment that they are attached to).
    """

    __slots__ = ()
    _kind = b"M"

    def __str__(self) -> str:
        return f"MAC {self.octets.hex(':')} of EVI {self.instance}"


class FloodKey(_EviKey):
    """Frames to many, and to a MAC not known, go to this node (4 or 16 octets) too; the value is one next hop."""

    __slots__ = ()
    _kind = b"F"

    def __str__(self) -> str:
        return f"flooding of EVI {self.instance} to {ip_address(self.octets)}"


class NeighbourKey(_EviKey):
    """ARP or ND for this address (4 or 16 octets) is answered here, in place of its owner."""

    __slots__ = ()
    _kind = b"N"

    def __str__(self) -> str:
        return f"neighbour {ip_address(self.octets)} of EVI {self.instance}"


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The answer; ``is_router`` is the R flag of a neighbour advertisement (RFC 9047 section 2).

    ``is_here``: the address is attached to this node, and its machine answers for itself where frames to all reach it.
    """

    mac: MacAddress
    is_router: bool = False
    is_here: bool = False


Key = (
    AccessKey
    | DeliveryKey
    | ForwardKey
    | FallbackKey
    | SteerKey
    | SourceKey
    | BridgeKey
    | PlugKey
    | MacKey
    | FloodKey
    | NeighbourKey
)
Value = Access | Delivery | Forward | Fallback | Steer | Bridge | Plug | Neighbour | bool
EVPN_RECORDS = (BridgeKey, PlugKey, MacKey, FloodKey, NeighbourKey)
"""The kinds of keys that only an EVPN instance has."""


class Direction(enum.Enum):
    """Which way traffic may go at an endpoint, seen from the VPN."""

    BOTH = "both"
    TO_PORT = "to-port"
    FROM_PORT = "from-port"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a dataplane can do. ``encapsulations`` in the order of preference; empty means that it forwards nothing
    and takes every route for good (the dummy). ``multipath`` tells whether a route may have several next hops,
    ``labels`` the lowest and the highest label that it can be reached by. ``router_mac`` is what others send frames for
    its VRFs to (:attr:`Remote.mac`, None: it does not take frames).
    """

    name: str
    encapsulations: tuple[Encapsulation, ...]
    multipath: bool
    directions: frozenset[Direction] = field(default_factory=lambda: frozenset(Direction))
    steering: bool = True
    fallback: bool = True
    labels: tuple[int, int] = (MINIMUM_LABEL, MAXIMUM_LABEL)
    router_mac: MacAddress | None = None
