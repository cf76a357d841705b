"""What a recurrent-depth model is built of: its sizes, sandwich blocks, and the keys and values of every pass.

After Huginn (Geiping et al. 2025, arXiv:2502.05171).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated

import torch
from jaxtyping import Bool, Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

STATE_STD = math.sqrt(2 / 5)
"""Huginn's sqrt(2 / (5 d)) times its embedding scale sqrt(d): the same for every width."""

Size = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]


class DepthConfig(BaseModel):
    """Sizes of the model, as `config.json` has them."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    d_vocab: Size
    d_model: Size
    n_heads: Size
    d_mlp: Size
    n_prelude: Annotated[int, Field(ge=0)]
    n_core: Size
    n_coda: Annotated[int, Field(ge=0)]
    n_positions: Size
    """Longest sequence."""
    rope_base: Positive = 50_000.0
    norm_eps: Positive = 1e-6
    state_std: Annotated[float, Field(ge=0)] = STATE_STD
    """Of the initial state; 0 begins with zeros."""
    tied: bool = True
    """Whether the head is the embedding."""
    qk_bias: bool = True

    @property
    def d_head(self) -> int:
        """Width of one head."""
        return self.d_model // self.n_heads


class RMSNorm(nn.Module):
    """Division by the root mean square, in float32, and a learned scale."""

    def __init__(self, d_model: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d_model))

    def forward(self, vectors: Tensor) -> Tensor:
        """Normed vectors of the same shape and type."""
        wide = vectors.float()
        scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return (wide * scale).type_as(vectors) * self.weight


Key = tuple[str, int, int]
"""Part of the model, pass (0 outside the core), block."""


@dataclass(slots=True)
class DepthCache:
    """Keys and values of every block, of the core one pair for every pass; grows in place."""

    pairs: dict[Key, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def joined(self, key: Key, keys: Tensor, values: Tensor, *, keep: bool) -> tuple[Tensor, Tensor]:
        """Earlier keys and values with these after them."""
        if key in self.pairs:
            earlier = self.pairs[key]
            keys, values = torch.cat([earlier[0], keys], 1), torch.cat([earlier[1], values], 1)
        if keep:
            self.pairs[key] = keys, values
        return keys, values


@dataclass(frozen=True, slots=True)
class Window:
    """The columns that go through the model together: where they stand and what they may look at."""

    cos: Float[Tensor, "example q 1 half"]
    sin: Float[Tensor, "example q 1 half"]
    allowed: Bool[Tensor, "example 1 q length"] | None
    """None where a plain causal mask does."""
    cache: DepthCache | None


class Attention(nn.Module):
    """Rotary multi-head attention."""

    def __init__(self, config: DepthConfig) -> None:
        super().__init__()
        d_model = config.d_model
        self.n_heads = config.n_heads
        self.q = nn.Linear(d_model, d_model, bias=config.qk_bias)
        self.k = nn.Linear(d_model, d_model, bias=config.qk_bias)
        self.v = nn.Linear(d_model, d_model, bias=False)
        self.o = nn.Linear(d_model, d_model, bias=False)

    def forward(self, vectors: Tensor, window: Window, key: Key, keep: bool) -> Tensor:
        """What each column reads from those that it may look at."""
        q, k, v = (part(vectors).unflatten(-1, (self.n_heads, -1)) for part in (self.q, self.k, self.v))
        q, k = _turned(q, window), _turned(k, window)
        if window.cache is not None:
            k, v = window.cache.joined(key, k, v, keep=keep)
        read = functional.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2),
            attn_mask=window.allowed, is_causal=window.allowed is None and q.shape[1] > 1,
        )  # fmt: skip
        out: Tensor = self.o(read.transpose(1, 2).flatten(2))
        return out


def _turned(vectors: Tensor, window: Window) -> Tensor:
    """Rotary embedding of neighbouring pairs, in float32."""
    even, odd = vectors.float()[..., 0::2], vectors.float()[..., 1::2]
    cos, sin = window.cos, window.sin
    return torch.stack([even * cos - odd * sin, odd * cos + even * sin], -1).flatten(-2).type_as(vectors)


class GatedMLP(nn.Module):
    """SiLU of one projection times another."""

    def __init__(self, config: DepthConfig) -> None:
        super().__init__()
        self.gate = nn.Linear(config.d_model, config.d_mlp, bias=False)
        self.up = nn.Linear(config.d_model, config.d_mlp, bias=False)
        self.down = nn.Linear(config.d_mlp, config.d_model, bias=False)

    def forward(self, vectors: Tensor) -> Tensor:
        """Column by column."""
        out: Tensor = self.down(functional.silu(self.gate(vectors)) * self.up(vectors))
        return out


class Block(nn.Module):
    """A sandwich block: norms before and after attention and MLP, the residual within."""

    def __init__(self, config: DepthConfig) -> None:
        super().__init__()
        self.attn, self.mlp = Attention(config), GatedMLP(config)
        self.norm_1, self.norm_2, self.norm_3, self.norm_4 = (
            RMSNorm(config.d_model, config.norm_eps) for _ in range(4)
        )

    def forward(self, vectors: Tensor, window: Window, key: Key, keep: bool = True) -> Tensor:
        """The residual stream after this block."""
        vectors = self.norm_2(self.attn(self.norm_1(vectors), window, key, keep) + vectors)
        out: Tensor = self.norm_4(self.mlp(self.norm_3(vectors)) + vectors)
        return out
