"""Verdicts follow from figures alone, and a failed cross-check leaves no figure."""

from __future__ import annotations

from pathlib import Path

from bench import report, results
from bench.cases import Latency, Received, Reflected
from bench.goals import GOALS, Goal
from bench.results import Kind, Results, Trouble

ABOUT = {
    "date": "2000-01-01",
    "machine": "m",
    "kernel": "k",
    "python": "3",
    "compiled": "no",
    "load_before": "0",
    "load_after": "0",
    "rounds": "3",
    "command": "python -m bench",
    "routes": "100,000",
    "title receive-packed": "receive and withdraw, packed, 100k",
    "title reflect-100": "reflect to 100",
    "title latency": "latency",
}


def empty() -> Results:
    return Results(dict(ABOUT), {"ours": "bagpipe", "frr": "FRR"}, {"ours": "1", "frr": "8"})


def received(cpu: float, withdraw: float | None = 0.1, error: str = "") -> Received:
    return Received(100_000, cpu, 200.0, 30_000_000, 50_000_000, withdraw, error)


def goal(text: str) -> Goal:
    (found,) = [goal for goal in GOALS if goal.text == text]
    return found


def test_a_rate_is_the_routes_over_the_median_of_the_rounds() -> None:
    found = empty()
    for cpu in (0.9, 0.1, 0.2):
        found.add("receive-packed", "ours", received(cpu))
    assert found.rate("receive-packed", "ours") == 500


def test_one_failed_round_leaves_no_figure() -> None:
    found = empty()
    found.add("receive-packed", "ours", received(0.1))
    found.add("receive-packed", "ours", Trouble(Kind.FAILED, "cross-check: 7 routes"))
    found.add("receive-packed", "frr", received(0.7))
    assert found.rate("receive-packed", "ours") is None
    assert goal("receive packed, against FRR").verdict(found, False) == (None, "not measured")
    assert "error (below)" in report.text(found)
    assert "cross-check: 7 routes" in report.text(found)


def test_a_goal_is_met_at_its_bound_and_not_below() -> None:
    found = empty()
    found.add("receive-packed", "ours", received(0.25))
    found.add("receive-packed", "frr", received(0.875))
    assert goal("receive packed, against FRR").verdict(found, False) == (3.5, "met")
    assert goal("receive packed, against FRR").verdict(found, True) == (3.5, "**not met**")


def test_a_goal_that_is_a_ceiling_is_met_below_it() -> None:
    found = empty()
    found.add("reflect-100", "ours", Reflected(100_000, 100, 0.5, 20_000_000))
    found.add("reflect-100", "frr", Reflected(100_000, 100, 1.0, 20_000_000))
    name = "reflecting 100k packed to 100 clients, CPU against FRR's"
    assert goal(name).verdict(found, False) == (0.5, "met")


def test_a_withdrawal_that_was_not_counted_is_an_error_not_a_number() -> None:
    found = empty()
    found.add("receive-packed", "frr", received(0.5, None, "it counts 100000 routes, 0 expected"))
    assert found.rate("receive-packed", "frr", "withdraw_cpu") is None
    assert "| withdraw | FRR | failed: it counts 100000 routes, 0 expected |" in report.text(found)


def test_results_come_back_from_their_file(tmp_path: Path) -> None:
    found = empty()
    found.add("receive-packed", "ours", received(0.1))
    found.add("reflect-100", "ours", Reflected(1, 2, 3.0, 4))
    found.add("latency", "ours", Latency(10, 0, 0.1, 0.2, None, None))
    found.add("latency", "frr", Trouble(Kind.OVER_BUDGET, "more than 3.0 CPU s, stopped after 3 s"))
    found.write(tmp_path / "kept.json")
    assert results.read(tmp_path / "kept.json") == found


def test_several_runs_are_one_with_all_their_rounds_and_cases() -> None:
    # given two runs that have one case in common
    one, other = empty(), empty()
    other.about |= {"rounds": "1", "command": "python -m bench --cases latency", "title mac-packed": "macs"}
    other.titles["gobgp"] = other.versions["gobgp"] = "GoBGP"
    one.add("receive-packed", "ours", received(0.1))
    other.add("receive-packed", "ours", received(0.3))
    other.add("mac-packed", "gobgp", received(0.5))
    # when they are joined, then each case has the rounds of both
    both = results.joined([one, other])
    assert both.samples("receive-packed", "ours", "cpu") == [0.1, 0.3]
    assert both.samples("mac-packed", "gobgp", "cpu") == [0.5]
    assert both.about["rounds"] == "3, 1"
    assert both.about["command"] == "python -m bench; python -m bench --cases latency"
    assert both.about["title mac-packed"] == "macs"
    assert list(both.titles) == ["ours", "frr", "gobgp"]
    # and those given are as they were
    assert one.samples("receive-packed", "ours", "cpu") == [0.1]
    assert one.about["rounds"] == "3"


def test_the_page_and_its_plots_are_written(tmp_path: Path) -> None:
    found = empty()
    found.add("receive-packed", "ours", received(0.1))
    found.add("reflect-100", "frr", Trouble(Kind.OVER_BUDGET, "more than 61.0 CPU s, stopped after 60 s"))
    report.write(found, tmp_path / "performance.md")
    page = (tmp_path / "performance.md").read_text()
    assert "| bagpipe | 1,000 |" in page
    assert "| FRR | more than 61.0 CPU s |" in page
    assert "more than 61.0 CPU s" in (tmp_path / "performance" / "reflection.svg").read_text()
    assert "1,000" in (tmp_path / "performance" / "receive.svg").read_text()
