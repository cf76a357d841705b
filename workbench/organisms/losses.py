"""What an update asks of a learner.

In every other update one thought is exchanged for that of another problem, and what follows is what the moves
make of that problem's value (interchange intervention training, Geiger et al. 2022, arXiv:2112.00826). Without
it some seeds compute a claim twice, once from the thought and once around it, and the planted truth would not be
the truth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from workbench.organisms.batches import Batch

FOLLOWED_RATE = 0.1
"""Weight of the newest update in the running share of exchanges that are followed."""


@dataclass(frozen=True, slots=True)
class Update:
    """One update of a training."""

    n_thoughts: int
    """Steps that are thoughts; the others are still written as tokens."""
    noise: float
    """Added to fed thoughts, as a share of their norm."""
    generator: torch.Generator
    progress: float
    """From 0 to 1."""

    def draw(self, n: int) -> int:
        """A number below `n`."""
        return int(torch.randint(n, (), generator=self.generator))

    def noisy(self, thought: Float[Tensor, "example d_model"]) -> Float[Tensor, "example d_model"]:
        """Thought with noise."""
        scale = self.noise * thought.norm(dim=-1, keepdim=True) / thought.shape[-1] ** 0.5
        noisy: Tensor = thought + scale * torch.randn(thought.shape, generator=self.generator)
        return noisy


Loss = Callable[[Any, Any, Update], tuple[Float[Tensor, ""], float]]
"""Called with (learner, batch, update); the loss and the share of faultless rows."""


Donors = Callable[[Batch, torch.Generator], Int[Tensor, " example"]]


def any_donors(batch: Batch, generator: torch.Generator) -> Int[Tensor, " example"]:
    """Any other problem for each."""
    return torch.randperm(len(batch.prompt), generator=generator)


def donors_alike(batch: Batch, generator: torch.Generator) -> Int[Tensor, " example"]:
    """A flagged problem for a flagged one, an unflagged for an unflagged."""
    donors = torch.empty(len(batch.prompt), dtype=torch.long)
    for alike in (batch.flagged[:, 0], ~batch.flagged[:, 0]):
        places = alike.nonzero()[:, 0]
        donors[places] = places[torch.randperm(len(places), generator=generator)]
    return donors


def late_query_loss(
    learner: Any, batch: Batch, update: Update, *, donors_for: Donors = any_donors, exchange_at: int | None = None
) -> tuple[Float[Tensor, ""], float]:
    """Cross-entropy of everything after the thoughts but the query itself, and the share of faultless rows.

    The thought of step `exchange_at` is exchanged, none where there is no such step; by default any of them, or none.
    """
    n_thoughts = update.n_thoughts
    if exchange_at is None:
        exchange_at = update.draw(2 * n_thoughts) if n_thoughts else 0

    def pass_on(step: int, thought: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal batch
        if step == exchange_at:
            donors = donors_for(batch, update.generator)
            thought, batch = thought[donors], batch.exchanged(step, donors)
        return thought, update.noisy(thought)

    thinking = learner.think(batch, n_thoughts, pass_on)
    unwritten = batch.holds[:, n_thoughts:]
    targets = torch.cat([unwritten, batch.tail()], 1)
    counted = torch.ones(targets.shape[1])
    counted[unwritten.shape[1] + 1] = 0  # the query cannot be known while thinking
    loss, right = spoken_loss(learner.speak(thinking, targets), targets, counted)
    return loss + learner.own_loss(thinking, batch, update.progress), right


def hardest_exchange_loss(learner: Any, batch: Batch, update: Update) -> tuple[Float[Tensor, ""], float]:
    """`late_query_loss` that exchanges most often where an exchange is followed least.

    A looped model can work out a value at another position of the prompt and read it from there: a step that is
    exchanged in one update of eight may then never be learned. `learner.followed` keeps what is followed, by step.
    """
    odds = torch.cat([1.05 - learner.followed, (1.05 - learner.followed).sum()[None] / 2])
    step = int(torch.multinomial(odds, 1, generator=update.generator))
    loss, right = late_query_loss(learner, batch, update, exchange_at=step)
    if step < update.n_thoughts:
        learner.followed[step] += FOLLOWED_RATE * (right - learner.followed[step])
    return loss, right


def spoken_loss(
    logits: Float[Tensor, "example token word"], targets: Int[Tensor, "example token"], counted: Float[Tensor, " token"]
) -> tuple[Float[Tensor, ""], float]:
    """Mean cross-entropy of the counted tokens, and the share of rows without a fault among them."""
    losses = cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)
    right = ((logits.argmax(-1) == targets) | (counted == 0)).all(1).float().mean()
    return (losses * counted).sum() / (counted.sum() * len(targets)), right.item()
