"""What nodes of tests have in common: neighbours that say what the test says, and a dataplane that takes all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address
from typing import Generic, TypeVar

from bagpipe.dataplane.delta import Tracker
from bagpipe.dataplane.model import Key
from bagpipe.identifiers import RouteTarget
from bagpipe.rib.adj_rib_in import AdjRibIn, Gate
from bagpipe.rib.bundle import Origin
from bagpipe.speaker import Speaker
from bagpipe.vpn.evpn.instances import EvpnInstances
from bagpipe.vpn.instances import Instances
from bagpipe.wire.attributes import Context
from bagpipe.wire.family import CARRIED

Kind = TypeVar("Kind", Instances, EvpnInstances)
OWN = "192.0.2.11"


def neighbour(speaker: Speaker, name: str = "192.0.2.1") -> AdjRibIn:
    """A neighbour over iBGP of a speaker whose address is ``OWN``; it is named by its address."""
    address = IPv4Address(name).packed
    gate = Gate(64512, IPv4Address(OWN).packed, None, True)
    origin = Origin(name, False, True, False, address, address)
    return AdjRibIn(speaker.store, origin, gate, Context(True, True), frozenset(CARRIED), frozenset())


def tell(speaker: Speaker, by: AdjRibIn, bodies: Sequence[bytes]) -> None:
    """A neighbour sends UPDATE bodies, which have no fault."""
    notes = by.learn(bodies)
    assert not notes.discarded
    assert not notes.withdrawn
    speaker.changed()


class AnyNode(Generic[Kind]):
    """A speaker, a tracker and instances, which a node of either kind makes."""

    speaker: Speaker
    tracker: Tracker
    instances: Kind

    def __init__(self) -> None:
        self.peers: dict[str, AdjRibIn] = {}

    def confirm(self, refusals: Mapping[Key, str] | None = None) -> None:
        """The dataplane takes all that waits, but for ``refusals``."""
        refused = refusals or {}
        for _ in range(100):
            changes = self.tracker.take()
            if not changes:
                return
            answers = {change.key: refused[change.key] for change in changes if change.key in refused}
            self.instances.dataplane_settled(self.tracker.settle(answers), answers)
        raise AssertionError("the node does not come to rest")

    def peer(self, name: str) -> AdjRibIn:
        if name not in self.peers:
            self.peers[name] = neighbour(self.speaker, name)
        return self.peers[name]

    def learn(self, *bodies: bytes, peer: str = "192.0.2.1", confirm: bool = True) -> None:
        """A peer sends UPDATE bodies."""
        tell(self.speaker, self.peer(peer), bodies)
        if confirm:
            self.confirm()

    @property
    def imported(self) -> set[str]:
        return {str(RouteTarget(target)) for target in self.speaker.store.imported}
