"""EVPN instances as people see them: the looking glass, /v2, and why frames go where they go."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import Any

import pytest

from bagpipe.dataplane.model import MacKey, NeighbourKey
from bagpipe.errors import LocalMisuse
from bagpipe.vpn.evpn import views
from tests.unit.vpn.evpn.node import (
    PE1,
    PE2,
    Node,
    discovery_nlri,
    mac_nlri,
    mac_update,
    mobility,
    multicast_update,
    update,
    withdraw,
)
from tests.unit.vpn.node import mac

ESI = bytes.fromhex("00112233445566778899")


def red() -> Node:
    node = Node()
    node.attach(
        spec={"vni": 1001, "description": "a network", "bridge": "brq1"},
        imports=(1, 2),
        description={"any": "json"},
        gateways=(ip_address("10.0.0.1"),),
    )
    return node


def the(node: Node, view: Any) -> Any:
    """A view as JSON has it."""
    found = view(node.instances, node.evi())
    return json.loads(json.dumps(found if isinstance(found, (dict, list)) else [each for each in found if each]))


def mac_of(node: Node, number: int) -> Any:
    return next(each for each in the(node, views.macs) if each["mac"] == str(mac(number)))


def test_an_instance_is_shown_by_the_names_of_networking_bagpipe() -> None:
    node = red()
    node.learn(mac_update(3, "10.0.0.3"), mac_update(4, tag=9), multicast_update())
    shown = the(node, views.instance)
    ports = shown.pop("ports")
    assert shown == {
        "name": "EVI-1",
        "external_instance_id": "red",
        "instance_type": "EVI",
        "description": "a network",
        "route_targets": {"import": ["target:64512:1", "target:64512:2"], "export": ["target:64512:1"]},
        "route_distinguisher": "192.0.2.11:0",
        "gateway_ip": "10.0.0.1",
        "subnet_prefix_length": 32,
        "instance_dataplane_id": 1,
        "vni": 1001,
        "linuxbr": "brq1",
        "gateway_port": None,
        "readvertise": None,
        "attract_traffic": None,
        "fallback": None,
        "flooding": [{"node": PE1, "next_hops": [f"{PE1} label 5000 vxlan"]}],
        "held_macs": [],
        "counts": {"endpoints": 1, "macs": 3, "neighbours": 2, "unusable_routes": 1},
    }
    assert ports == the(node, views.ports)
    (endpoint,) = ports["tap2"]["endpoints"]
    assert endpoint == {
        "label": 1001,
        "mac_address": "fa:16:3e:00:00:02",
        "ip_address": "10.0.0.2/32",
        "local_pref": 100,
        "rd": "192.0.2.11:0",
        "description": {"any": "json"},
        "direction": "both",
        "lb_consistent_hash_order": 0,
        "port": "tap2",
        "route_targets": None,
        "sequence": 0,
        "sticky": False,
        "state": "in-effect",
        "reason": "",
        "announced": True,
    }


def test_an_endpoint_says_where_its_mac_is() -> None:
    node = red()
    node.learn(mac_update(2, sequence=3))
    (endpoint,) = the(node, views.ports)["tap2"]["endpoints"]
    assert (endpoint["state"], endpoint["announced"]) == ("in-effect", False)
    assert endpoint["reason"] == f"MAC is now at {PE1}, sequence 3 (here: sequence 0)"


def test_each_mac_is_shown_with_what_competes_for_it() -> None:
    node = red()
    node.learn(mac_update(2, "10.0.0.2"), mac_update(2, node=PE2, communities=mobility(9), tunnels=(10,)))
    shown = mac_of(node, 2)
    assert (shown["next_hops"], shown["held"], shown["moves"]) == (["fa:16:3e:00:00:02 at tap2"], False, 0)
    assert [(each["peer"], each["node"], each["used"], each["reason"]) for each in shown["candidates"]] == [
        ("attached", "192.0.2.11", True, f"lower address (192.0.2.11 against {PE1})"),
        ("192.0.2.1", PE1, False, f"beaten: lower address (192.0.2.11 against {PE1})"),
        (
            "192.0.2.1",
            PE2,
            False,
            "not usable: no common encapsulation: it wants mpls, this node has vxlan",
        ),
    ]
    remote = shown["candidates"][1]
    assert (remote["route_distinguisher"], remote["ip_address"]) == (f"{PE1}:1", "10.0.0.2")


def test_a_mac_on_a_segment_is_shown_with_it() -> None:
    node = red()
    node.learn(mac_update(3, esi=ESI), update(discovery_nlri(ESI, tag=0xFFFFFFFF)))
    (candidate,) = mac_of(node, 3)["candidates"]
    assert candidate["ethernet_segment"] == ESI.hex(":")
    assert candidate["next_hops"] == [f"{PE1} label 5000 vxlan"]


def test_routes_are_shown_as_received_as_used_and_as_announced() -> None:
    node = red()
    node.learn(mac_update(3, "10.0.0.3"), mac_update(3, node=PE2), multicast_update())
    first = f"mac-ip {PE1}:1 tag 0 mac fa:16:3e:00:00:03 ip 10.0.0.3 label field 5000"
    second = f"mac-ip {PE2}:1 tag 0 mac fa:16:3e:00:00:03 label field 5000"
    multicast = f"multicast {PE1}:1 tag 0 originator {PE1}"
    received = the(node, views.received_routes)
    assert [next(iter(each)) for each in received] == [first, second, multicast]
    assert received[0][first]["source"] == {"id": "192.0.2.1"}
    assert received[0][first]["route_targets"] == ["target:64512:1"]
    assert received[0][first]["afi-safi"] == "l2vpn/evpn"
    best = {name: values for each in the(node, views.best_routes) for name, values in each.items()}
    assert list(best) == ["FA:16:3E:00:00:02", "FA:16:3E:00:00:03", PE1]
    assert [next(iter(each)) for each in best["FA:16:3E:00:00:03"]] == [first]
    assert [next(iter(each)) for each in best[PE1]] == [multicast]
    announced = [next(iter(each)) for each in the(node, views.adv_routes)]
    assert announced == sorted(node.told())


def test_what_is_answered_for_addresses_is_shown_in_order() -> None:
    node = red()
    node.learn(mac_update(3, "2001:db8::3", communities=b"\x06\x08\x01" + bytes(5)), mac_update(4, "10.0.0.1"))
    assert the(node, views.neighbours) == [
        {"ip_address": "10.0.0.1", "mac_address": str(mac(4)), "is_router": False},
        {"ip_address": "10.0.0.2", "mac_address": str(mac(2)), "is_router": False},
        {"ip_address": "2001:db8::3", "mac_address": str(mac(3)), "is_router": True},
    ]


def test_lists_may_be_read_while_routes_go() -> None:
    node = red()
    node.learn(*[mac_update(number) for number in range(10, 20)])
    lists = [view(node.instances, node.evi()) for view in (views.macs, views.received_routes, views.best_routes)]
    for each in lists:
        next(each)
    node.learn(withdraw(*[mac_nlri(number) for number in range(10, 20)]))
    left = [[one for one in each if one] for each in lists]
    assert left == [[], [], []]


def test_a_look_up_says_why_frames_to_a_mac_go_where_they_go() -> None:
    node = red()
    node.learn(mac_update(3, "10.0.0.3"), mac_update(3, node=PE2))
    number = node.evi().number
    for asked in (mac(3), ip_address("10.0.0.3").packed):
        found = node.instances.lookup("red", asked)
        assert (found.mac, found.key) == (mac(3), MacKey(number, mac(3).packed))
        assert list(map(str, found.next_hops)) == [f"{PE1} label 5000 vxlan"]
        assert [(each.node, each.used) for each in found.candidates] == [(PE1, True), (PE2, False)]
        assert found.why == ""
    assert found.neighbour == NeighbourKey(number, ip_address("10.0.0.3").packed)


def test_a_look_up_says_why_frames_go_nowhere() -> None:
    node = red()
    node.learn(mac_update(3, esi=ESI), multicast_update())
    found = node.instances.lookup("red", mac(3))
    assert (found.key, found.next_hops) == (None, ())
    assert found.why.startswith("every route of fa:16:3e:00:00:03 is unusable: frames to it are unknown unicast")
    assert "Ethernet segment" in found.candidates[0].reason
    assert node.instances.lookup("red", mac(7)).why.startswith("nobody has announced fa:16:3e:00:00:07")
    address = node.instances.lookup("red", ip_address("10.0.0.77").packed)
    assert address.why == (
        "nobody has announced 10.0.0.77: ARP or ND for it goes to the ports of the instance here and 1 other node"
    )
    with pytest.raises(LocalMisuse, match="VPN blue could not be found"):
        node.instances.lookup("blue", mac(3))
