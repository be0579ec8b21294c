"""Hosts whose IP VPN instances EVPN carries, behind a reflector, on a virtual clock."""

from __future__ import annotations

import pytest

from bagpipe.dataplane.model import ForwardKey, SourceKey
from bagpipe.speaker import Retain
from bagpipe.vpn.attachment import CarriedBy
from bagpipe.vpn.instances import VpnSettings
from bagpipe.vpn.vpns import Vpns
from bagpipe.wire.family import CARRIED, EVPN, RTC, VPNV4, Family
from tests.pair.network import Network, clients_of_a_reflector
from tests.unit.vpn.node import attachment, key, prefix, rts
from tests.unit.vpn.prefix_node import BOTH, BOTH_WAYS, EVPN_ALONE, ROUTER, VPN

WITHOUT_RTC = tuple(family for family in CARRIED if family != RTC)


class Host:
    """A node of the network with both kinds of instances and a dataplane that takes all it is told."""

    def __init__(self, network: Network, name: str, number: int, retain: Retain) -> None:
        self.speaker = network.node(name, number, retain=retain)
        router_id = self.speaker.settings.router_id
        settings = VpnSettings(64512, router_id, router_id, BOTH_WAYS)
        self.vpns = Vpns(self.speaker.store, self.speaker, settings, settings)
        self.tracker = self.vpns.ipvpn.tracker
        self.speaker.importer = self.vpns.routes_changed

    def attach(self, carried_by: frozenset[CarriedBy], ip: str, number: int, vni: int, rt: int = 1) -> None:
        spec = {"carried_by": carried_by, "vni": vni}
        self.vpns.attach(attachment("red", ip, number, imports=(rt,), exports=(rt,), spec=spec))
        self.confirm()

    def confirm(self) -> None:
        while self.tracker.has_changes:
            self.tracker.take()
            self.vpns.ipvpn.dataplane_settled(self.tracker.settle({}), {})

    def hops(self, destination: str) -> list[str]:
        number = self.vpns.ipvpn.instances["red"].number
        value = self.tracker.desired.get(ForwardKey(number, prefix(destination)), ())
        assert isinstance(value, tuple)
        return [str(hop) for hop in value]

    def learned(self, family: Family) -> int:
        """How many routes of others it holds."""
        return sum(
            any(bundle.source is not self.speaker.local for bundle in entry.bundles)
            for table in self.speaker.store.tables_of(family)
            for entry in table.entries.values()
        )


def hosts(network: Network, retain: Retain, families: tuple[Family, ...]) -> tuple[Host, Host]:
    made = clients_of_a_reflector(
        network, lambda name, number: Host(network, name, number, retain), ("one", "two"), families
    )
    return made[0], made[1]


@pytest.mark.parametrize("families", [CARRIED, WITHOUT_RTC], ids=["rtc", "no rtc"])
@pytest.mark.parametrize("retain", [Retain.AUTO, Retain.ALWAYS])
def test_an_endpoint_on_one_host_is_reached_by_its_router_and_vni_from_the_other(
    retain: Retain, families: tuple[Family, ...]
) -> None:
    # given one instance that EVPN carries on two hosts, each with a VNI of its own
    network = Network()
    one, two = hosts(network, retain, families)
    one.attach(EVPN_ALONE, "10.0.0.2", 2, 5000)
    one.attach(EVPN_ALONE, "2001:db8::2", 2, 5000)
    two.attach(EVPN_ALONE, "10.0.0.3", 3, 0x123457)
    network.run(60)
    first, second = one.speaker.settings.router_id, two.speaker.settings.router_id

    # then each sends by the VNI of the other
    assert two.hops("10.0.0.2/32") == [f"{first} label 5000 vxlan router {ROUTER}"]
    assert two.hops("2001:db8::2/128") == [f"{first} label 5000 vxlan router {ROUTER}"]
    assert one.hops("10.0.0.3/32") == [f"{second} label {0x123457} vxlan router {ROUTER}"]
    assert SourceKey(first.packed) in two.tracker.desired
    assert two.learned(VPNV4) == 0

    # when one is carried by both families, then the VPN route is used, and by VPN alone EVPN's is gone
    for families_now, left in ((BOTH, 2), (VPN, 0)):
        one.attach(families_now, "10.0.0.2", 2, 5000)
        network.run(60)
        (hop,) = two.hops("10.0.0.2/32")
        assert "mpls-gre" in hop, hop
        assert two.learned(EVPN) == left

    # when it is carried by EVPN again and detached, then nothing is left of it
    one.attach(EVPN_ALONE, "10.0.0.2", 2, 5000)
    for ip in ("10.0.0.2", "2001:db8::2"):
        one.vpns.detach("red", key(2, ip))
        one.confirm()
    network.run(60)
    assert two.hops("10.0.0.2/32") == two.hops("2001:db8::2/128") == []
    assert two.learned(EVPN) == 0
    assert SourceKey(first.packed) not in two.tracker.desired


def test_prefix_routes_come_with_a_target_that_is_imported_later() -> None:
    network = Network()
    one, two = hosts(network, Retain.AUTO, CARRIED)
    one.attach(EVPN_ALONE, "10.0.0.2", 2, 5000)
    two.attach(EVPN_ALONE, "10.0.0.3", 3, 5000, rt=7)
    network.run(60)
    assert two.learned(EVPN) == 0

    two.vpns.attach(attachment("red", "10.0.0.3", 3, imports=(1, 7), exports=(7,)))
    two.confirm()
    network.run(60)
    assert two.vpns.ipvpn.instances["red"].import_rts == rts(1, 7)
    assert two.hops("10.0.0.2/32") == [f"{one.speaker.settings.router_id} label 5000 vxlan router {ROUTER}"]
