"""The cell of the Grid that is picked: its likeliest readings, and how often its reader is right there."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from apps.widgets import metric
from workbench.reports.apply_records import LENSES, Applied
from workbench.reports.escape import visible
from workbench.reports.headline import Headline
from workbench.reports.shares import share, span

NO_PROBABILITY = ("ridge", "mean-difference")
"""Kinds of probes whose scores order the values rightly and are no probabilities."""
UNCONTROLLED = (
    "How often this reader is right at this cell was measured neither on this run nor when it was fitted: no known "
    "value, or readings from before lenses and controls were kept. What it reads here may be chance."
)


def sentence(row: pd.Series, where: str) -> str:
    """What is read in the cell and whether it is right; every text is safe to show."""
    score = "score (no probability)" if row["kind"] in NO_PROBABILITY else "probability"
    unknown = "no value of one token is known here" if row["kind"] in LENSES else "not known"
    told = {"not known": unknown, "right": "right", "wrong": f"wrong: it is {row['truth']}"}[row["right"]]
    return f"{where}: reads {row['shown']} with {score} {share(float(row['score']))}; {told}"


def detail(row: pd.Series, rivals: Sequence[tuple[str, float]], applied: Applied | None) -> None:
    """Beside the grid: what the reading must be compared with, and what else was likely."""
    beside(row["kind"], applied)
    listed = list(rivals) or [(row["read"], float(row["score"]))]
    score = "score" if row["kind"] in NO_PROBABILITY else "probability"
    table = pd.DataFrame([(visible(text), share(float(p))) for text, p in listed], columns=["reads", score])
    st.dataframe(table, hide_index=True, alt="Likeliest readings of this cell")
    if not rivals:
        st.caption("This folder holds no other readings of the cell than the likeliest.")


def beside(kind: str, applied: Applied | None) -> None:
    """The share of problems that the reader reads right at this cell, beside its control; amber where there is none."""
    found = None if applied is None else headline_of(kind, applied)
    if found is None:
        st.badge("uncontrolled", icon=":material/warning:", color="orange", help=UNCONTROLLED)
    else:
        metric(found)
        st.caption(f"95 % {found.interval}, n = {found.n}")


def headline_of(kind: str, applied: Applied) -> Headline | None:
    """What was measured of a reader at one cell: on this run, else when it was fitted; None where it has no control."""
    found = applied.measured or applied.fitted
    if found is None or found.control is None or found.interval is None:
        return None
    if applied.measured is not None:
        control_is = "other problems' values" if kind in LENSES else "shuffled labels"
        where = "on problems of this run that nothing was learned from"
    else:
        control_is = "other rows' words" if kind in LENSES else "shuffled labels"
        where = "on rows held out when it was fitted; no value is known in this run"
    meaning = f"How often this reader names the known value at this cell, {where}."
    value, beside = share(found.accuracy), f"{share(found.control)} with {control_is}"
    return Headline("Right at this cell", value, beside, span(found.interval), str(found.n), meaning)
