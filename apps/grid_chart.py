"""Cells that can be clicked: Altair up to ten thousand of them, ECharts above; the page sees no difference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt
import pandas as pd
import streamlit as st

from apps.widgets import theme
from workbench.figures.palette import INKS, OKABE_ITO

WITH_TEXT, WITH_ALTAIR = 400, 10_000
"""Most cells that carry their text, and most that Altair draws: more of either is too slow in a browser."""
Colour = Literal["probability", "right or wrong"]
KNOWN = {"right": OKABE_ITO[0], "wrong": "#E69F00", "not known": "#BFC3CA"}
"""Dark, middle and light, so that they differ without colour too."""
CIVIDIS = ["#00224E", "#123570", "#3B496C", "#575D6D", "#707173", "#8A8678", "#A59C74", "#C3B369", "#E1CC55", "#FEE838"]
CellTaker = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Cells:
    """What is drawn, a row for each cell: every text in it is safe to show."""

    frame: pd.DataFrame
    """Columns across, up (texts), value (0 to 1), known (a key of `KNOWN`), label (its text), truth."""
    across: str
    """Title of the axis."""
    up: str
    columns: list[str]
    rows: list[str]
    """From top to bottom."""
    value: str = "probability"
    wide_labels: bool = False
    """Whether names of columns are long."""


def cells_chart(cells: Cells, colour: Colour, *, picked: tuple[str, str], key: str, take: CellTaker, alt: str) -> None:
    """Draw the cells, the picked one ringed; a click hands its column and row to `take`."""
    draw = _altair if len(cells.frame) <= WITH_ALTAIR else _echarts
    draw(cells, colour, picked, key, take, alt)


def _altair(cells: Cells, colour: Colour, picked: tuple[str, str], key: str, take: CellTaker, words: str) -> None:
    def clicked() -> None:
        for point in (st.session_state[key]["selection"].get("cell") or [])[:1]:
            take(point["across"], point["up"])

    st.altair_chart(heatmap(cells, colour, picked), key=key, on_select=clicked, selection_mode="cell", alt=words)


def heatmap(cells: Cells, colour: Colour, picked: tuple[str, str]) -> alt.LayerChart:
    """The cells as Vega-Lite."""
    frame, ink = cells.frame, INKS[theme()]
    angle = -30 if cells.wide_labels else 0
    look = alt.Axis(labelAngle=angle, labelOverlap=True, labelLimit=240)
    x = alt.X("across:N", title=cells.across, sort=cells.columns, axis=look)
    beside = alt.Axis(labelLimit=260, labelOverlap=True, labelFlush=False)
    y = alt.Y("up:N", title=cells.up, sort=cells.rows, axis=beside)
    tips = [
        alt.Tooltip("up:N", title=cells.up), alt.Tooltip("across:N", title=cells.across),
        alt.Tooltip("label:N", title="reads"), alt.Tooltip("value:Q", title=cells.value, format=".3f"),
        alt.Tooltip("truth:N", title="known"),
    ]  # fmt: skip
    base = alt.Chart(frame).encode(x=x, y=y)
    fills = {
        "probability": alt.Color("value:Q", title=cells.value, scale=alt.Scale(range=CIVIDIS, domain=[0, 1])),
        "right or wrong": alt.Color("known:N", title=None, scale=alt.Scale(
            domain=list(KNOWN), range=list(KNOWN.values()))),
    }  # fmt: skip
    chosen = alt.selection_point(name="cell", fields=["across", "up"])
    layers = [base.mark_rect(stroke=ink.ground, strokeWidth=1).encode(color=fills[colour], tooltip=tips)]
    layers[0] = layers[0].add_params(chosen)
    if len(frame) <= WITH_TEXT:
        dark = "datum.value > 0.55" if colour == "probability" else "datum.known != 'right'"
        shade = alt.condition(dark, alt.value("black"), alt.value("white"))
        layers.append(base.mark_text(fontSize=11, limit=120).encode(text="text:N", color=shade))
    ring = frame[(frame["across"] == picked[0]) & (frame["up"] == picked[1])]
    layers.append(alt.Chart(ring).mark_rect(filled=False, stroke=ink.ink, strokeWidth=3).encode(x=x, y=y))
    height = min(max(90, 30 * len(cells.rows)), 840) + (170 if cells.wide_labels else 80)
    return alt.layer(*layers).properties(height=height)


def _echarts(cells: Cells, colour: Colour, picked: tuple[str, str], key: str, take: CellTaker, words: str) -> None:
    def clicked() -> None:
        for series in st.session_state[key]["selection"]["selected"]:
            if series["series_index"] == 0 and series["data_indices"]:
                row = cells.frame.iloc[series["data_indices"][0]]
                take(row["across"], row["up"])

    height = min(max(320, 8 * len(cells.rows) + 80), 900)
    option = heatmap_option(cells, colour, picked, height)
    st.echarts_chart(option, theme=None, key=key, on_select=clicked, height=height, alt=words)


def heatmap_option(cells: Cells, colour: Colour, picked: tuple[str, str], height: int) -> dict[str, Any]:
    """The cells as an ECharts option. Each has a name of its own: of those that share one, all would be selected."""
    ink = INKS[theme()]
    column = {name: place for place, name in enumerate(cells.columns)}
    row = {name: place for place, name in enumerate(reversed(cells.rows))}
    frame = cells.frame
    known = {name: place for place, name in enumerate(KNOWN)}
    source = pd.DataFrame({
        "x": frame["across"].map(column).astype("int32"), "y": frame["up"].map(row).astype("int32"),
        cells.value: frame["value"].round(3), "known": frame["known"].map(known).astype("int32"),
        "reads": frame["label"], "cell": frame["up"] + f", {cells.across} " + frame["across"],
    })  # fmt: skip
    labels = {"color": ink.faint, "hideOverlap": True, "fontSize": 11}
    every = -(-16 * len(cells.rows) // (height - 60))
    quiet = {"splitLine": {"show": False}, "axisTick": {"show": False}, "axisLine": {"show": False}}
    names = {"nameLocation": "middle", "nameTextStyle": {"color": ink.faint}, "axisLabel": labels, **quiet}
    beside = {"orient": "vertical", "right": 0, "top": 8, "textStyle": {"color": ink.ink}, "seriesIndex": 0}
    scales: dict[Colour, dict[str, Any]] = {
        "probability": {"type": "continuous", "min": 0, "max": 1, "dimension": cells.value, "text": ["1", "0"],
                        "inRange": {"color": CIVIDIS}, "precision": 2},
        "right or wrong": {"type": "piecewise", "dimension": "known", "pieces": [
            {"value": place, "label": name, "color": KNOWN[name]} for name, place in known.items()]},
    }  # fmt: skip
    tip = {"backgroundColor": ink.ground, "textStyle": {"color": ink.ink}}
    edge = {"color": "transparent", "borderColor": ink.ink, "borderWidth": 3}
    place = [column[picked[0]], row[picked[1]]]
    ring = {"type": "scatter", "data": [place], "symbol": "rect", "symbolSize": 14, "silent": True, "itemStyle": edge}
    return {
        "animation": False,
        "dataset": {"source": source},
        "tooltip": tip,
        "grid": {"left": 8, "right": 96, "top": 8, "bottom": 28, "containLabel": True},
        "xAxis": {"type": "category", "data": cells.columns, "name": cells.across, "nameGap": 26, **names},
        "yAxis": {"type": "category", "data": list(reversed(cells.rows)), **names,
                  "axisLabel": labels | {"interval": every - 1}},
        "visualMap": {**scales[colour], **beside},
        "series": [
            {"type": "heatmap", "selectedMode": "single", "progressive": 0,
             "encode": {"x": "x", "y": "y", "itemName": "cell", "tooltip": ["reads", cells.value]},
             "select": {"itemStyle": {"borderColor": ink.ink, "borderWidth": 1}}},
            ring,
        ],
    }  # fmt: skip
