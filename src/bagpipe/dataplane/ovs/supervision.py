"""What a driver on a bridge does whatever it programs: find what it stands on, be ready, notice that it is not, and
remove all that is ours.

Ready once the database and the bridge answer and what the driver needs is there. A connection that comes back, or
another ground, is a new beginning: what the bridge holds is adopted then.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from bagpipe.dataplane.delta import Change
from bagpipe.dataplane.driver import Again, DriverEvent, Gone, Listener, Ready
from bagpipe.dataplane.errors import DataplaneError, Unreachable
from bagpipe.dataplane.model import Capabilities, Key, Port
from bagpipe.dataplane.openflow import (
    Bridge,
    BridgeEvent,
    Connected,
    Disconnected,
    FlowMod,
    GroupMod,
    Missed,
    Ours,
    Timing,
    Touched,
)
from bagpipe.dataplane.openflow.monitoring import FlowUpdate
from bagpipe.dataplane.ovs.adoption import Actual
from bagpipe.dataplane.ovs.plan import Plan
from bagpipe.dataplane.ovs.ports import BridgePorts

_log = logging.getLogger(__name__)
_RETRY = 1.0
_PATIENCE = 0.5
"""Seconds after the start in which connecting is not worth a word."""

_TOGETHER = 3
"""How often a batch is tried as a whole; after that each message by itself, to find all that the switch refuses."""

Ground = TypeVar("Ground")
APlan = TypeVar("APlan", bound=Plan)


class Settings(Protocol):
    """What is said of every bridge."""

    @property
    def database(self) -> str:
        """A socket of OVSDB."""
        ...

    @property
    def bridge(self) -> str:
        """Its name."""
        ...

    @property
    def target(self) -> str:
        """Where it listens for OpenFlow."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What the driver can do on it."""
        ...


class Supervised(abc.ABC, Generic[Ground, APlan]):
    """The part of a driver that keeps it ready on a bridge and sends plans. Its flows are ``ours``, its groups have
    numbers of ``groups``; ``others`` is a table where changes to flows that are not ours are told of too.
    """

    settings: Settings

    def __init__(
        self, settings: Settings, ours: Ours, groups: range, timing: Timing | None, *, others: int | None = None
    ) -> None:
        self.settings = settings
        self._ours = ours
        self._span = groups
        self._listener: Listener | None = None
        self._bridge = Bridge(settings.target, listener=self._bridge_says, watch=ours, timing=timing, others=others)
        self._ports = BridgePorts(
            settings.database,
            settings.bridge,
            changed=self._ports_changed,
            changed_elsewhere=self._elsewhere_changed,
        )
        self._plugged: set[str] = set()
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._mending = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._held = contextlib.AsyncExitStack()
        self._connections = 0
        self._laid_for = 0
        self._is_ready = False
        self._why: str | None = None
        self._is_over = False
        self._patient_until = 0.0

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return self.settings.capabilities

    @property
    @abc.abstractmethod
    def _standing_on(self) -> Ground | None:
        """The ground that was laid last."""

    @abc.abstractmethod
    async def _find_ground(self) -> Ground:
        """What there is to stand on now; called again for every change. Raises DataplaneError if it is not there."""

    @abc.abstractmethod
    def _lay(self, ground: Ground) -> None:
        """Begin anew on this ground."""

    @abc.abstractmethod
    def _foundation(self) -> list[FlowMod]:
        """The flows that belong to no record."""

    @abc.abstractmethod
    def _ports_changed(self, names: frozenset[str]) -> None:
        """Ports of the bridge came, went, or have another number or MAC."""

    @abc.abstractmethod
    def _elsewhere_changed(self) -> None:
        """Tunnels or networks of other bridges have changed."""

    @abc.abstractmethod
    def _touched(self, updates: Sequence[FlowUpdate]) -> None:
        """Somebody else changed flows of ours."""

    @abc.abstractmethod
    def _plan(
        self, changes: Sequence[Change], excluded: Mapping[Key, str], actual: Actual | None, sweep: bool
    ) -> APlan:
        """The messages that bring ``changes`` about but for ``excluded``, or what ``actual`` lacks of them."""

    @abc.abstractmethod
    def _commit(self, plan: APlan) -> None:
        """The switch has confirmed all messages of the plan."""

    @abc.abstractmethod
    async def _clear_ports(self) -> int:
        """Remove all that is ours in the database; how much that was."""

    async def _follow(self) -> None:
        """Start what the driver follows beside the bridge and its ports."""

    def _touched_by_others(self) -> None:
        """Somebody changed his own flows in the table that was asked for."""

    async def start(self, listener: Listener) -> None:
        """Begin to connect."""
        self._listener = listener
        await self._follow()
        await self._ports.start()
        self._held.push_async_callback(self._ports.close)
        await self._held.enter_async_context(self._bridge)
        self._patient_until = asyncio.get_running_loop().time() + _PATIENCE
        self._tasks = [asyncio.create_task(each) for each in self._lasting()]
        self._wake.set()

    def _lasting(self) -> list[Coroutine[Any, Any, None]]:
        """What runs until the driver is closed."""
        return [self._supervise(), self._mend()]

    async def close(self) -> None:
        """Let go; what is programmed stays."""
        self._listener = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self._held.aclose()

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._is_over:
                return
            try:
                ground = await self._find_ground()
            except DataplaneError as cause:
                if loop.time() >= self._patient_until:
                    self._gone(str(cause))
                loop.call_later(_RETRY, self._wake.set)
                continue
            if ground == self._standing_on and self._laid_for == self._connections and self._is_ready:
                continue
            if self._is_ready:
                self._gone("the connection or the ports for other nodes have changed")
            async with self._lock:
                self._lay(ground)
                self._laid_for = self._connections
            self._is_ready = True
            self._why = None
            self._say(Ready())

    def _check_reached(self) -> None:
        """Raise DataplaneError unless the database and the bridge answer."""
        if self._ports.fault is not None:
            raise Unreachable(self._ports.fault)
        if not self._bridge.is_connected:
            raise self._bridge.fault or Unreachable(f"{self._bridge.target}: not connected yet")

    def _check_ready(self) -> None:
        if not self._is_ready or not self._bridge.is_connected:
            raise Unreachable(self._why or "the bridge is not ready")

    def _gone(self, why: str) -> None:
        if self._is_ready or why != self._why:
            self._is_ready = False
            self._why = why
            self._say(Gone(why))

    def _say(self, event: DriverEvent) -> None:
        if self._listener is not None:
            self._listener(event)

    def _say_again(self, keys: Iterable[Key], why: str) -> None:
        told = tuple(dict.fromkeys(keys))
        if told and self._is_ready:
            self._say(Again(told, why))

    def _bridge_says(self, event: BridgeEvent) -> None:
        if isinstance(event, Connected):
            self._connections = event.number
            self._wake.set()
        elif isinstance(event, Disconnected):
            if self._is_ready:
                self._gone(str(event.why))
            self._wake.set()
        elif isinstance(event, Missed):
            self._laid_for = 0
            self._wake.set()
        elif isinstance(event, Touched):
            self._touched(event.updates)
        else:
            self._touched_by_others()

    async def _mend(self) -> None:
        """Bring back the flows that belong to no record."""
        while True:
            await self._mending.wait()
            self._mending.clear()
            async with self._lock:
                if not self._is_ready:
                    continue
                try:
                    (await self._bridge.apply(self._foundation())).check()
                except DataplaneError as cause:
                    _log.warning("flows that others changed could not be brought back: %s", cause)

    async def _perform(self, changes: Sequence[Change], actual: Actual | None, *, sweep: bool) -> dict[Key, str]:
        """Bring changes about; those that were refused, with the reason."""
        excluded: dict[Key, str] = {}
        tries = 0
        while True:
            plan = self._plan(changes, excluded, actual, sweep)
            result = await self._bridge.apply(plan.messages, atomic=tries < _TOGETHER or tries % 2 == 0)
            tries += 1
            if not result.refusals:
                self._commit(plan)
                return plan.refusals
            found: dict[Key, str] = {}
            for place, error in result.refusals.items():
                reason = f"the switch refused it: {error.name}: {result.changes[place]}"
                found.update((key, reason) for key in plan.keys_of(plan.owners[place]))
            if found.keys() <= excluded.keys():
                result.check()
            excluded.update(found)

    async def _actual(self) -> Actual:
        return Actual(await self._bridge.packed_flows(self._ours), await self._bridge.groups(), self._span)

    async def _plug(self, port: Port) -> None:
        """Put a port on the bridge that nobody else plugs. What fails is seen where the port is used."""
        if port.plugged or port.number is not None:
            return
        name = port.on_bridge
        if name not in self._plugged or self._ports.number(name) is None:
            try:
                await self._ports.add_port(name)
            except DataplaneError as cause:
                _log.warning("%s", cause)
        self._plugged.add(name)

    async def reset(self) -> int:
        """Remove our flows, groups and ports. The driver is not ready after it: start another one."""
        async with self._lock:
            if not self._bridge.is_connected:
                raise Unreachable(self._why or str(self._bridge.fault))
            self._is_over = True
            actual = await self._actual()
            groups = [GroupMod.deletion(group) for group in actual.groups]
            (await self._bridge.apply([FlowMod.deletion(self._ours.cookie, self._ours.mask), *groups])).check()
            number = len(actual) + await self._clear_ports()
            self._gone("all that was ours was removed")
            return number
