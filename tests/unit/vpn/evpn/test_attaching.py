"""Endpoints of EVPN instances: records, routes, what is refused, what happens when they change or go."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import pytest

from bagpipe.dataplane.model import (
    Bridge,
    BridgeKey,
    Capabilities,
    Direction,
    Encapsulation,
    Fallback,
    Key,
    Local,
    MacKey,
    Neighbour,
    NeighbourKey,
    Plug,
    PlugKey,
    Port,
)
from bagpipe.errors import LocalMisuse
from bagpipe.identifiers import MAXIMUM_VNI, RouteDistinguisher
from bagpipe.vpn.attachment import CarriedBy, Readvertise, Reserved
from tests.unit.vpn.evpn.node import PE1, Node, attachment, key, mac_update, multicast_update
from tests.unit.vpn.node import mac, prefix, rts

MULTICAST = "multicast 192.0.2.11:0 tag 0 originator 192.0.2.11"
FIRST = "mac-ip 192.0.2.11:0 tag 0 mac fa:16:3e:00:00:02 ip 10.0.0.2 label field 1001"
STATED: dict[str, Any] = {"vni": 1001}


def octets(text: str) -> bytes:
    return IPv4Address(text).packed


def test_an_endpoint_has_a_bridge_a_plug_a_mac_and_an_answer() -> None:
    node = Node()
    attached = node.attach(spec=STATED)
    port = Port("tap2")
    assert node.tracker.desired == {
        BridgeKey(1): Bridge("red", 1001),
        PlugKey(port): Plug(1),
        MacKey(1, mac(2).packed): (Local(port, mac(2)),),
        NeighbourKey(1, octets("10.0.0.2")): Neighbour(mac(2), is_here=True),
    }
    assert set(attached.keys) == set(node.tracker.desired)
    assert attached.reserved == Reserved(1, 0, -1, 0, 0)


def test_its_routes_are_told_once_its_records_are_in_effect() -> None:
    node = Node()
    node.attach(spec=STATED, confirm=False)
    assert node.told() == {}
    node.confirm({MacKey(1, mac(2).packed): "no room"})
    # RFC 8365 section 5.1.3: label fields are VNIs, in full.
    flooding = ("encapsulation:vxlan", "target:64512:1", "ingress-replication 192.0.2.11 label field 1001")
    assert node.told() == {MULTICAST: flooding}
    state = node.instances.endpoint_state("red", key(2, "10.0.0.2"))
    assert (state.state, state.reason) == ("refused", "MAC fa:16:3e:00:00:02 of EVI 1: no room")

    node.tracker.retry()
    node.confirm()
    assert node.told() == {MULTICAST: flooding, FIRST: ("encapsulation:vxlan", "target:64512:1")}
    assert node.instances.endpoint_state("red", key(2, "10.0.0.2")).state == "in-effect"


def test_a_dataplane_that_is_lost_before_it_confirmed_has_to_confirm_all_again() -> None:
    node = Node()
    node.attach(spec=STATED, confirm=False)
    node.tracker.lost()
    node.instances.dataplane_lost()
    assert node.told() == {}
    node.confirm()
    assert sorted(node.told()) == [FIRST, MULTICAST]


def test_several_addresses_of_a_mac_are_routes_of_their_own() -> None:
    node = Node()
    node.attach(spec=STATED)
    node.attach(ip="10.0.0.3", local_pref=50, order=7)
    node.attach(ip="2001:db8::2")
    assert node.told_macs == [
        "fa:16:3e:00:00:02 ip 10.0.0.2 label field 1001",
        "fa:16:3e:00:00:02 ip 10.0.0.3 label field 1001",
        "fa:16:3e:00:00:02 ip 2001:db8::2 label field 1001",
    ]
    told = node.told()[FIRST.replace("10.0.0.2", "10.0.0.3")]
    assert told == ("local-pref 50", "encapsulation:vxlan", "load-balance-order:7", "target:64512:1")
    assert node.answer("2001:db8::2") == Neighbour(mac(2), is_here=True)
    detached = node.detach(ip="10.0.0.3")
    assert detached.keys == (NeighbourKey(1, octets("10.0.0.3")),)
    assert len(node.told_macs) == 2


def test_a_mac_without_address_gives_way_to_one_with_and_adds_nothing_beside_it() -> None:
    node = Node()
    node.attach(ip=None, spec=STATED)
    assert node.told_macs == ["fa:16:3e:00:00:02 label field 1001"]
    node.attach(confirm=False)
    assert node.told_macs == ["fa:16:3e:00:00:02 label field 1001"]
    node.confirm()
    assert node.told_macs == ["fa:16:3e:00:00:02 ip 10.0.0.2 label field 1001"]
    node.attach(ip=None)
    assert node.told_macs == ["fa:16:3e:00:00:02 ip 10.0.0.2 label field 1001"]
    node.detach()
    assert node.told_macs == ["fa:16:3e:00:00:02 label field 1001"]
    assert node.hops(2) == ["fa:16:3e:00:00:02 at tap2"]


def test_the_last_endpoint_takes_its_instance_along() -> None:
    node = Node()
    attached = node.attach()
    node.learn(mac_update(3, "10.0.0.3"), multicast_update())
    assert node.imported == {"64512:1"}
    detached = node.detach()
    assert set(detached.keys) == set(attached.keys)
    assert node.tracker.desired == {}
    assert node.told() == {}
    assert node.imported == set()
    assert node.numbers.labels.live == node.numbers.rds.live == node.numbers.instances.live == set()
    with pytest.raises(LocalMisuse, match="VPN red could not be found"):
        node.detach()


def test_routes_are_withdrawn_before_what_they_lead_to_goes() -> None:
    node = Node()
    node.attach(spec=STATED)
    node.attach(ip="10.0.0.3", number=3)
    seen: list[tuple[str, list[str]]] = []
    remove = node.tracker.remove

    def watched(key: Key) -> None:
        seen.append((str(key), node.told_macs))
        remove(key)

    node.tracker.remove = watched  # type: ignore[method-assign]
    node.detach()
    gone = [macs for name, macs in seen if name == "MAC fa:16:3e:00:00:02 of EVI 1"]
    assert gone == [["fa:16:3e:00:00:03 ip 10.0.0.3 label field 1001"]]


def test_what_a_later_attachment_says_of_the_instance_holds_for_all_of_it() -> None:
    node = Node()
    node.attach(spec={"vni": 1001, "description": "one", "bridge": "brq1"})
    node.attach(ip="10.0.0.3", number=3, imports=(2,), exports=(3,), spec={"description": "two", "bridge": None})
    evi = node.evi()
    assert (evi.description, evi.vni, evi.bridge) == ("two", 1001, None)
    assert node.tracker.desired[BridgeKey(1)] == Bridge("red", 1001)
    assert node.imported == {"64512:2"}
    assert {each[1] for each in node.told().values()} == {"target:64512:3"}


def test_another_vni_is_told_once_frames_with_it_come_in() -> None:
    node = Node()
    node.attach(spec=STATED)
    node.learn(mac_update(3, vni=1002 << 4, tunnels=()))
    assert node.hops(3) == [f"{PE1} label {1002 << 4} vxlan"]
    node.attach(spec={"vni": 1002}, confirm=False)
    assert node.told() == {}
    assert node.tracker.desired[BridgeKey(1)] == Bridge("red", 1002)
    node.confirm()
    assert node.told_macs == ["fa:16:3e:00:00:02 ip 10.0.0.2 label field 1002"]
    assert node.hops(3) == [f"{PE1} label 1002 vxlan"]
    assert node.numbers.vnis.holders.keys() == {1002}


def test_a_vni_that_nobody_states_is_chosen_and_given_back_after_a_restart() -> None:
    node = Node()
    node.attach("blue", spec={"vni": 17})
    chosen = node.attach(ip="10.0.0.9", number=9).reserved.label
    other = node.attach("green", ip="10.0.0.8", number=8).reserved.label
    assert (chosen, other) == (16, 18)
    node.attach(ip="10.0.0.9", number=9, spec={"vni": 5000})
    assert node.evi().vni == 5000
    assert node.attach(ip="10.0.0.9", number=9).reserved.label == 0
    back = node.attach(ip="10.0.0.9", number=9, spec={"vni": None}).reserved
    assert back.label not in (0, 17, 18)

    again = Node()
    assert again.attach(ip="10.0.0.9", number=9, reserved=back).reserved == back
    assert again.evi().vni == back.label


def test_one_route_distinguisher_is_that_of_all_routes_of_an_instance() -> None:
    node = Node()
    stated = RouteDistinguisher.from_text("192.0.2.11:7")
    node.attach(spec={"vni": 1001, "route_distinguisher": stated})
    node.attach("blue", ip="10.0.0.2", number=9, spec={"vni": 1002})
    told = {text.split()[1] for text in node.told()}
    assert told == {"192.0.2.11:7", "192.0.2.11:8"}
    with pytest.raises(LocalMisuse, match="VPN red uses it"):
        node.attach("green", ip="10.0.0.2", number=10, spec={"route_distinguisher": stated})


def test_route_targets_of_an_endpoint_are_in_place_of_its_instances_and_floods_follow() -> None:
    node = Node()
    node.attach(spec=STATED)
    node.attach(ip="10.0.0.3", number=3, own_exports=(7,))
    told = node.told()
    assert told[FIRST][1:] == ("target:64512:1",)
    assert told[FIRST.replace("00:02", "00:03").replace("10.0.0.2", "10.0.0.3")][1:] == ("target:64512:7",)
    assert told[MULTICAST][1:3] == ("target:64512:1", "target:64512:7")
    node.detach(ip="10.0.0.3", number=3)
    assert node.told()[MULTICAST][1] == "target:64512:1"
    assert "target:64512:7" not in node.told()[MULTICAST]


def test_an_endpoint_that_takes_no_frames_is_plugged_and_not_announced() -> None:
    node = Node()
    node.attach(spec=STATED, direction=Direction.FROM_PORT)
    assert node.tracker.desired.keys() == {BridgeKey(1), PlugKey(Port("tap2"))}
    assert node.told() == {}
    node.attach()
    assert sorted(node.told()) == [FIRST, MULTICAST]
    node.attach(direction=Direction.FROM_PORT)
    assert node.told() == {}
    assert node.tracker.desired.keys() == {BridgeKey(1), PlugKey(Port("tap2"))}


def test_a_port_that_is_somewhere_else_takes_all_its_macs_along() -> None:
    node = Node()
    first, second = Port("patch", 7, vlan=3), Port("patch", 8, vlan=3)
    node.attach(spec=STATED, port=first)
    node.attach(ip="10.0.0.3", number=3, port=second)
    assert PlugKey(first) not in node.tracker.desired
    assert node.tracker.desired[PlugKey(second)] == Plug(1)
    for number in (2, 3):
        assert node.tracker.desired[MacKey(1, mac(number).packed)] == (Local(second, mac(number)),)
    assert len(node.told_macs) == 2
    node.attach("blue", ip="10.0.0.3", number=4, port=Port("other", 7, vlan=3))
    assert PlugKey(Port("other", 7, vlan=3)) in node.tracker.desired


ONE_WAY = Capabilities("test", (Encapsulation.VXLAN,), True, frozenset((Direction.BOTH,)))
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"instance": "blue", "number": 9, "spec": {"vni": 1001}}, "vni", "VPN red uses it"),
    ({"instance": "blue", "number": 9, "spec": {"bridge": "brq1"}}, "linuxbr", "VPN red uses it"),
    ({"spec": {"vni": 0}}, "vni", f"not a number of 1 to {MAXIMUM_VNI}"),
    ({"spec": {"vni": MAXIMUM_VNI + 1}}, "vni", f"not a number of 1 to {MAXIMUM_VNI}"),
    ({"ip": "10.0.0.3", "port": "tap9"}, "local_port", "Port information is not consistent"),
    ({"number": 9}, "ip_address", "Inconsistent endpoint info"),
    ({"instance": "blue", "number": 9, "port": "tap2"}, "local_port", "enters VPN red already"),
    ({"ip": "10.0.0.3", "number": 9, "port": Port("tap9", interface="tap2")}, "local_port", "is attached as tap2"),
    ({"direction": Direction.TO_PORT}, "direction", "Unsupported direction: to-port"),
    ({"advertise_subnet": True}, "advertise_subnet", "single addresses"),
    ({"spec": {"fallback": Fallback(mac(1), mac(2), 3)}}, "fallback", "only an IP VPN instance"),
    ({"spec": {"readvertise": Readvertise(rts(1), rts(2))}}, "readvertise", "only an IP VPN instance"),
    ({"spec": {"static_routes": (prefix("10.9.0.0/16"),)}}, "static_routes", "only an IP VPN instance"),
    ({"spec": {"carried_by": frozenset((CarriedBy.EVPN,))}}, "carried_by", "only an IP VPN instance"),
    ({"local_pref": -1}, "local_pref", "not a number of 0 to"),
    ({"order": 2**32}, "lb_consistent_hash_order", "not a number of 0 to"),
]


@pytest.mark.parametrize(("wrong", "field", "reason"), REFUSED, ids=[f"{each[1]}: {each[2]}" for each in REFUSED])
def test_what_cannot_be_attached_is_refused_by_name_and_changes_nothing(
    wrong: dict[str, Any], field: str, reason: str
) -> None:
    node = Node(ONE_WAY)
    node.attach(spec={"vni": 1001, "bridge": "brq1"})
    before = dict(node.tracker.desired), node.told()
    for ask in (node.instances.check, node.instances.attach):
        with pytest.raises(LocalMisuse, match=reason) as refused:
            ask(attachment(**wrong))
        assert refused.value.field == field
    assert (node.tracker.desired, node.told()) == before
    assert node.instances.instances.keys() == {"red"}


@pytest.mark.parametrize("octets", ["01005e000001", "000000000000"])
def test_a_mac_that_is_not_that_of_one_station_is_refused(octets: str) -> None:
    node = Node()
    made = attachment()
    wrong = type(made.key)(type(made.key.mac)(bytes.fromhex(octets)), made.key.ip)
    with pytest.raises(LocalMisuse, match="not the MAC of one station"):
        node.instances.attach(type(made)(made.instance, wrong, made.port))
    assert node.tracker.desired == {}


def test_an_endpoint_that_is_not_there_cannot_be_detached() -> None:
    node = Node()
    node.attach()
    with pytest.raises(LocalMisuse, match=r"fa:16:3e:00:00:02 10.0.0.9/32 is not plugged into VPN red"):
        node.detach(ip="10.0.0.9")
    with pytest.raises(LocalMisuse, match="fa:16:3e:00:00:09 is not plugged into VPN red"):
        node.instances.endpoint_state("red", key(9, None))
