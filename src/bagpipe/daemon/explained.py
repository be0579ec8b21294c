"""Why packets or frames go where they go, with all that is known on this node: routes, records, what carries them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from bagpipe.daemon.forwarding import Forwarding
from bagpipe.daemon.plane import Plane
from bagpipe.dataplane.driver import Order
from bagpipe.dataplane.errors import DataplaneError
from bagpipe.dataplane.model import Address, Key, Value
from bagpipe.identifiers import MacAddress
from bagpipe.vpn.explain import passed

PATIENCE = 10.0
"""Seconds that a dataplane has to answer."""


@dataclass(slots=True)
class _Programmed:
    """What became of a record: its state, how it is carried, and what keeps it from working."""

    record: dict[str, object] | None = None
    carried: dict[str, object] | None = None
    missing: list[str] = field(default_factory=list)


async def explain_packets(forwarding: Forwarding, instance: str, destination: Address) -> dict[str, object]:
    """What becomes of packets of an IP VPN instance. Raises LocalMisuse if there is no such instance."""
    plane = forwarding.ipvpn
    found = forwarding.vpns.ipvpn.lookup(instance, destination)
    programmed = await _programmed(plane, found.key)
    why = [found.why] if found.why and found.key is None else []
    return {
        "instance": found.instance,
        "type": "ipvpn",
        "number": found.number,
        "destination": str(found.destination),
        "prefix": None if found.prefix is None else str(found.prefix),
        "why": found.why or None,
        "next_hops": [str(hop) for hop in found.next_hops],
        "candidates": [asdict(one) for one in found.candidates],
        "programmed": programmed.record,
        "carried": programmed.carried,
        "missing": list(dict.fromkeys([*why, *programmed.missing, *_sessions_down(forwarding)])),
        "warnings": await _warnings(plane, passed(found, plane.tracker.desired), destination),
    }


async def explain_frames(forwarding: Forwarding, instance: str, destination: MacAddress | Address) -> dict[str, object]:
    """What becomes of frames of an EVPN instance to a MAC, or to the MAC of an address. Raises LocalMisuse if there is
    no such instance.
    """
    plane = forwarding.evpn
    found = forwarding.vpns.evpn.lookup(
        instance, destination if isinstance(destination, MacAddress) else destination.packed
    )
    programmed = await _programmed(plane, found.key)
    why = [found.why] if found.why and found.key is None else []
    answered = None if found.neighbour is None else (await _programmed(plane, found.neighbour)).record
    desired = plane.tracker.desired
    met: dict[Key, Value] = {key: desired[key] for key in (found.key, found.neighbour) if key and key in desired}
    return {
        "instance": found.instance,
        "type": "evpn",
        "number": found.number,
        "destination": found.asked,
        "mac": None if found.mac is None else str(found.mac),
        "why": found.why or None,
        "next_hops": [str(hop) for hop in found.next_hops],
        "candidates": [asdict(one) for one in found.candidates],
        "programmed": programmed.record,
        "answered": answered,
        "carried": programmed.carried,
        "missing": list(dict.fromkeys([*why, *programmed.missing, *_sessions_down(forwarding)])),
        "warnings": await _warnings(plane, met, None),
    }


def _sessions_down(forwarding: Forwarding) -> list[str]:
    down = [peer.name for peer in forwarding.speaker.peers.values() if peer.negotiated is None]
    return [f"the session with {name} is down" for name in down]


async def _programmed(plane: Plane, key: Key | None) -> _Programmed:
    found = _Programmed()
    if key is None:
        return found
    reason = plane.programmer.reason(key)
    state = "in-effect" if reason is None else "refused" if key in plane.tracker.refused else "pending"
    found.record = {"record": str(key), "state": state, "reason": reason}
    if reason is not None:
        found.missing.append(reason)
    value = plane.tracker.desired.get(key)
    if value is None:
        return found
    try:
        told = await asyncio.wait_for(plane.driver.carried(key, value), PATIENCE)
    except (DataplaneError, TimeoutError) as fault:
        found.missing.append(f"the dataplane cannot be read: {str(fault) or 'no answer'}")
        return found
    found.carried = {
        "parts": list(told.parts),
        "counters": dict(told.counters),
        "neighbours": dict(told.neighbours),
    }
    found.missing += told.missing
    return found


async def _warnings(plane: Plane, records: Mapping[Key, Value], destination: Address | None) -> list[str]:
    """What may take packets before these records do."""
    try:
        found = await asyncio.wait_for(plane.driver.foreign(records, destination), PATIENCE)
    except (DataplaneError, TimeoutError) as fault:
        return [f"what others have in the dataplane cannot be read: {str(fault) or 'no answer'}"]
    before = [one for one in found if one.order is Order.BEFORE]
    if not before:
        return []
    more = f" (and {len(before) - 1} more, see the audit)" if before[1:] else ""
    return [f"a {before[0].kind} of others may take packets first: {before[0].text}{more}"]
