"""Attaching by v1 and v2 to a daemon that runs, with the dummy dataplane: what agents may rely on."""

from __future__ import annotations

import http.client
import json
import random
import re
import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.system.attaching import (
    Node,
    body,
    body_v2,
    detachment,
    empty_node,  # noqa: F401 - the fixture ``node``
    shared_node,  # noqa: F401 - the fixture ``shared``
)
from tests.system.running import get

ACCEPTABLE = {200, 400, 404}


# ---------------------------------------------------------------------- v1


def test_an_attach_is_answered_with_null_when_it_is_in_effect_and_announced(node: Node) -> None:
    assert node.attach(body()) == (200, None)
    assert [one["state"] for one in node.call("GET", "/v2/attachments")[1]["attachments"]] == ["in-effect"]
    routes = node.call("GET", "/v2/routes?family=vpnv4")[1]["routes"]
    assert [route["route_targets"] for route in routes] == [["64512:1"]]
    assert node.attach(body()) == (200, None)
    assert node.detach(detachment(body())) == (200, None)
    assert node.call("GET", "/v2/instances")[1] == {"instances": []}


def test_the_calls_have_the_methods_and_answers_of_the_reference(node: Node) -> None:
    for path in ("/attach_localport", "/detach_localport"):
        assert node.call("GET", path) == (200, {})
        for method in ("PUT", "DELETE"):
            status, told = node.call(method, path)
            assert (status, told["code"], told["title"]) == (405, 405, "Method Not Allowed")


WITHOUT = object()
# the flaw; what it changes in the body; the field and the beginning of the text after "API error: "
FLAWS: dict[str, tuple[dict[str, Any], str, str]] = {
    "no vpn_type": ({"vpn_type": WITHOUT}, "vpn_type", "missing instance_type"),
    "unknown vpn_type": ({"vpn_type": "foo"}, "vpn_type", "unknown vpn_type: foo"),
    "missing key": ({"vpn_instance_id": WITHOUT}, "vpn_instance_id", "Missing parameter: 'vpn_instance_id'"),
    "bad MAC": ({"mac_address": "zz"}, "mac_address", "MAC address zz is not valid"),
    "bad IP": ({"ip_address": "10.0.0.2/40"}, "ip_address", "IP address 10.0.0.2/40 is not valid"),
    "direction of the driver": ({"direction": "to-port"}, "direction", "Unsupported direction: to-port"),
    "unknown direction": ({"direction": "up"}, "direction", "direction should be one of: both, to-port, from-port"),
    "same MAC, other port": ({"local_port": "elsewhere"}, "local_port", "Port information is not consistent"),
    "same IP, other MAC": (
        {"mac_address": "fa:16:3e:99:99:99", "local_port": "x"}, "ip_address", "Inconsistent endpoint info",
    ),
    "malformed RT": ({"import_rt": "64512"}, "import_rt", "import_rt: '64512'"),
    "EVPN on the id of an IP VPN": ({"vpn_type": "evpn"}, "vpn_type", "vpn_type"),
    "invalid gateway": ({"gateway_ip": "nowhere"}, "gateway_ip", "gateway_ip: 'nowhere'"),
    "chained without EVPN": ({"local_port": {"evpn": {"id": "x"}}}, "local_port.evpn.id", "local_port.evpn.id: 'x'"),
    "attract without destinations": (
        {"attract_traffic": {"redirect_rts": ["64512:7"], "classifier": {}, "to_rt": ["64512:8"]}},
        "attract_traffic.static_destination_prefixes",
        "'attract_traffic/to_rt' specified without 'static_destination_prefixes'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_flaw_is_answered_with_400_field_and_value_and_changes_nothing(node: Node, flaw: str) -> None:
    change, field, text = FLAWS[flaw]
    node.attach(body())
    before = node.everything()

    wrong = {name: value for name, value in {**body(), **change}.items() if value is not WITHOUT}
    status, told = node.attach(wrong)

    assert (status, told["code"], told["title"], told["field"]) == (400, 400, "Bad Request", field)
    assert told["description"].startswith(f"API error: {text}")
    assert "value" in told
    assert node.everything() == before


def test_a_flaw_on_an_empty_node_leaves_no_instance_behind(node: Node) -> None:
    for change, _, _ in FLAWS.values():
        wrong = {name: value for name, value in {**body(), **change}.items() if value is not WITHOUT}
        if change.get("local_port") in ("elsewhere", "x") or change.get("vpn_type") == "evpn":
            continue  # nothing is wrong with it where nothing else is attached
        assert node.attach(wrong)[0] == 400
    assert node.call("GET", "/v2/routes")[1] == {"routes": []}
    assert node.call("GET", "/v2/instances")[1] == {"instances": []}


def test_route_targets_of_all_three_kinds_are_taken(node: Node) -> None:
    kinds = ["64512:1", "192.0.2.1:7", "4200000000:9"]
    assert node.attach(body(import_rt=kinds, export_rt=",".join(kinds))) == (200, None)
    targets = node.call("GET", "/looking-glass/vpns/instances/net1")[1]["route_targets"]
    assert sorted(targets["import"]) == sorted(targets["export"]) == sorted(f"target:{kind}" for kind in kinds)


def test_detaching_what_is_not_attached_is_400_and_changes_nothing(node: Node) -> None:
    node.attach(body())
    before = node.everything()
    status, told = node.detach(detachment(body(instance="nope")))
    assert (status, told["description"]) == (400, "API error: VPN nope could not be found")
    status, told = node.detach(detachment(body(), ip_address="10.0.0.77"))
    assert status == 400
    assert "is not plugged" in told["description"]
    assert node.everything() == before
    # a chained port is not there, yet the endpoint that is meant is known: it goes, and nothing stays behind
    assert node.detach(detachment(body(), local_port={"evpn": {"id": "gone"}})) == (200, None)
    assert node.call("GET", "/v2/instances")[1] == {"instances": []}


@pytest.mark.parametrize(
    "text",
    [b"", b"{}", b"no json", b"[]", b"5", b'"x"', b"true", b"null", b"[" * 50_000, b'{"a":' * 500 + b"1" + b"}" * 500,
     b'{"vpn_type": NaN}', b'{"description": 1e999}', b'{"description": "\\ud800"}', b"\xff\xfe\x00"],
)  # fmt: skip
def test_a_body_that_is_no_object_is_400(node: Node, text: bytes) -> None:
    for path in ("/attach_localport", "/detach_localport"):
        status, told = node.raw("POST", path, text)
        assert status == 400
        assert told["description"].startswith("API error: ")


def test_a_body_that_is_too_large_is_refused(node: Node) -> None:
    large = {"description": "x" * (1 << 20)}
    for method, path in (("POST", "/attach_localport"), ("PUT", "/v2/attachments/a")):
        status, told = node.call(method, path, {**body(), **large})
        assert status == 413
        assert "octets" in told["description"]
        node.connection = None
    assert get(node.port, "/ping")[0] == 200


# ---------------------------------------------------------------------- v2


def test_an_attachment_is_put_shown_and_deleted(node: Node) -> None:
    status, told = node.call("PUT", "/v2/attachments/port-1", body_v2(owner="agent", description={"vm": 1}))
    assert (status, told["state"], told["reason"], told["instance"], told["owner"]) == (
        200, "in-effect", None, "net1", "agent",
    )  # fmt: skip
    assert [one["ip"] for one in told["endpoints"]] == ["10.1.0.2/24", "2001:db8::2/128"]
    assert all(isinstance(one["label"], int) for one in told["endpoints"])
    assert node.call("GET", "/v2/attachments/port-1") == (200, told)
    assert told["stated"]["description"] == {"vm": 1}
    families = [route["family"] for route in node.call("GET", "/v2/routes")[1]["routes"]]
    assert families == ["rtc", "vpnv4", "vpnv6"]
    assert node.call("DELETE", "/v2/attachments/port-1") == (
        200, {"id": "port-1", "state": "removed", "reason": None},
    )  # fmt: skip
    assert node.call("DELETE", "/v2/attachments/port-1")[0] == 404
    assert node.call("GET", "/v2/attachments/port-1")[0] == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"colour": "red"}, "colour"),
        ({"mac": "zz"}, "mac"),
        ({"mac": 7}, "mac"),
        ({"local_pref": "100"}, "local_pref"),
        ({"instance": {"id": "a", "import_rts": ["x"]}}, "instance.import_rts"),
        ({"instance": {"id": "a", "gateway": 5}}, "instance.gateway"),
        ({"instance": {}}, "instance.id"),
        ({"port": {"name": "a", "vlan": 5000}}, "port.vlan"),
        ({"addresses": []}, "addresses"),
        ({"addresses": ["10.0.0.0/99"]}, "addresses"),
        ({"direction": "up"}, "direction"),
    ],
)
def test_a_flaw_in_v2_is_400_with_the_path_of_the_field(node: Node, change: dict[str, Any], field: str) -> None:
    status, told = node.call("PUT", "/v2/attachments/port-1", {**body_v2(), **change})
    assert (status, told["field"]) == (400, field)
    assert node.call("GET", "/v2/attachments")[1] == {"attachments": []}


def test_an_owners_list_replaces_what_it_holds_all_or_nothing(node: Node) -> None:
    path = "/v2/owners/agent/attachments"
    both = {"attachments": {"a": body_v2(2), "b": body_v2(3)}}
    status, told = node.call("PUT", path, both)
    assert (status, {name: one["state"] for name, one in told["attachments"].items()}) == (
        200, {"a": "in-effect", "b": "in-effect"},
    )  # fmt: skip
    node.attach(body(9))
    before = node.everything()

    wrong = {"attachments": {"b": body_v2(3), "c": {**body_v2(4), "mac": "zz"}}}
    status, told = node.call("PUT", path, wrong)
    assert (status, told["field"], told["value"]) == (400, "attachments.c.mac", "zz")
    wrong = {"attachments": {"b": body_v2(3), "c": body_v2(4, addresses=["10.0.0.9"])}}
    status, told = node.call("PUT", path, wrong)
    assert status == 400
    assert told["field"].startswith("attachments.c.")
    assert node.call("PUT", path, {"attachments": {"b": {**body_v2(3), "owner": "other"}}})[1]["field"] == (
        "attachments.b.owner"
    )
    assert node.everything() == before

    status, told = node.call("PUT", path, {"attachments": {"b": body_v2(3, local_pref=7), "c": body_v2(4)}})
    assert (status, set(told["attachments"])) == (200, {"b", "c"})
    assert {one["id"] for one in node.call("GET", "/v2/attachments?owner=agent")[1]["attachments"]} == {"b", "c"}
    assert node.call("GET", path)[1] == told
    assert len(node.call("GET", "/v2/attachments")[1]["attachments"]) == 3


def test_a_change_of_an_owners_list_names_only_what_changes(node: Node) -> None:
    path = "/v2/owners/agent/attachments"
    node.call("PUT", path, {"attachments": {"a": body_v2(2), "b": body_v2(3)}})
    before = node.everything()
    status, told = node.call("PATCH", path, {"attachments": {"a": None, "c": {**body_v2(4), "mac": "zz"}}})
    assert (status, told["field"], told["value"]) == (400, "attachments.c.mac", "zz")
    status, told = node.call("PATCH", path, {"attachments": {"a": None, "c": {**body_v2(4), "colour": 1}}})
    assert (status, told["field"]) == (400, "attachments.c.colour")
    assert node.everything() == before

    status, told = node.call("PATCH", path, {"attachments": {"a": None, "c": body_v2(4), "never there": None}})
    assert status == 200
    assert {name: one and one["state"] for name, one in told["attachments"].items()} == {
        "a": None, "c": "in-effect", "never there": None,
    }  # fmt: skip
    assert set(node.call("GET", path)[1]["attachments"]) == {"b", "c"}
    assert node.journal == 2


def test_the_description_for_programs_has_every_path(node: Node) -> None:
    paths = node.call("GET", "/v2/openapi.json")[1]["paths"]
    assert {"put", "get", "delete"} <= set(paths["/v2/attachments/{name}"])
    assert set(paths["/v2/owners/{owner}/attachments"]) == {"get", "put", "patch"}
    for path in ("/v2/instances", "/v2/routes", "/v2/peers", "/v2/health", "/v2/explain", "/v2/audit", "/v2/events"):
        assert "get" in paths[path]
    assert "post" in paths["/attach_localport"]


def test_the_description_for_people_is_one_page_that_needs_no_network(node: Node) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=10)
    connection.request("GET", "/v2")
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    assert response.headers["Content-Type"].startswith("text/html")
    assert "<code>/v2/attachments/{name}</code>" in text
    assert "<h2>AttachmentBody</h2>" in text
    assert "http://" not in text
    assert "https://" not in text


def test_explain_says_what_becomes_of_packets_and_what_is_missing(node: Node) -> None:
    node.attach(body(2))
    told = node.call("GET", "/v2/explain?instance=net1&destination=10.0.0.2")[1]
    assert (told["prefix"], told["programmed"]["state"]) == ("10.0.0.2/32", "in-effect")
    assert [one["used"] for one in told["candidates"]] == [True]
    assert told["missing"] == ["the dummy dataplane forwards nothing"]
    told = node.call("GET", "/v2/explain?instance=net1&destination=192.0.2.1")[1]
    assert told["prefix"] is None
    assert told["missing"] == ["no route covers 192.0.2.1"]
    assert node.call("GET", "/v2/explain?instance=nope&destination=10.0.0.2")[0] == 404
    status, told = node.call("GET", "/v2/explain?instance=net1&destination=nowhere")
    assert (status, told["field"], told["value"]) == (400, "destination", "nowhere")
    assert node.call("GET", "/v2/audit")[1] == {"desired": 3, "differences": [], "foreign": []}


def test_health_and_metrics_tell_of_the_dataplane(node: Node) -> None:
    node.attach(body(2))
    dataplane = node.call("GET", "/v2/health")[1]["dataplane"]
    assert (dataplane["driver"], dataplane["state"], dataplane["refused"]) == ("dummy", "connected", [])
    assert dataplane["records"] == {"desired": 3, "pending": 0, "in_flight": 0, "refused": 0}
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    for line in ('bagpipe_vpn_instances{type="ipvpn"} 1.0', 'bagpipe_vpn_endpoints{type="ipvpn"} 1.0',
                 'bagpipe_vpn_instances{type="evpn"} 0.0', 'bagpipe_dataplane_connected{type="evpn"} 1.0',
                 'bagpipe_dataplane_connected{type="ipvpn"} 1.0', 'bagpipe_dataplane_retries_total{type="ipvpn"} 0.0',
                 'bagpipe_dataplane_records{state="desired",type="ipvpn"} 3.0'):  # fmt: skip
        assert f"\n{line}\n" in text
    assert re.search(r'bagpipe_dataplane_apply_seconds_bucket\{le="\+Inf",type="ipvpn"\} [1-9]', text)


def test_the_looking_glass_has_the_tree_of_the_reference(node: Node) -> None:
    node.attach(body(2, instance_description="a network", description="a port"))
    assert node.call("GET", "/looking-glass/summary/vpn_instances_count") == (200, 1)
    vpns = node.call("GET", "/looking-glass/vpns")[1]
    assert set(vpns) == {"instances", "dataplane", "instances_per_vni"}
    (entry,) = vpns["instances"]
    assert (entry["id"], entry["description"]) == ("net1", "a network")
    path = entry["href"].partition(str(node.port))[2]
    instance = node.call("GET", path)[1]
    assert {
        "name", "internals", "instance_type", "external_instance_id", "description", "dataplane", "route_targets",
        "gateway_ip", "subnet_prefix_length", "instance_dataplane_id", "ports", "readvertise", "attract_traffic",
        "fallback", "received_routes", "best_routes", "adv_routes", "readvertised", "logs",
    } <= set(instance)  # fmt: skip
    for name in ("ports", "received_routes", "best_routes", "adv_routes", "readvertised", "dataplane"):
        assert instance[name]["href"].endswith(f"/net1/{name}")
        assert node.call("GET", f"{path}/{name}")[0] == 200
    (endpoint,) = node.call("GET", f"{path}/ports")[1]["tap-net1-2"]["endpoints"]
    assert {"label", "mac_address", "ip_address", "local_pref", "rd", "description", "direction"} <= set(endpoint)
    assert node.call("GET", f"{path}/dataplane")[1] == {"records": 3, "not_in_effect": {}}
    assert instance["name"] in [worker["id"] for worker in node.call("GET", "/looking-glass/bgp")[1]["workers"]]


def test_an_agent_that_watches_hears_which_process_it_is_and_what_becomes_of_its_ports(node: Node) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=10)
    connection.request("GET", "/v2/events")
    response = connection.getresponse()

    def event() -> tuple[str, Any]:
        kind = response.readline().decode().removeprefix("event: ").strip()
        value = json.loads(response.readline().removeprefix(b"data: "))
        response.readline()
        return kind, value

    kind, hello = event()
    assert (kind, hello["process"]) == ("hello", node.call("GET", "/ping")[1])
    node.call("PUT", "/v2/attachments/port-1", body_v2(owner="agent"))
    while kind != "attachment":
        kind, told = event()
    assert told == {"id": "port-1", "owner": "agent", "state": "in-effect", "reason": None}
    connection.close()


# ---------------------------------------------------------------------- whatever comes

_scalar = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(st.characters(codec=None, exclude_categories=()), max_size=20),
    st.sampled_from(
        ["10.0.0.2", "::1", "fa:16:3e:00:00:07", "64512:1", "net1", "ipvpn", "evpn", "both", "tap1", "80:90"]
    ),
)
_json = st.recursive(
    _scalar, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
_V1 = body(7, readvertise={"from_rt": [], "to_rt": []}, attract_traffic=None, fallback=None, direction="both",
           local_pref=100, lb_consistent_hash_order=0, advertise_subnet=False, description="")  # fmt: skip
_V2 = body_v2(8, owner="", gateways=[], direction="both", advertise_subnet=False, local_pref=100, order=0)


_targets = st.lists(st.sampled_from(["64512:1", "64512:2", "192.0.2.1:7", "target:4200000000:1", "no"]), max_size=3)
_LIKELY: dict[str, st.SearchStrategy[Any]] = {
    "description": _json,
    "local_pref": st.sampled_from([0, 100, 2**32 - 1, 2**32, "7", None]),
    "import_rt": _targets | _targets.map(",".join),
    "export_rt": _targets,
    "ip_address": st.sampled_from(["10.0.0.7", "10.0.0.7/24", "2001:db8::7", "0.0.0.0/0", "10.0.0.300"]),
    "addresses": st.lists(st.sampled_from(["10.1.0.8", "2001:db8::8/64", "10.1.0.8/24", "x"]), max_size=3),
    "mac_address": st.sampled_from(["fa163e000007", "fa-16-3e-00-00-07", "fa16.3e00.0007", "fa:16"]),
    "readvertise": st.fixed_dictionaries({"from_rt": _targets, "to_rt": _targets}) | st.none(),
    "direction": st.sampled_from(["both", "to-port", "from-port", None]),
    "vpn_type": st.sampled_from(["ipvpn", "evpn"]),
}


def _mutated(base: dict[str, Any]) -> st.SearchStrategy[Any]:
    changed = st.dictionaries(st.sampled_from(sorted(base)), _json, max_size=3).map(lambda new: {**base, **new})
    likely = st.fixed_dictionaries({}, optional=_LIKELY).map(
        lambda new: {**base, **{name: value for name, value in new.items() if name in base}}
    )
    return st.one_of(changed, likely, likely, _json)


_request = st.one_of(
    st.tuples(st.just("POST"), st.just("/attach_localport"), _mutated(_V1)),
    st.tuples(st.just("POST"), st.just("/detach_localport"), _mutated(detachment(_V1))),
    st.tuples(st.just("PUT"), st.just("/v2/attachments/port"), _mutated(_V2)),
    st.tuples(
        st.just("PUT"),
        st.just("/v2/owners/agent/attachments"),
        st.one_of(_json, _mutated(_V2).map(lambda one: {"attachments": {"a": one, "b": _V2}})),
    ),
)


def test_three_hundred_random_bodies_never_give_500(node: Node) -> None:
    seen: dict[int, int] = {}

    @settings(max_examples=300, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @example(("POST", "/attach_localport", {**_V1, "mac_address": "\ud800"}))
    @example(("PUT", "/v2/attachments/port", {**_V2, "description": float("inf")}))
    @example(("PUT", "/v2/attachments/port", {**_V2, "mac": "\ud800"}))
    @given(_request)
    def whatever(request: tuple[str, str, Any]) -> None:
        method, path, value = request
        status, told = node.call(method, path, value)
        assert status in ACCEPTABLE, (request, told)
        if status != 200:
            assert told["description"]
        seen[status] = seen.get(status, 0) + 1

    whatever()
    assert sum(seen.values()) >= 300
    assert seen[200] > 10
    assert seen[400] > 100
    assert node.call("GET", "/v2/audit")[1]["differences"] == []


def test_five_hundred_attaches_and_detaches_leave_nothing_behind(node: Node) -> None:
    bodies = [
        body(number, f"net{number % 20}", ip_address=f"10.0.{number >> 8}.{number & 255}") for number in range(500)
    ]
    before = node.everything()
    for one in bodies:
        assert node.attach(one) == (200, None)
    assert len(node.labels()) == 500
    assert node.journal == 500
    random.Random(7).shuffle(bodies)
    for one in bodies:
        assert node.detach(detachment(one)) == (200, None)

    assert node.everything() == before
    assert node.call("GET", "/v2/health")[1]["dataplane"]["records"] == {
        "desired": 0, "pending": 0, "in_flight": 0, "refused": 0,
    }  # fmt: skip
    assert node.journal == 0


def test_agents_that_attach_and_detach_at_the_same_time_are_all_served(node: Node) -> None:
    failures: list[object] = []

    def agent(number: int) -> None:
        mine = Node.__new__(Node)
        mine.port, mine.connection, mine.used = node.port, None, 0.0
        for step in range(20):
            one = body(number * 32 + step, f"net{step % 3}")
            for answer in (mine.attach(one), mine.attach(one), mine.detach(detachment(one))):
                if answer != (200, None):
                    failures.append(answer)

    agents = [threading.Thread(target=agent, args=(number,)) for number in range(8)]
    for thread in agents:
        thread.start()
    for thread in agents:
        thread.join()

    assert failures == []
    assert node.call("GET", "/v2/routes")[1] == {"routes": []}
    assert node.call("GET", "/v2/audit")[1] == {"desired": 0, "differences": [], "foreign": []}
