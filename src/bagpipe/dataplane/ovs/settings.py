"""What an operator says about the Open vSwitch dataplane, checked once, and what follows from it.

The names are those of ``[DATAPLANE_DRIVER_IPVPN]`` in ``bgp.conf``.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Literal, NamedTuple

from bagpipe.dataplane.model import Address, Capabilities, Encapsulation, default_router_mac
from bagpipe.dataplane.openflow import DP_HASH, Selection
from bagpipe.dataplane.openflow import fields as f
from bagpipe.errors import LocalMisuse
from bagpipe.identifiers import MAXIMUM_LABEL, MINIMUM_LABEL, MacAddress

ANY_GRE = "*gre*"
"""As ``mpls_interface``: MPLS travels in GRE."""
VXLAN_PORT_NAME = "vxlan"
LAST_TABLE = 253
_HASH_FIELDS = {field.name: field for field in f.KNOWN} | {
    "nw_src": f.IPV4_SRC,
    "nw_dst": f.IPV4_DST,
    "ipv4_src": f.IPV4_SRC,
    "ipv4_dst": f.IPV4_DST,
    "ip_proto": f.IP_PROTO,
    "dl_src": f.ETH_SRC,
    "dl_dst": f.ETH_DST,
}


class Tables(NamedTuple):
    """The numbers of the tables: see :mod:`bagpipe.dataplane.ovs.pipeline`."""

    input: int
    tunnelled: int
    vrf: int
    answer: int


@dataclass(frozen=True, slots=True)
class OvsSettings:
    """``database`` is a socket of OVSDB (``unix:PATH`` or ``tcp:ADDRESS:PORT``), ``run_directory`` where
    ``BRIDGE.mgmt`` is. ``mpls_over_gre`` None means: if ``mpls_interface`` is ``*gre*`` or not given (so devstack
    leaves it). ``tunnel_options`` are those of the GRE port, such as ``packet_type: legacy_l3``. With VXLAN labels are
    of ``label_range`` (both ends included), apart from the VNIs of others. With ``known_sources_only`` tunnelled
    packets are taken from nodes that have a record alone; MPLS on Ethernet does not tell its sender and is taken from
    anybody on that link. ``router_mac`` is that of this node as a router, for frames in VXLAN from and to other routers
    (None: one that follows from the local address).

    Raises LocalMisuse for what can never work.
    """

    local_address: Address
    bridge: str = "br-mpls"
    database: str = "unix:/var/run/openvswitch/db.sock"
    run_directory: str = "/var/run/openvswitch"
    mpls_interface: str | None = None
    mpls_over_gre: bool | None = None
    gre_tunnel: str = "mpls_gre"
    tunnel_options: tuple[tuple[str, str], ...] = ()
    vxlan_encap: bool = False
    vxlan_port: int = 4789
    label_range: tuple[int, int] = (1 << 19, MAXIMUM_LABEL)
    input_table: int = 0
    first_table: int = 1
    hash_method: str = "dp_hash"
    hash_method_param: int = 0
    hash_fields: tuple[str, ...] = ()
    proxy_arp: bool = False
    arp_responder: bool = False
    interfaces_mtu: int | None = None
    known_sources_only: bool = True
    router_mac: MacAddress | None = None

    def __post_init__(self) -> None:
        if not self.bridge or len(self.bridge) > 15 or "/" in self.bridge:
            raise LocalMisuse("ovs_bridge", self.bridge, "expected the name of a bridge, at most 15 characters")
        if self.mpls_over_gre is False and self.mpls_interface == ANY_GRE:
            raise LocalMisuse("mpls_over_gre", False, f"contradicts mpls_interface = {ANY_GRE}")
        if not self.encapsulations:
            raise LocalMisuse(
                "mpls_interface", self.mpls_interface, f"expected an interface or {ANY_GRE}, or vxlan_encap = True"
            )
        _check_range("vxlan_port", self.vxlan_port, 1, 65535)
        if self.router_mac is not None and (self.router_mac.packed[0] & 1 or not any(self.router_mac.packed)):
            raise LocalMisuse("router_mac", str(self.router_mac), "not the MAC of one node")
        low, high = self.label_range
        if not MINIMUM_LABEL <= low < high <= MAXIMUM_LABEL:
            text = f"expected two ascending numbers of {MINIMUM_LABEL} to {MAXIMUM_LABEL}"
            raise LocalMisuse("vxlan_label_range", f"{low}:{high}", text)
        _check_range("input_table", self.input_table, 0, LAST_TABLE)
        _check_range("ovs_table_id_start", self.first_table, 1, LAST_TABLE - 2)
        if self.input_table in self.tables[1:]:
            raise LocalMisuse("input_table", self.input_table, "is one of the three tables from ovs_table_id_start on")
        if self.interfaces_mtu is not None:
            _check_range("ovsbr_interfaces_mtu", self.interfaces_mtu, 576, 65535)
        if self.hash_method not in ("dp_hash", "hash"):
            raise LocalMisuse("hash_method", self.hash_method, "expected dp_hash or hash")
        _check_range("hash_method_param", self.hash_method_param, 0, (1 << 64) - 1)
        for name in self.hash_fields:
            if name not in _HASH_FIELDS:
                raise LocalMisuse("hash_fields", name, "not a field of packets")
        if self.hash_fields and self.hash_method != "hash":
            raise LocalMisuse("hash_fields", ",".join(self.hash_fields), "needs hash_method = hash")

    @property
    def uses_gre(self) -> bool:
        """Whether MPLS travels in GRE."""
        if self.mpls_over_gre is None:
            return not self.mpls_interface or self.mpls_interface == ANY_GRE
        return self.mpls_over_gre

    @property
    def underlay(self) -> str | None:
        """The port of the bridge for MPLS on Ethernet, None if there is none."""
        return None if self.uses_gre else self.mpls_interface or None

    @property
    def encapsulations(self) -> tuple[Encapsulation, ...]:
        """What this node can send and receive, the preferred one first."""
        mpls = [Encapsulation.MPLS_GRE] if self.uses_gre else [Encapsulation.MPLS] if self.underlay else []
        return (*mpls, *([Encapsulation.VXLAN] if self.vxlan_encap else []))

    @property
    def capabilities(self) -> Capabilities:
        """What the driver can do."""
        labels = self.label_range if self.vxlan_encap else (MINIMUM_LABEL, MAXIMUM_LABEL)
        router_mac = self.own_router_mac if self.vxlan_encap else None
        return Capabilities("ovs", self.encapsulations, multipath=True, labels=labels, router_mac=router_mac)

    @property
    def own_router_mac(self) -> MacAddress:
        """The MAC of this node as a router."""
        return self.router_mac if self.router_mac is not None else default_router_mac(self.local_address)

    @property
    def tables(self) -> Tables:
        """The tables that are used."""
        return Tables(self.input_table, self.first_table, self.first_table + 1, self.first_table + 2)

    @property
    def selection(self) -> Selection:
        """How a group chooses among next hops."""
        if self.hash_method == "dp_hash":
            return DP_HASH if not self.hash_method_param else Selection("dp_hash", self.hash_method_param)
        fields = {_HASH_FIELDS[name] for name in self.hash_fields}
        return Selection.hashing(*(field.whole() for field in fields), parameter=self.hash_method_param)

    @property
    def gre_kind(self) -> Literal["gre", "ip6gre"]:
        """The type of the GRE port: for Ethernet over IPv6 that which both datapaths have; it carries nothing else."""
        ethernet = "legacy_l3" not in (value for name, value in self.tunnel_options if name == "packet_type")
        return "ip6gre" if self.local_address.version == 6 and ethernet else "gre"

    @property
    def gre_options(self) -> dict[str, str]:
        """The options of the GRE port."""
        return {"remote_ip": "flow", "local_ip": str(self.local_address), **dict(self.tunnel_options)}

    @property
    def vxlan_options(self) -> dict[str, str]:
        """The options of the VXLAN port."""
        options = {"remote_ip": "flow", "local_ip": str(self.local_address), "key": "flow"}
        return options if self.vxlan_port == 4789 else options | {"dst_port": str(self.vxlan_port)}

    def label_options(self, label: int) -> dict[str, str]:
        """The options of the VXLAN port of one label."""
        options = {name: value for name, value in self.vxlan_options.items() if name != "key"}
        return options | {"in_key": str(label), "out_key": "flow"}

    @property
    def tunnel_source(self) -> f.Field:
        """The field in which the sender of a tunnelled packet stands."""
        return f.TUN_SRC if isinstance(self.local_address, IPv4Address) else f.TUN_IPV6_SRC

    @property
    def tunnel_destination(self) -> f.Field:
        """The field in which the receiver of a packet that is to be tunnelled, or was, stands."""
        return f.TUN_DST if isinstance(self.local_address, IPv4Address) else f.TUN_IPV6_DST

    @property
    def target(self) -> str:
        """Where the bridge listens for OpenFlow."""
        return f"unix:{self.run_directory}/{self.bridge}.mgmt"


def _check_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise LocalMisuse(name, value, f"expected {low} to {high}")
