"""MODEL, as a person names it: `organism:NAME` or a folder with `reasoner.toml`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from workbench.errors import ConfigError, LimitExceeded, WorkbenchError
from workbench.organisms import weights_folder
from workbench.reasoners.backbones import Backbone, folder_fingerprint, load_backbone
from workbench.reasoners.base import Reasoner
from workbench.reasoners.feedback import FeedbackReasoner
from workbench.reasoners.recipe import RECIPE_NAME, Recipe, read_recipe

ORGANISM_PREFIX = "organism:"
DEVICES = "cpu, cuda, cuda:N or auto"


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A reasoner, where it came from, and the hash of every file that decides what it does."""

    reasoner: Reasoner
    source: str
    fingerprint: str
    n_layers: int
    d_model: int
    d_vocab: int
    device: str
    """`cpu` or `cuda`: another kind of device rounds otherwise."""


def resolve_model(model: str) -> Path:
    """Folder of MODEL."""
    if model.startswith(ORGANISM_PREFIX):
        return weights_folder(model.removeprefix(ORGANISM_PREFIX))
    return Path(model)


def load_model(model: str, *, device: str = "auto") -> LoadedModel:
    """Load MODEL.

    Args:
        model: `organism:NAME`, or a folder of Hugging Face files plus `reasoner.toml`.
        device: `auto` takes an accelerator where there is one.

    Raises:
        WorkbenchError: naming the file and the key that does not fit.
    """
    folder = resolve_model(model)
    chosen = choose_device(device)
    backbone = load_backbone(folder, device=chosen)
    recipe = read_recipe(folder)
    reasoner = _reasoner(backbone, recipe, folder / RECIPE_NAME)
    return LoadedModel(
        reasoner,
        model,
        folder_fingerprint(folder),
        backbone.n_layers,
        backbone.d_model,
        backbone.d_vocab,
        backbone.device.type,
    )


def _reasoner(backbone: Backbone, recipe: Recipe, path: Path) -> FeedbackReasoner:
    try:
        reasoner = FeedbackReasoner(backbone, recipe)
    except WorkbenchError as error:
        error.path = error.path or str(path)
        raise
    needed, limit = recipe.thinking.steps + recipe.speaking.max_new_tokens, backbone.max_positions
    if limit is not None and needed >= limit:
        raise LimitExceeded(
            "latent steps and said text alone need more positions than the model has",
            path=path, field="thinking.steps", expected=f"less than {limit}, with speaking.max_new_tokens",
            found=needed,
        )  # fmt: skip
    return reasoner


def choose_device(device: str) -> str:
    """`auto` -> the accelerator if torch sees one, else the processor; other names are checked.

    Raises:
        ConfigError: no such device.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ConfigError("no such device", field="device", found=repr(device), expected=DEVICES) from error
    if chosen.type not in ("cpu", "cuda"):
        raise ConfigError("no such device", field="device", found=repr(device), expected=DEVICES)
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ConfigError("torch sees no such accelerator here", field="device", found=device, expected="cpu or auto")
    return device
