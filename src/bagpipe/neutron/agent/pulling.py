"""Asking the server: a thread that pulls associations of networks and ports, so that nobody else waits for an answer.

Questions that come together are asked together. A question that fails is asked again, with growing pauses, until it is
answered or withdrawn. An answer during which something about its subject was pushed is not believed: it may be the
older of the two, so the question is asked again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import oslo_messaging
from oslo_log import log

from bagpipe.neutron.agent.pauses import Pauses

LOG = log.getLogger(__name__)

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0
DOUBTS: Final = 5
"""How often an answer is not believed before it is taken as it is."""

NETWORK_ASSOCIATION: Final = "BGPVPNNetAssociation"
ROUTER_ASSOCIATION: Final = "BGPVPNRouterAssociation"
PORT_ASSOCIATION: Final = "BGPVPNPortAssociation"


@dataclass(frozen=True, slots=True)
class NetworkAnswer:
    """The association objects of one network: all of them."""

    network_id: str
    networks: Sequence[Any]
    routers: Sequence[Any]


@dataclass(frozen=True, slots=True)
class PortAnswer:
    """The association objects of one port: all of them."""

    port_id: str
    associations: Sequence[Any]


class Server(Protocol):
    """Neutron's RPC to pull objects."""

    def bulk_pull(self, context: Any, resource_type: str, filter_kwargs: Mapping[str, Any]) -> list[Any]:
        """The objects of a type that match."""


@dataclass(slots=True)
class _Question:
    """``due``: when to ask. ``version`` counts what was pushed about it, ``doubts`` the answers not believed."""

    due: float
    version: int = 0
    doubts: int = 0
    pauses: Pauses = field(default_factory=lambda: Pauses(FIRST_PAUSE, LONGEST_PAUSE))


class Puller:
    """Asks, and hands answers to ``answered``, from its thread. Thread-safe."""

    def __init__(
        self,
        server: Server,
        context: Any,
        answered: Callable[[NetworkAnswer | PortAnswer], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server = server
        self._context = context
        self._answered = answered
        self._clock = clock
        self._changed = threading.Condition()
        self._networks: dict[str, _Question] = {}
        self._ports: dict[str, _Question] = {}
        self._is_stopping = False
        self._takes_lists = True
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to ask."""
        self._thread = threading.Thread(target=self._run, name="bagpipe-pull", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask no more. Does not wait for an answer that is outstanding."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()

    def ask_network(self, network_id: str, after: float = 0.0) -> None:
        """Ask for the associations of a network, ``after`` seconds from now at the latest."""
        self._ask(self._networks, network_id, after)

    def ask_port(self, port_id: str, after: float = 0.0) -> None:
        """Ask for the associations of a port, ``after`` seconds from now at the latest."""
        self._ask(self._ports, port_id, after)

    def withdraw_network(self, network_id: str) -> None:
        """The answer is not needed any more."""
        with self._changed:
            self._networks.pop(network_id, None)

    def withdraw_port(self, port_id: str) -> None:
        """The answer is not needed any more."""
        with self._changed:
            self._ports.pop(port_id, None)

    def pushed(self, *, network_id: str | None = None, port_id: str | None = None) -> None:
        """Something has been pushed about it: an answer that is under way may be older."""
        with self._changed:
            for questions, key in ((self._networks, network_id), (self._ports, port_id)):
                if key is not None and key in questions:
                    questions[key].version += 1

    def is_idle(self) -> bool:
        """Whether nothing is left to ask or to answer."""
        with self._changed:
            return not self._networks and not self._ports

    # ------------------------------------------------------------------ the thread

    def _ask(self, questions: dict[str, _Question], key: str, after: float) -> None:
        due = self._clock() + after
        with self._changed:
            question = questions.get(key)
            if question is None:
                questions[key] = _Question(due)
            else:
                question.due = min(question.due, due)
                question.version += 1
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._is_stopping and (wait := self._wait()) != 0:
                    self._changed.wait(wait)
                if self._is_stopping:
                    return
                now = self._clock()
                ports = {key: each.version for key, each in self._ports.items() if each.due <= now}
                networks = {key: each.version for key, each in self._networks.items() if each.due <= now}
            try:
                self._pull_ports(ports)
                for network_id, version in networks.items():
                    self._pull_network(network_id, version)
            except Exception:
                LOG.exception("An answer of the server about BGP VPNs could not be taken in.")

    def _wait(self) -> float | None:
        """Seconds until something is due; None: nothing is asked for."""
        dues = [each.due for questions in (self._networks, self._ports) for each in questions.values()]
        return max(0.0, min(dues) - self._clock()) if dues else None

    def _pull_network(self, network_id: str, version: int) -> None:
        try:
            networks = self._pull(NETWORK_ASSOCIATION, {"network_id": network_id})
            routers = self._pull(ROUTER_ASSOCIATION, {"network_id": network_id})
        except Exception as error:  # whatever went wrong, it is asked again
            self._failed(self._networks, [network_id], error)
            return
        if self._is_believed(self._networks, network_id, version):
            self._answered(NetworkAnswer(network_id, networks, routers))

    def _pull_ports(self, versions: Mapping[str, int]) -> None:
        keys = list(versions)
        batches = [keys] if self._takes_lists and len(keys) > 1 else [[key] for key in keys]
        for batch in batches:
            try:
                found = self._pull(PORT_ASSOCIATION, {"port_id": batch[0] if len(batch) == 1 else batch})
            except oslo_messaging.RemoteError as error:
                if len(batch) > 1:
                    LOG.info("The server does not answer for several ports at once: %s", error)
                    self._takes_lists = False
                    self._pull_ports(versions)
                else:
                    self._failed(self._ports, batch, error)
                continue
            except Exception as error:  # whatever went wrong, it is asked again
                self._failed(self._ports, batch, error)
                continue
            for port_id in batch:
                if self._is_believed(self._ports, port_id, versions[port_id]):
                    self._answered(PortAnswer(port_id, [each for each in found if each.port_id == port_id]))

    def _pull(self, resource_type: str, filters: Mapping[str, Any]) -> list[Any]:
        return list(self._server.bulk_pull(self._context, resource_type, filter_kwargs=dict(filters)))

    def _is_believed(self, questions: dict[str, _Question], key: str, version: int) -> bool:
        with self._changed:
            question = questions.get(key)
            if question is None:
                return False
            if question.version != version and question.doubts < DOUBTS:
                question.doubts += 1
                question.due = self._clock()
                return False
            del questions[key]
            return True

    def _failed(self, questions: dict[str, _Question], keys: Sequence[str], error: Exception) -> None:
        with self._changed:
            pause = 0.0
            for key in keys:
                question = questions.get(key)
                if question is not None:
                    pause = question.pauses.take()
                    question.due = self._clock() + pause
        LOG.warning(
            "The server has not told the BGP VPNs of %s: %s: %s. It is asked again in %d s.",
            ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else ""),
            type(error).__name__,
            error,
            pause,
        )
