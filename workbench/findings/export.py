"""Findings handed on: one self-contained page, JSON, and a table that no spreadsheet runs."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from markupsafe import Markup

from workbench.figures.svg import hero_svg
from workbench.figures.words import number, sentence
from workbench.findings.agreement import agreements
from workbench.findings.records import Finding, Labels
from workbench.jsonio import canonical_json
from workbench.reports.escape import csv_cell
from workbench.reports.headline import headlines, notices, verdict_line
from workbench.reports.html import shown_command
from workbench.reports.limits import limits, uncontrolled
from workbench.reports.page import page_templates, style_hash
from workbench.reports.records import AuditRecord
from workbench.reports.sarif import sarif_log, sarif_result
from workbench.reports.shares import share, span

SCHEMA = "neuralese-findings/1"
COLUMNS = (
    "problem", "step", "verdict", "p_value", "decoded", "said", "sentence", "pinned_by", "pinned_at", "labels",
    "comments",
)  # fmt: skip


def standing(found: Sequence[Finding]) -> list[Finding]:
    """Findings that were not taken back."""
    return [one for one in found if not one.withdrawn]


def findings_rows(audit: AuditRecord, found: Sequence[Finding]) -> list[dict[str, str]]:
    """One row a finding that stands, as screen and exports show it; keys are `COLUMNS`."""
    rows = []
    for one in standing(found):
        problem = audit.problem(one.problem)
        step = next((row for row in problem.steps if row.step == one.step), None) if one.step is not None else None
        decoded = [row.decoded or "" for row in problem.steps] if step is None else [step.decoded or ""]
        labels = [f"{who}: {x.severity}, {x.category}, {x.confidence} confidence" for who, x in one.labels.items()]
        cells = (
            one.problem, "" if one.step is None else str(one.step), problem.verdict,
            number(problem.p_value if step is None else step.p_value), " | ".join(decoded),
            " | ".join(problem.claims) if step is None else step.said or "", sentence(problem), one.pinned_by,
            one.pinned_at, "; ".join(labels), "; ".join(f"{e.author}: {e.comment}" for e in one.comments),
        )  # fmt: skip
        rows.append(dict(zip(COLUMNS, cells, strict=True)))
    return rows


def findings_csv(audit: AuditRecord, found: Sequence[Finding]) -> str:
    """The rows as CSV (RFC 4180, header row); text that a spreadsheet would run gets a leading ``'``."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS)
    writer.writeheader()
    writer.writerows({name: csv_cell(text) for name, text in row.items()} for row in findings_rows(audit, found))
    return out.getvalue()


def findings_json(audit: AuditRecord, found: Sequence[Finding], *, provenance: Mapping[str, Any]) -> bytes:
    """Canonical JSON: the rows, the schema of labels, every event, their problems, and how to reproduce them."""
    kept = standing(found)
    return canonical_json({
        "schema": SCHEMA,
        "model": audit.model.model_dump(mode="json"),
        "run_root": audit.run_root,
        "probes_root": audit.probes_root,
        "settings": audit.settings.model_dump(mode="json"),
        "verdict": audit.summary.verdict,
        "command": shown_command(provenance),
        "rows": findings_rows(audit, found),
        "label_schema": Labels.model_json_schema(),
        "events": [event.model_dump(mode="json", by_alias=True) for one in kept for event in one.events],
        "problems": [audit.problem(name).model_dump(mode="json") for name in dict.fromkeys(o.problem for o in kept)],
        "agreement": [
            {**asdict(row), "interval": row.interval.model_dump()} for row in agreements(found)
        ],
        "warnings": audit.warnings,
        "uncontrolled": uncontrolled(audit),
        "limits": limits(audit),
    })  # fmt: skip


def findings_sarif(audit: AuditRecord, found: Sequence[Finding]) -> bytes:
    """SARIF 2.1.0: one result a finding, in the same order; what reviewers said stands in its properties."""
    results = []
    for one, row in zip(standing(found), findings_rows(audit, found), strict=True):
        result = sarif_result(audit.problem(one.problem))
        name = one.problem if one.step is None else f"{one.problem}/{one.step}"
        result["fingerprints"] = {"finding/v1": name}
        result["properties"] |= {key: row[key] for key in ("step", "pinned_by", "pinned_at", "labels", "comments")}
        results.append(result)
    return sarif_log(audit, results)


def findings_html(audit: AuditRecord, found: Sequence[Finding], *, provenance: Mapping[str, Any]) -> str:
    """One HTML document without script or network that prints well."""
    templates = page_templates()
    css = templates.get_template("report.css").render()
    rows = findings_rows(audit, found)
    drawn = [
        (one, row, audit.problem(one.problem), Markup(hero_svg(audit.problem(one.problem), audit, caption=False)))  # noqa: S704
        for one, row in zip(standing(found), rows, strict=True)
    ]
    return templates.get_template("findings.html").render(
        audit=audit, css=Markup(css), style_hash=style_hash(css), verdict=verdict_line(audit), notices=notices(audit),  # noqa: S704
        headlines=headlines(audit), drawn=drawn, agreement=agreements(found), limits=limits(audit),
        uncontrolled=uncontrolled(audit), command=shown_command(provenance), share=share, span=span, number=number,
    )  # fmt: skip
