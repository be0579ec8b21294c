"""What the drivers publish on a real RabbitMQ: the pushes of today by both, the calls of before Queens by v1 alone.

Neutron, its agents and the broker are real. Each step is compared with all that was published meanwhile: exchange,
routing key, version, namespace, method, arguments, and who got it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bagpipe.lab.neutron_api import NeutronApi
from tests.neutron.server.test_objects import converted
from tests.neutron.stack.overhear import OLD_TOPIC, Message, Overheard, old_agent
from tests.neutron.stack.stack import Stack

pytestmark = pytest.mark.limit(300)
HERE, ELSEWHERE = "compute1", "compute2"
EVERYWHERE = (HERE, ELSEWHERE)
STANDARD_ATTRIBUTES = {"revision_number", "created_at", "updated_at"}
TEXTS = ("subnets", "connected_networks")
OPTIONAL = {"BGPVPN": ("local_pref", "vni"), "BGPVPNPortAssociationRoute": ("local_pref",)}
"""Fields that may be left out where they are None."""

Data = dict[str, Any]
Push = tuple[str, str, list[Data]]
"""Event, name of the objects, their data."""
Call = tuple[str, Data, tuple[str, ...]]
"""Method, its argument, hosts that are told."""


@dataclass(frozen=True, slots=True)
class Cloud:
    """A stack with one machine on the network ``red`` of compute1, which is in no VPN and has no router."""

    driver: str
    api: NeutronApi
    overheard: Overheard
    network: Data
    port: Data

    def tells(self, pushes: list[Push], calls: list[Call]) -> None:
        """Since the last time this was told, and nothing else; the calls if the driver is v1."""
        expected = [_ordered(push) for push in pushes] + [_ordered(call) for call in calls if self.driver == "v1"]
        heard = [_ordered(_read(message)) for message in self.overheard.messages(len(expected))]
        assert sorted(heard) == sorted(expected), "\n".join(["heard", *heard, "expected", *expected])

    def subnets(self, gateway_mac: str | None = None) -> list[Data]:
        """The subnets of the network as objects have them; the MAC is that of the IPv4 gateway."""
        found = [self.api.get(f"subnets/{subnet}") for subnet in self.network["subnets"]]
        return [
            {
                **{key: subnet[key] for key in ("id", "ip_version", "cidr", "gateway_ip")},
                "gateway_mac": gateway_mac if subnet["ip_version"] == 4 else None,
            }
            for subnet in found
        ]

    def bgpvpn(self, **values: object) -> Data:
        """A new BGPVPN of the network's project."""
        return self.api.post("bgpvpn/bgpvpns", project_id=self.network["project_id"], **values)

    def associate(self, bgpvpn: Data, kind: str, identifier: str, **values: object) -> tuple[str, Data]:
        """Path of a new association, and what it is."""
        path = f"bgpvpn/bgpvpns/{bgpvpn['id']}/{kind}_associations"
        values |= {f"{kind}_id": identifier, "project_id": self.network["project_id"]}
        made = self.api.post(path, **values)
        return f"{path}/{made['id']}", made

    def router(self) -> Data:
        """A new router of the network's project."""
        return self.api.post("routers", project_id=self.network["project_id"])

    def plug(self, router: Data) -> str:
        """Put a router into the network's IPv4 subnet; the MAC of its interface."""
        port = self.api.call("PUT", f"routers/{router['id']}/add_router_interface", self._four())["port_id"]
        return str(self.api.get(f"ports/{port}")["mac_address"])

    def unplug(self, router: Data) -> None:
        """Take it out."""
        self.api.call("PUT", f"routers/{router['id']}/remove_router_interface", self._four())

    def turn(self, *, up: bool) -> None:
        """Set the machine's port administratively up or down, and wait until its agent has done so."""
        path = f"ports/{self.port['id']}"
        self.api.put(path, {"admin_state_up": up}, "port")
        status = ""
        for _ in range(300):
            status = self.api.get(path)["status"]
            if status == ("ACTIVE" if up else "DOWN"):
                return
            time.sleep(0.1)
        raise AssertionError(status)

    def _four(self) -> Data:
        return {"subnet_id": next(subnet["id"] for subnet in self.subnets() if subnet["ip_version"] == 4)}


@pytest.fixture(scope="module", params=["v1", "v2"])
def running(request: pytest.FixtureRequest) -> Iterator[Cloud]:
    made = Stack(f"bagpipe-heard-{os.getpid()}")
    try:
        done = made.up("--driver", request.param)
        assert done.status == 0, f"{done.text}\n{made.logs()}"
        api = NeutronApi(Path("/run") / made.name / "controller" / "neutron-api.sock")
        (network,) = api.get("networks?name=red")
        (port,) = api.get(f"ports?network_id={network['id']}")
        assert (port["binding:host_id"], port["status"]) == (HERE, "ACTIVE")
        with Overheard(made.name, EVERYWHERE) as overheard:
            yield Cloud(request.param, api, overheard, network, port)
    finally:
        made.down()


@pytest.fixture
def cloud(running: Cloud) -> Iterator[Cloud]:
    """The cloud; what a test has made of BGPVPNs and routers is removed."""
    running.overheard.messages()
    before = {one["id"] for one in running.api.get("bgpvpn/bgpvpns")}
    yield running
    for bgpvpn in running.api.get("bgpvpn/bgpvpns"):
        if bgpvpn["id"] not in before:
            running.api.delete(f"bgpvpn/bgpvpns/{bgpvpn['id']}")
    for router in running.api.get("routers"):
        if running.api.get(f"ports?device_id={router['id']}"):
            running.unplug(router)
        running.api.delete(f"routers/{router['id']}")


def _read(message: Message) -> Push | Call:
    """What a message says, if it is published as messages of its kind are."""
    if message.method == "push":
        objects = message.args["resource_list"]
        (name,) = {one["versioned_object.name"] for one in objects}
        topic = f"neutron-vo-{name}-1.0"
        assert (message.exchange, message.key) == (f"{topic}_fanout", "")
        assert (message.version, message.namespace) == ("1.1", None)
        assert message.args.keys() == {"resource_list", "event_type"}
        # A queue for each agent.
        assert len([queue for queue in message.queues if queue.startswith(f"{topic}_fanout_")]) == len(EVERYWHERE)
        return message.args["event_type"], name, [_data(one) for one in objects]
    assert (message.version, message.namespace) == ("1.0", None)
    ((argument, value),) = message.args.items()
    hosts = tuple(host for host in EVERYWHERE if old_agent(host) in message.queues)
    if message.method in {"update_bgpvpn", "delete_bgpvpn"}:
        assert (message.exchange, message.key, argument) == (f"{OLD_TOPIC}_fanout", "", "bgpvpn")
    else:
        (host,) = hosts
        assert (message.exchange, message.key) == ("neutron", f"{OLD_TOPIC}.{host}")
        assert argument == "port_bgpvpn_info"
    return message.method, value, hosts


def _data(told: Data) -> Data:
    """The data of an object, without what every object of Neutron has; elements that travel as text are read."""
    assert (told["versioned_object.namespace"], told["versioned_object.version"]) == ("versionedobjects", "1.0")
    data = dict.fromkeys(OPTIONAL.get(told["versioned_object.name"], ())) | told["versioned_object.data"]
    data = {key: value for key, value in data.items() if key not in STANDARD_ATTRIBUTES}
    for key in TEXTS:
        if key in data:
            data[key] = [json.loads(text) for text in data[key]]
    if data.get("bgpvpn") is not None:
        assert data["bgpvpn"]["versioned_object.name"] == "BGPVPN"
        data["bgpvpn"] = _data(data["bgpvpn"])
    if "routes" in data:
        assert {route["versioned_object.name"] for route in data["routes"]} <= {"BGPVPNPortAssociationRoute"}
        data["routes"] = [_data(route) for route in data["routes"]]
        for route in data["routes"]:
            assert len(route.pop("id")) == 36
    return data


def _ordered(value: object) -> str:
    """Text that is the same for equal values, the order of lists apart."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_ordered(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return f"[{', '.join(sorted(map(_ordered, value)))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(_ordered, value))})"
    return repr(value)


def _object(bgpvpn: Data) -> Data:
    """A BGPVPN of the API as an object has it."""
    return {key: value for key, value in bgpvpn.items() if key not in {"networks", "routers", "ports", "tenant_id"}}


def _association(bgpvpn: Data, made: Data, **more: object) -> Data:
    """An association of the API as an object has it."""
    known = {key: value for key, value in made.items() if key not in {"tenant_id", "advertise_extra_routes"}}
    return {**known, "bgpvpn_id": bgpvpn["id"], "bgpvpn": _object(bgpvpn), **more}


def _on_network(cloud: Cloud, bgpvpn: Data, gateway_mac: str | None = None) -> Data:
    """What old agents are told of a BGPVPN on the network."""
    told = {"id": bgpvpn["id"], "network_id": cloud.network["id"], "gateway_mac": gateway_mac}
    return told | {f"{bgpvpn['type']}vpn": _targets(bgpvpn)}


def _targets(bgpvpn: Data) -> Data:
    both = bgpvpn["route_targets"]
    return {"import_rt": both + bgpvpn["import_targets"], "export_rt": both + bgpvpn["export_targets"]}


@pytest.mark.parametrize("values", [{"type": "l3", "local_pref": 50}, {"type": "l2", "vni": 77}], ids=["l3", "l2"])
def test_a_network_association_and_the_targets_of_its_bgpvpn_are_told_to_all(cloud: Cloud, values: Data) -> None:
    bgpvpn = cloud.bgpvpn(name="a", route_targets=["64512:900"], export_targets=["64512:901"], **values)
    cloud.tells([], [])

    path, made = cloud.associate(bgpvpn, "network", cloud.network["id"])
    association = _association(bgpvpn, made, subnets=cloud.subnets())
    update = ("update_bgpvpn", _on_network(cloud, bgpvpn), EVERYWHERE)
    cloud.tells([("created", "BGPVPNNetAssociation", [association])], [update])

    cloud.api.put(f"bgpvpn/bgpvpns/{bgpvpn['id']}", {"name": "b"}, "bgpvpn")
    cloud.tells([], [])

    changed = {"route_targets": [], "import_targets": ["64512:902"]}
    bgpvpn = cloud.api.put(f"bgpvpn/bgpvpns/{bgpvpn['id']}", changed, "bgpvpn")
    association["bgpvpn"] = _object(bgpvpn)
    told = _on_network(cloud, bgpvpn)
    assert told[f"{values['type']}vpn"] == {"import_rt": ["64512:902"], "export_rt": ["64512:901"]}
    cloud.tells([("updated", "BGPVPNNetAssociation", [association])], [("update_bgpvpn", told, EVERYWHERE)])

    cloud.api.delete(path)
    cloud.tells([("deleted", "BGPVPNNetAssociation", [association])], [("delete_bgpvpn", told, EVERYWHERE)])


def test_a_router_on_an_associated_network_is_told_as_its_gateway(cloud: Cloud) -> None:
    bgpvpn, router = cloud.bgpvpn(type="l3", route_targets=["64512:900"]), cloud.router()
    _, made = cloud.associate(bgpvpn, "network", cloud.network["id"])
    cloud.overheard.messages()

    mac = cloud.plug(router)
    association = _association(bgpvpn, made, subnets=cloud.subnets(mac))
    update = ("update_bgpvpn", _on_network(cloud, bgpvpn, mac), EVERYWHERE)
    cloud.tells([("updated", "BGPVPNNetAssociation", [association])], [update])

    cloud.unplug(router)
    association["subnets"] = cloud.subnets()
    update = ("update_bgpvpn", _on_network(cloud, bgpvpn), EVERYWHERE)
    cloud.tells([("updated", "BGPVPNNetAssociation", [association])], [update])


def test_a_router_association_is_told_with_the_networks_of_the_router(cloud: Cloud) -> None:
    bgpvpn, router = cloud.bgpvpn(type="l3", route_targets=["64512:900"]), cloud.router()
    path, made = cloud.associate(bgpvpn, "router", router["id"])
    cloud.tells([("created", "BGPVPNRouterAssociation", [_association(bgpvpn, made, connected_networks=[])])], [])

    mac = cloud.plug(router)
    connected = {"network_id": cloud.network["id"], "subnets": cloud.subnets(mac)}
    association = _association(bgpvpn, made, connected_networks=[connected])
    told = _on_network(cloud, bgpvpn, mac)
    cloud.tells([("updated", "BGPVPNRouterAssociation", [association])], [("update_bgpvpn", told, EVERYWHERE)])

    cloud.api.delete(path)
    cloud.tells([("deleted", "BGPVPNRouterAssociation", [association])], [("delete_bgpvpn", told, EVERYWHERE)])

    path, made = cloud.associate(bgpvpn, "router", router["id"])
    association["id"] = made["id"]
    cloud.tells([("created", "BGPVPNRouterAssociation", [association])], [("update_bgpvpn", told, EVERYWHERE)])

    # The association goes on, and has nothing more to do with the network.
    cloud.unplug(router)
    connected["subnets"] = cloud.subnets()
    delete = ("delete_bgpvpn", _on_network(cloud, bgpvpn), EVERYWHERE)
    cloud.tells([("deleted", "BGPVPNRouterAssociation", [association])], [delete])


def test_a_port_association_is_pushed_with_its_routes_and_old_agents_hear_nothing_of_it(cloud: Cloud) -> None:
    bgpvpn = cloud.bgpvpn(type="l3", route_targets=["64512:900"])
    leaked = cloud.bgpvpn(type="l3", route_targets=["64512:903"])
    prefix = {"type": "prefix", "prefix": "40.0.0.0/24", "local_pref": 100}
    leak = {"type": "bgpvpn", "bgpvpn_id": leaked["id"]}
    port, name = cloud.port["id"], "BGPVPNPortAssociation"

    path, made = cloud.associate(bgpvpn, "port", port, routes=[prefix, leak])
    of_association = {"port_association_id": made["id"]}
    routes = [
        {**prefix, **of_association, "bgpvpn_id": None, "bgpvpn": None},
        {**leak, **of_association, "prefix": None, "local_pref": None, "bgpvpn": _object(leaked)},
    ]
    association = _association(bgpvpn, made, subnets=cloud.subnets(), routes=routes, advertise_fixed_ips=True)
    cloud.tells([("created", name, [association])], [])

    cloud.api.put(path, {"routes": [prefix], "advertise_fixed_ips": False}, "port_association")
    association |= {"routes": routes[:1], "advertise_fixed_ips": False}
    cloud.tells([("updated", name, [association])], [])

    bgpvpn = cloud.api.put(f"bgpvpn/bgpvpns/{bgpvpn['id']}", {"route_targets": ["64512:904"]}, "bgpvpn")
    association["bgpvpn"] = _object(bgpvpn)
    cloud.tells([("updated", name, [association])], [])

    cloud.api.delete(path)
    cloud.tells([("deleted", name, [association])], [])


def test_the_end_of_a_bgpvpn_is_the_end_of_its_associations(cloud: Cloud) -> None:
    bgpvpn = cloud.bgpvpn(type="l3", route_targets=["64512:900"])
    _, by_network = cloud.associate(bgpvpn, "network", cloud.network["id"])
    _, by_port = cloud.associate(bgpvpn, "port", cloud.port["id"])
    cloud.overheard.messages()

    cloud.api.delete(f"bgpvpn/bgpvpns/{bgpvpn['id']}")
    networks = [_association(bgpvpn, by_network, subnets=cloud.subnets())]
    ports = [_association(bgpvpn, by_port, subnets=cloud.subnets())]
    cloud.tells(
        [("deleted", "BGPVPNNetAssociation", networks), ("deleted", "BGPVPNPortAssociation", ports)],
        [("delete_bgpvpn", _on_network(cloud, bgpvpn), EVERYWHERE)],
    )


def test_a_port_that_comes_or_goes_is_told_to_the_old_agent_of_its_host_alone(cloud: Cloud) -> None:
    port, network = cloud.port, cloud.network["id"]
    (four,) = (one for one in port["fixed_ips"] if ":" not in one["ip_address"])
    subnet = cloud.api.get(f"subnets/{four['subnet_id']}")
    plugged = {
        "id": port["id"],
        "network_id": network,
        "mac_address": port["mac_address"],
        "ip_address": f"{four['ip_address']}/{subnet['cidr'].partition('/')[2]}",
        "gateway_ip": subnet["gateway_ip"],
        "gateway_mac": None,
    }
    detach = ("detach_port_from_bgpvpn", {"id": port["id"], "network_id": network}, (HERE,))

    cloud.turn(up=False)
    cloud.tells([], [detach])
    cloud.turn(up=True)
    cloud.tells([], [("attach_port_on_bgpvpn", plugged, (HERE,))])

    # Of a network without a port that is up, old agents are told with the port.
    cloud.turn(up=False)
    cloud.tells([], [detach])
    bgpvpn = cloud.bgpvpn(type="l3", route_targets=["64512:900"], import_targets=["64512:901"])
    _, made = cloud.associate(bgpvpn, "network", network)
    cloud.tells([("created", "BGPVPNNetAssociation", [_association(bgpvpn, made, subnets=cloud.subnets())])], [])
    cloud.turn(up=True)
    cloud.tells([], [("attach_port_on_bgpvpn", plugged | {"l3vpn": _targets(bgpvpn)}, (HERE,))])

    values = {"project_id": cloud.network["project_id"], "binding:host_id": ELSEWHERE, "device_owner": "compute:nova"}
    other = cloud.api.post("ports", network_id=network, **values)
    cloud.api.delete(f"ports/{other['id']}")
    cloud.tells([], [("detach_port_from_bgpvpn", {"id": other["id"], "network_id": network}, (ELSEWHERE,))])


def test_networking_bagpipe_reads_what_was_pushed(cloud: Cloud) -> None:
    bgpvpn, router = cloud.bgpvpn(type="l3", route_targets=["64512:900"], local_pref=0), cloud.router()
    cloud.plug(router)
    routes = [{"type": "prefix", "prefix": "40.0.0.0/24"}, {"type": "bgpvpn", "bgpvpn_id": bgpvpn["id"]}]
    cloud.associate(bgpvpn, "port", cloud.port["id"], routes=routes)
    path, _ = cloud.associate(bgpvpn, "router", router["id"])
    cloud.api.delete(path)
    cloud.associate(bgpvpn, "network", cloud.network["id"])
    pushes = [message for message in cloud.overheard.messages() if message.method == "push"]
    pushed = [one for push in pushes for one in push.args["resource_list"]]
    assert len(pushed) == 4

    assert converted(pushed, reference=True)["primitives"] == pushed
