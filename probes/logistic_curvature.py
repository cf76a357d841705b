"""What the solver knows of the shape of a log loss before it starts: the Gram of rows that all fits share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from probes.logistic_rows import SharedRows, rotate

Path = Literal["plain", "sampled", "eigenbasis", "span"]

Solve = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(q [r, c, F], a [c, F], lam [F]) -> about (a Gram + lam)^-1 q, column by column."""

PRODUCTS, EIGEN, BANDWIDTH = 1.1e11, 5e10, 2.5e9
"""Rough speeds of one core: float32 products and eigenvectors (flops a second), float32 numbers read a second.

Only their ratios matter: they choose a path, never a result's accuracy.
"""

EVALUATIONS: dict[Path, int] = {"plain": 120, "sampled": 12, "eigenbasis": 8, "span": 12}
"""Passes over the rows that a fit needs on each path, as measured."""

ROWS_A_FEATURE = 4
"""Rows sampled for each feature where the Gram is only estimated."""

JITTER = 3e-2
"""Added to the diagonal of a sampled Gram whose features have variance 1."""

MISSED = 0.5
"""Of a feature's variance: what sampled rows may miss before it is added to the diagonal of their Gram."""


def cheapest_path(n: int, d: int, columns: int, bands: int = 1) -> Path:
    """The path that takes the least time for so many columns over rows [n, d].

    plain: each feature's own variance only. sampled: Cholesky factor of the Gram of some rows, for few columns.
    eigenbasis: eigenvectors of the whole Gram, exact for every penalty. span: rows rotated into their own span first,
    where they are fewer than their features.

    Args:
        n: rows.
        d: features.
        columns: of all fits together.
        bands: of penalties, each of which needs a factor of its own on the path "sampled".
    """
    evaluation = max(4 * n * d * columns / PRODUCTS, n * d / BANDWIDTH)
    banded = max(4 * n * d * columns / PRODUCTS, bands * n * d / BANDWIDTH)
    gram = 1.2 * d**2 / PRODUCTS  # of a row, half of it mirrored
    cost: dict[Path, float] = {
        "plain": EVALUATIONS["plain"] * evaluation,
        "sampled": min(n, ROWS_A_FEATURE * d) * gram + bands * d**3 / PRODUCTS + EVALUATIONS["sampled"] * banded,
    }
    if n < d:
        # Fewer rows than features can nearly always be told apart, and there the Gram is a poor guide to the curvature.
        cost["sampled"] += 4 * EVALUATIONS["sampled"] * banded
        cost["span"] = (4 * n**2 * d + 9 * n**3) / EIGEN + EVALUATIONS["span"] * evaluation * n / d
    else:
        cost["eigenbasis"] = n * gram + 9 * d**3 / EIGEN + EVALUATIONS["eigenbasis"] * evaluation
    return min(cost, key=lambda path: cost[path])


def prepare(rows: SharedRows, path: Path) -> tuple[SharedRows, Callable[[float], Solve]]:
    """The rows to solve on, and from a typical lam / a to what solves with their Gram.

    Deterministic: the sampled rows are the same for the same n and d.
    """
    if path == "plain":
        return replace(rows, low=None), lambda ridge: _diagonal(rows.deviations.square())
    if path == "span":
        rotated = rotate(rows)
        return rotated, lambda ridge: _diagonal(rotated.deviations.square())
    if path == "eigenbasis":
        solve = _eigenbasis(rows)
        return rows, lambda ridge: solve
    chosen = min(rows.n, ROWS_A_FEATURE * rows.width)
    places = np.sort(np.random.default_rng(0).choice(rows.n, chosen, replace=False))
    gram = rows.gram(torch.from_numpy(places).to(rows.values.device) if chosen < rows.n else None)
    # the inverse of a sampled covariance is too large: its mean (inverse Wishart) by about this
    shrink = 1 - rows.width / chosen if rows.width < chosen < rows.n else 1.0
    full = replace(rows, low=None)  # few columns: reading the rows takes the time, not multiplying them
    return full, lambda ridge: _cholesky(gram, rows.deviations / shrink**0.5, ridge)


def _diagonal(variances: Tensor) -> Solve:
    return lambda q, a, lam: q / (variances[:, None, None] * a + lam)


def _eigenbasis(rows: SharedRows) -> Solve:
    units = rows.deviations.double()
    spectrum, vectors = torch.linalg.eigh(rows.gram().double() * units[:, None] * units)
    spectrum, vectors = spectrum.clamp_min(0).to(rows.values.dtype), vectors.to(rows.values.dtype)

    def solve(q: Tensor, a: Tensor, lam: Tensor) -> Tensor:
        turned = (vectors.T @ q.reshape(len(q), -1)).view_as(q)
        turned /= spectrum[:, None, None] * a + lam
        back: Tensor = vectors @ turned.reshape(len(q), -1)
        return back.view_as(q)

    return solve


def _cholesky(gram: Tensor, units: Tensor, ridge: float) -> Solve:
    """Factor of Gram + ridge, solved in units of the deviations; `lam / a` is taken to be `ridge`."""
    missed = 1 - gram.diagonal()  # of each feature's variance: the sampled rows may not hold those far out
    missed = torch.where(missed > MISSED, missed, torch.zeros_like(missed))
    factor = gram.clone()
    factor.diagonal().add_(ridge / units.square() + missed + JITTER)
    factor = torch.linalg.cholesky(factor)
    per_feature = units[:, None, None]

    def solve(q: Tensor, a: Tensor, lam: Tensor) -> Tensor:
        solved = torch.cholesky_solve((q / per_feature).reshape(len(q), -1), factor).view_as(q)
        found: Tensor = solved / per_feature / a
        return found

    return solve


LEAST_CURVATURE = 1e-3
"""Of an output, in units of the largest of its fit: softmax outputs have a direction that changes nothing."""


@dataclass(frozen=True, slots=True)
class Hessian:
    """About the second derivative of F fits: curvature between outputs times the shared Gram, plus the penalty."""

    values: Tensor
    """Eigenvalues of the curvature between outputs, [c, F]."""
    vectors: Tensor | None
    """Its eigenvectors, [F, c, c]; None where outputs are taken to be independent."""
    penalties: Tensor
    """lam, [F]."""

    @classmethod
    def of(cls, curvature: Tensor, least: Tensor, penalties: Tensor) -> Hessian:
        """From a curvature [c, F] or [c, c, F], taken to be at least `least` [F]."""
        vectors = None
        if curvature.ndim == 3:
            values, vectors = torch.linalg.eigh(curvature.permute(2, 0, 1))
            curvature = values.T
        floor = torch.maximum(least, LEAST_CURVATURE * curvature.amax(0))
        return cls(torch.maximum(curvature, floor), vectors, penalties)

    def keep(self, kept: Tensor) -> Hessian:
        """That of the fits at places `kept`."""
        vectors = None if self.vectors is None else self.vectors[kept]
        return Hessian(self.values[:, kept], vectors, self.penalties[kept])

    def solve(self, solve: Solve, q: Tensor) -> Tensor:
        """Newton's direction for gradients q [r + 1, c, F], intercept last and not penalised."""
        if self.vectors is not None:
            q = (q.permute(2, 0, 1) @ self.vectors).permute(1, 2, 0).contiguous()
        z = torch.cat([solve(q[:-1], self.values, self.penalties), (q[-1] / self.values)[None]])
        if self.vectors is not None:
            z = (z.permute(2, 0, 1) @ self.vectors.transpose(1, 2)).permute(1, 2, 0).contiguous()
        return z
