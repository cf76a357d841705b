"""The rows that many logistic fits share: centred, in units of one scale, and rotated where rows are few."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from probes.errors import ProbeDataError

Floats = NDArray[np.float64]
Precision = Literal["bf16", "float32", "float64"]

CHUNK_NUMBERS = 2**19
"""Numbers that are worked on at once: they stay in the cache."""

CHUNK = 512
"""Rows of X that are read at once while it is copied."""

SAMPLED = 256
"""Rows, evenly spread, that the common scale is read from: any number near it serves."""

OFF_CENTRE = 0.01
"""Squared mean over mean square, summed over features, below which rows count as centred."""

LEAST_DEVIATION = 1e-6
"""Of a feature, in units of the largest: one that does not vary has no direction to descend along."""


@dataclass(frozen=True, slots=True)
class SharedRows:
    """Rows as the solver sees them: (X - mean) / scale, in the basis of their own span where there are few.

    One scale for all features keeps the meaning of the penalty: |W|^2 on raw rows is that here over scale^2.
    """

    values: Tensor
    """[n, r], float32 or float64."""
    low: Tensor | None
    """The same in bfloat16."""
    mean: Floats
    """[d]."""
    scale: float
    deviations: Tensor
    """Root mean square of each feature of `values`, at least `LEAST_DEVIATION` of the largest, [r]."""
    basis: Tensor | None = None
    """Columns span the rows, [d, r], orthonormal; None where `values` are not rotated (r = d)."""

    @property
    def n(self) -> int:
        """Rows."""
        return self.values.shape[0]

    @property
    def width(self) -> int:
        """Features that the solver sees, r."""
        return self.values.shape[1]

    def slices(self, columns: int) -> Iterator[slice]:
        """The rows in chunks for so many columns of products, at least as many as there are features: each chunk
        adds to the whole gradient."""
        rows = max(256, self.width, CHUNK_NUMBERS // max(columns, self.width // 2))
        for first in range(0, self.n, rows):
            yield slice(first, first + rows)

    def gram(self, chosen: Tensor | None = None) -> Tensor:
        """Mean of x x' of rows with each feature in units of its deviation, [r, r].

        Args:
            chosen: places of the rows to take, [m]; all where None.
        """
        rows = self.values if self.low is None else self.low
        units = (1 / self.deviations).to(rows.dtype)
        n = self.n if chosen is None else len(chosen)
        size, band = max(CHUNK, self.width), max(64, self.width // 6)
        total = torch.zeros(self.width, self.width, dtype=self.values.dtype, device=rows.device)
        for first in range(0, n, size):
            part = rows[first : first + size] if chosen is None else rows[chosen[first : first + size]]
            part = part * units
            for k in range(0, self.width, band):  # what lies below the diagonal is mirrored, not multiplied
                left, right = part[:, k : k + band].T, part[:, k:]
                if part.dtype == total.dtype:
                    total[k : k + band, k:].addmm_(left, right)
                else:
                    total[k : k + band, k:] += left @ right
        return (total.triu_() + total.triu(1).T) / n

    def to_raw(self, weights: Tensor) -> tuple[Floats, Floats]:
        """Weights [r + 1, ...] (intercept last) as coefficients [..., d] and intercepts [...] on raw rows."""
        slopes = weights[:-1].double().cpu()
        if self.basis is not None:
            slopes = torch.tensordot(self.basis.double().cpu(), slopes, dims=1)
        coef = np.moveaxis(slopes.numpy(), 0, -1) / self.scale
        return coef, weights[-1].double().cpu().numpy() - coef @ self.mean

    def from_raw(self, coef: Floats, intercept: Floats) -> Tensor:
        """The inverse of `to_raw`: [..., d] and [...] to [r + 1, ...]."""
        slopes = torch.from_numpy(np.moveaxis(coef * self.scale, -1, 0).copy())
        if self.basis is not None:
            slopes = torch.tensordot(self.basis.double().cpu().T, slopes, dims=1)
        both = torch.cat([slopes, torch.from_numpy(intercept + coef @ self.mean)[None]])
        return both.to(self.values)


def share_rows(X: Any, *, precision: Precision, device: str) -> SharedRows:
    """Centre and scale X [n, d], an array or a tensor of any floating type; X itself is not changed.

    Raises:
        ProbeDataError: not [n, d] with at least one row and feature, or values that are not finite.
    """
    if not isinstance(X, torch.Tensor):
        X = np.asarray(X)
        if X.dtype.kind not in "fiub":
            raise ProbeDataError(f"X must hold numbers; found {X.dtype}")
    if X.ndim != 2 or 0 in X.shape:
        raise ProbeDataError(f"X must be [n, d] with at least one row and one feature; found shape {tuple(X.shape)}")
    dtype = torch.float64 if precision == "float64" else torch.float32
    mean, squares = _moments(X, dtype, device)
    if not bool(torch.isfinite(squares).all()):
        raise ProbeDataError(f"X has values that are not finite, or too large for {dtype}, in feature "
                             f"{int(torch.isfinite(squares).logical_not().int().argmax())}")  # fmt: skip
    taken = _as_it_is(X, mean, squares, dtype, device)
    values, centre, scale, squares = _centred(X, mean, dtype, device) if taken is None else (taken, None, 1.0, squares)
    return SharedRows(
        values,
        values.bfloat16() if precision == "bf16" else None,
        np.zeros(X.shape[1]) if centre is None else centre.double().cpu().numpy(),
        scale,
        _deviations(squares, dtype),
    )


def _moments(X: Any, dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor]:
    """Mean and mean square of each feature, [d] float64."""
    n, d = X.shape
    total, squares = torch.zeros(2, d, dtype=torch.float64, device=device)
    for s in _chunks(n):
        part = _part(X, s, dtype, device)
        total += part.sum(0)
        squares += part.square().sum(0)
    return total / n, squares / n


def _as_it_is(X: Any, mean: Tensor, squares: Tensor, dtype: torch.dtype, device: str) -> Tensor | None:
    """X itself where it is centred and of a usual scale already: reading it anew would take longer than a fit."""
    off_centre = (mean.square() / squares.clamp_min(torch.finfo(torch.float64).tiny)).sum()
    if float(off_centre) > OFF_CENTRE or not 1e-6 < float(squares.mean()) < 1e6:
        return None
    whole = _part(X, slice(None), dtype, device)
    return whole if whole.is_contiguous() else None


def _centred(X: Any, mean: Tensor, dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor, float, Tensor]:
    """A copy (X - centre) / scale, the centre (the mean, rounded) and scale, and the copy's mean squares [d]."""
    n, d = X.shape
    centre = mean.to(dtype)
    sample = _part(X, slice(None, None, -(-n // SAMPLED)), dtype, device) - centre
    scale = float(sample.double().square().mean().sqrt())
    scale = scale if np.isfinite(scale) and scale > 0 else 1.0
    values = torch.empty(n, d, dtype=dtype, device=device)
    squares = torch.zeros(d, dtype=torch.float64, device=device)
    for s in _chunks(n):
        part = torch.sub(_part(X, s, dtype, device), centre, out=values[s]).mul_(1 / scale)
        squares += part.square().sum(0)
    return values, centre, scale, squares / n


def rotate(rows: SharedRows) -> SharedRows:
    """The same rows in the orthonormal basis of their span: n features instead of d > n, and a diagonal Gram.

    A penalised fit has no part outside of that span.
    """
    values = rows.values.double()
    spectrum, vectors = torch.linalg.eigh(values @ values.T)
    kept = spectrum > spectrum[-1].clamp_min(torch.finfo(torch.float64).tiny) * 1e-12
    kept[-1] = True
    singular = spectrum[kept].clamp_min(0).sqrt()
    turned = (vectors[:, kept] * singular).to(rows.values.dtype).contiguous()
    basis = (values.T @ vectors[:, kept]) / singular.clamp_min(torch.finfo(torch.float64).tiny)
    return replace(
        rows,
        values=turned,
        low=None if rows.low is None else turned.bfloat16(),
        deviations=_deviations(spectrum[kept] / rows.n, turned.dtype),
        basis=basis,
    )


def _deviations(mean_squares: Tensor, dtype: torch.dtype) -> Tensor:
    deviations = mean_squares.clamp_min(0).sqrt()
    largest = float(deviations.max())
    return (deviations.clamp_min(LEAST_DEVIATION * largest) if largest > 0 else torch.ones_like(deviations)).to(dtype)


def _chunks(n: int) -> Iterator[slice]:
    for first in range(0, n, CHUNK):
        yield slice(first, first + CHUNK)


def _part(X: Any, rows: slice, dtype: torch.dtype, device: str) -> Tensor:
    part = X[rows]
    if isinstance(part, np.ndarray):
        kind = part.dtype if part.dtype.isnative and part.dtype.itemsize <= 8 else np.float64
        part = torch.from_numpy(np.require(part, dtype=kind, requirements=["C", "W"]))
    tensor: Tensor = part.to(device=device, dtype=dtype)
    return tensor
