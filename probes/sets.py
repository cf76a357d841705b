"""Several values in one vector: a logistic probe for each value that may be a member of the set it holds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from probes.controls import ShuffledControl, shuffles_of
from probes.errors import ProbeDataError
from probes.frozen import FrozenProbe
from probes.linear import DEFAULT_FOLDS, TOLERANCE, assign_folds
from probes.strength import ScaledRows, choose_strengths

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Sets = Sequence[Collection[str]]

STRENGTHS = (0.003, 0.03, 0.3, 3.0, 30.0)


def members(sets: Sets, values: Sequence[str]) -> Bools:
    """Which of the values each set holds, [n, V]; a value that is not among `values` is left out."""
    place = {value: k for k, value in enumerate(values)}
    held = np.zeros((len(sets), len(values)), dtype=bool)
    for row, one in enumerate(sets):
        held[row, [place[value] for value in one if value in place]] = True
    return held


class SetProbe(BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """Reads the set of values that a thought holds: an L2 logistic probe for each value, all over the same rows.

    Penalty and sharpness of each are chosen on held-out groups, as `ValueProbe` does.

    Args:
        Cs: inverse strengths of the L2 penalty to choose from.
        n_folds: parts of the groups that are held out in turn while choosing.
        max_iter: most iterations of one fit.
        random_state: seed of the assignment of groups to folds.

    Attributes:
        values_: the V values that occur, sorted.
        coef_: weights on raw features, [V, d]; `x @ coef_.T + intercept_` are log odds of membership, nats.
        intercept_: [V].
        C_: chosen strength of each value, [V]; NaN where a value is in every set and nothing is learned.
        converged_: whether all fits met their tolerance.
    """

    values_: tuple[str, ...]
    coef_: Floats
    intercept_: Floats
    C_: Floats
    converged_: bool

    def __init__(
        self,
        Cs: Sequence[float] = STRENGTHS,
        n_folds: int = DEFAULT_FOLDS,
        max_iter: int = 1000,
        random_state: int | None = 0,
    ) -> None:
        self.Cs = Cs
        self.n_folds = n_folds
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Sets, groups: ArrayLike | None = None) -> Self:
        """Learn from thoughts [n, d] and the sets they hold; `groups` [n] are never split between folds.

        Raises:
            ProbeDataError: shapes that do not fit, rows that are not finite, or fewer than two values, or none that
                some sets hold and others do not.
        """
        rows = checked_rows(X, len(y))
        self.values_ = tuple(sorted({value for one in y for value in one}))
        held = members(y, self.values_)
        varies = held.any(axis=0) & ~held.all(axis=0)
        if len(self.values_) < 2 or not varies.any():
            raise ProbeDataError(
                f"the sets hold {len(self.values_)} different values, {int(varies.sum())} of which vary; "
                "a probe needs sets that differ. Give problems whose sets differ at this step."
            )
        targets = held.T[varies].astype(np.intp)
        folds = np.stack([
            assign_folds(target, groups, n_folds=self.n_folds, random_state=self.random_state) for target in targets
        ])  # fmt: skip
        Cs = np.sort(np.asarray(self.Cs, dtype=np.float64))
        scaled = ScaledRows.of(rows, precision="float64", tol=TOLERANCE, max_iter=self.max_iter)
        chosen = choose_strengths(scaled, targets, folds, lambda n: Cs)
        learned = scaled.fit(targets, np.array([one.C_of(len(rows)) for one in chosen]))
        n_values = len(self.values_)
        self.coef_ = np.zeros((n_values, rows.shape[1]))
        self.intercept_ = np.full(n_values, np.log(2 * len(rows) + 1))  # in every set: the odds that n of n speak for
        self.C_ = np.full(n_values, np.nan)
        for place, choice, fit in zip(np.flatnonzero(varies), chosen, learned, strict=True):
            self.coef_[place] = choice.sharpness * (fit.coef[1] - fit.coef[0])
            self.intercept_[place] = choice.sharpness * (fit.intercept[1] - fit.intercept[0])
            self.C_[place] = fit.C
        self.converged_ = all(fit.converged for fit in learned)
        return self

    def log_odds(self, X: ArrayLike) -> Floats:
        """Log odds that each value is a member, nats, [n, V]."""
        check_is_fitted(self)
        rows = checked_rows(X, None)
        odds: Floats = rows @ self.coef_.T + self.intercept_
        return odds

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Probability that each value is a member, [n, V]."""
        return np.asarray(expit(self.log_odds(X)))

    def predict(self, X: ArrayLike) -> list[tuple[str, ...]]:
        """The values that are members more likely than not, sorted, for each row."""
        return [tuple(v for v, odds in zip(self.values_, row, strict=True) if odds > 0) for row in self.log_odds(X)]


def freeze_sets(probe: SetProbe, metadata: dict[str, Any] | None = None) -> FrozenProbe:
    """The fitted probe as a record that cannot change: one row of `coef` for each value."""
    check_is_fitted(probe)
    return FrozenProbe("binary-logistic", probe.values_, probe.coef_, probe.intercept_, metadata or {})


def shuffled_sets(
    X_fit: ArrayLike,
    y_fit: Sets,
    X_test: ArrayLike,
    y_test: Sets,
    *,
    groups_fit: ArrayLike | None = None,
    groups_test: ArrayLike | None = None,
    n_shuffles: int = 100,
    seed: int = 0,
) -> ShuffledControl:
    """Share of sets that ridge reads whole, beside the same on sets that were dealt out anew; one factorisation.

    Fit and test sets are permuted, each among themselves, with groups kept together, see `shuffled_labels`.

    Raises:
        ProbeDataError: shapes that do not fit, sets that are all equal, or nothing to permute.
    """
    from probes.shuffles import SharedRidge  # torch takes its time: only who fits waits for it

    rows, queries = checked_rows(X_fit, len(y_fit)), checked_rows(X_test, len(y_test))
    distinct = sorted({tuple(sorted(one)) for one in (*y_fit, *y_test)})
    code = {one: k for k, one in enumerate(distinct)}
    fit_codes, test_codes = (np.array([code[tuple(sorted(one))] for one in part]) for part in (y_fit, y_test))
    if len(set(fit_codes.tolist())) < 2:
        raise ProbeDataError("the fit sets are all equal; a shuffle would change nothing")
    targets, truths = shuffles_of(fit_codes, test_codes, groups_fit, groups_test, n_shuffles, seed)
    table = members(distinct, sorted({value for one in distinct for value in one}))
    read = SharedRidge.of(rows, queries).whole_sets_read(targets, truths, table)
    p_value = (1 + int((read[1:] >= read[0]).sum())) / (1 + n_shuffles)
    return ShuffledControl(float(read[0]), read[1:], p_value, float(read[1:].mean()))


def checked_rows(X: ArrayLike, n: int | None) -> Floats:
    """Finite float64 rows, `n` of them where that is given."""
    rows = np.asarray(X, dtype=np.float64)
    if rows.ndim != 2 or not len(rows) or (n is not None and len(rows) != n):
        raise ProbeDataError(f"vectors must be [{'n' if n is None else n}, d]; found shape {rows.shape}")
    if not np.isfinite(rows).all():
        raise ProbeDataError(f"row {int((~np.isfinite(rows)).any(1).argmax())} holds values that are not finite")
    return rows
