"""Beside Neutron: the flows on ``br-tun``, and the tunnel ports that are shared with Neutron's agent. No I/O.

A tunnel port is named and configured as Neutron's agent does it, so that whoever comes first makes the port that both
use: Open vSwitch would refuse a second one between the same addresses.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from bagpipe.dataplane.model import Local
from bagpipe.dataplane.openflow import FlowEntry, FlowMod, Match, apply
from bagpipe.dataplane.openflow import fields as f
from bagpipe.dataplane.openflow.actions import POP_VLAN, PORT_IN_PORT, Action, Output, PushVlan, Resubmit, SetField
from bagpipe.dataplane.openflow.fields import Criterion
from bagpipe.dataplane.openflow.instructions import ApplyActions
from bagpipe.dataplane.ovs.ground import Missing, Need
from bagpipe.dataplane.ovs_evpn.answers import advertisement, probes
from bagpipe.dataplane.ovs_evpn.evis import Evi
from bagpipe.dataplane.ovs_evpn.ground import TunnelGround
from bagpipe.dataplane.ovs_evpn.pipeline import (
    ARP_REQUEST,
    BESIDE,
    COOKIE,
    FIRST,
    PRIORITY,
    SHIELD,
    SOLICITATION,
    TO_ALL,
    TO_MANY,
    TO_SOLICITED_NODES,
    NeutronTable,
)
from bagpipe.dataplane.ovs_evpn.settings import OvsEvpnSettings
from bagpipe.dataplane.ovs_evpn.ways import Compiled, Made, Way

_NAME_SIZE = 15
_PREFIX = "vxlan-"


def tunnel_name(address: bytes) -> str:
    """The name that Neutron's agent gives the tunnel port to a node: an IPv4 address as 8 hexadecimal digits; of an
    IPv6 address as text a hash (BLAKE2b, 20 octets, in Base32, lower case), as much as a name of 15 characters takes.
    """
    if len(address) == 4:
        return _PREFIX + address.hex()
    digest = hashlib.blake2b(str(ip_address(address)).encode(), digest_size=20).digest()
    return _PREFIX + base64.b32encode(digest).decode().lower()[: _NAME_SIZE - len(_PREFIX)]


@dataclass(frozen=True, slots=True)
class Flooding:
    """What Neutron's own flow floods a VLAN to: its tunnel identifier and the tunnel ports."""

    tunnel_id: int
    ports: tuple[int, ...]


def flooding_of(entries: Iterable[FlowEntry]) -> dict[int, Flooding]:
    """Neutron's flood flows by VLAN: those of others that take the tag off, set an identifier and output."""
    found = {}
    for entry in entries:
        vid = entry.match.get(f.VLAN_VID)
        if entry.cookie == COOKIE or vid is None or len(entry.match.criteria) != 1:
            continue
        identifier, ports = None, []
        for instruction in entry.instructions:
            for action in instruction.actions if isinstance(instruction, ApplyActions) else ():
                if isinstance(action, SetField) and action.to.field == f.TUNNEL_ID:
                    identifier = action.to.number
                elif isinstance(action, Output):
                    ports.append(action.port)
        if identifier is not None and ports:
            found[vid.number & 0xFFF] = Flooding(identifier, tuple(sorted(ports)))
    return found


class BesideNeutron(Way):
    """The flows on Neutron's bridge. ``flooding`` is what Neutron's own flows flood each VLAN to."""

    unicast = NeutronTable.UNICAST
    answer = NeutronTable.ANSWER
    onward = NeutronTable.FLOOD
    advertise = NeutronTable.ADVERTISE
    owners_answer = True
    untag = (POP_VLAN,)
    prefix = _PREFIX

    def __init__(self, settings: OvsEvpnSettings, ground: TunnelGround, flooding: Mapping[int, Flooding]) -> None:
        super().__init__(settings, ground)
        self.flooding = flooding
        self._passages: dict[int, FlowMod] = {}

    def where(self, evi: Evi) -> tuple[Criterion, ...]:
        """The VLAN. Raises Missing."""
        if evi.vlan is None:
            raise Missing(f"no port of EVI {evi.instance} has a VLAN on this node")
        return (f.vlan(evi.vlan),)

    def belongs(self, match: Match) -> Criterion | None:
        """The VLAN that a flow is of."""
        return match.get(f.VLAN_VID)

    def _tunnel(self, address: bytes) -> int:
        self.check_node(address)
        return self.ground.tunnel(tunnel_name(address))

    def outward(self, address: bytes) -> tuple[Action, ...]:
        """By the tunnel port to the node. Raises Missing."""
        return (Output(self._tunnel(address)),)

    def to_local(self, evi: Evi, hop: Local) -> tuple[Action, ...] | None:
        """``br-int`` delivers by itself, unless the endpoint is of another EVI. What still comes here is for a machine
        that has not sent anything yet, or is about to move here and is still elsewhere: flooded. Raises Missing.
        """
        vlan = hop.port.vlan
        if vlan is None:
            raise Missing(f"port {hop.port.name} has no VLAN")
        return None if vlan == evi.vlan else (SetField(f.vlan(vlan)), Output(PORT_IN_PORT))

    def foundation(self) -> Iterator[FlowMod]:
        """The flow that completes an advertisement."""
        yield advertisement(self.advertise)

    def compile(self, evi: Evi) -> Compiled:
        """VNI to VLAN, flooding, and the way to the answers."""
        made = Compiled([], {}, {})
        flows, refusals, needs = made
        needs.update((key, frozenset({tunnel_name(hop.address)})) for key, hop in evi.floods.items())
        bridge = evi.keys
        for key in evi.plugs:
            if key.port.vlan is None:
                refusals[key] = f"port {key.port.name} has no VLAN: beside Neutron it needs that of its network"
            elif evi.vlan is None:
                refusals[key] = f"VLAN {key.port.vlan} is that of another EVI"
            elif key.port.vlan != evi.vlan:
                refusals[key] = f"VLAN {key.port.vlan} is not that of the EVI's other ports, {evi.vlan}"
        if evi.vlan is None or evi.vni is None:
            return made
        try:
            self.ground.check_vni(evi.vni)
        except Missing as cause:
            refusals.update(dict.fromkeys((*bridge, *evi.floods), str(cause)))
            return made
        vlan = f.vlan(evi.vlan)
        from_vni = Match.of(f.TUNNEL_ID(evi.vni))
        into = apply(PushVlan(), SetField(vlan), Resubmit(NeutronTable.LEARN))
        flows.append((FlowMod(NeutronTable.FROM_VNI, PRIORITY, from_vni, into, COOKIE), bridge))
        flows += self._shielded(evi, made)
        flows += self._flooding(evi, vlan, made)
        self.ground.take_asked()
        if self.settings.suppress:
            to_answers = apply(Resubmit(self.answer))
            for asks in ((*ARP_REQUEST, TO_ALL), (*SOLICITATION, TO_SOLICITED_NODES)):
                match = Match.of(vlan, *asks)
                flows.append((FlowMod(NeutronTable.FROM_VLAN, BESIDE, match, to_answers, COOKIE), bridge))
            flows += ((flow, bridge) for flow in probes(self.answer, (vlan,), self.onward))
            # Neutron has such a flow if its agent answers ARP.
            rest = FlowMod(self.answer, 0, Match.of(vlan), apply(Resubmit(self.onward)), COOKIE)
            flows.append((rest, bridge))
        return made

    def _flooding(self, evi: Evi, vlan: Criterion, made: Compiled) -> Iterator[Made]:
        kinds = self.flooded()
        if kinds is None:
            return
        actions: list[Action] = [POP_VLAN]
        for each in self.to_nodes(evi, made.refusals):
            actions += each
        taken = {action.port for action in actions if isinstance(action, Output)}
        if not taken:
            return
        others = self.flooding.get(evi.vlan or 0)
        more = [port for port in others.ports if port not in taken] if others else []
        if others and more:
            actions += (SetField(f.TUNNEL_ID(others.tunnel_id)), *map(Output, more))
        match = Match.of(vlan, *kinds)
        yield FlowMod(NeutronTable.FLOOD, PRIORITY, match, apply(*actions), COOKIE), tuple(evi.floods)

    def _shielded(self, evi: Evi, made: Compiled) -> Iterator[Made]:
        """All that comes from tunnels goes to the VLAN as a whole, so its ports have to agree about what they take."""
        refusals = made.refusals
        wanted = {(plug.designated, plug.shielded) for key, plug in evi.plugs.items() if key not in refusals}
        if len(wanted) > 1:
            for key in evi.plugs:
                refusals.setdefault(key, "ports of one VLAN differ in which flooded frames they take")
        if len(wanted) != 1:
            return
        ((designated, shielded),) = wanted
        keys = tuple(evi.plugs)
        match = (f.TUNNEL_ID(evi.vni or 0), TO_MANY)
        if not designated:
            yield FlowMod(NeutronTable.FROM_VNI, FIRST, Match.of(*match), (), COOKIE), keys
        for address in shielded:
            try:
                port = self._tunnel(address)
            except Missing:
                continue
            yield FlowMod(NeutronTable.FROM_VNI, SHIELD, Match.of(f.IN_PORT(port), *match), (), COOKIE), keys
        made.needs.update(dict.fromkeys(keys, self.ground.take_asked()))

    def source(self, address: bytes) -> tuple[FlowMod, ...]:
        """None but that of the tunnel port, if there is one: a BGP neighbour that nothing is sent to needs none."""
        if len(address) == self.settings.tunnel_source.size and address != self.settings.local_address.packed:
            with contextlib.suppress(Missing):
                self._tunnel(address)
        return ()

    def passages(self, needs: Iterable[Need]) -> Iterator[FlowMod]:
        """What comes by a tunnel port goes on as by one of Neutron's."""
        for name in self.tunnel_names(needs):
            number = self.ground.number(name)
            if number is not None:
                flow = self._passages.get(number)
                if flow is None:
                    on = apply(Resubmit(NeutronTable.FROM_VNI))
                    flow = FlowMod(NeutronTable.INPUT, PRIORITY, Match.of(f.IN_PORT(number)), on, COOKIE)
                    self._passages[number] = flow
                yield flow

    def tunnels(self, addresses: Iterable[bytes], vnis: Iterable[int]) -> dict[str, Mapping[str, str]]:
        """One port for each node, with the options that Neutron gives it."""
        own = self.settings.local_address.packed
        shared = {
            "df_default": "true",
            "local_ip": str(self.settings.local_address),
            "in_key": "flow",
            "out_key": "flow",
            "egress_pkt_mark": "0",
        }
        if self.settings.vxlan_port != 4789:
            shared["dst_port"] = str(self.settings.vxlan_port)
        return {
            tunnel_name(address): shared | {"remote_ip": str(ip_address(address))}
            for address in addresses
            if len(address) == len(own) and address != own
        }
