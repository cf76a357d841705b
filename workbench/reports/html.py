"""The report: one HTML file without script or network, a pure function of audit and provenance."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from workbench.figures.svg import hero_svg
from workbench.figures.words import number, sentence
from workbench.reports.escape import visible
from workbench.reports.headline import headlines, notices, share, span, verdict_line
from workbench.reports.limits import limits
from workbench.reports.records import AuditRecord
from workbench.reports.tables import VERDICT_COLUMNS, by_score, verdict_table

WORST_DRAWN, WORST_LISTED = 8, 50


SHOWN_ELSEWHERE = ("command", "model", "run_root", "probes_root")
"""Keys of the provenance that the page shows from the audit itself."""


def _shown(value: Any) -> Any:
    """Every text that reaches the page has its hidden characters written out; markup is only ours."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _environment() -> Environment:
    return Environment(
        autoescape=True,
        undefined=StrictUndefined,
        loader=PackageLoader("workbench.reports"),
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, str):
        yield name, value
    else:
        yield name, json.dumps(value, ensure_ascii=False, default=str)


def _command(provenance: Mapping[str, Any]) -> str | None:
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
    environment = _environment()
    css = environment.get_template("report.css").render()
    style_hash = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    worst = by_score(audit)
    drawn = [
        (problem, sentence(problem), Markup(hero_svg(problem, audit, caption=False)))  # noqa: S704
        for problem in worst[:WORST_DRAWN]
    ]
    return environment.get_template(
        "report.html"
    ).render(
        audit=audit,
        summary=audit.summary,
        css=Markup(css),  # noqa: S704
        style_hash=style_hash,
        verdict=verdict_line(audit),
        notices=notices(audit),
        headlines=headlines(audit),
        columns=VERDICT_COLUMNS,
        conditions=verdict_table(audit),
        drawn=drawn,
        listed=[(problem, sentence(problem)) for problem in worst[:WORST_LISTED]],
        limits=limits(audit),
        command=_command(provenance),
        provenance=[row for row in _flat(provenance) if row[0].split(".")[0] not in SHOWN_ELSEWHERE],
        settings=list(_flat(audit.settings.model_dump())),
        model=list(_flat(audit.model.model_dump())),
        share=share,
        span=span,
        number=number,
    )
