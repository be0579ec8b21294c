"""What the journal keeps of an attachment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


class JournalError(Exception):
    """The journal cannot be read or written. The text says why."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One accepted attachment: the API (1 or 2) it was stated by, its body, and the identifiers of its endpoints.

    ``created`` and ``changed`` are places in the order in which attachments were stated first and last. One that is
    ``leaving`` was removed, and what it had in the dataplane is not known to be gone.
    """

    id: str
    owner: str
    api: int
    body: Mapping[str, object]
    reserved: Mapping[str, Mapping[str, int]]
    created: int
    changed: int
    leaving: bool = False


Write = Entry | str
"""An entry to keep, or the id of one to forget."""
