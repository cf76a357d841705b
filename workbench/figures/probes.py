"""Figures of a fit: record in, Plotly figure (or static SVG of the same picture) out.

Text of the record (sites, labels, values) is escaped: Plotly would render
tags, entities and formulas in it. A score that is undefined and a control
that was not run are gaps and words, never 0.
"""

from __future__ import annotations

import plotly.graph_objects as go

from workbench.figures.palette import Theme
from workbench.figures.probes_curves import confusion_bars, learning_chart, reliability_chart, text_chart
from workbench.figures.probes_grid import ScoreName, grid_picture
from workbench.figures.probes_grid_svg import grid_svg_of
from workbench.figures.probes_heatmap import draw_grid
from workbench.figures.probes_lines import draw_bars, draw_chart
from workbench.figures.probes_svg import bars_svg, chart_svg
from workbench.reports.fit_records import CellKey, CellRecord, FitRecord


def grid(
    fit: FitRecord,
    score: ScoreName = "accuracy",
    *,
    beside: str | None = None,
    label: str | None = None,
    probe: str | None = None,
    theme: Theme = "light",
    picked: CellKey | None = None,
) -> go.Figure:
    """A score by step and site, and the control beside it; marks say what is not readable after correction.

    Points carry ``customdata`` ``["cell", index]``, the place of the cell in `fit.fits`.

    Args:
        beside: field of the control in the second panel; by default the usual one of the score.
        label: by default the first of the fit.
        probe: by default the first of the fit.
        picked: a cell to frame.

    Raises:
        ConfigError: the fit has no such label or probe, or the score no such control.
    """
    drawn = grid_picture(fit, score, beside=beside, label=label, probe=probe)
    return draw_grid(drawn, theme=theme, picked=picked)


def reliability(cell: CellRecord, *, theme: Theme = "light") -> go.Figure:
    """How often readings are right beside how sure the probe is of them, with the number of rows."""
    return draw_chart(reliability_chart(cell), theme=theme)


def learning_curve(cell: CellRecord, *, theme: Theme = "light") -> go.Figure:
    """Held-out accuracy by how many rows the probe learned from, beside its controls."""
    return draw_chart(learning_chart(cell), theme=theme)


def confusions(cell: CellRecord, *, theme: Theme = "light") -> go.Figure:
    """Values most often read as another one, beside an even spread of the errors."""
    return draw_bars(confusion_bars(cell), theme=theme)


def text_scores(fit: FitRecord, *, site: str | None = None, theme: Theme = "light") -> go.Figure:
    """Whole texts read right by step, beside logit lens, tuned lens and shuffled texts; by default the first site."""
    return draw_chart(text_chart(fit, site), theme=theme)


def grid_svg(
    fit: FitRecord,
    score: ScoreName = "accuracy",
    *,
    beside: str | None = None,
    label: str | None = None,
    probe: str | None = None,
    theme: Theme = "light",
) -> str:
    """What `grid` shows as one standalone SVG."""
    return grid_svg_of(grid_picture(fit, score, beside=beside, label=label, probe=probe), theme=theme)


def reliability_svg(cell: CellRecord, *, theme: Theme = "light") -> str:
    """What `reliability` shows as one standalone SVG."""
    return chart_svg(reliability_chart(cell), theme=theme)


def learning_curve_svg(cell: CellRecord, *, theme: Theme = "light") -> str:
    """What `learning_curve` shows as one standalone SVG."""
    return chart_svg(learning_chart(cell), theme=theme)


def confusions_svg(cell: CellRecord, *, theme: Theme = "light") -> str:
    """What `confusions` shows as one standalone SVG."""
    return bars_svg(confusion_bars(cell), theme=theme)


def text_scores_svg(fit: FitRecord, *, site: str | None = None, theme: Theme = "light") -> str:
    """What `text_scores` shows as one standalone SVG."""
    return chart_svg(text_chart(fit, site), theme=theme)
