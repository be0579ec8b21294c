"""Instances as plain values, for the looking glass."""

from __future__ import annotations

import json

from bagpipe.dataplane.model import Classifier, Direction, Fallback, Ports
from bagpipe.vpn import views
from bagpipe.vpn.attachment import AttractTraffic, Readvertise
from tests.unit.vpn.node import Node, mac, prefix, rts
from tests.unit.vpn.test_chaining import flow, redirect
from tests.unit.vpn.test_imports import announce


def node_with_everything() -> Node:
    node = Node()
    attract = AttractTraffic(
        rts(201), Classifier(protocol=6, destination_ports=Ports(80, 90)), rts(200), (prefix("20.0.0.0/24"),)
    )
    spec = {
        "description": "the red one",
        "fallback": Fallback(mac(1), mac(9), 5),
        "readvertise": Readvertise(rts(3), rts(4)),
        "attract": attract,
    }
    node.attach("red", "10.0.0.2/24", 2, imports=(1, 2), spec=spec, description={"id": 7})
    node.attach("red", "10.0.0.3", 3, imports=(1, 2), direction=Direction.FROM_PORT)
    node.learn(announce("10.0.1.0/24", 100), announce("10.0.1.0/24", 200, rd=2, local_pref=50))
    node.learn(announce("40.0.0.0/24", 100, rt=(3,)), flow("20.0.0.0/24", redirect(300)))
    return node


def test_an_instance_is_shown_with_the_keys_of_the_reference() -> None:
    node = node_with_everything()
    shown = views.instance(node.instances, node.instances.instances["red"])
    assert json.loads(json.dumps(shown)) == shown
    assert shown["name"] == "VRF-1"
    assert shown["external_instance_id"] == "red"
    assert shown["instance_type"] == "VRF"
    assert shown["description"] == "the red one"
    assert shown["route_targets"] == {"import": ["target:64512:1", "target:64512:2"], "export": ["target:64512:1"]}
    assert shown["subnet_prefix_length"] == 24
    assert shown["instance_dataplane_id"] == 1
    assert shown["readvertise"] == {"from": ["target:64512:3"], "to": ["target:64512:4"]}
    assert shown["fallback"] == {
        "src_mac": "fa:16:3e:00:00:01",
        "dst_mac": "fa:16:3e:00:00:09",
        "ovs_port_number": 5,
        "vlan": None,
    }
    assert shown["attract_traffic"] == {
        "redirect_rts": ["target:64512:201"],
        "classifier": {"destinationPort": "80:90", "protocol": 6},
        "to_rt": ["target:64512:200"],
        "static_destination_prefixes": ["20.0.0.0/24"],
    }
    assert shown["steering"] == [
        {"classifier": {"destinationPrefix": "20.0.0.0/24", "protocol": 6}, "redirect": "target:64512:300"}
    ]
    assert shown["counts"] == {"endpoints": 2, "prefixes": 2, "unusable_routes": 0}


def test_ports_show_their_endpoints() -> None:
    node = node_with_everything()
    shown = views.ports(node.instances, node.instances.instances["red"])
    first = shown["tap2"]["endpoints"][0]  # type: ignore[index]
    assert {
        name: first[name]
        for name in (
            "label",
            "mac_address",
            "ip_address",
            "local_pref",
            "rd",
            "description",
            "direction",
            "state",
            "announced",
        )
    } == {
        "label": 16,
        "mac_address": "fa:16:3e:00:00:02",
        "ip_address": "10.0.0.2/24",
        "local_pref": 100,
        "rd": "192.0.2.11:0",
        "description": {"id": 7},
        "direction": "both",
        "state": "in-effect",
        "announced": True,
    }
    second = shown["tap3"]["endpoints"][0]  # type: ignore[index]
    assert (second["label"], second["direction"], second["announced"]) == (None, "from-port", False)


def test_routes_are_shown_as_received_best_advertised_and_told_on() -> None:
    node = node_with_everything()
    red = node.instances.instances["red"]
    received = views.received_routes(node.instances, red)
    assert [text for each in received for text in each] == [
        "64512:1:10.0.1.0/24 label 100",
        "64512:2:10.0.1.0/24 label 200",
        "64512:1:40.0.0.0/24 label 100",
    ]
    best = views.best_routes(node.instances, red)
    assert list(best) == ["10.0.1.0/24", "10.0.0.2/32"]
    assert [text for each in best["10.0.1.0/24"] for text in each] == ["64512:1:10.0.1.0/24 label 100"]  # type: ignore[attr-defined]
    values = best["10.0.1.0/24"][0]["64512:1:10.0.1.0/24 label 100"]  # type: ignore[index]
    assert values["next_hop"] == "192.0.2.101"
    assert values["route_targets"] == ["target:64512:1"]
    assert values["source"] == {"id": "192.0.2.1"}
    advertised = {text for each in views.adv_routes(node.instances, red) for text in each}
    assert advertised == {
        "192.0.2.11:0:10.0.0.2/32 label 16",
        "192.0.2.11:1:0.0.0.0/0 label 16",
        "flow 192.0.2.11:0 destination 20.0.0.0/24 protocol =6 destination-port >=80&<=90",
        "flow 192.0.2.11:0 destination 40.0.0.0/24 protocol =6 destination-port >=80&<=90",
    }
    assert views.readvertised(red) == ["40.0.0.0/24"]
    told = views.prefix_routes(node.instances, red, red.prefixes()[0])
    assert told is not None
    assert [each["used"] for each in told["candidates"]] == [True, False]  # type: ignore[attr-defined]


def test_an_instance_that_flows_redirect_to_says_so_and_has_no_ports() -> None:
    node = node_with_everything()
    redirect = node.instances.instances["redirect-to-ipvpn-64512_300"]
    hidden = views.instance(node.instances, redirect)
    assert hidden["redirect_target"] == "target:64512:300"
    assert hidden["ports"] == {}
