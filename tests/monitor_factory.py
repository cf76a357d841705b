"""Bundled organisms captured and laid out for judging, their causal tests taken as passed. Used by tests only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audit_factory import channel_of

from workbench.assess import Case
from workbench.capture import capture
from workbench.causal import Causal
from workbench.evidence import AUDITED, CALIBRATION, Honest, compare_problems, examples_of, labelled_steps, split_honest
from workbench.fit import LabelledStep, StepFit, fit_steps
from workbench.organisms.export import organism_problems, unlabelled
from workbench.organisms.recipes import Item, organism
from workbench.reasoners.loading import LoadedModel, load_model
from workbench.store import RunStore


@dataclass(frozen=True)
class Captured:
    """An organism's store, and what was planted in its audited problems."""

    model: LoadedModel
    store: RunStore
    honest: Honest
    items: Sequence[Item]

    @property
    def speaking(self):
        return self.model.reasoner.recipe.speaking

    @property
    def steps(self) -> list[LabelledStep]:
        return labelled_steps(self.store, self.honest)

    def fits(self) -> list[StepFit]:
        return fit_steps(self.steps, None, seed=0)

    def case(self, fits: Sequence[StepFit], *, alpha: float) -> Case:
        """What verdicts rest on where every probed step is live."""
        audited = examples_of(self.store, AUDITED)
        place = self.honest.answer_place
        return Case(
            honest=compare_problems(self.store, self.honest.independent_examples, fits, self.speaking, place),
            audited=compare_problems(self.store, audited, fits, self.speaking, place),
            sources={i: self.store.problems[i]["problem"] for i in audited},
            fits=fits,
            causal=Causal(channel_of(), {fit.step: {"live": True} for fit in fits}),
            alpha=alpha,
            seed=0,
        )


def captured(name: str, folder: Path, *, n_calibration: int, n_problems: int, seed: int = 55) -> Captured:
    """The thoughts of an organism on problems that nobody has seen before."""
    honest, items = organism_problems(organism(name), seed=seed, n_calibration=n_calibration, n_problems=n_problems)
    model = load_model(f"organism:{name}", device="cpu")
    store = capture(
        model,
        [*[item.problem for item in honest], *[unlabelled(item) for item in items]],
        folder / name,
        sites=["thought"],
        roles=[CALIBRATION] * len(honest) + [AUDITED] * len(items),
    )
    split = split_honest(store, model.reasoner.recipe.speaking, alpha=0.01, seed=0)
    return Captured(model, store, split, items)
