"""The lasting connection to a bridge: what the rest of the dataplane uses.

One connection per bridge, over the socket ``BRIDGE.mgmt`` that Open vSwitch opens in its run directory; it comes back
by itself when Open vSwitch does. What was programmed before is not sent again: whoever uses the bridge hears
:class:`Connected`, reads back the flows and groups that carry its cookie, and sends what is missing. asyncio, no
threads, one batch at a time.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, cast

from bagpipe.dataplane.errors import DataplaneError, NoAnswer, Unreachable
from bagpipe.dataplane.openflow.batches import BatchResult, Change, apply_each, apply_together
from bagpipe.dataplane.openflow.faults import Refused
from bagpipe.dataplane.openflow.flows import (
    ALL_TABLES,
    FlowEntry,
    FlowsReply,
    FlowsRequest,
    PackedFlow,
    PackedFlowsReply,
)
from bagpipe.dataplane.openflow.groups import (
    ALL_GROUPS,
    GroupEntry,
    GroupsReply,
    GroupsRequest,
    GroupStatistics,
    GroupStatisticsReply,
    GroupStatisticsRequest,
)
from bagpipe.dataplane.openflow.link import Link, Timing, check_target
from bagpipe.dataplane.openflow.matches import ANYTHING, Match
from bagpipe.dataplane.openflow.messages import EchoReply, EchoRequest, FeaturesReply
from bagpipe.dataplane.openflow.monitoring import FlowEvent, FlowUpdate, MonitorReply, MonitorRequest

_log = logging.getLogger(__name__)
_MONITOR = 1


@dataclass(frozen=True, slots=True)
class Connected:
    """The bridge answers. What it holds is not known until it is read back. ``number`` counts connections from 1."""

    features: FeaturesReply
    number: int


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The bridge is not reachable any more, or not yet; trying goes on."""

    why: DataplaneError


@dataclass(frozen=True, slots=True)
class Touched:
    """Somebody else added, changed or removed these flows of ours."""

    updates: tuple[FlowUpdate, ...]


@dataclass(frozen=True, slots=True)
class Missed:
    """The bridge had more changes to tell of than it could hold: read back what it has."""


@dataclass(frozen=True, slots=True)
class TouchedByOthers:
    """Somebody else added, changed or removed flows of his own in the table that was asked for."""


BridgeEvent = Connected | Disconnected | Touched | TouchedByOthers | Missed


@dataclass(frozen=True, slots=True)
class Ours:
    """The flows whose cookie equals ``cookie`` in the bits of ``mask``."""

    cookie: int
    mask: int

    def has(self, cookie: int) -> bool:
        """Whether a flow with this cookie is one of them."""
        return cookie & self.mask == self.cookie & self.mask


class Bridge:
    """A bridge at ``unix:/var/run/openvswitch/NAME.mgmt`` (or ``tcp:ADDRESS:PORT``), used with ``async with``.

    ``listener`` is called on the loop with each :data:`BridgeEvent`; it must not block. ``watch`` asks to be told
    when somebody else touches flows that carry our cookie, and ``others`` when he touches flows that do not in this
    table. Raises LocalMisuse for a target of another form.
    """

    def __init__(
        self,
        target: str,
        *,
        listener: Callable[[BridgeEvent], None] | None = None,
        watch: Ours | None = None,
        timing: Timing | None = None,
        others: int | None = None,
    ) -> None:
        check_target(target)
        self.target = target
        self.fault: DataplaneError | None = None
        self._timing = timing or Timing()
        self._listener = listener
        self._watch = watch
        self._others = others
        self._link: Link | None = None
        self._up = asyncio.Event()
        self._batch = asyncio.Lock()
        self._bundles = itertools.count(1)
        self._connections = 0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._stay_connected())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def is_connected(self) -> bool:
        """Whether requests can be sent now. If not, ``fault`` says why."""
        return self._link is not None and self._link.is_open

    async def wait_connected(self, timeout: float) -> None:
        """Wait until the bridge answers. Raises what kept it from it after ``timeout`` seconds: a DataplaneError."""
        try:
            async with asyncio.timeout(timeout):
                await self._up.wait()
        except TimeoutError as cause:
            raise self.fault or NoAnswer(f"{self.target}: not connected within {timeout} s") from cause

    async def apply(self, changes: Sequence[Change], *, atomic: bool = True) -> BatchResult:
        """Do flow-mods and group-mods in order and wait until the bridge has confirmed them.

        Atomic: all of them in one bundle, or none. Otherwise each by itself, and those that are not refused take
        effect. What the switch refuses is in the result and raises nothing; see :meth:`BatchResult.check`.

        Raises LocalMisuse if a change cannot be encoded (an atomic batch then leaves nothing; of another, those
        before it may have been done), Unreachable or NoAnswer if the connection fails (what was done is then not
        known), Refused if the switch refuses the bundle itself.
        """
        if not changes:
            return BatchResult((), {})
        async with self._batch:
            link = self._reached()
            if atomic:
                return await apply_together(link, changes, next(self._bundles) & 0xFFFFFFFF)
            return await apply_each(link, changes)

    async def flows(
        self, ours: Ours | None = None, *, table: int = ALL_TABLES, match: Match = ANYTHING
    ) -> list[FlowEntry]:
        """The flows that the bridge holds: with this cookie, in this table, at least as narrow as ``match``.

        Raises Unreachable, NoAnswer, MalformedMessage, Refused.
        """
        cookie, mask = (ours.cookie, ours.mask) if ours else (0, 0)
        parts = cast(list[FlowsReply], await self._reached().ask(FlowsRequest(table, cookie, mask, match)))
        return [entry for part in parts for entry in part.entries]

    async def packed_flows(self, ours: Ours) -> list[PackedFlow]:
        """The flows with this cookie, each as the message that would add it, fields in the switch's order.

        Raises Unreachable, NoAnswer, MalformedMessage, Refused.
        """
        request = FlowsRequest(cookie=ours.cookie, cookie_mask=ours.mask)
        parts = cast(list[PackedFlowsReply], await self._reached().ask(request, packed=True))
        return [entry for part in parts for entry in part.entries]

    async def groups(self, group: int = ALL_GROUPS) -> list[GroupEntry]:
        """The groups that the bridge holds, whoever made them: a group has no cookie.

        Raises Unreachable, NoAnswer, MalformedMessage, Refused.
        """
        parts = cast(list[GroupsReply], await self._reached().ask(GroupsRequest(group)))
        return [entry for part in parts for entry in part.entries]

    async def group_statistics(self, group: int = ALL_GROUPS) -> list[GroupStatistics]:
        """What groups have seen. Raises Unreachable, NoAnswer, MalformedMessage, Refused."""
        parts = cast(list[GroupStatisticsReply], await self._reached().ask(GroupStatisticsRequest(group)))
        return [entry for part in parts for entry in part.entries]

    async def echo(self) -> None:
        """Ask whether the switch is there. Raises Unreachable, NoAnswer."""
        await self._reached().ask_one(EchoRequest(), EchoReply)

    def _reached(self) -> Link:
        if self._link is None or not self._link.is_open:
            raise Unreachable(f"{self.target}: not connected: {self.fault}")
        return self._link

    async def _stay_connected(self) -> None:
        wait = self._timing.retry
        while True:
            reached = await self._connect_once()
            wait = self._timing.retry if reached else min(2 * wait, self._timing.retry_limit)
            await asyncio.sleep(wait)

    async def _connect_once(self) -> bool:
        """Connect and stay until the connection ends; whether the bridge was reached at all."""
        try:
            link = await Link.open(self.target, self._timing, self._told)
        except DataplaneError as cause:
            self._lost(cause)
            return False
        try:
            await self._begin(link)
            self._lost(await link.wait_closed())
        except DataplaneError as cause:
            self._lost(cause)
        finally:
            self._link = None
            self._up.clear()
            await link.close()
        return True

    async def _begin(self, link: Link) -> None:
        if self._watch is not None:
            await self._monitor(link)
        self._link = link
        self.fault = None
        self._up.set()
        self._connections += 1
        self._say(Connected(link.features, self._connections))

    async def _monitor(self, link: Link) -> None:
        try:
            await link.ask_one(MonitorRequest(_MONITOR), MonitorReply)
        except Refused as cause:
            _log.warning("%s: changes by others will not be noticed: %s", self.target, cause)

    def _lost(self, why: DataplaneError) -> None:
        changed = self.is_connected or str(why) != str(self.fault)
        self.fault = why
        self._link = None
        self._up.clear()
        if changed:
            _log.warning("%s: %s", self.target, why)
            self._say(Disconnected(why))

    def _told(self, reply: MonitorReply) -> None:
        if self._watch is None:
            return
        ours = []
        is_others = False
        for update in reply.updates:
            if isinstance(update, FlowUpdate):
                if self._watch.has(update.cookie):
                    ours.append(update)
                elif update.table == self._others:
                    is_others = True
            elif update.event is FlowEvent.PAUSED:
                self._say(Missed())
        if ours:
            self._say(Touched(tuple(ours)))
        if is_others:
            self._say(TouchedByOthers())

    def _say(self, event: BridgeEvent) -> None:
        if self._listener is None:
            return
        try:
            self._listener(event)
        except Exception:  # a listener's defect must not end the connection
            _log.exception("%s: the listener failed on %s", self.target, event)
