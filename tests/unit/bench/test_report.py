"""The page says what the run found, under the right title."""

from __future__ import annotations

from bench import report
from bench.cases import Latency, Received
from bench.evpn_drivers import Applied
from bench.forwarding import Forwarded
from bench.plan import FULL, all_cases, concerns
from bench.programs import ENTRIES
from bench.results import OURS, Results


def a_run() -> Results:
    """A run without any outcome."""
    names = ("command", "date", "machine", "kernel", "python", "rounds", "routes", "load_before", "load_after")
    about = dict.fromkeys(names, "?") | {"compiled": "no"}
    about |= {f"title {case.name}": case.title for case in all_cases(FULL)}
    return Results(about, {OURS: "bagpipe", "frr": "FRR"}, {OURS: "1", "frr": "8"})


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the tables below a heading."""
    section = page.split(f"## {heading}\n")[1].split("\n## ", maxsplit=1)[0]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line[:1] == "|"]


def test_latencies_of_one_route_and_of_many_stand_side_by_side() -> None:
    # given a run of which three cases measured the way from an UPDATE to its flow
    cases = {"flow-latency": 0.001, "flow-latency-1000": 0.02, "flow-latency-50000": 0.7}
    results = a_run()
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


def test_evpn_has_its_rates_memory_and_moves() -> None:
    # given a run that measured EVPN beside FRR
    results = a_run()
    for program, cpu, octets in ((OURS, 0.1, 180.0), ("frr", 0.4, 1200.0)):
        results.add("mac-packed", program, Received(100_000, cpu, octets, 1, 1, cpu / 2, ""))
    results.add("mac-import-churn", OURS, Received(100_000, 2.0, 900.0, 1, 1, None, ""))
    results.add("mac-driver-ovs", OURS, Applied(50_000, 0.5, 0.25, 0.1))
    results.add("mac-daemon-ovs", OURS, Forwarded(50_000, 1.0, 0.75, 600.0))
    results.add("mac-move-linux", OURS, Latency(200, 0, 0.007, 0.12, None, None))
    # when it is told
    page = report.text(results)
    # then rates, ratios, octets and milliseconds are those that were measured
    told = rows(page, "EVPN")
    assert ["bagpipe", "1,000", "50.0", "2,000"] in told
    assert ["FRR", "250 (4.00x)", "", "500 (4.00x)"] in told
    assert ["bagpipe", "180", "900"] in told
    assert ["Open vSwitch, bridge of its own, 50k MAC addresses", "100 (0.25 CPU s)", "50.0 (0.75 CPU s)"] in told
    assert ["moves, Linux", "7.00", "120"] in told
    assert "*Moves*: 200 machines" in page
    # and goals are judged by them
    goals = {row[0]: row[2:] for row in rows(page, "Goals")}
    assert goals["EVPN, receive packed, against FRR"] == ["4.00 x", "met"]
    assert goals["EVPN, the same to flows that Open vSwitch holds"] == ["50.0 k flows per s", "met"]
    assert goals["EVPN, a machine's move to the other node's entry, Linux, p99"] == ["120 ms", "**not met**"]
    assert goals["EVPN, receive packed, against GoBGP"] == ["", "not measured"]


def test_who_takes_part_in_cases_of_evpn_is_who_can() -> None:
    found = {case.name: [entry.name for entry in ENTRIES if concerns(case, entry)] for case in all_cases(FULL)}
    assert found["mac-packed"] == [OURS, "frr", "gobgp", "exabgp", "reference"]
    assert found["mac-import-packed"] == [OURS, "frr"]
    assert {*map(tuple, (found[name] for name in found if name.startswith(("mac-d", "mac-move"))))} == {(OURS,)}
