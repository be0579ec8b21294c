"""Flows that differ in a few octets alone: all else is made once.

What is written here is octet for octet what a :class:`bagpipe.dataplane.openflow.FlowMod` of the same flow is.
"""

from __future__ import annotations

from bagpipe.dataplane.openflow import FlowMod, PackedFlow
from bagpipe.dataplane.ovs_evpn.pipeline import WHOLE_COOKIE

MAC = bytes.fromhex("f2e1d3c4b5a6")
"""Stands for a MAC in a flow that a mold is made from; occurs in it in no other place."""
ADDRESS = {4: bytes.fromhex("e7d8c9fa"), 6: bytes.fromhex("f1e2d3c4b5a69788796a5b4c3d2e1f0e")}
"""Stands for an IP address."""
NUMBER = 0xF3A1B2C4D5E69788
"""Stands for a tunnel identifier."""
TUNNEL_ID = NUMBER.to_bytes(8)


class Mold:
    """Octets with places for others. ``holders`` are what stands in the places, the first filled by the first value."""

    __slots__ = ("_order", "_pieces")

    def __init__(self, octets: bytes, *holders: bytes) -> None:
        places = sorted((at, number) for number, holder in enumerate(holders) for at in _all(octets, holder))
        self._pieces: list[bytes] = []
        self._order = [number for _, number in places]
        begin = 0
        for at, number in places:
            self._pieces.append(octets[begin:at])
            begin = at + len(holders[number])
        self._pieces.append(octets[begin:])

    def fill(self, *values: bytes) -> bytes:
        """The octets with ``values`` in the places."""
        pieces = self._pieces
        made = [pieces[0]]
        for place, number in enumerate(self._order, 1):
            made += (values[number], pieces[place])
        return b"".join(made)


class FlowMold:
    """A flow with places for others, to be added and to be removed."""

    __slots__ = ("_addition", "_removal")

    def __init__(self, flow: FlowMod, *holders: bytes) -> None:
        self._addition = Mold(flow.body, *holders)
        self._removal = Mold(flow.removal(WHOLE_COOKIE).body, *holders)

    def addition(self, *values: bytes, more: bytes = b"") -> PackedFlow:
        """The message that adds the flow; ``more`` are instructions after those that it has."""
        return PackedFlow(self._addition.fill(*values) + more)

    def removal(self, *values: bytes) -> PackedFlow:
        """The message that removes it."""
        return PackedFlow(self._removal.fill(*values))


def _all(octets: bytes, holder: bytes) -> list[int]:
    found, at = [], octets.find(holder)
    while at >= 0:
        found.append(at)
        at = octets.find(holder, at + len(holder))
    return found
