"""How the link reaches a daemon, and as whom."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from bagpipe.errors import LocalMisuse


class Interface(enum.Enum):
    """Which interface of a daemon is used."""

    AUTO = "auto"  # v2 if the daemon has it
    V1 = "v1"
    V2 = "v2"


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """``address`` is an IP address or host name, or the path of a unix socket (``/…`` or ``unix:/…``) without port.

    ``ping_interval``: seconds between two looks whether a daemon without events is there. ``owner``: under whose name
    v2 attachments are stated; ``user_agent``: what the daemon sees of its caller. Raises LocalMisuse.
    """

    address: str = "127.0.0.1"
    port: int = 8082
    ping_interval: float = 10.0
    owner: str = "neutron"
    user_agent: str = "Open vSwitch agent"
    interface: Interface = Interface.AUTO

    def __post_init__(self) -> None:
        if not self.address:
            raise LocalMisuse("address", self.address, "is empty")
        if not self.socket_path and not 1 <= self.port <= 65535:
            raise LocalMisuse("port", self.port, "not from 1 to 65535")
        if not self.ping_interval > 0:
            raise LocalMisuse("ping_interval", self.ping_interval, "not more than 0 seconds")
        if not self.owner:
            raise LocalMisuse("owner", self.owner, "is empty")

    @property
    def socket_path(self) -> str:
        """The path of the unix socket, empty for TCP."""
        path = self.address.removeprefix("unix:")
        return path if path.startswith("/") else ""

    @property
    def where(self) -> str:
        """The daemon's place, for messages."""
        return f"unix:{self.socket_path}" if self.socket_path else f"{self.address}:{self.port}"
