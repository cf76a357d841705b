"""Logistic probes by the thousand: many L2 fits over the same rows, binary and multinomial, solved together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from probes.errors import ProbeDataError
from probes.logistic_curvature import cheapest_path, prepare
from probes.logistic_descent import Ends, Guide, minimise
from probes.logistic_labels import Labels, penalty_bands
from probes.logistic_rows import Precision, SharedRows, share_rows
from probes.logistic_start import null_weights, towards_discriminants

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

BLOCK_BYTES, BYTES_A_LABEL = 2**29, 8
"""Most memory that the labels and weights of one block take, and what a row's take in one fit."""


@dataclass(frozen=True, slots=True)
class LogisticFits:
    """P logistic fits over the same rows; logits are x @ coef.T + intercept."""

    coef: tuple[Floats, ...]
    """Of each fit, [K, d] on raw rows; the K rows sum to 0 (two opposite rows where there are two classes)."""
    intercept: tuple[Floats, ...]
    """Of each fit, [K]."""
    classes: tuple[Ints, ...]
    """Codes present among the rows that the fit uses, sorted: the rows of `coef`, [K]."""
    converged: NDArray[np.bool_]
    """Whether `gradient` came down to the tolerance, [P]."""
    n_iter: Ints
    """[P]."""
    objective: Floats
    """Mean weighted log loss + lam/2 |W|^2 in nats with lam = 1 / (C sum of weights), [P]; |W|^2 is that of
    scikit-learn: of the one row of differences where there are two classes."""
    gradient: Floats
    """Largest |gradient| left, [P], measured in the precision of the end (never bfloat16), features in units of
    their deviation, classes in units of 2 sqrt(p (1 - p)): what `tol` bounds."""

    def __post_init__(self) -> None:
        n_fits = len(self.coef)
        others = (self.intercept, self.classes, self.converged, self.n_iter, self.objective, self.gradient)
        if any(len(other) != n_fits for other in others):
            raise ProbeDataError(f"{n_fits} fits need as many of everything; found {[len(other) for other in others]}")
        for coef, intercept, classes in zip(self.coef, self.intercept, self.classes, strict=True):
            if coef.ndim != 2 or not len(coef) == len(classes) == len(intercept) >= 2:
                raise ProbeDataError(
                    f"coef {coef.shape}, {len(intercept)} intercepts and {len(classes)} classes differ"
                )


def fit_logistic(
    X: Any,
    targets: ArrayLike,
    *,
    C: ArrayLike,
    sample_weight: ArrayLike | None = None,
    class_weight: Literal["balanced"] | None = None,
    start: LogisticFits | None = None,
    tol: float = 1e-4,
    max_iter: int = 200,
    precision: Precision = "float32",
    device: str = "cpu",
    block: int = 1024,
) -> LogisticFits:
    """Fit P probes, each its own labels, rows, weights and penalty, over one X.

    Minimises C sum_i w_i loss_i + 1/2 |W|^2 with a free intercept, as scikit-learn's `LogisticRegression` does:
    sigmoid of one row of weights for two classes, softmax for more. Preconditioned L-BFGS; the Gram that all fits
    share is the preconditioner, made in the way that is cheapest for so many columns. Memory: a copy of X, and a few
    [n, block] arrays. Equal inputs give equal bytes on one machine with one number of threads.

    Args:
        X: [n, d], array or tensor.
        targets: class codes, [P, n]; -1 where a fit does not use the row.
        C: inverse strengths, [P] or one for all.
        sample_weight: [n] or [P, n]; rows of weight 0 are not used.
        class_weight: "balanced" gives every class of a fit the same total weight.
        start: fits of the same targets to begin from; linear discriminants where None.
        tol: bound on `LogisticFits.gradient`.
        max_iter: most iterations.
        precision: of products. "bf16" comes near in bfloat16 and ends in float32.
        device: of torch.
        block: most columns solved together; fewer where rows are so many that their labels would not fit `BLOCK_BYTES`.

    Raises:
        ProbeDataError: shapes that do not fit, fewer than two classes in a fit, values not finite, bad settings.
    """
    _check_settings(tol, max_iter, precision, block)
    with torch.no_grad():
        rows = share_rows(X, precision=precision, device=device)
        labels = Labels.of(targets, rows.n, sample_weight, class_weight)
        strengths = _checked_strengths(C, len(labels.classes))
        penalties = 1 / (strengths * labels.totals * rows.scale**2)
        ridges = penalties / np.array([(shares * (1 - shares)).max() for shares in labels.shares])
        path = cheapest_path(rows.n, rows.width, labels.columns, len(np.unique(penalty_bands(ridges))))
        rows, solver_of = prepare(rows, path)
        found = _Found(rows, labels)
        for places in labels.groups(
            max(1, min(block, BLOCK_BYTES // (BYTES_A_LABEL * rows.n))), ridges if path == "sampled" else None
        ):
            solve = solver_of(float(np.exp(np.log(ridges[places]).mean())))
            part = labels.block(rows, places, penalties)
            if start is not None:
                weights, first = _warm(start, rows, labels, places), None
            else:
                weights = null_weights(part)
                first = None if path == "plain" else partial(towards_discriminants, part, solve)
            guide = Guide(solve, first, scaled=path == "plain")
            found.add(places, minimise(part, weights, guide, tol=tol, max_iter=max_iter))
    return found.freeze()


class _Found:
    """Fits as they end, in the order of the targets."""

    def __init__(self, rows: SharedRows, labels: Labels) -> None:
        n_fits = len(labels.classes)
        self.rows, self.classes = rows, labels.classes
        self.coef: list[Floats] = [np.empty((0, 0))] * n_fits
        self.intercept: list[Floats] = [np.empty(0)] * n_fits
        self.converged, self.n_iter = np.zeros(n_fits, dtype=bool), np.zeros(n_fits, dtype=np.intp)
        self.objective, self.gradient = np.zeros(n_fits), np.zeros(n_fits)

    def add(self, places: Ints, ends: Ends) -> None:
        coef, intercept = self.rows.to_raw(ends.weights)  # [c, F, d], [c, F]
        if len(coef) == 1:
            coef, intercept = np.concatenate([-coef, coef]) / 2, np.concatenate([-intercept, intercept]) / 2
        for column, k in enumerate(places):
            self.coef[k], self.intercept[k] = coef[:, column].copy(), intercept[:, column].copy()
        self.converged[places], self.n_iter[places] = ends.converged.cpu().numpy(), ends.n_iter.cpu().numpy()
        self.objective[places], self.gradient[places] = ends.objective.cpu().numpy(), ends.gradient.cpu().numpy()

    def freeze(self) -> LogisticFits:
        return LogisticFits(
            tuple(self.coef), tuple(self.intercept), self.classes,
            self.converged, self.n_iter, self.objective, self.gradient,
        )  # fmt: skip


def _warm(start: LogisticFits, rows: SharedRows, labels: Labels, places: Ints) -> torch.Tensor:
    if len(start.classes) != len(labels.classes):
        raise ProbeDataError(f"start holds {len(start.classes)} fits for {len(labels.classes)} targets")
    for k in places:
        if not np.array_equal(start.classes[k], labels.classes[k]) or start.coef[k].shape[1] != len(rows.mean):
            raise ProbeDataError(f"start's fit {k} has other classes or features than the target")
    coef = np.stack([start.coef[k] for k in places], axis=1)  # [K, F, d]
    intercept = np.stack([start.intercept[k] for k in places], axis=1)
    if len(coef) == 2:
        return rows.from_raw(coef[1:] - coef[:1], intercept[1:] - intercept[:1])
    return rows.from_raw(coef - coef.mean(0), intercept - intercept.mean(0))


def _check_settings(tol: float, max_iter: int, precision: str, block: int) -> None:
    if not (np.isfinite(tol) and tol > 0) or max_iter < 0 or block < 1:
        raise ProbeDataError(
            f"tol must be above 0, max_iter and block at least 0 and 1; found {tol}, {max_iter}, {block}"
        )
    if precision not in ("bf16", "float32", "float64"):
        raise ProbeDataError(f"precision must be bf16, float32 or float64; found {precision!r}")


def _checked_strengths(C: ArrayLike, n_fits: int) -> Floats:
    strengths = np.asarray(C, dtype=np.float64)
    if strengths.shape not in ((), (n_fits,)) or not np.isfinite(strengths).all() or not (strengths > 0).all():
        raise ProbeDataError(f"C must be finite numbers above 0, one or [{n_fits}]; found shape {strengths.shape}")
    return np.broadcast_to(strengths, (n_fits,)).copy()
