"""A MAC that is attached while neighbours still tell where it was: the instance began to import only then."""

from __future__ import annotations

from tests.unit.vpn.evpn.node import LOW, PE1, PE2, Node, mac_nlri, mac_update, withdraw

HERE = ["fa:16:3e:00:00:02 at tap2"]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def begun() -> tuple[Node, Clock]:
    """An instance that has been made by this very attachment, on a node whose neighbours have five seconds."""
    node, clock = Node(), Clock()
    node.instances.clock = clock
    node.instances.settling = 5.0
    node.attach(spec={"vni": 1001})
    return node, clock


def sequences(node: Node) -> list[str]:
    return [each for told in node.told().values() for each in told if each.startswith("mac-mobility")]


def test_a_route_that_comes_after_the_attachment_and_was_there_before_it_is_outbid() -> None:
    node, clock = begun()
    clock.now += 0.2
    node.learn(mac_update(2, "10.0.0.2", node=PE1, sequence=3))
    assert node.hops(2) == HERE
    assert sequences(node) == ["mac-mobility:4"]
    # the other node withdraws it, and all is quiet
    node.learn(withdraw(mac_nlri(2, "10.0.0.2", node=PE1)))
    assert (node.hops(2), sequences(node)) == (HERE, ["mac-mobility:4"])


def test_it_is_outbid_once_so_that_two_who_begin_at_the_same_time_come_to_rest() -> None:
    node, clock = begun()
    clock.now += 0.2
    node.learn(mac_update(2, "10.0.0.2", node=LOW))
    assert sequences(node) == ["mac-mobility:1"]
    node.learn(mac_update(2, "10.0.0.2", node=LOW, sequence=3))
    assert node.hops(2) == [f"{LOW} label 5000 vxlan"]
    assert sequences(node) == []


def test_a_machine_that_leaves_again_at_once_is_let_go() -> None:
    node, clock = begun()
    assert sequences(node) == []
    clock.now += 0.5
    node.learn(mac_update(2, "10.0.0.2", node=PE1, sequence=1))
    assert node.hops(2) == [f"{PE1} label 5000 vxlan"]
    assert sequences(node) == []


def test_what_is_told_later_is_a_move_away_from_here() -> None:
    node, clock = begun()
    clock.now += 5.0
    node.learn(mac_update(2, "10.0.0.2", node=PE1, sequence=1))
    assert node.hops(2) == [f"{PE1} label 5000 vxlan"]


def test_in_an_instance_that_has_heard_all_long_ago_nothing_is_early() -> None:
    node, clock = begun()
    clock.now += 60.0
    node.attach(number=3, ip="10.0.0.3", spec={"vni": 1001})
    node.learn(mac_update(3, "10.0.0.3", node=PE2, sequence=1))
    assert node.hops(3) == [f"{PE2} label 5000 vxlan"]


def test_a_mac_that_never_moves_is_not_outbid() -> None:
    node, clock = begun()
    clock.now += 0.2
    node.learn(mac_update(2, "10.0.0.2", node=PE1, sticky=True))
    assert node.hops(2) == [f"{PE1} label 5000 vxlan"]
    assert sequences(node) == []
