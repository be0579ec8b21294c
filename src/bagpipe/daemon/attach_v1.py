"""The bodies of ``/attach_localport`` and ``/detach_localport`` (networking-bagpipe), read into attachments.

What the reference takes is taken: unknown keys, comma strings, addresses with and without a mask. What it answers with
500 although the caller is at fault raises LocalMisuse here, and nothing has changed. Where the reference has a text of
its own for a fault the error has the same text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface
from typing import TypeVar

from bagpipe.daemon import field_values as values
from bagpipe.dataplane.model import Direction, Fallback, Port
from bagpipe.errors import LocalMisuse
from bagpipe.identifiers import MAXIMUM_VNI, MacAddress
from bagpipe.vpn.attachment import (
    DEFAULT_LOCAL_PREF,
    UNSAID,
    Attachment,
    AttractTraffic,
    EndpointKey,
    InstanceSpec,
    InstanceType,
    Readvertise,
    Unsaid,
)

T = TypeVar("T")
Otherwise = TypeVar("Otherwise")
Body = Mapping[str, object]

KEPT = (
    "vpn_instance_id", "vpn_type", "import_rt", "export_rt", "mac_address", "ip_address", "gateway_ip", "local_port",
    "advertise_subnet", "linuxbr", "vni", "local_pref", "lb_consistent_hash_order", "direction", "readvertise",
    "attract_traffic", "fallback", "description", "instance_description",
)  # fmt: skip
"""What of a body is looked at, and so what the journal keeps of it."""
CLASSIFIER = {
    "source": "sourcePrefix",
    "destination": "destinationPrefix",
    "protocol": "protocol",
    "source_ports": "sourcePort",
    "destination_ports": "destinationPort",
}


class Rejected(LocalMisuse):
    """A fault for which the reference has a text of its own."""

    def __init__(self, field: str, value: object, text: str) -> None:
        super().__init__(field, value, text)
        self.text = text

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Detachment:
    """What a detach names. ``key.ip`` None (evpn): every address of the MAC."""

    external_id: str
    type: InstanceType
    key: EndpointKey


def _need(body: Body, name: str) -> object:
    if name not in body:
        raise Rejected(name, None, f"Missing parameter: '{name}'")
    return body[name]


def _optional(body: Body, name: str, read: Callable[[object, str], T], otherwise: Otherwise) -> T | Otherwise:
    value = body.get(name)
    return otherwise if value is None else read(value, name)


def read_attach(body: Body) -> Attachment:
    """The attachment that a body states. Raises LocalMisuse."""
    kind = _type(body)
    external_id = _external_id(body)
    key = EndpointKey(_mac(body), _ip(body, kind))
    imports = values.route_targets(_need(body, "import_rt"), "import_rt")
    exports = values.route_targets(_need(body, "export_rt"), "export_rt")
    if kind is InstanceType.IPVPN:
        _need(body, "gateway_ip")
    gateway = _optional(body, "gateway_ip", lambda value, name: values.interface(value, name).ip, None)
    spec = InstanceSpec(
        external_id=external_id,
        type=kind,
        import_rts=imports,
        export_rts=exports,
        description=_optional(body, "instance_description", _description, UNSAID),
        fallback=_fallback(body.get("fallback")) or UNSAID,
        readvertise=_readvertise(body.get("readvertise")) or UNSAID,
        attract=_attract(body.get("attract_traffic")) or UNSAID,
        vni=_vni(body) if kind is InstanceType.EVPN else UNSAID,
        bridge=_optional(body, "linuxbr", values.text, UNSAID) if kind is InstanceType.EVPN else UNSAID,
    )
    return Attachment(
        instance=spec,
        key=key,
        port=_port(_need(body, "local_port")),
        direction=_direction(body.get("direction")),
        advertise_subnet=values.boolean(body.get("advertise_subnet"), "advertise_subnet"),
        local_pref=_optional(
            body, "local_pref", lambda value, name: values.integer(value, name, 0, 2**32 - 1), DEFAULT_LOCAL_PREF
        ),
        order=_optional(
            body, "lb_consistent_hash_order", lambda value, name: values.integer(value, name, 0, 2**32 - 1), 0
        ),
        description=values.json_value(body.get("description"), "description"),
        # Of the endpoint and not of the instance: another subnet, or IPv6, has another.
        gateways=() if gateway is None else (gateway,),
        name=attachment_id(external_id, key),
    )


def read_detach(body: Body) -> Detachment:
    """What a body asks to detach. Raises LocalMisuse."""
    kind = _type(body)
    external_id = _external_id(body)
    key = EndpointKey(_mac(body), _ip(body, kind))
    _port_shape(_need(body, "local_port"))
    return Detachment(external_id, kind, key)


def attachment_id(external_id: str, key: EndpointKey) -> str:
    """The name of an attachment that was stated without one."""
    return f"v1:{external_id}:{key.mac}" + ("" if key.ip is None else f":{key.ip}")


def _type(body: Body) -> InstanceType:
    given = body.get("vpn_type")
    if given is None:
        raise Rejected("vpn_type", None, "missing instance_type")
    if given not in ("ipvpn", "evpn"):
        raise Rejected("vpn_type", given, f"unknown vpn_type: {given}")
    return InstanceType(given)


def _external_id(body: Body) -> str:
    given = _need(body, "vpn_instance_id")
    if isinstance(given, int) and not isinstance(given, bool):
        given = str(given)
    return values.text(given, "vpn_instance_id")


def _mac(body: Body) -> MacAddress:
    given = _need(body, "mac_address")
    try:
        return values.mac(given, "mac_address")
    except LocalMisuse as error:
        raise Rejected("mac_address", given, f"MAC address {given} is not valid") from error


def _ip(body: Body, kind: InstanceType) -> IPv4Interface | IPv6Interface | None:
    if kind is InstanceType.EVPN and body.get("ip_address") is None:
        return None
    given = _need(body, "ip_address")
    try:
        return values.interface(given, "ip_address")
    except LocalMisuse as error:
        raise Rejected("ip_address", given, f"IP address {given} is not valid") from error


def _vni(body: Body) -> int | Unsaid:
    """The VNI of the instance; without one, or with 0, this node chooses."""
    given = body.get("vni")
    if given is None or (given == 0 and not isinstance(given, bool)):
        return UNSAID
    return values.integer(given, "vni", 1, MAXIMUM_VNI)


def _direction(given: object) -> Direction:
    if given is None:
        return Direction.BOTH
    try:
        return Direction(given)
    except ValueError as error:
        names = ", ".join(one.value for one in Direction)
        raise Rejected("direction", given, f"direction should be one of: {names}") from error


def _description(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise LocalMisuse(field, value, "not a string")
    return str(values.json_value(value, field))


def _port_shape(given: object) -> tuple[str | None, dict[str, object]]:
    """The interface's name, and the whole object."""
    if isinstance(given, str):
        return values.text(given, "local_port"), {}
    port = values.mapping(given, "local_port")
    name, evpn = port.get("linuxif"), port.get("evpn")
    if name is None and evpn is None:
        raise LocalMisuse("local_port", given, "has neither linuxif nor evpn")
    if evpn is not None:
        values.text(values.mapping(evpn, "local_port.evpn").get("id"), "local_port.evpn.id")
    return None if name is None else values.text(name, "local_port.linuxif"), port


def _port(given: object) -> Port:
    name, port = _port_shape(given)
    if name is None:
        evpn = values.mapping(port["evpn"], "local_port.evpn")
        raise LocalMisuse("local_port.evpn.id", evpn["id"], "there is no such EVPN instance to chain into this VPN")
    ovs = {} if port.get("ovs") is None else values.mapping(port["ovs"], "local_port.ovs")
    number, interface = ovs.get("port_number"), ovs.get("port_name")
    vlan = ovs.get("vlan") if ovs.get("vlan") is not None else port.get("vlan")
    return Port(
        name=name,
        number=None
        if number is None
        else values.integer(number, "local_port.ovs.port_number", 1, values.LAST_OPENFLOW_PORT),
        interface=None if interface is None else values.text(interface, "local_port.ovs.port_name"),
        vlan=None if vlan is None else values.integer(vlan, "local_port.ovs.vlan", 1, 4094),
        plugged=values.boolean(ovs.get("plugged"), "local_port.ovs.plugged"),
    )


def _fallback(given: object) -> Fallback | None:
    if given is None:
        return None
    body = values.mapping(given, "fallback")
    for name in ("src_mac", "dst_mac", "ovs_port_number"):
        if body.get(name) is None:
            raise LocalMisuse(f"fallback.{name}", None, "src_mac, dst_mac and ovs_port_number are needed")
    return Fallback(
        values.mac(body["src_mac"], "fallback.src_mac"),
        values.mac(body["dst_mac"], "fallback.dst_mac"),
        values.integer(body["ovs_port_number"], "fallback.ovs_port_number", 1, values.LAST_OPENFLOW_PORT),
    )


def _readvertise(given: object) -> Readvertise | None:
    if given is None:
        return None
    body = values.mapping(given, "readvertise")
    for name in ("from_rt", "to_rt"):
        if body.get(name) is None:
            raise LocalMisuse(f"readvertise.{name}", None, "from_rt and to_rt are needed")
    return Readvertise(
        values.route_targets(body["from_rt"], "readvertise.from_rt"),
        values.route_targets(body["to_rt"], "readvertise.to_rt"),
    )


def _attract(given: object) -> AttractTraffic | None:
    if given is None or given == {}:  # what bagpipe-rest-attach of the reference sends for nothing
        return None
    body = values.mapping(given, "attract_traffic")
    for name in ("redirect_rts", "classifier"):
        if body.get(name) is None:
            raise LocalMisuse(f"attract_traffic.{name}", None, "redirect_rts and classifier are needed")
    to_rt, static = body.get("to_rt"), body.get("static_destination_prefixes")
    if to_rt is not None and static is None:
        raise Rejected(
            "attract_traffic.static_destination_prefixes",
            None,
            "'attract_traffic/to_rt' specified without 'static_destination_prefixes'",
        )
    return AttractTraffic(
        values.route_targets(body["redirect_rts"], "attract_traffic.redirect_rts"),
        values.classifier(body["classifier"], "attract_traffic.classifier", CLASSIFIER),
        frozenset() if to_rt is None else values.route_targets(to_rt, "attract_traffic.to_rt"),
        () if static is None else values.prefixes(static, "attract_traffic.static_destination_prefixes"),
    )
