"""Scores that come with their control, their sample size and their uncertainty."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, roc_auc_score

from probes.errors import ProbeDataError

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True)
class Interval:
    """Both ends of an interval, low <= high."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ProbeDataError(f"an interval runs upward; found {self.low} to {self.high}")


@dataclass(frozen=True)
class Score:
    """A score beside its control; where it is undefined, the reason instead of a number."""

    value: float | None
    control: float
    """What the same score is worth without the thing that is tested."""
    interval: Interval | None
    n: int
    n_groups: int
    undefined_because: str | None = None

    def __post_init__(self) -> None:
        if (self.value is None) != bool(self.undefined_because):
            raise ProbeDataError("a score has either a value or the reason why it has none")
        if (self.value is None) != (self.interval is None):
            raise ProbeDataError("a score has an interval exactly when it has a value")
        if not all(math.isfinite(number) for number in (self.value or 0.0, self.control)):
            raise ProbeDataError(f"a score and its control are finite; found {self.value} and {self.control}")
        if not 0 <= self.n_groups <= self.n:
            raise ProbeDataError(f"{self.n_groups} groups cannot hold {self.n} rows")


def exact_share(k: int, n: int, level: float = 0.95) -> Interval:
    """Clopper-Pearson interval of a share of k in n."""
    interval = _binomial(k, n, "two-sided").proportion_ci(confidence_level=level, method="exact")
    return Interval(float(interval.low), float(interval.high))


def exact_upper(k: int, n: int, level: float = 0.95) -> float:
    """One-sided exact upper bound of a share of k in n: 0 in 299 gives 0.01 at level 0.95."""
    return float(_binomial(k, n, "less").proportion_ci(confidence_level=level, method="exact").high)


def _binomial(k: int, n: int, alternative: str) -> Any:
    if not 0 <= k <= n or n < 1:
        raise ProbeDataError(f"a share needs 0 <= k <= n and n >= 1; found k={k}, n={n}")
    return binomtest(int(k), int(n), alternative=alternative)


def group_bootstrap(
    values: ArrayLike,
    groups: ArrayLike,
    *,
    statistic: Callable[[Any], Any] = np.mean,
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Interval:
    """Percentile interval of a statistic when whole groups are drawn again with replacement.

    Where no resample differs (all right, say), resampling knows nothing: the interval is then as wide as
    Clopper-Pearson allows the share of groups of another kind to be, reaching towards `bounds`.

    Args:
        values: rows, [n] or [n, ...].
        groups: group of each row, [n].
        statistic: of resampled rows; the mean of a vector is computed for all resamples at once.
        n_resamples: draws.
        seed: of the draws.
        level: coverage aimed at.
        bounds: least and greatest value that the statistic can have.

    Raises:
        ProbeDataError: no rows, values that are not finite, or a constant statistic outside `bounds`.
    """
    rows, codes = np.asarray(values, dtype=np.float64), group_codes(groups)
    if len(rows) != len(codes) or len(rows) == 0 or not np.isfinite(rows).all():
        raise ProbeDataError(f"{len(rows)} values for {len(codes)} groups; every row needs one finite value")
    rng = np.random.default_rng(seed)
    if statistic is np.mean and rows.ndim == 1:
        drawn = _resampled_means(rows, codes, n_resamples, rng)
    else:
        picks = (resample_rows(codes, rng) for _ in range(n_resamples))
        drawn = np.array([float(statistic(rows[pick])) for pick in picks])
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    if high - low > 1e-12 * max(1.0, abs(low)):
        return Interval(float(low), float(high))
    return _constant_interval(float(statistic(rows)), int(codes.max()) + 1, level, bounds)


def _constant_interval(value: float, n_groups: int, level: float, bounds: tuple[float, float]) -> Interval:
    least, most = bounds
    if not least <= value <= most:
        raise ProbeDataError(
            f"every resample gives {value:g}, outside bounds {least:g} to {most:g}. Give the true bounds."
        )
    share = exact_share(0, n_groups, level).high
    return Interval(value - (value - least) * share, value + (most - value) * share)


def _resampled_means(rows: Floats, codes: Ints, n_resamples: int, rng: np.random.Generator) -> Floats:
    sums, sizes = np.bincount(codes, weights=rows), np.bincount(codes).astype(np.float64)
    n_groups = len(sums)
    block = max(1, 10_000_000 // n_groups)
    drawn = []
    for start in range(0, n_resamples, block):
        size = min(block, n_resamples - start)
        times = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=size)
        drawn.append((times @ sums) / (times @ sizes))
    return np.concatenate(drawn)


def resample_rows(codes: Ints, rng: np.random.Generator) -> Ints:
    """Rows of as many groups as there are, drawn with replacement."""
    order = np.argsort(codes, kind="stable")
    blocks = np.split(order, np.cumsum(np.bincount(codes))[:-1])
    return np.concatenate([blocks[group] for group in rng.integers(len(blocks), size=len(blocks))])


def group_codes(groups: ArrayLike) -> Ints:
    """Groups as numbers from 0, [n]."""
    names = np.asarray(groups).ravel()
    if names.dtype == object:
        names = np.asarray([str(name) for name in names])
    codes: Ints = np.unique(names, return_inverse=True)[1]
    return codes


def accuracy_score_by_group(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    groups: ArrayLike,
    *,
    control: float,
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Score:
    """Accuracy with its control; the interval is exact where each group has one row, else a group bootstrap.

    Raises:
        ProbeDataError: lengths that differ.
    """
    truth, said, codes = np.asarray(y_true), np.asarray(y_pred), group_codes(groups)
    if not len(truth) == len(said) == len(codes):
        raise ProbeDataError(
            f"{len(truth)} labels, {len(said)} readings and {len(codes)} groups must be equally many"
        )
    if len(truth) == 0:
        return Score(None, control, None, 0, 0, "no rows to score")
    right = (truth == said).astype(np.float64)
    n_groups = int(codes.max()) + 1
    if n_groups == len(truth):
        interval = exact_share(int(right.sum()), n_groups, level)
    else:
        interval = group_bootstrap(right, codes, n_resamples=n_resamples, seed=seed, level=level)
    return Score(float(accuracy_score(truth, said)), control, interval, len(truth), n_groups)


def auroc_score(
    y_true: ArrayLike,
    scores: ArrayLike,
    groups: ArrayLike,
    *,
    control: float = 0.5,
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Score:
    """Area under the ROC curve with its control and a group bootstrap; undefined for one class.

    Raises:
        ProbeDataError: lengths that differ, scores that are not finite, or labels that are not 0 and 1.
    """
    truth, ranks, codes = np.asarray(y_true), np.asarray(scores, dtype=np.float64), group_codes(groups)
    if not len(truth) == len(ranks) == len(codes):
        raise ProbeDataError(
            f"{len(truth)} labels, {len(ranks)} scores and {len(codes)} groups must be equally many"
        )
    if not np.isfinite(ranks).all() or not np.isin(truth, (0, 1)).all():
        raise ProbeDataError("AUROC needs finite scores and labels that are 0 or 1")
    n_groups = len(np.unique(codes))
    truth = truth.astype(np.bool_)
    if truth.all() or not truth.any():
        present = (
            "no rows"
            if len(truth) == 0
            else f"all {len(truth)} rows are {'positive' if truth[0] else 'negative'}"
        )
        return Score(None, control, None, len(truth), n_groups, f"AUROC needs both classes; {present}")
    value = float(roc_auc_score(truth, ranks))
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(n_resamples):
        pick = resample_rows(codes, rng)
        if truth[pick].any() and not truth[pick].all():
            drawn.append(roc_auc_score(truth[pick], ranks[pick]))
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]) if drawn else (value, value)
    if high - low <= 1e-12:
        # Disjoint pairs of a positive and a negative group are independent trials of a share.
        n_pairs = min(len(np.unique(codes[truth])), len(np.unique(codes[~truth])))
        interval = _constant_interval(value, n_pairs, level, (0.0, 1.0))
    else:
        interval = Interval(float(low), float(high))
    return Score(value, control, interval, len(truth), n_groups)
