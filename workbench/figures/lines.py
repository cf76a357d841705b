"""Scores by latent step, each beside the controls it must be compared with."""

from __future__ import annotations

from collections.abc import Callable

import plotly.graph_objects as go

from workbench.figures.hero import FONT
from workbench.figures.palette import INKS, OKABE_ITO, Theme
from workbench.figures.words import EFFECT
from workbench.reports.records import AuditRecord, Interval, StepSummary

_DASHES = ("dash", "dot", "dashdot", "longdash", "longdashdot")
_SYMBOLS = ("square-open", "diamond-open", "triangle-up-open", "cross-open", "x-open")
Value = Callable[[StepSummary], float | None]


def _score(audit: AuditRecord, name: str, value: Value, interval: Callable[[StepSummary], Interval]) -> go.Scatter:
    values = [value(step) or 0.0 for step in audit.steps]
    return go.Scatter(
        x=[step.step for step in audit.steps],
        y=values,
        error_y={
            "array": [max(0.0, interval(step).high - y) for step, y in zip(audit.steps, values, strict=True)],
            "arrayminus": [max(0.0, y - interval(step).low) for step, y in zip(audit.steps, values, strict=True)],
            "thickness": 1.5,
        },
        mode="lines+markers",
        marker={"size": 9},
        line={"color": OKABE_ITO[0], "width": 3},
        name=name,
    )


def _control(audit: AuditRecord, name: str, value: Value, rank: int, theme: Theme) -> go.Scatter:
    colour = (OKABE_ITO[1], OKABE_ITO[2], OKABE_ITO[3], OKABE_ITO[4], INKS[theme].faint)[rank]
    return go.Scatter(
        x=[step.step for step in audit.steps],
        y=[value(step) for step in audit.steps],
        mode="lines+markers",
        marker={"size": 8, "symbol": _SYMBOLS[rank]},
        line={"color": colour, "width": 1.5, "dash": _DASHES[rank]},
        name=name,
        connectgaps=False,
    )


def _by_step(traces: list[go.Scatter], title: str, theme: Theme) -> go.Figure:
    traces = [trace for trace in traces if any(value is not None for value in trace.y)]
    figure = laid_out(go.Figure(traces), "latent step", title, theme)
    figure.update_layout(
        hovermode="x unified", xaxis={"dtick": 1 if len(traces[0].x) <= 20 else None}, yaxis={"range": [-0.02, 1.04]}
    )
    return figure


def laid_out(figure: go.Figure, across: str, up: str, theme: Theme) -> go.Figure:
    """The figure as all plain charts of the dashboard look, with these titles of its axes."""
    ink = INKS[theme]
    figure.update_layout(
        template="none",
        height=320,
        margin={"l": 56, "r": 12, "t": 64, "b": 44},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": FONT, "color": ink.ink, "size": 12},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        hoverlabel={"bgcolor": ink.ground},
        xaxis={"title": {"text": across}, "showgrid": False, "zeroline": False},
        yaxis={"title": {"text": up}, "gridcolor": ink.grid, "zeroline": False},
    )
    return figure


def decode_by_step(audit: AuditRecord, *, theme: Theme = "light") -> go.Figure:
    """Accuracy of the probes on honest held-out problems, beside five controls, by latent step."""
    controls: list[tuple[str, Value]] = [
        ("shuffled labels", lambda step: step.control),
        ("majority", lambda step: step.majority),
        ("input only", lambda step: step.input_only),
        ("previous step", lambda step: step.previous_step),
        ("logit lens", lambda step: step.logit_lens),
    ]
    score = _score(audit, "probe (95 %)", lambda step: step.decode_accuracy, lambda step: step.decode_interval)
    others = [_control(audit, name, value, rank, theme) for rank, (name, value) in enumerate(controls)]
    return _by_step([score, *others], "decoded right", theme)


def causal_by_step(audit: AuditRecord, *, theme: Theme = "light") -> go.Figure:
    """Share of honest problems that follow (or move) when a thought is exchanged, beside the placebo."""
    score = _score(audit, "exchange (95 %)", lambda step: step.causal_effect, lambda step: step.causal_interval)
    placebo = _score(audit, "placebo (95 %)", lambda step: step.placebo_effect, lambda step: step.placebo_interval)
    placebo.update(line={"color": OKABE_ITO[1], "width": 1.5, "dash": "dash"}, marker={"symbol": "square-open"})
    verbs = sorted({EFFECT[step.measure] for step in audit.steps})
    zero = _control(audit, "zeroed (moves)", lambda step: step.zero_effect, 1, theme)
    shuffle = _control(audit, "shuffled (moves)", lambda step: step.shuffle_effect, 2, theme)
    return _by_step([score, placebo, zero, shuffle], f"share that {' or '.join(verbs)}", theme)
