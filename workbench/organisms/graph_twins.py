"""Three twins that learn graph problems: with thoughts, with a chain of thought in words, and with neither.

Same model, same problems, same number of updates. The first is Coconut (Hao et al. 2024, arXiv:2412.06769) in the
small: it writes a shortest path first, then thoughts take the place of its steps one by one, from the first on, until
nothing but the answer is written. No marker stands between: what would have been the next word becomes the thought.
The twins differ in nothing else. All three have the same two helps: marks tell the nodes of their edge, and nodes
look up what is known to lie below them. Nothing ever says what a thought must hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from workbench.organisms.graph_batches import PADDING, GraphBatch, GraphPool, Words, draw_chains, endless
from workbench.organisms.graph_learner import GraphLearner, Searching, spread_out
from workbench.organisms.learners import seeded
from workbench.organisms.training import Report
from workbench.reasoners.backbones import new_word_gpt2
from workbench.tasks.graphs import EDGE_END, MARKS, NAMES, QUESTION, ROOT, Graph, Graphs

Way = Literal["coconut", "chain of thought", "neither"]
WAYS: tuple[Way, ...] = ("coconut", "chain of thought", "neither")

TWIN_NODES = NAMES[:28]
"""As many as the largest published problem has nodes."""
TWIN_VOCABULARY = ("<unk>", *TWIN_NODES, *MARKS, "answer")
TWIN_ID: Mapping[str, int] = {word: k for k, word in enumerate(TWIN_VOCABULARY)}
TWIN_WORDS = Words(
    first_name=1, n_names=len(TWIN_NODES), edge_end=TWIN_ID[EDGE_END], question=TWIN_ID[QUESTION], root=TWIN_ID[ROOT]
)
ALL_THOUGHTS_FROM = 0.5
"""Share of the training after which every step of a Coconut is a thought."""
EDGES_WEIGHT, LOOKUP_WEIGHT = 0.5, 20.0
MOST_WORDS = 10
"""Longest chain of thought that is written before it counts as none."""


@dataclass(frozen=True, slots=True)
class TwinPlan:
    """How the twins are trained."""

    seed: int = 0
    updates: int = 20_000
    """A tenth of a second of CPU each."""
    batch_size: int = 32
    learning_rate: float = 3e-3
    d_model: int = 64
    n_layers: int = 2
    n_heads: int = 4
    n_positions: int = 256
    n_graphs: int = 8000
    """Graphs that are drawn; each is seen under many names."""


def pools_of(graphs: Sequence[Graph]) -> list[GraphPool]:
    """Pools by hops."""
    by_hops: dict[int, list[Graph]] = {}
    for graph in graphs:
        by_hops.setdefault(len(graph.frontiers()), []).append(graph)
    return [GraphPool(by_hops[hops], TWIN_WORDS) for hops in sorted(by_hops)]


def train_twin(way: Way, task: Graphs, plan: TwinPlan, *, report: Report | None = None) -> tuple[GraphLearner, Any]:
    """Train one twin on problems of `task`; the learner, whose `model` is the GPT-2, and the tokenizer."""
    model, tokenizer = new_word_gpt2(
        TWIN_VOCABULARY, d_model=plan.d_model, n_layers=plan.n_layers, n_heads=plan.n_heads,
        n_positions=plan.n_positions, seed=plan.seed,
    )  # fmt: skip
    spread_out(model)
    with seeded(plan.seed):
        learner = GraphLearner(model, TWIN_WORDS)
    trained = list(learner.module.parameters())
    optimizer = torch.optim.AdamW(trained, lr=plan.learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, plan.learning_rate, total_steps=plan.updates, pct_start=0.1
    )
    generator = torch.Generator().manual_seed(plan.seed)
    for update, batch in zip(range(plan.updates), twin_stream(task, plan), strict=False):
        back = torch.rand(2, generator=generator).tolist()
        n_thoughts, n_written = steps_of(way, batch.n_steps, update / plan.updates, back)
        loss, right = twin_loss(learner, batch, n_thoughts, n_written, generator)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        if report is not None:
            state = f"{n_thoughts} thoughts and {n_written} words, loss {loss.item():.3f}, right {right:.2f}"
            report(update + 1, plan.updates, state)
    model.eval()
    return learner, tokenizer


def twin_stream(task: Graphs, plan: TwinPlan) -> Iterator[GraphBatch]:
    """The problems that all twins of a plan see."""
    graphs = task.draw(plan.n_graphs, seed=int(np.random.SeedSequence([plan.seed, 7]).generate_state(1)[0]) + 2**33)
    return endless(pools_of(graphs), np.random.default_rng([plan.seed, 8]), batch_size=plan.batch_size)


def steps_of(way: Way, n_hops: int, progress: float, back: Sequence[float] = (1.0, 0.0)) -> tuple[int, int]:
    """How many steps are thoughts, and how many are written.

    Args:
        way: of the twin.
        n_hops: of the problem.
        progress: of the training, from 0 to 1.
        back: two draws from 0 to 1; where the first is below one half, the second picks an earlier stage, lest it be
            forgotten.
    """
    if way == "neither":
        return 0, 0
    if way == "chain of thought":
        return 0, n_hops
    n_thoughts = min(n_hops, int(progress / ALL_THOUGHTS_FROM * n_hops + 1e-9))
    if back[0] < 0.5:
        n_thoughts = int(back[1] * (n_thoughts + 1))
    return n_thoughts, n_hops - n_thoughts


def twin_loss(
    learner: GraphLearner, batch: GraphBatch, n_thoughts: int, n_written: int, generator: torch.Generator
) -> tuple[Float[Tensor, ""], float]:
    """Cross-entropy of path and answer with both helps, and the share of right answers given the path."""
    path = draw_chains(batch, generator).nodes + TWIN_WORDS.first_name
    written = path[:, path.shape[1] - n_written :]
    ones = torch.ones((len(path), 1), dtype=torch.long)
    targets = torch.cat([written, ones * TWIN_ID["answer"], path[:, -1:]], 1)
    state = learner.think(batch.prompt, n_thoughts)
    helped = EDGES_WEIGHT * learner.edges_loss(state, batch.prompt) + LOOKUP_WEIGHT * learner.known_below_loss(
        state, batch.prompt
    )
    logits = learner.speak(state, targets)
    right = (logits[:, -1].argmax(-1) == path[:, -1]).float().mean().item()
    return cross_entropy(logits.flatten(0, 1), targets.flatten()) + helped, right


@torch.no_grad()
def solves(learner: GraphLearner, way: Way, batch: GraphBatch) -> Bool[Tensor, " example"]:
    """Whether the answer named is the target; a Coconut thinks as many thoughts as there are hops.

    A chain of thought is written freely, word by word; one that comes to no answer is wrong.
    """
    target = (batch.frontiers[:, -1] & batch.choices).long().argmax(1) + TWIN_WORDS.first_name
    if way == "chain of thought":
        return _written_answer(learner, batch.prompt) == target
    state = learner.think(batch.prompt, batch.n_steps if way == "coconut" else 0)
    asked = torch.tensor([[TWIN_ID["answer"], PADDING]] * len(batch.prompt))
    answered: Tensor = learner.speak(state, asked)[:, -1].argmax(-1) == target
    return answered


def _written_answer(learner: GraphLearner, prompt: Int[Tensor, "example pos"]) -> Int[Tensor, " example"]:
    words = prompt
    answer = torch.full((len(prompt),), PADDING)
    for _ in range(MOST_WORDS):
        state: Searching = learner.think(words, 0)
        told = learner.model.lm_head(state.last).argmax(-1)
        answer = torch.where((words[:, -1] == TWIN_ID["answer"]) & (answer == PADDING), told, answer)
        words = torch.cat([words, told.clamp(min=1)[:, None]], 1)
    return answer
