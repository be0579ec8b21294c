"""Endpoints: what is programmed and announced for them, and when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address

import pytest

from bagpipe.dataplane.model import (
    Access,
    AccessKey,
    Delivery,
    DeliveryKey,
    Direction,
    Fallback,
    FallbackKey,
    ForwardKey,
    Local,
    Port,
)
from bagpipe.errors import LocalMisuse
from bagpipe.identifiers import RouteDistinguisher
from bagpipe.vpn import views
from bagpipe.vpn.attachment import Attachment, EndpointKey, InstanceSpec, InstanceType, Reserved
from bagpipe.wire.family import RTC, VPNV4, VPNV6, Family
from tests.unit.vpn.node import DUMMY, GRE, MPLS, Node, attachment, key, mac, prefix, rts

ANNOUNCED = {"192.0.2.11:0:10.0.0.2/32 label 16": ("encapsulation:mpls", "target:64512:1")}
TAP2 = Port("tap2", 2)


def test_an_endpoint_is_announced_once_the_dataplane_has_confirmed_its_records() -> None:
    node = Node()
    attached = node.attach("red", "10.0.0.2", 2, confirm=False)
    assert set(attached.keys) == {AccessKey(TAP2), DeliveryKey(16)}
    assert attached.reserved == Reserved(1, 0, 1, 16)
    assert node.tracker.desired[AccessKey(TAP2)] == Access(1)
    assert node.tracker.desired[DeliveryKey(16)] == Delivery(1, TAP2, mac(2), 4)
    assert node.told() == {}
    assert node.instances.endpoint_state("red", key(2, "10.0.0.2")).state == "pending"
    node.confirm()
    assert node.told() == ANNOUNCED
    assert node.instances.endpoint_state("red", key(2, "10.0.0.2")).state == "in-effect"
    assert node.forward("red", "10.0.0.2/32") == (Local(TAP2, mac(2)),)
    assert node.imported == {"64512:1"}


@pytest.mark.parametrize("refused", [AccessKey(TAP2), DeliveryKey(16)])
def test_an_endpoint_whose_record_is_refused_is_not_announced_until_it_is_in_effect(
    refused: AccessKey | DeliveryKey,
) -> None:
    node = Node()
    node.attach(confirm=False)
    node.confirm({refused: "no such port"})
    state = node.instances.endpoint_state("red", key(2, "10.0.0.2"))
    assert (state.state, state.reason) == ("refused", f"{refused}: no such port")
    assert node.told() == {}
    node.tracker.retry()
    node.confirm()
    assert node.told() == ANNOUNCED


def test_a_route_stays_when_its_record_is_refused_later_or_the_dataplane_is_lost() -> None:
    node = Node()
    node.attach()
    node.tracker.again([DeliveryKey(16)])
    node.confirm({DeliveryKey(16): "bridge is full"})
    assert node.told() == ANNOUNCED
    node.tracker.lost()
    node.instances.dataplane_lost()
    assert node.told() == ANNOUNCED
    assert node.instances.endpoint_state("red", key(2, "10.0.0.2")).state == "pending"


def test_an_endpoint_attached_while_the_dataplane_is_away_waits_for_all_its_records() -> None:
    node = Node()
    node.attach()
    node.tracker.lost()
    node.instances.dataplane_lost()
    node.attach("red", "10.0.0.3", 2, confirm=False)
    assert node.told() == ANNOUNCED
    taken = dict(node.tracker.desired)
    node.instances.dataplane_settled(node.tracker.adopted({}, taken), {})
    assert len(node.told()) == 2


def test_a_route_is_withdrawn_in_the_same_call_that_removes_its_record() -> None:
    node = Node()
    node.attach()
    seen: list[bool] = []
    withdraw = node.speaker.withdraw

    def watched(family: Family, shape: int, keys: Iterable[bytes]) -> None:
        seen.append(DeliveryKey(16) in node.tracker.desired)
        withdraw(family, shape, keys)

    node.speaker.withdraw = watched  # type: ignore[method-assign]
    detached = node.instances.detach("red", key(2, "10.0.0.2"), Port("another"))
    assert seen[0] is True
    assert node.told() == {}
    assert set(detached.keys) == {AccessKey(TAP2), DeliveryKey(16), ForwardKey(1, prefix("10.0.0.2/32"))}
    assert node.tracker.desired == {}


def test_the_addresses_of_a_mac_share_a_label_for_each_ip_version() -> None:
    node = Node()
    node.attach("red", "10.0.0.2", 2)
    node.attach("red", "10.0.0.3", 2)
    node.attach("red", "2001:db8::2", 2)
    assert set(node.told()) == {
        "192.0.2.11:0:10.0.0.2/32 label 16",
        "192.0.2.11:0:10.0.0.3/32 label 16",
        "192.0.2.11:0:2001:db8::2/128 label 17",
    }
    assert node.tracker.desired[DeliveryKey(17)] == Delivery(1, TAP2, mac(2), 6)
    node.detach("red", "10.0.0.2")
    assert DeliveryKey(16) in node.tracker.desired
    assert AccessKey(TAP2) in node.tracker.desired
    node.detach("red", "10.0.0.3")
    assert DeliveryKey(16) not in node.tracker.desired
    assert AccessKey(TAP2) in node.tracker.desired


def test_macs_that_share_a_port_share_its_access_and_have_labels_of_their_own() -> None:
    node = Node()
    patch = Port("patch2tun:3", 7, vlan=3)
    node.attach("red", "10.0.0.2", 2, port=patch, gateways=(ip_address("10.0.0.1"),))
    node.attach("red", "10.0.0.3", 3, port=patch, gateways=(ip_address("10.0.0.254"), ip_address("10.0.0.1")))
    assert node.tracker.desired[AccessKey(patch)] == Access(1, (ip_address("10.0.0.1"), ip_address("10.0.0.254")))
    assert {each for each in node.tracker.desired if isinstance(each, DeliveryKey)} == {
        DeliveryKey(16),
        DeliveryKey(17),
    }
    node.detach("red", "10.0.0.3", 3)
    assert node.tracker.desired[AccessKey(patch)] == Access(1, (ip_address("10.0.0.1"),))
    assert DeliveryKey(17) not in node.tracker.desired


def test_the_gateway_of_the_instance_is_answered_for_at_each_port() -> None:
    node = Node()
    gateway = ip_address("10.0.0.1")
    node.attach(spec={"gateway": gateway}, gateways=(ip_address("fe80::1"),))
    assert node.tracker.desired[AccessKey(TAP2)] == Access(1, (gateway, ip_address("fe80::1")))


@pytest.mark.parametrize(
    ("ip", "subnet", "route"),
    [
        ("10.0.0.2", False, "192.0.2.11:0:10.0.0.2/32 label 16"),
        ("10.0.0.2/24", False, "192.0.2.11:0:10.0.0.2/32 label 16"),
        ("10.0.0.2/24", True, "192.0.2.11:1:10.0.0.0/24 label 16"),
        ("2001:db8::2/64", False, "192.0.2.11:0:2001:db8::2/128 label 16"),
        ("2001:db8::2/64", True, "192.0.2.11:1:2001:db8::/64 label 16"),
    ],
)
def test_hosts_have_the_route_distinguisher_of_the_instance_and_subnets_one_of_their_own(
    ip: str, subnet: bool, route: str
) -> None:
    node = Node()
    node.attach("red", ip, 2, advertise_subnet=subnet)
    assert list(node.told()) == [route]


def test_a_given_route_distinguisher_is_used_and_belongs_to_one_instance() -> None:
    node = Node()
    own = {"route_distinguisher": RouteDistinguisher.from_text("64512:7")}
    node.attach(spec=own)
    assert list(node.told()) == ["64512:7:10.0.0.2/32 label 16"]
    with pytest.raises(LocalMisuse, match="route_distinguisher"):
        node.attach("blue", "10.0.0.2", 9, spec=own)
    assert "blue" not in node.instances.instances


@pytest.mark.parametrize(
    ("next_hop", "ip", "family", "field"),
    [
        ("192.0.2.11", "10.0.0.2", VPNV4, bytes(8).hex() + "c000020b"),
        ("192.0.2.11", "2001:db8::2", VPNV6, bytes(18).hex() + "ffffc000020b"),
        ("2001:db8:1::11", "10.0.0.2", VPNV4, bytes(8).hex() + "20010db8000100000000000000000011"),
        ("2001:db8:1::11", "2001:db8::2", VPNV6, bytes(8).hex() + "20010db8000100000000000000000011"),
    ],
)
def test_the_next_hop_field_of_each_family_over_each_underlay(
    next_hop: str, ip: str, family: tuple[int, int], field: str
) -> None:
    node = Node(next_hop=next_hop)
    node.attach("red", ip, 2)
    (bundle,) = [bundle for bundle in node.speaker.local.bundles.values() if bundle.table.family == family]
    assert bundle.attributes.next_hop.hex() == field


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        (MPLS, ("encapsulation:mpls",)),
        (GRE, ("encapsulation:gre", "encapsulation:vxlan")),
        (DUMMY, ("encapsulation:mpls",)),
    ],
)
def test_routes_tell_every_encapsulation_of_the_node(capabilities: object, expected: tuple[str, ...]) -> None:
    node = Node(capabilities)  # type: ignore[arg-type]
    node.attach(exports=())
    assert list(node.told().values()) == [expected]


@pytest.mark.parametrize("preference", [0, 150, 0xFFFFFFFF])
def test_local_pref_is_announced_and_the_order_only_if_there_is_one(preference: int) -> None:
    node = Node()
    node.attach(local_pref=preference, order=5, exports=(2, 1))
    assert list(node.told().values()) == [
        (
            f"local-pref {preference}",
            "encapsulation:mpls",
            "load-balance-order:5",
            "target:64512:1",
            "target:64512:2",
        )
    ]


def test_the_gateway_of_an_endpoint_changes_nothing_at_other_ports_and_the_oldest_is_shown() -> None:
    node = Node()
    node.attach(gateways=(ip_address("10.0.0.1"),))
    before = node.tracker.desired[AccessKey(TAP2)]
    node.attach("red", "10.9.0.3", 3, gateways=(ip_address("10.9.0.1"),))
    assert node.tracker.desired[AccessKey(TAP2)] is before
    assert views.instance(node.instances, node.instances.instances["red"])["gateway_ip"] == "10.0.0.1"


def test_an_endpoint_to_the_port_is_announced_and_gives_no_access() -> None:
    node = Node()
    attached = node.attach(direction=Direction.TO_PORT)
    assert attached.keys == (DeliveryKey(16),)
    assert node.told() == ANNOUNCED
    assert not any(isinstance(each, AccessKey) for each in node.tracker.desired)


def test_an_endpoint_from_the_port_has_access_and_neither_label_nor_route() -> None:
    node = Node()
    for _ in range(2):
        attached = node.attach(direction=Direction.FROM_PORT)
        assert attached.keys == (AccessKey(TAP2),)
        assert attached.reserved.label == 0
        assert node.told() == {}
        assert set(node.tracker.desired) == {AccessKey(TAP2)}
        assert node.instances.endpoint_state("red", key(2, "10.0.0.2")).state == "in-effect"
    node.detach()
    assert node.tracker.desired == {}


def test_the_direction_of_an_endpoint_may_change() -> None:
    node = Node()
    for direction, announced, access in (
        (Direction.FROM_PORT, False, True),
        (Direction.BOTH, True, True),
        (Direction.TO_PORT, True, False),
        (Direction.FROM_PORT, False, True),
    ):
        node.attach(direction=direction)
        assert bool(node.told()) is announced
        assert (AccessKey(TAP2) in node.tracker.desired) is access
        assert (node.forward("red", "10.0.0.2/32") is not None) is announced


def test_the_same_attachment_again_changes_nothing() -> None:
    node = Node()
    node.attach()
    node.attach(confirm=False)
    assert node.tracker.counts()["pending"] == 0
    assert node.told() == ANNOUNCED


def test_another_local_pref_is_announced_again_and_the_dataplane_left_alone() -> None:
    node = Node()
    node.attach()
    node.attach(local_pref=300, confirm=False)
    assert node.tracker.counts()["pending"] == 0
    assert list(node.told().values()) == [("local-pref 300", "encapsulation:mpls", "target:64512:1")]


def test_new_export_targets_are_announced_for_every_route_of_the_instance_and_none_is_withdrawn() -> None:
    node = Node()
    for number in (2, 3, 4):
        node.attach("red", f"10.0.0.{number}", number)
    withdrawn = []
    node.speaker.withdraw = lambda family, shape, keys: withdrawn.append((family, list(keys)))  # type: ignore[method-assign]
    node.attach("red", "10.0.0.2", 2, exports=(5,))
    assert [each for each in withdrawn if each[0] != RTC] == []
    assert set(node.told().values()) == {("encapsulation:mpls", "target:64512:5")}
    assert len(node.told()) == 3
    node.attach("red", "10.0.0.2", 2, exports=())
    assert set(node.told().values()) == {("encapsulation:mpls",)}


def test_a_port_that_moved_on_the_bridge_is_programmed_where_it_is_now() -> None:
    node = Node()
    node.attach()
    node.attach("red", "10.0.0.3", 2)
    node.attach("blue", "10.1.0.2", 9, imports=(1,), exports=(2,))
    moved = Port("tap2", 44)
    node.attach(port=moved)
    assert AccessKey(TAP2) not in node.tracker.desired
    assert node.tracker.desired[AccessKey(moved)] == Access(1)
    assert node.tracker.desired[DeliveryKey(16)] == Delivery(1, moved, mac(2), 4)
    for instance in ("red", "blue"):
        for host in ("10.0.0.2/32", "10.0.0.3/32"):
            assert node.forward(instance, host) == (Local(moved, mac(2)),)


def test_the_fallback_is_kept_until_another_is_given_and_goes_with_the_instance() -> None:
    node = Node()
    first, second = Fallback(mac(100), mac(101), 5), Fallback(mac(100), mac(102), 5)
    node.attach(spec={"fallback": first})
    node.attach("red", "10.0.0.3", 3)
    assert node.tracker.desired[FallbackKey(1)] == first
    node.attach("red", "10.0.0.3", 3, spec={"fallback": second})
    assert node.tracker.desired[FallbackKey(1)] == second
    node.attach("red", "10.0.0.3", 3, spec={"fallback": None})
    assert FallbackKey(1) not in node.tracker.desired
    node.attach(spec={"fallback": first})
    assert node.tracker.desired[FallbackKey(1)] == first
    node.detach()
    node.detach("red", "10.0.0.3", 3)
    assert node.tracker.desired == {}


def test_static_routes_lead_to_the_endpoint_and_have_its_route_distinguisher() -> None:
    node = Node()
    node.attach(spec={"static_routes": (prefix("10.9.0.0/16"), prefix("0.0.0.0/0"), prefix("2001:db8::/32"))})
    assert set(node.told()) == {
        "192.0.2.11:0:10.0.0.2/32 label 16",
        "192.0.2.11:1:10.9.0.0/16 label 16",
        "192.0.2.11:1:0.0.0.0/0 label 16",
    }
    assert node.hops("red", "10.9.0.0/16") == node.hops("red", "0.0.0.0/0") == ["fa:16:3e:00:00:02 at tap2 (port 2)"]


def test_two_spellings_of_an_address_are_two_endpoints_with_one_route() -> None:
    node = Node()
    node.attach("red", "10.0.0.2/24", 2, local_pref=50)
    node.attach("red", "10.0.0.2", 2)
    assert node.told() == ANNOUNCED
    node.detach("red", "10.0.0.2")
    assert list(node.told().values()) == [("local-pref 50", "encapsulation:mpls", "target:64512:1")]
    node.detach("red", "10.0.0.2/24")
    assert node.told() == {}


REFUSED: list[tuple[str, Attachment, str]] = [
    ("local_port", attachment("red", "10.0.0.9", 2, port="other"), "already bound to port tap2"),
    ("ip_address", attachment("red", "10.0.0.2", 9), "Inconsistent endpoint info"),
    ("ip_address", attachment("red", "10.0.0.2/24", 9), "Inconsistent endpoint info"),
    ("local_port", attachment("blue", "10.0.0.9", 9, port=TAP2), "enters VPN red already"),
    ("local_port", attachment("blue", "10.0.0.9", 9, port=Port("alias", 2)), "enters VPN red already"),
    ("local_port", attachment("red", "10.0.0.9", 9, port=Port("alias", 2)), "attached as tap2 already"),
    ("local_pref", attachment("red", "10.0.0.9", 9, local_pref=-1), "not a number"),
    ("lb_consistent_hash_order", attachment("red", "10.0.0.9", 9, order=1 << 32), "not a number"),
    ("vpn_instance_id", attachment("redirect-to-ipvpn-64512_1", "10.0.0.9", 9), "flows redirect"),
    (
        "vpn_type",
        Attachment(InstanceSpec("new", InstanceType.EVPN, rts(5), rts(5)), key(9, "10.0.0.9"), Port("tap9")),
        "no EVPN dataplane yet",
    ),
    (
        "ip_address",
        Attachment(InstanceSpec("new", InstanceType.IPVPN, rts(5), rts(5)), EndpointKey(mac(9), None), Port("tap9")),
        "needs an address",
    ),
]


@pytest.mark.parametrize(("field", "refused", "reason"), REFUSED, ids=[f"{f}-{r[:14]}" for f, _, r in REFUSED])
def test_a_refused_attachment_names_its_fault_and_changes_nothing(field: str, refused: Attachment, reason: str) -> None:
    node = Node()
    node.attach()
    other = {"import_rts": rts(8), "export_rts": rts(9), "description": "another"}
    spec = {name: getattr(refused.instance, name) for name in ("external_id", "type")} | other
    refused = Attachment(
        InstanceSpec(**spec), refused.key, refused.port, local_pref=refused.local_pref, order=refused.order
    )
    before = (dict(node.tracker.desired), node.told(), node.imported, set(node.instances.instances))
    with pytest.raises(LocalMisuse) as caught:
        node.instances.attach(refused)
    assert caught.value.field == field
    assert reason in caught.value.reason
    assert (dict(node.tracker.desired), node.told(), node.imported, set(node.instances.instances)) == before
    assert node.tracker.counts()["pending"] == 0
    assert node.instances.instances["red"].description is None


def test_a_direction_that_the_dataplane_cannot_do_is_refused() -> None:
    only_both = type(MPLS)("x", (), False, frozenset({Direction.BOTH}))
    node = Node(only_both)
    with pytest.raises(LocalMisuse, match="to-port"):
        node.attach(direction=Direction.TO_PORT)
    assert node.instances.instances == {}


def test_a_port_may_be_in_several_instances_if_its_traffic_enters_one() -> None:
    node = Node()
    node.attach()
    node.attach("prefix", "40.0.0.0/24", 2, direction=Direction.TO_PORT, advertise_subnet=True, exports=(3,))
    assert "192.0.2.11:3:40.0.0.0/24 label 17" in node.told()
    assert [each for each in node.tracker.desired if isinstance(each, AccessKey)] == [AccessKey(TAP2)]


def test_a_place_on_the_bridge_may_be_in_several_instances_told_apart_by_the_source_of_its_frames() -> None:
    node = Node()
    node.attach()
    alone = replace(TAP2, name="tap2 of 3", source=mac(3))
    node.attach("blue", "10.0.0.3", 3, port=alone, imports=(2,), exports=(2,))
    assert {each for each in node.tracker.desired if isinstance(each, AccessKey)} == {AccessKey(TAP2), AccessKey(alone)}
    with pytest.raises(LocalMisuse, match="red"):
        node.attach("green", "10.0.0.4", 4, port=replace(TAP2, name="other"))


@pytest.mark.parametrize(("instance", "ip"), [("nope", "10.0.0.2"), ("red", "10.0.0.3"), ("red", "10.0.0.2/24")])
def test_what_is_not_attached_cannot_be_detached(instance: str, ip: str) -> None:
    node = Node()
    node.attach()
    with pytest.raises(LocalMisuse):
        node.detach(instance, ip)
    assert node.told() == ANNOUNCED


def test_five_hundred_rounds_leave_nothing_behind() -> None:
    node = Node()
    labels = set()
    for number in range(500):
        attached = node.attach("red", "10.0.0.2", 2, spec={"fallback": Fallback(mac(1), mac(3), 9)})
        node.attach("red", "2001:db8::2", 2)
        node.attach("blue", "10.0.0.2", 3, imports=(1, number % 7 + 2))
        labels.add(attached.reserved.label)
        node.detach("blue", "10.0.0.2", 3)
        node.detach("red", "2001:db8::2")
        node.detach("red", "10.0.0.2")
    assert len(labels) == 500
    assert node.tracker.desired == {}
    assert node.tracker.counts()["pending"] == 0
    assert node.imported == set()
    assert node.speaker.local.bundles == {}
    assert node.speaker.store.by_route_target == {}
    assert node.instances.instances == {}
    assert node.instances.labels == {}
    assert node.instances.exports.announced == {}


def test_identifiers_of_before_are_given_again_and_one_in_use_is_not() -> None:
    node = Node()
    before = Reserved(7, 40, 41, 5000)
    assert node.attach(reserved=before).reserved == before
    assert node.attach("blue", "10.0.0.2", 3, reserved=before).reserved == Reserved(8, 42, 43, 5001)
    assert node.attach("red", "10.0.0.3", 4, reserved=Reserved(7, 40, 50, 17)).reserved == Reserved(7, 40, 50, 17)
