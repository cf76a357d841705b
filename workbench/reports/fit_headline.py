"""What must be read first of a fit: how much can be read, beside what, and what was not controlled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from workbench.figures.words import number
from workbench.reports.escape import short
from workbench.reports.fit_records import SIGNIFICANT_P, CellRecord, FitRecord, TextRecord
from workbench.reports.fit_words import CONTROLS, control, not_run
from workbench.reports.headline import Headline, Notice
from workbench.reports.shares import share, span


def place(cell: CellRecord) -> str:
    """Site, step, label and probe in one short visible line."""
    return f"{short(cell.site, 32)}, step {cell.step}, {short(cell.label, 24)}, {short(cell.probe, 16)}"


LOGISTIC = "logistic"


def scored(fit: FitRecord) -> list[CellRecord]:
    """Cells with a score, the best first: readable ones, then logistic ones, then by the gain over shuffled labels.

    Probes of other kinds screen; the logistic one is reported, and only it has every control.
    """
    cells = [cell for cell in fit.fits if cell.accuracy is not None]
    return sorted(cells, key=lambda cell: (cell.standing != "readable", cell.probe != LOGISTIC, -_gain(cell), cell.key))


def _gain(cell: CellRecord) -> float:
    return (cell.accuracy or 0.0) - (cell.shuffled or 0.0)


def _best_text(fit: FitRecord) -> TextRecord | None:
    rows = [row for row in fit.text if row.exact_match is not None]
    return max(rows, key=lambda row: row.exact_match or 0.0, default=None)


def fit_headlines(fit: FitRecord) -> list[Headline]:
    """The headline numbers, each beside its control, interval and sample size."""
    cells = scored(fit)
    n_readable = sum(cell.standing == "readable" for cell in cells)
    found = [
        Headline(
            "Readable cells",
            f"{n_readable} of {len(cells)}",
            f"by chance, any in {SIGNIFICANT_P:.0%} of grids" if fit.correction else "not corrected",
            "–",
            str(len(cells)),
            "Cells that beat shuffled labels, after correction for the size of the grid, and the commonest value, "
            "and that the words of the prompt do not read better.",
        )
    ]
    if cells:
        best = cells[0]
        interval = "–" if best.interval is None else span(best.interval)
        beside = f"{share(best.shuffled)} with shuffled labels"
        found.append(Headline("Best cell", share(best.accuracy), beside, interval, str(best.n), f"{place(best)}."))
    text = _best_text(fit)
    if text is not None:
        interval = "–" if text.interval is None else span(text.interval)
        meaning = f"Whole text read right: {short(text.site, 32)}, step {text.step}."
        beside = f"{share(text.shuffled)} with shuffled texts"
        found.append(Headline("Best text probe", share(text.exact_match), beside, interval, str(text.n), meaning))
    return found


def fit_line(fit: FitRecord) -> str:
    """The whole fit in one sentence; a partial one says so."""
    cells = scored(fit)
    n_readable = sum(cell.standing == "readable" for cell in cells)
    word = "" if fit.status == "complete" else f" ({fit.status}: {len(fit.fits)} of {fit.n_cells} cells done)"
    undefined = f"; {fit.n_undefined} of {len(fit.fits)} are undefined" if fit.n_undefined else ""
    what = f"{n_readable} of {len(cells)} scored cells are readable after correction{undefined}{word}."
    if not n_readable:
        return what
    best = cells[0]
    beside = f"{share(best.accuracy)}, with shuffled labels {share(best.shuffled)}"
    return f"{what} The best is {place(best)}: {beside} (n = {best.n})."


def fit_notices(fit: FitRecord) -> list[Notice]:
    """Sentences that limit what may be concluded, the gravest first; empty when nothing does."""
    found: list[Notice] = []
    if fit.status != "complete":
        found.append(Notice(fit.status, f"This fit is {fit.status}: {len(fit.fits)} of {fit.n_cells} cells are done."))
    if any(cell.standing == "uncorrected" for cell in fit.fits):
        text = "P-values were not corrected for the size of the grid: the best of many cells is high by chance."
        found.append(Notice("uncorrected", text))
    pairs = fit.near_duplicates
    if pairs is not None and pairs.n_pairs:
        text = f"{pairs.n_rows} held-out rows are nearly the same as a row the probes learned from"
        found.append(
            Notice("near-duplicates", f"{text} ({pairs.n_pairs} pairs, cosine {number(pairs.threshold)} or more).")
        )
    found += [Notice("undefined", text) for text in _undefined(fit)]
    return found + [Notice("uncontrolled", text) for text in _uncontrolled(fit)] + _unfinished(fit)


def _undefined(fit: FitRecord) -> list[str]:
    reasons = Counter(cell.undefined_because for cell in fit.fits if cell.undefined_because is not None)
    shown = [f"{n} × {short(reason, 160)}" for reason, n in reasons.most_common(5)]
    rest = f", and {len(reasons) - 5} reasons more" if len(reasons) > 5 else ""
    return [f"Undefined cells: {'; '.join(shown)}{rest}."] if reasons else []


def _uncontrolled(fit: FitRecord) -> list[str]:
    cells = scored(fit)
    missing = Counter(name for cell in cells for name in not_run(cell))
    shown = [f"{name} in {n} of {len(cells)} cells" for name, n in missing.most_common()]
    return [f"Controls not run: {'; '.join(shown)}."] if shown else []


def _unfinished(fit: FitRecord) -> list[Notice]:
    stopped = [cell for cell in fit.fits if cell.converged is False]
    if not stopped:
        return []
    text = f"{len(stopped)} probes stopped before they converged, the first of them {place(stopped[0])}."
    return [Notice("unconverged", text)]


def controls_table(cells: Sequence[CellRecord]) -> list[tuple[str, str, str, bool]]:
    """Control, how many of these cells have it, mean over them, and whether any cell misses it."""
    rows = []
    for field, name in CONTROLS.items():
        values = [value for value in (control(cell, field) for cell in cells) if value is not None]
        missed = any(name in not_run(cell) for cell in cells)
        mean = share(sum(values) / len(values)) if values else "not run"
        rows.append((name, f"{len(values)} of {len(cells)}", mean, missed))
    return rows
