"""The engine as scikit-learn estimators: for pipelines, searches and everyone who has rows and labels in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from probes.closed_form import SHRINKAGE, lda, mean_difference, ridge_path
from probes.errors import ProbeDataError
from probes.leace import Eraser, leace
from probes.linear_map import Linear
from probes.moments import Moments, MomentsBuilder, Precision

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

DTYPES = [np.float64, np.float32]
"""What rows are read as; float32 rows are multiplied in float32, all else in float64."""


class _LinearProbe(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """Abstract: how any linear probe reads; subclasses say how it is fitted."""

    classes_: NDArray[Any]
    coef_: Floats
    intercept_: Floats
    n_features_in_: int

    def _moments(self, X: ArrayLike, y: ArrayLike) -> Moments:
        rows, labels = validate_data(self, X, y, dtype=DTYPES, ensure_min_samples=2)
        check_classification_targets(labels)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ProbeDataError(
                f"the labels hold one class (classes=1, {self.classes_[0]!r} in all {len(codes)} rows); "
                "a probe needs at least two."
            )
        return moments_of(rows, codes[None, :], [len(self.classes_)])

    def _keep(self, found: Linear) -> Self:
        self.coef_, self.intercept_ = found.coef, found.intercept
        return self

    def _scores(self, X: ArrayLike) -> Floats:
        check_is_fitted(self)
        rows: Floats = validate_data(self, X, dtype=np.float64, reset=False)
        scores: Floats = rows @ self.coef_.T + self.intercept_
        return scores

    def decision_function(self, X: ArrayLike) -> Floats:
        """Scores [n, K], or [n] in favour of the second class where there are two."""
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The label of the highest score of each row, [n]."""
        best = self._scores(X).argmax(axis=1)
        labels: NDArray[Any] = self.classes_[best]
        return labels


class _LogOddsProbe(_LinearProbe):
    """Abstract: a linear probe whose scores are log probabilities up to a constant."""

    def predict_log_proba(self, X: ArrayLike) -> Floats:
        """Log probabilities, nats, [n, K]."""
        log_proba: Floats = log_softmax(self._scores(X), axis=1)
        return log_proba

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Probabilities, [n, K]."""
        return np.exp(self.predict_log_proba(X))


class LDAProbe(_LogOddsProbe):
    """Linear discriminant analysis in one pass over the rows.

    Args:
        shrinkage: share of the covariance that is replaced by its mean variance in every direction, 0 to 1.

    Attributes:
        classes_: the K labels, sorted.
        coef_: [K, d].
        intercept_: [K].
        n_features_in_: d.
    """

    def __init__(self, shrinkage: float = SHRINKAGE) -> None:
        self.shrinkage = shrinkage

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn from thoughts [n, d] and labels [n].

        Raises:
            ProbeDataError: fewer than two labels, or a shrinkage out of range.
            ValueError: scikit-learn's own checks (not finite, wrong shape).
        """
        return self._keep(lda(self._moments(X, y), 0, shrinkage=self.shrinkage))


class RidgeProbe(_LinearProbe):
    """Ridge regression on +1 and -1 for each class, penalty by generalised cross-validation.

    Args:
        penalties: as scikit-learn's `alpha`; above 0.

    Attributes:
        classes_: the K labels, sorted.
        coef_: [K, d].
        intercept_: [K].
        penalty_: the one with the least error.
        gcv_: estimated squared error of a new row summed over classes (one target where there are two), for each
            penalty in rising order.
        n_features_in_: d.
    """

    penalty_: float
    gcv_: Floats

    def __init__(self, penalties: Sequence[float] = (0.1, 1.0, 10.0, 100.0, 1000.0, 10_000.0)) -> None:
        self.penalties = penalties

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn from thoughts [n, d] and labels [n].

        Raises:
            ProbeDataError: fewer than two labels, or penalties out of range.
            ValueError: scikit-learn's own checks (not finite, wrong shape).
        """
        path = ridge_path(self._moments(X, y), 0, self.penalties)
        self.penalty_, self.gcv_ = float(path.chosen[0]), path.gcv.sum(axis=1)
        return self._keep(path.linear(0))


class MeanDifferenceProbe(_LinearProbe):
    """Reads the class whose mean is nearest; two classes: their difference of means, threshold midway.

    Attributes:
        classes_: the K labels, sorted.
        coef_: class means less the mean of all rows, [K, d].
        intercept_: [K].
        n_features_in_: d.
    """

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn from thoughts [n, d] and labels [n].

        Raises:
            ProbeDataError: fewer than two labels.
            ValueError: scikit-learn's own checks (not finite, wrong shape).
        """
        return self._keep(mean_difference(self._moments(X, y), 0))


class LeaceTransformer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Takes out of thoughts what a linear probe could read labels from, and moves them least; see `leace`.

    Attributes:
        eraser_: the map.
        n_features_in_: d.
    """

    eraser_: Eraser
    n_features_in_: int

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn from thoughts [n, d] and labels or numbers y [n] or [n, L], whose columns are erased together.

        Raises:
            ValueError: scikit-learn's own checks (not finite, wrong shape).
        """
        rows, labels = validate_data(self, X, y, dtype=DTYPES, multi_output=True)
        columns = labels.reshape(len(rows), -1)
        if type_of_target(labels).startswith("continuous"):
            moments = moments_of(rows, None, [], columns)
        else:
            codes = np.stack([np.unique(column, return_inverse=True)[1] for column in columns.T])
            moments = moments_of(rows, codes, [max(2, int(own.max()) + 1) for own in codes])
        self.eraser_ = leace(moments)
        return self

    def transform(self, X: ArrayLike) -> Floats:
        """Thoughts [n, d] with the labels taken out, [n, d]."""
        check_is_fitted(self)
        return self.eraser_.erase(validate_data(self, X, dtype=np.float64, reset=False))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


def moments_of(rows: Any, codes: Any, n_classes: Sequence[int], targets: Any = None) -> Moments:
    """Moments of rows in memory, in the precision of the rows."""
    precision: Precision = "float32" if rows.dtype == np.float32 else "float64"
    builder = MomentsBuilder(
        rows.shape[1], n_classes, None if targets is None else targets.shape[1], precision=precision
    )
    builder.add(rows, codes, targets)
    return builder.freeze()
