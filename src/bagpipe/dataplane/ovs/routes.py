"""Routes to flows, by octets: many routes differ in prefix and label alone, so all else is made once.

What is written here is octet for octet what a :class:`bagpipe.dataplane.openflow.FlowMod` of the same flow is.
"""

from __future__ import annotations

from typing import NamedTuple

from bagpipe.dataplane.model import ForwardKey
from bagpipe.dataplane.openflow import FlowMod, Match, PackedFlow
from bagpipe.dataplane.openflow import fields as f
from bagpipe.dataplane.ovs.pipeline import WHOLE_COOKIE, cookie, destination, route_priority

_SCOPE = len(ForwardKey.scope(0, 4, 0))


class _Frame(NamedTuple):
    """The octets of a flow-mod before the address, those after it, those before it for its removal, and how many
    octets the address has (0 for the default route, which matches none).
    """

    before: bytes
    after: bytes
    removal: bytes
    size: int


class Routes:
    """Writes the flows of routes into the table ``vrf``."""

    def __init__(self, table: int) -> None:
        self._table = table
        self._frames: dict[bytes, _Frame] = {}

    def addition(self, key: ForwardKey, instructions: bytes) -> PackedFlow:
        """Add or replace the flow of a route."""
        frame = self._frames.get(key[:_SCOPE]) or self._frame(key)
        address = key[_SCOPE:].ljust(frame.size, b"\0")
        return PackedFlow(frame.before + address + frame.after + instructions)

    def removal(self, key: ForwardKey) -> PackedFlow:
        """Remove the flow of a route."""
        frame = self._frames.get(key[:_SCOPE]) or self._frame(key)
        address = key[_SCOPE:].ljust(frame.size, b"\0")
        return PackedFlow(frame.removal + address + frame.after)

    def match(self, key: ForwardKey) -> Match:
        """What a packet that takes the route has."""
        return Match.of(f.REG[0](key.instance), *destination(key.prefix))

    def _frame(self, key: ForwardKey) -> _Frame:
        """The octets that the flows of all routes with the scope of ``key`` have in common."""
        length = key.prefix.length
        flow = FlowMod(self._table, route_priority(length), self.match(key), cookie=cookie(key.instance))
        removal = flow.removal(WHOLE_COOKIE)
        octets = flow.body
        at = _address_at(flow)
        size = len(key.prefix.address) if length else 0
        made = self._frames[key[:_SCOPE]] = _Frame(octets[:at], octets[at + size :], removal.body[:at], size)
        return made


def _address_at(flow: FlowMod) -> int:
    """Where the address stands in the octets of a flow-mod, its last criterion; the end of the criteria without one."""
    *others, last = flow.match.criteria
    before = len(flow.body) - len(flow.match.packed) + 4
    if last.field not in (f.IPV4_DST, f.IPV6_DST):
        return before + sum(len(one.packed) for one in flow.match.criteria)
    return before + sum(len(one.packed) for one in others) + len(last.field.header)
