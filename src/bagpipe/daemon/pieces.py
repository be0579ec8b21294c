"""Long JSON answers in pieces, so that neighbours and other callers have their turns in between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

BATCH = 100
"""Items looked at in one turn of the loop: about 2 ms."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """A long list (``items``), or a long object (its members, each as an object with one key)."""

    items: Iterable[dict[str, object] | None]
    as_object: bool = False

    def text(self) -> AsyncIterator[str]:
        """As JSON, piece by piece."""
        if self.as_object:
            return in_pieces("{", self.items, "}\n", strip=1)
        return in_pieces("[", self.items, "]\n")


async def in_pieces(
    head: str, items: Iterable[dict[str, object] | None], tail: str, *, strip: int = 0
) -> AsyncIterator[str]:
    """``head``, the items as JSON with commas between, and ``tail``, letting others have a turn between batches.

    None stands for an item that was looked at and is not told. ``strip`` is how many characters are left out at both
    ends of each item.
    """
    yield head
    pieces: list[str] = []
    comma = ""
    for number, item in enumerate(items, 1):
        if item is not None:
            text = json.dumps(item)
            pieces.append(comma + (text[strip:-strip] if strip else text))
            comma = ",\n"
        if number % BATCH == 0:
            if pieces:
                yield "".join(pieces)
                pieces.clear()
            await asyncio.sleep(0)
    yield "".join(pieces)
    yield tail
