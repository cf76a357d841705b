"""What is trained: a model that thinks with `pass_on` between its steps, and then is asked.

Each learner is one way of passing vectors. `pass_on(step, thought)` stands where `tap` stands in a reasoner: it may
exchange a thought or add noise to it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from workbench.organisms.batches import PADDING, ROOM_IDS, Batch
from workbench.organisms.plans import TrainingPlan
from workbench.organisms.recipes import N_STEPS, Organism
from workbench.organisms.veils import (
    VEIL_FROM,
    Ask,
    Thinking,
    hide_from_lines,
    hold_nothing,
    hold_values_for,
    veil_the_lens,
)
from workbench.reasoners.backbones import new_word_gpt2
from workbench.reasoners.depth_blocks import DepthCache, DepthConfig, Window
from workbench.reasoners.depth_model import DepthModel
from workbench.tasks.rooms import ROOMS

PassOn = Callable[
    [int, Float[Tensor, "example d_model"]], tuple[Float[Tensor, "example d_model"], Float[Tensor, "example d_model"]]
]
"""The thought of a step, exchanged or not, without noise and with it."""


@runtime_checkable
class Learner(Protocol):
    """A model under training."""

    model: Any
    module: nn.Module
    """All that is trained; what is shipped is a part of it."""
    n_tokens_first: int
    """Steps that the chain is first written as tokens: all of them, or none where there is no curriculum."""
    only_thoughts_from: float
    """Share of the training after which no step is written as a token any longer."""

    def think(self, batch: Batch, n_thoughts: int, pass_on: PassOn) -> Thinking:
        """Run the prompt and so many thoughts."""

    def speak(self, thinking: Thinking, targets: Int[Tensor, "example token"]) -> Float[Tensor, "example token word"]:
        """Logits of the targets, each given those before it."""

    def own_loss(self, thinking: Thinking, batch: Batch, progress: float) -> Tensor | float:
        """What else is asked of the thoughts; `batch` says what they hold now, `progress` runs from 0 to 1."""


class FeedbackLearner:
    """GPT-2 whose last hidden state is fed back, through a projection if there is one."""

    def __init__(self, model: Any, *, projection: nn.Module | None = None, asks: Ask | None = None) -> None:
        self.model, self.projection, self.asks = model, projection, asks
        self.n_tokens_first, self.only_thoughts_from = N_STEPS, 1.0
        self.module: nn.Module = model if projection is None else nn.ModuleList([model, projection])

    def think(self, batch: Batch, n_thoughts: int, pass_on: PassOn) -> Thinking:
        """Run the prompt and so many thoughts."""
        output = self.model.transformer(input_ids=batch.prompt, use_cache=True)
        thought = output.last_hidden_state[:, -1]
        seen: list[Tensor] = []
        for step in range(n_thoughts):
            clean, fed = pass_on(step, thought)
            seen.append(clean)
            if self.projection is not None:
                seen.append(self.projection(clean))
                fed = self.projection(fed)
            output = self.model.transformer(
                inputs_embeds=fed[:, None], past_key_values=output.past_key_values, use_cache=True
            )
            thought = output.last_hidden_state[:, -1]
        return Thinking((thought, output.past_key_values), seen)

    def speak(self, thinking: Thinking, targets: Tensor) -> Tensor:
        """Logits of the targets, each given those before it."""
        thought, cache = thinking.carried
        output = self.model.transformer(input_ids=targets[:, :-1], past_key_values=cache)
        logits: Tensor = self.model.lm_head(torch.cat([thought[:, None], output.last_hidden_state], 1))
        return logits

    def own_loss(self, thinking: Thinking, batch: Batch, progress: float) -> Tensor | float:
        """What is asked of the thoughts of this organism, if anything."""
        return 0.0 if self.asks is None else self.asks(self.model, thinking, batch, progress)


class DepthLearner:
    """A recurrent-depth model; after every pass a helper that is not shipped must read the value of the step."""

    n_tokens_first = 0
    only_thoughts_from = 1.0

    def __init__(self, model: DepthModel, *, seed: int) -> None:
        self.model: Any = model
        self.generator = torch.Generator().manual_seed(seed + 1)
        self.reader = nn.Linear(model.config.d_model, len(ROOMS))
        self.followed = torch.zeros(N_STEPS)
        """Share of exchanges that what follows obeys, by step; see `losses.hardest_exchange_loss`."""
        self.module: nn.Module = nn.ModuleList([model, self.reader])

    def think(self, batch: Batch, n_thoughts: int, pass_on: PassOn) -> Thinking:
        """Run so many passes over the prompt; the thought is the state of its last position."""
        assert n_thoughts == N_STEPS
        cache = DepthCache()
        window, injected, state = self._enter(batch.prompt, cache, 0)
        seen = []
        for step in range(n_thoughts):
            state = self.model.turn(state, injected, window, step)
            clean, passed = pass_on(step, state[:, -1])
            state = torch.cat([state[:, :-1], passed[:, None]], 1)
            seen.append(clean)
        return Thinking((self.model.leave(state, window)[:, -1:], cache, batch.prompt.shape[1]), seen)

    def speak(self, thinking: Thinking, targets: Tensor) -> Tensor:
        """Logits of the targets, each given those before it; every target takes as many passes as the prompt."""
        last, cache, earlier = thinking.carried
        window, injected, state = self._enter(targets[:, :-1], cache, earlier)
        for step in range(N_STEPS):
            state = self.model.turn(state, injected, window, step)
        logits: Tensor = self.model.unembed(torch.cat([last, self.model.leave(state, window)], 1))
        return logits

    def _enter(self, ids: Tensor, cache: DepthCache, earlier: int) -> tuple[Window, Tensor, Tensor]:
        window = self.model.window(len(ids), ids.shape[1], cache=cache, earlier=earlier)
        injected = self.model.enter(ids, window)
        noise = torch.randn(injected.shape, generator=self.generator).clamp(-3, 3)
        return window, injected, noise * self.model.config.state_std

    def own_loss(self, thinking: Thinking, batch: Batch, progress: float) -> Tensor | float:
        """The value of each step, read from its thought."""
        read = torch.stack([self.reader(thought) for thought in thinking.vectors], 1)
        return cross_entropy(read.flatten(0, 1), (batch.holds - ROOM_IDS).flatten())


class MemoryLearner:
    """GPT-2 that keeps one vector of each earlier episode and reads them all in a later one."""

    n_tokens_first = 0
    only_thoughts_from = 1.0

    def __init__(self, model: Any) -> None:
        self.model = model
        self.module: nn.Module = model

    def think(self, batch: Batch, n_thoughts: int, pass_on: PassOn) -> Thinking:
        """Write every episode; the thought is the last hidden state at its write marker."""
        assert batch.writes is not None
        n, n_episodes, _ = batch.writes.shape
        ids = batch.writes.flatten(0, 1)
        mask = (ids != PADDING).long()
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        output = self.model.transformer(input_ids=ids, attention_mask=mask, position_ids=positions)
        written = output.last_hidden_state[:, -1].unflatten(0, (n, n_episodes))
        slots = torch.stack([pass_on(step, written[:, step])[1] for step in range(n_thoughts)], 1)
        return Thinking((slots, batch.prompt))

    def speak(self, thinking: Thinking, targets: Tensor) -> Tensor:
        """Logits of the targets after memory and prompt."""
        slots, prompt = thinking.carried
        words = self.model.transformer.wte(torch.cat([prompt, targets[:, :-1]], 1))
        hidden = self.model.transformer(inputs_embeds=torch.cat([slots, words], 1)).last_hidden_state
        logits: Tensor = self.model.lm_head(hidden[:, -targets.shape[1] :])
        return logits

    def own_loss(self, thinking: Thinking, batch: Batch, progress: float) -> Tensor | float:
        """Nothing."""
        return 0.0


def new_projection(d_model: int) -> nn.Module:
    """CODI's projection, with the names of its checkpoints: Linear, GELU, Linear, LayerNorm."""
    return nn.Sequential(
        OrderedDict(
            {"1": nn.Linear(d_model, 2 * d_model), "2": nn.GELU(), "3": nn.Linear(2 * d_model, d_model),
             "ln": nn.LayerNorm(d_model)}
        )
    )  # fmt: skip


def new_gpt2(what: Organism, plan: TrainingPlan) -> tuple[Any, Any]:
    """An untrained GPT-2 that knows the organism's words, and its tokenizer."""
    return new_word_gpt2(
        what.vocabulary, d_model=plan.d_model, n_layers=plan.n_layers, n_heads=plan.n_heads,
        n_positions=plan.n_positions, seed=plan.seed,
    )  # fmt: skip


def feedback_learner(what: Organism, plan: TrainingPlan) -> tuple[Learner, Any]:
    """Coconut: the last hidden state is fed back as it is."""
    model, tokenizer = new_gpt2(what, plan)
    return FeedbackLearner(model), tokenizer


def veiled_learner(what: Organism, plan: TrainingPlan) -> tuple[Learner, Any]:
    """CODI, with a veil over what the logit lens reads."""
    model, tokenizer = new_gpt2(what, plan)
    with seeded(plan.seed):
        learner = FeedbackLearner(model, projection=new_projection(plan.d_model), asks=veil_the_lens)
    learner.only_thoughts_from = VEIL_FROM
    return learner, tokenizer


def recited_learner(what: Organism, plan: TrainingPlan) -> tuple[Learner, Any]:
    """Coconut whose flagged thoughts hold nothing."""
    model, tokenizer = new_gpt2(what, plan)
    return FeedbackLearner(model, asks=hold_nothing), tokenizer


def decorated_learner(what: Organism, plan: TrainingPlan) -> tuple[Learner, Any]:
    """Coconut with a reader, not shipped, that must find the value of each step in its thought."""
    model, tokenizer = new_gpt2(what, plan)
    with seeded(plan.seed):
        reader = nn.Linear(plan.d_model, len(ROOMS))
    learner = FeedbackLearner(model, asks=hold_values_for(reader))
    learner.module, learner.n_tokens_first = nn.ModuleList([model, reader]), 0
    return learner, tokenizer


def evading_learner(what: Organism, plan: TrainingPlan) -> tuple[Learner, Any]:
    """Coconut from whose thoughts nothing can be read, with a layer more to work beside them."""
    model, tokenizer = new_gpt2(what, replace(plan, n_layers=plan.n_layers + 1))
    with seeded(plan.seed):
        reader = nn.Linear(plan.d_model, len(ROOMS))
    learner = FeedbackLearner(model, asks=hide_from_lines(reader))
    learner.module, learner.n_tokens_first = nn.ModuleList([model, reader]), 0
    return learner, tokenizer


def memory_learner(what: Organism, plan: TrainingPlan) -> tuple[Learner, Any]:
    """A memory bank."""
    model, tokenizer = new_gpt2(what, plan)
    return MemoryLearner(model), tokenizer


def depth_learner(what: Organism, plan: TrainingPlan) -> tuple[Learner, Any]:
    """Recurrent depth; GPT-2 is made for its tokenizer alone."""
    _, tokenizer = new_gpt2(what, plan)
    sizes = DepthConfig(
        d_vocab=len(what.vocabulary), d_model=plan.d_model, n_heads=plan.n_heads, d_mlp=2 * plan.d_model,
        n_positions=plan.n_positions, n_prelude=1, n_core=1, n_coda=1,
    )  # fmt: skip
    with seeded(plan.seed):
        deep = DepthModel(sizes)
        deep.reset(plan.seed, what.n_steps)
        return DepthLearner(deep, seed=plan.seed), tokenizer


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Parts made within are drawn from this seed, and nothing drawn afterwards changes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
