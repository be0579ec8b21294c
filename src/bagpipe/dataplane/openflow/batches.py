"""Many flow-mods and group-mods in one go, and what became of each.

OpenFlow Switch Specification 1.5.1 sections 6.9 (bundles), 6.2 and 7.3.7 (barrier). A batch is done either together,
in one atomic and ordered bundle, or message by message, where a refused one does not keep the others from being done.
Both ways every error of the switch is found with the message that caused it.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bagpipe.dataplane.errors import DataplaneError
from bagpipe.dataplane.openflow.bundles import BundleControl, BundleFlags, BundleStep
from bagpipe.dataplane.openflow.codec import encode, encode_bundled
from bagpipe.dataplane.openflow.faults import Refused, SwitchError
from bagpipe.dataplane.openflow.flows import FlowMod, PackedFlow
from bagpipe.dataplane.openflow.groups import GroupMod
from bagpipe.dataplane.openflow.link import Link, Span

Change = FlowMod | PackedFlow | GroupMod
_HOW = BundleFlags.ATOMIC | BundleFlags.ORDERED


class Fate(enum.Enum):
    """What became of one message of a batch."""

    APPLIED = "applied"
    REFUSED = "refused"
    UNDONE = "undone, because another message of its bundle was refused"


class BatchRefused(DataplaneError):
    """Part of a batch was refused. ``result`` says which part, and why."""

    def __init__(self, result: BatchResult) -> None:
        count = len(result.refusals)
        place, error = next(iter(result.refusals.items()))
        super().__init__(f"{count} of {len(result.changes)} refused, the first: {result.changes[place]}: {error.name}")
        self.result = result


@dataclass(frozen=True, slots=True)
class BatchResult:
    """``refusals`` are the switch's errors by the place of their message in ``changes``.

    ``is_applied`` says whether the messages without a refusal are in effect: always, unless the batch was atomic and
    one was refused. OVS then names the first that it refused and not the later ones.
    """

    changes: Sequence[Change]
    refusals: dict[int, SwitchError]
    is_applied: bool = True

    def fate(self, place: int) -> Fate:
        """What became of the message at ``place``."""
        if place in self.refusals:
            return Fate.REFUSED
        return Fate.APPLIED if self.is_applied else Fate.UNDONE

    @property
    def refused(self) -> Iterator[tuple[Change, SwitchError]]:
        """Each refused message with the switch's error."""
        return ((self.changes[place], error) for place, error in self.refusals.items())

    def check(self) -> None:
        """Raise BatchRefused if any message was refused."""
        if self.refusals:
            raise BatchRefused(self)


async def apply_each(link: Link, changes: Sequence[Change]) -> BatchResult:
    """Do the changes in order, each by itself. Raises Unreachable, NoAnswer, LocalMisuse."""
    span = link.span(len(changes))
    try:
        await link.send(map(encode, changes, itertools.count(span.first)))
        await link.barrier()
    finally:
        link.release(span)
    return BatchResult(changes, dict(sorted(span.errors.items())))


async def apply_together(link: Link, changes: Sequence[Change], bundle: int) -> BatchResult:
    """Do the changes in order and all of them, or none. ``bundle`` is a number that no open bundle has.

    Raises Unreachable or NoAnswer (whether they were done is then not known), LocalMisuse, and Refused if the switch
    refused the bundle itself and no message of it.
    """
    await link.ask(BundleControl(bundle, BundleStep.OPEN_REQUEST, _HOW))
    span = link.span(len(changes))
    try:
        await link.send(encode_bundled(change, xid, bundle, _HOW) for xid, change in enumerate(changes, span.first))
        await link.barrier()
        if not span.errors:
            await _commit(link, bundle, span)
    except BaseException:
        link.tell(BundleControl(bundle, BundleStep.DISCARD_REQUEST, _HOW))
        raise
    finally:
        link.release(span)
    if span.errors:
        link.tell(BundleControl(bundle, BundleStep.DISCARD_REQUEST, _HOW))
    refusals = dict(sorted(span.errors.items()))
    return BatchResult(changes, refusals, is_applied=not refusals)


async def _commit(link: Link, bundle: int, span: Span) -> None:
    try:
        await link.ask(BundleControl(bundle, BundleStep.COMMIT_REQUEST, _HOW))
    except Refused:
        if not span.errors:
            raise
