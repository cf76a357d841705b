"""Closed forms agree with scikit-learn and with explicit refits, find what was planted, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.covariance import shrunk_covariance
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge
from sklearn.neighbors import NearestCentroid

from probes import closed_form
from probes.closed_form import kfold_ridge, lda, lda_all, mean_difference, pca, ridge_path
from probes.errors import ProbeDataError
from probes.moments import MomentsBuilder

PENALTIES = 10.0 ** np.arange(-2, 5)


def planted(seed=0, *, n=1500, d=20, n_classes=4, apart=2.0, offset=0.0):
    rng = np.random.default_rng(seed)
    y = rng.choice(n_classes, size=n, p=rng.dirichlet(np.full(n_classes, 5.0)))
    X = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + offset
    return X + apart * rng.normal(size=(n_classes, d))[y], y


def moments(X, codes, n_classes, *, targets=None, precision="float64"):
    width = None if targets is None else targets.shape[1]
    builder = MomentsBuilder(X.shape[1], n_classes, width, precision=precision)
    builder.add(X, np.atleast_2d(codes) if len(n_classes) else None, targets)
    return builder.freeze()


def many_labels(seed=1, *, n=800, d=16, n_labels=30):
    """Binary labels and some of three and five classes that share their rows."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + 3
    sizes = [(2, 2, 3, 2, 5)[k % 5] for k in range(n_labels)]
    heard = (X - 3) @ rng.normal(size=(d, n_labels)) + rng.normal(size=(n, n_labels))
    codes = [np.digitize(heard[:, k], np.quantile(heard[:, k], np.arange(1, sizes[k]) / sizes[k])) for k in
             range(n_labels)]  # fmt: skip
    return X, np.stack(codes), sizes


@pytest.mark.parametrize("n_classes", [2, 4, 11])
@pytest.mark.parametrize("shrinkage", [0, 0.001, 0.3, 1])
def test_lda_is_that_of_scikit_learn(n_classes, shrinkage):
    X, y = planted(n_classes=n_classes, offset=5)
    found = lda(moments(X, y, [n_classes]), 0, shrinkage=shrinkage)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(X, y)
    np.testing.assert_allclose(softmax(found.scores(X), axis=1), theirs.predict_proba(X), atol=1e-9)
    np.testing.assert_array_equal(found.read(X), theirs.predict(X))


@pytest.mark.parametrize("shrinkage", [1e-6, 0.001, 1])
def test_many_labels_share_one_decomposition_and_get_their_own_probe(shrinkage):
    X, codes, sizes = many_labels()
    held = moments(X, codes, sizes)
    assert len(sizes) >= closed_form.SHARED_FROM
    for label, found in enumerate(lda_all(held, shrinkage=shrinkage)):
        alone = lda(held, label, shrinkage=shrinkage)
        np.testing.assert_allclose(found.coef, alone.coef, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(found.intercept, alone.intercept, rtol=1e-8)
        np.testing.assert_array_equal(found.classes, np.arange(sizes[label]))
    picked = lda_all(held, [7, 2])
    np.testing.assert_array_equal(picked[0].coef, lda(held, 7).coef)


def test_labels_that_leave_no_variance_within_do_not_spoil_the_shared_inverse():
    X, codes, sizes = many_labels()
    X[:, 0] = codes[0] + 1e-5 * X[:, 0]
    held = moments(X, codes, sizes)
    found = lda_all(held, shrinkage=1e-9)
    np.testing.assert_allclose(found[0].coef, lda(held, 0, shrinkage=1e-9).coef, rtol=1e-6)
    assert (found[0].read(X) == codes[0]).all()


def test_lda_with_constant_and_collinear_columns_and_fewer_rows_than_numbers():
    X, y = planted(n=60, d=20, n_classes=3, apart=5)
    wide = np.concatenate([X, X[:, :5] * 2, np.full((60, 80), 3.0)], axis=1)
    for shrinkage in (0, 0.01):
        found = lda(moments(wide, y, [3]), 0, shrinkage=shrinkage)
        theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(wide, y)
        np.testing.assert_allclose(softmax(found.scores(wide), axis=1), theirs.predict_proba(wide), atol=1e-6)


def test_a_class_without_rows_gets_no_score():
    X, y = planted(n_classes=3)
    y = np.where(y == 1, 3, y)  # 1 and 4 never occur
    held = moments(X, np.stack([y] * 9), [5] * 9)
    for found in (lda(held, 0), lda_all(held)[8], mean_difference(held, 0), ridge_path(held, 0, [1.0]).linear(0)):
        np.testing.assert_array_equal(found.classes, [0, 2, 3])
        assert set(found.read(X)) <= {0, 2, 3}
        assert (found.read(X) == y).mean() > 0.9


def test_the_difference_of_means_is_read_midway():
    X, y = planted(n_classes=2, offset=30)
    found = mean_difference(moments(X, y, [2]), 0)
    low, high = X[y == 0].mean(axis=0), X[y == 1].mean(axis=0)
    np.testing.assert_allclose(found.coef[1] - found.coef[0], high - low, atol=1e-9)
    np.testing.assert_allclose(np.ptp(found.scores([(low + high) / 2])), 0, atol=1e-9)
    X, y = planted(n_classes=5)
    np.testing.assert_array_equal(
        mean_difference(moments(X, y, [5]), 0).read(X), NearestCentroid().fit(X, y).predict(X)
    )


def test_ridge_is_that_of_scikit_learn_for_every_target_at_its_own_penalty():
    X, codes, sizes = many_labels()
    Y = X[:, :2] + np.random.default_rng(2).normal(size=(len(X), 2))
    path = ridge_path(moments(X, codes, sizes, targets=Y), None, PENALTIES)
    for target, (label, code) in enumerate(zip(path.label_of, path.class_of, strict=True)):
        wanted = Y[:, code] if label < 0 else np.where(codes[label] == code, 1.0, -1.0)
        theirs = Ridge(alpha=path.chosen[target]).fit(X, wanted)
        np.testing.assert_allclose(path.coef[target], theirs.coef_, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(path.intercept[target], theirs.intercept_, rtol=1e-7, atol=1e-9)
    assert list(path.label_of[-2:]) == [-1, -1]
    assert (np.diff(path.chosen[path.label_of == 4]) == 0).all()  # the classes of one label share a penalty


def test_gcv_is_what_its_definition_says():
    X, y = planted(n=90, n_classes=2)
    path = ridge_path(moments(X, y, [2]), 0, PENALTIES)
    target, centred = np.where(y == 1, 1.0, -1.0), X - X.mean(axis=0)
    for penalty, found in zip(PENALTIES, path.gcv[:, 0], strict=True):
        hat = centred @ np.linalg.solve(centred.T @ centred + penalty * np.eye(X.shape[1]), centred.T) + 1 / len(X)
        left = target - hat @ target
        assert found == pytest.approx(np.mean(left**2) / (1 - np.trace(hat) / len(X)) ** 2, rel=1e-9)
    assert path.chosen[0] == PENALTIES[path.gcv[:, 0].argmin()]


def test_where_nothing_is_planted_the_strongest_penalty_is_chosen():
    rng = np.random.default_rng(3)
    X, codes = rng.normal(size=(400, 50)), rng.integers(2, size=(40, 400))
    path = ridge_path(moments(X, codes, [2] * 40), None, PENALTIES)
    assert (path.chosen >= 100).mean() > 0.9
    X_test, y_test = rng.normal(size=(400, 50)), rng.integers(2, size=(40, 400))
    held = moments(X, codes, [2] * 40)
    for probes in (lda_all(held), [path.linear(k) for k in range(40)], [mean_difference(held, k) for k in range(40)]):
        accuracy = np.mean([probe.read(X_test) == own for probe, own in zip(probes, y_test, strict=True)])
        assert abs(accuracy - 0.5) < 0.02


@pytest.mark.parametrize("n_folds", [2, 5])
def test_k_fold_errors_are_those_of_explicit_refits(n_folds):
    X, codes, sizes = many_labels(d=150, n=450, n_labels=5)  # more numbers than one product of the quadratic form
    Y = X[:, :2] + np.random.default_rng(4).normal(size=(len(X), 2))
    fold = np.random.default_rng(5).integers(n_folds, size=len(X))
    X[fold == 0] += 2  # a fold unlike the others
    parts = [moments(X[fold == k], codes[:, fold == k], sizes, targets=Y[fold == k]) for k in range(n_folds)]
    found = kfold_ridge(parts, PENALTIES)
    path = ridge_path(parts[0], None, PENALTIES)
    wanted = np.stack(
        [Y[:, code] if label < 0 else np.where(codes[label] == code, 1.0, -1.0) for label, code in
         zip(path.label_of, path.class_of, strict=True)], axis=1)  # fmt: skip
    expected = np.zeros((len(PENALTIES), wanted.shape[1]))
    for place, penalty in enumerate(PENALTIES):
        for k in range(n_folds):
            model = Ridge(alpha=penalty).fit(X[fold != k], wanted[fold != k])
            expected[place] += np.square(model.predict(X[fold == k]) - wanted[fold == k]).sum(axis=0) / len(X)
    np.testing.assert_allclose(found, expected, rtol=1e-8)
    np.testing.assert_allclose(kfold_ridge(parts, PENALTIES, 2), found[:, path.label_of == 2], rtol=1e-10)


@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e15])
def test_k_fold_errors_from_float32_products(scale):
    X, codes, sizes = many_labels(d=150, n=1200, n_labels=5)
    X = X.astype(np.float32) * np.float32(scale)
    coarse, fine = (
        [moments(X[k::4], codes[:, k::4], sizes, precision=name) for k in range(4)] for name in ("float32", "float64")
    )
    found, expected = (kfold_ridge(parts, PENALTIES * scale**2) for parts in (coarse, fine))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_principal_directions_are_those_of_scikit_learn():
    X, y = planted(offset=40)
    found, theirs = pca(moments(X, y, [4]), 5), PCA(5, svd_solver="full").fit(X)
    np.testing.assert_allclose(found.variance, theirs.explained_variance_, rtol=1e-9)
    np.testing.assert_allclose(np.abs(np.sum(found.components * theirs.components_, axis=1)), 1, rtol=1e-9)
    np.testing.assert_allclose(found.mean, theirs.mean_, rtol=1e-12)
    assert (found.components[np.arange(5), np.abs(found.components).argmax(axis=1)] > 0).all()


def test_float32_products_read_as_float64_ones_do():
    X, y = planted(offset=60, apart=1.0)
    fine, coarse = (moments(X.astype(np.float32), y, [4], precision=name) for name in ("float64", "float32"))
    for fit in (lambda held: lda(held, 0), lambda held: ridge_path(held, 0, PENALTIES).linear(0)):
        scores, rough = fit(fine).scores(X), fit(coarse).scores(X)
        assert np.abs(scores - rough).max() < 1e-4 * np.abs(scores - scores.mean()).max()


def test_shrinkage_is_shrinkage_of_the_covariance():
    """Not a penalty of fixed size: it scales with the rows, so that units do not matter."""
    X, y = planted(n_classes=2)
    within = sum(np.cov(X[y == k].T, bias=True) * np.mean(y == k) for k in range(2))
    step = X[y == 1].mean(axis=0) - X[y == 0].mean(axis=0)
    found = lda(moments(X, y, [2]), 0, shrinkage=0.2)
    np.testing.assert_allclose(found.coef[1] - found.coef[0], np.linalg.solve(shrunk_covariance(within, 0.2), step))


def test_what_has_no_closed_form_is_refused():
    X, y = planted(n_classes=3)
    held = moments(X, np.stack([y, y * 0]), [3, 2])
    parts = [held, held]
    for attempt, message in (
        (lambda: lda(held, 1), "label 1 holds 1 class"),
        (lambda: mean_difference(held, 1), "label 1 holds 1 class"),
        (lambda: ridge_path(held, 1, [1.0]).linear(1), "no ridge fit of two or more classes for label 1"),
        (lambda: ridge_path(held, 0, [1.0]).linear(1), "no ridge fit"),
        (lambda: lda(held, 2), "there is no label 2"),
        (lambda: lda(held, -1), "there is no label -1"),
        (lambda: lda(held, 0, shrinkage=1.5), "shrinkage must lie in 0 to 1"),
        (lambda: ridge_path(held, 0, [0.0]), "penalties must be finite numbers above 0"),
        (lambda: ridge_path(held, 0, []), "penalties must be finite"),
        (lambda: ridge_path(held, [], [1.0]), "labels or dense targets"),
        (lambda: kfold_ridge(parts[:1], [1.0]), "two or more parts"),
        (lambda: pca(held, 21), "k must lie in 1 to 20"),
        (lambda: lda(moments(X, np.where(y == 2, -1, y), [3]), 0), "label 0 has a class for"),
    ):
        with pytest.raises(ProbeDataError, match=message):
            attempt()
