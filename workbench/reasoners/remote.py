"""Live models of the recurrent family: loaded as they are, because their own modules are driven pass by pass.

The second file that imports transformers and TransformerLens: these models are not bridged, and two of them are code
that lies in the model folder, which runs only where a person has asked for it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from torch import Tensor
from transformer_lens.factories.architecture_adapter_factory import ArchitectureAdapterFactory
from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_config_from_hf
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache, PreTrainedTokenizerBase
from transformers.dynamic_module_utils import get_class_from_dynamic_module
from transformers.masking_utils import create_causal_mask, create_sliding_window_causal_mask

from workbench.errors import CorruptArtifact, SchemaError, UntrustedFormat
from workbench.jsonio import read_json
from workbench.reasoners.backbones import LIBRARY_ERRORS, hush, load_tokenizer
from workbench.reasoners.checkpoints import open_checkpoint, refuse_unfit
from workbench.reasoners.folders import WEIGHTS, refuse_unsafe


def load_live(
    folder: Path, *, architecture: str, device: str = "cpu", dtype: torch.dtype = torch.float32,
    remote: bool = False, trust_remote_code: bool = False,
) -> tuple[Any, PreTrainedTokenizerBase]:  # fmt: skip
    """Load a model folder of plain layout with its own modules, and its tokenizer; no network.

    Args:
        folder: configuration, tokenizer and weights; and the code, where it is remote.
        architecture: the class that the folder must hold.
        device: where the weights are put.
        dtype: what they are cast to.
        remote: whether the class is code of the folder; where it is not, no code of the folder runs in any case.
        trust_remote_code: whether the folder may name code that lies in it.

    Raises:
        UntrustedFormat: code that nobody trusted, or that does not lie in the folder; pickled weights.
        CorruptArtifact: the weights are cut off.
        SchemaError: another class, or files or weights that are missing or cannot be read.
    """
    if remote and not trust_remote_code:
        raise UntrustedFormat(
            f"{architecture} is code that lies in the model folder, and runs only where it is trusted",
            path=folder, hint="Read that code first; if you trust it, pass --trust-remote-code.",
        )  # fmt: skip
    refuse_unsafe(folder, trust_code=trust_remote_code)
    hush()
    checkpoint = open_checkpoint(folder)
    _refuse_other(folder, architecture)
    try:
        config, kind = _classes_in(folder, architecture, dtype) if remote else _known_classes(folder)
        loaded: Any = kind.from_pretrained(
            folder, config=config, use_safetensors=True, dtype=dtype, output_loading_info=True, local_files_only=True
        )
    except SafetensorError as error:
        raise CorruptArtifact(f"the weights cannot be read: {error}", path=folder / WEIGHTS) from error
    except (*LIBRARY_ERRORS, SyntaxError) as error:
        raise SchemaError(f"the folder cannot be loaded: {error}", path=folder) from error
    model, info = loaded
    refuse_unfit(checkpoint, model, info)
    return model.to(device).eval().requires_grad_(requires_grad=False), load_tokenizer(folder)


def _known_classes(folder: Path) -> tuple[Any, Any]:
    return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False), AutoModelForCausalLM


def _classes_in(folder: Path, architecture: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """Configuration and class by the code of this very folder.

    Not by way of transformers' registry: once the code of one folder has entered itself there, it would be taken for
    that of every other folder too.
    """
    path = folder / "config.json"
    plain = read_json(path)
    auto_map = plain.get("auto_map") if isinstance(plain, dict) else None
    named = auto_map if isinstance(auto_map, dict) else {}
    found = [named.get(auto) for auto in ("AutoConfig", "AutoModelForCausalLM")]
    names = [name for name in found if isinstance(name, str)]
    if len(names) < len(found):
        raise SchemaError(
            "the configuration does not name the code", path=path, field="auto_map",
            expected="AutoConfig and AutoModelForCausalLM", found=str(named)[:100],
        )  # fmt: skip
    of_config, of_model = (get_class_from_dynamic_module(name, str(folder), local_files_only=True) for name in names)
    config = of_config.from_pretrained(folder, local_files_only=True)  # type: ignore[attr-defined]
    _mend(config, of_model, architecture, folder, dtype)
    return config, of_model


def _refuse_other(folder: Path, architecture: str) -> None:
    path = folder / "config.json"
    plain = read_json(path)
    found = plain.get("architectures") if isinstance(plain, dict) else None
    if found != [architecture]:
        raise SchemaError(
            "another kind of model", path=path, field="architectures",
            expected=f"[{architecture!r}]", found=str(found)[:100],
        )  # fmt: skip


def _mend(config: Any, kind: Any, architecture: str, folder: Path, dtype: torch.dtype) -> None:
    """Give code that was written for transformers 4 what it lacks under transformers 5.

    TransformerLens knows most of it; the mask functions have since lost and renamed an argument.
    """
    bridged = build_bridge_config_from_hf(config, architecture, str(folder), dtype)
    ArchitectureAdapterFactory.select_architecture_adapter(bridged).prepare_loading(str(folder), {})
    beside = sys.modules[kind.__module__]
    for current in (create_causal_mask, create_sliding_window_causal_mask):
        if getattr(beside, current.__name__, None) is current:
            setattr(beside, current.__name__, partial(_with_old_arguments, current))


def _with_old_arguments(current: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """A mask function of transformers 5, called as transformers 4 called it."""
    named.pop("cache_position", None)
    if "input_embeds" in named:
        named["inputs_embeds"] = named.pop("input_embeds")
    return current(*arguments, **named)


def new_cache(config: Any | None = None) -> DynamicCache:
    """An empty cache; without a configuration it grows to as many slots as are used."""
    return DynamicCache() if config is None else DynamicCache(config=config)


def cache_of_module(model: Any, name: str) -> Any:
    """A cache of the class that lies beside a remote model."""
    return getattr(sys.modules[type(model).__module__], name)()


def columns_at(
    ids: Int[Tensor, "example q"], mask: Int[Tensor, "example length"] | None, earlier: int
) -> Int[Tensor, "_ q"]:
    """Positions of new columns in the unpadded sequences; one row for all where nothing is padded."""
    if mask is None:
        return torch.arange(earlier, earlier + ids.shape[1], device=ids.device)[None]
    return (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]


def causal_masks(
    config: Any,
    vectors: Float[Tensor, "example q d_model"],
    mask: Int[Tensor, "example length"] | None,
    cache: DynamicCache,
    positions: Int[Tensor, "_ q"],
    *,
    sliding: bool = False,
) -> dict[str, Any]:
    """What the attention of each kind of layer lets new columns look at, as transformers' own models have it.

    Args:
        config: of the model; says how attention is computed.
        vectors: embeddings of the new columns.
        mask: 0 for padding, for earlier and new columns; None where nothing is padded.
        cache: earlier columns.
        positions: of the new columns, in the unpadded sequences.
        sliding: whether some layers look at a window only.
    """
    given: dict[str, Any] = {
        "config": config, "inputs_embeds": vectors, "attention_mask": mask, "past_key_values": cache,
        "position_ids": positions,
    }  # fmt: skip
    masks = {"full_attention": create_causal_mask(**given)}
    if sliding:
        masks["sliding_attention"] = create_sliding_window_causal_mask(**given)
    return masks
