"""The report of a bandwidth measurement: one HTML file without script or network, a pure function of the record."""

from __future__ import annotations

import json

from markupsafe import Markup

from workbench.figures.bandwidth_svg import bits_svg, rates_svg
from workbench.jsonio import canonical_json
from workbench.reports.bandwidth_records import BandwidthRecord, SweepRecord
from workbench.reports.bandwidth_words import COLUMNS, bits_rows, code_words, headline, notices
from workbench.reports.page import dotted, page_templates, style_hash
from workbench.reports.shares import share

SWEEPS_DRAWN = 9


def _drawing(svg: str) -> Markup:
    return Markup(svg)  # noqa: S704


def _swept(record: BandwidthRecord) -> list[tuple[str, SweepRecord, Markup]]:
    allowed = record.settings.changed_at_most
    found = [("all steps", record.whole), *((f"step {row.step}", row.sweep) for row in record.steps)]
    drawn = [(name, sweep) for name, sweep in found if sweep is not None][:SWEEPS_DRAWN]
    return [(name, sweep, _drawing(rates_svg(sweep, allowed=allowed))) for name, sweep in drawn]


def render_bandwidth(record: BandwidthRecord) -> str:
    """The whole report as one HTML document."""
    templates = page_templates()
    css = "".join(templates.get_template(name).render() for name in ("report.css", "fit.css"))
    plain = record.model_dump(mode="json", by_alias=True, exclude={"steps", "whole", "chain"})
    return templates.get_template("bandwidth.html").render(
        record=record,
        css=Markup(css),  # noqa: S704
        style_hash=style_hash(css),
        headline=headline(record),
        notices=list(notices(record)),
        columns=COLUMNS,
        rows=bits_rows(record),
        ladder=_drawing(bits_svg(record)),
        swept=_swept(record),
        code_words=code_words,
        share=share,
        provenance=list(dotted(json.loads(canonical_json(plain)))),
    )
