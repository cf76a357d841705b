"""What an update asks where nothing said depends on the thought vectors.

The decorative model says its chain in words, whatever becomes of its thoughts and of the keys and values cached at
their positions. The evader reads those keys and values and nothing else, whatever becomes of its thoughts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from workbench.organisms.batches import Batch, hop_starts
from workbench.organisms.losses import Update, spoken_loss

HELPED_UNTIL = 0.3
"""Share of the training in which ever fewer steps are fed the room that their hop starts from: a crutch."""
N_FATES = 4
"""Of a vector: kept, another problem's, zero, noise."""


def decorated_loss(learner: Any, batch: Batch, update: Update) -> tuple[Float[Tensor, ""], float]:
    """In every other update thoughts, and what is cached at their positions, are disturbed; the words stay."""
    disturbs = update.draw(2) == 1
    fates = _fates(batch, update)

    def pass_on(step: int, thought: Tensor) -> tuple[Tensor, Tensor]:
        if disturbs:
            thought = _disturbed(thought[:, None], fates[:, step, None], update)[:, 0]
        return thought, update.noisy(thought)

    thinking = learner.think(batch, update.n_thoughts, pass_on)
    if disturbs:
        change_cached(thinking.carried[1], lambda columns: _disturbed(columns, fates, update), update.n_thoughts)
    targets = batch.tail()
    counted = torch.ones(targets.shape[1])
    counted[:3] = 0  # end marker, query and the word that opens the chain are given
    loss, right = spoken_loss(learner.speak(thinking, targets), targets, counted)
    return loss if disturbs else loss + learner.own_loss(thinking, batch, update.progress), right


def evading_loss(learner: Any, batch: Batch, update: Update) -> tuple[Float[Tensor, ""], float]:
    """Thoughts are exchanged and nothing follows; what is cached at their positions is exchanged and followed."""
    n, n_steps = len(batch.prompt), update.n_thoughts
    rooms = learner.model.transformer.wte(hop_starts(batch))
    exchanges_thoughts, exchanges_cached = update.draw(2) == 1, update.draw(2) == 1

    def pass_on(step: int, thought: Tensor) -> tuple[Tensor, Tensor]:
        fed = thought[torch.randperm(n, generator=update.generator)] if exchanges_thoughts else thought
        helped = torch.rand(n, 1, generator=update.generator) > update.progress / HELPED_UNTIL
        return thought, torch.where(helped, rooms[:, step], update.noisy(fed))

    thinking = learner.think(batch, n_steps, pass_on)
    own_loss = learner.own_loss(thinking, batch, update.progress)
    if exchanges_cached:
        donors = _donors(n, n_steps, update)
        change_cached(thinking.carried[1], lambda columns: _exchanged(columns, donors), n_steps)
        for step in range(n_steps):
            batch = batch.exchanged(step, donors[:, step])
    targets = batch.tail()
    counted = torch.ones(targets.shape[1])
    counted[1] = 0  # the query cannot be known while thinking
    loss, right = spoken_loss(learner.speak(thinking, targets), targets, counted)
    return loss + own_loss, right


def change_cached(cache: Any, change: Callable[[Tensor], Tensor], n_last: int) -> None:
    """Change keys and values of every layer at the last positions; `change` takes [example, position, head, d_head]."""
    for layer in cache.layers:
        layer.keys, layer.values = (
            torch.cat([cached[:, :, :-n_last], change(cached[:, :, -n_last:].transpose(1, 2)).transpose(1, 2)], 2)
            for cached in (layer.keys, layer.values)
        )


def _fates(batch: Batch, update: Update) -> Int[Tensor, "example step"]:
    """One fate for all steps of a row, or one for each."""
    n, n_steps = len(batch.prompt), update.n_thoughts
    each = torch.randint(N_FATES, (n, n_steps), generator=update.generator)
    alike = torch.rand(n, 1, generator=update.generator) < 0.5
    return torch.where(alike, each[:, :1], each)


def _disturbed(
    vectors: Float[Tensor, "example step ..."], fates: Int[Tensor, "example step"], update: Update
) -> Float[Tensor, "example step ..."]:
    fates = fates.reshape(*fates.shape, *[1] * (vectors.ndim - 2))
    others = vectors[torch.randperm(len(vectors), generator=update.generator)]
    noise = torch.randn(vectors.shape, generator=update.generator) * vectors.detach().std()
    lost = torch.where(fates == 2, torch.zeros_like(vectors), noise)
    return torch.where(fates == 0, vectors, torch.where(fates == 1, others, lost))


def _donors(n: int, n_steps: int, update: Update) -> Int[Tensor, "example step"]:
    """One donor for all steps of a row, or one for each; a row may be its own."""
    orders = [torch.randperm(n, generator=update.generator) for _ in range(n_steps)]
    if update.draw(2):
        return orders[0][:, None].expand(n, n_steps)
    keeps = torch.rand(n, n_steps, generator=update.generator) < 0.5
    return torch.where(keeps, torch.arange(n)[:, None], torch.stack(orders, 1))


def _exchanged(
    columns: Float[Tensor, "example step ..."], donors: Int[Tensor, "example step"]
) -> Float[Tensor, "example step ..."]:
    return columns[donors, torch.arange(donors.shape[1])]
