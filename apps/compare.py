"""Two problems, or two audits, side by side: what the page Compare draws."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from apps import beside, data, live
from apps.notices import MAKE_AUDIT
from apps.widgets import PLOT, choose, hero_chart, problem_header, theme
from workbench.compare import changes_between, compare_audits
from workbench.errors import WorkbenchError
from workbench.figures.difference import difference, step_differences
from workbench.figures.words import number
from workbench.reports.escape import visible
from workbench.reports.live_records import LiveRecord
from workbench.reports.records import AuditRecord, ProblemRecord
from workbench.reports.tables import by_score

TWO_PROBLEMS, TWO_AUDITS, INTACT_EDITED = "two problems", "two audits", "intact and edited"


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
    """One hero above the other on the same steps, between them what differs step by step, and then in words."""
    _side("A", a, audit_a, problem_header, _columns(a, b))
    _timeline(a, b)
    _side("B", b, audit_b, problem_header, _columns(a, b))
    _changes(changes_between(a, b))


def _side(
    mark: str, problem: ProblemRecord, audit: AuditRecord, header: Callable[[ProblemRecord], None], columns: int
) -> None:
    with st.container(border=True):
        st.caption(mark)
        header(problem)
        hero_chart(problem, audit, key=f"compare-{mark[0]}", columns=columns)


def _columns(a: ProblemRecord, b: ProblemRecord) -> int:
    return len(step_differences(a, b))


def _timeline(a: ProblemRecord, b: ProblemRecord) -> None:
    with st.container(border=True):
        st.caption(
            "What differs: a square where thought, words or status became another; bars: how much more B diverges"
        )
        moved = [one for one in step_differences(a, b) if one.changed]
        told = f"{len(moved)} columns of steps changed" if moved else "no step changed"
        st.plotly_chart(difference(a, b, theme=theme()), theme=None, key="compare-timeline", config=PLOT, alt=told)


def _changes(changes: Sequence[str]) -> None:
    st.subheader("What differs in B", anchor=False)
    for change in changes:
        st.text(visible(change))
    if not changes:
        st.text("Nothing: the same verdict, thoughts and words.")


def by_hand(directory: Path, audit: AuditRecord) -> None:
    """A problem as it ran, and as it ran with a thought zeroed or swapped."""
    found: dict[str, LiveRecord] = {}
    for name, folder in live.kept().items():
        try:
            record = beside.load_live(folder)
        except WorkbenchError:
            continue
        if record.edited is not None and record.model.fingerprint == audit.model.fingerprint:
            found[name] = record
    if not found:
        st.info("No run by hand of this model with an edit is kept. Zero or swap a thought on the page Live, or here:")
        ids = [problem.id for problem in by_score(audit)[:1]] or ["ID"]
        command = ["workbench", "live", audit.model.source, "--audit", beside.typed(directory), f"--problem={ids[0]}",
                   "--edit", "zero", "--out", f"{beside.typed(data.working_root())}/live-1"]  # fmt: skip
        st.code(visible(shlex.join(command)), language=None, wrap_lines=True)
        st.page_link("views/live.py", label="Open Live", icon=":material/arrow_forward:",
                     query_params={"run": str(st.session_state["run"])})  # fmt: skip
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption("Run by hand", width=96)
        record = found[str(choose("Run by hand", list(found), "edited", 240))]
    if record.probes_root != audit.probes_root:
        st.caption("This run was read with the probes of another audit; the bands are of this one.")
    a, b = record.intact, record.edited
    assert b is not None  # those without an edit were left out above
    live.followed(record)
    _side("A: intact", a, audit, _by_hand_header, _columns(a, b))
    _timeline(a, b)
    _side("B: edited", b, audit, _by_hand_header, _columns(a, b))
    _changes(record.changes)


def _by_hand_header(problem: ProblemRecord) -> None:
    """No score: nothing was calibrated on a run by hand."""
    st.text(visible(f"{problem.id}: it answers {problem.answer or 'nothing'}, and says: {problem.said}"))


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
         "95 %": f"{number(one.interval.low)} to {number(one.interval.high)}",
         "p (groups exchanged)": number(one.p_value), "n": one.n}
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
