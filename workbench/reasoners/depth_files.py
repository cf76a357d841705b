"""A recurrent-depth model as a folder: `config.json`, weights as safetensors, and the tokenizer's own files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from workbench.errors import ConfigError, CorruptArtifact, SchemaError
from workbench.jsonio import read_json
from workbench.reasoners.depth_blocks import DepthConfig
from workbench.reasoners.depth_model import DepthModel
from workbench.reasoners.folders import WEIGHTS

MODEL_TYPE = "recurrent-depth"


def save_depth_model(model: DepthModel, tokenizer: Any, folder: Path) -> None:
    """Write weights, configuration and tokenizer of a model into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: weight.detach().cpu().contiguous() for name, weight in model.state_dict().items()}
    save_file(weights, folder / WEIGHTS)
    plain = {"model_type": MODEL_TYPE, **model.config.model_dump()}
    (folder / "config.json").write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")
    tokenizer.save_pretrained(folder)


def load_depth_model(folder: Path, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> DepthModel:
    """Read a model back.

    Raises:
        SchemaError: another kind of model, an unknown, missing or wrong key, or a weight that is missing, unknown or
            of another shape.
        ConfigError: sizes that do not fit each other.
        CorruptArtifact: the weights are cut off.
    """
    path = folder / "config.json"
    plain = read_json(path)
    if not isinstance(plain, dict) or plain.get("model_type") != MODEL_TYPE:
        found = plain.get("model_type") if isinstance(plain, dict) else type(plain).__name__
        raise SchemaError("another kind of model", path=path, field="model_type", expected=MODEL_TYPE, found=found)
    try:
        config = DepthConfig.model_validate({key: value for key, value in plain.items() if key != "model_type"})
        with torch.device("meta"):
            model = DepthModel(config)
    except ValidationError as error:
        keys = [".".join(map(str, item["loc"])) for item in error.errors()]
        said = "; ".join(f"{key}: {item['msg']}" for key, item in zip(keys, error.errors(), strict=True))
        raise SchemaError(said, path=path, field=", ".join(keys)) from error
    except ConfigError as error:
        error.path = error.path or str(path)
        raise
    weights = _weights(folder / WEIGHTS, {name: weight.shape for name, weight in model.state_dict().items()})
    model.load_state_dict({name: weight.to(device, dtype) for name, weight in weights.items()}, assign=True)
    return model.eval().requires_grad_(requires_grad=False)


def _weights(path: Path, shapes: dict[str, torch.Size]) -> dict[str, Tensor]:
    try:
        weights: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CorruptArtifact(f"the weights cannot be read: {error}", path=path) from error
    missing, unknown = sorted(shapes.keys() - weights.keys()), sorted(weights.keys() - shapes.keys())
    if missing:
        raise SchemaError("a weight is missing", path=path, field=missing[0], found=f"{len(missing)} missing")
    if unknown:
        raise SchemaError("a weight that this model does not have", path=path, field=unknown[0])
    for name, weight in weights.items():
        if weight.shape != shapes[name] or not weight.is_floating_point():
            raise SchemaError(
                "a weight of another shape or type", path=path, field=name,
                expected=f"{tuple(shapes[name])}, floating", found=f"{tuple(weight.shape)} {weight.dtype}",
            )  # fmt: skip
    return weights
