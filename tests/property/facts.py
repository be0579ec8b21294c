"""How a node of either kind comes to facts: what may happen to it, and the straight and the crooked way there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from hypothesis import strategies as st

from bagpipe.vpn.attachment import Attachment, Reserved
from tests.unit.vpn.any_node import AnyNode
from tests.unit.vpn.node import rts

Some = TypeVar("Some", bound=AnyNode[Any])
Event = TypeVar("Event")


class AttachmentOf(Protocol):
    """The endpoint of a number as it ends, or otherwise."""

    def __call__(self, number: int, *, final: bool) -> Attachment: ...


def otherwise(made: Attachment, **spec: Any) -> Attachment:
    """An endpoint with other targets, another preference and another place of its port; ``spec`` is of its instance."""
    instance = replace(made.instance, import_rts=rts(2, 7), export_rts=rts(1, 7), **spec)
    moved = made.port if made.port.number is None else replace(made.port, number=made.port.number + 100)
    return replace(made, instance=instance, local_pref=77, port=moved)


def happen(
    node: AnyNode[Any], kind: str, number: int, attachment_of: AttachmentOf, reserved_of: Callable[[int], Reserved]
) -> bool:
    """An endpoint comes or goes, or the dataplane answers or is lost; False if ``kind`` is another."""
    if kind in ("attach", "attach otherwise"):
        node.instances.attach(attachment_of(number, final=kind == "attach"), reserved_of(number))
    elif kind == "detach":
        made = attachment_of(number, final=True)
        there = node.instances.instances.get(made.instance.external_id)
        if there is not None and made.key in there.endpoints:
            node.instances.detach(made.instance.external_id, made.key, None)
    elif kind == "confirm":
        node.confirm()
    elif kind == "refuse":
        node.confirm({each: "no" for each in sorted(node.tracker.desired, key=str)[number % 3 :: 3]})
    elif kind == "retry":
        node.tracker.retry()
    elif kind == "lose":
        node.tracker.lost()
        node.instances.dataplane_lost()
    else:
        return False
    return True


def both_ways(
    data: st.DataObject,
    make: Callable[[], Some],
    play: Callable[[Some, Event], None],
    ending: list[Event],
    events: st.SearchStrategy[Event],
) -> tuple[Some, Some]:
    """Two nodes after the same ``ending``: one that nothing else happened to and that confirmed it, and one after
    other ``events``, with the ending in any order and partly twice.
    """
    straight = make()
    for event in ending:
        play(straight, event)
    straight.confirm()

    crooked = make()
    for event in data.draw(st.lists(events, max_size=25)):
        play(crooked, event)
    shuffled = data.draw(st.permutations(ending))
    doubled = data.draw(st.lists(st.sampled_from(ending), max_size=4))
    for event in [*doubled, *shuffled]:
        play(crooked, event)
    return straight, crooked
