"""The Open vSwitch dataplane: records in, flows and groups on one bridge out.

What the flows are is told in :mod:`bagpipe.dataplane.ovs.pipeline`. Ready once the database and the bridge answer and
the ports for other nodes are there; tunnel ports are made here, bridges and the underlay's port are not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence

from bagpipe.dataplane.delta import Change
from bagpipe.dataplane.driver import Carried, Difference, Foreign
from bagpipe.dataplane.errors import DataplaneError, Unreachable
from bagpipe.dataplane.model import Address, DeliveryKey, Encapsulation, ForwardKey, Key, Remote, Value
from bagpipe.dataplane.openflow import FlowMod, Timing
from bagpipe.dataplane.openflow.monitoring import FlowUpdate
from bagpipe.dataplane.ovs import foreign, inspection
from bagpipe.dataplane.ovs.adoption import Actual
from bagpipe.dataplane.ovs.ground import Ground, Need, Underlay
from bagpipe.dataplane.ovs.label_ports import LabelPorts, label_of
from bagpipe.dataplane.ovs.neighbours import Neighbours
from bagpipe.dataplane.ovs.pipeline import GROUPS, OURS, Priority, foundation, instance_of
from bagpipe.dataplane.ovs.plan import Plan, Program
from bagpipe.dataplane.ovs.settings import VXLAN_PORT_NAME, OvsSettings
from bagpipe.dataplane.ovs.supervision import Supervised
from bagpipe.identifiers import MacAddress

_log = logging.getLogger(__name__)
_RESOLVING = 1.0
"""Seconds that an adoption waits for the MACs of next hops: flows that are there should not be taken for wrong."""


class OvsDataplane(Supervised[Underlay, Plan]):
    """The driver ``ovs``; see :class:`bagpipe.dataplane.driver.Dataplane` for what each method does."""

    settings: OvsSettings

    def __init__(self, settings: OvsSettings, *, timing: Timing | None = None) -> None:
        super().__init__(settings, OURS, GROUPS, timing)
        self._label_ports = LabelPorts(settings, self._ports)
        self._neighbours = Neighbours(changed=self._neighbour_changed)
        self._program = self._laid(Underlay())

    # ------------------------------------------------------------------ what it stands on

    @property
    def _standing_on(self) -> Underlay:
        return self._program.ground.underlay

    def _lay(self, ground: Underlay) -> None:
        self._program = self._laid(ground)

    def _laid(self, underlay: Underlay) -> Program:
        return Program(Ground(self.settings, underlay, self._ports, self._neighbours, self._label_ports))

    async def _follow(self) -> None:
        await self._neighbours.start()
        self._held.push_async_callback(self._neighbours.close)

    async def _find_ground(self) -> Underlay:
        self._check_reached()
        gre = vxlan = mpls = source = None
        settings = self.settings
        if settings.uses_gre:
            kind = settings.gre_kind
            if kind == "gre" and settings.local_address.version == 6 and self._ports.datapath_type == "system":
                raise Unreachable(
                    f"gre_tunnel_options packet_type=legacy_l3: the kernel's datapath sends no MPLS in GRE from"
                    f" {settings.local_address}, only MPLS in Ethernet in GRE"
                )
            gre = await self._ports.ensure_tunnel(settings.gre_tunnel, kind, settings.gre_options)
        if settings.vxlan_encap:
            vxlan = await self._ports.ensure_tunnel(VXLAN_PORT_NAME, "vxlan", settings.vxlan_options)
        if settings.underlay is not None:
            mpls = self._ports.number(settings.underlay)
            if mpls is None:
                raise Unreachable(f"mpls_interface {settings.underlay} is not a port of bridge {settings.bridge}")
            mac = self._ports.bridge_mac
            source = None if mac is None else MacAddress(mac)
        await self._set_mtu()
        return Underlay(gre, vxlan, mpls, source)

    async def _set_mtu(self) -> None:
        settings = self.settings
        if settings.interfaces_mtu is None:
            return
        for name in (settings.bridge, settings.underlay):
            if name is None:
                continue
            try:
                await self._ports.set_mtu(name, settings.interfaces_mtu)
            except DataplaneError as cause:
                _log.warning("ovsbr_interfaces_mtu of port %s: %s", name, cause)

    def _ports_changed(self, names: frozenset[str]) -> None:
        settings = self.settings
        if names & {settings.bridge, settings.gre_tunnel, VXLAN_PORT_NAME, settings.underlay} or not self._is_ready:
            self._wake.set()
        self._again(names, "ports changed: " + ", ".join(sorted(names)))
        labels = [label for name in names if (label := label_of(name)) is not None]
        self._say_again(map(DeliveryKey, self._label_ports.broken(labels)), "ports of labels are gone")

    def _elsewhere_changed(self) -> None:
        labels = self._label_ports.look()
        self._say_again(map(DeliveryKey, sorted(labels)), "tunnels or networks of other bridges changed")

    def _neighbour_changed(self, address: bytes) -> None:
        self._program.next_hops.forget(address)
        self._again((address,), "the MAC of a next hop changed")

    def _again(self, needs: Iterable[Need], why: str) -> None:
        self._say_again(self._program.dependents.of(needs), why)

    # ------------------------------------------------------------------ what others did to our flows

    def _touched(self, updates: Sequence[FlowUpdate]) -> None:
        keys = []
        for update in updates:
            key = self._key_at(update)
            if key is not None:
                keys.append(key)
            elif instance_of(update.cookie) == 0:
                self._mending.set()
        self._say_again(keys, "somebody changed flows")

    def _key_at(self, update: FlowUpdate) -> Key | None:
        key = self._program.key_at(update.table, update.priority, update.match)
        if key is None and update.table == self.settings.tables.vrf:
            return inspection.route_of(update.priority, update.match)
        return key

    def _foundation(self) -> list[FlowMod]:
        underlay = self._program.ground.underlay
        return list(foundation(self.settings, underlay.tunnels, underlay.mpls))

    # ------------------------------------------------------------------ programming

    async def apply(self, changes: Sequence[Change]) -> dict[Key, str]:
        """Program changes, all in one bundle but for what the switch refuses."""
        async with self._lock:
            self._check_ready()
            await self._plug_all(changes)
            await self._label_ports.withdraw(changes)
            refusals = await self._perform(changes, None, sweep=False)
            refusals |= await self._label_ports.provide(changes, refusals)
            self._forget(need for need in self._program.dependents.take_dropped() if isinstance(need, bytes))
            await self._unplug()
            return refusals

    async def adopt(self, desired: Mapping[Key, Value], *, sweep: bool) -> dict[Key, str]:
        """Touch only what differs from ``desired``."""
        async with self._lock:
            self._check_ready()
            changes = [Change(key, None, value) for key, value in desired.items()]
            before = self._program.dependents.addresses()
            self._lay(self._program.ground.underlay)
            await self._plug_all(changes)
            await self._resolve(changes)
            self._label_ports.adopt(changes)
            if sweep:
                await self._label_ports.sweep()
            refusals = await self._perform(changes, await self._actual(), sweep=sweep)
            refusals |= await self._label_ports.provide(changes, refusals)
            self._forget(address for address in before if not self._program.dependents.has(address))
            if sweep:
                names = self._ports.names()
                ours = {name for name in names if self._ports.is_ours(name) and label_of(name) is None}
                self._plugged |= ours - self._tunnel_ports()
                await self._unplug()
            return refusals

    def _forget(self, addresses: Iterable[bytes]) -> None:
        for address in addresses:
            self._neighbours.forget(address)
            self._program.next_hops.forget(address)

    def _plan(self, changes: Sequence[Change], excluded: Mapping[Key, str], actual: Actual | None, sweep: bool) -> Plan:
        plan = self._program.plan(changes, excluded)
        if actual is None:
            return plan
        for flow in self._foundation():
            plan.add(flow, None)
        return actual.still_to_do(plan, sweep=sweep)

    def _commit(self, plan: Plan) -> None:
        self._program.commit(plan)

    async def _resolve(self, changes: Sequence[Change]) -> None:
        """Give the neighbours of all next hops a moment to be found."""
        wanted = {
            hop.address
            for change in changes
            if isinstance(change.new, tuple)
            for hop in change.new
            if isinstance(hop, Remote) and hop.encapsulation is Encapsulation.MPLS
        }
        end = asyncio.get_running_loop().time() + _RESOLVING
        while wanted and asyncio.get_running_loop().time() < end:
            wanted = {address for address in wanted if self._neighbours.mac(address) is None}
            if wanted:
                await asyncio.sleep(0.02)

    # ------------------------------------------------------------------ ports that nobody else plugs

    def _tunnel_ports(self) -> set[str]:
        return {self.settings.gre_tunnel, VXLAN_PORT_NAME}

    async def _plug_all(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if type(change.key) is ForwardKey:
                continue
            port = inspection.port_of(change.key, change.new)
            if port is not None:
                await self._plug(port)

    async def _unplug(self) -> None:
        for name in [name for name in self._plugged if not self._program.dependents.has(name)]:
            self._plugged.discard(name)
            try:
                await self._ports.delete_port(name)
            except DataplaneError as cause:
                _log.warning("port %s stays on bridge %s: %s", name, self.settings.bridge, cause)

    async def _clear_ports(self) -> int:
        ports = [name for name in self._ports.names() if self._ports.is_ours(name)]
        await self._ports.delete_ports(ports)
        self._lay(Underlay())
        self._plugged.clear()
        return len(ports)

    # ------------------------------------------------------------------ looking at it

    async def carried(self, key: Key, value: Value) -> Carried:
        """Flows and groups of a record as the bridge shows them now."""
        port = self._label_ports.port_of(key.label) if isinstance(key, DeliveryKey) else None
        return await inspection.carried(self._bridge, self._program, self._neighbours, key, value, port)

    async def audit(self, desired: Mapping[Key, Value]) -> list[Difference]:
        """Compare all of ours with what ``desired`` asks for."""
        async with self._lock:
            self._check_ready()
            changes = [Change(key, None, value) for key, value in desired.items()]
            actual = await self._actual()
            plan = self._laid(self._program.ground.underlay).plan(changes, {})
            for flow in self._foundation():
                plan.add(flow, None)
            return inspection.differences(actual, plan)

    async def foreign(self, records: Mapping[Key, Value], destination: Address | None = None) -> list[Foreign]:
        """Flows of others in our tables and, unless only packets to ``destination`` matter, their groups."""
        self._check_ready()
        changes = [Change(key, None, value) for key, value in records.items()]
        plan = self._laid(self._program.ground.underlay).plan(changes, {})
        if destination is None:
            ways = foreign.all_packets(plan, self._foundation())
        else:
            ways = foreign.packets_to(destination, plan, self._foundation())
        found = await foreign.foreign_flows(self._bridge, OURS, self.settings.tables, Priority.LOWEST, ways)
        return found if destination is not None else found + await foreign.foreign_groups(self._bridge, GROUPS)

    def overview(self) -> dict[str, object]:
        """Plain values for the looking glass."""
        program = self._program
        return inspection.overview(self.settings, program, self._ports, self._label_ports, self._is_ready, self._why)
