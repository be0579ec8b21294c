"""The page says what the run found, under the right title."""

from __future__ import annotations

from bench import report
from bench.cases import Latency
from bench.plan import FULL, all_cases, concerns
from bench.programs import ENTRIES
from bench.results import OURS, Results


def test_latencies_of_one_route_and_of_many_stand_side_by_side() -> None:
    # given a run of which three cases measured the way from an UPDATE to its flow
    cases = {"flow-latency": 0.001, "flow-latency-1000": 0.02, "flow-latency-50000": 0.7}
    names = ("command", "date", "machine", "kernel", "python", "rounds", "routes", "load_before", "load_after")
    about = dict.fromkeys(names, "?") | {"compiled": "no"}
    about |= {f"title {case.name}": case.title for case in all_cases(FULL)}
    results = Results(about, {OURS: "bagpipe"}, {OURS: "1"})
    for case, seconds in cases.items():
        results.add(case, OURS, Latency(2, 0, seconds, 2 * seconds, None, None))
    # when it is told, then p50 and p99 of each are there in milliseconds
    lines = report.text(results).splitlines()
    place = next(number for number, line in enumerate(lines) if "1,000: p50" in line)
    row = dict(zip(lines[place].split("|"), lines[place + 2].split("|"), strict=True))
    told = {title.strip(): value.strip() for title, value in row.items() if ": p" in title}
    assert told == {
        "UPDATE to flow, 1 route: p50": "1.00",
        "UPDATE to flow, 1 route: p99": "2.00",
        "1,000: p50": "20.0",
        "1,000: p99": "40.0",
        "50,000: p50": "700",
        "50,000: p99": "1,400",
    }


def test_only_ours_is_given_many_routes_at_once() -> None:
    (case,) = [case for case in all_cases(FULL) if case.name == "flow-latency-50000"]
    assert [entry.name for entry in ENTRIES if concerns(case, entry)] == [OURS]
