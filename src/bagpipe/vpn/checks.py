"""What makes an attachment impossible beside those that are there. Everything is checked before anything is changed."""

from __future__ import annotations

from collections.abc import Mapping

from bagpipe.dataplane.model import Port
from bagpipe.errors import LocalMisuse
from bagpipe.identifiers import MacAddress
from bagpipe.vpn.attachment import Attachment, AttractTraffic, InstanceSpec, InstanceType, Readvertise
from bagpipe.vpn.endpoint import PortAccess, announced_prefix, gives_traffic, takes_traffic
from bagpipe.vpn.settings import VpnSettings
from bagpipe.vpn.vrf import Vrf

REDIRECT_PREFIX = "redirect-to-ipvpn-"
"""The external ids of instances that exist for steering only begin so."""

_U32 = 0xFFFFFFFF

Place = tuple[int | str, int | None, MacAddress | None]


def place_of(port: Port) -> Place:
    """Where a port is on the bridge, whatever it is called."""
    return (port.number if port.number is not None else port.on_bridge), port.vlan, port.source


def check_alone(attachment: Attachment, settings: VpnSettings) -> None:
    """What is wrong with an attachment whatever else there is. Raises LocalMisuse."""
    spec = attachment.instance
    if spec.type is InstanceType.EVPN:
        raise LocalMisuse("vpn_type", spec.type.value, "no EVPN dataplane yet")
    if spec.external_id.startswith(REDIRECT_PREFIX):
        raise LocalMisuse("vpn_instance_id", spec.external_id, "such names are of instances that flows redirect to")
    announced_prefix(attachment)
    if attachment.direction not in settings.capabilities.directions:
        direction = attachment.direction.value
        raise LocalMisuse("direction", direction, f"Unsupported direction: {direction}")
    for field, value in (("local_pref", attachment.local_pref), ("lb_consistent_hash_order", attachment.order)):
        if not 0 <= value <= _U32:
            raise LocalMisuse(field, value, f"not a number of 0 to {_U32}")
    if isinstance(spec.attract, AttractTraffic):
        _check_attraction(spec, spec.attract)


def _check_attraction(spec: InstanceSpec, attract: AttractTraffic) -> None:
    if attract.to_rts and not attract.static_destinations:
        shown = sorted(map(str, attract.to_rts))
        raise LocalMisuse("attract_traffic.to_rt", shown, "specified without 'static_destination_prefixes'")
    if isinstance(spec.readvertise, Readvertise) and len(spec.readvertise.to_rts) != 1:
        shown = sorted(map(str, spec.readvertise.to_rts))
        raise LocalMisuse("readvertise.to_rt", shown, "with attract_traffic there has to be exactly one")
    source = attract.classifier.source
    for destination in attract.static_destinations:
        if source is not None and source.version != destination.version:
            reason = f"not of the IP version of the source prefix {source}"
            raise LocalMisuse("attract_traffic.static_destination_prefixes", str(destination), reason)


def check_beside(attachment: Attachment, vrf: Vrf | None, instances: Mapping[str, Vrf]) -> None:
    """What is wrong with an attachment beside the others. Raises LocalMisuse."""
    spec = attachment.instance
    rd = spec.route_distinguisher
    if vrf is None and rd is not None:
        for other in instances.values():
            if rd == other.rd or any(rd == endpoint.rd for endpoint in other.endpoints.values()):
                raise LocalMisuse("route_distinguisher", str(rd), f"VPN {other.external_id} uses it")
    if vrf is not None:
        _check_consistent(attachment, vrf)


def _check_consistent(attachment: Attachment, vrf: Vrf) -> None:
    mac, port = attachment.key.mac, attachment.port
    for other in vrf.macs.get(mac, ()):
        name = other.attachment.port.name
        if name != port.name:
            reason = f"Port information is not consistent: MAC address {mac} is already bound to port {name}"
            raise LocalMisuse("local_port", port.name, reason)
        break
    prefix = announced_prefix(attachment)
    if prefix.is_host and takes_traffic(attachment.direction):
        for other in vrf.own.get(vrf.record(prefix), ()):
            bound = other.attachment.key.mac
            if other.prefix == prefix and bound != mac:
                reason = f"Inconsistent endpoint info: it is already bound to MAC address {bound}"
                raise LocalMisuse("ip_address", str(attachment.key.ip), reason)


def check_port(
    attachment: Attachment, vrf: Vrf | None, names: Mapping[str, PortAccess], places: Mapping[Place, PortAccess]
) -> None:
    """The traffic of a port can enter one VRF only, and a place on the bridge has one name. Raises LocalMisuse."""
    if not gives_traffic(attachment.direction):
        return
    port = attachment.port
    for access in (names.get(port.name), places.get(place_of(port))):
        if access is not None and access.vrf is not vrf:
            reason = f"its traffic enters VPN {access.vrf.external_id} already"
            raise LocalMisuse("local_port", port.name, reason)
        if access is not None and access.port.name != port.name:
            raise LocalMisuse("local_port", port.name, f"the same port is attached as {access.port.name} already")
