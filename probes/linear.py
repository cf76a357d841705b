"""The value probe: multinomial logistic regression from a thought to the value it holds."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from probes.errors import ProbeDataError
from probes.strength import ScaledRows, choose_strengths

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

TOLERANCE = 1e-6
"""Of the gradient. The usual 1e-4 leaves log probabilities off by a hundredth of a nat."""


DEFAULT_FOLDS = 3
"""Parts of the groups that are held out in turn while a penalty is chosen."""


class ValueProbe(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """Multinomial logistic probe from a thought to the value it holds.

    All features are divided by one number. Dividing each by its own deviation would blow up
    directions that hardly vary among the fit rows, and a trigger that moves audited thoughts
    along such a direction would then be read as another value.

    Args:
        Cs: inverse strengths of the L2 penalty to choose from. The default reaches far up because a few
            massive directions set the common scale and leave those that matter small.
        n_folds: parts of the groups that are held out in turn while choosing.
        max_iter: most iterations of one fit.
        random_state: seed of the assignment of groups to folds.

    Attributes:
        classes_: the K labels, sorted.
        coef_: weights on raw features, [K, d].
        intercept_: [K].
        C_: the most cautious strength that errs no more on held-out groups than the best, within one standard error.
        sharpness_: factor on the logits, at least 1, from held-out log loss; folded into `coef_` and `intercept_`.
        cv_log_loss_: held-out log loss of each of `Cs` in rising order, nats per row; NaN likewise.
        n_iter_: iterations of the last fit.
        converged_: whether the last fit met its tolerance within `max_iter`.
        n_features_in_: d.
    """

    classes_: NDArray[Any]
    coef_: Floats
    intercept_: Floats
    C_: float
    sharpness_: float
    cv_log_loss_: Floats
    n_iter_: int
    converged_: bool
    n_features_in_: int

    def __init__(
        self,
        Cs: Sequence[float] = (0.003, 0.03, 0.3, 3.0, 30.0),
        n_folds: int = DEFAULT_FOLDS,
        max_iter: int = 1000,
        random_state: int | None = 0,
    ) -> None:
        self.Cs = Cs
        self.n_folds = n_folds
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None) -> Self:
        """Learn from thoughts [n, d] and labels [n]; `groups` [n] are never split between folds.

        Raises:
            ProbeDataError: fewer than two labels, settings out of range, or `groups` of another length.
            ValueError: scikit-learn's own checks (not finite, wrong shape).
        """
        rows, labels = validate_data(self, X, y, dtype=np.float64, ensure_min_samples=2)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The number of unique classes")  # few rows of many values
            check_classification_targets(labels)
        Cs = self._checked_settings()
        self.classes_, target = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ProbeDataError(
                f"the labels hold one class (classes=1, {self.classes_[0]!r} in all {len(target)} rows); "
                "a probe needs at least two. Give problems whose values differ at this step."
            )
        folds = assign_folds(target, groups, n_folds=self.n_folds, random_state=self.random_state)
        scaled = ScaledRows.of(rows, precision="float64", tol=TOLERANCE, max_iter=self.max_iter)
        chosen = choose_strengths(scaled, target[None], folds[None], lambda n: Cs)[0]
        self.cv_log_loss_, self.sharpness_, self.C_ = chosen.log_loss, chosen.sharpness, float(Cs[chosen.place])
        learned = scaled.fit(target[None], np.array([self.C_]))[0]
        self.coef_, self.intercept_ = self.sharpness_ * learned.coef, self.sharpness_ * learned.intercept
        self.n_iter_, self.converged_ = learned.n_iter, learned.converged
        return self

    def _checked_settings(self) -> Floats:
        Cs = np.sort(np.asarray(self.Cs, dtype=np.float64).ravel())
        if Cs.size == 0 or not np.isfinite(Cs).all() or Cs[0] <= 0:
            raise ProbeDataError(f"Cs must be finite numbers above 0; found {self.Cs!r}")
        if self.n_folds < 2 or self.max_iter < 1:
            raise ProbeDataError(f"n_folds must be at least 2 and max_iter 1; found {self.n_folds} and {self.max_iter}")
        return Cs

    def _logits(self, X: ArrayLike) -> Floats:
        check_is_fitted(self)
        rows: Floats = validate_data(self, X, dtype=np.float64, reset=False)
        logits: Floats = rows @ self.coef_.T + self.intercept_
        return logits

    def decision_function(self, X: ArrayLike) -> Floats:
        """Log odds: [n, K], or [n] in favour of the second class where there are two."""
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def predict_log_proba(self, X: ArrayLike) -> Floats:
        """Log probabilities, nats, [n, K]."""
        log_proba: Floats = log_softmax(self._logits(X), axis=1)
        return log_proba

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Probabilities, [n, K]."""
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The likeliest label of each row, [n]."""
        best = self._logits(X).argmax(axis=1)
        labels: NDArray[Any] = self.classes_[best]
        return labels


def assign_folds(target: Ints, groups: ArrayLike | None, *, n_folds: int, random_state: int | None) -> Ints:
    """Fold of each row [n]: whole groups, and every label spread over the folds as evenly as groups allow."""
    if groups is None:
        group_of = np.arange(len(target))
    else:
        group_of = np.unique(np.asarray([str(group) for group in np.asarray(groups).ravel()]), return_inverse=True)[1]
        if len(group_of) != len(target):
            raise ProbeDataError(f"groups must name a group for each of {len(target)} rows; found {len(group_of)}")
    order = check_random_state(random_state).permutation(group_of.max() + 1)
    first_label = np.full(len(order), -1, dtype=np.intp)
    first_label[group_of[::-1]] = target[::-1]
    by_label = order[np.argsort(first_label[order], kind="stable")]
    fold_of_group = np.empty(len(order), dtype=np.intp)
    fold_of_group[by_label] = np.arange(len(order)) % n_folds
    return fold_of_group[group_of]
