"""A process that is to the extension what Neutron's Open vSwitch agent is: its real bridges, driven by a test.

Run as ``python stage.py DIRECTORY OPTIONS``: the directory of a private Open vSwitch, and a JSON object (see
:class:`Options`). It reads one JSON list per line, ``[command, argument...]``, and answers each with one JSON value. It
needs nothing but Neutron and the source of ``bagpipe``, so that it runs under any Neutron that the extension supports.

The bridges are Neutron's own classes with its own OpenFlow connection; server and daemon are played: what the server
would answer is set by the test, and what the daemon would be told is kept, unless ``has_daemon``
says that a real one is there.
"""

# ruff: noqa: PLC0415 - eventlet has to patch first, and Neutron's options have to be registered before they are read
from __future__ import annotations

import dataclasses
import json
import os
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

if "eventlet" in os.environ.get("STAGE_PATCHED", ""):
    import eventlet

    eventlet.monkey_patch()


@dataclass
class Options:
    datapath: str = "dummy"
    firewall_driver: str = "openvswitch"
    arp_responder: bool = True
    tunnels: bool = True
    distributed: bool = False
    explicitly_egress_direct: bool = False
    allowed_address_pairs: bool = False
    listen_port: int = 16633
    has_daemon: bool = False
    driver_type: str = "ovs"


class PlayedServer:
    """What Neutron's server would answer to pulls."""

    def __init__(self) -> None:
        self.objects: dict[str, list[Any]] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.failures = 0
        self.silent = threading.Event()
        self.silent.set()

    def bulk_pull(self, context: Any, resource_type: str, filter_kwargs: dict[str, Any]) -> list[Any]:
        self.asked.append((resource_type, filter_kwargs))
        self.silent.wait(30)
        if self.failures:
            self.failures -= 1
            raise RuntimeError("the server is away")
        ((key, value),) = filter_kwargs.items()
        values = value if isinstance(value, list) else [value]
        found = []
        for each in self.objects.get(resource_type, []):
            if resource_type == "BGPVPNRouterAssociation":
                held = [network["network_id"] for network in each.connected_networks]
            else:
                held = [getattr(each, key)]
            if set(held) & set(values):
                found.append(each)
        return found


class PlayedLink:
    """Keeps what the daemon would be told."""

    def __init__(self, settings: Any, on_state: Any = None) -> None:
        self.settings = settings
        self.ports: dict[str, Any] = {}
        self.calls: list[list[Any]] = []

    def start(self) -> None:
        self.calls.append(["start"])

    def set_port(self, port_id: str, attachments: Any) -> None:
        self.calls.append(["set_port", port_id, len(attachments)])
        self.ports[port_id] = attachments

    def forget_port(self, port_id: str) -> None:
        self.calls.append(["forget_port", port_id])
        self.ports.pop(port_id, None)

    def replayed(self, present: Any) -> None:
        self.calls.append(["replayed", sorted(present)])


def plain(value: Any) -> Any:
    """A value as JSON can have it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, (set, frozenset)):
        return sorted(plain(each) for each in value)
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    return value


class Stage:
    def __init__(self, directory: str, options: Options) -> None:
        self.options = options
        self.directory = directory
        self._configure()
        self.integration, self.tunnel = self._bridges()
        from neutron.plugins.ml2.drivers.openvswitch.agent import ovs_agent_extension_api as extension_api

        self.api = extension_api.OVSAgentExtensionAPI(self.integration, self.tunnel)
        self.server = PlayedServer()
        self.extension: Any = None

    def _configure(self) -> None:
        from neutron.common import config as common_config
        from neutron.conf.agent import common as agent_config
        from neutron.conf.agent import securitygroups_rpc
        from neutron.conf.plugins.ml2.drivers import ovs_conf
        from oslo_config import cfg

        common_config.register_common_config_options()
        agent_config.register_root_helper(cfg.CONF)
        ovs_conf.register_ovs_agent_opts(cfg.CONF)
        ovs_conf.register_ovs_opts(cfg.CONF)
        securitygroups_rpc.register_securitygroups_opts(cfg.CONF)
        cfg.CONF(["--config-file", "/dev/null"], project="neutron")
        from neutron.agent import ovsdb  # noqa: F401
        from neutron.conf.agent import ovs_conf as agent_ovs_conf
        from neutron.conf.agent import ovsdb_api

        agent_ovs_conf.register_ovs_agent_opts(cfg.CONF)
        ovsdb_api.register_ovsdb_api_opts(cfg.CONF)
        options = self.options
        overrides: list[tuple[str, str, Any]] = [
            ("OVS", "ovsdb_connection", f"unix:{self.directory}/db.sock"),
            ("OVS", "of_listen_port", options.listen_port),
            ("OVS", "of_connect_timeout", 10),
            ("AGENT", "root_helper", "env"),
            ("AGENT", "arp_responder", options.arp_responder),
            ("AGENT", "l2_population", True),
            ("AGENT", "enable_distributed_routing", options.distributed),
            ("AGENT", "explicitly_egress_direct", options.explicitly_egress_direct),
            ("SECURITYGROUP", "firewall_driver", options.firewall_driver),
        ]
        for group, name, value in overrides:
            cfg.CONF.set_override(name, value, group)
        cfg.CONF.set_override("host", "here")
        from bagpipe.neutron.agent import options as extension_options

        extension_options.register(cfg.CONF)
        cfg.CONF.set_override("allowed_address_pairs", options.allowed_address_pairs, "bagpipe")

    def _bridges(self) -> tuple[Any, Any]:
        from oslo_config import cfg

        integration, tunnel = self._native_bridges()
        if self.options.tunnels:
            integration.add_patch_port(cfg.CONF.OVS.int_peer_patch_port, cfg.CONF.OVS.tun_peer_patch_port)
            tunnel.add_patch_port(cfg.CONF.OVS.tun_peer_patch_port, cfg.CONF.OVS.int_peer_patch_port)
        self.set_up_neutron_flows(integration, tunnel)
        return integration, tunnel if self.options.tunnels else None

    def _native_bridges(self) -> list[Any]:
        from neutron.plugins.ml2.drivers.openvswitch.agent.openflow.native import (
            base_oskenapp,
            br_int,
            br_tun,
        )
        from neutron.plugins.ml2.drivers.openvswitch.agent.openflow.native import main as native
        from os_ken.base import app_manager
        from oslo_config import cfg

        native.init_config()
        manager = app_manager.AppManager.get_instance()
        manager.load_apps(["os_ken.controller.ofp_handler", "os_ken.app.ofctl.service"])
        manager.instantiate_apps(**manager.create_contexts())
        app = manager.instantiate(base_oskenapp.BaseNeutronAgentOSKenApp)
        app.start()
        kinds = (("br-int", br_int.OVSIntegrationBridge), ("br-tun", br_tun.OVSTunnelBridge))
        bridges = [kind(name, os_ken_app=app, datapath_type=self.options.datapath) for name, kind in kinds]
        for bridge in bridges:
            bridge.create()
            bridge.set_secure_mode()
            bridge.setup_controllers(cfg.CONF)
        return bridges

    def set_up_neutron_flows(self, integration: Any, tunnel: Any) -> None:
        """The flows that the agent installs at its start and after a restart of Open vSwitch."""
        from oslo_config import cfg

        integration.setup_default_table()
        if self.options.tunnels:
            patch = tunnel.get_port_ofport(cfg.CONF.OVS.tun_peer_patch_port)
            tunnel.setup_default_table(patch, self.options.arp_responder, self.options.distributed)

    # ------------------------------------------------------------------ commands

    def initialize(self) -> None:
        from unittest import mock

        from bagpipe.neutron.agent import extension as module

        if not self.options.has_daemon:
            module.DaemonLink = PlayedLink  # type: ignore[misc,assignment]
        module.resources_rpc.ResourcesPullRpcApi = lambda: self.server
        self.extension = module.BagpipeBgpvpnAgentExtension()
        self.extension.consume_api(self.api)
        self.connection = mock.MagicMock()
        self.extension.initialize(self.connection, self.options.driver_type)

    def topics(self) -> list[Any]:
        return [[str(call.args[0]), call.kwargs] for call in self.connection.create_consumer.mock_calls]

    def bind_network(self, network_id: str, vlan: int, network_type: str, segmentation_id: int | None) -> None:
        from neutron.plugins.ml2.drivers.openvswitch.agent import vlanmanager

        vlanmanager.LocalVlanManager().add(network_id, vlan, network_type, None, segmentation_id)

    def handle_port(self, details: dict[str, Any], ofport: int | None = None) -> float:
        from types import SimpleNamespace

        started = time.monotonic()
        self.extension.handle_port(None, {**details, "vif_port": SimpleNamespace(ofport=ofport)})
        return time.monotonic() - started

    def delete_port(self, port_id: str) -> float:
        started = time.monotonic()
        self.extension.delete_port(None, {"port_id": port_id})
        return time.monotonic() - started

    def has(self, kind: str, given: list[dict[str, Any]]) -> None:
        """What the server would answer for a type of object, from now on."""
        self.server.objects[kind] = [self._object(kind, each) for each in given]

    def push(self, kind: str, given: list[dict[str, Any]], event: str) -> None:
        self.extension.pushed(None, kind, [self._object(kind, each) for each in given], event)

    def server_fails(self, times: int) -> None:
        self.server.failures = times

    def server_is_silent(self, is_silent: bool) -> None:
        if is_silent:
            self.server.silent.clear()
        else:
            self.server.silent.set()

    def asked(self) -> list[Any]:
        return [list(each) for each in self.server.asked]

    def attachments(self, port_id: str) -> Any:
        return plain(self.extension.link.ports.get(port_id))

    def link_calls(self) -> Any:
        return self.extension.link.calls

    def link_is_settled(self, port_id: str, timeout: float) -> bool:
        return bool(self.extension.link.settled(port_id, timeout))

    def settle(self, timeout: float = 15.0) -> bool:
        """Wait until nothing is left to ask the server and to tell Open vSwitch."""
        end = time.monotonic() + timeout
        calm = 0
        while time.monotonic() < end and calm < 3:
            programmer = self.extension.programmer
            is_calm = self.extension.puller.is_idle() and (programmer is None or programmer.is_settled())
            calm = calm + 1 if is_calm else 0
            time.sleep(0.02)
        return calm >= 3

    def clean_up_flows(self) -> None:
        """What the agent does after its start: remove all flows whose cookie nobody has reserved."""
        self.integration.cleanup_flows()
        if self.tunnel is not None:
            self.tunnel.cleanup_flows()

    def complete(self) -> None:
        self.extension.programmer.complete()

    def switch_restarted(self) -> None:
        end = time.monotonic() + 20
        while True:  # the agent does nothing while the switch has not connected again
            try:
                self.set_up_neutron_flows(self.integration, self.tunnel)
                break
            except RuntimeError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)
        self.extension.handle_switch_restart()

    def port_cached(self, port_id: str, bindings: list[list[str]]) -> None:
        """Neutron's cache of ports gets news: (host, status) of each binding."""
        from types import SimpleNamespace

        port = SimpleNamespace(
            id=port_id,
            device_owner="compute:nova",
            bindings=[SimpleNamespace(host=host, status=status) for host, status in bindings],
        )
        cache = SimpleNamespace(get_resource_by_id=lambda resource, key: port if key == port_id else None)
        self.api.plugin_rpc = SimpleNamespace(remote_resource_cache=cache)
        self.extension.port_updated("Port", "after_update", None, SimpleNamespace(latest_state=port))

    def _object(self, kind: str, given: dict[str, Any]) -> Any:
        import netaddr

        from bagpipe.neutron import objects

        held = dict(given)
        if kind == "BGPVPN":
            return objects.BGPVPN(**held)
        held["bgpvpn"] = self._object("BGPVPN", held["bgpvpn"])
        if "routes" in held:
            routes = []
            for route in held["routes"]:
                said = dict(route)
                if said.get("prefix"):
                    said["prefix"] = netaddr.IPNetwork(said["prefix"])
                if said.get("bgpvpn"):
                    said["bgpvpn"] = self._object("BGPVPN", said["bgpvpn"])
                routes.append(objects.BGPVPNPortAssociationRoute(**said))
            held["routes"] = routes
        made = getattr(objects, kind)(**held)
        # By way of the wire, as it would come.
        return type(made).clean_obj_from_primitive(made.obj_to_primitive())


def main() -> None:
    stage = Stage(sys.argv[1], Options(**json.loads(sys.argv[2])))
    print(json.dumps("ready"), flush=True)
    for line in iter(sys.stdin.readline, ""):
        name, *arguments = json.loads(line)
        try:
            answer = plain(getattr(stage, name)(*arguments))
        except Exception as error:  # told to the test
            import traceback

            traceback.print_exc()
            answer = {"error": repr(error)}
        print(json.dumps(answer), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
