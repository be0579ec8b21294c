"""What nodes of a virtual network originate, and what they should end up with."""

from __future__ import annotations

from ipaddress import IPv4Network, ip_network

from bagpipe.identifiers import RouteDistinguisher, RouteTarget
from bagpipe.speaker import Speaker, local_attributes
from bagpipe.wire.family import VPNV4
from bagpipe.wire.nlri.vpn import VPNV4_CODEC, VpnNlri

Held = dict[str, tuple[int, str]]


def target(number: int) -> RouteTarget:
    """64512:number."""
    return RouteTarget.from_text(f"64512:{number}")


def announce(speaker: Speaker, prefix: str, *, rt: int = 1, label: int = 100, local_pref: int = 100) -> None:
    """Originate a VPNv4 route whose route distinguisher is the node's own."""
    shape, key, payload = VPNV4_CODEC.encode(_nlri(speaker, prefix, label))
    attributes = local_attributes(
        VPNV4, speaker.settings.router_id, local_pref=local_pref, extended_communities=target(rt).packed
    )
    speaker.originate(VPNV4, shape, [key], [payload], attributes)


def withdraw(speaker: Speaker, prefix: str) -> None:
    """Withdraw what :func:`announce` originated."""
    shape, key, _ = VPNV4_CODEC.encode(_nlri(speaker, prefix, 0))
    speaker.withdraw(VPNV4, shape, [key])


def _nlri(speaker: Speaker, prefix: str, label: int) -> VpnNlri:
    network = ip_network(prefix)
    assert isinstance(network, IPv4Network)
    return VpnNlri(RouteDistinguisher.from_text(f"{speaker.settings.router_id}:1"), network, label << 4 | 1)


def held(speaker: Speaker, *, own: bool = True) -> Held:
    """The best VPNv4 routes of a speaker: text of the route without label -> (label, next hop in hex)."""
    found: Held = {}
    for table in speaker.store.tables_of(VPNV4):
        for key, entry in table.entries.items():
            best = entry.best
            if not own and best.source is speaker.local:
                continue
            nlri = VPNV4_CODEC.decode(table.shape, key, int(best.routes[key]))  # type: ignore[call-overload]
            name = f"{nlri.route_distinguisher}:{nlri.prefix}"
            found[name] = (nlri.label, best.attributes.next_hop_address.hex())
    return found
