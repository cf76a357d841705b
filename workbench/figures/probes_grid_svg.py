"""The grid of cells as static SVG: score on the left, its control on the right, same colours."""

from __future__ import annotations

from plotly.colors import sample_colorscale

from workbench.figures.palette import INKS, Ink, Theme
from workbench.figures.probes_grid import GRID_MARKS, GridCell, GridPicture, cell_number, every
from workbench.figures.probes_heatmap import COLOURS
from workbench.figures.probes_svg import opened
from workbench.figures.svg_parts import SVG_WIDTH, paths, px, words
from workbench.reports.fit_records import Standing

_TOP, _AXIS, _LINE, _BETWEEN, _RIGHT = 26, 40, 20, 24, 12
_SHADES = 64
_FEWEST_COLUMNS = 4
_FAINT, _INK = ' class="wb-faint"', ' class="wb-ink"'


def _palette() -> list[str]:
    colours = sample_colorscale(COLOURS, [k / (_SHADES - 1) for k in range(_SHADES)], colortype="tuple")
    return ["#" + "".join(f"{round(255 * part):02x}" for part in colour) for colour in colours]


def _glyph(standing: Standing, x: float, y: float, r: float) -> str:
    """The mark of a standing as strokes, so that it needs no font."""
    if standing == "chance":
        return f"M{px(x - r)} {px(y - r)}L{px(x + r)} {px(y + r)}M{px(x - r)} {px(y + r)}L{px(x + r)} {px(y - r)}"
    if standing == "input":
        return f"M{px(x - r)} {px(y)}a{px(r)} {px(r)} 0 1 0 {px(2 * r)} 0a{px(r)} {px(r)} 0 1 0 {px(-2 * r)} 0"
    if standing == "uncorrected":
        return f"M{px(x - r)} {px(y - r)}h{px(2 * r)}L{px(x)} {px(y + r)}z"
    return f"M{px(x - r)} {px(y + r)}L{px(x + r)} {px(y - r)}"


class _Frame:
    """Pixels of this drawing."""

    def __init__(self, drawn: GridPicture, ink: Ink) -> None:
        n_rows = len(drawn.rows)
        self.drawn, self.ink, self.palette = drawn, ink, _palette()
        self.row = 24.0 if drawn.has_numbers and n_rows <= 24 else 12.0 if n_rows <= 60 else 8.0
        self.left = 14 + 6.0 * max((len(row) for row in drawn.rows), default=4)
        self.panel = (SVG_WIDTH - self.left - _BETWEEN - _RIGHT) / 2
        self.wide = self.panel / max(_FEWEST_COLUMNS, len(drawn.steps))
        self.bottom = _TOP + self.row * max(1, n_rows)

    def x(self, panel: int, column: float) -> float:
        return self.left + panel * (self.panel + _BETWEEN) + column * self.wide

    def y(self, row: int) -> float:
        return self.bottom - (row + 1) * self.row


def _panel(frame: _Frame, panel: int) -> str:
    drawn, ink = frame.drawn, frame.ink
    rects: list[tuple[str, str]] = []
    numbers: list[str] = []
    gap = 0.5 if frame.wide < 8 else 1.0
    for cell in drawn.cells:
        value = (cell.value, cell.beside)[panel]
        if value is None:
            continue
        x, y = frame.x(panel, cell.column), frame.y(cell.row)
        shade = drawn.shade(value)
        box = f"M{px(x)} {px(y)}h{px(frame.wide - gap)}v{px(frame.row - gap)}h{px(gap - frame.wide)}z"
        rects.append((f'fill="{frame.palette[round(shade * (_SHADES - 1))]}"', box))
        if drawn.has_numbers and frame.row >= 12:
            fill = "#000000" if shade > 0.5 else "#FFFFFF"
            size = 12 if frame.row >= 20 else 9
            numbers.append(words(x + frame.wide / 2, y + frame.row / 2 + size / 3, cell_number(value), size=size,
                                 fill=fill))  # fmt: skip
    parts = [paths(rects), *numbers]
    apart = every(len(drawn.steps), 12)
    for column, step in list(enumerate(drawn.steps))[::apart]:
        x = frame.x(panel, column + 0.5)
        parts.append(words(x, frame.bottom + 13, str(step), size=11, fill=ink.faint, extra=_FAINT))
    title = (drawn.title, drawn.beside)[panel]
    bold = f'{_INK} font-weight="bold"'
    parts.append(words(frame.x(panel, 0), 16, title, fill=ink.ink, anchor="start", extra=bold))
    middle = frame.x(panel, 0) + frame.panel / 2
    parts.append(words(middle, frame.bottom + 29, "latent step", size=11, fill=ink.faint, extra=_FAINT))
    if said := drawn.gap(panel):
        y = (_TOP + frame.bottom) / 2 + 5
        parts.append(words(frame.x(panel, 0) + 4, y, said, size=14, fill=ink.faint, anchor="start", extra=_FAINT))
    return "".join(parts)


def _mark(cell: GridCell, frame: _Frame) -> tuple[str, str]:
    drawn = frame.drawn
    x, y = frame.x(0, cell.column + 0.5), frame.y(cell.row) + frame.row / 2
    if drawn.has_numbers and cell.value is not None:
        x, y = frame.x(0, cell.column + 1) - 7, frame.y(cell.row) + 6
    radius = 3.0 if frame.wide >= 8 and frame.row >= 10 else 1.8
    shape = _glyph(cell.mark, x, y, radius)
    if cell.value is None:
        return f'fill="none" stroke="{frame.ink.faint}" stroke-width="1.2" class="wb-edge"', shape
    colour = "#000000" if drawn.shade(cell.value) > 0.5 else "#FFFFFF"
    return f'fill="none" stroke="{colour}" stroke-width="1.2"', shape


def _legend(frame: _Frame, y: float) -> str:
    ink = frame.ink
    parts, x = [], 10.0
    for standing, mark in GRID_MARKS.items():
        n = sum(cell.mark == standing for cell in frame.drawn.cells)
        if mark.symbol and not n:
            continue  # nothing bears it
        text = f"{mark.legend} ({n})"
        if not mark.symbol:
            parts.append(words(x, y, f"no mark: {text}", size=11, fill=ink.ink, anchor="start", extra=_INK))
            x += 5.4 * len(f"no mark: {text}") + 12
            continue
        look = f'fill="none" stroke="{ink.ink}" stroke-width="1.5" class="wb-line"'
        parts.append(paths([(look, _glyph(standing, x + 5, y - 4, 4))]))
        parts.append(words(x + 14, y, text, size=11, fill=ink.ink, anchor="start", extra=_INK))
        x += 14 + 5.4 * len(text) + 12
    return "".join(parts)


def _colours(frame: _Frame, y: float) -> str:
    drawn, start = frame.drawn, 44.0
    low, high = (0.0, drawn.high) if drawn.higher_is_better else (drawn.high, 0.0)
    strip = [
        (f'fill="{colour}"', f"M{px(start + 2.5 * k)} {px(y - 9)}h3v10h-3z") for k, colour in enumerate(frame.palette)
    ]
    parts = [paths(strip)]
    for x, value in ((10.0, low), (start + 2.5 * _SHADES + 6, high)):
        parts.append(words(x, y, f"{value:.3g}", size=11, fill=frame.ink.faint, anchor="start", extra=_FAINT))
    return "".join(parts)


def grid_svg_of(drawn: GridPicture, *, theme: Theme = "light") -> str:
    """The picture as one standalone SVG, 960 units wide."""
    ink = INKS[theme]
    frame = _Frame(drawn, ink)
    height = frame.bottom + _AXIS + 2 * _LINE
    parts = [opened(SVG_WIDTH, height, f"{drawn.title} by latent step and site; {drawn.beside}", ink)]
    thin = every(len(drawn.rows), 60)
    for place, row in list(enumerate(drawn.rows))[::thin]:
        y = frame.y(place) + frame.row / 2 + 4
        size = 11 if frame.row >= 12 else 9
        parts.append(words(frame.left - 6, y, row, size=size, fill=ink.faint, anchor="end", extra=_FAINT))
    parts += [_panel(frame, 0), _panel(frame, 1)]
    marked = [cell for cell in drawn.cells if GRID_MARKS[cell.mark].symbol]
    parts.append(paths(_mark(cell, frame) for cell in marked))
    parts += [_legend(frame, frame.bottom + _AXIS + 12), _colours(frame, frame.bottom + _AXIS + 12 + _LINE), "</svg>"]
    return "".join(parts)
