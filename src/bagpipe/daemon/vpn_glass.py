"""VPN instances as the looking glass and /v2 show them: the values of ``vpn.views``, each in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import cast

from bagpipe.daemon.forwarding import Forwarding
from bagpipe.daemon.pieces import Pieces
from bagpipe.daemon.plane import Plane
from bagpipe.vpn import views
from bagpipe.vpn.evpn import views as evpn_views
from bagpipe.vpn.evpn.evi import Evi
from bagpipe.vpn.vrf import Vrf

Plain = dict[str, object]


def entries(forwarding: Forwarding) -> dict[str, Plain]:
    """``vpns/instances``: what each instance is listed with, by id."""
    found: dict[str, Plain] = {}
    for each in forwarding.vpns.all():
        entry: Plain = {"name": each.name}
        found[each.external_id] = entry | {"description": each.description} if each.description else entry
    return found


def instances_per_vni(forwarding: Forwarding) -> dict[str, Plain]:
    """``vpns/instances_per_vni``."""
    evis = forwarding.vpns.evpn.instances.values()
    return {str(each.vni): {"name": each.name, "external_instance_id": each.external_id} for each in evis}


def resource(forwarding: Forwarding, external_id: str) -> Plain:
    """``vpns/instances/<id>``; what is long is a resource of its own."""
    found = forwarding.vpns.find(external_id)
    if found is None:
        raise LookupError(external_id)
    return _evi(forwarding, found) if isinstance(found, Evi) else _vrf(forwarding, found)


def _vrf(forwarding: Forwarding, vrf: Vrf) -> Plain:
    instances = forwarding.vpns.ipvpn
    long: dict[str, Callable[[], object]] = {
        "ports": lambda: views.ports(instances, vrf),
        "received_routes": lambda: Pieces(_received(forwarding, vrf)),
        "best_routes": lambda: Pieces(_best(forwarding, vrf), as_object=True),
        "adv_routes": lambda: views.adv_routes(instances, vrf),
        "readvertised": lambda: views.readvertised(vrf),
        "dataplane": lambda: dataplane_of(forwarding.ipvpn, vrf.number),
        "logs": list,
    }
    return {**views.instance(instances, vrf), "internals": {"event queue length": 0, "subscriptions": []}, **long}


def _received(forwarding: Forwarding, vrf: Vrf) -> Iterator[Plain | None]:
    for prefix in views.received_prefixes(vrf):
        yield from views.received_routes(forwarding.vpns.ipvpn, vrf, (prefix,)) or (None,)


def _best(forwarding: Forwarding, vrf: Vrf) -> Iterator[Plain | None]:
    for prefix in vrf.prefixes():
        yield views.best_routes(forwarding.vpns.ipvpn, vrf, (prefix,)) or None


def _evi(forwarding: Forwarding, evi: Evi) -> Plain:
    instances = forwarding.vpns.evpn
    long: dict[str, Callable[[], object]] = {
        "ports": lambda: evpn_views.ports(instances, evi),
        "received_routes": lambda: Pieces(evpn_views.received_routes(instances, evi)),
        "best_routes": lambda: Pieces(evpn_views.best_routes(instances, evi), as_object=True),
        "adv_routes": lambda: evpn_views.adv_routes(instances, evi),
        "dataplane": lambda: dataplane_of(forwarding.evpn, evi.number),
        "logs": list,
    }
    told = evpn_views.instance(instances, evi)
    return {**told, "internals": {"event queue length": 0, "subscriptions": []}, **long}


def dataplane_of(plane: Plane, number: int) -> Plain:
    """What a dataplane should hold for the instance of this number, and what of it is not in effect."""
    waiting = {}
    held = 0
    for key, value in plane.tracker.desired.items():
        if getattr(key, "instance", getattr(value, "instance", None)) != number:
            continue
        held += 1
        reason = plane.programmer.reason(key)
        if reason is not None:
            waiting[str(key)] = reason
    return {"records": held, "not_in_effect": waiting}


def dataplane(forwarding: Forwarding) -> Plain:
    """``vpns/dataplane``: the drivers, and the numbers that instances have in them."""
    drivers = {
        plane.name: {"name": plane.driver.capabilities.name, **plane.driver.overview()} for plane in forwarding.planes
    }
    return {"drivers": drivers, "ids": {str(each.number): each.external_id for each in forwarding.vpns.all()}}


def short(forwarding: Forwarding, instance: Vrf | Evi) -> Plain:
    """An instance in the list of /v2."""
    return _with_endpoints(forwarding, instance)[0]


def whole(forwarding: Forwarding, instance: Vrf | Evi) -> Plain:
    """An instance of /v2 but for its routes."""
    told, endpoints = _with_endpoints(forwarding, instance)
    return {**told, "endpoints": endpoints}


def _with_endpoints(forwarding: Forwarding, instance: Vrf | Evi) -> tuple[Plain, list[Plain]]:
    """An instance, and its endpoints, each with its port."""
    if isinstance(instance, Evi):
        kind, told = "evpn", evpn_views.instance(forwarding.vpns.evpn, instance)
    else:
        kind, told = "ipvpn", views.instance(forwarding.vpns.ipvpn, instance)
    ports = cast("dict[str, dict[str, list[Plain]]]", told.pop("ports"))
    endpoints = [{"port_name": name, **one} for name, port in ports.items() for one in port["endpoints"]]
    return {"id": instance.external_id, "type": kind, **told}, endpoints


def routes(forwarding: Forwarding, instance: Vrf | Evi) -> Iterator[Plain | None]:
    """Every prefix of a VRF, or MAC of an EVI, with all that competes for it; it may change while the caller takes its
    time.
    """
    if isinstance(instance, Evi):
        return evpn_views.macs(forwarding.vpns.evpn, instance)
    ipvpn = forwarding.vpns.ipvpn
    return (views.prefix_routes(ipvpn, instance, prefix) for prefix in instance.prefixes())
