"""Attachments as our daemon takes them (``PUT`` and ``PATCH`` of /v2): one body for each name."""

from __future__ import annotations

from collections.abc import Sequence

from bagpipe.neutron.agent.link.attachment import Attachment
from bagpipe.neutron.agent.link.ledger import Body

FOUNDING = ("route_distinguisher",)
"""What of an instance is taken when it is created, and not later."""


def bodies(attachments: Sequence[Attachment]) -> dict[str, Body]:
    """The bodies of a port's attachments, by name."""
    return {one.name: body(one) for one in attachments}


def body(one: Attachment) -> Body:
    """The body of one attachment. What has its default value is left out."""
    told: dict[str, object] = {
        "instance": _instance(one),
        "port": _port(one),
        "mac": one.mac,
        "addresses": list(one.addresses),
        "gateways": list(one.gateways),
    }
    if one.direction != "both":
        told["direction"] = one.direction
    if one.advertise_subnet:
        told["advertise_subnet"] = True
    if one.local_pref is not None:
        told["local_pref"] = one.local_pref
    if one.description:
        told["description"] = dict(one.description)
    return told


def _instance(one: Attachment) -> dict[str, object]:
    told: dict[str, object] = {
        "id": one.instance_id,
        "type": one.type,
        "import_rts": sorted(one.import_rts),
        "export_rts": sorted(one.export_rts),
    }
    if one.instance_description:
        told["description"] = one.instance_description
    if one.vni is not None:
        told["vni"] = one.vni
    if one.route_distinguisher is not None:
        told["route_distinguisher"] = one.route_distinguisher
    told["fallback"] = None
    if one.fallback is not None:
        told["fallback"] = {
            "src_mac": one.fallback.source_mac,
            "dst_mac": one.fallback.destination_mac,
            "port_number": one.fallback.port_number,
        }
        if one.fallback.vlan is not None:
            told["fallback"] = {**told["fallback"], "vlan": one.fallback.vlan}  # type: ignore[dict-item]
    if one.readvertise is not None:
        told["readvertise"] = {
            "from_rts": sorted(one.readvertise.from_rts),
            "to_rts": sorted(one.readvertise.to_rts),
        }
    return told


def _port(one: Attachment) -> dict[str, object]:
    port = one.local_port
    told: dict[str, object] = {"name": port.linuxif, "plugged": True}
    if port.source_mac is not None:  # a port of its own for the daemon, in the same place
        told["name"] = f"{port.linuxif}:{port.source_mac}"
        if port.number is None:
            told["interface"] = port.linuxif
    for name, value in (("number", port.number), ("vlan", port.vlan), ("source_mac", port.source_mac)):
        if value is not None:
            told[name] = value
    return told


def replaces(held: Body, wanted: Body) -> bool:
    """Whether the daemon gets from one body to the other only by a removal."""
    before, after = held["instance"], wanted["instance"]
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    return before["id"] == after["id"] and any(before.get(name) != after.get(name) for name in FOUNDING)
