"""Where a block of logistic fits begins: linear discriminants with the Gram that all fits share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from probes.logistic_curvature import Solve
from probes.logistic_loss import LEAST_SHARE, Block

PURE = 0.95
"""Of the variance between classes, that which is taken off: all of it would leave nothing where classes are pure."""


@dataclass(frozen=True, slots=True)
class Start:
    """Weights to begin from, and a second point whose gradient is known: what lies between tells the curvature."""

    weights: Tensor
    """[r + 1, c, F]."""
    other: Tensor | None = None
    """[r + 1, c, F]."""
    other_gradient: Tensor | None = None
    """[r + 1, c, F]."""


def discriminants(block: Block, solve: Solve | None) -> Start:
    """Linear discriminants; the shares of the classes alone where `solve` is None."""
    shares = block.shares.clamp_min(LEAST_SHARE)
    log_shares = shares.log()
    n_classes, n_fits = shares.shape
    nothing = shares.new_zeros(block.rows.width + 1, n_classes, n_fits)
    nothing[-1] = log_shares
    null = _outputs(nothing, block)
    if solve is None:
        return Start(null)
    gradient = block.slope(null, low=True).gradient
    slopes = gradient[:-1]
    if block.outputs == 1:  # the gradient of one class of two is the opposite of the other's
        slopes = torch.cat([-slopes, slopes], 1)
    means = -slopes / shares
    solved = solve(means, torch.ones_like(shares), block.penalties / block.null_curvature.amax(0))
    by_fit, solved_by_fit = means.permute(2, 1, 0), solved.permute(2, 0, 1)
    # Woodbury: from the covariance of all rows to that within classes
    within = torch.eye(n_classes).to(shares) - PURE * shares.T[:, :, None] * (by_fit @ solved_by_fit)
    weights = torch.linalg.solve(within, solved_by_fit, left=False).permute(1, 2, 0)
    found = _outputs(torch.cat([weights, (log_shares - 0.5 * (means * weights).sum(0))[None]]), block)
    usable = torch.isfinite(found).all()
    return Start(torch.where(usable, found, null), null, gradient)


def _outputs(weights: Tensor, block: Block) -> Tensor:
    """Columns of the solver [r + 1, c, F] from a weight a class [r + 1, K, F]."""
    return weights[:, 1:] - weights[:, :1] if block.outputs == 1 else weights - weights.mean(1, keepdim=True)
