"""Huginn: a prelude, a core that is passed as often as one likes from a state of noise, and a coda.

Geiping et al. 2025, arXiv:2502.05171. The model is code that lies in its folder; its own methods are driven. It takes
no masks: its forward call ignores them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from workbench.reasoners.depth_model import state_generators, truncated_normal
from workbench.reasoners.hooking import Part, SiteHook
from workbench.reasoners.loops import Columns, Loop, Looped
from workbench.reasoners.remote import cache_of_module

CACHE = "HuginnDynamicCache"
"""Class beside the model that keeps keys and values of every pass."""


@dataclass(frozen=True, slots=True)
class _Inside:
    injected: Tensor
    """What the prelude made of the tokens."""
    block: Tensor
    """The model's own count of blocks so far: the slot of the cache."""
    at: Tensor
    """Columns, counted from the first."""
    cache: Any


class HuginnLoop(Loop):
    """Drives a live `RavenForCausalLM`.

    `core.{i}.attn.hook_k` is what the fused projection gives: the bias and the rotation come after it.
    """

    takes_masks = False

    def __init__(self, model: Any) -> None:
        self.model = model
        config, parts = model.config, model.transformer
        self.device, self.dtype = parts.wte.weight.device, parts.wte.weight.dtype
        self.d_vocab, self.d_model = (int(n) for n in parts.wte.weight.shape)
        self.max_positions = int(config.block_size)
        self.n_layers = len(parts.prelude) + len(parts.core_block) + len(parts.coda)
        self.state_std = float(config.init_values["std"]) * float(model.emb_scale)
        self.looped = Looped()
        n_heads = int(config.num_attention_heads)
        for i, block in enumerate(parts.core_block):
            fused = block.attn.Wqkv
            keys = {letter: SiteHook(fused, part=Part(n_heads, 3, k)) for k, letter in ((1, "k"), (2, "v"))}
            self.looped.add_block(f"core.{i}", block, self.d_model, keys)

    def new_cache(self, n_steps: int) -> Any:
        """An empty cache of the model's own kind."""
        return cache_of_module(self.model, CACHE)

    def enter(
        self, ids: Tensor, mask: Tensor | None, cache: Any, earlier: int, generators: Sequence[torch.Generator]
    ) -> Columns:
        """The prelude, and a state of noise."""
        assert mask is None
        at = torch.arange(earlier, earlier + ids.shape[1], device=ids.device)
        injected, block = self.model.embed_inputs(ids, past_key_values=cache, cache_position=at)
        return Columns(self.own_noise(generators, ids.shape[1]), _Inside(injected, block, at, cache))

    def own_noise(self, generators: Sequence[torch.Generator], q: int) -> Tensor:
        """First states as the model draws its own, but from each example's own generator, token by token."""
        drawn = [truncated_normal(torch.Size((q, self.d_model)), generator) for generator in generators]
        return (self.state_std * torch.stack(drawn)).to(self.device, self.dtype)

    def turn(self, columns: Columns, step: int) -> Columns:
        """One pass of the core."""
        inside: _Inside = columns.inside
        state, block, _ = self.model.iterate_one_step(
            inside.injected, columns.state, cache_position=inside.at, block_idx=inside.block,
            past_key_values=inside.cache, current_step=step,
        )  # fmt: skip
        return Columns(state, replace(inside, block=block))

    def leave(self, columns: Columns, *, keep: bool) -> Tensor:
        """Norm, coda, norm.

        The coda's keys and values of these columns go into the cache either way, and are written anew when the
        columns leave for good.
        """
        inside: _Inside = columns.inside
        left = self.model.predict_from_latents(
            columns.state, cache_position=inside.at, past_key_values=inside.cache
        ).latent_states  # fmt: skip
        normed: Tensor = left
        return normed

    def norm(self, vectors: Tensor) -> Tensor:
        """The norm before and after the coda."""
        normed: Tensor = self.model.transformer.ln_f(vectors)
        return normed

    def unembed(self, normed: Tensor) -> Tensor:
        """The head."""
        logits: Tensor = self.model.lm_head(normed)
        return logits

    def own_logits(self, ids: Tensor, n_steps: int, seed: int) -> Tensor:
        """The model's forward call without a cache, from the same first state."""
        state = self.own_noise(state_generators([seed]), ids.shape[1])
        steps = torch.tensor([n_steps])
        logits: Tensor = self.model(input_ids=ids, input_states=state, num_steps=steps).logits[0, -1]
        return logits
