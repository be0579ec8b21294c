"""How records are carried, what differs and what is in the way: for people. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_address

from bagpipe.dataplane.driver import Carried, Difference, Foreign, Order
from bagpipe.dataplane.linux.adoption import Actual, told
from bagpipe.dataplane.linux.domains import Domain
from bagpipe.dataplane.linux.entries import MANY
from bagpipe.dataplane.linux.ground import Ground
from bagpipe.dataplane.linux.links import told as link_told
from bagpipe.dataplane.linux.links import traffic
from bagpipe.dataplane.linux.netlink import Refused
from bagpipe.dataplane.linux.settings import LinuxSettings
from bagpipe.dataplane.model import (
    BridgeKey,
    FloodKey,
    Key,
    MacKey,
    Neighbour,
    NeighbourKey,
    Plug,
    PlugKey,
    SourceKey,
    Value,
)

_NOWHERE = "the kernel holds nothing of its instance"


def carried(ground: Ground, actual: Actual, key: Key, value: Value) -> Carried:
    """How a record is programmed."""
    if isinstance(key, SourceKey):
        return Carried((), {}, {}, ("tunnelled frames are taken from anybody: the kernel has no list of senders",))
    domain = _domain_of(ground, key, value)
    if domain is None:
        return Carried((), {}, {}, (_NOWHERE,))
    parts: list[str] = []
    counters: dict[str, int] = {}
    if isinstance(key, BridgeKey):
        for index in (domain.bridge, domain.tunnel):
            link = ground.links.by_index.get(index)
            if link is not None:
                parts.append(link_told(link))
        if domain.tunnel:
            counters = traffic(ground.kernel, domain.tunnel)
    elif isinstance(key, PlugKey):
        link = ground.links.by_name.get(key.port.on_bridge)
        if link is not None:
            parts.append(link_told(link))
            counters = traffic(ground.kernel, link.index)
    elif isinstance(key, MacKey):
        held = [actual.bridged.get((domain.bridge, key.octets)), actual.tunnelled.get((domain.tunnel, key.octets))]
        parts += [told(entry) for entry in held if entry is not None]
        group = next((entry.group for entry in held if entry is not None and entry.group is not None), None)
        if group is not None:
            nodes = ground.hops.in_use().get(group, ())
            parts.append(f"next hops {group}: {', '.join(str(ip_address(node)) for node in nodes)}")
    elif isinstance(key, FloodKey):
        entries = [entry for (tunnel, address, _), entry in actual.floods.items() if tunnel == domain.tunnel]
        parts += [told(entry) for entry in entries if entry.address == key.octets]
    elif isinstance(key, NeighbourKey) and domain.answers is not None:
        known = actual.neighbours.get((domain.answers, key.octets))
        if known is not None and known.mac is not None:
            parts.append(
                f"{ip_address(known.address)} is at {known.mac.hex(':')}, answered by interface {known.interface}"
            )
    missing = _missing(ground, actual, domain, key, value)
    return Carried(tuple(parts), counters, {}, tuple(missing))


def _domain_of(ground: Ground, key: Key, value: Value) -> Domain | None:
    if isinstance(key, PlugKey) and isinstance(value, Plug):
        return ground.watch.domains.get(value.instance)
    if isinstance(key, BridgeKey | MacKey | FloodKey | NeighbourKey):
        return ground.watch.domains.get(key.instance)
    return None


def _missing(ground: Ground, actual: Actual, domain: Domain, key: Key, value: Value) -> list[str]:
    """What keeps a record from working."""
    try:
        if isinstance(key, BridgeKey):
            return ground.devices.faults(domain) + ground.devices.obstacles(domain)
        if isinstance(key, PlugKey) and isinstance(value, Plug):
            ground.devices.find_port(domain, key.port, value)
            return []
        differs = actual.differs(ground.records, domain, key, value)
        missing = [] if differs is None else [f"{key}: {differs}"]
        if isinstance(key, MacKey) and isinstance(value, tuple):
            shortfall = ground.records.shortfall(domain, value)
            missing += [] if shortfall is None else [shortfall]
        if isinstance(key, FloodKey) and not ground.records.settings.floods:
            missing.append("frames to many, and to MACs not known, are dropped")
        if isinstance(key, NeighbourKey) and domain.answers is None:
            missing.append("nothing answers for it: " + ground.devices.why_no_answers(domain))
        return missing
    except Refused as why:
        return [str(why)]


def differences(ground: Ground, actual: Actual, key: Key, value: Value) -> list[Difference]:
    """How what the kernel holds differs from a record."""
    if isinstance(key, SourceKey):
        return []
    domain = _domain_of(ground, key, value)
    if domain is None:
        return [Difference("missing", key, f"{key}: {_NOWHERE}")]
    try:
        if isinstance(key, BridgeKey):
            kind = "missing" if domain.why_not is not None else "changed"
            return [Difference(kind, key, fault) for fault in ground.devices.faults(domain)]
        if isinstance(key, PlugKey) and isinstance(value, Plug):
            ground.devices.find_port(domain, key.port, value)
            return []
        differs = actual.differs(ground.records, domain, key, value)
        return [] if differs is None else [Difference(differs, key, str(key))]
    except Refused as why:
        return [Difference("missing", key, f"{key}: {why}")]


def extras(ground: Ground, actual: Actual) -> list[Difference]:
    """What is ours and of no record, once all records were looked at."""
    devices, wanted = ground.devices, ground.wanted()
    texts = [text for text, _ in actual.extras(ground.watch.domains.values())]
    texts += [link_told(link) for link in devices.leftovers(wanted)]
    texts += [f"name {name} of {link_told(link)}" for link, name in devices.unused_names(wanted)]
    texts += [f"{link_told(link)} is on a bridge of ours and of no instance" for link in ground.strangers()]
    return [Difference("extra", None, text) for text in texts]


def foreign(ground: Ground, actual: Actual, records: Mapping[Key, Value], *, is_for_all: bool) -> list[Foreign]:
    """What others have in the devices of the instances of records: of all MACs, or of those of the records alone."""
    numbers = set()
    for key, value in records.items():
        domain = _domain_of(ground, key, value)
        if domain is None:
            continue
        numbers.add(domain.number)
        if not isinstance(key, BridgeKey | PlugKey):
            with suppress(Refused):
                actual.differs(ground.records, domain, key, value)
    places = ground.places(numbers)
    macs = {key.octets for key in records if isinstance(key, MacKey)} | {MANY}
    macs |= {value.mac.packed for value in records.values() if isinstance(value, Neighbour)}
    found = []
    for entry in actual.others(ground.watch.domains.values()):
        where = entry.interface if entry.master is None else entry.master
        if where not in places[0] | places[1] or not (is_for_all or entry.mac in macs):
            continue
        link = ground.links.by_index.get(entry.interface)
        name = str(entry.interface) if link is None else link.name
        found.append(Foreign("entry", Order.BESIDE, told(entry), {"interface": name, "mac": entry.mac.hex(":")}))
    return found


def overview(settings: LinuxSettings, ground: Ground | None, why: str | None, *, shares: bool) -> dict[str, object]:
    """Plain values for the looking glass."""
    values: dict[str, object] = {
        "driver": "linux",
        "ready": ground is not None,
        "why_not": why,
        "local_address": str(settings.local_address),
        "vxlan_port": settings.vxlan_port,
        "unknown_unicast": settings.unknown_unicast,
        "broadcast": settings.broadcast,
        "suppress": settings.suppress,
        "multipath": shares,
    }
    if ground is None:
        return values
    names = {index: link.name for index, link in ground.links.by_index.items()}
    return values | {
        "mtu": ground.devices.mtu,
        "instances": {
            domain.wanted.name: {
                "vni": domain.vni,
                "bridge": names.get(domain.bridge),
                "bridge_is_given": domain.is_given,
                "vxlan": names.get(domain.tunnel),
                "vxlan_is_of_others": domain.is_borrowed,
                "why_not": domain.why_not,
                "records": len(domain.keys),
            }
            for domain in ground.watch.domains.values()
            if domain.wanted is not None
        },
        "ports": {key.port.name: plugged.instance for key, plugged in ground.watch.plugs.items()},
        "groups": {number: [str(ip_address(node)) for node in nodes] for number, nodes in ground.hops.in_use().items()},
    }
