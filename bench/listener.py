"""Notes on a thread of its own what a socket says of a dataplane, and when; what it says is read only afterwards."""

from __future__ import annotations

import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType

from bench.quiet import Failed

_SILENCE = 0.5


class Listener(ABC):
    """Listens to a socket from :meth:`listen` until the block ends.

    ``name`` is that of the thread, ``read`` the most octets that it takes at once.
    """

    def __init__(self, name: str, read: int) -> None:
        self._heard: list[tuple[float, bytes]] = []
        self._ends = threading.Event()
        self._name = name
        self._read = read
        self._trouble: OSError | None = None

    def listen(self, connection: socket.socket) -> None:
        """Begin with a socket that is ready; it is closed when the block ends."""
        connection.settimeout(0.1)
        self._socket = connection
        self._thread = threading.Thread(target=self._note, name=self._name, daemon=True)
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ends.set()
        self._thread.join()
        self._socket.close()

    def heard(self) -> list[tuple[float, bytes]]:
        """The pieces until now, each with the moment (``time.perf_counter``) that it came.

        Raises ``Failed`` if some were missed.
        """
        if self._trouble is not None:
            raise Failed(f"the {self._name} hears no more: {self._trouble}")
        return list(self._heard)

    @abstractmethod
    def count(self) -> int:
        """How much has been heard: when it does not grow, there is no news. Raises ``Failed`` if some was missed."""

    @abstractmethod
    def seen(self) -> dict[bytes, float]:
        """When (``time.perf_counter``) each key was told of first. Raises ``Failed`` if some was missed."""

    def wait(self, is_all: Callable[[dict[bytes, float]], bool], turn: Callable[[], object]) -> dict[bytes, float]:
        """What is seen once ``is_all`` holds of it and there is no news; meanwhile ``turn`` is called now and then."""
        heard = -1
        while self.count() != heard or not is_all(self.seen()):
            heard = self.count()
            turn()
            time.sleep(_SILENCE)
        return self.seen()

    def _note(self) -> None:
        while not self._ends.is_set():
            try:
                piece = self._socket.recv(self._read)
            except TimeoutError:
                continue
            except OSError as error:
                self._trouble = error
                return
            if not piece:
                return
            self._heard.append((time.perf_counter(), piece))
