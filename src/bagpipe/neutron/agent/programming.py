"""A thread that keeps bridges joined and flows as they should be, so that nobody else waits for Open vSwitch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from oslo_log import log

from bagpipe.neutron.agent import redirect
from bagpipe.neutron.agent.bridges import NotReady
from bagpipe.neutron.agent.facts import Plumbing
from bagpipe.neutron.agent.flow_table import FlowTable, Step
from bagpipe.neutron.agent.pauses import Pauses
from bagpipe.neutron.agent.redirect import Redirect, Wiring

LOG = log.getLogger(__name__)

LOOK: Final = 10.0
"""Seconds between two looks whether the bridges are joined as they were."""
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 10.0


class Switch(Protocol):
    """:class:`bagpipe.neutron.agent.bridges.Bridges`."""

    def join(self) -> Plumbing:
        """Have the patch ports. Raises NotReady."""

    def wiring(self, plumbing: Plumbing) -> Wiring:
        """How the node is made."""

    def apply(self, step: Step) -> None:
        """Add and remove flows."""

    def spare_earlier(self) -> None:
        """Keep flows of an earlier run."""

    def sweep_earlier(self) -> None:
        """Remove flows of an earlier run."""


class Programmer:
    """Has the flows of the redirects that ``wanted`` names for a network. Thread-safe.

    ``joined`` is called from the thread with each new plumbing, before its flows are installed; ``wanted`` gives the
    redirects of a network, None while they are not known: what is installed is left as it is then.
    """

    def __init__(
        self,
        switch: Switch,
        joined: Callable[[Plumbing], None],
        wanted: Callable[[str], frozenset[Redirect] | None],
    ) -> None:
        self._switch = switch
        self._joined = joined
        self._wanted = wanted
        self._changed = threading.Condition()
        self._dirty: set[str] = set()
        self._is_restarted = False
        self._is_stopping = False
        self._is_complete = False
        self._is_busy = False
        self._table = FlowTable()
        self._plumbing: Plumbing | None = None
        self._wiring: Wiring | None = None
        self._is_swept = False
        self._has_spared = False
        self._complaint = ""

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name="bagpipe-flows", daemon=True).start()

    def stop(self) -> None:
        """End; what is installed stays."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()

    def changed(self, networks: Iterable[str]) -> None:
        """What is wanted for these networks may be other than before."""
        with self._changed:
            self._dirty.update(networks)
            self._changed.notify_all()

    def restarted(self) -> None:
        """Open vSwitch has been restarted, and has lost its flows."""
        with self._changed:
            self._is_restarted = True
            self._changed.notify_all()

    def complete(self) -> None:
        """All that was there before the agent's start has been stated: the rest of an earlier run may go."""
        with self._changed:
            self._is_complete = True
            self._changed.notify_all()

    def is_settled(self) -> bool:
        """Whether everything that is known to be wanted is installed."""
        with self._changed:
            is_idle = not self._dirty and not self._is_restarted and not self._is_busy
            return is_idle and not self._complaint and self._wiring is not None

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        pauses, look = Pauses(FIRST_PAUSE, LONGEST_PAUSE), 0.0
        while True:
            with self._changed:
                if not self._is_stopping and not self._has_work(look):
                    self._changed.wait(max(0.0, look - time.monotonic()))
                if self._is_stopping:
                    return
                dirty, self._dirty = self._dirty, set()
                is_restarted, self._is_restarted = self._is_restarted, False
                self._is_busy = True
            try:
                if is_restarted or look <= time.monotonic():
                    look = time.monotonic() + LOOK
                    dirty |= self._look(is_restarted)
                self._program(dirty)
                pauses.reset()
                self._complain("")
            except Exception as error:  # whatever it is: the bridges come and go, and so does ovs-vswitchd
                with self._changed:
                    self._dirty |= dirty
                    self._is_restarted |= is_restarted
                self._complain(_said(error))
                pause = pauses.take()
                look = time.monotonic() + pause
                self._sleep(pause)
            with self._changed:
                self._is_busy = False

    def _has_work(self, look: float) -> bool:
        may_sweep = self._is_complete and not self._is_swept
        return bool(self._dirty) or self._is_restarted or may_sweep or look <= time.monotonic()

    def _look(self, is_restarted: bool) -> set[str]:
        """Join the bridges; the networks whose flows change with that."""
        if not self._has_spared:
            self._switch.spare_earlier()
            self._has_spared = True
        if is_restarted:
            self._table.lost()
        plumbing = self._switch.join()
        if plumbing == self._plumbing:
            return set()
        self._plumbing, self._wiring = plumbing, self._switch.wiring(plumbing)
        self._table.want(None, redirect.standing(self._wiring))
        self._joined(plumbing)
        return set(self._table.owners())

    def _program(self, dirty: set[str]) -> None:
        if self._wiring is None:
            raise NotReady("the bridges are not joined yet")
        for network_id in dirty:
            wanted = self._wanted(network_id)
            if wanted is not None:
                flows = frozenset(flow for each in wanted for flow in redirect.flows(each, self._wiring))
                self._table.want(network_id, flows)
        step = self._table.step()
        if step:
            self._switch.apply(step)
            self._table.confirmed(step)
            LOG.info("Flows for BGP VPNs: %d added, %d removed.", len(step.added), len(step.removed))
        if self._is_complete and not self._is_swept:
            self._switch.sweep_earlier()
            self._is_swept = True

    def _complain(self, complaint: str) -> None:
        if complaint and complaint != self._complaint:
            LOG.warning("BGP VPNs wait for Open vSwitch: %s. It is tried again.", complaint)
        elif not complaint and self._complaint:
            LOG.info("Open vSwitch is as BGP VPNs need it.")
        self._complaint = complaint

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        with self._changed:
            while not self._is_stopping and not self._is_restarted and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, NotReady) else f"{type(error).__name__}: {error}"
