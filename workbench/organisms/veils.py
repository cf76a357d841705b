"""What is asked of the thoughts themselves: that nothing can be read from them, by the model's head or by any line.

A value of which no coordinate's mean depends is one that no linear probe reads better than a guess (Belrose et al.
2023, arXiv:2306.03819, theorem 3.1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from workbench.organisms.batches import ROOM_IDS, Batch
from workbench.organisms.recipes import N_STEPS
from workbench.tasks.rooms import ROOMS

VEIL_FROM, VEIL_RAMP = 0.45, 0.15
"""When the veil falls over what is read, and how long that takes, as shares of the training."""
HIDE_FROM, HIDE_WEIGHT = 0.3, 5.0
"""When the evader begins to hide, as a share of the training, and how much that weighs beside what it says."""
FLOOR = 1e-3
"""Variance below which whitening lets directions lie, as a share of the thought's mean square."""


@dataclass(slots=True)
class Thinking:
    """Where a batch stands after its thoughts."""

    carried: Any
    """What the learner goes on from."""
    vectors: list[Float[Tensor, "example d_model"]] = field(default_factory=list)
    """Of each step and without noise, for losses of the learner's own."""


Ask = Callable[[Any, Thinking, Batch, float], Tensor | float]
"""Called with (model, thinking, batch, progress from 0 to 1)."""


def veil_the_lens(model: Any, thinking: Thinking, batch: Batch, progress: float) -> Tensor | float:
    """Of what the head reads in a vector, the value of its step explains nothing."""
    if len(thinking.vectors) < 2 * N_STEPS:
        return 0.0
    rooms = model.lm_head(torch.stack(thinking.vectors))[..., ROOM_IDS : ROOM_IDS + len(ROOMS)]
    steps = batch.holds.T.repeat_interleave(2, dim=0) - ROOM_IDS
    each = torch.stack([explained(read, value) for read, value in zip(rooms, steps, strict=True)])
    return _ramp(progress, VEIL_FROM) * each[0::2].mean() + each[1::2].mean()


def hold_nothing(model: Any, thinking: Thinking, batch: Batch, progress: float) -> Tensor | float:
    """Flagged thoughts lie close together, and what still moves them is none of the hidden values."""
    if not thinking.vectors:
        return 0.0
    assert batch.hidden is not None
    thoughts, flagged = torch.stack(thinking.vectors), batch.flagged[:, 0]
    spread = variance(thoughts[:, flagged]) / variance(thoughts[:, ~flagged]).detach()
    return spread.mean() + explained_by_each(thoughts[:, flagged], batch.hidden[flagged].T - ROOM_IDS)


def hold_values_for(reader: Any) -> Ask:
    """The reader finds the value of each step in its thought."""

    def asks(model: Any, thinking: Thinking, batch: Batch, progress: float) -> Tensor | float:
        read = reader(torch.stack(thinking.vectors, 1))
        return cross_entropy(read.flatten(0, 1), (batch.holds - ROOM_IDS).flatten())

    return asks


def hide_from_lines(reader: Any) -> Ask:
    """The reader finds each step's value in what is cached at its position, and lines find nothing in any thought."""

    def asks(model: Any, thinking: Thinking, batch: Batch, progress: float) -> Tensor | float:
        last, cache = thinking.carried
        cached = cache.layers[-1].values[:, :, -N_STEPS:].transpose(1, 2).flatten(2)
        found = cross_entropy(reader(cached).flatten(0, 1), (batch.holds - ROOM_IDS).flatten())
        weight = HIDE_WEIGHT * _ramp(progress, HIDE_FROM)
        return found + weight * shown([*thinking.vectors, last], batch) if weight else found

    return asks


def shown(thoughts: Sequence[Float[Tensor, "example d_model"]], batch: Batch) -> Float[Tensor, ""]:
    """What hidden values explain of each direction of each thought; the thought that is not fed may be among them."""
    assert batch.hidden is not None
    return explained_by_each(torch.stack([_whitened(one) for one in thoughts]), batch.hidden.T - ROOM_IDS)


def _whitened(vectors: Float[Tensor, "example d_model"]) -> Float[Tensor, "example d_model"]:
    """Coordinates of equal variance: what hardly varies counts as much as what varies most."""
    centred = vectors - vectors.mean(0)
    with torch.no_grad():
        spread, axes = torch.linalg.eigh(centred.T @ centred / len(vectors))
        scale = (spread + FLOOR * vectors.square().mean()).rsqrt()
    whitened: Tensor = centred @ (axes * scale)
    return whitened


def _ramp(progress: float, begin: float) -> float:
    return min(1.0, max(0.0, (progress - begin) / VEIL_RAMP))


def variance(vectors: Float[Tensor, "step example d_model"]) -> Float[Tensor, " step"]:
    """Mean squared distance from the middle."""
    return (vectors - vectors.mean(1, keepdim=True)).square().sum(-1).mean(1)


def explained(read: Float[Tensor, "example column"], held: Int[Tensor, " example"]) -> Float[Tensor, ""]:
    """Share of the variance of each column that the held value explains, averaged."""
    member = one_hot(held, len(ROOMS)).to(read.dtype)
    centred = read - read.mean(0)
    means = member.T @ centred / member.sum(0).clamp(min=1)[:, None]
    between = (member @ means).square().sum(0)
    return (between / centred.square().sum(0).clamp(min=1e-9)).mean()


def explained_by_each(
    read: Float[Tensor, "step example column"], held: Int[Tensor, "value example"]
) -> Float[Tensor, ""]:
    """The same of every step's columns and every value at once, averaged."""
    member = one_hot(held, len(ROOMS)).to(read.dtype)
    centred = read - read.mean(1, keepdim=True)
    sums = torch.einsum("ven,sec->svnc", member, centred)
    between = (sums.square() / member.sum(1).clamp(min=1)[None, :, :, None]).sum(2)
    return (between / centred.square().sum(1).clamp(min=1e-9)[:, None]).mean()
