"""The last warnings and errors of the log, kept for the looking glass."""

from __future__ import annotations

import logging
import time
from collections import deque

KEPT = 100


class RecentRecords(logging.Handler):
    """Keeps the last ``KEPT`` records of level WARNING and above, and counts them all."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0
        self.records: deque[dict[str, str]] = deque(maxlen=KEPT)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record."""
        self.count += 1
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        self.records.append(
            {"level": record.levelname, "time": moment, "name": record.name, "message": record.getMessage()}
        )


def watch_log() -> RecentRecords:
    """Keep what the whole process logs from now on."""
    records = RecentRecords()
    logging.getLogger().addHandler(records)
    return records
