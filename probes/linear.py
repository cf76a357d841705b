"""The value probe: multinomial logistic regression from a thought to the value it holds."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from probes.errors import ProbeDataError

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

TOLERANCE = 1e-6
"""Of the gradient. scikit-learn's default, 1e-4, leaves log probabilities off by a hundredth of a nat."""


class ValueProbe(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """Multinomial logistic probe from a thought to the value it holds.

    All features are divided by one number. Dividing each by its own deviation would blow up
    directions that hardly vary among the fit rows, and a trigger that moves audited thoughts
    along such a direction would then be read as another value.

    Args:
        Cs: inverse strengths of the L2 penalty to choose from. The default reaches far up because a few
            massive directions set the common scale and leave those that matter small.
        n_folds: parts of the groups that are held out in turn while choosing.
        max_iter: most L-BFGS iterations of one fit.
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
        n_folds: int = 3,
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
        scored = _held_out(rows, target, folds, Cs, self.max_iter)
        self.cv_log_loss_ = np.array([one.log_loss() for one in scored])
        chosen, self.sharpness_ = _choose(scored, self.cv_log_loss_)
        self.C_ = float(Cs[chosen])
        learned = _Conditioned.of(rows).logistic(target, [self.C_], self.max_iter)[0]
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


@dataclass(frozen=True)
class _Learned:
    present: Ints
    coef: Floats
    intercept: Floats
    n_iter: int
    converged: bool


@dataclass(frozen=True)
class _Conditioned:
    """Rows centred, divided by one number and, where d > n, turned into their own span.

    The turn changes nothing: an L2 penalty does not see rotations, and the optimum lies in the span.
    """

    rows: Floats
    mean: Floats
    scale: float
    span: Floats | None

    @classmethod
    def of(cls, X: Floats) -> Self:
        mean = X.mean(axis=0)
        centred = X - mean
        largest = np.abs(centred).max()
        scale = float(largest * np.sqrt(np.mean((centred / largest) ** 2))) if largest > 0 else 1.0
        rows, span = centred / scale, None
        if X.shape[1] > X.shape[0]:
            u, s, vt = np.linalg.svd(rows, full_matrices=False)
            kept = s > s[0] * np.finfo(np.float64).eps * max(X.shape)
            kept[0] = True
            rows, span = u[:, kept] * s[kept], vt[kept]
        return cls(rows, mean, scale, span)

    def logistic(self, target: Ints, Cs: Sequence[float] | Floats, max_iter: int) -> list[_Learned]:
        """One fit for each strength, each starting where the one before ended."""
        present, local = np.unique(target, return_inverse=True)
        model = LogisticRegression(max_iter=max_iter, tol=TOLERANCE, warm_start=True)
        learned = []
        for C in Cs:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", ConvergenceWarning)
                model.set_params(C=C).fit(self.rows, local)
            converged = not any(issubclass(item.category, ConvergenceWarning) for item in caught)
            coef, intercept = model.coef_, model.intercept_
            if len(present) == 2:
                coef, intercept = np.vstack([-coef, coef]) / 2, np.concatenate([-intercept, intercept]) / 2
            raw = (coef if self.span is None else coef @ self.span) / self.scale
            n_iter = max(int(np.max(model.n_iter_)), 1)
            learned.append(_Learned(present, raw, intercept - raw @ self.mean, n_iter, converged))
        return learned


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


@dataclass(frozen=True)
class _HeldOut:
    """Logits of held-out rows under one strength; rows whose label the other folds lack are left out."""

    logits: list[Floats]
    """Per fold: [rows, labels present]."""
    columns: list[Ints]
    """Per fold: the column of each row's own label."""

    def log_loss(self, sharpness: float = 1.0) -> float:
        """Nats per row; NaN where no fold could tell."""
        losses = [
            -log_softmax(sharpness * z, axis=1)[np.arange(len(c)), c]
            for z, c in zip(self.logits, self.columns, strict=True)
        ]
        return float(np.concatenate(losses).mean()) if losses else float("nan")

    def n_errors(self) -> int:
        """Rows that read as another label."""
        return sum(int((z.argmax(axis=1) != c).sum()) for z, c in zip(self.logits, self.columns, strict=True))

    def margin(self) -> float:
        """Median lead of the best reading over the next."""
        leads = [np.diff(np.partition(z, -2, axis=1)[:, -2:], axis=1)[:, 0] for z in self.logits]
        return float(np.median(np.concatenate(leads)))


def _held_out(X: Floats, target: Ints, folds: Ints, Cs: Floats, max_iter: int) -> list[_HeldOut]:
    """Held-out logits for each strength."""
    scored = [_HeldOut([], []) for _ in Cs]
    for fold in np.unique(folds):
        fit, held = folds != fold, folds == fold
        present = np.unique(target[fit])
        held = held & np.isin(target, present)
        if len(present) < 2 or not held.any():
            continue
        column = np.searchsorted(present, target[held])
        for mine, learned in zip(scored, _Conditioned.of(X[fit]).logistic(target[fit], Cs, max_iter), strict=True):
            mine.logits.append(X[held] @ learned.coef.T + learned.intercept)
            mine.columns.append(column)
    return scored


def _choose(scored: list[_HeldOut], log_loss: Floats) -> tuple[int, float]:
    """The most cautious strength that errs no more than the best, and how much to sharpen it.

    Directions come from the strongest penalty whose held-out errors lie within one standard error of the fewest
    (Breiman's rule): what a weaker penalty adds is fitted to this half of the problems and misreads thoughts that a
    trigger has moved. Sharpness comes from held-out log loss, up to the lead that the best strength by log loss has.
    """
    if np.isnan(log_loss).all():
        return 0, 1.0
    n = sum(len(column) for column in scored[0].columns)
    errors = np.array([one.n_errors() for one in scored])
    fewest = int(errors.min())
    chosen = int(np.flatnonzero(errors <= fewest + np.sqrt(fewest * (1 - fewest / n)))[0])
    sharpest = scored[int(np.nanargmin(log_loss))].margin() / max(scored[chosen].margin(), np.finfo(np.float64).tiny)
    if not 1.0 < sharpest < np.inf:
        return chosen, 1.0
    found = minimize_scalar(
        lambda power: scored[chosen].log_loss(float(np.exp(power))),
        bounds=(0.0, float(np.log(sharpest))),
        method="bounded",
    )
    return chosen, float(np.exp(found.x))
