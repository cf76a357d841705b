"""Novelty is large where the probe has seen no thought, and blind to what no probe reads."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.stats import ks_2samp
from sklearn.utils.estimator_checks import parametrize_with_checks

from probes import ProbeDataError, SubspaceNovelty, ValueProbe, freeze


def planted(seed, n, *, d=48, n_classes=6, noise=0.2):
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(np.random.default_rng(99).normal(size=(d, n_classes - 1)))[0].T
    means = 2 * np.random.default_rng(98).normal(size=(n_classes, n_classes - 1)) @ basis
    y = rng.integers(n_classes, size=n)
    return means[y] + noise * rng.normal(size=(n, d)), y, means, basis


@parametrize_with_checks([SubspaceNovelty()])
def test_scikit_learn_contract(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


def test_equals_the_distance_written_out():
    X, y, _, _ = planted(0, 300)
    novelty = SubspaceNovelty().fit(X, y)
    inverse = novelty.whitener_ @ novelty.whitener_.T
    inside = (X - novelty.mean_) @ novelty.basis_.T
    offsets = inside[:, None, :] - novelty.class_means_
    expected = np.sqrt(np.einsum("nkr,rs,nks->nk", offsets, inverse, offsets).min(axis=1))
    np.testing.assert_allclose(novelty.score_samples(X), expected, rtol=1e-9)
    np.testing.assert_allclose(novelty.basis_ @ novelty.basis_.T, np.eye(5), atol=1e-12)


def test_the_spread_within_classes_is_not_underrated_where_rows_are_few():
    X, y, _, _ = planted(11, 18)
    novelty = SubspaceNovelty().fit(X, y)
    residuals = np.concatenate([X[y == k] - X[y == k].mean(axis=0) for k in set(y)]) @ novelty.basis_.T
    covariance = np.linalg.inv(novelty.whitener_ @ novelty.whitener_.T)
    unbiased = np.square(residuals).sum() / (len(y) - len(set(y)))
    assert np.trace(covariance) == pytest.approx(unbiased)  # shrinkage towards a sphere keeps the trace


def test_held_out_rows_are_about_as_novel_as_a_whitened_normal():
    X, y, _, _ = planted(1, 2000)
    fresh, _, _, _ = planted(2, 2000)
    squared = SubspaceNovelty().fit(X, y).score_samples(fresh) ** 2
    assert squared.mean() == pytest.approx(5, rel=0.1)  # chi-squared in a span of 5 dimensions


def test_a_point_between_classes_is_novel_and_a_shift_no_probe_reads_is_not():
    X, y, means, basis = planted(3, 600)
    usual, _, _, _ = planted(4, 400)
    novelty = SubspaceNovelty().fit(X, y)
    limit = np.quantile(novelty.score_samples(usual), 0.95)
    between = (means[0] + means[1]) / 2 + 0.2 * np.random.default_rng(0).normal(size=(100, 48))
    assert (novelty.score_samples(between) > limit).mean() > 0.95
    outside = np.random.default_rng(5).normal(size=48)
    outside -= basis.T @ (basis @ outside)
    shifted = usual + 2 * outside / np.linalg.norm(outside)
    assert (novelty.score_samples(shifted) > limit).mean() < 0.12


def test_finds_nothing_where_nothing_is_novel():
    X, y, _, _ = planted(6, 600)
    novelty = SubspaceNovelty().fit(X, y)
    a, b = (novelty.score_samples(planted(seed, 500)[0]) for seed in (7, 8))
    assert ks_2samp(a, b).pvalue > 0.01


def test_more_directions_than_rows_and_rare_classes():
    rng = np.random.default_rng(9)
    X, y, _, _ = planted(9, 60, d=512, n_classes=13)
    novelty = SubspaceNovelty().fit(X, y)
    assert novelty.basis_.shape[0] <= len(set(y)) - 1
    assert np.isfinite(novelty.score_samples(X + rng.normal(size=X.shape))).all()


def test_classes_without_spread_stay_finite():
    X = np.repeat(np.eye(3), 4, axis=0)
    novelty = SubspaceNovelty().fit(X, np.repeat([0, 1, 2], 4))
    assert np.allclose(novelty.score_samples(X), 0)
    assert np.isfinite(novelty.score_samples(X + 0.1)).all()
    assert (novelty.score_samples(X[:, ::-1] * 0.5) > 100).any()


@pytest.mark.parametrize(
    ("X", "y", "match"),
    [
        (np.eye(4), [0, 0, 0, 0], "classes=1"),
        (np.eye(4), [0, 1, 2, 3], "single row"),
        (np.ones((4, 2)), [0, 0, 1, 1], "coincide"),
    ],
)
def test_data_that_cannot_answer(X, y, match):
    with pytest.raises(ProbeDataError, match=match):
        SubspaceNovelty().fit(X, y)


def test_frozen_novelty_scores_the_same():
    X, y, _, _ = planted(10, 200)
    novelty = SubspaceNovelty().fit(X, y)
    frozen = freeze(ValueProbe().fit(X, y), novelty=novelty)
    np.testing.assert_array_equal(frozen.novelty.score(X), novelty.score_samples(X))
