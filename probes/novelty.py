"""Does a thought lie where the probe has seen thoughts?"""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.covariance import ledoit_wolf
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from probes.errors import ProbeDataError

Floats = NDArray[np.float64]


class SubspaceNovelty(BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """Mahalanobis distance to the nearest class mean, inside the span of the class means.

    Only that span is looked at because it is what a probe reads: a direction along which the
    classes do not differ moves no reading.

    Attributes:
        classes_: the K labels, sorted.
        mean_: mean of the class means, [d].
        basis_: orthonormal rows that span the class means, [r, d], r <= K - 1.
        class_means_: class means in that span, [K, r].
        whitener_: maps the span to unit within-class covariance (Ledoit-Wolf), [r, r].
        n_features_in_: d.
    """

    classes_: NDArray[Any]
    mean_: Floats
    basis_: Floats
    class_means_: Floats
    whitener_: Floats

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn from thoughts [n, d] and labels [n].

        Raises:
            ProbeDataError: one class only, no class with two rows, or class means that coincide.
            ValueError: scikit-learn's own checks (not finite, wrong shape).
        """
        rows, labels = validate_data(self, X, y, dtype=np.float64, ensure_min_samples=2)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The number of unique classes")  # few rows of many values
            check_classification_targets(labels)
        self.classes_, target = np.unique(labels, return_inverse=True)
        counts = np.bincount(target)
        if len(counts) < 2:
            raise ProbeDataError("the labels hold one class (classes=1); novelty between classes needs two")
        if len(target) == len(counts):
            raise ProbeDataError(
                f"each of the {len(counts)} classes has a single row: nothing tells how far one spreads. "
                "Give more rows."
            )
        sums = np.zeros((len(counts), rows.shape[1]))
        np.add.at(sums, target, rows)
        means = sums / counts[:, None]
        self.mean_ = means.mean(axis=0)
        self.basis_ = _span(means - self.mean_)
        self.class_means_ = (means - self.mean_) @ self.basis_.T
        residuals = (rows - means[target]) @ self.basis_.T
        self.whitener_ = _whitener(residuals, self.class_means_, n_free=len(target) - len(counts))
        return self

    def score_samples(self, X: ArrayLike) -> Floats:
        """Distance of each row to the nearest class mean, in within-class deviations, [n]."""
        check_is_fitted(self)
        rows: Floats = validate_data(self, X, dtype=np.float64, reset=False)
        return nearest_class_distance(rows, self.mean_, self.basis_, self.class_means_, self.whitener_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


def nearest_class_distance(X: Floats, mean: Floats, basis: Floats, class_means: Floats, whitener: Floats) -> Floats:
    """Least Mahalanobis distance, inside `basis` [r, d], of each row of X [n, d] to a class mean [K, r]."""
    return np.asarray(class_distances(X, mean, basis, class_means, whitener).min(axis=1))


def class_distances(X: Floats, mean: Floats, basis: Floats, class_means: Floats, whitener: Floats) -> Floats:
    """Mahalanobis distance, inside `basis` [r, d], of each row of X [n, d] to every class mean [K, r]: [n, K]."""
    rows = (X - mean) @ basis.T @ whitener
    centres = class_means @ whitener
    squared = np.empty((len(rows), len(centres)))
    for k, centre in enumerate(centres):
        squared[:, k] = np.square(rows - centre).sum(axis=1)
    return np.sqrt(squared)


def _span(offsets: Floats) -> Floats:
    _, s, vt = np.linalg.svd(offsets, full_matrices=False)
    kept = s > s[0] * 1e-9
    if not s[0] > 0 or not kept.any():
        raise ProbeDataError("the class means coincide: the thoughts do not differ between values")
    basis: Floats = vt[kept]
    return basis


def _whitener(residuals: Floats, class_means: Floats, *, n_free: int) -> Floats:
    covariance, _ = ledoit_wolf(residuals, assume_centered=True)
    covariance = np.atleast_2d(covariance) * (len(residuals) / n_free)
    # Classes without any spread are given a thousandth of the spread between classes: distances stay finite.
    floor = 1e-6 * np.square(class_means).mean()
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors / np.sqrt(np.maximum(values, floor)))
