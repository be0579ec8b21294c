"""By which families of routes an IP VPN instance is announced: what is asked for, and what of it is possible.

VPN-IPv4 and VPN-IPv6, IP prefix routes of EVPN (RFC 9136), or both. What an instance imports is of both families
whatever it is announced by.
"""

from __future__ import annotations

from bagpipe.errors import LocalMisuse
from bagpipe.identifiers import MAXIMUM_VNI
from bagpipe.vpn.attachment import UNSAID, CarriedBy, InstanceSpec
from bagpipe.vpn.settings import VpnSettings
from bagpipe.vpn.vrf import Vrf


def carried_by(spec: InstanceSpec, vrf: Vrf | None, settings: VpnSettings) -> frozenset[CarriedBy]:
    """The families that an instance has after ``spec`` was stated."""
    if spec.carried_by is UNSAID:
        return vrf.carried_by if vrf is not None and vrf.carried_by else settings.carried_by
    return spec.carried_by if spec.carried_by is not None else settings.carried_by


def stated_vni(spec: InstanceSpec, vrf: Vrf | None) -> int | None:
    """The VNI that is asked for after ``spec`` was stated, None: this node chooses."""
    if spec.vni is UNSAID:
        return vrf.stated_vni if vrf is not None else None
    return spec.vni


def check_router(families: frozenset[CarriedBy], settings: VpnSettings) -> None:
    """Raises LocalMisuse if the dataplane does not do what these families need."""
    if CarriedBy.EVPN in families and settings.router_mac is None:
        name = settings.capabilities.name
        raise LocalMisuse("carried_by", "evpn", f"needs VXLAN, which dataplane driver {name} has not (vxlan_encap)")


def check_carriage(spec: InstanceSpec, vrf: Vrf | None, settings: VpnSettings) -> None:
    """What is wrong with how an instance shall be carried, whatever other instances there are. Raises LocalMisuse."""
    families = carried_by(spec, vrf, settings)
    if not families:
        raise LocalMisuse("carried_by", [], "expected vpn, evpn or both")
    if isinstance(spec.vni, int) and not 0 < spec.vni <= MAXIMUM_VNI:
        raise LocalMisuse("vni", spec.vni, f"not a number of 1 to {MAXIMUM_VNI}")
    check_router(families, settings)
    if CarriedBy.VPN in families:
        return
    for field, stated, present in (
        ("readvertise", spec.readvertise, vrf.readvertise if vrf is not None else None),
        ("attract_traffic", spec.attract, vrf.attract if vrf is not None else None),
    ):
        if (present if stated is UNSAID else stated) is not None:
            raise LocalMisuse("carried_by", ["evpn"], f"{field} is by routes of the VPN families: vpn is needed, too")
