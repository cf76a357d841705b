"""Probes and directions that moments determine without another look at the rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve, eigh, pinvh

from probes.errors import ProbeDataError
from probes.linear_map import Linear
from probes.moments import Moments
from probes.ridge import RidgePath, kfold_ridge, ridge_path

__all__ = ["Linear", "Pca", "RidgePath", "kfold_ridge", "lda", "lda_all", "mean_difference", "pca", "ridge_path"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

SHRINKAGE = 1e-3
"""Enough to make any covariance invertible, too little to move a reading."""
SHARED_FROM = 8
"""Labels from which one eigendecomposition costs less than a factorisation each."""
LEAST_WITHIN = 1e-6
"""Share of a direction's variance that classes must leave within, for the shared inverse to be precise."""


def lda(moments: Moments, label: int, *, shrinkage: float = SHRINKAGE) -> Linear:
    """Linear discriminant analysis: one covariance for all classes, priors as counted; scores are log odds.

    Equal to scikit-learn's `LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage)`, up to what is the same
    for all classes.

    Args:
        moments: of rows that all have the label.
        label: which.
        shrinkage: share of the covariance, 0 to 1, that is replaced by its mean variance in every direction.

    Raises:
        ProbeDataError: rows without a class, fewer than two classes, or a shrinkage out of range.
    """
    return lda_all(moments, [label], shrinkage=shrinkage)[0]


def lda_all(
    moments: Moments, labels: Sequence[int] | None = None, *, shrinkage: float = SHRINKAGE
) -> tuple[Linear, ...]:
    """`lda` of many labels (default all) that share their rows, by one eigendecomposition of the total scatter.

    The within-class covariance is the total less one rank for each class but one (Woodbury's identity).
    """
    if not 0 <= shrinkage <= 1:
        raise ProbeDataError(f"shrinkage must lie in 0 to 1; found {shrinkage}")
    wanted = range(len(moments.n_classes)) if labels is None else labels
    present = {label: present_classes(moments, label) for label in wanted}
    by_size: dict[int, list[int]] = defaultdict(list)
    for label in present:
        by_size[len(present[label])].append(label)
    fits: dict[int, Linear] = {}
    if len(present) >= SHARED_FROM and shrinkage > 0:
        total = eigh(moments.scatter / moments.n, check_finite=False)
        for size, same in by_size.items():
            if size <= moments.d // 4:
                fits |= _shared_lda(moments, {label: present[label] for label in same}, shrinkage, *total)
    for label in present.keys() - fits.keys():
        fits[label] = _one_lda(moments, label, present[label], shrinkage)
    return tuple(fits[label] for label in wanted)


def present_classes(moments: Moments, label: int) -> Ints:
    """Rows of `moments.sums` of the classes that occur, [K].

    Raises:
        ProbeDataError: rows without a class, or fewer than two classes.
    """
    rows = moments.rows_of(label)
    present: Ints = rows.start + np.flatnonzero(moments.counts[rows])
    if len(present) < 2:
        raise ProbeDataError(
            f"label {label} holds {len(present)} class in {moments.n} rows; a probe needs at least two. "
            "Give rows whose classes differ."
        )
    return present


def _one_lda(moments: Moments, label: int, rows: Ints, shrinkage: float) -> Linear:
    counts, sums = moments.counts[rows], moments.sums[rows]
    within = (moments.scatter - (sums.T / counts) @ sums) / moments.n
    mean_variance = np.trace(within) / moments.d
    within *= 1 - shrinkage
    within[np.diag_indices_from(within)] += shrinkage * mean_variance
    means = sums / counts[:, None]
    try:
        if not shrinkage:
            raise LinAlgError("only shrinkage makes a covariance invertible for sure")
        coef = cho_solve(cho_factor(within), means.T).T
    except LinAlgError:
        coef = means @ pinvh(within, rtol=moments.d * moments.rounding)
    return _discriminants(moments, label, rows, means, coef)


def _shared_lda(
    moments: Moments, rows: dict[int, Ints], shrinkage: float, values: Floats, vectors: Floats
) -> dict[int, Linear]:
    """Labels of K classes each; those whose classes leave hardly any variance within are left out."""
    index = np.stack(list(rows.values()))
    counts = moments.counts[index]
    means = moments.sums[index] / counts[:, :, None]
    turned = _turned(means, counts, vectors)
    share = counts / moments.n
    between = (share[:, :, None] * np.square(turned)).sum((1, 2))
    mean_variance = np.maximum(values.sum() - between, 0) / moments.d
    spread = (1 - shrinkage) * np.maximum(values, 0) + shrinkage * mean_variance[:, None]
    spread = np.maximum(spread, np.finfo(np.float64).tiny)
    scaled = turned / spread[:, None, :]
    share *= 1 - shrinkage
    overlap = np.matmul(scaled, turned.transpose(0, 2, 1))
    root = np.sqrt(share)
    one = np.eye(index.shape[1])
    within = one - root[:, :, None] * overlap * root[:, None, :]
    precise = np.isfinite(within).all((1, 2))
    precise[precise] = np.linalg.eigvalsh(within[precise])[:, 0] > LEAST_WITHIN
    inverse = np.linalg.inv(one - (overlap * share[:, None, :])[precise])
    coefs = _turned(np.matmul(inverse, scaled[precise]), counts[precise], vectors.T)
    labels = [label for label, fine in zip(rows, precise, strict=True) if fine]
    return {
        label: _discriminants(moments, label, rows[label], mean, coef)
        for label, mean, coef in zip(labels, means[precise], coefs, strict=True)
    }


def _turned(rows: Floats, counts: Floats, matrix: Floats) -> Floats:
    """Rows [L, K, d] times a matrix, where those of a label add up to nothing when weighted by its counts [L, K]."""
    n_labels, n_classes, d = rows.shape
    turned: Floats = np.empty(rows.shape)
    turned[:, 1:] = (rows[:, 1:].reshape(-1, d) @ matrix).reshape(n_labels, n_classes - 1, d)
    turned[:, 0] = -np.einsum("lk,lkd->ld", counts[:, 1:] / counts[:, :1], turned[:, 1:])
    return turned


def _discriminants(moments: Moments, label: int, rows: Ints, means: Floats, coef: Floats) -> Linear:
    prior = np.log(moments.counts[rows] / moments.n)
    intercept = prior - (means * coef).sum(axis=1) / 2 - coef @ moments.mean
    return Linear(coef, intercept, rows - moments.starts[label])


def mean_difference(moments: Moments, label: int) -> Linear:
    """The nearest class mean is read; two classes: their difference of means, threshold midway.

    Raises:
        ProbeDataError: rows without a class, or fewer than two classes.
    """
    rows = present_classes(moments, label)
    means = moments.sums[rows] / moments.counts[rows, None]
    return Linear(means, -np.square(means).sum(axis=1) / 2 - means @ moments.mean, rows - moments.starts[label])


@dataclass(frozen=True, slots=True, eq=False)
class Pca:
    """Directions of most variance."""

    mean: Floats
    """[d]."""
    components: Floats
    """Unit directions, most variance first; the entry largest in size is positive, [k, d]."""
    variance: Floats
    """Along each, divided by n - 1, [k]."""


def pca(moments: Moments, k: int) -> Pca:
    """The k directions of most variance.

    Raises:
        ProbeDataError: k out of range, or fewer than two rows.
    """
    if not 1 <= k <= moments.d or moments.n < 2:
        raise ProbeDataError(f"k must lie in 1 to {moments.d} and n be at least 2; found k={k}, n={moments.n}")
    values, vectors = eigh(moments.scatter, subset_by_index=(moments.d - k, moments.d - 1))
    components = vectors.T[::-1]
    largest = np.abs(components).argmax(axis=1)
    signs = np.sign(components[np.arange(k), largest])
    return Pca(moments.mean, components * signs[:, None], np.maximum(values[::-1], 0) / (moments.n - 1))
