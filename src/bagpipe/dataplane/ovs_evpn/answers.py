"""Answers to ARP requests and neighbour solicitations for addresses whose owner is known.

ARP of RFC 826, neighbour discovery of RFC 4861, proxies of RFC 9161. What asks whether anybody has the address that the
sender wants for itself (probes of RFC 5227, solicitations of duplicate address detection without a link-layer address)
or announces its own (gratuitous ARP) is for everybody to hear, and goes on as if it were not known. So is what is sent
to one node, which is asked whether it is still there.
"""

from __future__ import annotations

from collections.abc import Iterator

from bagpipe.dataplane.model import Neighbour
from bagpipe.dataplane.openflow import FlowMod, Match, PackedFlow, apply
from bagpipe.dataplane.openflow import fields as f
from bagpipe.dataplane.openflow.actions import Action, CopyField, Resubmit, SetField
from bagpipe.dataplane.openflow.fields import Criterion
from bagpipe.dataplane.ovs.pipeline import BACK, NEIGHBOUR_ADVERTISEMENT
from bagpipe.dataplane.ovs.records import copied, put
from bagpipe.dataplane.ovs_evpn.molds import ADDRESS, MAC, FlowMold
from bagpipe.dataplane.ovs_evpn.pipeline import (
    ADVERTISEMENT,
    ARP_REQUEST,
    COOKIE,
    FIRST,
    PRIORITY,
    SOLICITATION,
    TO_ALL,
    TO_SOLICITED_NODES,
)

_TARGET_LINK_LAYER = 2
_ROUTER, _SOLICITED, _OVERRIDE = 1 << 31, 1 << 30, 1 << 29


def probes(table: int, where: tuple[Criterion, ...], onward: int) -> Iterator[FlowMod]:
    """What is asked by a sender that has no address yet is not answered."""
    pass_on = apply(Resubmit(onward))
    for asks in ((*ARP_REQUEST, f.ARP_SPA(bytes(4))), (*SOLICITATION, f.ND_SLL(bytes(6)))):
        yield FlowMod(table, FIRST + 1, Match.of(*where, *asks), pass_on, COOKIE)


def advertisement(table: int) -> FlowMod:
    """The option with the link-layer address can only be set in a flow that matches an advertisement."""
    actions = apply(CopyField(f.ETH_SRC, f.ND_TLL, 48), BACK)
    return FlowMod(table, PRIORITY, Match.of(*ADVERTISEMENT), actions, COOKIE)


class Answers:
    """The flows of the addresses of one EVI: ``where`` is what its frames have in ``table``, ``onward`` the table for
    what is not answered, ``advertise`` that of :func:`advertisement`.
    """

    def __init__(self, table: int, where: tuple[Criterion, ...], onward: int, advertise: int) -> None:
        asks = (*where, *ARP_REQUEST, TO_ALL, f.ARP_TPA(ADDRESS[4]))
        self._arp = FlowMold(FlowMod(table, PRIORITY, Match.of(*asks), apply(*_answer_arp()), COOKIE), ADDRESS[4], MAC)
        announces = Match.of(*asks, f.ARP_SPA(ADDRESS[4]))
        self._gratuitous = FlowMold(FlowMod(table, FIRST, announces, apply(Resubmit(onward)), COOKIE), ADDRESS[4], MAC)
        solicits = Match.of(*where, *SOLICITATION, TO_SOLICITED_NODES, f.ND_TARGET(ADDRESS[6]))
        self._nd = [
            FlowMold(FlowMod(table, PRIORITY, solicits, apply(*_advertise(flags, advertise)), COOKIE), ADDRESS[6], MAC)
            for flags in (_SOLICITED | _OVERRIDE, _ROUTER | _SOLICITED | _OVERRIDE)
        ]

    def additions(self, address: bytes, value: Neighbour) -> tuple[PackedFlow, ...]:
        """The flows that answer for an address (4 or 16 octets)."""
        mac = value.mac.packed
        if len(address) == 4:
            return self._gratuitous.addition(address, mac), self._arp.addition(address, mac)
        return (self._nd[value.is_router].addition(address, mac),)

    def removals(self, address: bytes) -> tuple[PackedFlow, ...]:
        """The messages that remove them."""
        if len(address) == 4:
            return self._gratuitous.removal(address, b""), self._arp.removal(address, b"")
        return (self._nd[0].removal(address, b""),)


def _answer_arp() -> tuple[Action, ...]:
    return (
        copied(f.ETH_SRC, f.ETH_DST),
        SetField(f.ETH_SRC(MAC)),
        SetField(f.ARP_OP(2)),
        copied(f.ARP_SHA, f.ARP_THA),
        SetField(f.ARP_SHA(MAC)),
        copied(f.ARP_SPA, f.ARP_TPA),
        SetField(f.ARP_SPA(ADDRESS[4])),
        BACK,
    )


def _advertise(flags: int, table: int) -> tuple[Action, ...]:
    return (
        copied(f.ETH_SRC, f.ETH_DST),
        SetField(f.ETH_SRC(MAC)),
        copied(f.IPV6_SRC, f.IPV6_DST),
        copied(f.ND_TARGET, f.IPV6_SRC),
        SetField(f.ICMPV6_TYPE(NEIGHBOUR_ADVERTISEMENT)),
        *put(f.ND_OPTIONS_TYPE, _TARGET_LINK_LAYER),
        *put(f.ND_RESERVED, flags),
        Resubmit(table),
    )
