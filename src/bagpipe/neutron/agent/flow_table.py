"""Which flows should be there, which are, and what has to be done: no I/O.

Every flow that was sent is remembered with the match that it was sent with until its removal is confirmed, so that none
is left behind, whatever changed in between.
"""

from __future__ import annotations

from dataclasses import dataclass

from bagpipe.neutron.agent.flows import Flow, Place


@dataclass(frozen=True, slots=True)
class Step:
    """What to send: first these flows are added (or replace what is in their place), then those are removed."""

    added: tuple[Flow, ...]
    removed: tuple[Flow, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)


class FlowTable:
    """The flows of all owners together. An owner is a network, or None for what is always there. Not thread-safe."""

    def __init__(self) -> None:
        self._desired: dict[str | None, frozenset[Flow]] = {}
        self._confirmed: frozenset[Flow] = frozenset()
        self._sent: dict[Place, Flow] = {}

    def want(self, owner: str | None, flows: frozenset[Flow]) -> None:
        """The owner wants just these flows."""
        if flows:
            self._desired[owner] = flows
        else:
            self._desired.pop(owner, None)

    def owners(self) -> frozenset[str]:
        """The networks that want flows."""
        return frozenset(owner for owner in self._desired if owner is not None)

    @property
    def desired(self) -> frozenset[Flow]:
        """All that is wanted; one flow for a place."""
        by_place = {flow.place: flow for owner in sorted(self._desired, key=str) for flow in self._desired[owner]}
        return frozenset(by_place.values())

    def step(self) -> Step:
        """What is to be done now. Afterwards say :meth:`confirmed`, or nothing if it is not known whether it worked."""
        desired = self.desired
        places = {flow.place for flow in desired}
        added = tuple(sorted(desired - self._confirmed, key=_order))
        removed = tuple(sorted((flow for place, flow in self._sent.items() if place not in places), key=_order))
        self._sent.update((flow.place, flow) for flow in added)
        self._confirmed -= {flow for flow in self._confirmed if flow not in desired}
        return Step(added, removed)

    def confirmed(self, step: Step) -> None:
        """The step has been done."""
        for flow in step.removed:
            self._sent.pop(flow.place, None)
        self._confirmed |= frozenset(step.added)

    def lost(self) -> None:
        """The switch has lost all its flows."""
        self._confirmed = frozenset()
        self._sent.clear()


def _order(flow: Flow) -> tuple[str, int, int, str]:
    return flow.bridge, flow.table, flow.priority, repr(flow.match)
