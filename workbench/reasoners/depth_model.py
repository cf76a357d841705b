"""A small recurrent-depth language model: a prelude, a core that is run as often as one likes, and a coda.

The architecture is that of Huginn (Geiping et al. 2025, arXiv:2502.05171): sandwich-normed blocks, rotary
attention with a bias on queries and keys, gated SiLU MLPs, and an adapter that puts the state together with what the
prelude made of the tokens before every pass. The state begins as noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from workbench.errors import ConfigError
from workbench.reasoners.depth_blocks import Block, DepthCache, DepthConfig, RMSNorm, Window

CUT = 3.0
"""Standard deviations beyond which the initial state holds no number."""
STATE_STREAM = 1
"""Keeps the noise of the state apart from what sampling draws from the same seed."""


class DepthModel(nn.Module):
    """Prelude, core, coda: `enter` once, `turn` as often as wanted, `leave` once, for each window of new columns.

    All of it is differentiable and takes batches whose padding stands on the left.

    Raises:
        ConfigError: the width does not divide into heads of even width.
    """

    def __init__(self, config: DepthConfig) -> None:
        super().__init__()
        if config.d_model % (2 * config.n_heads):
            raise ConfigError(
                "rotary heads need an even width", field="d_model",
                expected=f"a multiple of {2 * config.n_heads} for {config.n_heads} heads", found=config.d_model,
            )  # fmt: skip
        self.config = config
        self.embed = nn.Embedding(config.d_vocab, config.d_model)
        self.prelude = nn.ModuleList(Block(config) for _ in range(config.n_prelude))
        self.adapter = nn.Linear(2 * config.d_model, config.d_model, bias=False)
        self.core = nn.ModuleList(Block(config) for _ in range(config.n_core))
        self.coda = nn.ModuleList(Block(config) for _ in range(config.n_coda))
        self.ln_final = RMSNorm(config.d_model, config.norm_eps)
        if not config.tied:
            self.head = nn.Linear(config.d_model, config.d_vocab, bias=False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embed.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return self.embed.weight.dtype

    @torch.no_grad()
    def reset(self, seed: int, mean_depth: int) -> None:
        """Draw all weights anew as Huginn's were at birth, outputs of blocks smaller the deeper the model unrolls."""
        config, generator = self.config, torch.Generator().manual_seed(seed)
        std = math.sqrt(2 / (5 * config.d_model))
        depth = config.n_prelude + config.n_coda + config.n_core * mean_depth
        for name, weight in self.named_parameters():
            if name.endswith("bias"):
                weight.zero_()
            elif weight.ndim == 1:
                weight.fill_(1.0)
            else:
                scale = std / math.sqrt(2 * depth) if name.endswith((".o.weight", ".down.weight")) else std
                weight.copy_(truncated_normal(weight.shape, generator) * scale)

    def initial_state(
        self,
        generators: Sequence[torch.Generator],
        q: int,
        mask: Int[Tensor, "example q"] | None = None,
    ) -> Float[Tensor, "example q d_model"]:
        """Noise for `q` new columns: one draw a token from each example's own generator, none for padding."""
        state = torch.zeros(len(generators), q, self.config.d_model)
        counts = [q] * len(generators) if mask is None else mask.sum(1).tolist()
        for row, (generator, n) in enumerate(zip(generators, counts, strict=True)):
            drawn = truncated_normal(torch.Size((n, self.config.d_model)), generator)
            state[row, q - n :] = self.config.state_std * drawn
        return state.to(self.device, self.dtype)

    def window(
        self, n: int, q: int, mask: Int[Tensor, "example length"] | None = None, cache: DepthCache | None = None,
        earlier: int = 0,
    ) -> Window:  # fmt: skip
        """Where the last `q` columns stand.

        Args:
            n: examples.
            q: new columns.
            mask: 0 for padding, 1 else, for earlier and new columns; None where nothing is padded.
            cache: keys and values of earlier columns; absent in a plain forward pass.
            earlier: columns in the cache.
        """
        if mask is None:
            positions = torch.arange(earlier, earlier + q, device=self.device).expand(n, q)
        else:
            positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -q:]
        half = torch.arange(0, self.config.d_head, 2, dtype=torch.float32, device=self.device)
        angle = positions[..., None].float() * (1.0 / self.config.rope_base ** (half / self.config.d_head))
        allowed = None
        if mask is not None or (earlier and q > 1):
            column = torch.arange(earlier + q, device=self.device)
            causal = column <= column[earlier:, None]
            real = torch.ones(n, earlier + q, device=self.device) if mask is None else mask
            itself = column == column[earlier:, None]  # padding reads itself: a softmax over nothing is no number
            allowed = ((causal & real.bool()[:, None]) | itself)[:, None]
        return Window(angle.cos()[:, :, None], angle.sin()[:, :, None], allowed, cache)

    def enter(self, ids: Int[Tensor, "example q"], window: Window) -> Float[Tensor, "example q d_model"]:
        """What the prelude makes of tokens; every pass gets it beside the state."""
        vectors: Tensor = self.embed(ids) * math.sqrt(self.config.d_model)
        for i, block in enumerate(self.prelude):
            vectors = block(vectors, window, ("prelude", 0, i))
        return vectors

    def turn(
        self,
        state: Float[Tensor, "example q d_model"],
        injected: Float[Tensor, "example q d_model"],
        window: Window,
        step: int,
    ) -> Float[Tensor, "example q d_model"]:
        """One pass of the core; `step` says which, from 0, because each keeps its own keys and values."""
        state = self.adapter(torch.cat([state, injected], -1))
        for i, block in enumerate(self.core):
            state = block(state, window, ("core", step, i))
        return state

    def leave(
        self, state: Float[Tensor, "example q d_model"], window: Window, *, keep: bool = True
    ) -> Float[Tensor, "example q d_model"]:
        """Norm, coda and norm again; without `keep` the cache stays as it was."""
        vectors: Tensor = self.ln_final(state)
        for i, block in enumerate(self.coda):
            vectors = block(vectors, window, ("coda", 0, i), keep)
        normed: Tensor = self.ln_final(vectors)
        return normed

    def unembed(self, normed: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_vocab"]:
        """Logits of vectors that passed the final norm."""
        return functional.linear(normed, self.embed.weight if self.config.tied else self.head.weight)

    def forward(
        self,
        ids: Int[Tensor, "example q"],
        n_steps: int,
        initial_state: Float[Tensor, "example q d_model"],
        mask: Int[Tensor, "example q"] | None = None,
    ) -> Float[Tensor, "example q d_vocab"]:
        """Logits after so many passes, without a cache."""
        window = self.window(len(ids), ids.shape[1], mask)
        injected, state = self.enter(ids, window), initial_state
        for step in range(n_steps):
            state = self.turn(state, injected, window, step)
        return self.unembed(self.leave(state, window))


def truncated_normal(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Normal numbers within `CUT` standard deviations, by inversion: the same however the draws are cut up."""
    low = 0.5 * math.erfc(CUT / math.sqrt(2))
    share = torch.rand(shape, generator=generator, dtype=torch.float64)
    normal: Tensor = torch.special.ndtri(low + share * (1 - 2 * low))
    return normal.float()


def state_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """One source of noise per example."""
    drawn = [np.random.SeedSequence([seed, STATE_STREAM]).generate_state(1, np.uint64) for seed in seeds]
    return [torch.Generator().manual_seed(int(number[0] >> 1)) for number in drawn]
