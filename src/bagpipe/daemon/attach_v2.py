"""The body of ``PUT /v2/attachments/{id}``, read into one attachment for each of its addresses, and told again.

A body is plain JSON values here (the HTTP interface has checked their types against its models; the journal has them as
they were then). Whatever is wrong with it raises LocalMisuse with the path of the field.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bagpipe.daemon import field_values as values
from bagpipe.dataplane.model import Address, Direction, Fallback, Port, Prefix
from bagpipe.errors import LocalMisuse
from bagpipe.identifiers import MAXIMUM_VNI, RouteDistinguisher
from bagpipe.vpn.attachment import (
    DEFAULT_LOCAL_PREF,
    Attachment,
    AttractTraffic,
    CarriedBy,
    EndpointKey,
    InstanceSpec,
    InstanceType,
    Readvertise,
)

CLASSIFIER = {
    "source": "source_prefix",
    "destination": "destination_prefix",
    "protocol": "protocol",
    "source_ports": "source_port",
    "destination_ports": "destination_port",
}


def _need(body: Mapping[str, Any], name: str, path: str) -> Any:
    if body.get(name) is None:
        raise LocalMisuse(path, None, "is required")
    return body[name]


def read_statement(name: str, body: Mapping[str, Any]) -> tuple[Attachment, ...]:
    """The attachments that a body states under ``name``, one for each address. Raises LocalMisuse."""
    values.text(name, "id")
    instance = _instance(values.mapping(_need(body, "instance", "instance"), "instance"))
    mac = values.mac(_need(body, "mac", "mac"), "mac")
    addresses = [values.interface(one, "addresses") for one in values.items(body.get("addresses") or [], "addresses")]
    if not addresses and instance.type is InstanceType.IPVPN:
        raise LocalMisuse("addresses", [], "an endpoint of an IP VPN needs an address")
    port = _port(values.mapping(_need(body, "port", "port"), "port"))
    given = body.get("export_rts")
    exports = None if given is None else values.route_targets(given, "export_rts")
    gateways = tuple(dict.fromkeys(values.address(one, "gateways") for one in body.get("gateways") or ()))
    try:
        direction = Direction(body.get("direction") or "both")
    except ValueError as error:
        raise LocalMisuse("direction", body["direction"], "neither both, to-port nor from-port") from error
    return tuple(
        Attachment(
            instance=instance,
            key=EndpointKey(mac, ip),
            port=port,
            direction=direction,
            advertise_subnet=bool(body.get("advertise_subnet")),
            local_pref=values.integer(body.get("local_pref", DEFAULT_LOCAL_PREF), "local_pref", 0, 2**32 - 1),
            order=values.integer(body.get("order", 0), "order", 0, 2**32 - 1),
            description=values.json_value(body.get("description"), "description"),
            gateways=gateways,
            sticky=values.boolean(body.get("sticky", False), "sticky"),
            export_rts=exports,
            owner=owner_of(body),
            name=name,
        )
        for ip in (dict.fromkeys(addresses) or [None])
    )


def owner_of(body: Mapping[str, Any]) -> str:
    """Who states a body; nobody in particular is an owner too."""
    owner = body.get("owner") or ""
    return values.text(owner, "owner") if owner else ""


def _instance(body: dict[str, Any]) -> InstanceSpec:
    kind = body.get("type", "ipvpn")
    if kind not in ("ipvpn", "evpn"):
        raise LocalMisuse("instance.type", kind, "neither ipvpn nor evpn")
    distinguisher = body.get("route_distinguisher")
    said: dict[str, Any] = {spec: read(body[key]) for key, (spec, read) in _SAID.items() if key in body}
    return InstanceSpec(
        external_id=values.text(_need(body, "id", "instance.id"), "instance.id"),
        type=InstanceType(kind),
        import_rts=values.route_targets(body.get("import_rts") or [], "instance.import_rts"),
        export_rts=values.route_targets(body.get("export_rts") or [], "instance.export_rts"),
        route_distinguisher=None
        if distinguisher is None
        else RouteDistinguisher.from_text(values.text(distinguisher, "instance.route_distinguisher"),
                                          "instance.route_distinguisher"),
        **said,
    )  # fmt: skip


def _port(body: dict[str, Any]) -> Port:
    number, interface, vlan = body.get("number"), body.get("interface"), body.get("vlan")
    source = body.get("source_mac")
    return Port(
        name=values.text(_need(body, "name", "port.name"), "port.name"),
        number=None if number is None else values.integer(number, "port.number", 1, values.LAST_OPENFLOW_PORT),
        interface=None if interface is None else values.text(interface, "port.interface"),
        vlan=None if vlan is None else values.integer(vlan, "port.vlan", 1, 4094),
        plugged=values.boolean(body.get("plugged", True), "port.plugged"),
        source=None if source is None else values.mac(source, "port.source_mac"),
    )


def _fallback(body: dict[str, Any] | None) -> Fallback | None:
    if body is None:
        return None
    path, vlan = "instance.fallback", body.get("vlan")
    return Fallback(
        values.mac(_need(body, "src_mac", f"{path}.src_mac"), f"{path}.src_mac"),
        values.mac(_need(body, "dst_mac", f"{path}.dst_mac"), f"{path}.dst_mac"),
        values.integer(
            _need(body, "port_number", f"{path}.port_number"), f"{path}.port_number", 1, values.LAST_OPENFLOW_PORT
        ),
        None if vlan is None else values.integer(vlan, f"{path}.vlan", 1, 4094),
    )


def _readvertise(body: dict[str, Any] | None) -> Readvertise | None:
    if body is None:
        return None
    path = "instance.readvertise"
    return Readvertise(
        values.route_targets(_need(body, "from_rts", f"{path}.from_rts"), f"{path}.from_rts"),
        values.route_targets(_need(body, "to_rts", f"{path}.to_rts"), f"{path}.to_rts"),
    )


def _attract(body: dict[str, Any] | None) -> AttractTraffic | None:
    if body is None:
        return None
    path = "instance.attract_traffic"
    to_rts = values.route_targets(body.get("to_rts") or [], f"{path}.to_rts")
    static = values.prefixes(body.get("static_destinations") or [], f"{path}.static_destinations")
    if bool(to_rts) != bool(static):
        raise LocalMisuse(f"{path}.static_destinations", body.get("static_destinations"), "goes together with to_rts")
    return AttractTraffic(
        values.route_targets(_need(body, "redirect_rts", f"{path}.redirect_rts"), f"{path}.redirect_rts"),
        values.classifier(_need(body, "classifier", f"{path}.classifier"), f"{path}.classifier", CLASSIFIER),
        to_rts,
        static,
    )


def _gateway(value: object) -> Address | None:
    return None if value is None else values.address(value, "instance.gateway")


def _vni(value: object) -> int | None:
    return None if value is None else values.integer(value, "instance.vni", 1, MAXIMUM_VNI)


def _bridge(value: object) -> str | None:
    return None if value is None else values.text(value, "instance.bridge")


def _carried_by(value: list[Any] | None) -> frozenset[CarriedBy] | None:
    if value is None:
        return None
    try:
        return frozenset(CarriedBy(family) for family in values.items(value, "instance.carried_by"))
    except ValueError as error:
        raise LocalMisuse("instance.carried_by", value, "expected vpn, evpn or both") from error


def _description(value: object) -> str | None:
    return None if value is None else str(values.json_value(value, "instance.description"))


def _static_routes(value: list[Any] | None) -> tuple[Prefix, ...]:
    return values.prefixes(value or [], "instance.static_routes")


_SAID: dict[str, tuple[str, Callable[[Any], object]]] = {
    "gateway": ("gateway", _gateway),
    "description": ("description", _description),
    "fallback": ("fallback", _fallback),
    "readvertise": ("readvertise", _readvertise),
    "attract_traffic": ("attract", _attract),
    "static_routes": ("static_routes", _static_routes),
    "vni": ("vni", _vni),
    "bridge": ("bridge", _bridge),
    "carried_by": ("carried_by", _carried_by),
}
"""What a body need not speak of, by key: the field of the instance, and how it is read. Null: there is to be none."""
