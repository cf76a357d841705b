"""Log loss of a block of logistic fits and its gradient, chunk of rows by chunk of rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from probes.logistic_rows import SharedRows

WHOLE_CURVATURE = 64
"""Classes up to which the curvature between classes is kept; beyond it each class has its own only."""

FEW_COLUMNS = 16
"""Columns up to which products are taken the other way round: several times faster, by how libraries cut matrices."""

LEAST_SHARE = 1e-6
"""Of a class, where something is measured in units of it."""


@dataclass(frozen=True, slots=True)
class Slope:
    """Where a block of F fits stands: columns are c outputs a fit (1 where there are two classes)."""

    gradient: Tensor
    """Of mean weighted log loss + lam/2 |W|^2, [r + 1, c, F], intercept last."""
    loss: Tensor | None
    """Mean weighted log loss, nats, [F], float64."""
    curvature: Tensor | None
    """Mean of p (1 - p) [1, F], or of diag(p) - p p' [c, c, F], or its diagonal [c, F] beyond `WHOLE_CURVATURE`."""

    def keep(self, kept: Tensor) -> Slope:
        """That of the fits at places `kept`."""
        parts = (self.gradient, self.loss, self.curvature)
        return Slope(*(None if part is None else part[..., kept] for part in parts))  # type: ignore[arg-type]

    def put(self, places: Tensor, other: Slope) -> None:
        """Write that of other fits over these, in place."""
        for mine, its in (
            (self.gradient, other.gradient),
            (self.loss, other.loss),
            (self.curvature, other.curvature),
        ):
            if mine is not None and its is not None:
                mine[..., places] = its


@dataclass(frozen=True, slots=True)
class Block:
    """Labels of F fits over the same rows."""

    rows: SharedRows
    codes: Tensor
    """Place of each row's class, [n, F]; 0 where the row is not used."""
    weights: Tensor | None
    """Of mean 1 a fit, 0 where a row is not used, [n, F]; None where every row of every fit counts alike."""
    penalties: Tensor
    """lam, in units of `rows`, [F]."""
    shares: Tensor
    """Weighted share of each class, [K, F]."""

    @property
    def outputs(self) -> int:
        """Columns of a fit, c: one sigmoid for two classes, else one softmax column a class."""
        return 1 if self.shares.shape[0] == 2 else self.shares.shape[0]

    @property
    def null_curvature(self) -> Tensor:
        """p (1 - p) of the outputs where only the shares of the classes are known, [c, F]."""
        shares = self.shares if self.outputs > 1 else self.shares[1:]
        return (shares * (1 - shares)).clamp_min(LEAST_SHARE)

    def keep(self, kept: Tensor) -> Block:
        """The fits at places `kept`."""
        weights = None if self.weights is None else self.weights.index_select(1, kept)
        codes = self.codes.gather(1, kept.expand(len(self.codes), -1))  # indexing takes thrice as long
        return Block(self.rows, codes, weights, self.penalties[kept], self.shares[:, kept])

    def slope(self, W: Tensor, *, low: bool = False, curvature: bool = False, loss: bool = False) -> Slope:
        """Evaluate at weights [r + 1, c, F].

        Args:
            W: where.
            low: multiply in bfloat16 (errors of about 1e-3 of a logit), where the rows have it.
            curvature: also return it.
            loss: also return it.
        """
        rows, (_, c, n_fits) = self.rows, W.shape
        low = low and rows.low is not None
        logits_of = _low_logits(rows, W) if low and W[:-1].any() else _logits(rows, W)
        total = torch.zeros(rows.width, c * n_fits, dtype=W.dtype, device=W.device)
        biases = torch.zeros(c * n_fits, dtype=torch.float64, device=W.device)
        losses = torch.zeros(n_fits, dtype=torch.float64, device=W.device) if loss else None
        curved: Tensor | None = None
        for s in rows.slices(c * n_fits):
            logits = logits_of(s).view(-1, c, n_fits)
            residuals, lost, bent = self._residuals(logits, s, curvature=curvature, loss=loss)
            flat = residuals.view(-1, c * n_fits)
            if low and rows.low is not None:
                total += rows.low[s].T @ flat.bfloat16()
            elif flat.shape[1] <= FEW_COLUMNS:
                total += (flat.T @ rows.values[s]).T
            else:
                total.addmm_(rows.values[s].T, flat)
            biases += flat.sum(0)
            if losses is not None and lost is not None:
                losses += lost
            if bent is not None:
                curved = bent if curved is None else curved + bent
        gradient = torch.cat([total, biases[None].to(W.dtype)]).view(-1, c, n_fits) / rows.n
        gradient[:-1] += self.penalties * W[:-1]
        return Slope(gradient, None if losses is None else losses / rows.n, None if curved is None else curved / rows.n)

    def _residuals(
        self, logits: Tensor, s: slice, *, curvature: bool, loss: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Weighted p - y of a chunk [m, c, F] (in place of its logits), its summed loss and curvature."""
        codes = self.codes[s] if self.outputs == 1 else self.codes[s].long()
        weights = None if self.weights is None else self.weights[s]
        lost = self._losses(logits, codes, weights) if loss else None
        if logits.shape[1] == 1:
            p = logits.sigmoid_()
        else:
            p = logits.sub_(logits.amax(1, keepdim=True)).exp_()
            p /= p.sum(1, keepdim=True)
        bent = _curvature(p, weights) if curvature else None
        if logits.shape[1] == 1:
            p -= codes[:, None]
        else:
            p.scatter_add_(1, codes[:, None], p.new_full((1, 1, 1), -1.0).expand(len(codes), 1, codes.shape[1]))
        if weights is not None:
            p *= weights[:, None]
        return p, lost, bent

    @staticmethod
    def _losses(logits: Tensor, codes: Tensor, weights: Tensor | None) -> Tensor:
        if logits.shape[1] == 1:
            z = logits[:, 0]
            lost = torch.nn.functional.softplus(z) - z * codes
        else:
            lost = torch.logsumexp(logits, 1) - logits.gather(1, codes[:, None])[:, 0]
        return (lost if weights is None else lost * weights).sum(0, dtype=torch.float64)


def _logits(rows: SharedRows, W: Tensor) -> Callable[[slice], Tensor]:
    columns, bias = W[:-1].reshape(rows.width, -1), W[-1].reshape(1, -1)
    if not columns.any():
        return lambda s: bias.repeat(len(rows.values[s]), 1)
    if columns.shape[1] <= FEW_COLUMNS:
        few, own = columns.T.contiguous(), bias.T
        return lambda s: torch.addmm(own, few, rows.values[s].T).T
    return lambda s: torch.addmm(bias, rows.values[s], columns)


def _low_logits(rows: SharedRows, W: Tensor) -> Callable[[slice], Tensor]:
    """Weights as a sum of two bfloat16 numbers: rounded to one, they would pull the gradient of all rows one way."""
    low = rows.low
    assert low is not None
    columns, bias = W[:-1].reshape(rows.width, -1), W[-1].reshape(1, -1)
    coarse = columns.bfloat16()
    fine = (columns - coarse).bfloat16()
    if not fine.any():
        return lambda s: low[s] @ coarse + bias
    return lambda s: torch.addmm(low[s] @ fine, low[s], coarse) + bias


def _curvature(p: Tensor, weights: Tensor | None) -> Tensor:
    weighted = p if weights is None else p * weights[:, None]
    if 1 < p.shape[1] <= WHOLE_CURVATURE:
        of_fit = weighted.permute(2, 1, 0)
        return (torch.diag_embed(of_fit.sum(2)) - of_fit @ p.permute(2, 0, 1)).permute(1, 2, 0)
    return (weighted - weighted * p).sum(0)
