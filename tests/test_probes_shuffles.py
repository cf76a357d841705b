"""What shuffles must keep: how many rows a label has does not change where large groups share one."""

from __future__ import annotations

import numpy as np
from scipy.stats import binomtest

from probes import shuffled_labels
from probes.controls import LEAST_ALIKE, permuted_labels


def test_groups_exchange_labels_with_groups_of_about_their_size():
    sizes = np.array([1, 1, 1, 1, 1, 2, 2, 9, 9, 9, 9, 9, 40])
    groups = np.repeat(np.arange(len(sizes)), sizes)
    labels = np.arange(len(sizes))[groups]
    shuffles = permuted_labels(labels, groups, n_shuffles=200, rng=np.random.default_rng(0))
    assert {frozenset(row[:LEAST_ALIKE].tolist()) for row in shuffles} == {frozenset(range(5))}
    assert len({row[-1] for row in shuffles}) == 8, "a size of its own is taken with its neighbours"


def test_labels_that_follow_the_size_of_their_group_are_no_finding():
    """Vectors tell nothing; labels of large groups are common, and became rare wherever any two groups exchanged."""
    p_values = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        sizes = np.repeat([1, 12], 16)
        label = np.where(rng.random(32) < 0.9, sizes > 1, sizes == 1).astype(int)
        groups = np.repeat(np.arange(32), sizes)
        X = rng.normal(size=(len(groups), 8))
        fit = groups % 2 == 0
        control = shuffled_labels(
            X[fit], label[groups][fit], X[~fit], label[groups][~fit], groups_fit=groups[fit],
            groups_test=groups[~fit], n_shuffles=39, seed=seed,
        )  # fmt: skip
        p_values.append(control.p_value)
    false = int((np.array(p_values) <= 0.05).sum())
    assert binomtest(false, 60, 0.05, alternative="greater").pvalue > 0.01, f"{false} of 60"
