"""Which programs run which cases, how large and how often; runs them interleaved, round by round."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench import cases, evpn, evpn_drivers, forwarding, mac_move, restart
from bench.lab import Lab
from bench.programs.program import Entry, Forwarder, Importer, Program, Unavailable
from bench.quiet import Failed, OverBudget
from bench.results import OURS, Kind, Outcome, Results, Trouble

_MOST_ROUTES = {
    ("reference", "packed"): 10_000,
    ("reference", "churn"): 2_000,
    ("exabgp", "churn"): 20_000,
    ("reference", "mac-packed"): 10_000,
    ("reference", "mac-churn"): 2_000,
    ("exabgp", "mac-churn"): 20_000,
    ("gobgp", "mac-packed"): 5_000,
    ("gobgp", "mac-churn"): 2_000,
}
"""What the slowest programs are given instead of the full number; their rate is what is compared."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Routes of the small and the large receive cases, observers of the reflection, probes, routes of the bursts and of
    those whose latency is told apart; routes of the bursts of MAC addresses, and how many machines move; limits in
    seconds.
    """

    routes: int = 100_000
    large: int = 500_000
    observers: tuple[int, ...] = (1, 10, 100)
    probes: int = 300
    bursts: tuple[int, ...] = (1_000, 10_000, 50_000, 100_000)
    together: tuple[int, ...] = (1_000, 50_000)
    macs: int = 50_000
    moves: int = 200
    rounds: int = 3
    limit: float = 90.0


FULL = Sizes()
QUICK = Sizes(
    routes=50_000,
    large=100_000,
    observers=(1, 10),
    probes=100,
    bursts=(1_000, 10_000),
    together=(1_000,),
    macs=10_000,
    moves=50,
    rounds=1,
    limit=20.0,
)

DATAPLANES = {"linux": "Linux", "ovs": "Open vSwitch, bridge of its own", "neutron": "Open vSwitch, beside Neutron"}

Run = Callable[[Lab, Entry], Outcome]


@dataclass(frozen=True, slots=True)
class Case:
    """One row of measurements: ``name`` is what ``--cases`` takes."""

    name: str
    title: str
    run: Run


def all_cases(sizes: Sizes) -> list[Case]:
    """Every case at the given sizes, in the order of the report."""
    small, large, limit = sizes.routes, sizes.large, sizes.limit

    def receive(kind: str, routes: int, withdraw: bool = False) -> Run:
        def run(lab: Lab, entry: Entry) -> Outcome:
            count = min(routes, _MOST_ROUTES.get((entry.name, kind), routes))
            return cases.receive(lab, entry.receiver, kind, count, limit, withdraw=withdraw)

        return run

    def reflect(observers: int) -> Run:
        return lambda lab, entry: cases.reflect(lab, _reflector(entry), small, observers, limit)

    def burst(routes: int) -> Run:
        return lambda lab, entry: forwarding.forwarded(lab, _forwarder(entry), routes, limit)

    def each(routes: int) -> Run:
        return lambda lab, entry: forwarding.updates_to_flows(lab, _forwarder(entry), routes, limit)

    found = [
        Case("receive-packed", f"receive and withdraw, packed, {_short(small)}", receive("packed", small, True)),
        Case("receive-churn", f"receive, churn, {_short(small)}", receive("churn", small)),
        Case("receive-large", f"receive, packed, {_short(large)}", receive("packed", large)),
    ]
    found += [
        Case(f"reflect-{n}", f"reflect {_short(small)} packed to {n} client{'s' * (n > 1)}", reflect(n))
        for n in sizes.observers
    ]
    found.append(
        Case(
            "latency",
            "UPDATE to reflected UPDATE",
            lambda lab, entry: cases.latency(lab, _reflector(entry), sizes.probes, large, limit),
        )
    )
    found.append(
        Case(
            "import-packed",
            f"receive and import, packed, {_short(small)}",
            lambda lab, entry: forwarding.imported(lab, _forwarder(entry), small, limit),
        )
    )
    found.append(
        Case(
            "flow-latency",
            "UPDATE to flow",
            lambda lab, entry: forwarding.update_to_flow(lab, _forwarder(entry), sizes.probes, limit),
        )
    )
    found += [
        Case(f"flow-latency-{n}", f"UPDATEs of {n:,} routes at once, each to its flow", each(n)) for n in sizes.together
    ]
    found += [Case(f"flows-{n}", f"a burst of {n:,} routes to flows", burst(n)) for n in sizes.bursts]
    found += [
        Case("restart-stopped", "restarted after SIGTERM", lambda lab, entry: restart.restarted(signal.SIGTERM)),
        Case("restart-killed", "restarted after SIGKILL", lambda lab, entry: restart.restarted(signal.SIGKILL)),
    ]
    return found + _evpn_cases(sizes)


def _evpn_cases(sizes: Sizes) -> list[Case]:
    short, limit = _short(sizes.routes), sizes.limit

    def receive(kind: str, withdraw: bool) -> Run:
        def run(lab: Lab, entry: Entry) -> Outcome:
            count = min(sizes.routes, _MOST_ROUTES.get((entry.name, kind), sizes.routes))
            return cases.receive(lab, _evpn(entry), kind, count, limit, withdraw=withdraw)

        return run

    def imports(kind: str) -> Run:
        return lambda lab, entry: evpn.imported(lab, _importer(entry), kind, sizes.routes, limit)

    def programmed(name: str, addresses: bool) -> Run:
        into = {"linux": evpn.into_linux, "ovs": evpn.into_switch}[name]
        return lambda lab, entry: into(lab, sizes.macs, addresses, limit)

    def driven(name: str, addresses: bool) -> Run:
        return lambda lab, entry: asyncio.run(evpn_drivers.applied(name, sizes.macs, addresses=addresses))

    found = [
        Case("mac-packed", f"receive, packed, {short}", receive("mac-packed", True)),
        Case("mac-churn", f"receive, churn, {short}", receive("mac-churn", False)),
        Case("mac-import-packed", f"import, packed, {short}", imports("mac-packed")),
        Case("mac-import-churn", f"import, churn, {short}", imports("mac-churn")),
    ]
    for name, title in DATAPLANES.items():
        for tail, addresses in (("", False), ("-ip", True)):
            about = f"{_short(sizes.macs)} MAC addresses{' with an address each' * addresses}"
            found.append(Case(f"mac-driver-{name}{tail}", f"{title}, {about}", driven(name, addresses)))
            if name in ("linux", "ovs"):
                found.append(Case(f"mac-daemon-{name}{tail}", f"{title}, {about}", programmed(name, addresses)))
    return [
        *found,
        Case("mac-move-linux", "moves, Linux", lambda lab, entry: mac_move.moved_on_linux(sizes.moves)),
        Case("mac-move-ovs", "moves, Open vSwitch", lambda lab, entry: mac_move.moved_on_switches(sizes.moves)),
    ]


def concerns(case: Case, entry: Entry) -> bool:
    """Whether a program takes part in a case at all: the reference daemon receives small inputs alone."""
    if case.name.startswith(("restart", "mac-driver", "mac-daemon", "mac-move")):
        return entry.name == OURS
    if case.name.startswith("mac-import"):
        return entry.importer is not None
    if case.name.startswith("mac"):
        return entry.evpn is not None
    if case.name.startswith(("import", "flow")):
        return entry.forwarder is not None and (entry.name == OURS or case.name in ("flow-latency", "flows-1000"))
    if case.name.startswith("receive"):
        return case.name != "receive-large" or entry.name not in ("reference", "exabgp")
    return entry.reflector is not None


def run(
    lab: Lab, plan: list[Case], entries: list[Entry], rounds: int, results: Results, say: Callable[[str], None]
) -> None:
    """Run ``rounds`` rounds of every case with every program, one after the other, into ``results``.

    What failed in a way that a repetition would not change is not repeated.
    """
    for number in range(1, rounds + 1):
        for case in plan:
            for entry in entries:
                if not concerns(case, entry) or results.trouble(case.name, entry.name) is not None:
                    continue
                began = time.monotonic()
                outcome = _attempt(lab, case, entry)
                results.add(case.name, entry.name, outcome)
                took = time.monotonic() - began
                say(f"{number}/{rounds} {case.name:21} {entry.name:10} {took:5.1f} s  {_told(outcome)}")


def _attempt(lab: Lab, case: Case, entry: Entry) -> Outcome:
    try:
        return case.run(lab, entry)
    except Unavailable as error:
        return Trouble(Kind.UNAVAILABLE, str(error))
    except Failed as error:
        return Trouble(Kind.FAILED, str(error))
    except OverBudget as error:
        return Trouble(Kind.OVER_BUDGET, str(error))


def _told(outcome: Outcome) -> str:
    match outcome:
        case cases.Received():
            text = f"{outcome.cpu:.3f} CPU s, {outcome.routes / outcome.cpu / 1000:.0f} k/s"
            text += f", {outcome.octets_per_route:.0f} octets a route"
            if outcome.withdraw_cpu:
                text += f", withdraw {outcome.withdraw_cpu:.3f} CPU s"
            return text + (f", withdraw: {outcome.withdraw_error}" if outcome.withdraw_error else "")
        case cases.Reflected():
            return f"{outcome.cpu:.3f} CPU s"
        case cases.Latency():
            figures = (outcome.p50, outcome.p99, outcome.p50_loaded, outcome.p99_loaded)
            return " ".join("-" if v is None else f"{v * 1000:.2f} ms" for v in figures)
        case forwarding.Forwarded():
            rate = outcome.flows / outcome.seconds
            return f"{outcome.seconds:.3f} s, {rate:,.0f} flows/s, {outcome.cpu:.3f} CPU s"
        case evpn_drivers.Applied():
            return f"{outcome.seconds:.3f} s, {outcome.routes / outcome.seconds:,.0f} routes/s, {outcome.cpu:.3f} CPU s"
        case restart.Restarted():
            within = f"{outcome.lost_within} of {outcome.sent_within} within"
            return f"lost {within}, {outcome.lost_between} of {outcome.sent_between} between nodes"
        case Trouble():
            return f"{outcome.kind.value}: {outcome.text}"


def _reflector(entry: Entry) -> Program:
    if entry.reflector is None:
        raise Unavailable("it does not reflect")
    return entry.reflector


def _forwarder(entry: Entry) -> Forwarder:
    if entry.forwarder is None:
        raise Unavailable("it has no VRF to measure")
    entry.forwarder.switch = None
    return entry.forwarder


def _evpn(entry: Entry) -> Program:
    if entry.evpn is None:
        raise Unavailable("it has no EVPN")
    return entry.evpn


def _importer(entry: Entry) -> Importer:
    if entry.importer is None:
        raise Unavailable("it has no EVPN instance to measure")
    return entry.importer


def _short(routes: int) -> str:
    return f"{routes // 1000}k" if routes % 1000 == 0 else str(routes)
