"""Where the sites of a causal language model lie in its original modules, under TransformerLens names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from workbench.reasoners.hooking import Part, SiteHook

FINAL_SITE = "ln_final.hook_out"


def site_hooks(blocks: nn.ModuleList, final_norm: nn.Module, inside: Any, config: Any) -> dict[str, SiteHook]:
    """Hooks of one kind after the other in every block; those of modules that a block lacks are left out."""
    n_heads = int(config.num_attention_heads)
    n_key_heads = int(getattr(config, "num_key_value_heads", None) or n_heads)
    attention, mlp = inside.get("attn"), inside.get("mlp")
    hooks: dict[str, SiteHook] = {}
    for layer, block in enumerate(blocks):
        hooks[f"blocks.{layer}.hook_resid_pre"] = SiteHook(block, of_input=True)
        if attention is not None:
            where = block.get_submodule(attention.name)
            keys = _key_hooks(where, attention.submodules, n_key_heads) or _fused_hooks(
                where, attention.submodules, n_heads, _head_size(config, n_heads)
            )
            hooks |= {f"blocks.{layer}.attn.hook_{letter}": hook for letter, hook in keys.items()}
        for name, part, last in (("attn", attention, "o"), ("mlp", mlp, "out")):
            if part is not None:
                whole = block.get_submodule(part.name)
                projection = part.submodules.get(last)
                hooks[f"blocks.{layer}.hook_{name}_out"] = SiteHook(
                    whole if projection is None else whole.get_submodule(projection.name)
                )
        hooks[f"blocks.{layer}.hook_resid_post"] = SiteHook(block)
    hooks[FINAL_SITE] = SiteHook(final_norm)
    return hooks


def _head_size(config: Any, n_heads: int) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // n_heads)


def _key_hooks(attention: nn.Module, inside: Any, n_key_heads: int) -> dict[str, SiteHook]:
    """Hooks of keys and values from projections of their own; none where they have none."""
    names = {name: part.name for name, part in inside.items()}
    if not all(letter in names and hasattr(attention, names[letter]) for letter in "kv"):
        return {}
    return {letter: SiteHook(attention.get_submodule(names[letter]), part=Part(n_key_heads)) for letter in "kv"}


def _fused_hooks(attention: nn.Module, inside: Any, n_heads: int, d_head: int) -> dict[str, SiteHook]:
    """Hooks of keys and values out of a projection that gives queries too; its width tells the heads of each.

    None where the width fits no number of them. A wrong guess of the layout is seen by `layout_is_right`.
    """
    if "qkv" not in inside:
        return {}
    name = inside["qkv"].name
    fused: Any = attention.get_submodule(name)
    width: int = getattr(fused, "nf", 0) or getattr(fused, "out_features", 0)
    n_key_heads, left = divmod(width - n_heads * d_head, 2 * d_head)
    if left or n_key_heads < 1 or n_heads % n_key_heads:
        return {}
    # GPT-2's Conv1D (it states its width as nf) and Phi-3 lay them side by side
    interleaved = not hasattr(fused, "nf") and name != "qkv_proj"
    return {
        letter: SiteHook(fused, part=Part(n_key_heads, 3, k, interleaved, n_heads // n_key_heads))
        for k, letter in ((1, "k"), (2, "v"))
    }


def layout_is_right(name: str, fired: Mapping[str, Tensor], cache: Any) -> bool:
    """Whether the value site of this layer holds what the model caches: a fused projection may be laid out otherwise.

    Keys come from the same projection; they are cached turned, and in some models normed, and cannot be compared.
    """
    layer = int(name.split(".")[1])
    values, cached = fired.get(f"blocks.{layer}.attn.hook_v"), getattr(cache.layers[layer], "values", None)
    if values is None or cached is None:
        return False
    came, kept = values[:, 0], cached[:, :, 0]
    if kept.shape[1] % came.shape[1]:
        return False
    came = came.repeat_interleave(kept.shape[1] // came.shape[1], 1)  # Falcon keeps a head once for each of its queries
    return came.shape == kept.shape and torch.allclose(came, kept, rtol=1e-2, atol=1e-3)
