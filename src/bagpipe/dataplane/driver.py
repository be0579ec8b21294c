"""What a dataplane driver does for the rest of the daemon. ``ovs`` and ``memory`` are two; others plug in here."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bagpipe.dataplane.delta import Change
from bagpipe.dataplane.model import Address, Capabilities, Key, Value


@dataclass(frozen=True, slots=True)
class Ready:
    """The dataplane can be programmed. What it holds is not known: adopt it."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The dataplane cannot be programmed any more, or not yet; the driver goes on trying."""

    why: str


@dataclass(frozen=True, slots=True)
class Again:
    """Something beneath these records has changed (a port came or went, a neighbour's MAC, a flow was deleted)."""

    keys: tuple[Key, ...]
    why: str


DriverEvent = Ready | Gone | Again
Listener = Callable[[DriverEvent], None]


@dataclass(frozen=True, slots=True)
class Carried:
    """How a record is programmed, for people: ``parts`` are lines such as flows and groups, ``counters`` what they saw
    (packets, octets), ``neighbours`` the MAC of each next hop that needs one (None: not resolved), ``missing`` what
    keeps it from working.
    """

    parts: tuple[str, ...]
    counters: Mapping[str, int]
    neighbours: Mapping[str, str | None]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """Something of ours that the dataplane holds and should not (``kind`` extra), or should and does not (missing),
    or holds otherwise (changed). ``key`` is the record it belongs to, None if there is none.
    """

    kind: str
    key: Key | None
    text: str


class Order(enum.Enum):
    """When something of others meets a packet."""

    BEFORE = "before"
    """Before something of ours that is for the same packet: it may, since not all that tells packets apart is known."""
    BESIDE = "beside"
    """It is as strong as ours are, and for packets that none of ours is for; or it meets no packets by itself."""
    AFTER = "after"
    """When nothing of ours has taken it."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """Something that is not ours where ours is: a ``kind`` of thing such as a flow, all of it as ``text``, and in
    ``where`` what it is found by.
    """

    kind: str
    order: Order
    text: str
    where: Mapping[str, int | str]


class Dataplane(Protocol):
    """A dataplane. Everything runs on the event loop; only what blocks runs in threads of the driver's own."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do; known before it is started."""
        ...

    async def start(self, listener: Listener) -> None:
        """Begin to connect; ``listener`` is called on the loop. Returns at once, whatever is reachable.

        Raises LocalMisuse for settings that can never work.
        """
        ...

    async def close(self) -> None:
        """Let go. What is programmed stays: the traffic goes on while the daemon is restarted."""
        ...

    async def adopt(self, desired: Mapping[Key, Value], *, sweep: bool) -> dict[Key, str]:
        """Read back what the dataplane holds of ours and bring it to ``desired``, touching only what differs.

        What is ours and not desired is left alone, or with ``sweep`` removed. Gives the records that could not be
        programmed, with the reason. Raises DataplaneError if the connection failed.
        """
        ...

    async def apply(self, changes: Sequence[Change]) -> dict[Key, str]:
        """Program changes and wait until they are confirmed; those refused, with the reason.

        Raises DataplaneError if the connection failed: then what was done is not known.
        """
        ...

    async def carried(self, key: Key, value: Value) -> Carried:
        """How a record is programmed, read from the dataplane. Raises DataplaneError."""
        ...

    async def audit(self, desired: Mapping[Key, Value]) -> list[Difference]:
        """Every difference between what it holds and ``desired``. Changes nothing. Raises DataplaneError."""
        ...

    async def foreign(self, records: Mapping[Key, Value], destination: Address | None = None) -> list[Foreign]:
        """What others have where ours is, its order told for the packets that ``records`` are for: all of them, or
        those to ``destination``. Changes nothing. Raises DataplaneError.
        """
        ...

    async def reset(self) -> int:
        """Remove all that is ours; how many things that were. Raises DataplaneError."""
        ...

    def overview(self) -> dict[str, object]:
        """Plain values for the looking glass: what it is connected to, ports, counts."""
        ...
