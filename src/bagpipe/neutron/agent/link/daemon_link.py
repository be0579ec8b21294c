"""The link: two threads, one that watches whether a daemon is there, one that tells it what it should hold.

What is wanted, sent and confirmed is in the ledger, which does no I/O; here is the lock around it, and who calls whom.
The *watcher* finds the daemon, tells which process it is, and follows its events (v2) or its ``/ping`` (v1). The
*sender* asks the ledger what to send, one request at a time: while one is on its way, all that changes is gathered for
the next, so that fifty ports at once are a few requests. Callers only change the ledger, and never wait for a daemon.

Threads, locks and sockets are those of the standard library: it runs the same in an agent that eventlet patched.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence

from bagpipe.neutron.agent.link.attachment import Attachment
from bagpipe.neutron.agent.link.exchange import Exchange, Verdict, told_of
from bagpipe.neutron.agent.link.ledger import Batch, Ledger
from bagpipe.neutron.agent.link.link_state import LinkState
from bagpipe.neutron.agent.link.meeting import Meeting, meet, ping
from bagpipe.neutron.agent.link.settings import Interface, LinkSettings
from bagpipe.neutron.agent.link.transport import Transport, Unreachable, Unusable
from bagpipe.neutron.agent.link.wishes import Wishes
from bagpipe.neutron.agent.pauses import Pauses

LOG = logging.getLogger(__name__)

JOIN = 5.0
"""Seconds that the threads have to end."""
SETTLED_LOOK = 0.02


class DaemonLink:
    """Keeps a daemon told. Thread-safe; no method but :meth:`settled` and :meth:`stop` waits for anything.

    ``on_state`` is called with whether a daemon is there, from a thread of the link, when that changes.
    """

    def __init__(self, settings: LinkSettings, *, on_state: Callable[[bool], None] | None = None) -> None:
        self._settings = settings
        self._on_state = on_state
        self._changed = threading.Condition()
        self._wishes = Wishes()
        self._meeting: Meeting | None = None
        self._exchange: Exchange | None = None
        self._ledger: Ledger | None = None
        self._epoch = 0
        """Counts the meetings: what was sent before one may not hold after it."""
        self._is_up = False
        self._why = "not asked yet"
        self._is_stopping = False
        self._is_doubted = False
        """A request was not answered: is the daemon there at all?"""
        self._held_until = 0.0
        self._watching = Transport(settings)
        self._sending = Transport(settings)
        self._finding = Pauses(0.05, 2.0, 1.1)
        self._failing = Pauses(0.1, 5.0)
        self._logged: set[str] = set()
        self._threads: list[threading.Thread] = []

    # ------------------------------------------------------------------ what the agent calls

    def start(self) -> None:
        """Begin to look for the daemon. Returns at once."""
        for target, name in ((self._watch, "bagpipe-watch"), (self._send, "bagpipe-send")):
            thread = threading.Thread(target=target, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """End the threads. What the daemon holds stays as it is."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        self._watching.close()
        self._sending.close()
        for thread in self._threads:
            thread.join(JOIN)
        self._threads.clear()

    def set_port(self, port_id: str, attachments: Sequence[Attachment]) -> None:
        """State all that is wanted of a port; nothing with ().

        Raises LocalMisuse for attachments of another port or stated twice, and for nothing that a daemon does.
        """
        with self._changed:
            if self._wishes.state(port_id, attachments):
                self._want(port_id)

    def forget_port(self, port_id: str) -> None:
        """A port is gone: what the daemon has of it is detached, however long the daemon is away."""
        with self._changed:
            self._wishes.forget(port_id)
            self._want(port_id)

    def replayed(self, present: Collection[str]) -> None:
        """After an agent's start all that it knows is stated; ``present`` are the ports of this host.

        What the daemon has of other ports from before is dropped now; what it has of ports that are present when they
        are stated, or after a while.
        """
        with self._changed:
            self._wishes.replayed(present, time.monotonic())
            self._changed.notify_all()

    def settled(self, port_id: str, timeout: float) -> bool:
        """Whether within ``timeout`` seconds the daemon has just what is wanted of a port, in effect."""
        end = time.monotonic() + timeout
        while True:
            with self._changed:
                if self._is_settled(port_id, time.monotonic()):
                    return True
            if time.monotonic() >= end:
                return False
            time.sleep(SETTLED_LOOK)

    def _is_settled(self, port_id: str, now: float) -> bool:
        ledger = self._ledger
        if not self._is_up or ledger is None:
            return False
        is_read = ledger.look_at is None or ledger.look_at > now
        return is_read and ledger.is_settled(port_id)

    @property
    def state(self) -> LinkState:
        """How things are."""
        with self._changed:
            ledger, meeting = self._ledger, self._meeting
            if ledger is None:
                waiting = {one.name: "" for port in self._wishes.ports.values() for one in port}
            else:
                waiting = ledger.unconfirmed(time.monotonic())
            return LinkState(
                is_up=self._is_up,
                kind="" if meeting is None else meeting.interface.value,
                process=None if meeting is None else meeting.process,
                why=self._why,
                ports=len(self._wishes.ports),
                attachments=len(waiting) if ledger is None else ledger.wanted,
                pending=waiting,
                refused={} if ledger is None else ledger.refusals(),
            )

    def _want(self, port_id: str) -> None:
        if self._ledger is None or self._exchange is None:
            return
        bodies, losses = self._exchange.encode(self._wishes.ports.get(port_id, ()))
        for loss in losses:
            self._log_once(loss)
        if self._ledger.want(port_id, bodies):
            self._changed.notify_all()

    def _log_once(self, text: str) -> None:
        kind = text.partition(":")[0]
        if kind not in self._logged:
            self._logged.add(kind)
            LOG.warning("bagpipe-bgp at %s: %s", self._settings.where, text)

    # ------------------------------------------------------------------ the watcher

    def _watch(self) -> None:
        while not self._is_stopping:
            try:
                self._follow(meet(self._watching, self._settings))
            except Unreachable as fault:
                self._went_down(str(fault))
            except Exception as error:
                LOG.exception("the link to bagpipe-bgp at %s is taken up anew", self._settings.where)
                self._went_down(f"{type(error).__name__}: {error}")
            self._pause(self._finding.take())

    def _follow(self, meeting: Meeting) -> None:
        """Stay with a daemon until another process answers. Raises Unreachable when nobody does any more."""
        if meeting.interface is Interface.V2:
            try:
                self._follow_events(meeting)
            except Unusable:
                LOG.debug("no stream of events; /ping has to do")
        self._came_up(meeting)
        while not self._is_stopping:
            self._pause(self._settings.ping_interval)
            if ping(self._watching) != meeting.process:
                return

    def _follow_events(self, meeting: Meeting) -> None:
        for kind, value in self._watching.events("/v2/events"):
            if kind == "hello":
                process = value.get("process")
                if not isinstance(process, int):
                    raise Unreachable("/v2/events: no number of the process")
                self._came_up(Meeting(meeting.interface, process, meeting.is_ours))
            elif kind == "attachment":
                with self._changed:
                    if self._ledger is not None and value.get("owner") == self._settings.owner:
                        self._ledger.told(str(value.get("id")), told_of(value))
            elif kind == "lost":
                with self._changed:
                    if self._ledger is not None:
                        self._ledger.look_again(time.monotonic())
                        self._changed.notify_all()
        raise Unreachable("the daemon ended the stream of events")

    def _came_up(self, meeting: Meeting) -> None:
        """A daemon answers, for the first time or again."""
        self._finding.reset()
        with self._changed:
            known, self._meeting = self._meeting, meeting
            if self._ledger is None or known is None or known.kind != meeting.kind:
                self._exchange = meeting.exchange(self._settings)
                self._ledger = self._exchange.ledger(self._wishes)
                for port_id in self._wishes.ports:
                    self._want(port_id)
            elif known.process != meeting.process and not self._ledger.can_be_read:
                self._ledger.doubt()
            if self._ledger.can_be_read:
                self._ledger.look_again(time.monotonic())
            was_up, self._is_up, self._why = self._is_up, True, ""
            is_new = known is None or known.process != meeting.process
            if is_new:
                self._epoch += 1
                self._held_until = 0.0
                self._failing.reset()
            self._changed.notify_all()
        if is_new or not was_up:
            LOG.info(
                "bagpipe-bgp at %s answers (%s)%s",
                self._settings.where,
                meeting.interface.value,
                ", another process: it is told everything" if known is not None and is_new else "",
            )
        if not was_up:
            self._tell(True)

    def _went_down(self, why: str) -> None:
        with self._changed:
            was_up, self._is_up = self._is_up, False
            was_told, self._why = self._why, why
        if self._is_stopping:
            return
        if was_up or (was_told != why and self._meeting is None):
            LOG.warning("bagpipe-bgp at %s cannot be told: %s; it is tried again", self._settings.where, why)
        if was_up:
            self._tell(False)

    def _tell(self, is_up: bool) -> None:
        if self._on_state is None:
            return
        try:
            self._on_state(is_up)
        except Exception:
            LOG.exception("what was called for the state of the link failed")

    def _pause(self, seconds: float) -> None:
        """Wait, unless the link is stopped, or the sender doubts that the daemon is there."""
        with self._changed:
            end = time.monotonic() + seconds
            while not self._is_stopping and not self._is_doubted and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)
            self._is_doubted = False

    # ------------------------------------------------------------------ the sender

    def _send(self) -> None:
        while True:
            with self._changed:
                work = None
                while work is None and not self._is_stopping:
                    work = self._next_work()
                if self._is_stopping:
                    return
            if isinstance(work, Batch):
                self._send_batch(work)
            else:
                self._read()

    def _next_work(self) -> Batch | bool | None:
        """A batch to send, True for a look at what the daemon holds, None after a while of waiting for either."""
        now = time.monotonic()
        ledger = self._ledger
        if not self._is_up or ledger is None or self._exchange is None:
            self._changed.wait()
            return None
        if now < self._held_until:
            self._changed.wait(self._held_until - now)
            return None
        if ledger.look_at is not None and ledger.look_at <= now:
            return True
        batch = ledger.plan(now, self._exchange.most)
        if batch:
            ledger.sending(batch)
            return batch
        moment = ledger.next_moment()
        self._changed.wait(None if moment is None else max(moment - now, 0.01))
        return None

    def _read(self) -> None:
        with self._changed:
            epoch, ledger, exchange = self._epoch, self._ledger, self._exchange
        if ledger is None or exchange is None:
            return
        try:
            present = exchange.read(self._sending)
        except Exception as error:
            self._failed(error)
            return
        with self._changed:
            self._failing.reset()
            if epoch == self._epoch:
                ledger.learn(present, lambda name: name.partition("/")[0], time.monotonic())
                self._wishes.heard()

    def _send_batch(self, batch: Batch) -> None:
        """Send a batch; if the daemon refuses it without saying what for, in halves."""
        with self._changed:
            epoch, ledger, exchange = self._epoch, self._ledger, self._exchange
        if ledger is None or exchange is None:
            return
        left = [batch]
        while left:
            part = left.pop()
            try:
                verdict = exchange.send(self._sending, part)
            except Exception as error:
                with self._changed:
                    for unsent in left:
                        ledger.returned(unsent)
                    ledger.failed(part)
                self._failed(error)
                return
            with self._changed:
                self._failing.reset()
                self._why = ""
                if epoch != self._epoch:  # another process answers by now, which may not have it
                    for unsent in left:
                        ledger.returned(unsent)
                    ledger.failed(part)
                    return
                left += self._judge(ledger, part, verdict)

    def _judge(self, ledger: Ledger, batch: Batch, verdict: Verdict) -> Sequence[Batch]:
        """Note what a daemon did with a batch; the parts that are to be sent once more."""
        now = time.monotonic()
        if verdict.refused is None:
            ledger.accepted(batch, verdict.told, now)
            return ()
        faulty = verdict.faulty or (frozenset(batch.names) if len(batch) == 1 else frozenset())
        if not faulty:
            return batch.halves()
        for name in faulty:
            if ledger.refused(batch.only((name,)), verdict.refused, now):
                LOG.warning("bagpipe-bgp refuses %s: %s", name, verdict.refused)
        rest = batch.only(name for name in batch.names if name not in faulty)
        return (rest,) if rest else ()

    def _failed(self, fault: Exception) -> None:
        """There was no answer: try again a little later; the watcher looks whether the daemon is there at all."""
        if not isinstance(fault, Unreachable):
            LOG.error("telling bagpipe-bgp at %s failed; it is tried again", self._settings.where, exc_info=fault)
        with self._changed:
            if self._is_stopping:
                return
            self._why = str(fault)
            self._held_until = time.monotonic() + self._failing.take()
            if isinstance(fault, Unusable) or not isinstance(fault, Unreachable):
                return
            self._is_doubted = True
            self._changed.notify_all()
        self._watching.interrupt()
