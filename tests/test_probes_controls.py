"""Controls equal plain refits, find a planted value, and are uniform where nothing is planted."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import binomtest

from probes import ProbeDataError, ValueProbe, input_only, majority, shuffled_labels
from probes.controls import permuted_labels, shuffles_of
from probes.correction import max_statistic
from probes.shuffles import RIDGE, SharedRidge


def planted(seed, *, n=120, d=40, n_classes=4, strength=1.0):
    rng = np.random.default_rng(seed)
    means = strength * rng.normal(size=(n_classes, d))
    y = rng.integers(n_classes, size=2 * n)
    X = means[y] + rng.normal(size=(2 * n, d))
    return X[:n], y[:n], X[n:], y[n:]


def refit(X, labels, X_test, classes):
    """Ridge regression of one column per class, solved from the normal equations."""
    mean = X.mean(axis=0)
    scale = np.sqrt(((X - mean) ** 2).mean())
    Z, Z_test = (X - mean) / scale, (X_test - mean) / scale
    one_hot = (labels[:, None] == classes).astype(float)
    gram = Z.T @ Z + RIDGE * len(X) * np.eye(X.shape[1])
    weights = np.linalg.solve(gram, Z.T @ (one_hot - one_hot.mean(axis=0)))
    return Z_test @ weights + one_hot.mean(axis=0)


@pytest.mark.parametrize(("n", "d"), [(120, 40), (60, 150)])
def test_equal_to_explicit_refits(n, d):
    X, y, X_test, y_test = planted(0, n=n, d=d)
    control = shuffled_labels(X, y, X_test, y_test, n_shuffles=25, seed=3)
    classes = np.unique(y)
    assert control.accuracy == (refit(X, y, X_test, classes).argmax(axis=1) == y_test).mean()
    fit, test = shuffles_of(y, y_test, None, None, 25, 3)
    expected = [
        (refit(X, labels, X_test, classes).argmax(axis=1) == asked).mean()
        for labels, asked in zip(fit[1:], test[1:], strict=True)
    ]
    np.testing.assert_allclose(control.shuffled, expected, atol=1e-8)
    assert control.mean == pytest.approx(np.mean(expected))


@pytest.mark.parametrize("n_features", [6, 400], ids=["primal", "dual"])
def test_the_shared_factorisation_reads_what_refits_read(n_features):
    X, y, X_test, y_test = planted(1)
    noise = np.random.default_rng(1).normal(size=(len(X) + len(X_test), n_features))
    X, X_test = np.hstack([X, noise[: len(X)]]), np.hstack([X_test, noise[len(X) :]])
    ridge = SharedRidge.of(X, X_test)
    shuffles = permuted_labels(y, None, n_shuffles=20, rng=np.random.default_rng(0))
    expected = [(refit(X, labels, X_test, np.unique(y)).argmax(axis=1) == y_test).mean() for labels in shuffles]
    np.testing.assert_allclose(ridge.accuracy(shuffles, y_test, 1 + y.max()), expected, atol=1e-12)
    assert (ridge.right is None) == (n_features > len(X))


def test_a_planted_value_beats_every_shuffle():
    control = shuffled_labels(*planted(2), n_shuffles=99)
    assert control.accuracy > 0.9
    assert control.p_value == 0.01
    assert control.mean == pytest.approx(0.25, abs=0.05)


def test_no_planted_value_gives_uniform_p_values():
    X, _, X_test, _ = planted(3, n=80, strength=0.0)
    p_values = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        y, y_test = rng.integers(3, size=(2, 80))
        p_values.append(shuffled_labels(X, y, X_test, y_test, n_shuffles=59, seed=seed).p_value)
    p_values = np.array(p_values)
    for level in (0.05, 0.25, 0.5):
        assert binomtest(int((p_values <= level).sum()), 60, level, alternative="greater").pvalue > 0.01
    assert p_values.min() < 0.2
    assert 0.35 < p_values.mean() < 0.7


def test_group_shuffles_are_valid_where_row_shuffles_cry_wolf():
    """Labels and vectors are constant within groups and unrelated; shuffled rows would call this readable."""
    p_rows, p_groups = [], []
    for seed in range(80):
        rng = np.random.default_rng(seed)
        group_vectors = rng.normal(size=(24, 4))
        labels = rng.integers(2, size=24)
        group_of = np.repeat(np.arange(24), 30)
        X = group_vectors[group_of] + 0.1 * rng.normal(size=(720, 4))
        y = labels[group_of]
        fit, test = group_of < 16, group_of >= 16
        arguments = X[fit], y[fit], X[test], y[test]
        p_rows.append(shuffled_labels(*arguments, n_shuffles=39, seed=seed).p_value)
        grouped = shuffled_labels(
            *arguments, groups_fit=group_of[fit], groups_test=group_of[test], n_shuffles=39, seed=seed
        )
        p_groups.append(grouped.p_value)
    assert np.mean(np.array(p_rows) <= 0.05) > 0.15
    n_alarms = int((np.array(p_groups) <= 0.05).sum())
    assert binomtest(n_alarms, 80, 0.05, alternative="greater").pvalue > 0.01


def test_groups_move_as_wholes():
    groups = np.array(["a", "a", "b", "b", "c", "c", "d"])
    target = np.array([0, 1, 2, 3, 4, 5, 6])
    shuffles = permuted_labels(target, groups, n_shuffles=50, rng=np.random.default_rng(0))
    pairs = {(0, 1), (2, 3), (4, 5)}
    assert all({tuple(row[i : i + 2]) for i in (0, 2, 4)} == pairs and row[6] == 6 for row in shuffles.tolist())
    assert len({tuple(row) for row in shuffles.tolist()}) == len(list(itertools.permutations(range(3))))


def test_one_label_per_group_moves_between_groups_of_any_size():
    groups = np.array([0, 0, 0, 1, 2, 2])
    shuffles = permuted_labels(np.array([0, 0, 0, 1, 2, 2]), groups, n_shuffles=60, rng=np.random.default_rng(0))
    assert all(len(set(row[groups == group])) == 1 for row in shuffles for group in range(3))
    assert len({tuple(row) for row in shuffles.tolist()}) == 6


def test_groups_that_cannot_move():
    with pytest.raises(ProbeDataError, match="same number of rows"):
        permuted_labels(np.array([0, 1, 1, 0, 1]), [0, 0, 1, 1, 1], n_shuffles=3, rng=np.random.default_rng(0))


def test_shuffles_are_reproducible_and_do_not_depend_on_blocks():
    arguments = planted(4, n=60, n_classes=3, strength=0.2)
    first = shuffled_labels(*arguments, n_shuffles=40, seed=7)
    np.testing.assert_array_equal(first.shuffled, shuffled_labels(*arguments, n_shuffles=40, seed=7).shuffled)
    assert (first.shuffled != shuffled_labels(*arguments, n_shuffles=40, seed=8).shuffled).any()


def test_test_labels_that_were_never_learned_count_as_wrong():
    X, y, X_test, y_test = planted(5)
    names = np.array(["attic", "bakery", "cellar", "dock"])
    control = shuffled_labels(X, names[y].astype(object), X_test, ["elsewhere"] * len(y_test), n_shuffles=5)
    assert control.accuracy == 0
    assert control.p_value == 1


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"y_fit": np.zeros(120, int)}, "classes=1"),
        ({"y_fit": [None] * 119 + ["a"]}, "one kind"),
        ({"y_fit": []}, "classes=0"),
        ({"X_fit": np.zeros((119, 40))}, r"X_fit must be \[120, d\]"),
        ({"X_test": np.zeros((120, 41))}, "40 features and X_test has 41"),
        ({"X_test": np.full((120, 40), np.nan)}, "not finite in row 0"),
        ({"X_test": np.zeros((0, 40)), "y_test": []}, "at least one row"),
        ({"y_test": ["a"] * 120}, "labels are"),
        ({"n_shuffles": 0}, "n_shuffles"),
        ({"groups_fit": ["a"], "groups_test": ["a"]}, "each of 120 rows; found 1"),
    ],
)
def test_arrays_that_cannot_answer(change, match):
    X, y, X_test, y_test = planted(6)
    arguments = {"X_fit": X, "y_fit": y, "X_test": X_test, "y_test": y_test, "n_shuffles": 3} | change
    with pytest.raises(ProbeDataError, match=match):
        shuffled_labels(**arguments)


def test_majority():
    assert majority(["b", "b", "a"], ["b", "a", "a", "c"]) == 0.25
    assert majority(["b", "a"], ["a", "a", "b", "b"]) == 0.5
    assert majority([1, 1, 2], [3, 3]) == 0
    with pytest.raises(ProbeDataError, match="classes=0"):
        majority([], ["a"])
    with pytest.raises(ProbeDataError, match="found none"):
        majority(["a"], [])


@pytest.mark.parametrize("n_words", [30, 500])
def test_input_only_reads_sparse_and_dense_alike(n_words):
    rng = np.random.default_rng(0)
    bag = (rng.random((240, n_words)) < 0.1).astype(float)
    y = bag[:, :3] @ [1, 2, 4]
    names = np.array([f"value {int(label)}" for label in y])
    fit, test = slice(0, 160), slice(160, None)
    dense = input_only(bag[fit], names[fit], bag[test], names[test])
    sparse_bag = sparse.csr_matrix(bag)
    assert input_only(sparse_bag[fit], names[fit], sparse_bag[test], names[test]) == pytest.approx(dense, abs=0.02)
    assert dense == ValueProbe().fit(bag[fit], names[fit]).score(bag[test], names[test])
    assert dense > majority(names[fit], names[test]) or n_words == 500


def test_input_only_finds_a_leak_and_nothing_where_there_is_none():
    rng = np.random.default_rng(1)
    y = rng.integers(4, size=300)
    leak = np.eye(4)[y] + 0.1 * rng.normal(size=(300, 4))
    noise = rng.normal(size=(300, 4))
    assert input_only(leak[:200], y[:200], leak[200:], y[200:]) > 0.95
    assert input_only(noise[:200], y[:200], noise[200:], y[200:]) < 0.4


def grid_of(seed, *, planted_cells=0, n_cells=16, n=60, n_shuffles=99):
    """Accuracies [1 + n_shuffles] of every cell: cells share labels and shuffles, not vectors."""
    rng = np.random.default_rng(seed)
    y = rng.integers(2, size=2 * n)
    labels = shuffles_of(y[:n], y[n:], None, None, n_shuffles, seed)
    cells = []
    for cell in range(n_cells):
        X = rng.normal(size=(2 * n, 5)) + 3.0 * y[:, None] * (cell < planted_cells)
        cells.append(SharedRidge.of(X[:n], X[n:]).accuracy(*labels, 2))
    return cells


def test_over_200_grids_with_nothing_planted_the_corrected_p_value_keeps_its_promise():
    least = np.array([max_statistic(grid_of(seed)).min() for seed in range(200)])
    false = int((least < 0.05).sum())
    assert binomtest(false, 200, 0.05, alternative="greater").pvalue > 0.05, f"{false} of 200 grids cry wolf"
    assert least.min() < 0.1  # and it can find something
    raw = [min((1 + (c[1:] >= c[0]).sum()) / len(c) for c in grid_of(seed)) for seed in range(50)]
    assert np.mean(np.array(raw) < 0.05) > 0.3, "without correction the best of many cells looks like a finding"


def test_a_planted_cell_survives_the_correction_and_the_others_do_not():
    p_values = max_statistic(grid_of(5, planted_cells=2))
    assert (p_values[:2] == 0.01).all()
    assert (p_values[2:] > 0.05).all()


def test_a_grid_whose_cells_never_vary_has_no_finding():
    assert max_statistic([np.full(20, 0.5)] * 3).tolist() == [1.0, 1.0, 1.0]
    assert len(max_statistic([])) == 0


def test_a_direction_that_holds_the_value_is_found_although_shuffled_refits_find_it_too():
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=120)
    X = rng.normal(size=(120, 3)) + 8.0 * y[:, None]
    control = shuffled_labels(X[:60], y[:60], X[60:], y[60:], n_shuffles=99)
    assert control.accuracy == 1.0
    assert control.p_value == 0.01
    assert control.shuffled.max() < 0.8


def test_groups_of_one_part_only_are_refused():
    with pytest.raises(ProbeDataError, match="go together"):
        shuffled_labels(np.eye(4), [0, 1, 0, 1], np.eye(4), [0, 1, 0, 1], groups_fit=[0, 1, 2, 3])
