"""The L2 agent extension ``bagpipe_bgpvpn``: hands what Neutron says to those who keep, program and attach.

Called by the agent's loop and by RPC threads; no call waits for a server, for Open vSwitch or for the daemon, and none
raises. Facts go into :class:`Associations` under a lock; what follows for a port is stated to the
:class:`DaemonLink` at once, what follows for flows is left to the :class:`Programmer`, and what has to be asked to the
:class:`Puller`.

Open vSwitch is the agent's driver; the linuxbridge agent of Neutron 2024.2 and earlier works too, without flows.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from neutron.api.rpc.callbacks import events as rpc_events
from neutron.api.rpc.callbacks import resources
from neutron.api.rpc.callbacks.consumer import registry as consumers
from neutron.api.rpc.handlers import resources_rpc
from neutron_lib import constants as neutron_constants
from neutron_lib import context as neutron_context
from neutron_lib.agent import l2_extension
from neutron_lib.callbacks import events, registry
from oslo_config import cfg
from oslo_log import log

from bagpipe.neutron import objects
from bagpipe.neutron.agent import options, reading
from bagpipe.neutron.agent.associations import Associations
from bagpipe.neutron.agent.facts import LinuxBridgeSite, OpenVSwitchSite, Plumbing, Port
from bagpipe.neutron.agent.link import DaemonLink, LinkSettings
from bagpipe.neutron.agent.programming import Programmer
from bagpipe.neutron.agent.pulling import (
    NETWORK_ASSOCIATION,
    PORT_ASSOCIATION,
    ROUTER_ASSOCIATION,
    NetworkAnswer,
    PortAnswer,
    Puller,
)
from bagpipe.neutron.agent.recency import Recency
from bagpipe.neutron.agent.redirect import Redirect

LOG = log.getLogger(__name__)

OWNER: Final = "neutron"
OPEN_VSWITCH: Final = "ovs"
LINUX_BRIDGE: Final = "linuxbridge"
_AGENT_NAMES: Final = {OPEN_VSWITCH: "Open vSwitch agent", LINUX_BRIDGE: "Linux bridge agent"}

FRESH: Final = 30.0
"""Seconds for which a server's answer about a network is not asked for again when a port appears or changes."""
REPLAY: Final = 60.0
"""Seconds that ports which are on the bridge have to be stated after a start."""

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def _never_raising(
    method: Callable[Concatenate[BagpipeBgpvpnAgentExtension, _Arguments], _Result],
) -> Callable[Concatenate[BagpipeBgpvpnAgentExtension, _Arguments], _Result | None]:
    """An error stays here and is logged: the agent's loop would start its work all over again."""

    def guarded(
        self: BagpipeBgpvpnAgentExtension, /, *arguments: _Arguments.args, **named: _Arguments.kwargs
    ) -> _Result | None:
        try:
            return method(self, *arguments, **named)
        except Exception:
            LOG.exception("BGP VPNs: %s failed.", method.__name__)
            return None

    functools.update_wrapper(guarded, method)
    return guarded


class BagpipeBgpvpnAgentExtension(l2_extension.L2AgentExtension):
    """Keeps the ports of this host in the VPNs that Neutron has them in."""

    def __init__(self) -> None:
        super().__init__()
        options.register(cfg.CONF)
        self._lock = threading.RLock()
        self._known = Associations(with_pairs=cfg.CONF.bagpipe.allowed_address_pairs)
        self._recency = Recency()
        self._awaited: set[str] = set()
        self._agent_api: Any = None
        self._driver = OPEN_VSWITCH
        self._bridges: Any = None
        self.link: Any = None
        self.puller: Any = None
        self.programmer: Any = None

    # ------------------------------------------------------------------ what the agent calls

    def consume_api(self, agent_api: Any) -> None:
        """Take the agent's bridges."""
        self._agent_api = agent_api

    def initialize(self, connection: Any, driver_type: str) -> None:
        """Start; returns at once, whether or not bridges, server and daemon are there."""
        if driver_type not in _AGENT_NAMES:
            LOG.error("bagpipe_bgpvpn works in the agents of Open vSwitch and Linux bridges, not of %s.", driver_type)
            return
        self._driver = driver_type
        settings = cfg.CONF.bagpipe
        self.link = DaemonLink(
            LinkSettings(
                address=settings.bagpipe_bgp_socket or settings.bagpipe_bgp_ip,
                port=settings.bagpipe_bgp_port,
                ping_interval=settings.ping_interval,
                owner=OWNER,
                user_agent=_AGENT_NAMES[driver_type],
            ),
            on_state=_tell_of_daemon,
        )
        context = neutron_context.get_admin_context_without_session()
        self.puller = Puller(resources_rpc.ResourcesPullRpcApi(), context, self.answered)
        if driver_type == OPEN_VSWITCH:
            # Neutron's Open vSwitch modules are those of its Open vSwitch agent.
            from bagpipe.neutron.agent.bridges import Bridges  # noqa: PLC0415

            self._bridges = Bridges(self._agent_api, cfg.CONF)
            self.programmer = Programmer(self._bridges, self.joined, self.redirects)
            self.programmer.start()
        else:
            self._known.site = LinuxBridgeSite()
        registry.subscribe(self.port_updated, resources.PORT, events.AFTER_UPDATE)
        self._consume(connection)
        self.puller.start()
        self.link.start()
        threading.Thread(target=self._replay, name="bagpipe-replay", daemon=True).start()

    @_never_raising
    def handle_port(self, context: Any, data: Mapping[str, Any]) -> None:
        """A port is there, or has changed."""
        port_id = data.get("port_id")
        if port_id is None or self.link is None:
            return
        if (data.get("device_owner") or "").startswith(neutron_constants.DEVICE_OWNER_NETWORK_PREFIX):
            self._forget(port_id)
            return
        port = self._read(data)
        with self._lock:
            before, concerned = self._known.port_network(port_id), self._known.concerned(port_id)
            self._known.port_is(port)
            if self._recency.ask_network(port.network_id, FRESH, time.monotonic()):
                self.puller.ask_network(port.network_id)
            self.puller.ask_port(port_id)
            self._state(concerned | self._known.concerned(port_id), {port.network_id, before})

    @_never_raising
    def delete_port(self, context: Any, data: Mapping[str, Any]) -> None:
        """A port is gone."""
        port_id = data.get("port_id")
        if port_id is not None and self.link is not None:
            self._forget(port_id)

    @_never_raising
    def handle_switch_restart(self) -> None:
        """Open vSwitch was restarted."""
        if self.programmer is not None:
            self.programmer.restarted()

    # ------------------------------------------------------------------ what Neutron's server says

    @_never_raising
    def pushed(self, context: Any, resource_type: str, resource_list: Iterable[Any], event_type: str) -> None:
        """Associations were made, changed or ended."""
        now = time.monotonic()
        is_end = event_type == rpc_events.DELETED
        with self._lock:
            for given in resource_list:
                is_doubtful = self._recency.told(given.id, now)
                if resource_type == PORT_ASSOCIATION:
                    self._port_pushed(given, is_end, is_doubtful, now)
                elif resource_type == NETWORK_ASSOCIATION:
                    networks = {given.network_id: reading.subnets(given.subnets)}
                    self._networks_pushed(given, networks, is_end, is_doubtful, now)
                elif resource_type == ROUTER_ASSOCIATION:
                    self._networks_pushed(given, reading.connected(given), is_end, is_doubtful, now)

    @_never_raising
    def answered(self, answer: NetworkAnswer | PortAnswer) -> None:
        """The server has answered."""
        now = time.monotonic()
        with self._lock:
            if isinstance(answer, PortAnswer):
                self._port_answered(answer, now)
            else:
                self._network_answered(answer, now)

    @_never_raising
    def port_updated(self, resource: str, event: str, trigger: Any, payload: Any = None) -> None:
        """Neutron's cache of ports has news: a port is attached or detached at once when its machine moves.

        The agent does not hand it over again then: as long as the other host has a binding, it takes the port for one
        that is still being migrated.
        """
        told = payload.latest_state
        with self._lock:
            port = self._known.ports.get(told.id)
            if port is None:
                return
            active = port.active
            if _runs_elsewhere(told):
                active = False
            elif _runs_here(told):
                active = True
            if active != port.active:
                LOG.info("Port %s has become active %s.", told.id, "here" if active else "on another host")
                self._known.port_is(dataclasses.replace(port, active=active))
                self._state(self._known.concerned(told.id), {port.network_id})

    # ------------------------------------------------------------------ what the programmer asks and tells

    @_never_raising
    def joined(self, plumbing: Plumbing) -> None:
        """The bridges are joined, or joined otherwise than before: all is stated anew."""
        with self._lock:
            self._known.site = OpenVSwitchSite(plumbing)
            self._state(self._known.ports, self._known.networks)

    def redirects(self, network_id: str) -> frozenset[Redirect] | None:
        """The redirects of a network, None while they are not known."""
        with self._lock:
            return self._known.redirects(network_id)

    # ------------------------------------------------------------------ within

    def _consume(self, connection: Any) -> None:
        endpoints = [resources_rpc.ResourcesPushRpcCallback()]
        # Importing the objects is what makes the agent report that it knows them.
        associations = (objects.BGPVPNNetAssociation, objects.BGPVPNRouterAssociation, objects.BGPVPNPortAssociation)
        for resource in (each.obj_name() for each in associations):
            consumers.register(self.pushed, resource)
            topic = resources_rpc.resource_type_versioned_topic(resource)
            connection.create_consumer(topic, endpoints, fanout=True)

    def _read(self, details: Mapping[str, Any]) -> Port:
        vlan = ofport = None
        if self._driver == OPEN_VSWITCH:
            vif = details.get("vif_port")
            ofport = getattr(vif, "ofport", None)
            vlan = _local_vlan(details)
        return reading.port(details, vlan=vlan, ofport=ofport, active=not self._is_only_coming(details))

    def _is_only_coming(self, details: Mapping[str, Any]) -> bool:
        """Whether a port is here for a migration whose machine still runs elsewhere."""
        if not details.get("migrating_to"):
            return False
        cache = getattr(getattr(self._agent_api, "plugin_rpc", None), "remote_resource_cache", None)
        told = cache.get_resource_by_id(resources.PORT, details["port_id"]) if cache is not None else None
        return told is not None and _runs_elsewhere(told)

    def _forget(self, port_id: str) -> None:
        with self._lock:
            siblings = self._known.concerned(port_id) - {port_id}
            port = self._known.port_gone(port_id)
            self.puller.withdraw_port(port_id)
            self.link.forget_port(port_id)
            self._awaited.discard(port_id)
            if port is not None:
                if port.network_id not in self._known.networks:
                    self.puller.withdraw_network(port.network_id)
                    self._recency.forget_network(port.network_id)
                self._state(siblings, {port.network_id})

    def _networks_pushed(
        self, given: Any, networks: Mapping[str, Any], is_end: bool, is_doubtful: bool, now: float
    ) -> None:
        """An association by network or router; ``networks`` with their subnets are those it is about."""
        touched = set(self._known.networks & networks.keys())
        ended: set[str] = set()
        if is_end:
            ended = touched if networks else set(self._known.networks_with(given.id))
        elif given.obj_name() == ROUTER_ASSOCIATION:
            ended = set(self._known.networks_with(given.id)) - networks.keys()
        for network_id in ended:
            self._recency.ended(given.id, network_id, now)
            self._known.network_disassociated(network_id, given.id)
        for network_id in touched - ended:
            if given.obj_name() == NETWORK_ASSOCIATION and self._recency.is_ended(given.id, network_id, now):
                continue
            self._recency.began(given.id, network_id)
            self._known.network_associated(network_id, reading.network_association(given), networks[network_id])
        for network_id in touched | ended:
            self.puller.pushed(network_id=network_id)
            if is_doubtful:
                self.puller.ask_network(network_id, self._recency.DOUBT)
        self._state_networks(touched | ended)

    def _port_pushed(self, given: Any, is_end: bool, is_doubtful: bool, now: float) -> None:
        network_id = self._known.port_network(given.port_id)
        if network_id is None:
            return
        if is_end:
            self._recency.ended(given.id, given.port_id, now)
            self._known.port_disassociated(given.port_id, given.id)
        elif not self._recency.is_ended(given.id, given.port_id, now):
            self._known.port_associated(reading.port_association(given), reading.subnets(given.subnets))
        self.puller.pushed(port_id=given.port_id)
        if is_doubtful:
            self.puller.ask_port(given.port_id, self._recency.DOUBT)
        self._state_networks({network_id})

    def _network_answered(self, answer: NetworkAnswer, now: float) -> None:
        network_id = answer.network_id
        held = [
            (given, subnets)
            for given, subnets in (
                *((each, reading.subnets(each.subnets)) for each in answer.networks),
                *((each, reading.connected(each).get(network_id, ())) for each in answer.routers),
            )
        ]
        believed = [each for each in held if not self._recency.is_ended(each[0].id, network_id, now)]
        if len(believed) < len(held):
            self.puller.ask_network(network_id, self._recency.MEMORY)
        subnets = next((subnets for _, subnets in believed if subnets), ())
        self._known.network_answer(network_id, [reading.network_association(each) for each, _ in believed], subnets)
        self._recency.network_answered(network_id, now)
        self._state_networks({network_id})

    def _port_answered(self, answer: PortAnswer, now: float) -> None:
        port_id = answer.port_id
        believed = [each for each in answer.associations if not self._recency.is_ended(each.id, port_id, now)]
        if len(believed) < len(answer.associations):
            self.puller.ask_port(port_id, self._recency.MEMORY)
        subnets = next((reading.subnets(each.subnets) for each in believed if each.subnets), ())
        concerned = self._known.concerned(port_id)
        self._known.port_answer(port_id, [reading.port_association(each) for each in believed], subnets)
        network_id = self._known.port_network(port_id)
        if network_id is not None:
            # An association of the port may have told of the gateways of its network.
            concerned |= self._known.concerned(port_id)
            self._state(self._known.ports_of(network_id) if subnets else concerned, {network_id})

    def _state_networks(self, networks: Iterable[str]) -> None:
        held = set(networks)
        self._state([port_id for network_id in held for port_id in self._known.ports_of(network_id)], held)

    def _state(self, ports: Iterable[str], networks: Iterable[str | None]) -> None:
        """What follows for these ports is stated, what follows for these networks will be programmed."""
        for port_id in list(ports):
            attachments = self._known.attachments(port_id)
            if attachments is not None:
                self.link.set_port(port_id, attachments)
                self._awaited.discard(port_id)
        if self.programmer is not None:
            self.programmer.changed(each for each in list(networks) if each is not None)

    def _replay(self) -> None:
        """After a start: tell when all that was on the bridge before has been stated."""
        start = time.monotonic()
        if self._bridges is not None:
            present = self._present()
            with self._lock:
                self._awaited = set(present) - {
                    port_id for port_id in present if self._known.attachments(port_id) is not None
                }
            self.link.replayed(present)
        while time.monotonic() < start + REPLAY and (self._awaited or self._bridges is None):
            time.sleep(0.5)
        if self._bridges is None:
            with self._lock:
                self.link.replayed(frozenset(self._known.ports))
        else:
            self.programmer.complete()

    def _present(self) -> frozenset[str]:
        while True:
            try:
                ports: frozenset[str] = self._bridges.present()
                return ports
            except Exception as error:  # the database comes and goes
                LOG.warning("The ports of br-int cannot be read yet: %s", error)
                time.sleep(1)


def _local_vlan(details: Mapping[str, Any]) -> int | None:
    """The VLAN that the agent has given the network on br-int."""
    from neutron.plugins.ml2.drivers.openvswitch.agent import vlanmanager  # noqa: PLC0415 - of that agent alone

    try:
        mapping = vlanmanager.LocalVlanManager().get(details["network_id"], details.get("segmentation_id"))
    except vlanmanager.MappingNotFound:
        LOG.debug("Network %s has no local VLAN.", details["network_id"])
        vlan: int | None = details.get("local_vlan")
        return vlan
    return int(mapping.vlan)


def _runs_elsewhere(port: Any) -> bool:
    """Whether a port object of Neutron's cache says that a machine is active on another host."""
    if not (port.device_owner or "").startswith(neutron_constants.DEVICE_OWNER_COMPUTE_PREFIX):
        return False
    active = _active_hosts(port)
    return bool(active) and cfg.CONF.host not in active


def _runs_here(port: Any) -> bool:
    """Whether such an object says that it is active on this host."""
    return cfg.CONF.host in _active_hosts(port)


def _active_hosts(port: Any) -> list[str]:
    return [each.host for each in port.bindings if each.status == neutron_constants.ACTIVE]


def _tell_of_daemon(is_there: bool) -> None:
    if is_there:
        LOG.info("bagpipe-bgp is there.")
    else:
        LOG.warning("bagpipe-bgp cannot be reached. What it has to be told is kept until it can.")
