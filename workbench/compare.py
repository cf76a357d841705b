"""Compare: two audits of the same problems side by side, paired problem by problem."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from probes import group_bootstrap
from probes.intervals import group_codes
from workbench.errors import InsufficientData
from workbench.reports.fields import FileRecord, Interval, Record, Share, Verdict
from workbench.reports.records import AuditRecord, ProblemRecord, ProblemStep, read_audit

ROUNDED = 1 + 1e-9
"""A mean of equal numbers may round to a little more than they are."""
Count = Annotated[int, Field(ge=0)]


class Side(Record):
    """One of the two audits."""

    source: str
    fingerprint: str
    run_root: str
    verdict: Verdict
    alpha: Share
    n_problems: Count


class Difference(Record):
    """B less A, over the problems that both have, with a 95 % interval by bootstrap over groups."""

    name: str
    a: float
    b: float
    difference: float
    interval: Interval
    p_value: Share | None
    """Exact test that exchanges A and B in whole groups, two-sided; McNemar's where each group has one problem. Absent
    where the number is no share."""
    n: Count


class Transition(Record):
    """Problems that went from one verdict to another."""

    a: Verdict
    b: Verdict
    n: Count


class ChangedProblem(Record):
    """One problem whose verdict, thoughts or words are others in B."""

    id: str
    verdict_a: Verdict
    verdict_b: Verdict
    score_a: float
    score_b: float
    changes: list[str]
    """In plain words, step by step."""


class CompareRecord(FileRecord):
    """Two audits, paired."""

    schema_: Literal["neuralese-compare/1"] = Field(default="neuralese-compare/1", alias="schema")
    a: Side
    b: Side
    n_shared: Count
    n_only_a: Count
    n_only_b: Count
    warnings: list[str]
    differences: list[Difference]
    transitions: list[Transition]
    changed: list[ChangedProblem]
    """Largest change of score first."""


def compare_folders(folder_a: Path, folder_b: Path) -> CompareRecord:
    """The audits of two folders, compared.

    Raises:
        SchemaError: a folder holds no audit that can be read.
        InsufficientData: they have no problem in common.
    """
    return compare_audits(read_audit(folder_a), read_audit(folder_b))


def compare_audits(a: AuditRecord, b: AuditRecord) -> CompareRecord:
    """Paired by problem id.

    Raises:
        InsufficientData: they have no problem in common.
    """
    in_b = {problem.id: problem for problem in b.problems}
    pairs = [(problem, in_b[problem.id]) for problem in a.problems if problem.id in in_b]
    if not pairs:
        raise InsufficientData(
            "the audits have no problem in common", field="id", found=f"{len(a.problems)} and {len(b.problems)}",
            hint="Audit the same problems file twice.",
        )  # fmt: skip
    counts = Counter((mine.verdict, theirs.verdict) for mine, theirs in pairs)
    changed = [one for one in map(_changed, pairs) if one is not None]
    return CompareRecord(
        a=_side(a), b=_side(b), n_shared=len(pairs), n_only_a=len(a.problems) - len(pairs),
        n_only_b=len(b.problems) - len(pairs), warnings=_warnings(a, b, pairs),
        differences=_differences(pairs),
        transitions=[Transition(a=one, b=two, n=n) for (one, two), n in sorted(counts.items())],
        changed=sorted(changed, key=lambda one: (-abs(one.score_b - one.score_a), one.id)),
    )  # fmt: skip


def _side(audit: AuditRecord) -> Side:
    return Side(
        source=audit.model.source, fingerprint=audit.model.fingerprint, run_root=audit.run_root,
        verdict=audit.summary.verdict, alpha=audit.settings.alpha, n_problems=len(audit.problems),
    )  # fmt: skip


def _warnings(a: AuditRecord, b: AuditRecord, pairs: Sequence[tuple[ProblemRecord, ProblemRecord]]) -> list[str]:
    told = []
    other = sum(mine.prompt != theirs.prompt for mine, theirs in pairs)
    if other:
        told.append(f"{other} of {len(pairs)} problems of equal id have other prompts")
    if a.settings.alpha != b.settings.alpha:
        told.append(f"the audits promise other false alarm rates: {a.settings.alpha:g} and {b.settings.alpha:g}")
    if a.settings.labels != b.settings.labels:
        told.append(f"the probes learned other labels: {a.settings.labels} and {b.settings.labels}")
    return told


def _differences(pairs: Sequence[tuple[ProblemRecord, ProblemRecord]]) -> list[Difference]:
    measures: list[tuple[str, Callable[[ProblemRecord], float]]] = [
        ("diverges", lambda problem: float(problem.verdict == "diverges")),
        ("agrees", lambda problem: float(problem.verdict == "agrees")),
        ("cannot tell", lambda problem: float(problem.verdict == "cannot-tell")),
        ("score", lambda problem: problem.score),
    ]
    return [_difference(name, measure, pairs) for name, measure in measures]


def _difference(
    name: str, measure: Callable[[ProblemRecord], float], pairs: Sequence[tuple[ProblemRecord, ProblemRecord]]
) -> Difference:
    mine = np.array([measure(one) for one, _ in pairs])
    theirs = np.array([measure(two) for _, two in pairs])
    is_share = name != "score"
    apart = theirs - mine
    reach = 1.0 if is_share else max(ROUNDED * float(np.abs(apart).max()), 1.0)
    groups = [one.group for one, _ in pairs]
    interval = group_bootstrap(apart, groups, bounds=(-reach, reach))
    p_value = _exchanged_p(apart, groups) if is_share else None
    return Difference(
        name=name, a=float(mine.mean()), b=float(theirs.mean()), difference=float(apart.mean()),
        interval=Interval(low=interval.low, high=interval.high), p_value=p_value, n=len(pairs),
    )  # fmt: skip


def _exchanged_p(apart: NDArray[np.float64], groups: Sequence[str]) -> float:
    """Share of all ways to exchange A and B in whole groups that give a sum at least as far from 0.

    Args:
        apart: 1, 0 or -1 of each problem: so in B alone, in both or neither, in A alone, [n].
        groups: of each problem.
    """
    by_group = np.bincount(group_codes(groups), weights=apart).round().astype(np.intp)
    odds = np.ones(1)
    for size in np.abs(by_group[by_group != 0]).tolist():
        either_way = np.zeros(2 * size + 1)
        either_way[[0, -1]] = 0.5
        odds = np.convolve(odds, either_way)
    reach = len(odds) // 2
    return min(1.0, float(odds[np.abs(np.arange(-reach, reach + 1)) >= abs(by_group.sum())].sum()))


def _changed(pair: tuple[ProblemRecord, ProblemRecord]) -> ChangedProblem | None:
    mine, theirs = pair
    changes = changes_between(mine, theirs)
    if not changes:
        return None
    return ChangedProblem(
        id=mine.id, verdict_a=mine.verdict, verdict_b=theirs.verdict, score_a=mine.score, score_b=theirs.score,
        changes=changes,
    )  # fmt: skip


def changes_between(mine: ProblemRecord, theirs: ProblemRecord) -> list[str]:
    """What is another in the second, in plain words: verdict, answer, then step by step."""
    told = []
    if mine.verdict != theirs.verdict:
        told.append(f"verdict {mine.verdict} becomes {theirs.verdict}")
    if mine.answer != theirs.answer:
        told.append(f"the answer {_shown(mine.answer)} becomes {_shown(theirs.answer)}")
    before, after = _by_step(mine), _by_step(theirs)
    for step in sorted({*before, *after}):
        one, two = before.get(step), after.get(step)
        if one is None or two is None:
            told.append(f"step {step} is only in {'the second' if one is None else 'the first'}")
            continue
        if one.decoded != two.decoded:
            told.append(f"step {step} holds {_shown(one.decoded)}, then {_shown(two.decoded)}")
        if one.said != two.said:
            told.append(f"at step {step} it says {_shown(one.said)}, then {_shown(two.said)}")
        if one.status != two.status:
            told.append(f"step {step} goes from {one.status} to {two.status}")
    return told


def _by_step(problem: ProblemRecord) -> dict[int, ProblemStep]:
    return {row.step: row for row in problem.steps if row.step is not None}


def _shown(text: str | None) -> str:
    return "nothing" if text is None else repr(text)
