"""MODEL, as a person names it: `organism:NAME` or a folder with `reasoner.toml`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from workbench.errors import ConfigError, LimitExceeded, WorkbenchError
from workbench.organisms import weights_folder
from workbench.reasoners.backbones import load_backbone, load_tokenizer
from workbench.reasoners.base import Reasoner
from workbench.reasoners.depth_files import load_depth_model
from workbench.reasoners.feedback import FeedbackReasoner
from workbench.reasoners.folders import folder_fingerprint, refuse_unsafe
from workbench.reasoners.layer_memory import LayerMemoryReasoner
from workbench.reasoners.live_hrm import HrmLoop
from workbench.reasoners.live_huginn import HuginnLoop
from workbench.reasoners.live_ouro import OuroLoop
from workbench.reasoners.loops import DepthLoop, Loop
from workbench.reasoners.memory_bank import MemoryBankReasoner
from workbench.reasoners.memory_pool import read_memory
from workbench.reasoners.recipe import PRESETS, RECIPE_NAME, Recipe, plugins, read_recipe
from workbench.reasoners.recurrent import RecurrentReasoner
from workbench.reasoners.remote import load_live

ORGANISM_PREFIX = "organism:"
DEVICES = "cpu, cuda, cuda:N or auto"


@dataclass(frozen=True, slots=True)
class ModelSource:
    """What was asked of `load_model`, so that another process can ask for the same."""

    model: str
    """`organism:NAME`, or the whole path of a folder."""
    device: str
    dtype: str
    trust_remote_code: bool = False
    twin: int | None = None
    """Seed with which the weights were drawn again (`twin.randomised`)."""


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
    dtype: str = "float32"
    """Of the weights: another type rounds otherwise."""
    origin: ModelSource | None = None
    """How to load it elsewhere; None for a model that was put together in this process."""


def resolve_model(model: str) -> Path:
    """Folder of MODEL."""
    if model.startswith(ORGANISM_PREFIX):
        return weights_folder(model.removeprefix(ORGANISM_PREFIX))
    return Path(model)


@dataclass(frozen=True, slots=True)
class Where:
    """Where and how a folder is loaded."""

    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    trust_remote_code: bool = False
    """Whether code that lies in the folder may run. Nothing else sets this but the person who asks for it."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A reasoner and its sizes."""

    reasoner: Reasoner
    n_layers: int
    d_model: int
    d_vocab: int


def load_model(
    model: str, *, device: str = "auto", dtype: torch.dtype = torch.float32, trust_remote_code: bool = False
) -> LoadedModel:
    """Load MODEL.

    Args:
        model: `organism:NAME`, or a folder of Hugging Face files plus `reasoner.toml`.
        device: `auto` takes an accelerator where there is one.
        dtype: type of the weights; what was stored in another is cast.
        trust_remote_code: run code that lies in the folder (Huginn, Ouro).

    Raises:
        WorkbenchError: naming the file and the key that does not fit.
    """
    folder = resolve_model(model)
    where = Where(choose_device(device), dtype, trust_remote_code)
    refuse_unsafe(folder, trust_code=trust_remote_code)
    recipe = read_recipe(folder)
    loaded = load_reasoner(folder, recipe, where)
    name = str(dtype).removeprefix("torch.")
    whole = model if model.startswith(ORGANISM_PREFIX) else str(folder.absolute())
    return LoadedModel(
        loaded.reasoner,
        model,
        folder_fingerprint(folder),
        loaded.n_layers,
        loaded.d_model,
        loaded.d_vocab,
        torch.device(where.device).type,
        name,
        ModelSource(whole, where.device, name, trust_remote_code),
    )


def load_reasoner(folder: Path, recipe: Recipe, where: Where) -> Loaded:
    """The model of a folder, thinking and speaking as this recipe says.

    Raises:
        WorkbenchError: naming the file and the key that does not fit.
    """
    try:
        loaded = _loader_of(recipe)(folder, recipe, where)
        _refuse_too_many_steps(loaded.reasoner, recipe)
    except WorkbenchError as error:
        error.path = error.path or str(folder / RECIPE_NAME)
        raise
    return loaded


def _load_feedback(folder: Path, recipe: Recipe, where: Where) -> Loaded:
    alpha = None if recipe.checkpoint is None else recipe.checkpoint.lora_alpha
    backbone = load_backbone(folder, device=where.device, dtype=where.dtype, lora_alpha=alpha)
    return Loaded(FeedbackReasoner(backbone, recipe), backbone.n_layers, backbone.d_model, backbone.d_vocab)


def _load_memory(folder: Path, recipe: Recipe, where: Where) -> Loaded:
    backbone = load_backbone(folder, device=where.device, dtype=where.dtype)
    reasoner: Reasoner
    if recipe.preset == "memory-bank":
        reasoner = MemoryBankReasoner(backbone, recipe)
    else:
        reasoner = LayerMemoryReasoner(backbone, recipe, read_memory(folder, backbone))
    return Loaded(reasoner, backbone.n_layers, backbone.d_model, backbone.d_vocab)


def _load_depth_loop(folder: Path, where: Where) -> tuple[Loop, Any]:
    model = load_depth_model(folder, device=where.device, dtype=where.dtype)
    return DepthLoop(model), load_tokenizer(folder)


def _load_live(
    folder: Path, where: Where, *, architecture: str, loop: Callable[[Any], Loop], remote: bool
) -> tuple[Loop, Any]:
    model, tokenizer = load_live(
        folder, architecture=architecture, device=where.device, dtype=where.dtype,
        remote=remote, trust_remote_code=where.trust_remote_code,
    )  # fmt: skip
    return loop(model), tokenizer


LOOPS: Mapping[str, Callable[[Path, Where], tuple[Loop, Any]]] = {
    "recurrent-depth": _load_depth_loop,
    "hrm-text": partial(_load_live, architecture="HrmTextForCausalLM", loop=HrmLoop, remote=False),
    "huginn": partial(_load_live, architecture="RavenForCausalLM", loop=HuginnLoop, remote=True),
    "ouro": partial(_load_live, architecture="OuroForCausalLM", loop=OuroLoop, remote=True),
}
"""How the looped model and the tokenizer of each preset are loaded."""


def _load_recurrent(folder: Path, recipe: Recipe, where: Where) -> Loaded:
    loop, tokenizer = LOOPS[recipe.preset](folder, where)
    return Loaded(RecurrentReasoner(loop, tokenizer, recipe), loop.n_layers, loop.d_model, loop.d_vocab)


Loader = Callable[[Path, Recipe, Where], Loaded]
"""From a model folder, its recipe, and where to load it."""


def _loader_of(recipe: Recipe) -> Loader:
    if recipe.preset in PRESETS[recipe.family]:
        return FAMILIES[recipe.family]
    point = plugins()[recipe.preset]
    try:
        loader: Loader = point.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"the package that brings this preset cannot be loaded: {error}", field="preset", found=recipe.preset,
            expected=f"a loader at {point.value}",
        )  from error  # fmt: skip
    return loader


FAMILIES: Mapping[str, Loader] = {
    "feedback": _load_feedback,
    "memory": _load_memory,
    "recurrent": _load_recurrent,
    "tokens": _load_feedback,
}
"""How the folders of each family are loaded."""


def _refuse_too_many_steps(reasoner: Reasoner, recipe: Recipe) -> None:
    limit = getattr(reasoner, "max_positions", None)
    needed = recipe.thinking.steps + recipe.speaking.max_new_tokens
    if limit is not None and recipe.family in ("feedback", "tokens") and needed >= limit:
        raise LimitExceeded(
            "latent steps and said text alone need more positions than the model has",
            field="thinking.steps", expected=f"less than {limit}, with speaking.max_new_tokens", found=needed,
        )  # fmt: skip


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
