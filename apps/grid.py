"""One problem, read at every site and step: what the page Grid draws from a folder that `workbench apply` wrote."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from apps import grid_cell, readings
from apps.grid_chart import Cells, Colour, cells_chart
from apps.widgets import choose, place_of
from workbench.reports.apply_records import LENSES, Applied
from workbench.reports.escape import visible

MAKE = (
    "workbench capture MODEL --problems p.jsonl --out runs/run --sites 'blocks.*.hook_resid_post'\n"
    "workbench fit runs/run --out runs/probes --model MODEL\n"
    "workbench apply runs/probes runs/run --out runs/readings --model MODEL"
)
READ_BY_LENSES = "workbench apply PROBES RUN --out DIR --model MODEL"
STEP_IS = {"recurrent": "recurrence", "memory": "episode"}
"""What a step is called where the family of the model has its own word for it."""


def folder_of(found: dict[str, Path]) -> str:
    """The folder of readings that is likeliest meant: one that reads the problem which the link names."""
    asked = st.session_state.get("problem", st.query_params.get("problem"))
    holds = (name for name, folder in found.items() if _reads(folder, asked))
    return next(holds, next(iter(found)))


def _reads(folder: Path, asked: Any) -> bool:
    ids = readings.ids(folder)
    return asked in ids or asked in map(visible, ids)


def chosen(folder: Path) -> tuple[str, pd.DataFrame]:
    """The problem that is picked, and its readings of the label and by the reader that are."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption("Problem", width=70)
        problem = str(choose("Problem", readings.ids(folder), "problem", 260))
        rows = readings.of_problem(folder, problem)
        st.caption("Label", width=40)
        labels = sorted(rows["label"].unique(), key=lambda label: (label != "thought", label))
        label = str(choose("Label", labels, "label", 180))
        rows = rows[rows["label"] == label]
        st.caption("Read by", width=56)
        kinds = sorted(rows["kind"].unique(), key=lambda kind: (kind in LENSES, kind))
        kind = str(choose("Reader", kinds, "probe", 220))
    rows = rows[rows["kind"] == kind].copy()
    rows["shown"] = rows["read"].map(visible)
    rows["truth"] = rows["known"].fillna("").map(visible)
    rows["right"] = [_right(read, known) for read, known in zip(rows["read"], rows["known"], strict=True)]
    rows["where"] = _where(rows)
    return problem, rows.sort_values("step", kind="stable").sort_values("where", kind="stable", key=_in_order)


def _right(read: str, known: str | None) -> str:
    return "not known" if pd.isna(known) else "right" if read == known else "wrong"


def _where(rows: pd.DataFrame) -> pd.Series:
    """The site, and which visit where a step has several that are read one by one."""
    sites = rows["site"].map(visible)
    if "visit" not in rows or not (rows["visit"] > 0).any():
        return sites
    several = rows["site"].isin(rows.loc[rows["visit"] > 0, "site"])
    return sites.where(~several, sites + ", visit " + rows["visit"].fillna(0).astype(int).astype(str))


def _in_order(names: pd.Series) -> pd.Series:
    """Block 2 before block 10."""
    return names.map(lambda name: re.sub(r"\d+", lambda number: number[0].zfill(12), name))


def draw(folder: Path, problem: str, rows: pd.DataFrame) -> None:
    """The grid, the cell that is picked beside what it must be compared with, and the same as a table."""
    family, applied = readings.family(folder), readings.applied(folder)
    step_is = STEP_IS.get(family or "", "latent step")
    with st.container(horizontal=True, vertical_alignment="center"):
        site, step = _cell(rows, step_is)
        turned = False
        if family == "recurrent":
            st.caption("Rows", width=40)
            turned = choose("Rows", ["site", "recurrence"], "rows", 130) == "recurrence"
        st.caption("Colour", width=48)
        colours: list[Colour] = ["probability", "right or wrong"]
        colour: Colour = choose("Colour", colours, "colour", 150)
    at = int(np.flatnonzero((rows["where"] == site) & (rows["step"] == step))[0])
    row = rows.iloc[at]
    st.text(grid_cell.sentence(row, f"{site}, {step_is} {step}"))

    def take(across: str, up: str) -> None:
        where, when = (across, up) if turned else (up, across)
        st.session_state["site"], st.session_state["step"] = where, int(when)

    picked = (site, str(step)) if turned else (str(step), site)
    cells = cells_of(rows, step_is, turned=turned)
    figure, beside = st.columns([3, 1])
    with figure:
        words = f"Readings by site and {step_is}"
        cells_chart(cells, colour, picked=picked, key=f"grid-{turned}", take=take, alt=words)
    with beside:
        grid_cell.detail(row, readings.rivals(folder, problem, int(rows.index[at])), applied.get(row["probe"]))
    with st.expander("The same as a table"):
        st.dataframe(_told(rows, applied, step_is), hide_index=True, alt="Readings of this problem, site by step")


def _told(rows: pd.DataFrame, applied: dict[str, Applied], step_is: str) -> pd.DataFrame:
    """All cells, each beside how often its reader is right there and what that must be compared with."""
    shown = rows[["where", "step", "shown", "score", "truth", "right"]]
    shown.columns = ["site", step_is, "reads", "probability", "known", "is it right"]
    kind = str(rows["kind"].iloc[0])
    found = [applied.get(name) for name in rows["probe"]]
    beside = [None if one is None else grid_cell.headline_of(kind, one) for one in found]
    told = {
        "right over problems": ["–" if one is None else f"{one.value} ({one.interval}, n = {one.n})" for one in beside],
        "control": ["uncontrolled" if one is None else one.control for one in beside],
    }
    return shown.assign(**told)


def _cell(rows: pd.DataFrame, step_is: str) -> tuple[str, int]:
    sites = list(dict.fromkeys(rows["where"]))
    st.caption("Cell", width=70)
    site = str(choose("Site", sites, "site", 260))
    known: Sequence[int] = sorted(rows.loc[rows["where"] == site, "step"].unique().tolist())

    def walk(by: int) -> None:
        now = place_of(known, st.session_state.get("step"))
        st.session_state["step"] = known[min(max(now + by, 0), len(known) - 1)]

    step = int(choose("Step", known, "step", 90))
    st.button("Previous", on_click=walk, args=(-1,), shortcut="H", disabled=step == known[0], help=f"{step_is} before")
    st.button("Next", on_click=walk, args=(1,), shortcut="L", disabled=step == known[-1], help=f"{step_is} after")
    return site, step


def cells_of(rows: pd.DataFrame, step_is: str, *, turned: bool) -> Cells:
    """Site by step, the first site at the bottom; turned, recurrence by site, the last recurrence at the top."""
    sites, steps = list(dict.fromkeys(rows["where"])), [str(step) for step in sorted(rows["step"].unique())]
    marks = {"not known": "", "right": " ✓", "wrong": " ✗"}
    where, when = rows["where"], rows["step"].astype(str)
    frame = pd.DataFrame({
        "across": where if turned else when, "up": when if turned else where, "value": rows["score"],
        "known": rows["right"], "label": rows["shown"], "truth": rows["truth"],
        "text": rows["shown"] + rows["right"].map(marks),
    })  # fmt: skip
    if turned:
        return Cells(frame, "site", step_is, sites, steps[::-1], wide_labels=True)
    return Cells(frame, step_is, "site", steps, sites[::-1])


def offer_lenses(rows: pd.DataFrame) -> None:
    """How to have lenses read the run too, where none did."""
    if rows["kind"].isin(LENSES).any():
        return
    with st.expander("Read by lenses too"):
        st.caption("The model's own head reads every vector that it can; so do tuned lenses, where the fit kept some:")
        st.code(READ_BY_LENSES, language=None)
