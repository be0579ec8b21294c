"""Routes of neighbours: which become records, with which next hops, which answers, and why not."""

from __future__ import annotations

import gc
from ipaddress import ip_address

import pytest

from bagpipe.dataplane.model import Neighbour, SourceKey
from bagpipe.identifiers import MacAddress
from bagpipe.rib.bundle import Bundle
from bagpipe.rib.table import Table
from bagpipe.vpn.evpn.views import received_routes
from tests.unit.rib import routes
from tests.unit.vpn.any_node import OWN
from tests.unit.vpn.evpn.node import (
    DUMMY,
    LOW,
    PE1,
    PE2,
    Node,
    discovery_nlri,
    distinguisher,
    ingress,
    mac_nlri,
    mac_update,
    mobility,
    multicast_nlri,
    multicast_update,
    update,
    withdraw,
)
from tests.unit.vpn.node import mac


def red(node: Node | None = None) -> Node:
    node = node or Node()
    node.attach(spec={"vni": 1001})
    return node


def sources(node: Node) -> set[str]:
    return {str(ip_address(key.address)) for key in node.tracker.desired if isinstance(key, SourceKey)}


def reasons(node: Node) -> list[object]:
    return [values["unusable"] for each in received_routes(node.instances, node.evi()) for values in each.values()]  # type: ignore[union-attr,index]


def test_a_mac_route_leads_frames_to_its_node_and_answers_for_its_address() -> None:
    node = red()
    node.learn(mac_update(3, "10.0.0.3"), mac_update(4), mac_update(5, "2001:db8::5", vni=0xFFFFFF))
    assert node.hops(3) == node.hops(4) == [f"{PE1} label 5000 vxlan"]
    assert node.hops(5) == [f"{PE1} label 16777215 vxlan"]
    assert node.answer("10.0.0.3") == Neighbour(mac(3))
    assert node.answer("2001:db8::5") == Neighbour(mac(5))
    assert sources(node) == {PE1}

    node.learn(withdraw(mac_nlri(3, "10.0.0.3"), mac_nlri(4), mac_nlri(5, "2001:db8::5")))
    assert node.hops(3) == node.hops(4) == node.hops(5) == []
    assert node.answer("10.0.0.3") is None
    assert sources(node) == set()


def test_a_withdrawal_need_not_repeat_esi_and_label() -> None:
    node = red()
    node.learn(mac_update(3, "10.0.0.3"))
    node.learn(withdraw(mac_nlri(3, "10.0.0.3", vni=0, esi=b"\1" * 10)))
    assert node.hops(3) == []


def test_a_route_told_again_with_another_vni_changes_the_record() -> None:
    node = red()
    node.learn(mac_update(3))
    node.learn(mac_update(3, vni=6000))
    assert node.hops(3) == [f"{PE1} label 6000 vxlan"]


def test_of_two_label_fields_the_first_is_the_vni_of_the_bridge() -> None:
    """RFC 9135 section 4.2: the second is that of the IP VRF."""
    node = red()
    node.learn(mac_update(3, "10.0.0.3", second=(777).to_bytes(3)))
    assert node.hops(3) == [f"{PE1} label 5000 vxlan"]


def test_a_mac_stays_as_long_as_one_of_its_routes_does() -> None:
    node = red()
    node.learn(update(mac_nlri(3), mac_nlri(3, "10.0.0.3"), mac_nlri(3, "10.0.0.4")))
    node.learn(withdraw(mac_nlri(3), mac_nlri(3, "10.0.0.3")))
    assert node.hops(3) == [f"{PE1} label 5000 vxlan"]
    assert (node.answer("10.0.0.3"), node.answer("10.0.0.4")) == (None, Neighbour(mac(3)))
    node.learn(withdraw(mac_nlri(3, "10.0.0.4")))
    assert node.hops(3) == []


def test_a_route_belongs_to_each_instance_that_imports_one_of_its_targets() -> None:
    node = red()
    node.attach("blue", number=9, imports=(2, 3))
    node.learn(mac_update(3, rt=(1, 3)), mac_update(4, rt=(2,)), mac_update(5, rt=(9,)))
    assert (node.hops(3), node.hops(3, "blue")) == ([f"{PE1} label 5000 vxlan"],) * 2
    assert (node.hops(4), node.hops(4, "blue")) == ([], [f"{PE1} label 5000 vxlan"])
    assert (node.hops(5), node.hops(5, "blue")) == ([], [])
    node.learn(mac_update(3, rt=(2,)))
    assert (node.hops(3), node.hops(3, "blue")) == ([], [f"{PE1} label 5000 vxlan"])


def test_changed_import_targets_bring_and_take_what_is_there() -> None:
    node = red()
    node.attach("blue", number=9, imports=(2,))
    node.learn(mac_update(3, "10.0.0.3"), multicast_update())
    node.attach("blue", number=9, imports=(1,))
    assert (node.hops(3, "blue"), node.floods("blue")) == ([f"{PE1} label 5000 vxlan"],) * 2
    assert node.answer("10.0.0.3", "blue") == Neighbour(mac(3))
    node.attach("blue", number=9, imports=(2,))
    assert (node.hops(3, "blue"), node.floods("blue"), node.answer("10.0.0.3", "blue")) == ([], [], None)
    assert (node.hops(3), node.floods()) == ([f"{PE1} label 5000 vxlan"],) * 2


def test_a_multicast_route_with_ingress_replication_is_a_node_to_flood_to() -> None:
    node = red()
    node.learn(multicast_update(), multicast_update(PE2, 7000))
    assert node.floods() == [f"{PE1} label 5000 vxlan", f"{PE2} label 7000 vxlan"]
    node.learn(multicast_update(vni=5001))
    assert node.floods() == [f"{PE1} label 5001 vxlan", f"{PE2} label 7000 vxlan"]
    node.learn(withdraw(multicast_nlri()))
    assert node.floods() == [f"{PE2} label 7000 vxlan"]


def test_copies_go_to_the_end_of_the_tunnel_and_not_to_the_next_hop() -> None:
    """networking-bagpipe has its local address as next hop and that of its dataplane as tunnel."""
    node = red()
    node.learn(multicast_update(pmsi=ingress(PE2)))
    assert node.floods() == [f"{PE2} label 5000 vxlan"]
    assert sources(node) == {PE2}
    node.learn(multicast_update())
    assert node.floods() == [f"{PE1} label 5000 vxlan"]
    assert sources(node) == {PE1}


def test_a_route_told_by_two_reflectors_is_one_route() -> None:
    node = red()
    for peer in ("192.0.2.1", "192.0.2.2"):
        node.learn(mac_update(3, "10.0.0.3"), multicast_update(), peer=peer)
    assert (node.hops(3), node.floods()) == ([f"{PE1} label 5000 vxlan"],) * 2
    node.learn(withdraw(mac_nlri(3, "10.0.0.3"), multicast_nlri()), peer="192.0.2.1")
    assert (node.hops(3), node.floods()) == ([f"{PE1} label 5000 vxlan"],) * 2
    node.learn(withdraw(mac_nlri(3, "10.0.0.3"), multicast_nlri()), peer="192.0.2.2")
    assert (node.hops(3), node.floods()) == ([], [])


UNUSABLE = [
    (mac_update(3, tunnels=(10,)), "no common encapsulation: it wants mpls, this node has vxlan"),
    (mac_update(3, tunnels=(9,)), "no common encapsulation: it wants nvgre, this node has vxlan"),
    (mac_update(3, tag=7), "its Ethernet tag is 7, and 0 is that of a VLAN-based service"),
    (mac_update(3, octets=bytes.fromhex("01005e000001")), "01:00:5e:00:00:01 is not the MAC of one station"),
    (mac_update(3, octets=bytes(6)), "00:00:00:00:00:00 is not the MAC of one station"),
    (mac_update(3, node=OWN), f"its next hop {OWN} is this node"),
    (mac_update(3, next_hop=bytes(4)), "it has no next hop"),
    (multicast_update(tag=7), "its Ethernet tag is 7, and 0 is that of a VLAN-based service"),
    (multicast_update(pmsi=None), "it has no PMSI tunnel"),
    (multicast_update(pmsi=ingress(OWN)), f"its PMSI tunnel ends at this node, {OWN}"),
    (multicast_update(pmsi=b"\0\3\0\0\1" + bytes(8)), "is not one of ingress replication"),
    (multicast_update(pmsi=b"\0\6\0\0\1\1\2"), "an ingress replication endpoint of 2 octets"),
    (update(discovery_nlri(bytes(10))), "its ESI is not that of a segment"),
    (update(discovery_nlri(b"\1" * 10, tag=5)), "its Ethernet tag is 5, and 0 is that of a VLAN-based service"),
]


@pytest.mark.parametrize(("body", "reason"), UNUSABLE, ids=[each[1] for each in UNUSABLE])
def test_what_cannot_be_used_is_counted_and_explained(body: bytes, reason: str) -> None:
    node = red()
    before = dict(node.tracker.desired)
    node.learn(body)
    assert node.tracker.desired == before
    assert len(node.evi().unusable) == 1
    (said,) = reasons(node)
    assert reason in str(said)


def test_a_route_that_becomes_usable_is_used_and_the_other_way_round() -> None:
    node = red()
    for _ in range(2):
        node.learn(mac_update(3, "10.0.0.3", tunnels=(10,)), multicast_update(tunnels=(10,)))
        assert (node.hops(3), node.answer("10.0.0.3"), node.floods(), sources(node)) == ([], None, [], set())
        assert len(node.evi().unusable) == 2
        node.learn(mac_update(3, "10.0.0.3"), multicast_update())
        assert (node.hops(3), node.floods()) == ([f"{PE1} label 5000 vxlan"],) * 2
        assert node.answer("10.0.0.3") == Neighbour(mac(3))
        assert (node.evi().unusable, sources(node)) == ({}, {PE1})


def test_a_vni_of_0_is_not_used() -> None:
    node = red()
    node.learn(mac_update(3, "10.0.0.3", vni=0), multicast_update(vni=0))
    assert (node.hops(3), node.answer("10.0.0.3"), node.floods()) == ([], None, [])
    node.learn(mac_update(3, "10.0.0.3"))
    assert (node.hops(3), node.answer("10.0.0.3")) == ([f"{PE1} label 5000 vxlan"], Neighbour(mac(3)))


def test_a_label_field_is_a_vni_as_it_stands() -> None:
    """RFC 8365 section 5.1.3; without an encapsulation the field may be a label, if as such it is the own VNI."""
    node = red()
    as_label = 1001 << 4
    node.learn(
        mac_update(3, vni=as_label | 1),
        mac_update(4, vni=as_label | 1, tunnels=()),
        mac_update(5, vni=as_label, tunnels=()),
        mac_update(6, vni=5000 << 4, tunnels=()),
        multicast_update(vni=as_label | 1, tunnels=()),
    )
    assert [hop.split()[2] for number in (3, 4, 5, 6) for hop in node.hops(number)] == [
        str(as_label | 1),
        "1001",
        "1001",
        str(5000 << 4),
    ]
    assert node.floods() == [f"{PE1} label 1001 vxlan"]


def test_the_dummy_dataplane_takes_every_encapsulation() -> None:
    node = red(Node(DUMMY))
    node.learn(mac_update(3, tunnels=(10,)), mac_update(4, tunnels=(9,)))
    assert node.hops(3) == node.hops(4) == [f"{PE1} label 5000 vxlan"]


def test_the_router_flag_of_a_neighbour_is_that_of_its_route() -> None:
    """RFC 9047 section 2: flags 0x01 is the R flag."""
    node = red()
    flagged = b"\x06\x08\x01" + bytes(5)
    node.learn(mac_update(3, "2001:db8::3", communities=flagged), mac_update(4, "2001:db8::4"))
    assert node.answer("2001:db8::3") == Neighbour(mac(3), is_router=True)
    assert node.answer("2001:db8::4") == Neighbour(mac(4))


def test_an_address_that_several_macs_claim_is_answered_with_the_best_claim() -> None:
    node = red()
    node.learn(mac_update(3, "10.0.0.9", node=PE2), mac_update(4, "10.0.0.9", node=PE1))
    assert node.answer("10.0.0.9") == Neighbour(mac(4))
    node.learn(mac_update(3, "10.0.0.9", node=PE2, sequence=1))
    assert node.answer("10.0.0.9") == Neighbour(mac(3))
    node.learn(mac_update(5, "10.0.0.2", sequence=4))
    assert node.answer("10.0.0.2") == Neighbour(mac(5))
    assert node.told_macs == ["fa:16:3e:00:00:02 ip 10.0.0.2 label field 1001"]
    node.learn(withdraw(mac_nlri(5, "10.0.0.2")))
    assert node.answer("10.0.0.2") == Neighbour(mac(2), is_here=True)


def test_the_keys_of_prefix_routes_are_handed_on() -> None:
    node = red()
    told: list[bytes] = []
    tables: list[Table] = []

    def note(table: Table, keys: list[bytes]) -> None:
        tables.append(table)
        told.extend(keys)

    node.instances.on_prefix_routes = note
    value = distinguisher(PE1) + bytes(14) + b"\x18\x0a\x01\x02\x00" + bytes(4) + (9).to_bytes(3)
    node.learn(update(b"\x05" + bytes((len(value),)) + value))
    key = b"\x05" + distinguisher(PE1) + bytes(4) + b"\x18\x0a\x01\x02\x00"
    assert told == [key]
    assert tables[0].entries[key].best.routes[key]
    assert len(node.evi().unusable) == 0


def test_types_that_an_instance_does_not_read_are_passed_over() -> None:
    node = red()
    before = dict(node.tracker.desired)
    value = distinguisher(PE1) + b"\1" * 10 + b"\x20" + bytes((192, 0, 2, 101))
    node.learn(update(b"\x04" + bytes((len(value),)) + value), update(b"\x0b\x03abc"))
    assert node.tracker.desired == before


def test_tunnels_are_taken_from_nodes_that_were_told_as_well() -> None:
    node = red()
    first, second = (ip_address(each).packed for each in (PE1, PE2))
    node.instances.accept_from((first, second))
    node.learn(mac_update(3))
    node.instances.accept_from((second,))
    assert sources(node) == {PE1, PE2}
    node.learn(withdraw(mac_nlri(3)))
    assert sources(node) == {PE2}


def test_many_routes_at_once_are_as_one_by_one() -> None:
    together, alone = red(), red()
    nlri = [mac_nlri(number, f"10.1.0.{number}") for number in range(10, 60)]
    nlri += [mac_nlri(number) for number in range(40, 90)]
    nlri += [mac_nlri(200, "10.1.0.20"), mac_nlri(2), mac_nlri(91, tag=3), mac_nlri(92, vni=0)]
    together.learn(update(*nlri))
    for each in nlri:
        alone.learn(update(each))
    assert together.tracker.desired == alone.tracker.desired
    assert together.evi().unusable == alone.evi().unusable
    assert len(together.tracker.desired) == 4 + 1 + 80 + 50 + 1
    together.learn(withdraw(*nlri))
    assert together.tracker.desired.keys() == red().tracker.desired.keys()


def test_the_work_for_a_route_does_not_grow_with_the_number_of_instances() -> None:
    node = red()
    for number in range(300):
        node.attach(f"other{number}", number=1000 + number, imports=(1000 + number,), exports=(), confirm=False)
    calls = 0
    claim = node.instances.decisions.claim

    def counted(*args: object) -> object:
        nonlocal calls
        calls += 1
        return claim(*args)  # type: ignore[arg-type]

    node.instances.decisions.claim = counted  # type: ignore[method-assign,assignment]
    node.learn(mac_update(2, "10.0.0.2", sequence=3))
    assert 0 < calls < 10


def test_bundles_of_routes_that_went_are_not_kept() -> None:
    node = red()
    for number in range(3000):
        body = mac_update(3, node=LOW, communities=mobility(number + 1) + routes.route_target(number + 1000))
        node.learn(body, confirm=False)
    node.learn(withdraw(mac_nlri(3, node=LOW)))
    gc.collect()
    assert len([each for each in gc.get_objects() if isinstance(each, Bundle)]) < 2200


def test_an_instance_does_not_hear_itself_or_its_neighbour_on_this_node() -> None:
    node = red()
    node.attach("blue", number=9, ip="10.0.0.9", spec={"vni": 1002})
    assert node.hops(9) == []
    assert node.hops(9, "blue") == ["fa:16:3e:00:00:09 at tap9"]
    assert MacAddress(mac(2).packed) in node.evi().macs


def test_a_route_target_derived_from_the_vni_is_one_as_any_other() -> None:
    """RFC 8365 section 5.1.2.1: 0 (derived), type 1 (VXLAN), domain 0 and the VNI after the AS."""
    derived = 0x1000_0000 | 5000
    node = red()
    node.attach("blue", number=9, imports=(derived,))
    node.learn(mac_update(3, rt=(derived,)), multicast_update(rt=(derived,)))
    assert node.hops(3, "blue") == node.floods("blue") == [f"{PE1} label 5000 vxlan"]
    assert "64512:268440456" in node.imported
