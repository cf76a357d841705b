"""One cell's reliability, learning curve and confusions, and text probes by step, before anything is drawn.

Both the Plotly figures and the static SVG draw these pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workbench.reports.escape import short
from workbench.reports.fit_records import CellRecord, FitRecord, ReliabilityBin, TextRecord
from workbench.reports.shares import share

N_CONFUSIONS = 12
COUNTS_APART = 0.09


@dataclass(frozen=True, slots=True)
class Series:
    """Points over x; None is a gap. Rank 0 is the score, the others are what it must be compared with."""

    name: str
    rank: int
    x: tuple[float, ...]
    y: tuple[float | None, ...]
    low: tuple[float | None, ...] | None = None
    high: tuple[float | None, ...] | None = None
    has_marks: bool = True


@dataclass(frozen=True, slots=True)
class Chart:
    """Series over one axis, shares from 0 to 1 upward."""

    x_title: str
    y_title: str
    x_range: tuple[float, float]
    ticks: tuple[tuple[float, str], ...]
    series: tuple[Series, ...]
    is_log: bool = False
    counts: tuple[tuple[float, str], ...] = ()
    """Sample size above a place on x."""
    note: str = ""
    """What was not run; or, where there is no series, why."""


@dataclass(frozen=True, slots=True)
class Bars:
    """Counts by name, the largest first, beside what they would be if errors spread evenly."""

    x_title: str
    names: tuple[str, ...]
    counts: tuple[int, ...]
    texts: tuple[str, ...]
    even: float | None
    """Mean errors per pair of values; None where errors cannot be counted."""
    note: str


def _empty(x_title: str, y_title: str, note: str) -> Chart:
    return Chart(x_title, y_title, (0.0, 1.0), (), (), note=note)


def _flat(name: str, rank: int, value: float | None, ends: tuple[float, float]) -> list[Series]:
    return [] if value is None else [Series(name, rank, ends, (value, value), has_marks=False)]


def _why(cell: CellRecord, otherwise: str) -> str:
    return f"undefined: {short(cell.undefined_because, 60)}" if cell.undefined_because is not None else otherwise


def reliability_chart(cell: CellRecord) -> Chart:
    """How often readings are right beside how sure the probe is of them."""
    x_title, y_title = "probability of the best reading", "share read right"
    bins = sorted(cell.reliability, key=lambda part: part.confidence)
    if not bins:
        return _empty(x_title, y_title, _why(cell, "reliability was not measured"))
    score = Series(
        "held-out rows (95 %)",
        0,
        tuple(part.confidence for part in bins),
        tuple(part.right for part in bins),
        tuple(part.interval.low for part in bins),
        tuple(part.interval.high for part in bins),
    )
    ideal = Series("as sure as right", 2, (0.0, 1.0), (0.0, 1.0), has_marks=False)
    chance = _flat("shuffled labels", 1, cell.shuffled, (0.0, 1.0))
    ticks = tuple((k / 4, f"{k / 4:g}") for k in range(5))
    return Chart(x_title, y_title, (-0.02, 1.02), ticks, (score, *chance, ideal), counts=_counts(bins))


def _counts(bins: Sequence[ReliabilityBin]) -> tuple[tuple[float, str], ...]:
    """Rows of each bin above its middle, as many as there is room for."""
    kept: list[tuple[float, str]] = []
    for part in bins:
        middle = (part.low + part.high) / 2
        if not kept or middle - kept[-1][0] >= COUNTS_APART:
            kept.append((middle, str(part.n)))
    return tuple(kept)


def learning_chart(cell: CellRecord) -> Chart:
    """Held-out accuracy by how many rows the probe learned from, beside its controls at full size."""
    x_title, y_title = "rows learned from", "accuracy"
    points = sorted(cell.learning_curve, key=lambda point: point.n_fit)
    if not points:
        return _empty(x_title, y_title, _why(cell, "the learning curve was not measured"))
    x = tuple(float(max(1, point.n_fit)) for point in points)
    score = Series(
        "probe (95 %)",
        0,
        x,
        tuple(point.accuracy for point in points),
        tuple(point.interval.low for point in points),
        tuple(point.interval.high for point in points),
    )
    ends = (x[0] / 1.2, x[-1] * 1.2)
    controls = [
        *_flat("shuffled labels", 1, cell.shuffled, ends),
        *_flat("majority", 2, cell.majority, ends),
        *_flat("input only", 3, cell.input_only, ends),
    ]
    ticks = tuple((place, f"{place:g}") for place in x)
    missing = [name for name, value in (("majority", cell.majority), ("input only", cell.input_only)) if value is None]
    note = f"not run: {', '.join(missing)}" if missing else ""
    return Chart(x_title, y_title, ends, ticks, (score, *controls), is_log=True, note=note)


def confusion_bars(cell: CellRecord) -> Bars:
    """Values most often read as another one (true value → what was read)."""
    x_title = f"held-out rows, of {cell.n}"
    rows = sorted(cell.confusions, key=lambda row: -row.n)[:N_CONFUSIONS]
    if not rows or cell.accuracy is None:
        right = cell.accuracy == 1.0
        note = _why(cell, "nothing was read as another value" if right else "confusions were not counted")
        return Bars(x_title, (), (), (), None, note)
    pairs = cell.n_classes * (cell.n_classes - 1)
    return Bars(
        x_title=x_title,
        names=tuple(f"{short(row.value, 11)} → {short(row.read, 11)}" for row in rows),
        counts=tuple(row.n for row in rows),
        texts=tuple(str(row.n) for row in rows),
        even=(1 - cell.accuracy) * cell.n / pairs if pairs else None,
        note=f"accuracy {share(cell.accuracy)}, shuffled labels {share(cell.shuffled)}",
    )


def text_sites(fit: FitRecord) -> list[str]:
    """Sites with text probes, those that a lens was run on first."""
    has_lens = {row.site for row in fit.text if row.logit_lens is not None or row.tuned_lens is not None}
    return sorted(dict.fromkeys(row.site for row in fit.text), key=lambda site: site not in has_lens)


def _text_series(name: str, rank: int, rows: Sequence[TextRecord], values: Sequence[float | None]) -> Series:
    return Series(name, rank, tuple(float(row.step) for row in rows), tuple(values))


def text_chart(fit: FitRecord, site: str | None = None) -> Chart:
    """Whole texts read right by step, beside logit lens, tuned lens and shuffled texts; one site, by default the first.

    A site that the fit has no text probe of gives an empty chart.
    """
    x_title, y_title = "latent step", "whole text read right"
    sites = text_sites(fit)
    site = site if site is not None else next(iter(sites), None)
    rows = sorted((row for row in fit.text if row.site == site), key=lambda row: row.step)
    if not rows:
        return _empty(x_title, y_title, "no text probe was fitted")
    if all(row.exact_match is None for row in rows):
        return _empty(x_title, y_title, f"undefined: {short(rows[0].undefined_because or '', 60)}")
    intervals = [row.interval for row in rows]
    score = Series(
        "text probe (95 %)",
        0,
        tuple(float(row.step) for row in rows),
        tuple(row.exact_match for row in rows),
        tuple(None if interval is None else interval.low for interval in intervals),
        tuple(None if interval is None else interval.high for interval in intervals),
    )
    others = [
        _text_series("shuffled texts", 1, rows, [row.shuffled for row in rows]),
        _text_series("tuned lens", 2, rows, [row.tuned_lens for row in rows]),
        _text_series("logit lens", 3, rows, [row.logit_lens for row in rows]),
    ]
    missing = [series.name for series in others if all(value is None for value in series.y)]
    kept = [series for series in others if series.name not in missing]
    steps = [row.step for row in rows]
    apart = max(1, -(-len(steps) // 20))
    ticks = tuple((float(step), str(step)) for step in steps[::apart])
    note = f"not run: {', '.join(missing)}" if missing else ""
    return Chart(x_title, y_title, (steps[0] - 0.5, steps[-1] + 0.5), ticks, (score, *kept), note=note)
