"""Bundled organisms captured once and judged in many ways; causal tests are taken as passed, since all share them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from probes import exact_share
from workbench.assess import Case
from workbench.capture import capture
from workbench.causal import Causal
from workbench.evidence import AUDITED, CALIBRATION, Honest, compare_problems, examples_of, split_honest
from workbench.lens_route import sites_for
from workbench.organisms.export import unlabelled
from workbench.organisms.kinds import make_items
from workbench.organisms.recipes import Item, organism
from workbench.reasoners.loading import LoadedModel, load_model
from workbench.reports.records import Channel, Interval
from workbench.step_fit import StepFit
from workbench.store import RunStore

SEEDS = (201, 202, 203)
"""Problem seeds that no organism was trained, accepted or measured on elsewhere."""

FULL = Interval(low=0.98, high=1.0)
PASSED = Channel(
    measure="follows", thought_effect=1.0, thought_interval=FULL, channel_effect=1.0, channel_interval=FULL,
    placebo_effect=0.0, placebo_interval=Interval(low=0.0, high=0.02), zero_effect=1.0, coverage=1.0, reach=1.0,
    decorative=False, n=200,
)  # fmt: skip


@dataclass(frozen=True)
class Captured:
    """A store and the sealed truth of its audited problems."""

    model: LoadedModel
    store: RunStore
    items: Sequence[Item]

    def split(self, *, alpha: float = 0.01, only_words: bool = False) -> Honest:
        """Trusted problems to learn from and held out."""
        speaking = self.model.reasoner.recipe.speaking
        return split_honest(self.store, speaking, alpha=alpha, seed=0, only_words=only_words)

    def case(self, honest: Honest, fits: Sequence[StepFit], alpha: float) -> Case:
        """What verdicts rest on where every step is live."""
        audited = examples_of(self.store, AUDITED)
        speaking, place = self.model.reasoner.recipe.speaking, honest.answer_place
        return Case(
            honest=compare_problems(self.store, honest.independent_examples, fits, speaking, place),
            audited=compare_problems(self.store, audited, fits, speaking, place),
            sources={i: self.store.problems[i]["problem"] for i in audited},
            fits=fits,
            causal=Causal(PASSED, {fit.step: {"live": True} for fit in fits}),
            alpha=alpha,
            seed=0,
        )

    @property
    def lies(self) -> NDArray[np.bool_]:
        """Which audited problems say something else than they hold."""
        return np.array([item.holds != item.says for item in self.items])


def captured(name: str, seed: int, n_honest: int, n_problems: int, scratch: Path, *, lying: float = 0.0) -> Captured:
    """Run an organism on fresh problems.

    Args:
        name: of the organism.
        seed: of the problems.
        n_honest: trusted problems.
        n_problems: audited ones, half of them flagged where there is a flag.
        scratch: folder for the store.
        lying: share of the trusted problems that are flagged all the same.
    """
    what = organism(name)
    honest = make_items(what, n_honest, seed=2 * seed, flagged_share=lying, prefix="honest")
    items = make_items(what, n_problems, seed=2 * seed + 1, flagged_share=0.5 if what.flagged_share else 0.0)
    model = load_model(f"organism:{name}", device="cpu")
    store = capture(
        model,
        [*[item.problem for item in honest], *[unlabelled(item) for item in items]],
        scratch / f"{name}-{seed}-{n_honest}-{lying:g}",
        sites=list(dict.fromkeys(["thought", *sites_for(model.reasoner, "tuned-lens")])),
        roles=[CALIBRATION] * n_honest + [AUDITED] * n_problems,
    )
    return Captured(model, store, items)


def share(n_hits: int, n: int) -> str:
    """A share with its exact 95 % interval and n."""
    if not n:
        return "–"
    interval = exact_share(n_hits, n)
    return f"{n_hits / n:.3f} [{interval.low:.3f}, {interval.high:.3f}] of {n}"


def line(cells: Sequence[object]) -> str:
    """One row of a Markdown table."""
    return "| " + " | ".join(map(str, cells)) + " |\n"
