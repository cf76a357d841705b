"""The random twin: a control that has the architecture and the spread of every weight, and nothing that was learned.

Source: the re-randomised control of Heap et al. 2025 (arXiv:2501.17727): every weight tensor is drawn again from a
normal distribution with that tensor's own mean and standard deviation.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from workbench.errors import ConfigError
from workbench.reasoners.backbones import Backbone
from workbench.reasoners.base import Reasoner
from workbench.reasoners.feedback import FeedbackReasoner
from workbench.reasoners.layer_memory import LayerMemoryReasoner
from workbench.reasoners.loading import LoadedModel, ModelSource, load_model
from workbench.reasoners.memory_bank import MemoryBankReasoner
from workbench.reasoners.memory_pool import TrainedMemory
from workbench.reasoners.recurrent import RecurrentReasoner

Redraw = Callable[[str, Tensor], Tensor]
"""From a tensor's name and the tensor to the one that takes its place."""


def randomised(model: LoadedModel, seed: int) -> LoadedModel:
    """The same reasoner around weights that were drawn again; the given model is left as it is.

    Each tensor's draw follows from the seed and its name. A tensor whose values are all equal (an untrained bias,
    a single number) stays as it is. Tied weights stay tied; what the reasoner derives from weights is derived again.

    Raises:
        ConfigError: the model is a twin already, or of a kind that another package brings, or the seed is negative.
    """
    if seed < 0:
        raise ConfigError("a seed is 0 or more", field="seed", found=seed)
    if model.origin is not None and model.origin.twin is not None:
        raise ConfigError("this model is a random twin already", field="random-twin", found=model.fingerprint)

    def redraw(name: str, weight: Tensor) -> Tensor:
        return _drawn(name, weight, seed)

    return replace(
        model,
        reasoner=_rebuilt(model.reasoner, redraw),
        fingerprint=f"random twin {seed} of {model.fingerprint}",
        origin=None if model.origin is None else replace(model.origin, twin=seed),
    )


def load_again(source: ModelSource) -> LoadedModel:
    """The model that a source names, its twin where one is asked for.

    Raises:
        WorkbenchError: naming the file and the key that does not fit.
    """
    model = load_model(
        source.model, device=source.device, dtype=getattr(torch, source.dtype),
        trust_remote_code=source.trust_remote_code,
    )  # fmt: skip
    return model if source.twin is None else randomised(model, source.twin)


def _rebuilt(reasoner: Reasoner, redraw: Redraw) -> Reasoner:
    if isinstance(reasoner, RecurrentReasoner):
        loop: Any = reasoner.loop
        model = _redrawn(loop.model, "model", redraw)
        return RecurrentReasoner(
            type(loop)(model), reasoner.coder.tokenizer, reasoner.recipe, temperature=reasoner.temperature
        )
    if isinstance(reasoner, LayerMemoryReasoner):
        backbone, trained = _backbone(reasoner.backbone, redraw), _trained(reasoner.trained, redraw)
        return LayerMemoryReasoner(backbone, reasoner.recipe, trained, temperature=reasoner.temperature)
    if isinstance(reasoner, FeedbackReasoner | MemoryBankReasoner):
        backbone = _backbone(reasoner.backbone, redraw)
        return type(reasoner)(backbone, reasoner.recipe, temperature=reasoner.temperature)
    raise ConfigError(
        "no random twin is known for this kind of reasoner", field="random-twin", found=type(reasoner).__name__,
        hint="Capture a folder of the same configuration with weights that nobody trained.",
    )  # fmt: skip


def _backbone(backbone: Backbone, redraw: Redraw) -> Backbone:
    projection = None if backbone.projection is None else _redrawn(backbone.projection, "projection", redraw)
    return Backbone(_redrawn(backbone.model, "model", redraw), backbone.coder.tokenizer, projection)


def _trained(memory: TrainedMemory, redraw: Redraw) -> TrainedMemory:
    def again(name: str, weight: Tensor | None) -> Tensor | None:
        return None if weight is None else redraw(f"memory.{name}", weight)

    return TrainedMemory(redraw("memory.slots", memory.slots), again("bos", memory.bos), again("new", memory.new))


def _redrawn(module: nn.Module, prefix: str, redraw: Redraw) -> nn.Module:
    twin = copy.deepcopy(module)
    with torch.no_grad():
        for name, weight in twin.named_parameters():
            weight.copy_(redraw(f"{prefix}.{name}", weight))
    return twin


def _drawn(name: str, weight: Tensor, seed: int) -> Tensor:
    """Drawn on the processor, so that every device gets the same numbers."""
    if weight.numel() < 2:
        return weight.clone()
    key = hashlib.sha256(f"{seed}:{name}".encode()).digest()[:7]
    generator = torch.Generator().manual_seed(int.from_bytes(key, "big"))
    deviation, mean = torch.std_mean(weight.float(), correction=0)
    drawn = torch.randn(weight.shape, generator=generator).to(weight.device)
    return (mean + deviation * drawn).to(weight.dtype)
