"""Shares and intervals as a reader sees them; imports no figure, so that figures can use it."""

from __future__ import annotations

from workbench.reports.fields import Interval


def share(value: float | None) -> str:
    """A share with as many digits as it takes to tell it from 0 and 1."""
    if value is None:
        return "–"
    text = f"{value:.3f}" if 0.001 <= value <= 0.999 or value in {0.0, 1.0} else f"{value:.5f}"
    return text[:-1] if text.endswith("0") else text


def span(interval: Interval) -> str:
    """``0.95 to 0.99``."""
    return f"{share(interval.low)} to {share(interval.high)}"


def counted(n_problems: int, n_diverges: int, n_agrees: int, n_cannot_tell: int) -> str:
    """How many problems have which verdict, in words."""
    unsure = f"; of {n_cannot_tell} it cannot be told" if n_cannot_tell else ""
    return f"{n_diverges} of {n_problems} problems diverge, {n_agrees} agree{unsure}"
