"""The ledger in rfc/ is honest: every RFC has a file, every row a proof or a gap, every named test exists."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.rfc_ledger import EXPECTED, LedgerFault, Row, missing_tests, read_file, read_ledger, read_row


def test_every_rfc_of_a_bgp_vpn_speaker_has_a_ledger() -> None:
    assert sorted(read_ledger()) == sorted(EXPECTED)


def test_every_row_of_the_ledger_has_a_proof_or_a_gap() -> None:
    ledger = read_ledger()
    assert all(ledger.values())
    assert {row.kind for rows in ledger.values() for row in rows} <= {"test", "gap"}


def test_every_test_that_the_ledger_names_exists() -> None:
    rows = [row for rows in read_ledger().values() for row in rows]
    assert missing_tests(rows) == []


def test_no_obligation_is_written_twice() -> None:
    for number, rows in read_ledger().items():
        said = [(row.section, row.text) for row in rows]
        assert len(said) == len(set(said)), f"rfc{number}.md"


def test_the_gaps_are_counted_by_kind_of_row() -> None:
    # given a row of each kind
    proven = read_row("| 4.1 | it MUST be | test: tests/unit/a.py::test_b; tests/unit/a.py::test_c |", "x:1")
    gap = read_row("| 4.1 | it MUST be | gap: no test yet |", "x:2")
    # then each knows its tests
    assert (proven.kind, proven.tests) == ("test", ["tests/unit/a.py::test_b", "tests/unit/a.py::test_c"])
    assert (gap.kind, gap.tests) == ("gap", [])


@pytest.mark.parametrize(
    "line",
    [
        "| 4.1 | it MUST be | |",
        "| 4.1 | it MUST be | test: |",
        "| 4.1 | it MUST be | gap:  |",
        "| 4.1 | it MUST be | proven by eye |",
        "| 4.1 | it MUST be | test: tests/unit/a.py::test_b gap: in part |",
        "| 4.1 | it is pleasant | gap: no test yet |",
        "| four | it MUST be | gap: no test yet |",
        "| 4.1 | it MUST be | gap: no test yet | more |",
    ],
)
def test_a_row_without_exactly_one_proof_is_refused(line: str) -> None:
    with pytest.raises(LedgerFault, match="x:1"):
        read_row(line, "x:1")


def test_a_test_that_does_not_exist_is_found_out(tmp_path: Path) -> None:
    # given a file with a test, a helper and a class with a test
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text(
        "def test_b(): assert True\ndef helper(): ...\nclass TestC:\n    def test_d(self): assert True\n"
    )

    def faults(name: str) -> list[str]:
        return missing_tests([Row("x:1", "4.1", "it MUST be", "test", name)], tmp_path)

    # then only the tests that are there may be named
    assert faults("tests/test_a.py::test_b") == []
    assert faults("tests/test_a.py::TestC::test_d") == []
    assert faults("tests/test_a.py::test_b; tests/test_a.py::test_e") == [
        "x:1: there is no test tests/test_a.py::test_e"
    ]
    assert faults("tests/test_a.py::helper") == ["x:1: there is no test tests/test_a.py::helper"]
    assert faults("tests/test_a.py::test_d") == ["x:1: there is no test tests/test_a.py::test_d"]
    assert faults("tests/test_z.py::test_b") == ["x:1: there is no test tests/test_z.py::test_b"]
    assert faults("test_b") == ["x:1: 'test_b' is not tests/<file>.py::<test>"]


def test_a_file_with_another_title_or_no_table_is_refused(tmp_path: Path) -> None:
    table = "| section | the RFC says | proof |\n|---|---|---|\n| 1 | it MUST be | gap: no test yet |\n"
    good, bad, empty = tmp_path / "rfc1.md", tmp_path / "rfc2.md", tmp_path / "rfc3.md"
    good.write_text(f"# RFC 1: Host Software\n\n{table}")
    bad.write_text(f"# RFC 1: Host Software\n\n{table}")
    empty.write_text("# RFC 3: Documentation Conventions\n")
    assert [row.where for row in read_file(good)] == ["rfc1.md:5"]
    for path in (bad, empty):
        with pytest.raises(LedgerFault, match=path.name):
            read_file(path)
