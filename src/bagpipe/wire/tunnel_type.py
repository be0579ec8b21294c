"""Tunnel types of RFC 9012 section 14.2 (IANA registry "BGP Tunnel Encapsulation Attribute Tunnel Types")."""

from __future__ import annotations

import enum


class TunnelType(enum.IntEnum):
    """The tunnel types with a name here; any other number is a tunnel type as well."""

    L2TPV3 = 1
    GRE = 2
    IP_IN_IP = 7
    VXLAN = 8
    NVGRE = 9
    MPLS = 10
    MPLS_IN_GRE = 11
    VXLAN_GPE = 12
    MPLS_IN_UDP = 13
    GENEVE = 19


_NAMES: dict[int, str] = {
    TunnelType.L2TPV3: "l2tpv3",
    TunnelType.GRE: "gre",
    TunnelType.IP_IN_IP: "ip-in-ip",
    TunnelType.VXLAN: "vxlan",
    TunnelType.NVGRE: "nvgre",
    TunnelType.MPLS: "mpls",
    TunnelType.MPLS_IN_GRE: "mpls-in-gre",
    TunnelType.VXLAN_GPE: "vxlan-gpe",
    TunnelType.MPLS_IN_UDP: "mpls-in-udp",
    TunnelType.GENEVE: "geneve",
}


def tunnel_name(tunnel_type: int) -> str:
    """The name of a tunnel type, or its number."""
    return _NAMES.get(tunnel_type, str(tunnel_type))
