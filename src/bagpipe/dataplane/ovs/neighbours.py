"""The MAC of each next hop that is reached without a tunnel, kept true.

The kernel resolves (ARP of RFC 826, ND of RFC 4861); this module asks it to and follows what it finds. Open vSwitch
forwards past the kernel, so nobody else uses these neighbours: an entry that goes stale is used here (NTF_USE), which
makes the kernel ask the neighbour whether it is still there, a few small packets per next hop and half a minute. A
neighbour that does not answer keeps its MAC until the kernel has tried once more from the beginning, then it has none
and is tried again ever more seldom. Routes, rules, links and addresses are followed too: the next hop's gateway may
change. Sends no packets of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address

from bagpipe.dataplane.errors import DataplaneError
from bagpipe.dataplane.ovs.rtnetlink import SETTLED, UNDECIDED, USABLE, Entry, Kernel, Target
from bagpipe.identifiers import MacAddress

_log = logging.getLogger(__name__)
_SETTLE = 0.1
"""Routes change in crowds: seconds to wait for the rest before looking again."""
_AT_ONCE, _RETRY, _RETRY_LIMIT = 0.05, 1.0, 10.0
"""Seconds from one failure to the next try: after the first, after the second, and at most."""
_STALE = 1.0
_TURNS = 100


@dataclass(slots=True)
class _Neighbour:
    """A neighbour that next hops are reached by: ``mac`` is what they are told."""

    users: set[bytes] = field(default_factory=set)
    mac: MacAddress | None = None
    failures: int = 0
    timer: asyncio.TimerHandle | None = None


class Neighbours:
    """The MACs of next hops. ``changed`` is called on the loop with each next hop whose MAC came, changed or went.

    Before :meth:`start` and after :meth:`close` no MAC is known.
    """

    def __init__(self, *, changed: Callable[[bytes], None]) -> None:
        self._changed = changed
        self._kernel: Kernel | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._entries: dict[Target, Entry] = {}
        self._ways: dict[bytes, Target | None] = {}
        self._neighbours: dict[Target, _Neighbour] = {}
        self._look_again: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Begin to follow the kernel of this network namespace. Raises DataplaneError if it cannot be asked."""
        self._loop = asyncio.get_running_loop()
        self._kernel = Kernel()
        self._entries = {entry.target: entry for entry in self._kernel.neighbours()}
        self._loop.add_reader(self._kernel.fileno(), self._read)
        self._look()

    async def close(self) -> None:
        """Let go of the kernel. Its neighbours stay as they are."""
        if self._kernel is None or self._loop is None:
            return
        self._loop.remove_reader(self._kernel.fileno())
        self._kernel.close()
        self._kernel = None
        for neighbour in self._neighbours.values():
            _cancel(neighbour)
        if self._look_again is not None:
            self._look_again.cancel()
            self._look_again = None
        self._ways.clear()
        self._neighbours.clear()

    def mac(self, address: bytes) -> MacAddress | None:
        """The MAC to send to so that a packet gets to ``address`` (4 or 16 octets): its own, or its gateway's.

        None while it is not known. The first call begins to resolve and to watch it, until :meth:`forget`.
        """
        if address not in self._ways:
            self._ways[address] = None
            self._find(address)
        target = self._ways[address]
        return None if target is None else self._neighbours[target].mac

    def gateway(self, address: bytes) -> bytes | None:
        """The address of the neighbour by which ``address`` is reached; None if no route leads there."""
        target = self._ways.get(address)
        return None if target is None else target.address

    def forget(self, address: bytes) -> None:
        """Watch ``address`` no longer."""
        self._leave(address)
        self._ways.pop(address, None)

    # ------------------------------------------------------------------ from next hop to neighbour

    def _find(self, address: bytes) -> None:
        """Ask for the route to ``address`` and go over to the neighbour it names."""
        if self._kernel is None:
            return
        try:
            target = self._kernel.route(address)
        except DataplaneError as fault:
            _log.warning("%s", fault)
            return
        if target == self._ways[address]:
            return
        self._leave(address)
        self._ways[address] = target
        if target is None:
            return
        neighbour = self._neighbours.get(target)
        if neighbour is None:
            neighbour = self._neighbours[target] = _Neighbour()
            entry = self._entries.get(target)
            if entry is not None and entry.mac is not None and entry.state & USABLE:
                neighbour.mac = MacAddress(entry.mac)
            if entry is None or not entry.state & SETTLED:
                self._resolve(target)
        neighbour.users.add(address)

    def _leave(self, address: bytes) -> None:
        target = self._ways.get(address)
        if target is None:
            return
        self._ways[address] = None
        neighbour = self._neighbours[target]
        neighbour.users.discard(address)
        if not neighbour.users:
            _cancel(neighbour)
            del self._neighbours[target]

    def _look(self) -> None:
        """Ask for every route again, and tell of the next hops that have another MAC by it."""
        self._look_again = None
        for address in list(self._ways):
            before = self.mac(address)
            self._find(address)
            if address in self._ways and self.mac(address) != before:
                self._changed(address)

    # ------------------------------------------------------------------ from the kernel

    def _read(self) -> None:
        """Take what the kernel tells, not all of it at once: others want the loop as well."""
        kernel, loop = self._kernel, self._loop
        assert kernel is not None and loop is not None
        is_moved = False
        try:
            for _ in range(_TURNS):
                entries, some_moved = kernel.news()
                is_moved |= some_moved
                for entry in entries:
                    self._take(entry)
                if self._kernel is not kernel:
                    return
        except BlockingIOError:
            pass
        except BufferError as fault:
            _log.info("%s: reading all neighbours again", fault)
            self._begin_again()
            is_moved = True
        if is_moved and self._look_again is None:
            self._look_again = loop.call_later(_SETTLE, self._look)

    def _begin_again(self) -> None:
        assert self._kernel is not None
        try:
            found = {entry.target: entry for entry in self._kernel.neighbours()}
        except DataplaneError as fault:
            _log.warning("%s", fault)
            return
        gone = [Entry(target, 0, None) for target in self._entries if target not in found]
        for entry in [*gone, *found.values()]:
            self._take(entry)

    def _take(self, entry: Entry) -> None:
        """The kernel tells of a neighbour: remember, and if it is one of ours, act."""
        target, state = entry.target, entry.state
        if state:
            self._entries[target] = entry
        else:
            self._entries.pop(target, None)
        neighbour = self._neighbours.get(target)
        if neighbour is None:
            return
        if state & USABLE and entry.mac is not None:
            if state & SETTLED:
                neighbour.failures = 0
                _cancel(neighbour)
            elif not state & UNDECIDED:
                self._resolve_later(target, neighbour, _STALE)
            self._tell(neighbour, MacAddress(entry.mac))
        elif not state & UNDECIDED and not (neighbour.failures and neighbour.timer):
            # What fails and is then deleted has failed once.
            neighbour.failures += 1
            if neighbour.failures > 1:
                self._tell(neighbour, None)
            self._resolve_later(target, neighbour, _wait_after(neighbour.failures))

    def _tell(self, neighbour: _Neighbour, mac: MacAddress | None) -> None:
        if neighbour.mac == mac:
            return
        neighbour.mac = mac
        for address in sorted(neighbour.users):
            self._changed(address)

    # ------------------------------------------------------------------ to the kernel

    def _resolve_later(self, target: Target, neighbour: _Neighbour, wait: float) -> None:
        assert self._loop is not None
        _cancel(neighbour)
        neighbour.timer = self._loop.call_later(wait, self._resolve, target)

    def _resolve(self, target: Target) -> None:
        neighbour = self._neighbours.get(target)
        if neighbour is None or self._kernel is None:
            return
        neighbour.timer = None
        try:
            self._kernel.resolve(target)
        except DataplaneError as fault:
            # The interface has gone or is down; news of it comes as well, and this is in case it does not.
            _log.warning("%s on interface %d", fault, target.interface)
            self._tell(neighbour, None)
            self._resolve_later(target, neighbour, _RETRY_LIMIT)

    def overview(self) -> dict[str, str | None]:
        """The MAC of each next hop, for people; None while it is not known."""
        return {
            str(ip_address(address)): None if (mac := self.mac(address)) is None else str(mac)
            for address in sorted(self._ways)
        }


def _wait_after(failures: int) -> float:
    return _AT_ONCE if failures == 1 else min(_RETRY * 2.0 ** min(failures - 2, 10), _RETRY_LIMIT)


def _cancel(neighbour: _Neighbour) -> None:
    if neighbour.timer is not None:
        neighbour.timer.cancel()
        neighbour.timer = None
