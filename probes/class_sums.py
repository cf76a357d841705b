"""Class sums of many labels over blocks of rows: one product for those of few classes, row by row for the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from probes.byte_products import FEWEST_COLUMNS, Digits
from probes.errors import ProbeDataError

MOST_ONE_HOT = 16
"""Classes above which rows are added class by class: a one-hot product costs as much for each class."""
GROUP_COLUMNS = 1024
"""Columns of one one-hot product."""

Rows = slice | Tensor


@dataclass(frozen=True)
class OneHotGroup:
    """Labels with equally many classes, few enough to be one product."""

    n_classes: int
    n_labels: int
    labels: Rows
    """Rows of the codes."""
    first: Rows
    """Rows of class 0 in the class sums; class c lies c rows below."""

    def below(self, by: int) -> Rows:
        """Rows of a class in the class sums."""
        if isinstance(self.first, Tensor):
            return self.first + by
        return slice(self.first.start + by, self.first.stop + by, self.first.step)


class ClassSums:
    """Float64 counts and sums of rows, centred at one origin, on one device.

    Of labels of few classes, class 0 is what the other classes leave of all rows, and is only found at the end.
    """

    def __init__(self, d: int, n_classes: Sequence[int], device: torch.device) -> None:
        n_rows = sum(n_classes)
        self.counts = torch.zeros(n_rows, dtype=torch.float64, device=device)
        self.sums = torch.zeros(n_rows, d, dtype=torch.float64, device=device)
        self.sizes = torch.tensor(list(n_classes), dtype=torch.int64, device=device)
        self.starts = torch.cumsum(self.sizes, 0) - self.sizes
        self.narrow = max(n_classes, default=2) <= 127
        """Whether codes fit one byte, which compares thirty times faster."""
        self.groups = one_hot_groups(n_classes, self.starts)
        self.n_columns = sum(group.n_labels * (group.n_classes - 1) for group in self.groups)
        self.scattered = [label for label, size in enumerate(n_classes) if size > MOST_ONE_HOT]

    def add(self, rows: Tensor, codes: Tensor, offset: Tensor) -> None:
        """Add a block: rows [b, d] less a shift, codes [L, b], and by how much the shift lies above the origin [d].

        Raises:
            ProbeDataError: codes that are not whole numbers or out of range.
        """
        codes, lacking = self._checked(codes)
        digits = Digits.of(rows) if self.n_columns >= FEWEST_COLUMNS else None
        for group in self.groups:
            coded = codes[group.labels]
            self._add_columns(group, range(1, group.n_classes), one_hot_sums(rows, digits, coded, group), offset)
            if lacking[group.labels].any():
                lost = (coded < 0).to(rows.dtype)
                self._add_columns(group, range(1), (-lost.sum(1, dtype=torch.float64), -(lost @ rows).double()), offset)
        if self.scattered:
            fine = rows.to(torch.float64) + offset
            for label in self.scattered:
                coded = codes[label].to(torch.int64)
                known = coded >= 0
                whole = bool(known.all())
                at = (coded if whole else coded[known]) + self.starts[label]
                add_rows(self.sums, at, fine if whole else fine[known])
                self.counts += torch.bincount(at, minlength=len(self.counts))

    def _add_columns(self, group: OneHotGroup, classes: range, found: tuple[Tensor, Tensor], offset: Tensor) -> None:
        counts, sums = found[0].view(group.n_labels, -1), found[1].view(group.n_labels, len(classes), -1)
        sums.addcmul_(counts[:, :, None], offset)
        for place, c in enumerate(classes):
            at = group.below(c)
            self.counts[at] += counts[:, place]
            self.sums[at] += sums[:, place]

    def finished(self, n: int, total: Tensor) -> tuple[Tensor, Tensor]:
        """Counts [sum K] and sums [sum K, d], given how many rows there were and their sum less the origin [d]."""
        counts, sums = self.counts.clone(), self.sums.clone()
        for group in self.groups:
            others = [group.below(c) for c in range(1, group.n_classes)]
            counts[group.first] += n - sum(counts[at] for at in others)
            sums[group.first] += total
            for at in others:
                sums[group.first] -= sums[at]
        return counts, sums

    def _checked(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Codes in the type that they are compared in, [L, b], and whether a label lacks a row, [L]."""
        if codes.is_floating_point() or codes.is_complex():
            raise ProbeDataError(f"codes must be whole numbers; found {codes.dtype}")
        low, high = (codes.amin(1), codes.amax(1)) if codes.dtype == torch.int8 else codes.aminmax(dim=1)
        wrong = (low < -1) | (high >= self.sizes)
        if wrong.any():
            label = int(wrong.int().argmax())
            raise ProbeDataError(
                f"codes of label {label} must lie in -1 (no class) to {int(self.sizes[label]) - 1}; "
                f"found {int(low[label])} to {int(high[label])}"
            )
        return codes.to(torch.int8 if self.narrow else torch.int64), low < 0


def add_rows(sums: Tensor, at: Tensor, rows: Tensor) -> None:
    """Add each row to its row of the sums; in the same order on every run, on an accelerator too."""
    if sums.device.type == "cpu":
        sums.index_add_(0, at, rows)
    else:
        sums.index_put_((at,), rows, accumulate=True)


def one_hot_groups(n_classes: Sequence[int], starts: Tensor) -> list[OneHotGroup]:
    """Labels of few classes, those with equally many together, so that a thousand binary labels are one product."""
    groups: list[OneHotGroup] = []
    for size in sorted({size for size in n_classes if size <= MOST_ONE_HOT}):
        labels = [label for label, own in enumerate(n_classes) if own == size]
        step = max(1, GROUP_COLUMNS // (size - 1))
        groups += [_group(size, labels[begin : begin + step], starts) for begin in range(0, len(labels), step)]
    return groups


def _group(size: int, labels: list[int], starts: Tensor) -> OneHotGroup:
    if labels[-1] - labels[0] + 1 == len(labels):  # slices: indices would copy all codes
        first = int(starts[labels[0]])
        rows = slice(first, first + size * (len(labels) - 1) + 1, size)
        return OneHotGroup(size, len(labels), slice(labels[0], labels[-1] + 1), rows)
    index = torch.tensor(labels, device=starts.device)
    return OneHotGroup(size, len(labels), index, starts[index])


def one_hot_sums(rows: Tensor, digits: Digits | None, codes: Tensor, group: OneHotGroup) -> tuple[Tensor, Tensor]:
    """Float64 counts [c] and sums [c, d] of classes 1 to K - 1 of each label, label after label."""
    n, k, b = group.n_labels, group.n_classes, len(rows)
    classes = torch.arange(1, k, dtype=codes.dtype, device=codes.device)[:, None]
    hot = torch.empty(n, k - 1, b, dtype=rows.dtype if digits is None else torch.int8, device=rows.device)
    torch.eq(codes[:, None, :], classes, out=hot)
    columns: Any = hot.view(n * (k - 1), b)
    if digits is not None:
        return digits.sums(columns)
    return columns.sum(1).double(), (columns @ rows).double()
