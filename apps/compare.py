"""Two problems, or two audits, side by side: what the page Compare draws."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import streamlit as st

from apps import data
from apps.widgets import MAKE_AUDIT, choose, hero_chart, problem_header
from workbench.compare import changes_between, compare_audits
from workbench.errors import WorkbenchError
from workbench.figures.words import number
from workbench.reports.escape import visible
from workbench.reports.records import AuditRecord, ProblemRecord
from workbench.reports.tables import by_score

TWO_PROBLEMS, TWO_AUDITS = "two problems", "two audits"


def other_audit(runs: Mapping[str, Path], directory: Path) -> tuple[str, Path] | None:
    """The audit to compare with, kept in the address bar; None where there is no other."""
    others = {name: path for name, path in runs.items() if path != directory and not data.is_fit(path)}
    if not others:
        st.info("There is no other audit in these folders. Audit the same problems once more, then open both:")
        st.code("workbench dashboard runs/before runs/after", language=None)
        return None
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption("Compared with", width=110)
        name = str(choose("Compared with", list(others), "with", 300))
    return name, others[name]


def pair(a: ProblemRecord, audit_a: AuditRecord, b: ProblemRecord, audit_b: AuditRecord) -> None:
    """One hero above the other on the same steps, and what is another in the second."""
    for mark, problem, audit in (("A", a, audit_a), ("B", b, audit_b)):
        with st.container(border=True):
            st.caption(mark)
            problem_header(problem)
            hero_chart(problem, audit, key=f"compare-{mark}")
    st.subheader("What differs in B", anchor=False)
    changes = changes_between(a, b)
    for change in changes:
        st.text(visible(change))
    if not changes:
        st.text("Nothing: the same verdict, thoughts and words.")


def problems(audit: AuditRecord) -> None:
    """Two problems of one audit."""
    ids = [problem.id for problem in by_score(audit)]
    if len(ids) < 2:
        st.info("This audit holds fewer than two problems. Audit more of them:")
        st.code(MAKE_AUDIT, language=None, wrap_lines=True)
        return
    left, right = st.columns(2)
    with left, st.container(horizontal=True, vertical_alignment="center"):
        st.caption("A", width=24)
        a = str(choose("A", ids, "problem", 300))
    with right, st.container(horizontal=True, vertical_alignment="center"):
        st.caption("B", width=24)
        b = str(choose("B", ids[::-1], "second", 300))
    pair(audit.problem(a), audit, audit.problem(b), audit)


def audits(audit: AuditRecord, other: AuditRecord) -> None:
    """Two audits of the same problems, and one problem in both."""
    try:
        record = compare_audits(audit, other)
    except WorkbenchError as error:
        st.info(f"{error.message}. {error.hint or ''}")
        return
    for warning in record.warnings:
        st.text(f"Note: {warning}.")
    rows = [
        {"over shared problems": one.name, "A": number(one.a), "B": number(one.b), "B less A": number(one.difference),
         "95 %": f"{number(one.interval.low)} to {number(one.interval.high)}", "p (McNemar)": number(one.p_value),
         "n": one.n}
        for one in record.differences
    ]  # fmt: skip
    st.dataframe(pd.DataFrame(rows), hide_index=True, alt="Differences of the two audits")
    moved = [{"verdict in A": one.a, "verdict in B": one.b, "problems": one.n} for one in record.transitions]
    st.dataframe(pd.DataFrame(moved), hide_index=True, alt="Verdicts in both audits")
    changed = [
        {"problem": visible(one.id), "score in A": one.score_a, "score in B": one.score_b,
         "changes": visible("; ".join(one.changes))}
        for one in record.changed
    ]  # fmt: skip
    st.caption(f"{len(changed)} of {record.n_shared} shared problems changed; {record.n_only_a} are only in A, "
               f"{record.n_only_b} only in B.")  # fmt: skip
    if changed:
        st.dataframe(pd.DataFrame(changed), hide_index=True, height=248, alt="What changed, largest first")
    shared = [one.id for one in record.changed] or [problem.id for problem in by_score(audit)]
    in_other = {problem.id for problem in other.problems}
    chosen = str(choose("Problem", [name for name in shared if name in in_other], "problem", 300))
    pair(audit.problem(chosen), audit, other.problem(chosen), other)
