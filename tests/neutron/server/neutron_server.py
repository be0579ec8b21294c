"""A Neutron server in one process: the real API and plugins with one driver, SQLite, a transport that keeps messages.

It imports nothing of this project, so that any of the virtual environments can run it, with any driver.
"""

from __future__ import annotations

import copy
import json
import sys
import warnings
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")

# isort: off
from neutron.common import config as neutron_config  # noqa: E402 -- before all else of Neutron

# isort: on
from networking_bgpvpn.neutron.db import bgpvpn_db  # noqa: E402, F401 -- its tables
from neutron.api.rpc.handlers import resources_rpc  # noqa: E402
from neutron.db import agents_db  # noqa: E402
from neutron.db.migration.models import head  # noqa: E402
from neutron_lib import context as neutron_context  # noqa: E402
from neutron_lib.db import api  # noqa: E402
from neutron_lib.plugins import directory  # noqa: E402
from oslo_messaging._drivers import impl_fake  # noqa: E402
from oslo_utils import timeutils  # noqa: E402
from sqlalchemy import event  # noqa: E402
from webob import Request  # noqa: E402

HOST = "compute1"
PROJECT = "00000000000000000000000000000001"

CONFIGURATION = """
[DEFAULT]
auth_strategy = noauth
core_plugin = ml2
service_plugins = router,bgpvpn
api_paste_config = {paste}
transport_url = fake://
notify_nova_on_port_status_changes = False
notify_nova_on_port_data_changes = False
dhcp_agent_notification = False
l3_ha = False
router_distributed = False
max_l3_agents_per_router = 2
state_path = {state}
[oslo_concurrency]
lock_path = {state}
[oslo_policy]
enforce_scope = False
[database]
connection = sqlite:///{state}/neutron.sqlite
[ml2]
mechanism_drivers = openvswitch,l2population
type_drivers = local,vxlan
tenant_network_types = vxlan
extension_drivers = port_security
[ml2_type_vxlan]
vni_ranges = 1:1000
[service_providers]
service_provider = BGPVPN:BaGPipe:{driver}:default
"""


class NeutronServer:
    """The server; :attr:`messages` is what left for agents since it was last emptied."""

    def __init__(self, driver: str, state: Path) -> None:
        self.messages: list[dict[str, Any]] = []
        self.fails_to_send = False
        self.statements: list[str] = []
        self._open = 0  # transactions
        self._keep_messages()
        configuration = state / "neutron.conf"
        paste = Path(sys.prefix) / "etc" / "neutron" / "api-paste.ini"
        configuration.write_text(CONFIGURATION.format(paste=paste, state=state, driver=driver))
        neutron_config.register_common_config_options()
        neutron_config.init(["--config-file", str(configuration)])
        self._make_tables()
        self.api = neutron_config.load_paste_app("neutron")
        self.context = neutron_context.get_admin_context()
        self.core = directory.get_plugin()
        self.bgpvpn = directory.get_plugin("bgpvpn")
        self._register_agents()
        self.messages.clear()

    def _keep_messages(self) -> None:
        server, original = self, impl_fake.FakeDriver._send

        def send(self: Any, target: Any, ctxt: Any, message: Any, *more: Any, **keywords: Any) -> Any:
            if message.get("method") is not None and server.fails_to_send:
                raise RuntimeError("the message queue is away")
            if message.get("method") is not None:
                said = {
                    "topic": target.topic,
                    "fanout": bool(target.fanout),
                    "server": target.server,
                    "before the commit": server._open > 0,
                }
                body = {key: value for key, value in message.items() if key != "oslo.message"}
                server.messages.append(said | json.loads(json.dumps(copy.deepcopy(body))))
            return original(self, target, ctxt, message, *more, **keywords)

        impl_fake.FakeDriver._send = send

    def _make_tables(self) -> None:
        database = api.get_context_manager()
        database.configure(sqlite_fk=True)
        engine = database.writer.get_engine()
        head.get_metadata().create_all(engine)

        def count(step: int) -> Any:
            def counted(*_: Any) -> None:
                self._open += step

            return counted

        event.listen(engine, "begin", count(1))
        event.listen(engine, "commit", count(-1))
        event.listen(engine, "rollback", count(-1))
        event.listen(engine, "before_cursor_execute", lambda *call: self.statements.append(call[2]))

    def _register_agents(self) -> None:
        state = {
            "agent_type": "Open vSwitch agent",
            "binary": "neutron-openvswitch-agent",
            "host": HOST,
            "topic": "N/A",
            "configurations": {
                "bridge_mappings": {},
                "tunnel_types": ["vxlan"],
                "tunneling_ip": "192.0.2.1",
                "l2_population": True,
            },
            "start_flag": True,
        }
        for more in (
            {},
            {
                "agent_type": "L3 agent",
                "binary": "neutron-l3-agent",
                "topic": "l3_agent",
                "configurations": {"agent_mode": "dvr_snat", "handle_internal_only_routers": True},
            },
            {
                "agent_type": "L3 agent",
                "binary": "neutron-l3-agent",
                "topic": "l3_agent",
                "host": "compute2",
                "configurations": {"agent_mode": "dvr_snat", "handle_internal_only_routers": True},
            },
        ):
            agents_db.AgentExtRpcCallback().report_state(
                self.context, agent_state={"agent_state": state | more}, time=timeutils.utcnow().isoformat()
            )

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and answer of a call of the API."""
        request = Request.blank(f"/v2.0/{path}", method=method)
        request.environ["HTTP_X_PROJECT_ID"] = PROJECT
        request.content_type = "application/json"
        if body is not None:
            request.body = json.dumps(body).encode()
        try:
            answer = request.get_response(self.api)
        except Exception as fault:  # what a web server answers with 500
            return 500, {"fault": repr(fault)}
        return answer.status_int, json.loads(answer.body) if answer.body else None

    def make(self, path: str, resource: str, /, **values: Any) -> dict[str, Any]:
        """A new resource, as the API shows it."""
        values.setdefault("project_id", PROJECT)
        status, answer = self.request("POST", path, {resource: values})
        if status >= 300:
            raise AssertionError(f"POST {path}: {status} {answer}")
        return answer[resource]

    def change(self, path: str, resource: str, /, **values: Any) -> dict[str, Any]:
        """A changed resource, as the API shows it."""
        status, answer = self.request("PUT", path, {resource: values})
        if status >= 300:
            raise AssertionError(f"PUT {path}: {status} {answer}")
        return answer.get(resource, answer)

    def remove(self, path: str) -> None:
        """Delete a resource."""
        status, answer = self.request("DELETE", path)
        if status >= 300:
            raise AssertionError(f"DELETE {path}: {status} {answer}")

    def pull(self, resource: str, **filters: Any) -> list[dict[str, Any]]:
        """What an agent gets that pulls."""
        answer = resources_rpc.ResourcesPullRpcCallback().bulk_pull(
            neutron_context.get_admin_context(), resource_type=resource, version="1.0", filter_kwargs=filters
        )
        return json.loads(json.dumps(answer))
