"""What every program of the scenarios has in common: a host, a directory, a configuration, a life."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from .network import Host
from .process import Program
from .route import Family, Route, Routes, by_key
from .waiting import PATIENCE, wait_until

AS = 64512
VPN_FAMILIES = (Family.VPNV4, Family.VPNV6)


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A session as one program's configuration has it."""

    address: str
    remote_as: int = AS
    families: tuple[Family, ...] = VPN_FAMILIES
    client: bool = False
    password: str | None = None
    ttl_security: bool = False
    hold_time: int = 9


class Peer(ABC):
    """A program on a host. A subclass writes its configuration, and reads the program's own view of things."""

    def __init__(self, host: Host, directory: Path) -> None:
        """Nothing is started; `directory` is made for configuration, sockets and logs."""
        self.host = host
        self.directory = directory
        self.directory.mkdir(parents=True)
        self.programs: list[Program] = []

    @property
    def address(self) -> str:
        """The host's IPv4 address."""
        return self.host.address

    @abstractmethod
    def start(self) -> Self:
        """Write the configuration and start; returns at once."""

    @abstractmethod
    def established(self, neighbor: str) -> bool:
        """Whether this program says that the session with `neighbor` (an address) is established."""

    @abstractmethod
    def _listed(self, family: Family) -> list[Route]:
        """The routes of a family that this program holds, its own included."""

    def routes(self, family: Family) -> Routes:
        """The routes of a family that this program holds, its own included."""
        return by_key(self._listed(family))

    def learns(self, family: Family, key: tuple[str, str], timeout: float = PATIENCE) -> Route:
        """Wait until this program holds the route, and give it."""
        seen = wait_until(
            lambda: self.routes(family), lambda held: key in held, f"{self.host.name} holds {key}", timeout
        )
        return seen[key]

    def loses(self, family: Family, key: tuple[str, str], timeout: float = PATIENCE) -> None:
        """Wait until this program does not hold the route any more."""
        wait_until(lambda: self.routes(family), lambda held: key not in held, f"{self.host.name} lost {key}", timeout)

    def meets(self, neighbor: str, timeout: float = PATIENCE) -> None:
        """Wait until the session with `neighbor` is established."""
        wait_until(lambda: self.established(neighbor), bool, f"{self.host.name} has a session with {neighbor}", timeout)

    def stop(self) -> None:
        """End what was started, last first."""
        while self.programs:
            self.programs.pop().stop()

    def kill(self) -> None:
        """End what was started as a crash would."""
        while self.programs:
            self.programs.pop().kill()

    def run(self, *argv: str, environment: dict[str, str] | None = None) -> Program:
        """Start a program on the host; it is ended by `stop`."""
        name = Path(argv[0]).name
        program = Program(self.host, argv, self.directory / f"{name}.log", environment)
        self.programs.append(program)
        return program

    def write(self, name: str, text: str) -> Path:
        """Put a file into the directory, readable by root alone as OpenBGPD demands."""
        path = self.directory / name
        path.write_text(text)
        path.chmod(0o600)
        return path

    def logs(self) -> str:
        """The end of every log, for people who look at a failure."""
        parts = []
        for path in sorted(self.directory.glob("*.log")):
            lines = path.read_text(errors="replace").splitlines()[-40:]
            parts.append("\n".join([f"--- {self.host.name}: {path.name}", *lines]))
        return "\n".join(parts)
