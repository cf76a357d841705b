"""The verdict on one problem in one plain sentence, and the lines behind each box."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from workbench.reports.escape import short, visible
from workbench.reports.records import ProblemRecord, ProblemStep, StepStatus, StepSummary

_MEANING: dict[StepStatus, str] = {
    "agree": "the thought holds what is said",
    "ahead": "the thought holds a value that another claim says",
    "unsaid": "the thought holds a value that is never said",
    "unsupported": "said, but no thought holds it above control",
    "conflict": "the thought holds one value, another is said",
}

EFFECT: dict[Literal["follows", "moves"], str] = {"follows": "follow", "moves": "move"}
"""What honest problems do when a thought is exchanged: say the other value, or just something else."""


def ranges(numbers: Iterable[int]) -> str:
    """``0-3, 5`` of ``0 1 2 3 5``."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _names(values: Sequence[str | None], limit: int = 4) -> str:
    shown = [short(value, 24) for value in values if value is not None]
    return ", ".join([*shown[:limit], "…"] if len(shown) > limit else shown)


def _clauses(rows: Sequence[ProblemStep]) -> list[str]:
    def of(status: StepStatus) -> list[ProblemStep]:
        return [row for row in rows if row.status == status]

    clauses = []
    if conflict := of("conflict"):
        held, said = _names([row.decoded for row in conflict]), _names([row.said for row in conflict])
        clauses.append(f"the thoughts hold {held}; it says {said}")
    if unsaid := of("unsaid"):
        clauses.append(f"the thoughts hold {_names([row.decoded for row in unsaid])} and it is never said")
    for when, ahead in (
        ("before", [row for row in of("ahead") if (row.held_before or 0) >= 0]),
        ("after", [row for row in of("ahead") if (row.held_before or 0) < 0]),
    ):
        if ahead:
            clauses.append(f"the thoughts hold {_names([row.decoded for row in ahead])} {when} it is said")
    if unsupported := of("unsupported"):
        clauses.append(f"it says {_names([row.said for row in unsupported])} with no thought behind it")
    return clauses


def sentence(problem: ProblemRecord) -> str:
    """One plain-text sentence of verdict, safe to print: hidden characters are written out."""
    if problem.verdict == "cannot-tell":
        return f"Cannot tell: {visible(problem.reason or '').rstrip('.')}."
    apart = [row for row in problem.steps if row.status != "agree"]
    if problem.verdict == "agrees":
        if apart:
            few = f"{len(apart)} of {len(problem.steps)} steps read otherwise"
            return f"Agrees: {few}, no more than on honest problems."
        held = _names([row.decoded for row in problem.steps])
        if not held:
            return "Agrees, though no thought was compared with what is said."
        return f"Agrees: what is said is what the thoughts hold ({held})."
    if not apart:
        return f"Diverges: score {problem.score:.3g} lies beyond honest problems, though no single step does."
    steps = [row.step for row in apart if row.step is not None]
    claims = [row.claim_index for row in apart if row.step is None and row.claim_index is not None]
    where, numbers = ("step", steps) if steps else ("claim", claims)
    place = f" at {where}{'s' if len(set(numbers)) > 1 else ''} {ranges(numbers)}" if numbers else ""
    return f"Diverges{place}: {'; '.join(_clauses(apart))}.".replace("….", "…")


def number(value: float | None, digits: int = 3) -> str:
    """A number for people; an absent one is a dash."""
    return "–" if value is None else f"{value:.{digits}g}"


def claims_away(held_before: int) -> str:
    """How far from a thought its value is said."""
    n = abs(held_before)
    return f"{n} claim{'s' if n > 1 else ''} {'later' if held_before > 0 else 'earlier'}"


def thought_lines(row: ProblemStep, summary: StepSummary | None) -> list[str]:
    """What a thought box says when pointed at (plain visible text, one line each)."""
    lines = [f"step {row.step}: {row.status} ({_MEANING[row.status]})"]
    lines += [f"reads {short(top.value, 40)}  p = {number(top.probability)}" for top in row.top[:5]]
    if row.said is not None:
        lines.append(f"said there: {short(row.said, 40)}")
    lines.append(f"conformal p = {number(row.p_value)}, unseen p = {number(row.unseen_p)}, norm = {number(row.norm)}")
    if summary is not None:
        read = f"decoded right {number(summary.decode_accuracy)}, control {number(summary.control)}"
        verb = EFFECT[summary.measure]
        moved = f"exchanged, {number(summary.causal_effect)} {verb}; placebo {number(summary.placebo_effect)}"
        lines += [f"this step over {summary.n} honest problems: {read}", f"{moved} (n = {summary.n_causal})"]
    return lines


def claim_lines(index: int, claim: str, rows: Sequence[ProblemStep]) -> list[str]:
    """What a claim box says when pointed at."""
    lines = [f"claim {index}: {short(claim, 60)}"]
    for row in rows:
        against = "no thought" if row.step is None else f"thought {row.step} reads {short(row.decoded or '–', 24)}"
        answer = "" if row.said in {None, claim} else f", and the answer is {short(row.said or '', 24)}"
        lines.append(f"{row.status}: {against}{answer}")
    return lines if rows else [*lines, "no thought was compared with it"]
