"""Hosts with VPN instances behind a reflector, on a virtual clock: what one attaches the others forward to."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from bagpipe.dataplane.delta import Tracker
from bagpipe.dataplane.model import ForwardKey, Key, SourceKey
from bagpipe.speaker import Retain
from bagpipe.vpn.allocation import Numbers
from bagpipe.vpn.instances import Instances, VpnSettings
from bagpipe.wire.family import CARRIED, RTC, Family
from tests.pair.network import Network, clients_of_a_reflector
from tests.unit.vpn.node import GRE, attachment, key, prefix

WITHOUT_RTC = tuple(family for family in CARRIED if family != RTC)


class Host:
    """A node of the network with instances and a dataplane that takes all it is told."""

    def __init__(self, network: Network, name: str, number: int, retain: Retain) -> None:
        self.speaker = network.node(name, number, retain=retain)
        self.tracker = Tracker()
        router_id = self.speaker.settings.router_id
        settings = VpnSettings(64512, router_id, router_id, GRE)
        self.instances = Instances(self.speaker.store, self.speaker, self.tracker, settings, Numbers())
        self.speaker.importer = self.instances.routes_changed

    def confirm(self) -> None:
        self.tracker.take()
        self.instances.dataplane_settled(self.tracker.settle({}), {})

    def hops(self, instance: str, destination: str) -> list[str]:
        number = self.instances.instances[instance].number
        value = self.tracker.desired.get(ForwardKey(number, prefix(destination)), ())
        assert isinstance(value, tuple)
        return [str(hop) for hop in value]


def hosts(network: Network, retain: Retain, families: tuple[Family, ...]) -> tuple[Host, Host]:
    made = clients_of_a_reflector(
        network, lambda name, number: Host(network, name, number, retain), ("one", "two"), families
    )
    return made[0], made[1]


@pytest.mark.parametrize("families", [CARRIED, WITHOUT_RTC], ids=["rtc", "no rtc"])
@pytest.mark.parametrize("retain", [Retain.AUTO, Retain.ALWAYS])
def test_an_endpoint_on_one_host_is_a_next_hop_on_the_other(retain: Retain, families: tuple[Family, ...]) -> None:
    network = Network()
    one, two = hosts(network, retain, families)
    one.instances.attach(attachment("red", "10.0.0.2", 2))
    one.instances.attach(attachment("red", "2001:db8::2", 2))
    two.instances.attach(attachment("red", "10.0.0.3", 3))
    network.run(5)
    assert two.hops("red", "10.0.0.2/32") == []
    one.confirm()
    two.confirm()
    network.run(5)
    assert two.hops("red", "10.0.0.2/32") == ["10.0.0.2 label 16 mpls-gre"]
    assert two.hops("red", "2001:db8::2/128") == ["10.0.0.2 label 17 mpls-gre"]
    assert one.hops("red", "10.0.0.3/32") == ["10.0.0.3 label 16 mpls-gre"]
    assert SourceKey(IPv4Address("10.0.0.2").packed) in two.tracker.desired

    one.instances.detach("red", key(2, "10.0.0.2"), None)
    network.run(5)
    assert two.hops("red", "10.0.0.2/32") == []


@pytest.mark.parametrize("families", [CARRIED, WITHOUT_RTC], ids=["rtc", "no rtc"])
def test_an_instance_made_later_or_made_again_gets_what_was_announced_before(families: tuple[Family, ...]) -> None:
    network = Network()
    one, two = hosts(network, Retain.AUTO, families)
    one.instances.attach(attachment("red", "10.0.0.2", 2))
    one.confirm()
    network.run(5)
    for _ in range(2):
        two.instances.attach(attachment("red", "10.0.0.3", 3))
        network.run(10)
        assert two.hops("red", "10.0.0.2/32") == ["10.0.0.2 label 16 mpls-gre"]
        two.instances.detach("red", key(3, "10.0.0.3"), None)
        network.run(10)
        assert two.tracker.desired == {}


def test_a_changed_export_target_moves_the_route_without_a_gap_for_those_who_import_both() -> None:
    network = Network()
    one, two = hosts(network, Retain.AUTO, CARRIED)
    one.instances.attach(attachment("red", "10.0.0.2", 2, exports=(1,)))
    two.instances.attach(attachment("both", "10.0.0.3", 3, imports=(1, 5)))
    two.instances.attach(attachment("new", "10.0.0.4", 4, imports=(5,)))
    one.confirm()
    network.run(5)
    removed: list[Key] = []
    remove = two.tracker.remove

    def watched(key: Key) -> None:
        removed.append(key)
        remove(key)

    two.tracker.remove = watched  # type: ignore[method-assign]
    one.instances.attach(attachment("red", "10.0.0.2", 2, exports=(5,)))
    network.run(5)
    assert two.hops("both", "10.0.0.2/32") == two.hops("new", "10.0.0.2/32") == ["10.0.0.2 label 16 mpls-gre"]
    assert removed == []


def test_routes_of_a_lost_session_go_and_come_back_with_it() -> None:
    network = Network()
    one, two = hosts(network, Retain.AUTO, CARRIED)
    one.instances.attach(attachment("red", "10.0.0.2", 2))
    two.instances.attach(attachment("red", "10.0.0.3", 3))
    one.confirm()
    network.run(5)
    assert two.hops("red", "10.0.0.2/32") != []
    network.cut("rr", "one", down=True)
    network.run(200)
    assert two.hops("red", "10.0.0.2/32") == []
    network.mend("rr", "one")
    network.run(200)
    assert two.hops("red", "10.0.0.2/32") == ["10.0.0.2 label 16 mpls-gre"]
