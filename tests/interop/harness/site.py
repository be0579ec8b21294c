"""A scenario's network and the programs in it, taken down whatever happens."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from .network import Network
from .peer import Peer

P = TypeVar("P", bound=Peer)


class Site:
    """Add programs, each on a host of its own. Use as a context manager."""

    def __init__(self, directory: Path) -> None:
        """Nothing is made before the context is entered; `directory` is for configurations and logs."""
        self.directory = directory
        self.network = Network()
        self.peers: list[Peer] = []

    def __enter__(self) -> Self:
        """Make the network."""
        self.network.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop every program, last first, then remove the network, even when one of them would not stop."""
        try:
            for peer in reversed(self.peers):
                peer.stop()
        finally:
            self.network.remove()

    def add(self, kind: type[P], name: str) -> P:
        """A program on a new host `name`, not started. Hosts are numbered in this order: 192.0.2.1, 192.0.2.2, ..."""
        peer = kind(self.network.host(name), self.directory / name)
        self.peers.append(peer)
        return peer

    def logs(self) -> str:
        """What every program said last."""
        return "\n".join(peer.logs() for peer in self.peers)
