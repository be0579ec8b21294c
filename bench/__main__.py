"""``python -m bench``: measure, and write ``docs/performance.md``."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from pathlib import Path

from bench import machine, plan, report, results
from bench.lab import Lab
from bench.programs import ENTRIES
from bench.programs.program import Entry, Unavailable

_QUICK_PROGRAMS = ("ours", "frr", "bird")
_PAGE = Path(__file__).parent.parent / "docs" / "performance.md"


def main(arguments: list[str] | None = None) -> int:
    """Run the bench; the status is 1 if a cross-check of our own programs failed, 2 for a wrong argument."""
    asked = _parser().parse_args(arguments)
    if asked.from_json:
        found = results.joined([results.read(path) for path in asked.from_json])
        report.write(found, asked.output or _PAGE)
        return _status(found)
    sizes = plan.QUICK if asked.quick else plan.FULL
    rounds = asked.rounds or sizes.rounds
    entries = _chosen(asked.only, _QUICK_PROGRAMS if asked.quick else tuple(e.name for e in ENTRIES))
    cases = [case for case in plan.all_cases(sizes) if not asked.cases or case.name in asked.cases]
    if not cases or os.geteuid() != 0:
        print("bench: no such case" if not cases else "bench: namespaces need root", file=sys.stderr)
        return 2
    found = results.Results(machine.describe(), {e.name: e.title for e in entries}, {})
    entries = [entry for entry in entries if _version(entry, found)]
    found.about["rounds"] = str(rounds)
    found.about["command"] = _command(asked)
    found.about["routes"] = f"{sizes.routes:,}"
    found.about.update({f"title {case.name}": case.title for case in cases})
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that namespaces and programs go as at Ctrl-C
    with Lab(max(sizes.observers)) as lab:
        plan.run(lab, cases, entries, rounds, found, lambda line: print(line, flush=True))
    found.about["load_after"] = machine.load()
    if asked.json:
        found.write(asked.json)
    page = asked.output or (None if asked.quick or asked.only or asked.cases else _PAGE)
    if page:
        report.write(found, page)
        print(f"written: {page}")
    else:
        print(report.text(found))
    return _status(found)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure this speaker beside its peers (root)."
    )
    parser.add_argument("--quick", action="store_true", help="small inputs, one round, ours beside FRR and BIRD")
    parser.add_argument("--only", type=_names, metavar="NAME,...", help=", ".join(e.name for e in ENTRIES))
    parser.add_argument(
        "--cases", type=_names, metavar="NAME,...", help=", ".join(c.name for c in plan.all_cases(plan.FULL))
    )
    parser.add_argument("--rounds", type=int, help="how often each measurement is repeated")
    parser.add_argument(
        "--output", type=Path, help="the page to write; by default a whole full run writes docs/performance.md"
    )
    parser.add_argument("--json", type=Path, help="keep every sample in this file")
    parser.add_argument(
        "--from-json", type=Path, nargs="+", metavar="JSON", help="measure nothing, write the page from such files"
    )
    return parser


def _command(asked: argparse.Namespace) -> str:
    """The command that measures the same, without where to write it."""
    words = ["python", "-m", "bench", *(["--quick"] if asked.quick else [])]
    for name in ("only", "cases"):
        if getattr(asked, name):
            words += [f"--{name}", ",".join(getattr(asked, name))]
    return shlex.join(words + (["--rounds", str(asked.rounds)] if asked.rounds else []))


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _chosen(only: list[str] | None, default: tuple[str, ...]) -> list[Entry]:
    wanted = only or list(default)
    unknown = set(wanted) - {entry.name for entry in ENTRIES}
    if unknown:
        raise SystemExit(f"bench: no such program: {', '.join(sorted(unknown))}")
    return [entry for entry in ENTRIES if entry.name in wanted]


def _version(entry: Entry, found: results.Results) -> bool:
    try:
        found.versions[entry.name] = entry.receiver.version()
    except Unavailable as error:
        print(f"{entry.title} is left out: {error}", file=sys.stderr)
        return False
    return True


def _status(found: results.Results) -> int:
    return int(any(found.trouble(case, results.OURS) is not None for case in found.outcomes))


if __name__ == "__main__":
    raise SystemExit(main())
