"""Fit a step whose thoughts hold several values at once: a probe for every member, scored by whole sets."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probes import group_bootstrap
from probes.controls import in_span
from probes.sets import SetProbe, Sets, freeze_sets, shuffled_sets
from probes.unseen_sets import UnseenSetTest
from workbench.errors import InsufficientData
from workbench.step_fit import LabelledStep, StepFit

Bools = NDArray[np.bool_]


def fit_set_step(data: LabelledStep, words: Any, *, seed: int, n_shuffles: int) -> StepFit:
    """Fit the probe of one step and compute its controls; a row counts as read where its whole set is.

    Args:
        data: rows whose labels are sets.
        words: features of the prompts, [row, m], dense or SciPy sparse, for the input-only control.
        seed: of folds, shuffles and resamples.
        n_shuffles: refits on sets dealt out anew.

    Raises:
        InsufficientData: nothing to learn from or to score.
        ProbeDataError: sets that do not differ.
    """
    fit, held = np.flatnonzero(~data.held_out), np.flatnonzero(data.held_out)
    sets = [tuple(sorted(label)) for label in data.labels]
    learned, asked = [sets[k] for k in fit], [sets[k] for k in held]
    if not learned or not asked:
        raise InsufficientData(
            "a probe needs sets to learn from, and held-out ones to be scored on",
            field=f"thoughts[{data.step}]", found=f"{len(learned)} fit rows, {len(asked)} held out",
        )  # fmt: skip
    groups = np.array(data.groups)
    probe = SetProbe(random_state=seed).fit(data.thoughts[fit], learned, groups=groups[fit])
    metadata = {
        "step": data.step, "site": data.site, "n_fit": len(fit), "converged": probe.converged_, "seed": seed,
    }  # fmt: skip
    frozen = freeze_sets(probe, metadata)
    right = _whole(probe, data.thoughts[held], asked)
    control = shuffled_sets(
        data.thoughts[fit], learned, data.thoughts[held], asked,
        groups_fit=groups[fit], groups_test=groups[held], n_shuffles=n_shuffles, seed=seed,
    )  # fmt: skip
    commonest = Counter(learned).most_common(1)[0][0]
    return StepFit(
        site=data.site,
        step=data.step,
        probe=frozen,
        unseen=UnseenSetTest.fit(frozen, data.thoughts[fit], learned, data.thoughts[held], asked, seed=seed),
        right=right,
        groups=tuple(groups[held].tolist()),
        n_shuffles=n_shuffles,
        accuracy=float(right.mean()),
        interval=group_bootstrap(right.astype(float), groups[held], seed=seed),
        shuffled=control.mean,
        selectivity_p=control.p_value,
        majority=float(np.mean([one == commonest for one in asked])),
        input_only=_refitted(*in_span(words[fit], words[held]), learned, asked, groups[fit], seed),
        previous_step=None
        if data.before is None
        else _refitted(data.before[fit], data.before[held], learned, asked, groups[fit], seed),
        logit_lens=None,
        luck=Counter(value for one in learned for value in set(one)).most_common(1)[0][1] / len(learned),
    )


def _whole(probe: SetProbe, rows: Any, asked: Sets) -> Bools:
    return np.array([read == tuple(one) for read, one in zip(probe.predict(rows), asked, strict=True)])


def _refitted(rows: Any, queries: Any, learned: Sets, asked: Sets, groups: NDArray[Any], seed: int) -> float:
    """Share of whole sets that the same probe reads from other vectors."""
    return float(_whole(SetProbe(random_state=seed).fit(rows, learned, groups=groups), queries, asked).mean())
