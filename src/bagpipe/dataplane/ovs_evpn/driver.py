"""The Open vSwitch dataplane of EVPN instances: records in, flows and groups on one bridge out.

What the flows are is told in :mod:`bagpipe.dataplane.ovs_evpn.pipeline`. Tunnel ports are made here, and a bridge of
our own is; Neutron's bridge is waited for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Literal

from bagpipe.dataplane.delta import Change
from bagpipe.dataplane.driver import Carried, Difference, Foreign
from bagpipe.dataplane.errors import DataplaneError
from bagpipe.dataplane.model import (
    Address,
    Bridge,
    BridgeKey,
    Key,
    PlugKey,
    Remote,
    SourceKey,
    Value,
)
from bagpipe.dataplane.openflow import FlowMod, Timing
from bagpipe.dataplane.openflow import fields as f
from bagpipe.dataplane.openflow.monitoring import FlowUpdate
from bagpipe.dataplane.ovs.adoption import Actual
from bagpipe.dataplane.ovs.foreign import all_packets, foreign_flows, foreign_groups
from bagpipe.dataplane.ovs.inspection import carried_by, differences
from bagpipe.dataplane.ovs.supervision import Supervised
from bagpipe.dataplane.ovs_evpn.ground import TunnelGround
from bagpipe.dataplane.ovs_evpn.neutron import BesideNeutron, Flooding, flooding_of
from bagpipe.dataplane.ovs_evpn.own import OnOwnBridge
from bagpipe.dataplane.ovs_evpn.pipeline import GROUPS, OURS, PRIORITY, NeutronTable, OwnTable
from bagpipe.dataplane.ovs_evpn.plan import EviPlan, Program
from bagpipe.dataplane.ovs_evpn.settings import NEUTRON_BRIDGE, OvsEvpnSettings
from bagpipe.dataplane.ovs_evpn.ways import Way

_log = logging.getLogger(__name__)
_PATCH = "patch-int"
_PROTOCOL = "OpenFlow15"
Mode = Literal["neutron", "own"]
_NEUTRONS = frozenset(
    (
        NeutronTable.INPUT,
        NeutronTable.FROM_VLAN,
        NeutronTable.FROM_VNI,
        NeutronTable.UNICAST,
        NeutronTable.ANSWER,
        NeutronTable.FLOOD,
        NeutronTable.ADVERTISE,
    )
)
_OWN = frozenset(range(OwnTable.INPUT, OwnTable.FLOOD + 1))


class OvsEvpnDataplane(Supervised[Mode, EviPlan]):
    """The driver ``ovs``; see :class:`bagpipe.dataplane.driver.Dataplane` for what each method does."""

    settings: OvsEvpnSettings

    def __init__(self, settings: OvsEvpnSettings, *, timing: Timing | None = None) -> None:
        super().__init__(settings, OURS, GROUPS, timing, others=NeutronTable.FLOOD)
        self._mode: Mode | None = None
        self._flooding: dict[int, Flooding] = {}
        self._flooding_moved = asyncio.Event()
        self._ground = TunnelGround(settings, self._ports)
        self._program = Program(self._way("own"))

    # ------------------------------------------------------------------ what it stands on

    @property
    def _standing_on(self) -> Mode | None:
        return self._mode

    def _way(self, mode: Mode) -> Way:
        if mode == "neutron":
            return BesideNeutron(self.settings, self._ground, self._flooding)
        return OnOwnBridge(self.settings, self._ground)

    def _lay(self, ground: Mode) -> None:
        self._mode = ground
        self._ground.is_own = ground == "own"
        self._program = Program(self._way(ground))

    def _lasting(self) -> list[Coroutine[Any, Any, None]]:
        return [*super()._lasting(), self._follow_flooding()]

    async def _find_ground(self) -> Mode:
        ports = self._ports
        mode: Mode = "neutron" if self._is_neutrons() else "own"
        if ports.is_connected:
            if mode == "own" and not ports.exists:
                await ports.ensure_bridge(self._datapath_type())
            if ports.exists and ports.protocols and _PROTOCOL not in ports.protocols:
                _log.info("%s is added to what bridge %s speaks", _PROTOCOL, ports.bridge)
                await ports.ensure_protocol(_PROTOCOL)
        self._check_reached()
        await self._read_flooding(mode)
        return mode

    def _is_neutrons(self) -> bool:
        settings = self.settings
        if settings.mode != "auto":
            return settings.mode == "neutron"
        return settings.bridge == NEUTRON_BRIDGE or _PATCH in self._ports.names()

    def _datapath_type(self) -> str:
        if self.settings.datapath_type is not None:
            return self.settings.datapath_type
        others = self._ports.datapath_types_elsewhere
        return next(iter(others)) if len(others) == 1 else ""

    def _foundation(self) -> list[FlowMod]:
        return [*self._program.way.foundation(), *self._program.passages]

    # ------------------------------------------------------------------ what others did

    def _ports_changed(self, names: frozenset[str]) -> None:
        if not self._is_ready or self.settings.bridge in names or self._is_neutrons() != (self._mode == "neutron"):
            self._wake.set()
        self._program.macs.forget()
        self._say_again(self._program.dependents.of(names), "ports changed: " + ", ".join(sorted(names)))

    def _elsewhere_changed(self) -> None:
        moved = self._ground.look(self._ports)
        evis = self._program.evis.values()
        self._say_again((BridgeKey(evi.instance) for evi in evis if evi.vni in moved), "tunnels of others changed")

    def _touched(self, updates: Sequence[FlowUpdate]) -> None:
        keys: list[Key] = []
        for update in updates:
            found = self._program.keys_at(update.table, update.priority, update.match)
            if not found and update.table == self._program.way.sender:
                source = update.match.get(self.settings.tunnel_source)
                found = () if source is None else (SourceKey(source.value),)
            keys += found
            if not found:
                self._mending.set()
        self._say_again(keys, "somebody changed flows")

    def _touched_by_others(self) -> None:
        self._flooding_moved.set()

    async def _follow_flooding(self) -> None:
        """Flood to what Neutron floods to, after it has changed that."""
        while True:
            await self._flooding_moved.wait()
            self._flooding_moved.clear()
            before = dict(self._flooding)
            try:
                await self._read_flooding(self._mode)
            except DataplaneError:
                continue  # the connection has gone: it is read again when it comes back
            for evi in list(self._program.evis.values()):
                vlan = evi.vlan
                if vlan is not None and before.get(vlan) != self._flooding.get(vlan):
                    self._say_again(evi.floods, f"what Neutron floods VLAN {vlan} to has changed")

    async def _read_flooding(self, mode: Mode | None) -> None:
        entries = await self._bridge.flows(table=NeutronTable.FLOOD) if mode == "neutron" else []
        found = flooding_of(entries)
        self._flooding.clear()
        self._flooding.update(found)

    # ------------------------------------------------------------------ programming

    async def apply(self, changes: Sequence[Change]) -> dict[Key, str]:
        """Program changes, all in one bundle but for what the switch refuses."""
        async with self._lock:
            self._check_ready()
            await self._provide(changes)
            refusals = await self._perform(changes, None, sweep=False)
            await self._release()
            return {change.key: refusals[change.key] for change in changes if change.key in refusals}

    async def adopt(self, desired: Mapping[Key, Value], *, sweep: bool) -> dict[Key, str]:
        """Touch only what differs from ``desired``."""
        async with self._lock:
            self._check_ready()
            changes = [Change(key, None, value) for key, value in desired.items()]
            assert self._mode is not None
            self._program = Program(self._way(self._mode))
            await self._provide(changes)
            refusals = await self._perform(changes, await self._actual(), sweep=sweep)
            if sweep:
                await self._release(every=True)
            return refusals

    def _plan(
        self, changes: Sequence[Change], excluded: Mapping[Key, str], actual: Actual | None, sweep: bool
    ) -> EviPlan:
        plan = self._program.plan(changes, excluded)
        if actual is not None:
            for flow in self._program.way.foundation():
                plan.add(flow, None)
            left = actual.still_to_do(plan, sweep=sweep)
            plan.messages, plan.owners = left.messages, left.owners
        return plan

    def _commit(self, plan: EviPlan) -> None:
        self._program.commit(plan)
        self._say_again(plan.again, "other records of their EVI have changed")

    # ------------------------------------------------------------------ tunnel ports, and ports that nobody else plugs

    async def _provide(self, changes: Sequence[Change]) -> None:
        """Make the ports that ``changes`` need and that are not there. What fails is seen where the port is used."""
        ports = self._ports
        addresses: set[bytes] = set()
        vnis: set[int] = set()
        for change in changes:
            key, value = change.key, change.new
            if isinstance(value, tuple):
                addresses.update(hop.address for hop in value if isinstance(hop, Remote))
            elif isinstance(value, Bridge):
                vnis.add(value.vni)
            elif isinstance(key, PlugKey) and value is not None and self._mode == "own":
                await self._plug(key.port)
        wanted = self._program.way.tunnels(addresses, vnis)
        missing = {name: options for name, options in wanted.items() if ports.number(name) is None}
        if missing:
            try:
                faults = await ports.ensure_tunnels("vxlan", missing, shared=self._mode == "neutron")
            except DataplaneError as cause:
                _log.warning("%d tunnel ports of bridge %s were not made: %s", len(missing), ports.bridge, cause)
            else:
                for fault in faults.values():
                    _log.warning("%s", fault)

    async def _release(self, *, every: bool = False) -> None:
        """Remove our ports that no record needs any more; with ``every`` those of an earlier process too."""
        dependents, ports = self._program.dependents, self._ports
        dropped = [need for need in dependents.take_dropped() if isinstance(need, str)]
        names = [name for name in ports.names() if name != ports.bridge] if every else dropped
        await self._remove([name for name in names if ports.is_ours(name) and not dependents.has(name)])

    async def _remove(self, names: Sequence[str]) -> None:
        """Remove ports of ours but for those that Neutron has come to use: they are Neutron's from now on."""
        if not names:
            return
        try:
            used = await self._used_by_others() if self._mode == "neutron" else set()
            numbers = {name: self._ports.number(name) for name in names}
            theirs = {name for name, number in numbers.items() if number in used}
            await self._ports.delete_ports(name for name in names if name not in theirs)
            if theirs:
                await self._ports.disown_ports(theirs)
        except DataplaneError as cause:
            _log.warning("ports %s stay on bridge %s: %s", ", ".join(names), self.settings.bridge, cause)
        self._plugged.difference_update(names)

    async def _used_by_others(self) -> set[int]:
        """The ports for which Neutron has a flow."""
        found = set()
        for entry in await self._bridge.flows(table=NeutronTable.INPUT):
            port = entry.match.get(f.IN_PORT)
            if port is not None and not OURS.has(entry.cookie):
                found.add(port.number)
        return found

    async def _clear_ports(self) -> int:
        ports = [name for name in self._ports.names() if name != self._ports.bridge and self._ports.is_ours(name)]
        await self._remove(ports)
        return len(ports) + (await self._ports.delete_bridge() if self._mode == "own" else 0)

    # ------------------------------------------------------------------ looking at it

    async def carried(self, key: Key, value: Value) -> Carried:
        """Flows and groups of a record as the bridge shows them now."""
        messages, missing = self._program.messages_of(key, value)
        shown = await carried_by(self._bridge, OURS, messages)
        return Carried(shown.parts, shown.counters, {}, (*missing, *shown.missing))

    async def audit(self, desired: Mapping[Key, Value]) -> list[Difference]:
        """Compare all of ours with what ``desired`` asks for."""
        async with self._lock:
            self._check_ready()
            assert self._mode is not None
            program = Program(self._way(self._mode))
            plan = program.plan([Change(key, None, value) for key, value in desired.items()], {})
            for flow in program.way.foundation():
                plan.add(flow, None)
            return differences(await self._actual(), plan)

    async def foreign(self, records: Mapping[Key, Value], destination: Address | None = None) -> list[Foreign]:
        """Flows of others in our tables, Neutron's among them; and their groups, on a bridge of our own."""
        self._check_ready()
        assert self._mode is not None
        program = Program(self._way(self._mode))
        plan = program.plan([Change(key, None, value) for key, value in records.items()], {})
        ways = all_packets(plan, program.way.foundation())
        if self._mode == "neutron":
            return await foreign_flows(self._bridge, OURS, _NEUTRONS, PRIORITY, ways)
        found = await foreign_flows(self._bridge, OURS, _OWN, 0, ways)
        return found + await foreign_groups(self._bridge, GROUPS)

    def overview(self) -> dict[str, object]:
        """Plain values for the looking glass."""
        settings, program, ports = self.settings, self._program, self._ports
        needed = program.dependents.needs()
        return {
            "driver": "ovs",
            "bridge": settings.bridge,
            "mode": self._mode,
            "target": settings.target,
            "database": settings.database,
            "datapath": ports.datapath_type,
            "ready": self._is_ready,
            "why_not": self._why,
            "local_address": str(settings.local_address),
            "encapsulations": [encapsulation.value for encapsulation in settings.capabilities.encapsulations],
            "unknown_unicast": settings.unknown_unicast,
            "broadcast": settings.broadcast,
            "suppress": settings.suppress,
            "tunnel_ports": {
                name: {"number": ports.number(name), "ours": ports.is_ours(name)}
                for name in sorted(program.way.tunnel_names(needed))
            },
            "groups": {number: [str(hop) for hop in hops] for number, hops in program.pool.in_use().items()},
            "evis": {
                evi.instance: {"vni": evi.vni, "vlan": evi.vlan, "nodes": len(evi.floods)}
                for evi in program.evis.values()
            },
            "warnings": self._ground.warnings,
        }
