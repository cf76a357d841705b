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
            keys = _key_hooks(block.get_submodule(attention.name), attention.submodules, n_heads, n_key_heads)
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


def _key_hooks(attention: nn.Module, inside: Any, n_heads: int, n_key_heads: int) -> dict[str, SiteHook]:
    """Hooks of keys and values, from projections of their own or out of a fused one."""
    names = {name: part.name for name, part in inside.items()}
    if "k" in names and "v" in names and hasattr(attention, names["k"]):
        return {
            letter: SiteHook(attention.get_submodule(names[letter]), part=Part(n_key_heads)) for letter in ("k", "v")
        }
    if "qkv" not in names or n_heads != n_key_heads:
        return {}
    fused = attention.get_submodule(names["qkv"])
    interleaved = not hasattr(fused, "nf")  # GPT-2's Conv1D states its width so, and lays them side by side
    return {letter: SiteHook(fused, part=Part(n_heads, 3, k, interleaved)) for k, letter in ((1, "k"), (2, "v"))}


def layout_is_right(name: str, fired: Mapping[str, Tensor], cache: Any) -> bool:
    """Whether the value site of this layer holds what the model caches: a fused projection may be laid out otherwise.

    Keys come from the same projection; they are cached turned, and in some models normed, and cannot be compared.
    """
    layer = int(name.split(".")[1])
    values, cached = fired.get(f"blocks.{layer}.attn.hook_v"), getattr(cache.layers[layer], "values", None)
    if values is None or cached is None:
        return False
    return values[:, 0].shape == cached[:, :, 0].shape and torch.allclose(
        values[:, 0], cached[:, :, 0], rtol=1e-2, atol=1e-3
    )
