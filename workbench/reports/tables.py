"""Tables of an audit: plain rows for the terminal, formula-safe CSV for spreadsheets."""

from __future__ import annotations

import csv
import io

from workbench.figures.words import number, sentence
from workbench.reports.escape import csv_cell
from workbench.reports.records import AuditRecord, ProblemRecord
from workbench.reports.shares import share, span

VERDICT_COLUMNS = ("condition", "n", "agrees", "diverges", "cannot tell", "share diverging", "95 % interval")
_CSV_COLUMNS = (
    "id",
    "group",
    "condition",
    "verdict",
    "score",
    "p_value",
    "q_value",
    "decoded",
    "claims",
    "statuses",
    "divergence_bits",
    "answer",
    "said",
    "prompt",
    "sentence",
    "reason",
)


def verdict_table(audit: AuditRecord) -> list[dict[str, str]]:
    """One row per condition and one for all; cells are ready to print, keys are `VERDICT_COLUMNS`.

    Condition names come from the problem file: print them with hidden characters written out.
    """
    summary = audit.summary
    rows = [
        (row.condition or "(none)", row.n, row.n_agrees, row.n_diverges, row.n_cannot_tell,
         share(row.share_diverges), span(row.interval))
        for row in summary.conditions
    ]  # fmt: skip
    diverging = share(summary.n_diverges / summary.n_problems) if summary.n_problems else "–"
    total = (
        "all",
        summary.n_problems,
        summary.n_agrees,
        summary.n_diverges,
        summary.n_cannot_tell,
        diverging,
        "–",
    )
    return [dict(zip(VERDICT_COLUMNS, map(str, row), strict=True)) for row in (*rows, total)]


LISTED = 50


def listed_rows(audit: AuditRecord) -> list[dict[str, str]]:
    """The most divergent problems as pages list them, at most `LISTED`; texts as they came."""
    return [
        {
            "problem": problem.id, "condition": "–" if problem.condition is None else problem.condition,
            "verdict": problem.verdict, "score": number(problem.score), "p": number(problem.p_value),
            "q": number(problem.q_value), "what was found": sentence(problem),
        }
        for problem in by_score(audit)[:LISTED]
    ]  # fmt: skip


def _csv_row(problem: ProblemRecord) -> list[str]:
    bits = [row.divergence_bits for row in problem.steps]
    texts = {
        "id": problem.id,
        "group": problem.group,
        "condition": problem.condition or "",
        "verdict": problem.verdict,
        "decoded": " | ".join(row.decoded or "" for row in problem.steps),
        "claims": " | ".join(problem.claims),
        "statuses": " ".join(row.status for row in problem.steps),
        "divergence_bits": " ".join("" if value is None else f"{value:.4f}" for value in bits),
        "answer": problem.answer or "",
        "said": problem.said,
        "prompt": problem.prompt,
        "sentence": sentence(problem),
        "reason": problem.reason or "",
    }
    numbers = {"score": problem.score, "p_value": problem.p_value, "q_value": problem.q_value}
    return [repr(numbers[name]) if name in numbers else csv_cell(texts[name]) for name in _CSV_COLUMNS]


def problems_csv(audit: AuditRecord) -> str:
    """All problems, most divergent first (RFC 4180, header row).

    Text that a spreadsheet would run as a formula gets a leading ``'``; it is
    otherwise kept as it came, hidden characters included.
    """
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(_CSV_COLUMNS)
    writer.writerows(_csv_row(problem) for problem in by_score(audit))
    return out.getvalue()


def by_score(audit: AuditRecord) -> list[ProblemRecord]:
    """Problems, most divergent first; ties in the order of their ids."""
    return sorted(audit.problems, key=lambda problem: (-problem.score, problem.id))
