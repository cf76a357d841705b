"""Records in, figures out: the same pure functions serve dashboard, notebook and report."""

from workbench.figures.hero import hero
from workbench.figures.lines import causal_by_step, decode_by_step
from workbench.figures.svg import hero_svg
from workbench.figures.words import sentence

__all__ = ["causal_by_step", "decode_by_step", "hero", "hero_svg", "sentence"]
