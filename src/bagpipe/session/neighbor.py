"""One configured neighbour: RFC 4271 section 6.8 (collision), sections 6.1, 6.2, 6.4 to 6.6 (errors), RFC 4486, 8538
and 9003 (Cease), RFC 5492 section 3 (peers without capabilities), RFC 7313, RFC 4724 section 5 (a new connection
replaces the old one).

A neighbour runs one machine, and a second one, the rival, for a connection that comes in while the first has one of its
own or rests. When one of the two gets ahead for good, the other is dropped and the one that is left is *the* machine.

Not here: sockets and clock (the edge), what is in an UPDATE (the speaker), keeping stale routes (the speaker).
"""

from __future__ import annotations

from collections.abc import Callable

from bagpipe.errors import RemoteFault
from bagpipe.session.backoff import Backoff
from bagpipe.session.counters import Counters
from bagpipe.session.fsm import State, Trigger
from bagpipe.session.machine import NO_CAUSE, Cause, Machine, Surroundings, Timer
from bagpipe.session.negotiation import Negotiated, negotiate
from bagpipe.session.outputs import Close, Output, Refresh, Send, Updates
from bagpipe.session.settings import Mode, SessionSettings
from bagpipe.wire.family import Family
from bagpipe.wire.message import (
    HEADER_SIZE,
    CeaseSubcode,
    ErrorCode,
    HeaderError,
    MessageType,
    Notification,
    Open,
    OpenError,
    RefreshSubtype,
    RouteRefresh,
    frame,
)

_HARD = (CeaseSubcode.MAXIMUM_PREFIXES_REACHED, CeaseSubcode.ADMINISTRATIVE_SHUTDOWN, CeaseSubcode.PEER_DECONFIGURED)
_COLLISION = Cause(notification=Notification.cease(CeaseSubcode.CONNECTION_COLLISION_RESOLUTION))


class Neighbor:
    """One neighbour's session. Every method that takes ``now`` returns the outputs it caused, in order.

    ``now`` is seconds of any monotonic clock, the same one in all calls. ``jitter`` gives factors of 0.75 to 1.0 (RFC
    4271 section 10). Connections are numbered: incoming ones by the edge, odd; outgoing ones here, even.

    Nothing that a peer sends raises: it ends in a NOTIFICATION, a close, or an output. If the speaker calls
    :meth:`fault` for an UPDATE, the outputs that it still holds from before are void.
    """

    def __init__(self, settings: SessionSettings, *, jitter: Callable[[], float]) -> None:
        self.settings = settings
        self._around = Surroundings(settings, jitter, Backoff(settings.idle_hold, settings.idle_hold_max, jitter))
        self._main = Machine(self._around)
        self._rival: Machine | None = None
        self._is_started = False

    # What can be seen.

    @property
    def state(self) -> State:
        """The state of the machine that is further ahead."""
        return max(machine.state for machine in self._machines())

    @property
    def negotiated(self) -> Negotiated | None:
        """What was negotiated, while the session is established."""
        return self._main.negotiated if self._main.state is State.ESTABLISHED else None

    @property
    def connection(self) -> int | None:
        """The connection of the established session."""
        return self._main.connection if self._main.state is State.ESTABLISHED else None

    @property
    def counters(self) -> Counters:
        """Messages by type, flaps, time of coming up."""
        return self._around.counters

    @property
    def last_down(self) -> str:
        """Why the last session or attempt ended; empty if none did."""
        return self._around.last_down

    def deadline(self) -> float | None:
        """When :meth:`tick` is due; None while there is nothing to wait for. May change with every call made here."""
        return min((due for machine in self._machines() for due in machine.timers.values()), default=None)

    # What the operator does.

    def start(self, now: float) -> list[Output]:
        """Bring the session up, and keep bringing it up, until :meth:`stop`."""
        self._is_started = True
        passive = self.settings.mode is Mode.PASSIVE
        self._main.handle(Trigger.MANUAL_START_PASSIVE if passive else Trigger.MANUAL_START, now)
        return self._outputs()

    def stop(
        self, now: float, reason: CeaseSubcode = CeaseSubcode.ADMINISTRATIVE_SHUTDOWN, communication: str = ""
    ) -> list[Output]:
        """End the session with a Cease, and stay down. ``communication`` is shown to the peer's operator (RFC 9003)."""
        self._is_started = False
        for machine in self._machines():
            cease = _hardened(Notification.cease(reason, communication), machine)
            machine.handle(Trigger.MANUAL_STOP, now, Cause(f"stopped here: {cease}", cease))
        self._rival = None
        return self._outputs()

    # What happens to TCP connections.

    def connected(self, connection: int, now: float) -> list[Output]:
        """The connection that a Connect asked for is there."""
        machine = self._of(connection)
        if machine is None:
            self._around.outputs.append(Close(connection))
        else:
            machine.handle(Trigger.TCP_ACKED, now)
        return self._outputs()

    def refused(self, connection: int, now: float, reason: str) -> list[Output]:
        """The connection that a Connect asked for cannot be had."""
        return self.closed(connection, now, reason)

    def closed(self, connection: int, now: float, reason: str) -> list[Output]:
        """The connection is gone, by the peer's or the network's doing."""
        machine = self._of(connection)
        if machine is not None:
            machine.connection = None
            self._around.last_down = reason
            machine.handle(Trigger.TCP_FAILS, now, Cause(reason))
            self._settle()
        return self._outputs()

    def accepted(self, connection: int, now: float) -> list[Output]:
        """The peer opened a connection (odd number). It is closed at once if it is not wanted."""
        refusal = self._refusal(now)
        if refusal is not None:
            self._around.counters.sent[MessageType.NOTIFICATION] += 1
            self._around.outputs.append(
                Send(connection, frame(MessageType.NOTIFICATION, Notification.cease(refusal).encode()))
            )
            self._around.outputs.append(Close(connection))
            return self._outputs()
        machine = self._machine_for_incoming(now)
        machine.connection = connection
        machine.handle(Trigger.TCP_CONFIRMED, now)
        return self._outputs()

    def received(self, connection: int, data: bytes, now: float) -> list[Output]:
        """The next bytes of the connection, in pieces of any size."""
        machine = self._of(connection)
        if machine is None:
            return self._outputs()
        framer = machine.framer
        for kind, bodies in framer.runs(data):
            self._run(machine, kind, bodies, now)
            if machine.connection != connection:
                return self._outputs()
        if framer.fault is not None:
            machine.handle(Trigger.HEADER_ERROR, now, _sent(framer.fault))
            self._settle()
        elif framer.paused:
            return self._outputs() + self.received(connection, b"", now)
        return self._outputs()

    # What time and the speaker do.

    def tick(self, now: float) -> list[Output]:
        """Time has come to ``now``: serve the timers that are due."""
        for machine in self._machines():
            machine.tick(now)
        self._settle()
        return self._outputs()

    def fault(self, error: RemoteFault, now: float) -> list[Output]:
        """An UPDATE of the established session was such that only a reset answers it (RFC 7606)."""
        return self._end(Trigger.UPDATE_ERROR, now, _sent(error))

    def limit_exceeded(self, family: Family, limit: int, now: float) -> list[Output]:
        """More routes came than allowed: Cease 1 with family and limit (RFC 4486 section 4)."""
        data = family.packed + limit.to_bytes(4)
        note = Notification(ErrorCode.CEASE, CeaseSubcode.MAXIMUM_PREFIXES_REACHED, data)
        text = f"more than {limit} routes of {family}"
        return self._end(Trigger.AUTOMATIC_STOP, now, Cause(text, _hardened(note, self._main)))

    def sent(self, now: float, updates: int = 0) -> list[Output]:
        """``updates`` UPDATEs went out on the established connection, so no KEEPALIVE is due for a while."""
        self._around.counters.sent[MessageType.UPDATE] += updates
        if self._main.state is State.ESTABLISHED:
            self._main.restart_keepalive(now)
        return self._outputs()

    def send_blocked(self, now: float) -> list[Output]:
        """What was to be sent does not drain. If it stays so, the session ends (RFC 9687)."""
        if self._main.state is State.ESTABLISHED:
            self._main.start_send_hold(now)
        return self._outputs()

    def send_drained(self, now: float) -> list[Output]:
        """What was to be sent drains again."""
        self._main.timers.pop(Timer.SEND_HOLD, None)
        return self._outputs()

    def request_refresh(self, family: Family, now: float) -> list[Output]:
        """Ask the peer for all its routes of ``family`` again (RFC 2918); nothing if that was not negotiated."""
        negotiated = self.negotiated
        if negotiated is not None and negotiated.route_refresh:
            self._send_refresh(negotiated, family, RefreshSubtype.REQUEST, now)
        return self._outputs()

    def mark_refresh(self, family: Family, begin: bool, now: float) -> list[Output]:
        """Mark begin or end of our routes of ``family`` told again (RFC 7313); nothing if that was not negotiated."""
        negotiated = self.negotiated
        if negotiated is not None and negotiated.enhanced_route_refresh:
            self._send_refresh(negotiated, family, RefreshSubtype.BEGIN if begin else RefreshSubtype.END, now)
        return self._outputs()

    def _send_refresh(self, negotiated: Negotiated, family: Family, subtype: RefreshSubtype, now: float) -> None:
        if family in negotiated.families:
            self._main.send(MessageType.ROUTE_REFRESH, RouteRefresh(family, subtype).encode())

    def _end(self, trigger: Trigger, now: float, cause: Cause) -> list[Output]:
        if self._main.state is State.ESTABLISHED:
            self._main.handle(trigger, now, cause)
            self._settle()
        return self._outputs()

    # Machines.

    def _machines(self) -> tuple[Machine, ...]:
        return (self._main,) if self._rival is None else (self._main, self._rival)

    def _of(self, connection: int) -> Machine | None:
        return next((machine for machine in self._machines() if machine.connection == connection), None)

    def _outputs(self) -> list[Output]:
        outputs, self._around.outputs = self._around.outputs, []
        return outputs

    def _settle(self) -> None:
        """A rival without a connection is gone; one that has heard an OPEN succeeds a machine that has none."""
        rival = self._rival
        if rival is None:
            return
        if rival.connection is None:
            self._rival = None
        elif self._main.connection is None and rival.state >= State.OPEN_CONFIRM:
            self._main, self._rival = rival, None

    def _refusal(self, now: float) -> CeaseSubcode | None:
        """Why an incoming connection is not wanted, or None if it is."""
        if not self._is_started:
            return CeaseSubcode.ADMINISTRATIVE_SHUTDOWN
        if self.settings.mode is Mode.ACTIVE or now < self._around.backoff.refuse_until:
            return CeaseSubcode.CONNECTION_REJECTED
        negotiated = self.negotiated
        if negotiated is None or negotiated.peer_graceful_restart is not None or self.settings.replace_established:
            return None
        return CeaseSubcode.CONNECTION_COLLISION_RESOLUTION

    def _machine_for_incoming(self, now: float) -> Machine:
        """A machine in Active. A peer that connects anew has given up its earlier attempt, so that one ends."""
        main = self._main
        if self._rival is not None:
            self._rival.handle(Trigger.COLLISION_DUMP, now, _COLLISION)
            self._rival = None
        if main.state is State.ACTIVE:
            return main
        newcomer = Machine(self._around)
        newcomer.handle(Trigger.AUTOMATIC_START_PASSIVE, now)
        if main.state in (State.OPEN_SENT, State.OPEN_CONFIRM) and not main.is_outgoing:
            main.handle(Trigger.COLLISION_DUMP, now, _COLLISION)
            self._main = newcomer
        else:
            self._rival = newcomer
        return newcomer

    def _other(self, machine: Machine) -> Machine | None:
        return self._rival if machine is self._main else self._main

    # Messages.

    def _run(self, machine: Machine, kind: int, bodies: list[bytes], now: float) -> None:
        """Consecutive messages of one type."""
        self._around.counters.received[kind] += len(bodies)
        if kind == MessageType.UPDATE:
            machine.handle(
                Trigger.UPDATE, now, Cause(_unexpected(machine, kind), None, MessageType.UPDATE, None, Updates(bodies))
            )
            self._settle()
            return
        receive = _RECEIVERS[kind]
        connection = machine.connection
        for body in bodies:
            receive(self, machine, body, now)
            self._settle()
            if machine.connection != connection:
                return

    def _receive_open(self, machine: Machine, body: bytes, now: float) -> None:
        if machine.state is not State.OPEN_SENT or machine.ours is None:
            cause = Cause(_unexpected(machine, MessageType.OPEN), message_type=MessageType.OPEN)
            machine.handle(Trigger.OPEN, now, cause)
            return
        try:
            negotiated = negotiate(self.settings, machine.ours, Open.decode(body))
        except RemoteFault as error:
            machine.handle(Trigger.OPEN_ERROR, now, _sent(error))
            return
        if self._wins(machine, negotiated, now):
            machine.handle(Trigger.OPEN, now, Cause(negotiated=negotiated))
        else:
            machine.handle(Trigger.COLLISION_DUMP, now, _COLLISION)

    def _wins(self, machine: Machine, negotiated: Negotiated, now: float) -> bool:
        """Resolve a collision, if there is one, between ``machine``, whose OPEN came just now, and the other.

        RFC 4271 section 6.8: of two the one opened by the speaker with the higher identifier stays; RFC 6286 section
        2.3: with the higher AS if they are equal. An established one gives way, as a new one got that far only if the
        peer restarts gracefully (RFC 4724 section 5) or the settings want it.
        """
        other = self._other(machine)
        if other is None:
            return True
        if other.state is State.ESTABLISHED:
            graceful = other.negotiated is not None and other.negotiated.peer_graceful_restart is not None
            trigger = Trigger.TCP_FAILS if graceful else Trigger.COLLISION_DUMP
            text = "replaced by a new connection of the peer"
            other.handle(trigger, now, Cause(text, _COLLISION.notification))
            return True
        if other.state is not State.OPEN_CONFIRM:
            return True
        local = (negotiated.router_id, negotiated.local_as)
        peer = (negotiated.peer_router_id, negotiated.peer_as)
        if machine.is_outgoing is (local > peer):
            other.handle(Trigger.COLLISION_DUMP, now, _COLLISION)
            return True
        return False

    def _receive_keepalive(self, machine: Machine, body: bytes, now: float) -> None:
        if machine.state is State.ESTABLISHED:
            machine.handle(Trigger.KEEPALIVE, now)
            return
        other = self._other(machine)
        if machine.state is State.OPEN_CONFIRM and other is not None:
            other.handle(Trigger.COLLISION_DUMP, now, _COLLISION)
        cause = Cause(_unexpected(machine, MessageType.KEEPALIVE), message_type=MessageType.KEEPALIVE)
        machine.handle(Trigger.KEEPALIVE, now, cause)

    def _receive_notification(self, machine: Machine, body: bytes, now: float) -> None:
        note = Notification.decode(body)
        of_open = note.code == ErrorCode.OPEN_MESSAGE_ERROR
        not_understood = of_open and note.subcode == OpenError.UNSUPPORTED_OPTIONAL_PARAMETER
        if not_understood and machine.ours is not None and machine.ours.capabilities:
            self._around.without_capabilities = machine.state is not State.ESTABLISHED
        is_version = of_open and note.subcode == OpenError.UNSUPPORTED_VERSION_NUMBER
        trigger = Trigger.NOTIFICATION_VERSION_ERROR if is_version else Trigger.NOTIFICATION
        machine.handle(trigger, now, Cause(f"received NOTIFICATION: {note}", note))

    def _receive_refresh(self, machine: Machine, body: bytes, now: float) -> None:
        negotiated = machine.negotiated
        if machine.state is not State.ESTABLISHED or negotiated is None:
            cause = Cause(_unexpected(machine, MessageType.ROUTE_REFRESH), message_type=MessageType.ROUTE_REFRESH)
            machine.handle(Trigger.ROUTE_REFRESH, now, cause)
            return
        try:
            message = RouteRefresh.decode(body)
        except RemoteFault as error:
            fault = error if negotiated.enhanced_route_refresh else _bad_length(body)
            machine.handle(Trigger.ROUTE_REFRESH_ERROR, now, _sent(fault))
            return
        # Without RFC 7313 the subtype is a reserved octet, ignored on receipt (RFC 2918 section 3).
        subtype = message.subtype if negotiated.enhanced_route_refresh else RefreshSubtype.REQUEST
        is_for_us = negotiated.route_refresh and message.family in negotiated.families
        understood = is_for_us and subtype in tuple(RefreshSubtype)
        event = Refresh(message.family, int(subtype)) if understood else None
        machine.handle(Trigger.ROUTE_REFRESH, now, Cause(event=event) if event else NO_CAUSE)


_RECEIVERS: dict[int, Callable[[Neighbor, Machine, bytes, float], None]] = {
    MessageType.OPEN: Neighbor._receive_open,
    MessageType.NOTIFICATION: Neighbor._receive_notification,
    MessageType.KEEPALIVE: Neighbor._receive_keepalive,
    MessageType.ROUTE_REFRESH: Neighbor._receive_refresh,
}


def _sent(error: RemoteFault) -> Cause:
    note = Notification(error.code, error.subcode, error.data)
    return Cause(f"sent NOTIFICATION: {note} ({error.text})", note)


def _unexpected(machine: Machine, kind: int) -> str:
    return f"unexpected {MessageType(kind).name} in {machine.state}"


def _hardened(cease: Notification, machine: Machine) -> Notification:
    """The Cease, as a Hard Reset if it has to end graceful restart too (RFC 8538 section 5)."""
    negotiated = machine.negotiated
    if negotiated is not None and negotiated.graceful_notification and cease.subcode in _HARD:
        return cease.as_hard_reset()
    return cease


def _bad_length(body: bytes) -> RemoteFault:
    return RemoteFault(
        f"ROUTE-REFRESH: body of {len(body)} octets",
        code=ErrorCode.MESSAGE_HEADER_ERROR,
        subcode=HeaderError.BAD_MESSAGE_LENGTH,
        data=(HEADER_SIZE + len(body)).to_bytes(2),
    )
