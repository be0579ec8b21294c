"""What the attributes of an EVPN route tell: how to reach who sent it, and what it says of a MAC, a segment, flooding.

RFC 7432 sections 7.5 (ESI label), 7.7 (MAC mobility), 7.8 (default gateway) and 11.2 (PMSI tunnel), RFC 9047 section 2
(ARP/ND), RFC 8365 section 5.1.3. Encapsulation as :mod:`bagpipe.vpn.encapsulation` has it; a route that names none is
reached by VXLAN, which is what is configured for EVPN here.

The label field is a VNI, 24 bits as they stand. One case is read otherwise: a route that names no encapsulation, so
that RFC 8365 lets it mean MPLS, and whose field is the VNI of the importing EVI itself, written as a label (in the
upper 20 bits, the lowest bit set or not). Every other field is the VNI that it looks like.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from bagpipe.dataplane.model import Capabilities, Encapsulation, Remote
from bagpipe.errors import RemoteFault
from bagpipe.rib.bundle import Bundle
from bagpipe.vpn.encapsulation import Reach, extended_communities, plain_address, reach
from bagpipe.vpn.settings import VpnSettings
from bagpipe.wire import pmsi
from bagpipe.wire.attributes import PMSI_TUNNEL, TUNNEL_ENCAPSULATION, Attributes, walk
from bagpipe.wire.pmsi import PmsiTunnelType

_ENCAPSULATION = b"\x03\x0c"
_DEFAULT_GATEWAY = b"\x03\x0d"
_MAC_MOBILITY = b"\x06\x00"
_ESI_LABEL = b"\x06\x01"
_ARP_ND = b"\x06\x08"
_STICKY = _SINGLE_ACTIVE = _ROUTER = 1


@dataclass(frozen=True, slots=True)
class Told:
    """``address`` is the next hop, 4 or 16 octets, ``order`` its place among several. ``reason`` says why it cannot be
    reached by VXLAN; nothing if it can. ``names_tunnel``: the route says how.

    ``gateway`` and ``sticky`` MACs do not move; ``sequence`` is that of others. ``router`` is the R flag. ``single``:
    its segment is single-active. ``flood`` is who gets copies of frames to many and the field of their VNI, or else
    ``no_flood`` says why nobody does.
    """

    address: bytes
    order: int
    reason: str
    names_tunnel: bool
    gateway: bool
    sticky: bool
    sequence: int
    router: bool
    single: bool
    flood: tuple[bytes, int] | None
    no_flood: str

    @property
    def is_static(self) -> bool:
        """Whether the MAC of the route does not move."""
        return self.gateway or self.sticky

    def remote(self, field: int, vni: int) -> Remote:
        """The next hop for an EVI of this VNI, when the route has this label field."""
        return Remote(self.address, self.vni(field, vni), Encapsulation.VXLAN, self.order)

    def vni(self, field: int, vni: int) -> int:
        """The VNI that a label field means to an EVI of VNI ``vni``."""
        return vni if not self.names_tunnel and field | 1 == vni << 4 | 1 else field


class Reader:
    """Reads attributes. What it found of a bundle is kept until :meth:`forget`."""

    def __init__(self, settings: VpnSettings) -> None:
        self._capabilities = settings.capabilities
        self.own_address = settings.next_hop.packed
        self._read: dict[Bundle, Told] = {}

    def forget(self) -> None:
        """Drop what was kept: bundles come and go."""
        self._read.clear()

    def told(self, bundle: Bundle) -> Told:
        """What the attributes of a bundle tell."""
        found = self._read.get(bundle)
        if found is None:
            found = self._read[bundle] = self._told(bundle.attributes)
        return found

    def _told(self, attributes: Attributes) -> Told:
        communities = extended_communities(attributes)
        mobility = next((each for each in communities if each[:2] == _MAC_MOBILITY), bytes(8))
        found = _reach(attributes, self._capabilities)
        reason = found.reason
        if not reason and found.address == self.own_address:
            reason = f"its next hop {ip_address(found.address)} is this node"
        flood, no_flood = _flood(attributes, self.own_address)
        return Told(
            address=found.address,
            order=found.order,
            reason=reason,
            names_tunnel=_names_tunnel(attributes, communities),
            gateway=any(each[:2] == _DEFAULT_GATEWAY for each in communities),
            sticky=mobility[2] & _STICKY != 0,
            sequence=int.from_bytes(mobility[4:]),
            router=any(each[:2] == _ARP_ND and each[2] & _ROUTER for each in communities),
            single=any(each[:2] == _ESI_LABEL and each[2] & _SINGLE_ACTIVE for each in communities),
            flood=flood,
            no_flood=no_flood,
        )


def _reach(attributes: Attributes, capabilities: Capabilities) -> Reach:
    found = reach(attributes, capabilities)
    if found.encapsulation in (None, Encapsulation.VXLAN) or not capabilities.encapsulations:
        return found
    return Reach(found.address, None, found.order, f"it is reached by {found.encapsulation.value}, and EVPN by VXLAN")


def _names_tunnel(attributes: Attributes, communities: list[bytes]) -> bool:
    return any(each[:2] == _ENCAPSULATION for each in communities) or any(
        code == TUNNEL_ENCAPSULATION for _, code, _ in walk(attributes.block)
    )


def _flood(attributes: Attributes, own_address: bytes) -> tuple[tuple[bytes, int] | None, str]:
    """RFC 7432 section 11.2: by ingress replication, copies go to the tunnel's end."""
    for _, code, value in walk(attributes.block):
        if code != PMSI_TUNNEL:
            continue
        try:
            tunnel = pmsi.decode(value)
        except RemoteFault as fault:
            return None, fault.text
        if tunnel.tunnel_type != PmsiTunnelType.INGRESS_REPLICATION or tunnel.endpoint is None:
            return None, f"its PMSI tunnel {tunnel} is not one of ingress replication"
        address = plain_address(tunnel.endpoint.packed)
        if not any(address):
            return None, "its PMSI tunnel has no end"
        if address == own_address:
            return None, f"its PMSI tunnel ends at this node, {ip_address(address)}"
        return (address, tunnel.label_field), ""
    return None, "it has no PMSI tunnel"
