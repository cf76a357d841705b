"""The value probe finds planted values, keeps them under a shift, and honours scikit-learn's contract."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold
from sklearn.utils.estimator_checks import parametrize_with_checks

from probes import ProbeDataError, ValueProbe, freeze
from probes.linear import assign_folds


def planted(seed, *, n_fit=300, n_test=400, d=64, n_classes=13, noise=0.1, aligned=False):
    """Clusters in a subspace of n_classes - 1 dimensions and small noise everywhere."""
    rng = np.random.default_rng(seed)
    rank = n_classes - 1
    basis = np.eye(rank, d) if aligned else np.linalg.qr(rng.normal(size=(d, rank)))[0].T
    means = rng.normal(size=(n_classes, rank)) @ basis

    def draw(labels):
        return means[labels] + noise * rng.normal(size=(len(labels), d))

    y, y_test = rng.integers(n_classes, size=n_fit), rng.integers(n_classes, size=n_test)
    return draw(y), y, draw(y_test), y_test, basis


def outside(basis, seed):
    """A unit direction that the classes do not use."""
    direction = np.random.default_rng(seed).normal(size=basis.shape[1])
    direction -= basis.T @ (basis @ direction)
    return direction / np.linalg.norm(direction)


@parametrize_with_checks([ValueProbe()])
def test_scikit_learn_contract(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the checks fit tiny and constant data on purpose
        check(estimator)


@pytest.mark.parametrize(("d", "n_classes"), [(64, 13), (256, 20), (1024, 20)])
def test_many_values_are_read_from_few_rows(d, n_classes):
    X, y, X_test, y_test, _ = planted(0, d=d, n_classes=n_classes)
    probe = ValueProbe().fit(X, y)
    assert probe.score(X_test, y_test) >= 0.995
    assert probe.converged_
    assert probe.coef_.shape == (n_classes, d)


def test_nothing_is_read_where_nothing_is_planted():
    rng = np.random.default_rng(1)
    X, X_test = rng.normal(size=(2, 300, 64))
    y, y_test = rng.integers(5, size=(2, 300))
    probe = ValueProbe().fit(X, y)
    assert probe.score(X_test, y_test) < 0.3
    assert min(probe.Cs) == probe.C_
    assert log_loss(y_test, probe.predict_proba(X_test)) < np.log(5) + 0.05


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_a_shift_along_a_direction_that_never_varied_changes_no_reading(aligned, seed):
    X, y, X_test, y_test, basis = planted(seed, aligned=aligned)
    shift = 2 * np.linalg.norm(X - X.mean(axis=0), axis=1).mean() * outside(basis, seed)
    probe = ValueProbe().fit(X, y)
    assert probe.score(X_test + shift, y_test) >= 0.99


def test_why_features_share_one_scale():
    """The experiment behind it: features divided by their own deviations lose readings to the same shift."""
    one, own = [], []
    for seed in range(3):
        X, y, X_test, y_test, basis = planted(seed, aligned=True)
        shift = 2 * np.linalg.norm(X - X.mean(axis=0), axis=1).mean() * outside(basis, seed)
        deviation = X.std(axis=0)
        one.append(ValueProbe().fit(X, y).score(X_test + shift, y_test))
        own.append(ValueProbe().fit(X / deviation, y).score((X_test + shift) / deviation, y_test))
    assert np.mean(one) >= 0.99
    assert np.mean(own) < 0.7


def test_massive_directions_do_not_drown_the_values():
    X, y, X_test, y_test, _ = planted(2, n_fit=600)
    rng = np.random.default_rng(2)
    massive = np.zeros((64, 3))
    massive[:3] = 10 * np.eye(3)
    X, X_test = (rows + rng.normal(size=(len(rows), 3)) @ massive.T for rows in (X, X_test))
    probe = ValueProbe().fit(X, y)
    assert probe.score(X_test, y_test) >= 0.97
    assert log_loss(y_test, probe.predict_proba(X_test)) < 0.15


def test_values_with_two_or_one_examples():
    X, y, X_test, y_test, _ = planted(3, n_fit=400)
    rare = np.isin(y, (0, 1))
    keep = ~rare
    keep[np.flatnonzero(y == 0)[:2]] = True
    keep[np.flatnonzero(y == 1)[:1]] = True
    probe = ValueProbe().fit(X[keep], y[keep])
    assert len(probe.classes_) == 13
    assert probe.score(X_test[y_test == 0], y_test[y_test == 0]) >= 0.95
    assert probe.score(X_test, y_test) >= 0.99
    assert np.isfinite(probe.cv_log_loss_).all()


def test_a_value_that_only_one_group_holds_does_not_stop_the_choice_of_strength():
    X, y, _, _, _ = planted(4, n_classes=3)
    probe = ValueProbe().fit(X, y, groups=np.where(y == 0, "only", np.arange(len(y)).astype(str)))
    assert probe.cv_log_loss_.min() < 0.2  # rows of the value that the other folds lack are not counted as misread
    assert set(probe.predict(X[y == 0])) == {0}


def test_where_no_fold_can_tell_the_most_cautious_strength_is_used():
    probe = ValueProbe(Cs=(3.0, 0.01)).fit([[0.0], [1.0]], ["a", "b"])
    assert np.isnan(probe.cv_log_loss_).all()
    assert probe.C_ == 0.01
    assert list(probe.predict([[0.0], [1.0]])) == ["a", "b"]


def test_one_value_teaches():
    with pytest.raises(ProbeDataError, match=r"classes=1.*'cellar'"):
        ValueProbe().fit(np.eye(4), ["cellar"] * 4)


@pytest.mark.parametrize("settings", [{"Cs": ()}, {"Cs": (0.0,)}, {"Cs": (np.nan,)}, {"n_folds": 1}, {"max_iter": 0}])
def test_settings_that_cannot_be(settings):
    with pytest.raises(ProbeDataError, match=r"Cs must|n_folds must"):
        ValueProbe(**settings).fit(np.eye(4), [0, 1, 0, 1])


def test_groups_of_another_length():
    with pytest.raises(ProbeDataError, match="each of 4 rows; found 3"):
        ValueProbe().fit(np.eye(4), [0, 1, 0, 1], groups=["a", "b", "c"])


def test_strength_and_sharpness_follow_from_plain_refits():
    X, y, _, _, _ = planted(5, n_fit=120, n_classes=4, noise=0.8)
    probe = ValueProbe().fit(X, y)
    folds = assign_folds(y, None, n_folds=3, random_state=0)
    losses, errors = [], []
    for C in probe.Cs:
        total, wrong = 0.0, 0
        for fold in range(3):
            fit, held = folds != fold, folds == fold
            centred = X[fit] - X[fit].mean(axis=0)
            scale = np.sqrt((centred**2).mean())
            plain = LogisticRegression(C=C, max_iter=5000, tol=1e-8).fit(centred / scale, y[fit])
            proba = plain.predict_proba((X[held] - X[fit].mean(axis=0)) / scale)
            total += log_loss(y[held], proba, normalize=False)
            wrong += int((proba.argmax(axis=1) != y[held]).sum())
        losses.append(total / len(y))
        errors.append(wrong)
    np.testing.assert_allclose(probe.cv_log_loss_, losses, rtol=1e-3)
    allowed = min(errors) + np.sqrt(min(errors) * (1 - min(errors) / len(y)))
    assert next(C for C, wrong in zip(probe.Cs, errors, strict=True) if wrong <= allowed) == probe.C_
    assert probe.sharpness_ >= 1


def test_cautious_directions_are_sharpened_to_honest_probabilities():
    X, y, X_test, y_test, _ = planted(5, n_classes=6, noise=0.1)
    cautious = ValueProbe(Cs=(0.003,)).fit(X, y)
    chosen = ValueProbe().fit(X, y)
    assert chosen.C_ == 0.003
    assert chosen.sharpness_ > 1.5
    assert (chosen.predict(X_test) == cautious.predict(X_test)).all()
    assert log_loss(y_test, chosen.predict_proba(X_test)) < log_loss(y_test, cautious.predict_proba(X_test)) / 2


def test_a_trigger_that_moves_thoughts_costs_less_than_the_sharpest_penalty_would():
    kept = []
    for seed in range(4):
        X, y, X_test, y_test, basis = planted(seed, n_classes=10, noise=0.5)
        moved = X_test + 6 * outside(basis, seed)
        sharp = ValueProbe(Cs=(30.0,)).fit(X, y).score(moved, y_test)
        kept.append(ValueProbe().fit(X, y).score(moved, y_test) - sharp)
    assert np.mean(kept) > 0.01


@pytest.mark.parametrize("n_classes", [2, 4])
def test_turning_wide_data_into_its_span_changes_nothing(n_classes):
    X, y, X_test, _, _ = planted(6, n_fit=60, d=200, n_classes=n_classes, noise=0.5)
    probe = ValueProbe(Cs=(0.3,)).fit(X, y)
    scale = np.sqrt(((X - X.mean(axis=0)) ** 2).mean())
    plain = LogisticRegression(C=0.3, max_iter=5000, tol=1e-8).fit((X - X.mean(axis=0)) / scale, y)
    expected = plain.predict_log_proba((X_test - X.mean(axis=0)) / scale)
    np.testing.assert_allclose(probe.predict_log_proba(X_test), expected, atol=5e-3)


def test_readings_do_not_depend_on_units_or_origin():
    X, y, X_test, _, _ = planted(7)
    expected = ValueProbe().fit(X, y).predict_log_proba(X_test)
    moved = ValueProbe().fit(1e4 * X - 77, y).predict_log_proba(1e4 * X_test - 77)
    np.testing.assert_allclose(moved, expected, atol=1e-4)


def test_probabilities_are_calibrated():
    X, y, X_test, y_test, _ = planted(8, n_fit=600, n_test=4000, n_classes=5, noise=0.9)
    proba = ValueProbe().fit(X, y).predict_proba(X_test)
    confidence, right = proba.max(axis=1), proba.argmax(axis=1) == y_test
    assert 0.4 < right.mean() < 0.95
    assert abs(confidence.mean() - right.mean()) < 0.06


def test_stopping_early_is_said():
    X, y, _, _, _ = planted(9)
    probe = ValueProbe(max_iter=2).fit(X, y)
    assert not probe.converged_
    assert probe.n_iter_ == 2


def test_huge_numbers_do_not_overflow():
    X, y, X_test, y_test, _ = planted(10, n_classes=4)
    assert ValueProbe().fit(1e200 * X, y).score(1e200 * X_test, y_test) >= 0.99


def test_folds_never_split_a_group_and_spread_every_value():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 3)
    target = np.repeat(rng.integers(5, size=60), 3)
    folds = assign_folds(target, groups, n_folds=3, random_state=0)
    assert all(len(set(folds[groups == group])) == 1 for group in range(60))
    counts = np.array([np.bincount(target[folds == fold], minlength=5) for fold in range(3)]) / 3
    assert (np.ptp(counts, axis=0) <= 1).all()


def test_groups_keep_near_copies_from_choosing_too_weak_a_penalty():
    """Six copies of each random row: folds of rows find random labels readable, folds of groups do not."""
    rng = np.random.default_rng(11)
    X = np.repeat(rng.normal(size=(100, 64)), 6, axis=0) + 1e-3 * rng.normal(size=(600, 64))
    y, groups = np.repeat(rng.integers(2, size=100), 6), np.repeat(np.arange(100), 6)
    by_row, by_group = ValueProbe().fit(X, y), ValueProbe().fit(X, y, groups=groups)
    assert by_row.cv_log_loss_.min() < 0.3
    assert by_group.cv_log_loss_.min() > 0.6
    assert by_group.C_ < by_row.C_


@pytest.mark.parametrize("n_classes", [2, 7])
def test_a_frozen_probe_reads_the_same(n_classes):
    X, y, X_test, _, _ = planted(12, n_classes=n_classes, noise=0.5)
    probe = ValueProbe().fit(X, np.array([f"room {label}" for label in y]))
    frozen = freeze(probe, {"site": "blocks.1.hook_resid_post"})
    np.testing.assert_allclose(frozen.log_proba(X_test), probe.predict_log_proba(X_test), atol=1e-9)
    assert frozen.predict(X_test) == list(probe.predict(X_test))
    assert frozen.coef.shape == (n_classes, 64)


def test_agrees_with_scikit_learn_in_cross_validated_accuracy():
    X, y, _, _, _ = planted(13, n_fit=400, n_classes=4, noise=0.8)
    ours, theirs = [], []
    for fit, held in StratifiedKFold(4, shuffle=True, random_state=0).split(X, y):
        ours.append(ValueProbe().fit(X[fit], y[fit]).score(X[held], y[held]))
        theirs.append(LogisticRegression(C=0.1, max_iter=2000).fit(X[fit], y[fit]).score(X[held], y[held]))
    assert abs(np.mean(ours) - np.mean(theirs)) < 0.03
