"""Pictures of a fit as static SVG: no script, no style sheet, nothing fetched.

Classes (`wb-ink`, `wb-faint`, `wb-ground`, `wb-grid`, `wb-line`, `wb-score`) let
a page recolour them for its own theme; the attributes alone already draw them.
"""

from __future__ import annotations

import math
from html import escape

from workbench.figures.palette import INKS, OKABE_ITO, Ink, Theme
from workbench.figures.probes_curves import Bars, Chart, Series
from workbench.figures.probes_lines import CROWDED, series_colour
from workbench.figures.svg_parts import SVG_FONT, paths, px, words

WIDTH = 480
_LEFT, _RIGHT, _PLOT, _AXIS, _LEGEND = 56, 12, 200, 44, 20
_DASHES = ("", ' stroke-dasharray="8 5"', ' stroke-dasharray="2 4"', ' stroke-dasharray="8 4 2 4"')
_FAINT, _INK = ' class="wb-faint"', ' class="wb-ink"'


def opened(width: int, height: float, title: str, ink: Ink) -> str:
    """The first tags of a drawing, with its title for people who do not see it."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {px(height)}" role="img"'
        f' font-family="{SVG_FONT}"><title>{escape(title)}</title>'
        f'<rect width="{width}" height="{px(height)}" fill="{ink.ground}" class="wb-ground"/>'
    )


def _instead(text: str, ink: Ink) -> str:
    """A drawing that says why there is none."""
    line = words(WIDTH / 2, 34, text, size=13, fill=ink.ink, extra=_INK)
    return f"{opened(WIDTH, 60, text, ink)}{line}</svg>"


def _x(chart: Chart, value: float) -> float:
    low, high = (math.log10(end) for end in chart.x_range) if chart.is_log else chart.x_range
    place = math.log10(value) if chart.is_log else value
    return _LEFT + (place - low) / (high - low) * (WIDTH - _LEFT - _RIGHT)


def _glyph(rank: int, x: float, y: float, r: float = 3.5) -> str:
    square = f"M{px(x - r)} {px(y - r)}h{px(2 * r)}v{px(2 * r)}h{px(-2 * r)}z"
    diamond = f"M{px(x)} {px(y - r)}L{px(x + r)} {px(y)}L{px(x)} {px(y + r)}L{px(x - r)} {px(y)}z"
    triangle = f"M{px(x)} {px(y - r)}L{px(x + r)} {px(y + r)}L{px(x - r)} {px(y + r)}z"
    circle = f"M{px(x - r)} {px(y)}a{px(r)} {px(r)} 0 1 0 {px(2 * r)} 0a{px(r)} {px(r)} 0 1 0 {px(-2 * r)} 0"
    return (circle, square, diamond, triangle)[rank]


def _stroke(rank: int, colour: str) -> str:
    name = ' class="wb-score"' if rank == 0 else ""
    return f'fill="none" stroke="{colour}" stroke-width="{2.5 if rank == 0 else 1.5}"{name}'


def _series(series: Series, chart: Chart, zero: float, theme: Theme) -> str:
    look = _stroke(series.rank, series_colour(series.rank, theme))
    places = [None if y is None else (_x(chart, x), zero - y * _PLOT) for x, y in zip(series.x, series.y, strict=True)]
    line, pen = "", "M"
    for place in places:
        line += "" if place is None else f"{pen}{px(place[0])} {px(place[1])}"
        pen = "M" if place is None else "L"
    strokes = [(look + _DASHES[series.rank], line)] if line else []
    if series.has_marks:
        radius = 3.5 if len(places) <= CROWDED else 2.0
        strokes += [(look, _glyph(series.rank, *place, radius)) for place in places if place is not None]
    lows, highs = series.low or (), series.high or ()
    for place, low, high in zip(places, lows, highs, strict=False):
        if place is not None and low is not None and high is not None:
            strokes.append((look, f"M{px(place[0])} {px(zero - low * _PLOT)}V{px(zero - high * _PLOT)}"))
    return paths(strokes)


def _legend(chart: Chart, ink: Ink, theme: Theme) -> str:
    parts, x, y = [], float(_LEFT), 13.0
    for series in chart.series:
        look = _stroke(series.rank, series_colour(series.rank, theme))
        parts.append(paths([(look + _DASHES[series.rank], f"M{px(x)} {px(y)}h22")]))
        if series.has_marks:
            parts.append(paths([(look, _glyph(series.rank, x + 11, y))]))
        parts.append(words(x + 26, y + 4, series.name, size=11, fill=ink.ink, anchor="start", extra=_INK))
        x += 26 + 5.6 * len(series.name) + 12
    return "".join(parts)


def _axis_title(text: str, x: float, y: float, ink: Ink) -> str:
    turn = f' transform="rotate(-90 {px(x)} {px(y)})"'
    return words(x, y, text, size=11, fill=ink.faint, extra=_FAINT + turn)


def chart_svg(chart: Chart, *, theme: Theme = "light") -> str:
    """A chart as one standalone SVG, 480 units wide; without a series it says why."""
    ink = INKS[theme]
    if not chart.series:
        return _instead(chart.note, ink)
    top = _LEGEND + (16 if chart.counts else 6)
    zero = top + _PLOT
    height = zero + _AXIS + (14 if chart.note else 0)
    parts = [opened(WIDTH, height, f"{chart.y_title} by {chart.x_title}", ink)]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = zero - share * _PLOT
        parts.append(f'<path d="M{_LEFT} {px(y)}H{WIDTH - _RIGHT}" stroke="{ink.grid}" class="wb-grid"/>')
        parts.append(words(_LEFT - 6, y + 4, f"{share:g}", size=11, fill=ink.faint, anchor="end", extra=_FAINT))
    last = -math.inf
    for value, text in chart.ticks:
        x = _x(chart, value)
        if x - last >= 7 * len(text) + 4:
            parts.append(words(x, zero + 15, text, size=11, fill=ink.faint, extra=_FAINT))
            last = x
    parts += [_series(series, chart, zero, theme) for series in chart.series[::-1]]
    last = -math.inf
    for value, text in chart.counts:
        x = _x(chart, value)
        if x - last >= 7 * len(text) + 2:
            parts.append(words(x, top - 6, text, size=10, fill=ink.faint, extra=_FAINT))
            last = x
    if chart.counts:
        parts.append(words(_LEFT - 6, top - 6, "n", size=10, fill=ink.faint, anchor="end", extra=_FAINT))
    parts.append(words((_LEFT + WIDTH) / 2, zero + 32, chart.x_title, size=11, fill=ink.faint, extra=_FAINT))
    parts.append(_axis_title(chart.y_title, 16, top + _PLOT / 2, ink))
    if chart.note:
        parts.append(words(WIDTH - _RIGHT, zero + 48, chart.note, size=11, fill=ink.faint, anchor="end", extra=_FAINT))
    return "".join([*parts, _legend(chart, ink, theme), "</svg>"])


def bars_svg(bars: Bars, *, theme: Theme = "light") -> str:
    """Bars as one standalone SVG, 480 units wide; without one it says why."""
    ink, row = INKS[theme], 20
    if not bars.names:
        return _instead(bars.note, ink)
    height = _LEGEND + 8 + len(bars.names) * row + _AXIS
    parts = [opened(WIDTH, height, "values read as other values", ink)]
    left = 12 + 6.0 * max(len(name) for name in bars.names)
    most = max([1.0, bars.even or 0.0, *map(float, bars.counts)])
    scale = (WIDTH - _RIGHT - 36 - left) / most
    top = _LEGEND + 8
    bottom = top + row * len(bars.names)
    for place, (name, count, text) in enumerate(zip(bars.names, bars.counts, bars.texts, strict=True)):
        y = top + place * row
        parts.append(words(left - 6, y + 13, name, size=11, fill=ink.ink, anchor="end", extra=_INK))
        box = f'x="{px(left)}" y="{px(y + 3)}" width="{px(count * scale)}" height="{row - 6}"'
        parts.append(f'<rect {box} fill="{OKABE_ITO[1]}"/>')
        end = left + count * scale
        line = left + (bars.even or 0.0) * scale
        after = (line if end - 2 <= line <= end + 24 else end) + 5
        parts.append(words(after, y + 13, text, size=11, fill=ink.ink, anchor="start", extra=_INK))
    if bars.even is not None:
        dashed = f'fill="none" stroke="{ink.ink}" stroke-width="1.5" stroke-dasharray="4 3" class="wb-line"'
        x = left + bars.even * scale
        legend = words(left + 28, 17, "if errors spread evenly", size=11, fill=ink.ink, anchor="start", extra=_INK)
        parts += [paths([(dashed, f"M{px(x)} {top}V{bottom}M{px(left)} 13h22")]), legend]
    below = f"{bars.x_title}; {bars.note}"
    parts.append(words(WIDTH - _RIGHT, bottom + 18, below, size=11, fill=ink.faint, anchor="end", extra=_FAINT))
    return "".join([*parts, "</svg>"])
