"""Intervals cover as often as they say, are never of zero width, and undefined scores say why."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta, binom, binomtest
from sklearn.metrics import roc_auc_score

from probes import (
    Interval,
    ProbeDataError,
    Score,
    accuracy_score_by_group,
    auroc_score,
    exact_share,
    exact_upper,
    group_bootstrap,
    share_by_group,
)


def covers_too_rarely(n_covered, n_trials, level=0.95):
    return binomtest(n_covered, n_trials, level, alternative="less").pvalue < 0.01


def test_the_numbers_of_certification():
    assert exact_upper(0, 299) <= 0.01 < exact_upper(0, 298)
    assert exact_upper(0, 2995) <= 0.001 < exact_upper(0, 2994)
    assert exact_upper(3, 3) == 1


def test_exact_share_inverts_the_binomial():
    interval = exact_share(7, 20)
    assert binom.sf(6, 20, interval.low) == pytest.approx(0.025)
    assert binom.cdf(7, 20, interval.high) == pytest.approx(0.025)
    assert exact_share(0, 5).low == 0
    assert exact_share(5, 5).high == 1


@pytest.mark.parametrize(("k", "n"), [(-1, 5), (6, 5), (0, 0)])
def test_shares_that_cannot_be(k, n):
    for bound in (exact_share, exact_upper):
        with pytest.raises(ProbeDataError, match=f"k={k}, n={n}"):
            bound(k, n)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
@pytest.mark.parametrize(("n_groups", "size"), [(6, 5), (20, 4), (80, 3)])
def test_the_interval_of_a_grouped_share_covers(share, n_groups, size):
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(n_groups), size)
    n_covered, n_row_wise = 0, 0
    for _ in range(400):
        common, own = rng.random(n_groups) < share, rng.random((n_groups, size)) < share
        values = np.where(rng.random((n_groups, size)) < 0.7, common[:, None], own).ravel()
        interval = share_by_group(values, groups)
        n_covered += interval.low <= share <= interval.high
        row_wise = exact_share(int(values.sum()), len(values))
        n_row_wise += row_wise.low <= share <= row_wise.high
    assert not covers_too_rarely(n_covered, 400)
    if share == 0.5:
        assert covers_too_rarely(n_row_wise, 400)  # what happens when groups are forgotten


@pytest.mark.parametrize("n_groups", [12, 60])
def test_the_bootstrap_of_a_mean_covers(n_groups):
    rng = np.random.default_rng(1)
    n_covered = 0
    for trial in range(250):
        sizes = rng.integers(1, 5, size=n_groups)
        groups = np.repeat(np.arange(n_groups), sizes)
        values = np.repeat(rng.normal(size=n_groups), sizes) + rng.normal(size=len(groups))
        interval = group_bootstrap(values, groups, seed=trial, n_resamples=400, bounds=(-10, 10))
        n_covered += interval.low <= 0 <= interval.high
    assert n_covered / 250 >= 0.91


def test_vectorised_and_looped_bootstrap_agree():
    rng = np.random.default_rng(2)
    groups = rng.integers(40, size=200)
    values = rng.normal(size=200) + np.bincount(groups)[groups]  # large groups have large values
    fast = group_bootstrap(values, groups, n_resamples=4000)
    slow = group_bootstrap(values, groups, statistic=lambda rows: rows.mean(), n_resamples=4000)
    assert fast.low == pytest.approx(slow.low, abs=0.05)
    assert fast.high == pytest.approx(slow.high, abs=0.05)
    assert fast == group_bootstrap(values, groups, n_resamples=4000)


def test_any_statistic_of_rows():
    rng = np.random.default_rng(3)
    pairs = rng.normal(size=(300, 2))
    pairs[:, 1] += pairs[:, 0]
    interval = group_bootstrap(
        pairs,
        np.arange(300),
        statistic=lambda rows: np.corrcoef(rows.T)[0, 1],
        n_resamples=300,
        bounds=(-1, 1),
    )
    assert interval.low < np.sqrt(0.5) < interval.high


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_zeros_or_ones_fall_back_to_the_exact_bound(value):
    expected = exact_share(int(value * 30), 30)
    for groups in (np.arange(30), np.repeat(np.arange(30), 4)):
        interval = group_bootstrap(np.full(len(groups), value), groups)
        assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


def test_no_interval_has_zero_width():
    cases = [
        (np.full(10, 0.4), np.arange(10)),
        (np.tile([0.0, 1.0], 10), np.repeat(np.arange(10), 2)),
        (np.array([0.3]), np.array([0])),
        (np.array([1.0, 0.0]), np.array([0, 0])),
        (np.array([0.2, 0.4]), np.array([0, 0])),
    ]
    for values, groups in cases:
        interval = group_bootstrap(values, groups)
        assert interval.low < values.mean() < interval.high or interval.high - interval.low > 0.1


def test_differences_that_are_all_zero_stay_open_on_both_sides():
    interval = group_bootstrap(np.zeros(50), np.arange(50), bounds=(-1, 1))
    assert interval.low == -interval.high < 0
    with pytest.raises(ProbeDataError, match="outside bounds 0 to 1"):
        group_bootstrap(np.full(5, 7.0), np.arange(5))


@pytest.mark.parametrize("values", [[], [1.0], [1.0, np.nan], 3.0])
def test_values_that_cannot_be_bounded(values):
    with pytest.raises(ProbeDataError, match="every row needs finite values"):
        group_bootstrap(values, ["a", "b"] if values != [] else [])


def test_a_share_is_of_zeros_and_ones():
    with pytest.raises(ProbeDataError, match="zeros and ones"):
        share_by_group([0.5, 1.0], ["a", "b"])


def test_few_groups_count_for_few_rows():
    """By hand: 4 groups of 5 rows with 5, 4, 1 and 0 ones scatter like 4.41 rows, and 4 groups are few."""
    values = np.concatenate([np.arange(5) < ones for ones in (5, 4, 1, 0)])
    found = share_by_group(values, np.repeat(np.arange(4), 5))
    n_effective = 0.25 / (4 / 3 * (2.5**2 + 1.5**2 + 1.5**2 + 2.5**2) / 20**2) * (2.09302 / 3.18245) ** 2
    k = n_effective / 2
    assert found.low == pytest.approx(beta.ppf(0.025, k, n_effective - k + 1), rel=1e-4)
    assert found.high == pytest.approx(beta.ppf(0.975, k + 1, n_effective - k), rel=1e-4)


def test_rows_never_count_for_more_than_they_are():
    values = np.tile([0.0, 1.0], 20)
    values[0] = 1.0
    for found in (share_by_group(values, np.repeat(np.arange(20), 2)), share_by_group(values, np.arange(40))):
        assert (found.low, found.high) == pytest.approx((exact_share(21, 40).low, exact_share(21, 40).high))


def test_one_row_per_group_is_clopper_pearson():
    values = np.arange(40) < 31
    found, expected = share_by_group(values, np.arange(40)), exact_share(31, 40)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_accuracy():
    score = accuracy_score_by_group(["a", "b", "a", "b"], ["a", "b", "b", "b"], ["p", "p", "q", "r"], control=0.5)
    assert (score.value, score.control, score.n, score.n_groups) == (0.75, 0.5, 4, 3)
    assert score.interval.low < 0.75 < score.interval.high
    empty = accuracy_score_by_group([], [], [], control=0.1)
    assert empty.value is None
    assert empty.undefined_because == "no rows to score"
    with pytest.raises(ProbeDataError, match="2 labels, 1 readings and 2 groups"):
        accuracy_score_by_group(["a", "b"], ["a"], ["p", "q"], control=0.5)


def test_auroc_of_ties_and_of_planted_scores():
    rng = np.random.default_rng(4)
    truth = rng.random(200) < 0.3
    tied = auroc_score(truth, np.zeros(200), np.arange(200), n_resamples=50)
    assert tied.value == 0.5
    assert tied.interval.low < 0.5 < tied.interval.high
    scores = truth + rng.normal(size=200)
    found = auroc_score(truth, scores, np.arange(200), n_resamples=400)
    assert found.value == roc_auc_score(truth, scores)
    assert found.interval.low < 0.76 < found.interval.high  # of two normals one deviation apart


@pytest.mark.parametrize("sign", [1, -1])
def test_perfect_auroc_is_not_certain(sign):
    truth = np.arange(40) < 15
    score = auroc_score(truth, sign * truth, np.arange(40), n_resamples=50)
    expected = exact_share(15 if sign > 0 else 0, 15)
    assert score.value == (1.0 if sign > 0 else 0.0)
    assert (score.interval.low, score.interval.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(
    ("truth", "why"),
    [([1, 1], "all 2 rows are positive"), ([0, 0], "all 2 rows are negative"), ([], "no rows")],
)
def test_auroc_of_one_class_is_undefined_and_says_why(truth, why):
    score = auroc_score(truth, np.arange(len(truth)), np.arange(len(truth)))
    assert score.value is None
    assert score.interval is None
    assert why in score.undefined_because


@pytest.mark.parametrize(
    ("truth", "scores", "groups", "match"),
    [
        ([0, 1], [0.1], ["a", "b"], "equally many"),
        ([0, 1], [0.1, np.inf], ["a", "b"], "finite scores"),
        ([0, 2], [0.1, 0.2], ["a", "b"], "0 or 1"),
    ],
)
def test_auroc_of_what_cannot_be_scored(truth, scores, groups, match):
    with pytest.raises(ProbeDataError, match=match):
        auroc_score(truth, scores, groups)


@pytest.mark.parametrize(
    "fields",
    [
        {"value": None},
        {"value": 0.5, "undefined_because": "one class"},
        {"value": 0.5},
        {"value": None, "undefined_because": "one class", "interval": Interval(0, 1)},
        {"value": float("nan"), "interval": Interval(0, 1)},
        {"value": 0.5, "interval": Interval(0, 1), "control": float("nan")},
        {"value": 0.5, "interval": Interval(0, 1), "n_groups": 11},
    ],
)
def test_impossible_scores_cannot_be_made(fields):
    with pytest.raises(ProbeDataError):
        Score(**{"control": 0.1, "interval": None, "n": 10, "n_groups": 5} | fields)


def test_an_interval_runs_upward():
    for low, high in ((1.0, 0.0), (float("nan"), 1.0)):
        with pytest.raises(ProbeDataError, match="upward"):
            Interval(low, high)
