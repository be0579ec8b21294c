"""What makes an attachment to an EVPN instance impossible. Everything is checked before anything is changed."""

from __future__ import annotations

from collections.abc import Mapping

from bagpipe.dataplane.model import NeighbourKey
from bagpipe.errors import LocalMisuse
from bagpipe.identifiers import MAXIMUM_VNI
from bagpipe.vpn.allocation import Vnis
from bagpipe.vpn.attachment import UNSAID, Attachment, InstanceSpec, InstanceType
from bagpipe.vpn.checks import Place, place_of
from bagpipe.vpn.endpoint import takes_traffic
from bagpipe.vpn.evpn.evi import Evi
from bagpipe.vpn.settings import VpnSettings

_U32 = 0xFFFFFFFF
_GROUP_BIT = 1


def check_alone(attachment: Attachment, settings: VpnSettings) -> None:
    """What is wrong with an attachment whatever else there is. Raises LocalMisuse."""
    spec = attachment.instance
    if spec.type is not InstanceType.EVPN:
        raise LocalMisuse("vpn_type", spec.type.value, "not that of an EVPN instance")
    mac = attachment.key.mac
    if mac.packed[0] & _GROUP_BIT or not any(mac.packed):
        raise LocalMisuse("mac_address", str(mac), "not the MAC of one station")
    if attachment.advertise_subnet:
        raise LocalMisuse("advertise_subnet", True, "an EVPN instance announces single addresses")
    if attachment.direction not in settings.capabilities.directions:
        direction = attachment.direction.value
        raise LocalMisuse("direction", direction, f"Unsupported direction: {direction}")
    for field, value in (("local_pref", attachment.local_pref), ("lb_consistent_hash_order", attachment.order)):
        if not 0 <= value <= _U32:
            raise LocalMisuse(field, value, f"not a number of 0 to {_U32}")
    for field, stated in (
        ("fallback", spec.fallback),
        ("readvertise", spec.readvertise),
        ("attract_traffic", spec.attract),
        ("static_routes", spec.static_routes or None),
        ("carried_by", spec.carried_by),
    ):
        if stated is not UNSAID and stated is not None:
            raise LocalMisuse(field, str(stated), "only an IP VPN instance has that")
    if isinstance(spec.vni, int) and not 0 < spec.vni <= MAXIMUM_VNI:
        raise LocalMisuse("vni", spec.vni, f"not a number of 1 to {MAXIMUM_VNI}")


def check_instance(spec: InstanceSpec, evi: Evi | None, instances: Mapping[str, Evi], vnis: Vnis) -> None:
    """What is wrong with what is said of an instance, beside the others. Raises LocalMisuse."""
    rd = spec.route_distinguisher
    if evi is None and rd is not None:
        for other in instances.values():
            if rd == other.rd:
                raise LocalMisuse("route_distinguisher", str(rd), f"VPN {other.external_id} uses it")
    if isinstance(spec.vni, int):
        vnis.check(spec.vni, spec.external_id)
    if isinstance(spec.bridge, str):
        for other in instances.values():
            if other is not evi and other.bridge == spec.bridge:
                raise LocalMisuse("linuxbr", spec.bridge, f"VPN {other.external_id} uses it")


def check_endpoint(
    attachment: Attachment, evi: Evi | None, names: Mapping[str, Evi], places: Mapping[Place, tuple[Evi, str]]
) -> None:
    """What is wrong with an endpoint beside those that are there: ``names`` and ``places`` tell which EVI a port is in.

    Raises LocalMisuse.
    """
    mac, port, ip = attachment.key.mac, attachment.port, attachment.key.ip
    other = names.get(port.name)
    if other is not None and other is not evi:
        raise LocalMisuse("local_port", port.name, f"its traffic enters VPN {other.external_id} already")
    there = places.get(place_of(port))
    if there is not None and there[1] != port.name:
        raise LocalMisuse("local_port", port.name, f"the same port is attached as {there[1]} already")
    if evi is None:
        return
    for endpoint in evi.macs.get(mac, ()):
        bound = endpoint.attachment.port.name
        if bound != port.name:
            reason = f"Port information is not consistent: MAC address {mac} is already bound to port {bound}"
            raise LocalMisuse("local_port", port.name, reason)
    if ip is None or not takes_traffic(attachment.direction):
        return
    for endpoint in evi.addresses.get(NeighbourKey(evi.number, ip.ip.packed), ()):
        if endpoint.key.mac != mac:
            reason = f"Inconsistent endpoint info: it is already bound to MAC address {endpoint.key.mac}"
            raise LocalMisuse("ip_address", str(ip), reason)
