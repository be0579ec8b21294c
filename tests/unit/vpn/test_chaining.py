"""Routes told on, traffic attracted, and traffic steered where flow specifications say."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest

from bagpipe.dataplane.model import Capabilities, Classifier, Encapsulation, Ports, Prefix, Steer, SteerKey
from bagpipe.errors import LocalMisuse
from bagpipe.identifiers import RouteDistinguisher, RouteTarget
from bagpipe.vpn.attachment import AttractTraffic, Readvertise
from bagpipe.vpn.steering import classifier_of, flow_route
from bagpipe.wire.family import FLOWSPEC_VPNV4, FLOWSPEC_VPNV6, VPNV4
from bagpipe.wire.nlri.flowspec_component import (
    AND,
    DESTINATION_PORT,
    EQUAL,
    GREATER,
    ICMP_TYPE,
    LESS,
    PROTOCOL,
    numeric,
    pack,
)
from tests.unit.rib import routes
from tests.unit.vpn.node import Node, prefix, rts
from tests.unit.vpn.test_imports import announce

ENCAPSULATION = "encapsulation:mpls"


def readvertising(node: Node, *, sources: tuple[int, ...] = (1,), to: tuple[int, ...] = (9,), **rest: Any) -> None:
    """An instance that imports and exports nothing, and tells on."""
    spec = {"readvertise": Readvertise(rts(*sources), rts(*to))}
    node.attach("chain", "10.0.0.7", 7, imports=(), exports=(), spec=spec, **rest)


def record(target: int) -> str:
    return f"target-record:64512:{target}"


def own(node: Node) -> dict[str, tuple[str, ...]]:
    """What the node tells on: all but the endpoint's own route."""
    return {text: what for text, what in node.told().items() if "10.0.0.7/32" not in text}


def test_a_route_is_told_on_with_its_targets_on_record_and_goes_with_its_source() -> None:
    node = Node()
    readvertising(node)
    node.learn(announce("40.0.0.0/24", 100, rt=(1, 5), local_pref=200), announce("41.0.0.0/24", 100, rt=(5,)))
    assert own(node) == {
        "192.0.2.11:1:40.0.0.0/24 label 16": (ENCAPSULATION, "target:64512:9", record(1), record(5)),
    }
    assert node.imported == {"64512:1"}
    assert node.forward("chain", "40.0.0.0/24") is None
    node.learn(routes.withdrawal("40.0.0.0/24"))
    assert own(node) == {}


def test_what_is_told_on_follows_the_latest_attachment() -> None:
    restated, fresh = Node(), Node()
    for node in (restated, fresh):
        node.learn(
            announce("40.0.0.0/24", 100, rt=(1, 5)), announce("41.0.0.0/24", 100, rt=(2,)), announce("42.0.0.0/24", 100)
        )
    readvertising(restated, sources=(1,), to=(9,))
    before = own(restated)
    for sources, to in (((1,), (8,)), ((2, 5), (8,)), ((1, 2), (5,))):
        readvertising(restated, sources=sources, to=to)
        assert own(restated) != before
        before = own(restated)
    readvertising(fresh, sources=(1, 2), to=(5,))
    assert own(restated) == own(fresh)
    assert set(own(fresh)) == {f"192.0.2.11:1:4{last}.0.0.0/24 label 16" for last in (0, 1, 2)}
    assert restated.imported == fresh.imported == {"64512:1", "64512:2"}
    # An attachment that does not speak of it changes nothing of it; one that says that there is to be none ends it.
    restated.attach("chain", "10.0.0.7", 7, imports=(), exports=())
    assert own(restated) == own(fresh)
    restated.attach("chain", "10.0.0.7", 7, imports=(), exports=(), spec={"readvertise": None})
    assert own(restated) == {} and restated.imported == frozenset()


def test_what_is_attracted_and_routed_statically_follows_the_latest_attachment() -> None:
    restated, fresh = Node(), Node()
    other = replace(ATTRACT, static_destinations=(prefix("20.0.0.0/24"), prefix("31.0.0.0/24")), to_rts=rts(300))
    spec = {"attract": other, "static_routes": (prefix("50.0.0.0/24"),)}
    for first in ({"attract": ATTRACT, "static_routes": (prefix("51.0.0.0/24"),)}, spec):
        restated.attach("service", "10.0.0.7", 7, exports=(198,), imports=(99,), spec=first)
    fresh.attach("service", "10.0.0.7", 7, exports=(198,), imports=(99,), spec=spec)
    assert restated.told() == fresh.told()
    assert restated.tracker.desired == fresh.tracker.desired
    assert restated.hops("service", "50.0.0.0/24") and restated.forward("service", "51.0.0.0/24") is None
    nothing = {"attract": None, "static_routes": (), "gateway": None}
    restated.attach("service", "10.0.0.7", 7, exports=(198,), imports=(99,), spec=nothing)
    plain = Node()
    plain.attach("service", "10.0.0.7", 7, exports=(198,), imports=(99,))
    assert restated.told() == plain.told()
    assert restated.tracker.desired == plain.tracker.desired


def test_each_endpoint_of_the_right_ip_version_tells_a_route_on() -> None:
    node = Node()
    readvertising(node)
    node.learn(announce("40.0.0.1/32", 100))
    node.attach("chain", "10.0.0.8", 8, imports=(), exports=())
    node.attach("chain", "2001:db8::8", 8, imports=(), exports=())
    assert set(node.told()) >= {
        "192.0.2.11:1:40.0.0.1/32 label 16",
        "192.0.2.11:2:40.0.0.1/32 label 17",
    }
    assert sum("40.0.0.1" in text for text in node.told()) == 2
    node.detach("chain", "10.0.0.7", 7)
    assert [text for text in node.told() if "40.0.0.1" in text] == ["192.0.2.11:2:40.0.0.1/32 label 17"]


def test_routes_of_another_instance_of_the_node_are_told_on_too() -> None:
    node = Node()
    readvertising(node)
    node.attach("red", "10.0.0.2", 2)
    assert own(node)["192.0.2.11:1:10.0.0.2/32 label 16"] == (ENCAPSULATION, "target:64512:9", record(1))
    node.attach("other", "10.0.0.3", 3, imports=(9,), exports=(8,))
    assert node.hops("other", "10.0.0.2/32") == ["fa:16:3e:00:00:07 at tap7 (port 7)"]
    node.detach()
    assert set(own(node)) == {"192.0.2.11:4:10.0.0.3/32 label 18"}
    assert node.hops("other", "10.0.0.2/32") == []


def test_a_route_that_has_been_where_it_would_go_is_not_told_on() -> None:
    node = Node()
    readvertising(node)
    back = routes.route_target(9)
    looped = back[:1] + b"\x13" + back[2:]
    extended = routes.attribute(0xC0, 16, routes.route_target(1) + looped)
    node.learn(routes.body(routes.common(), routes.reach(routes.nlri("40.0.0.0/24")), extended))
    assert own(node) == {}


def test_two_instances_that_tell_each_other_on_come_to_rest() -> None:
    node = Node()
    readvertising(node, sources=(1,), to=(2,))
    spec = {"readvertise": Readvertise(rts(2), rts(1))}
    node.attach("back", "10.0.0.8", 8, imports=(), exports=(), spec=spec)
    node.learn(announce("40.0.0.0/24", 100))
    assert [text for text in node.told() if "40.0.0.0" in text] == ["192.0.2.11:1:40.0.0.0/24 label 16"]


ATTRACT = AttractTraffic(
    rts(201),
    Classifier(source=prefix("1.0.0.0/8"), protocol=6, destination_ports=Ports(80, 80)),
    rts(200),
    (prefix("20.0.0.0/24"), prefix("30.0.0.0/24")),
)


def test_static_destinations_are_attracted_by_a_default_route_and_a_flow_specification_each() -> None:
    node = Node()
    node.attach("service", "10.0.0.7", 7, exports=(198,), imports=(99,), order=3, spec={"attract": ATTRACT})
    assert own(node) == {"192.0.2.11:1:0.0.0.0/0 label 16": (ENCAPSULATION, "load-balance-order:3", "target:64512:200")}
    flow = "flow 192.0.2.11:0 destination {} source 1.0.0.0/8 protocol =6 destination-port =80"
    assert node.told(FLOWSPEC_VPNV4) == {
        flow.format("20.0.0.0/24"): ("redirect:64512:200", "target:64512:201"),
        flow.format("30.0.0.0/24"): ("redirect:64512:200", "target:64512:201"),
    }
    node.detach("service", "10.0.0.7", 7)
    assert node.told(VPNV4, FLOWSPEC_VPNV4) == {}


def test_nothing_is_attracted_before_the_dataplane_has_confirmed() -> None:
    node = Node()
    node.attach("service", "10.0.0.7", 7, spec={"attract": ATTRACT}, confirm=False)
    assert node.told(VPNV4, FLOWSPEC_VPNV4) == {}


def test_what_would_be_told_on_is_attracted_instead() -> None:
    node = Node()
    attract = AttractTraffic(rts(201), Classifier(protocol=17))
    spec = {"readvertise": Readvertise(rts(1), rts(200)), "attract": attract}
    node.attach("service", "10.0.0.7", 7, exports=(), imports=(), spec=spec)
    assert own(node) == {}
    assert node.told(FLOWSPEC_VPNV4) == {}
    node.learn(announce("40.0.0.0/24", 100), announce("41.0.0.0/24", 100))
    default = {"192.0.2.11:1:0.0.0.0/0 label 16": (ENCAPSULATION, "target:64512:200", record(1))}
    flows = {
        f"flow 192.0.2.11:0 destination {each} protocol =17": ("redirect:64512:200", "target:64512:201")
        for each in ("40.0.0.0/24", "41.0.0.0/24")
    }
    assert (own(node), node.told(FLOWSPEC_VPNV4)) == (default, flows)
    node.learn(routes.withdrawal("40.0.0.0/24"))
    assert own(node) == default
    assert list(node.told(FLOWSPEC_VPNV4)) == ["flow 192.0.2.11:0 destination 41.0.0.0/24 protocol =17"]
    node.learn(routes.withdrawal("41.0.0.0/24"))
    assert (own(node), node.told(FLOWSPEC_VPNV4)) == ({}, {})


def test_ipv6_destinations_are_attracted_by_endpoints_that_have_ipv6() -> None:
    node = Node()
    attract = AttractTraffic(rts(201), Classifier(protocol=6), rts(200), (prefix("2001:db8:9::/48"),))
    node.attach("service", "10.0.0.7", 7, spec={"attract": attract})
    assert node.told(FLOWSPEC_VPNV6) == {}
    node.attach("service", "2001:db8::7", 7, spec={"attract": attract})
    assert "192.0.2.11:2:::/0 label 17" in node.told()
    assert list(node.told(FLOWSPEC_VPNV6)) == ["flow 192.0.2.11:0 destination 2001:db8:9::/48 protocol =6"]


@pytest.mark.parametrize(
    ("field", "spec"),
    [
        ("attract_traffic.to_rt", {"attract": AttractTraffic(rts(1), Classifier(), rts(2))}),
        (
            "readvertise.to_rt",
            {"attract": AttractTraffic(rts(1), Classifier()), "readvertise": Readvertise(rts(1), rts(2, 3))},
        ),
        (
            "attract_traffic.static_destination_prefixes",
            {
                "attract": AttractTraffic(
                    rts(1), Classifier(source=prefix("1.0.0.0/8")), rts(2), (prefix("2001:db8::/32"),)
                )
            },
        ),
    ],
)
def test_attraction_that_makes_no_sense_is_refused(field: str, spec: dict[str, Any]) -> None:
    node = Node()
    with pytest.raises(LocalMisuse) as caught:
        node.attach(spec=spec)
    assert caught.value.field == field
    assert node.instances.instances == {}


# ---------------------------------------------------------------------- flow specifications that come


def flow(
    destination: str, *communities: bytes, rd: int = 1, withdraw: bool = False, targets: tuple[int, ...] = (1,)
) -> bytes:
    """A FlowSpec-VPN route for TCP to ``destination``."""
    wanted = prefix(destination)
    nlri = routes.route_distinguisher(rd) + bytes((1, wanted.length)) + wanted.octets + b"\x03\x81\x06"
    nlri = bytes((len(nlri),)) + nlri
    if withdraw:
        return routes.body(routes.attribute(0x90, 15, b"\0\1\x86" + nlri))
    value = b"".join((*communities, *(routes.route_target(each) for each in targets)))
    reach = routes.attribute(0x90, 14, b"\0\1\x86\0\0" + nlri)
    return routes.body(routes.common(), reach, routes.attribute(0xC0, 16, value))


def redirect(target: int) -> bytes:
    return b"\x80\x08" + routes.route_target(target)[2:]


def steered(node: Node) -> dict[tuple[str, str], str]:
    names = {vrf.number: vrf.external_id for vrf in node.instances.instances.values()}
    return {
        (names[key.instance], str(key.classifier.destination)): names[value.instance]
        for key, value in node.tracker.desired.items()
        if isinstance(key, SteerKey) and isinstance(value, Steer)
    }


def test_a_redirect_makes_a_hidden_instance_that_goes_with_the_last_flow_specification() -> None:
    node = Node()
    node.attach()
    node.learn(flow("20.0.0.0/24", redirect(200)), flow("30.0.0.0/24", redirect(200)))
    hidden = "redirect-to-ipvpn-64512_200"
    assert steered(node) == {("red", "20.0.0.0/24"): hidden, ("red", "30.0.0.0/24"): hidden}
    assert node.imported == {"64512:1", "64512:200"}
    node.learn(announce("0.0.0.0/0", 300, rt=(200,)))
    assert node.hops(hidden, "0.0.0.0/0") == ["192.0.2.101 label 300 mpls"]
    (told,) = node.instances.lookup("red", IPv4Address("20.0.0.9")).steering
    assert told == f"IPv4 packets to 20.0.0.0/24 protocol 6 are looked up in {hidden}"
    assert node.instances.lookup("red", IPv4Address("21.0.0.9")).steering == ()
    node.learn(flow("20.0.0.0/24", withdraw=True))
    assert steered(node) == {("red", "30.0.0.0/24"): hidden}
    node.learn(flow("30.0.0.0/24", withdraw=True))
    assert set(node.instances.instances) == {"red"}
    assert node.imported == {"64512:1"}
    assert {type(each).__name__ for each in node.tracker.desired} == {"AccessKey", "DeliveryKey", "ForwardKey"}


def test_a_hidden_instance_stays_when_one_flow_specification_takes_the_place_of_another() -> None:
    node = Node()
    node.attach()
    node.learn(flow("20.0.0.0/24", redirect(200)))
    hidden = node.instances.instances["redirect-to-ipvpn-64512_200"]
    node.learn(flow("20.0.0.0/24", withdraw=True), flow("30.0.0.0/24", redirect(200)))
    assert node.instances.instances["redirect-to-ipvpn-64512_200"] is hidden
    assert steered(node) == {("red", "30.0.0.0/24"): "redirect-to-ipvpn-64512_200"}


def test_a_flow_specification_may_redirect_elsewhere_later() -> None:
    node = Node()
    node.attach()
    node.learn(flow("20.0.0.0/24", redirect(200)))
    node.learn(flow("20.0.0.0/24", redirect(300)))
    assert steered(node) == {("red", "20.0.0.0/24"): "redirect-to-ipvpn-64512_300"}
    assert "redirect-to-ipvpn-64512_200" not in node.instances.instances
    node.detach()
    assert node.instances.instances == {}
    assert node.tracker.desired == {}


@pytest.mark.parametrize("communities", [(), (redirect(200), redirect(300)), (b"\x80\x06\0\0\0\0\0\0",)])
def test_anything_but_one_redirect_is_ignored_with_a_reason(communities: tuple[bytes, ...]) -> None:
    node = Node()
    node.attach()
    node.learn(flow("20.0.0.0/24", *communities))
    assert steered(node) == {}
    assert ["exactly one redirect" in reason for reason in node.instances.steering.ignored.values()] == [True]
    node.learn(flow("20.0.0.0/24", withdraw=True))
    assert node.instances.steering.ignored == {}


def test_a_dataplane_that_cannot_steer_is_not_asked_to() -> None:
    node = Node(Capabilities("plain", (Encapsulation.MPLS,), True, steering=False))
    node.attach()
    node.learn(flow("20.0.0.0/24", redirect(200)))
    assert set(node.instances.instances) == {"red"}


def test_a_service_on_the_same_node_gets_the_traffic_it_attracts() -> None:
    node = Node()
    node.attach("red", "10.0.0.2", 2, imports=(1, 201))
    node.attach("service", "10.0.0.7", 7, imports=(99,), exports=(198,), spec={"attract": ATTRACT})
    hidden = "redirect-to-ipvpn-64512_200"
    assert steered(node) == {("red", "20.0.0.0/24"): hidden, ("red", "30.0.0.0/24"): hidden}
    assert node.hops(hidden, "0.0.0.0/0") == ["fa:16:3e:00:00:07 at tap7 (port 7)"]
    node.detach("service", "10.0.0.7", 7)
    assert set(node.instances.instances) == {"red"}


@pytest.mark.parametrize(
    "classifier",
    [
        Classifier(),
        Classifier(4, prefix("1.0.0.0/8"), prefix("20.0.0.1/32"), 6, Ports(80, 80), Ports(1000, 2000)),
        Classifier(6, Prefix(6, 0, b""), prefix("2001:db8::/33"), 17, None, Ports(0, 65535)),
        Classifier(4, None, None, 132, Ports(5, 6), None),
    ],
)
def test_a_classifier_survives_the_wire(classifier: Classifier) -> None:
    route = flow_route(RouteDistinguisher.from_text("64512:1"), classifier)
    assert classifier_of(route.family, route.key) == classifier


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        (((GREATER, 9), (AND | LESS, 20)), Ports(10, 19)),
        (((GREATER | EQUAL, 9),), Ports(9, 65535)),
        (((LESS, 20),), Ports(0, 19)),
        (((EQUAL, 9), (EQUAL, 11)), None),
        (((GREATER, 20), (AND | LESS, 9)), None),
        (((GREATER | LESS, 9),), None),
    ],
)
def test_port_terms_are_one_range_or_not_steered_by(terms: tuple[tuple[int, int], ...], expected: Ports | None) -> None:
    key = bytes(8) + pack((numeric(PROTOCOL, (EQUAL, 6)), numeric(DESTINATION_PORT, *terms)), ipv6=False)
    if expected is None:
        with pytest.raises(LocalMisuse):
            classifier_of(FLOWSPEC_VPNV4, key)
    else:
        assert classifier_of(FLOWSPEC_VPNV4, key).destination_ports == expected


@pytest.mark.parametrize(
    "components",
    [
        (numeric(ICMP_TYPE, (EQUAL, 8)),),
        (numeric(PROTOCOL, (EQUAL, 6), (EQUAL, 17)),),
        (numeric(DESTINATION_PORT, (EQUAL, 8)),),
    ],
)
def test_what_no_classifier_can_say_is_not_steered_by(components: tuple[Any, ...]) -> None:
    with pytest.raises(LocalMisuse):
        classifier_of(FLOWSPEC_VPNV4, bytes(8) + pack(components, ipv6=False))


def test_a_hidden_instance_has_the_same_number_whenever_it_is_made() -> None:
    numbers = []
    for others in range(3):
        node = Node()
        for other in range(others):
            node.attach(f"other-{other}", "10.0.0.9", 100 + other)
        node.attach()
        node.learn(flow("20.0.0.0/24", redirect(300)), flow("30.0.0.0/24", redirect(200)))
        hidden = node.instances.instances["redirect-to-ipvpn-64512_200"]
        assert hidden.redirect_target == RouteTarget(routes.route_target(200))
        numbers.append(hidden.number)
    assert len(set(numbers)) == 1
    assert numbers[0] >= 0x800000
