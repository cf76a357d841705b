"""Scores that come with their control, their sample size and their uncertainty."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import accuracy_score, roc_auc_score

from probes.errors import ProbeDataError
from probes.intervals import (
    Interval,
    exact_share,
    exact_upper,
    group_bootstrap,
    group_codes,
    percentile_interval,
    resampled_rows,
    share_by_group,
)

__all__ = [
    "Interval",
    "Score",
    "accuracy_score_by_group",
    "auroc_score",
    "exact_share",
    "exact_upper",
    "group_bootstrap",
    "share_by_group",
]


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
        if not math.isfinite(self.control) or not math.isfinite(self.value or 0.0):
            raise ProbeDataError(f"a score and its control are finite; found {self.value} and {self.control}")
        if not 0 <= self.n_groups <= self.n:
            raise ProbeDataError(f"{self.n_groups} groups cannot hold {self.n} rows")


def accuracy_score_by_group(
    y_true: ArrayLike, y_pred: ArrayLike, groups: ArrayLike, *, control: float, level: float = 0.95
) -> Score:
    """Accuracy with its control and the interval of `share_by_group`.

    Raises:
        ProbeDataError: lengths that differ.
    """
    truth, said, codes = np.asarray(y_true), np.asarray(y_pred), group_codes(groups)
    if not len(truth) == len(said) == len(codes):
        raise ProbeDataError(f"{len(truth)} labels, {len(said)} readings and {len(codes)} groups must be equally many")
    if len(truth) == 0:
        return Score(None, control, None, 0, 0, "no rows to score")
    interval = share_by_group(truth == said, codes, level)
    return Score(float(accuracy_score(truth, said)), control, interval, len(truth), int(codes.max()) + 1)


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
        raise ProbeDataError(f"{len(truth)} labels, {len(ranks)} scores and {len(codes)} groups must be equally many")
    if not np.isfinite(ranks).all() or not np.isin(truth, (0, 1)).all():
        raise ProbeDataError("AUROC needs finite scores and labels that are 0 or 1")
    n_groups = len(np.unique(codes))
    truth = truth.astype(np.bool_)
    if truth.all() or not truth.any():
        side = "positive" if truth.any() else "negative"
        present = f"all {len(truth)} rows are {side}" if len(truth) else "there are no rows"
        return Score(None, control, None, len(truth), n_groups, f"AUROC needs both classes; {present}")
    value = float(roc_auc_score(truth, ranks))
    drawn = [
        roc_auc_score(truth[pick], ranks[pick])
        for pick in resampled_rows(codes, n_resamples, np.random.default_rng(seed))
        if truth[pick].any() and not truth[pick].all()
    ]
    if drawn and max(drawn) > min(drawn):
        interval = percentile_interval(np.array(drawn), value, n_groups, level, (0.0, 1.0))
    else:
        # Disjoint pairs of a positive and a negative group are independent trials of a share.
        n_pairs = min(len(np.unique(codes[truth])), len(np.unique(codes[~truth])))
        interval = percentile_interval(np.array([]), value, n_pairs, level, (0.0, 1.0))
    return Score(value, control, interval, len(truth), n_groups)
