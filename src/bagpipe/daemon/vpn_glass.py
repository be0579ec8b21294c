"""VPN instances as the looking glass and /v2 show them: the values of ``vpn.views``, each in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bagpipe.daemon.forwarding import Forwarding
from bagpipe.daemon.pieces import Pieces
from bagpipe.vpn import views
from bagpipe.vpn.explain import competition
from bagpipe.vpn.vrf import Vrf

Plain = dict[str, object]


def entries(forwarding: Forwarding) -> dict[str, Plain]:
    """``vpns/instances``: what each instance is listed with, by id."""
    return {str(entry.pop("id")): entry for entry in views.instance_list(forwarding.instances)}


def resource(forwarding: Forwarding, external_id: str) -> Plain:
    """``vpns/instances/<id>``; what is long is a resource of its own."""
    instances = forwarding.instances
    vrf = instances.instances[external_id]
    long: dict[str, Callable[[], object]] = {
        "ports": lambda: views.ports(instances, vrf),
        "received_routes": lambda: Pieces(_received(forwarding, vrf)),
        "best_routes": lambda: Pieces(_best(forwarding, vrf), as_object=True),
        "adv_routes": lambda: views.adv_routes(instances, vrf),
        "readvertised": lambda: views.readvertised(vrf),
        "dataplane": lambda: dataplane_of(forwarding, vrf),
        "logs": list,
    }
    return {**views.instance(instances, vrf), "internals": {"event queue length": 0, "subscriptions": []}, **long}


def _received(forwarding: Forwarding, vrf: Vrf) -> Iterator[Plain | None]:
    for prefix in views.received_prefixes(vrf):
        yield from views.received_routes(forwarding.instances, vrf, (prefix,)) or (None,)


def _best(forwarding: Forwarding, vrf: Vrf) -> Iterator[Plain | None]:
    for prefix in vrf.prefixes():
        yield views.best_routes(forwarding.instances, vrf, (prefix,)) or None


def dataplane_of(forwarding: Forwarding, vrf: Vrf) -> Plain:
    """What the dataplane should hold for an instance, and what of it is not in effect."""
    waiting = {}
    held = 0
    for key, value in forwarding.tracker.desired.items():
        if getattr(key, "instance", getattr(value, "instance", None)) != vrf.number:
            continue
        held += 1
        reason = forwarding.programmer.reason(key)
        if reason is not None:
            waiting[str(key)] = reason
    return {"records": held, "not_in_effect": waiting}


def dataplane(forwarding: Forwarding) -> Plain:
    """``vpns/dataplane``: the driver, and the numbers that instances have in it."""
    overview = {"name": forwarding.driver.capabilities.name, **forwarding.driver.overview()}
    ids = {str(vrf.number): vrf.external_id for vrf in forwarding.instances.instances.values()}
    return {"drivers": {"ipvpn": overview}, "ids": ids}


def short(forwarding: Forwarding, vrf: Vrf) -> Plain:
    """An instance in the list of /v2."""
    told = views.instance(forwarding.instances, vrf)
    del told["ports"]
    return {"id": vrf.external_id, "type": "ipvpn", **told}


def whole(forwarding: Forwarding, vrf: Vrf) -> Plain:
    """An instance of /v2 but for its routes."""
    plugged = [
        {"port_name": name, **views.endpoint(forwarding.instances, each)}
        for name in sorted(vrf.plugged)
        for each in vrf.plugged[name]
    ]
    return {**short(forwarding, vrf), "endpoints": plugged}


def routes(forwarding: Forwarding, vrf: Vrf) -> Iterator[Plain | None]:
    """Every prefix of an instance with all that competes for it; it may change while the caller takes its time."""
    imports = forwarding.instances.imports
    for prefix in vrf.prefixes():
        found = competition(vrf, prefix, imports)
        if not found:
            yield None
            continue
        candidates = [
            {
                "route_distinguisher": one.route_distinguisher,
                "peer": one.peer,
                "next_hop": one.next_hop,
                "local_pref": one.local_pref,
                "used": one.used,
                "reason": one.reason,
            }
            for one in found
        ]
        yield {"prefix": str(prefix), "candidates": candidates}
