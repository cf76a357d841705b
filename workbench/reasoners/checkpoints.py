"""Checkpoint layouts: which stored key is which weight, read from the headers of safetensors files alone.

Three layouts are known. Plain: the keys of Hugging Face's model class. Coconut (Hao et al. 2024, arXiv:2412.06769):
the model under `base_causallm.`, and its embedding once more. CODI (Shen et al. 2025, arXiv:2502.21074): the model
under `codi.`, with LoRA layers or without, and the projection under `prj.`. SIM-CoT (Wei et al. 2025,
arXiv:2509.20317) adds a decoder to either of the last two, which only training needs; it is left out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from workbench.errors import ConfigError, CorruptArtifact, DataQuality, SchemaError
from workbench.reasoners.folders import WEIGHTS, weight_files

LAYOUTS = "Hugging Face's own keys, Coconut's base_causallm.*, CODI's codi.* with prj.*, or SIM-CoT's of either"
EMBEDDING_COPY = "embedding.weight"
"""Coconut keeps its model's embedding a second time."""
WRAPPERS: Mapping[str, tuple[str, ...]] = {
    "coconut": ("base_causallm.",),
    "codi": ("codi.base_model.model.", "codi."),
}
"""What stands before the model's own names; the first that any key has."""
TRAINING_ONLY: Mapping[str, tuple[str, ...]] = {
    "coconut": ("expainable_llm.", "explainable_llm."),
    "codi": ("decoder.", "pj_in.", "pj_out."),
}
"""SIM-CoT's decoder, and the maps to and from it (its Coconut variant spells the first so)."""
PROJECTION = "prj."
PROJECTION_KEYS = ("1.weight", "1.bias", "3.weight", "3.bias")
NORM_KEYS = ("ln.weight", "ln.bias")
LORA = re.compile(r"(?P<module>.+)\.lora_(?P<side>[AB])\.default\.weight")
BASE_LAYER = re.compile(r"(?P<module>.+)\.base_layer\.(?P<name>weight|bias)")
ADAPTER_WORDS = ("lora_", "base_layer", "modules_to_save", "original_module")
OLD_BUFFERS = re.compile(r"\.(attn|attention)\.(bias|masked_bias)$|\.rotary_emb\.inv_freq$")
"""Masks and frequencies that older versions stored beside the weights, and newer ones compute."""
SHOWN_KEYS = 5


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Stored keys of a model folder, by what they are for."""

    folder: Path
    layout: str
    """`plain`, `coconut` or `codi`."""
    files: Mapping[str, Path]
    """Where each stored key lies."""
    weights: Mapping[str, str]
    """Name in the model -> stored key."""
    lora: Mapping[str, tuple[str, str]]
    """Module with a LoRA layer -> stored keys of its A and B."""
    projection: Mapping[str, str]
    """Name under `prj.` -> stored key."""
    left_out: tuple[str, ...]
    """Keys that only training needs."""

    def path(self, key: str) -> Path:
        """File of a stored key, or of the first one if there is no such key."""
        return self.files.get(key) or next(iter(self.files.values()), self.folder)

    def rows(self, embedding: str) -> int | None:
        """Rows of the stored embedding, however many tokens the configuration counts; None where it is missing."""
        key = self.weights.get(embedding) or (EMBEDDING_COPY if EMBEDDING_COPY in self.files else None)
        if key is None:
            return None
        with _readable(self.files[key]), safe_open(self.files[key], "pt") as stored:
            return int(stored.get_slice(key).get_shape()[0])

    def tensors(self, keys: Collection[str]) -> Iterator[tuple[str, Tensor]]:
        """Stored tensors, file by file."""
        for path in sorted({self.files[key] for key in keys}):
            with _readable(path), safe_open(path, "pt") as stored:
                for key in keys:
                    if self.files[key] == path:
                        yield key, stored.get_tensor(key)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (SafetensorError, OSError) as error:
        raise CorruptArtifact(f"the weights cannot be read: {error}", path=path) from error


def open_checkpoint(folder: Path) -> Checkpoint:
    """Read the keys of a folder's safetensors files, and sort them.

    Raises:
        CorruptArtifact: a file that is cut off.
        SchemaError: a key in two files, or one that its layout does not have.
    """
    files: dict[str, Path] = {}
    for name in weight_files(folder):
        with _readable(folder / name), safe_open(folder / name, "pt") as stored:
            for key in stored.keys():  # noqa: SIM118  # not a mapping
                if key in files:
                    raise SchemaError(f"a weight lies in {files[key].name} too", path=folder / name, field=key)
                files[key] = folder / name
    found = [layout for layout, prefixes in WRAPPERS.items() if any(key.startswith(prefixes) for key in files)]
    if len(found) > 1:
        raise unknown_layout(folder, list(files), "keys of more than one layout")
    if not found:
        return Checkpoint(folder, "plain", files, {key: key for key in files}, {}, {}, ())
    return _sort(folder, found[0], files)


def unknown_layout(folder: Path, keys: Sequence[str], message: str) -> SchemaError:
    """The refusal of keys that fit nowhere: it names the layouts and the first of the keys."""
    shown = ", ".join(key[:100] for key in sorted(keys)[:SHOWN_KEYS])
    more = f" and {len(keys) - SHOWN_KEYS} more" if len(keys) > SHOWN_KEYS else ""
    return SchemaError(message, path=folder, field="weights", expected=LAYOUTS, found=shown + more)


def _sort(folder: Path, layout: str, files: Mapping[str, Path]) -> Checkpoint:
    prefix = next(p for p in WRAPPERS[layout] if any(key.startswith(p) for key in files))
    weights: dict[str, str] = {}
    sides: dict[str, dict[str, str]] = {}
    adapted: dict[str, str] = {}
    projection: dict[str, str] = {}
    left_out, unknown = [], []
    for key in files:
        name = key.removeprefix(prefix)
        if name == key:
            if key.startswith(TRAINING_ONLY[layout]):
                left_out.append(key)
            elif layout == "codi" and key.startswith(PROJECTION):
                projection[key.removeprefix(PROJECTION)] = key
            elif layout != "coconut" or key != EMBEDDING_COPY:
                unknown.append(key)
        elif layout == "codi" and (low := LORA.fullmatch(name)):
            sides.setdefault(low["module"], {})[low["side"]] = key
        elif layout == "codi" and (base := BASE_LAYER.fullmatch(name)):
            weights[f"{base['module']}.{base['name']}"] = adapted[base["module"]] = key
        elif any(word in name for word in ADAPTER_WORDS):
            unknown.append(key)
        else:
            weights[name] = key
    unknown += [projection[name] for name in projection if name not in PROJECTION_KEYS + NORM_KEYS]
    if unknown:
        raise unknown_layout(folder, unknown, f"{len(unknown)} keys are not of the layout {layout!r}")
    for module in adapted.keys() | sides.keys():
        if set(sides.get(module, ())) != {"A", "B"} or f"{module}.weight" not in weights:
            first = adapted[module] if module in adapted else next(iter(sides[module].values()))
            raise SchemaError(
                "a LoRA layer is not whole", path=files[first], field=first,
                expected="base_layer.weight, lora_A.default.weight and lora_B.default.weight",
            )  # fmt: skip
    lora = {module: (pair["A"], pair["B"]) for module, pair in sides.items()}
    return Checkpoint(folder, layout, files, weights, lora, projection, tuple(sorted(left_out)))


def read_weights(
    checkpoint: Checkpoint,
    *,
    embedding: str,
    shapes: Mapping[str, torch.Size],
    transposed: Collection[str],
    lora_alpha: float | None,
    dtype: torch.dtype,
) -> dict[str, Tensor]:
    """Weights under the names of the model, its LoRA layers merged.

    Args:
        checkpoint: of the layout `coconut` or `codi`.
        embedding: name of the input embedding's weight.
        shapes: what the model expects of the weights that it names.
        transposed: modules that store `[in, out]` (GPT-2's Conv1D).
        lora_alpha: LoRA layers (Hu et al. 2021, arXiv:2106.09685) are merged as `lora_alpha / rank * B A`.
        dtype: what floating point weights are cast to.

    Raises:
        ConfigError: LoRA layers, but no `lora_alpha`.
        SchemaError: a weight of another shape.
        DataQuality: the second copy of the embedding differs from the first.
    """
    if checkpoint.lora and lora_alpha is None:
        raise ConfigError(
            f"the checkpoint has LoRA layers ({len(checkpoint.lora)}), and their scale is not stored in it",
            field="checkpoint.lora_alpha", expected="the lora_alpha of the training, under [checkpoint]",
        )  # fmt: skip
    names = {key: name for name, key in checkpoint.weights.items()}
    weights = {names[key]: weight for key, weight in checkpoint.tensors(names)}
    for module, (low, high) in checkpoint.lora.items():
        whole = f"{module}.weight"
        sides = dict(checkpoint.tensors((low, high)))
        flip = module in transposed
        wanted = weights[whole].shape[::-1] if flip else weights[whole].shape
        found = (*sides[high].shape[:1], *sides[low].shape[1:])
        if any(side.ndim != 2 for side in sides.values()) or found != wanted or len(sides[low]) != sides[high].shape[1]:
            raise SchemaError(
                "a LoRA layer does not fit the weight that it adapts", path=checkpoint.path(low), field=low,
                expected=f"{list(wanted)}, as B A", found=f"A {list(sides[low].shape)}, B {list(sides[high].shape)}",
            )  # fmt: skip
        weights[whole] = _merged(weights[whole], sides[low], sides[high], float(lora_alpha or 0), flip=flip)
    if EMBEDDING_COPY in checkpoint.files and EMBEDDING_COPY not in names:
        _take_copy(checkpoint, weights, embedding)
    for name, weight in weights.items():
        if name in shapes and weight.shape != shapes[name]:
            key = checkpoint.weights.get(name, EMBEDDING_COPY)
            raise SchemaError(
                "a weight has another shape than the configuration says", path=checkpoint.path(key), field=key,
                expected=list(shapes[name]), found=list(weight.shape),
            )  # fmt: skip
    return {name: weight.to(dtype) if weight.is_floating_point() else weight for name, weight in weights.items()}


def _merged(weight: Tensor, low: Tensor, high: Tensor, alpha: float, *, flip: bool) -> Tensor:
    """`W + alpha / rank * B A`, computed in float32 at least; `flip` where W is stored `[in, out]`."""
    exact = torch.promote_types(weight.dtype, torch.float32)
    update = (alpha / len(low)) * (high.to(exact) @ low.to(exact))
    return weight.to(exact) + (update.T if flip else update)


def _take_copy(checkpoint: Checkpoint, weights: dict[str, Tensor], embedding: str) -> None:
    """Compare the second copy of the embedding with the first, or put it where the first is missing."""
    copy = dict(checkpoint.tensors([EMBEDDING_COPY]))[EMBEDDING_COPY]
    if not torch.equal(weights.setdefault(embedding, copy), copy):
        raise DataQuality(
            f"two copies of the embedding differ: {EMBEDDING_COPY} and {checkpoint.weights[embedding]}",
            path=checkpoint.path(EMBEDDING_COPY), field=EMBEDDING_COPY,
            hint="The training shared them; save the checkpoint again from a whole model.",
        )  # fmt: skip


def refuse_unfit(checkpoint: Checkpoint, model: nn.Module, info: Mapping[str, Any]) -> None:
    """Refuse a model of which weights are missing, or left over; `info` is what transformers says of the loading.

    Raises:
        SchemaError: naming the first of them.
    """
    left = [key for key in info["unexpected_keys"] if not OLD_BUFFERS.search(key)]
    name = type(model).__name__
    if len(info["missing_keys"]) >= len(list(model.parameters())):
        keys = list(checkpoint.files)
        raise unknown_layout(
            checkpoint.folder, keys, f"no weight of {name} is stored, under the keys of no known layout"
        )
    if left and checkpoint.layout != "plain":
        raise unknown_layout(checkpoint.folder, left, f"{len(left)} keys of the model are not of {name}")
    absent = sorted(set(info["missing_keys"]) | set(info.get("mismatched_keys", ())), key=str)
    if absent:
        raise SchemaError(
            f"{len(absent)} weights of {name} are not in the file, or have another shape",
            path=checkpoint.folder / WEIGHTS, field=str(absent[0]),
        )  # fmt: skip


def read_projection(checkpoint: Checkpoint, d_model: int) -> nn.Module | None:
    """CODI's `prj` (Linear, GELU, Linear, LayerNorm where it was trained with one); None where there is none.

    Raises:
        SchemaError: a part is missing, or of another shape.
    """
    if not checkpoint.projection:
        return None
    normed = any(name in checkpoint.projection for name in NORM_KEYS)
    missing = [name for name in PROJECTION_KEYS + NORM_KEYS * normed if name not in checkpoint.projection]
    if missing:
        key = PROJECTION + missing[0]
        raise SchemaError("the projection lacks a weight", path=checkpoint.path(key), field=key)
    names = {key: name for name, key in checkpoint.projection.items()}
    stored = {names[key]: weight for key, weight in checkpoint.tensors(names)}
    d_hidden = len(stored["1.bias"])
    projection = nn.Sequential(nn.Identity(), nn.Linear(d_model, d_hidden), nn.GELU(), nn.Linear(d_hidden, d_model))
    if normed:
        projection.add_module("ln", nn.LayerNorm(d_model))
    for name, wanted in projection.state_dict().items():
        if stored[name].shape != wanted.shape:
            key = PROJECTION + name
            raise SchemaError(
                "the projection does not fit the model", path=checkpoint.path(key), field=key,
                expected=list(wanted.shape), found=list(stored[name].shape),
            )  # fmt: skip
    projection.load_state_dict(stored)
    return projection
