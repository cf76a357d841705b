"""The engine as scikit-learn estimators honours scikit-learn's contract and reads what the engine reads."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from probes.estimators import LDAProbe, LeaceTransformer, LogisticProbe, MeanDifferenceProbe, RidgeProbe


@parametrize_with_checks([LogisticProbe(), LDAProbe(), RidgeProbe(), MeanDifferenceProbe(), LeaceTransformer()])
def test_scikit_learn_contract(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the checks fit tiny and constant data on purpose
        check(estimator)


def planted(seed=0, *, n=600, d=12, n_classes=3, apart=1.5):
    rng = np.random.default_rng(seed)
    names = np.array(["atrium", "bakery", "cellar", "dairy"])[:n_classes]
    y = rng.integers(n_classes, size=n)
    return rng.normal(size=(n, d)) + apart * rng.normal(size=(n_classes, d))[y] + 7, names[y]


PROBES = (LogisticProbe, LDAProbe, RidgeProbe, MeanDifferenceProbe)


@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize("n_classes", [2, 4])
def test_planted_values_are_read_and_random_ones_are_not(probe, n_classes):
    X, y = planted(n=1200, n_classes=n_classes)
    assert probe().fit(X[:600], y[:600]).score(X[600:], y[600:]) > 0.9
    nothing = np.random.default_rng(1).permutation(y)
    assert abs(probe().fit(X[:600], nothing[:600]).score(X[600:], nothing[600:]) - 1 / n_classes) < 0.1


@pytest.mark.parametrize("class_weight", [None, "balanced", {"atrium": 3.0, "cellar": 0.5}])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_logistic_probe_is_scikit_learns(class_weight, n_classes):
    X, y = planted(apart=0.5, n_classes=n_classes)
    if isinstance(class_weight, dict):
        class_weight = {name: class_weight.get(name, 1.0) for name in np.unique(y)}
    weights = np.random.default_rng(2).uniform(0, 2, size=len(y))
    found = LogisticProbe(C=0.3, class_weight=class_weight).fit(X, y, sample_weight=weights)
    theirs = LogisticRegression(C=0.3, class_weight=class_weight, tol=1e-10, max_iter=10_000).fit(X, y, weights)
    np.testing.assert_allclose(found.predict_proba(X), theirs.predict_proba(X), atol=1e-5)
    assert found.converged_
    assert found.gradient_ <= 1e-9
    assert found.n_iter_ >= 1
    loss = -np.log(found.predict_proba(X)[np.arange(len(y)), np.searchsorted(found.classes_, y)])
    assert found.objective_ > 0.9 * np.average(loss, weights=weights) * (class_weight is None)


def test_a_logistic_probe_that_did_not_converge_says_so():
    X, y = planted(apart=0.2)
    with pytest.warns(ConvergenceWarning, match="raise max_iter"):
        probe = LogisticProbe(C=100.0, max_iter=1).fit(X, y)
    assert not probe.converged_
    assert probe.gradient_ > 1e-9


def test_the_ridge_probe_is_scikit_learns_at_the_penalty_of_least_error():
    X, y = planted()
    found = RidgeProbe().fit(X, y)
    assert found.penalty_ == sorted(found.penalties)[found.gcv_.argmin()]
    theirs = RidgeClassifier(alpha=found.penalty_).fit(X, y)
    np.testing.assert_allclose(found.decision_function(X), theirs.decision_function(X), atol=1e-9)


@pytest.mark.parametrize("probe", PROBES)
def test_two_classes_have_one_decision(probe):
    X, y = planted(n_classes=2)
    found = probe().fit(X, y)
    assert found.decision_function(X).shape == (len(X),)
    np.testing.assert_array_equal(found.classes_[(found.decision_function(X) > 0).astype(int)], found.predict(X))


@pytest.mark.parametrize("probe", PROBES)
def test_float32_rows_are_multiplied_in_float32_and_read_alike(probe):
    X, y = planted(apart=0.5)
    coarse = probe().fit(X.astype(np.float32), y)
    assert coarse.coef_.dtype == np.float64
    np.testing.assert_allclose(coarse.decision_function(X), probe().fit(X, y).decision_function(X), atol=1e-3)


def test_they_stand_in_pipelines_and_searches():
    X, y = planted()
    search = GridSearchCV(make_pipeline(StandardScaler(), LDAProbe()), {"ldaprobe__shrinkage": [0.01, 1.0]}, cv=3)
    assert search.fit(X, y).best_score_ > 0.9
    erased = make_pipeline(LeaceTransformer(), LDAProbe()).fit(X, y)
    assert erased.score(X, y) < 0.5
