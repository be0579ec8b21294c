"""Facts that tests share: two networks, their routers, VPNs, ports."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bagpipe.neutron.agent.attaching import NetworkView
from bagpipe.neutron.agent.facts import (
    NetworkAssociation,
    OpenVSwitchSite,
    Plumbing,
    Port,
    PortAssociation,
    Subnet,
    Vpn,
    VpnType,
)


def uuid(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-000000000000"


NETWORK, OTHER_NETWORK = uuid(0xA1), uuid(0xA2)
PORT, SIBLING = uuid(0xB1), uuid(0xB2)
SUBNET_4, SUBNET_6 = uuid(0xC4), uuid(0xC6)
MAC, SIBLING_MAC = "fa:16:3e:00:00:02", "fa:16:3e:00:00:03"
ROUTER_MAC = "fa:16:3e:00:00:01"
VLAN = 5

PLUMBING = Plumbing(int_to_mpls=11, mpls_to_int=21, int_to_tun=12, tun_to_int=31, tun_to_mpls=32, mpls_to_tun=22)
SITE = OpenVSwitchSite(PLUMBING)

RED = Vpn(uuid(0xE1), VpnType.L3, frozenset({"64512:1", "64512:2"}), frozenset({"64512:1", "64512:3"}), name="red")
BLUE = Vpn(uuid(0xE2), VpnType.L3, frozenset({"64512:21"}), frozenset({"64512:21"}), name="blue")
LAN = Vpn(uuid(0xE3), VpnType.L2, frozenset({"64512:31"}), frozenset({"64512:31"}), name="lan")

IN_RED = NetworkAssociation(uuid(0xD1), RED)
IN_BLUE = NetworkAssociation(uuid(0xD2), BLUE)
IN_LAN = NetworkAssociation(uuid(0xD3), LAN)

FOUR = Subnet(SUBNET_4, 4, "10.0.0.0/24", "10.0.0.1")
SIX = Subnet(SUBNET_6, 6, "2001:db8::/64", "2001:db8::1")


def routed(subnet: Subnet, mac: str = ROUTER_MAC) -> Subnet:
    return replace(subnet, gateway_mac=mac)


def port(port_id: str = PORT, mac: str = MAC, address: str = "10.0.0.2", **more: Any) -> Port:
    given: dict[str, Any] = {"addresses": (address,), "vlan": VLAN, "segmentation_id": 77, "ofport": 7, **more}
    return Port(port_id, given.pop("network_id", NETWORK), mac, **given)


def view(
    *associations: NetworkAssociation, subnets: tuple[Subnet, ...] = (FOUR,), bridged: tuple[Vpn, ...] = ()
) -> NetworkView:
    return NetworkView(NETWORK, associations, subnets, bridged)


def own(vpn: Vpn, number: int = 0xF1, **more: Any) -> PortAssociation:
    return PortAssociation(uuid(number), vpn, more.pop("port_id", PORT), **more)


# ---------------------------------------------------------------------- as Neutron says it


def bgpvpn(vpn: Vpn) -> dict[str, Any]:
    """The fields of a ``BGPVPN`` object."""
    return {
        "id": vpn.id,
        "project_id": "project",
        "type": vpn.type.value,
        "name": vpn.name,
        "route_targets": sorted(vpn.import_rts & vpn.export_rts),
        "import_targets": sorted(vpn.import_rts - vpn.export_rts),
        "export_targets": sorted(vpn.export_rts - vpn.import_rts),
        "route_distinguishers": list(vpn.route_distinguishers),
        "local_pref": vpn.local_pref,
        "vni": vpn.vni,
    }


def subnet_said(subnet: Subnet) -> dict[str, Any]:
    return {
        "ip_version": subnet.ip_version,
        "id": subnet.id,
        "cidr": subnet.cidr,
        "gateway_ip": subnet.gateway_ip,
        "gateway_mac": subnet.gateway_mac,
    }


def net_association(association: NetworkAssociation, *subnets: Subnet, network_id: str = NETWORK) -> dict[str, Any]:
    """The fields of a ``BGPVPNNetAssociation`` object."""
    return {
        "id": association.id,
        "project_id": "project",
        "bgpvpn_id": association.vpn.id,
        "bgpvpn": bgpvpn(association.vpn),
        "network_id": network_id,
        "subnets": [subnet_said(each) for each in subnets],
    }


def router_association(association: NetworkAssociation, networks: dict[str, tuple[Subnet, ...]]) -> dict[str, Any]:
    """The fields of a ``BGPVPNRouterAssociation`` object."""
    return {
        "id": association.id,
        "project_id": "project",
        "bgpvpn_id": association.vpn.id,
        "bgpvpn": bgpvpn(association.vpn),
        "router_id": uuid(0x77),
        "connected_networks": [
            {"network_id": network_id, "subnets": [subnet_said(each) for each in subnets]}
            for network_id, subnets in networks.items()
        ],
    }


def port_association(association: PortAssociation, *subnets: Subnet) -> dict[str, Any]:
    """The fields of a ``BGPVPNPortAssociation`` object."""
    common = {"port_association_id": association.id}
    prefixes: list[dict[str, Any]] = [
        {
            **common,
            "id": uuid(0x100 + index),
            "type": "prefix",
            "prefix": route.prefix,
            "local_pref": route.local_pref,
            "bgpvpn_id": None,
            "bgpvpn": None,
        }
        for index, route in enumerate(association.prefixes)
    ]
    leaks: list[dict[str, Any]] = [
        {
            **common,
            "id": uuid(0x200 + index),
            "type": "bgpvpn",
            "prefix": None,
            "local_pref": leak.local_pref,
            "bgpvpn_id": leak.vpn.id,
            "bgpvpn": bgpvpn(leak.vpn),
        }
        for index, leak in enumerate(association.leaks)
    ]
    return {
        "id": association.id,
        "project_id": "project",
        "bgpvpn_id": association.vpn.id,
        "bgpvpn": bgpvpn(association.vpn),
        "port_id": association.port_id,
        "subnets": [subnet_said(each) for each in subnets],
        "routes": prefixes + leaks,
        "advertise_fixed_ips": association.advertise_fixed_ips,
    }


def details(given: Port, **more: Any) -> dict[str, Any]:
    """The details of a port as the agent hands them to extensions."""
    return {
        "device": given.id,
        "port_id": given.id,
        "network_id": given.network_id,
        "network_type": "vxlan" if given.tunnelled else "vlan",
        "segmentation_id": given.segmentation_id,
        "mac_address": given.mac,
        "fixed_ips": [{"subnet_id": SUBNET_4, "ip_address": address} for address in given.addresses],
        "allowed_address_pairs": [{"mac_address": mac, "ip_address": address} for mac, address in given.pairs],
        "device_owner": "compute:nova",
        "admin_state_up": given.admin_up,
        **more,
    }
