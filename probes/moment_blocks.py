"""The products behind moments: one block of rows, shifted by its own mean, added to float64 sums. Needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from probes.class_sums import ClassSums
from probes.errors import ProbeDataError

PANEL = 128
"""Columns of one product of the symmetric scatter, of which only the upper half is taken."""
GRID_ROWS = 256
"""Rows that tell how wide a feature is spread."""


class Running:
    """Float64 sums on one device; see `MomentsBuilder`."""

    def __init__(self, d: int, n_classes: Sequence[int], targets_dim: int, device: str, precision: str) -> None:
        def zeros(*shape: int) -> Tensor:
            return torch.zeros(*shape, dtype=torch.float64, device=device)

        self.device = torch.device(device)
        self.dtype = torch.float64 if precision == "float64" else torch.float32
        self.n = 0
        self.mean, self.target_mean, self.target_square = zeros(d), zeros(targets_dim), zeros(targets_dim)
        self.scatter, self.cross = zeros(d, d), zeros(targets_dim, d)
        self.classes = ClassSums(d, n_classes, self.device)
        self.origin: Tensor | None = None
        """What class sums are centred at until the end: the first block's mean."""

    def add(self, X: Any, codes: Any, targets: Any) -> None:
        """Add a block that fits in memory: X [b, d], codes [L, b], targets [b, k]."""
        rows, shift, total = self._shifted(X, "X")
        dense, target_shift, target_total = self._shifted(targets, "targets")
        if self.origin is None:
            self.origin = shift
        b, both = len(rows), self.n + len(rows)
        weight = self.n * b / both
        step = shift + total / b - self.mean
        target_step = target_shift + target_total / b - self.target_mean
        add_gram(self.scatter, rows)
        self.scatter.addmm_(torch.stack([-total / b, weight * step], 1), torch.stack([total, step]))
        if len(self.cross):
            self.cross.add_(dense.T @ rows)
            self.cross.addmm_(torch.stack([-target_total / b, weight * target_step], 1), torch.stack([total, step]))
            self.target_square += dense.square().sum(0, dtype=torch.float64) - target_total.square() / b
            self.target_square += weight * target_step.square()
        if not (torch.isfinite(self.scatter.diagonal()).all() and torch.isfinite(self.target_square).all()):
            raise ProbeDataError("X or targets hold values whose squares overflow; use precision='float64'")
        self.classes.add(rows, as_tensor(codes).to(self.device), shift - self.origin)
        self.n = both
        self.mean += step * (b / both)
        self.target_mean += target_step * (b / both)

    def arrays(self) -> dict[str, Any]:
        """The fields of `Moments`, in NumPy."""
        offset = self.mean - (self.mean if self.origin is None else self.origin)
        counts, sums = self.classes.finished(self.n, self.n * offset)
        upper = self.scatter.triu()
        tensors = {
            "mean": self.mean.clone(),
            "scatter": upper + upper.triu(1).T,
            "counts": counts,
            "sums": sums.addr_(counts, offset, alpha=-1),
            "target_mean": self.target_mean.clone(),
            "target_square": self.target_square.clamp_min(0),
            "cross": self.cross.clone(),
        }
        return {"n": self.n} | {name: tensor.cpu().numpy() for name, tensor in tensors.items()}

    def _shifted(self, array: Any, name: str) -> tuple[Tensor, Tensor, Tensor]:
        """Rows less a number near their mean, in the precision of products; that number; the sum of what is left."""
        given = as_tensor(array).to(self.device)
        fine = given.to(self.dtype if given.dtype in (torch.float16, torch.bfloat16, torch.float32) else torch.float64)
        shift = coarse_means(fine)
        rows = torch.sub(fine, shift, out=fine if fine is not given else None).to(self.dtype)
        total = column_sums(rows)
        if not torch.isfinite(total).all():
            raise ProbeDataError(f"{name} holds values that are not finite, or too large for {self.dtype}")
        return rows, shift.to(torch.float64), total


def as_tensor(array: Any) -> Tensor:
    """A tensor over the same memory where that is allowed; torch must not be shown read-only memory."""
    if isinstance(array, Tensor):
        return array.detach()
    plain: NDArray[Any] = np.asarray(array)
    if plain.dtype.kind not in "biuf":
        raise ProbeDataError(f"arrays must hold numbers; found {plain.dtype}")
    if not plain.dtype.isnative or plain.dtype.kind in "bu":
        plain = plain.astype(np.int64 if plain.dtype.kind in "bu" else plain.dtype.newbyteorder("="))
    writable = plain.flags.writeable and min(plain.strides, default=1) >= 0
    return torch.from_numpy(plain if writable else plain.copy())


def coarse_means(rows: Tensor) -> Tensor:
    """Means on a grid as wide as the rows' deviation, [d]: as good a shift as the mean itself.

    The mean's last bits would become the last bits of every row, and sums would round all of them the same way:
    float16 rows, which hold few bits, would lose two digits.
    """
    means = rows.mean(0)
    if not rows.numel():
        return means
    grid = torch.exp2(torch.floor(torch.log2(rows[:GRID_ROWS].std(0, correction=0))))
    return torch.where(grid > 0, torch.round(means / grid) * grid, means)


def column_sums(rows: Tensor) -> Tensor:
    """Float64 sums over rows, [d]. NumPy adds float32 up in float64 ten times faster than torch does."""
    if rows.device.type == "cpu":
        return torch.from_numpy(rows.numpy().sum(axis=0, dtype=np.float64))
    return rows.sum(0, dtype=torch.float64)


def add_gram(scatter: Tensor, rows: Tensor) -> None:
    """Add the upper half of rows' rows, panel by panel, to float64 sums."""
    for start in range(0, rows.shape[1], PANEL):
        panel = slice(start, start + PANEL)
        scatter[panel, start:].add_(rows[:, panel].T @ rows[:, start:])
