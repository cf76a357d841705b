"""The theorem both ways: after erasing no linear probe reads the label, before it does; and nothing moves less."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from probes.errors import ProbeDataError
from probes.estimators import LeaceTransformer
from probes.leace import Eraser, leace
from probes.moments import MomentsBuilder


def planted(seed=0, *, n=2000, d=16, n_classes=3, apart=2.0, offset=0.0):
    rng = np.random.default_rng(seed)
    y = rng.integers(n_classes, size=n)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + apart * rng.normal(size=(n_classes, d))[y] + offset, y


def moments(X, codes, n_classes, *, targets=None, precision="float64"):
    builder = MomentsBuilder(X.shape[1], n_classes, None if targets is None else targets.shape[1], precision=precision)
    builder.add(X, None if codes is None else np.atleast_2d(codes), targets)
    return builder.freeze()


def correlation(X, targets):
    """Largest in size between a feature and a target."""
    centred, wanted = X - X.mean(axis=0), targets - targets.mean(axis=0)
    spread = np.outer(np.linalg.norm(wanted, axis=0), np.linalg.norm(centred, axis=0))
    return np.abs(wanted.T @ centred / spread).max()


def probe_gain(X, y):
    """Accuracy of a logistic probe on its own rows, less that of the commonest class."""
    model = LogisticRegression(C=100, max_iter=5000).fit((X - X.mean(axis=0)) / X.std(axis=0), y)
    return model.score((X - X.mean(axis=0)) / X.std(axis=0), y) - np.bincount(y).max() / len(y)


@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_no_linear_probe_reads_what_was_erased_and_one_read_it_before(n_classes):
    X, y = planted(n_classes=n_classes)
    erased = leace(moments(X, y, [n_classes]), 0).erase(X)
    hot = np.eye(n_classes)[y]
    assert correlation(X, hot) > 0.1
    assert correlation(erased, hot) < 1e-9
    assert probe_gain(X, y) > 0.2
    assert abs(probe_gain(erased, y)) < 0.01
    assert LinearRegression().fit(erased, hot).score(erased, hot) < 1e-9


def test_nothing_else_is_lost():
    X, y = planted(n_classes=2)
    other = (X[:, 0] + X[:, 1] > np.median(X[:, 0] + X[:, 1])).astype(int)
    rng = np.random.default_rng(1)
    X = np.concatenate([X, rng.normal(size=(len(X), 4)) + 3 * other[:, None]], axis=1)
    erased = leace(moments(X, y, [2]), 0).erase(X)
    assert np.linalg.matrix_rank(X - erased, tol=1e-6) == 1
    assert probe_gain(erased, other) > 0.4


def test_rows_move_less_than_by_projection_and_by_any_other_such_map():
    X, y = planted(n_classes=4)
    held = moments(X, y, [4])
    eraser = leace(held, 0)
    moved = np.square(eraser.erase(X) - X).sum()
    directions = np.linalg.qr(held.sums[1:].T)[0]
    projected = X - (X - held.mean) @ directions @ directions.T
    assert correlation(projected, np.eye(4)[y]) < 1e-9
    assert moved < 0.9 * np.square(projected - X).sum()
    rng = np.random.default_rng(2)
    for size in (1e-3, 1e-1):
        # every such map subtracts all of `directions`, read by any R with R @ sums = the same: vary R off the sums
        free = rng.normal(size=eraser.right.shape)
        free -= free @ directions @ directions.T
        other = Eraser(eraser.left, eraser.right + size * free * np.abs(eraser.right).mean(), eraser.mean)
        assert correlation(other.erase(X), np.eye(4)[y]) < 1e-9
        assert np.square(other.erase(X) - X).sum() > moved


def test_labels_of_unseen_rows_are_at_chance_and_random_labels_cost_next_to_nothing():
    X, y = planted(n=20_000, n_classes=2, apart=1.0)
    eraser = leace(moments(X[:10_000], y[:10_000], [2]), 0)
    assert probe_gain(X[10_000:], y[10_000:]) > 0.2
    assert probe_gain(eraser.erase(X[10_000:]), y[10_000:]) < 0.02
    nothing = np.random.default_rng(3).integers(2, size=len(X))
    moved = leace(moments(X, nothing, [2]), 0).erase(X) - X
    real = leace(moments(X, y, [2]), 0).erase(X) - X
    assert np.square(moved).sum() < 0.2 * np.square(X - X.mean(axis=0)).sum()
    assert np.linalg.matrix_rank(moved, tol=1e-6) == np.linalg.matrix_rank(real, tol=1e-6) == 1


def test_several_labels_and_numbers_are_erased_together():
    X, y = planted()
    other = np.random.default_rng(4).integers(2, size=len(X))
    X[:, 3] += other
    number = X[:, :1] ** 2 + X[:, 1:2]
    held = moments(X, np.stack([y, other]), [3, 2], targets=number)
    hot = np.concatenate([np.eye(3)[y], np.eye(2)[other]], axis=1)
    assert correlation(leace(held, [0, 1]).erase(X), hot) < 1e-9
    assert correlation(leace(held, 0).erase(X), np.eye(2)[other]) > 0.01
    assert correlation(leace(held).erase(X), np.concatenate([hot, number], axis=1)) < 1e-9
    assert leace(held).right.shape[0] == 2 + 1 + 1


def test_constant_collinear_and_badly_scaled_features():
    X, y = planted(offset=50)
    X[:, 3], X[:, 5] = 7e4, 2 * X[:, 4]
    X[:, 7] = X[:, 6] + 1e-4 * y  # the label in a difference of two features
    X *= 10.0 ** np.random.default_rng(5).uniform(-3, 3, X.shape[1])
    eraser = leace(moments(X, y, [3]), 0)
    erased = eraser.erase(X)
    assert correlation(np.delete(erased, 3, axis=1), np.eye(3)[y]) < 1e-7
    np.testing.assert_array_equal(erased[:, 3], X[:, 3])
    np.testing.assert_allclose(eraser.right @ eraser.left, np.eye(2), atol=1e-7)


def test_float32_statistics_erase_nearly_as_well():
    X, y = planted(offset=60)
    eraser = leace(moments(X.astype(np.float32), y, [3], precision="float32"), 0)
    assert correlation(eraser.erase(X), np.eye(3)[y]) < 1e-5


def test_the_map_is_affine_and_erasing_twice_changes_nothing_more():
    X, y = planted(offset=10)
    eraser = leace(moments(X, y, [3]), 0)
    once = eraser.erase(X)
    np.testing.assert_allclose(X @ eraser.matrix.T + eraser.bias, once, atol=1e-9)
    np.testing.assert_allclose(eraser.erase(once), once, atol=1e-9)


def test_the_transformer_is_the_eraser():
    X, y = planted()
    names = np.array(["atrium", "bakery", "cellar"])[y]
    np.testing.assert_allclose(
        LeaceTransformer().fit_transform(X, names), leace(moments(X, y, [3]), 0).erase(X), atol=1e-10
    )
    both = np.stack([y, (X[:, 0] > 0).astype(int)], axis=1)
    assert correlation(LeaceTransformer().fit_transform(X, both), np.eye(2)[both[:, 1]]) < 1e-9
    number = X[:, 0] + X[:, 1] ** 2
    assert correlation(LeaceTransformer().fit_transform(X, number), number[:, None]) < 1e-9
    np.testing.assert_array_equal(LeaceTransformer().fit_transform(X, np.zeros(len(X), int)), X)


def test_what_cannot_be_erased_is_refused():
    X, y = planted()
    with pytest.raises(ProbeDataError, match="nothing to erase"):
        leace(moments(X, None, []))
    with pytest.raises(ProbeDataError, match="nothing to erase"):
        leace(moments(X, y, [3]), [])
    with pytest.raises(ProbeDataError, match="there is no label 1"):
        leace(moments(X, y, [3]), 1)
    with pytest.raises(ProbeDataError, match="rows of 16 numbers"):
        leace(moments(X, y, [3]), 0).erase(X[:, :3])
    with pytest.raises(ProbeDataError, match="do not fit"):
        Eraser(np.ones((3, 1)), np.ones((1, 4)), np.zeros(4))
    with pytest.raises(ProbeDataError, match="finite"):
        Eraser(np.full((4, 1), np.nan), np.ones((1, 4)), np.zeros(4))
