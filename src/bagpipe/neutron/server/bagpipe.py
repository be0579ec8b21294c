"""The driver for clouds that still have agents older than Queens: what ``bagpipe_v2`` says, and the old calls.

The old calls tell agents of the ports that come and go as well as of BGP VPNs, since old agents do not ask
(:mod:`bagpipe.neutron.server.old_rpc` has the messages):

==========================================  ================================================================
what happens                                what old agents are told
==========================================  ================================================================
port becomes ``ACTIVE``                     its host: ``attach_port_on_bgpvpn``
port becomes ``DOWN``, is deleted           its host: ``detach_port_from_bgpvpn``
association created                         all, for each of its networks: ``update_bgpvpn``
association deleted, BGPVPN deleted         all, for each of its networks: ``delete_bgpvpn``
BGPVPN changed                              all, for each network that is in it: ``update_bgpvpn``
router interface added                      all: ``update_bgpvpn`` for each BGPVPN of network and router
router interface removed                    all: ``update_bgpvpn`` for each BGPVPN of the network,
                                            ``delete_bgpvpn`` for each of the router
==========================================  ================================================================

Networks are told of if they have a port that is up. Ports of network services and ports on external networks are never
told of. Old agents know neither port associations nor extra routes nor IPv6.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any

from neutron_lib import constants
from neutron_lib.api.definitions import portbindings
from neutron_lib.callbacks import events, registry, resources
from oslo_log import log

from bagpipe.neutron.objects import stored
from bagpipe.neutron.server import bagpipe_v2, checks, old_rpc, seen_by_old_agents, telling

LOG = log.getLogger(__name__)


class BaGPipeBGPVPNDriver(bagpipe_v2.BaGPipeBGPVPNDriver):
    """Driver ``bagpipe.neutron.server.bagpipe.BaGPipeBGPVPNDriver``: versioned objects and the old calls."""

    def __init__(self, service_plugin: Any) -> None:
        super().__init__(service_plugin)
        self._old_agents = old_rpc.BGPVPNAgentNotifyApi()
        registry.subscribe(self._port_updated, resources.PORT, events.AFTER_UPDATE)
        registry.subscribe(self._port_deleted, resources.PORT, events.AFTER_DELETE)

    # ports

    def _port_updated(self, _resource: str, _event: str, _trigger: Any, payload: Any) -> None:
        before, now = payload.states
        if before["status"] == now["status"] or not self._concerns_old_agents(payload.context, now):
            return
        context = payload.context.elevated()
        if now["status"] == constants.PORT_STATUS_ACTIVE:
            info = seen_by_old_agents.port(context, now)
            if info is not None:
                self._say(self._old_agents.attach_port_on_bgpvpn, context, info, host=now[portbindings.HOST_ID])
        elif now["status"] == constants.PORT_STATUS_DOWN:
            self._detach(context, now)

    def _port_deleted(self, _resource: str, _event: str, _trigger: Any, payload: Any) -> None:
        port = payload.states[-1]
        if self._concerns_old_agents(payload.context, port):
            self._detach(payload.context, port)

    def _detach(self, context: Any, port: Mapping[str, Any]) -> None:
        info = {"id": port["id"], "network_id": port["network_id"]}
        self._say(self._old_agents.detach_port_from_bgpvpn, context, info, host=port[portbindings.HOST_ID])

    @staticmethod
    def _concerns_old_agents(context: Any, port: Mapping[str, Any]) -> bool:
        """Whether a port has a host, and is one that gets connectivity."""
        owned = port["device_owner"].startswith(constants.DEVICE_OWNER_NETWORK_PREFIX)
        return (
            bool(port.get(portbindings.HOST_ID)) and not owned and not checks.is_external(context, port["network_id"])
        )

    # BGPVPNs and associations

    def update_bgpvpn_postcommit(self, context: Any, old_bgpvpn: Any, new_bgpvpn: Any) -> None:
        """Tell of a change."""
        super().update_bgpvpn_postcommit(context, old_bgpvpn, new_bgpvpn)
        if bagpipe_v2.concerns_agents(old_bgpvpn, new_bgpvpn):
            networks = self._networks_of(context, new_bgpvpn)
            self._tell_networks(context, self._old_agents.update_bgpvpn, [new_bgpvpn["id"]], networks)

    def delete_bgpvpn_precommit(self, context: Any, bgpvpn: Any) -> None:
        """See what ends with a BGPVPN; it is told after the commit."""
        super().delete_bgpvpn_precommit(context, bgpvpn)
        networks = self._networks_of(context, bgpvpn)
        self._tell_networks(context, self._old_agents.delete_bgpvpn, [bgpvpn["id"]], networks)

    def create_net_assoc_postcommit(self, context: Any, net_assoc: Any) -> None:
        """Tell of the new association."""
        super().create_net_assoc_postcommit(context, net_assoc)
        networks = [net_assoc["network_id"]]
        self._tell_networks(context, self._old_agents.update_bgpvpn, [net_assoc["bgpvpn_id"]], networks)

    def delete_net_assoc_postcommit(self, context: Any, net_assoc: Any) -> None:
        """Tell of the end of an association."""
        networks = [net_assoc["network_id"]]
        self._tell_networks(context, self._old_agents.delete_bgpvpn, [net_assoc["bgpvpn_id"]], networks)

    def create_router_assoc_postcommit(self, context: Any, router_assoc: Any) -> None:
        """Tell of the new association."""
        super().create_router_assoc_postcommit(context, router_assoc)
        networks = seen_by_old_agents.networks_of_routers(context, [router_assoc["router_id"]])
        self._tell_networks(context, self._old_agents.update_bgpvpn, [router_assoc["bgpvpn_id"]], networks)

    def delete_router_assoc_postcommit(self, context: Any, router_assoc: Any) -> None:
        """Tell of the end of an association."""
        networks = seen_by_old_agents.networks_of_routers(context, [router_assoc["router_id"]])
        self._tell_networks(context, self._old_agents.delete_bgpvpn, [router_assoc["bgpvpn_id"]], networks)

    # router interfaces

    def _interface_added(self, resource: str, event: str, trigger: Any, payload: Any) -> None:
        super()._interface_added(resource, event, trigger, payload)
        context, network_id = payload.context.elevated(), payload.metadata["port"]["network_id"]
        of_network = {one.id for one in seen_by_old_agents.bgpvpns_of_network(context, network_id)}
        told = of_network | self._bgpvpns_of_router(context, payload.resource_id)
        self._tell_networks(context, self._old_agents.update_bgpvpn, told, [network_id])

    def _interface_removed(self, resource: str, event: str, trigger: Any, payload: Any) -> None:
        super()._interface_removed(resource, event, trigger, payload)
        context, network_id = payload.context.elevated(), payload.metadata["port"]["network_id"]
        remaining = {one.id for one in seen_by_old_agents.bgpvpns_of_network(context, network_id)}
        ended = self._bgpvpns_of_router(context, payload.resource_id) - remaining
        self._tell_networks(context, self._old_agents.update_bgpvpn, remaining, [network_id])
        self._tell_networks(context, self._old_agents.delete_bgpvpn, ended, [network_id])

    @staticmethod
    def _bgpvpns_of_router(context: Any, router_id: str) -> set[str]:
        return {association.bgpvpn_id for association in stored.router_associations(context, router_id=router_id)}

    @staticmethod
    def _networks_of(context: Any, bgpvpn: Mapping[str, Any]) -> list[str]:
        return [*bgpvpn["networks"], *seen_by_old_agents.networks_of_routers(context, bgpvpn["routers"])]

    def _tell_networks(
        self,
        context: Any,
        call: Callable[..., None],
        bgpvpn_ids: Collection[str],
        network_ids: Collection[str],
    ) -> None:
        networks = seen_by_old_agents.served_networks(context, network_ids) if bgpvpn_ids else []
        for bgpvpn in stored.bgpvpns(context, id=sorted(bgpvpn_ids)) if networks else []:
            for network_id in networks:
                self._say(call, context, seen_by_old_agents.bgpvpn_on_network(context, bgpvpn, network_id))

    @staticmethod
    def _say(call: Callable[..., None], context: Any, info: Mapping[str, Any], **keywords: Any) -> None:
        telling.after_commit(context, functools.partial(_send, call, context, info, **keywords))


def _send(call: Callable[..., None], context: Any, info: Mapping[str, Any], **keywords: Any) -> None:
    try:
        call(context, info, **keywords)
    except Exception:
        LOG.exception("Agents older than Queens could not be told: %s %s", call.__name__, info)
