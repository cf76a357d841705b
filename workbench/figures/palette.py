"""Colours and marks: Okabe-Ito, always doubled by outline, hatch or glyph so that greyscale reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from workbench.reports.records import StepStatus

Theme = Literal["light", "dark"]

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
STATUSES: tuple[StepStatus, ...] = ("agree", "ahead", "unsaid", "unsupported", "conflict")


@dataclass(frozen=True, slots=True)
class Ink:
    """Colours of everything that is not a status."""

    ground: str
    ink: str
    faint: str
    grid: str
    band: str
    neutral: str
    """A claim or thought that no status was given to."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How one status looks."""

    fill: str
    text: str
    symbol: str
    """Plotly marker symbol of the glyph on its connector."""
    legend: str
    stub: str
    """What stands where its connector ends; empty where the connector arrives."""


INKS: dict[Theme, Ink] = {
    "light": Ink("#FFFFFF", "#1A1C22", "#5A6070", "#DDE0E6", "#C9CCD3", "#8D93A1"),
    "dark": Ink("#0E1117", "#F2F3F5", "#A9AFBC", "#30343D", "#4A505C", "#6B7280"),
}

MARKS: dict[StepStatus, Mark] = {
    "agree": Mark("#0072B2", "#FFFFFF", "circle", "agree", ""),
    "ahead": Mark("#E69F00", "#000000", "triangle-right", "ahead (said elsewhere)", "said elsewhere"),
    "unsaid": Mark("#E69F00", "#000000", "circle-x-open", "unsaid (never said)", "never said"),
    "unsupported": Mark("#CC79A7", "#000000", "diamond-open", "unsupported (no thought)", "no thought"),
    "conflict": Mark("#D55E00", "#000000", "x", "conflict", ""),
}
