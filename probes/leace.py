"""LEACE: the least change to thoughts after which no linear probe reads a label from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh, svd

from probes.errors import ProbeDataError
from probes.moments import Moments

Floats = NDArray[np.float64]

CONSTANT = 1e-13
"""Deviation of a feature, in sizes of its mean, that is nothing but the rounding of that mean."""
LEAST_STRENGTH = 1e-9
"""Of a direction, relative to the strongest; what is weaker is rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Eraser:
    """An affine map of rows, `x - left @ right @ (x - mean)`; r directions of what is read are taken out."""

    left: Floats
    """Directions that are subtracted, [d, r]."""
    right: Floats
    """What is read of a row, [r, d]; `right @ left` is the identity, so erasing twice changes nothing more."""
    mean: Floats
    """[d]."""

    def __post_init__(self) -> None:
        d, r = len(self.mean), len(self.right)
        if self.left.shape != (d, r) or self.right.shape != (r, d):
            raise ProbeDataError(f"left [d, r] and right [r, d] do not fit: {self.left.shape} and {self.right.shape}")
        if not all(np.isfinite(part).all() for part in (self.left, self.right, self.mean)):
            raise ProbeDataError("an eraser must be finite")

    @property
    def matrix(self) -> Floats:
        """A of `A x + bias`, [d, d]."""
        return np.eye(len(self.mean)) - self.left @ self.right

    @property
    def bias(self) -> Floats:
        """[d]."""
        bias: Floats = self.left @ (self.right @ self.mean)
        return bias

    def erase(self, X: ArrayLike) -> Floats:
        """Rows X [n, d] without what the labels could be read from, [n, d]."""
        rows = np.asarray(X, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != len(self.mean):
            raise ProbeDataError(f"this eraser takes rows of {len(self.mean)} numbers; found shape {rows.shape}")
        erased: Floats = rows - ((rows - self.mean) @ self.right.T) @ self.left.T
        return erased


def leace(moments: Moments, labels: Sequence[int] | int | None = None) -> Eraser:
    """Least-squares concept erasure (Belrose et al. 2023, arXiv 2306.03819, theorem 4.3).

    On the rows of the moments, the erased rows have no covariance with any class of the labels, so that no linear
    probe with a convex loss reads them better than a constant; among all affine maps with that property this one
    moves rows least, in the mean square. Rows that it has not seen keep what their sample differs in.

    Args:
        moments: of rows that all have the labels.
        labels: which are erased together; None for all of them and all dense targets.

    Raises:
        ProbeDataError: rows without a class, no rows, or nothing to erase.
    """
    wanted = range(len(moments.n_classes)) if labels is None else np.atleast_1d(labels)
    rows = [moments.rows_of(int(label)) for label in wanted]
    about = [moments.sums[own.start + 1 : own.stop] for own in rows]  # class 0 is what the others leave
    if labels is None:
        about.append(moments.cross)
    if not moments.n or not sum(map(len, about)):
        raise ProbeDataError("nothing to erase: no rows, no labels and no dense targets")
    return _eraser(moments, np.concatenate(about) / moments.n)


def _eraser(moments: Moments, cross: Floats) -> Eraser:
    """From the covariance of targets with features, [targets, d].

    Features are first divided by their deviations: the map does not depend on it, its precision does. Directions
    whose variance is rounding are whitened as if they had that much, so that their covariance goes, too.
    """
    deviation = np.sqrt(np.diag(moments.scatter) / moments.n)
    deviation[deviation <= CONSTANT * np.abs(moments.mean)] = 0
    scale = np.divide(1, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    values, vectors = eigh(moments.scatter / moments.n * np.multiply.outer(scale, scale), check_finite=False)
    root = np.sqrt(np.maximum(values, moments.d * moments.rounding))
    whitened = (vectors / root) @ (vectors.T @ (cross * scale).T)
    found, strength, _ = svd(whitened, full_matrices=False, check_finite=False)
    least = max(moments.d * moments.rounding, LEAST_STRENGTH) * strength.max(initial=0)
    kept = found[:, strength > least]
    left = (vectors * root) @ (vectors.T @ kept) * deviation[:, None]
    right = (kept.T @ vectors / root) @ vectors.T * scale
    return Eraser(left, right, moments.mean)
