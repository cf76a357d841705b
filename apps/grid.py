"""One problem, read at every site and step: what the page Grid draws from a folder that `workbench apply` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from apps import data
from apps.widgets import choose
from workbench.reports.escape import visible
from workbench.reports.shares import share

WITH_TEXT, WITH_CLICKS = 400, 10_000
"""Most cells that carry their text, and that can be clicked: more of either is too slow in a browser."""
MAKE = (
    "workbench capture MODEL --problems p.jsonl --out runs/run --sites 'blocks.*.hook_resid_post'\n"
    "workbench fit runs/run --out runs/probes\nworkbench apply runs/probes runs/run --out runs/readings"
)


def folders() -> dict[str, Path]:
    """Folders of readings below those the dashboard was started with."""
    found: dict[str, Path] = {}
    for root in data.roots():
        for path in data.inside(root, data.READINGS):
            below = path.parent.relative_to(root.resolve())
            found[visible(str(below) if below.parts else root.name)] = path.parent
    return found


def chosen(folder: Path) -> pd.DataFrame:
    """Readings of the problem, label and kind of probe that are picked."""
    with st.container(horizontal=True, vertical_alignment="center"):
        problem = str(choose("Problem", data.reading_ids(folder), "problem", 260))
        rows = data.readings_of(folder, problem)
        label = str(choose("Label", sorted(rows["label"].unique()), "label", 180))
        kind = str(choose("Probe", sorted(rows["kind"].unique()), "probe", 220))
    rows = rows[(rows["label"] == label) & (rows["kind"] == kind)].copy()
    rows["shown"] = rows["read"].map(visible)
    rows["truth"] = rows["known"].fillna("").map(visible)
    rows["mark"] = [_mark(read, known) for read, known in zip(rows["read"], rows["known"], strict=True)]
    rows["where"] = rows["site"].map(visible)
    return rows


def _mark(read: str, known: str | None) -> str:
    return "" if pd.isna(known) else "✓" if read == known else "✗"


def heatmap(rows: pd.DataFrame) -> Any:
    """Site by step, coloured by the probability of what is read; a tick or a cross where the truth is known."""
    sites = list(dict.fromkeys(rows["where"]))[::-1]
    x = alt.X("step:O", title="latent step", axis=alt.Axis(labelAngle=0))
    y = alt.Y("where:N", title=None, sort=sites, axis=alt.Axis(labelLimit=260))
    tips = [
        alt.Tooltip("where:N", title="site"), alt.Tooltip("step:O"), alt.Tooltip("shown:N", title="reads"),
        alt.Tooltip("score:Q", title="probability", format=".3f"), alt.Tooltip("truth:N", title="known"),
    ]  # fmt: skip
    base = alt.Chart(rows).encode(x=x, y=y)
    cells = base.mark_rect(stroke="white", strokeWidth=1).encode(
        color=alt.Color("score:Q", title="probability", scale=alt.Scale(scheme="cividis", domain=[0, 1])), tooltip=tips
    )
    layers = [cells]
    if len(rows) <= WITH_CLICKS:
        layers[0] = cells.add_params(alt.selection_point(name="cell", fields=["where", "step"]))
    if len(rows) <= WITH_TEXT:
        ink = alt.condition("datum.score > 0.55", alt.value("black"), alt.value("white"))
        layers.append(base.mark_text(fontSize=11).encode(text="label:N", color=ink).transform_calculate(
            label="datum.shown + ' ' + datum.mark"))  # fmt: skip
    return alt.layer(*layers).properties(height=max(120, 30 * len(sites)))


def draw(rows: pd.DataFrame) -> None:
    """The grid, the cell that is picked, and the same as a table."""
    clickable = len(rows) <= WITH_CLICKS
    more: dict[str, Any] = {"on_select": "rerun", "selection_mode": "cell"} if clickable else {}
    event = st.altair_chart(heatmap(rows), key="grid", **more)
    if not clickable:
        st.caption(f"{len(rows)} cells are too many to be clicked: choose one here.")
    picked = _picked(event) if clickable else None
    cells = [f"{where}, step {step}" for where, step in zip(rows["where"], rows["step"], strict=True)]
    if picked is not None and picked in cells:
        st.session_state["cell"] = picked
    cell = rows.iloc[cells.index(str(choose("Cell", cells, "cell", 420)))]
    right = {"": "not known", "✓": "right", "✗": f"wrong: it is {cell['truth']}"}[cell["mark"]]
    st.text(f"reads {cell['shown']} with probability {share(float(cell['score']))}; {right}")
    with st.expander("The same as a table"):
        shown = rows[["where", "step", "shown", "score", "truth"]]
        shown.columns = ["site", "step", "reads", "probability", "known"]
        st.dataframe(shown, hide_index=True, alt="Readings of this problem, site by step")


def _picked(event: Any) -> str | None:
    points = event["selection"].get("cell") or []
    return f"{points[0]['where']}, step {points[0]['step']}" if points else None
