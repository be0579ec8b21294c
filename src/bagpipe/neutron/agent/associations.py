"""What the agent knows, and what follows from it for each port and network of this host. No I/O, no clock.

Facts go in as they come: a port appears or goes, a server answers a question (the whole of a network, or of a port) or
pushes one association. Answers come out as a function of the facts that hold, not of the order in which they came: all
attachments of a port, all redirects of a network. Of what is said about one thing the latest word counts.

Of networks without a port here nothing is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bagpipe.neutron.agent import attaching
from bagpipe.neutron.agent.attaching import NetworkView
from bagpipe.neutron.agent.facts import (
    NetworkAssociation,
    OpenVSwitchSite,
    Port,
    PortAssociation,
    Site,
    Subnet,
    VpnType,
)
from bagpipe.neutron.agent.link.attachment import Attachment
from bagpipe.neutron.agent.redirect import Gateway, Local, Redirect


@dataclass(slots=True)
class _Network:
    """A network with ports on this host. ``is_known``: a server has said in which VPNs it is."""

    associations: dict[str, NetworkAssociation] = field(default_factory=dict)
    subnets: tuple[Subnet, ...] = ()
    ports: set[str] = field(default_factory=set)
    is_known: bool = False


@dataclass(slots=True)
class _Member:
    """A port on this host with the associations of its own. ``is_known``: a server has said which."""

    port: Port
    own: dict[str, PortAssociation] = field(default_factory=dict)
    is_known: bool = False


class Associations:
    """All that is known. ``with_pairs``: addresses of allowed address pairs count as a port's. Not thread-safe."""

    def __init__(self, *, with_pairs: bool = False) -> None:
        self.with_pairs = with_pairs
        self.site: Site | None = None
        self._networks: dict[str, _Network] = {}
        self._members: dict[str, _Member] = {}

    # ------------------------------------------------------------------ facts

    def port_is(self, port: Port) -> None:
        """The port is here, and is as it says."""
        known = self._members.get(port.id)
        if known is None:
            self._members[port.id] = _Member(port)
        else:
            if known.port.network_id != port.network_id:
                self._leave(known.port)
            known.port = port
        self._networks.setdefault(port.network_id, _Network()).ports.add(port.id)

    def port_gone(self, port_id: str) -> Port | None:
        """The port is not here any more; the port that it was."""
        member = self._members.pop(port_id, None)
        if member is None:
            return None
        self._leave(member.port)
        return member.port

    def network_answer(
        self, network_id: str, associations: Iterable[NetworkAssociation], subnets: tuple[Subnet, ...]
    ) -> None:
        """A server has said in which VPNs the network is, all of them. Without ``subnets`` those known stay."""
        network = self._networks.get(network_id)
        if network is not None:
            network.associations = {each.id: each for each in associations}
            network.subnets = subnets or network.subnets
            network.is_known = True

    def network_associated(self, network_id: str, association: NetworkAssociation, subnets: tuple[Subnet, ...]) -> None:
        """A server has pushed an association of the network."""
        network = self._networks.get(network_id)
        if network is not None:
            network.associations[association.id] = association
            network.subnets = subnets or network.subnets

    def network_disassociated(self, network_id: str, association_id: str) -> None:
        """An association of the network is no more."""
        network = self._networks.get(network_id)
        if network is not None:
            network.associations.pop(association_id, None)

    def port_answer(
        self, port_id: str, associations: Iterable[PortAssociation], subnets: tuple[Subnet, ...] = ()
    ) -> None:
        """A server has said which associations the port has, all of them."""
        member = self._members.get(port_id)
        if member is not None:
            member.own = {each.id: each for each in associations}
            member.is_known = True
            self._learn_subnets(member, subnets)

    def port_associated(self, association: PortAssociation, subnets: tuple[Subnet, ...] = ()) -> None:
        """A server has pushed an association of a port."""
        member = self._members.get(association.port_id)
        if member is not None:
            member.own[association.id] = association
            self._learn_subnets(member, subnets)

    def port_disassociated(self, port_id: str, association_id: str) -> None:
        """An association of a port is no more."""
        member = self._members.get(port_id)
        if member is not None:
            member.own.pop(association_id, None)

    # ------------------------------------------------------------------ what is known

    @property
    def ports(self) -> Mapping[str, Port]:
        """The ports of this host by id."""
        return {port_id: member.port for port_id, member in self._members.items()}

    @property
    def networks(self) -> frozenset[str]:
        """The networks that have ports here."""
        return frozenset(self._networks)

    def ports_of(self, network_id: str) -> frozenset[str]:
        """The ports here that the network has."""
        network = self._networks.get(network_id)
        return frozenset(network.ports) if network is not None else frozenset()

    def networks_with(self, association_id: str) -> frozenset[str]:
        """The networks here that are known to have the association."""
        return frozenset(
            network_id for network_id, network in self._networks.items() if association_id in network.associations
        )

    def concerned(self, port_id: str) -> frozenset[str]:
        """The ports whose attachments follow from what is known of this one: itself, or where it is in an L2 VPN by an
        association of its own all of its network.
        """
        member = self._members.get(port_id)
        if member is not None and any(each.vpn.type == VpnType.L2 for each in member.own.values()):
            return self.ports_of(member.port.network_id)
        return frozenset([port_id])

    def port_network(self, port_id: str) -> str | None:
        """The network of a port of this host."""
        member = self._members.get(port_id)
        return None if member is None else member.port.network_id

    # ------------------------------------------------------------------ what follows

    def attachments(self, port_id: str) -> tuple[Attachment, ...] | None:
        """All that the daemon has to hold of the port; None while that is not known."""
        member = self._members.get(port_id)
        if member is not None and not member.port.wanted:
            return ()
        if member is None or self.site is None or not member.is_known:
            return None
        network = self._networks[member.port.network_id]
        if not network.is_known:
            return None
        view = self._view(member.port.network_id, network)
        return attaching.attachments(member.port, view, member.own.values(), self.site, with_pairs=self.with_pairs)

    def redirects(self, network_id: str) -> frozenset[Redirect] | None:
        """Which traffic to the network's gateways goes to the MPLS bridge; None while that is not known.

        One for each local VLAN of the network. None is known for good on Linux bridges: there is nothing to redirect.
        """
        network = self._networks.get(network_id)
        if network is None:
            return frozenset()
        if not isinstance(self.site, OpenVSwitchSite) or not network.is_known:
            return None
        as_a_whole = any(each.vpn.type == VpnType.L3 for each in network.associations.values())
        view = self._view(network_id, network)
        members: dict[tuple[int, bool], list[Port]] = {}
        for port_id in network.ports:
            member = self._members[port_id]
            port = member.port
            if port.wanted and port.vlan is not None and attaching.in_l3_vpn(view, member.own.values()):
                by_tunnel = port.tunnelled and self.site.plumbing.has_tunnels
                members.setdefault((port.vlan, by_tunnel), []).append(port)
        return frozenset(
            self._redirect(network_id, vlan, by_tunnel, view, ports, as_a_whole)
            for (vlan, by_tunnel), ports in members.items()
        )

    def _redirect(
        self, network_id: str, vlan: int, by_tunnel: bool, view: NetworkView, ports: list[Port], as_a_whole: bool
    ) -> Redirect:
        sources = [mac for port in ports for mac in attaching.macs(port, with_pairs=self.with_pairs)]
        return Redirect(
            network_id=network_id,
            vlan=vlan,
            by_tunnel=by_tunnel,
            gateways=frozenset(
                Gateway(subnet.gateway_ip, subnet.gateway_mac) for subnet in view.subnets if subnet.gateway_ip
            ),
            sources=frozenset() if as_a_whole else frozenset(sources),
            locals=frozenset(Local(port.ofport, port.mac) for port in ports if port.ofport is not None),
        )

    def _learn_subnets(self, member: _Member, subnets: tuple[Subnet, ...]) -> None:
        if subnets:
            self._networks[member.port.network_id].subnets = subnets

    def _leave(self, port: Port) -> None:
        network = self._networks[port.network_id]
        network.ports.discard(port.id)
        if not network.ports:
            del self._networks[port.network_id]

    def _view(self, network_id: str, network: _Network) -> NetworkView:
        associations = tuple(sorted(network.associations.values(), key=lambda each: each.id))
        bridged = {
            each.vpn.id: each.vpn
            for port_id in network.ports
            if self._members[port_id].port.wanted
            for each in self._members[port_id].own.values()
            if each.vpn.type == VpnType.L2
        }
        return NetworkView(network_id, associations, network.subnets, tuple(bridged[key] for key in sorted(bridged)))
