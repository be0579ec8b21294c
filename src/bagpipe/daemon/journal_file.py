"""The journal's file: one table in SQLite, in write-ahead mode. Loaded once there is something to keep (1 MB)."""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path

from bagpipe.daemon.journal_entry import Entry, JournalError, Write

LOG = logging.getLogger(__name__)

VERSION = 2
_SCHEMA = """
CREATE TABLE attachment (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    api INTEGER NOT NULL,
    body TEXT NOT NULL,
    reserved TEXT NOT NULL,
    created INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    leaving INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX by_creation ON attachment (created);
"""
_PUT = """
INSERT INTO attachment (id, owner, api, body, reserved, created, changed, leaving) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    owner = excluded.owner, api = excluded.api, body = excluded.body, reserved = excluded.reserved,
    changed = excluded.changed, leaving = excluded.leaving
"""
_FROM_1 = "ALTER TABLE attachment ADD COLUMN leaving INTEGER NOT NULL DEFAULT 0;"
_ALL = "SELECT id, owner, api, body, reserved, created, changed, leaving FROM attachment ORDER BY created"


class JournalFile:
    """An open file. A file that is not a journal is moved aside, with a warning, and a new one begun.

    Raises JournalError, as all its methods do, if it cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._connection = _connected_anew(path)
        except sqlite3.Error as error:
            raise JournalError(str(error)) from error

    def entries(self) -> list[Entry]:
        """All that is kept, in the order of creation. Rows that cannot be read are passed over with a warning."""
        found: list[Entry] = []
        try:
            for name, owner, api, body, reserved, created, changed, leaving in self._connection.execute(_ALL):
                try:
                    asked, given = json.loads(body), json.loads(reserved)
                    found.append(Entry(name, owner, api, asked, given, created, changed, bool(leaving)))
                except (ValueError, RecursionError) as error:
                    LOG.warning("%s: attachment %s cannot be read and is dropped: %s", self.path, name, error)
        except sqlite3.Error as error:
            raise JournalError(str(error)) from error
        return found

    def commit(self, writes: Iterable[Write]) -> None:
        """Write in one transaction."""
        try:
            with self._connection as connection:
                for write in writes:
                    if isinstance(write, str):
                        connection.execute("DELETE FROM attachment WHERE id = ?", (write,))
                    else:
                        connection.execute(_PUT, _row(write))
        except (sqlite3.Error, UnicodeError) as error:
            raise JournalError(str(error)) from error

    def close(self) -> None:
        """Close it."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()


def _row(entry: Entry) -> tuple[str, str, int, str, str, int, int, int]:
    body, reserved = json.dumps(dict(entry.body)), json.dumps(dict(entry.reserved))
    return entry.id, entry.owner, entry.api, body, reserved, entry.created, entry.changed, entry.leaving


def _connected_anew(path: Path) -> sqlite3.Connection:
    try:
        return _connected(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and not _is_unusable(error):
            raise
        _move_aside(path, str(error))
        return _connected(path)


def _connected(path: Path) -> sqlite3.Connection:
    """An open file with the present schema. Raises sqlite3.Error."""
    connection = sqlite3.connect(path, check_same_thread=False, timeout=2.0)
    try:
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
        connection.execute("PRAGMA synchronous = NORMAL")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
        elif version == 1:
            connection.executescript(f"BEGIN; {_FROM_1} PRAGMA user_version = {VERSION}; COMMIT;")
        elif version != VERSION:
            raise sqlite3.DatabaseError(f"it is of version {version}, not {VERSION}")
        (state,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if state != "ok":
            raise sqlite3.DatabaseError(str(state))
        connection.execute(_ALL).fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _is_unusable(error: sqlite3.OperationalError) -> bool:
    """Whether what is in the file is at fault, not the disk, a lock or the permissions."""
    return str(error).startswith(("no such table", "no such column", "table attachment"))


def _move_aside(path: Path, why: str) -> None:
    aside = path.with_name(f"{path.name}.bad-{time.strftime('%Y%m%d-%H%M%S')}")
    LOG.warning("%s cannot be read (%s): moved to %s, begun anew", path, why, aside)
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        with contextlib.suppress(FileNotFoundError):
            part.rename(aside.with_name(aside.name + suffix))
