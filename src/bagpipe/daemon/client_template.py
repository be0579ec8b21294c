"""The settings of neighbours that are not known before they connect."""

from __future__ import annotations

from dataclasses import dataclass

from bagpipe.daemon.socket_options import IPAddress
from bagpipe.session.settings import SessionSettings
from bagpipe.speaker import PeerSettings


@dataclass(frozen=True, slots=True)
class ClientTemplate:
    """The settings of whoever connects from a range; equal templates make equal clients."""

    session: SessionSettings
    client: bool = False
    maximum_prefixes: int | None = None
    warning_percent: int = 75

    def __call__(self, address: IPAddress) -> PeerSettings:
        """The settings for one address, which is the neighbour's name too."""
        name = str(address)
        return PeerSettings(name, name, self.session, self.client, self.maximum_prefixes, self.warning_percent)
