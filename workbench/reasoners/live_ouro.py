"""Ouro: the whole stack of blocks again and again, the final norm after every pass, and a gate that says when to stop.

Zhu et al. 2025, arXiv:2510.25741. The model is code that lies in its folder; its own blocks are driven.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from workbench.reasoners.hooking import Part, SiteHook
from workbench.reasoners.loops import Columns, Loop, Looped
from workbench.reasoners.remote import causal_masks, columns_at, new_cache


class OuroLoop(Loop):
    """Drives a live `OuroForCausalLM`; it may be left after fewer passes than it was built for."""

    thought_normed = True
    gated = True

    def __init__(self, model: Any) -> None:
        self.model = model
        config, inner = model.config, model.model
        self.device, self.dtype = inner.embed_tokens.weight.device, inner.embed_tokens.weight.dtype
        self.d_vocab, self.d_model = (int(n) for n in inner.embed_tokens.weight.shape)
        self.max_positions = int(config.max_position_embeddings)
        self.n_layers = len(inner.layers)
        self.most_steps = int(config.total_ut_steps)
        self.looped = Looped()
        part = Part(int(config.num_key_value_heads))
        for i, block in enumerate(inner.layers):
            keys = {
                "k": SiteHook(block.self_attn.k_proj, part=part),
                "v": SiteHook(block.self_attn.v_proj, part=part),
            }
            self.looped.add_block(f"blocks.{i}", block, self.d_model, keys)

    def new_cache(self, n_steps: int) -> Any:
        """An empty cache that grows: the blocks themselves number its slots, by pass and layer."""
        return new_cache()

    def enter(
        self, ids: Tensor, mask: Tensor | None, cache: Any, earlier: int, generators: Sequence[torch.Generator]
    ) -> Columns:
        """Embeddings."""
        inner = self.model.model
        vectors = inner.embed_tokens(ids)
        positions = columns_at(ids, mask, earlier)
        kinds = {block.attention_type for block in inner.layers}
        masks = causal_masks(
            self.model.config, vectors, mask, cache, positions, sliding="sliding_attention" in kinds
        )  # fmt: skip
        shared = {
            "position_ids": positions,
            "past_key_value": cache,
            "use_cache": True,
            "cache_position": torch.arange(earlier, earlier + ids.shape[1], device=ids.device),
            "position_embeddings": inner.rotary_emb(vectors, positions),
        }
        return Columns(vectors, (masks, shared))

    def turn(self, columns: Columns, step: int) -> Columns:
        """All blocks and the final norm."""
        masks, shared = columns.inside
        vectors = columns.state
        for block in self.model.model.layers:
            vectors = block(vectors, attention_mask=masks[block.attention_type], current_ut=step, **shared)
        return Columns(self.norm(vectors), columns.inside)

    def leave(self, columns: Columns, *, keep: bool) -> Tensor:
        """The state as it is: nothing stands between the loop and the head."""
        return columns.state

    def norm(self, vectors: Tensor) -> Tensor:
        """The norm after every pass."""
        normed: Tensor = self.model.model.norm(vectors)
        return normed

    def unembed(self, normed: Tensor) -> Tensor:
        """The head."""
        logits: Tensor = self.model.lm_head(normed)
        return logits

    def gate(self, thought: Tensor) -> Tensor:
        """Probability of stopping after this pass, given that no earlier pass was the last."""
        ready: Tensor = self.model.model.early_exit_gate(thought)[..., 0].sigmoid()
        return ready

    def own_logits(self, ids: Tensor, n_steps: int, seed: int) -> Tensor:
        """The model's forward call without a cache, told after which pass to stop."""
        logits: Tensor = self.model(input_ids=ids, use_cache=False, exit_at_step=n_steps - 1).logits[0, -1]
        return logits
