"""What the drivers tell agents, and when."""

from __future__ import annotations

import json

import pytest

from tests.neutron.server.runs import OURS, V1, V2, Steps, old_calls, pushes, steps

NET, ROUTER, PORT = "BGPVPNNetAssociation", "BGPVPNRouterAssociation", "BGPVPNPortAssociation"

pytestmark = pytest.mark.limit(500)


def story(driver: str = V2) -> Steps:
    return steps("story.py", f"{OURS}.{driver}")


def scenes() -> Steps:
    return steps("scenes.py", f"{OURS}.{V1}")


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("bgpvpn created", []),
        ("network associated", [("created", NET, ["<na1>"])]),
        ("bgpvpn gets other targets", [("updated", NET, ["<na1>", "<nae>"])]),
        ("bgpvpn is renamed", []),
        ("bgpvpn gets what it has", []),
        ("interface added to an associated network", [("updated", NET, ["<na1>", "<nal2>"])]),
        ("interface removed from an associated network", [("updated", NET, ["<na1>", "<nal2>"])]),
        ("network disassociated", [("deleted", NET, ["<na1>"])]),
        ("router without networks associated", [("created", ROUTER, ["<ra1>"])]),
        ("interface added to an associated router", [("updated", ROUTER, ["<ra1>"])]),
        ("bgpvpn of a router gets other targets", [("updated", NET, ["<nae>"]), ("updated", ROUTER, ["<ra1>"])]),
        (
            "interface removed from an associated router",
            [("deleted", ROUTER, ["<ra1>"]), ("updated", ROUTER, ["<ra1>"])],
        ),
        ("last interface removed", [("deleted", ROUTER, ["<ra1>"])]),
        ("router disassociated", [("deleted", ROUTER, ["<ra1>"])]),
        ("bgpvpn of a router is deleted", [("deleted", ROUTER, ["<ra2>"])]),
        ("port associated", [("created", PORT, ["<pa1>"])]),
        ("port association gets fewer routes", [("updated", PORT, ["<pa1>"])]),
        ("port association gets what it has", []),
        ("port association without fixed addresses", [("updated", PORT, ["<pa1>"])]),
        ("bgpvpn of a port gets other targets", [("updated", PORT, ["<pa1>"])]),
        ("leaked bgpvpn gets other targets", [("updated", PORT, ["<pa1>"])]),
        ("leaked bgpvpn is deleted", [("updated", PORT, ["<pa1>"])]),
        ("port disassociated", [("deleted", PORT, ["<pa2>"])]),
        ("bgpvpn of a port is deleted", [("deleted", PORT, ["<pa1>"])]),
    ],
)
def test_objects_are_pushed_when_something_changes_for_agents(
    step: str, expected: list[tuple[str, str, list[str]]]
) -> None:
    assert pushes(story(), step) == expected


def test_a_push_has_the_topic_the_version_and_the_shape_of_networking_bagpipe() -> None:
    (message,) = story()["network associated"]["sent"]
    assert (message["topic"], message["fanout"], message["version"]) == (f"neutron-vo-{NET}-1.0", True, "1.1")
    (told,) = message["args"]["resource_list"]
    assert {key: told[key] for key in told if key != "versioned_object.data"} == {
        "versioned_object.name": NET,
        "versioned_object.namespace": "versionedobjects",
        "versioned_object.version": "1.0",
    }
    data = told["versioned_object.data"]
    assert data["bgpvpn"]["versioned_object.data"]["export_targets"] == ["64512:2"]
    (subnet,) = data["subnets"]
    assert isinstance(subnet, str)
    assert json.loads(subnet) == {
        "ip_version": 4,
        "id": "<sub1>",
        "cidr": "10.0.0.0/24",
        "gateway_ip": "10.0.0.1",
        "gateway_mac": None,
    }


@pytest.mark.parametrize(
    "step", ["external network associated", "port on an external network associated", "port of DHCP associated"]
)
@pytest.mark.parametrize("driver", [V1, V2])
def test_what_gets_no_connectivity_is_refused_with_400_and_told_to_nobody(driver: str, step: str) -> None:
    assert story(driver)[step] == {"status": 400, "sent": []}


def test_route_distinguishers_are_accepted_and_told() -> None:
    assert story()["bgpvpn with route distinguishers created"]["status"] == 200
    (told,) = scenes()["route distinguisher set"]["sent"][0]["args"]["resource_list"]
    assert told["versioned_object.data"]["bgpvpn"]["versioned_object.data"]["route_distinguishers"] == ["64512:555"]


def test_an_extra_route_is_a_prefix_route_of_the_port_that_is_its_next_hop() -> None:
    (message,) = story()["extra route to a machine"]["sent"]
    (told,) = message["args"]["resource_list"]
    data = told["versioned_object.data"]
    assert (message["args"]["event_type"], data["port_id"], data["advertise_fixed_ips"]) == (
        "created",
        "<port1>",
        False,
    )
    assert [route["versioned_object.data"]["prefix"] for route in data["routes"]] == ["40.0.0.0/24"]
    assert story()["pull of the next hop"]["sent"] == [told]


@pytest.mark.parametrize(
    ("step", "event"),
    [
        ("another extra route to it", "updated"),
        ("extra route to nobody", "updated"),
        ("extra routes no longer advertised", "deleted"),
        ("extra routes advertised again", "created"),
        ("extra route removed by the call for it", "deleted"),
    ],
)
def test_extra_routes_follow_router_and_association(step: str, event: str) -> None:
    assert [(what, resource) for what, resource, _ in pushes(story(), step)] == [(event, PORT)]


def test_advertise_extra_routes_is_kept_as_it_was_asked_for_at_creation() -> None:
    (association,) = story()["association without its extra routes"]["sent"]
    assert association["router_association"]["advertise_extra_routes"] is False


@pytest.mark.parametrize("kind", ["distributed", "ha"])
def test_interfaces_of_distributed_and_highly_available_routers_count(kind: str) -> None:
    played = scenes()
    assert pushes(played, f"interface of a {kind} router added") == [("updated", ROUTER, [f"<ra {kind}>"])]
    (pulled,) = played[f"pull of a network behind a {kind} router"]["sent"]
    assert pulled["versioned_object.data"]["id"] == f"<ra {kind}>"
    assert pushes(played, f"interface of a {kind} router removed") == [("deleted", ROUTER, [f"<ra {kind}>"])]


def test_a_network_that_becomes_external_loses_its_associations_until_it_is_internal_again() -> None:
    played = scenes()
    both = [(NET, ["<na moody>"]), (PORT, ["<pa moody>"])]
    assert pushes(played, "network becomes external") == [("deleted", *one) for one in both]
    assert played["pull of an external network"]["sent"] == []
    assert played["pull of a port on an external network"]["sent"] == []
    assert pushes(played, "bgpvpn of an external network gets other targets") == []
    assert pushes(played, "network becomes internal") == [("created", *one) for one in both]


def test_the_same_targets_in_another_order_are_not_told() -> None:
    assert pushes(scenes(), "two targets") == [("updated", NET, ["<na plain>"])]
    assert scenes()["two targets in another order"]["sent"] == []


def test_what_is_rolled_back_is_not_told() -> None:
    assert scenes()["disassociation that is rolled back"] == {"status": 500, "sent": []}
    assert len(scenes()["pull after the rollback"]["sent"]) == 1


def test_a_message_queue_that_is_away_fails_no_call_and_agents_find_the_truth_when_they_ask() -> None:
    assert scenes()["association without a message queue"]["status"] == 200
    found = {one["versioned_object.data"]["id"] for one in scenes()["pull once it is back"]["sent"]}
    assert found == {"<na plain>", "<na away>"}


def test_a_pull_costs_the_same_number_of_queries_however_much_it_finds() -> None:
    (costs,) = scenes()["costs"]["sent"]
    for resource, measured in costs.items():
        (few, queries_for_few), (many, queries_for_many) = measured[0], measured[-1]
        assert many == few + 9, resource
        assert queries_for_many <= queries_for_few, resource


def test_old_agents_are_told_of_ports_that_come_and_go() -> None:
    told = story(V1)
    assert old_calls(told, "port becomes active") == [
        (
            "attach_port_on_bgpvpn",
            {
                "id": "<port1>",
                "network_id": "<net1>",
                "mac_address": "<port1 mac>",
                "ip_address": "10.0.0.11/24",
                "gateway_ip": "10.0.0.1",
                "gateway_mac": None,
            },
        )
    ]
    (message,) = told["port becomes active"]["sent"]
    assert (message["topic"], message["server"], message["fanout"], message["version"]) == (
        "q-agent-notifier-bagpipe-bgpvpn-update",
        "compute1",
        False,
        "1.0",
    )
    detached = [("detach_port_from_bgpvpn", {"id": "<port3>", "network_id": "<net1>"})]
    assert old_calls(told, "port of an associated network goes down") == detached
    assert old_calls(told, "port of an associated network is deleted") == detached
    ((_, attached),) = old_calls(told, "port of an associated network becomes active")
    assert attached["l3vpn"] == {"import_rt": ["64512:1"], "export_rt": ["64512:1", "64512:2"]}
    assert attached["l2vpn"] == {"import_rt": ["64512:30"], "export_rt": ["64512:30"]}
    for step in ("port stays active", "port is renamed", "port created"):
        assert told[step]["sent"] == [], step
    for step in ("port of DHCP becomes active", "port on an external network becomes active"):
        assert told[step]["sent"] == [], step


@pytest.mark.parametrize(
    ("step", "methods"),
    [
        ("network associated", ["update_bgpvpn"]),
        ("empty network associated", []),
        ("bgpvpn gets other targets", ["update_bgpvpn"]),
        ("bgpvpn is renamed", []),
        ("network disassociated", ["delete_bgpvpn"]),
        ("interface added to an associated router", ["update_bgpvpn"]),
        ("interface removed from an associated router", ["delete_bgpvpn"]),
        ("router associated", ["update_bgpvpn"]),
        ("router disassociated", ["delete_bgpvpn"]),
        ("bgpvpn of a router is deleted", ["delete_bgpvpn"]),
    ],
)
def test_old_agents_are_told_of_networks_that_come_to_a_bgpvpn_and_leave_it(step: str, methods: list[str]) -> None:
    assert [method for method, _ in old_calls(story(V1), step)] == methods
    assert old_calls(story(V2), step) == []


def test_old_agents_hear_of_the_gateway_among_two_routers_and_of_the_ipv4_address_alone() -> None:
    ((method, told),) = old_calls(scenes(), "port of two families becomes active")
    assert (method, told["ip_address"], told["gateway_mac"]) == (
        "attach_port_on_bgpvpn",
        "10.3.0.11/24",
        "<gateway mac>",
    )
    assert scenes()["port of IPv6 alone becomes active"]["sent"] == []
