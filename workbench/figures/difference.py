"""Two problems on the same steps: how much further the second diverges, and what else became another."""

from __future__ import annotations

from dataclasses import dataclass

import plotly.graph_objects as go

from workbench.figures.connectors import NOWHERE
from workbench.figures.hero import FONT, MARGIN
from workbench.figures.palette import INKS, OKABE_ITO, Theme
from workbench.figures.picture import grouped
from workbench.figures.words import number, ranges
from workbench.reports.escape import plotly_text, short
from workbench.reports.records import ProblemRecord, ProblemStep

LANES = ("thought", "words", "status")
"""What can be another at a step, from above."""


@dataclass(frozen=True, slots=True)
class StepDifference:
    """One column: a step, or the steps that a long chain draws as one."""

    steps: tuple[int, ...]
    bits: float
    """Divergence in the second less that in the first, of the step where they lie furthest apart."""
    changed: tuple[str, ...]
    """Of `LANES`."""
    line: str


def step_differences(a: ProblemRecord, b: ProblemRecord) -> list[StepDifference]:
    """Column for column; a step that only one of them takes has other thoughts, words and status."""
    before, after = _by_step(a), _by_step(b)
    return [_difference(group, before, after) for group in grouped(sorted({*before, *after}))]


def _by_step(problem: ProblemRecord) -> dict[int, ProblemStep]:
    return {row.step: row for row in problem.steps if row.step is not None}


def _difference(group: list[int], before: dict[int, ProblemStep], after: dict[int, ProblemStep]) -> StepDifference:
    pairs = [(before.get(step), after.get(step)) for step in group]
    bits = max((_bits(two) - _bits(one) for one, two in pairs), key=abs)
    values = {name: [(_value(one, name), _value(two, name)) for one, two in pairs] for name in LANES}
    missing = any(one is None or two is None for one, two in pairs)
    changed = tuple(name for name in LANES if missing or any(one != two for one, two in values[name]))
    told = [f"step {ranges(group)}: divergence {number(bits)} bits more in B"]
    if len(group) == 1:
        told += [
            f"{name}: {short(one or 'nothing', 30)}, then {short(two or 'nothing', 30)}"
            for name in changed for one, two in values[name]
        ]  # fmt: skip
    return StepDifference(tuple(group), bits, changed, "<br>".join(plotly_text(text) for text in told))


def _value(row: ProblemStep | None, lane: str) -> str | None:
    if row is None:
        return None
    return row.decoded if lane == "thought" else row.said if lane == "words" else row.status


def _bits(row: ProblemStep | None) -> float:
    return 0.0 if row is None or row.divergence_bits is None else row.divergence_bits


def difference(a: ProblemRecord, b: ProblemRecord, *, theme: Theme = "light") -> go.Figure:
    """Bars of B less A in bits, and above them a square where thought, words or status became another.

    The columns stand under those of the heroes of `a` and `b`.
    """
    found, ink = step_differences(a, b), INKS[theme]
    figure = go.Figure()
    figure.add_bar(
        x=list(range(len(found))), y=[one.bits for one in found], width=0.5, showlegend=False,
        marker={
            "color": [OKABE_ITO[1] if one.bits > 0 else OKABE_ITO[0] for one in found],
            "pattern": {"shape": ["/" if one.bits > 0 else "" for one in found], "fillmode": "replace"},
        },
        hovertext=[one.line for one in found], hoverinfo="text",
    )  # fmt: skip
    for place, lane in enumerate(LANES):
        at = [x for x, one in enumerate(found) if lane in one.changed]
        figure.add_scatter(
            x=at or NOWHERE, y=[2 - place] * max(1, len(at)), yaxis="y2", mode="markers", showlegend=False,
            marker={"symbol": "square", "size": 10, "color": ink.ink},
            hovertext=[found[x].line for x in at], hoverinfo="text",
        )  # fmt: skip
    every = max(1, -(-len(found) // 20))
    tick = {"size": 12, "color": ink.faint}
    figure.update_layout(
        template="none", height=210, margin=MARGIN | {"t": 8, "b": 40}, font={"family": FONT, "color": ink.ink},
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", dragmode=False,
        hoverlabel={"align": "left", "font": {"size": 12, "family": FONT}},
        yaxis={"domain": [0, 0.58], "range": [-1.05, 1.05], "tickvals": [-1, 0, 1], "gridcolor": ink.grid,
               "tickfont": tick, "zerolinecolor": ink.faint, "fixedrange": True,
               "title": {"text": "B less A<br>(bits)", "font": tick, "standoff": 12}},
        yaxis2={"domain": [0.62, 1], "range": [-0.6, 2.6], "tickvals": [2, 1, 0], "ticktext": list(LANES),
                "tickfont": tick, "gridcolor": ink.grid, "zeroline": False, "fixedrange": True},
    )  # fmt: skip
    figure.update_xaxes(
        range=[-0.55, max(1, len(found)) - 0.45], fixedrange=True, showgrid=False, zeroline=False, anchor="y",
        tickvals=list(range(0, len(found), every)), ticktext=[str(one.steps[0]) for one in found[::every]],
        tickfont=tick, title={"text": "latent step", "font": tick, "standoff": 4},
    )  # fmt: skip
    return figure
