"""The flow tables on the bridge, and the walk of a packet through them.

==================  =========================================================================================
table               what it does
==================  =========================================================================================
input (0)           tells where a packet is from: an endpoint (then which VRF), a tunnel (then whether we know
                    the sender), or neither (then it is not ours and meets the flows of others)
tunnelled (1)       label or VNI to endpoint or VRF: takes the encapsulation off and delivers
vrf (2)             ``reg0`` is the VRF: destination to next hop, and what steers before and what is left after
answer (3)          puts the link-layer address into a neighbour advertisement, once it is one
==================  =========================================================================================

*From an endpoint to another node.* A frame comes in by ``tap1``. In ``input`` the flow of its access record forgets
the port it came by (so that it may leave by it again: endpoints behind one patch port talk to each other), sets
``reg0`` and looks it up in ``vrf``. There the longest prefix wins by priority. Its flow lowers the TTL or hop limit,
pushes the label (whose TTL is the lowered one), says where the tunnel leads, and outputs to the tunnel's port. With
several next hops the flow lowers the TTL and hands the packet to a group, whose buckets do the rest.

*From another node to an endpoint.* A packet comes in by the tunnel's port. In ``input`` the flow of its sender's
record lets it on to ``tunnelled``; the flow below it counts and drops what comes from anybody else. In ``tunnelled``
the flow of the label pops it (every label carries one IP version, so what is below is known), puts the anycast MAC and
the endpoint's MAC in, the VLAN tag if the port has one, and outputs. A VNI of a VRF goes on to ``vrf`` instead, if the
frame is for this node's MAC as a router: there, under a number of its own, are the endpoints of that VRF on this node.
Such a packet was sent by a flow that put both routers' MACs into the frame (symmetric IRB, RFC 9135 section 5).
Where tunnels of others take VXLAN packets away, those with a label of ours come by ports of their own (see
:mod:`bagpipe.dataplane.ovs.label_ports`): a flow in ``input`` has them go on as if they had come by the one port.

*Between endpoints of this node* the flow in ``vrf`` lowers the TTL and outputs to the endpoint.

*ARP and neighbour solicitations* are answered in ``input`` before anything is taken from the frame, so a tag stays on
the answer. A solicitation is turned into an advertisement in two tables: the option with the link-layer address can
only be set in a flow that matches an advertisement.

Flows carry a cookie: 0xba60 in its upper 16 bits says that they are the daemon's, the lower 32 bits name the VRF
instance (0: none). Groups have no cookie; those of the daemon have numbers from 0xba000000 to 0xbaffffff. No other flow
or group is ever changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

from bagpipe.dataplane.model import GATEWAY_MAC, Prefix
from bagpipe.dataplane.openflow import FlowMod, Match, Ours, apply
from bagpipe.dataplane.openflow import fields as f
from bagpipe.dataplane.openflow.actions import (
    ETH_IPV4,
    ETH_IPV6,
    ETH_MPLS,
    PORT_IN_PORT,
    Action,
    Output,
    Resubmit,
    SetField,
)
from bagpipe.dataplane.openflow.fields import Criterion
from bagpipe.dataplane.ovs.settings import OvsSettings

COOKIE = 0xBA60 << 48
OURS = Ours(COOKIE, 0xFFFF << 48)
WHOLE_COOKIE = 0xFFFF0000FFFFFFFF
"""All bits of a cookie that are used. Not simply all bits: with those, removing many flows is quadratic in OVS."""
GROUPS = range(0xBA000000, 0xBB000000)

ICMPV6 = 58
NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT = 135, 136
MPLS = f.ETH_TYPE(ETH_MPLS)
IP = {4: f.ETH_TYPE(ETH_IPV4), 6: f.ETH_TYPE(ETH_IPV6)}
DESTINATION = {4: f.IPV4_DST, 6: f.IPV6_DST}
SOURCE = {4: f.IPV4_SRC, 6: f.IPV6_SRC}


class Priority:
    """Every priority, the strongest of each table first."""

    # input
    NOT_ANSWERED = 36872
    ANSWER = 36870
    ACCESS_OF_SOURCE = 36866
    ACCESS = 36864
    KNOWN_SENDER = 36864
    UNKNOWN_SENDER = 36860
    LABEL_PORT = 36856
    # tunnelled
    DELIVERY = 36864
    # vrf
    NOT_ROUTED = 65000
    STEER = 36880
    ROUTE_TO_HOST6 = 36864
    FALLBACK = 36608
    # answer
    ADVERTISEMENT = 36864

    LOWEST = FALLBACK


def route_priority(length: int) -> int:
    """The priority of a route: IPv4 /32 gets 36768, /0 of either family 36736, IPv6 /128 36864."""
    return Priority.ROUTE_TO_HOST6 - 128 + length


def cookie(instance: int) -> int:
    """The cookie of the flows of a VRF."""
    return COOKIE | instance


def instance_of(cookie: int) -> int:
    """The VRF that a cookie names; 0 if none."""
    return cookie & 0xFFFFFFFF


# Of the two fields for it, the one of 32 bits cannot be set to 0.
FORGET_PORT = SetField(f.NXM_IN_PORT(0))
BACK = Output(PORT_IN_PORT)
_NEVER_ROUTED = ("224.0.0.0/4", "255.255.255.255/32", "ff00::/8", "fe80::/10")


def into_vrf(settings: OvsSettings, instance: int) -> tuple[Action, ...]:
    """Look the packet up in a VRF."""
    return FORGET_PORT, SetField(f.REG[0](instance)), Resubmit(settings.tables.vrf)


def destination(prefix: Prefix) -> tuple[Criterion, ...]:
    """What a packet to ``prefix`` has."""
    version = prefix.version
    if not prefix.length:
        return (IP[version],)
    return IP[version], DESTINATION[version].prefix(prefix.address, prefix.length)


def foundation(settings: OvsSettings, tunnels: tuple[int, ...], underlay: int | None) -> Iterator[FlowMod]:
    """The flows that belong to no record. ``tunnels`` are the OpenFlow ports that tell who sent a packet."""
    tables = settings.tables
    inward = apply(Resubmit(tables.tunnelled))
    for number in tunnels:
        known = not settings.known_sources_only
        priority = Priority.KNOWN_SENDER if known else Priority.UNKNOWN_SENDER
        yield FlowMod(tables.input, priority, Match.of(f.IN_PORT(number)), inward if known else (), COOKIE)
    if underlay is not None:
        yield FlowMod(tables.input, Priority.KNOWN_SENDER, Match.of(f.IN_PORT(underlay), MPLS), inward, COOKIE)
    for text in _NEVER_ROUTED:
        match = Match.of(*destination(Prefix.of(ip_network(text))))
        yield FlowMod(tables.vrf, Priority.NOT_ROUTED, match, (), COOKIE)
    advertisement = (IP[6], f.IP_PROTO(ICMPV6), f.ICMPV6_TYPE(NEIGHBOUR_ADVERTISEMENT))
    answer = apply(SetField(f.ND_TLL(GATEWAY_MAC)), BACK)
    yield FlowMod(tables.answer, Priority.ADVERTISEMENT, Match.of(*advertisement), answer, COOKIE)
