"""How records are carried, what differs and what is in the way: for people. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from bagpipe.dataplane.delta import Change
from bagpipe.dataplane.driver import Carried, Difference
from bagpipe.dataplane.model import (
    Access,
    AccessKey,
    Delivery,
    Encapsulation,
    ForwardKey,
    Key,
    Port,
    Prefix,
    Remote,
    Value,
)
from bagpipe.dataplane.openflow import Bridge, FlowMod, GroupMod, Match, Ours, PackedFlow
from bagpipe.dataplane.openflow import fields as f
from bagpipe.dataplane.openflow.actions import ETH_IPV6
from bagpipe.dataplane.openflow.flows import FlowCommand
from bagpipe.dataplane.ovs.adoption import Actual
from bagpipe.dataplane.ovs.ground import Neighbourhood
from bagpipe.dataplane.ovs.label_ports import LabelPorts
from bagpipe.dataplane.ovs.pipeline import OURS, route_priority
from bagpipe.dataplane.ovs.plan import Message, Plan, Program, place_of
from bagpipe.dataplane.ovs.ports import BridgePorts
from bagpipe.dataplane.ovs.settings import VXLAN_PORT_NAME, OvsSettings


def port_of(key: Key, value: Value | None) -> Port | None:
    """The port on which a record other than a route stands; None if it stands on none."""
    if isinstance(key, AccessKey) and isinstance(value, Access):
        return key.port
    return value.port if isinstance(value, Delivery) else None


def route_of(priority: int, match: Match) -> ForwardKey | None:
    """The route that a flow of the table ``vrf`` with this priority and match is for; None if it is for none."""
    register, kind = match.get(f.REG[0]), match.get(f.ETH_TYPE)
    if register is None or kind is None:
        return None
    version = 6 if kind.number == ETH_IPV6 else 4
    to = match.get(f.IPV6_DST if version == 6 else f.IPV4_DST)
    length = 0 if to is None else 8 * to.field.size if to.mask is None else int.from_bytes(to.mask).bit_count()
    if priority != route_priority(length) or len(match.criteria) != (2 if to is None else 3):
        return None
    octets = b"" if to is None else to.value[: (length + 7) >> 3]
    return ForwardKey(register.number, Prefix(version, length, octets))


async def carried(
    bridge: Bridge, program: Program, neighbours: Neighbourhood, key: Key, value: Value, own_port: str | None
) -> Carried:
    """How a record is programmed, read from the bridge; ``own_port`` is the port that packets need to come by, beside
    the one for all. Raises DataplaneError.
    """
    missing = []
    if own_port is not None and program.ground.number(own_port) is None:
        missing.append(f"port {own_port} is not on the bridge, so tunnels of another bridge take the packets")
    plan = Program(program.ground).plan([Change(key, None, value)], {})
    missing += plan.refusals.values()
    shown = await carried_by(bridge, OURS, plan.messages)
    parts = shown.parts if own_port is None else (f"port {own_port}", *shown.parts)
    return Carried(parts, shown.counters, _neighbours_of(neighbours, value), (*missing, *shown.missing))


async def carried_by(bridge: Bridge, ours: Ours, messages: Iterable[Message]) -> Carried:
    """The flows and groups that ``messages`` add, as the bridge has them. Raises DataplaneError."""
    parts: list[str] = []
    missing: list[str] = []
    counters = {"packets": 0, "octets": 0}
    for message in messages:
        if isinstance(message, GroupMod):
            found = [entry for entry in await bridge.groups(message.group) if entry.group == message.group]
            parts += map(str, found)
            missing += [] if found else [f"group {message.group} is not on the bridge"]
            continue
        flow = message.unpacked if isinstance(message, PackedFlow) else message
        if flow.command is not FlowCommand.ADD:
            continue
        entries = await bridge.flows(ours, table=flow.table, match=flow.match)
        here = [entry for entry in entries if place_of(entry.as_addition) == place_of(flow)]
        if not here:
            missing.append(f"not on the bridge: {str(flow).removeprefix('add ')}")
        for entry in here:
            parts.append(str(entry))
            counters["packets"] += entry.counters.packets
            counters["octets"] += entry.counters.octets
    return Carried(tuple(parts), counters, {}, tuple(missing))


def _neighbours_of(neighbours: Neighbourhood, value: Value) -> dict[str, str | None]:
    """Tunnels are not among them: Open vSwitch or the kernel finds the way of their packets by itself."""
    if not isinstance(value, tuple):
        return {}
    found: dict[str, str | None] = {}
    for hop in value:
        if isinstance(hop, Remote) and hop.encapsulation is Encapsulation.MPLS:
            mac = neighbours.mac(hop.address)
            found[str(ip_address(hop.address))] = None if mac is None else str(mac)
    return found


def differences(actual: Actual, plan: Plan) -> list[Difference]:
    """What the bridge holds and the plan has not, or the other way round, or otherwise."""
    found = [Difference("missing", key, reason) for key, reason in plan.refusals.items()]
    for one in actual.unlike(plan):
        kind = "changed" if one.is_there else "missing"
        message = one.message.unpacked if isinstance(one.message, PackedFlow) else one.message
        found.append(Difference(kind, next(plan.keys_of(one.owner), None), _text(message)))
    found += [Difference("extra", None, _text(flow)) for flow in actual.extra_flows(plan)]
    found += [Difference("extra", None, _text(group)) for group in actual.extra_groups(plan)]
    return found


def _text(message: FlowMod | GroupMod) -> str:
    return str(message).removeprefix("add_or_modify ").removeprefix("add ")


def overview(
    settings: OvsSettings,
    program: Program,
    ports: BridgePorts,
    label_ports: LabelPorts,
    is_ready: bool,
    why: str | None,
) -> dict[str, object]:
    """Plain values for the looking glass."""
    underlay = program.ground.underlay
    tunnels = {settings.gre_tunnel: underlay.gre, VXLAN_PORT_NAME: underlay.vxlan}
    return {
        "driver": "ovs",
        "bridge": settings.bridge,
        "target": settings.target,
        "database": settings.database,
        "datapath": ports.datapath_type,
        "ready": is_ready,
        "why_not": why,
        "local_address": str(settings.local_address),
        "encapsulations": [encapsulation.value for encapsulation in settings.encapsulations],
        "tables": settings.tables._asdict(),
        "tunnel_ports": {name: number for name, number in tunnels.items() if number is not None},
        "mpls_interface": settings.underlay,
        "mpls_port": underlay.mpls,
        "groups": {number: [str(hop) for hop in hops] for number, hops in program.pool.in_use().items()},
        "ports": {name: port.number for name, port in sorted(ports.names().items())},
        "vxlan_beside": [f"{tunnel.name} of {tunnel.bridge}" for tunnel in label_ports.rivals],
        "warnings": label_ports.warnings,
    }
