"""A neighbour under test, played by a script: the test is the network, the peer and the clock."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address
from typing import Any, TypeVar

from bagpipe.session.neighbor import Neighbor
from bagpipe.session.outputs import Close, Connect, Down, Output, Send, Up
from bagpipe.session.settings import SessionSettings
from bagpipe.wire.capability import (
    Capability,
    EnhancedRouteRefresh,
    ExtendedMessage,
    FourOctetAs,
    GracefulRestart,
    Multiprotocol,
    RouteRefreshSupport,
)
from bagpipe.wire.family import EVPN, VPNV4
from bagpipe.wire.framing import Framer
from bagpipe.wire.message import AS_TRANS, KEEPALIVE, MessageType, Notification, Open, RouteRefresh, frame

LOCAL_AS = 64512
LOCAL_ID = IPv4Address("10.0.0.1")
HIGHER_ID = IPv4Address("10.0.0.2")
LOWER_ID = IPv4Address("10.0.0.0")
HELPED = GracefulRestart(90, ((VPNV4, True),))
HELPED_WITH_N = GracefulRestart(90, ((VPNV4, True),), notification=True)

_Kind = TypeVar("_Kind", bound=Output)


def settings(**changes: Any) -> SessionSettings:
    """iBGP in AS 64512 with VPNv4 and EVPN, unless changed."""
    values: dict[str, Any] = {
        "local_as": LOCAL_AS,
        "peer_as": LOCAL_AS,
        "router_id": LOCAL_ID,
        "families": (VPNV4, EVPN),
    }
    return SessionSettings(**(values | changes))


def capabilities(asn: int = LOCAL_AS, *more: Capability) -> tuple[Capability, ...]:
    """What a modern peer offers, and ``more``."""
    return (
        Multiprotocol(VPNV4),
        Multiprotocol(EVPN),
        RouteRefreshSupport(),
        EnhancedRouteRefresh(),
        ExtendedMessage(),
        FourOctetAs(asn),
        *more,
    )


def peer_open(*more: Capability, asn: int = LOCAL_AS, hold_time: int = 90, router_id: IPv4Address = HIGHER_ID) -> bytes:
    """The OPEN of a modern peer as a whole message."""
    my_as = asn if asn < 65536 else AS_TRANS
    return frame(MessageType.OPEN, Open(my_as, hold_time, router_id, capabilities(asn, *more)).encode())


def notification(code: int, subcode: int = 0, data: bytes = b"") -> bytes:
    """A NOTIFICATION as a whole message."""
    return frame(MessageType.NOTIFICATION, Notification(code, subcode, data).encode())


def refresh(message: RouteRefresh) -> bytes:
    """A ROUTE-REFRESH as a whole message."""
    return frame(MessageType.ROUTE_REFRESH, message.encode())


def of(kind: type[_Kind], outputs: Iterable[Output]) -> list[_Kind]:
    """The outputs of one kind."""
    return [output for output in outputs if isinstance(output, kind)]


def messages(outputs: Iterable[Output], connection: int | None = None) -> list[tuple[int, bytes]]:
    """All messages sent (on ``connection``), as (type, body)."""
    sent = [one for one in of(Send, outputs) if connection in (None, one.connection)]
    return Framer(65535).feed(b"".join(one.data for one in sent))


def notifications(outputs: Iterable[Output], connection: int | None = None) -> list[Notification]:
    """All NOTIFICATIONs sent."""
    found = [body for kind, body in messages(outputs, connection) if kind == MessageType.NOTIFICATION]
    return [Notification.decode(body) for body in found]


class Script:
    """A neighbour, the time, and what the test needs to say often."""

    def __init__(self, jitter: float = 1.0, **changes: Any) -> None:
        self.now = 1000.0
        self.settings = settings(**changes)
        self.neighbor = Neighbor(self.settings, jitter=lambda: jitter)
        self._incoming = -1

    def start_and_dial(self) -> int:
        """Start; the number of the connection asked for."""
        (connect,) = of(Connect, self.neighbor.start(self.now))
        return connect.connection

    def dial_and_connect(self) -> int:
        """Start and let the connection come about."""
        connection = self.start_and_dial()
        self.neighbor.connected(connection, self.now)
        return connection

    def accept(self) -> tuple[int, list[Output]]:
        """The peer connects."""
        self._incoming += 2
        return self._incoming, self.neighbor.accepted(self._incoming, self.now)

    def receive(self, connection: int, *parts: bytes) -> list[Output]:
        """The peer sends ``parts`` in one piece."""
        return self.neighbor.received(connection, b"".join(parts), self.now)

    def establish(self, *more: Capability, **changes: Any) -> int:
        """Start, dial, and come up with a peer that offers ``more``."""
        connection = self.dial_and_connect()
        outputs = self.receive(connection, peer_open(*more, **changes), KEEPALIVE)
        assert of(Up, outputs), f"not up: {self.neighbor.last_down}"
        return connection

    def establish_passively(self, *more: Capability, **changes: Any) -> int:
        """Start, and come up on a connection that the peer opened."""
        self.neighbor.start(self.now)
        connection, _ = self.accept()
        outputs = self.receive(connection, peer_open(*more, **changes), KEEPALIVE)
        assert of(Up, outputs), f"not up: {self.neighbor.last_down}"
        return connection

    def pass_time(self, seconds: float) -> list[Output]:
        """Serve each deadline up to ``seconds`` from now."""
        end = self.now + seconds
        outputs: list[Output] = []
        while (due := self.neighbor.deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            outputs += self.neighbor.tick(self.now)
        self.now = end
        return outputs


def closed_connections(outputs: Iterable[Output]) -> list[int]:
    """The connections closed, in order."""
    return [one.connection for one in of(Close, outputs)]


def down(outputs: Iterable[Output]) -> Down:
    """The one Down among the outputs."""
    (found,) = of(Down, outputs)
    return found
