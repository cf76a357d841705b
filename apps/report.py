"""What the page Report draws: what is handed on, a look at it, its files, and what to type to get them again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd
import streamlit as st

from apps import beside, data, findings, widgets
from workbench.figures import hero_svg, sentence
from workbench.findings import Finding
from workbench.findings.choice import Choice, labels_of, name_of
from workbench.findings.export import findings_rows, standing
from workbench.report import FORMATS, commands
from workbench.reports.escape import visible
from workbench.reports.html import WORST_DRAWN
from workbench.reports.limits import limits, uncontrolled
from workbench.reports.records import AuditRecord, ProblemRecord
from workbench.reports.tables import by_score, listed_rows, verdict_table

FINDINGS, WHOLE = "findings", "the whole audit"
ANY = "any label"
DRAWN = 960
"""Width of a drawing in pixels, as in the page that is handed on; a narrower window shrinks it."""


def choice(found: Sequence[Finding]) -> Choice | None:
    """Which findings, or the whole audit (None); kept in the address bar."""
    stand = standing(found)
    widgets.start_with("Content", "hand", [FINDINGS, WHOLE], FINDINGS if stand else WHOLE)
    kind = st.segmented_control("Hand on", [FINDINGS, WHOLE], key="hand", bind="query-params", required=True,
                                label_visibility="collapsed")  # fmt: skip
    if kind != FINDINGS:
        return None
    left, right = st.columns([1, 3])
    options = [ANY, *labels_of(stand)]
    widgets.start_with("Label", "labelled", options)
    label = left.selectbox(
        "Label", options, index=None, key="labelled", required=True, bind="query-params", label_visibility="collapsed"
    )
    names = right.multiselect(
        "Findings", [name_of(one) for one in stand], key="finding", bind="query-params", format_func=visible,
        placeholder="all findings that stand", label_visibility="collapsed",
    )  # fmt: skip
    return Choice(None if label in (None, ANY) else label, tuple(names))


def files(directory: Path, audit: AuditRecord, chosen: Sequence[Finding] | None) -> None:
    """A button for every format."""
    provenance = data.provenance_of(directory)
    with st.container(horizontal=True):
        for kind, one in FORMATS.items():
            name = one.name(of_findings=chosen is not None)
            st.download_button(
                one.label, partial(one.make, audit, chosen, provenance), file_name=name, mime=one.mime,
                on_click="ignore", key=f"export-{kind}", icon=":material/download:", help=name,
            )  # fmt: skip


def look(directory: Path, audit: AuditRecord, chosen: Sequence[Finding] | None) -> None:
    """The same numbers, rows and drawings that the files hold."""
    widgets.verdict_banner(audit)
    for column, headline in zip(st.columns(5), data.headlines_of(directory), strict=True):
        with column:
            widgets.metric(headline)
    if chosen is None:
        _rows(verdict_table(audit), "Verdict by condition")
        _rows(listed_rows(audit), "Problems by score")
        _heroes(audit, [(problem, None) for problem in by_score(audit)])
        return
    _rows(findings_rows(audit, chosen), "Findings that are handed on")
    _heroes(audit, [(audit.problem(one.problem), one) for one in chosen])
    findings.agreement(chosen)


def _rows(rows: Sequence[dict[str, str]], what: str) -> None:
    frame = pd.DataFrame(rows).map(visible)
    st.dataframe(frame, hide_index=True, height=min(35 * (len(frame) + 1) + 3, 248), alt=what)


def _heroes(audit: AuditRecord, shown: Sequence[tuple[ProblemRecord, Finding | None]]) -> None:
    for problem, one in shown[:WORST_DRAWN]:
        with st.container(border=True):
            widgets.problem_header(problem)
            if one is not None:
                step = "" if one.step is None else f"Step {one.step}. "
                st.text(visible(f"{step}Pinned by {one.pinned_by}, {one.pinned_at}."))
            svg = hero_svg(problem, audit, theme=widgets.theme(), caption=False)
            st.image(svg, width=DRAWN, alt=sentence(problem))
    if len(shown) > WORST_DRAWN and shown[0][1] is not None:
        st.caption(f"{len(shown) - WORST_DRAWN} more are drawn in the page that is handed on.")


def untested(audit: AuditRecord) -> None:
    """What the audit did not test, from its own record."""
    st.subheader("What was not tested", anchor=False)
    absent = uncontrolled(audit)
    if absent:
        st.badge("uncontrolled", icon=":material/warning:", color="orange")
        st.text(f"Not run in this audit: {', '.join(absent)}.")
    with st.container(gap="xsmall"):
        for text in [*audit.warnings, *limits(audit)]:
            st.text(visible(f"•  {text}"))


def again(directory: Path, audit: AuditRecord, chosen: Choice | None) -> None:
    """The commands that make the audit and these files again."""
    st.subheader("How to reproduce", anchor=False)
    for what, line in commands(beside.typed(directory), chosen, data.provenance_of(directory)):
        if line is None:
            st.caption(f"How {what} was started is not recorded.")
        else:
            st.caption(f"For {what}:")
            st.code(visible(line), language=None, wrap_lines=True)
    st.text(f"run_root {audit.run_root}, probes_root {audit.probes_root}")
