"""What a verdict must be read beside: how far thoughts run ahead of words, and what half an exchange does."""

from __future__ import annotations

from collections import Counter

import plotly.graph_objects as go

from workbench.figures.lines import laid_out
from workbench.figures.palette import OKABE_ITO, Theme
from workbench.reports.records import AuditRecord, ProblemRecord, Verdict

_PATTERNS: dict[Verdict, str] = {"agrees": "", "diverges": "/", "cannot-tell": "."}
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon")
_DASHES = ("solid", "dash", "dot", "dashdot")


def lags(problem: ProblemRecord) -> list[int]:
    """How many claims after its own place the value of each thought is said; negative where before it."""
    found = []
    for row in problem.steps:
        if row.step is None:
            continue
        if row.status == "ahead" and row.held_before is not None:
            found.append(row.held_before)
        elif row.status == "agree":
            found.append(0)
    return found


def lag_histogram(audit: AuditRecord, *, theme: Theme = "light") -> go.Figure:
    """Thoughts by how many claims later their value is said, one bar a verdict of their problem."""
    figure = go.Figure()
    for rank, verdict in enumerate(_PATTERNS):
        counts = Counter(lag for problem in audit.problems if problem.verdict == verdict for lag in lags(problem))
        if counts:
            places = list(range(min(0, *counts), max(0, *counts) + 1))
            figure.add_bar(
                x=places,
                y=[counts[place] for place in places],
                name=verdict,
                marker={"color": OKABE_ITO[rank], "pattern": {"shape": _PATTERNS[verdict]}},
            )
    return laid_out(figure, "claims between a thought and its word", "thoughts", theme)


def dose_curves(audit: AuditRecord, *, theme: Theme = "light") -> go.Figure:
    """Share of honest problems that react as each thought goes further towards another problem's, by step."""
    figure = go.Figure()
    for rank, step in enumerate(audit.steps):
        if not step.doses:
            continue
        shares = [dose.effect.share for dose in step.doses]
        figure.add_scatter(
            x=[dose.amount for dose in step.doses],
            y=shares,
            error_y={
                "array": [dose.effect.interval.high - dose.effect.share for dose in step.doses],
                "arrayminus": [dose.effect.share - dose.effect.interval.low for dose in step.doses],
                "thickness": 1,
            },
            mode="lines+markers",
            name=f"step {step.step}",
            marker={"symbol": _SYMBOLS[rank % len(_SYMBOLS)], "size": 9},
            line={"color": OKABE_ITO[rank % len(OKABE_ITO)], "dash": _DASHES[rank % len(_DASHES)]},
        )
    figure.update_yaxes(range=[-0.02, 1.04])
    return laid_out(figure, "part of the way to the donor's thought", "share that reacts (95 %)", theme)
