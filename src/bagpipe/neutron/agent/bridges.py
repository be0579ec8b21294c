"""The bridges of an Open vSwitch node: how they are joined, and flows on those of Neutron.

Flows go to Neutron's bridges by the agent's own OpenFlow connection (os-ken), in one bundle for each bridge. They carry
cookies of the extension, which the agent spares when it cleans up. Flows that the extension left there before a restart
of the agent are spared as well, until they are replaced or swept; those that the daemon has on br-tun for EVPN always.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

from neutron.agent.common import ovs_lib
from oslo_config import cfg
from oslo_log import log

from bagpipe.neutron.agent import flows as saying
from bagpipe.neutron.agent import redirect
from bagpipe.neutron.agent.attaching import FALLBACK_SOURCE_MAC
from bagpipe.neutron.agent.facts import Plumbing
from bagpipe.neutron.agent.flow_table import Step
from bagpipe.neutron.agent.flows import Bridge, Flow
from bagpipe.neutron.agent.redirect import Wiring

LOG = log.getLogger(__name__)

EVPN_COOKIE: Final = 0xBA6E << 48
"""That of the daemon's flows on br-tun: :data:`bagpipe.dataplane.ovs_evpn.pipeline.COOKIE`."""
_OPENVSWITCH_FIREWALLS = frozenset(
    {"openvswitch", "neutron.agent.linux.openvswitch_firewall.OVSFirewallDriver"}
    | {"neutron.agent.linux.openvswitch_firewall.firewall.OVSFirewallDriver"}
)


class NotReady(Exception):
    """Something is not there yet that has to be; the text says what."""


class Bridges:
    """br-int, br-tun (which a node without tunnels does not have) and the MPLS bridge.

    ``agent_api`` is what the agent gives its extensions. All methods may block as long as Open vSwitch does.
    """

    def __init__(self, agent_api: Any, configuration: cfg.ConfigOpts) -> None:
        self._api = agent_api
        self._configuration = configuration
        self._options = configuration.bagpipe
        self._neutron: dict[Bridge, Any] = {Bridge.INTEGRATION: agent_api.request_int_br()}
        tunnel = agent_api.request_tun_br()
        if tunnel is not None:
            self._neutron[Bridge.TUNNEL] = tunnel
            agent_api.request_tun_br().set_agent_uuid_stamp(EVPN_COOKIE)
        self._earlier: dict[Bridge, Any] = {}
        """Bridges with the cookie that the extension had before the agent's last start."""

    # ------------------------------------------------------------------ how they are joined

    def join(self) -> Plumbing:
        """Have the patch ports, and the MPLS bridge in fail mode ``secure``. Raises NotReady."""
        options = self._options
        mpls = ovs_lib.OVSBridge(options.mpls_bridge)
        if not mpls.bridge_exists(options.mpls_bridge):
            raise NotReady(f"there is no bridge {options.mpls_bridge} (mpls_bridge in [bagpipe])")
        if mpls.db_get_val("Bridge", options.mpls_bridge, "fail_mode") != ["secure"]:
            mpls.set_secure_mode()
        integration = self._neutron[Bridge.INTEGRATION]
        to_int, from_int = options.mpls_to_int_peer_patch_port, options.int_to_mpls_peer_patch_port
        int_to_mpls = _patch(integration, from_int, to_int)
        mpls_to_int = _patch(mpls, to_int, from_int)
        tunnel = self._neutron.get(Bridge.TUNNEL)
        if tunnel is None:
            return Plumbing(int_to_mpls=int_to_mpls, mpls_to_int=mpls_to_int)
        to_mpls, from_tun = options.tun_to_mpls_peer_patch_port, options.mpls_to_tun_peer_patch_port
        ovs = self._configuration.OVS
        return Plumbing(
            int_to_mpls=int_to_mpls,
            mpls_to_int=mpls_to_int,
            int_to_tun=_number(integration, ovs.int_peer_patch_port),
            tun_to_int=_number(tunnel, ovs.tun_peer_patch_port),
            tun_to_mpls=_patch(tunnel, to_mpls, from_tun),
            mpls_to_tun=_patch(mpls, from_tun, to_mpls),
        )

    def wiring(self, plumbing: Plumbing) -> Wiring:
        """How the node is made, by the agent's configuration."""
        agent, groups = self._configuration.AGENT, self._configuration.SECURITYGROUP
        return Wiring(
            plumbing=plumbing,
            firewall_marks=groups.enable_security_group and groups.firewall_driver in _OPENVSWITCH_FIREWALLS,
            egress_direct=agent.explicitly_egress_direct,
            arp_responder=(agent.arp_responder and agent.l2_population) or agent.enable_distributed_routing,
            distributed=agent.enable_distributed_routing,
        )

    def present(self) -> frozenset[str]:
        """The Neutron ports that are on br-int."""
        return frozenset(self._neutron[Bridge.INTEGRATION].get_vif_port_set())

    # ------------------------------------------------------------------ flows

    def apply(self, step: Step) -> None:
        """Do all of a step; raises what Neutron raises if a bridge cannot be reached or refuses."""
        for name, bridge in self._neutron.items():
            added = [flow for flow in step.added if flow.bridge == name]
            removed = [flow for flow in step.removed if flow.bridge == name]
            if added or removed:
                _apply(bridge, added, removed)

    def spare_earlier(self) -> None:
        """Find what the extension installed before the agent's start, and have the agent leave it alone for now."""
        request = {Bridge.INTEGRATION: self._api.request_int_br, Bridge.TUNNEL: self._api.request_tun_br}
        for name, bridge in self._neutron.items():
            cookie = _earlier_cookie(bridge, name)
            if cookie is not None and cookie != bridge.default_cookie:
                earlier = request[name]()
                earlier.set_agent_uuid_stamp(cookie)
                self._earlier[name] = earlier
                LOG.info("Flows of cookie 0x%x on %s are kept until this agent has its own.", cookie, name)

    def sweep_earlier(self) -> None:
        """Remove what is left of it: all that is still wanted has been installed anew, under another cookie."""
        for name, earlier in list(self._earlier.items()):
            earlier.uninstall_flows()
            earlier.unset_cookie(earlier.default_cookie)
            del self._earlier[name]


def _apply(bridge: Any, added: Iterable[Flow], removed: Iterable[Flow]) -> None:
    _, protocol, parser = bridge._get_dp()
    with bridge.bundled(atomic=True, ordered=True) as bundle:
        for flow in added:
            bundle.install_apply_actions(
                table_id=flow.table,
                priority=flow.priority,
                match=saying.os_ken_match(flow, parser),
                actions=saying.os_ken_actions(flow, protocol, parser),
            )
        for flow in removed:
            bundle.uninstall_flows(
                strict=True, table_id=flow.table, priority=flow.priority, match=saying.os_ken_match(flow, parser)
            )


def _earlier_cookie(bridge: Any, name: Bridge) -> int | None:
    table = redirect.TUN_PATCH_LV_TO_TUN if name == Bridge.TUNNEL else redirect.INT_ACCEPTED_EGRESS_NORMAL
    for flow in bridge.dump_flows(table):
        if dict(flow.match.items()).get("eth_src") == FALLBACK_SOURCE_MAC:
            return int(flow.cookie)
    return None


def _patch(bridge: Any, name: str, peer: str) -> int:
    """The number of a patch port, which is made or made right if need be."""
    with _explained(bridge, name):
        options = bridge.db_get_val("Interface", name, "options") if bridge.port_exists(name) else None
        if options is None or options.get("peer") != peer:
            return _checked(bridge, name, bridge.add_patch_port(name, peer))
    return _number(bridge, name)


def _number(bridge: Any, name: str) -> int:
    with _explained(bridge, name):
        return _checked(bridge, name, bridge.get_port_ofport(name) if bridge.port_exists(name) else None)


def _checked(bridge: Any, name: str, number: object) -> int:
    if not isinstance(number, int) or number <= 0:
        raise NotReady(f"port {name} of {bridge.br_name} has no OpenFlow number yet")
    return number


@contextlib.contextmanager
def _explained(bridge: Any, name: str) -> Iterator[None]:
    """Whatever the database says while a bridge comes or goes means that it is not ready."""
    try:
        yield
    except NotReady:
        raise
    except Exception as error:
        raise NotReady(f"port {name} of {bridge.br_name}: {error}") from error
