"""The Linux dataplane: records of EVPN instances in; bridges, VXLAN devices and their entries out.

An instance is a bridge with its ports and a VXLAN device (RFC 7348, RFC 8365). The kernel does as it is told and learns
nothing: what is at other nodes are entries of the VXLAN device and the bridge, frames to many go to each node by
ingress replication, and the bridge answers ARP and ND for the neighbours that it knows (neigh_suppress). What others do
to any of it is heard and put right. Tunnelled frames are taken from anybody who sends to the VXLAN port: the kernel has
no list of senders, so records of whom to accept tunnels from are taken for good.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from errno import EINVAL, ENODEV, ENOENT, EOPNOTSUPP, ESRCH

from bagpipe.dataplane.delta import Change
from bagpipe.dataplane.driver import Again, Carried, Difference, DriverEvent, Foreign, Gone, Listener, Ready
from bagpipe.dataplane.errors import Unreachable
from bagpipe.dataplane.linux import entries, inspection
from bagpipe.dataplane.linux import netlink as nl
from bagpipe.dataplane.linux.adoption import Actual
from bagpipe.dataplane.linux.domains import Domain
from bagpipe.dataplane.linux.ground import Ground, can_share
from bagpipe.dataplane.linux.links import Link
from bagpipe.dataplane.linux.netlink import Refused, Request
from bagpipe.dataplane.linux.records import EntryKey, Orders
from bagpipe.dataplane.linux.settings import LinuxSettings
from bagpipe.dataplane.linux.watch import Plugged
from bagpipe.dataplane.model import (
    Address,
    Bridge,
    BridgeKey,
    Capabilities,
    Direction,
    Encapsulation,
    FloodKey,
    Key,
    MacKey,
    NeighbourKey,
    Plug,
    PlugKey,
    SourceKey,
    Value,
)

_log = logging.getLogger(__name__)
_RETRY = 1.0
_SETTLE = 0.05
"""What others change comes in crowds: seconds until it is acted upon."""
_CHUNK = 1000
"""Records between two times that others have the loop."""
_NOT_THERE = (ENOENT, ENODEV, ESRCH, EINVAL)
"""What the kernel says of the removal of what is not there, or from an interface that is no port any more."""
_FOREIGN = "this dataplane carries EVPN instances only"

Entries = Sequence[tuple[EntryKey, Value | None, Value | None]]
"""Changes of MACs, flooding and neighbours."""


class LinuxDataplane:
    """The driver ``linux``; see :class:`bagpipe.dataplane.driver.Dataplane` for what each method does."""

    def __init__(self, settings: LinuxSettings) -> None:
        self.settings = settings
        self._shares = can_share()
        self._listener: Listener | None = None
        self._lock = asyncio.Lock()
        self._ground: Ground | None = None
        self._why: str | None = "not started"
        self._timer: asyncio.TimerHandle | None = None

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return Capabilities("linux", (Encapsulation.VXLAN,), self._shares, frozenset({Direction.BOTH}))

    # ------------------------------------------------------------------ coming and going

    async def start(self, listener: Listener) -> None:
        """Begin to listen to the kernel of this network namespace."""
        self._listener = listener
        self._open()

    async def close(self) -> None:
        """Let go; what is programmed stays."""
        self._listener = None
        self._shut("closed")

    def _open(self) -> None:
        self._timer = None
        if self._listener is None:
            return
        loop = asyncio.get_running_loop()
        try:
            ground = Ground(self.settings, shares=self._shares)
        except Unreachable as cause:
            self._fail(str(cause))
            return
        self._ground = ground
        self._why = None
        loop.add_reader(ground.news.fileno(), self._hear, ground)
        loop.call_soon(self._say, Ready())

    def _shut(self, why: str) -> None:
        self._why = why
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._ground is not None:
            asyncio.get_running_loop().remove_reader(self._ground.news.fileno())
            self._ground.close()
            self._ground = None

    def _fail(self, why: str) -> None:
        """The kernel does not answer: begin again in a while."""
        self._shut(why)
        self._say(Gone(why))
        self._timer = asyncio.get_running_loop().call_later(_RETRY, self._open)

    def _say(self, event: DriverEvent) -> None:
        if self._listener is not None:
            self._listener(event)

    # ------------------------------------------------------------------ what others change

    def _hear(self, ground: Ground) -> None:
        """There is news."""
        try:
            ground.news.drain()
        except Unreachable as cause:
            self._fail(str(cause))
            return
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SETTLE, self._act)

    def _act(self) -> None:
        self._timer = None
        ground = self._ground
        if ground is None or self._lock.locked():
            # Whoever has the lock looks when it is done.
            return
        try:
            self._look(ground)
        except Unreachable as cause:
            self._fail(str(cause))

    def _look(self, ground: Ground) -> None:
        ground.watch.follow()
        if ground.news.is_lost:
            _log.info("the kernel had more news than there was room for: reading all again")
            ground.news.is_lost = False
            self._say(Ready())
            return
        ground.watch.look(ground.devices)
        if ground.watch.has_again:
            self._say(Again(ground.watch.take_again(), "interfaces or entries have changed"))

    @asynccontextmanager
    async def _working(self) -> AsyncIterator[Ground]:
        async with self._lock:
            ground = self._ground
            if ground is None:
                raise Unreachable(self._why or "not started")
            try:
                ground.watch.follow()
                yield ground
                if self._ground is ground:
                    self._look(ground)
            except Unreachable as cause:
                if self._ground is ground:
                    self._fail(str(cause))
                raise

    # ------------------------------------------------------------------ changes

    async def apply(self, changes: Sequence[Change]) -> dict[Key, str]:
        """Program changes."""
        refused: dict[Key, str] = {}
        taken: list[tuple[EntryKey, Value | None, Value | None]] = []
        put: list[tuple[EntryKey, Value | None, Value | None]] = []
        bridges: list[tuple[BridgeKey, Value | None, Value | None]] = []
        plugs: list[tuple[PlugKey, Value | None, Value | None]] = []
        for key, old, new in changes:
            if isinstance(key, MacKey | FloodKey | NeighbourKey):
                (taken if new is None else put).append((key, old, new))
            elif isinstance(key, BridgeKey):
                bridges.append((key, old, new))
            elif isinstance(key, PlugKey):
                plugs.append((key, old, new))
            elif not isinstance(key, SourceKey):
                refused[key] = _FOREIGN
        async with self._working() as ground:
            await self._entries(ground, taken, refused)
            for port, was, value in plugs:
                self._unplug(ground, port, was, value, refused)
            await self._bridges(ground, bridges, refused)
            for port, _, value in plugs:
                if isinstance(value, Plug):
                    self._plug(ground, port, value, refused)
            await self._entries(ground, put, refused)
            await self._send(ground, Orders.of(ground.hops.unused()), refused)
        return refused

    @staticmethod
    def _domain(ground: Ground, number: int) -> Domain:
        domain = ground.watch.domains.get(number)
        if domain is None:
            domain = ground.watch.domains[number] = Domain(number)
        return domain

    @staticmethod
    def _drop_if_empty(ground: Ground, domain: Domain) -> None:
        if domain.wanted is None and not domain.keys:
            ground.watch.domains.pop(domain.number, None)

    async def _bridges(
        self, ground: Ground, changes: Sequence[tuple[BridgeKey, Value | None, Value | None]], refused: dict[Key, str]
    ) -> None:
        gone: list[Link] = []
        gone_with: list[Key] = []
        for key, old, new in changes:
            domain = self._domain(ground, key.instance)
            was = domain.wanted or (old if isinstance(old, Bridge) else None)
            if was is not None and was != new:
                gone_with.append(key)
                try:
                    gone += await self._leave(ground, domain, was)
                except Refused as why:
                    refused[key] = str(why)
        try:
            ground.devices.remove(gone)
        except Refused as why:
            refused.update(dict.fromkeys(gone_with, str(why)))
        for key, _, new in changes:
            domain = self._domain(ground, key.instance)
            domain.wanted = new if isinstance(new, Bridge) else None
            if domain.wanted is None:
                domain.fail("it is not known")
                self._drop_if_empty(ground, domain)
                continue
            try:
                if ground.devices.lay(domain, ground.watch.domains.values()):
                    # Whatever stood on other devices has to come again.
                    ground.watch.again(domain.keys)
            except Refused as why:
                refused[key] = str(why)
            ground.watch.laid(domain)
            await asyncio.sleep(0)

    async def _leave(self, ground: Ground, domain: Domain, was: Bridge) -> list[Link]:
        """An instance gives up its devices; those that are ours, to be removed. Raises Refused."""
        ground.watch.gone(domain)
        if domain.why_not is None and (domain.is_given or domain.is_borrowed):
            await self._wipe(ground, {domain.tunnel}, {domain.bridge})
        domain.fail("it is being changed")
        # Another may have waited for the bridge.
        others = [one for one in ground.watch.domains.values() if one is not domain and one.why_not is not None]
        ground.watch.again(BridgeKey(one.number) for one in others if one.is_given)
        return ground.devices.leave(was)

    def _unplug(
        self, ground: Ground, key: PlugKey, old: Value | None, new: Value | None, refused: dict[Key, str]
    ) -> None:
        plugged = ground.watch.plugs.get(key)
        instance = plugged.instance if plugged is not None else old.instance if isinstance(old, Plug) else None
        if instance is None or (isinstance(new, Plug) and new.instance == instance):
            return
        domain = self._domain(ground, instance)
        domain.keys.discard(key)
        ground.watch.plugs.pop(key, None)
        if new is None:
            try:
                ground.devices.unplug(domain, key.port)
            except Refused as why:
                if why.number not in _NOT_THERE:
                    refused[key] = str(why)
        self._drop_if_empty(ground, domain)

    def _plug(self, ground: Ground, key: PlugKey, new: Plug, refused: dict[Key, str]) -> None:
        domain = self._domain(ground, new.instance)
        domain.keys.add(key)
        plugged = ground.watch.plugs[key] = Plugged(new.instance)
        try:
            ground.devices.plug(domain, key.port, new)
        except Refused as why:
            refused[key] = str(why)
        plugged.seen = ground.devices.port_seen(key.port)

    async def _entries(self, ground: Ground, changes: Entries, refused: dict[Key, str]) -> None:
        domains, records = ground.watch.domains, ground.records
        for start in range(0, len(changes), _CHUNK):
            orders = Orders()
            for key, old, new in changes[start : start + _CHUNK]:
                domain = domains.get(key.instance) or self._domain(ground, key.instance)
                try:
                    if new is not None:
                        domain.keys.add(key)
                        records.put(orders, domain, key, old, new)
                        continue
                    domain.keys.discard(key)
                    records.take(orders, domain, key, old)
                except Refused as why:
                    refused[key] = str(why)
                if not domain.keys:
                    self._drop_if_empty(ground, domain)
            await self._send(ground, orders, refused)

    async def _send(self, ground: Ground, orders: Orders, refused: dict[Key, str]) -> None:
        """Have orders done; what is refused is owned by its record."""
        again = Orders()
        for request, owner, fault in await self._faults(ground, orders):
            if fault.number == EOPNOTSUPP and isinstance(owner, MacKey) and request.kind == nl.NEWNEIGHBOUR:
                # What is there is of the other kind, one node or a group: it goes first.
                tunnel = ground.watch.domains[owner.instance].tunnel
                again.add(owner, entries.take_tunnelled(tunnel, owner.octets), request)
            else:
                self._refuse(ground, owner, fault, refused)
        for _, owner, fault in await self._faults(ground, again):
            self._refuse(ground, owner, fault, refused)

    async def _faults(self, ground: Ground, orders: Orders) -> list[tuple[Request, Key | None, Refused]]:
        if not orders.requests:
            return []
        ground.watch.expect(orders.requests)
        faults = await ground.kernel.tell_all(orders.requests, ground.news)
        ground.watch.expected_has_come()
        found = [(orders.requests[number], orders.owners[number], fault) for number, fault in faults.items()]
        removals = (nl.DELNEIGHBOUR, nl.DELNEXTHOP)
        return [one for one in found if one[0].kind not in removals or one[2].number not in _NOT_THERE]

    @staticmethod
    def _refuse(ground: Ground, owner: Key | None, fault: Refused, refused: dict[Key, str]) -> None:
        if owner is None:
            _log.warning("a leftover is not removed: %s", fault)
            return
        ground.hops.doubt(owner)
        refused[owner] = str(fault)

    # ------------------------------------------------------------------ adoption

    async def adopt(self, desired: Mapping[Key, Value], *, sweep: bool) -> dict[Key, str]:
        """Bring the kernel to ``desired``."""
        refused: dict[Key, str] = {}
        async with self._working() as ground:
            ground.read()
            domains = ground.watch.domains
            for key, value in desired.items():
                if isinstance(key, BridgeKey) and isinstance(value, Bridge):
                    self._domain(ground, key.instance).wanted = value
            if sweep:
                await self._sweep_devices(ground)
            for domain in domains.values():
                try:
                    ground.devices.lay(domain, domains.values())
                except Refused as why:
                    refused[BridgeKey(domain.number)] = str(why)
                ground.watch.laid(domain)
                await asyncio.sleep(0)
            for key, value in desired.items():
                if isinstance(key, PlugKey) and isinstance(value, Plug):
                    self._plug(ground, key, value, refused)
            if sweep:
                await self._sweep_borrowed(ground)
                for link in ground.strangers():
                    ground.devices.release(link)
            await self._adopt_entries(ground, desired, refused, sweep=sweep)
        return refused

    async def _adopt_entries(
        self, ground: Ground, desired: Mapping[Key, Value], refused: dict[Key, str], *, sweep: bool
    ) -> None:
        domains, records = ground.watch.domains, ground.records
        actual = await self._read(ground, *ground.places())
        todo: list[tuple[EntryKey, Value | None, Value | None]] = []
        for number, (key, value) in enumerate(desired.items()):
            if not number % _CHUNK:
                await asyncio.sleep(0)
            if isinstance(key, MacKey | FloodKey | NeighbourKey):
                domain = domains.get(key.instance) or self._domain(ground, key.instance)
                try:
                    if actual.differs(records, domain, key, value) is None:
                        records.stands(domain, key, value)
                        continue
                except Refused:
                    pass  # told when it is tried
                todo.append((key, None, value))
            elif not isinstance(key, BridgeKey | PlugKey | SourceKey):
                refused[key] = _FOREIGN
        records.odd = actual.odd | actual.tunnelled.keys()
        extras = list(actual.extras(domains.values())) if sweep else []
        await self._entries(ground, todo, refused)
        await self._send(ground, Orders.of(request for _, request in extras), refused)
        if sweep:
            records.odd = set()
            await self._send(ground, Orders.of(ground.hops.unused()), refused)

    async def _read(self, ground: Ground, tunnels: Iterable[int], bridges: Iterable[int]) -> Actual:
        actual = Actual(tunnels, bridges)
        for number, entry in enumerate(entries.dump_entries(ground.kernel)):
            actual.note(entry)
            if not number % _CHUNK:
                await asyncio.sleep(0)
        for number, known in enumerate(entries.dump_neighbours(ground.kernel)):
            actual.note_neighbour(known)
            if not number % _CHUNK:
                await asyncio.sleep(0)
        return actual

    async def _wipe(self, ground: Ground, tunnels: set[int], bridges: set[int]) -> int:
        """Remove what is ours on devices of others; how many entries that were."""
        actual = await self._read(ground, tunnels, bridges)
        orders = Orders.of(request for _, request in actual.extras(()))
        await self._send(ground, orders, {})
        return len(orders.requests)

    async def _sweep_devices(self, ground: Ground) -> int:
        leftovers = ground.devices.leftovers(ground.wanted())
        ground.devices.remove(leftovers)
        await asyncio.sleep(0)
        return len(leftovers)

    async def _sweep_borrowed(self, ground: Ground) -> int:
        unused = ground.devices.unused_names(ground.wanted())
        number = len(unused)
        for link, name in unused:
            number += await self._wipe(ground, {link.index}, {link.master} - {0})
            ground.devices.give_back(link, name)
        return number

    async def reset(self) -> int:
        """Remove all that is ours."""
        async with self._working() as ground:
            ground.read()
            number = await self._sweep_devices(ground) + await self._sweep_borrowed(ground)
            known = [one for one in entries.dump_neighbours(ground.kernel) if one.is_ours]
            orders = Orders.of(entries.take_neighbour(one.interface, one.address) for one in known)
            orders.add(None, *ground.hops.unused())
            await self._send(ground, orders, {})
            return number + len(orders.requests)

    # ------------------------------------------------------------------ for people

    async def carried(self, key: Key, value: Value) -> Carried:
        """How a record is programmed."""
        async with self._working() as ground:
            return inspection.carried(ground, await self._read(ground, *ground.places()), key, value)

    async def audit(self, desired: Mapping[Key, Value]) -> list[Difference]:
        """Every difference."""
        async with self._working() as ground:
            actual = await self._read(ground, *ground.places())
            found = []
            for number, (key, value) in enumerate(desired.items()):
                found += inspection.differences(ground, actual, key, value)
                if not number % _CHUNK:
                    await asyncio.sleep(0)
            return found + inspection.extras(ground, actual)

    async def foreign(self, records: Mapping[Key, Value], destination: Address | None = None) -> list[Foreign]:
        """Entries of others on the bridges and VXLAN devices that the records stand on."""
        async with self._working() as ground:
            actual = await self._read(ground, *ground.places())
            return inspection.foreign(ground, actual, records, is_for_all=destination is None)

    def overview(self) -> dict[str, object]:
        """Plain values for the looking glass."""
        return inspection.overview(self.settings, self._ground, self._why, shares=self._shares)
