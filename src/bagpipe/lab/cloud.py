"""The lab's cloud: which hosts it has, how they are joined, how all of it starts, and what of it runs.

vm1     vm4       vm2     vm3                 site              machines
 └───┬───┘         └───┬───┘                    │
 compute1          compute2                   edge              Open vSwitch on each
  │    └──────────────│──┴─── fabric ──────────┴── reflector    underlay 10.98.0.0/24: MPLS, BGP
  └───────────────────┴────── controller                        management 10.97.0.0/24: RabbitMQ, API
"""

from __future__ import annotations

import json
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from bagpipe.lab.cloud_host import AGENT, PHYSICAL, CloudHost, Kinds, http_get
from bagpipe.lab.compute import PROGRAMS as SWITCH_PROGRAMS
from bagpipe.lab.compute import UNDERLAY_MTU, UPLINK, Compute
from bagpipe.lab.controller import PROGRAMS as CONTROLLER_PROGRAMS
from bagpipe.lab.controller import SERVICES, Controller
from bagpipe.lab.edge import Edge
from bagpipe.lab.hosts import STATE, Host, LabFault, join
from bagpipe.lab.l3_agent import L3_AGENT, L3_PROGRAMS
from bagpipe.lab.neutron_api import NeutronApi
from bagpipe.lab.offload import checksums_in_software
from bagpipe.lab.programs import installed
from bagpipe.lab.reflectors import REFLECTORS
from bagpipe.lab.telling import wait_for

AS = 64512
CONTROLLER, REFLECTOR, FABRIC = Host("controller"), Host("reflector"), Host("fabric")
MANAGEMENT, UNDERLAY, VLANS = "management", "underlay", "vlans"
CONTROLLER_ADDRESS = "10.97.0.1"
UNDERLAY_NETWORK = "10.98.0.0/24"
REFLECTOR_ADDRESS = "10.98.0.254"
COMPUTES = {"compute1": ("10.97.0.11", "10.98.0.11"), "compute2": ("10.97.0.12", "10.98.0.12")}
"""Addresses in the management network and in the underlay."""
EDGE = Edge(
    Compute(Host("edge"), "10.98.0.99"),
    Host("site"),
    {4: "172.16.0.10/24", 6: "2001:db8:66::10/64"},
    {4: "172.16.0.0/24", 6: "2001:db8:66::/64"},
    {4: "172.16.0.1", 6: "2001:db8:66::1"},
)
BACKBONE_TARGET = f"{AS}:66"
"""The route target of the VPN that the edge has the customer's site in."""
_FILE = STATE / "cloud.json"


@dataclass(frozen=True, slots=True)
class Choice:
    """What the lab is made of: the service driver, the reflector, and whose programs each compute host has."""

    driver: str = "v2"
    reflector: str = "ours"
    hosts: dict[str, Kinds] = field(default_factory=lambda: {name: Kinds() for name in COMPUTES})

    def write(self) -> None:
        """Keep it for later commands."""
        STATE.mkdir(parents=True, exist_ok=True)
        _FILE.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls) -> Choice:
        """That of the running lab. Raises LabFault where none runs."""
        try:
            value = json.loads(_FILE.read_text())
        except (OSError, ValueError) as error:
            raise LabFault("no cloud is up: `make lab` starts one") from error
        hosts = {name: Kinds(**kinds) for name, kinds in value["hosts"].items()}
        return cls(value["driver"], value["reflector"], hosts)


class Cloud:
    """The hosts of the cloud. Making one starts nothing."""

    def __init__(self, choice: Choice) -> None:
        self.choice = choice
        self.controller = Controller(CONTROLLER, CONTROLLER_ADDRESS, SERVICES[choice.driver])
        self.hosts = {
            name: CloudHost(Compute(Host(name), address), choice.hosts[name], CONTROLLER_ADDRESS, REFLECTOR_ADDRESS, AS)
            for name, (_, address) in COMPUTES.items()
        }

    @property
    def api(self) -> NeutronApi:
        """Neutron's API."""
        return self.controller.api

    def build(self) -> None:
        """Make hosts and networks. Raises LabFault."""
        routers = L3_PROGRAMS if any(one.kinds.distributed for one in self.hosts.values()) else ()
        installed(*SWITCH_PROGRAMS, *CONTROLLER_PROGRAMS, *routers, "gobgpd", "gobgp", "sysctl", "ss")
        self.controller.configure()
        self.choice.write()
        for host in (FABRIC, REFLECTOR, CONTROLLER, EDGE.host, *(one.host for one in self.hosts.values())):
            host.create()
        for network in (MANAGEMENT, UNDERLAY, VLANS):
            FABRIC.ip("link", "add", network, "type", "bridge")
            FABRIC.ip("link", "set", network, "up")
        self._cable(CONTROLLER, "eth0", MANAGEMENT, f"{CONTROLLER_ADDRESS}/24")
        self._cable(REFLECTOR, "eth0", UNDERLAY, f"{REFLECTOR_ADDRESS}/24")
        self._cable(EDGE.host, UPLINK, UNDERLAY)
        for name, one in self.hosts.items():
            self._cable(one.host, "eth0", MANAGEMENT, f"{COMPUTES[name][0]}/24")
            self._cable(one.host, UPLINK, UNDERLAY)
            self._cable(one.host, PHYSICAL, VLANS)

    def start(self, tell: Any = print) -> None:
        """Start every program, those that need not wait for each other at once. Raises LabFault.

        ``tell`` is called with a line when something is ready.
        """
        self.controller.start_broker()
        REFLECTORS[self.choice.reflector](REFLECTOR, REFLECTOR_ADDRESS, UNDERLAY_NETWORK, AS)
        with ThreadPoolExecutor(8, "lab") as pool:
            database = pool.submit(self.controller.start_database)
            switches = [pool.submit(self._start_host, one) for one in self.hosts.values()]
            edge = pool.submit(self._start_edge)
            database.result()
            tell("MariaDB has the tables of Neutron and networking-bgpvpn.")
            wait_for(self.controller.broker_answers, f"RabbitMQ; its log is {CONTROLLER.directory}/rabbitmq.log", 0.1)
            tell("RabbitMQ takes connections.")
            self.controller.start_neutron()
            _all([*switches, edge])
            tell("Open vSwitch, the daemons, the reflector and the edge run.")
            for one in self.hosts.values():
                one.start_agent()
            self.controller.wait_for_api()
            tell(f"Neutron's API answers, with the BGPVPN service driver {self.controller.service.driver}.")
            for one in self.hosts.values():
                wait_for(one.daemon_is_ready, f"the BGP session of {one.name}", 0.1)
            tell("The daemons have their BGP sessions with the reflector.")
            self._wait_for_agents(AGENT, list(self.hosts.values()))
            tell("Both agents have reported to Neutron.")
            # What an L3 agent asks before Neutron listens is lost, and it waits half a minute for the answer.
            if routers := [one for one in self.hosts.values() if one.kinds.distributed]:
                for one in routers:
                    one.start_router_agent()
                self._wait_for_agents(L3_AGENT, routers)
                tell("The L3 agents have reported too.")

    def _wait_for_agents(self, name: str, hosts: list[CloudHost]) -> None:
        """Wait until these agents have reported. Raises LabFault, at once where one has ended."""

        def are_alive() -> bool:
            for one in hosts:
                if one.host.process_of(name) is None:
                    raise LabFault(f"{name} of {one.name} has ended; its log is {one.host.directory}/{name}.log")
            alive = {agent["host"] for agent in self.api.get("agents") if agent["alive"] and agent["binary"] == name}
            return alive >= {one.name for one in hosts}

        wait_for(are_alive, f"the agents; their logs are {STATE}/compute*/{name}.log", 0.2, 90)

    def routes_at_reflector(self, target: str | None = None) -> list[dict[str, Any]]:
        """What our reflector holds, with a route target. Raises LabFault where the reflector is another."""
        if self.choice.reflector != "ours":
            raise LabFault(f"the reflector is {self.choice.reflector}, which is asked in its own words")
        told = http_get(REFLECTOR, f"/v2/routes?limit=10000{f'&rt={target}' if target else ''}")
        return [] if told is None else list(told["routes"])

    def _start_host(self, one: CloudHost) -> None:
        one.start_switch()
        one.start_daemon()

    def _start_edge(self) -> None:
        EDGE.switch.start_switch()
        EDGE.host.run(["sysctl", "-qw", f"net.ipv4.conf.{UPLINK}.arp_ignore=8"])
        EDGE.switch.make_bridge()
        EDGE.start(REFLECTOR_ADDRESS, AS)
        EDGE.serve(BACKBONE_TARGET)

    def _cable(self, host: Host, interface: str, network: str, address: str | None = None) -> None:
        end = f"{host.name}-{network[:1]}"
        addresses = [] if address is None else [address]
        join(host, addresses, FABRIC, [], names=(interface, end), mtu=UNDERLAY_MTU if network == UNDERLAY else 1500)
        checksums_in_software(host, interface)
        FABRIC.ip("link", "set", end, "master", network)


def running() -> Cloud:
    """The cloud that is up. Raises LabFault where none is."""
    return Cloud(Choice.read())


def _all(started: list[Future[None]]) -> None:
    for one in started:
        one.result()
