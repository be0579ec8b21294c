"""EVPN instances by v1 and v2 on a daemon that runs, with the dummy dataplane: what agents and people may rely on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.system.attaching import Node, empty_node, shared_node  # noqa: F401 - the fixtures ``node``, ``shared``
from tests.system.running import wait_for

RT = ["64512:31"]


def mac(number: int) -> str:
    return f"fa:16:3e:00:00:{number:02x}"


def body(number: int = 2, instance: str = "evpn_net", **more: Any) -> dict[str, Any]:
    """As networking-bagpipe's agent for Open vSwitch sends it."""
    return {
        "vpn_instance_id": instance,
        "vpn_type": "evpn",
        "import_rt": RT,
        "export_rt": RT,
        "mac_address": mac(number),
        "ip_address": f"10.0.0.{number}",
        "gateway_ip": "10.0.0.1",
        "local_port": {"linuxif": "patch2tun:5", "vlan": 5},
        "vni": 77,
        "description": {"port": "p"},
        **more,
    }


def body_v2(number: int = 2, **more: Any) -> dict[str, Any]:
    return {
        "instance": {"id": "evpn_net", "type": "evpn", "import_rts": RT, "export_rts": RT, "vni": 77},
        "port": {"name": f"tap{number}"},
        "mac": mac(number),
        "addresses": [f"10.0.0.{number}/24", f"2001:db8::{number}/64"],
        **more,
    }


def routes(node: Node) -> list[str]:
    return sorted(route["nlri"] for route in node.call("GET", "/v2/routes?family=evpn")[1]["routes"])


def test_a_mac_and_its_address_are_announced_and_the_node_for_flooding(node: Node) -> None:
    assert node.attach(body()) == (200, None)
    multicast, host = sorted(routes(node), key=lambda text: text.startswith("mac-ip"))
    assert multicast.startswith("multicast ")
    assert f"mac {mac(2)} ip 10.0.0.2 label field 77" in host
    assert node.attach(body()) == (200, None)
    assert node.detach({key: body()[key] for key in ("vpn_instance_id", "vpn_type", "mac_address", "local_port")}) == (
        200,
        None,
    )
    assert routes(node) == []
    assert node.call("GET", "/v2/instances")[1] == {"instances": []}


def test_an_address_takes_the_place_of_the_mac_alone(node: Node) -> None:
    bare = {key: value for key, value in body().items() if key != "ip_address"}
    assert node.attach(bare) == (200, None)
    assert [f"mac {mac(2)} label field 77" in text for text in routes(node)] == [True, False]
    assert node.attach(body()) == (200, None)
    assert [f"mac {mac(2)} ip 10.0.0.2 label field 77" in text for text in routes(node)] == [True, False]
    # and a detach without an address is one of all addresses
    assert node.detach({**bare, "local_port": {"linuxif": "patch2tun:5"}}) == (200, None)
    assert node.call("GET", "/v2/attachments")[1] == {"attachments": []}


FLAWS: dict[str, tuple[dict[str, Any], str, str]] = {
    "VNI that is none": ({"vni": 1 << 24}, "vni", "vni: 16777216"),
    "VNI of another kind": ({"vni": "many"}, "vni", "vni: 'many'"),
    "VNI of another instance": ({"vpn_instance_id": "other"}, "vni", "A VPN instance using vni 77 already exists."),
    "IP VPN on its id": ({"vpn_type": "ipvpn"}, "vpn_type", "vpn_type: 'ipvpn'"),
    "MAC of a group": ({"mac_address": "01:00:5e:00:00:01"}, "mac_address", "mac_address: '01:00:5e:00:00:01'"),
    "direction": ({"direction": "to-port"}, "direction", "Unsupported direction: to-port"),
    "subnet": ({"advertise_subnet": True}, "advertise_subnet", "advertise_subnet: True"),
    "same MAC, other port": ({"local_port": "elsewhere"}, "local_port", "Port information is not consistent"),
    "same IP, other MAC": ({"mac_address": mac(9)}, "ip_address", "Inconsistent endpoint info"),
    "fallback": (
        {"fallback": {"src_mac": mac(1), "dst_mac": mac(3), "ovs_port_number": 4}}, "fallback", "fallback:",
    ),
}  # fmt: skip


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_flaw_is_answered_with_400_field_and_value_and_changes_nothing(node: Node, flaw: str) -> None:
    change, field, text = FLAWS[flaw]
    node.attach(body())
    before = node.everything()

    status, told = node.attach({**body(), **change})

    assert (status, told["field"]) == (400, field)
    assert told["description"].startswith(f"API error: {text}")
    assert node.everything() == before


def test_a_v2_attachment_has_every_address_and_says_which_vni_was_chosen(node: Node) -> None:
    chosen = body_v2(instance={**body_v2()["instance"], "vni": None}, sticky=True)
    status, told = node.call("PUT", "/v2/attachments/p2", chosen)
    assert (status, told["state"], told["type"]) == (200, "in-effect", "evpn")
    vni = node.call("GET", "/v2/instances/evpn_net")[1]["vni"]
    assert told["label"] == vni
    assert sum(f"label field {vni}" in text for text in routes(node)) == 2
    shown = node.call("GET", "/v2/routes?family=evpn")[1]["routes"]
    assert sum("mac-mobility:0:sticky" in str(route["attributes"]) for route in shown) == 2
    # a VNI that is asked for later replaces it
    node.call("PUT", "/v2/attachments/p2", body_v2())
    assert sum("label field 77" in text for text in routes(node)) == 2


def test_an_endpoint_may_be_announced_with_route_targets_of_its_own(node: Node) -> None:
    node.call("PUT", "/v2/attachments/p2", body_v2(export_rts=["64512:99"]))
    node.call("PUT", "/v2/attachments/p3", body_v2(3))
    shown = {route["nlri"]: route["route_targets"] for route in node.call("GET", "/v2/routes?family=evpn")[1]["routes"]}
    assert {tuple(targets) for text, targets in shown.items() if mac(2) in text} == {("64512:99",)}
    assert {tuple(targets) for text, targets in shown.items() if mac(3) in text} == {("64512:31",)}
    # whoever hears of one of them may have frames to many for it
    flooding = {tuple(targets) for text, targets in shown.items() if text.startswith("multicast")}
    assert flooding == {("64512:31", "64512:99")}


def test_explain_tells_of_a_mac_and_of_the_one_of_an_address(node: Node) -> None:
    node.call("PUT", "/v2/attachments/p2", body_v2())
    for destination in (mac(2), "10.0.0.2", "2001:db8::2"):
        status, told = node.call("GET", f"/v2/explain?instance=evpn_net&destination={destination}")
        assert (status, told["type"], told["mac"]) == (200, "evpn", mac(2))
        assert told["next_hops"] == [f"{mac(2)} at tap2"]
        assert [one["reason"] for one in told["candidates"]] == ["only claim"]
    status, told = node.call("GET", "/v2/explain?instance=evpn_net&destination=10.0.0.99")
    assert (status, told["mac"]) == (200, None)
    assert "nobody has announced 10.0.0.99" in told["why"]
    status, told = node.call("GET", "/v2/explain?instance=evpn_net&destination=nowhere")
    assert (status, told["field"], told["value"]) == (400, "destination", "nowhere")


def test_the_looking_glass_has_an_evpn_instance_as_the_reference_has_it(node: Node) -> None:
    node.attach(body(instance_description="a network"))
    (name,) = [one["name"] for one in node.call("GET", "/v2/instances")[1]["instances"]]
    assert name.startswith("EVI-")
    assert node.call("GET", "/looking-glass/vpns/instances_per_vni") == (
        200,
        {"77": {"name": name, "external_instance_id": "evpn_net"}},
    )
    path = "/looking-glass/vpns/instances/evpn_net"
    status, told = node.call("GET", path)
    assert (status, told["instance_type"], told["gateway_port"]) == (200, "EVI", None)
    for name in ("ports", "received_routes", "best_routes", "adv_routes", "dataplane"):
        assert node.call("GET", f"{path}/{name}")[0] == 200
    assert node.call("GET", f"{path}/best_routes")[1].keys() >= {mac(2).upper()}
    assert len(node.call("GET", f"{path}/adv_routes")[1]) == 2
    assert node.call("GET", f"{path}/dataplane")[1] == {"records": 4, "not_in_effect": {}}
    drivers = node.call("GET", "/looking-glass/vpns/dataplane")[1]["drivers"]
    assert {kind: driver["name"] for kind, driver in drivers.items()} == {"ipvpn": "dummy", "evpn": "dummy"}
    health = node.call("GET", "/v2/health")[1]
    assert health["evpn_dataplane"]["records"]["desired"] == 4


def test_a_restart_keeps_a_vni_that_was_chosen(tmp_path: Path) -> None:
    node = Node(tmp_path)
    chosen = {key: value for key, value in body().items() if key != "vni"}
    with node.start() as daemon:
        daemon.wait_started()
        node.attach({**chosen, "vpn_instance_id": "first"})
        node.attach({**chosen, "vpn_instance_id": "second", "local_port": "tap1"})
        node.detach({**chosen, "vpn_instance_id": "first"})
        before = routes(node)
        daemon.end()
    with node.start() as daemon:
        wait_for(lambda: daemon.text.count("started:") == 2, "the second start")
        wait_for(lambda: routes(node) == before, "the same routes")
        assert "Traceback" not in daemon.text
