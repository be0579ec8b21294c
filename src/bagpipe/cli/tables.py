"""Tables for people: with colour and rules on a terminal, plain columns in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

STATE_COLOURS = {"established": "green", "idle": "red", "in-effect": "green", "refused": "red", "pending": "yellow"}
_UNITS = (("d", 86400), ("h", 3600), ("m", 60))


def duration(seconds: float | None) -> str:
    """``3d4h``, ``5m12s``: the two largest units; ``-`` for None."""
    if seconds is None:
        return "-"
    rest = int(seconds)
    parts: list[str] = []
    for unit, size in _UNITS:
        number, rest = divmod(rest, size)
        if number or parts:
            parts.append(f"{number}{unit}")
    parts.append(f"{rest}s")
    return "".join(parts[:2])


def peer_rows(peers: Iterable[dict[str, Any]]) -> Iterable[list[str]]:
    """A row of text for each neighbour."""
    for peer in peers:
        told = ", ".join(f"{family} {number}" for family, number in peer["routes"].items() if number) or "-"
        yield [
            str(peer["name"]),
            str(peer["peer_as"]) if peer["peer_as"] is not None else "any",
            str(peer["state"]),
            duration(peer["uptime"]),
            ", ".join(peer["families"]) or "-",
            told,
            "" if peer["state"] == "established" else str(peer["last_down"]),
        ]


PEER_HEADINGS = ("Peer", "AS", "State", "Up for", "Families", "Routes", "Last error")
ROUTE_HEADINGS = ("", "Route", "Next hop", "Route targets", "Label", "Peer", "Why")


def route_rows(routes: Iterable[dict[str, Any]]) -> Iterable[list[str]]:
    """A row of text for each route; ``>`` marks the best path, ``s`` a stale one."""
    for route in routes:
        yield [
            (">" if route["best"] else " ") + ("s" if route["stale"] else ""),
            f"{route['family']} {route['nlri']}",
            str(route["next_hop"]),
            " ".join(route["route_targets"]) or "-",
            "-" if route["label"] is None else str(route["label"]),
            str(route["peer"]),
            str(route["reason"]),
        ]


def show(headings: Sequence[str], rows: Iterable[Sequence[str]], nothing: str) -> None:
    """Print a table; ``nothing`` if it has no rows."""
    kept = [list(row) for row in rows]
    if not kept:
        print(nothing)
    elif sys.stdout.isatty():
        table = Table(*headings, box=None, header_style="bold", pad_edge=False)
        for row in kept:
            table.add_row(*(Text(cell, style=STATE_COLOURS.get(cell, "")) for cell in row))
        Console().print(table)
    else:
        widths = [max(len(cells[column]) for cells in (headings, *kept)) for column in range(len(headings))]
        for cells in (headings, *kept):
            print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())
