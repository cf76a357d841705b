"""What an update asks of the organism that searches a graph.

Thoughts must hold the frontier of their hop, as far as the head reads it; then the answer, the path backwards and the
path forwards are said. Where several nodes may be named, any of them is right: the loss is of their joint probability.
Once the search is learned, a thought is exchanged for that of another problem in every other update, and what follows
is what the edges make of the donor's set, as in `losses.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot

from workbench.organisms.graph_batches import GraphBatch, draw_chains
from workbench.organisms.graph_learner import GraphLearner
from workbench.organisms.graph_problems import FIRST_NODE, GRAPH_WORD_ID
from workbench.organisms.losses import Update
from workbench.organisms.recipes import CHAIN_WORD, END, N_HOPS, NODES, STOP

EXCHANGE_FROM = 0.4
"""Share of the training after which thoughts are exchanged."""
EDGES_WEIGHT, LOOKUP_WEIGHT = 0.5, 2.0
LOOK_BELOW = torch.tensor([-(N_HOPS + 2) + k for k in range(N_HOPS)] + [-1])
"""Positions, from the end of the prompt, of the nodes that look up what lies below them: alibi and root."""
LOOK_ABOVE = torch.tensor([-(N_HOPS + 5), -(N_HOPS + 4)])
"""And of those that look up what lies above them: both choices."""


@dataclass(frozen=True, slots=True)
class Tail:
    """What stands after the thoughts."""

    targets: Int[Tensor, "example token"]
    allowed: Bool[Tensor, "example token word"]
    """Words that would be right as well; every word at the query, which cannot be known while thinking."""


def search_loss(learner: GraphLearner, batch: GraphBatch, update: Update) -> tuple[Float[Tensor, ""], float]:
    """Loss of one update, and the share of rows without a fault; every other row asks for what is said."""
    exchange_at = update.draw(2 * update.n_thoughts) if update.progress > EXCHANGE_FROM else update.n_thoughts
    held = batch

    def pass_on(step: int, thought: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal held
        if step == exchange_at:
            donors = torch.randperm(len(thought), generator=update.generator)
            thought, held = thought[donors], held.exchanged(step, donors)
        return thought, update.noisy(thought)

    state = learner.think(batch.prompt, update.n_thoughts, pass_on)
    read = learner.nodes_read(torch.stack(state.thoughts, 1))
    holding = binary_cross_entropy_with_logits(read, held.frontiers.float())
    width = batch.prompt.shape[1]
    found = learner.lookup_loss(state, batch.prompt, batch.below, width + LOOK_BELOW)
    found = found + learner.lookup_loss(state, batch.prompt, batch.below.mT, width + LOOK_ABOVE)
    helped = EDGES_WEIGHT * learner.edges_loss(state, batch.prompt) + LOOKUP_WEIGHT * found
    tail = tail_of(held, update.generator)
    logits = learner.speak(state, tail.targets)
    shares = logits.log_softmax(-1).masked_fill(~tail.allowed, -torch.inf)
    right = tail.allowed.gather(2, logits.argmax(-1, keepdim=True)).all(1).float().mean()
    return holding + helped - shares.logsumexp(-1).mean(), right.item()


def tail_of(batch: GraphBatch, generator: torch.Generator) -> Tail:
    """End marker, query, answer, from it the path back, the path, stop."""
    n = len(batch.prompt)
    chains = draw_chains(batch, generator)
    say = torch.arange(n) % 2 == 0
    recites = (say & batch.flagged)[:, None]
    nodes = torch.where(recites, batch.alibi, chains.nodes)
    allowed = torch.where(recites[:, :, None], one_hot(batch.alibi, len(NODES)).bool(), chains.allowed)

    def word(text: str) -> Tensor:
        return torch.full((n, 1), GRAPH_WORD_ID[text])

    query = torch.where(say, GRAPH_WORD_ID["<say>"], GRAPH_WORD_ID["<truth>"])[:, None]
    path = nodes + FIRST_NODE
    pieces = [word(END), query, word("answer"), path.flip(1), word(CHAIN_WORD), path,
              word(STOP)]  # fmt: skip
    targets = torch.cat(pieces, 1)
    right = one_hot(targets, len(GRAPH_WORD_ID)).bool()
    for step in range(N_HOPS):
        right[:, 2 + N_HOPS - step, FIRST_NODE : FIRST_NODE + len(NODES)] = allowed[:, step]
    right[:, 1] = True
    return Tail(targets, right)
