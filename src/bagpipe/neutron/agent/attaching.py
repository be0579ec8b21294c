"""From facts to attachments: all that a daemon has to know of one port. A pure function of its arguments.

Which instances a port is in:

* ``ipvpn_<network>`` and ``evpn_<network>``, with the route targets of all VPNs of that type that the network is in.
  Every port of the network shares them.
* ``ipvpn_<network>_port_<port>`` instead, where associations of the port itself make its route targets others than the
  network's: route targets belong to an instance, and a sibling's must not change. Such an instance takes only frames
  from the port's MAC, so that it can share the port's VLAN with others. An EVPN instance is the broadcast domain that
  all ports of the network are in, so it is one: it imports what one of them has to hear, and what a port announces is
  said of the port where it is not what the network's VPNs announce.
* ``ipvpn_portassoc_<association>_prefix_<prefix>`` for each prefix route and
  ``ipvpn_portassoc_<association>_bgpvpn_<vpn>`` for each leak, in direction to the port.

A port whose own associations all have ``advertise_fixed_ips`` off, on a network that is in no VPN, is attached in
direction ``from-port``: it reaches the VPN and is not announced.

A route distinguisher of a BGP VPN is used where one is meant beyond doubt: the instance is in exactly one VPN, and the
first of that VPN's list counts.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bagpipe.neutron.agent.facts import (
    LeakRoute,
    LinuxBridgeSite,
    NetworkAssociation,
    OpenVSwitchSite,
    Port,
    PortAssociation,
    PrefixRoute,
    Site,
    Subnet,
    Vpn,
    VpnType,
)
from bagpipe.neutron.agent.link.attachment import Attachment, Fallback, LocalPort, Readvertise

FALLBACK_SOURCE_MAC: Final = "00:00:5e:2a:10:00"
_KINDS: Final = {VpnType.L2: "evpn", VpnType.L3: "ipvpn"}
_LINUX_NAME: Final = 11  # how much of an identifier stands in the name of a tap or bridge


@dataclass(frozen=True, slots=True)
class NetworkView:
    """What is known of a network: the VPNs that it is in, its subnets, IPv4 first, and the L2 VPNs that ports of it on
    this host are in by associations of their own.
    """

    id: str
    associations: tuple[NetworkAssociation, ...] = ()
    subnets: tuple[Subnet, ...] = ()
    bridged: tuple[Vpn, ...] = ()

    @property
    def gateways(self) -> tuple[str, ...]:
        """The addresses of the gateways, IPv4 first."""
        return tuple(dict.fromkeys(subnet.gateway_ip for subnet in self.subnets if subnet.gateway_ip))

    @property
    def router_mac(self) -> str | None:
        """The MAC of the gateway that packets fall back to: the first that is known."""
        return next((subnet.gateway_mac for subnet in self.subnets if subnet.gateway_ip and subnet.gateway_mac), None)


@dataclass(frozen=True, slots=True)
class Targets:
    """The route targets of an instance."""

    imports: frozenset[str]
    exports: frozenset[str]


def attachments(
    port: Port, network: NetworkView, own: Iterable[PortAssociation], site: Site, *, with_pairs: bool = False
) -> tuple[Attachment, ...]:
    """What the daemon has to hold for ``port``, EVPN first; nothing for a port that is not wanted.

    ``own`` are the associations of the port itself. ``with_pairs``: addresses of allowed address pairs count as the
    port's.
    """
    if not port.wanted or (isinstance(site, OpenVSwitchSite) and port.vlan is None):
        return ()
    mine = sorted(own, key=lambda association: association.id)
    addresses = _addresses(port, with_pairs)
    found: list[Attachment] = []
    found += _bridged(port, network, [each for each in mine if each.vpn.type == VpnType.L2], site, addresses)
    found += _routed(port, network, [each for each in mine if each.vpn.type == VpnType.L3], site, addresses)
    for association in mine:
        if association.vpn.type == VpnType.L3:
            found += _routes(association, port, network, site)
    return tuple(found)


def in_l3_vpn(network: NetworkView, own: Iterable[PortAssociation]) -> bool:
    """Whether a port of the network, with these associations of its own, sends into an IP VPN."""
    vpns = [*(each.vpn for each in network.associations), *(each.vpn for each in own)]
    return any(vpn.type == VpnType.L3 for vpn in vpns)


def macs(port: Port, *, with_pairs: bool) -> tuple[str, ...]:
    """The MACs that a port sends from, its own first."""
    return tuple(_addresses(port, with_pairs))


def _bridged(
    port: Port,
    network: NetworkView,
    own: Sequence[PortAssociation],
    site: Site,
    addresses: Mapping[str, tuple[str, ...]],
) -> Iterator[Attachment]:
    shared = [each.vpn for each in network.associations if each.vpn.type == VpnType.L2]
    if not shared and not own:
        return
    vpns = [*shared, *network.bridged]
    announced = [*shared, *(each.vpn for each in own if each.advertise_fixed_ips)]
    targets, mine = _targets(vpns, shared), _targets((), announced).exports
    stated = replace(
        _base(port, network, site, VpnType.L2),
        instance_id=f"evpn_{network.id}",
        import_rts=targets.imports,
        export_rts=targets.exports,
        own_export_rts=None if mine == targets.exports else mine,
        local_pref=max((vpn.local_pref for vpn in announced if vpn.local_pref is not None), default=None),
        route_distinguisher=_distinguisher(vpns),
        vni=_vni(port, vpns),
        instance_description=_described(VpnType.L2, network),
    )
    for mac, held in addresses.items():
        yield replace(stated, mac=mac, addresses=held)


def _described(kind: VpnType, network: NetworkView, port: Port | None = None) -> str:
    gateway = f" ({network.gateways[0]})" if network.gateways else ""
    alone = "" if port is None else f", port {port.id}"
    return f"BGPVPN {_KINDS[kind]} associations for net {network.id}{alone}{gateway}"


def _routed(
    port: Port,
    network: NetworkView,
    own: Sequence[PortAssociation],
    site: Site,
    addresses: Mapping[str, tuple[str, ...]],
) -> Iterator[Attachment]:
    shared = [each.vpn for each in network.associations if each.vpn.type == VpnType.L3]
    announced = [*shared, *(each.vpn for each in own if each.advertise_fixed_ips)]
    if not shared and not own:
        return
    common = _targets(shared, shared)
    targets = _targets([*shared, *(each.vpn for each in own)], announced)
    alone = not shared or targets != common
    base = _base(port, network, site, VpnType.L3)
    instance_id = f"ipvpn_{network.id}"
    stated = replace(
        base,
        instance_id=f"{instance_id}_port_{port.id}" if alone else instance_id,
        shared_instance_id=instance_id if alone else None,
        import_rts=targets.imports,
        export_rts=targets.exports,
        direction="both" if announced else "from-port",
        local_pref=max((vpn.local_pref for vpn in announced if vpn.local_pref is not None), default=None),
        route_distinguisher=_distinguisher(shared if not alone else [*shared, *(each.vpn for each in own)]),
        instance_description=_described(VpnType.L3, network, port if alone else None),
    )
    for mac, held in addresses.items():
        if not held:
            continue
        local_port = base.local_port
        if alone and isinstance(site, OpenVSwitchSite):
            local_port = replace(local_port, source_mac=mac)
        yield replace(stated, mac=mac, addresses=held, local_port=local_port)


def _routes(association: PortAssociation, port: Port, network: NetworkView, site: Site) -> Iterator[Attachment]:
    vpn = association.vpn
    base = replace(
        _base(port, network, site, VpnType.L3),
        mac=port.mac,
        direction="to-port",
        import_rts=vpn.import_rts,
        export_rts=vpn.export_rts,
        route_distinguisher=_distinguisher([vpn]),
    )
    via = f"via port {port.id} ({_first(port)})"
    for route in sorted(association.prefixes, key=lambda each: each.prefix):
        yield _prefix(base, association, route, via)
    for leak in sorted(association.leaks, key=lambda each: each.vpn.id):
        if port.addresses:
            yield _leak(base, association, leak, port, via)


def _prefix(base: Attachment, association: PortAssociation, route: PrefixRoute, via: str) -> Attachment:
    vpn = association.vpn
    return replace(
        base,
        instance_id=f"ipvpn_portassoc_{association.id}_prefix_{re.sub('[.:/]', '_', route.prefix)}",
        addresses=(route.prefix,),
        advertise_subnet=True,
        local_pref=vpn.local_pref if route.local_pref is None else route.local_pref,
        instance_description=(
            f"BGPVPN Port association: prefix route {route.prefix} to BGPVPN {vpn.name or vpn.id} {via}"
        ),
    )


def _leak(base: Attachment, association: PortAssociation, leak: LeakRoute, port: Port, via: str) -> Attachment:
    into = association.vpn
    return replace(
        base,
        instance_id=f"ipvpn_portassoc_{association.id}_bgpvpn_{leak.vpn.id}",
        addresses=tuple(_host(address) for address in port.addresses),
        export_rts=into.export_rts if association.advertise_fixed_ips else frozenset(),
        local_pref=into.local_pref if leak.local_pref is None else leak.local_pref,
        readvertise=Readvertise(leak.vpn.import_rts, into.export_rts),
        instance_description=(
            f"BGPVPN Port association: route leaking from {leak.vpn.name or leak.vpn.id}"
            f" into {into.name or into.id} {via}"
        ),
    )


def _base(port: Port, network: NetworkView, site: Site, kind: VpnType) -> Attachment:
    """What all attachments of a port have in common, without instance, MAC, addresses and route targets."""
    return Attachment(
        port_id=port.id,
        instance_id="",
        type=_KINDS[kind],
        mac=port.mac,
        addresses=(),
        gateways=network.gateways,
        import_rts=frozenset(),
        export_rts=frozenset(),
        local_port=_local_port(port, site, kind),
        fallback=_fallback(port, network, site) if kind == VpnType.L3 else None,
        description={"port": port.id},
    )


def _local_port(port: Port, site: Site, kind: VpnType) -> LocalPort:
    if isinstance(site, LinuxBridgeSite):
        bridge = f"brq{port.network_id[:_LINUX_NAME]}"
        if kind == VpnType.L3:
            return LocalPort(bridge)
        return LocalPort(f"tap{port.id[:_LINUX_NAME]}", linuxbr=bridge)
    key = f"patch2tun:{port.vlan}"
    if kind == VpnType.L2:
        return LocalPort(key, vlan=port.vlan)
    plumbing = site.plumbing
    number = plumbing.mpls_to_tun if port.tunnelled and plumbing.has_tunnels else plumbing.mpls_to_int
    return LocalPort(key, number=number, vlan=port.vlan)


def _fallback(port: Port, network: NetworkView, site: Site) -> Fallback | None:
    if isinstance(site, LinuxBridgeSite) or network.router_mac is None:
        return None
    return Fallback(FALLBACK_SOURCE_MAC, network.router_mac, site.plumbing.mpls_to_int, port.vlan)


def _targets(imported: Iterable[Vpn], exported: Iterable[Vpn]) -> Targets:
    return Targets(
        frozenset().union(*(vpn.import_rts for vpn in imported)),
        frozenset().union(*(vpn.export_rts for vpn in exported)),
    )


def _distinguisher(vpns: Iterable[Vpn]) -> str | None:
    by_id = {vpn.id: vpn for vpn in vpns}
    if len(by_id) != 1:
        return None
    return next((rd for vpn in by_id.values() for rd in vpn.route_distinguishers), None)


def _vni(port: Port, vpns: Iterable[Vpn]) -> int | None:
    """The VNI of a VPN; of several the lowest, so that all nodes choose the same. Else that of the vxlan network."""
    return min((vpn.vni for vpn in vpns if vpn.vni is not None), default=port.segmentation_id)


def _addresses(port: Port, with_pairs: bool) -> dict[str, tuple[str, ...]]:
    """The addresses by MAC, the port's own MAC first."""
    found: dict[str, dict[str, None]] = {port.mac: dict.fromkeys(_host(address) for address in port.addresses)}
    for mac, address in port.pairs if with_pairs else ():
        network = ipaddress.ip_network(address, strict=False)
        if network.prefixlen == network.max_prefixlen:
            found.setdefault(mac, {})[str(network)] = None
    return {mac: tuple(held) for mac, held in found.items()}


def _host(address: str) -> str:
    return str(ipaddress.ip_network(address))


def _first(port: Port) -> str:
    return port.addresses[0] if port.addresses else "no address"
