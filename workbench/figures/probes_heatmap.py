"""The grid of cells as a Plotly figure: score on the left, its control on the right, same colours."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from workbench.figures.connectors import NOWHERE
from workbench.figures.hero import FONT
from workbench.figures.palette import INKS, Ink, Theme
from workbench.figures.probes_grid import GRID_MARKS, GridCell, GridPicture, cell_number, every
from workbench.reports.escape import plotly_text
from workbench.reports.fit_records import CellKey

COLOURS = "Cividis"
_TOP, _AXIS, _LEGEND = 34, 46, 56
_PANELS = ((0.0, 0.47), (0.52, 0.99))
_FEWEST_COLUMNS = 4
"""Few steps do not become bars across the page."""


def _row_height(n_rows: int, has_numbers: bool) -> int:
    if has_numbers and n_rows <= 24:
        return 30
    return 16 if n_rows <= 60 else 10


def _matrix(drawn: GridPicture, panel: int) -> list[list[float | None]]:
    matrix: list[list[float | None]] = [[None] * len(drawn.steps) for _ in drawn.rows]
    for cell, value in zip(drawn.cells, drawn.values(panel), strict=True):
        matrix[cell.row][cell.column] = value
    return matrix


def _heatmap(drawn: GridPicture, panel: int, ink: Ink) -> go.Heatmap:
    values = _matrix(drawn, panel)
    look: dict[str, Any] = {}
    if drawn.has_numbers:
        look = {"text": [[cell_number(value) if value is not None else "" for value in row] for row in values],
                "texttemplate": "%{text}", "textfont": {"size": 12}}  # fmt: skip
    return go.Heatmap(
        z=values,
        zmin=0.0,
        zmax=drawn.high,
        colorscale=COLOURS,
        reversescale=not drawn.higher_is_better,
        xgap=1,
        ygap=1,
        xaxis=("x", "x2")[panel],
        hoverinfo="skip",
        showscale=panel == 1,
        colorbar={"thickness": 10, "outlinewidth": 0, "x": 1.0, "xpad": 4, "tickfont": {"size": 11, "color": ink.faint},
                  "nticks": 4},
        **look,
    )  # fmt: skip


def _points(drawn: GridPicture, panel: int) -> go.Scatter:
    """Invisible points that are pointed at and clicked: Plotly's heatmaps hand no selection on."""
    title = (drawn.title, drawn.beside)[panel]
    lines = [
        [f"{title}: {cell_number(value)}", *(cell.lines if panel == 0 else cell.lines[:1])]
        for cell, value in zip(drawn.cells, drawn.values(panel), strict=True)
    ]
    return go.Scatter(
        x=[cell.column for cell in drawn.cells] or NOWHERE,
        y=[cell.row for cell in drawn.cells] or NOWHERE,
        xaxis=("x", "x2")[panel],
        mode="markers",
        marker={"size": 12, "symbol": "square", "opacity": 0},
        selected={"marker": {"opacity": 0}},
        unselected={"marker": {"opacity": 0}},
        customdata=[["cell", cell.index] for cell in drawn.cells],
        hovertext=["<br>".join(plotly_text(line) for line in text) for text in lines],
        hoverinfo="text",
        showlegend=False,
    )


def _mark_colour(cell: GridCell, drawn: GridPicture, ink: Ink) -> str:
    if cell.value is None:
        return ink.faint
    return "#000000" if drawn.shade(cell.value) > 0.5 else "#FFFFFF"


def _marks(drawn: GridPicture, ink: Ink) -> list[go.Scatter]:
    """What may be said of a cell, without colour; one legend entry each, so that the vocabulary stays in sight."""
    n_readable = sum(cell.mark == "readable" for cell in drawn.cells)
    bare = {"color": "rgba(0,0,0,0)", "size": 9}
    traces = [go.Scatter(x=NOWHERE, y=NOWHERE, mode="markers", marker=bare, hoverinfo="skip",
                         name=f"no mark: {GRID_MARKS['readable'].legend} ({n_readable})")]  # fmt: skip
    dx, dy = (0.36, 0.3) if drawn.has_numbers else (0.0, 0.0)
    for standing, mark in GRID_MARKS.items():
        if not mark.symbol:
            continue
        cells = [cell for cell in drawn.cells if cell.mark == standing]
        look = {"symbol": mark.symbol, "size": 7 if drawn.has_numbers else 6}
        line = {"width": 1.5, "color": [_mark_colour(cell, drawn, ink) for cell in cells]}
        traces += [
            go.Scatter(
                x=[cell.column + (dx if cell.value is not None else 0) for cell in cells] or NOWHERE,
                y=[cell.row + (dy if cell.value is not None else 0) for cell in cells] or NOWHERE,
                mode="markers",
                marker={**look, "color": line["color"], "line": line},
                hoverinfo="skip",
                showlegend=False,
            ),
            go.Scatter(
                x=NOWHERE,
                y=NOWHERE,
                mode="markers",
                marker={**look, "size": 9, "color": ink.ink, "line": {"width": 1.5, "color": ink.ink}},
                name=f"{mark.legend} ({len(cells)})",
                hoverinfo="skip",
            ),
        ]
    return traces


def _axes(figure: go.Figure, drawn: GridPicture, ink: Ink) -> None:
    tick = {"size": 11, "color": ink.faint}
    n_columns, n_rows = max(_FEWEST_COLUMNS, len(drawn.steps)), max(1, len(drawn.rows))
    apart, thin = every(len(drawn.steps), 12), every(len(drawn.rows), 64)
    for name, domain in zip(("xaxis", "xaxis2"), _PANELS, strict=True):
        axis = {
            "domain": list(domain),
            "range": [-0.5, n_columns - 0.5],
            "tickvals": list(range(len(drawn.steps)))[::apart],
            "ticktext": [str(step) for step in drawn.steps[::apart]],
            "title": {"text": "latent step", "font": tick, "standoff": 4},
        }
        figure.update_layout({name: axis | {"tickfont": tick, "showgrid": False, "zeroline": False,
                                            "fixedrange": True, "anchor": "y", "ticks": ""}})  # fmt: skip
    figure.update_yaxes(
        range=[-0.5, n_rows - 0.5],
        tickvals=list(range(len(drawn.rows)))[::thin],
        ticktext=[plotly_text(row) for row in drawn.rows[::thin]],
        tickfont=tick,
        showgrid=False,
        zeroline=False,
        fixedrange=True,
        ticks="outside",
        ticklen=6,
        tickcolor="rgba(0,0,0,0)",
    )
    for title, (x, _) in zip((drawn.title, drawn.beside), _PANELS, strict=True):
        figure.add_annotation(text=f"<b>{plotly_text(title)}</b>", x=x, y=1, xref="paper", yref="paper", xanchor="left",
                              yanchor="bottom", showarrow=False, font={"size": 13, "color": ink.ink})  # fmt: skip


def _gaps(figure: go.Figure, drawn: GridPicture, ink: Ink) -> None:
    """Say so where a whole panel is empty."""
    for panel, axis in enumerate(("x", "x2")):
        if text := drawn.gap(panel):
            figure.add_annotation(text=text, x=0, y=max(0, len(drawn.rows) - 1) / 2, xref=axis, yref="y",
                                  xanchor="left", showarrow=False, font={"size": 14, "color": ink.faint})  # fmt: skip


def draw_grid(drawn: GridPicture, *, theme: Theme, picked: CellKey | None) -> go.Figure:
    """The picture as a figure; the `picked` cell is framed in both panels."""
    ink = INKS[theme]
    inner = max(60, len(drawn.rows) * _row_height(len(drawn.rows), drawn.has_numbers))
    figure = go.Figure()
    for panel in (0, 1):
        figure.add_trace(_heatmap(drawn, panel, ink))
        figure.add_trace(_points(drawn, panel))
    figure.add_traces(_marks(drawn, ink))
    longest = max((len(row) for row in drawn.rows), default=4)
    figure.update_layout(
        template="none",
        height=_TOP + inner + _AXIS + _LEGEND,
        margin={"l": 16 + 7 * longest, "r": 60, "t": _TOP, "b": _AXIS + _LEGEND, "autoexpand": False},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": FONT, "color": ink.ink, "size": 12},
        dragmode=False,
        clickmode="event+select",
        hoverlabel={"align": "left", "font": {"size": 12, "family": FONT}},
        legend={"orientation": "h", "x": 0, "y": -(_AXIS / inner), "yanchor": "top", "itemclick": False,
                "itemdoubleclick": False, "font": {"size": 12}, "traceorder": "normal"},
    )  # fmt: skip
    _axes(figure, drawn, ink)
    _gaps(figure, drawn, ink)
    for cell in drawn.cells:
        if cell.cell.key == picked:
            for axis in ("x", "x2"):
                ends = {"x0": cell.column - 0.5, "x1": cell.column + 0.5, "y0": cell.row - 0.5, "y1": cell.row + 0.5}
                look = {"line": {"color": "#D55E00", "width": 3}, "fillcolor": "rgba(0,0,0,0)"}
                figure.add_shape(type="rect", xref=axis, yref="y", **ends, **look)
    return figure
