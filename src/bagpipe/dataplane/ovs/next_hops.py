"""What is done to a packet that goes to a next hop: as actions, and as octets for routes by the hundred thousand.

Remote next hops differ in little but their label, so the octets of the rest are made once per node and encapsulation.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import NamedTuple

from bagpipe.dataplane.model import GATEWAY_MAC, Encapsulation, Local, NextHop, Port, Remote
from bagpipe.dataplane.openflow import apply
from bagpipe.dataplane.openflow import fields as f
from bagpipe.dataplane.openflow.actions import (
    DEC_TTL,
    Action,
    Output,
    PushMpls,
    PushVlan,
    SetField,
    ToGroup,
)
from bagpipe.dataplane.openflow.instructions import pack_instructions
from bagpipe.dataplane.ovs.ground import Ground, Missing, Need
from bagpipe.identifiers import MacAddress

_PUSH = PushMpls()
_FRAME = (SetField(f.ETH_SRC(GATEWAY_MAC)), SetField(f.ETH_DST(GATEWAY_MAC)))
_INSTRUCTION_HEAD = 8
_SET_FIELD_HEAD = 8


class _Way(NamedTuple):
    """The octets before and after the 3 of a label, and what the way needs."""

    before: bytes
    after: bytes
    needs: frozenset[Need]


@dataclass(frozen=True, slots=True)
class _Steps:
    """Actions before the one that sets the label, the field it stands in, and the actions after it."""

    before: tuple[Action, ...]
    label: f.Field
    after: tuple[Action, ...]


def tagged(vlan: int | None) -> tuple[Action, ...]:
    """Put a VLAN tag on, if there is one."""
    return () if vlan is None else (PushVlan(), SetField(f.vlan(vlan)))


def to_endpoint(ground: Ground, port: Port, mac: MacAddress) -> tuple[Action, ...]:
    """A frame for an endpoint. Raises Missing."""
    number = ground.port(port)
    return SetField(f.ETH_SRC(GATEWAY_MAC)), SetField(f.ETH_DST(mac)), *tagged(port.vlan), Output(number)


class NextHops:
    """Next hops on one ground; made anew when the ground's underlay changes."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._ways: dict[bytes, _Way] = {}
        self._destination = ground.settings.tunnel_destination

    def forget(self, address: bytes) -> None:
        """The MAC of a node may be another now."""
        self._ways = {way: known for way, known in self._ways.items() if address not in known.needs}

    def actions(self, hop: NextHop) -> tuple[Action, ...]:
        """All but the lowering of the TTL, as in a bucket. Raises Missing."""
        if isinstance(hop, Local):
            return to_endpoint(self._ground, hop.port, hop.mac)
        steps = self._steps(hop)
        return *steps.before, SetField(steps.label(hop.label)), *steps.after

    def instructions(self, hop: NextHop) -> bytes:
        """The instructions of a route with this next hop alone. Raises Missing."""
        if isinstance(hop, Local):
            return pack_instructions(apply(DEC_TTL, *self.actions(hop)))
        way = self._ways.get(hop[3:])
        if way is None:
            way = self._ways[hop.way] = self._way(hop)
        if way.needs:
            self._ground.asked |= way.needs
        return way.before + hop[:3] + way.after

    def _way(self, hop: Remote) -> _Way:
        steps = self._steps(hop)
        octets = pack_instructions(apply(DEC_TTL, *steps.before, SetField(steps.label(0)), *steps.after))
        before = sum(len(action.packed) for action in (DEC_TTL, *steps.before))
        at = _INSTRUCTION_HEAD + before + _SET_FIELD_HEAD + steps.label.size
        needs = frozenset[Need]({hop.address} if hop.encapsulation is Encapsulation.MPLS else ())
        return _Way(octets[: at - 3], octets[at:], needs)

    def _steps(self, hop: Remote) -> _Steps:
        out = Output(self._ground.exit(hop.encapsulation))
        if hop.encapsulation is Encapsulation.MPLS:
            source = self._ground.underlay.source
            if source is None:
                raise Missing("the MAC of the underlay is not known yet")
            frame = (SetField(f.ETH_SRC(source)), SetField(f.ETH_DST(self._ground.mac(hop.address))))
            return _Steps((_PUSH,), f.MPLS_LABEL, (*frame, out))
        if len(hop.address) != self._destination.size:
            local = self._ground.settings.local_address
            raise Missing(f"no tunnel to {ip_address(hop.address)} can start at the local address {local}")
        there = SetField(self._destination(hop.address))
        if hop.encapsulation is Encapsulation.VXLAN:
            return _Steps((), f.TUNNEL_ID, (there, *self._frame(hop), out))
        return _Steps((_PUSH,), f.MPLS_LABEL, (there, out))

    def _frame(self, hop: Remote) -> tuple[Action, ...]:
        """What makes the frame in the tunnel one from router to router, or one for whoever has the label."""
        if not hop.mac:
            return _FRAME
        source = self._ground.settings.own_router_mac
        return SetField(f.ETH_SRC(source)), SetField(f.ETH_DST(MacAddress(hop.mac)))


def to_group(number: int) -> bytes:
    """The instructions of a route with several next hops."""
    return pack_instructions(apply(DEC_TTL, ToGroup(number)))
