"""How strong a penalty, how sharp a reading: chosen for many labels at once on groups that are held out in turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

if TYPE_CHECKING:
    from probes.logistic_rows import Precision

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Learned:
    """One logistic fit, on raw rows."""

    classes: Ints
    """Codes present among its rows, sorted: what the rows of `coef` stand for."""
    coef: Floats
    intercept: Floats
    C: float
    n_iter: int
    converged: bool
    objective: float
    """Mean log loss and penalty, nats."""
    gradient: float
    """Largest slope left."""

    def logits(self, X: NDArray[Any]) -> Floats:
        """[n, K] of rows [n, d]."""
        return np.asarray(X @ self.coef.T.astype(X.dtype) + self.intercept.astype(X.dtype), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class ScaledRows:
    """Rows divided by one number, so that a penalty means the same at every site.

    Not each feature by its own deviation: that would blow up directions that hardly vary among the fit rows, and a
    trigger that moves audited thoughts along such a direction would then be read as another value.
    """

    rows: NDArray[Any]
    scale: float
    precision: Precision
    tol: float
    max_iter: int
    device: str = "cpu"

    @classmethod
    def of(cls, X: NDArray[Any], *, precision: Precision, tol: float, max_iter: int, device: str = "cpu") -> Self:
        """Rows [n, d] over the root mean square of what is left after centring."""
        centred = X - X.mean(axis=0, dtype=np.float64).astype(X.dtype)
        largest = float(np.abs(centred).max())
        spread = largest * float(np.sqrt(np.mean(np.square(centred / largest), dtype=np.float64))) if largest else 0.0
        scale = spread or 1.0
        dtype = np.float64 if precision == "float64" else np.float32
        return cls(np.asarray(X / X.dtype.type(scale), dtype=dtype), scale, precision, tol, max_iter, device)

    def fit(self, targets: Ints, Cs: Floats) -> list[Learned]:
        """One fit for each row of targets [P, n] (-1: not used) and each strength [P]."""
        from probes.batched import fit_logistic  # torch takes its time: only who fits waits for it

        if not len(targets):
            return []
        fits = fit_logistic(
            self.rows, targets, C=Cs, tol=self.tol, max_iter=self.max_iter, precision=self.precision,
            device=self.device,
        )  # fmt: skip
        return [
            Learned(
                fits.classes[p], fits.coef[p] / self.scale, fits.intercept[p], float(Cs[p]), int(fits.n_iter[p]),
                bool(fits.converged[p]), float(fits.objective[p]), float(fits.gradient[p]),
            )
            for p in range(len(targets))
        ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Chosen:
    """The strength of one label's probe, and how much its logits are sharpened."""

    C_of: Callable[[int], float]
    """From the number of rows to the strength."""
    place: int
    """Among the strengths that were tried."""
    sharpness: float
    log_loss: Floats
    """Held-out log loss of each strength, nats per row; NaN where no fold could tell."""


def choose_strengths(scaled: ScaledRows, targets: Ints, folds: Ints, Cs: Callable[[int], Floats]) -> list[Chosen]:
    """Choose for each row of targets [L, n]; folds [L, n] hold the part in which each row is left out.

    Args:
        scaled: the fit rows.
        targets: class codes, -1 where a row has no label.
        folds: numbers from 0.
        Cs: strengths to choose from, rising, for a fit of so many rows.
    """
    n_strengths = len(Cs(1))
    jobs: list[tuple[int, int]] = []
    rows, strengths = [], []
    for label, (target, fold) in enumerate(zip(targets, folds, strict=True)):
        for part in np.unique(fold[target >= 0]):
            kept = np.where(fold == part, -1, target)
            held = (fold == part) & (target >= 0) & np.isin(target, kept[kept >= 0])
            if len(np.unique(kept[kept >= 0])) < 2 or not held.any():
                continue
            jobs.append((label, int(part)))
            rows.append(kept)
            strengths.append(Cs(int((kept >= 0).sum())))
    learned = scaled.fit(
        np.repeat(np.array(rows, dtype=np.intp).reshape(len(jobs), len(scaled.rows)), n_strengths, axis=0),
        np.concatenate(strengths) if strengths else np.empty(0),
    )
    scored = [[HeldOut([], []) for _ in range(n_strengths)] for _ in targets]
    raw = scaled.rows * scaled.rows.dtype.type(scaled.scale)
    for job, (label, part) in enumerate(jobs):
        target, fold = targets[label], folds[label]
        for place in range(n_strengths):
            fit = learned[job * n_strengths + place]
            held = (fold == part) & (target >= 0) & np.isin(target, fit.classes)
            scored[label][place].logits.append(fit.logits(raw[held]))
            scored[label][place].columns.append(np.searchsorted(fit.classes, target[held]))
    return [_chosen(one, Cs) for one in scored]


def _chosen(scored: list[HeldOut], Cs: Callable[[int], Floats]) -> Chosen:
    log_loss = np.array([one.log_loss() for one in scored])
    place, sharpness = _choose(scored, log_loss)
    return Chosen(lambda n: float(Cs(n)[place]), place, sharpness, log_loss)


@dataclass(frozen=True)
class HeldOut:
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


def _choose(scored: list[HeldOut], log_loss: Floats) -> tuple[int, float]:
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
