"""Ridge regression for many targets and penalties from moments: one eigendecomposition, GCV, exact k-fold errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import add
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh

from probes.errors import ProbeDataError
from probes.linear_map import Linear
from probes.moments import ROUNDING, Moments

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

PANEL = 128
"""Columns of one product of a symmetric matrix, of which only one half is taken."""


@dataclass(frozen=True, slots=True, eq=False)
class RidgePath:
    """Ridge fits of `targets` for `penalties`, scored by generalised cross-validation (Golub, Heath, Wahba 1979)."""

    penalties: Floats
    """As scikit-learn's `alpha`: |y - Xw - b|^2 + penalty |w|^2, rising, [P]."""
    gcv: Floats
    """Estimated squared error of a new row, [P, targets]."""
    chosen: Floats
    """Penalty of the least GCV, summed over a label's targets, [targets]."""
    coef: Floats
    """At the chosen penalty, on raw rows, [targets, d]."""
    intercept: Floats
    """[targets]."""
    label_of: Ints
    """Label of each target, -1 for dense targets, [targets]."""
    class_of: Ints
    """Code of the class that each target tells (+1) from the others (-1), or place of the dense target, [targets]."""
    occurs: NDArray[np.bool_]
    """Whether the target varies at all, [targets]."""

    def linear(self, label: int) -> Linear:
        """The classifier of a label: the class whose target is predicted highest is read.

        Raises:
            ProbeDataError: a label that was not fitted, or has fewer than two classes.
        """
        at = np.flatnonzero((self.label_of == label) & self.occurs & (label >= 0))
        codes, coef, intercept = self.class_of[at], self.coef[at], self.intercept[at]
        if len(at) == 1:  # two classes are one target
            codes, coef, intercept = np.array([0, 1]), np.stack([-coef[0], coef[0]]), intercept[0] * np.array([-1, 1])
        if len(codes) < 2:
            raise ProbeDataError(f"no ridge fit of two or more classes for label {label}")
        return Linear(coef, intercept, codes)


def _checked_penalties(penalties: ArrayLike) -> Floats:
    checked = np.sort(np.asarray(penalties, dtype=np.float64).ravel())
    if not checked.size or not np.isfinite(checked).all() or checked[0] <= 0:
        raise ProbeDataError(f"penalties must be finite numbers above 0; found {penalties!r}")
    return checked


def _plan(moments: Moments, labels: Sequence[int] | int | None) -> tuple[Ints, Ints, Ints]:
    """Label, class and row in the class sums of each target; dense targets have label -1."""
    wanted = [labels] if isinstance(labels, int | np.integer) else labels
    label_of, class_of, row_of = [], [], []
    for label in range(len(moments.n_classes)) if wanted is None else wanted:
        rows = moments.rows_of(label)
        first = 1 if moments.n_classes[label] == 2 else 0
        codes = np.arange(first, moments.n_classes[label])
        label_of.append(np.full(len(codes), label))
        class_of.append(codes)
        row_of.append(rows.start + codes)
    if wanted is None:
        n_dense = len(moments.cross)
        label_of.append(np.full(n_dense, -1))
        class_of.append(np.arange(n_dense))
        row_of.append(np.arange(n_dense))
    if not sum(map(len, label_of)):
        raise ProbeDataError("ridge needs labels or dense targets; the moments hold neither, or none was asked for")
    return np.concatenate(label_of), np.concatenate(class_of), np.concatenate(row_of)


def _regressed(moments: Moments, label_of: Ints, row_of: Ints) -> Moments:
    """The same rows with what ridge regresses on, and nothing else, as dense targets."""
    coded, dense = row_of[label_of >= 0], row_of[label_of < 0]
    counts, n = moments.counts[coded], max(moments.n, 1)
    return Moments(
        n=moments.n,
        mean=moments.mean,
        scatter=moments.scatter,
        target_mean=np.concatenate([2 * counts / n - 1, moments.target_mean[dense]]),
        target_square=np.concatenate([4 * counts * (1 - counts / n), moments.target_square[dense]]),
        cross=np.concatenate([2 * moments.sums[coded], moments.cross[dense]]),
        rounding=moments.rounding,
    )


def ridge_path(moments: Moments, labels: Sequence[int] | int | None, penalties: ArrayLike) -> RidgePath:
    """Fit every class of every label (one target where there are two) at every penalty.

    Args:
        moments: of rows that all have the labels.
        labels: which labels; None for all of them, and then all dense targets.
        penalties: above 0, see `RidgePath.penalties`.

    Raises:
        ProbeDataError: penalties out of range, rows without a class, fewer than two rows, or no target.
    """
    grid = _checked_penalties(penalties)
    if moments.n < 2:
        raise ProbeDataError(f"ridge needs at least two rows; found {moments.n}")
    label_of, class_of, row_of = _plan(moments, labels)
    targets = _regressed(moments, label_of, row_of)
    values, vectors = eigh(moments.scatter, check_finite=False)
    values = np.maximum(values, 0)
    turned = targets.cross @ vectors
    power = np.square(turned)
    shrunk = 1 / (values + grid[:, None])
    left = targets.target_square + (power @ (values * shrunk**2 - 2 * shrunk).T).T
    used = (values * shrunk).sum(axis=1) + 1
    free = np.maximum(1 - used / moments.n, 0)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        gcv = np.where(free > 0, np.maximum(left, 0) / moments.n / free**2, np.inf)
    chosen = _chosen(gcv, label_of, class_of)
    coef = (turned * shrunk[chosen]) @ vectors.T
    return RidgePath(
        grid,
        gcv,
        grid[chosen],
        coef,
        targets.target_mean - coef @ moments.mean,
        label_of,
        class_of,
        targets.target_square > 0,
    )


def _chosen(gcv: Floats, label_of: Ints, class_of: Ints) -> Ints:
    """Place of the least error of each label, or of each dense target; the strongest penalty among equals."""
    _, first, group = np.unique(
        np.where(label_of >= 0, label_of, -1 - class_of), return_index=True, return_inverse=True
    )
    if len(first) < len(group):
        summed = np.zeros((len(gcv), len(first)))
        np.add.at(summed.T, group, gcv.T)
    else:
        summed = gcv[:, first]
    best: Ints = len(gcv) - 1 - summed[::-1].argmin(axis=0)
    return best[group]


def kfold_ridge(parts: Sequence[Moments], penalties: ArrayLike, labels: Sequence[int] | int | None = None) -> Floats:
    """Mean squared error on held-out rows, [P, targets], each part held out in turn; targets as in `ridge_path`.

    Exact: what refitting on the rows of the other parts and predicting those of this one would give.

    Args:
        parts: moments of each fold, at least two; folds must not split groups.
        penalties: above 0, in rising order of the result.
        labels: as in `ridge_path`.

    Raises:
        ProbeDataError: as `ridge_path`, or fewer than two parts.
    """
    grid = _checked_penalties(penalties)
    if len(parts) < 2 or min(part.n for part in parts) < 1:
        raise ProbeDataError(f"k-fold needs two or more parts with rows; found {[part.n for part in parts]}")
    label_of, _, row_of = _plan(parts[0], labels)
    for part in parts[1:]:
        _plan(part, labels)
    folds = [_regressed(part, label_of, row_of) for part in parts]
    before = list(accumulate(folds[:-1], add))
    after = list(accumulate(folds[:0:-1], add))[::-1]
    errors = _held_out_square(after[0], folds[0], grid) + _held_out_square(before[-1], folds[-1], grid)
    for place in range(1, len(folds) - 1):
        errors += _held_out_square(before[place - 1] + after[place], folds[place], grid)
    errors /= sum(fold.n for fold in folds)
    return errors


def _held_out_square(fit: Moments, held: Moments, grid: Floats) -> Floats:
    """Summed squared error on the held-out rows of ridge fitted on the others, [P, targets]."""
    values, vectors = eigh(fit.scatter, check_finite=False)
    values = np.maximum(values, 0)
    dtype = np.float32 if max(fit.rounding, held.rounding) > ROUNDING["float64"] else np.float64
    turned = fit.cross @ vectors
    step, target_step = (held.mean - fit.mean) @ vectors, held.target_mean - fit.target_mean
    cross = held.cross @ vectors + held.n * np.multiply.outer(target_step, step)
    scatter = vectors.T @ held.scatter @ vectors + held.n * np.multiply.outer(step, step)
    shrunk = 1 / (values + grid[:, None])
    errors: Floats = held.target_square + held.n * target_step**2 - 2 * ((turned * cross) @ shrunk.T).T
    return errors + _quadratics(turned, shrunk, scatter, dtype)


def _quadratics(turned: Floats, shrunk: Floats, matrix: Floats, dtype: type) -> Floats:
    """w' M w for every w = turned[j] * shrunk[p] and a symmetric M, [P, targets].

    What lies off the diagonal is small where a fold is like the others; it is multiplied in the precision that the
    statistics have, from one half of it, in units that float32 can hold.
    """
    total: Floats = (np.square(turned) @ (shrunk**2 * np.diag(matrix)).T).T
    lower = 2 * np.tril(matrix, -1)
    size, top = np.abs(lower).max(), np.abs(turned).max(axis=1)
    if not size:
        return total
    lower, factors = (lower / size).astype(dtype), (shrunk / shrunk.max()).astype(dtype)
    unit: NDArray[Any] = (turned / np.where(top > 0, top, 1)[:, None]).astype(dtype)
    for place, factor in enumerate(factors):
        rows, found = unit * factor, np.zeros(len(unit))
        for start in range(0, len(lower), PANEL):
            end = start + PANEL
            found += np.einsum("ka,ka->k", rows[:, start:] @ lower[start:, start:end], rows[:, start:end])
        total[place] += found * (size * shrunk.max() ** 2) * top**2
    return total
