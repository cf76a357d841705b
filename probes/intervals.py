"""Intervals that keep their promise: exact for shares, by resampling whole groups for everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

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
    return stats.binomtest(int(k), int(n), alternative=alternative)


def share_by_group(values: ArrayLike, groups: ArrayLike, level: float = 0.95) -> Interval:
    """Interval of a share whose rows come in groups: Clopper-Pearson on the effective number of rows.

    Rows of a group may say the same thing twice, so they count for as many independent rows as would
    scatter like the groups do (Korn & Graubard 1998), at most as many as there are. With one row per
    group this is Clopper-Pearson; where all rows are equal, a group counts once. A percentile bootstrap
    of such shares covers far too little near 0 and 1.

    Args:
        values: zeros and ones (or booleans), [n].
        groups: group of each row, [n].
        level: coverage.
    """
    rows, codes = _rows_and_codes(values, groups)
    if rows.ndim != 1 or not np.isin(rows, (0.0, 1.0)).all():
        raise ProbeDataError("a share is taken of zeros and ones")
    sizes = np.bincount(codes)
    n, n_groups, share = len(rows), len(sizes), float(rows.mean())
    if share in (0.0, 1.0) or n_groups in (1, n):
        n_effective = float(n_groups)
    else:
        scatter = np.bincount(codes, weights=rows) - share * sizes
        variance = n_groups / (n_groups - 1) * np.square(scatter).sum() / n**2
        few = float(stats.t.ppf((1 + level) / 2, n - 1) / stats.t.ppf((1 + level) / 2, n_groups - 1))
        n_effective = min(float(n), share * (1 - share) / variance * few**2) if variance > 0 else float(n)
    k, tail = share * n_effective, (1 - level) / 2
    low = float(stats.beta.ppf(tail, k, n_effective - k + 1)) if share > 0 else 0.0
    high = float(stats.beta.ppf(1 - tail, k + 1, n_effective - k)) if share < 1 else 1.0
    return Interval(low, high)


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
    """Interval of a statistic when whole groups are drawn again with replacement.

    The mean of zeros and ones is a share, and `share_by_group` bounds it. Where no resample differs,
    resampling knows nothing: the interval is then as wide as Clopper-Pearson allows the share of groups
    of another kind to be, reaching towards `bounds`. It never has width zero.

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
    rows, codes = _rows_and_codes(values, groups)
    rng = np.random.default_rng(seed)
    if statistic is np.mean and rows.ndim == 1:
        if np.isin(rows, (0.0, 1.0)).all() and bounds == (0.0, 1.0):
            return share_by_group(rows, codes, level)
        drawn = _resampled_means(rows, codes, n_resamples, rng)
    else:
        drawn = np.array([float(statistic(rows[pick])) for pick in resampled_rows(codes, n_resamples, rng)])
    n_groups = int(codes.max()) + 1
    return percentile_interval(drawn, float(statistic(rows)), n_groups, level, bounds)


def percentile_interval(
    drawn: Floats, value: float, n_groups: int, level: float, bounds: tuple[float, float]
) -> Interval:
    """Expanded percentile interval of a statistic drawn again over `n_groups` groups.

    Plain percentiles are too short for few groups, by the factor between the deviations with n and n - 1
    and between Student's and the normal quantiles (Hesterberg 2015).
    """
    spread = drawn.max() - drawn.min() if len(drawn) else 0.0
    if n_groups > 1 and spread > 1e-12 * max(1.0, abs(value)):
        quantile = stats.t.ppf((1 + level) / 2, n_groups - 1) * np.sqrt(n_groups / (n_groups - 1))
        tail = float(stats.norm.sf(quantile))
        low, high = np.quantile(drawn, [tail, 1 - tail])
        if high > low:
            return Interval(float(low), float(high))
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


def resampled_rows(codes: Ints, n_resamples: int, rng: np.random.Generator) -> Iterator[Ints]:
    """Row numbers of as many groups as there are, drawn with replacement, `n_resamples` times."""
    order = np.argsort(codes, kind="stable")
    blocks = np.split(order, np.cumsum(np.bincount(codes))[:-1])
    for _ in range(n_resamples):
        yield np.concatenate([blocks[group] for group in rng.integers(len(blocks), size=len(blocks))])


def group_codes(groups: ArrayLike) -> Ints:
    """Groups as numbers from 0, [n]."""
    names = np.asarray(groups).ravel()
    if names.dtype == object:
        names = np.asarray([str(name) for name in names])
    codes: Ints = np.unique(names, return_inverse=True)[1]
    return codes


def _rows_and_codes(values: ArrayLike, groups: ArrayLike) -> tuple[Floats, Ints]:
    rows, codes = np.asarray(values, dtype=np.float64), group_codes(groups)
    if rows.ndim == 0 or len(rows) != len(codes) or len(rows) == 0 or not np.isfinite(rows).all():
        raise ProbeDataError(
            f"values of shape {rows.shape} for the groups of {len(codes)} rows; every row needs finite values"
        )
    return rows, codes
