"""What every estimator of a linear probe shares: how rows and labels are read, and how scores become answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from probes.errors import ProbeDataError
from probes.linear_map import Linear
from probes.moments import Moments, MomentsBuilder, Precision

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

DTYPES = [np.float64, np.float32]
"""What rows are read as; float32 rows are multiplied in float32, all else in float64."""


class LinearProbe(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """Abstract: how any linear probe reads; subclasses say how it is fitted."""

    classes_: NDArray[Any]
    coef_: Floats
    intercept_: Floats
    n_features_in_: int

    def coded(self, X: ArrayLike, y: ArrayLike) -> tuple[Any, Ints]:
        """Rows, and the place of each label among `classes_`, which are kept."""
        rows, labels = validate_data(self, X, y, dtype=DTYPES, ensure_min_samples=2)
        check_classification_targets(labels)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ProbeDataError(
                f"the labels hold one class (classes=1, {self.classes_[0]!r} in all {len(codes)} rows); "
                "a probe needs at least two."
            )
        return rows, codes

    def moments(self, X: ArrayLike, y: ArrayLike) -> Moments:
        """Of the rows and their labels."""
        rows, codes = self.coded(X, y)
        return moments_of(rows, codes[None, :], [len(self.classes_)])

    def keep(self, found: Linear) -> Self:
        """Take over what was found."""
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


class LogOddsProbe(LinearProbe):
    """Abstract: a linear probe whose scores are log probabilities up to a constant."""

    def predict_log_proba(self, X: ArrayLike) -> Floats:
        """Log probabilities, nats, [n, K]."""
        log_proba: Floats = log_softmax(self._scores(X), axis=1)
        return log_proba

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Probabilities, [n, K]."""
        return np.exp(self.predict_log_proba(X))


def moments_of(rows: Any, codes: Any, n_classes: Sequence[int], targets: Any = None) -> Moments:
    """Moments of rows in memory, in the precision of the rows."""
    precision: Precision = "float32" if rows.dtype == np.float32 else "float64"
    builder = MomentsBuilder(
        rows.shape[1], n_classes, None if targets is None else targets.shape[1], precision=precision
    )
    builder.add(rows, codes, targets)
    return builder.freeze()
