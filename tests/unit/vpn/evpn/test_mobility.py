"""MAC mobility (RFC 7432 section 15): who has a MAC that several nodes claim, and when this node announces its own."""

from __future__ import annotations

import pytest

from bagpipe.dataplane.model import MacKey, Neighbour
from bagpipe.vpn.attachment import Reserved
from bagpipe.vpn.evpn.claims import MAXIMUM_SEQUENCE
from bagpipe.vpn.evpn.explain import competition
from tests.unit.vpn.evpn.node import LOW, PE1, PE2, PE3, Node, key, mac_nlri, mac_update, withdraw
from tests.unit.vpn.node import mac

HERE = ["fa:16:3e:00:00:02 at tap2"]
MINE = "fa:16:3e:00:00:02 ip 10.0.0.2 label field 1001"
GATEWAY = b"\x03\x0d" + bytes(6)


def red() -> Node:
    node = Node()
    node.attach(number=9, ip="10.0.0.9", spec={"vni": 1001})
    return node


def at(node: str, vni: int = 5000) -> list[str]:
    return [f"{node} label {vni} vxlan"]


def told_of(node: Node, number: int = 2) -> tuple[str, ...]:
    """The communities that the MAC is announced with, the encapsulation and the route target left out."""
    found = [told for text, told in node.told().items() if f" mac {mac(number)} " in text]
    assert len(found) <= 1
    return tuple(each for each in found[0] if each.startswith("mac-mobility")) if found else ("not announced",)


def why(node: Node, number: int = 2) -> list[tuple[str, str]]:
    evi = node.evi()
    found = competition(evi, MacKey(evi.number, mac(number).packed), node.instances.decisions)
    return [(each.node, each.reason) for each in found]


def test_of_several_routes_the_higher_sequence_number_wins_and_then_the_lower_address() -> None:
    node = red()
    node.learn(mac_update(2, node=PE2), mac_update(2, node=PE1))
    assert node.hops(2) == at(PE1)
    assert why(node) == [
        (PE1, f"lower address ({PE1} against {PE2})"),
        (PE2, f"beaten: lower address ({PE1} against {PE2})"),
    ]
    node.learn(mac_update(2, node=PE3, sequence=1))
    assert node.hops(2) == at(PE3)
    assert why(node)[0] == (PE3, "higher sequence number (1 against 0)")
    node.learn(withdraw(mac_nlri(2, node=PE3)))
    assert node.hops(2) == at(PE1)


def test_a_sticky_mac_does_not_move_whatever_the_sequence_number() -> None:
    """RFC 7432 section 15.2."""
    node = red()
    node.learn(mac_update(2, node=PE2, sticky=True), mac_update(2, node=PE1, sequence=7))
    assert node.hops(2) == at(PE2)
    assert why(node)[0] == (PE2, "it is sticky")


def test_the_mac_of_a_default_gateway_does_not_move() -> None:
    """RFC 7432 section 10.1; its sequence number means nothing."""
    node = red()
    node.learn(mac_update(2, node=PE2, communities=GATEWAY), mac_update(2, node=PE1, sequence=7))
    assert node.hops(2) == at(PE2)
    assert why(node)[0] == (PE2, "it is the default gateway's")
    node.learn(mac_update(2, node=PE3, sequence=5, communities=GATEWAY))
    assert node.hops(2) == at(PE2)


def test_a_mac_attached_here_and_known_elsewhere_is_announced_with_the_next_sequence_number() -> None:
    node = red()
    node.learn(mac_update(2, "10.0.0.2", node=PE1), mac_update(2, node=PE2, sequence=4))
    attached = node.attach(confirm=False)
    assert node.told_macs == ["fa:16:3e:00:00:09 ip 10.0.0.9 label field 1001"]
    node.confirm()
    assert node.hops(2) == HERE
    assert told_of(node) == ("mac-mobility:5",)
    assert attached.reserved.sequence == 5
    assert node.instances.endpoint_state("red", key(2, "10.0.0.2")).reason == ""


def test_a_mac_attached_for_the_first_time_has_no_mobility() -> None:
    node = red()
    node.attach()
    assert told_of(node) == ()
    node.attach(sticky=True)
    assert told_of(node) == ("mac-mobility:0:sticky",)


def test_attaching_again_does_not_raise_the_sequence_number() -> None:
    node = red()
    node.learn(mac_update(2))
    first = node.attach().reserved
    node.learn(mac_update(2, sequence=1))
    assert node.attach().reserved.sequence == first.sequence == 1
    node.attach(ip="10.0.0.3")
    assert set(node.told().values()) >= {("encapsulation:vxlan", "mac-mobility:1", "target:64512:1")}


def test_a_restart_keeps_the_sequence_number_and_does_not_raise_it() -> None:
    node = red()
    node.learn(mac_update(2, sequence=6))
    attached = node.attach(reserved=Reserved(0, 0, -1, 0, 7))
    assert attached.reserved.sequence == 7
    assert told_of(node) == ("mac-mobility:7",)
    other = red()
    other.learn(mac_update(2, sequence=8))
    assert other.attach(reserved=Reserved(0, 0, -1, 0, 7)).reserved.sequence == 7
    assert told_of(other) == ("not announced",)


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        ({"node": PE1, "sequence": 1}, f"MAC is now at {PE1}, sequence 1 (here: sequence 0)"),
        ({"node": LOW}, f"MAC is now at {LOW}, sequence 0 (here: sequence 0)"),
        ({"node": PE1, "sticky": True}, f"MAC is now at {PE1}, sequence 0, sticky (here: sequence 0)"),
        ({"node": PE1, "communities": GATEWAY}, f"MAC is now at {PE1}, default gateway (here: sequence 0)"),
    ],
    ids=["higher sequence", "lower address", "sticky", "gateway"],
)
def test_a_better_claim_takes_the_mac_away_until_it_goes(claim: dict[str, object], reason: str) -> None:
    node = red()
    node.attach()
    body = mac_update(2, "10.0.0.2", **claim)  # type: ignore[arg-type]
    node.learn(body)
    assert node.hops(2) == at(str(claim["node"]))
    assert told_of(node) == ("not announced",)
    state = node.instances.endpoint_state("red", key(2, "10.0.0.2"))
    assert (state.state, state.reason) == ("in-effect", reason)
    assert node.answer("10.0.0.2") == Neighbour(mac(2))
    assert [text for text in node.told() if text.startswith("multicast")]

    node.learn(withdraw(mac_nlri(2, "10.0.0.2", node=str(claim["node"]))), confirm=False)
    assert node.hops(2) == HERE
    assert told_of(node) == ("not announced",), "the record has to be in effect before"
    node.confirm()
    assert told_of(node) == ()
    assert node.instances.endpoint_state("red", key(2, "10.0.0.2")).reason == ""


def test_our_route_is_withdrawn_before_frames_go_elsewhere() -> None:
    node = red()
    node.attach()
    seen: list[list[str]] = []
    put = node.tracker.set

    def watched(record: object, value: object) -> None:
        if isinstance(record, MacKey) and record.octets == mac(2).packed:
            seen.append([text for text in node.told_macs if text.startswith(str(mac(2)))])
        put(record, value)  # type: ignore[arg-type]

    node.tracker.set = watched  # type: ignore[method-assign,assignment]
    node.learn(mac_update(2, sequence=3))
    assert seen == [[]]


def test_an_equal_claim_from_a_higher_address_changes_nothing() -> None:
    node = red()
    node.attach()
    node.learn(mac_update(2, node=PE1))
    assert node.hops(2) == HERE
    assert told_of(node) == ()


def test_a_sticky_mac_of_this_node_is_not_taken_away() -> None:
    node = red()
    node.attach(sticky=True)
    node.learn(mac_update(2, sequence=9))
    assert node.hops(2) == HERE
    assert told_of(node) == ("mac-mobility:0:sticky",)
    node.attach(sticky=False)
    assert node.hops(2) == at(PE1)
    assert told_of(node) == ("not announced",)


def test_a_mac_that_does_not_move_elsewhere_is_not_outbid() -> None:
    node = red()
    node.learn(mac_update(2, sticky=True, sequence=3))
    assert node.attach().reserved.sequence == 0
    assert told_of(node) == ("not announced",)
    assert node.instances.endpoint_state("red", key(2, "10.0.0.2")).state == "in-effect"


def test_the_highest_sequence_number_is_not_passed() -> None:
    node = red()
    node.learn(mac_update(2, node=PE1, sequence=MAXIMUM_SEQUENCE))
    assert node.attach().reserved.sequence == MAXIMUM_SEQUENCE
    assert node.hops(2) == HERE, "equal claims: the lower address"


def test_an_unusable_route_is_no_claim() -> None:
    node = red()
    node.learn(mac_update(2, sequence=5, tunnels=(10,)))
    assert node.attach().reserved.sequence == 0
    assert told_of(node) == ()


def shuttle(node: Node, times: int, seconds: float) -> None:
    """The MAC comes here and goes to PE1, again and again."""
    for _ in range(times):
        known = node.attach().reserved.sequence
        node.now += seconds
        node.learn(mac_update(2, sequence=known + 1))
        node.now += seconds
        node.detach()


def test_a_mac_that_moves_too_often_is_held_where_it_is_for_a_while() -> None:
    """RFC 7432 section 15.1: five moves within 180 seconds."""
    node = red()
    held: list[tuple[str, str]] = []
    node.instances.on_held = lambda evi, mac: held.append((evi.external_id, str(mac)))
    shuttle(node, 2, 1.0)
    node.attach()
    assert node.hops(2) == HERE
    assert held == []
    assert node.evi().moves.count(mac(2).packed, node.now) == 4
    node.learn(mac_update(2, sequence=9))
    assert node.hops(2) == at(PE1)
    assert node.evi().moves.frozen == {mac(2).packed: (bytes((192, 0, 2, 101)), node.now + 180.0)}
    assert held == [("red", str(mac(2)))]
    assert "held where it is" in node.instances.endpoint_state("red", key(2, "10.0.0.2")).reason

    node.learn(mac_update(2, node=PE2, sequence=20))
    assert node.hops(2) == at(PE1)
    assert why(node)[0] == (PE1, "the MAC has moved too often and is held here")
    assert why(node)[1] == (PE2, "beaten: the MAC has moved too often and is held elsewhere")
    node.detach()
    assert node.attach().reserved.sequence == 0, "it is not outbid either"

    end = node.now + 180.0
    assert node.instances.release_damped(node.now + 1.0) == end
    assert node.hops(2) == at(PE1)
    assert node.instances.release_damped(end) is None
    assert node.hops(2) == at(PE2)
    assert node.instances.endpoint_state("red", key(2, "10.0.0.2")).reason == (
        f"MAC is now at {PE2}, sequence 20 (here: sequence 0)"
    )


def test_a_mac_that_is_held_here_stays_announced() -> None:
    node = red()
    shuttle(node, 2, 1.0)
    node.learn(withdraw(mac_nlri(2)))
    node.attach()
    node.learn(mac_update(2, node=PE1, sequence=9))
    node.learn(withdraw(mac_nlri(2)))
    assert node.evi().moves.frozen.keys() == {mac(2).packed}
    node.learn(mac_update(2, node=PE1, sequence=20), mac_update(2, node=PE2, sequence=30))
    assert node.hops(2) == HERE
    assert told_of(node) == ()
    assert node.instances.endpoint_state("red", key(2, "10.0.0.2")).reason == (
        "the MAC has moved too often and is held where it is"
    )
    node.instances.release_damped(node.now + 180.0)
    assert node.hops(2) == at(PE2)
    assert told_of(node) == ("not announced",)


def test_a_held_mac_is_let_go_if_it_is_not_there_any_more() -> None:
    node = red()
    shuttle(node, 2, 1.0)
    node.attach()
    node.learn(mac_update(2, sequence=9), mac_update(2, node=PE2, sequence=3))
    assert node.hops(2) == at(PE1)
    node.learn(withdraw(mac_nlri(2, node=PE1)))
    assert node.hops(2) == HERE
    assert told_of(node) == ("mac-mobility:4",)


def test_moves_with_time_between_them_are_no_duplicates() -> None:
    node = red()
    shuttle(node, 10, 50.0)
    assert node.evi().moves.frozen == {}
    assert node.instances.release_damped(node.now + 1000.0) is None
    assert node.evi().moves.count(mac(2).packed, node.now) == 0
