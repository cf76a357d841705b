"""One problem, read at every site and step: what the page Grid draws from a folder that `workbench apply` wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from apps import data
from apps.grid_chart import Cells, Colour, cells_chart
from apps.widgets import choose, place_of
from workbench.reports.escape import visible
from workbench.reports.shares import share

MAKE = (
    "workbench capture MODEL --problems p.jsonl --out runs/run --sites 'blocks.*.hook_resid_post'\n"
    "workbench fit runs/run --out runs/probes\nworkbench apply runs/probes runs/run --out runs/readings"
)
STEP_IS = {"recurrent": "recurrence", "memory": "episode"}
"""What a step is called where the family of the model has its own word for it."""


def folders() -> dict[str, Path]:
    """Folders of readings below those the dashboard was started with."""
    found: dict[str, Path] = {}
    for root in data.roots():
        for path in data.inside(root, data.READINGS):
            below = path.parent.relative_to(root.resolve())
            found[visible(str(below) if below.parts else root.name)] = path.parent
    return found


def folder_of(found: dict[str, Path]) -> str:
    """The folder of readings that is likeliest meant: one that reads the problem which the link names."""
    asked = st.session_state.get("problem", st.query_params.get("problem"))
    holds = (name for name, folder in found.items() if _reads(folder, asked))
    return next(holds, next(iter(found)))


def _reads(folder: Path, asked: Any) -> bool:
    ids = data.reading_ids(folder)
    return asked in ids or asked in map(visible, ids)


def chosen(folder: Path) -> pd.DataFrame:
    """Readings of the problem, label and kind of probe that are picked."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption("Problem", width=70)
        problem = str(choose("Problem", data.reading_ids(folder), "problem", 260))
        rows = data.readings_of(folder, problem)
        st.caption("Label", width=40)
        label = str(choose("Label", sorted(rows["label"].unique()), "label", 180))
        st.caption("Probe", width=44)
        kind = str(choose("Probe", sorted(rows["kind"].unique()), "probe", 220))
    rows = rows[(rows["label"] == label) & (rows["kind"] == kind)].copy()
    rows["shown"] = rows["read"].map(visible)
    rows["truth"] = rows["known"].fillna("").map(visible)
    rows["right"] = [_right(read, known) for read, known in zip(rows["read"], rows["known"], strict=True)]
    rows["where"] = rows["site"].map(visible)
    return rows


def _right(read: str, known: str | None) -> str:
    return "not known" if pd.isna(known) else "right" if read == known else "wrong"


def draw(rows: pd.DataFrame, family: str | None) -> None:
    """The grid, the cell that is picked, and the same as a table."""
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
    row = rows[(rows["where"] == site) & (rows["step"] == step)].iloc[0]
    told = {"not known": "not known", "right": "right", "wrong": f"wrong: it is {row['truth']}"}[row["right"]]
    st.text(f"{site}, {step_is} {step}: reads {row['shown']} with probability {share(float(row['score']))}; {told}")

    def take(across: str, up: str) -> None:
        where, when = (across, up) if turned else (up, across)
        st.session_state["site"], st.session_state["step"] = where, int(when)

    picked = (site, str(step)) if turned else (str(step), site)
    cells = cells_of(rows, step_is, turned=turned)
    cells_chart(cells, colour, picked=picked, key=f"grid-{turned}", take=take, alt=f"Readings by site and {step_is}")
    with st.expander("The same as a table"):
        shown = rows[["where", "step", "shown", "score", "truth", "right"]]
        shown.columns = ["site", step_is, "reads", "probability", "known", "is it right"]
        st.dataframe(shown, hide_index=True, alt="Readings of this problem, site by step")


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
