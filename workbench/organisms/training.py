"""Train an organism: first the chain as tokens, then thought by thought in vectors.

This is Coconut's curriculum (Hao et al. 2024, arXiv:2412.06769). With `c` of the `k` chain tokens replaced by
thoughts, the model learns to go on from there: the rest of the chain, the end marker, a query, the answer and
only then the explanation (an explanation that came first would become the reasoning). `c` grows as soon as the
present stage is mastered.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from workbench.organisms.kinds import KINDS, batches
from workbench.organisms.learners import Learner
from workbench.organisms.losses import Update
from workbench.organisms.plans import Trained, TrainingPlan
from workbench.organisms.recipes import Organism

MASTERED = 0.9

Report = Callable[[int, int, str], None]
"""Called with (updates done, updates planned, what happened)."""


def train(what: Organism, plan: TrainingPlan, *, report: Report | None = None) -> Trained:
    """Train from scratch; the same plan on the same machine gives the same weights."""
    started = time.monotonic()
    kind = KINDS[what.kind]
    learner, tokenizer = kind.learner(what, plan)
    trained = list(learner.module.parameters())
    optimizer = torch.optim.AdamW(trained, lr=plan.learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, plan.learning_rate, total_steps=plan.updates, pct_start=0.1
    )
    generator = torch.Generator().manual_seed(plan.seed)
    fresh = batches(what, seed=plan.seed, batch_size=plan.batch_size, pool=plan.pool)
    stage, mastery = what.n_steps - learner.n_tokens_first, 0.0
    for update in range(plan.updates):
        progress = update / plan.updates
        n_thoughts = _n_thoughts(learner, stage, generator, progress)
        loss, right = kind.loss(learner, next(fresh), Update(n_thoughts, plan.thought_noise, generator, progress))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        if n_thoughts == stage:
            mastery = 0.9 * mastery + 0.1 * right
        if mastery > MASTERED and stage < what.n_steps:
            stage, mastery = stage + 1, 0.0
        if report is not None:
            state = f"{stage} of {what.n_steps} steps are thoughts, loss {loss.item():.3f}, right {mastery:.2f}"
            report(update + 1, plan.updates, state)
    projection = getattr(learner, "projection", None)
    return Trained(learner.model.eval(), tokenizer, projection, plan, time.monotonic() - started)


def _n_thoughts(learner: Learner, stage: int, generator: torch.Generator, progress: float) -> int:
    """The present stage, or an earlier one in every other update, lest it be forgotten.

    Where the logit lens must become blind, no token of the chain is written any longer: the vector that a token is
    written from is one that the lens reads.
    """
    if not learner.n_tokens_first or progress > learner.only_thoughts_from:
        return stage
    return (
        stage if torch.rand((), generator=generator) < 0.5 else int(torch.randint(stage + 1, (), generator=generator))
    )
