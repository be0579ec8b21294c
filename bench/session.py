"""The bench's own end of a BGP session: sends what was encoded beforehand, and counts what comes back.

Implements just enough of RFC 4271 (OPEN, KEEPALIVE, reading UPDATE), RFC 5492, RFC 4760, RFC 6793 and RFC 4684
(membership for one route target) for measurements. No library of the project is used, so that neither end's mistakes
hide the other's. Does not reconnect, negotiate or validate.
"""

from __future__ import annotations

import ipaddress
import math
import socket
import struct
import time

from bench import inputs

HOLD_TIME = 240
KEEPALIVE = inputs.message(4, b"")
_HEADER = 19
_NLRI = 16
_READ = 1 << 18
_RTC = b"\x00\x01\x84"
RTC_END_OF_RIB = inputs.message(2, b"\x00\x00\x00\x06\x80\x0f\x03" + _RTC)


class SessionLost(Exception):
    """The other end closed the session or sent a NOTIFICATION."""


class Session:
    """One established session over a connected socket.

    ``family`` (AFI and SAFI) is what it carries. ``announced`` and ``withdrawn`` count NLRI of VPNv4 read; with
    ``remember`` the set ``held`` is what was announced and not withdrawn since: RD and prefix, 12 octets each.
    """

    def __init__(
        self,
        connection: socket.socket,
        *,
        source: str,
        family: bytes = inputs.VPNV4,
        rtc: bool = False,
        remember: bool = False,
        wait: float = 20.0,
    ) -> None:
        self.socket = connection
        self.announced = 0
        self.withdrawn = 0
        self.held: set[bytes] = set()
        self._remember = remember
        self._buffer = b""
        self._spoke = time.monotonic()
        connection.settimeout(wait)
        try:
            self._open(open_message(source, family, rtc=rtc))
        except TimeoutError as error:
            raise SessionLost("no OPEN and KEEPALIVE in time") from error
        connection.setblocking(True)

    def send(self, data: bytes) -> None:
        """Send whole messages, blocking until the other end has room; another thread may read meanwhile."""
        self._spoke = math.inf
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise SessionLost(str(error)) from error
        self._spoke = time.monotonic()

    def keep_alive(self) -> None:
        """Send a KEEPALIVE if nothing was sent for a quarter of the hold time."""
        if time.monotonic() - self._spoke > HOLD_TIME / 4:
            self.send(KEEPALIVE)

    def read(self) -> list[bytes]:
        """Take what has arrived, count its routes, and give the UPDATE bodies."""
        try:
            data = self.socket.recv(_READ, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        except OSError as error:
            raise SessionLost(str(error)) from error
        if not data:
            raise SessionLost("closed by the other end")
        bodies = self._split(data)
        for body in bodies:
            self._count(body)
        return bodies

    def close(self) -> None:
        """End the connection without ceremony."""
        self.socket.close()

    def _open(self, message: bytes) -> None:
        self.socket.sendall(message)
        self._expect(1)
        self.socket.sendall(KEEPALIVE)
        self._expect(4)

    def _expect(self, kind: int) -> None:
        while True:
            whole = len(self._buffer) >= _HEADER and len(self._buffer) >= int.from_bytes(self._buffer[16:18])
            if whole:
                size = int.from_bytes(self._buffer[16:18])
                message, self._buffer = self._buffer[:size], self._buffer[size:]
                if message[18] != kind:
                    raise SessionLost(f"message of type {message[18]} instead of {kind}: {message[19:].hex()}")
                return
            data = self.socket.recv(4096)
            if not data:
                raise SessionLost("closed before it was established")
            self._buffer += data

    def _split(self, data: bytes) -> list[bytes]:
        data = self._buffer + data
        position, end = 0, len(data)
        bodies = []
        while end - position >= _HEADER:
            size = data[position + 16] << 8 | data[position + 17]
            if end - position < size:
                break
            kind = data[position + 18]
            if kind == 2:
                bodies.append(data[position + _HEADER : position + size])
            elif kind == 3:
                raise SessionLost(f"NOTIFICATION {data[position + _HEADER : position + size].hex()}")
            position += size
        self._buffer = data[position:]
        return bodies

    def _count(self, body: bytes) -> None:
        for kind, value in attributes(body):
            if kind == 14 and value[:3] == inputs.VPNV4:
                self._announce(value[5 + value[3] :])
            elif kind == 15 and value[:3] == inputs.VPNV4:
                self._withdraw(value[3:])

    def _announce(self, field: bytes) -> None:
        self.announced += len(field) // _NLRI
        if self._remember:
            self.held.update(keys(field))

    def _withdraw(self, field: bytes) -> None:
        self.withdrawn += len(field) // _NLRI
        if self._remember:
            self.held.difference_update(keys(field))


def open_message(router_id: str, family: bytes = inputs.VPNV4, *, rtc: bool = False) -> bytes:
    """An OPEN with the family, route refresh and 4-octet AS, and with route-target membership if ``rtc``."""
    families = [family, _RTC] if rtc else [family]
    capabilities = b"".join(b"\x01\x04" + f[:2] + b"\x00" + f[2:] for f in families)
    capabilities += b"\x02\x00" + b"\x41\x04" + struct.pack("!I", inputs.LOCAL_AS)
    options = b"\x02" + bytes((len(capabilities),)) + capabilities
    identifier = ipaddress.IPv4Address(router_id).packed
    body = struct.pack("!BHH4sB", 4, inputs.LOCAL_AS, HOLD_TIME, identifier, len(options)) + options
    return inputs.message(1, body)


def attributes(body: bytes) -> list[tuple[int, bytes]]:
    """Type and value of the path attributes of an UPDATE body that has no IPv4 unicast withdrawals before them."""
    position = 4 + int.from_bytes(body[:2])
    end = position + int.from_bytes(body[position - 2 : position])
    found = []
    while position < end:
        if body[position] & 0x10:
            start = position + 4
            stop = start + (body[position + 2] << 8 | body[position + 3])
        else:
            start = position + 3
            stop = start + body[position + 2]
        found.append((body[position + 1], body[start:stop]))
        position = stop
    return found


def keys(field: bytes) -> list[bytes]:
    """RD and prefix of each NLRI of a field that holds VPNv4 host routes with one label alone."""
    if len(field) % _NLRI:
        raise SessionLost(f"an NLRI field of {len(field)} octets does not hold host routes with one label alone")
    return [field[i + 4 : i + _NLRI] for i in range(0, len(field), _NLRI)]


def membership(route_target: bytes) -> bytes:
    """The UPDATE by which an observer asks for one route target alone (RFC 4684 section 4)."""
    nlri = b"\x60" + struct.pack("!I", inputs.LOCAL_AS) + route_target
    reach = _RTC + b"\x04" + bytes((10, 77, 2, 1)) + b"\x00" + nlri
    fields = b"\x80\x0e" + bytes((len(reach),)) + reach + bytes.fromhex("40010100 400200 40050400000064")
    return inputs.message(2, struct.pack("!HH", 0, len(fields)) + fields) + RTC_END_OF_RIB
