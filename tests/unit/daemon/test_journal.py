"""The journal of attachments on a real file."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bagpipe.daemon.journal import FILE, Journal
from bagpipe.daemon.journal_entry import Entry, Write

ENTRY = Entry("port-1", "agent", 2, {"mac": "x", "description": "é"}, {"10.0.0.2/32": {"label": 16}}, 1, 1)
OTHER = Entry("port-2", "", 1, {}, {}, 2, 2)


def opened(directory: Path) -> Journal:
    journal = Journal.open(directory)
    assert journal is not None
    return journal


def write(directory: Path, *writes: Write) -> None:
    async def story() -> None:
        journal = opened(directory)
        await journal.note(*writes)
        await journal.close()

    asyncio.run(story())


def read(directory: Path) -> list[Entry]:
    async def story() -> list[Entry]:
        journal = opened(directory)
        entries = journal.entries()
        await journal.close()
        return entries

    return asyncio.run(story())


def test_what_was_written_is_read_again_in_the_order_of_creation(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b", OTHER, ENTRY)
    assert read(tmp_path / "a" / "b") == [ENTRY, OTHER]


def test_an_entry_is_changed_and_forgotten(tmp_path: Path) -> None:
    changed = Entry("port-1", "agent", 2, {"mac": "y"}, {}, 9, 9)
    write(tmp_path, ENTRY, OTHER)
    write(tmp_path, changed, "port-2")
    (kept,) = read(tmp_path)
    assert (kept.body, kept.created, kept.changed) == ({"mac": "y"}, 1, 9)


def test_many_writes_at_once_are_all_kept(tmp_path: Path) -> None:
    entries = [Entry(f"port-{number}", "", 1, {}, {}, number, number) for number in range(1, 301)]

    async def story() -> None:
        journal = opened(tmp_path)
        await asyncio.gather(*(journal.note(entry) for entry in entries))
        await journal.close()

    asyncio.run(story())
    assert read(tmp_path) == entries


def test_nothing_is_made_until_there_is_something_to_keep(tmp_path: Path) -> None:
    assert read(tmp_path / "state") == []
    assert not (tmp_path / "state").exists()


def test_a_file_that_is_no_journal_is_moved_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE).write_bytes(b"this is not a database" * 100)

    assert read(tmp_path) == []

    assert "moved to" in caplog.text
    assert [path.read_bytes()[:4] for path in tmp_path.glob(f"{FILE}.bad-*")] == [b"this"]
    write(tmp_path, ENTRY)
    assert read(tmp_path) == [ENTRY]


def test_a_damaged_journal_is_moved_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, *(Entry(f"port-{number}", "", 1, {"x": "y" * 500}, {}, number, number) for number in range(100)))
    with (tmp_path / FILE).open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(20_000))

    assert read(tmp_path) == []
    assert "moved to" in caplog.text


def test_a_journal_of_a_later_version_is_moved_aside_and_not_misread(tmp_path: Path) -> None:
    write(tmp_path, ENTRY)
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("PRAGMA user_version = 99")
    assert read(tmp_path) == []
    assert list(tmp_path.glob(f"{FILE}.bad-*"))


def test_a_journal_of_the_first_version_is_read_and_kept_on(tmp_path: Path) -> None:
    columns = "owner TEXT NOT NULL, api INTEGER NOT NULL, body TEXT NOT NULL, reserved TEXT NOT NULL"
    numbers = "created INTEGER NOT NULL, changed INTEGER NOT NULL"
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute(f"CREATE TABLE attachment (id TEXT PRIMARY KEY, {columns}, {numbers}) STRICT")
        connection.execute("INSERT INTO attachment VALUES ('port-2', '', 1, '{}', '{}', 2, 2)")
        connection.execute("PRAGMA user_version = 1")
    assert read(tmp_path) == [OTHER]
    leaving = replace(ENTRY, leaving=True)
    write(tmp_path, leaving)
    assert read(tmp_path) == [leaving, OTHER]
    assert not list(tmp_path.glob(f"{FILE}.bad-*"))


def test_one_row_that_cannot_be_read_costs_only_itself(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, ENTRY, OTHER)
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("UPDATE attachment SET body = '{' WHERE id = 'port-1'")
    assert read(tmp_path) == [OTHER]
    assert "port-1" in caplog.text


def test_where_nothing_can_be_written_there_is_one_warning_and_no_journal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert Journal.open(tmp_path / "file" / "state") is None
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1
    assert "no journal" in caplog.text


def test_a_second_process_leaves_the_journal_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, ENTRY)

    async def story() -> None:
        first = opened(tmp_path)
        assert Journal.open(tmp_path) is None
        await first.close()

    asyncio.run(story())
    assert "another process has it" in caplog.text
    assert read(tmp_path) == [ENTRY]


_WRITER = """
import asyncio, sys
from pathlib import Path
from bagpipe.daemon.journal import Journal
from bagpipe.daemon.journal_entry import Entry
async def story():
    journal = Journal.open(Path(sys.argv[1]))
    for number in range(1, 10000):
        await journal.note(Entry(f"port-{number}", "", 1, {}, {}, number, number))
        print(number, flush=True)
asyncio.run(story())
"""


def test_a_killed_process_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "src")},
    ) as writer:
        assert writer.stdout is not None
        acknowledged = 0
        while acknowledged < 200:
            acknowledged = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        told = [int(line) for line in writer.stdout.read().splitlines() if line.isdigit()]
    assert len(read(tmp_path)) >= max([acknowledged, *told])
