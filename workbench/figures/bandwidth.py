"""Bits per thought on one axis, and what each code does to the said text, before anything is drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import plotly.graph_objects as go

from workbench.figures.hero import FONT
from workbench.figures.palette import INKS, OKABE_ITO, Theme
from workbench.figures.probes_curves import Chart, Series
from workbench.figures.probes_lines import draw_chart
from workbench.reports.bandwidth_records import (
    BandwidthRecord,
    ChainRecord,
    DecodableRecord,
    SweepRecord,
    TriedRecord,
)

Kind = Literal["container", "token", "decodable", "used"]
KINDS: tuple[Kind, ...] = ("container", "token", "decodable", "used")
NAMES: dict[Kind, str] = {
    "container": "container: what it could hold", "token": "one token of this model",
    "decodable": "decodable (95 %)", "used": "used, at most (95 %)",
}  # fmt: skip
LEAST_DRAWN = 0.1
"""Fewer bits are drawn here, at the tick `0`: an axis of powers has no zero."""


@dataclass(frozen=True, slots=True)
class Point:
    """Bits of one kind, with their interval where there is one."""

    kind: Kind
    bits: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Rung:
    """One step, or all of them."""

    name: str
    points: tuple[Point, ...]


def rungs(record: BandwidthRecord) -> tuple[Rung, ...]:
    """Each step, then the whole chain."""
    found = [
        Rung(f"step {row.step}", _points(record, row.numbers, 1, row.decodable, row.sweep)) for row in record.steps
    ]
    whole = _points(record, record.whole.numbers, len(record.steps), record.chain, record.whole)
    return (*found, Rung("all steps", whole))


def _points(
    record: BandwidthRecord,
    numbers: int,
    n_tokens: int,
    decodable: DecodableRecord | ChainRecord | None,
    sweep: SweepRecord | None,
) -> tuple[Point, ...]:
    points = [
        Point("container", float(record.container_bits(numbers))),
        Point("token", n_tokens * record.token_bits),
    ]
    if decodable is not None:
        points.append(Point("decodable", decodable.bits, decodable.interval.low, decodable.interval.high))
    if sweep is not None and sweep.used is not None:
        points.append(Point("used", sweep.used.bits, sweep.used.interval.low, sweep.used.interval.high))
    return tuple(points)


def drawn_at(bits: float) -> float:
    """Place on the axis of powers."""
    return max(LEAST_DRAWN, bits)


def axis(most: float) -> tuple[tuple[float, float], tuple[tuple[float, str], ...]]:
    """Ends and ticks of an axis of powers of ten from `0` up to `most` bits."""
    top = max(1, math.ceil(math.log10(max(most, 1.0))))
    ticks = ((LEAST_DRAWN, "0"), *((10.0**power, f"{10**power:,}") for power in range(top + 1)))
    return (LEAST_DRAWN / 1.3, 10.0**top * 1.3), ticks


def bits_figure(record: BandwidthRecord, *, theme: Theme = "light") -> go.Figure:
    """Container, token, decodable and used bits of every step, on one axis of powers of ten."""
    ink, found = INKS[theme], rungs(record)
    symbols = {"container": "square-open", "token": "line-ns-open", "decodable": "circle", "used": "diamond"}
    figure = go.Figure()
    for rank, kind in enumerate(KINDS):
        mine = [(rung.name, point) for rung in found for point in rung.points if point.kind == kind]
        ends = [(point.low, point.high, point.bits) for _, point in mine]
        figure.add_trace(
            go.Scatter(
                x=[drawn_at(point.bits) for _, point in mine], y=[name for name, _ in mine], mode="markers",
                name=NAMES[kind], customdata=[point.bits for _, point in mine],
                hovertemplate="%{y}: %{customdata:.2f} bits<extra></extra>",
                marker={"symbol": symbols[kind], "size": 12, "color": OKABE_ITO[rank], "line": {"width": 2}},
                error_x={
                    "array": [0.0 if high is None else max(0.0, high - bits) for _, high, bits in ends],
                    "arrayminus": [0.0 if low is None else max(0.0, bits - low) for low, _, bits in ends],
                    "thickness": 1.5, "color": OKABE_ITO[rank],
                },
            )
        )  # fmt: skip
    ends_, ticks = axis(max(point.bits for rung in found for point in rung.points))
    figure.update_layout(
        template="none", height=120 + 34 * len(found), margin={"l": 76, "r": 16, "t": 64, "b": 52},
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)",
        font={"family": FONT, "color": ink.ink, "size": 12}, hoverlabel={"bgcolor": ink.ground},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}, dragmode=False,
    )  # fmt: skip
    figure.update_xaxes(
        type="log", range=[math.log10(end) for end in ends_], title={"text": "bits"}, gridcolor=ink.grid,
        zeroline=False, tickvals=[value for value, _ in ticks], ticktext=[text for _, text in ticks],
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", gridcolor=ink.grid)
    return figure


def rate_chart(sweep: SweepRecord, *, allowed: float) -> Chart:
    """Share of problems whose said text changes, by the rate of the code."""
    ends, ticks = axis(max(one.bits for one in sweep.tried))
    kinds = (("vector codes", "vector"), ("scalar, least so far", "scalar"), ("value read", "named"))
    series = [
        _series(name, rank, [one for one in sweep.tried if one.kind == kind]) for rank, (name, kind) in enumerate(kinds)
    ]
    series.append(Series(f"{allowed:.0%} allowed", 3, ends, (allowed, allowed), has_marks=False))
    return Chart(
        "bits per problem", "said text changes", ends, ticks, tuple(one for one in series if one.x), is_log=True
    )


def _series(name: str, rank: int, tried: list[TriedRecord]) -> Series:
    x, y, least = [], [], 1.0
    for one in sorted(tried, key=lambda one: one.bits):
        least = min(least, one.changed)
        x.append(drawn_at(one.bits))
        y.append(least if one.kind == "scalar" else one.changed)
    return Series(name, rank, tuple(x), tuple(y))


def rates_figure(sweep: SweepRecord, *, allowed: float, theme: Theme = "light") -> go.Figure:
    """The chart of one sweep."""
    return draw_chart(rate_chart(sweep, allowed=allowed), theme=theme)
