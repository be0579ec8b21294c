"""The journal: which attachments were accepted, and which identifiers they were given, in SQLite.

It is what a restart replays, so that each port gets the same numbers again and what the dataplane holds fits. Writes go
to a thread of their own, several at once in one transaction; each is awaited before success is said. The file is in
write-ahead mode: a killed process loses nothing that was acknowledged. It is made with the first attachment, and one
process has it at a time.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from bagpipe.daemon.journal_entry import Entry, JournalError, Write

if TYPE_CHECKING:
    from bagpipe.daemon.journal_file import JournalFile

LOG = logging.getLogger(__name__)

FILE = "journal.db"
LOCK = "journal.lock"


class Journal:
    """The open file. Its methods are called on the loop's thread, :meth:`open` and :meth:`entries` at the start."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: JournalFile | None = None
        self._lock: int | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._waiting: list[Write] = []
        self._waiters: list[asyncio.Future[None]] = []
        self._writing: asyncio.Task[None] | None = None
        self._failed = False

    @classmethod
    def open(cls, directory: Path) -> Journal | None:
        """The journal in ``directory``; None, with one warning, where none can be kept.

        A file that is not a journal is moved aside, with a warning, and a new one begun.
        """
        journal = cls(directory / FILE)
        try:
            if journal.path.exists():
                journal._connect()
            else:
                _check_writable(directory)
        except (OSError, JournalError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            LOG.warning("%s: %s: no journal; after a restart agents have to attach again", directory, why)
            return None
        return journal

    def _connect(self) -> JournalFile:
        """The file, opened at need. Raises OSError or JournalError if there can be none."""
        if self._file is not None:
            return self._file
        from bagpipe.daemon.journal_file import JournalFile  # noqa: PLC0415 - see there

        self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        if self._lock is None:
            lock = os.open(self.path.with_name(LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(lock)
                raise OSError(error.errno, "another process has it") from error
            self._lock = lock
        self._file = JournalFile(self.path)
        return self._file

    def entries(self) -> list[Entry]:
        """All that is kept, in the order of creation. Rows that cannot be read are passed over with a warning.

        Raises JournalError.
        """
        return [] if self._file is None else self._file.entries()

    def note(self, *writes: Write) -> asyncio.Future[None]:
        """Keep or forget, in the order of the calls; the future is done once it is in the file.

        A failure is a warning and no error: what was attached is held anyway.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._waiting += writes
        self._waiters.append(done)
        if self._writing is None:
            self._writing = loop.create_task(self._flush())
        return done

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiters:
                batch, self._waiting = self._waiting, []
                waiters, self._waiters = self._waiters, []
                try:
                    await loop.run_in_executor(self._thread, self._commit, batch)
                    self._failed = False
                except (JournalError, OSError) as error:
                    if not self._failed:
                        LOG.warning("%s: not written: %s", self.path, error)
                    self._failed = True
                for waiter in waiters:
                    if not waiter.done():
                        waiter.set_result(None)
        finally:
            self._writing = None

    def _commit(self, batch: list[Write]) -> None:
        if batch:
            self._connect().commit(batch)

    async def close(self) -> None:
        """Write what waits and close the file."""
        await self.note()
        self._thread.shutdown(wait=True)
        if self._file is not None:
            self._file.close()
        if self._lock is not None:
            os.close(self._lock)


def _check_writable(directory: Path) -> None:
    """Raises PermissionError if no file can be made there."""
    place = directory
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise NotADirectoryError(20, f"{place} is not a directory")
    if not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(13, "Permission denied")
