"""What comes of attaching and detaching, whatever the type of the instance."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from bagpipe.dataplane.delta import Tracker
from bagpipe.dataplane.model import Key
from bagpipe.vpn.attachment import Reserved


@dataclass(frozen=True, slots=True)
class Attached:
    """``keys`` are the records that must be in effect; ``reserved`` the identifiers given (label 0: it needs none)."""

    keys: tuple[Key, ...]
    reserved: Reserved


@dataclass(frozen=True, slots=True)
class Detached:
    """``keys`` are the records of the endpoint that were removed."""

    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class EndpointState:
    """Whether the dataplane has confirmed the records of an endpoint; ``reason`` says why it refused one, or what
    people have to know of an endpoint that is in effect.
    """

    state: Literal["in-effect", "pending", "refused"]
    reason: str = ""

    @classmethod
    def of(cls, keys: Iterable[Key], tracker: Tracker) -> EndpointState:
        """The state of an endpoint that needs these records."""
        needed = tuple(keys)
        for key in needed:
            refusal = tracker.refused.get(key)
            if refusal is not None:
                return cls("refused", f"{key}: {refusal.reason}")
        return cls("in-effect" if all(map(tracker.in_effect, needed)) else "pending")
