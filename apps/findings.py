"""Pinning, labelling and handing on: what the page Findings draws, and the pin on the page Trace."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import streamlit as st

from apps import data
from apps.widgets import forget_other_runs, hero_chart, keep_in_link, picked_row, place_of, problem_header, say_unknown
from workbench.errors import WorkbenchError
from workbench.figures.words import number
from workbench.findings import Finding, Labels, agreements, append
from workbench.findings.export import findings_rows, standing
from workbench.findings.records import MAX_AUTHOR, MAX_COMMENT, Action, Category, Confidence, Key, Severity
from workbench.reports.escape import visible
from workbench.reports.records import AuditRecord
from workbench.reports.shares import share, span


def reviewer() -> str:
    """Who is looking; kept while the browser is open."""
    name = st.text_input("Reviewer", key="reviewer", max_chars=MAX_AUTHOR, placeholder="your name", width=220)
    return (name or "").strip()


def act(directory: Path, audit: AuditRecord, action: Action, key: Key, **more: Any) -> None:
    """Add to the history, or say why not."""
    try:
        append(directory, audit, action, key, author=str(st.session_state.get("reviewer") or ""), **more)
    except WorkbenchError as error:
        told = f"{error.message}{f' ({error.hint})' if error.hint else ''}"
        st.session_state["finding-error"] = visible(told)
    else:
        st.session_state.pop("finding-error", None)


def told_error() -> None:
    """What went wrong when the last button was pressed."""
    if "finding-error" in st.session_state:
        st.error("Nothing was written.", icon=":material/error:")
        st.text(st.session_state["finding-error"])


def pin(directory: Path, audit: AuditRecord, key: Key) -> None:
    """Name and button that pin a step of a problem."""
    if data.is_bundled(directory):
        st.caption("This audit came with the program and stays as it is. To pin findings: `workbench demo`.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = reviewer()
        known = {(one.problem, one.step) for one in standing(data.findings_of(directory))}
        st.button(
            "Pinned" if key in known else "Pin as finding", shortcut="F", icon=":material/push_pin:",
            disabled=key in known or not name, on_click=act, args=(directory, audit, "pin", key),
            help="Needs a reviewer's name." if not name else None,
        )  # fmt: skip
    told_error()


def chosen(audit: AuditRecord, found: Sequence[Finding]) -> Finding:
    """The table of findings; the row that is picked, the first to begin with."""
    frame = pd.DataFrame(findings_rows(audit, found)).map(visible)
    forget_other_runs()
    linked = [(visible(one.problem), None if one.step is None else str(one.step)) for one in found]
    asked = (st.query_params.get("problem"), st.query_params.get("step"))
    say_unknown("Finding", "problem", [name for name, _ in linked])
    first = place_of(linked, asked)
    event = st.dataframe(
        frame, hide_index=True, on_select="rerun", selection_mode="single-cell", key="findings",
        selection_default={"selection": {"cells": [(first, str(frame.columns[0]))]}},
        height=min(35 * (len(frame) + 1) + 3, 320), alt="Findings that stand",
    )  # fmt: skip
    place, is_picked = picked_row(event, "findings", len(found), first)
    place = min(place, len(found) - 1)
    if is_picked:
        keep_in_link(problem=linked[place][0], step=linked[place][1])
    return found[place]


def review(directory: Path, audit: AuditRecord, one: Finding) -> None:
    """One finding: what it is about, its labels and words, and a place for one's own."""
    problem = audit.problem(one.problem)
    problem_header(problem)
    hero_chart(problem, audit, key="finding-hero", step=one.step)
    key: Key = (one.problem, one.step)
    name = st.session_state.get("reviewer") or ""
    place = f"{one.problem}-{one.step}"
    with st.form(f"label-{place}", border=True):
        left, middle, right = st.columns(3)
        severity = left.selectbox("Severity", get_args(Severity), key=f"severity-{place}")
        category = middle.selectbox("Category", get_args(Category), key=f"category-{place}")
        confidence = right.selectbox("Confidence", get_args(Confidence), key=f"confidence-{place}")
        comment = st.text_area("Comment", max_chars=MAX_COMMENT, key=f"comment-{place}", height=80)
        if st.form_submit_button("Label", disabled=not name, help=None if name else "Needs a reviewer's name."):
            labels = Labels(severity=severity, category=category, confidence=confidence)
            act(directory, audit, "label", key, labels=labels, comment=comment)
            st.rerun()
    st.button("Take back", disabled=not name, on_click=act, args=(directory, audit, "withdraw", key))
    told_error()
    with st.expander(f"History ({len(one.events)})", expanded=True):
        rows = [
            {"at": event.at, "who": visible(event.author), "did": event.action,
             "labels": " · ".join(event.labels.model_dump().values()) if event.labels else "–",
             "said": visible(event.comment or "–")}
            for event in one.events
        ]  # fmt: skip
        st.dataframe(pd.DataFrame(rows), hide_index=True, alt="What was done to this finding, oldest first")


def agreement(found: Sequence[Finding]) -> None:
    """Do reviewers agree?"""
    rows = [
        {"reviewers": visible(f"{row.first} and {row.second}"), "label": row.label, "equal": share(row.share),
         "95 %": span(row.interval), "Cohen's kappa": number(row.kappa), "n": row.n}
        for row in agreements(found)
    ]  # fmt: skip
    if rows:
        st.subheader("Do reviewers agree?", anchor=False)
        st.dataframe(pd.DataFrame(rows), hide_index=True, alt="Agreement of reviewers, label by label")


def nothing_pinned(directory: Path) -> None:
    """How to pin, where nothing stands."""
    st.info("Nothing is pinned yet. Open a problem, walk to the step, and press F or **Pin as finding**.")
    if data.is_bundled(directory):
        st.caption("Not here: this audit came with the program and stays as it is. Make one of your own:")
        st.code("workbench demo", language=None)
    st.page_link("views/trace.py", label="Open the most divergent problem", icon=":material/arrow_forward:",
                 query_params={"run": str(st.session_state["run"])})  # fmt: skip


def report_link() -> None:
    """To the page that hands findings on."""
    st.page_link("views/report.py", label="Hand on these findings", icon=":material/ios_share:",
                 query_params={"run": str(st.session_state["run"]), "hand": "findings"})  # fmt: skip
