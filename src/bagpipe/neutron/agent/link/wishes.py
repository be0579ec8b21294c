"""What the agent wants, whatever daemon there is, and which ports it has not spoken of yet. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from bagpipe.errors import LocalMisuse
from bagpipe.neutron.agent.link.attachment import Attachment

GRACE = 300.0
"""Seconds that ports have to be stated again after an agent's start, if they are present on the host."""


class Wishes:
    """``ports`` has the attachments of each port that was stated."""

    def __init__(self) -> None:
        self.ports: dict[str, tuple[Attachment, ...]] = {}
        self.grace_end: float | None = None
        """When no port is spared any more; None while the agent has not said that it has stated all it knows."""
        self._present: set[str] = set()
        self._forgotten: set[str] = set()

    def state(self, port: str, attachments: Sequence[Attachment]) -> bool:
        """All that is wanted of a port; whether that is news.

        Raises LocalMisuse if an attachment is of another port, or two are of one instance and MAC.
        """
        names = set()
        for one in attachments:
            if one.port_id != port:
                raise LocalMisuse("attachments.port_id", one.port_id, f"not {port}, whose attachments these are")
            if one.name in names:
                raise LocalMisuse("attachments", one.name, "stated twice")
            names.add(one.name)
        self._forgotten.discard(port)
        known = self.ports.get(port)
        stated = tuple(attachments)
        if known == stated:
            return False
        self.ports[port] = stated
        return True

    def forget(self, port: str) -> None:
        """A port is gone."""
        self.ports.pop(port, None)
        self._present.discard(port)
        if self.grace_end is None:
            self._forgotten.add(port)

    def replayed(self, present: Collection[str], now: float) -> None:
        """All that was known at the agent's start is stated: of the other ports only those ``present`` are spared."""
        self._present = set(present)
        self._forgotten.clear()
        self.grace_end = now + GRACE

    def heard(self) -> None:
        """It is known what the daemon has of the ports that went."""
        self._forgotten.clear()

    def spares(self, port: str, now: float) -> bool:
        """Whether what the daemon has of a port is left as it is, because the agent may state it still."""
        if port in self.ports or port in self._forgotten:
            return False
        return self.grace_end is None or (port in self._present and now < self.grace_end)
