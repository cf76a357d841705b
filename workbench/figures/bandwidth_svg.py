"""Pictures of a bandwidth measurement as static SVG: no script, no style sheet, nothing fetched."""

from __future__ import annotations

import math
from collections.abc import Callable

from workbench.figures.bandwidth import KINDS, NAMES, Kind, Point, axis, drawn_at, rate_chart, rungs
from workbench.figures.palette import INKS, OKABE_ITO, Theme
from workbench.figures.probes_svg import chart_svg, opened
from workbench.figures.svg_parts import SVG_WIDTH, paths, px, words
from workbench.reports.bandwidth_records import BandwidthRecord, SweepRecord

_LEFT, _RIGHT, _TOP, _ROW, _AXIS = 84, 24, 34, 30, 44
_FAINT, _INK = ' class="wb-faint"', ' class="wb-ink"'


def _glyph(kind: Kind, x: float, y: float, r: float = 5.5) -> str:
    """Each kind has a shape of its own, so that it can be told without colours."""
    if kind == "container":
        return f"M{px(x - r)} {px(y - r)}h{px(2 * r)}v{px(2 * r)}h{px(-2 * r)}z"
    if kind == "token":
        return f"M{px(x)} {px(y - r - 2)}V{px(y + r + 2)}"
    if kind == "used":
        return f"M{px(x)} {px(y - r)}L{px(x + r)} {px(y)}L{px(x)} {px(y + r)}L{px(x - r)} {px(y)}z"
    return f"M{px(x - r)} {px(y)}a{px(r)} {px(r)} 0 1 0 {px(2 * r)} 0a{px(r)} {px(r)} 0 1 0 {px(-2 * r)} 0"


def _look(kind: Kind) -> str:
    colour = OKABE_ITO[KINDS.index(kind)]
    filled = colour if kind in ("decodable", "used") else "none"
    return f'fill="{filled}" fill-opacity="0.35" stroke="{colour}" stroke-width="2"'


def bits_svg(record: BandwidthRecord, *, theme: Theme = "light") -> str:
    """Container, token, decodable and used bits of every step, 960 units wide, on one axis of powers of ten."""
    ink, found = INKS[theme], rungs(record)
    ends, ticks = axis(max(point.bits for rung in found for point in rung.points))
    low, high = (math.log10(end) for end in ends)

    def place(bits: float) -> float:
        return _LEFT + (math.log10(drawn_at(bits)) - low) / (high - low) * (SVG_WIDTH - _LEFT - _RIGHT)

    bottom = _TOP + _ROW * len(found)
    parts = [opened(SVG_WIDTH, bottom + _AXIS, "bits per thought: container, token, decodable, used", ink)]
    for value, text in ticks:
        x = place(value)
        parts.append(f'<path d="M{px(x)} {_TOP}V{bottom}" stroke="{ink.grid}" class="wb-grid"/>')
        parts.append(words(x, bottom + 16, text, size=12, fill=ink.faint, extra=_FAINT))
    parts.append(words((_LEFT + SVG_WIDTH) / 2, bottom + 36, "bits", size=12, fill=ink.faint, extra=_FAINT))
    strokes: list[tuple[str, str]] = []
    for number, rung in enumerate(found):
        y = _TOP + _ROW * (number + 0.5)
        parts.append(words(_LEFT - 10, y + 4, rung.name, size=13, fill=ink.ink, anchor="end", extra=_INK))
        strokes += [stroke for point in rung.points for stroke in _drawn(point, y, place)]
    x = float(_LEFT)
    for kind in KINDS:
        strokes.append((_look(kind), _glyph(kind, x + 6, 15)))
        parts.append(words(x + 18, 19, NAMES[kind], size=12, fill=ink.ink, anchor="start", extra=_INK))
        x += 44 + 6.2 * len(NAMES[kind])
    return "".join([*parts, paths(strokes), "</svg>"])


def _drawn(point: Point, y: float, place: Callable[[float], float]) -> list[tuple[str, str]]:
    strokes = [(_look(point.kind), _glyph(point.kind, place(point.bits), y))]
    if point.low is not None and point.high is not None:
        ends = place(point.low), place(point.high)
        strokes.append((_look(point.kind), f"M{px(ends[0])} {px(y)}H{px(ends[1])}"))
    return strokes


def rates_svg(sweep: SweepRecord, *, allowed: float, theme: Theme = "light") -> str:
    """The chart of one sweep, 480 units wide."""
    return chart_svg(rate_chart(sweep, allowed=allowed), theme=theme)
