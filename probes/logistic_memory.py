"""What L-BFGS remembers of its steps, for many fits at once, each with its own step lengths."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

REMEMBERED = 6
"""Pairs of a step and what it changed."""


def dot(u: Tensor, v: Tensor) -> Tensor:
    """Inner product of each fit, [r + 1, c, F] twice to [F]."""
    return (u * v).sum((0, 1))


class Memory:
    """Pairs of steps and changes of the gradient, both [r + 1, c, F], and 1 / their inner product, [F].

    A pair whose product is 0 within rounding is given the weight 0: it says nothing about that fit.
    """

    def __init__(self) -> None:
        self.pairs: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=REMEMBERED)

    def push(self, step: Tensor, change: Tensor) -> None:
        """Remember a pair, forget the oldest."""
        curved = dot(step, change)
        least = torch.finfo(step.dtype).eps * (dot(step, step) * dot(change, change)).sqrt()
        self.pairs.append((step, change, torch.where(curved > least, 1 / curved, torch.zeros_like(curved))))

    def keep(self, kept: Tensor) -> None:
        """Only the fits at places `kept`."""
        self.pairs = deque(((s[..., kept], y[..., kept], rho[kept]) for s, y, rho in self.pairs), maxlen=REMEMBERED)

    def forget(self, fits: Tensor) -> Tensor:
        """Forget all pairs of some fits [F]; returns which fits had none to begin with, [F]."""
        empty = torch.ones_like(fits)
        for _, _, rho in self.pairs:
            empty &= rho == 0
            rho[fits] = 0.0
        return empty

    def direction(self, gradient: Tensor, solve: Callable[[Tensor], Tensor], *, scaled: bool = False) -> Tensor:
        """A direction of descent from the gradient [r + 1, c, F].

        The two loops of Nocedal, Updating quasi-Newton matrices with limited storage, 1980; `solve` multiplies with
        the first estimate of the inverse second derivative, `scaled` by what the last pair says of its size.
        """
        q, alphas = gradient.clone(), []
        for step, change, rho in reversed(self.pairs):
            alpha = rho * dot(step, q)
            q.addcmul_(alpha, change, value=-1)
            alphas.append(alpha)
        z = solve(q)
        if scaled and self.pairs:
            _, change, rho = self.pairs[-1]
            z *= torch.where(rho > 0, 1 / (rho * dot(change, solve(change))), torch.ones_like(rho))
        for (step, change, rho), alpha in zip(self.pairs, reversed(alphas), strict=True):
            z.addcmul_(alpha - rho * dot(change, z), step)
        return z.neg_()
