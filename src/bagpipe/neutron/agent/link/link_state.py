"""What an operator, a test or the agent may ask of the link."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LinkState:
    """``kind`` is the interface in use, "v2" or "v1"; empty while no daemon was ever met.

    ``process``: the number of the daemon's process. ``why``: why it is down, or why the last request failed. ``ports``
    and ``attachments`` count what is wanted. ``pending`` (not sent, or not in effect yet) and ``refused`` have the
    reason by attachment.
    """

    is_up: bool
    kind: str
    process: int | None
    why: str
    ports: int
    attachments: int
    pending: Mapping[str, str]
    refused: Mapping[str, str]
