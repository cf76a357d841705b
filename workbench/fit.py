"""Fit: one value probe per step on honest problems, each with its controls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer

from probes import (
    FrozenProbe,
    ValueProbe,
    freeze,
    group_bootstrap,
    input_only,
    load_probes,
    majority,
    save_probes,
    shuffled_labels,
)
from probes.errors import ProbeDataError, ProbeFileError
from probes.unseen import UnseenValueTest
from workbench.errors import CorruptArtifact, HashMismatch, InsufficientData
from workbench.fit_sets import fit_set_step
from workbench.jsonio import digest
from workbench.lenses import logit_lens
from workbench.reasoners.base import Reasoner
from workbench.step_fit import LabelledStep, StepFit, label_steps
from workbench.store import write_file

__all__ = ["LabelledStep", "StepFit", "fit_record", "fit_step", "fit_steps", "label_steps", "load_fits", "save_fits"]

Bools = NDArray[np.bool_]

N_SHUFFLES = 100
MAX_WORDS = 4096
PACK_NAME, SPEC_NAME = "probes.safetensors", "probes.json"

Progress = Callable[[int, int], None]


def fit_step(data: LabelledStep, reasoner: Reasoner | None, *, seed: int) -> StepFit:
    """Fit the probe of one step and compute its controls.

    Raises:
        InsufficientData: fewer than two values, or nothing to learn from or to score.
    """
    if data.holds_sets:
        return fit_set_step(data, word_features(data.prompts, ~data.held_out), seed=seed, n_shuffles=N_SHUFFLES)
    fit, held = ~data.held_out, data.held_out
    labels, groups = np.array(data.labels), np.array(data.groups)
    if len(set(labels[fit])) < 2 or not held.any():
        raise InsufficientData(
            "a probe needs at least two values to tell apart, and held-out problems to be scored on",
            field=f"thoughts[{data.step}]",
            found=f"{len(set(labels[fit]))} values in {int(fit.sum())} fit rows, {int(held.sum())} held out",
        )
    probe = ValueProbe(random_state=seed).fit(data.thoughts[fit], labels[fit], groups=groups[fit])
    unseen = UnseenValueTest.fit(data.thoughts[fit], labels[fit], data.thoughts[held], labels[held], seed=seed)
    right = probe.predict(data.thoughts[held]) == labels[held]
    control = shuffled_labels(
        data.thoughts[fit], labels[fit], data.thoughts[held], labels[held],
        groups_fit=groups[fit], groups_test=groups[held], n_shuffles=N_SHUFFLES, seed=seed,
    )  # fmt: skip
    words = word_features(data.prompts, fit)
    metadata = {
        "step": data.step, "site": data.site, "n_fit": int(fit.sum()), "C": float(probe.C_),
        "converged": bool(probe.converged_), "seed": seed,
    }  # fmt: skip
    return StepFit(
        site=data.site,
        step=data.step,
        probe=replace(freeze(probe, metadata), novelty=unseen.novelty),
        unseen=unseen,
        right=right,
        groups=tuple(groups[held].tolist()),
        n_shuffles=N_SHUFFLES,
        accuracy=float(right.mean()),
        interval=group_bootstrap(right.astype(float), groups[held], seed=seed),
        shuffled=control.mean,
        selectivity_p=control.p_value,
        majority=majority(labels[fit], labels[held]),
        input_only=input_only(words[fit], labels[fit], words[held], labels[held], groups_fit=groups[fit], seed=seed),
        previous_step=_previous_step(data, labels, groups, seed),
        logit_lens=_logit_lens(data, labels, reasoner),
        luck=majority(labels[fit], labels[fit]),
    )  # fmt: skip


def word_features(prompts: Sequence[str], fit: Bools) -> Any:
    """Words of each prompt and words at their place, as counts; the vocabulary is that of the fit rows."""

    def pieces(prompt: str) -> list[str]:
        words = prompt.split()
        return [*words, *(f"{place}={word}" for place, word in enumerate(words))]

    vectorizer = CountVectorizer(analyzer=pieces, max_features=MAX_WORDS, dtype=np.float64)
    try:
        vectorizer.fit([prompt for prompt, used in zip(prompts, fit, strict=True) if used])
    except ValueError:  # no word in any prompt: the text tells nothing
        return np.zeros((len(prompts), 1))
    return vectorizer.transform(prompts)


def _previous_step(data: LabelledStep, labels: NDArray[Any], groups: NDArray[Any], seed: int) -> float | None:
    if data.before is None:
        return None
    fit, held = ~data.held_out, data.held_out
    probe = ValueProbe(random_state=seed).fit(data.before[fit], labels[fit], groups=groups[fit])
    return float((probe.predict(data.before[held]) == labels[held]).mean())


def _logit_lens(data: LabelledStep, labels: NDArray[Any], reasoner: Reasoner | None) -> float | None:
    if reasoner is None or data.site != "thought":
        return None
    values = sorted({str(label) for label in data.labels})
    places = logit_lens(reasoner, data.thoughts[data.held_out], values)
    return None if places is None else float((np.array(values)[places] == labels[data.held_out]).mean())


def fit_steps(
    steps: Sequence[LabelledStep], reasoner: Reasoner | None, *, seed: int, progress: Progress | None = None
) -> list[StepFit]:
    """Fit every step that has enough to learn from.

    Raises:
        InsufficientData: not a single step has.
    """
    fits, reasons = [], []
    for k, data in enumerate(steps):
        try:
            fits.append(fit_step(data, reasoner, seed=seed))
        except (InsufficientData, ProbeDataError) as error:
            reasons.append(f"step {data.step}: {error}")
        if progress is not None:
            progress(k + 1, len(steps))
    if not fits:
        raise InsufficientData(
            "no step can be probed: " + ("; ".join(reasons) or "no honest problem has a value and a finite thought"),
            field="thoughts",
            hint="Give more honest problems, with `thoughts`, or with said text that the recipe's `claims` can read.",
        )
    return fits


def save_fits(fits: Sequence[StepFit], folder: Path) -> str:
    """Write the probes (safetensors and JSON) and return the hash of the pair."""
    pack, spec = save_probes({f"{fit.site}.step{fit.step:04d}": fit.probe for fit in fits})
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / PACK_NAME, pack)
    write_file(folder / SPEC_NAME, spec)
    return digest(pack + spec)


def fit_record(fit: StepFit) -> dict[str, object]:
    """Plain values of one fit: every score beside its controls, its n and its interval."""
    return {
        "site": fit.site, "step": fit.step, "n": fit.n, "n_classes": len(fit.probe.classes),
        "accuracy": fit.accuracy, "interval": [fit.interval.low, fit.interval.high],
        "shuffled": fit.shuffled, "n_shuffles": fit.n_shuffles, "selectivity_p": fit.selectivity_p,
        "majority": fit.majority, "input_only": fit.input_only, "previous_step": fit.previous_step,
        "logit_lens": fit.logit_lens, "readable": fit.readable, **dict(fit.probe.metadata),
    }  # fmt: skip


def load_fits(folder: Path, *, expected_root: str | None = None) -> dict[str, FrozenProbe]:
    """Read probes back.

    Raises:
        CorruptArtifact: files are missing or are not probes.
        HashMismatch: they are not the ones that `expected_root` names.
    """
    parts = []
    for name in (PACK_NAME, SPEC_NAME):
        path = folder / name
        if not path.is_file():
            raise CorruptArtifact("missing file", path=path)
        parts.append(path.read_bytes())
    if expected_root is not None and digest(b"".join(parts)) != expected_root:
        raise HashMismatch("the probes changed since they were fitted", path=folder / PACK_NAME, expected=expected_root)
    try:
        return load_probes(parts[0], parts[1])
    except ProbeFileError as error:
        raise CorruptArtifact(f"not a probe pack: {error}", path=folder / PACK_NAME) from error
