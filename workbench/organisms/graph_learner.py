"""A GPT-2 under training whose prompts differ in length: padded on the left, positions counted from the first word.

Two helps, neither of them shipped, let two layers find search within minutes. Read after the first layer, the mark
that ends an edge must tell both nodes of it; and a node must look up in the last layer what it is linked to.
Weights start as spread as their width asks for (GPT-2's own 0.02 is meant for ten times the width), and positions as
sines (Vaswani et al. 2017, arXiv:1706.03762), from which a look at the word before is one rotation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from workbench.organisms.graph_batches import PADDING, Words
from workbench.organisms.graph_problems import WORDS
from workbench.organisms.learners import seeded
from workbench.organisms.plans import TrainingPlan
from workbench.organisms.recipes import Organism
from workbench.reasoners.backbones import new_word_gpt2

SPREAD = 0.1
"""Standard deviation of the weights at the start."""
N_POSITIONS = 128
POSITION_SCALE = 0.15
LONGEST_WAVE = 200.0

PassOn = Callable[[int, Tensor], tuple[Tensor, Tensor]]
"""The thought of a step, exchanged or not, without noise and with it."""


@dataclass(slots=True)
class Searching:
    """Where a batch stands after its thoughts."""

    mask: Int[Tensor, "example pos"]
    cache: Any
    last: Float[Tensor, "example d_model"]
    first_layer: Float[Tensor, "example pos d_model"]
    """Of the prompt."""
    top: Float[Tensor, "example pos d_model"]
    """Of the prompt."""
    thoughts: list[Float[Tensor, "example d_model"]] = field(default_factory=list)


def as_it_is(step: int, thought: Tensor) -> tuple[Tensor, Tensor]:
    """Pass a thought on unchanged."""
    return thought, thought


class GraphLearner:
    """A GPT-2 whose last hidden state is fed back as a thought, or that only reads and writes words."""

    n_tokens_first = 0
    only_thoughts_from = 1.0

    def __init__(self, model: Any, words: Words) -> None:
        self.model, self.words = model, words
        width = model.config.n_embd
        self.edge_reader = nn.Linear(width, 2 * words.n_names)
        self.scale, self.bias = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(-2.0))
        self.module: nn.Module = nn.ModuleList([model, self.edge_reader])
        self.module.register_parameter("scale", self.scale)
        self.module.register_parameter("bias", self.bias)

    def _feed(self, mask: Tensor, cache: Any, **what: Tensor) -> Any:
        n_new = next(iter(what.values())).shape[1]
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -n_new:]
        return self.model.transformer(
            **what, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True,
            output_hidden_states=True,
        )  # fmt: skip

    def think(self, prompt: Int[Tensor, "example pos"], n_thoughts: int, pass_on: PassOn = as_it_is) -> Searching:
        """Run the prompt and so many thoughts."""
        mask = (prompt != PADDING).long()
        output = self._feed(mask, None, input_ids=prompt)
        top = output.last_hidden_state
        state = Searching(mask, output.past_key_values, top[:, -1], output.hidden_states[1], top)
        for step in range(n_thoughts):
            clean, fed = pass_on(step, state.last)
            state.thoughts.append(clean)
            state.mask = longer(state.mask, 1)
            output = self._feed(state.mask, state.cache, inputs_embeds=fed[:, None])
            state.last, state.cache = output.last_hidden_state[:, -1], output.past_key_values
        return state

    def speak(self, state: Searching, targets: Int[Tensor, "example token"]) -> Float[Tensor, "example token word"]:
        """Logits of the targets, each given those before it."""
        hidden = state.last[:, None]
        if targets.shape[1] > 1:
            mask = longer(state.mask, targets.shape[1] - 1)
            output = self._feed(mask, state.cache, input_ids=targets[:, :-1])
            hidden = torch.cat([hidden, output.last_hidden_state], 1)
        logits: Tensor = self.model.lm_head(hidden)
        return logits

    def nodes_read(self, hidden: Float[Tensor, "... d_model"]) -> Float[Tensor, "... node"]:
        """Log odds that the head reads each node."""
        first = self.words.first_name
        heads = self.model.lm_head.weight[first : first + self.words.n_names]
        odds: Tensor = self.scale * (hidden @ heads.T) + self.bias
        return odds

    def edges_loss(self, state: Searching, prompt: Int[Tensor, "example pos"]) -> Float[Tensor, ""]:
        """The mark that ends an edge tells its nodes after the first layer."""
        places = prompt - self.words.first_name
        named = (places >= 0) & (places < self.words.n_names)
        row, mark = ((prompt[:, 2:] == self.words.edge_end) & named[:, :-2] & named[:, 1:-1]).nonzero(as_tuple=True)
        told = self.edge_reader(state.first_layer[row, mark + 2])
        start, end = told.chunk(2, 1)
        loss: Tensor = cross_entropy(start, places[row, mark]) + cross_entropy(end, places[row, mark + 1])
        return loss

    def lookup_loss(
        self,
        state: Searching,
        prompt: Int[Tensor, "example pos"],
        linked: Bool[Tensor, "example node node"],
        positions: Int[Tensor, " asked"],
    ) -> Float[Tensor, ""]:
        """Nodes of the prompt at these positions, after all edges, look up what they are linked to."""
        nodes = prompt[:, positions] - self.words.first_name
        wanted = linked[torch.arange(len(nodes))[:, None], nodes].float()
        return binary_cross_entropy_with_logits(self.nodes_read(state.top[:, positions]), wanted)

    def known_below_loss(self, state: Searching, prompt: Int[Tensor, "example pos"]) -> Float[Tensor, ""]:
        """Where a node is named that edges may go on from, it looks up the nodes below it, as far as they are told."""
        asked, below = known_below(prompt, self.words)
        return binary_cross_entropy_with_logits(self.nodes_read(state.top[asked]), below[asked].float())


def known_below(
    prompt: Int[Tensor, "example pos"], words: Words
) -> tuple[Bool[Tensor, "example pos"], Bool[Tensor, "example pos node"]]:
    """Where an edge ends, a choice or the root is named; and the nodes that edges told before lead to from there."""
    places = prompt - words.first_name
    named = (places >= 0) & (places < words.n_names)
    ends = torch.zeros_like(named)
    ends[:, 1:-1] = named[:, 1:-1] & named[:, :-2] & (prompt[:, 2:] == words.edge_end)
    asked = ends | (named & ((prompt == words.question).cumsum(1) > 0))
    starts = torch.where(ends, places.roll(1, 1), -1)
    earlier = torch.ones(prompt.shape[1], prompt.shape[1]).tril(-1).bool()
    same = (starts[:, None, :] == places[:, :, None]) & asked[:, :, None] & earlier
    nodes = one_hot(torch.where(ends, places, 0), words.n_names).float()
    return asked, same.float() @ nodes > 0


def longer(mask: Int[Tensor, "example pos"], n: int) -> Int[Tensor, "example longer"]:
    """Mask with so many words more."""
    return torch.cat([mask, mask.new_ones(len(mask), n)], 1)


def spread_out(model: Any) -> None:
    """Weights of a new GPT-2 as spread as its width asks for, positions as sines."""
    config = model.config
    with torch.no_grad():
        for block in model.transformer.h:
            for part in (block.attn.c_attn, block.attn.c_proj, block.mlp.c_fc, block.mlp.c_proj):
                part.weight *= SPREAD / config.initializer_range
        model.transformer.wte.weight *= SPREAD / config.initializer_range
        places = torch.arange(config.n_positions)[:, None]
        waves = torch.exp(-torch.arange(0, config.n_embd, 2) / config.n_embd * math.log(LONGEST_WAVE))
        model.transformer.wpe.weight[:, 0::2] = POSITION_SCALE * torch.sin(places * waves)
        model.transformer.wpe.weight[:, 1::2] = POSITION_SCALE * torch.cos(places * waves)


def graph_learner(what: Organism, plan: TrainingPlan) -> tuple[Any, Any]:
    """An untrained model that searches, and its tokenizer."""
    model, tokenizer = new_word_gpt2(
        what.vocabulary, d_model=plan.d_model, n_layers=plan.n_layers, n_heads=plan.n_heads,
        n_positions=N_POSITIONS, seed=plan.seed,
    )  # fmt: skip
    spread_out(model)
    with seeded(plan.seed):
        return GraphLearner(model, WORDS), tokenizer
