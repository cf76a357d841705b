"""A recurrent-depth language model: prelude, a core that is passed again and again, coda.

After Geiping et al. 2025 (arXiv:2502.05171, "Huginn"): the embedded prompt goes through the prelude once; every
pass takes the state together with what the prelude gave; the coda turns the normed state into logits. The state
begins as noise, drawn for each example and position from a seed of that example.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import sqrt

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention, silu

from workbench.errors import ConfigError

MODEL_TYPE = "recurrent-depth"


@dataclass(frozen=True, slots=True)
class DepthConfig:
    """Sizes of the model; `config.json` has these keys and `model_type`."""

    d_vocab: int
    d_model: int
    n_heads: int
    d_mlp: int
    n_positions: int
    n_prelude: int = 1
    n_core: int = 1
    n_coda: int = 1
    rope_base: float = 50_000.0
    norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        for name in ("d_vocab", "d_model", "n_heads", "d_mlp", "n_positions", "n_prelude", "n_core", "n_coda"):
            if getattr(self, name) < 1:
                raise ConfigError("a model has at least one", field=name, found=getattr(self, name))
        if self.d_model % (2 * self.n_heads):
            raise ConfigError(
                "heads of even width must fill the model", field="n_heads",
                expected=f"a divisor of d_model / 2 = {self.d_model / 2:g}", found=self.n_heads,
            )  # fmt: skip

    @property
    def state_std(self) -> float:
        """Standard deviation of the first state, after the embedding's scale."""
        return sqrt(2 / (5 * self.d_model)) * sqrt(self.d_model)


@dataclass(slots=True)
class DepthCache:
    """Keys and values of every block and pass; a block of the core has one entry for each pass."""

    held: dict[tuple[str, int, int], tuple[Tensor, Tensor]] = field(default_factory=dict)
    """(part, block, pass) -> keys and values `[example, head, pos, d_head]`, keys turned by their position."""

    def append(self, place: tuple[str, int, int], keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values of a block and pass, the new ones last."""
        if place in self.held:
            before = self.held[place]
            keys, values = torch.cat([before[0], keys], 2), torch.cat([before[1], values], 2)
        self.held[place] = (keys, values)
        return keys, values


@dataclass(frozen=True, slots=True)
class Span:
    """New positions of a sequence."""

    turned: tuple[Float[Tensor, "example q 1 half"], Float[Tensor, "example q 1 half"]]
    """Cosine and sine of each position."""
    allowed: Bool[Tensor, "example 1 q length"]
    """Columns that each position may look at."""
    cache: DepthCache | None
    """Grows with the span; None where nothing comes after."""


class RMSNorm(nn.Module):
    """Root mean square norm, computed in float32."""

    def __init__(self, d_model: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d_model))
        self.eps = eps

    def forward(self, vectors: Tensor) -> Tensor:
        """Vectors of unit mean square, scaled."""
        wide = vectors.float()
        normed: Tensor = (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)).to(vectors.dtype)
        return normed * self.weight


class Attention(nn.Module):
    """Causal attention with rotary positions; queries and keys have a bias."""

    def __init__(self, config: DepthConfig) -> None:
        super().__init__()
        d = config.d_model
        self.n_heads = config.n_heads
        self.q, self.k, self.v, self.o = (nn.Linear(d, d, bias=bias) for bias in (True, True, False, False))

    def forward(self, vectors: Tensor, span: Span, place: tuple[str, int, int]) -> Tensor:
        """What each position takes from those it may look at."""
        q, k, v = (part(vectors).unflatten(-1, (self.n_heads, -1)) for part in (self.q, self.k, self.v))
        q, k, v = _turn(q, span.turned).transpose(1, 2), _turn(k, span.turned).transpose(1, 2), v.transpose(1, 2)
        if span.cache is not None:
            k, v = span.cache.append(place, k, v)
        seen = scaled_dot_product_attention(q, k, v, attn_mask=span.allowed)
        out: Tensor = self.o(seen.transpose(1, 2).flatten(2))
        return out


def _turn(heads: Tensor, turned: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary embedding of neighbouring pairs."""
    cos, sin = turned
    even, odd = heads.float()[..., 0::2], heads.float()[..., 1::2]
    return torch.stack([even * cos - odd * sin, odd * cos + even * sin], -1).flatten(-2).to(heads.dtype)


class GatedMLP(nn.Module):
    """SiLU-gated feed-forward layer."""

    def __init__(self, config: DepthConfig) -> None:
        super().__init__()
        self.gate = nn.Linear(config.d_model, config.d_mlp, bias=False)
        self.up = nn.Linear(config.d_model, config.d_mlp, bias=False)
        self.down = nn.Linear(config.d_mlp, config.d_model, bias=False)

    def forward(self, vectors: Tensor) -> Tensor:
        """Each position by itself."""
        out: Tensor = self.down(silu(self.gate(vectors)) * self.up(vectors))
        return out


class SandwichBlock(nn.Module):
    """A norm before and after each of attention and feed-forward layer, the residual inside the second."""

    def __init__(self, config: DepthConfig) -> None:
        super().__init__()
        self.norm_1, self.norm_2, self.norm_3, self.norm_4 = (
            RMSNorm(config.d_model, config.norm_eps) for _ in range(4)
        )
        self.attn = Attention(config)
        self.mlp = GatedMLP(config)

    def forward(self, vectors: Tensor, span: Span, place: tuple[str, int, int]) -> Tensor:
        """The residual stream after this block."""
        vectors = self.norm_2(self.attn(self.norm_1(vectors), span, place) + vectors)
        out: Tensor = self.norm_4(self.mlp(self.norm_3(vectors)) + vectors)
        return out


class RecurrentDepthModel(nn.Module):
    """The whole model; embedding and head share their weights."""

    def __init__(self, config: DepthConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.d_vocab, config.d_model)
        self.prelude = nn.ModuleList(SandwichBlock(config) for _ in range(config.n_prelude))
        self.adapter = nn.Linear(2 * config.d_model, config.d_model, bias=False)
        self.core = nn.ModuleList(SandwichBlock(config) for _ in range(config.n_core))
        self.coda = nn.ModuleList(SandwichBlock(config) for _ in range(config.n_coda))
        self.ln_f = RMSNorm(config.d_model, config.norm_eps)
        for weight in self.parameters():
            if weight.ndim == 2:
                nn.init.normal_(weight, std=sqrt(2 / (5 * config.d_model)))
        for block in (*self.prelude, *self.core, *self.coda):
            nn.init.zeros_(block.attn.q.bias)
            nn.init.zeros_(block.attn.k.bias)

    def span(
        self,
        positions: Int[Tensor, "example q"],
        mask: Int[Tensor, "example length"],
        cache: DepthCache | None = None,
    ) -> Span:
        """New positions, of which column `length - q + i` is the `i`-th; `mask` has 0 where a column is padding."""
        half = self.config.d_model // self.config.n_heads // 2
        speed = self.config.rope_base ** (-torch.arange(half, device=positions.device) / half)
        angle = positions[..., None].float() * speed
        length, q = mask.shape[1], positions.shape[1]
        columns = torch.arange(length, device=mask.device)
        own = columns[length - q :, None]
        allowed = (columns <= own) & mask[:, None, :].bool() | (
            columns == own
        )  # padding looks at itself: no row is empty
        return Span((angle.cos()[:, :, None], angle.sin()[:, :, None]), allowed[:, None], cache)

    def enter(self, ids: Int[Tensor, "example q"], span: Span) -> Float[Tensor, "example q d_model"]:
        """Embedding and prelude: what every pass takes in beside the state."""
        vectors: Tensor = self.embed(ids) * sqrt(self.config.d_model)
        for k, block in enumerate(self.prelude):
            vectors = block(vectors, span, ("prelude", k, 0))
        return vectors

    def turn(
        self,
        state: Float[Tensor, "example q d_model"],
        entered: Float[Tensor, "example q d_model"],
        span: Span,
        step: int,
    ) -> Float[Tensor, "example q d_model"]:
        """One pass through the core."""
        state = self.adapter(torch.cat([state, entered], -1))
        for k, block in enumerate(self.core):
            state = block(state, span, ("core", k, step))
        return state

    def leave(self, state: Float[Tensor, "example q d_model"], span: Span) -> Float[Tensor, "example q d_model"]:
        """Norm, coda and norm: what the head reads."""
        vectors: Tensor = self.ln_f(state)
        for k, block in enumerate(self.coda):
            vectors = block(vectors, span, ("coda", k, 0))
        normed: Tensor = self.ln_f(vectors)
        return normed

    def head(self, hidden: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_vocab"]:
        """Logits of normed vectors."""
        return linear(hidden, self.embed.weight)

    def forward(
        self, ids: Int[Tensor, "example q"], state: Float[Tensor, "example q d_model"], n_steps: int
    ) -> Float[Tensor, "example q d_vocab"]:
        """Logits at every position of unpadded prompts after so many passes from this first state."""
        positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        span = self.span(positions, torch.ones_like(ids))
        entered = self.enter(ids, span)
        for step in range(n_steps):
            state = self.turn(state, entered, span, step)
        return self.head(self.leave(state, span))

    def first_state(self, generators: Sequence[torch.Generator], counts: Sequence[int]) -> list[Tensor]:
        """First states `[count, d_model]` of each example's next positions: normal, cut off at three deviations."""
        drawn = []
        for generator, count in zip(generators, counts, strict=True):
            state = torch.empty(count, self.config.d_model)
            nn.init.trunc_normal_(state, std=1.0, a=-3.0, b=3.0, generator=generator)
            drawn.append((state * self.config.state_std).to(self.embed.weight))
        return drawn
