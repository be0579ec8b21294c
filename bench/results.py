"""What a run found, and the figures that follow from it: medians, rates, ratios."""

from __future__ import annotations

import dataclasses
import enum
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.cases import Latency, Received, Reflected
from bench.evpn_drivers import Applied
from bench.forwarding import Forwarded
from bench.restart import Restarted

OURS = "ours"


class Kind(enum.Enum):
    """Why there is no figure."""

    UNAVAILABLE = "not available"
    FAILED = "failed"
    OVER_BUDGET = "over budget"


@dataclass(frozen=True, slots=True)
class Trouble:
    """No figure, and why."""

    kind: Kind
    text: str


Outcome = Received | Reflected | Latency | Forwarded | Restarted | Applied | Trouble


@dataclass(slots=True)
class Results:
    """All outcomes of one run. ``about`` says what ran where; ``titles`` and ``versions`` are by program."""

    about: dict[str, str]
    titles: dict[str, str]
    versions: dict[str, str]
    outcomes: dict[str, dict[str, list[Outcome]]] = field(default_factory=dict)

    def add(self, case: str, program: str, outcome: Outcome) -> None:
        """Keep one outcome."""
        self.outcomes.setdefault(case, {}).setdefault(program, []).append(outcome)

    def of(self, case: str, program: str) -> list[Outcome]:
        """What one program did in one case, in the order of the rounds."""
        return self.outcomes.get(case, {}).get(program, [])

    def trouble(self, case: str, program: str) -> Trouble | None:
        """The first failure of a program in a case: one failed round leaves no figure."""
        return next((outcome for outcome in self.of(case, program) if isinstance(outcome, Trouble)), None)

    def samples(self, case: str, program: str, name: str) -> list[float]:
        """One field of every round, or nothing if a round failed or does not have it."""
        if self.trouble(case, program) is not None:
            return []
        values = [getattr(outcome, name, None) for outcome in self.of(case, program)]
        return [] if None in values else [float(value) for value in values if value is not None]

    def median(self, case: str, program: str, name: str) -> float | None:
        """The median over the rounds of one field."""
        values = self.samples(case, program, name)
        return statistics.median(values) if values else None

    def rate(self, case: str, program: str, name: str = "cpu") -> float | None:
        """Thousand routes per CPU second."""
        cpu, routes = self.median(case, program, name), self.median(case, program, "routes")
        return None if not cpu or not routes else routes / cpu / 1000

    def spread(self) -> float:
        """The widest distance of a sample of CPU time from its median, as a share of the median."""
        widest = 0.0
        for case, programs in self.outcomes.items():
            for program in programs:
                middle = self.median(case, program, "cpu")
                if middle:
                    widest = max(widest, *(abs(v - middle) / middle for v in self.samples(case, program, "cpu")))
        return widest

    def write(self, path: Path) -> None:
        """Keep everything as JSON."""
        plain = {
            "about": self.about,
            "titles": self.titles,
            "versions": self.versions,
            "outcomes": {
                case: {program: [_plain(outcome) for outcome in outcomes] for program, outcomes in programs.items()}
                for case, programs in self.outcomes.items()
            },
        }
        path.write_text(json.dumps(plain, indent=1) + "\n")


def read(path: Path) -> Results:
    """What ``Results.write`` kept."""
    plain = json.loads(path.read_text())
    results = Results(plain["about"], plain["titles"], plain["versions"])
    for case, programs in plain["outcomes"].items():
        for program, outcomes in programs.items():
            for outcome in outcomes:
                results.add(case, program, _outcome(outcome))
    return results


def joined(runs: Sequence[Results]) -> Results:
    """Several runs as one: more rounds of a case, or other cases. What they say of themselves is told of each."""
    about = dict(runs[0].about)
    whole = Results(about, dict(runs[0].titles), dict(runs[0].versions))
    for run in runs[1:]:
        whole.titles |= run.titles
        whole.versions |= run.versions
        about |= {name: text for name, text in run.about.items() if name not in about}
    for name in ("command", "date", "rounds", "load_before", "load_after"):
        about[name] = ("; " if name == "command" else ", ").join(run.about[name] for run in runs)
    for run in runs:
        for case, programs in run.outcomes.items():
            for program, outcomes in programs.items():
                for outcome in outcomes:
                    whole.add(case, program, outcome)
    return whole


def _plain(outcome: Outcome) -> dict[str, Any]:
    values = {name: v.value if isinstance(v, Kind) else v for name, v in dataclasses.asdict(outcome).items()}
    return {"type": type(outcome).__name__, **values}


def _outcome(plain: dict[str, Any]) -> Outcome:
    values = {name: value for name, value in plain.items() if name != "type"}
    match plain["type"]:
        case "Received":
            return Received(**values)
        case "Reflected":
            return Reflected(**values)
        case "Latency":
            return Latency(**values)
        case "Forwarded":
            return Forwarded(**values)
        case "Restarted":
            return Restarted(**values)
        case "Applied":
            return Applied(**values)
        case _:
            return Trouble(Kind(values["kind"]), values["text"])
