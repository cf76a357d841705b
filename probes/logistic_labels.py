"""Labels of many fits over the same rows: who is in each, what it weighs, and blocks of those of one kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from probes.errors import ProbeDataError
from probes.logistic_loss import Block
from probes.logistic_rows import SharedRows

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

HALF_POWERS = 2
"""Penalties are taken together within a factor of the square root of two where one factorisation serves them."""


FEW_CODES = 16
"""Codes up to which counting one at a time is the fastest."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Class codes of P fits over n rows, checked; -1 where a row is not used."""

    targets: NDArray[Any]
    """[P, n] of any integer type."""
    sample_weight: NDArray[Any] | None
    """[n] or [P, n]."""
    balanced: bool
    classes: tuple[Ints, ...]
    """Codes with a positive weight, sorted; two or more."""
    shares: tuple[Floats, ...]
    """Share of each of them in the weight that a fit uses."""
    totals: Floats
    """That weight, in rows, [P]."""
    whole: NDArray[np.bool_]
    """Whether every row counts alike, [P]."""

    @classmethod
    def of(
        cls, targets: Any, n: int, sample_weight: Any = None, class_weight: Literal["balanced"] | None = None
    ) -> Labels:
        """Count the classes of each row of `targets`.

        Raises:
            ProbeDataError: shapes that do not fit, codes that are not integers from -1, weights that are negative or
                not finite, or a fit whose used rows hold fewer than two classes.
        """
        targets = _checked_targets(targets, n)
        weights = _checked_weights(sample_weight, targets.shape)
        if class_weight not in (None, "balanced"):
            raise ProbeDataError(f"class_weight must be 'balanced' or None; found {class_weight!r}")
        classes, shares, totals = [], [], np.empty(len(targets))
        for k, counts in enumerate(_counts(targets, weights)):
            used = np.flatnonzero(counts)
            if len(used) < 2:
                raise ProbeDataError(
                    f"fit {k} holds {len(used)} class(es) among the rows it uses; a probe needs at least two"
                )
            totals[k] = counts.sum()
            classes.append(used)
            shares.append(np.full(len(used), 1 / len(used)) if class_weight else counts[used] / totals[k])
        whole = (totals == n) & (weights is None and class_weight is None)
        return cls(targets, weights, class_weight is not None, tuple(classes), tuple(shares), totals, whole)

    @property
    def columns(self) -> int:
        """Of all fits together: one where there are two classes, else one a class."""
        return sum(1 if len(used) == 2 else len(used) for used in self.classes)

    def groups(self, block: int, ridges: Floats | None) -> Iterator[Ints]:
        """Places of fits with equally many classes, at most `block` columns together.

        Args:
            block: columns.
            ridges: [P]; where given, only fits of about the same are put together.
        """
        kinds = np.array([len(used) for used in self.classes])
        bands = np.zeros(len(kinds)) if ridges is None else penalty_bands(ridges)
        for n_classes, whole, band in sorted({*zip(kinds.tolist(), self.whole.tolist(), bands.tolist(), strict=True)}):
            places = np.flatnonzero((kinds == n_classes) & (self.whole == whole) & (bands == band))
            size = max(1, block if n_classes == 2 else block // n_classes)
            yield from (places[first : first + size] for first in range(0, len(places), size))

    def block(self, rows: SharedRows, places: Ints, penalties: Floats) -> Block:
        """The fits at `places` as the solver takes them; penalties in units of `rows`, [P]."""
        dtype, device = rows.values.dtype, rows.values.device
        codes = np.stack([self._class_places(int(k)) for k in places])
        weights = None
        if not self.whole[places].all():
            weights = torch.empty(rows.n, len(places), dtype=dtype)
            for column, k in enumerate(places):
                weights[:, column] = torch.from_numpy(self._row_weights(int(k), codes[column]))
        shares = torch.tensor(np.stack([self.shares[k] for k in places], axis=1), dtype=dtype, device=device)
        return Block(
            rows,
            torch.from_numpy(np.maximum(codes, 0, out=codes)).T.contiguous().to(device),
            None if weights is None else weights.to(device),
            torch.tensor(penalties[places], dtype=dtype, device=device),
            shares,
        )

    def _class_places(self, k: int) -> NDArray[Any]:
        """Place of each row's class among those of fit k, -1 for none."""
        used = self.classes[k]
        codes: NDArray[Any] = self.targets[k]
        if used[-1] == len(used) - 1 and codes.max() < len(used):
            return codes
        table = np.full(max(int(codes.max()), int(used[-1])) + 2, -1, dtype=codes.dtype)
        table[used] = np.arange(len(used))
        places: NDArray[Any] = table[codes]  # -1 takes the last, which is -1
        return places

    def _row_weights(self, k: int, place: NDArray[Any]) -> Floats:
        """Weights of fit k's rows, [n], with a mean of 1."""
        own = _of_fit(self.sample_weight, k)
        weights = np.where(place >= 0, 1.0 if own is None else own, 0.0)
        if self.balanced:
            held = np.bincount(np.maximum(place, 0), weights=weights, minlength=len(self.classes[k]))
            weights *= (self.totals[k] / (len(held) * held))[np.maximum(place, 0)]
        scaled: Floats = weights * (len(weights) / self.totals[k])
        return scaled


def penalty_bands(penalties: Floats) -> Floats:
    """A number for each, equal where they are about the same."""
    bands: Floats = np.round(HALF_POWERS * np.log2(penalties))
    return bands


def _counts(targets: NDArray[Any], weights: NDArray[Any] | None) -> Iterator[NDArray[Any]]:
    """Weight of each code among the rows of each fit."""
    most = max(int(targets.max()), 0)
    if weights is None and most < FEW_CODES:
        yield from np.stack([np.count_nonzero(targets == code, axis=1) for code in range(most + 1)], axis=1)
        return
    for k, codes in enumerate(targets):
        yield np.bincount(codes.astype(np.intp) + 1, weights=_of_fit(weights, k))[1:]


def _of_fit(weights: NDArray[Any] | None, k: int) -> NDArray[Any] | None:
    return weights if weights is None or weights.ndim == 1 else weights[k]


def _checked_targets(targets: Any, n: int) -> NDArray[Any]:
    """The codes in the smallest type that holds them."""
    targets = np.asarray(targets)
    if targets.ndim != 2 or targets.shape[1] != n or not len(targets):
        raise ProbeDataError(f"targets must be [P, {n}] with at least one fit; found shape {targets.shape}")
    if targets.dtype.kind not in "iu" or targets.min() < -1:
        raise ProbeDataError(f"targets must be integers from -1 (not used); found {targets.dtype} from {targets.min()}")
    codes: NDArray[Any] = targets.astype(np.min_scalar_type(-1 - max(int(targets.max()), 0)), copy=False)
    return codes


def _checked_weights(sample_weight: Any, shape: tuple[int, ...]) -> NDArray[Any] | None:
    if sample_weight is None:
        return None
    weights: NDArray[Any] = np.asarray(sample_weight)
    if weights.shape not in (shape, shape[1:]) or weights.dtype.kind not in "fiub":
        raise ProbeDataError(
            f"sample_weight must be numbers, {list(shape[1:])} or {list(shape)}; found {weights.dtype} {weights.shape}"
        )
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise ProbeDataError("sample_weight must be finite and not negative")
    return None if (weights == 1).all() else weights
