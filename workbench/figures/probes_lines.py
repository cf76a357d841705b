"""Charts and bars of a fit as Plotly figures."""

from __future__ import annotations

import math
from typing import Any

import plotly.graph_objects as go

from workbench.figures.hero import FONT
from workbench.figures.palette import INKS, OKABE_ITO, Ink, Theme
from workbench.figures.probes_curves import Bars, Chart, Series
from workbench.reports.escape import plotly_text

DASHES = ("solid", "dash", "dot", "dashdot")
_SYMBOLS = ("circle", "square-open", "diamond-open", "triangle-up-open")
_HEIGHT, _BAR, _EMPTY = 320, 24, 160
CROWDED = 24
"""Points from which on they are drawn smaller."""
FEWEST_BARS = 6
"""Few bars do not become broad ones."""


def series_colour(rank: int, theme: Theme) -> str:
    """Colour of the score (rank 0) or of a control."""
    score = {"light": OKABE_ITO[0], "dark": OKABE_ITO[5]}[theme]
    return (score, OKABE_ITO[1], OKABE_ITO[2], OKABE_ITO[3])[rank]


def _offsets(series: Series, ends: tuple[float | None, ...], sign: int) -> list[float]:
    pairs = zip(series.y, ends, strict=True)
    return [0.0 if y is None or end is None else max(0.0, sign * (end - y)) for y, end in pairs]


def _trace(series: Series, theme: Theme) -> go.Scatter:
    colour = series_colour(series.rank, theme)
    extra: dict[str, Any] = {}
    size = 5 if len(series.x) > CROWDED else 9 if series.rank == 0 else 8
    if series.low is not None and series.high is not None:
        extra["error_y"] = {
            "array": _offsets(series, series.high, 1),
            "arrayminus": _offsets(series, series.low, -1),
            "thickness": 1.5,
            "color": colour,
        }
    return go.Scatter(
        x=series.x,
        y=series.y,
        mode="lines+markers" if series.has_marks else "lines",
        marker={"size": size, "symbol": _SYMBOLS[series.rank], "color": colour},
        line={"color": colour, "width": 3 if series.rank == 0 else 2, "dash": DASHES[series.rank]},
        connectgaps=False,
        name=series.name,
        **extra,
    )


def _layout(figure: go.Figure, ink: Ink, height: int, left: int) -> None:
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": left, "r": 16, "t": 64, "b": 62},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": FONT, "color": ink.ink, "size": 12},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "itemclick": False},
        hoverlabel={"bgcolor": ink.ground, "font": {"color": ink.ink}},
        dragmode=False,
    )


def _say(figure: go.Figure, text: str, ink: Ink, *, instead: bool) -> None:
    """A note beneath the axis, or in the middle of a figure that has nothing else."""
    place = {"x": 0.5, "y": 0.5, "font": {"size": 14, "color": ink.ink}} if instead else {
        "x": 1, "y": 0, "yshift": -60, "xanchor": "right", "yanchor": "bottom",
        "font": {"size": 12, "color": ink.faint},
    }  # fmt: skip
    figure.add_annotation(text=plotly_text(text), xref="paper", yref="paper", showarrow=False, **place)


def draw_chart(chart: Chart, *, theme: Theme) -> go.Figure:
    """A chart as a figure; without a series it says why."""
    ink = INKS[theme]
    figure = go.Figure([_trace(series, theme) for series in chart.series])
    _layout(figure, ink, _HEIGHT if chart.series else _EMPTY, 56)
    ends = [math.log10(value) for value in chart.x_range] if chart.is_log else list(chart.x_range)
    title = {"text": chart.x_title, "standoff": 6}
    figure.update_xaxes(type="log" if chart.is_log else "linear", range=ends, title=title, showgrid=False,
                        zeroline=False, fixedrange=True, visible=bool(chart.series), tickangle=0,
                        tickvals=[x for x, _ in chart.ticks], ticktext=[text for _, text in chart.ticks])  # fmt: skip
    top = 1.16 if chart.counts else 1.04
    figure.update_yaxes(title={"text": chart.y_title}, range=[-0.02, top], tickvals=[0, 0.25, 0.5, 0.75, 1],
                        gridcolor=ink.grid, zeroline=False, fixedrange=True, visible=bool(chart.series))  # fmt: skip
    for x, text in chart.counts:
        figure.add_annotation(x=x, y=1.1, text=text, showarrow=False, font={"size": 11, "color": ink.faint})
    if chart.counts:
        figure.add_annotation(x=0, xref="paper", xanchor="right", xshift=-6, y=1.1, text="n", showarrow=False,
                              font={"size": 11, "color": ink.faint})  # fmt: skip
    if chart.note:
        _say(figure, chart.note, ink, instead=not chart.series)
    return figure


def draw_bars(bars: Bars, *, theme: Theme) -> go.Figure:
    """Bars as a figure, the largest on top; without one it says why."""
    ink = INKS[theme]
    places = list(range(len(bars.names)))[::-1]
    bottom = len(places) - max(FEWEST_BARS, len(places)) - 0.6
    figure = go.Figure()
    if bars.names:
        figure.add_trace(
            go.Bar(x=bars.counts, y=places, orientation="h", text=bars.texts, textposition="outside",
                   textangle=0, cliponaxis=False, width=0.7, name="read as another value", hoverinfo="skip",
                   marker={"color": OKABE_ITO[1], "pattern": {"shape": "/", "size": 6, "solidity": 0.4}})
        )  # fmt: skip
    if bars.even is not None:
        ends = [bottom, len(places) - 0.4]
        figure.add_trace(
            go.Scatter(x=[bars.even] * 2, y=ends, mode="lines", name="if errors spread evenly", hoverinfo="skip",
                       line={"color": ink.ink, "width": 1.5, "dash": "dash"})
        )  # fmt: skip
    longest = max((len(name) for name in bars.names), default=4)
    _layout(figure, ink, max(_HEIGHT, 126 + _BAR * len(places)) if places else _EMPTY, 16 + 7 * longest)
    most = max([1.0, bars.even or 0.0, *map(float, bars.counts)])
    figure.update_xaxes(title={"text": bars.x_title, "standoff": 6}, range=[0, 1.12 * most], rangemode="tozero",
                        gridcolor=ink.grid, zeroline=False, fixedrange=True, nticks=4, tickangle=0,
                        visible=bool(bars.names))  # fmt: skip
    figure.update_yaxes(tickvals=places, ticktext=[plotly_text(name) for name in bars.names], showgrid=False,
                        ticks="outside", ticklen=6, tickcolor="rgba(0,0,0,0)", zeroline=False, fixedrange=True,
                        range=[bottom, len(places) - 0.4], visible=bool(bars.names))  # fmt: skip
    if bars.note:
        _say(figure, bars.note, ink, instead=not bars.names)
    return figure
