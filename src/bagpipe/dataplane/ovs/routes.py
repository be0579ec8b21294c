"""Routes to flows, by octets: many routes differ in prefix and label alone, so all else is made once.

What is written here is octet for octet what a :class:`bagpipe.dataplane.openflow.FlowMod` of the same flow is.
"""

from __future__ import annotations

from typing import NamedTuple

from bagpipe.dataplane.model import ForwardKey, Prefix
from bagpipe.dataplane.openflow import FlowMod, Match, PackedFlow
from bagpipe.dataplane.openflow import fields as f
from bagpipe.dataplane.ovs.pipeline import WHOLE_COOKIE, cookie, destination, route_priority


class _Frame(NamedTuple):
    """The octets of a flow-mod before the address, those after it, and the same for its removal."""

    before: bytes
    after: bytes
    removal: bytes


class Routes:
    """Writes the flows of routes into the table ``vrf``."""

    def __init__(self, table: int) -> None:
        self._table = table
        self._frames: dict[tuple[int, int, int], _Frame] = {}

    def addition(self, key: ForwardKey, instructions: bytes) -> PackedFlow:
        """Add or replace the flow of a route."""
        instance, prefix = key
        version, length, octets = prefix
        frame = self._frames.get((instance, version, length)) or self._frame(instance, version, length)
        if not length:
            return PackedFlow(frame.before + frame.after + instructions)
        address = octets.ljust(4 if version == 4 else 16, b"\0")
        return PackedFlow(frame.before + address + frame.after + instructions)

    def removal(self, key: ForwardKey) -> PackedFlow:
        """Remove the flow of a route."""
        instance, prefix = key
        frame = self._frames.get((instance, prefix.version, prefix.length))
        frame = frame or self._frame(instance, prefix.version, prefix.length)
        return PackedFlow(frame.removal + (prefix.address if prefix.length else b"") + frame.after)

    def match(self, key: ForwardKey) -> Match:
        """What a packet that takes the route has."""
        return Match.of(f.REG[0](key.instance), *destination(key.prefix))

    def _frame(self, instance: int, version: int, length: int) -> _Frame:
        zeros = Prefix(version, length, bytes((length + 7) >> 3))
        key = ForwardKey(instance, zeros)
        flow = FlowMod(self._table, route_priority(length), self.match(key), cookie=cookie(instance))
        removal = flow.removal(WHOLE_COOKIE)
        octets = flow.body
        at = _address_at(flow)
        end = at + (len(zeros.address) if length else 0)
        made = _Frame(octets[:at], octets[end:], removal.body[:at])
        self._frames[instance, version, length] = made
        return made


def _address_at(flow: FlowMod) -> int:
    """Where the address stands in the octets of a flow-mod, its last criterion; the end of the criteria without one."""
    *others, last = flow.match.criteria
    before = len(flow.body) - len(flow.match.packed) + 4
    if last.field not in (f.IPV4_DST, f.IPV6_DST):
        return before + sum(len(one.packed) for one in flow.match.criteria)
    return before + sum(len(one.packed) for one in others) + len(last.field.header)
