"""The remote procedure calls that agents older than Queens understand.

All go to the topic ``q-agent-notifier-bagpipe-bgpvpn-update``, version 1.0, without a namespace: about a BGP VPN of
a network to all agents, about a port to the agent of its host. Messages:

* ``update_bgpvpn``, ``delete_bgpvpn`` (and ``create_bgpvpn``, which nobody sends), argument ``bgpvpn``:
  ``{"id", "network_id", "gateway_mac": str | None, "l3vpn" or "l2vpn": {"import_rt": [...], "export_rt": [...]}}``;
* ``attach_port_on_bgpvpn``, argument ``port_bgpvpn_info``: ``{"id", "network_id", "mac_address",
  "ip_address": "10.0.0.2/24", "gateway_ip", "gateway_mac"}`` and the route targets, where there are any;
* ``detach_port_from_bgpvpn``, argument ``port_bgpvpn_info``: ``{"id", "network_id"}``.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import oslo_messaging
from neutron_lib import rpc
from neutron_lib.agent import topics

BAGPIPE_BGPVPN = "bagpipe-bgpvpn"


class BGPVPNAgentNotifyApi:
    """Sends the calls; raises what oslo.messaging raises."""

    def __init__(self, topic: str = topics.AGENT) -> None:
        self._target = oslo_messaging.Target(topic=topic, version="1.0")
        self.topic_bgpvpn_update = topics.get_topic_name(topic, BAGPIPE_BGPVPN, topics.UPDATE)

    @functools.cached_property
    def client(self) -> Any:
        """The client of oslo.messaging, made when first needed: a plugin may be made before the transport."""
        return rpc.get_client(self._target)

    def create_bgpvpn(self, context: Any, bgpvpn: Mapping[str, Any]) -> None:
        """Tell all agents of a BGP VPN on a network."""
        self._to_all(context, "create_bgpvpn", bgpvpn)

    def update_bgpvpn(self, context: Any, bgpvpn: Mapping[str, Any]) -> None:
        """Tell all agents how a BGP VPN is on a network now."""
        self._to_all(context, "update_bgpvpn", bgpvpn)

    def delete_bgpvpn(self, context: Any, bgpvpn: Mapping[str, Any]) -> None:
        """Tell all agents that a BGP VPN is not on a network any more."""
        self._to_all(context, "delete_bgpvpn", bgpvpn)

    def attach_port_on_bgpvpn(self, context: Any, port_bgpvpn_info: Mapping[str, Any], host: str | None = None) -> None:
        """Tell the agent of a host of a port that is up."""
        self._to_host(context, "attach_port_on_bgpvpn", port_bgpvpn_info, host)

    def detach_port_from_bgpvpn(
        self, context: Any, port_bgpvpn_info: Mapping[str, Any], host: str | None = None
    ) -> None:
        """Tell the agent of a host of a port that is down."""
        self._to_host(context, "detach_port_from_bgpvpn", port_bgpvpn_info, host)

    def _to_all(self, context: Any, method: str, bgpvpn: Mapping[str, Any]) -> None:
        self.client.prepare(topic=self.topic_bgpvpn_update, fanout=True).cast(context, method, bgpvpn=bgpvpn)

    def _to_host(self, context: Any, method: str, info: Mapping[str, Any], host: str | None) -> None:
        self.client.prepare(topic=self.topic_bgpvpn_update, server=host).cast(context, method, port_bgpvpn_info=info)
