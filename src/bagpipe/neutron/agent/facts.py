"""What is known of Neutron's world: ports, subnets, BGP VPNs and who is associated with them, as plain frozen values.

MACs are lower case with colons, addresses and prefixes as :mod:`ipaddress` writes them. No value has a reference to
Neutron's objects; :mod:`bagpipe.neutron.agent.reading` makes them from those.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class VpnType(StrEnum):
    """The two kinds of BGP VPN that Neutron has."""

    L3 = "l3"
    L2 = "l2"


@dataclass(frozen=True, slots=True)
class Vpn:
    """A BGP VPN. The targets are those that hold: ``route_targets`` are in both sets."""

    id: str
    type: VpnType
    import_rts: frozenset[str] = frozenset()
    export_rts: frozenset[str] = frozenset()
    route_distinguishers: tuple[str, ...] = ()
    local_pref: int | None = None
    vni: int | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Subnet:
    """A subnet with its gateway. ``gateway_mac``: the MAC of the port that has the gateway's address, if one has."""

    id: str
    ip_version: int
    cidr: str
    gateway_ip: str | None = None
    gateway_mac: str | None = None


@dataclass(frozen=True, slots=True)
class NetworkAssociation:
    """A network is in a VPN: by an association of its own, or by one of a router that it is connected to."""

    id: str
    vpn: Vpn


@dataclass(frozen=True, slots=True)
class PrefixRoute:
    """A prefix behind a port."""

    prefix: str
    local_pref: int | None = None


@dataclass(frozen=True, slots=True)
class LeakRoute:
    """The routes of another VPN, announced again by way of a port."""

    vpn: Vpn
    local_pref: int | None = None


@dataclass(frozen=True, slots=True)
class PortAssociation:
    """A port is in a VPN: with its addresses (``advertise_fixed_ips``), with routes, or with both."""

    id: str
    vpn: Vpn
    port_id: str
    advertise_fixed_ips: bool = True
    prefixes: tuple[PrefixRoute, ...] = ()
    leaks: tuple[LeakRoute, ...] = ()


@dataclass(frozen=True, slots=True)
class Port:
    """A port on this host that may be in VPNs.

    ``addresses``: its fixed addresses. ``pairs``: (MAC, address) of its allowed address pairs. ``vlan``: the local VLAN
    of its network, None on a Linux bridge. ``ofport``: its OpenFlow port on br-int, None where that does not matter.
    ``tunnelled``: whether its network travels in tunnels, by br-tun. ``segmentation_id``: the VNI of a vxlan network,
    else None. ``admin_up`` False: it is there and not to be attached; so is one with ``active`` False, whose machine
    still runs elsewhere.
    """

    id: str
    network_id: str
    mac: str
    addresses: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    vlan: int | None = None
    ofport: int | None = None
    tunnelled: bool = True
    segmentation_id: int | None = None
    admin_up: bool = True
    active: bool = True

    @property
    def wanted(self) -> bool:
        """Whether the port takes part at all."""
        return self.admin_up and self.active


@dataclass(frozen=True, slots=True)
class Plumbing:
    """The OpenFlow numbers of the patch ports between br-int, br-tun and the MPLS bridge.

    Each is named after the bridge it is on and the bridge it leads to. Those with br-tun are None where there is none.
    """

    int_to_mpls: int
    mpls_to_int: int
    int_to_tun: int | None = None
    tun_to_int: int | None = None
    tun_to_mpls: int | None = None
    mpls_to_tun: int | None = None

    @property
    def has_tunnels(self) -> bool:
        """Whether there is a br-tun that is joined to both others."""
        return None not in (self.int_to_tun, self.tun_to_int, self.tun_to_mpls, self.mpls_to_tun)


@dataclass(frozen=True, slots=True)
class OpenVSwitchSite:
    """The node runs Open vSwitch: how its bridges are joined."""

    plumbing: Plumbing


@dataclass(frozen=True, slots=True)
class LinuxBridgeSite:
    """The node runs Linux bridges, one per network."""


Site = OpenVSwitchSite | LinuxBridgeSite
