"""The engine as scikit-learn estimators: for pipelines, searches and everyone who has rows and labels in memory."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from probes.closed_form import SHRINKAGE, lda, mean_difference, ridge_path
from probes.leace import Eraser, leace
from probes.linear_map import Linear
from probes.linear_probe import DTYPES, LinearProbe, LogOddsProbe, moments_of

Floats = NDArray[np.float64]

REACHED = {"float64": 1e-9}
"""Gradient that a logistic fit comes down to, by precision; 1e-5 where products are coarser."""


class LogisticProbe(LogOddsProbe):
    """Logistic regression with an L2 penalty, multinomial where there are more than two classes.

    Minimises what scikit-learn's `LogisticRegression` minimises.

    Args:
        C: inverse strength of the penalty.
        class_weight: weights by label, or "balanced".
        tol: bound on the gradient, see `probes.batched.LogisticFits`; None for what the precision reaches, `REACHED`.
        max_iter: most iterations.
        precision: of products.
        device: of torch.

    Attributes:
        classes_: the K labels, sorted.
        coef_: [K, d]; the rows sum to 0.
        intercept_: [K].
        converged_: whether the gradient came down to `tol`.
        n_iter_: iterations.
        objective_: mean weighted log loss plus penalty, nats.
        gradient_: largest entry left.
        n_features_in_: d.
    """

    converged_: bool
    n_iter_: int
    objective_: float
    gradient_: float

    def __init__(
        self,
        C: float = 1.0,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        tol: float | None = None,
        max_iter: int = 1000,
        precision: Literal["bf16", "float32", "float64"] = "float64",
        device: str = "cpu",
    ) -> None:
        self.C = C
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter
        self.precision = precision
        self.device = device

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Learn from thoughts [n, d], labels [n] and weights [n].

        Warns:
            ConvergenceWarning: `max_iter` was too few; see `converged_` and `gradient_`.

        Raises:
            ProbeDataError: fewer than two labels, or settings out of range.
            ValueError: scikit-learn's own checks (not finite, wrong shape).
        """
        from probes.batched import fit_logistic

        rows, codes = self.coded(X, y)
        tol = REACHED.get(self.precision, 1e-5) if self.tol is None else self.tol
        weights = _check_sample_weight(sample_weight, rows, dtype=np.float64)
        balanced = None
        if isinstance(self.class_weight, Mapping):
            weights = weights * compute_sample_weight(self.class_weight, self.classes_[codes])
        else:
            balanced = self.class_weight
        fits = fit_logistic(
            rows,
            codes[None, :],
            C=np.array([self.C], dtype=np.float64),
            sample_weight=weights,
            class_weight=balanced,
            tol=tol,
            max_iter=self.max_iter,
            precision=self.precision,
            device=self.device,
        )
        self.classes_ = self.classes_[fits.classes[0]]  # rows of weight 0 are not used
        self.converged_, self.n_iter_ = bool(fits.converged[0]), max(1, int(fits.n_iter[0]))
        self.objective_, self.gradient_ = float(fits.objective[0]), float(fits.gradient[0])
        if not self.converged_:
            warnings.warn(
                f"the gradient is {self.gradient_:.1e} after {self.n_iter_} iterations, above tol={tol}; "
                "raise max_iter, or lower C",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self.keep(Linear(fits.coef[0], fits.intercept[0], fits.classes[0]))


class LDAProbe(LogOddsProbe):
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
        return self.keep(lda(self.moments(X, y), 0, shrinkage=self.shrinkage))


class RidgeProbe(LinearProbe):
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
        path = ridge_path(self.moments(X, y), 0, self.penalties)
        self.penalty_, self.gcv_ = float(path.chosen[0]), path.gcv.sum(axis=1)
        return self.keep(path.linear(0))


class MeanDifferenceProbe(LinearProbe):
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
        return self.keep(mean_difference(self.moments(X, y), 0))


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
