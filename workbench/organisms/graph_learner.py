"""A GPT-2 under training whose prompts differ in length: padded on the left, positions counted from the first word."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from workbench.organisms.graph_batches import PADDING

PassOn = Callable[[int, Tensor], tuple[Tensor, Tensor]]
"""The thought of a step, exchanged or not, without noise and with it."""


@dataclass(slots=True)
class Thinking:
    """Where a batch stands after its thoughts."""

    mask: Int[Tensor, "example pos"]
    cache: Any
    last: Float[Tensor, "example d_model"]
    thoughts: list[Float[Tensor, "example d_model"]] = field(default_factory=list)


def as_it_is(step: int, thought: Tensor) -> tuple[Tensor, Tensor]:
    """Pass a thought on unchanged."""
    return thought, thought


class GraphLearner:
    """A GPT-2 whose last hidden state is fed back as a thought, or that only reads and writes words."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def _feed(self, mask: Tensor, cache: Any, **what: Tensor) -> tuple[Tensor, Any]:
        n_new = next(iter(what.values())).shape[1]
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -n_new:]
        output = self.model.transformer(
            **what, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
        )
        return output.last_hidden_state, output.past_key_values

    def think(self, prompt: Int[Tensor, "example pos"], n_thoughts: int, pass_on: PassOn = as_it_is) -> Thinking:
        """Run the prompt and so many thoughts."""
        mask = (prompt != PADDING).long()
        hidden, cache = self._feed(mask, None, input_ids=prompt)
        state = Thinking(mask, cache, hidden[:, -1])
        for step in range(n_thoughts):
            clean, fed = pass_on(step, state.last)
            state.thoughts.append(clean)
            state.mask = _longer(state.mask, 1)
            hidden, state.cache = self._feed(state.mask, state.cache, inputs_embeds=fed[:, None])
            state.last = hidden[:, -1]
        return state

    def speak(self, state: Thinking, targets: Int[Tensor, "example token"]) -> Float[Tensor, "example token word"]:
        """Logits of the targets, each given those before it."""
        hidden = state.last[:, None]
        if targets.shape[1] > 1:
            mask = _longer(state.mask, targets.shape[1] - 1)
            after, _ = self._feed(mask, state.cache, input_ids=targets[:, :-1])
            hidden = torch.cat([hidden, after], 1)
        logits: Tensor = self.model.lm_head(hidden)
        return logits


def _longer(mask: Tensor, n: int) -> Tensor:
    return torch.cat([mask, mask.new_ones(len(mask), n)], 1)
