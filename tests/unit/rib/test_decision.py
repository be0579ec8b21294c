"""The best route is the one RFC 4271 section 9.1.2.2 and RFC 4456 section 9 choose, and the reason is told."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field

import pytest

from bagpipe.rib.bundle import Origin
from bagpipe.rib.decision import rank
from bagpipe.wire.attributes import Attributes
from bagpipe.wire.family import VPNV4


@dataclass(frozen=True)
class Neighbour:
    origin: Origin
    path_id: int = 0


@dataclass(frozen=True)
class Route:
    attributes: Attributes
    source: Neighbour
    name: str = field(default="", compare=False)


def route(
    name: str,
    *,
    local: bool = False,
    ibgp: bool = True,
    router_id: int = 1,
    address: int = 1,
    path_id: int = 0,
    **slots: object,
) -> Route:
    attributes = Attributes(VPNV4, b"", b"")
    attributes.origin = 0
    for slot, value in slots.items():
        setattr(attributes, slot, value)
    origin = Origin(name, local, ibgp, False, router_id.to_bytes(4), address.to_bytes(4))
    return Route(attributes, Neighbour(origin, path_id), name)


@pytest.mark.parametrize(
    ("reason", "winner", "loser"),
    [
        ("higher LOCAL_PREF (200 against 100)", {"local_pref": 200, "as_path_length": 9}, {}),
        ("originated here (here against learned)", {"local": True, "as_path_length": 9}, {}),
        ("shorter AS_PATH (1 against 2)", {"as_path_length": 1, "origin": 2}, {"as_path_length": 2}),
        ("lower ORIGIN (IGP against incomplete)", {"origin": 0, "med": 9}, {"origin": 2}),
        ("lower MED (1 against 2)", {"med": 1, "ibgp": True}, {"med": 2, "ibgp": False}),
        ("eBGP over iBGP (eBGP against iBGP)", {"ibgp": False, "router_id": 9}, {"router_id": 1}),
        ("lower router ID (0.0.0.1 against 0.0.0.2)", {"router_id": 1, "address": 9}, {"router_id": 2}),
        (
            "lower router ID (0.0.0.1 against 0.0.0.2)",
            {"router_id": 7, "originator_id": b"\0\0\0\1"},
            {"router_id": 2},
        ),
        ("shorter CLUSTER_LIST (1 against 2)", {"cluster_list": bytes(4), "address": 9}, {"cluster_list": bytes(8)}),
        ("lower neighbour address (0.0.0.1 against 0.0.0.2)", {"address": 1, "path_id": 9}, {"address": 2}),
        ("lower path identifier (1 against 2)", {"path_id": 1}, {"path_id": 2}),
    ],
)
def test_each_step_decides_when_all_before_it_are_equal(
    reason: str, winner: dict[str, object], loser: dict[str, object]
) -> None:
    better, worse = route("better", **winner), route("worse", **loser)  # type: ignore[arg-type]

    for order in ([better, worse], [worse, better]):
        ranking = rank(order)
        assert [r.name for r in ranking.ordered] == ["better", "worse"]
        assert ranking.reasons == (reason,)


def test_med_is_compared_only_within_one_neighbouring_as() -> None:
    """The known non-transitive triangle: whatever order they come in, the outcome is one."""
    a = route("a", first_as=1, med=10, router_id=3)
    b = route("b", first_as=2, med=0, router_id=2)
    c = route("c", first_as=1, med=5, router_id=4)

    outcomes = {tuple(r.name for r in rank(order).ordered) for order in itertools.permutations((a, b, c))}

    assert outcomes == {("b", "c", "a")}


def test_the_outcome_never_depends_on_the_order_of_arrival() -> None:
    dice = random.Random(7)
    for _ in range(200):
        routes = [
            route(
                str(i),
                local_pref=dice.choice((100, 200)),
                as_path_length=dice.randrange(2),
                first_as=dice.choice((None, 1, 2)),
                med=dice.randrange(3),
                ibgp=dice.random() < 0.5,
                router_id=dice.randrange(3),
                address=i,
            )
            for i in range(6)
        ]
        expected = [r.name for r in rank(routes).ordered]
        dice.shuffle(routes)
        assert [r.name for r in rank(routes).ordered] == expected


def test_multipath_holds_all_that_only_a_tie_breaker_separates() -> None:
    ranking = rank([route("a", router_id=1), route("b", router_id=2), route("c", router_id=3, local_pref=50)])

    assert [r.name for r in ranking.multipath] == ["a", "b"]
