"""``docs/performance.md`` and its plots, from the results of one run; nothing in them is typed in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench.cases import Received
from bench.goals import GOALS
from bench.plot import Bar, Panel, figure, number
from bench.results import OURS, Kind, Results

_PAGE = """\
# Performance

Written by `{command}`; do not edit. {date}, {machine}; {kernel}; Python {python};
`bagpipe` {compiled}. Rounds: {rounds}, programs interleaved; each figure is the median of its rounds. The widest a
round lay from its median is {spread:.0%}. Load average {load_before} before the run and {load_after} after it. Ratios
within the run are what counts; absolute figures vary by machine.

## Method

One iBGP session with 4-octet AS capability over a veth between two network namespaces. The sender has its UPDATEs
encoded beforehand and sends them as fast as the receiver reads. Routes lie in min(1000, N/100) VRFs with one route
target each, on 50 provider edges (RD of type 1), a /32 and a label for each route; LOCAL_PREF, ORIGINATOR_ID,
CLUSTER_LIST and an encapsulation community. *Packed*: 50 NLRI in an UPDATE, 17.8 octets a route. *Churn*: one NLRI in
an UPDATE, shuffled, 106 octets a route. The figure is the processor time of all threads and processes of the program,
from the first octet until it is quiet. A figure counts only if the program's own counter of routes then agrees with
what was sent (receive, withdraw), or if every observer was sent every route exactly once (reflection). Where it does
not, the table says so. Memory is the growth of the resident set, divided by the routes.

| program | version | run as |
|---|---|---|
{programs}

## Goals

Bounds for {compiled}.

| goal | bound | figure | |
|---|---|---|---|
{goals}

The call of the dataplane itself is not measured, but what follows from it: the flow in Open vSwitch (below).

What an imported route takes in memory: beside the RIB it stands in three dictionaries (what was made of it, the routes
of its VRF, the desired state), and has a key and a next hop of its own there, since every route has its own label.

## Receive

Thousand routes per CPU second; in parentheses how many times as much `bagpipe-bgp` does.

{receive}

![Receive](performance/receive.svg)

## Memory

Octets resident for each route, and MB resident at rest: with one established session and no route; the same after the
counter of routes was asked once; as a reflector, with the sender and the fewest observers.

{memory}

## Reflection

CPU seconds to take {routes} packed routes from one client and send them to all the others; in parentheses how many
times the CPU of `bagpipe-fakerr` it is.

{reflection}

![Reflection](performance/reflection.svg)

## Latency

Milliseconds from an UPDATE of one route leaving the sender to its arrival at another client. Loaded: while a third
client sends the packed routes of the large case; measured where the program honours route-target membership (RFC 4684),
so that the observer is not sent the load itself.

{latency}

## Forwarding

`bagpipe-bgp` with one VRF that imports all of the input. *Import*: a null dataplane, thousand routes per CPU second and
octets for each route. *UPDATE to flow*: milliseconds from the sending of an UPDATE until Open vSwitch (dummy datapath,
MPLS in GRE) has taken up the flow, as the flow monitor tells another connection: of single routes, one after the
other, and of each of many routes that are sent at once, 50 in an UPDATE, counted from its own UPDATE. *Bursts*: the
routes are sent at once, packed; thousand flows a second from the first octet sent to the last flow held (wall clock,
reception, import and Open vSwitch's own work included), and in parentheses the seconds; *memory* is what the daemon
grows by for each route of the largest burst.

{forwarding}

## Restart

Two nodes on Open vSwitch, machines that send 1,000 echo requests a second; the daemon of the first node is ended and
started again at once. Within the node nothing but its flows is needed. Between nodes the other one withdraws the routes
for as long as the session is down, since the speaker does not restart gracefully yet (RFC 4724).

{restart}

## EVPN

The same with MAC/IP routes (RFC 7432 type 2): as many EVPN instances, each with a route target and a VNI, no segment,
a MAC and an IPv4 address for each route; packed 40.7 octets a route, churn 121. *Import*: one instance imports all of
the input, a MAC and a neighbour for each route; `bagpipe-bgp` into a null dataplane, FRR's bgpd into zebra and its
VXLAN device (the time of bgpd alone), and the instance's own count agrees. Thousand routes per CPU second; in
parentheses how many times as much `bagpipe-bgp` does.

{evpn_receive}

Octets resident for each route:

{evpn_memory}

From records (*driver*) or UPDATEs (*daemon*) to entries and flows, thousand routes a second, wall clock, what the
kernel or the switch takes included: until all is acknowledged, or until another connection was told that all is there;
in parentheses the CPU seconds of the bench, or of the daemon. Of a MAC Linux gets an entry of the VXLAN device and one
of the bridge, and with an address a neighbour; Open vSwitch (dummy datapath) a flow, and with an address two more.

{evpn_rates}

*Moves*: {moves} machines, attached at one node, are attached at another one that has heard of them; milliseconds from
the request until the first node's dataplane sends their frames there, as the kernel or the switch tells another
connection. A reflector is between the two daemons, and the machine runs all of it.

{evpn_moves}
{troubles}
## Repeat it

`make bench` (root; installs what it misses) measures everything and writes this page; `make bench ARGS=--quick` takes
two minutes and prints; `--only ours,frr --cases receive-packed,reflect-10 --rounds 5` selects; `--json` keeps every
sample, and `--from-json` writes the page from one or several such files. `python -m bench.profile packed` (or `churn`,
`withdraw`, and `mac-packed` and so on) shows where the time of a received route goes, `python -m bench.evpn_drivers`
what the dataplanes of EVPN take.
"""

Cell = Callable[[str], str]

_SEE_BELOW = "error (below)"
_EVPN_CASES = ("mac-packed", "mac-churn", "mac-import-packed", "mac-import-churn")


def write(results: Results, page: Path) -> None:
    """Write the page, and its plots into the directory beside it that has its name."""
    plots = page.with_suffix("")
    plots.mkdir(parents=True, exist_ok=True)
    (plots / "receive.svg").write_text(figure(_receive_panels(results)))
    (plots / "reflection.svg").write_text(figure(_reflection_panels(results)))
    page.write_text(text(results))


def text(results: Results) -> str:
    """The page as Markdown."""
    about = results.about
    compiled = about["compiled"] == "yes"
    return _PAGE.format(
        **{name: value for name, value in about.items() if name != "compiled"},
        compiled="compiled" if compiled else "plain CPython",
        spread=results.spread(),
        programs="\n".join(
            f"| {results.titles[name]} | {version} | {_RUN_AS.get(name, '')} |"
            for name, version in results.versions.items()
        ),
        goals="\n".join(_goal_rows(results, compiled)),
        receive=_receive(results),
        memory=_memory(results),
        reflection=_reflection(results),
        latency=_latency(results),
        forwarding=_forwarding(results),
        restart=_restart(results),
        evpn_receive=_evpn_receive(results),
        evpn_memory=_evpn_memory(results),
        evpn_rates=_evpn_rates(results),
        evpn_moves=_evpn_moves(results),
        moves=_moves(results),
        troubles=_troubles(results),
    )


_RUN_AS = {
    "ours": "`bagpipe-bgp`, `retain_routes = always`; reflection: `bagpipe-fakerr`",
    "bird": "`vpn4 mpls` channel, `rr client`",
    "openbgpd": "`fib-update no`, `route-reflector`",
    "frr": "`bgpd -Z -n`, `route-reflector-client`",
    "gobgp": "`route-reflector-client`; EVPN: 5k packed and 2k churn",
    "exabgp": "JSON to a process; no table; 20k churn",
    "reference": "networking-bagpipe, log at warnings, no VPN instance, one message at a time, 10k packed and 2k churn",
}


def _goal_rows(results: Results, compiled: bool) -> list[str]:
    rows = []
    for goal in GOALS:
        figure_, verdict = goal.verdict(results, compiled)
        sign = "≤" if goal.at_most else "≥"
        shown = "" if figure_ is None else f"{number(figure_)} {goal.unit}"
        rows.append(f"| {goal.text} | {sign} {goal.bound(compiled):g} {goal.unit} | {shown} | {verdict} |")
    return rows


def _receive(results: Results) -> str:
    columns = _columns(results, "receive-")
    cells = [_rated(results, case, "cpu") for case in columns]
    titles = [results.about[f"title {case}"].replace(" and withdraw", "") for case in columns]
    if "receive-packed" in columns:
        cells.append(_rated(results, "receive-packed", "withdraw_cpu"))
        titles.append("withdraw, packed")
    return _table(results, titles, cells)


def _rated(results: Results, case: str, name: str) -> Cell:
    """Thousand routes per CPU second, and how many times as much ours does."""
    ours = results.rate(case, OURS, name)

    def cell(program: str) -> str:
        rate = results.rate(case, program, name)
        if rate is None:
            return _missing(results, case, program, name)
        return number(rate) + (f" ({number(ours / rate)}x)" if ours and program != OURS else "")

    return cell


def _memory(results: Results) -> str:
    columns = _columns(results, "receive-")

    def octets(case: str) -> Cell:
        def cell(program: str) -> str:
            value = results.median(case, program, "octets_per_route")
            return _missing(results, case, program, "octets_per_route") if value is None else number(value)

        return cell

    def megabytes(case: str, name: str) -> Cell:
        def cell(program: str) -> str:
            value = results.median(case, program, name)
            return "" if value is None else number(value / 1e6)

        return cell

    titles = [results.about[f"title {case}"].replace(" and withdraw", "") for case in columns]
    fewest = next(iter(_columns(results, "reflect-")), "")
    rests = {
        "MB at rest": megabytes("receive-packed", "resident_at_rest"),
        "asked once": megabytes("receive-packed", "resident_asked"),
        "reflector": megabytes(fewest, "resident_at_rest"),
    }
    return _table(results, [*titles, *rests], [*[octets(case) for case in columns], *rests.values()])


def _reflection(results: Results) -> str:
    columns = _columns(results, "reflect-")

    def seconds(case: str) -> Cell:
        ours = results.median(case, OURS, "cpu")

        def cell(program: str) -> str:
            value = results.median(case, program, "cpu")
            if value is None:
                return _missing(results, case, program, "cpu")
            return number(value) + (f" ({number(value / ours)}x)" if ours and program != OURS else "")

        return cell

    titles = [f"to {case.rpartition('-')[2]}" for case in columns]
    return _table(results, titles, [seconds(case) for case in columns])


def _latency(results: Results) -> str:
    def milliseconds(name: str) -> Cell:
        def cell(program: str) -> str:
            value = results.median("latency", program, name)
            return _missing(results, "latency", program, name) if value is None else number(value * 1000)

        return cell

    fields = {"p50": "idle p50", "p99": "idle p99", "p50_loaded": "loaded p50", "p99_loaded": "loaded p99"}
    return _table(results, list(fields.values()), [milliseconds(name) for name in fields])


def _forwarding(results: Results) -> str:
    def thousands(case: str) -> Cell:
        def cell(program: str) -> str:
            seconds, flows = (results.median(case, program, name) for name in ("seconds", "flows"))
            if not seconds or not flows:
                return _missing(results, case, program, "seconds")
            return f"{number(flows / seconds / 1000)} ({number(seconds)} s)"

        return cell

    def shown(case: str, name: str, factor: float = 1.0) -> Cell:
        def cell(program: str) -> str:
            value = results.median(case, program, name)
            return _missing(results, case, program, name) if value is None else number(value * factor)

        return cell

    bursts = _columns(results, "flows-")
    latencies: dict[str, Cell] = {
        f"{title} {name}": shown(case, name, 1000)
        for case, title in [
            ("flow-latency", "UPDATE to flow, 1 route:"),
            *((case, f"{int(case.rpartition('-')[2]):,}:") for case in _columns(results, "flow-latency-")),
        ]
        for name in ("p50", "p99")
    }
    columns: dict[str, Cell] = {
        "import, k/CPU s": lambda program: (
            number(rate)
            if (rate := results.rate("import-packed", program))
            else _missing(results, "import-packed", program, "cpu")
        ),
        "octets a route": shown("import-packed", "octets_per_route"),
        **latencies,
        **{f"burst of {int(case.rpartition('-')[2]):,}": thousands(case) for case in bursts},
    }
    if bursts:
        columns["memory"] = shown(bursts[-1], "octets_per_flow")
    return _table(results, list(columns), list(columns.values()))


def _restart(results: Results) -> str:
    lines = ["| | lost within the node | lost between nodes | seconds without session |", "|---|---|---|---|"]
    for case in _columns(results, "restart-"):
        names = ("lost_within", "sent_within", "lost_between", "sent_between", "away")
        values = [results.median(case, OURS, name) for name in names]
        if all(value is not None for value in values):
            lost, sent, lost_between, sent_between, away = (value or 0.0 for value in values)
            title = results.about[f"title {case}"]
            between = f"{lost_between:,.0f} of {sent_between:,.0f}"
            lines.append(f"| {title} | {lost:,.0f} of {sent:,.0f} | {between} | {away:.1f} |")
        else:
            lines.append(f"| {results.about[f'title {case}']} | {_missing(results, case, OURS, 'away')} | | |")
    return "\n".join(lines)


def _evpn_receive(results: Results) -> str:
    columns = [case for case in _EVPN_CASES if case in results.outcomes]
    cells = {results.about[f"title {case}"]: _rated(results, case, "cpu") for case in columns}
    if "mac-packed" in columns:
        cells["withdraw, packed"] = _rated(results, "mac-packed", "withdraw_cpu")
    return _table(results, list(cells), list(cells.values()))


def _evpn_memory(results: Results) -> str:
    def octets(case: str) -> Cell:
        def cell(program: str) -> str:
            value = results.median(case, program, "octets_per_route")
            return _missing(results, case, program, "octets_per_route") if value is None else number(value)

        return cell

    columns = [case for case in _EVPN_CASES if case in results.outcomes]
    return _table(results, [results.about[f"title {case}"] for case in columns], [octets(case) for case in columns])


def _evpn_rates(results: Results) -> str:
    lines = ["| | driver | daemon |", "|---|---|---|"]
    for case in _columns(results, "mac-driver-"):
        daemon = case.replace("driver", "daemon")
        rates = []
        for one, routes in ((case, "routes"), (daemon, "flows")):
            count, seconds, cpu = (results.median(one, OURS, name) for name in (routes, "seconds", "cpu"))
            told = _missing(results, one, OURS, "seconds")
            if count and seconds and cpu is not None:
                told = f"{number(count / seconds / 1000)} ({number(cpu)} CPU s)"
            rates.append(told)
        lines.append(f"| {results.about[f'title {case}']} | {' | '.join(rates)} |")
    return "\n".join(lines)


def _evpn_moves(results: Results) -> str:
    lines = ["| | p50 | p99 |", "|---|---|---|"]
    for case in _columns(results, "mac-move-"):
        values = [results.median(case, OURS, name) for name in ("p50", "p99")]
        told = [_missing(results, case, OURS, "p50") if one is None else number(one * 1000) for one in values]
        lines.append(f"| {results.about[f'title {case}']} | {' | '.join(told)} |")
    return "\n".join(lines)


def _moves(results: Results) -> str:
    moved = [results.median(case, OURS, "probes") for case in _columns(results, "mac-move-")]
    return next((f"{one:,.0f}" for one in moved if one), "some")


def _table(results: Results, titles: list[str], cells: list[Cell]) -> str:
    lines = [f"| | {' | '.join(titles)} |", "|---" * (len(titles) + 1) + "|"]
    for program in results.versions:
        values = [cell(program) for cell in cells]
        if any(values):
            lines.append(f"| {results.titles[program]} | {' | '.join(values)} |")
    return "\n".join(lines)


def _missing(results: Results, case: str, program: str, name: str) -> str:
    trouble = results.trouble(case, program)
    if trouble is not None:
        return trouble.text.partition(",")[0] if _stopped(trouble.kind) else _SEE_BELOW
    if name == "withdraw_cpu" and _withdraw_error(results, case, program):
        return _SEE_BELOW
    return ""


def _stopped(kind: Kind) -> bool:
    return kind is Kind.OVER_BUDGET


def _withdraw_error(results: Results, case: str, program: str) -> str:
    outcomes = [outcome for outcome in results.of(case, program) if isinstance(outcome, Received)]
    return next((outcome.withdraw_error for outcome in outcomes if outcome.withdraw_error), "")


def _troubles(results: Results) -> str:
    rows = []
    for case, programs in results.outcomes.items():
        for program in programs:
            trouble = results.trouble(case, program)
            title = results.titles[program]
            if trouble is not None:
                rows.append(f"| {case} | {title} | {trouble.kind.value}: {_flat(trouble.text)} |")
            error = _withdraw_error(results, case, program)
            if error:
                rows.append(f"| withdraw | {title} | failed: {_flat(error)} |")
    if not rows:
        return ""
    return "\n".join(["", "## Errors and limits", "", "| case | program | what |", "|---|---|---|", *rows, ""])


def _flat(text_: str) -> str:
    here = str(Path(__file__).parent.parent)
    return " ".join(text_.replace(f"{here}/", "").split()).replace("|", "\\|")[:300]


def _columns(results: Results, prefix: str) -> list[str]:
    return [case for case in results.outcomes if case.startswith(prefix)]


def _bars(results: Results, value: Callable[[str], float | None], note: Cell) -> tuple[Bar, ...]:
    bars = [
        Bar(results.titles[p], value(p), note(p).replace(_SEE_BELOW, "no figure: an error"), p == OURS)
        for p in results.versions
    ]
    return tuple(bar for bar in bars if bar.value is not None or bar.note)


def _receive_panels(results: Results) -> list[Panel]:
    fields = [(case, "cpu") for case in _columns(results, "receive-")]
    if "receive-packed" in results.outcomes:
        fields.append(("receive-packed", "withdraw_cpu"))
    panels = []
    for case, name in fields:
        title = results.about[f"title {case}"].replace(" and withdraw", "")
        title = "withdraw, packed" if name == "withdraw_cpu" else title
        bars = _bars(
            results,
            lambda p, c=case, n=name: results.rate(c, p, n),  # type: ignore[misc]
            lambda p, c=case, n=name: _missing(results, c, p, n),  # type: ignore[misc]
        )
        panels.append(Panel(f"{title}: thousand routes per CPU second (more is better)", bars))
    return panels


def _reflection_panels(results: Results) -> list[Panel]:
    panels = []
    for case in _columns(results, "reflect-"):
        bars = _bars(
            results,
            lambda p, c=case: results.median(c, p, "cpu"),  # type: ignore[misc]
            lambda p, c=case: _missing(results, c, p, "cpu"),  # type: ignore[misc]
        )
        panels.append(Panel(f"{results.about[f'title {case}']}: CPU seconds (less is better)", bars))
    return panels
