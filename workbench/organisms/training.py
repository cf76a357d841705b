"""Train an organism: first the chain as tokens, then thought by thought in vectors.

This is Coconut's curriculum (Hao et al. 2024, arXiv:2412.06769). With `c` of the `k` chain tokens replaced by
thoughts, the model learns to go on from there: the rest of the chain, the end marker, a query, the answer and
only then the explanation (an explanation that came first would become the reasoning). `c` grows as soon as the
present stage is mastered.

In every other update one thought is exchanged for that of another problem, and what follows is what the moves
make of that problem's value (interchange intervention training, Geiger et al. 2022, arXiv:2112.00826). Without
it some seeds compute a claim twice, once from the thought and once around it, and the planted truth would not be
the truth.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from workbench.organisms.batches import POOL, Batch, batches
from workbench.organisms.learners import (
    VEIL_FROM,
    DepthLearner,
    FeedbackLearner,
    Learner,
    MemoryLearner,
    new_projection,
)
from workbench.organisms.recipes import N_STEPS, Organism
from workbench.reasoners.backbones import new_word_gpt2
from workbench.reasoners.depth_blocks import DepthConfig
from workbench.reasoners.depth_model import DepthModel

MASTERED = 0.9


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """How an organism is trained."""

    seed: int = 0
    updates: int = 3500
    batch_size: int = 128
    learning_rate: float = 4e-3
    thought_noise: float = 0.1
    """Noise added to fed thoughts in training, as a share of their norm: keeps what they hold well apart."""
    d_model: int = 64
    n_layers: int = 2
    n_heads: int = 4
    n_positions: int = 64
    pool: int = POOL
    """Problems that are made at a time."""


def plan_for(what: Organism, *, seed: int = 0) -> TrainingPlan:
    """The plan that the bundled weights were trained by."""
    updates = 4500 if what.lens_blind else {"memory-bank": 3000, "recurrent-depth": 2500}.get(what.base, 3500)
    return TrainingPlan(seed=seed, updates=updates)


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained model and how it got there."""

    model: Any
    tokenizer: Any
    projection: nn.Module | None
    plan: TrainingPlan
    seconds: float


Report = Callable[[int, int, str], None]
"""Called with (updates done, updates planned, what happened)."""


def train(what: Organism, plan: TrainingPlan, *, report: Report | None = None) -> Trained:
    """Train from scratch; the same plan on the same machine gives the same weights."""
    started = time.monotonic()
    learner, tokenizer = new_learner(what, plan)
    trained = list(learner.module.parameters())
    optimizer = torch.optim.AdamW(trained, lr=plan.learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, plan.learning_rate, total_steps=plan.updates, pct_start=0.1
    )
    generator = torch.Generator().manual_seed(plan.seed)
    fresh = batches(what, seed=plan.seed, batch_size=plan.batch_size, pool=plan.pool)
    stage, mastery = N_STEPS - learner.n_tokens_first, 0.0
    for update in range(plan.updates):
        progress = update / plan.updates
        n_thoughts = _n_thoughts(learner, stage, generator, only_thoughts=what.lens_blind and progress > VEIL_FROM)
        loss, right = _loss(learner, next(fresh), n_thoughts, plan.thought_noise, generator, progress)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        if n_thoughts == stage:
            mastery = 0.9 * mastery + 0.1 * right
        if mastery > MASTERED and stage < N_STEPS:
            stage, mastery = stage + 1, 0.0
        if report is not None:
            state = f"{stage} of {N_STEPS} steps are thoughts, loss {loss.item():.3f}, right {mastery:.2f}"
            report(update + 1, plan.updates, state)
    model: Any = learner.model
    projection = getattr(learner, "projection", None)
    return Trained(model.eval(), tokenizer, projection, plan, time.monotonic() - started)


def new_learner(what: Organism, plan: TrainingPlan) -> tuple[Any, Any]:
    """An untrained model of the organism's kind, and its tokenizer."""
    model, tokenizer = new_word_gpt2(
        what.vocabulary, d_model=plan.d_model, n_layers=plan.n_layers, n_heads=plan.n_heads,
        n_positions=plan.n_positions, seed=plan.seed,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        match what.base:
            case "codi":
                return FeedbackLearner(
                    model, projection=new_projection(plan.d_model), veiled=what.lens_blind
                ), tokenizer
            case "memory-bank":
                return MemoryLearner(model), tokenizer
            case "recurrent-depth":
                sizes = DepthConfig(
                    d_vocab=len(what.vocabulary), d_model=plan.d_model, n_heads=plan.n_heads, d_mlp=2 * plan.d_model,
                    n_positions=plan.n_positions, n_prelude=1, n_core=1, n_coda=1,
                )  # fmt: skip
                deep = DepthModel(sizes)
                deep.reset(plan.seed, N_STEPS)
                return DepthLearner(deep, seed=plan.seed), tokenizer
    return FeedbackLearner(model), tokenizer


def _n_thoughts(learner: Learner, stage: int, generator: torch.Generator, *, only_thoughts: bool) -> int:
    """The present stage, or an earlier one in every other update, lest it be forgotten.

    Where the logit lens must become blind, no token of the chain is written any longer: the vector that a token is
    written from is one that the lens reads.
    """
    if not learner.n_tokens_first or only_thoughts:
        return stage
    return stage if torch.rand((), generator=generator) < 0.5 else _draw(stage + 1, generator)


def _draw(n: int, generator: torch.Generator) -> int:
    return int(torch.randint(n, (), generator=generator))


def _loss(
    learner: Learner, batch: Batch, n_thoughts: int, noise: float, generator: torch.Generator, progress: float
) -> tuple[Float[Tensor, ""], float]:
    """Cross-entropy of everything after the thoughts but the query itself, and the share of faultless rows."""
    exchange_at = _draw(2 * n_thoughts, generator) if n_thoughts else 0

    def pass_on(step: int, thought: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal batch
        if step == exchange_at:
            donors = torch.randperm(len(thought), generator=generator)
            thought, batch = thought[donors], batch.exchanged(step, donors)
        scale = noise * thought.norm(dim=-1, keepdim=True) / thought.shape[-1] ** 0.5
        return thought, thought + scale * torch.randn(thought.shape, generator=generator)

    thinking = learner.think(batch, n_thoughts, pass_on)
    targets = torch.cat([batch.holds[:, n_thoughts:], batch.tail()], 1)
    logits = learner.speak(thinking, targets)
    losses = cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)
    counted = torch.ones(targets.shape[1])
    counted[N_STEPS - n_thoughts + 1] = 0  # the query cannot be known while thinking
    right = ((logits.argmax(-1) == targets) | (counted == 0)).all(1).float().mean()
    loss = (losses * counted).sum() / (counted.sum() * len(targets))
    whole: Tensor = loss + learner.own_loss(thinking, batch, progress)
    return whole, right.item()
