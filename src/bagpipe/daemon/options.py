"""The options of ``bgp.conf``, section by section: names, old names, types, defaults and what they mean.

Sections [BGP], [API], [COMMON], [DATAPLANE_DRIVER_IPVPN] and [DATAPLANE_DRIVER_EVPN] have the options of
networking-bagpipe under the same names. Options of the forwarding planes are checked here and used by them.
"""

from __future__ import annotations

import ipaddress
from importlib.metadata import entry_points
from typing import Any

from oslo_config import cfg, types

from bagpipe.errors import LocalMisuse
from bagpipe.identifiers import MacAddress
from bagpipe.wire.family import CARRIED, NAMES, Family

IPVPN = "DATAPLANE_DRIVER_IPVPN"
EVPN = "DATAPLANE_DRIVER_EVPN"
OBSOLETE = "DATAPLANE_DRIVER"
PEER_PREFIX = "PEER "

MAX_AS = 0xFFFFFFFF
_IPVPN_ALIASES = {
    "dummy": "dummy",
    "linux": "linux",
    "ovs": "ovs",
    "DummyDataplaneDriver": "dummy",
    "mpls_linux_dataplane.MPLSLinuxDataplaneDriver": "linux",
    "mpls_ovs_dataplane.MPLSOVSDataplaneDriver": "ovs",
}
_EVPN_ALIASES = {
    "dummy": "dummy",
    "linux": "linux",
    "ovs": "ovs",
    "DummyDataplaneDriver": "dummy",
    "linux_vxlan.LinuxVXLANDataplaneDriver": "linux",
}
_FAMILIES = {name: family for family, name in NAMES.items() if family in CARRIED}


def driver_name(kind: str, text: str) -> str:
    """The driver that a name or an old alias means; ``kind`` is ``ipvpn`` or ``evpn``. Raises ValueError if none."""
    aliases = _IPVPN_ALIASES if kind == "ipvpn" else _EVPN_ALIASES
    short = text.removeprefix(f"bagpipe.bgp.vpn.{kind}.")
    if short in aliases:
        return aliases[short]
    others = {point.name for point in entry_points(group=f"bagpipe.dataplane.{kind}")}
    if text in others:
        return text
    raise ValueError(f"no such driver; there are {', '.join(sorted({*aliases.values(), *others}))}")


class _Driver(types.ConfigType):
    def __init__(self, kind: str) -> None:
        super().__init__(type_name="driver name")
        self.kind = kind

    def __call__(self, value: str) -> str:
        return driver_name(self.kind, value)

    def _formatter(self, value: object) -> str:
        return str(value)


class _Address(types.ConfigType):
    def __init__(self, *, only_ipv4: bool = False) -> None:
        super().__init__(type_name="address")
        self.only_ipv4 = only_ipv4

    def __call__(self, value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        if self.only_ipv4:
            return ipaddress.IPv4Address(value)
        return ipaddress.ip_address(value)

    def _formatter(self, value: object) -> str:
        return str(value)


class _Mac(types.ConfigType):
    def __init__(self) -> None:
        super().__init__(type_name="MAC address")

    def __call__(self, value: str) -> MacAddress:
        try:
            return MacAddress.from_text(value)
        except LocalMisuse as error:
            raise ValueError(str(error)) from error

    def _formatter(self, value: object) -> str:
        return str(value)


class _Prefix(types.ConfigType):
    def __init__(self) -> None:
        super().__init__(type_name="prefix")

    def __call__(self, value: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        return ipaddress.ip_network(value)

    def _formatter(self, value: object) -> str:
        return str(value)


class _FamilyName(types.ConfigType):
    def __init__(self) -> None:
        super().__init__(type_name="address family")

    def __call__(self, value: str) -> Family:
        family = _FAMILIES.get(value.lower())
        if family is None:
            raise ValueError(f"{value!r} is no address family; there are {', '.join(_FAMILIES)}")
        return family

    def _formatter(self, value: object) -> str:
        return str(value)


class _HoldTime(types.Integer):
    def __call__(self, value: Any) -> int:
        seconds = int(super().__call__(value) or 0)
        if seconds in {1, 2}:
            raise ValueError("neither 0 nor in 3 to 65535")
        return seconds


def _hold_time(default: int | None, text: str) -> cfg.Opt:
    return cfg.Opt("hold_time", type=_HoldTime(min=0, max=65535), default=default, help=text)


def _list_of(item: types.ConfigType) -> types.List:
    return types.List(item)


BGP: list[cfg.Opt] = [
    cfg.StrOpt("local_address", help="Address of this node, or an interface, whose first IPv4 address is taken."),
    cfg.Opt("peers", type=types.List(types.String()), default=[], help="Neighbours: addresses or host names."),
    cfg.IntOpt("my_as", min=1, max=MAX_AS, help="AS of this node."),
    cfg.BoolOpt("enable_rtc", default=True, help="Offer route target constraint (RFC 4684)."),
    cfg.PortOpt("bgp_port", default=179, min=1, help="Port that neighbours listen on."),
    cfg.Opt("router_id", type=_Address(only_ipv4=True), help="BGP identifier; local_address if not set."),
    _hold_time(90, "Proposed hold time in seconds: 0, or 3 to 65535."),
    cfg.StrOpt(
        "retain_routes",
        default="auto",
        choices=[
            ("auto", "where the neighbour could not send them again"),
            ("always", "also asks for every route target"),
            ("never", "what is imported later has to be sent again"),
        ],
        ignore_case=True,
        help="Keep routes that no VPN of this node imports.",
    ),
    cfg.Opt("listen", type=_list_of(_Address()), default=[], help="Addresses to accept sessions on; none by default."),
    cfg.PortOpt("listen_port", default=179, min=1, help="Port to accept sessions on."),
    cfg.Opt(
        "listen_ranges",
        type=_list_of(_Prefix()),
        default=[],
        help="Prefixes whose addresses may connect without being listed as peers.",
    ),
    cfg.IntOpt("max_connections", default=1024, min=1, help="Accepted connections at a time."),
    cfg.IntOpt("max_connections_per_address", default=2, min=1, help="Connections with one address at a time."),
]

PEER: list[cfg.Opt] = [
    cfg.IntOpt("as", min=1, max=MAX_AS, help="AS of the neighbour; my_as if not set."),
    cfg.PortOpt("port", min=1, help="Port it listens on; bgp_port if not set."),
    cfg.Opt("source_address", type=_Address(), help="Address to connect from; local_address if not set."),
    cfg.StrOpt("password", secret=True, help="TCP MD5 signature key (RFC 2385), 1 to 80 octets."),
    cfg.StrOpt("password_file", help="File with the TCP MD5 signature key; a newline at its end is not part of it."),
    cfg.StrOpt("tcp_ao_key", secret=True, help="TCP-AO master key (RFC 5925), 1 to 80 octets."),
    cfg.StrOpt("tcp_ao_key_file", help="File with the TCP-AO master key."),
    cfg.IntOpt("tcp_ao_key_id", default=100, min=0, max=255, help="SendID and RecvID of the TCP-AO key."),
    cfg.StrOpt(
        "tcp_ao_algorithm",
        default="hmac(sha1)",
        choices=["hmac(sha1)", "cmac(aes128)", "hmac(sha256)"],
        help="TCP-AO algorithm.",
    ),
    cfg.IntOpt("ttl_security", min=1, max=254, help="Hops it may be away (RFC 5082); 1 is directly connected."),
    cfg.IntOpt("multihop", min=1, max=255, help="TTL for a neighbour of another AS; 1 if not set."),
    _hold_time(None, "Proposed hold time; that of [BGP] if not set."),
    cfg.StrOpt("mode", choices=["active", "passive", "both"], ignore_case=True, help="Who connects."),
    cfg.Opt("families", type=_list_of(_FamilyName()), help="Families to offer; all if not set."),
    cfg.Opt("add_path_receive", type=_list_of(_FamilyName()), default=[], help="Families to take ADD-PATH in."),
    cfg.IntOpt("maximum_prefixes", min=1, help="Routes of a family from which on the session ends (RFC 4486)."),
    cfg.IntOpt("maximum_prefixes_warning", default=75, min=1, max=100, help="Per cent of it that are warned about."),
]

API: list[cfg.Opt] = [
    cfg.StrOpt("host", default="127.0.0.1", deprecated_name="api_host", help="Address to serve the API on."),
    cfg.PortOpt("port", default=8082, min=1, deprecated_name="api_port", help="Port to serve the API on."),
    cfg.StrOpt("socket", help="Path of a unix socket to serve the API on, instead of host and port."),
    cfg.BoolOpt("enabled", default=True, help="Serve the API at all."),
    cfg.FloatOpt("attach_timeout", default=20.0, min=0.1, max=600, help="Seconds a v1 call waits for the dataplane."),
    cfg.FloatOpt(
        "reattach_timeout",
        default=120.0,
        min=0,
        help="Seconds after a v1 agent is back until what it has not attached again is dropped; 0: never.",
    ),
]

COMMON: list[cfg.Opt] = [
    cfg.StrOpt("state_dir", help="Directory of the journal of attachments; /var/lib/bagpipe-bgp if not set."),
    cfg.StrOpt("root_helper", default="sudo", help="Accepted for old files; nothing is run as another user."),
    cfg.StrOpt("root_helper_daemon", help="Accepted for old files; nothing is run as another user."),
]

_LOCAL = cfg.StrOpt("dataplane_local_address", help="Next hop of advertised routes: address or interface.")
_OVSDB = cfg.StrOpt(
    "ovsdb_connection", default="unix:/var/run/openvswitch/db.sock", help="Socket of the OVS database (ovs)."
)
_OVS_DIRECTORY = cfg.StrOpt(
    "ovs_run_directory", default="/var/run/openvswitch", help="Where the bridges have their sockets (ovs)."
)
_KNOWN_SOURCES = cfg.BoolOpt(
    "known_sources_only", default=True, help="Take tunnelled packets from known nodes only (ovs)."
)
_INTERFACE = cfg.StrOpt("mpls_interface", help="Interface for MPLS; *gre*, or none, for MPLS over GRE (ovs).")

IPVPN_OPTIONS: list[cfg.Opt] = [
    cfg.Opt("dataplane_driver", type=_Driver("ipvpn"), default="dummy", help="dummy, ovs or linux."),
    _LOCAL,
    _INTERFACE,
    cfg.StrOpt(
        "mpls_over_gre",
        default="auto",
        choices=[
            ("auto", "where mpls_interface is *gre* or not set"),
            ("True", "always"),
            ("False", "never: on mpls_interface, or in VXLAN with vxlan_encap"),
        ],
        ignore_case=True,
        help="MPLS over GRE.",
    ),
    cfg.BoolOpt("proxy_arp", default=False, help="Answer ARP for every address."),
    cfg.BoolOpt(
        "arp_responder",
        default=False,
        help="Answer ARP for the gateway. Neighbour solicitations for IPv6 gateways are always answered.",
    ),
    cfg.BoolOpt("vxlan_encap", default=False, help="VXLAN as well."),
    cfg.StrOpt("ovs_bridge", default="br-mpls", help="Bridge of the VRFs."),
    cfg.IntOpt("input_table", default=0, min=0, max=254, help="OpenFlow table that packets enter."),
    cfg.IntOpt("ovs_table_id_start", default=1, min=0, max=252, help="First OpenFlow table of the VRFs."),
    cfg.StrOpt("gre_tunnel", default="mpls_gre", help="Name of the GRE port."),
    cfg.Opt("gre_tunnel_options", type=types.List(types.String()), default=[], help="Options of the GRE port, k=v."),
    cfg.IntOpt("ovsbr_interfaces_mtu", min=68, help="MTU of the ports of the bridge."),
    cfg.StrOpt(
        "hash_method",
        default="dp_hash",
        choices=[("dp_hash", "by the hash of the datapath"), ("hash", "by hash_fields")],
        help="How next hops are selected.",
    ),
    cfg.IntOpt("hash_method_param", default=0, min=0, help="Parameter of the selection."),
    cfg.Opt("hash_fields", type=types.List(types.String()), default=[], help="Fields that are hashed."),
    _OVSDB,
    _OVS_DIRECTORY,
    cfg.PortOpt("vxlan_port", default=4789, min=1, help="UDP port of VXLAN, with vxlan_encap."),
    cfg.StrOpt(
        "vxlan_label_range",
        default="524288:1048575",
        help="Labels with vxlan_encap, MIN:MAX; no VNI of another VXLAN network on this host may be among them.",
    ),
    cfg.Opt(
        "carried_by",
        type=types.List(types.String(choices=["vpn", "evpn"])),
        default=["vpn"],
        help="Routes of instances that do not say: vpn (VPN-IPv4, VPN-IPv6), evpn (type 5; needs vxlan_encap) or both.",
    ),
    cfg.Opt("router_mac", type=_Mac(), help="MAC of this node as a router (ovs); made of its address if not set."),
    _KNOWN_SOURCES,
]


def _flooding(name: str, text: str) -> cfg.Opt:
    choices = [("flood", "sent to every node of the instance"), ("drop", "sent to none")]
    return cfg.StrOpt(name, default="flood", choices=choices, ignore_case=True, help=text)


EVPN_OPTIONS: list[cfg.Opt] = [
    cfg.Opt("dataplane_driver", type=_Driver("evpn"), default="dummy", help="dummy, ovs or linux."),
    _LOCAL,
    cfg.PortOpt("vxlan_dst_port", default=4789, min=1, help="UDP port of VXLAN."),
    _flooding("unknown_unicast", "Frames to a MAC that no route names."),
    _flooding("broadcast", "Broadcast and multicast frames."),
    cfg.BoolOpt("suppress", default=True, help="Answer ARP and ND on behalf of other nodes' machines."),
    cfg.IntOpt("underlay_mtu", min=1280, max=65535, help="MTU between nodes (linux); the interface's if not set."),
    cfg.StrOpt("ovs_bridge", default="br-tun", help="Neutron's tunnel bridge, or one of its own (ovs)."),
    _OVSDB,
    _OVS_DIRECTORY,
    _KNOWN_SOURCES,
]

LOGGING: list[cfg.Opt] = [
    cfg.BoolOpt("debug", short="d", default=False, help="Log at DEBUG instead of INFO."),
    cfg.StrOpt("log-file", deprecated_name="logfile", help="File to log to instead of standard error."),
    cfg.StrOpt("log-dir", deprecated_name="logdir", help="Directory of log_file."),
]

SECTIONS: dict[str, list[cfg.Opt]] = {
    "BGP": BGP,
    "API": API,
    "COMMON": COMMON,
    IPVPN: IPVPN_OPTIONS,
    EVPN: EVPN_OPTIONS,
}


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """For ``oslo.config.opts``: the groups with their options, without ``[PEER address]``, which makes a neighbour."""
    return [(cfg.OptGroup(name), options) for name, options in [("DEFAULT", LOGGING), *SECTIONS.items()]]
