"""One finite state machine at work: it walks the table of :mod:`bagpipe.session.fsm` and carries out its steps.

A machine has at most one TCP connection, the timers of RFC 4271 section 8.1.3 (and RFC 9687's), and writes what is to
be done to a list of outputs. It decides nothing that the table does not say, but for one question that a state does not
answer: whether the peer's routes outlive the session (:func:`keeps_routes`; RFC 4724 section 4.2, RFC 8538 section 4).
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field

from bagpipe.session.backoff import Backoff
from bagpipe.session.counters import Counters
from bagpipe.session.fsm import State, Step, Trigger, transition
from bagpipe.session.negotiation import Negotiated, make_open
from bagpipe.session.outputs import Close, Connect, Down, Output, Refresh, Send, Up, Updates
from bagpipe.session.settings import Mode, SessionSettings
from bagpipe.wire.framing import Framer
from bagpipe.wire.message import (
    HEADER_SIZE,
    KEEPALIVE,
    MAX_MESSAGE,
    ErrorCode,
    MessageType,
    Notification,
    Open,
    StateError,
    frame,
)

_SHORTEST_KEEPALIVE = 1.0
_SHORTEST_SEND_HOLD = 480.0
_MAX_NOTIFICATION_BODY = MAX_MESSAGE - HEADER_SIZE
_UNEXPECTED_IN = {
    State.OPEN_SENT: StateError.UNEXPECTED_MESSAGE_IN_OPENSENT,
    State.OPEN_CONFIRM: StateError.UNEXPECTED_MESSAGE_IN_OPENCONFIRM,
    State.ESTABLISHED: StateError.UNEXPECTED_MESSAGE_IN_ESTABLISHED,
}


class Timer(enum.IntEnum):
    """The timers, in the order in which those due at one moment are served."""

    HOLD = 1
    SEND_HOLD = 2
    IDLE_HOLD = 3
    CONNECT_RETRY = 4
    KEEPALIVE = 5


@dataclass(frozen=True, slots=True)
class Cause:
    """What a trigger is about; each field only where the trigger has it."""

    text: str = ""
    """For people."""
    notification: Notification | None = None
    """The NOTIFICATION to send, or the one received."""
    message_type: MessageType | None = None
    """The message that came, in case it is one that must not come in this state (RFC 6608)."""
    negotiated: Negotiated | None = None
    """With OPEN."""
    event: Updates | Refresh | None = None
    """With UPDATE and ROUTE_REFRESH: what the speaker is told."""


NO_CAUSE = Cause()


@dataclass(slots=True)
class Surroundings:
    """What the machines of one neighbour share."""

    settings: SessionSettings
    jitter: Callable[[], float]
    backoff: Backoff
    counters: Counters = field(default_factory=Counters)
    outputs: list[Output] = field(default_factory=list)
    last_connection: int = 0
    """Highest number given to an outgoing connection; they are even."""
    without_capabilities: bool = False
    """The next OPEN goes out without capabilities, as the peer did not understand the last one."""
    last_down: str = ""
    """Why the last session or attempt ended."""


class Machine:
    """One FSM. :attr:`state` changes in :meth:`handle` and nowhere else."""

    __slots__ = ("_up_at", "around", "connection", "framer", "negotiated", "ours", "state", "timers")

    def __init__(self, around: Surroundings) -> None:
        self.around = around
        self.state = State.IDLE
        self.connection: int | None = None
        self.framer = Framer()
        self.ours: Open | None = None
        """The OPEN sent on this connection."""
        self.negotiated: Negotiated | None = None
        self.timers: dict[Timer, float] = {}
        self._up_at = 0.0

    @property
    def is_outgoing(self) -> bool:
        """Whether we opened the connection."""
        return self.connection is not None and self.connection % 2 == 0

    def handle(self, trigger: Trigger, now: float, cause: Cause = NO_CAUSE) -> None:
        """Do what the table says of ``trigger`` in the present state, and go to the state it says."""
        steps, state = transition(self.state, trigger)
        for step in steps:
            _STEPS[step](self, trigger, now, cause)
        if cause.text and state < self.state:
            self.around.last_down = cause.text
        self.state = state

    def tick(self, now: float) -> None:
        """Serve the timers that are due."""
        for timer in Timer:
            due = self.timers.get(timer)
            if due is not None and due <= now:
                del self.timers[timer]
                trigger, cause = self._expiry(timer)
                self.handle(trigger, now, cause)

    def restart_keepalive(self, now: float) -> None:
        """Something was sent that proves us alive: start KeepaliveTimer, with jitter (RFC 4271 sections 4.4, 10)."""
        if self.negotiated is not None and self.negotiated.hold_time:
            pause = self.negotiated.keepalive * self.around.jitter()
            self.timers[Timer.KEEPALIVE] = now + max(pause, _SHORTEST_KEEPALIVE)

    def start_send_hold(self, now: float) -> None:
        """Sending is stuck since ``now``; it may be for 8 minutes or twice the hold time (RFC 9687 section 3)."""
        if self.negotiated is not None and self.negotiated.hold_time and Timer.SEND_HOLD not in self.timers:
            self.timers[Timer.SEND_HOLD] = now + max(_SHORTEST_SEND_HOLD, 2.0 * self.negotiated.hold_time)

    def send(self, kind: MessageType, body: bytes) -> None:
        """Put a whole message around ``body`` on the connection, if there is one."""
        if self.connection is not None:
            self.around.counters.sent[kind] += 1
            self.around.outputs.append(Send(self.connection, frame(kind, body) if body else KEEPALIVE))

    def _expiry(self, timer: Timer) -> tuple[Trigger, Cause]:
        if timer is Timer.HOLD:
            note = Notification(ErrorCode.HOLD_TIMER_EXPIRED)
            awaited = "no OPEN" if self.state is State.OPEN_SENT else "nothing"
            return Trigger.HOLD_EXPIRES, Cause(f"hold timer expired: {awaited} received in time", note)
        if timer is Timer.SEND_HOLD:
            return Trigger.SEND_HOLD_EXPIRES, Cause("send hold timer expired: the peer does not read")
        if timer is Timer.CONNECT_RETRY:
            text = "no answer to the connection attempt" if self.state is State.CONNECT else ""
            self.around.last_down = text or self.around.last_down
            return Trigger.CONNECT_RETRY_EXPIRES, Cause(text)
        if timer is Timer.KEEPALIVE:
            return Trigger.KEEPALIVE_EXPIRES, NO_CAUSE
        passive = self.around.settings.mode is Mode.PASSIVE
        return Trigger.AUTOMATIC_START_PASSIVE if passive else Trigger.AUTOMATIC_START, NO_CAUSE

    # The steps of the table.

    def _dial(self, trigger: Trigger, now: float, cause: Cause) -> None:
        self.around.last_connection += 2
        self.connection = self.around.last_connection
        self.around.outputs.append(Connect(self.connection))

    def _drop(self, trigger: Trigger, now: float, cause: Cause) -> None:
        if self.connection is not None:
            self.around.outputs.append(Close(self.connection))
            self.connection = None

    def _retry_later(self, trigger: Trigger, now: float, cause: Cause) -> None:
        settings = self.around.settings
        if settings.mode is not Mode.PASSIVE:
            self.timers[Timer.CONNECT_RETRY] = now + settings.connect_retry * self.around.jitter()

    def _stop_timers(self, trigger: Trigger, now: float, cause: Cause) -> None:
        self.timers.clear()

    def _damp(self, trigger: Trigger, now: float, cause: Cause) -> None:
        self.timers[Timer.IDLE_HOLD] = self.around.backoff.failed(now)

    def _forget_failures(self, trigger: Trigger, now: float, cause: Cause) -> None:
        self.around.backoff.forget()

    def _send_open(self, trigger: Trigger, now: float, cause: Cause) -> None:
        settings = self.around.settings
        self.ours = make_open(settings, with_capabilities=not self.around.without_capabilities)
        self.around.without_capabilities = False
        self.negotiated = None
        self.framer = Framer()
        self.send(MessageType.OPEN, self.ours.encode())
        self.timers[Timer.HOLD] = now + settings.open_hold

    def _send_keepalive(self, trigger: Trigger, now: float, cause: Cause) -> None:
        self.send(MessageType.KEEPALIVE, b"")
        self.restart_keepalive(now)

    def _notify(self, trigger: Trigger, now: float, cause: Cause) -> None:
        note = cause.notification
        if note is None:
            data = b"" if cause.message_type is None else cause.message_type.to_bytes(1)
            note = Notification(ErrorCode.FINITE_STATE_MACHINE_ERROR, _UNEXPECTED_IN[self.state], data)
        self.send(MessageType.NOTIFICATION, note.encode()[:_MAX_NOTIFICATION_BODY])

    def _use_negotiated(self, trigger: Trigger, now: float, cause: Cause) -> None:
        self.negotiated = cause.negotiated
        if self.negotiated is not None:
            self.framer.maximum = self.negotiated.max_message

    def _restart_hold(self, trigger: Trigger, now: float, cause: Cause) -> None:
        if self.negotiated is not None and self.negotiated.hold_time:
            self.timers[Timer.HOLD] = now + self.negotiated.hold_time
        else:
            self.timers.pop(Timer.HOLD, None)

    def _come_up(self, trigger: Trigger, now: float, cause: Cause) -> None:
        if self.connection is not None and self.negotiated is not None:
            self._up_at = self.around.counters.up_since = now
            self.around.outputs.append(Up(self.connection, self.negotiated))

    def _go_down(self, trigger: Trigger, now: float, cause: Cause) -> None:
        counters = self.around.counters
        counters.flaps += 1
        counters.up_since = None
        if now - self._up_at >= self.around.settings.idle_hold_max:
            self.around.backoff.forget()
        self.around.outputs.append(Down(cause.text, keeps_routes(trigger, cause.notification, self.negotiated)))
        self.negotiated = None

    def _deliver(self, trigger: Trigger, now: float, cause: Cause) -> None:
        if cause.event is not None:
            self.around.outputs.append(cause.event)


_STEPS: dict[Step, Callable[[Machine, Trigger, float, Cause], None]] = {
    step: getattr(Machine, f"_{step.value}") for step in Step
}


def keeps_routes(trigger: Trigger, notification: Notification | None, negotiated: Negotiated | None) -> bool:
    """Whether the end of a session by ``trigger`` leaves the peer's routes in place for a while.

    RFC 4724 section 4.2: if TCP ended without NOTIFICATION and the peer listed families in its capability. RFC 8538
    section 4: if both set the N bit, also after a NOTIFICATION sent or received, or silence, but for a Hard Reset.
    Never if we stop the neighbour ourselves.
    """
    if negotiated is None or negotiated.peer_graceful_restart is None or trigger is Trigger.MANUAL_STOP:
        return False
    if not negotiated.peer_graceful_restart.families:
        return False
    if trigger is Trigger.TCP_FAILS:
        return True
    return negotiated.graceful_notification and not (notification is not None and notification.is_hard_reset)
