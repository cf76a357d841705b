"""Connectors between the lanes as Plotly traces: those that arrive, break, or never arrive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from workbench.figures.palette import MARKS, STATUSES, Ink
from workbench.figures.picture import Form, Link, Picture, Stub
from workbench.reports.records import StepStatus

Segment = tuple[float, float, float, float]
Trace = dict[str, Any]
"""A trace as Plotly's JSON has it."""
NOWHERE: list[Any] = [None]
"""A trace without a point: only its legend entry shows."""


def trace(kind: str, **parts: Any) -> Trace:
    """A trace that is checked once, with its figure: Plotly's own objects would be made and checked twice."""
    return {"type": kind, **parts}


@dataclass(frozen=True, slots=True)
class Lanes:
    """Pixel heights of the lanes and of one box; y runs from 0 (bottom of SAYS) to `height`."""

    height: int
    box: int

    @property
    def gap(self) -> int:
        """Pixels between the lanes."""
        return self.height - 2 * self.box


LANES: dict[Form, Lanes] = {
    "words": Lanes(180, 44),
    "upright": Lanes(310, 100),
    "compact": Lanes(150, 30),
}


def _line_width(weight: float) -> float:
    """Confidence 0 to 1 in four widths, so that a long chain needs few traces."""
    return 1.5 + 1.5 * round(3 * weight)


def _strokes(drawn: Picture, lanes: Lanes) -> list[tuple[StepStatus, float, list[Segment]]]:
    """Line segments (x0, y0, x1, y1) by status and width."""
    top, bottom, gap = lanes.height - lanes.box, lanes.box, lanes.gap
    by_look: dict[tuple[StepStatus, float], list[Segment]] = {}
    for link in drawn.links:
        pieces = [(0.0, 1.0)] if link.status == "agree" else [(0.0, 0.36), (0.64, 1.0)]
        for start, end in pieces:
            dx = link.x_claim - link.x_thought
            segment = (
                link.x_thought + start * dx,
                top - start * gap,
                link.x_thought + end * dx,
                top - end * gap,
            )
            by_look.setdefault((link.status, _line_width(link.weight)), []).append(segment)
    for stub in drawn.stubs:
        y0, y1 = (top, top - 0.2 * gap) if stub.lane == "thought" else (bottom, bottom + 0.2 * gap)
        by_look.setdefault((stub.status, _line_width(stub.weight)), []).append((stub.x, y0, stub.x, y1))
    return [(status, width, segments) for (status, width), segments in sorted(by_look.items())]


def connector_lines(drawn: Picture, lanes: Lanes) -> list[Trace]:
    """One trace per status and width."""
    traces = []
    for status, width, segments in _strokes(drawn, lanes):
        x = [value for x0, _, x1, _ in segments for value in (x0, x1, None)]
        y = [value for _, y0, _, y1 in segments for value in (y0, y1, None)]
        dash = "solid" if status in {"agree", "conflict"} else "dot"
        line = {"width": width, "color": MARKS[status].fill, "dash": dash}
        opacity = 0.7 if status == "agree" else 1.0
        traces.append(
            trace("scatter", x=x, y=y, mode="lines", line=line, opacity=opacity, hoverinfo="skip", showlegend=False)
        )
    return traces


def _glyph_of(item: Link | Stub, lanes: Lanes) -> tuple[float, float, str]:
    if isinstance(item, Link):
        return (item.x_thought + item.x_claim) / 2, lanes.height / 2, ""
    if item.lane == "thought":
        return item.x, lanes.height - lanes.box - 0.26 * lanes.gap, item.label
    return item.x, lanes.box + 0.26 * lanes.gap, item.label


def glyphs(drawn: Picture, lanes: Lanes, ink: Ink) -> list[Trace]:
    """The marks at broken ends; every status has a legend entry, so that the vocabulary stays in sight."""
    traces = []
    size = 12 if drawn.form == "words" else 8
    for status in STATUSES:
        broken = [link for link in drawn.links if link.status == status and status != "agree"]
        items: list[Link | Stub] = [*broken, *(stub for stub in drawn.stubs if stub.status == status)]
        ends = [_glyph_of(item, lanes) for item in items]
        mark = MARKS[status]
        traces.append(
            trace(
                "scatter",
                x=[x for x, _, _ in ends] or NOWHERE,
                y=[y for _, y, _ in ends] or NOWHERE,
                text=[label for _, _, label in ends],
                mode="markers+text",
                textposition="top center" if status == "unsupported" else "bottom center",
                textfont={"size": 11, "color": ink.ink},
                marker={
                    "symbol": mark.symbol,
                    "size": size,
                    "color": mark.fill,
                    "line": {"color": ink.ink if status == "conflict" else mark.fill, "width": 1.5},
                },
                hoverinfo="skip",
                name=mark.legend,
            )
        )
    return traces
