"""Divergences as SARIF 2.1.0 (OASIS Standard, 2020), which code-scanning tools read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from workbench.figures.words import sentence
from workbench.jsonio import canonical_json
from workbench.reports.records import AuditRecord, ProblemRecord, Verdict
from workbench.reports.tables import by_score

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
LEVELS: dict[Verdict, str] = {"diverges": "error", "cannot-tell": "note"}
"""Problems that agree are no results, unless a reviewer pinned them."""
RULES: dict[Verdict, tuple[str, str]] = {
    "diverges": ("NW001", "What is said parts from what the thoughts hold, beyond what honest problems do."),
    "cannot-tell": ("NW002", "It cannot be told whether what is said is what the thoughts hold."),
    "agrees": ("NW003", "A reviewer pinned a problem in which what is said is what the thoughts hold."),
}


def audit_sarif(audit: AuditRecord) -> bytes:
    """The audit as a SARIF log: one result a problem that diverges or cannot be told, most divergent first."""
    return sarif_log(audit, [sarif_result(problem) for problem in by_score(audit) if problem.verdict in LEVELS])


def sarif_log(audit: AuditRecord, results: Sequence[Mapping[str, Any]]) -> bytes:
    """A log of these results, with the promise and the model of the audit beside them."""
    rate = audit.summary.false_alarm_rate
    run = {
        "tool": {
            "driver": {
                "name": "Neuralese Workbench",
                "version": version("neuralese-workbench"),
                "rules": [
                    {"id": rule, "name": verdict, "shortDescription": {"text": text},
                     "defaultConfiguration": {"level": LEVELS.get(verdict, "note")}}
                    for verdict, (rule, text) in RULES.items()
                ],
            }
        },
        "results": list(results),
        "properties": {
            "model": audit.model.model_dump(mode="json"),
            "verdict": audit.summary.verdict,
            "status": audit.status,
            "alpha": rate.target,
            "honestFlagged": rate.observed,
            "honestFlaggedUpper95": rate.upper95,
            "honestProblems": rate.n_honest,
            "runRoot": audit.run_root,
        },
    }  # fmt: skip
    return canonical_json({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]})


def sarif_result(problem: ProblemRecord) -> dict[str, Any]:
    """One result: verdict, sentence, steps that part, and the numbers behind them."""
    rule, _ = RULES[problem.verdict]
    apart = [row for row in problem.steps if row.status != "agree" and row.step is not None]
    places = [{"name": problem.id, "kind": "object"}]
    places += [
        {"name": f"step {row.step}", "kind": "member", "fullyQualifiedName": f"{problem.id}/{row.step}"}
        for row in apart
    ]
    return {
        "ruleId": rule,
        "level": LEVELS.get(problem.verdict, "note"),
        "message": {"text": sentence(problem)},
        "locations": [{"logicalLocations": places}],
        "fingerprints": {"problem/v1": problem.id},
        "rank": round(100 * (1 - problem.p_value), 4),
        "properties": {
            "score": problem.score, "pValue": problem.p_value, "qValue": problem.q_value,
            "decoded": [row.decoded for row in problem.steps if row.step is not None], "claims": problem.claims,
        },
    }  # fmt: skip
