"""Our instances, told what networking-bagpipe 20.0.0 was told, announce routes that mean the same."""

from __future__ import annotations

import pytest

from bagpipe.dataplane.model import Classifier, Ports
from bagpipe.vpn.attachment import AttractTraffic, Reserved
from bagpipe.wire import update
from bagpipe.wire.family import FLOWSPEC_VPNV4, RTC, VPNV4, Family
from bagpipe.wire.nlri import CODECS
from tests.replay.test_reference_daemon import ALL_CASES, meaning
from tests.unit.vpn.node import Node, prefix, rts

Meaning = tuple[str, Family, str, int, tuple[str, ...], str]


def announced(node: Node) -> list[Meaning]:
    """What each route of the node means when it is on the wire."""
    found: list[Meaning] = []
    for bundle in node.speaker.local.bundles.values():
        table = bundle.table
        for key, payload in bundle.routes.items():
            nlri = [CODECS[table.family].join(table.shape, key, payload)]
            attributes = bundle.attributes
            (message,) = update.announce(table.family, attributes.next_hop, attributes.block, nlri, 4096)
            found.append(meaning(message[19:]))
    return found


def reference(*families: Family) -> list[Meaning]:
    return [case for case in ALL_CASES if case[0] == "announce" and case[1] in families]


def bagpipe() -> Node:
    return Node(next_hop="127.0.0.1", router_id="127.0.0.1")


@pytest.mark.parametrize("exports", [(77,), ()])
def test_an_endpoint_is_announced_as_the_reference_announces_it(exports: tuple[int, ...]) -> None:
    node = bagpipe()
    node.attach("vpn", "10.0.0.2", 2, imports=(77,), exports=exports, local_pref=150, reserved=Reserved(1, 0, 1, 17))
    captured = reference(VPNV4, RTC)
    (route,) = [each for each in announced(node) if each[1] == VPNV4]
    assert route in captured
    assert [each for each in announced(node) if each[1] == RTC] == [
        each for each in captured if each[2] == "64512:64512:77"
    ]


def test_traffic_is_attracted_as_the_reference_attracts_it() -> None:
    node = bagpipe()
    classifier = Classifier(source=prefix("1.0.0.0/8"), protocol=6, destination_ports=Ports(80, 80))
    attract = AttractTraffic(rts(201), classifier, rts(200), (prefix("20.0.0.0/24"),))
    node.attach(
        "chain",
        "10.0.0.2",
        2,
        imports=(199,),
        exports=(198,),
        spec={"attract": attract},
        reserved=Reserved(5, 7, 8, 25),
        order=3,
    )
    captured = reference(VPNV4, FLOWSPEC_VPNV4)
    mine = [each for each in announced(node) if each[1] != RTC]
    assert len(mine) == 3
    for kind, family, route, preference, communities, tunnel in mine:
        # the reference leaves the load balance order out of an endpoint's own route
        plain = tuple(each for each in communities if route.startswith("127.0.0.1:8:") or "order" not in each)
        assert (kind, family, route, preference, plain, tunnel) in captured
