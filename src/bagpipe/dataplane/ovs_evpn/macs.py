"""MAC addresses to flows, by octets: many differ in MAC and next hop alone, so all else is made once. No I/O."""

from __future__ import annotations

from bagpipe.dataplane.model import Local, MacKey, NextHop, Remote
from bagpipe.dataplane.openflow import FlowMod, Match, PackedFlow, apply
from bagpipe.dataplane.openflow import fields as f
from bagpipe.dataplane.openflow.actions import Action, SetField, ToGroup
from bagpipe.dataplane.openflow.fields import Criterion
from bagpipe.dataplane.openflow.instructions import pack_instructions
from bagpipe.dataplane.ovs.ground import Missing, Need
from bagpipe.dataplane.ovs_evpn.evis import Evi
from bagpipe.dataplane.ovs_evpn.molds import MAC, NUMBER, TUNNEL_ID, FlowMold, Mold
from bagpipe.dataplane.ovs_evpn.pipeline import COOKIE, PRIORITY
from bagpipe.dataplane.ovs_evpn.ways import Way

_BEFORE_LABEL = bytes(5)
_HEAD = len(MacKey.scope(0))


class Macs:
    """Writes the flows of MAC addresses in one way."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._molds: dict[tuple[Criterion, ...], FlowMold] = {}
        self._outward: dict[bytes, tuple[Mold, frozenset[Need]]] = {}

    def forget(self) -> None:
        """Ports may have other numbers now."""
        self._outward.clear()

    def addition(self, where: tuple[Criterion, ...], key: MacKey, instructions: bytes) -> PackedFlow:
        """Add or replace the flow of a MAC."""
        return self._mold(where).addition(key[_HEAD:], more=instructions)

    def removal(self, where: tuple[Criterion, ...], key: MacKey) -> PackedFlow:
        """Remove the flow of a MAC."""
        return self._mold(where).removal(key[_HEAD:])

    def _mold(self, where: tuple[Criterion, ...]) -> FlowMold:
        mold = self._molds.get(where)
        if mold is None:
            flow = FlowMod(self._way.unicast, PRIORITY, Match.of(*where, f.ETH_DST(MAC)), cookie=COOKIE)
            mold = self._molds[where] = FlowMold(flow, MAC)
        return mold

    def local(self, evi: Evi, hop: Local) -> bytes | None:
        """The instructions for a MAC of this node; None if it needs no flow. Raises Missing."""
        actions = self._way.to_local(evi, hop)
        return None if actions is None else pack_instructions(apply(*actions))

    def remote(self, hop: Remote) -> tuple[bytes, frozenset[Need]]:
        """The instructions for a MAC of another node, and what they need. Raises Missing."""
        known = self._outward.get(hop[3:])
        if known is None:
            known = self._outward[hop.way] = self._mold_of(hop)
        mold, needs = known
        return mold.fill(_BEFORE_LABEL + hop[:3]), needs

    def _mold_of(self, hop: Remote) -> tuple[Mold, frozenset[Need]]:
        actions = apply(*self._way.untag, SetField(f.TUNNEL_ID(NUMBER)), *self._way.outward(hop.address))
        return Mold(pack_instructions(actions), TUNNEL_ID), self._way.ground.take_asked()

    def actions(self, hop: NextHop) -> tuple[Action, ...]:
        """What is done to a frame for a node, as in a bucket. Raises Missing."""
        if isinstance(hop, Local):
            raise Missing("traffic is shared among other nodes alone")
        return self._way.to_remote(hop)

    def to_group(self, number: int) -> bytes:
        """The instructions for a MAC with several next hops."""
        return pack_instructions(apply(*self._way.untag, ToGroup(number)))
