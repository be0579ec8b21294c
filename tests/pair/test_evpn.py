"""Hosts with EVPN instances, on a virtual clock: what one attaches the others reach, and a MAC ends in one place."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bagpipe.dataplane.delta import Tracker
from bagpipe.dataplane.model import FloodKey, MacKey, Neighbour, NeighbourKey
from bagpipe.speaker import Retain
from bagpipe.vpn.allocation import Numbers
from bagpipe.vpn.evpn.instances import EvpnInstances
from bagpipe.vpn.settings import VpnSettings
from bagpipe.wire.family import CARRIED, EVPN, RTC, Family
from tests.pair.network import Network, clients_of_a_reflector
from tests.unit.vpn.evpn.node import VXLAN, attachment, key
from tests.unit.vpn.node import mac

WITHOUT_RTC = tuple(family for family in CARRIED if family != RTC)
NAMES = ("one", "two", "three")


class Host:
    """A node of the network with EVPN instances and a dataplane that takes all it is told."""

    def __init__(self, network: Network, name: str, number: int, retain: Retain = Retain.AUTO) -> None:
        self.network = network
        self.speaker = network.node(name, number, retain=retain)
        self.tracker = Tracker()
        router_id = self.speaker.settings.router_id
        self.address = str(router_id)
        told = VpnSettings(64512, router_id, router_id, VXLAN)
        self.instances = EvpnInstances(self.speaker.store, self.speaker, self.tracker, told, Numbers())
        self.instances.clock = lambda: network.now
        self.speaker.importer = self.routes_changed
        self.told = 0
        originate = self.speaker.originate

        def counted(family: Family, *args: Any) -> None:
            self.told += family == EVPN
            originate(family, *args)

        self.speaker.originate = counted  # type: ignore[method-assign,assignment]

    def routes_changed(self) -> None:
        self.instances.routes_changed()
        if not self.instances._is_busy:
            self.confirm()

    def attach(self, number: int, ip: str | None = None, **rest: Any) -> None:
        made = attachment("red", ip, number, spec={"vni": 1000 + self.speaker.settings.router_id.packed[3]}, **rest)
        self.instances.attach(made)
        self.confirm()

    def detach(self, number: int, ip: str | None = None) -> None:
        self.instances.detach("red", key(number, ip), None)
        self.confirm()

    def confirm(self) -> None:
        while self.tracker.has_changes:
            self.tracker.take()
            self.instances.dataplane_settled(self.tracker.settle({}), {})

    def hops(self, number: int) -> list[str]:
        evi = self.instances.instances["red"]
        value = self.tracker.desired.get(MacKey(evi.number, mac(number).packed), ())
        assert isinstance(value, tuple)
        return [str(hop) for hop in value]

    def announces(self, number: int) -> int | None:
        """The sequence number that the MAC is announced with; None: it is not."""
        evi = self.instances.instances.get("red")
        for each in evi.endpoints.values() if evi is not None else ():
            if each.key.mac == mac(number) and self.instances.exports.routes_of(each):
                assert evi is not None
                return evi.hosts[each.mac_record].sequence
        return None


def hosts(network: Network, families: tuple[Family, ...] = CARRIED, names: tuple[str, ...] = NAMES) -> list[Host]:
    return clients_of_a_reflector(network, lambda name, number: Host(network, name, number), names, families)


@pytest.mark.parametrize("families", [CARRIED, WITHOUT_RTC], ids=["rtc", "no rtc"])
def test_what_one_attaches_the_other_reaches_floods_to_and_answers_for(families: tuple[Family, ...]) -> None:
    network = Network()
    one, two, _ = hosts(network, families)
    one.attach(2, "10.0.0.2")
    one.attach(2, "2001:db8::2")
    two.attach(3, "10.0.0.3")
    network.run(5)
    assert two.hops(2) == ["10.0.0.2 label 1002 vxlan"]
    assert one.hops(3) == ["10.0.0.3 label 1003 vxlan"]
    number = two.instances.instances["red"].number
    assert FloodKey(number, bytes((10, 0, 0, 2))) in two.tracker.desired
    answers = [
        NeighbourKey(number, each.ip.packed) for each in (key(2, "10.0.0.2").ip, key(2, "2001:db8::2").ip) if each
    ]
    assert [two.tracker.desired[each] for each in answers] == [Neighbour(mac(2))] * 2

    one.detach(2, "10.0.0.2")
    one.detach(2, "2001:db8::2")
    network.run(5)
    assert two.hops(2) == []
    assert FloodKey(number, bytes((10, 0, 0, 2))) not in two.tracker.desired


def test_an_instance_made_later_or_made_again_gets_what_was_announced_before() -> None:
    network = Network()
    one, two, _ = hosts(network)
    one.attach(2)
    network.run(5)
    for _ in range(2):
        two.attach(3)
        network.run(10)
        assert two.hops(2) == ["10.0.0.2 label 1002 vxlan"]
        two.detach(3)
        network.run(10)
        assert two.tracker.desired == {}


def test_a_machine_that_moves_is_followed_before_it_is_detached_where_it_was() -> None:
    network = Network()
    one, two, three = hosts(network)
    for number, each in enumerate((one, two, three), 10):
        each.attach(number)
    network.run(5)
    one.attach(2, "10.0.0.2")
    network.run(5)
    for turn, (here, there) in enumerate([(two, one), (one, two), (two, one)], 1):
        network.run(100)
        here.attach(2, "10.0.0.2")
        network.run(5)
        assert (here.announces(2), there.announces(2)) == (turn, None)
        expected = f"{here.address} label {1000 + int(here.address[-1])} vxlan"
        assert three.hops(2) == there.hops(2) == [expected]
        assert here.hops(2) == ["fa:16:3e:00:00:02 at tap2"]
        state = there.instances.endpoint_state("red", key(2, "10.0.0.2"))
        assert (state.state, "MAC is now at" in state.reason) == ("in-effect", True)
        there.detach(2, "10.0.0.2")
        network.run(5)
        assert here.announces(2) == turn
        assert three.hops(2) == [expected]


def test_a_mac_on_two_hosts_at_once_stays_with_the_lower_address_and_comes_back_with_it() -> None:
    network = Network()
    one, two, three = hosts(network)
    three.attach(9)
    one.attach(2)
    two.attach(2)
    network.run(5)
    assert (one.announces(2), two.announces(2)) == (0, None)
    assert three.hops(2) == two.hops(2) == ["10.0.0.2 label 1002 vxlan"]
    one.detach(2)
    network.run(5)
    assert two.announces(2) == 0
    assert three.hops(2) == ["10.0.0.3 label 1003 vxlan"]


def test_a_session_that_is_lost_gives_a_mac_back() -> None:
    network = Network()
    one, two, _ = hosts(network)
    two.attach(2)
    network.run(5)
    one.attach(9)
    network.run(5)
    one.attach(2)
    network.run(5)
    assert (one.announces(2), two.announces(2)) == (1, None)
    network.cut("rr", "one", down=True)
    network.run(200)
    assert two.announces(2) == 0
    network.mend("rr", "one")
    network.run(200)
    assert (one.announces(2), two.announces(2)) == (1, None)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000),
    steps=st.lists(st.tuples(st.sampled_from(["attach", "detach"]), st.integers(0, 2), st.integers(0, 4)), max_size=12),
    sticky=st.integers(0, 2),
    present=st.sets(st.integers(0, 2)),
)
def test_whatever_the_order_a_mac_ends_in_one_place_and_all_agree(
    seed: int, steps: list[tuple[str, int, int]], sticky: int, present: set[int]
) -> None:
    """``present`` are the hosts that have the instance before; others ask for its routes when the MAC comes."""
    network = Network(seed, delay=lambda dice: dice.choice((0.001, 0.05, 1.0)))
    made = hosts(network)
    for number, host in enumerate(made):
        host.instances.settling = 5.0
        if number in present:
            host.attach(10 + number)
    network.run(10)
    there: set[int] = set()
    for what, which, wait in steps:
        if what == "attach":
            made[which].attach(2, sticky=which == sticky)
            there.add(which)
        elif which in there:
            made[which].detach(2)
            there.discard(which)
        network.run((0.0, 0.01, 0.2, 3.0, 60.0)[wait])
    network.run(30)
    for host in made:
        host.instances.release_damped(network.now + 1000.0)
        host.confirm()
    network.run(30)

    announcers = [host for host in made if host.announces(2) is not None]
    assert len(announcers) == bool(there)
    told = sum(host.told for host in made)
    network.run(600)
    assert sum(host.told for host in made) == told, "nobody says anything more"
    for host in [host for host in made if "red" in host.instances.instances]:
        if not there:
            assert host.hops(2) == []
        elif host in announcers:
            assert host.hops(2) == ["fa:16:3e:00:00:02 at tap2"]
        else:
            assert [hop.split()[0] for hop in host.hops(2)] == [announcers[0].address]


def test_a_machine_that_moves_to_a_host_without_the_network_is_followed_too() -> None:
    network = Network(delay=lambda dice: 0.1)
    one, two, three = hosts(network)
    for host in (one, two, three):
        host.instances.settling = 5.0
    three.attach(9)
    one.attach(2)
    network.run(20)
    two.attach(2)
    network.run(5)
    assert (one.announces(2), two.announces(2)) == (None, 1)
    assert three.hops(2) == ["10.0.0.3 label 1003 vxlan"]


@pytest.mark.parametrize("seed", range(20))
def test_two_hosts_that_attach_the_same_mac_settle_after_one_exchange(seed: int) -> None:
    network = Network(seed, delay=lambda dice: dice.choice((0.001, 0.05, 1.0)))
    one, two = hosts(network, names=("one", "two"))
    one.attach(10)
    two.attach(11)
    network.run(10)
    before = one.told + two.told
    dice = random.Random(seed)
    for host in dice.sample((one, two), 2):
        host.attach(2)
        network.run(dice.choice((0.0, 0.05, 0.5, 5.0)))
    network.run(60)
    # each says it once; who heard the other first has said a higher number
    assert one.told + two.told - before == 2
    assert sorted(host.announces(2) is not None for host in (one, two)) == [False, True]
