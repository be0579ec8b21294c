"""A bridge of our own: its flows and tunnel ports. No I/O.

What comes from a tunnel goes on as if it had come by the port that is for sending: Open vSwitch never sends a frame
out of the port that it came by, so none goes from one node to another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from bagpipe.dataplane.model import BridgeKey, Key, Local, Plug, PlugKey
from bagpipe.dataplane.openflow import FlowMod, Match, apply
from bagpipe.dataplane.openflow import fields as f
from bagpipe.dataplane.openflow.actions import POP_VLAN, Action, Output, Resubmit, SetField
from bagpipe.dataplane.openflow.fields import Criterion
from bagpipe.dataplane.ovs.ground import Missing, Need
from bagpipe.dataplane.ovs.next_hops import tagged
from bagpipe.dataplane.ovs_evpn.answers import advertisement, probes
from bagpipe.dataplane.ovs_evpn.evis import Evi
from bagpipe.dataplane.ovs_evpn.pipeline import COOKIE, FIRST, PRIORITY, SHIELD, OwnTable
from bagpipe.dataplane.ovs_evpn.ways import Compiled, Made, Way

SENDER = "evpn-out"
"""The tunnel port that frames leave by."""
_PREFIX = "evpn-"
"""Of the names of tunnel ports; no other port of the bridge should have one with it."""
_UNTAGGED = (f.UNTAGGED,)


def port_name(vni: int) -> str:
    """The tunnel port by which frames with a VNI come."""
    return f"{_PREFIX}{vni}"


class OnOwnBridge(Way):
    """The flows on a bridge of our own."""

    unicast = OwnTable.UNICAST
    answer = OwnTable.ANSWER
    onward = OwnTable.UNTAG
    advertise = OwnTable.ADVERTISE
    untag = ()
    prefix = _PREFIX
    sender = OwnTable.SENDER

    def where(self, evi: Evi) -> tuple[Criterion, ...]:
        """The number of the EVI."""
        return (f.REG[0](evi.instance),)

    def belongs(self, match: Match) -> Criterion | None:
        """The number of the EVI that a flow is of."""
        return match.get(f.REG[0])

    def outward(self, address: bytes) -> tuple[Action, ...]:
        """By the port for sending, to the node. Raises Missing."""
        self.check_node(address)
        return SetField(self.settings.tunnel_destination(address)), Output(self.ground.tunnel(SENDER))

    def to_local(self, evi: Evi, hop: Local) -> tuple[Action, ...] | None:
        """Out of its port, with its tag. Raises Missing."""
        return *tagged(hop.port.vlan), Output(self.ground.port(hop.port))

    def foundation(self) -> Iterator[FlowMod]:
        """What leads from table to table, and what is dropped or not according to the settings."""
        if not self.settings.known_sources_only:
            yield self._next(OwnTable.SENDER, OwnTable.UNICAST)
        yield self._next(OwnTable.ANSWER, OwnTable.UNTAG)
        yield advertisement(self.advertise)
        if self.settings.suppress:
            yield from probes(self.answer, (), self.onward)
        untagged = apply(POP_VLAN, Resubmit(OwnTable.UNICAST))
        yield FlowMod(OwnTable.UNTAG, PRIORITY, Match.of(f.TAGGED), untagged, COOKIE)
        yield self._next(OwnTable.UNTAG, OwnTable.UNICAST)
        flooded = self.flooded()
        if flooded is not None:
            yield FlowMod(OwnTable.UNICAST, 0, Match.of(*flooded), apply(Resubmit(OwnTable.FLOOD)), COOKIE)

    @staticmethod
    def _next(table: int, following: int) -> FlowMod:
        return FlowMod(table, 0, Match.of(), apply(Resubmit(following)), COOKIE)

    def compile(self, evi: Evi) -> Compiled:
        """What comes in by plugs and by the VNI, and flooding."""
        made = Compiled([], {}, {})
        flows, refusals, needs = made
        numbers: dict[PlugKey, int] = {}
        for key in evi.plugs:
            try:
                numbers[key] = self.ground.port(key.port)
            except Missing as cause:
                refusals[key] = str(cause)
            needs[key] = self.ground.take_asked()
        if evi.bridge is None:
            return made
        register = SetField(f.REG[0](evi.instance))
        for key, number in numbers.items():
            port = key.port
            place = [f.IN_PORT(number), f.UNTAGGED if port.vlan is None else f.vlan(port.vlan)]
            place += [] if port.source is None else [f.ETH_SRC(port.source)]
            priority = PRIORITY if port.source is None else FIRST
            inward = apply(register, Resubmit(OwnTable.ANSWER))
            flows.append((FlowMod(OwnTable.INPUT, priority, Match.of(*place), inward, COOKIE), (key,)))
        try:
            self.ground.check_vni(evi.bridge.vni)
            self.ground.tunnel(port_name(evi.bridge.vni))
            sender = self.ground.tunnel(SENDER)
        except Missing as cause:
            refusals.update(dict.fromkeys((*evi.keys, *evi.floods), str(cause)))
            return made
        finally:
            asked = self.ground.take_asked() | {SENDER}
            needs[BridgeKey(evi.instance)] = asked
            needs.update(dict.fromkeys(evi.floods, asked))
        match = Match.of(f.TUNNEL_ID(evi.bridge.vni), self.settings.tunnel_destination(self.settings.local_address))
        inward = apply(register, SetField(f.NXM_IN_PORT(sender)), Resubmit(OwnTable.SENDER))
        flows.append((FlowMod(OwnTable.INPUT, PRIORITY, match, inward, COOKIE), evi.keys))
        flows += self._flooding(evi, numbers, sender, refusals)
        self.ground.take_asked()
        return made

    def _flooding(
        self, evi: Evi, numbers: Mapping[PlugKey, int], sender: int, refusals: dict[Key, str]
    ) -> Iterator[Made]:
        everybody = self._to_plugs(evi.plugs, numbers)
        for each in self.to_nodes(evi, refusals):
            everybody += each
        of = f.REG[0](evi.instance)
        keys = (*evi.keys, *evi.floods)
        if everybody:
            yield FlowMod(OwnTable.FLOOD, PRIORITY, Match.of(of), apply(*everybody), COOKIE), keys
        designated = {key: plug for key, plug in evi.plugs.items() if plug.designated}
        came = (of, f.IN_PORT(sender))
        if len(designated) != len(evi.plugs):
            actions = self._to_plugs(designated, numbers)
            yield FlowMod(OwnTable.FLOOD, FIRST, Match.of(*came), apply(*actions), COOKIE), evi.keys
        for address in sorted({address for plug in designated.values() for address in plug.shielded}):
            if len(address) != self.settings.tunnel_source.size:
                continue
            open_to = {key: plug for key, plug in designated.items() if address not in plug.shielded}
            match = Match.of(*came, self.settings.tunnel_source(address))
            actions = self._to_plugs(open_to, numbers)
            yield FlowMod(OwnTable.FLOOD, SHIELD, match, apply(*actions), COOKIE), evi.keys

    @staticmethod
    def _to_plugs(plugs: Mapping[PlugKey, Plug], numbers: Mapping[PlugKey, int]) -> list[Action]:
        actions: list[Action] = []
        places = {(key.port.vlan, numbers[key]) for key in plugs if key in numbers}
        for vlan, number in sorted(places, key=lambda place: (place[0] or 0, place[1])):
            actions += (*tagged(vlan), Output(number))
            if vlan is not None:
                actions.append(POP_VLAN)
        return actions

    def source(self, address: bytes) -> tuple[FlowMod, ...]:
        """The flow that lets in what a node sends."""
        field = self.settings.tunnel_source
        if not self.settings.known_sources_only or len(address) != field.size:
            return ()
        on = apply(Resubmit(OwnTable.UNICAST))
        return (FlowMod(OwnTable.SENDER, PRIORITY, Match.of(field(address)), on, COOKIE),)

    def passages(self, needs: Iterable[Need]) -> Iterator[FlowMod]:
        """None: frames are told apart by their VNI."""
        return iter(())

    def tunnels(self, addresses: Iterable[bytes], vnis: Iterable[int]) -> dict[str, Mapping[str, str]]:
        """One port for each VNI. The one for sending takes frames without a key alone, which there are none of."""
        options = {"remote_ip": "flow", "local_ip": str(self.settings.local_address), "out_key": "flow"}
        if self.settings.vxlan_port != 4789:
            options["dst_port"] = str(self.settings.vxlan_port)
        ports: dict[str, Mapping[str, str]] = {SENDER: options}
        return ports | {port_name(vni): options | {"in_key": str(vni)} for vni in vnis}
