"""The finite state machine of RFC 4271 section 8 as one table; everything that changes a state is in this file.

Numbers of states and events are the RFC's. An event that a state has no row for takes the state's ``ANY_OTHER`` row, as
section 8.2.2 words it ("in response to any other event"). An FSM has at most one TCP connection; a neighbour runs a
second FSM for a connection that comes in while the first has one (section 8.2.1).

Left out: DelayOpen (12, 20) and the events for TCP connections that have no separate meaning to us (14, 15). An idle
hold time that ends (13) is the automatic start (3 or 5) that follows from it. What differs from section 8.2.2, and why:

* Connect, 18: to Active rather than Idle, as if DelayOpen ran: a peer that is not there is tried again after
  ConnectRetryTime and not ever more seldom.
* OpenSent, 25 and OpenSent, 24: the connection ends without an answer. A NOTIFICATION never answers a NOTIFICATION
  (section 6.4 forbids that for errors in it).
* ROUTE-REFRESH (RFC 2918) and its malformed form (RFC 7313) are events of their own, without a number in any RFC.
* Event 29 is of RFC 9687. No NOTIFICATION is tried: what stands before it could not be sent either.
"""

from __future__ import annotations

import enum
from typing import Final, NamedTuple


class State(enum.IntEnum):
    """The six states, in the order of progress."""

    IDLE = 1
    CONNECT = 2
    ACTIVE = 3
    OPEN_SENT = 4
    OPEN_CONFIRM = 5
    ESTABLISHED = 6

    def __str__(self) -> str:
        return _STATE_TEXT[self]


_STATE_TEXT: Final = {
    State.IDLE: "Idle",
    State.CONNECT: "Connect",
    State.ACTIVE: "Active",
    State.OPEN_SENT: "OpenSent",
    State.OPEN_CONFIRM: "OpenConfirm",
    State.ESTABLISHED: "Established",
}


class Trigger(enum.IntEnum):
    """The events of section 8.1 (called triggers here, as an event is what a session tells the speaker)."""

    ANY_OTHER = 0
    MANUAL_START = 1
    MANUAL_STOP = 2
    AUTOMATIC_START = 3
    MANUAL_START_PASSIVE = 4
    AUTOMATIC_START_PASSIVE = 5
    AUTOMATIC_STOP = 8
    CONNECT_RETRY_EXPIRES = 9
    HOLD_EXPIRES = 10
    KEEPALIVE_EXPIRES = 11
    TCP_ACKED = 16
    TCP_CONFIRMED = 17
    TCP_FAILS = 18
    OPEN = 19
    HEADER_ERROR = 21
    OPEN_ERROR = 22
    COLLISION_DUMP = 23
    NOTIFICATION_VERSION_ERROR = 24
    NOTIFICATION = 25
    KEEPALIVE = 26
    UPDATE = 27
    UPDATE_ERROR = 28
    SEND_HOLD_EXPIRES = 29
    ROUTE_REFRESH = 101
    ROUTE_REFRESH_ERROR = 102


class Step(enum.Enum):
    """What a transition does. Each is a method of :class:`bagpipe.session.machine.Machine` of the same name."""

    DIAL = "dial"
    """Ask for a TCP connection."""
    DROP = "drop"
    """Close the TCP connection, or give up the attempt, if there is one."""
    RETRY_LATER = "retry_later"
    """Start ConnectRetryTimer; a passive neighbour, which never dials, has none."""
    STOP_TIMERS = "stop_timers"
    """Set all timers to zero."""
    DAMP = "damp"
    """Increment the failures in a row and set the idle hold time by it (DampPeerOscillations)."""
    FORGET_FAILURES = "forget_failures"
    """Set the failures in a row to zero."""
    SEND_OPEN = "send_open"
    """Send our OPEN and start the large hold timer."""
    SEND_KEEPALIVE = "send_keepalive"
    """Send a KEEPALIVE and start KeepaliveTimer, unless the hold time is 0."""
    NOTIFY = "notify"
    """Send the NOTIFICATION that the event is about."""
    USE_NEGOTIATED = "use_negotiated"
    """Take over what the OPENs have in common: hold time, longest message."""
    RESTART_HOLD = "restart_hold"
    """Start the hold timer anew, unless the hold time is 0."""
    COME_UP = "come_up"
    """Tell the speaker that the session is up."""
    GO_DOWN = "go_down"
    """Tell the speaker that the session is down."""
    DELIVER = "deliver"
    """Hand what the message says to the speaker."""


class Transition(NamedTuple):
    """One entry of the table: what to do, in order, and the state afterwards."""

    steps: tuple[Step, ...]
    state: State


_DIAL: Final = (Step.RETRY_LATER, Step.DIAL)
_END: Final = (Step.DROP, Step.STOP_TIMERS)
_FAIL: Final = (Step.DROP, Step.STOP_TIMERS, Step.DAMP)
_TELL_AND_END: Final = (Step.NOTIFY, Step.DROP, Step.STOP_TIMERS)
_TELL_AND_FAIL: Final = (Step.NOTIFY, Step.DROP, Step.STOP_TIMERS, Step.DAMP)
_DOWN_AND_FAIL: Final = (Step.DROP, Step.STOP_TIMERS, Step.GO_DOWN, Step.DAMP)
_TELL_DOWN_AND_END: Final = (Step.NOTIFY, Step.DROP, Step.STOP_TIMERS, Step.GO_DOWN)
_TELL_DOWN_AND_FAIL: Final = (Step.NOTIFY, Step.DROP, Step.STOP_TIMERS, Step.GO_DOWN, Step.DAMP)

# fmt: off
TABLE: Final[dict[tuple[State, Trigger], Transition]] = {
    (State.IDLE, Trigger.MANUAL_START):             Transition((Step.FORGET_FAILURES, *_DIAL), State.CONNECT),
    (State.IDLE, Trigger.AUTOMATIC_START):          Transition(_DIAL, State.CONNECT),
    (State.IDLE, Trigger.MANUAL_START_PASSIVE):     Transition((Step.FORGET_FAILURES,), State.ACTIVE),
    (State.IDLE, Trigger.AUTOMATIC_START_PASSIVE):  Transition((), State.ACTIVE),
    (State.IDLE, Trigger.MANUAL_STOP):              Transition(_END, State.IDLE),
    (State.IDLE, Trigger.ANY_OTHER):                Transition((), State.IDLE),

    (State.CONNECT, Trigger.MANUAL_START):            Transition((), State.CONNECT),
    (State.CONNECT, Trigger.AUTOMATIC_START):         Transition((), State.CONNECT),
    (State.CONNECT, Trigger.MANUAL_START_PASSIVE):    Transition((), State.CONNECT),
    (State.CONNECT, Trigger.AUTOMATIC_START_PASSIVE): Transition((), State.CONNECT),
    (State.CONNECT, Trigger.MANUAL_STOP):             Transition(_END, State.IDLE),
    (State.CONNECT, Trigger.CONNECT_RETRY_EXPIRES):   Transition((Step.DROP, *_DIAL), State.CONNECT),
    (State.CONNECT, Trigger.TCP_ACKED):               Transition((Step.STOP_TIMERS, Step.SEND_OPEN), State.OPEN_SENT),
    (State.CONNECT, Trigger.TCP_FAILS):               Transition((Step.RETRY_LATER,), State.ACTIVE),
    (State.CONNECT, Trigger.COLLISION_DUMP):          Transition(_END, State.IDLE),
    (State.CONNECT, Trigger.ANY_OTHER):               Transition(_FAIL, State.IDLE),

    (State.ACTIVE, Trigger.MANUAL_START):            Transition((), State.ACTIVE),
    (State.ACTIVE, Trigger.AUTOMATIC_START):         Transition((), State.ACTIVE),
    (State.ACTIVE, Trigger.MANUAL_START_PASSIVE):    Transition((), State.ACTIVE),
    (State.ACTIVE, Trigger.AUTOMATIC_START_PASSIVE): Transition((), State.ACTIVE),
    (State.ACTIVE, Trigger.MANUAL_STOP):             Transition(_END, State.IDLE),
    (State.ACTIVE, Trigger.CONNECT_RETRY_EXPIRES):   Transition(_DIAL, State.CONNECT),
    (State.ACTIVE, Trigger.TCP_CONFIRMED):           Transition((Step.STOP_TIMERS, Step.SEND_OPEN), State.OPEN_SENT),
    (State.ACTIVE, Trigger.COLLISION_DUMP):          Transition(_END, State.IDLE),
    (State.ACTIVE, Trigger.ANY_OTHER):               Transition(_FAIL, State.IDLE),

    (State.OPEN_SENT, Trigger.MANUAL_START):            Transition((), State.OPEN_SENT),
    (State.OPEN_SENT, Trigger.AUTOMATIC_START):         Transition((), State.OPEN_SENT),
    (State.OPEN_SENT, Trigger.MANUAL_START_PASSIVE):    Transition((), State.OPEN_SENT),
    (State.OPEN_SENT, Trigger.AUTOMATIC_START_PASSIVE): Transition((), State.OPEN_SENT),
    (State.OPEN_SENT, Trigger.MANUAL_STOP):                Transition(_TELL_AND_END, State.IDLE),
    (State.OPEN_SENT, Trigger.AUTOMATIC_STOP):             Transition(_TELL_AND_FAIL, State.IDLE),
    (State.OPEN_SENT, Trigger.HOLD_EXPIRES):               Transition(_TELL_AND_FAIL, State.IDLE),
    (State.OPEN_SENT, Trigger.TCP_FAILS):                  Transition((*_END, Step.RETRY_LATER), State.ACTIVE),
    (State.OPEN_SENT, Trigger.OPEN):
        Transition((Step.USE_NEGOTIATED, Step.SEND_KEEPALIVE, Step.RESTART_HOLD), State.OPEN_CONFIRM),
    (State.OPEN_SENT, Trigger.HEADER_ERROR):               Transition(_TELL_AND_FAIL, State.IDLE),
    (State.OPEN_SENT, Trigger.OPEN_ERROR):                 Transition(_TELL_AND_FAIL, State.IDLE),
    (State.OPEN_SENT, Trigger.COLLISION_DUMP):             Transition(_TELL_AND_END, State.IDLE),
    (State.OPEN_SENT, Trigger.NOTIFICATION_VERSION_ERROR): Transition(_FAIL, State.IDLE),
    (State.OPEN_SENT, Trigger.NOTIFICATION):               Transition(_FAIL, State.IDLE),
    (State.OPEN_SENT, Trigger.ANY_OTHER):                  Transition(_TELL_AND_FAIL, State.IDLE),

    (State.OPEN_CONFIRM, Trigger.MANUAL_START):            Transition((), State.OPEN_CONFIRM),
    (State.OPEN_CONFIRM, Trigger.AUTOMATIC_START):         Transition((), State.OPEN_CONFIRM),
    (State.OPEN_CONFIRM, Trigger.MANUAL_START_PASSIVE):    Transition((), State.OPEN_CONFIRM),
    (State.OPEN_CONFIRM, Trigger.AUTOMATIC_START_PASSIVE): Transition((), State.OPEN_CONFIRM),
    (State.OPEN_CONFIRM, Trigger.MANUAL_STOP):                Transition(_TELL_AND_END, State.IDLE),
    (State.OPEN_CONFIRM, Trigger.AUTOMATIC_STOP):             Transition(_TELL_AND_FAIL, State.IDLE),
    (State.OPEN_CONFIRM, Trigger.HOLD_EXPIRES):               Transition(_TELL_AND_FAIL, State.IDLE),
    (State.OPEN_CONFIRM, Trigger.KEEPALIVE_EXPIRES):          Transition((Step.SEND_KEEPALIVE,), State.OPEN_CONFIRM),
    (State.OPEN_CONFIRM, Trigger.TCP_FAILS):                  Transition(_FAIL, State.IDLE),
    (State.OPEN_CONFIRM, Trigger.HEADER_ERROR):               Transition(_TELL_AND_FAIL, State.IDLE),
    (State.OPEN_CONFIRM, Trigger.OPEN_ERROR):                 Transition(_TELL_AND_FAIL, State.IDLE),
    (State.OPEN_CONFIRM, Trigger.COLLISION_DUMP):             Transition(_TELL_AND_END, State.IDLE),
    (State.OPEN_CONFIRM, Trigger.NOTIFICATION_VERSION_ERROR): Transition(_FAIL, State.IDLE),
    (State.OPEN_CONFIRM, Trigger.NOTIFICATION):               Transition(_FAIL, State.IDLE),
    (State.OPEN_CONFIRM, Trigger.KEEPALIVE):
        Transition((Step.RESTART_HOLD, Step.COME_UP), State.ESTABLISHED),
    (State.OPEN_CONFIRM, Trigger.ANY_OTHER):                  Transition(_TELL_AND_FAIL, State.IDLE),

    (State.ESTABLISHED, Trigger.MANUAL_START):            Transition((), State.ESTABLISHED),
    (State.ESTABLISHED, Trigger.AUTOMATIC_START):         Transition((), State.ESTABLISHED),
    (State.ESTABLISHED, Trigger.MANUAL_START_PASSIVE):    Transition((), State.ESTABLISHED),
    (State.ESTABLISHED, Trigger.AUTOMATIC_START_PASSIVE): Transition((), State.ESTABLISHED),
    (State.ESTABLISHED, Trigger.MANUAL_STOP):                Transition(_TELL_DOWN_AND_END, State.IDLE),
    (State.ESTABLISHED, Trigger.AUTOMATIC_STOP):             Transition(_TELL_DOWN_AND_FAIL, State.IDLE),
    (State.ESTABLISHED, Trigger.HOLD_EXPIRES):               Transition(_TELL_DOWN_AND_FAIL, State.IDLE),
    (State.ESTABLISHED, Trigger.SEND_HOLD_EXPIRES):          Transition(_DOWN_AND_FAIL, State.IDLE),
    (State.ESTABLISHED, Trigger.KEEPALIVE_EXPIRES):          Transition((Step.SEND_KEEPALIVE,), State.ESTABLISHED),
    (State.ESTABLISHED, Trigger.TCP_FAILS):                  Transition(_DOWN_AND_FAIL, State.IDLE),
    (State.ESTABLISHED, Trigger.HEADER_ERROR):               Transition(_TELL_DOWN_AND_FAIL, State.IDLE),
    (State.ESTABLISHED, Trigger.COLLISION_DUMP):             Transition(_TELL_DOWN_AND_FAIL, State.IDLE),
    (State.ESTABLISHED, Trigger.NOTIFICATION_VERSION_ERROR): Transition(_DOWN_AND_FAIL, State.IDLE),
    (State.ESTABLISHED, Trigger.NOTIFICATION):               Transition(_DOWN_AND_FAIL, State.IDLE),
    (State.ESTABLISHED, Trigger.KEEPALIVE):                  Transition((Step.RESTART_HOLD,), State.ESTABLISHED),
    (State.ESTABLISHED, Trigger.UPDATE):
        Transition((Step.RESTART_HOLD, Step.DELIVER), State.ESTABLISHED),
    (State.ESTABLISHED, Trigger.UPDATE_ERROR):               Transition(_TELL_DOWN_AND_FAIL, State.IDLE),
    (State.ESTABLISHED, Trigger.ROUTE_REFRESH):
        Transition((Step.RESTART_HOLD, Step.DELIVER), State.ESTABLISHED),
    (State.ESTABLISHED, Trigger.ROUTE_REFRESH_ERROR):        Transition(_TELL_DOWN_AND_FAIL, State.IDLE),
    (State.ESTABLISHED, Trigger.ANY_OTHER):                  Transition(_TELL_DOWN_AND_FAIL, State.IDLE),
}
# fmt: on


def transition(state: State, trigger: Trigger) -> Transition:
    """What ``trigger`` does in ``state``."""
    found = TABLE.get((state, trigger))
    return TABLE[state, Trigger.ANY_OTHER] if found is None else found
