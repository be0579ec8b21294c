"""The controller of the lab's cloud: MariaDB, RabbitMQ and a Neutron with the BGPVPN service plugin, all of its own.

Each program has its files below the controller's directory and listens inside the controller's namespace only, so that
a database or a broker that this machine runs for others is neither used nor in the way. Neutron does not
authenticate: whoever can reach the API is its administrator.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bagpipe.lab.hosts import Host, LabFault
from bagpipe.lab.neutron_api import ApiFault, NeutronApi
from bagpipe.lab.programs import succeeds
from bagpipe.lab.telling import wait_for

API_PORT = 9696
PROGRAMS = ("mariadbd", "mariadb", "mariadb-admin", "mariadb-install-db", "erl")
_RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")

_NEUTRON_CONF = """\
[DEFAULT]
debug = False
auth_strategy = noauth
core_plugin = ml2
service_plugins = router,bgpvpn
api_paste_config = {paste}
state_path = {directory}
transport_url = rabbit://lab:lab@{address}:5672/
rpc_workers = 1
rpc_state_report_workers = 0
notify_nova_on_port_status_changes = False
notify_nova_on_port_data_changes = False
dhcp_agent_notification = False
allow_overlapping_ips = True
global_physnet_mtu = 1600
vlan_transparent = False
use_journal = False

[agent]
root_helper = env

[database]
connection = mysql+pymysql://root@localhost/neutron?unix_socket={socket}&charset=utf8mb3
max_pool_size = 20

[oslo_concurrency]
lock_path = {directory}/lock

[oslo_messaging_notifications]
driver = noop

[oslo_policy]
enforce_scope = False
policy_file = {policy}

[quotas]
quota_network = -1
quota_subnet = -1
quota_port = -1
quota_router = -1
quota_security_group_rule = -1

[service_providers]
service_provider = BGPVPN:BaGPipe:{driver}:default
"""

# Without authentication everybody is an administrator, and nobody is a service such as Nova, which binds ports.
_POLICY = "".join(f'"{verb}_port_binding": "rule:admin_only"\n' for verb in ("create", "get", "update", "delete"))
_POLICY += '"activate_port_binding": "rule:admin_only"\n"activate": "rule:admin_only"\n'
_POLICY += '"create_port:binding:profile": "rule:admin_only"\n"update_port:binding:profile": "rule:admin_only"\n'

_ML2_CONF = """\
[ml2]
type_drivers = local,flat,vlan,vxlan
project_network_types = vxlan
mechanism_drivers = openvswitch,l2population
extension_drivers = port_security
overlay_ip_version = 4

[ml2_type_vxlan]
vni_ranges = 1000:9999

[ml2_type_vlan]
network_vlan_ranges = physnet1:100:199

[securitygroup]
enable_security_group = True
"""

_RABBITMQ_CONF = """\
loopback_users = none
listeners.tcp.1 = 0.0.0.0:5672
default_user = lab
default_pass = lab
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 50MB
"""


@dataclass(frozen=True, slots=True)
class Service:
    """Whose Neutron runs with which service driver.

    ``environment`` is the virtual environment whose Python has Neutron and the driver.
    """

    driver: str
    environment: Path

    def program(self, name: str) -> str:
        """A program of this virtual environment. Raises LabFault where it is missing."""
        return program_of(self.environment, name)


OURS = Path(sys.prefix)
REFERENCE = Path(os.environ.get("BAGPIPE_REFERENCE_AGENT_VENV", Path.cwd() / ".venv-reference-25"))
"""networking-bagpipe 25.0.0: driver and agent extension."""
_REFERENCE_DRIVERS = "networking_bgpvpn.neutron.services.service_drivers.bagpipe"
SERVICES = {
    "v2": Service("bagpipe.neutron.server.bagpipe_v2.BaGPipeBGPVPNDriver", OURS),
    "v1": Service("bagpipe.neutron.server.bagpipe.BaGPipeBGPVPNDriver", OURS),
    "reference-v2": Service(f"{_REFERENCE_DRIVERS}.bagpipe_v2.BaGPipeBGPVPNDriver", REFERENCE),
    "reference-v1": Service(f"{_REFERENCE_DRIVERS}.bagpipe.BaGPipeBGPVPNDriver", REFERENCE),
    "none": Service("networking_bgpvpn.neutron.services.service_drivers.driver_api.BGPVPNDriverRC", OURS),
}
"""The service drivers by the names that ``--driver`` takes; the first is the usual one, ``none`` tells no agent."""


def program_of(environment: Path, name: str) -> str:
    """A program of a virtual environment. Raises LabFault where it is missing."""
    program = environment / "bin" / name
    if not program.is_file():
        raise LabFault(f"{program} is missing; `make venv` and `make reference` install it")
    return str(program)


@dataclass(frozen=True, slots=True)
class Controller:
    """The host of the database, the broker and Neutron; ``address`` is where agents reach the broker."""

    host: Host
    address: str
    service: Service

    @property
    def api_socket(self) -> Path:
        """Where the API can be reached from every namespace of this machine."""
        return self.host.directory / "neutron-api.sock"

    @property
    def api(self) -> NeutronApi:
        """The API as the lab uses it."""
        return NeutronApi(self.api_socket)

    @property
    def configuration(self) -> Path:
        """The directory with ``neutron.conf`` and ``ml2_conf.ini``."""
        return self.host.directory / "neutron"

    @property
    def _database_socket(self) -> Path:
        return self.host.directory / "mariadb.sock"

    def configure(self) -> None:
        """Write what the programs read. Raises LabFault where one is missing."""
        if not _RABBITMQ.is_file():
            raise LabFault("not installed: rabbitmq-server; `make lab` installs it")
        self.service.program("neutron-rpc-server")
        self.configuration.mkdir(parents=True, exist_ok=True)
        text = _NEUTRON_CONF.format(
            paste=self.service.environment / "etc" / "neutron" / "api-paste.ini",
            directory=self.host.directory,
            address=self.address,
            socket=self._database_socket,
            driver=self.service.driver,
            policy=self.configuration / "policy.yaml",
        )
        (self.configuration / "policy.yaml").write_text(_POLICY)
        (self.configuration / "neutron.conf").write_text(text)
        (self.configuration / "ml2_conf.ini").write_text(_ML2_CONF)

    def start_broker(self) -> None:
        """Start RabbitMQ, without waiting for it."""
        directory = self.host.directory / "rabbitmq"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "rabbitmq.conf").write_text(_RABBITMQ_CONF)
        (directory / "advanced.config").write_text("[].\n")
        (directory / "enabled_plugins").write_text("[].\n")
        environment = {
            "HOME": str(directory),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": "rabbit@localhost",
            "RABBITMQ_CONF_ENV_FILE": str(directory / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(directory / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
            "RABBITMQ_LOG_BASE": str(directory / "log"),
            "RABBITMQ_PID_FILE": str(directory / "pid"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(directory / "generated"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",
        }
        self.host.start("rabbitmq", [str(_RABBITMQ)], environment)

    def start_database(self) -> None:
        """Make a database and start MariaDB, wait for it, and give it Neutron's tables. Raises LabFault."""
        data = self.host.directory / "mariadb"
        if data.exists():
            shutil.rmtree(data)
        options = ["--no-defaults", f"--datadir={data}"]
        self.host.run(
            [
                "mariadb-install-db",
                *options,
                "--user=root",
                "--skip-test-db",
                "--auth-root-authentication-method=normal",
            ],
            timeout=120,
        )
        socket = f"--socket={self._database_socket}"
        self.host.start(
            "mariadb",
            [
                *("mariadbd", *options, socket, "--user=root", "--bind-address=127.0.0.1", "--skip-name-resolve"),
                *(f"--pid-file={data}/pid", "--innodb-flush-log-at-trx-commit=0", "--skip-log-bin"),
                *("--innodb-buffer-pool-size=64M", "--max-connections=200", "--performance-schema=OFF"),
            ],
        )
        client = ["mariadb", "--no-defaults", socket, "--user=root"]
        wait_for(partial(succeeds, self.host, [*client, "--execute=SELECT 1"]), "MariaDB", 0.1)
        self.host.run([*client, "--execute=CREATE DATABASE neutron CHARACTER SET utf8mb3"])
        manage = [self.service.program("neutron-db-manage"), "--config-file", str(self.configuration / "neutron.conf")]
        told = self.host.run([*manage, "upgrade", "heads"], timeout=180)
        (self.host.directory / "neutron-db-manage.log").write_text(told)

    def start_neutron(self) -> None:
        """Start Neutron's API and its RPC server, without waiting for them. Raises LabFault."""
        files = [str(self.configuration / name) for name in ("neutron.conf", "ml2_conf.ini")]
        arguments = [word for file in files for word in ("--config-file", file)]
        self.host.start("neutron-rpc-server", [self.service.program("neutron-rpc-server"), *arguments])
        python = self.service.program("python")
        self.host.start(
            "neutron-api",
            [
                *(python, "-c", "import pyuwsgi, sys; pyuwsgi.run(sys.argv[1:])"),
                *("--http-socket", str(self.api_socket), "--http-socket", f"{self.address}:{API_PORT}"),
                *("--master", "--processes", "1", "--threads", "4", "--enable-threads", "--lazy-apps", "--need-app"),
                *("--die-on-term", "--buffer-size", "65535", "--disable-logging"),
                *("--module", "neutron.wsgi.api:application", "--pyargv", ""),
            ],
            {
                "OS_NEUTRON_CONFIG_DIR": str(self.configuration),
                "OS_NEUTRON_CONFIG_FILES": "neutron.conf;ml2_conf.ini",
            },
        )

    def broker_answers(self) -> bool:
        """Whether the broker takes connections."""
        listening = self.host.run(["ss", "-Hltn", "sport", "=", ":5672"])
        return bool(listening.strip())

    def api_answers(self) -> bool:
        """Whether the API serves the BGPVPN extension."""
        try:
            return bool(self.api.get("bgpvpn/bgpvpns") == [])
        except (ApiFault, OSError):
            return False

    def wait_for_api(self) -> None:
        """Wait until the API answers. Raises LabFault with the end of its log if it ends instead."""
        host = self.host

        def answers() -> bool:
            for name in ("neutron-api", "neutron-rpc-server", "rabbitmq", "mariadb"):
                if host.process_of(name) is None:
                    log = host.directory / f"{name}.log"
                    end = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
                    raise LabFault(f"{name} has ended; the log is {log}:\n{end}")
            return self.api_answers()

        wait_for(answers, f"Neutron's API; its log is {host.directory}/neutron-api.log", 0.2, patience=120)
