"""Records in, figures out: the same pure functions serve dashboard, notebook and report."""

from workbench.figures.hero import hero
from workbench.figures.lines import causal_by_step, decode_by_step
from workbench.figures.probes import (
    confusions,
    confusions_svg,
    grid,
    grid_svg,
    learning_curve,
    learning_curve_svg,
    reliability,
    reliability_svg,
    text_scores,
    text_scores_svg,
)
from workbench.figures.svg import hero_svg
from workbench.figures.words import sentence

__all__ = [
    "causal_by_step",
    "confusions",
    "confusions_svg",
    "decode_by_step",
    "grid",
    "grid_svg",
    "hero",
    "hero_svg",
    "learning_curve",
    "learning_curve_svg",
    "reliability",
    "reliability_svg",
    "sentence",
    "text_scores",
    "text_scores_svg",
]
