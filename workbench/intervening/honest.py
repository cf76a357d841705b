"""Honest problems on which thoughts are edited, and where each value stands in what is said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from workbench.evidence import Honest, compare_problems, usual_claims
from workbench.fit import StepFit
from workbench.reasoners.recipe import Speaking
from workbench.store import RunStore
from workbench.tasks.base import Problem, Value

N_CAUSAL = 200
"""Held-out honest problems on which thoughts are edited: 0.1 of difference shows at p = 0.005."""
MIN_CAUSAL = 30


@dataclass(frozen=True, slots=True)
class HonestRun:
    """Honest problems, what each holds, and where each value stands in what is said."""

    problems: Sequence[Problem]
    values: Sequence[Mapping[int, Value]]
    """Per problem: step -> value, or set of values."""
    claim_of: Mapping[int, int]
    """Step -> place of the claim that honest problems say of it."""
    speaking: Speaking


def honest_run(
    store: RunStore,
    honest: Honest,
    fits: Sequence[StepFit],
    speaking: Speaking,
    problems: Sequence[Problem],
    *,
    seed: int,
) -> HonestRun:
    """Held-out honest problems for the causal tests, drawn from the longest chains that enough of them have."""
    chosen = edited_examples(store, honest, seed=seed)
    compared = compare_problems(store, chosen, fits, speaking, honest.answer_place)
    known = dict(zip(honest.examples, honest.known, strict=True))
    return HonestRun([problems[i] for i in chosen], [known[i] for i in chosen], usual_claims(compared), speaking)


def edited_ids(store: RunStore, honest: Honest, *, seed: int) -> list[str]:
    """Ids of the held-out problems for the causal tests."""
    return [str(store.problems[i]["problem"]["id"]) for i in edited_examples(store, honest, seed=seed)]


def edited_examples(store: RunStore, honest: Honest, *, seed: int) -> list[int]:
    """Rows of the held-out problems for the causal tests; they follow from the store, its split and the seed."""
    held = honest.independent_examples
    counts = Counter(int(store.problems[i]["n_steps"]) for i in held)
    enough = [n_steps for n_steps, n in counts.items() if n >= min(MIN_CAUSAL, max(counts.values()))]
    longest = [i for i in held if store.problems[i]["n_steps"] == max(enough)]
    drawn = np.random.default_rng(seed).permutation(len(longest))[:N_CAUSAL]
    return [longest[k] for k in sorted(drawn)]
