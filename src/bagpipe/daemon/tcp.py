"""The asyncio edge of BGP: sockets on one side, :class:`bagpipe.speaker.Peer` on the other.

Data in, actions out, the one timer of each peer armed again; output is pulled from the peer while its socket takes it,
so that a dead or slow neighbour makes no queue grow. RFC 4271 section 8 (connections), RFC 9687 (neighbours that do not
read), RFC 2385, 5082 and 5925 by :mod:`bagpipe.daemon.socket_options`. Knows nothing of messages: bytes are the
session's.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from collections.abc import Iterable, Sequence
from ipaddress import ip_network
from typing import cast

from bagpipe.daemon.lookup import addresses_of
from bagpipe.daemon.reach import ClientRange, Limits, Reach, canonical, covering
from bagpipe.daemon.socket_options import IPAddress, drop_keys, listening, outgoing, set_hops, set_keys, set_lowest_ttl
from bagpipe.errors import LocalMisuse
from bagpipe.session.outputs import Action, Close, Connect
from bagpipe.speaker import Peer, PeerSettings, Speaker

LOG = logging.getLogger(__name__)

READ_SIZE = 64 * 1024
"""Octets taken from one connection in one turn of the loop."""
HIGH_WATER = 64 * 1024
"""Octets waiting in a connection's buffer from which on its peer is not asked for more."""
LOW_WATER = 16 * 1024
CHUNKS = 4
"""How often one peer is asked for output in one turn of the loop."""
FLUSH_PAUSE = 0.010
"""Least seconds between two flushes of a peer, so that changes are packed; a quiet peer is flushed at once."""
LINGER = 1.0
"""Seconds that a closing connection has for its last octets, a NOTIFICATION mostly."""
BACKLOG = 128
_SHORTEST_TIMER = 0.001


class Connection(asyncio.BufferedProtocol):
    """One TCP connection. ``number`` is 0 for an incoming one until it is admitted."""

    def __init__(self, edge: Edge, link: Link | None = None, number: int = 0) -> None:
        self.edge = edge
        self.link = link
        self.number = number
        self.transport: asyncio.Transport | None = None
        self.paused = False
        self.closing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Report the connection to its peer; an incoming one has to be admitted first."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(HIGH_WATER, LOW_WATER)
        self.edge.open.add(self)
        if self.link is not None:
            self.link.made(self)
        else:
            self.edge.admit(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """The edge's one buffer: what is read is copied out before the next connection reads."""
        return self.edge.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Octets came."""
        if not self.closing and self.link is not None:
            self.link.received(self, bytes(self.edge.buffer[:nbytes]))

    def pause_writing(self) -> None:
        """The buffer is above the high-water mark."""
        self.paused = True
        if self.link is not None and not self.closing:
            self.link.blocked(self)

    def resume_writing(self) -> None:
        """The buffer is below the low-water mark."""
        self.paused = False
        if self.link is not None and not self.closing:
            self.link.drained(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, by us, by the neighbour or by the network."""
        self.edge.open.discard(self)
        if not self.closing and self.link is not None:
            self.closing = True
            self.link.lost(self, "closed by the peer" if exc is None else str(exc))

    def finish(self) -> None:
        """Close once everything is written, and within ``LINGER`` in any case.

        Octets that still come are read and dropped: closing a socket with unread octets sends a reset, and the reset
        would take a NOTIFICATION under way with it.
        """
        self.closing = True
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        try:
            transport.write_eof()
        except OSError:  # the neighbour was quicker
            transport.abort()
        else:
            self.edge.loop.call_later(LINGER, transport.abort)

    def refuse(self) -> None:
        """Close at once."""
        self.closing = True
        if self.transport is not None:
            self.transport.abort()


class Link:
    """A peer with its connections, its attempts to connect, its timer and its output."""

    def __init__(self, edge: Edge, peer: Peer, reach: Reach, *, dynamic: bool) -> None:
        self.edge = edge
        self.loop = edge.loop
        self.peer = peer
        self.reach = reach
        self.dynamic = dynamic
        self.connections: dict[int, Connection] = {}
        self.attempts: dict[int, asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._flush: asyncio.Handle | None = None
        self._flushed = float("-inf")
        self._retired = False

    # ------------------------------------------------------------------ actions of the session

    def perform(self, actions: Iterable[Action]) -> None:
        """Carry out what the peer answered, in order, and arm its timer."""
        for action in actions:
            if isinstance(action, Connect):
                self.attempts[action.connection] = self.loop.create_task(self._connect(action.connection))
            elif isinstance(action, Close):
                self._close(action.connection)
            else:
                connection = self.connections.get(action.connection)
                if connection is not None and connection.transport is not None:
                    connection.transport.write(action.data)
        self._arm()
        if self.dynamic and not self.connections and self._timer is None and not self._retired:
            self.edge.remove(self.peer.name)

    def _close(self, number: int) -> None:
        attempt = self.attempts.pop(number, None)
        if attempt is not None:
            attempt.cancel()
        connection = self.connections.pop(number, None)
        if connection is not None:
            connection.finish()

    async def _connect(self, number: int) -> None:
        try:
            remote = await self._resolve()
            self.edge.known_as(remote, self)
            sock = outgoing(remote, self.reach.source, self.reach.protection)
            try:
                await self.loop.sock_connect(sock, (str(remote), self.reach.port))
                await self.loop.create_connection(lambda: Connection(self.edge, self, number), sock=sock)
            except BaseException:
                sock.close()
                raise
        except (OSError, LocalMisuse) as error:
            if self.attempts.pop(number, None) is not None:
                self.perform(self.peer.refused(number, self.loop.time(), str(error)))

    async def _resolve(self) -> IPAddress:
        address = canonical(self.reach.host)
        if address is not None:
            return address
        source = self.reach.source
        found = await addresses_of(self.reach.host)
        fitting = [one for one in found if source is None or one.version == source.version]
        if not fitting:
            raise OSError(f"{self.reach.host} has no address of the IP version of {source}")
        return fitting[0]

    # ------------------------------------------------------------------ from the connections

    def made(self, connection: Connection) -> None:
        """An attempt to connect succeeded; it may have been given up in the same turn."""
        if self.attempts.pop(connection.number, None) is None:
            connection.refuse()
            return
        self.connections[connection.number] = connection
        self.perform(self.peer.connected(connection.number, self.loop.time()))

    def accepted(self, connection: Connection) -> None:
        """The neighbour connected and was admitted."""
        self.connections[connection.number] = connection
        self.perform(self.peer.accepted(connection.number, self.loop.time()))

    def received(self, connection: Connection, data: bytes) -> None:
        """Octets came."""
        self.perform(self.peer.received(connection.number, data, self.loop.time()))

    def lost(self, connection: Connection, reason: str) -> None:
        """A connection is gone without our asking."""
        if self.connections.pop(connection.number, None) is not None:
            self.perform(self.peer.closed(connection.number, self.loop.time(), reason))

    def blocked(self, connection: Connection) -> None:
        """What was written waits: the session ends if it waits too long (RFC 9687)."""
        if connection.number == self.peer.established_connection:
            self.peer.neighbor.send_blocked(self.loop.time())

    def drained(self, connection: Connection) -> None:
        """What was written has gone: ask for more."""
        if connection.number == self.peer.established_connection:
            self.peer.neighbor.send_drained(self.loop.time())
            if self._flush is None:
                self._flush = self.loop.call_soon(self._pull)

    # ------------------------------------------------------------------ the timer and the output

    def _arm(self) -> None:
        """Arm the timer for the peer's deadline. An earlier timer stays: it finds nothing due and is armed again."""
        deadline = None if self._retired else self.peer.deadline()
        if self._timer is not None:
            if deadline is not None and self._timer.when() <= deadline:
                return
            self._timer.cancel()
            self._timer = None
        if deadline is not None:
            self._timer = self.loop.call_at(max(deadline, self.loop.time() + _SHORTEST_TIMER), self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.perform(self.peer.tick(self.loop.time()))

    def wake(self) -> None:
        """There is output to pull: at once if the last was long ago, else when the pause is over."""
        if self._flush is None and self.peer.established_connection is not None:
            self._flush = self.loop.call_at(self._flushed + FLUSH_PAUSE, self._pull)

    def _pull(self) -> None:
        self._flush = None
        established = self.peer.established_connection
        connection = None if established is None else self.connections.get(established)
        if connection is None or connection.transport is None:
            return
        now = self._flushed = self.loop.time()
        for _ in range(CHUNKS):
            if connection.paused:
                break
            data = self.peer.outbound(now)
            if not data:
                break
            connection.transport.write(data)
        else:
            self._flush = self.loop.call_soon(self._pull)
        self._arm()

    def retire(self) -> None:
        """The peer is leaving: close what is open, forget the timer."""
        self._retired = True
        for number in [*self.attempts, *self.connections]:
            self._close(number)
        self._arm()
        if self._flush is not None:
            self._flush.cancel()


class Edge:
    """All peers of a speaker on TCP. Lives on the running loop; one instance owns the speaker's ``wake``."""

    def __init__(self, speaker: Speaker, limits: Limits | None = None) -> None:
        self.speaker = speaker
        self.loop = asyncio.get_running_loop()
        self.limits = limits or Limits()
        self.buffer = memoryview(bytearray(READ_SIZE))
        self.links: dict[str, Link] = {}
        self.open: set[Connection] = set()
        self.ranges: tuple[ClientRange, ...] = ()
        self._by_address: dict[IPAddress, Link] = {}
        self._listeners: list[tuple[socket.socket, asyncio.Server]] = []
        self._numbers = itertools.count(1, 2)
        self._refusals = RefusalLog()
        speaker.wake = self._wake

    def _wake(self, peer: Peer) -> None:
        link = self.links.get(peer.name)
        if link is not None:
            link.wake()

    # ------------------------------------------------------------------ peers

    def add(self, settings: PeerSettings, reach: Reach) -> None:
        """Add a configured peer and start it. Raises LocalMisuse for a name in use or a key the kernel refuses."""
        address = canonical(reach.host)
        if address is not None:
            for sock, _ in self._listeners:
                set_keys(sock, ip_network(address), reach.protection)
            known = self._by_address.get(address)
            if known is not None and known.dynamic:
                self.remove(known.peer.name)
        link = self._link(settings, reach, dynamic=False)
        self._set_least_hops()
        if address is not None:
            self._by_address[address] = link
        link.perform(link.peer.start(self.loop.time()))

    def _link(self, settings: PeerSettings, reach: Reach, *, dynamic: bool) -> Link:
        peer = self.speaker.add_peer(settings, self.loop.time())
        link = self.links[settings.name] = Link(self, peer, reach, dynamic=dynamic)
        return link

    def remove(self, name: str) -> None:
        """End a peer's session and forget the peer. Raises LocalMisuse if there is none of that name."""
        actions = self.speaker.remove_peer(name, self.loop.time())
        link = self.links.pop(name)
        link.dynamic = False
        link.perform(actions)
        link.retire()
        self._set_least_hops()
        for address in [address for address, known in self._by_address.items() if known is link]:
            del self._by_address[address]
            if address == canonical(link.reach.host):
                for sock, _ in self._listeners:
                    drop_keys(sock, ip_network(address), link.reach.protection)

    def known_as(self, address: IPAddress, link: Link) -> None:
        """A peer configured by its host name has this address at present, and may connect from it."""
        self._by_address.setdefault(address, link)

    # ------------------------------------------------------------------ listening

    async def listen(self, address: IPAddress, port: int) -> None:
        """Accept on ``address``. Raises OSError when it is taken, LocalMisuse when the kernel refuses a key."""
        sock = listening(address, port)
        try:
            self._set_all_keys(sock)
            server = await self.loop.create_server(lambda: Connection(self), sock=sock, backlog=BACKLOG)
        except BaseException:
            sock.close()
            raise
        self._listeners.append((sock, server))
        self._set_least_hops()

    def _set_least_hops(self) -> None:
        """Drop at the listening sockets what no peer may send, before it is accepted."""
        passive = [link.reach.protection for link in self.links.values() if not link.dynamic]
        least = min((one.lowest_ttl for one in [*passive, *(entry.protection for entry in self.ranges)]), default=0)
        for sock, _ in self._listeners:
            set_lowest_ttl(sock, least)

    def _set_all_keys(self, sock: socket.socket) -> None:
        for entry in self.ranges:
            set_keys(sock, entry.prefix, entry.protection)
        for link in self.links.values():
            address = canonical(link.reach.host)
            if address is not None and not link.dynamic:
                set_keys(sock, ip_network(address), link.reach.protection)

    def serve(self, ranges: Sequence[ClientRange]) -> None:
        """Whom to accept besides configured peers. Clients of a range that is no more, or has changed, are dropped."""
        for sock, _ in self._listeners:
            for entry in self.ranges:
                if entry not in ranges:
                    drop_keys(sock, entry.prefix, entry.protection)
        gone = [entry for entry in self.ranges if entry not in ranges]
        self.ranges = tuple(ranges)
        for sock, _ in self._listeners:
            self._set_all_keys(sock)
        self._set_least_hops()
        for link in [link for link in self.links.values() if link.dynamic]:
            address = canonical(link.reach.host)
            if address is not None and covering(gone, address) is not None:
                self.remove(link.peer.name)

    def admit(self, connection: Connection) -> None:
        """Give an incoming connection to its peer, or close it at once."""
        assert connection.transport is not None
        name = connection.transport.get_extra_info("peername")
        address = canonical(name[0]) if name else None
        link = self._admitted(address) if address is not None else None
        if isinstance(link, Link):
            set_hops(connection.transport.get_extra_info("socket"), link.reach.protection)
            connection.link = link
            connection.number = next(self._numbers)
            link.accepted(connection)
        else:
            connection.refuse()
            self._refusals.note(self.loop.time(), str(address), str(link))

    def _admitted(self, address: IPAddress) -> Link | str:
        link = self._by_address.get(address)
        if link is not None and len(link.connections) >= self.limits.per_address:
            return f"already {self.limits.per_address} connections from this address"
        if sum(1 for other in self.open if other.link is not None and not other.closing) >= self.limits.total:
            return f"already {self.limits.total} connections"
        if link is not None:
            return link
        entry = covering(self.ranges, address)
        if entry is None:
            return "neither a peer nor in a client range"
        if len(self.links) >= self.limits.total:
            return f"already {self.limits.total} neighbours"
        settings = entry.settings(address)
        if settings.name in self.links:
            return "a peer of this name exists"
        link = self._link(settings, Reach(str(address), protection=entry.protection), dynamic=True)
        self._by_address[address] = link
        link.peer.start(self.loop.time())
        return link

    async def close(self) -> None:
        """Stop listening, end all sessions with CEASE, and return when the connections are closed: ``LINGER`` at most.

        Routes are not taken back one by one; the neighbours know what the end of a session means.
        """
        for _, server in self._listeners:
            server.close()
        for link in self.links.values():
            link.dynamic = False
            link.perform(link.peer.stop(self.loop.time()))
            link.retire()
        end = self.loop.time() + LINGER
        while self.open and self.loop.time() < end:
            await asyncio.sleep(0.01)
        for connection in list(self.open):
            connection.refuse()


class RefusalLog:
    """Says who was not admitted, at most once a second, whatever a scanner does."""

    def __init__(self) -> None:
        self._next = float("-inf")
        self._unsaid = 0

    def note(self, now: float, address: str, reason: str) -> None:
        """Count a refusal, and log it unless another was logged just now."""
        if now < self._next:
            self._unsaid += 1
            return
        more = f" ({self._unsaid} more before)" if self._unsaid else ""
        LOG.info("connection from %s refused: %s%s", address, reason, more)
        self._next, self._unsaid = now + 1.0, 0
