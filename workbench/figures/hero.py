"""The two-lane figure: THINKS above, SAYS below, and the connector that never arrives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from workbench.figures.connectors import LANES, NOWHERE, Lanes, Trace, connector_lines, glyphs, trace
from workbench.figures.palette import INKS, MARKS, Ink, Theme
from workbench.figures.picture import BOX_WIDTH, Bar, Box, Form, picture
from workbench.reports.escape import plotly_text
from workbench.reports.records import AuditRecord, ProblemRecord, StepStatus

FONT = '"Source Sans", "Helvetica Neue", Arial, sans-serif'
MARGIN = {"l": 110, "r": 12}
"""Left and right, pixels: figures with the same stand above each other step by step."""
_TOP, _BOTTOM, _BETWEEN, _BARS = 48, 42, 18, 110
_NUMBERS = 14
"""Of the steps, between legend and lanes."""


def _colour(status: StepStatus | None, ink: Ink) -> str:
    return ink.neutral if status is None else MARKS[status].fill


def _hover(lines: Sequence[str]) -> str:
    return "<br>".join(plotly_text(line) for line in lines)


def _boxes(boxes: Sequence[Box], lanes: Lanes, form: Form, ink: Ink) -> Trace:
    lane = boxes[0].lane
    apart = [box.status not in {"agree", None} for box in boxes]
    return trace(
        "bar",
        x=[box.x for box in boxes],
        width=[box.width for box in boxes],
        base=[lanes.height - lanes.box if lane == "thought" else 0] * len(boxes),
        y=[lanes.box] * len(boxes),
        text=[plotly_text(box.text) for box in boxes],
        textposition="inside",
        insidetextanchor="middle",
        textangle=-90 if form == "upright" else 0,
        constraintext="inside",
        insidetextfont={
            "size": 13,
            "color": [MARKS[box.status].text if box.status else "#000000" for box in boxes],
        },
        marker={
            "color": [_colour(box.status, ink) for box in boxes],
            "line": {"color": ink.ink, "width": [3 if flagged else 0 for flagged in apart]},
            "cornerradius": 5,
        },
        hovertext=[_hover(box.lines) for box in boxes],
        hoverinfo="text",
        customdata=[[box.lane, box.index] for box in boxes],
        selected={"marker": {"opacity": 1}},
        unselected={"marker": {"opacity": 1}},
        showlegend=False,
    )


def _divergence(bars: Sequence[Bar], ink: Ink) -> list[Trace]:
    known = [bar for bar in bars if bar.high is not None]
    band = trace(
        "bar",
        x=[bar.x for bar in known] or NOWHERE,
        base=[bar.low for bar in known] or NOWHERE,
        y=[max((bar.high or 0.0) - bar.low, 0.012) for bar in known] or NOWHERE,
        width=0.98,
        marker={"color": ink.band, "line": {"width": 0}},
        hoverinfo="skip",
        name="honest problems, 2.5-97.5 %",
        yaxis="y2",
    )
    marker = {
        "color": [_colour(bar.status, ink) if bar.above else ink.neutral for bar in bars],
        "pattern": {
            "shape": ["/" if bar.above else "" for bar in bars],
            "size": 7,
            "solidity": 0.55,
            "fillmode": "replace",
        },
        "line": {"color": ink.ink, "width": [1.5 if bar.above else 0 for bar in bars]},
    }
    height = trace(
        "bar",
        x=[bar.x for bar in bars],
        y=[max(bar.bits, 0.008) for bar in bars],
        width=0.5,
        marker=marker,
        hovertext=[_hover([bar.line]) for bar in bars],
        hoverinfo="text",
        customdata=[["thought", bar.step] for bar in bars],
        selected={"marker": {"opacity": 1}},
        unselected={"marker": {"opacity": 1}},
        showlegend=False,
        yaxis="y2",
    )
    return [band, height]


def _numbers(thoughts: Sequence[Box], lanes: Lanes, form: Form, ink: Ink) -> Trace:
    """Of the steps, above their thoughts: the axis may lie below the edge of a small screen."""
    word = "step " if form == "words" else ""
    return trace(
        "scatter",
        x=[box.x for box in thoughts],
        y=[lanes.height] * len(thoughts),
        text=[f"{word}{box.index}" for box in thoughts],
        mode="text",
        textposition="top center",
        textfont={"size": 12, "color": ink.faint},
        cliponaxis=False,
        hoverinfo="skip",
        showlegend=False,
    )


def _axes(thoughts: Sequence[Box], lanes: Lanes, ink: Ink, columns: int) -> dict[str, Any]:
    inner = lanes.height + _BETWEEN + _BARS
    tick = {"size": 12, "color": ink.faint}
    return {
        "xaxis": {
            "range": [-0.55, columns - 0.45],
            "fixedrange": True,
            "showgrid": False,
            "zeroline": False,
            "anchor": "y2",
            "tickvals": [box.x for box in thoughts],
            "ticktext": [str(box.index) for box in thoughts],
            "tickfont": tick,
            "title": {"text": "latent step", "font": tick, "standoff": 4},
        },
        "yaxis": {
            "domain": [(_BARS + _BETWEEN) / inner, 1],
            "range": [-2, lanes.height + 2],
            "visible": False,
            "fixedrange": True,
        },
        "yaxis2": {
            "domain": [0, _BARS / inner],
            "range": [0, 1.02],
            "tickvals": [0, 0.5, 1],
            "tickfont": tick,
            "gridcolor": ink.grid,
            "zeroline": False,
            "fixedrange": True,
            "anchor": "x",
        },
    }


def _names(lanes: Lanes, ink: Ink) -> list[dict[str, Any]]:
    beside = {"x": 0, "xref": "paper", "xanchor": "right", "showarrow": False}
    lane = beside | {"xshift": -8, "yref": "y", "font": {"size": 13, "color": ink.faint}}
    return [
        lane | {"text": "<b>THINKS</b>", "y": lanes.height - lanes.box / 2},
        lane | {"text": "<b>SAYS</b>", "y": lanes.box / 2},
        beside
        | {"text": "divergence<br>(bits)", "xshift": -30, "y": 0.5, "yref": "y2", "align": "right"}
        | {"font": {"size": 12, "color": ink.faint}},
    ]


def _frame(x: float, top: float, ink: Ink) -> dict[str, Any]:
    """Around the column of the step that is picked, its number included."""
    place = {"xref": "x", "yref": "paper", "x0": x - 0.5, "x1": x + 0.5, "y0": 0, "y1": top}
    line = {"color": ink.ink, "width": 1.5, "dash": "dot"}
    return place | {"type": "rect", "fillcolor": "rgba(0,0,0,0)", "line": line, "layer": "below"}


def hero(
    problem: ProblemRecord,
    audit: AuditRecord,
    *,
    theme: Theme = "light",
    step: int | None = None,
    columns: int = 0,
) -> go.Figure:
    """The hero of one problem; the column of `step`, where one is picked, is framed.

    There is room for at least `columns` steps, so that two heroes can share their axis.

    Boxes and bars carry ``customdata`` ``["thought", step]`` or ``["claim", index]``.
    Model text is escaped: Plotly would render tags, entities and formulas in it.
    """
    drawn, ink = picture(problem, audit), INKS[theme]
    lanes = LANES[drawn.form]
    thoughts = [box for box in drawn.boxes if box.lane == "thought"]
    every = max(1, -(-len(thoughts) // 20))
    claims = [box for box in drawn.boxes if box.lane == "claim"]
    traces = [
        *connector_lines(drawn, lanes),
        *(_boxes(boxes, lanes, drawn.form, ink) for boxes in (thoughts, claims) if boxes),
        *glyphs(drawn, lanes, ink),
        *_divergence(drawn.bars, ink),
        _numbers(thoughts[::every], lanes, drawn.form, ink),
    ]
    above = 1 + _NUMBERS / (lanes.height + _BETWEEN + _BARS)
    picked = None if step is None else drawn.column_of.get(step)
    # All at once: every later change would make Plotly check the whole figure anew.
    layout = {
        "template": "none",
        "height": _TOP + lanes.height + _BETWEEN + _BARS + _BOTTOM,
        "margin": MARGIN | {"t": _TOP, "b": _BOTTOM},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": FONT, "color": ink.ink, "size": 13},
        "barmode": "overlay",
        "bargap": 1 - BOX_WIDTH,
        "dragmode": False,
        "clickmode": "event+select",
        "hoverlabel": {"align": "left", "font": {"size": 12, "family": FONT}},
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": above,
            "yanchor": "bottom",
            "yref": "paper",
            "font": {"size": 12},
            "itemclick": False,
            "itemdoubleclick": False,
            "traceorder": "normal",
        },
        "annotations": _names(lanes, ink),
        "shapes": [] if picked is None else [_frame(picked, above, ink)],
    }
    axes = _axes(thoughts[::every], lanes, ink, max(columns, drawn.n_columns))
    return go.Figure(data=traces, layout=layout | axes)
