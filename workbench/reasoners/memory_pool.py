"""What a per-layer memory holds, and what a checkpoint brings for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from workbench.errors import CorruptArtifact, SchemaError
from workbench.reasoners.backbones import Backbone

MEMORY_FILE = "memory.safetensors"


@dataclass(frozen=True, slots=True)
class TrainedMemory:
    """What a checkpoint brings for its memory."""

    slots: Float[Tensor, "layer slot d_model"]
    """The pool before the first episode."""
    bos: Float[Tensor, "layer d_model"] | None = None
    """Stands before a memory that is not empty."""
    new: Float[Tensor, " d_model"] | None = None
    """Added to every block's input at the positions that become slots."""


def read_memory(folder: Path, backbone: Backbone) -> TrainedMemory | None:
    """The trained memory of a model folder; None where there is none.

    Raises:
        CorruptArtifact: the file cannot be read.
        SchemaError: a tensor is missing, unknown, or of another shape.
    """
    path = folder / MEMORY_FILE
    if not path.is_file():
        return None
    try:
        tensors = {name: tensor.to(backbone.device, backbone.dtype) for name, tensor in load_file(path).items()}
    except (SafetensorError, OSError) as error:
        raise CorruptArtifact(f"the memory cannot be read: {error}", path=path) from error
    n_layers, d_model = backbone.n_layers, backbone.d_model
    n_slots = tensors["memory"].shape[1] if "memory" in tensors and tensors["memory"].ndim == 3 else 0
    shapes = {
        "memory": (n_layers, n_slots, d_model),
        "bos_embedding": (n_layers, 1, d_model),
        "new_memory_positional_emb": (1, 1, d_model),
    }
    for name in sorted({*tensors, "memory"}):
        found = tuple(tensors[name].shape) if name in tensors else "no such tensor"
        if found != shapes.get(name):
            raise SchemaError(
                "a tensor of the memory does not fit the model", path=path, field=name,
                expected=shapes.get(name, f"only {', '.join(shapes)}"), found=found,
            )  # fmt: skip
    bos, new = tensors.get("bos_embedding"), tensors.get("new_memory_positional_emb")
    return TrainedMemory(tensors["memory"], None if bos is None else bos[:, 0], None if new is None else new[0, 0])


@dataclass(frozen=True, slots=True)
class Edited:
    """Keys or values of slots that an edit changed."""

    vectors: Float[Tensor, "example slot head d_head"]
    changed: Bool[Tensor, "example slot"]

    def put(self, came: Float[Tensor, "example slot head d_head"]) -> Tensor:
        """The computed ones but for those that were changed."""
        return torch.where(self.changed[..., None, None], self.vectors, came)

    def unchanged(self, n_slots: int) -> Edited:
        """So many slots of which nothing was changed."""
        n, *shape = self.vectors[:, 0].shape
        return Edited(self.vectors.new_zeros(n, n_slots, *shape), self.changed.new_zeros(n, n_slots))


@dataclass(frozen=True, slots=True)
class Pool:
    """Slots of a batch, oldest first."""

    slots: Float[Tensor, "example slot layer d_model"]
    edited: Mapping[str, Edited] = field(default_factory=dict)
    """Site of keys or values -> what an edit made of them."""

    def __len__(self) -> int:
        return self.slots.shape[1]

    def chosen(self, places: Int[Tensor, "example kept"]) -> Pool:
        """Those slots of each example."""
        rows = torch.arange(len(places), device=places.device)[:, None]
        edited = {k: Edited(e.vectors[rows, places], e.changed[rows, places]) for k, e in self.edited.items()}
        return Pool(self.slots[rows, places], edited)

    def newest(self, n: int) -> Pool:
        """The last `n` slots, or as many as there are."""
        places = torch.arange(max(0, len(self) - n), len(self), device=self.slots.device)
        return self.chosen(places.expand(len(self.slots), -1))

    def appended(self, other: Pool) -> Pool:
        """With newer slots, and what was edited of them."""
        edited = {}
        for name in {*self.edited, *other.edited}:
            old = self.edited[name] if name in self.edited else other.edited[name].unchanged(len(self))
            new = other.edited[name] if name in other.edited else self.edited[name].unchanged(len(other))
            edited[name] = Edited(torch.cat([old.vectors, new.vectors], 1), torch.cat([old.changed, new.changed], 1))
        return Pool(torch.cat([self.slots, other.slots], 1), edited)
