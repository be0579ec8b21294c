"""One connection to a bridge, from its first octet to its last.

OpenFlow Switch Specification 1.5.1 sections 6.2 (what the order of messages means), 6.3.1 (negotiation), 6.3.2 (echo)
and 7.1 (transaction identifiers). asyncio, no threads. Whatever a switch answers finds the request it belongs to by
its transaction identifier; an error that belongs to none is logged and counted. Does not reconnect: that is
:class:`bagpipe.dataplane.openflow.bridge.Bridge`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from bagpipe.dataplane.errors import DataplaneError, MalformedMessage, NoAnswer, Unreachable
from bagpipe.dataplane.openflow.codec import Stream, decode, decode_packed_flows, encode
from bagpipe.dataplane.openflow.faults import Refused, SwitchError
from bagpipe.dataplane.openflow.flows import FlowsReply, PackedFlowsReply
from bagpipe.dataplane.openflow.groups import GroupsReply, GroupStatisticsReply
from bagpipe.dataplane.openflow.messages import (
    HEADER,
    VERSION,
    BarrierRequest,
    EchoReply,
    EchoRequest,
    FeaturesReply,
    FeaturesRequest,
    Hello,
    Message,
)
from bagpipe.dataplane.openflow.monitoring import MonitorReply
from bagpipe.errors import LocalMisuse

_log = logging.getLogger(__name__)
_LAST_XID = 0xFFFFFFFF
_READ_SIZE = 1 << 18
_CHUNK = 1 << 16
_M = TypeVar("_M", bound=Message)
_PARTS = (FlowsReply, PackedFlowsReply, GroupsReply, GroupStatisticsReply, MonitorReply)


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. ``answer`` is how long a request may take, a batch included; a quiet switch is asked for an echo
    after ``quiet`` and given up after ``silence`` more; reconnecting waits from ``retry`` on, doubled up to
    ``retry_limit``.
    """

    connect: float = 5.0
    answer: float = 60.0
    quiet: float = 5.0
    silence: float = 30.0
    retry: float = 0.1
    retry_limit: float = 5.0


class VersionNotSpoken(DataplaneError):
    """The bridge does not speak OpenFlow 1.5. Its setting ``protocols`` must have OpenFlow15, or be empty."""


class Span:
    """Consecutive transaction identifiers, and the errors that came for them, by place in the span."""

    __slots__ = ("count", "errors", "first")

    def __init__(self, first: int, count: int) -> None:
        self.first = first
        self.count = count
        self.errors: dict[int, SwitchError] = {}


@dataclass(slots=True)
class _Waiting:
    """A request whose answer is awaited; the parts of a multipart answer are gathered, flows packed if asked for."""

    request: Message
    done: asyncio.Future[list[Message]]
    packed: bool = False
    parts: list[Message] = field(default_factory=list)


def check_target(target: str) -> None:
    """Raise LocalMisuse unless ``target`` is ``unix:PATH`` or ``tcp:ADDRESS:PORT``."""
    if not re.fullmatch(r"unix:.+|tcp:.+:\d{1,5}", target):
        raise LocalMisuse("OpenFlow target", target, "expected unix:PATH or tcp:ADDRESS:PORT")


async def dial(target: str, timing: Timing) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to ``unix:PATH`` or ``tcp:ADDRESS:PORT`` (an IPv6 address in brackets).

    Raises Unreachable, and LocalMisuse for another form.
    """
    check_target(target)
    kind, _, place = target.partition(":")
    try:
        async with asyncio.timeout(timing.connect):
            if kind == "unix":
                return await asyncio.open_unix_connection(place, limit=_READ_SIZE)
            host, _, port = place.rpartition(":")
            return await asyncio.open_connection(host.strip("[]"), int(port), limit=_READ_SIZE)
    except TimeoutError as cause:
        raise NoAnswer(f"{target}: no connection within {timing.connect} s") from cause
    except OSError as cause:
        raise Unreachable(f"{target}: {cause.strerror or cause}") from cause


class Link:
    """A connection over which both sides have agreed on OpenFlow 1.5.

    ``told`` hears each monitor message that no request waits for.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        timing: Timing,
        told: Callable[[MonitorReply], None],
    ) -> None:
        self.features = FeaturesReply(0, 0, 0, 0, 0)
        self.strays = 0
        self._reader = reader
        self._writer = writer
        self._timing = timing
        self._told = told
        self._stream = Stream()
        self._xid = 0
        self._waiting: dict[int, _Waiting] = {}
        self._spans: list[Span] = []
        self._unneeded: set[int] = set()
        self._heard = asyncio.Event()
        self._closed: asyncio.Future[DataplaneError] = asyncio.get_running_loop().create_future()
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def open(cls, target: str, timing: Timing, told: Callable[[MonitorReply], None]) -> Link:
        """Connect, agree on the version and learn who the switch is.

        Raises Unreachable, VersionNotSpoken, MalformedMessage; LocalMisuse for a target of another form.
        """
        link = cls(*await dial(target, timing), timing, told)
        try:
            await link._start(target)
        except BaseException:
            await link.close()
            raise
        return link

    async def _start(self, target: str) -> None:
        try:
            async with asyncio.timeout(self._timing.connect):
                self._writer.write(encode(Hello(), self._reserve(1)))
                first = await self._first_message(target)
        except TimeoutError as cause:
            raise NoAnswer(f"{target}: no hello within {self._timing.connect} s") from cause
        except OSError as cause:
            raise Unreachable(f"{target}: {cause.strerror or cause}") from cause
        version = first[0]
        _, hello = decode(first)
        if isinstance(hello, SwitchError):
            raise VersionNotSpoken(f"{target}: {hello.name} {hello.data.decode('ascii', 'replace')}")
        if not isinstance(hello, Hello):
            raise MalformedMessage(f"{target}: {type(hello).__name__} where a hello was expected")
        if VERSION not in hello.versions and (hello.versions or version != VERSION):
            spoken = ", ".join(f"1.{number - 1}" for number in hello.versions or (version,))
            raise VersionNotSpoken(f"{target}: the bridge speaks OpenFlow {spoken}, not 1.5")
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._keep_alive())]
        self.features = await self.ask_one(FeaturesRequest(), FeaturesReply)

    async def _first_message(self, target: str) -> bytes:
        try:
            head = await self._reader.readexactly(HEADER.size)
            size = max(int.from_bytes(head[2:4]), HEADER.size)
            return head + await self._reader.readexactly(size - HEADER.size)
        except asyncio.IncompleteReadError as cause:
            raise Unreachable(f"{target}: closed before its hello") from cause

    @property
    def is_open(self) -> bool:
        """Whether requests can be sent."""
        return not self._closed.done()

    async def wait_closed(self) -> DataplaneError:
        """Wait for the end of the connection, and say why it ended."""
        return await asyncio.shield(self._closed)

    async def close(self, why: DataplaneError | None = None) -> None:
        """End the connection. Whoever waits for an answer is told Unreachable."""
        self._end(why or Unreachable("the connection was closed"))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._writer.wait_closed()

    def _end(self, why: DataplaneError) -> None:
        if self._closed.done():
            return
        self._closed.set_result(why)
        for waiting in self._waiting.values():
            if not waiting.done.done():
                waiting.done.set_exception(why if isinstance(why, Unreachable) else Unreachable(str(why)))
        self._writer.transport.abort()

    def _reserve(self, count: int) -> int:
        if self._xid + count > _LAST_XID:
            self._xid = 0
        first = self._xid + 1
        self._xid += count
        return first

    def span(self, count: int) -> Span:
        """Take ``count`` transaction identifiers and gather the errors that come for them until :meth:`release`."""
        made = Span(self._reserve(count), count)
        self._spans.append(made)
        return made

    def release(self, span: Span) -> None:
        """Errors for ``span`` are no longer expected."""
        self._spans.remove(span)

    async def send(self, messages: Iterable[bytes]) -> None:
        """Write encoded messages, in pieces, no faster than the switch takes them.

        Other work of the loop runs between the pieces. Raises Unreachable.
        """
        piece: list[bytes] = []
        size = 0
        for message in messages:
            piece.append(message)
            size += len(message)
            if size >= _CHUNK:
                await self._write(b"".join(piece))
                await asyncio.sleep(0)
                piece.clear()
                size = 0
        if piece:
            await self._write(b"".join(piece))

    async def _write(self, data: bytes) -> None:
        if self._closed.done():
            raise Unreachable(str(self._closed.result()))
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as cause:
            raise Unreachable(f"connection lost while sending: {cause}") from cause

    async def ask(self, request: Message, *, packed: bool = False) -> list[Message]:
        """Send a request and give its answer: one message, or the parts of a multipart answer.

        With ``packed`` flows come as :class:`PackedFlowsReply`.

        Raises Refused if the switch answers with an error, Unreachable, NoAnswer (the connection is then ended: what
        it would still say could not be told apart).
        """
        xid = self._reserve(1)
        waiting = _Waiting(request, asyncio.get_running_loop().create_future(), packed)
        self._waiting[xid] = waiting
        try:
            async with asyncio.timeout(self._timing.answer):
                await self._write(encode(request, xid))
                return await waiting.done
        except TimeoutError as cause:
            why = NoAnswer(f"{type(request).__name__}: no answer within {self._timing.answer} s")
            self._end(why)
            raise why from cause
        finally:
            del self._waiting[xid]
            if waiting.done.done() and not waiting.done.cancelled():
                waiting.done.exception()

    async def ask_one(self, request: Message, kind: type[_M]) -> _M:
        """Send a request whose answer is one message of ``kind``. Raises as :meth:`ask`, and MalformedMessage."""
        (answer,) = await self.ask(request)
        if not isinstance(answer, kind):
            raise MalformedMessage(f"{type(answer).__name__} is no answer to {type(request).__name__}")
        return answer

    def tell(self, message: Message) -> None:
        """Send a message whose answer, be it an error, nobody needs; nothing if the connection has ended."""
        if self.is_open:
            xid = self._reserve(1)
            self._unneeded.add(xid)
            self._writer.write(encode(message, xid))

    async def barrier(self) -> None:
        """Wait until the switch has done all that was sent before, and its errors have come."""
        await self.ask(BarrierRequest())

    async def _read(self) -> None:
        why: DataplaneError = Unreachable("the switch closed the connection")
        try:
            while data := await self._reader.read(_READ_SIZE):
                self._heard.set()
                for octets in self._stream.feed(data):
                    self._take(*self._decode(octets))
        except OSError as cause:
            why = Unreachable(f"connection lost: {cause}")
        except MalformedMessage as cause:
            why = cause
        except Exception as cause:  # a defect of ours: the connection must not live on unread
            _log.exception("reading from the switch failed")
            why = DataplaneError(f"reading failed: {cause!r}")
        finally:
            self._end(why)

    def _decode(self, octets: bytes) -> tuple[int, Message]:
        xid = int.from_bytes(octets[4:8])
        waiting = self._waiting.get(xid)
        if waiting is not None and waiting.packed:
            return xid, decode_packed_flows(octets)
        return decode(octets)

    def _take(self, xid: int, message: Message) -> None:
        if isinstance(message, EchoRequest):
            self._writer.write(encode(EchoReply(message.data), xid))
            return
        if isinstance(message, SwitchError) and self._owned_by_span(xid, message):
            return
        if xid in self._unneeded:
            self._unneeded.discard(xid)
            return
        waiting = self._waiting.get(xid)
        if waiting is None or waiting.done.done():
            self._unasked(xid, message)
        elif isinstance(message, SwitchError):
            waiting.done.set_exception(Refused(waiting.request, message))
        else:
            waiting.parts.append(message)
            if isinstance(message, _PARTS) and message.more:
                return
            waiting.done.set_result(waiting.parts)

    def _owned_by_span(self, xid: int, message: SwitchError) -> bool:
        for span in self._spans:
            if 0 <= xid - span.first < span.count:
                span.errors.setdefault(xid - span.first, message)
                return True
        return False

    def _unasked(self, xid: int, message: Message) -> None:
        if isinstance(message, MonitorReply):
            self._told(message)
        elif isinstance(message, SwitchError):
            self.strays += 1
            _log.warning("the switch sent %s for transaction %d, which nobody waits for", message.name, xid)

    async def _keep_alive(self) -> None:
        while True:
            self._heard.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timing.quiet):
                    await self._heard.wait()
                continue
            self._writer.write(encode(EchoRequest(), self._reserve(1)))
            try:
                async with asyncio.timeout(self._timing.silence):
                    await self._heard.wait()
            except TimeoutError:
                self._end(NoAnswer(f"the switch was silent for {self._timing.quiet + self._timing.silence} s"))
                return
