"""What the two ways of working have to tell: see :mod:`bagpipe.dataplane.ovs_evpn.pipeline`. No I/O."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address
from typing import ClassVar, NamedTuple

from bagpipe.dataplane.model import Key, Local, Neighbour, Remote
from bagpipe.dataplane.openflow import FlowMod, Match
from bagpipe.dataplane.openflow import fields as f
from bagpipe.dataplane.openflow.actions import Action, SetField
from bagpipe.dataplane.openflow.fields import Criterion
from bagpipe.dataplane.ovs.ground import Missing, Need
from bagpipe.dataplane.ovs_evpn.evis import Evi
from bagpipe.dataplane.ovs_evpn.ground import TunnelGround
from bagpipe.dataplane.ovs_evpn.pipeline import TO_MANY, TO_ONE
from bagpipe.dataplane.ovs_evpn.settings import OvsEvpnSettings

_ROOM = 50_000
"""Octets of a flow-mod for actions that send to nodes; what is left is for ports of this node."""
Made = tuple[FlowMod, tuple[Key, ...]]
"""A flow, and the records that it is made of."""


class Compiled(NamedTuple):
    """The flows that the records of an EVI make together, which of them cannot be programmed now, with why, and what
    they need.
    """

    flows: list[Made]
    refusals: dict[Key, str]
    needs: dict[Key, frozenset[Need]]


class Way(abc.ABC):
    """How records become flows on one ground. What cannot be programmed now raises Missing."""

    unicast: ClassVar[int]
    """The table of MAC addresses."""
    answer: ClassVar[int]
    """The table of answers."""
    onward: ClassVar[int]
    """The table for what is not answered."""
    advertise: ClassVar[int]
    """The table that completes an advertisement."""
    sender: ClassVar[int | None] = None
    """The table of nodes that are known, if there is one."""
    owners_answer: ClassVar[bool] = False
    """Whether machines of this node answer for themselves: frames to all reach them wherever they are from."""
    untag: ClassVar[tuple[Action, ...]]
    """What is done to a frame before it goes to other nodes."""
    prefix: ClassVar[str]
    """What the names of tunnel ports begin with."""

    def __init__(self, settings: OvsEvpnSettings, ground: TunnelGround) -> None:
        self.settings = settings
        self.ground = ground

    @abc.abstractmethod
    def where(self, evi: Evi) -> tuple[Criterion, ...]:
        """What a frame of an EVI has, in the tables of MACs and answers. Raises Missing."""

    @abc.abstractmethod
    def belongs(self, match: Match) -> Criterion | None:
        """The criterion of :meth:`where` that a flow has; None if it has none."""

    @abc.abstractmethod
    def outward(self, address: bytes) -> tuple[Action, ...]:
        """Send a frame that has its tunnel identifier to a node. Raises Missing."""

    @abc.abstractmethod
    def to_local(self, evi: Evi, hop: Local) -> tuple[Action, ...] | None:
        """Send a frame to an endpoint of this node; None where that needs no flow. Raises Missing."""

    @abc.abstractmethod
    def foundation(self) -> Iterator[FlowMod]:
        """The flows that belong to no record."""

    @abc.abstractmethod
    def compile(self, evi: Evi) -> Compiled:
        """The flows of bridge, plugs and flooding of an EVI."""

    @abc.abstractmethod
    def source(self, address: bytes) -> tuple[FlowMod, ...]:
        """The flows that let in what a node sends. Raises Missing."""

    @abc.abstractmethod
    def passages(self, needs: Iterable[Need]) -> Iterator[FlowMod]:
        """The flows that tunnel ports in use have, whatever for."""

    @abc.abstractmethod
    def tunnels(self, addresses: Iterable[bytes], vnis: Iterable[int]) -> dict[str, Mapping[str, str]]:
        """The tunnel ports that these nodes and VNIs need, with their options."""

    # ------------------------------------------------------------------ what both have

    def tunnel_names(self, needs: Iterable[Need]) -> list[str]:
        """Those of the needs that are tunnel ports."""
        return [need for need in needs if isinstance(need, str) and need.startswith(self.prefix)]

    def check_node(self, address: bytes) -> None:
        """Raises Missing if no tunnel can lead to this address."""
        local = self.settings.local_address
        if address == local.packed:
            raise Missing(f"{local} is this node itself")
        if len(address) != self.settings.tunnel_destination.size:
            raise Missing(f"no tunnel to {ip_address(address)} can start at the local address {local}")

    def to_nodes(self, evi: Evi, refusals: dict[Key, str]) -> Iterator[tuple[Action, ...]]:
        """What sends a frame to each node that it is flooded to; those that cannot be reached are refused.

        So are those for which a flow, whose message has 65,535 octets at most, has no room.
        """
        room, label = _ROOM, None
        for key, hop in evi.flood_order():
            try:
                outward = self.outward(hop.address)
            except Missing as cause:
                refusals[key] = str(cause)
                continue
            actions = outward if hop.label == label else (SetField(f.TUNNEL_ID(hop.label)), *outward)
            room -= sum(len(action.packed) for action in actions)
            if room < 0:
                refusals[key] = "there is no room for more nodes in the flow that floods"
                continue
            label = hop.label
            yield actions

    def is_answered(self, neighbour: Neighbour) -> bool:
        """Whether who asks for an address gets this answer from the bridge."""
        return self.settings.suppress and not (self.owners_answer and neighbour.is_here)

    def to_remote(self, hop: Remote) -> tuple[Action, ...]:
        """Send a frame to a node, as in a bucket. Raises Missing."""
        return SetField(f.TUNNEL_ID(hop.label)), *self.outward(hop.address)

    def flooded(self) -> tuple[Criterion, ...] | None:
        """What frames that are flooded have; None if none are."""
        to_one, to_many = self.settings.unknown_unicast == "flood", self.settings.broadcast == "flood"
        if to_one == to_many:
            return () if to_one else None
        return (TO_ONE,) if to_one else (TO_MANY,)
