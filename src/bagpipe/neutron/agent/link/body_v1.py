"""Attachments as the daemon of networking-bagpipe takes them: one body for each address, and what gets lost.

That daemon has no IPv6 (it announces such an address as IPv4), and cannot tell the ports behind one VLAN apart: what
our daemon has as one instance for each port is one instance for the network there, with the route targets of whichever
port was attached last.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_interface

from bagpipe.neutron.agent.link.attachment import Attachment
from bagpipe.neutron.agent.link.ledger import Body

UNTIL_UUID = re.compile(r".*?[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
CHANGEABLE = frozenset(
    {"import_rt", "local_pref", "fallback", "description", "instance_description"}
)  # fmt: skip
"""What an attach of the same endpoint changes; the rest is taken when the endpoint or its instance is created."""
NAMING = ("vpn_instance_id", "vpn_type", "mac_address", "ip_address")


@dataclass(frozen=True, slots=True)
class Encoded:
    """``bodies`` by name, and what of the attachments they do not say, as lines for the log."""

    bodies: dict[str, Body]
    losses: tuple[str, ...]


def encode(attachments: Sequence[Attachment], *, has_ipv6: bool) -> Encoded:
    """The bodies of ``/attach_localport`` for a port."""
    losses: dict[str, None] = {}
    bodies: dict[str, Body] = {}
    for one in _joined(attachments, losses):
        for address in one.addresses or ((None,) if one.type == "evpn" else ()):
            if address is not None and ":" in address and not has_ipv6:
                losses.setdefault(
                    "the daemon has no IPv6: IPv6 addresses of ports are not attached to their VPNs (the first: "
                    f"{address} of port {one.port_id})"
                )
                continue
            told = _attach(one, address)
            bodies["/".join((one.port_id, one.instance_id, one.mac.lower(), address or ""))] = told
    return Encoded(bodies, tuple(losses))


def detachment(attach: Body) -> Body:
    """The body of ``/detach_localport`` for what was attached by this one."""
    port = attach["local_port"]
    assert isinstance(port, dict)
    named = {name: attach[name] for name in NAMING if name in attach}
    return {**named, "local_port": {"linuxif": port["linuxif"]}}


def replaces(held: Body, wanted: Body) -> bool:
    """Whether the daemon gets from one body to the other only by a detach.

    With other export route targets the reference daemon withdraws its routes and does not announce them again.
    """
    return any(held.get(name) != wanted.get(name) for name in (held.keys() | wanted.keys()) - CHANGEABLE)


def rank(attach: Body) -> int:
    """EVPN is attached before IP VPN, and detached after it."""
    return 0 if attach.get("vpn_type") == "evpn" else 1


def _joined(attachments: Sequence[Attachment], losses: dict[str, None]) -> Iterable[Attachment]:
    """With those of a port alone in the instance of its network, and made one, by instance and MAC."""
    joined: dict[tuple[str, str, str], Attachment] = {}
    for one in attachments:
        kept = one
        if one.local_port.source_mac is not None or one.shared_instance_id is not None:
            # What only delivers to the port does not look at who sends.
            instance_id = _shared_id(one) if one.direction != "to-port" else one.instance_id
            kept = replace(one, instance_id=instance_id, local_port=replace(one.local_port, source_mac=None))
            if kept.instance_id != one.instance_id:
                losses.setdefault(
                    "the daemon cannot tell the ports of a network apart: their route targets hold for the whole"
                    " network there, those of the port attached last"
                    f" (the first: port {one.port_id} in {kept.instance_id})"
                )
        if one.own_export_rts is not None:
            kept = replace(kept, export_rts=one.export_rts | one.own_export_rts)
            losses.setdefault(
                "the daemon announces all ports of an EVPN instance alike: export route targets of a port hold for the"
                f" whole network there (the first: port {one.port_id} in {kept.instance_id})"
            )
        key = (kept.type, kept.instance_id, kept.mac.lower())
        joined[key] = _both(joined[key], kept) if key in joined else kept
    return joined.values()


def _shared_id(one: Attachment) -> str:
    if one.shared_instance_id is not None:
        return one.shared_instance_id
    found = UNTIL_UUID.match(one.instance_id)
    return one.instance_id if found is None else found[0]


def _both(one: Attachment, other: Attachment) -> Attachment:
    prefs = [pref for pref in (one.local_pref, other.local_pref) if pref is not None]
    return replace(
        one,
        addresses=tuple(dict.fromkeys((*one.addresses, *other.addresses))),
        gateways=tuple(dict.fromkeys((*one.gateways, *other.gateways))),
        import_rts=one.import_rts | other.import_rts,
        export_rts=one.export_rts | other.export_rts,
        local_pref=max(prefs, default=None),
        fallback=one.fallback or other.fallback,
        readvertise=one.readvertise or other.readvertise,
        vni=one.vni if one.vni is not None else other.vni,
    )


def _attach(one: Attachment, address: str | None) -> Body:
    is_evpn = one.type == "evpn"
    told: dict[str, object] = {
        "vpn_instance_id": one.instance_id,
        "vpn_type": one.type,
        "mac_address": one.mac,
        "gateway_ip": _gateway(one, address),
        "local_port": _local_port(one),
        "import_rt": sorted(one.import_rts),
        "export_rt": sorted(one.export_rts),
        "description": dict(one.description),
        "instance_description": one.instance_description,
    }
    if address is not None:
        told["ip_address"] = address if one.advertise_subnet else str(ip_interface(address).ip)
    if is_evpn:
        told["vni"] = one.vni
        if one.local_port.linuxbr is not None:
            told["linuxbr"] = one.local_port.linuxbr
    if one.advertise_subnet:
        told["advertise_subnet"] = True
    if one.local_pref is not None or one.advertise_subnet:
        told["local_pref"] = one.local_pref
    if one.direction != "both":
        told["direction"] = one.direction
    if one.fallback is not None and not is_evpn:
        told["fallback"] = {
            "dst_mac": one.fallback.destination_mac,
            "src_mac": one.fallback.source_mac,
            "ovs_port_number": one.fallback.port_number,
        }
    if one.readvertise is not None:
        told["readvertise"] = {
            "from_rt": sorted(one.readvertise.from_rts),
            "to_rt": sorted(one.readvertise.to_rts),
        }
    return told


def _gateway(one: Attachment, address: str | None) -> str | None:
    """The first gateway of the address's family."""
    is_six = address is not None and ":" in address
    return next((gateway for gateway in one.gateways if (":" in gateway) == is_six), None)


def _local_port(one: Attachment) -> dict[str, object]:
    port = one.local_port
    told: dict[str, object] = {"linuxif": port.linuxif}
    if one.type == "evpn":
        if port.vlan is not None:
            told["vlan"] = port.vlan
    elif port.number is not None:
        told["ovs"] = {"plugged": True, "port_number": port.number}
        if port.vlan is not None:
            told["ovs"] = {"plugged": True, "port_number": port.number, "vlan": port.vlan}
    return told
