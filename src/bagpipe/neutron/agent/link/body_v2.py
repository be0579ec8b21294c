"""Attachments as our daemon takes them (``PUT`` and ``PATCH`` of /v2): one body for each name."""

from __future__ import annotations

from collections.abc import Sequence

from bagpipe.neutron.agent.link.attachment import Attachment, Fallback, Readvertise
from bagpipe.neutron.agent.link.ledger import Body

RD = "route_distinguisher"


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
    if one.own_export_rts is not None:
        told["export_rts"] = sorted(one.own_export_rts)
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
    if one.type == "evpn":
        told["vni"], told["bridge"] = one.vni, one.local_port.linuxbr
    if one.route_distinguisher is not None:
        told[RD] = one.route_distinguisher
    # Null ends what was told of the instance before; what is left out would stay.
    if one.type == "ipvpn":
        told["fallback"] = None if one.fallback is None else _fallback(one.fallback)
        told["readvertise"] = None if one.readvertise is None else _readvertise(one.readvertise)
    return told


def _readvertise(one: Readvertise) -> dict[str, object]:
    return {"from_rts": sorted(one.from_rts), "to_rts": sorted(one.to_rts)}


def _fallback(one: Fallback) -> dict[str, object]:
    told: dict[str, object] = {
        "src_mac": one.source_mac,
        "dst_mac": one.destination_mac,
        "port_number": one.port_number,
    }
    return told if one.vlan is None else {**told, "vlan": one.vlan}


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
    """Whether the daemon gets from one body to the other only by a removal: a route distinguisher is taken when the
    instance is created.
    """
    before, after = held["instance"], wanted["instance"]
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    return before["id"] == after["id"] and before.get(RD) != after.get(RD)
