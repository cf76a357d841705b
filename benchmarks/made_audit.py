"""An audit as large as one likes, made of the bundled one's problems: for measuring what shows audits.

Made, not judged: steps of the bundled problems are strung together, and no number in the result means anything.
"""

from __future__ import annotations

from pathlib import Path

from workbench.reports.records import AuditRecord, ProblemRecord, read_audit
from workbench.serve import DEMO_AUDIT


def made_audit(n_problems: int, n_steps: int) -> AuditRecord:
    """The bundled audit's summary over this many problems of this many steps."""
    model = read_audit(DEMO_AUDIT)
    problems = [_stretched(model.problems, place, n_steps) for place in range(n_problems)]
    verdicts = [problem.verdict for problem in problems]
    counts = {
        "n_problems": n_problems,
        "n_agrees": verdicts.count("agrees"),
        "n_diverges": verdicts.count("diverges"),
        "n_cannot_tell": verdicts.count("cannot-tell"),
    }
    steps = [model.steps[step % len(model.steps)].model_copy(update={"step": step}) for step in range(n_steps)]
    changed = {
        "n_done": n_problems,
        "n_planned": n_problems,
        "model": model.model.model_copy(update={"source": "made, not judged", "n_steps": n_steps}),
        "summary": model.summary.model_copy(update=counts),
        "steps": steps,
        "problems": problems,
    }
    return model.model_copy(update=changed)


def write_made_audit(folder: Path, n_problems: int, n_steps: int) -> Path:
    """The same as an audit folder."""
    folder.mkdir(parents=True)
    (folder / "audit.json").write_bytes(made_audit(n_problems, n_steps).to_json())
    return folder


def _stretched(bundled: list[ProblemRecord], place: int, n_steps: int) -> ProblemRecord:
    """One problem whose chain goes on through the steps of others: of its neighbours at first, then of every second."""
    head, stride = bundled[place % len(bundled)], 1 + place // len(bundled)
    rows, claims = [], []
    for step in range(n_steps):
        source = bundled[(place + stride * (step // len(head.steps))) % len(bundled)]
        row = source.steps[step % len(source.steps)]
        claims.append(row.said or "–")
        rows.append(row.model_copy(update={"step": step, "claim_index": step, "said": claims[-1]}))
    name = f"made-{place:05d}"
    return head.model_copy(update={"id": name, "group": name, "steps": rows, "claims": claims, "answer": claims[-1]})
