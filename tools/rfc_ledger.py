"""Reads the ledger in rfc/ and checks it: what the RFCs ask of us, and the test that proves it or the gap.

A ledger file is named rfc<number>.md and holds one Markdown table with the columns section, what the RFC says, and
proof. A proof is either ``test: path::name`` (several are parted by ``;``) or ``gap: reason``. A named test has to
exist: its file is parsed and the function looked up.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXPECTED = (
    *(4271, 2918, 4364, 4456, 4659, 4684, 4724, 4760, 5082, 5492, 6793, 7313, 7432),
    *(7606, 8277, 8365, 8584, 8654, 8950, 9012, 9135, 9136, 9161),
)
HEADER = ("section", "the RFC says", "proof")
OBLIGATION = re.compile(r"\b(must|shall|should|may only|cannot|will carry|minimum)\b", re.IGNORECASE)
PROOF = re.compile(r"^(test|gap): (\S.*)$")
TEST = re.compile(r"^(tests/\S+\.py)::(\w+)(?:::(\w+))?$")


@dataclass(frozen=True, slots=True)
class Row:
    """One obligation. ``where`` is file and line, for people."""

    where: str
    section: str
    text: str
    kind: str
    proof: str

    @property
    def tests(self) -> list[str]:
        """The names of the tests, empty for a gap."""
        return [name.strip() for name in self.proof.split(";")] if self.kind == "test" else []


class LedgerFault(Exception):
    """A line of the ledger that does not say what it has to."""


def read_row(line: str, where: str) -> Row:
    """One table line as a row. Raises LedgerFault."""
    cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
    if len(cells) != len(HEADER):
        raise LedgerFault(f"{where}: {len(cells)} columns, {len(HEADER)} wanted")
    section, text, proof = cells
    if not re.fullmatch(r"\d+(\.\w+)*", section):
        raise LedgerFault(f"{where}: {section!r} is not a section number")
    if not OBLIGATION.search(text):
        raise LedgerFault(f"{where}: says neither MUST, SHALL nor SHOULD")
    match = PROOF.match(proof)
    if match is None or ("gap:" in proof and "test:" in proof):
        raise LedgerFault(f"{where}: the proof is neither one 'test:' nor one 'gap:'")
    return Row(where, section, text, match[1], match[2])


def read_file(path: Path) -> list[Row]:
    """All rows of one ledger file. Raises LedgerFault."""
    lines = path.read_text().splitlines()
    table = [(number, line) for number, line in enumerate(lines, 1) if line.startswith("|")]
    if len(table) < 3 or tuple(cell.strip() for cell in table[0][1].strip("|").split("|")) != HEADER:
        raise LedgerFault(f"{path.name}: no table with the columns {', '.join(HEADER)}")
    if not lines[0].startswith(f"# RFC {path.stem.removeprefix('rfc')}: "):
        raise LedgerFault(f"{path.name}: the title is not that of the RFC")
    return [read_row(line, f"{path.name}:{number}") for number, line in table[2:]]


def read_ledger(directory: Path = ROOT / "rfc") -> dict[int, list[Row]]:
    """Every ledger file by RFC number. Raises LedgerFault."""
    return {int(path.stem.removeprefix("rfc")): read_file(path) for path in sorted(directory.glob("rfc*.md"))}


def missing_tests(rows: Iterable[Row], root: Path = ROOT) -> list[str]:
    """What is wrong with the named tests: the file or the function does not exist, or the name is no name of a test."""
    faults = []
    known: dict[str, frozenset[str]] = {}
    for row in rows:
        for name in row.tests:
            match = TEST.match(name)
            if match is None:
                faults.append(f"{row.where}: {name!r} is not tests/<file>.py::<test>")
                continue
            file, *parts = (part for part in match.groups() if part is not None)
            if file not in known:
                known[file] = test_names(root / file)
            if "::".join(parts) not in known[file]:
                faults.append(f"{row.where}: there is no test {name}")
    return faults


def test_names(path: Path) -> frozenset[str]:
    """The tests of a file as ``test_x`` or ``TestY::test_x``; none when there is no such file."""
    if not path.is_file():
        return frozenset()
    names: set[str] = set()
    for node in ast.parse(path.read_text(), str(path)).body:
        names |= _functions(node, "")
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            for inner in node.body:
                names |= _functions(inner, f"{node.name}::")
        elif isinstance(node, ast.Assign) and ast.unparse(node.value).endswith(".TestCase"):
            # Hypothesis: TestSomething = SomeStateMachine.TestCase
            names |= {ast.unparse(target) for target in node.targets}
    return frozenset(names)


def _functions(node: ast.stmt, prefix: str) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
        return {prefix + node.name}
    return set()


def main() -> int:
    """Print a line per RFC and the sum; 1 when the ledger is not honest."""
    try:
        ledger = read_ledger()
    except LedgerFault as fault:
        print(fault, file=sys.stderr)
        return 1
    print(f"{'RFC':>6} {'rows':>5} {'test':>5} {'gap':>5}")
    for number, rows in ledger.items():
        gaps = sum(row.kind == "gap" for row in rows)
        print(f"{number:>6} {len(rows):>5} {len(rows) - gaps:>5} {gaps:>5}")
    rows = [row for part in ledger.values() for row in part]
    print(f"{'all':>6} {len(rows):>5} {sum(r.kind == 'test' for r in rows):>5} {sum(r.kind == 'gap' for r in rows):>5}")
    wrong = [f"rfc{number}.md is missing" for number in EXPECTED if number not in ledger] + missing_tests(rows)
    for line in wrong:
        print(line, file=sys.stderr)
    if "--gaps" in sys.argv[1:]:
        for row in rows:
            if row.kind == "gap":
                print(f"{row.where}: {row.section}: {row.text}: {row.proof}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
