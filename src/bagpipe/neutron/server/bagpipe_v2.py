"""The driver of networking-bgpvpn's service plugin that tells agents of Queens and later about BGP VPNs.

An agent learns what concerns it in two ways: it asks, when a port comes to its host (pull), and it is told of what
changes while the port is there (push). This driver does the telling, by the versioned objects of
:mod:`bagpipe.neutron.objects`, always after the commit:

==================================  =====================================================  ==========================
what happens                        what agents are told of                                event
==================================  =====================================================  ==========================
association created or deleted      it                                                     ``created``, ``deleted``
port association changed            it                                                     ``updated``
BGPVPN changed                      its associations; port associations with a route that  ``updated``
                                    leaks from it
BGPVPN deleted                      its associations; port associations with a route that  ``deleted``; ``updated``
                                    leaks from it, without that route
router interface added              associations of its network and of the routers on it   ``updated``
router interface removed            the router's associations, for that network alone;     ``deleted``; ``updated``
                                    associations of the network, of the router and of
                                    other routers on the network
extra routes of a router changed,   port associations of the next hops                     ``created``, ``updated``,
or ``advertise_extra_routes``       (:mod:`bagpipe.neutron.objects.extra_routes`)          ``deleted``
network becomes external, or        associations that it is in                             ``deleted``, ``created``
internal again
==================================  =====================================================  ==========================

What changes nothing for agents (a new name, the same values again) is not told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from networking_bgpvpn.neutron.services.service_drivers import driver_api
from neutron.api.rpc.callbacks import events as rpc_events
from neutron_lib.api.definitions import bgpvpn_vni
from neutron_lib.callbacks import events, registry, resources
from neutron_lib.db import api as db_api

from bagpipe.neutron.objects import extra_routes, stored
from bagpipe.neutron.server import checks, telling

CREATED, UPDATED, DELETED = rpc_events.CREATED, rpc_events.UPDATED, rpc_events.DELETED

SETS = ("route_targets", "import_targets", "export_targets")
VALUES = ("route_distinguishers", "local_pref", "vni")


def concerns_agents(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether two states of a BGPVPN differ in what an agent does."""
    return any(set(old[key]) != set(new[key]) for key in SETS) or any(old.get(key) != new.get(key) for key in VALUES)


class BaGPipeBGPVPNDriver(driver_api.BGPVPNDriverRC):
    """Driver ``bagpipe.neutron.server.bagpipe_v2.BaGPipeBGPVPNDriver``: versioned objects only."""

    more_supported_extension_aliases: ClassVar[list[str]] = [
        *driver_api.BGPVPNDriverRC.more_supported_extension_aliases,
        bgpvpn_vni.ALIAS,
    ]

    def __init__(self, service_plugin: Any) -> None:
        super().__init__(service_plugin)
        self._agents = telling.Agents()
        for callback, resource, event in (
            (self._interface_added, resources.ROUTER_INTERFACE, events.AFTER_CREATE),
            (self._interface_removed, resources.ROUTER_INTERFACE, events.AFTER_DELETE),
            (self._router_changes, resources.ROUTER, events.PRECOMMIT_UPDATE),
            (self._network_updated, resources.NETWORK, events.AFTER_UPDATE),
        ):
            registry.subscribe(callback, resource, event)

    # BGPVPNs

    def update_bgpvpn_postcommit(self, context: Any, old_bgpvpn: Any, new_bgpvpn: Any) -> None:
        """Tell of a change to whoever is in the BGPVPN, or leaks from it."""
        if not concerns_agents(old_bgpvpn, new_bgpvpn):
            return
        bgpvpn_id = new_bgpvpn["id"]
        told = self._associations(context, bgpvpn_id=bgpvpn_id)
        known = {association.id for association in told}
        leaking = stored.port_associations(context, leaking_from=bgpvpn_id)
        told += [association for association in leaking if association.id not in known]
        self._agents.tell(context, UPDATED, told)

    def delete_bgpvpn_precommit(self, context: Any, bgpvpn: Any) -> None:
        """See what ends with a BGPVPN while the database still has it; it is told after the commit."""
        bgpvpn_id = bgpvpn["id"]
        self._agents.tell(context, DELETED, self._associations(context, excluded=True, bgpvpn_id=bgpvpn_id))
        leaking = stored.port_associations(context, leaking_from=bgpvpn_id)
        remaining = [association for association in leaking if association.bgpvpn_id != bgpvpn_id]
        for association in remaining:
            association.routes = [route for route in association.routes if route.bgpvpn_id != bgpvpn_id]
            association.obj_reset_changes()
        self._agents.tell(context, UPDATED, remaining)

    # network associations

    def create_net_assoc_precommit(self, context: Any, net_assoc: Any) -> None:
        """Refuse external networks."""
        checks.network_is_internal(context, net_assoc["network_id"])

    def create_net_assoc_postcommit(self, context: Any, net_assoc: Any) -> None:
        """Tell of the new association."""
        self._agents.tell(context, CREATED, stored.net_associations(context, id=net_assoc["id"]))

    def delete_net_assoc_precommit(self, context: Any, net_assoc: Any) -> None:
        """See what ends; it is told after the commit."""
        self._agents.tell(context, DELETED, stored.net_associations(context, excluded=True, id=net_assoc["id"]))

    # router associations

    def create_router_assoc(self, context: Any, bgpvpn_id: str, router_association: Any) -> Any:
        """Create a router association, with ``advertise_extra_routes`` as it was asked for.

        The database layer of networking-bgpvpn takes the default whatever was asked.
        """
        with db_api.CONTEXT_WRITER.using(context):
            made = self.bgpvpn_db.create_router_assoc(context, bgpvpn_id, router_association)
            if router_association.get("advertise_extra_routes") is False:
                asked = {"advertise_extra_routes": False}
                made = self.bgpvpn_db.update_router_assoc(context, made["id"], bgpvpn_id, asked)
            self.create_router_assoc_precommit(context, made)
        self.create_router_assoc_postcommit(context, made)
        return made

    def create_router_assoc_postcommit(self, context: Any, router_assoc: Any) -> None:
        """Tell of the new association, and of extra routes that it advertises."""
        self._agents.tell(context, CREATED, self._of_router(context, id=router_assoc["id"]))

    def update_router_assoc_precommit(self, context: Any, old_router_assoc: Any, router_assoc: Any) -> None:
        """Tell of extra routes that are advertised from now on, or no longer."""
        asked = router_assoc["advertise_extra_routes"]
        if asked != old_router_assoc["advertise_extra_routes"]:
            context.session.flush()
            told = extra_routes.port_associations(context, whatever_was_asked=True, id=router_assoc["id"])
            self._agents.tell(context, CREATED if asked else DELETED, told)

    def delete_router_assoc_precommit(self, context: Any, router_assoc: Any) -> None:
        """See what ends; it is told after the commit."""
        self._agents.tell(context, DELETED, self._of_router(context, excluded=True, id=router_assoc["id"]))

    # port associations

    def update_port_assoc(self, context: Any, assoc_id: str, bgpvpn_id: str, port_assoc: Any) -> Any:
        """Change what was named, and keep the rest.

        The database layer of networking-bgpvpn drops the routes when a request does not name them.
        """
        asked = dict(port_assoc)
        if "routes" not in asked:
            asked["routes"] = self.get_port_assoc(context, assoc_id, bgpvpn_id)["routes"]
        return super().update_port_assoc(context, assoc_id, bgpvpn_id, asked)

    def create_port_assoc_precommit(self, context: Any, port_assoc: Any) -> None:
        """Refuse ports on external networks, and ports of network services."""
        checks.port_may_have_connectivity(context, port_assoc["port_id"])

    def create_port_assoc_postcommit(self, context: Any, port_assoc: Any) -> None:
        """Tell of the new association."""
        self._agents.tell(context, CREATED, stored.port_associations(context, id=port_assoc["id"]))

    def update_port_assoc_postcommit(self, context: Any, old_port_assoc: Any, port_assoc: Any) -> None:
        """Tell of a change."""
        if _comparable(old_port_assoc) != _comparable(port_assoc):
            self._agents.tell(context, UPDATED, stored.port_associations(context, id=port_assoc["id"]))

    def delete_port_assoc_precommit(self, context: Any, port_assoc: Any) -> None:
        """See what ends; it is told after the commit."""
        self._agents.tell(context, DELETED, stored.port_associations(context, excluded=True, id=port_assoc["id"]))

    # what happens to routers and networks

    def _interface_added(self, _resource: str, _event: str, _trigger: Any, payload: Any) -> None:
        context = payload.context.elevated()
        self._network_changed(context, payload.metadata["port"]["network_id"], payload.resource_id)

    def _interface_removed(self, _resource: str, _event: str, _trigger: Any, payload: Any) -> None:
        context, router_id = payload.context.elevated(), payload.resource_id
        network_id = payload.metadata["port"]["network_id"]
        left = [
            association
            for association in stored.router_associations(context, excluded=True, router_id=router_id)
            if network_id not in {network["network_id"] for network in association.connected_networks}
        ]
        _limit_to(context, left, network_id)
        self._agents.tell(context, DELETED, left)
        self._network_changed(context, network_id, router_id)

    def _network_changed(self, context: Any, network_id: str, router_id: str) -> None:
        """Tell of a network's associations, of those of the routers on it, and of those of one router more."""
        told: list[Any] = list(stored.net_associations(context, network_id=network_id))
        by_router = [
            *stored.router_associations(context, network_id=network_id),
            *stored.router_associations(context, router_id=router_id),
        ]
        told += {association.id: association for association in by_router if association.connected_networks}.values()
        self._agents.tell(context, UPDATED, told)

    def _router_changes(self, _resource: str, _event: str, _trigger: Any, payload: Any) -> None:
        """Tell what a change of a router's extra routes means for their next hops, when it is committed."""
        if "routes" not in payload.request_body:
            return
        context, router_id = payload.context, payload.resource_id
        before = _by_id(_advertised(context, router_id, payload.states[0]["routes"]))
        after = _by_id(_advertised(context, router_id, payload.request_body["routes"] or []))
        changed = [key for key in after.keys() & before.keys() if set(after[key].routes) != set(before[key].routes)]
        self._agents.tell(context, DELETED, [before[key] for key in before.keys() - after.keys()])
        self._agents.tell(context, CREATED, [after[key] for key in after.keys() - before.keys()])
        self._agents.tell(context, UPDATED, [after[key] for key in changed])

    def _network_updated(self, _resource: str, _event: str, _trigger: Any, payload: Any) -> None:
        """Tell of associations that end as their network becomes external, or begin as it becomes internal."""
        old, new = payload.states
        external = new.get("router:external", False)
        if external == old.get("router:external", False):
            return
        context, network_id = payload.context.elevated(), new["id"]
        by_router = stored.router_associations(context, excluded=True, network_id=network_id)
        _limit_to(context, by_router, network_id)
        told = [
            *stored.net_associations(context, excluded=True, network_id=network_id),
            *by_router,
            *stored.port_associations(context, excluded=True, network_id=network_id),
        ]
        self._agents.tell(context, DELETED if external else CREATED, told)

    # what is in a BGPVPN

    def _of_router(self, context: Any, *, excluded: bool = False, **filters: Any) -> list[Any]:
        return [
            *stored.router_associations(context, excluded=excluded, **filters),
            *extra_routes.port_associations(context, **filters),
        ]

    def _associations(self, context: Any, *, excluded: bool = False, **filters: Any) -> list[Any]:
        return [
            *stored.net_associations(context, excluded=excluded, **filters),
            *self._of_router(context, excluded=excluded, **filters),
            *stored.port_associations(context, excluded=excluded, **filters),
        ]


def _comparable(port_assoc: Mapping[str, Any]) -> tuple[bool, list[tuple[tuple[str, Any], ...]]]:
    """What an agent does with a port association, whatever the order of its routes."""
    routes = [tuple(sorted(route.items())) for route in port_assoc["routes"]]
    return port_assoc["advertise_fixed_ips"], sorted(routes, key=repr)


def _advertised(context: Any, router_id: str, routes: Sequence[Mapping[str, str]]) -> list[Any]:
    given = [extra_routes.ExtraRoute(route["destination"], route["nexthop"]) for route in routes]
    return list(extra_routes.port_associations(context, routes=given, router_id=router_id)) if given else []


def _by_id(associations: Sequence[Any]) -> dict[str, Any]:
    return {association.id: association for association in associations}


def _limit_to(context: Any, associations: Sequence[Any], network_id: str) -> None:
    """Make router associations speak of one network."""
    if associations:
        with db_api.CONTEXT_READER.using(context):
            subnets = stored.subnets_of(context.session, [network_id]).get(network_id, [])
        for association in associations:
            association.connected_networks = [{"network_id": network_id, "subnets": subnets}]
            association.obj_reset_changes()
