"""How an organism is trained, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

POOL = 16_384


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """How an organism is trained."""

    seed: int = 0
    updates: int = 3500
    batch_size: int = 128
    learning_rate: float = 4e-3
    thought_noise: float = 0.1
    """Noise added to fed thoughts in training, as a share of their norm: keeps what they hold well apart."""
    d_model: int = 64
    n_layers: int = 2
    n_heads: int = 4
    n_positions: int = 64
    pool: int = POOL
    """Problems that are made at a time."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained model and how it got there."""

    model: Any
    tokenizer: Any
    projection: nn.Module | None
    plan: TrainingPlan
    seconds: float
