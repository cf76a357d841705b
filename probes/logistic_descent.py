"""Preconditioned L-BFGS for a block of logistic fits that share rows: every fit has its own steps and its own end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from probes.logistic_curvature import Hessian, Solve
from probes.logistic_loss import Block, Slope
from probes.logistic_memory import Memory, dot
from probes.logistic_start import centred

First = Callable[[Tensor], Tensor]
"""Gradient to step, both [r + 1, c, F]."""

TRIES = 10
"""Shorter steps tried before a fit forgets its memory; one that has had none to forget twice is given up."""

OVERSHOT = 0.9
"""A step is too long where the loss rises at its end by more than this much of how it fell at its start."""

COARSE = 2e-3
"""Median gradient down to which weights are rounded to bfloat16: below it the rounding would show."""

PATIENCE_LOW, PATIENCE = 1, 25
"""Iterations that bring a fit no further before it is given up, in low and in full precision."""

LOW_GAIN = 0.8
"""Of the gradient left: what an iteration in low precision must bring it under to count."""


@dataclass(frozen=True, slots=True)
class Guide:
    """What is known of the fits before they descend."""

    solve: Solve
    """With the Gram of the rows."""
    first: First | None = None
    """The first step, where it is better than what `solve` says of the gradient."""
    scaled: bool = False
    """Whether what `solve` gives is of the right direction only."""


@dataclass(frozen=True, slots=True)
class Ends:
    """Where the fits of a block ended; filled in as they do."""

    weights: Tensor
    """[r + 1, c, F]."""
    converged: Tensor
    """[F]."""
    n_iter: Tensor
    """[F]."""
    objective: Tensor
    """Mean weighted log loss + lam/2 |W|^2, nats, [F]; not known in low precision."""
    gradient: Tensor
    """As `remaining` has it, [F]."""

    @classmethod
    def unknown(cls, weights: Tensor) -> Ends:
        """For as many fits as [r + 1, c, F] weights have."""
        zeros = torch.zeros(weights.shape[2], dtype=torch.float64, device=weights.device)
        return cls(weights.clone(), zeros.bool(), zeros.long(), zeros.clone(), zeros.clone())


@dataclass(frozen=True, slots=True)
class _Descent:
    """The fits still descending."""

    block: Block
    places: Tensor
    """Of the fits in the whole block, [F]."""
    W: Tensor
    at: Slope
    hessian: Hessian
    best: Tensor
    """Least gradient yet, [F]."""
    idle: Tensor
    """Iterations that brought neither a lower gradient nor a lower objective, [F]."""
    lower: Tensor
    """Whether the last step brought a lower objective, [F]."""

    def keep(self, kept: Tensor) -> _Descent:
        return _Descent(
            self.block.keep(kept), self.places[kept], self.W[..., kept], self.at.keep(kept), self.hessian.keep(kept),
            self.best[kept], self.idle[kept], self.lower[kept],
        )  # fmt: skip


def remaining(gradient: Tensor, block: Block) -> Tensor:
    """Largest |gradient| of each fit [F]: features in units of their deviation, classes in units of 2 sqrt(p (1 - p)).

    These are the units of the gradient's own sampling error, so that one tolerance asks as much of rare classes as of
    common ones, and of small features as of large ones.
    """
    slopes = (gradient[:-1].abs() / block.rows.deviations[:, None, None]).amax(0)
    return (torch.maximum(slopes, gradient[-1].abs()) / (2 * block.null_curvature.sqrt())).amax(0)


def minimise(block: Block, start: Tensor, guide: Guide, *, tol: float, max_iter: int) -> Ends:
    """Descend in low precision where the rows have it, then in full.

    Args:
        block: F fits.
        start: weights to begin from, [r + 1, c, F].
        guide: what is known beforehand.
        tol: bound on `remaining`.
        max_iter: most iterations of a fit.
    """
    if block.rows.low is None:
        return _descend(block, start, guide, Memory(), tol=tol, max_iter=max_iter)
    left: list[tuple[Tensor, Memory]] = []
    near = _descend(block, start, guide, Memory(), tol=tol, max_iter=max_iter, left=left)
    most, rest = max_iter - int(near.n_iter.max()), replace(guide, first=None)
    ends = _descend(block, centred(near.weights), rest, Memory.joined(left), tol=tol, max_iter=most)
    ends.n_iter.add_(near.n_iter)
    return ends


def _descend(
    block: Block,
    W: Tensor,
    guide: Guide,
    memory: Memory,
    *,
    tol: float,
    max_iter: int,
    left: list[tuple[Tensor, Memory]] | None = None,
) -> Ends:
    """Fits that are done leave, so that the others go on faster.

    Args:
        block: F fits.
        W: weights to begin from, [r + 1, c, F].
        guide: what is known beforehand.
        memory: of earlier steps; it is used up.
        tol: bound on `remaining`.
        max_iter: most iterations of a fit.
        left: collects the memories of those who leave, for who goes on from there; also asks for low precision.
    """
    ends, low = Ends.unknown(W), left is not None
    now = _begin(block, W, low=low)
    for iteration in range(max_iter + 1):
        gradient = remaining(now.at.gradient, now.block)
        better = now.lower | (gradient < (LOW_GAIN if low else 1.0) * now.best)
        now.idle.add_(1).masked_fill_(better, 0)
        torch.minimum(now.best, gradient, out=now.best)
        done = (gradient <= tol) | (now.idle > (PATIENCE_LOW if low else PATIENCE))
        if iteration == max_iter:
            done = torch.ones_like(done)
        if _worth_leaving(done):
            _put(ends, now, done, gradient, tol, iteration)
            if left is not None:
                left.append((now.places[done], memory.of(done)))
            kept = (~done).nonzero()[:, 0]
            if not len(kept):
                break
            now, memory = now.keep(kept), memory.of(kept)
        if iteration == 0 and guide.first is not None and len(now.places) == W.shape[2]:
            direction = guide.first(now.at.gradient)
        else:
            newton = partial(now.hessian.solve, guide.solve)
            direction = memory.direction(now.at.gradient, newton, scaled=guide.scaled)
        now = _step(now, direction, memory, low=low, refresh=iteration & (iteration + 1) == 0)
    return ends


def _begin(block: Block, W: Tensor, *, low: bool) -> _Descent:
    W = _rounded(W, coarse=low)
    at = block.slope(W, low=low, curvature=True, loss=not low)
    places = torch.arange(W.shape[2], device=W.device)
    best = torch.full_like(at.gradient[0, 0], torch.inf)
    return _Descent(block, places, W, at, _hessian(block, at), best, torch.zeros_like(places), places < 0)


def _step(now: _Descent, direction: Tensor, memory: Memory, *, low: bool, refresh: bool) -> _Descent:
    W, there, failed = _search(now, direction, low=low, curvature=refresh)
    given_up = failed & memory.forget(failed)
    memory.push(W - now.W, there.gradient - now.at.gradient)
    return _Descent(
        now.block, now.places, W, there, _hessian(now.block, there) if refresh else now.hessian,
        now.best, now.idle + PATIENCE // 2 * given_up, _changed(now, W, there, higher=False),
    )  # fmt: skip


def _search(now: _Descent, direction: Tensor, *, low: bool, curvature: bool) -> tuple[Tensor, Slope, Tensor]:
    """Where steps along a direction lead [r + 1, c, F], the slope there, and which fits found no step, [F].

    The loss is convex, so the slopes at both ends tell whether a step is too long.
    """
    falls, coarse = dot(now.at.gradient, direction).abs(), low and _coarse(now.best)
    lengths = torch.ones_like(falls)
    W = _rounded(now.W + direction, coarse=coarse)
    there = now.block.slope(W, low=low, curvature=curvature, loss=not low)
    rises = dot(there.gradient, direction)
    for attempt in range(TRIES):
        good = (rises <= OVERSHOT * falls) & ~_changed(now, W, there, higher=True)
        too_long = (~good).nonzero()[:, 0]  # also where it is not a number
        if not len(too_long):
            break
        falling, rising = falls[too_long], rises[too_long]
        lengths[too_long] *= (falling / (falling + rising)).nan_to_num(0.1).clamp(0.1, 0.9)
        if attempt == TRIES - 1:
            lengths[too_long] = 0.0
        W[..., too_long] = _rounded((now.W + direction * lengths)[..., too_long], coarse=coarse)
        again = now.block.keep(too_long).slope(W[..., too_long], low=low, curvature=curvature, loss=not low)
        there.put(too_long, again)
        rises[too_long] = dot(again.gradient, direction[..., too_long])
    return W, there, lengths == 0


def _changed(now: _Descent, W: Tensor, there: Slope, *, higher: bool) -> Tensor:
    """Whether the objective is higher (or lower) than it was by more than rounding, [F]; nowhere without losses."""
    before, after = _objective(now.block, now.W, now.at), _objective(now.block, W, there)
    if before is None or after is None:
        return torch.zeros_like(now.lower)
    rounding = 10 * torch.finfo(W.dtype).eps
    return ~(after <= before * (1 + rounding)) if higher else after < before * (1 - rounding)


def _objective(block: Block, W: Tensor, at: Slope) -> Tensor | None:
    if at.loss is None:
        return None
    return at.loss + 0.5 * block.penalties.double() * dot(W[:-1].double(), W[:-1].double())


def _coarse(gradients: Tensor) -> bool:
    """Whether the fits are so far off that weights rounded to bfloat16, which are cheaper to multiply, serve."""
    return bool(gradients.median() > COARSE)


def _rounded(W: Tensor, *, coarse: bool) -> Tensor:
    return W.bfloat16().to(W.dtype) if coarse else W


def _put(ends: Ends, now: _Descent, done: Tensor, left: Tensor, tol: float, iteration: int) -> None:
    places = now.places[done]
    ends.weights[..., places] = now.W[..., done]
    ends.converged[places] = left[done] <= tol
    ends.n_iter[places] = iteration
    ends.gradient[places] = left[done].double()
    objective = _objective(now.block, now.W, now.at)
    if objective is not None:
        ends.objective[places] = objective[done]


def _worth_leaving(done: Tensor) -> bool:
    """Taking fits out copies the rest: worth it for an eighth of them."""
    n_done = int(done.sum())
    return n_done > 0 and 8 * n_done >= len(done)


def _hessian(block: Block, at: Slope) -> Hessian:
    assert at.curvature is not None
    return Hessian.of(at.curvature, 0.01 * block.null_curvature.amin(0), block.penalties)
