"""Bars as SVG: one panel for each figure, one bar for each program, the project's own set apart by colour."""

from __future__ import annotations

from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH = 760
_LABEL = 190
_BAR = 16
_STEP = 22
_HEAD = 40
_ROOM = _WIDTH - _LABEL - 110
_OURS = "#c2410c"
_OTHERS = "#64748b"


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar; without a value, ``note`` stands in its place."""

    label: str
    value: float | None
    note: str
    ours: bool


@dataclass(frozen=True, slots=True)
class Panel:
    """A title with its unit, and bars on one linear scale."""

    title: str
    bars: tuple[Bar, ...]


def figure(panels: list[Panel]) -> str:
    """The panels, one below the other, as one SVG document."""
    parts: list[str] = []
    top = 10
    for panel in panels:
        parts += _panel(panel, top)
        top += _HEAD + _STEP * len(panel.bars)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{top + 10}" '
        f'viewBox="0 0 {_WIDTH} {top + 10}" font-family="sans-serif" font-size="13">'
    )
    return "\n".join([head, '<rect width="100%" height="100%" fill="#ffffff"/>', *parts, "</svg>"]) + "\n"


def _panel(panel: Panel, top: int) -> list[str]:
    longest = max((bar.value for bar in panel.bars if bar.value is not None), default=1.0) or 1.0
    parts = [f'<text x="10" y="{top + 20}" font-weight="bold" fill="#0f172a">{escape(panel.title)}</text>']
    for row, bar in enumerate(panel.bars):
        y = top + _HEAD - 8 + row * _STEP
        parts.append(_text(_LABEL - 8, y, bar.label, anchor="end"))
        if bar.value is None:
            parts.append(_text(_LABEL + 2, y, bar.note, fill="#b91c1c"))
            continue
        width = max(1.0, bar.value / longest * _ROOM)
        colour = _OURS if bar.ours else _OTHERS
        parts.append(f'<rect x="{_LABEL}" y="{y}" width="{width:.1f}" height="{_BAR}" fill="{colour}"/>')
        parts.append(_text(_LABEL + width + 6, y, number(bar.value)))
    return parts


def _text(x: float, y: int, text: str, anchor: str = "start", fill: str = "#0f172a") -> str:
    return f'<text x="{x:.1f}" y="{y + 13}" text-anchor="{anchor}" fill="{fill}">{escape(text)}</text>'


def number(value: float) -> str:
    """Three significant figures, or all digits before the point."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}"
