"""Where a block of logistic fits begins, and its first step: towards linear discriminants."""

from __future__ import annotations

import torch
from torch import Tensor

from probes.logistic_curvature import Solve
from probes.logistic_loss import LEAST_SHARE, Block

PURE = 0.95
"""Of the variance between classes, that which is taken off: all of it would leave nothing where classes are pure."""


def null_weights(block: Block) -> Tensor:
    """The shares of the classes and nothing else, [r + 1, c, F]."""
    weights = block.shares.new_zeros(block.rows.width + 1, *block.shares.shape)
    weights[-1] = block.shares.clamp_min(LEAST_SHARE).log()
    return _outputs(weights, block)


def towards_discriminants(block: Block, solve: Solve, gradient: Tensor) -> Tensor:
    """Step from the null weights to linear discriminants with the Gram that `solve` knows, [r + 1, c, F].

    Args:
        block: F fits.
        solve: with the Gram.
        gradient: at the null weights, [r + 1, c, F]: it holds the means of the classes.
    """
    shares, slopes = block.shares.clamp_min(LEAST_SHARE), gradient[:-1]
    if block.outputs == 1:  # the gradient of one class of two is the opposite of the other's
        slopes = torch.cat([-slopes, slopes], 1)
    means = -slopes / shares
    solved = solve(means, torch.ones_like(shares), block.penalties / block.null_curvature.amax(0))
    by_fit, solved_by_fit = means.permute(2, 1, 0), solved.permute(2, 0, 1)
    # Woodbury: from the covariance of all rows to that within classes
    within = torch.eye(len(shares)).to(shares) - PURE * shares.T[:, :, None] * (by_fit @ solved_by_fit)
    weights = torch.linalg.solve(within, solved_by_fit, left=False).permute(1, 2, 0)
    return _outputs(torch.cat([weights, -0.5 * (means * weights).sum(0)[None]]), block)


def _outputs(weights: Tensor, block: Block) -> Tensor:
    """Columns of the solver [r + 1, c, F] from a weight a class [r + 1, K, F]."""
    return weights[:, 1:] - weights[:, :1] if block.outputs == 1 else centred(weights)


def centred(weights: Tensor) -> Tensor:
    """With the mean over the outputs of each fit taken off where there are several: softmax is the same without."""
    return weights if weights.shape[1] == 1 else weights - weights.mean(1, keepdim=True)
