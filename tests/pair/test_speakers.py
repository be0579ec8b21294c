"""Speakers on a virtual clock: what one originates the others hold, whatever happens in between."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bagpipe.session.outputs import Down, Up, Updates
from bagpipe.session.settings import Mode
from bagpipe.speaker import NoticeKind, Retain, Speaker
from bagpipe.wire import update
from bagpipe.wire.capability import GracefulRestart
from bagpipe.wire.family import CARRIED, RTC, VPNV4
from bagpipe.wire.message import MessageType
from tests.pair.network import Network
from tests.pair.world import announce, held, target, withdraw

WITHOUT_RTC = tuple(family for family in CARRIED if family != RTC)


def star(network: Network, clients: int, *, retain: Retain = Retain.ALWAYS) -> None:
    """A reflector ``rr`` and clients ``c1`` …"""
    network.node("rr", 1, reflector=True)
    for number in range(clients):
        name = f"c{number + 1}"
        network.node(name, number + 2, retain=retain)
        network.link("rr", name, clients=(name,))


def test_two_speakers_come_up_and_exchange_routes() -> None:
    network = Network()
    one, two = network.node("one", 1), network.node("two", 2)
    announce(one, "10.0.0.1/32", label=42)
    network.link("one", "two")

    network.run(30)

    assert held(two) == held(one)
    assert len(held(two)) == 1
    withdraw(one, "10.0.0.1/32")
    network.run(1)
    assert held(two) == {}


@pytest.mark.parametrize("modes", [(Mode.ACTIVE, Mode.PASSIVE), (Mode.PASSIVE, Mode.ACTIVE), (Mode.BOTH, Mode.BOTH)])
def test_any_combination_of_who_connects_comes_up_once(modes: tuple[Mode, Mode]) -> None:
    network = Network()
    one, two = network.node("one", 1), network.node("two", 2)
    network.link("one", "two", modes=modes)

    network.run(60)

    assert one.peers["two"].negotiated is not None
    assert two.peers["one"].negotiated is not None
    assert len([n for _, n in network.notices if n.kind is NoticeKind.SESSION_UP]) == 2  # type: ignore[attr-defined]


def test_a_session_survives_an_hour_of_silence() -> None:
    network = Network()
    network.node("one", 1)
    network.node("two", 2)
    network.link("one", "two", hold_time=9)

    network.run(3600)

    assert [n.kind for _, n in network.notices] == [NoticeKind.SESSION_UP] * 2  # type: ignore[attr-defined]
    for name, other in (("one", "two"), ("two", "one")):
        assert network.nodes[name].peers[other].neighbor.counters.sent[MessageType.UPDATE] < 10


def test_a_reflector_brings_clients_the_routes_of_the_others() -> None:
    network = Network()
    star(network, 3)
    network.run(30)

    for number in (1, 2, 3):
        announce(network.nodes[f"c{number}"], f"10.{number}.0.0/24", label=number + 100)
    network.run(5)

    views = [held(node) for node in network.nodes.values()]
    assert len(views[0]) == 3
    assert all(view == views[0] for view in views)


def test_a_reflector_that_asks_for_all_tells_no_other_membership() -> None:
    network = Network()
    star(network, 2, retain=Retain.AUTO)
    network.nodes["c1"].import_route_target(target(7))
    network.run(30)

    assert [row.nlri for row in network.nodes["rr"].routes(RTC)] == ["default", "64512:64512:7"]
    assert [row.nlri for row in network.nodes["c2"].routes(RTC)] == ["default"]


def test_a_reflector_without_the_default_membership_passes_on_those_of_its_clients() -> None:
    network = Network()
    network.node("rr", 1, reflector=True, default_membership=False, retain=Retain.AUTO)
    for number, name in enumerate(("c1", "c2"), start=2):
        network.node(name, number, retain=Retain.AUTO)
        network.link("rr", name, clients=(name,))
    network.run(30)
    announce(network.nodes["c1"], "10.0.0.1/32", rt=7)
    network.run(1)
    assert held(network.nodes["rr"]) == {}

    network.nodes["c2"].import_route_target(target(7))
    network.run(1)

    assert [row.nlri for row in network.nodes["c1"].routes(RTC)] == ["64512:64512:7"]
    assert held(network.nodes["c2"]) == held(network.nodes["c1"])


def test_nothing_is_held_for_route_targets_that_nobody_here_imports() -> None:
    network = Network()
    star(network, 2, retain=Retain.AUTO)
    network.run(30)
    one, two = network.nodes["c1"], network.nodes["c2"]
    announce(one, "10.0.0.1/32", rt=1)
    announce(one, "10.0.0.2/32", rt=2)

    two.import_route_target(target(1))
    network.run(5)
    assert [name.split(":")[-1] for name in held(two)] == ["10.0.0.1/32"]
    two.import_route_target(target(2))
    network.run(5)
    assert len(held(two)) == 2
    two.cease_import(target(1))
    network.run(5)

    assert [name.split(":")[-1] for name in held(two)] == ["10.0.0.2/32"]
    assert len(two.store.by_route_target) == 1


@pytest.mark.parametrize("retain", [Retain.AUTO, Retain.NEVER, Retain.ALWAYS])
def test_without_rtc_a_new_import_takes_effect_by_refresh_or_by_what_is_kept(retain: Retain) -> None:
    network = Network()
    one = network.node("one", 1)
    two = network.node("two", 2, retain=retain)
    network.link("one", "two", families=WITHOUT_RTC)
    announce(one, "10.0.0.1/32", rt=1)
    announce(one, "10.0.0.2/32", rt=2)
    network.run(30)
    assert len(held(two)) == (2 if retain is Retain.ALWAYS else 0)

    two.import_route_target(target(1))
    network.run(5)

    expected = 2 if retain is Retain.ALWAYS else 1
    assert len(held(two)) == expected
    assert sum(len(keys) for _, keys in two.store.take_wanted_changes(CARRIED)) == 1


def test_a_deaf_client_does_not_hold_up_the_others_and_ends_in_the_last_state() -> None:
    network = Network()
    star(network, 3)
    network.run(30)
    network.deaf.add(("rr", "c3"))

    for turn in range(300):
        announce(network.nodes["c1"], f"10.0.{turn % 20}.0/24", label=turn + 16)
        network.run(0.01)
    assert held(network.nodes["c2"]) == held(network.nodes["c1"])
    assert held(network.nodes["c3"]) == {}
    network.hear_again("rr", "c3")
    network.run(1)

    assert held(network.nodes["c3"]) == held(network.nodes["c1"])


def test_a_dead_client_is_noticed_by_the_hold_timer() -> None:
    network = Network()
    star(network, 2)
    network.run(30)
    announce(network.nodes["c1"], "10.0.0.1/32")
    network.run(1)

    del network.nodes["c1"]
    network.run(200)

    assert network.nodes["rr"].peers["c1"].negotiated is None
    assert held(network.nodes["c2"]) == {}


def test_a_removed_peer_takes_its_routes_along() -> None:
    network = Network()
    one, two = network.node("one", 1), network.node("two", 2)
    announce(one, "10.0.0.1/32")
    network.link("one", "two")
    network.run(30)

    actions = two.remove_peer("one", network.now)

    assert held(two) == {}
    assert [type(action).__name__ for action in actions] == ["Send", "Close"]
    assert two.counts().attribute_blocks == 1


def test_a_prefix_limit_warns_first_and_ends_the_session_after() -> None:
    network = Network()
    one, two = network.node("one", 1), network.node("two", 2)
    network.link("one", "two", maximum_prefixes=8)
    network.run(30)

    for number in range(6):
        announce(one, f"10.0.0.{number}/32")
    network.run(1)
    kinds = [n.kind for name, n in network.notices if name == "two"]  # type: ignore[attr-defined]
    assert kinds.count(NoticeKind.PREFIX_WARNING) == 1
    assert len(held(two)) == 6
    for number in range(6, 9):
        announce(one, f"10.0.0.{number}/32")
    network.run(0.5)

    kinds = [n.kind for name, n in network.notices if name == "two"]  # type: ignore[attr-defined]
    assert NoticeKind.PREFIX_LIMIT in kinds
    assert held(two) == {}


def test_every_byte_its_own_segment_changes_nothing() -> None:
    network = Network()
    network.piece = 1
    star(network, 2)
    network.run(30)

    for number in range(40):
        announce(network.nodes["c1"], f"10.0.0.{number}/32", label=number + 16)
    network.run(30)

    assert held(network.nodes["c2"]) == held(network.nodes["c1"])
    assert len(held(network.nodes["c2"])) == 40


step = st.tuples(
    st.sampled_from(("announce", "withdraw", "cut", "partition", "restart", "wait")),
    st.integers(0, 3),
    st.integers(0, 7),
)


@settings(max_examples=100, deadline=None)
@given(steps=st.lists(step, max_size=25), seed=st.integers(0, 1000), rtc=st.booleans())
def test_whatever_happens_two_speakers_converge(steps: list[tuple[str, int, int]], seed: int, rtc: bool) -> None:
    network = Network(seed, delay=lambda dice: dice.choice((0.001, 0.05, 2.0)))
    names = ("one", "two")
    wanted: dict[str, dict[str, int]] = {name: {} for name in names}

    def make(name: str) -> None:
        speaker = network.node(name, names.index(name) + 1)
        for prefix, label in wanted[name].items():
            announce(speaker, prefix, label=label)

    for name in names:
        make(name)
    network.link("one", "two", families=CARRIED if rtc else WITHOUT_RTC, hold_time=30)
    dice = random.Random(seed)
    for what, which, number in steps:
        name = names[which % 2]
        prefix = f"10.{names.index(name)}.{number}.0/24"
        if what == "announce":
            label = dice.randrange(16, 1000)
            wanted[name][prefix] = label
            announce(network.nodes[name], prefix, label=label)
        elif what == "withdraw":
            wanted[name].pop(prefix, None)
            withdraw(network.nodes[name], prefix)
        elif what == "cut":
            network.cut(*names)
        elif what == "partition":
            network.cut(*names, down=True)
            network.run(number * 10)
            network.mend(*names)
        elif what == "restart":
            network.restart(name, lambda name=name: make(name))  # type: ignore[misc]
        network.run(dice.choice((0.01, 1.0, 40.0)))
    network.run(900)

    assert held(network.nodes["one"]) == held(network.nodes["two"])
    assert len(held(network.nodes["one"])) == sum(map(len, wanted.values()))
    for name in names:
        peer = network.nodes[name].peers[names[1 - names.index(name)]]
        assert peer.negotiated is not None
        assert peer.adj_rib_in is not None
        assert peer.adj_rib_in.count(VPNV4) == len(wanted[names[1 - names.index(name)]])


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(step, max_size=25), seed=st.integers(0, 1000), default=st.booleans())
def test_whatever_happens_clients_of_a_reflector_hold_what_they_import(
    steps: list[tuple[str, int, int]], seed: int, default: bool
) -> None:
    """Client ``ci`` imports route targets i and i+1; every route has one route target."""
    network = Network(seed, delay=lambda dice: dice.choice((0.001, 0.05, 1.0)))
    clients = ("c1", "c2", "c3")
    wanted: dict[str, dict[str, tuple[int, int]]] = {name: {} for name in clients}

    def make(name: str) -> None:
        number = int(name[1:])
        speaker = network.node(name, number + 1, retain=Retain.AUTO)
        for rt in (number, number + 1):
            speaker.import_route_target(target(rt))
        for prefix, (label, rt) in wanted[name].items():
            announce(speaker, prefix, label=label, rt=rt)

    network.node("rr", 1, reflector=True, default_membership=default, retain=Retain.AUTO)
    for name in clients:
        make(name)
        network.link("rr", name, clients=(name,), hold_time=30)
    dice = random.Random(seed)
    for what, which, number in steps:
        name = clients[which % 3]
        prefix = f"10.{which % 3}.{number}.0/24"
        if what == "announce":
            label, rt = dice.randrange(16, 1000), dice.randrange(1, 6)
            wanted[name][prefix] = (label, rt)
            announce(network.nodes[name], prefix, label=label, rt=rt)
        elif what == "withdraw":
            wanted[name].pop(prefix, None)
            withdraw(network.nodes[name], prefix)
        elif what == "cut":
            network.cut("rr", name)
        elif what == "partition":
            network.cut("rr", name, down=True)
            network.run(number * 10)
            network.mend("rr", name)
        elif what == "restart" and which == 3:
            network.restart(
                "rr", lambda: network.node("rr", 1, reflector=True, default_membership=default, retain=Retain.AUTO)
            )
        elif what == "restart":
            network.restart(name, lambda name=name: make(name))  # type: ignore[misc]
        network.run(dice.choice((0.01, 1.0, 40.0)))
    network.run(900)

    if default:
        assert len(held(network.nodes["rr"])) == sum(map(len, wanted.values()))
    for name in clients:
        number = int(name[1:])
        others = [routes for other, routes in wanted.items() if other != name]
        expected = sum(1 for routes in others for _, rt in routes.values() if rt in (number, number + 1))
        assert len(held(network.nodes[name], own=False)) == expected


def test_a_restarting_neighbour_keeps_its_routes_until_it_has_told_them_again() -> None:
    """RFC 4724 section 4.2, seen from the helper, with a peer that preserves its forwarding state."""
    network = Network()
    one, two = network.node("one", 1), network.node("two", 2)
    announce(one, "10.0.0.1/32")
    announce(one, "10.0.0.2/32")
    network.link("one", "two", families=WITHOUT_RTC)
    network.run(30)
    session = two.peers["one"]
    assert session.negotiated is not None
    restartable = replace(
        session.negotiated, peer_graceful_restart=GracefulRestart(120, ((VPNV4, True),), restarting=True)
    )
    session.negotiated = restartable

    session._down(Down("connection reset", True), network.now)
    assert len(held(two)) == 2
    session._up(Up(99, restartable), network.now)
    assert len(held(two)) == 2
    assert session.adj_rib_in is not None
    session.adj_rib_in.learn([_announcement_of(one, "10.0.0.1/32")])
    session._digest([Updates([update.end_of_rib(VPNV4)[19:]])], network.now)

    assert [name.split(":")[-1] for name in held(two)] == ["10.0.0.1/32"]


def test_a_restarting_neighbour_that_stays_away_loses_its_routes_at_the_restart_time() -> None:
    network = Network()
    one, two = network.node("one", 1), network.node("two", 2)
    announce(one, "10.0.0.1/32")
    network.link("one", "two", families=WITHOUT_RTC)
    network.run(30)
    session = two.peers["one"]
    assert session.negotiated is not None
    session.negotiated = replace(session.negotiated, peer_graceful_restart=GracefulRestart(120, ((VPNV4, True),)))

    session._down(Down("connection reset", True), network.now)
    session.tick(network.now + 119)
    assert len(held(two)) == 1
    session.tick(network.now + 121)

    assert held(two) == {}


def _announcement_of(speaker: Speaker, prefix: str) -> bytes:
    """The UPDATE body by which ``speaker`` would tell its route."""
    for table in speaker.store.tables_of(VPNV4):
        for key, entry in table.entries.items():
            if prefix in str(table.codec.decode(table.shape, key, entry.best.routes[key])):
                nlri = [table.codec.join(table.shape, key, entry.best.routes[key])]
                attributes = entry.best.attributes
                return update.announce(VPNV4, attributes.next_hop, attributes.block, nlri, 4096)[0][19:]
    raise AssertionError(prefix)
