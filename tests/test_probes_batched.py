"""The batched solver gives what scikit-learn gives, whatever the columns look like, and says so where it does not."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from probes.batched import fit_logistic
from probes.errors import ProbeDataError


def planted(seed=0, n=400, d=12, n_classes=2, strength=1.0, kind="plain"):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) * np.arange(1, d + 1) ** -0.5
    if kind == "heavy":
        X *= rng.standard_t(2, size=X.shape)
    if kind == "collinear":
        X[:, d // 2 :] = X[:, : d - d // 2] + 1e-5 * rng.normal(size=(n, d - d // 2))
    if kind == "constant":
        X[:, 3] = 2.5
    if kind == "offset":
        X = 60 + 0.1 * X / X.std()
    scores = (X - X.mean(axis=0)) / X.std() @ (strength * rng.normal(size=(d, n_classes)))
    y = (scores + rng.gumbel(size=scores.shape)).argmax(axis=1)
    if kind == "rare":
        y = (np.argsort(np.argsort(scores[:, 0])) >= n - max(4, n // 100)).astype(int)
    return X, y


def objective(X, y, C, coef, intercept, weight=None):
    """Mean log loss and penalty, as scikit-learn counts |W| of two classes: the one row of differences."""
    logits = X @ coef.T + intercept
    weight = np.ones(len(y)) if weight is None else weight
    own = logits[np.arange(len(y)), y] - np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) - logits.max(1)
    square = np.square(coef[1] - coef[0]).sum() if len(coef) == 2 else np.square(coef).sum()
    return -(weight * own).sum() / weight.sum() + square / (2 * C * weight.sum())


def rows_of(model):
    if len(model.classes_) > 2:
        return model.coef_, model.intercept_
    return np.vstack([-model.coef_, model.coef_]) / 2, np.concatenate([-model.intercept_, model.intercept_]) / 2


KINDS = ("plain", "heavy", "collinear", "constant", "offset", "rare")


@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_the_optimum_is_scikit_learns(kind, n_classes):
    X, y = planted(kind=kind, n_classes=n_classes)
    model = LogisticRegression(C=1.0, tol=1e-10, max_iter=20_000, solver="newton-cg").fit(X, y)
    fits = fit_logistic(X, y[None], C=1.0, precision="float64", tol=1e-8, max_iter=2000)
    theirs = objective(X, y, 1.0, *rows_of(model))
    mine = objective(X, y, 1.0, fits.coef[0], fits.intercept[0])
    assert mine <= theirs * (1 + 1e-6) + 1e-9
    assert fits.objective[0] == pytest.approx(mine, rel=1e-8)
    assert fits.converged[0]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("kind", KINDS)
def test_lower_precision_reads_what_scikit_learn_reads(kind, precision):
    X, y = planted(seed=1, n=3000, kind=kind, n_classes=3)
    fit, held = slice(0, 1500), slice(1500, None)
    centred = X - X[fit].mean(axis=0)  # the same optimum; far from the origin scikit-learn gives up early
    model = LogisticRegression(tol=1e-6, max_iter=5000).fit(centred[fit], y[fit])
    fits = fit_logistic(X[fit].astype(np.float32), y[None, fit], C=1.0, precision=precision)
    read = fits.classes[0][(X[held] @ fits.coef[0].T + fits.intercept[0]).argmax(axis=1)]
    assert abs((read == y[held]).mean() - model.score(centred[held], y[held])) < 0.005


def test_fits_of_all_kinds_side_by_side_are_those_fits_alone():
    X, y = planted(n_classes=4)
    two = (y > 1).astype(int)
    gaps = np.where(np.arange(400) % 3 == 0, -1, y)
    lacking = np.where(y == 2, -1, y)
    targets = np.stack([y, two, gaps, lacking, y])
    C = np.array([1.0, 0.1, 1.0, 3.0, 0.01])
    together = fit_logistic(X, targets, C=C, precision="float64", tol=1e-8)
    for k in range(5):
        used = targets[k] >= 0
        alone = LogisticRegression(C=C[k], tol=1e-9, max_iter=5000).fit(X[used], targets[k][used])
        coef, intercept = rows_of(alone)
        np.testing.assert_array_equal(together.classes[k], alone.classes_)
        np.testing.assert_allclose(together.coef[k], coef, atol=1e-4)
        np.testing.assert_allclose(
            together.intercept[k] - together.intercept[k].mean(), intercept - intercept.mean(), atol=1e-4
        )


def test_weights_count_as_repeated_rows_and_balanced_classes_weigh_alike():
    X, y = planted(seed=2, n_classes=3)
    times = np.random.default_rng(0).integers(0, 4, size=len(y))
    weighted = fit_logistic(X, y[None], C=1.0, sample_weight=times.astype(float), precision="float64", tol=1e-9)
    repeated = fit_logistic(np.repeat(X, times, 0), np.repeat(y, times)[None], C=1.0, precision="float64", tol=1e-9)
    np.testing.assert_allclose(weighted.coef[0], repeated.coef[0], atol=1e-6)
    X, y = planted(seed=3, kind="rare")
    balanced = fit_logistic(X, y[None], C=1.0, class_weight="balanced", precision="float64", tol=1e-9)
    model = LogisticRegression(C=1.0, class_weight="balanced", tol=1e-10, max_iter=5000).fit(X, y)
    np.testing.assert_allclose(balanced.coef[0], rows_of(model)[0], atol=1e-4)


@pytest.mark.parametrize("n_classes", [2, 6])
def test_more_features_than_rows(n_classes):
    X, y = planted(n=80, d=300, n_classes=n_classes)
    model = LogisticRegression(C=0.5, tol=1e-9, max_iter=5000).fit(X, y)
    fits = fit_logistic(X, y[None], C=0.5, precision="float64", tol=1e-8)
    np.testing.assert_allclose(fits.coef[0], rows_of(model)[0], atol=1e-4)


def test_hundreds_of_labels_in_blocks_are_each_what_they_are_alone():
    rng = np.random.default_rng(4)
    X, _ = planted(n=600, d=20)
    targets = (X @ rng.normal(size=(20, 300)) + rng.normal(size=(600, 300)) > 0.3).T.astype(int)
    fits = fit_logistic(X, targets, C=1.0, precision="float64", tol=1e-8, block=64)
    assert fits.converged.all()
    for k in range(0, 300, 37):
        model = LogisticRegression(tol=1e-9, max_iter=5000).fit(X, targets[k])
        np.testing.assert_allclose(fits.coef[k], rows_of(model)[0], atol=1e-4)


def test_a_warm_start_ends_where_a_cold_one_does_and_sooner():
    X, y = planted(seed=5, n_classes=4)
    cold = fit_logistic(X, y[None], C=1.0, precision="float64", tol=1e-8)
    warm = fit_logistic(X, y[None], C=1.0, start=cold, precision="float64", tol=1e-8)
    np.testing.assert_allclose(warm.coef[0], cold.coef[0], atol=1e-5)
    assert warm.n_iter[0] < cold.n_iter[0]


def test_what_did_not_converge_says_so():
    X, y = planted(seed=6, n=300, d=40, n_classes=5)
    fits = fit_logistic(X, y[None], C=1e6, precision="float64", tol=1e-12, max_iter=2)
    assert not fits.converged[0]
    assert fits.gradient[0] > 1e-12
    assert np.isfinite(fits.coef[0]).all()


@pytest.mark.parametrize("n_classes", [2, 3])
def test_separable_rows_end_finite_and_right(n_classes):
    rng = np.random.default_rng(7)
    y = rng.integers(n_classes, size=200)
    X = 20.0 * np.eye(n_classes)[y] + 0.1 * rng.normal(size=(200, n_classes))
    fits = fit_logistic(X, y[None], C=1e4)
    assert np.isfinite(fits.coef[0]).all()
    assert ((X @ fits.coef[0].T + fits.intercept[0]).argmax(axis=1) == y).all()


def test_equal_inputs_give_equal_bytes():
    X, y = planted(seed=8, n_classes=3)
    first, again = (fit_logistic(X.astype(np.float32), np.stack([y, y[::-1]]), C=1.0) for _ in range(2))
    assert [c.tobytes() for c in first.coef] == [c.tobytes() for c in again.coef]


def test_random_labels_are_read_at_chance():
    rng = np.random.default_rng(9)
    X = rng.normal(size=(2000, 16)).astype(np.float32)
    targets = rng.integers(4, size=(20, 2000))
    fits = fit_logistic(X[:1000], targets[:, :1000], C=0.1)
    held = [
        ((X[1000:] @ c.T + b).argmax(axis=1) == t[1000:]).mean()
        for c, b, t in zip(fits.coef, fits.intercept, targets, strict=True)
    ]
    assert np.mean(held) == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"targets": np.zeros((1, 40), int)}, "class"),
        ({"targets": -np.ones((1, 40), int)}, "class"),
        ({"targets": np.zeros((1, 39), int)}, "40"),
        ({"X": np.full((40, 3), np.nan)}, "finite"),
        ({"X": np.zeros(40)}, r"\[n, d\]|axes|shape"),
        ({"C": 0.0}, "C"),
        ({"C": np.ones(3)}, "C"),
        ({"tol": 0.0}, "tol"),
        ({"precision": "float16"}, "precision"),
        ({"sample_weight": -np.ones(40)}, "weight"),
    ],
)
def test_what_cannot_be_fitted_is_refused(change, match):
    arguments = {"X": np.eye(40)[:, :3], "targets": np.arange(40)[None] % 2, "C": 1.0} | change
    with pytest.raises(ProbeDataError, match=match):
        fit_logistic(arguments.pop("X"), arguments.pop("targets"), **arguments)
