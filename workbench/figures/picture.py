"""Where everything stands in the two-lane picture, before anything is drawn.

x counts columns: thought `i` stands at x = i, claims are spread over the same
width. Both the Plotly figure and the static SVG draw this one picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from workbench.figures.palette import MARKS
from workbench.figures.words import claim_lines, claims_away, number, thought_lines
from workbench.reports.escape import short
from workbench.reports.records import AuditRecord, ProblemRecord, ProblemStep, StepStatus, StepSummary

Form = Literal["words", "upright", "compact"]
WORDS_UP_TO, TEXT_UP_TO, BOXES_UP_TO = 12, 40, 60
BOX_WIDTH = 0.84


@dataclass(frozen=True, slots=True)
class Box:
    """One thought or one claim (in the compact form of long chains, one group of them)."""

    lane: Literal["thought", "claim"]
    index: int
    """Latent step, or place of the claim: what a click selects."""
    x: float
    width: float
    text: str
    status: StepStatus | None
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Link:
    """A connector that arrives (`agree`) or breaks on its way (`conflict`)."""

    x_thought: float
    x_claim: float
    weight: float
    status: StepStatus


@dataclass(frozen=True, slots=True)
class Stub:
    """A connector that never arrives: this is the divergence."""

    lane: Literal["thought", "claim"]
    x: float
    weight: float
    status: StepStatus
    label: str


@dataclass(frozen=True, slots=True)
class Bar:
    """Divergence of one step in bits, in front of what honest problems reach at that step."""

    step: int
    x: float
    bits: float
    low: float
    high: float | None
    """None where the audit has no band for this step: then nothing is above it."""
    status: StepStatus
    line: str

    @property
    def above(self) -> bool:
        """Beyond what honest problems reach."""
        return self.high is not None and self.bits > self.high


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything that is drawn."""

    form: Form
    n_columns: int
    boxes: tuple[Box, ...]
    links: tuple[Link, ...]
    stubs: tuple[Stub, ...]
    bars: tuple[Bar, ...]
    column_of: Mapping[int, float]
    """x of each latent step; those of one group share theirs."""


def _worst(rows: Sequence[ProblemStep]) -> ProblemStep:
    return max(rows, key=lambda row: (row.status != "agree", row.divergence_bits or 0.0))


def grouped(indices: Sequence[int]) -> list[list[int]]:
    """Neighbours that are drawn as one, so that no lane has more than `BOXES_UP_TO` boxes."""
    size = max(1, -(-len(indices) // BOXES_UP_TO))
    return [list(indices[start : start + size]) for start in range(0, len(indices), size)]


def _claim_status(rows: Sequence[ProblemStep]) -> StepStatus | None:
    found = {row.status for row in rows}
    order: tuple[StepStatus, ...] = ("conflict", "unsupported", "agree")
    return next((status for status in order if status in found), None)


def _thought_boxes(
    groups: list[list[int]],
    rows_of: dict[int, list[ProblemStep]],
    form: Form,
    summaries: dict[int, StepSummary],
) -> list[Box]:
    boxes = []
    for x, group in enumerate(groups):
        row = _worst([row for step in group for row in rows_of[step]])
        step = group[0] if row.step is None else row.step
        span = () if len(group) == 1 else (f"steps {group[0]}-{group[-1]}, the worst of them:",)
        text = "" if form == "compact" else short(row.decoded if row.decoded is not None else "–")
        status = None if row.status == "unsupported" else row.status
        lines = (*span, *thought_lines(row, summaries.get(step)))
        boxes.append(Box("thought", step, float(x), BOX_WIDTH, text, status, lines))
    return boxes


def _claim_boxes(
    claims: list[str],
    groups: list[list[int]],
    rows_of: dict[int, list[ProblemStep]],
    form: Form,
    n_columns: int,
) -> list[Box]:
    boxes = []
    pitch = n_columns / max(1, len(groups))
    for place, group in enumerate(groups):
        rows = [row for index in group for row in rows_of.get(index, [])]
        status = _claim_status(rows)
        index = next((row.claim_index for row in rows if row.status == status), None)
        index = group[0] if index is None else index
        text = "" if form == "compact" else short(claims[index])
        lines = tuple(claim_lines(index, claims[index], rows_of.get(index, [])))
        x, width = (place + 0.5) * pitch - 0.5, min(pitch, 1.7) * BOX_WIDTH
        boxes.append(Box("claim", index, x, width, text, status, lines))
    return boxes


def _stub_label(row: ProblemStep, form: Form) -> str:
    if form != "words":
        return ""
    if row.status == "ahead" and row.held_before:
        return claims_away(row.held_before)
    if row.status == "conflict" and row.said is not None:
        return f"answers {short(row.said, 8)}"
    return MARKS[row.status].stub


def _connectors(
    rows: Sequence[ProblemStep], thought_x: dict[int, float], claim_x: dict[int, float], form: Form
) -> tuple[list[Link], list[Stub]]:
    links, stubs = [], []
    for row in rows:
        weight = 0.0 if row.confidence is None else row.confidence
        x_thought = None if row.step is None else thought_x.get(row.step)
        x_claim = None if row.claim_index is None else claim_x.get(row.claim_index)
        if row.status in {"agree", "conflict"} and x_thought is not None and x_claim is not None:
            links.append(Link(x_thought, x_claim, weight, row.status))
        elif row.status == "unsupported" and x_claim is not None:
            stubs.append(Stub("claim", x_claim, weight, row.status, _stub_label(row, form)))
        elif row.status in {"ahead", "unsaid", "conflict"} and x_thought is not None:
            stubs.append(Stub("thought", x_thought, weight, row.status, _stub_label(row, form)))
    return links, stubs


def _bars(
    groups: list[list[int]], rows_of: dict[int, list[ProblemStep]], summaries: dict[int, StepSummary]
) -> list[Bar]:
    bars = []
    for x, group in enumerate(groups):
        rows = [row for step in group for row in rows_of[step] if row.divergence_bits is not None]
        if not rows:
            continue
        row = _worst(rows)
        step, bits = row.step or 0, row.divergence_bits or 0.0
        band = summaries[step].band if step in summaries else None
        low, high = (max(0.0, band.low), min(1.0, band.high)) if band else (0.0, None)
        control = "no honest band" if high is None else f"honest problems {number(low)} to {number(high)}"
        line = f"step {step}: {number(bits)} bits of divergence, {control}"
        bars.append(Bar(step, float(x), bits, low, high, row.status, line))
    return bars


def picture(problem: ProblemRecord, audit: AuditRecord) -> Picture:
    """Lay one problem out; any number of thoughts and claims, none included."""
    summaries = {summary.step: summary for summary in audit.steps}
    by_step: dict[int, list[ProblemStep]] = {}
    by_claim: dict[int, list[ProblemStep]] = {}
    for row in problem.steps:
        if row.step is not None:
            by_step.setdefault(row.step, []).append(row)
        if row.claim_index is not None and 0 <= row.claim_index < len(problem.claims):
            by_claim.setdefault(row.claim_index, []).append(row)
    thoughts, claims = grouped(sorted(by_step)), grouped(range(len(problem.claims)))
    longest = max(len(by_step), len(problem.claims))
    form: Form = "words" if longest <= WORDS_UP_TO else "upright" if longest <= TEXT_UP_TO else "compact"
    n_columns = max(1, len(thoughts) or len(claims))
    thought_boxes = _thought_boxes(thoughts, by_step, form, summaries)
    claim_boxes = _claim_boxes(problem.claims, claims, by_claim, form, n_columns)
    thought_x = {step: box.x for box, group in zip(thought_boxes, thoughts, strict=True) for step in group}
    claim_x = {index: box.x for box, group in zip(claim_boxes, claims, strict=True) for index in group}
    links, stubs = _connectors(problem.steps, thought_x, claim_x, form)
    bars = _bars(thoughts, by_step, summaries)
    return Picture(form, n_columns, (*thought_boxes, *claim_boxes), tuple(links), tuple(stubs), tuple(bars), thought_x)
