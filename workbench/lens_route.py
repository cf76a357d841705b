"""The route without gold labels: every step read by the model's own lens, or by a tuned lens, and no probe trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from probes.errors import ProbeDataError
from probes.frozen import FrozenProbe
from probes.translator import Translator
from workbench.errors import InsufficientData
from workbench.evidence import Honest, labelled_steps
from workbench.lens_reader import ValueTokens, lens_probe, reader_fit
from workbench.lenses import logit_lens
from workbench.reasoners.base import Reasoner
from workbench.step_fit import LabelledStep, StepFit
from workbench.store import RunStore
from workbench.tuned_lens import final_place, tune_on_store

Reader = Literal["probe", "lens", "tuned-lens"]
Progress = Callable[[int, int], None]


def sites_for(reasoner: Reasoner, reader: Reader) -> list[str]:
    """Sites that a reader needs in a store beside the thoughts.

    Raises:
        ConfigError: the model has no site that a tuned lens could learn from.
    """
    return [final_place(reasoner, "thought", reasoner.sites).site] if reader == "tuned-lens" else []


def lens_fits(
    store: RunStore, honest: Honest, reasoner: Reasoner, *, tuned: bool, seed: int, progress: Progress | None = None
) -> list[StepFit]:
    """Read every step by a lens among the values that trusted problems say.

    Args:
        store: with the thoughts, and for a tuned lens with what the model ends with.
        honest: trusted problems, split with `only_words`: nothing else is known of them.
        reasoner: the model that was captured.
        tuned: translate thoughts first, by a map that learned what the model ends with.
        seed: of translators, shuffles and intervals.
        progress: called with (steps done, steps planned).

    Raises:
        ConfigError: values of several tokens, or vectors that the head does not read.
        InsufficientData: not a single step can be read.
    """
    steps = labelled_steps(store, honest)
    learned = [known for known, held in zip(honest.known, honest.held_out, strict=True) if not held]
    said = [str(value) for known in learned for value in known.values()]
    values = ValueTokens.of(reasoner, said)
    fits, reasons = [], []
    for k, data in enumerate(steps):
        try:
            translator = _translator(store, honest, reasoner, data.step, seed) if tuned else None
            plain = _plain_accuracy(reasoner, data, values) if tuned else None
            fits.append(reader_fit(data, lens_probe(reasoner, data, values, translator), seed=seed, logit_lens=plain))
        except (InsufficientData, ProbeDataError) as error:
            reasons.append(f"step {data.step}: {error}")
        if progress is not None:
            progress(k + 1, len(steps))
    return _some(fits, reasons)


def fits_again(store: RunStore, honest: Honest, readers: Sequence[FrozenProbe], *, seed: int) -> list[StepFit]:
    """The same from readers that were kept: without the model, and so without the plain lens beside a tuned one.

    Raises:
        InsufficientData: not a single step can be scored.
    """
    of_step = {int(reader.metadata["step"]): reader for reader in readers}
    steps = [data for data in labelled_steps(store, honest) if data.step in of_step]
    return _some([reader_fit(data, of_step[data.step], seed=seed) for data in steps], [])


def _some(fits: list[StepFit], reasons: Sequence[str]) -> list[StepFit]:
    if not fits:
        raise InsufficientData(
            "no step can be read by a lens: " + ("; ".join(reasons) or "no trusted problem says a value of any step"),
            field="reader", hint="Give more trusted problems, or use --reader probe.",
        )  # fmt: skip
    return fits


def _translator(store: RunStore, honest: Honest, reasoner: Reasoner, step: int, seed: int) -> Translator:
    groups = [str(record["problem"]["group"]) for record in store.problems]
    for example, group in zip(honest.examples, honest.groups, strict=True):
        groups[example] = group
    held = honest.held_out
    fit, scored = ([honest.examples[k] for k in np.flatnonzero(part).tolist()] for part in (~held, held))
    lens = tune_on_store(store, reasoner, site="thought", step=step, fit=fit, held=scored, groups=groups, seed=seed)
    return lens.translator


def _plain_accuracy(reasoner: Reasoner, data: LabelledStep, values: ValueTokens) -> float | None:
    places = logit_lens(reasoner, data.thoughts[data.held_out], values.values)
    labels = np.array([str(label) for label in data.labels])[data.held_out]
    return None if places is None else float((np.array(values.values)[places] == labels).mean())
