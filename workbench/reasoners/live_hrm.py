"""HRM-Text: a fast and a slow stack of blocks in turn, driven one slow cycle at a time.

After the Hierarchical Reasoning Model (Wang et al. 2025, arXiv:2506.21734); the model is transformers'
`HrmTextForCausalLM`. A step is one high cycle: the low stack as often as the model says, z_L = L(z_L + z_H), then the
high stack once, z_H = H(z_H + z_L). Both stacks end in the final norm, which has no weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from workbench.reasoners.hooking import Part, SiteHook
from workbench.reasoners.loops import Columns, Loop, Looped
from workbench.reasoners.remote import causal_masks, columns_at, new_cache

LOW = "thought.low"
"""z_L: fires once for every low cycle of a step."""


@dataclass(frozen=True, slots=True)
class _Inside:
    low: Tensor
    """z_L of the columns."""
    shared: dict[str, Any]
    """What every block is given: masks, positions, the cache."""


class HrmLoop(Loop):
    """Drives transformers' HRM-Text.

    The prompt is read causally, as the model's own forward call reads plain token ids; prompts that are one
    bidirectional block (`token_type_ids`) are not offered.
    """

    thought_normed = True

    def __init__(self, model: Any) -> None:
        self.model = model
        config, inner = model.config, model.model
        self.device, self.dtype = inner.embed_tokens.weight.device, inner.embed_tokens.weight.dtype
        self.d_vocab, self.d_model = (int(n) for n in inner.embed_tokens.weight.shape)
        self.max_positions = int(config.max_position_embeddings)
        self.n_layers = 2 * int(config.num_layers_per_stack)
        self.exact_steps = int(config.H_cycles)
        self.looped = Looped()
        self.looped.add(LOW, SiteHook(inner.L_module), (self.d_model,), normed=True)
        part = Part(int(config.num_attention_heads))
        for stack, blocks in (("L", inner.L_module.layers), ("H", inner.H_module.layers)):
            for i, block in enumerate(blocks):
                keys = {
                    "k": SiteHook(block.self_attn.k_proj, part=part),
                    "v": SiteHook(block.self_attn.v_proj, part=part),
                }
                self.looped.add_block(f"{stack}_blocks.{i}", block, self.d_model, keys)

    def new_cache(self, n_steps: int) -> Any:
        """An empty cache with a slot for every block of every cycle."""
        return new_cache(self.model.config)

    def enter(
        self, ids: Tensor, mask: Tensor | None, cache: Any, earlier: int, generators: Sequence[torch.Generator]
    ) -> Columns:
        """Embeddings as z_H; z_L begins with a vector of the model's own."""
        inner = self.model.model
        high = inner.embed_tokens(ids) * inner.embedding_scale
        positions = columns_at(ids, mask, earlier)
        shared = {
            "attention_mask": causal_masks(self.model.config, high, mask, cache, positions)["full_attention"],
            "position_embeddings": inner.rotary_emb(high, positions),
            "position_ids": positions,
            "past_key_values": cache,
        }
        low = inner.z_L_init.to(high).expand_as(high).contiguous()
        return Columns(high, _Inside(low, shared))

    def turn(self, columns: Columns, step: int) -> Columns:
        """One high cycle; every cycle of a stack keeps its keys and values in slots of its own."""
        inner, config = self.model.model, self.model.config
        inside: _Inside = columns.inside
        low, high = inside.low, columns.state
        slot = step * (config.L_cycles + 1)
        for cycle in range(config.L_cycles):
            offset = (slot + cycle) * config.num_layers_per_stack
            low = inner.L_module(low + high, cycle_offset=offset, **inside.shared)
        offset = (slot + config.L_cycles) * config.num_layers_per_stack
        high = inner.H_module(high + low, cycle_offset=offset, **inside.shared)
        return Columns(high, replace(inside, low=low))

    def leave(self, columns: Columns, *, keep: bool) -> Tensor:
        """z_H as it is: nothing stands between the loop and the head."""
        return columns.state

    def norm(self, vectors: Tensor) -> Tensor:
        """The norm that ends each stack."""
        normed: Tensor = self.model.model.H_module.final_norm(vectors)
        return normed

    def unembed(self, normed: Tensor) -> Tensor:
        """The head."""
        logits: Tensor = self.model.lm_head(normed)
        return logits

    def own_logits(self, ids: Tensor, n_steps: int, seed: int) -> Tensor:
        """The model's forward call, without a cache."""
        logits: Tensor = self.model(input_ids=ids, use_cache=False).logits[0, -1]
        return logits
