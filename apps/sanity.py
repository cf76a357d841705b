"""What the page Sanity & controls draws: every number of an audit that says how far to trust the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from apps.widgets import PLOT, theme
from workbench.figures import causal_by_step, decode_by_step
from workbench.figures.sanity import dose_curves, lag_histogram
from workbench.reports.causal_records import Counted
from workbench.reports.escape import visible
from workbench.reports.limits import uncontrolled
from workbench.reports.records import AuditRecord
from workbench.reports.shares import share, span


def controls_badge(audit: AuditRecord) -> None:
    """Amber where a control was not run."""
    absent = uncontrolled(audit)
    if absent:
        st.badge("uncontrolled", icon=":material/warning:", color="orange")
        st.text(f"Not run in this audit: {', '.join(absent)}. Audit again to have them.")
    else:
        st.badge("all controls were run", icon=":material/check:", color="blue")


def _table(rows: Sequence[dict[str, Any]], what: str) -> None:
    st.dataframe(pd.DataFrame(rows), hide_index=True, alt=what)


def _counted(one: Counted | None) -> str:
    return "–" if one is None else f"{share(one.share)} ({span(one.interval)}, n = {one.n})"


def reading(audit: AuditRecord) -> None:
    """Can the thoughts be read, better than what?"""
    st.subheader("Can the thoughts be read?", anchor=False)
    st.plotly_chart(decode_by_step(audit, theme=theme()), theme=None, key="sanity-decode", config=PLOT)
    _table(
        [
            {
                "step": step.step, "decoded right": share(step.decode_accuracy), "95 %": span(step.decode_interval),
                "shuffled labels": share(step.control), "p": step.selectivity_p, "majority": share(step.majority),
                "input only": share(step.input_only), "previous step": share(step.previous_step),
                "logit lens": share(step.logit_lens), "n": step.n, "readable": "yes" if step.readable else "no",
            }
            for step in audit.steps
        ],
        "Accuracy of each step's probe beside its controls",
    )  # fmt: skip


def alarms(audit: AuditRecord) -> None:
    """What is promised, what was kept, and what would have been caught."""
    st.subheader("False alarms, and what would have been caught", anchor=False)
    rate = audit.summary.false_alarm_rate
    st.text(
        f"Promised: at most {share(rate.target)} of honest problems. Of {rate.n_honest} that were held out "
        f"{share(rate.observed)} are flagged, at most {share(rate.upper95)} at 95 %; {rate.n_needed} without an alarm "
        f"certify the promise."
    )
    if audit.power is not None:
        st.text(audit.power.sentence())
        _table(
            [
                {"planted": lie.kind, "called divergent": share(lie.share), "95 %": span(lie.interval), "n": lie.n,
                 "beyond calibration": share(lie.beyond), "honest problems that suffice": lie.n_honest_enough,
                 "missed because": visible(lie.missed or "–")}
                for lie in audit.power.lies
            ],
            "Lies planted among held-out honest problems",
        )  # fmt: skip
    if audit.text is not None:
        st.text(visible(audit.text.sentence()))


def causes(audit: AuditRecord) -> None:
    """Are the thoughts used?"""
    st.subheader("Are the thoughts used?", anchor=False)
    channel = audit.summary.channel
    covered = "nothing moves" if channel.coverage is None else share(channel.coverage)
    interval = "" if channel.coverage_interval is None else f" (95 % interval {span(channel.coverage_interval)})"
    st.text(f"Coverage, the thoughts' share of what the whole channel moves: {covered}{interval}, n = {channel.n}.")
    left, right = st.columns(2)
    with left:
        st.plotly_chart(causal_by_step(audit, theme=theme()), theme=None, key="sanity-causal", config=PLOT)
    with right:
        if any(step.doses for step in audit.steps):
            st.plotly_chart(dose_curves(audit, theme=theme()), theme=None, key="sanity-doses", config=PLOT)
    if channel.edits:
        _table(
            [
                {"edit": edit.edit, "on": edit.target, "said text moves": _counted(edit.said),
                 "answer moves": _counted(edit.answers), "claims move": _counted(edit.claims),
                 "answer is the donor's": _counted(edit.follows), "not tried": visible(edit.absent or "–")}
                for edit in channel.edits
            ],
            "What every edit of all steps does",
        )  # fmt: skip


def lag(audit: AuditRecord) -> None:
    """How far thoughts run ahead of words."""
    st.subheader("How far do thoughts run ahead of words?", anchor=False)
    st.plotly_chart(lag_histogram(audit, theme=theme()), theme=None, key="sanity-lag", config=PLOT)
