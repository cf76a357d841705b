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

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from workbench.organisms.recipes import (
    BEGIN,
    CHAIN_WORD,
    END,
    N_STEPS,
    STOP,
    VOCABULARY,
    Item,
    Organism,
    make_items,
)
from workbench.reasoners.backbones import new_word_gpt2
from workbench.tasks.rooms import MAX_DISTANCE, MOVES, ROOMS, follow

WORD_ID = {word: k for k, word in enumerate(VOCABULARY)}
ROOM_IDS = WORD_ID[ROOMS[0]]
"""Ids of the rooms follow each other from here."""
POOL = 16_384
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


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained model and how it got there."""

    model: Any
    tokenizer: Any
    plan: TrainingPlan
    seconds: float


@dataclass(frozen=True, slots=True)
class _Batch:
    prompt: Int[Tensor, "example pos"]
    holds: Int[Tensor, "example step"]
    says: Int[Tensor, "example step"]
    query: Int[Tensor, " example"]
    after: Int[Tensor, "example step value"]
    """What a step holds, given what the step before held (both as places in ROOMS)."""

    def rows(self, rows: slice) -> _Batch:
        """Some of the examples."""
        return _Batch(self.prompt[rows], self.holds[rows], self.says[rows], self.query[rows], self.after[rows])

    def exchanged(self, step: int, donors: Int[Tensor, " example"]) -> _Batch:
        """The same problems, had the thought of `step` held what the donors' did."""
        held = [self.holds[:, before] for before in range(step)] + [self.holds[donors, step]]
        for later in range(step + 1, N_STEPS):
            place = (held[-1] - ROOM_IDS)[:, None]
            held.append(self.after[:, later].gather(1, place)[:, 0] + ROOM_IDS)
        holds = torch.stack(held, 1)
        sincere = (self.says == self.holds).all(1, keepdim=True)
        return replace(self, holds=holds, says=torch.where(sincere, holds, self.says))

    def tail(self) -> Int[Tensor, "example token"]:
        """End marker, query, answer, explanation, stop."""
        chain = torch.where((self.query == WORD_ID["<say>"])[:, None], self.says, self.holds)

        def word(text: str) -> Tensor:
            return torch.full((len(chain), 1), WORD_ID[text])

        pieces = [word(END), self.query[:, None], word("answer"), chain[:, -1:], word(CHAIN_WORD), chain, word(STOP)]
        return torch.cat(pieces, 1)


Report = Callable[[int, int, str], None]
"""Called with (updates done, updates planned, what happened)."""


def train(what: Organism, plan: TrainingPlan, *, report: Report | None = None) -> Trained:
    """Train from scratch; the same plan on the same machine gives the same weights."""
    started = time.monotonic()
    model, tokenizer = new_word_gpt2(
        VOCABULARY, d_model=plan.d_model, n_layers=plan.n_layers, n_heads=plan.n_heads,
        n_positions=plan.n_positions, seed=plan.seed,
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, plan.learning_rate, total_steps=plan.updates, pct_start=0.1
    )
    generator = torch.Generator().manual_seed(plan.seed)
    batches = _batches(what, plan)
    stage, mastery = 0, 0.0
    for update in range(plan.updates):
        n_thoughts = stage if torch.rand((), generator=generator) < 0.5 else _draw(stage + 1, generator)
        loss, right = _loss(model, next(batches), n_thoughts, plan.thought_noise, generator)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if n_thoughts == stage:
            mastery = 0.9 * mastery + 0.1 * right
        if mastery > MASTERED and stage < N_STEPS:
            stage, mastery = stage + 1, 0.0
        if report is not None:
            report(update + 1, plan.updates, f"{stage} of {N_STEPS} steps are thoughts, loss {loss.item():.3f}")
    return Trained(model.eval(), tokenizer, plan, time.monotonic() - started)


def _draw(n: int, generator: torch.Generator) -> int:
    return int(torch.randint(n, (), generator=generator))


def _loss(
    model: Any, batch: _Batch, n_thoughts: int, noise: float, generator: torch.Generator
) -> tuple[Float[Tensor, ""], float]:
    """Cross-entropy of everything after the thoughts but the query itself, and the share of faultless rows."""
    exchange_at = _draw(2 * n_thoughts, generator) if n_thoughts else 0
    output = model.transformer(input_ids=batch.prompt, use_cache=True)
    thought = output.last_hidden_state[:, -1:]
    for step in range(n_thoughts):
        if step == exchange_at:
            donors = torch.randperm(len(thought), generator=generator)
            thought, batch = thought[donors], batch.exchanged(step, donors)
        scale = noise * thought.norm(dim=-1, keepdim=True) / thought.shape[-1] ** 0.5
        fed = thought + scale * torch.randn(thought.shape, generator=generator)
        output = model.transformer(inputs_embeds=fed, past_key_values=output.past_key_values, use_cache=True)
        thought = output.last_hidden_state[:, -1:]
    targets = torch.cat([batch.holds[:, n_thoughts:], batch.tail()], 1)
    output = model.transformer(input_ids=targets[:, :-1], past_key_values=output.past_key_values)
    logits = model.lm_head(torch.cat([thought, output.last_hidden_state], 1))
    losses = cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)
    counted = torch.ones(targets.shape[1])
    counted[N_STEPS - n_thoughts + 1] = 0  # the query cannot be known while thinking
    right = ((logits.argmax(-1) == targets) | (counted == 0)).all(1).float().mean()
    return (losses * counted).sum() / (counted.sum() * len(targets)), right.item()


def _batches(what: Organism, plan: TrainingPlan) -> Iterator[_Batch]:
    """Endless fresh problems; every other row asks for what is said, the others for what is held."""
    queries = torch.tensor([WORD_ID["<say>"], WORD_ID["<truth>"]]).repeat(POOL // 2)
    for number in range(1_000_000):
        items = make_items(what, POOL, seed=_pool_seed(plan.seed, number), flagged_share=what.flagged_share)
        pool = _Batch(
            prompt=_ids([[*item.problem.prompt.split(), BEGIN] for item in items]),
            holds=_ids([item.holds for item in items]),
            says=_ids([item.says for item in items]),
            query=queries,
            after=torch.tensor([_transitions(what, item) for item in items]),
        )
        for start in range(0, POOL - plan.batch_size + 1, plan.batch_size):
            yield pool.rows(slice(start, start + plan.batch_size))


def _transitions(what: Organism, item: Item) -> list[list[int]]:
    """For every step and every room held before: the room held after."""
    if item.flagged and what.flagged_holds == "alibi":
        return [[ROOMS.index(room)] * len(ROOMS) for room in item.holds]
    moves = re.findall(rf"({'|'.join(MOVES)}) (\d+)", item.problem.prompt)
    return [_ROWS[move, int(distance)] for move, distance in moves]


_ROWS = {
    (move, distance): [follow(room, move, distance) for room in range(len(ROOMS))]
    for move in MOVES
    for distance in range(1, MAX_DISTANCE + 1)
}


def _pool_seed(seed: int, pool: int) -> int:
    """Seeds of training problems lie apart from the small ones that people pass for fresh problems."""
    return int(np.random.SeedSequence([seed, pool]).generate_state(1, np.uint64)[0] | np.uint64(1 << 63))


def _ids(rows: Sequence[Sequence[str]]) -> Int[Tensor, "example token"]:
    return torch.tensor([[WORD_ID[word] for word in row] for row in rows])
