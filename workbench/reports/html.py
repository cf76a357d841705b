"""The report: one HTML file without script or network, a pure function of audit and provenance."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from workbench.figures.svg import hero_svg
from workbench.figures.words import number, sentence
from workbench.reports.headline import headlines, notices, verdict_line
from workbench.reports.limits import limits, uncontrolled
from workbench.reports.monitor_records import WORDS
from workbench.reports.page import dotted, page_templates, style_hash
from workbench.reports.records import AuditRecord
from workbench.reports.shares import share, span
from workbench.reports.tables import VERDICT_COLUMNS, by_score, listed_rows, verdict_table

WORST_DRAWN = 8


SHOWN_ELSEWHERE = ("command", "model", "run_root", "probes_root")
"""Keys of the provenance that the page shows from the audit itself."""


def shown_command(provenance: Mapping[str, Any]) -> str | None:
    """What to type to get the same audit, from its provenance."""
    command = provenance.get("command")
    if isinstance(command, str):
        return command
    if isinstance(command, Sequence):
        return shlex.join(str(part) for part in command)
    return None


def render_report(audit: AuditRecord, *, provenance: Mapping[str, Any]) -> str:
    """The whole report as one HTML document.

    Args:
        audit: the record; nothing else is computed from.
        provenance: plain values shown as they are (nested ones as dotted names);
            ``command`` (text, or a list of words) is shown as what reproduces the audit.
    """
    templates = page_templates()
    css = templates.get_template("report.css").render()
    worst = by_score(audit)
    drawn = [
        (problem, sentence(problem), Markup(hero_svg(problem, audit, caption=False)))  # noqa: S704
        for problem in worst[:WORST_DRAWN]
    ]
    return templates.get_template("report.html").render(
        audit=audit,
        summary=audit.summary,
        css=Markup(css),  # noqa: S704
        style_hash=style_hash(css),
        verdict=verdict_line(audit),
        notices=notices(audit),
        headlines=headlines(audit),
        columns=VERDICT_COLUMNS,
        conditions=verdict_table(audit),
        drawn=drawn,
        listed=listed_rows(audit),
        limits=limits(audit),
        uncontrolled=uncontrolled(audit),
        command=shown_command(provenance),
        provenance=[row for row in dotted(provenance) if row[0].split(".")[0] not in SHOWN_ELSEWHERE],
        settings=list(dotted(audit.settings.model_dump())),
        model=list(dotted(audit.model.model_dump())),
        lie_words=WORDS,
        share=share,
        span=span,
        number=number,
    )
