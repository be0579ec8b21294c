"""Numbers given out and taken back: VPN instances, labels, VNIs, route distinguishers.

A peer may use a number for a while after it was freed (a label of a withdrawn route, packets on their way). So numbers
are given in ascending order, and one that was freed comes again only when no other is left, the oldest first.
"""

from __future__ import annotations

from collections import deque
from ipaddress import IPv4Address
from typing import NamedTuple

from bagpipe.errors import LocalMisuse
from bagpipe.identifiers import MAXIMUM_LABEL, MINIMUM_LABEL, RouteDistinguisher
from bagpipe.vpn.attachment import InstanceSpec, Reserved

_LAST_INSTANCE = 0x7FFFFF
_LAST_RD = 0xFFFF


class Allocator:
    """Numbers from ``first`` to ``last``; ``field`` names them in errors."""

    def __init__(self, field: str, first: int, last: int) -> None:
        self.field = field
        self.first = first
        self.last = last
        self.live: set[int] = set()
        self._next = first
        self._waiting: deque[tuple[int, int]] = deque()

    @property
    def available(self) -> int:
        """How many can still be given."""
        return self.last - self.first + 1 - len(self.live)

    def require(self, count: int) -> None:
        """Raises LocalMisuse unless ``count`` more can be given."""
        if self.available < count:
            raise LocalMisuse(self.field, len(self.live), f"all numbers of {self.first} to {self.last} are in use")

    def allocate(self, wanted: int | None = None) -> int:
        """``wanted`` if it is not in use, else the next. Raises LocalMisuse if all are in use."""
        self.require(1)
        if wanted is not None and self.first <= wanted <= self.last and wanted not in self.live:
            number = wanted
            if number >= self._next:
                # what lies between may have been in use before a restart: it waits as if it had been freed now
                if number > self._next:
                    self._waiting.append((self._next, number - 1))
                self._next = number + 1
        else:
            number = self._draw()
        self.live.add(number)
        return number

    def hold(self, number: int) -> bool:
        """Give ``number`` to nobody until it is freed: it is used as one of these, though it was chosen elsewhere.

        False: it is not one of these, or in use already.
        """
        if number in self.live or not self.first <= number <= self.last:
            return False
        self.live.add(number)
        return True

    def _draw(self) -> int:
        while self._next <= self.last:
            self._next += 1
            if self._next - 1 not in self.live:
                return self._next - 1
        while True:
            low, high = self._waiting.popleft()
            if low < high:
                self._waiting.appendleft((low + 1, high))
            if low not in self.live:
                return low

    def free(self, number: int) -> None:
        """``number`` is not in use any more."""
        self.live.remove(number)
        self._waiting.append((number, number))


class Vnis:
    """The VNIs of instances. One that this node chooses is a label; one that was asked for is given to nobody as label
    as long as it can be told apart from those in use by that alone. ``holders`` are the external ids by VNI.
    """

    def __init__(self, labels: Allocator) -> None:
        self.holders: dict[int, str] = {}
        self._labels = labels
        self._held: set[int] = set()

    def check(self, vni: int, external_id: str) -> None:
        """Raises LocalMisuse if another instance has ``vni``."""
        holder = self.holders.get(vni, external_id)
        if holder != external_id:
            raise LocalMisuse("vni", vni, f"VPN {holder} uses it")

    def take(self, external_id: str, stated: int | None, wanted: int | None) -> int:
        """The VNI that an instance has from now on: ``stated``, or one that this node chooses, ``wanted`` if it can."""
        vni = stated
        if vni is None:
            vni = self._choose(wanted)
            self._held.add(vni)
        elif self._labels.hold(vni):
            self._held.add(vni)
        self.holders[vni] = external_id
        return vni

    def _choose(self, wanted: int | None) -> int:
        """A number of the labels that no instance has as VNI."""
        passed = []
        number = self._labels.allocate(wanted)
        while number in self.holders:
            passed.append(number)
            number = self._labels.allocate()
        for each in passed:
            self._labels.free(each)
        return number

    def leave(self, vni: int) -> None:
        """No instance has ``vni`` any more."""
        del self.holders[vni]
        if vni in self._held:
            self._held.remove(vni)
            self._labels.free(vni)


def own_distinguisher(router_id: IPv4Address, number: int) -> RouteDistinguisher:
    """A route distinguisher of this node: type 1 (RFC 4364 section 4.2)."""
    return RouteDistinguisher(b"\0\1" + router_id.packed + number.to_bytes(2))


class Identity(NamedTuple):
    """What an instance is known by: its number, its route distinguisher, and the number of that."""

    number: int
    rd_number: int
    rd: RouteDistinguisher


class Numbers:
    """What the VPN instances of this node, of whatever type, share: their own numbers, those of route distinguishers,
    labels (``labels`` from the lowest to the highest) and VNIs.
    """

    def __init__(self, labels: tuple[int, int] = (MINIMUM_LABEL, MAXIMUM_LABEL)) -> None:
        self.instances = Allocator("instances", 1, _LAST_INSTANCE)
        self.rds = Allocator("route distinguishers", 0, _LAST_RD)
        self.labels = Allocator("labels", *labels)
        self.vnis = Vnis(self.labels)

    def identify(self, spec: InstanceSpec, reserved: Reserved | None, router_id: IPv4Address) -> Identity:
        """A new instance, with the numbers that are reserved for it if they are free. Raises LocalMisuse."""
        number = self.instances.allocate(reserved.instance or None if reserved is not None else None)
        wanted = reserved.instance_rd if reserved is not None else None
        rd = spec.route_distinguisher
        if rd is not None and rd.packed[:6] == own_distinguisher(router_id, 0).packed[:6]:
            wanted = int.from_bytes(rd.packed[6:])
        rd_number = self.rds.allocate(wanted)
        return Identity(number, rd_number, rd if rd is not None else own_distinguisher(router_id, rd_number))

    def free(self, number: int, rd_number: int) -> None:
        """An instance is gone."""
        self.instances.free(number)
        self.rds.free(rd_number)
