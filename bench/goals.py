"""The goals of the complete daemon, as a literal, and whether the figures of a run meet them.

A goal is met, not met, or not measured; it is computed from the run, never typed in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.results import OURS, Results

Measure = Callable[[Results], float | None]


@dataclass(frozen=True, slots=True)
class Goal:
    """``measure`` must be at least (or, if ``at_most``, at most) the bound for plain CPython or for compiled code."""

    text: str
    unit: str
    plain: float
    compiled: float
    measure: Measure
    at_most: bool = False

    def bound(self, compiled: bool) -> float:
        """The bound that applies."""
        return self.compiled if compiled else self.plain

    def verdict(self, results: Results, compiled: bool) -> tuple[float | None, str]:
        """The figure and what it means for the goal."""
        figure = self.measure(results)
        if figure is None:
            return None, "not measured"
        bound = self.bound(compiled)
        return figure, "met" if (figure <= bound if self.at_most else figure >= bound) else "**not met**"


def _ratio(case: str, *peers: str) -> Measure:
    """How many times as many routes per CPU second as the fastest of ``peers``."""

    def measure(results: Results) -> float | None:
        ours = results.rate(case, OURS)
        theirs = [rate for peer in peers if (rate := results.rate(case, peer)) is not None]
        return ours / max(theirs) if ours is not None and theirs else None

    return measure


def _octets(results: Results) -> float | None:
    return results.median("receive-large", OURS, "octets_per_route")


def _resident(results: Results) -> float | None:
    octets = results.median("receive-packed", OURS, "resident_at_rest")
    return None if octets is None else octets / 1e6


def _reflection(results: Results) -> float | None:
    ours, theirs = results.median("reflect-100", OURS, "cpu"), results.median("reflect-100", "frr", "cpu")
    return ours / theirs if ours is not None and theirs else None


def _imported(results: Results) -> float | None:
    return results.rate("import-packed", OURS)


def _imported_octets(results: Results) -> float | None:
    return results.median("import-packed", OURS, "octets_per_route")


def _lost(results: Results) -> float | None:
    return results.median("restart-killed", OURS, "lost_within")


def _none(results: Results) -> float | None:
    return None


def _programmed(case: str) -> Measure:
    """Thousand routes a second, from UPDATEs to entries or flows."""

    def measure(results: Results) -> float | None:
        seconds, routes = (results.median(case, OURS, name) for name in ("seconds", "flows"))
        return routes / seconds / 1000 if seconds and routes else None

    return measure


def _move(case: str) -> Measure:
    def measure(results: Results) -> float | None:
        seconds = results.median(case, OURS, "p99")
        return None if seconds is None else seconds * 1000

    return measure


_FAST = ("bird", "openbgpd", "frr", "gobgp")

GOALS: tuple[Goal, ...] = (
    Goal("receive packed, against FRR", "x", 3.5, 8.0, _ratio("receive-packed", "frr")),
    Goal("receive churn, against FRR", "x", 2.5, 10.0, _ratio("receive-churn", "frr")),
    Goal("receive packed, against GoBGP", "x", 8.0, 20.0, _ratio("receive-packed", "gobgp")),
    Goal("receive churn, against GoBGP", "x", 7.0, 30.0, _ratio("receive-churn", "gobgp")),
    Goal("receive packed 100k, against the fastest peer", "x", 0.7, 1.3, _ratio("receive-packed", *_FAST)),
    Goal("receive packed 500k, against the fastest peer", "x", 0.7, 1.3, _ratio("receive-large", *_FAST)),
    Goal("receive churn, against the fastest peer", "x", 0.3, 1.2, _ratio("receive-churn", *_FAST)),
    Goal("receive packed, against the reference daemon", "x", 50.0, 130.0, _ratio("receive-packed", "reference")),
    Goal("all imported into a null dataplane", "k routes per CPU s", 200.0, 500.0, _imported),
    Goal("memory, not imported (packed 500k)", "octets a route", 250.0, 200.0, _octets, True),
    Goal("memory, imported", "octets a route", 370.0, 320.0, _imported_octets, True),
    Goal("resident at rest (before the first request to the API)", "MB", 35.0, 35.0, _resident, True),
    Goal("UPDATE to call of the dataplane, idle, p50", "ms", 0.3, 0.3, _none, True),
    Goal("UPDATE to call of the dataplane, during a 500k load, p99", "ms", 5.0, 5.0, _none, True),
    Goal(
        "a burst of 50k routes to flows that Open vSwitch holds",
        "k flows per s",
        50.0,
        50.0,
        _programmed("flows-50000"),
    ),
    Goal("packets lost within a node while its daemon is killed and restarted", "packets", 0.0, 0.0, _lost, True),
    Goal("reflecting 100k packed to 100 clients, CPU against FRR's", "x", 0.8, 0.5, _reflection, True),
    Goal("EVPN, receive packed, against FRR", "x", 3.5, 3.5, _ratio("mac-packed", "frr")),
    Goal("EVPN, receive churn, against FRR", "x", 3.5, 3.5, _ratio("mac-churn", "frr")),
    Goal("EVPN, receive packed, against GoBGP", "x", 8.0, 8.0, _ratio("mac-packed", "gobgp")),
    Goal("EVPN, receive churn, against GoBGP", "x", 8.0, 8.0, _ratio("mac-churn", "gobgp")),
    Goal("EVPN, import packed, against FRR", "x", 3.5, 3.5, _ratio("mac-import-packed", "frr")),
    Goal("EVPN, import churn, against FRR", "x", 3.5, 3.5, _ratio("mac-import-churn", "frr")),
    Goal(
        "EVPN, a burst of MAC addresses to entries on Linux",
        "k routes per s",
        30.0,
        30.0,
        _programmed("mac-daemon-linux"),
    ),
    Goal("EVPN, the same to flows that Open vSwitch holds", "k flows per s", 50.0, 50.0, _programmed("mac-daemon-ovs")),
    Goal(
        "EVPN, a machine's move to the other node's entry, Linux, p99",
        "ms",
        100.0,
        100.0,
        _move("mac-move-linux"),
        True,
    ),
    Goal("EVPN, the same to the other node's flow, Open vSwitch, p99", "ms", 100.0, 100.0, _move("mac-move-ovs"), True),
)
