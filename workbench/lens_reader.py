"""Readings without gold labels: the model's own lens, held to the values that trusted problems say.

No probe is trained. The logit lens (or a tuned lens, which learned from the model's own distributions) gives logits;
only the tokens of the values that trusted problems state are kept, and one temperature makes probabilities of them,
chosen by how well what trusted problems say is predicted. What comes out is a `StepFit` as a trained probe gives one:
the same controls, the same calibration and the same judge follow.

A head behind a norm is not linear, but for each row it is a linear map times one number (a norm divides by the length
of the row). The map is kept with the usual number, so that a reading can be computed again without the model; where
the likeliest value would often be another than the lens gives, that is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from probes import FrozenProbe, group_bootstrap, input_only, majority
from probes.controls import permuted_labels, sorted_classes
from probes.translator import Translator
from probes.unseen import UnseenValueTest
from workbench.errors import ConfigError, InsufficientData
from workbench.fit import N_SHUFFLES, word_features
from workbench.lenses import refuse_unreadable
from workbench.reasoners.base import Reasoner
from workbench.step_fit import LabelledStep, StepFit

Floats = NDArray[np.float64]

ROWS_AT_ONCE = 64
MIN_SAME = 0.98
"""Share of rows whose likeliest value must be the lens's own."""
COLDEST, HOTTEST = 0.02, 50.0
"""Temperatures that are considered, in units of how far apart the logits lie."""


@dataclass(frozen=True, slots=True)
class ValueTokens:
    """Values that trusted problems say, and the token of each."""

    values: tuple[str, ...]
    tokens: tuple[int, ...]

    @classmethod
    def of(cls, reasoner: Reasoner, said: Sequence[str]) -> ValueTokens:
        """Look the tokens up.

        Raises:
            ConfigError: a value is no single token, or shares it with another.
            InsufficientData: fewer than two values are said.
        """
        values = tuple(sorted(set(said)))
        if len(values) < 2:
            raise InsufficientData(
                "a lens needs two values that trusted problems say", field="claims", found=f"{len(values)} values"
            )
        tokens = [reasoner.single_token(value) for value in values]
        several = [value for value, token in zip(values, tokens, strict=True) if token is None]
        if several or len(set(tokens)) < len(tokens):
            raise ConfigError(
                "a lens reads single tokens, one for each value", field="reader", expected="values of one token each",
                found=", ".join(several[:3]) or "two values with the same token", hint="Use --reader probe.",
            )  # fmt: skip
        return cls(values, tuple(token for token in tokens if token is not None))


def lens_probe(
    reasoner: Reasoner, data: LabelledStep, values: ValueTokens, translator: Translator | None = None
) -> FrozenProbe:
    """The lens of one step as a frozen probe.

    Args:
        reasoner: whose head reads.
        data: thoughts of trusted problems, with what they say of the step as labels; only fit rows are used.
        values: what may be read.
        translator: of a tuned lens; the logit lens without.

    Raises:
        ConfigError: the head does not read these vectors, or a linear map does not read as it does.
    """
    d = data.thoughts.shape[1]
    refuse_unreadable(reasoner, data.site, d)
    rows = np.asarray(data.thoughts[~data.held_out], dtype=np.float64)
    if len(rows) == 0:
        raise InsufficientData("no thought to set a temperature by", field=f"thoughts[{data.step}]", found="n=0")
    moved = rows if translator is None else translator.translate(rows)
    linear, offset = _head_of_values(reasoner, data.site, moved, values)
    lens = _logits(reasoner, data.site, moved, values)
    same = float(((moved @ linear.T + offset).argmax(axis=1) == lens.argmax(axis=1)).mean())
    if same < MIN_SAME:
        raise ConfigError(
            "the head of this model is no linear map up to the length of a vector", field="reader",
            expected=f"the lens's own likeliest value in {MIN_SAME:.0%} of rows", found=f"{same:.0%}",
            hint="Use --reader probe.",
        )  # fmt: skip
    if translator is not None:
        offset = offset + linear @ (translator.shift - translator.mean @ translator.change)
        linear = linear @ (np.eye(d) + translator.change).T
    temperature = _temperature(rows @ linear.T + offset, data, values)
    metadata = {
        "step": data.step, "site": data.site, "n_fit": len(rows), "converged": True, "temperature": temperature,
        "reader": "lens" if translator is None else "tuned-lens", "same_as_lens": same,
    }  # fmt: skip
    return FrozenProbe("lens", values.values, linear / temperature, offset / temperature, metadata)


@torch.no_grad()
def _logits(reasoner: Reasoner, site: str, rows: Floats, values: ValueTokens) -> Floats:
    """Of the values only, [row, value]."""
    parts = []
    for start in range(0, len(rows), ROWS_AT_ONCE):
        block = np.ascontiguousarray(rows[start : start + ROWS_AT_ONCE], dtype=np.float32)
        logits = reasoner.unembed(reasoner.as_vectors(block), site)
        parts.append(logits[:, list(values.tokens)].double().cpu().numpy())
    return np.concatenate(parts)


def _head_of_values(reasoner: Reasoner, site: str, rows: Floats, values: ValueTokens) -> tuple[Floats, Floats]:
    """Linear map [value, d] and offset [value] from vectors of usual length to the logits of the values."""
    d, length = rows.shape[1], float(np.median(np.linalg.norm(rows, axis=1))) or 1.0
    offset = _logits(reasoner, site, np.zeros((1, d)), values)[0]
    linear = (_logits(reasoner, site, length * np.eye(d), values) - offset).T / length
    read, lens = rows @ linear.T, _logits(reasoner, site, rows, values) - offset
    size = (read * read).sum(axis=1)
    some = size > 0
    factor = float(np.median((read * lens).sum(axis=1)[some] / size[some])) if some.any() else 1.0
    return factor * linear, offset


def _temperature(logits: Floats, data: LabelledStep, values: ValueTokens) -> float:
    """By which what trusted problems say is predicted best; hot where the lens does not predict it."""
    place = {value: k for k, value in enumerate(values.values)}
    labels = [place.get(str(label)) for label, held in zip(data.labels, data.held_out, strict=True) if not held]
    told = [(row, label) for row, label in enumerate(labels) if label is not None]
    spread = float(logits.std(axis=1).mean()) or 1.0
    if not told:
        return HOTTEST * spread
    rows, codes = (np.array(part) for part in zip(*told, strict=True))

    def loss(log_t: float) -> float:
        return float(-log_softmax(logits[rows] / np.exp(log_t), axis=1)[np.arange(len(rows)), codes].mean())

    bounds = (np.log(COLDEST * spread), np.log(HOTTEST * spread))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def reader_fit(data: LabelledStep, probe: FrozenProbe, *, seed: int, logit_lens: float | None = None) -> StepFit:
    """How a reader that learned from no labels does on held-out trusted problems, beside its controls.

    Its accuracy is against what trusted problems say; the control shuffles that between groups.

    Args:
        data: thoughts of trusted problems, with what they say of the step as labels.
        probe: the reader, from `lens_probe` or read back from a file.
        seed: of the shuffles and intervals.
        logit_lens: accuracy of the plain lens, where the reader is another; for a plain lens its own.

    Raises:
        InsufficientData: nothing to score on.
        ProbeDataError: fewer than two values are said, or groups that cannot exchange theirs.
    """
    fit, held = ~data.held_out, data.held_out
    labels, groups = np.array([str(label) for label in data.labels]), np.array(data.groups)
    if not held.any() or not fit.any():
        raise InsufficientData(
            "a reader needs held-out problems to be scored on", field=f"thoughts[{data.step}]", found="n=0"
        )
    read = np.array(probe.predict(data.thoughts[held]))
    right = read == labels[held]
    shuffled = _shuffled(read, labels[held], groups[held], seed)
    words = word_features(data.prompts, fit)
    unseen = UnseenValueTest.fit(data.thoughts[fit], labels[fit], data.thoughts[held], labels[held], seed=seed)
    before = None if data.before is None else np.array(probe.predict(data.before[held])) == labels[held]
    plain = logit_lens if probe.metadata.get("reader") == "tuned-lens" else float(right.mean())
    return StepFit(
        site=data.site,
        step=data.step,
        probe=replace(probe, novelty=unseen.novelty),
        unseen=unseen,
        right=right,
        groups=tuple(groups[held].tolist()),
        n_shuffles=N_SHUFFLES,
        accuracy=float(right.mean()),
        interval=group_bootstrap(right.astype(float), groups[held], seed=seed),
        shuffled=float(shuffled.mean()),
        selectivity_p=(1 + int((shuffled >= right.mean()).sum())) / (1 + N_SHUFFLES),
        majority=majority(labels[fit], labels[held]),
        input_only=input_only(words[fit], labels[fit], words[held], labels[held], groups_fit=groups[fit], seed=seed),
        previous_step=None if before is None else float(before.mean()),
        logit_lens=plain,
        luck=majority(labels[fit], labels[fit]),
    )


def _shuffled(read: NDArray[Any], labels: NDArray[Any], groups: NDArray[Any], seed: int) -> Float[np.ndarray, " n"]:
    """Accuracy when what is said is shuffled between groups."""
    classes, codes = sorted_classes(labels)
    orders = permuted_labels(codes, groups, n_shuffles=N_SHUFFLES, rng=np.random.default_rng(seed))
    return np.array([(read == classes[order]).mean() for order in orders])
