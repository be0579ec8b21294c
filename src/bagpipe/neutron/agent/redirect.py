"""Which flows bring traffic to the gateways of a network to the MPLS bridge, and what comes back to the machines.

Pure functions from what is wanted (:class:`Redirect`) and how the node is made (:class:`Wiring`) to sets of flows.
MACs, tables and priorities of the flows that networking-bagpipe installs as well are the same as there.

Two ways:

* **By br-tun**, for networks that travel in tunnels: br-int hands traffic to the gateway to br-tun, as it does with all
  that is not local, and br-tun hands it to the MPLS bridge.
* **Straight from br-int**, for VLAN and flat networks and where there is no br-tun. What machines of other hosts send
  to the gateway is none of this host's business there, and the MAC that stands for the gateway must not be seen on the
  physical network, where every host would claim it. So only frames of local ports are taken.

A gateway that is no port of Neutron's (its MAC is not known) is stood in for: ARP requests are answered with
:data:`GATEWAY_MAC`. Open vSwitch's kernel datapath cannot answer neighbour solicitations, so those are passed on to the
MPLS bridge, where bagpipe-bgp answers for the gateways of its attachments. Solicitations of duplicate address detection
are left alone, so that a router can take the address.

Of a gateway that is a router's, ARP and neighbour discovery stay with the router.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bagpipe.neutron.agent.attaching import FALLBACK_SOURCE_MAC
from bagpipe.neutron.agent.facts import Plumbing
from bagpipe.neutron.agent.flows import (
    ARP_REQUEST,
    ETHERTYPE_ARP,
    ETHERTYPE_IPV6,
    ICMPV6,
    NEIGHBOUR_ADVERTISEMENT,
    NEIGHBOUR_SOLICITATION,
    Action,
    AnswerArp,
    Bridge,
    Flow,
    Normal,
    Output,
    PopVlan,
    PushVlan,
    Resubmit,
    Value,
    matching,
)

GATEWAY_MAC: Final = "00:00:5e:00:43:64"

# Neutron's tables.
TUN_DVR_PROCESS: Final = 1
TUN_PATCH_LV_TO_TUN: Final = 2
TUN_UCAST_TO_TUN: Final = 20
TUN_ARP_RESPONDER: Final = 21
TUN_FLOOD_TO_TUN: Final = 22
INT_TRANSIENT: Final = 60
INT_ACCEPTED_EGRESS_NORMAL: Final = 94

# Priorities. In br-tun: above Neutron's 0 and 1, where two of ours overlap the more special is higher.
DEFAULT: Final = 32768
TUN_REDIRECT: Final = 1
TUN_FALLBACK: Final = 2
TUN_RESPONDER: Final = 2
TUN_NEIGHBOURS: Final = 3
TUN_DUPLICATE_DETECTION: Final = 4
TUN_DVR: Final = 4
# In table 94, Neutron's NORMAL has 1; with explicitly_egress_direct it has flows of 10 and 12 as well.
INT_REDIRECT: Final = 2
INT_REDIRECT_DIRECT: Final = 14
# In table 60, the openvswitch firewall has 90 and 100, explicitly_egress_direct 9.
INT_PORT_REDIRECT: Final = 50

_UNICAST: Final = "00:00:00:00:00:00/01:00:00:00:00:00"
_MULTICAST: Final = "01:00:00:00:00:00/01:00:00:00:00:00"

Fields = dict[str, Value | None]
_ARP: Final[Fields] = {"dl_type": ETHERTYPE_ARP}
_SOLICITATION: Final[Fields] = {"dl_type": ETHERTYPE_IPV6, "nw_proto": ICMPV6, "icmp_type": NEIGHBOUR_SOLICITATION}
_ADVERTISEMENT: Final[Fields] = {"dl_type": ETHERTYPE_IPV6, "nw_proto": ICMPV6, "icmp_type": NEIGHBOUR_ADVERTISEMENT}


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway's address, and its MAC where a port of Neutron has it."""

    address: str
    mac: str | None = None

    @property
    def is_ipv4(self) -> bool:
        """Whether the address is an IPv4 address."""
        return ipaddress.ip_address(self.address).version == 4


@dataclass(frozen=True, slots=True)
class Local:
    """A port of this host on br-int."""

    ofport: int
    mac: str


@dataclass(frozen=True, slots=True)
class Redirect:
    """Traffic to a network's gateways is wanted on the MPLS bridge.

    ``by_tunnel``: by br-tun, else straight from br-int. ``sources``: only from these MACs; empty: from all.
    ``locals``: the ports that it is for.
    """

    network_id: str
    vlan: int
    by_tunnel: bool
    gateways: frozenset[Gateway]
    sources: frozenset[str] = frozenset()
    locals: frozenset[Local] = frozenset()


@dataclass(frozen=True, slots=True)
class Wiring:
    """How the node is made.

    ``firewall_marks``: the openvswitch firewall is at work, so that accepted traffic of a port passes table 94 of
    br-int with its VLAN in ``reg6``; else it is switched in table 60. ``egress_direct``: ``explicitly_egress_direct``
    of the agent. ``arp_responder``: br-tun sends ARP requests through its table of responders. ``distributed``:
    distributed routers, whose MACs br-tun drops.
    """

    plumbing: Plumbing
    firewall_marks: bool = True
    egress_direct: bool = False
    arp_responder: bool = True
    distributed: bool = False


def standing(wiring: Wiring) -> frozenset[Flow]:
    """The flows that are there whatever is associated."""
    plumbing = wiring.plumbing
    above = _int_priority(wiring) + 1
    found = [
        Flow(
            Bridge.INTEGRATION,
            INT_ACCEPTED_EGRESS_NORMAL,
            above,
            matching({"dl_src": FALLBACK_SOURCE_MAC}),
            (Normal(),),
        )
    ]
    if plumbing.tun_to_mpls is not None and plumbing.tun_to_int is not None:
        for destination, table in ((_UNICAST, TUN_UCAST_TO_TUN), (_MULTICAST, TUN_FLOOD_TO_TUN)):
            match = matching({"dl_src": FALLBACK_SOURCE_MAC, "dl_dst": destination})
            found.append(Flow(Bridge.TUNNEL, TUN_PATCH_LV_TO_TUN, TUN_FALLBACK, match, (Resubmit(table),)))
        from_mpls = matching({"in_port": plumbing.tun_to_mpls})
        found.append(Flow(Bridge.TUNNEL, 0, DEFAULT, from_mpls, (Output(plumbing.tun_to_int),)))
    return frozenset(found)


def flows(redirect: Redirect, wiring: Wiring) -> frozenset[Flow]:
    """The flows of one redirect."""
    return frozenset(_by_tunnel(redirect, wiring) if redirect.by_tunnel else _straight(redirect, wiring))


def _by_tunnel(redirect: Redirect, wiring: Wiring) -> Iterator[Flow]:
    plumbing = wiring.plumbing
    assert plumbing.tun_to_mpls is not None
    assert plumbing.int_to_tun is not None
    vlan = redirect.vlan
    to_mpls = (Output(plumbing.tun_to_mpls),)
    for source in _sources(redirect):
        taken: Fields = {"in_port": plumbing.tun_to_int, "dl_vlan": vlan, "dl_src": source}
        yield _tun(TUN_REDIRECT, {**taken, "dl_dst": GATEWAY_MAC}, to_mpls)
        for gateway in redirect.gateways:
            if gateway.mac is not None:
                yield _tun(TUN_REDIRECT, {**taken, "dl_dst": gateway.mac}, to_mpls)
                for neighbours in (_ARP, _SOLICITATION, _ADVERTISEMENT):
                    spoken: Fields = {**taken, "dl_dst": gateway.mac, **neighbours}
                    yield _tun(TUN_NEIGHBOURS, spoken, (Resubmit(TUN_UCAST_TO_TUN),))
                if wiring.distributed:
                    match = matching({**taken, "dl_dst": gateway.mac})
                    yield Flow(Bridge.TUNNEL, TUN_DVR_PROCESS, TUN_DVR, match, (Resubmit(TUN_PATCH_LV_TO_TUN),))
            elif gateway.is_ipv4:
                yield _responder(gateway, taken, wiring)
            else:
                asked: Fields = {**taken, **_SOLICITATION, "nd_target": gateway.address}
                yield _tun(TUN_NEIGHBOURS, asked, to_mpls)
                detection = {**asked, "ipv6_src": "::"}
                yield _tun(TUN_DUPLICATE_DETECTION, detection, (Resubmit(TUN_FLOOD_TO_TUN),))
    # A router on this node would be reached within br-int.
    out = (PushVlan(vlan), Output(plumbing.int_to_tun))
    for table, priority, taken in _local_traffic(redirect, wiring):
        for gateway in redirect.gateways:
            if gateway.mac is not None:
                yield from _to_router(table, priority, taken, gateway.mac, out)


def _straight(redirect: Redirect, wiring: Wiring) -> Iterator[Flow]:
    patch = wiring.plumbing.int_to_mpls
    out = (PushVlan(redirect.vlan), Output(patch))
    for table, priority, taken in _local_traffic(redirect, wiring):
        yield _int(table, priority, {**taken, "dl_dst": GATEWAY_MAC}, out)
        for gateway in redirect.gateways:
            if gateway.mac is not None:
                yield from _to_router(table, priority, taken, gateway.mac, out)
            elif gateway.is_ipv4:
                asked: Fields = {**taken, **_ARP, "arp_op": ARP_REQUEST, "arp_tpa": gateway.address}
                yield _int(table, priority + 1, asked, (AnswerArp(gateway.address, GATEWAY_MAC),))
            else:
                asked = {**taken, **_SOLICITATION, "nd_target": gateway.address}
                yield _int(table, priority + 1, asked, out)
                yield _int(table, priority + 2, {**asked, "ipv6_src": "::"}, (Normal(),))
    if not wiring.firewall_marks:
        # What comes back goes to its port, and is not flooded to the physical network before the port's MAC is learnt.
        for port in redirect.locals:
            match: Fields = {"in_port": patch, "dl_vlan": redirect.vlan, "dl_dst": port.mac}
            yield _int(INT_TRANSIENT, INT_PORT_REDIRECT, match, (PopVlan(), Output(port.ofport)))


def _local_traffic(redirect: Redirect, wiring: Wiring) -> Iterator[tuple[int, int, Fields]]:
    """Where on br-int traffic of the network's local ports is found: table, priority, and the match for it."""
    if wiring.firewall_marks:
        for source in _sources(redirect):
            yield INT_ACCEPTED_EGRESS_NORMAL, _int_priority(wiring), {"reg6": redirect.vlan, "dl_src": source}
    else:
        for port in redirect.locals:
            yield INT_TRANSIENT, INT_PORT_REDIRECT, {"in_port": port.ofport}


def _to_router(table: int, priority: int, taken: Fields, mac: str, out: tuple[Action, ...]) -> Iterator[Flow]:
    yield _int(table, priority, {**taken, "dl_dst": mac}, out)
    for neighbours in (_ARP, _SOLICITATION, _ADVERTISEMENT):
        yield _int(table, priority + 1, {**taken, "dl_dst": mac, **neighbours}, (Normal(),))


def _responder(gateway: Gateway, taken: Fields, wiring: Wiring) -> Flow:
    asked: Fields = {**_ARP, "arp_op": ARP_REQUEST, "arp_tpa": gateway.address}
    answer = (AnswerArp(gateway.address, GATEWAY_MAC),)
    if wiring.arp_responder:
        match = matching({"dl_vlan": taken["dl_vlan"], "dl_src": taken["dl_src"], **asked})
        return Flow(Bridge.TUNNEL, TUN_ARP_RESPONDER, TUN_RESPONDER, match, answer)
    return _tun(TUN_NEIGHBOURS, {**taken, **asked}, answer)


def _tun(priority: int, fields: Fields, actions: tuple[Action, ...]) -> Flow:
    return Flow(Bridge.TUNNEL, TUN_PATCH_LV_TO_TUN, priority, matching(fields), actions)


def _int(table: int, priority: int, fields: Fields, actions: tuple[Action, ...]) -> Flow:
    return Flow(Bridge.INTEGRATION, table, priority, matching(fields), actions)


def _int_priority(wiring: Wiring) -> int:
    return INT_REDIRECT_DIRECT if wiring.egress_direct else INT_REDIRECT


def _sources(redirect: Redirect) -> tuple[str | None, ...]:
    return tuple(sorted(redirect.sources)) or (None,)
