"""The report of a fit: one HTML file without script or network, a pure function of the record."""

from __future__ import annotations

import json
from collections.abc import Iterator

from markupsafe import Markup

from workbench.figures import confusions_svg, grid_svg, learning_curve_svg, reliability_svg, text_scores_svg
from workbench.figures.probes_curves import text_sites
from workbench.figures.words import number
from workbench.jsonio import canonical_json, digest
from workbench.reports.escape import short
from workbench.reports.fit_headline import (
    controls_table,
    fit_headlines,
    fit_line,
    fit_notices,
    place,
    scored,
)
from workbench.reports.fit_records import FIT_NAME, CellRecord, FitRecord
from workbench.reports.fit_words import STANDINGS, not_run
from workbench.reports.page import dotted, page_templates, style_hash
from workbench.reports.shares import share, span

GRIDS_DRAWN, CELLS_DRAWN, CELLS_LISTED, TEXT_SITES_DRAWN = 8, 3, 200, 8
_GRAVE = ("partial", "uncorrected", "near-duplicates")
"""Notices that put every number in doubt."""


def _drawing(svg: str) -> Markup:
    return Markup(svg)  # noqa: S704


def _best(fit: FitRecord) -> Iterator[tuple[CellRecord, str, list[tuple[str, Markup]]]]:
    for cell in scored(fit)[:CELLS_DRAWN]:
        drawings = [
            ("How often it is right, by how sure it is", _drawing(reliability_svg(cell))),
            ("How much it needs to learn from", _drawing(learning_curve_svg(cell))),
            ("What it takes for what", _drawing(confusions_svg(cell))),
        ]
        yield cell, place(cell), drawings


def _pairs(fit: FitRecord) -> list[tuple[str, str]]:
    return list(dict.fromkeys((cell.label, cell.probe) for cell in fit.fits))


def _provenance(fit: FitRecord) -> list[tuple[str, str]]:
    """What the record says of itself, and the digest of all of it: the page shows but a part of a large one.

    In the order and with the numbers of canonical JSON, so that a record that was read back makes the same page.
    """
    shown = canonical_json(fit.model_dump(mode="json", by_alias=True, exclude={"fits", "text", "fit_prompts"}))
    return [(FIT_NAME, digest(fit.to_json())), *dotted(json.loads(shown))]


def _run(value: float | None) -> str:
    """A control, or that there is none."""
    return "not run" if value is None else share(value)


def render_fit_report(fit: FitRecord) -> str:
    """The whole report as one HTML document."""
    templates = page_templates()
    css = "".join(templates.get_template(name).render() for name in ("report.css", "fit.css"))
    cells = scored(fit)
    pairs = _pairs(fit)
    grids = [(label, probe, _drawing(grid_svg(fit, label=label, probe=probe))) for label, probe in pairs[:GRIDS_DRAWN]]
    texts = [
        (site, _drawing(text_scores_svg(fit, site=site)), [row for row in fit.text if row.site == site])
        for site in text_sites(fit)[:TEXT_SITES_DRAWN]
    ]
    return templates.get_template(
        "fit.html"
    ).render(
        fit=fit,
        css=Markup(css),  # noqa: S704
        style_hash=style_hash(css),
        notices=fit_notices(fit),
        grave=_GRAVE,
        line=fit_line(fit),
        n_readable=sum(cell.standing == "readable" for cell in cells),
        n_scored=len(cells),
        headlines=fit_headlines(fit),
        grids=grids,
        n_grids=len(pairs),
        controls=controls_table(cells),
        best=list(_best(fit)),
        texts=texts,
        listed=[(cell, STANDINGS[cell.standing], not_run(cell)) for cell in cells[:CELLS_LISTED]],
        undefined=[cell for cell in fit.fits if cell.accuracy is None][:CELLS_LISTED],
        provenance=_provenance(fit),
        share=share,
        span=span,
        number=number,
        run=_run,
        short=short,
    )
