"""What L-BFGS remembers of its steps, for many fits at once, each with its own step lengths."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

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

    def of(self, fits: Tensor) -> Memory:
        """That of the fits at places `fits`."""
        part = Memory()
        part.pairs.extend((s[..., fits], y[..., fits], rho[fits]) for s, y, rho in self.pairs)
        return part

    @classmethod
    def joined(cls, parts: Sequence[tuple[Tensor, Memory]]) -> Memory:
        """That of fits from several memories, each with the places of its fits; newest pairs stand together."""
        whole = cls()
        n_fits = sum(len(places) for places, _ in parts)
        for age in range(max((len(part.pairs) for _, part in parts), default=0), 0, -1):
            pair: list[Tensor] = []
            for places, part in parts:
                if len(part.pairs) < age:
                    continue
                pair = pair or [piece.new_zeros(*piece.shape[:-1], n_fits) for piece in part.pairs[-age]]
                for all_fits, piece in zip(pair, part.pairs[-age], strict=True):
                    all_fits[..., places] = piece
            whole.pairs.append((pair[0], pair[1], pair[2]))
        return whole

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
