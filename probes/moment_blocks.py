"""The products behind moments: one block of rows, shifted by its own mean, added to float64 sums. Needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from probes.errors import ProbeDataError

MOST_ONE_HOT = 16
"""Classes above which rows are added class by class: a one-hot product costs as much for each class."""
PANEL = 128
"""Columns of one product of the symmetric scatter, of which only the upper half is taken."""
GROUP_COLUMNS = 1024
GRID_ROWS = 256
"""Rows that tell how wide a feature is spread."""

Rows = slice | Tensor


@dataclass(frozen=True)
class OneHotGroup:
    """Labels with equally many classes, few enough to be one product."""

    n_classes: int
    labels: Rows
    """Rows of the codes."""
    first: Rows
    """Rows of class 0 in the class sums; class c lies c rows below."""
    n_labels: int


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
        n_rows = sum(n_classes)
        self.counts, self.sums = zeros(n_rows), zeros(n_rows, d)
        self.origin: Tensor | None = None
        """What class sums are centred at until the end: the first block's mean."""
        self.sizes = torch.tensor(list(n_classes), dtype=torch.int64, device=device)
        self.starts = torch.cumsum(self.sizes, 0) - self.sizes
        self.groups = one_hot_groups(n_classes, self.starts)
        self.narrow = max(n_classes, default=2) <= 127
        """Whether codes fit one byte, which compares thirty times faster."""
        self.scattered = [label for label, size in enumerate(n_classes) if size > MOST_ONE_HOT]

    def add(self, X: Any, codes: Any, targets: Any) -> None:
        """Add a block that fits in memory: X [b, d], codes [L, b], targets [b, k]."""
        rows, shift, total = self._shifted(X, "X")
        dense, target_shift, target_total = self._shifted(targets, "targets")
        coded = self._checked_codes(codes)
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
        self._add_classes(rows, coded, total, shift - self.origin)
        self.n = both
        self.mean += step * (b / both)
        self.target_mean += target_step * (b / both)

    def arrays(self) -> dict[str, Any]:
        """The fields of `Moments`, in NumPy."""
        offset = self.mean - (self.mean if self.origin is None else self.origin)
        upper = self.scatter.triu()
        tensors = {
            "mean": self.mean.clone(),
            "scatter": upper + upper.triu(1).T,
            "counts": self.counts.clone(),
            "sums": self.sums.addr(self.counts, offset, alpha=-1),
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

    def _checked_codes(self, codes: Any) -> Tensor:
        coded = as_tensor(codes)
        if coded.is_floating_point() or coded.is_complex():
            raise ProbeDataError(f"codes must be whole numbers; found {coded.dtype}")
        coded = coded.to(self.device)
        if coded.numel():
            low, high = (coded.amin(1), coded.amax(1)) if coded.dtype == torch.int8 else coded.aminmax(dim=1)
            wrong = (low < -1) | (high >= self.sizes)
            if wrong.any():
                label = int(wrong.int().argmax())
                raise ProbeDataError(
                    f"codes of label {label} must lie in -1 (no class) to {int(self.sizes[label]) - 1}; "
                    f"found {int(low[label])} to {int(high[label])}"
                )
        return coded.to(torch.int8 if self.narrow else torch.int64)

    def _add_classes(self, rows: Tensor, codes: Tensor, total: Tensor, offset: Tensor) -> None:
        for group in self.groups:
            counts, sums = one_hot_sums(rows, codes[group.labels], total, group)
            sums.addcmul_(counts[:, :, None], offset)
            for c in range(group.n_classes):
                at = group.first + c if isinstance(group.first, Tensor) else _below(group.first, c)
                self.counts[at] += counts[:, c]
                self.sums[at] += sums[:, c]
        if self.scattered:
            fine = rows.to(torch.float64) + offset
            for label in self.scattered:
                coded = codes[label].to(torch.int64)
                known = coded >= 0
                whole = bool(known.all())
                at = (coded if whole else coded[known]) + self.starts[label]
                add_rows(self.sums, at, fine if whole else fine[known])
                self.counts += torch.bincount(at, minlength=len(self.counts))


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


def add_rows(sums: Tensor, at: Tensor, rows: Tensor) -> None:
    """Add each row to its row of the sums; in the same order on every run, on an accelerator too."""
    if sums.device.type == "cpu":
        sums.index_add_(0, at, rows)
    else:
        sums.index_put_((at,), rows, accumulate=True)


def one_hot_groups(n_classes: Sequence[int], starts: Tensor) -> list[OneHotGroup]:
    """Labels of few classes, those with equally many together, so that a thousand binary labels are one product."""
    groups = []
    for size in sorted({size for size in n_classes if size <= MOST_ONE_HOT}):
        labels = [label for label, own in enumerate(n_classes) if own == size]
        step = max(1, GROUP_COLUMNS // (size - 1))
        for begin in range(0, len(labels), step):
            part = labels[begin : begin + step]
            groups.append(_group(size, part, starts))
    return groups


def _group(size: int, labels: list[int], starts: Tensor) -> OneHotGroup:
    if labels[-1] - labels[0] + 1 == len(labels):  # slices: indices would copy all codes
        first = int(starts[labels[0]])
        rows = slice(first, first + size * len(labels), size)
        return OneHotGroup(size, slice(labels[0], labels[-1] + 1), rows, len(labels))
    index = torch.tensor(labels, device=starts.device)
    return OneHotGroup(size, index, starts[index], len(labels))


def _below(rows: slice, by: int) -> slice:
    return slice(rows.start + by, rows.stop + by, rows.step)


def one_hot_sums(rows: Tensor, codes: Tensor, total: Tensor, group: OneHotGroup) -> tuple[Tensor, Tensor]:
    """Float64 counts [labels, K] and class sums [labels, K, d]; class 0 is what the others leave of the total."""
    n, k, b = group.n_labels, group.n_classes, len(rows)
    classes = torch.arange(1, k, dtype=codes.dtype, device=codes.device)[:, None]
    hot = torch.empty(n, k - 1, b, dtype=rows.dtype, device=rows.device)
    torch.eq(codes[:, None, :], classes, out=hot)
    counts = torch.empty(n, k, dtype=torch.float64, device=rows.device)
    sums = torch.empty(n, k, rows.shape[1], dtype=torch.float64, device=rows.device)
    counts[:, 1:] = hot.sum(2)
    sums[:, 1:] = (hot.view(n * (k - 1), b) @ rows).view(n, k - 1, -1)
    counts[:, 0] = b - counts[:, 1:].sum(1)
    sums[:, 0] = total - sums[:, 1:].sum(1)
    missing = codes < 0
    if missing.any():
        lost = missing.to(rows.dtype)
        counts[:, 0] -= lost.sum(1)
        sums[:, 0] -= lost @ rows
    return counts, sums
