"""What a looped model has to offer so that `RecurrentReasoner` can drive it, and how the native model offers it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from workbench.errors import ConfigError, LimitExceeded
from workbench.reasoners.depth_blocks import DepthCache
from workbench.reasoners.depth_model import DepthModel, state_generators
from workbench.reasoners.hooking import Part, SiteHook
from workbench.sites import Site


@dataclass(frozen=True, slots=True)
class Columns:
    """New columns on their way through the loop."""

    state: Float[Tensor, "example q d_model"]
    """What the next pass takes in; its last column becomes the thought."""
    inside: Any
    """The adapter's own: what the prelude made of the tokens, masks, positions, the cache."""


@dataclass(slots=True)
class Looped:
    """Sites inside the loop and the hooks behind them."""

    sites: dict[str, Site] = field(default_factory=dict)
    hooks: dict[str, SiteHook] = field(default_factory=dict)

    def add(self, name: str, hook: SiteHook, shape: tuple[int, ...], *, normed: bool | None = None) -> None:
        """A site of vectors `[d_model]`, or of `[head, d_head]`."""
        self.sites[name] = Site(name, ("head", "d_head") if len(shape) == 2 else ("d_model",), shape, normed=normed)
        self.hooks[name] = hook

    def add_block(self, prefix: str, block: nn.Module, d_model: int, keys: Mapping[str, SiteHook]) -> None:
        """The residual stream before and after one block, and keys and values as its projections give them.

        `keys` has a hook with a `Part` for `k` and `v`; the heads are as wide as the projection says.
        """
        self.add(f"{prefix}.hook_resid_pre", SiteHook(block, of_input=True), (d_model,))
        for letter, hook in keys.items():
            part, width = hook.part, getattr(hook.module, "out_features", None)
            assert part is not None
            assert width is not None
            self.add(f"{prefix}.attn.hook_{letter}", hook, (part.n_heads, width // part.n_parts // part.n_heads))
        self.add(f"{prefix}.hook_resid_post", SiteHook(block), (d_model,))


class Loop(ABC):
    """A model that sends the same columns through the same blocks again and again.

    For each window of new columns: `enter` once, `turn` for every pass, `leave` once. The cache grows in place.
    """

    device: torch.device
    dtype: torch.dtype
    n_layers: int
    d_model: int
    d_vocab: int
    max_positions: int | None
    """Longest sequence; absent where the model states none."""
    looped: Looped
    """Sites inside the loop, each of which may fire several times in a step."""

    takes_masks: bool = True
    """Whether prompts of different lengths may run in one batch."""
    thought_normed: bool = False
    """Whether what comes out of a pass, and goes into the next, has passed the final norm."""
    exact_steps: int | None = None
    """The number of passes that the model was built for, where it takes no other."""
    most_steps: int | None = None
    """Passes at most, where the model states a number."""
    gated: bool = False
    """Whether the model says after every pass how ready it is to stop (`exit_gate`)."""

    @abstractmethod
    def new_cache(self, n_steps: int) -> Any:
        """An empty cache for so many passes."""

    @abstractmethod
    def enter(
        self,
        ids: Int[Tensor, "example q"],
        mask: Int[Tensor, "example length"] | None,
        cache: Any,
        earlier: int,
        generators: Sequence[torch.Generator],
    ) -> Columns:
        """New columns before their first pass.

        Args:
            ids: tokens; padding stands on the left.
            mask: 0 for padding, of `earlier` and new columns together; None where nothing is padded.
            cache: what `new_cache` gave, with the keys and values of earlier columns.
            earlier: columns in the cache.
            generators: one source of noise per example, where the state begins with noise.
        """

    @abstractmethod
    def turn(self, columns: Columns, step: int) -> Columns:
        """One pass."""

    @abstractmethod
    def leave(self, columns: Columns, *, keep: bool) -> Float[Tensor, "example q d_model"]:
        """What the head reads; without `keep` the cache stays as it was."""

    @abstractmethod
    def norm(self, vectors: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        """The final norm."""

    @abstractmethod
    def unembed(self, normed: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_vocab"]:
        """Logits of vectors that passed the final norm."""

    def gate(self, thought: Float[Tensor, "example d_model"]) -> Float[Tensor, " example"]:
        """How ready the model says it is to stop, from 0 to 1."""
        raise NotImplementedError("only loops that are gated are asked")

    @abstractmethod
    def own_logits(self, ids: Int[Tensor, "1 q"], n_steps: int, seed: int) -> Float[Tensor, " d_vocab"]:
        """Logits at the last column from the model's own forward call."""

    def refuse_steps(self, steps: int) -> None:
        """Refuse a number of passes that the model cannot take.

        Raises:
            ConfigError: the model was built for exactly one number, and this is another.
            LimitExceeded: more than the model states.
        """
        if self.exact_steps not in (None, steps):
            raise ConfigError(
                "this model was built for one number of steps",
                field="thinking.steps", expected=self.exact_steps, found=steps,
            )  # fmt: skip
        if self.most_steps is not None and steps > self.most_steps:
            raise LimitExceeded(
                "more steps than this model was built for",
                field="thinking.steps", expected=f"at most {self.most_steps}", found=steps,
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Entered:
    injected: Tensor
    window: Any


class DepthLoop(Loop):
    """The project's own recurrent-depth model."""

    def __init__(self, model: DepthModel) -> None:
        self.model = model.eval().requires_grad_(requires_grad=False)
        config = model.config
        self.device, self.dtype = model.device, model.dtype
        self.d_model, self.d_vocab, self.max_positions = config.d_model, config.d_vocab, config.n_positions
        self.n_layers = config.n_prelude + config.n_core + config.n_coda
        self.looped = Looped()
        for i, block in enumerate(model.core):
            attention: Any = block.attn
            keys = {
                "k": SiteHook(attention.k, part=Part(config.n_heads)),
                "v": SiteHook(attention.v, part=Part(config.n_heads)),
            }
            self.looped.add_block(f"core.{i}", block, config.d_model, keys)

    def new_cache(self, n_steps: int) -> DepthCache:
        """An empty cache; each pass has its own keys and values."""
        return DepthCache()

    def enter(
        self, ids: Tensor, mask: Tensor | None, cache: DepthCache, earlier: int, generators: Sequence[torch.Generator]
    ) -> Columns:
        """The prelude, and a state of noise."""
        n, q = ids.shape
        window = self.model.window(n, q, mask, cache, earlier)
        state = self.model.initial_state(generators, q, None if mask is None else mask[:, -q:])
        return Columns(state, _Entered(self.model.enter(ids, window), window))

    def turn(self, columns: Columns, step: int) -> Columns:
        """One pass of the core."""
        entered: _Entered = columns.inside
        return replace(columns, state=self.model.turn(columns.state, entered.injected, entered.window, step))

    def leave(self, columns: Columns, *, keep: bool) -> Tensor:
        """Norm, coda, norm."""
        return self.model.leave(columns.state, columns.inside.window, keep=keep)

    def norm(self, vectors: Tensor) -> Tensor:
        """The norm before and after the coda."""
        normed: Tensor = self.model.ln_final(vectors)
        return normed

    def unembed(self, normed: Tensor) -> Tensor:
        """The head."""
        return self.model.unembed(normed)

    def own_logits(self, ids: Tensor, n_steps: int, seed: int) -> Tensor:
        """The model's forward call, without a cache."""
        state = self.model.initial_state(state_generators([seed]), ids.shape[1])
        logits: Tensor = self.model(ids, n_steps, state)[0, -1]
        return logits
