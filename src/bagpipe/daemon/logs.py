"""Where log records go: to standard error or to a file, with the standard library alone."""

from __future__ import annotations

import logging
from pathlib import Path

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def setup_plain(*, debug: bool, log_file: Path | None = None) -> None:
    """Log to a file or to standard error. Raises OSError when the file cannot be written."""
    handler = logging.FileHandler(log_file) if log_file is not None else logging.StreamHandler()
    handler.setFormatter(logging.Formatter(FORMAT))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
