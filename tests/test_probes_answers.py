"""Many labels of one matrix in one batch: each is answered as if it had been asked alone, controls included."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from probes import FrozenProbe
from probes.answers import Settings, answer
from probes.errors import ProbeDataError
from probes.questions import Matrix, Question

SETTINGS = Settings(lambdas=(0.1, 0.01), n_shuffles=40)


def matrix_of(X, *, held, types=None, groups=None):
    n = len(X)
    groups = np.arange(n) if groups is None else groups
    types = np.zeros(n, dtype=int) if types is None else types
    order = np.random.default_rng(0).permutation(int((~held).sum()))
    return Matrix(X[~held], X[held], groups[~held], groups[held], order, types[~held], types[held])


def planted(seed=0, n=400, d=10, n_classes=3, strength=2.0):
    rng = np.random.default_rng(seed)
    y = rng.integers(n_classes, size=n)
    X = (strength * rng.normal(size=(n_classes, d))[y] + rng.normal(size=(n, d))).astype(np.float32)
    return X, y, np.arange(n) % 2 == 1


def question(name, y, held, **settings):
    return Question(name, y[~held], y[held], int(y.max()) + 1, **settings)


def test_asking_together_is_asking_alone():
    X, y, held = planted()
    other = np.random.default_rng(5).integers(2, size=len(y))
    gaps = np.where(np.arange(len(y)) % 5 == 0, -1, y)
    asked = [question("y", y, held), question("other", other, held), question("gaps", gaps, held)]
    matrix = matrix_of(X, held=held)
    together = answer(matrix, asked, SETTINGS)
    for one, alone in zip(together, [answer(matrix, [q], SETTINGS)[0] for q in asked], strict=True):
        assert one.accuracy == alone.accuracy
        np.testing.assert_array_equal(one.shuffles, alone.shuffles)
        np.testing.assert_allclose(one.learned.coef, alone.learned.coef, atol=2e-3 * np.abs(alone.learned.coef).max())
        assert one.n_fit == alone.n_fit
    assert together[2].n_fit == 160
    assert len(together[2].right) == 160


def test_the_probe_is_scikit_learns_and_its_file_reads_alike():
    X, y, held = planted(strength=0.6)
    settings = Settings(lambdas=(0.01,), precision="float64", tol=1e-9)
    found = answer(matrix_of(X.astype(np.float64), held=held), [question("y", y, held)], settings)[0]
    scale = np.sqrt(np.mean((X[~held] - X[~held].mean(axis=0)) ** 2))
    C = 1 / (0.01 * (~held).sum())
    plain = LogisticRegression(C=C, tol=1e-10, max_iter=5000).fit(X[~held] / scale, y[~held])
    expected = found.sharpness * plain.decision_function(X[held] / scale)
    np.testing.assert_allclose(found.learned.logits(X[held].astype(np.float64)), expected, atol=1e-4)
    frozen = FrozenProbe("multinomial-logistic", ("a", "b", "c"), found.learned.coef, found.learned.intercept)
    plain.coef_, plain.intercept_ = found.learned.coef, found.learned.intercept
    np.testing.assert_allclose(frozen.log_proba(X[held]), plain.predict_log_proba(X[held]), atol=1e-6)


def test_a_control_task_is_read_where_the_input_type_is_in_the_vectors_and_not_elsewhere():
    X, y, held = planted(n=800)
    rng = np.random.default_rng(1)
    types = rng.integers(12, size=len(y))
    shown = X + 3.0 * rng.normal(size=(12, X.shape[1]))[types].astype(np.float32)
    hidden, seen = (
        answer(matrix_of(rows, held=held, types=types), [question("y", y, held)], SETTINGS)[0] for rows in (X, shown)
    )
    assert seen.control_task > 0.75
    assert hidden.control_task < 0.55
    assert hidden.accuracy > 0.95


def test_nothing_planted_costs_at_least_as_many_bits_as_no_probe_and_is_as_sure_as_it_is_right():
    X, _, held = planted(n=1200)
    y = np.random.default_rng(9).integers(3, size=1200)
    found = answer(matrix_of(X, held=held), [question("y", y, held)], SETTINGS)[0]
    assert 0.85 < found.code.compression < 1.02, "what a probe believes of noise costs bits and saves none"
    confident = sum(b.confidence * len(b.right) for b in found.reliability) / len(found.right)
    assert abs(confident - found.accuracy) < 0.12
    assert found.log_loss < np.log(3) + 0.1


def test_confusions_are_counted():
    X, y, held = planted(n=900)
    swapped = np.where((y == 0) & held & (np.arange(900) % 4 == 1), 1, y)  # held-out rows that hold 0 and are called 1
    found = answer(matrix_of(X, held=held), [question("y", swapped, held)], SETTINGS)[0]
    value, read, n = found.confusions[0]
    assert (value, read) == (1, 0)
    assert n == pytest.approx(int((swapped != y).sum()), abs=8)
    assert sum(one[2] for one in found.confusions) == int((~found.right).sum())


def test_a_value_that_no_fit_row_holds_is_read_wrong_and_counted():
    X, y, held = planted(n_classes=4)
    y = np.where((y == 3) & ~held, 0, y)
    found = answer(matrix_of(X, held=held), [question("y", y, held)], SETTINGS)[0]
    n_unseen = int((y[held] == 3).sum())
    assert found.n_unseen == n_unseen > 0
    assert int((~found.right).sum()) >= n_unseen
    assert np.isfinite(found.log_loss)


@pytest.mark.parametrize(
    ("fit", "held", "reason"),
    [
        ([0, 0, 0, 0], [0, 1], "the fit rows hold 1 values"),
        ([-1, -1, -1, -1], [0, 1], "the fit rows hold 0 values in 0 labelled rows"),
        ([0, 1, 0, 1], [1, 1], "hold the same value"),
        ([0, 1, 0, 1], [-1, 1], "1 held-out rows have a label"),
    ],
)
def test_what_cannot_be_scored_is_undefined_and_never_a_number(fit, held, reason):
    X = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    matrix = matrix_of(X, held=np.arange(6) >= 4)
    found = answer(matrix, [Question("y", np.array(fit), np.array(held), 2)], SETTINGS)[0]
    assert reason in found.undefined_because
    assert found.accuracy is None
    assert found.right is found.learned is found.shuffles is found.log_loss is found.code is None


def test_a_control_question_has_an_accuracy_and_nothing_else():
    X, y, held = planted()
    found = answer(matrix_of(X, held=held), [question("y", y, held, whole=False)], SETTINGS)[0]
    assert found.accuracy > 0.95
    assert found.shuffles is found.code is found.learned is None


def test_rows_of_one_group_never_lie_on_both_sides_of_a_prefix():
    X, y, held = planted(n=640)
    groups = np.arange(640) // 8
    held = (groups % 2) == 1
    order = np.argsort(np.random.default_rng(0).permutation(80)[groups[~held]], kind="stable")
    matrix = Matrix(X[~held], X[held], groups[~held], groups[held], order, groups[~held] * 0, groups[held] * 0)
    found = answer(matrix, [question("y", y, held)], SETTINGS)[0]
    assert all(point.n_fit % 8 == 0 for point in found.curve)
    assert len(found.curve) > 2


def test_a_matrix_whose_parts_do_not_fit_is_refused():
    rows, two = np.zeros((3, 2)), np.zeros(2, dtype=int)
    with pytest.raises(ProbeDataError, match="each of 3"):
        Matrix(rows, rows, two, two, two, two, two)
