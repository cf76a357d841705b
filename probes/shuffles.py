"""Accuracy of ridge classifiers on true and on shuffled labels: thousands of refits that share one factorisation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from probes.errors import ProbeDataError

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

RIDGE = 0.1
"""Ridge penalty per fit row, in mean variances of a feature; fixed, so that labels cannot choose it."""

BLOCK_NUMBERS = 8_000_000
"""Numbers of the largest array that a block of refits makes."""


@dataclass(frozen=True, slots=True)
class SharedRidge:
    """One factorisation for every target: prediction = mean(Y) + left @ right @ (Y - mean(Y)).

    Where there are more rows than features, `left` is [n_test, d] and `right` [d, n_fit]; else the features are
    left out altogether (dual form): `left` is [n_test, n_fit] and `right` None.
    """

    left: torch.Tensor
    right: torch.Tensor | None
    n_fit: int

    @classmethod
    def of(
        cls, X_fit: NDArray[Any], X_test: NDArray[Any], *, precision: Literal["float32", "float64"] = "float64"
    ) -> SharedRidge:
        """Factorise; arrays [n_fit, d] and [n_test, d], finite."""
        dtype = getattr(torch, precision)
        fit, test = (torch.as_tensor(X).to(dtype) for X in (X_fit, X_test))
        mean = fit.mean(dim=0)
        fit, test = fit - mean, test - mean
        scale = float(fit.double().square().mean().sqrt()) or 1.0
        fit, test = fit / scale, test / scale
        penalty = RIDGE * len(fit)
        if len(fit) >= fit.shape[1]:
            factor = _factor((fit.T @ fit).double(), penalty)
            return cls(torch.cholesky_solve(test.T.double(), factor).T.to(dtype), fit.T.contiguous(), len(fit))
        factor = _factor((fit @ fit.T).double(), penalty)
        return cls(torch.cholesky_solve((fit @ test.T).double(), factor).T.to(dtype), None, len(fit))

    def accuracy(self, targets: Ints, truth: Ints, n_classes: int) -> Floats:
        """Share of test rows read right by a classifier fitted on each row of targets [n_targets, n_fit].

        Args:
            targets: class codes from 0.
            truth: class codes of the test rows, [n_test], or a row of them for each target, [n_targets, n_test];
                -1 is never read right.
            n_classes: how many codes there are.
        """
        asked = torch.as_tensor(np.broadcast_to(truth, (len(targets), len(self.left))).copy())
        start, shares = 0, []
        for read in self._readings(targets, n_classes):
            shares.append((read == asked[start : start + len(read)]).double().mean(dim=1))
            start += len(read)
        return np.asarray(torch.cat(shares).numpy())

    def whole_sets_read(self, targets: Ints, truth: Ints, table: NDArray[np.bool_]) -> Floats:
        """Share of test rows whose whole set is read right by ridge on multi-hot targets, [n_targets].

        Args:
            targets: row of `table` for every fit row, [n_targets, n_fit].
            truth: row of `table` for every test row, [n_targets, n_test].
            table: members of each set, [n_sets, n_values].
        """
        rows_of = torch.as_tensor(table).to(self.left.dtype)
        shares = []
        for fit_codes, test_codes in zip(targets, truth, strict=True):
            held = rows_of[torch.as_tensor(fit_codes)]
            prior = held.mean(dim=0)
            inner = held - prior if self.right is None else self.right @ (held - prior)
            read = torch.addmm(prior, self.left, inner) > 0.5
            shares.append((read == (rows_of[torch.as_tensor(test_codes)] > 0.5)).all(dim=1).double().mean())
        return np.asarray(torch.stack(shares).numpy())

    def _readings(self, targets: Ints, n_classes: int) -> Iterator[torch.Tensor]:
        """Class codes [block, n_test], block after block."""
        block = max(1, BLOCK_NUMBERS // (n_classes * max(self.n_fit, len(self.left))))
        for start in range(0, len(targets), block):
            codes = torch.as_tensor(np.ascontiguousarray(targets[start : start + block].T)).long()  # [n_fit, block]
            n = codes.shape[1]
            one_hot = torch.zeros(self.n_fit, n * n_classes, dtype=self.left.dtype)
            one_hot.scatter_(1, codes + n_classes * torch.arange(n), 1.0)
            prior = one_hot.mean(dim=0)
            one_hot -= prior
            inner = one_hot if self.right is None else self.right @ one_hot
            scores = torch.addmm(prior, self.left, inner)
            yield scores.view(len(scores), n, n_classes).argmax(dim=2).T


def _factor(gram: torch.Tensor, penalty: float) -> torch.Tensor:
    gram.diagonal().add_(penalty)
    factor: torch.Tensor
    factor, broken = torch.linalg.cholesky_ex(gram)
    if broken.any() or not torch.isfinite(factor).all():
        raise ProbeDataError("the rows are too large, or too far apart in size, for a ridge classifier")
    return factor
