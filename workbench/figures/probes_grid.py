"""Scores by step and site, laid out beside their control, before anything is drawn.

Both the Plotly figure and the static SVG draw this one picture. Columns are
steps, rows are sites, the deepest layer on top.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from workbench.errors import ConfigError
from workbench.figures.words import number
from workbench.reports.escape import short, visible
from workbench.reports.fit_records import CellRecord, FitRecord, Standing
from workbench.reports.fit_words import CONTROLS, STANDINGS, control, not_run
from workbench.reports.shares import share, span

ScoreName = Literal["accuracy", "selectivity", "mdl_bits"]
NUMBERS_UP_TO = 12
"""Steps that still leave room for a number in each cell."""


@dataclass(frozen=True, slots=True)
class Score:
    """One score of a cell and what may stand beside it."""

    name: str
    title: str
    value: Callable[[CellRecord], float | None]
    beside: dict[str, str]
    """Field of the control -> what people call it; the first is the usual one."""
    higher_is_better: bool = True


SCORES: dict[ScoreName, Score] = {
    "accuracy": Score("accuracy", "accuracy", lambda cell: cell.accuracy, CONTROLS),
    "selectivity": Score(
        "selectivity",
        "selectivity (accuracy - control task)",
        lambda cell: cell.selectivity,
        {"control_task": "accuracy on the control task"},
    ),
    "mdl_bits": Score(
        "code length",
        "code length (bits)",
        lambda cell: cell.mdl_bits,
        {"mdl_plain_bits": "code length without the vectors (bits)"},
        higher_is_better=False,
    ),
}


@dataclass(frozen=True, slots=True)
class GridMark:
    """How what may be said of a cell is drawn over its colour."""

    symbol: str
    """Plotly marker symbol; empty where the bare cell says it."""
    legend: str


GRID_MARKS: dict[Standing, GridMark] = {
    "readable": GridMark("", STANDINGS["readable"]),
    "input": GridMark("circle-open", STANDINGS["input"]),
    "chance": GridMark("x-thin-open", STANDINGS["chance"]),
    "uncorrected": GridMark("triangle-down-open", STANDINGS["uncorrected"]),
    "undefined": GridMark("line-ne-open", STANDINGS["undefined"]),
}


@dataclass(frozen=True, slots=True)
class GridCell:
    """One cell at its place, with what it says when pointed at (visible text, one line each)."""

    row: int
    column: int
    index: int
    """Place in the fit's list of cells: what a click selects."""
    cell: CellRecord
    value: float | None
    beside: float | None
    lines: tuple[str, ...]

    @property
    def mark(self) -> Standing:
        """What is drawn over the colour; where there is no colour, that there is none."""
        return "undefined" if self.value is None else self.cell.standing


@dataclass(frozen=True, slots=True)
class GridPicture:
    """Everything that is drawn; `rows` from the bottom up."""

    title: str
    beside: str
    rows: tuple[str, ...]
    steps: tuple[int, ...]
    cells: tuple[GridCell, ...]
    high: float
    """What the end of the colours stands for; they begin at 0."""
    has_numbers: bool
    higher_is_better: bool

    def values(self, panel: int) -> list[float | None]:
        """Value of each cell in the left (0) or right (1) panel."""
        return [(cell.value, cell.beside)[panel] for cell in self.cells]

    def gap(self, panel: int) -> str:
        """What to say where a whole panel is empty; nothing where it is not, or where marks say it."""
        if not self.cells:
            return "no cell"
        if panel == 0 or any(value is not None for value in self.values(panel)):
            return ""
        return "not run" if any(cell.cell.accuracy is not None for cell in self.cells) else "undefined"

    def shade(self, value: float) -> float:
        """Place of a value on the colours, 0 to 1: bright is what a probe hopes for."""
        place = min(max(value / self.high, 0.0), 1.0)
        return place if self.higher_is_better else 1.0 - place


def labels_of(fit: FitRecord) -> list[str]:
    """Labels of the fit in the order in which they come."""
    return list(dict.fromkeys(cell.label for cell in fit.fits))


def probes_of(fit: FitRecord) -> list[str]:
    """Kinds of probe of the fit in the order in which they come."""
    return list(dict.fromkeys(cell.probe for cell in fit.fits))


def cell_lines(cell: CellRecord) -> tuple[str, ...]:
    """What a cell says when pointed at: its score, then every control."""
    where = f"{short(cell.site, 40)}, step {cell.step}: {short(cell.label, 24)}, {short(cell.probe, 16)}"
    if cell.accuracy is None or cell.interval is None:
        return where, f"undefined: {short(cell.undefined_because or '', 80)}"
    others = [(name, control(cell, field)) for field, name in CONTROLS.items() if not field.startswith("shuffled")]
    controls = [f"{name} {share(value)}" for name, value in others if value is not None]
    missing = not_run(cell)
    sample = f"n = {cell.n} in {cell.n_groups} groups"
    shuffled = f"97.5 %: {share(cell.shuffled_high)}, {cell.n_shuffles} refits"
    lines = [
        where,
        f"accuracy {share(cell.accuracy)} ({span(cell.interval)}), {sample}",
        f"shuffled labels {share(cell.shuffled)} ({shuffled})",
        f"p = {number(cell.selectivity_p)}, corrected p = {number(cell.corrected_p)}",
        *(", ".join(controls[start : start + 3]) for start in range(0, len(controls), 3)),
        *([f"not run: {', '.join(missing)}"] if missing else []),
        STANDINGS[cell.standing],
    ]
    return tuple(lines)


def _site_rows(cells: Sequence[CellRecord]) -> list[str]:
    layer = {cell.site: cell.layer for cell in cells}
    return sorted(layer, key=lambda site: (layer[site] is None, layer[site] or 0, site))


def _chosen(what: str, options: Sequence[str], value: str | None) -> str | None:
    if value is None:
        return options[0] if options else None
    if value not in options:
        shown = ", ".join(visible(option) for option in options[:20])
        raise ConfigError(f"this fit has no such {what}", field=what, expected=shown, found=visible(value))
    return value


def grid_picture(
    fit: FitRecord,
    score: ScoreName = "accuracy",
    *,
    beside: str | None = None,
    label: str | None = None,
    probe: str | None = None,
) -> GridPicture:
    """Lay the cells of one label and one kind of probe out.

    Args:
        beside: the control in the second panel; by default the usual one of the score.
        label: by default the first of the fit.
        probe: by default the first of the fit.

    Raises:
        ConfigError: the fit has no such label or probe, or the score no such control.
    """
    chosen = SCORES[score]
    named = _chosen("control", list(chosen.beside), beside) or ""
    label = _chosen("label", labels_of(fit), label)
    probe = _chosen("probe", probes_of(fit), probe)
    numbered = [(k, cell) for k, cell in enumerate(fit.fits) if cell.label == label and cell.probe == probe]
    cells = [cell for _, cell in numbered]
    sites, steps = _site_rows(cells), sorted({cell.step for cell in cells})
    row, column = {site: k for k, site in enumerate(sites)}, {step: k for k, step in enumerate(steps)}
    placed = []
    for index, cell in numbered:
        other: float | None = getattr(cell, named)
        place = row[cell.site], column[cell.step], index
        placed.append(GridCell(*place, cell, chosen.value(cell), other, cell_lines(cell)))
    most = max([0.0, *(value for cell in placed for value in (cell.value, cell.beside) if value is not None)])
    return GridPicture(
        title=chosen.title,
        beside=f"beside it: {chosen.beside[named]}",
        rows=tuple(short(site, 28) for site in sites),
        steps=tuple(steps),
        cells=tuple(placed),
        high=1.0 if chosen.higher_is_better else max(most, 1.0),
        has_numbers=len(steps) <= NUMBERS_UP_TO,
        higher_is_better=chosen.higher_is_better,
    )


def cell_number(value: float | None) -> str:
    """A number short enough for a cell: ``.97``, ``1.0``, ``210``; below 1 it never rounds up to 1."""
    if value is None:
        return "–"
    if value >= 1:
        return f"{value:.0f}" if value >= 10 else f"{value:.1f}"
    if 0 < value < 0.01:
        return "<.01"
    return f"{math.floor(value * 100 + 1e-9) / 100:.2f}".replace("0.", ".", 1)


def every(n: int, at_most: int) -> int:
    """Which ticks to keep so that no more than `at_most` of n are written."""
    return max(1, -(-n // at_most))
