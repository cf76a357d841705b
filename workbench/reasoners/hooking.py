"""Reading and writing at sites with plain torch hooks on the original modules, under TransformerLens names.

TransformerLens' own module wrappers cost up to three times the forward pass of a small model, read or not; a
hook on the original module costs nothing where nothing is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

Tap = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Part:
    """Which numbers of a module's output belong to a site: heads of a projection that may hold several things."""

    n_heads: int
    n_parts: int = 1
    """Things that the projection computes side by side: 3 where queries, keys and values are fused."""
    part: int = 0
    interleaved: bool = False
    """Fused head by head (GPT-NeoX, BLOOM), and not one after the other (GPT-2, Phi-3)."""
    group: int = 1
    """Heads of queries, the first part, for one head of every other part; with more than one, queries are no part."""

    def __post_init__(self) -> None:
        if self.group > 1 and self.part == 0:
            raise ValueError("queries of grouped heads are not one part")

    def get(self, whole: Tensor) -> Tensor:
        """`[..., width]` -> `[..., head, d_head]`."""
        if self.n_parts == 1:
            return whole.view(*whole.shape[:-1], self.n_heads, -1)
        n, slots = self.n_heads, self.group + self.n_parts - 1
        place = self.part + self.group - 1
        if self.interleaved:
            return whole.view(*whole.shape[:-1], n, slots, -1)[..., place, :]
        return whole.view(*whole.shape[:-1], slots * n, -1)[..., place * n : (place + 1) * n, :]

    def put(self, whole: Tensor, vectors: Tensor) -> Tensor:
        """The module's output with these vectors in their place."""
        changed = whole.contiguous().clone()
        self.get(changed).copy_(vectors)
        return changed


@dataclass(frozen=True, slots=True)
class SiteHook:
    """Where the vectors of a site pass: the input or the output of one original module, or a part of it."""

    module: nn.Module
    of_input: bool = False
    part: Part | None = None

    def through(self, tap: Tap, whole: Tensor) -> Tensor:
        """Let what passes here pass through a tap; where nothing was edited, the very same tensor goes on."""
        if self.part is None:
            return tap(whole)
        came = self.part.get(whole)
        passed = tap(came)
        return whole if passed is came else self.part.put(whole, passed)

    def register(self, tap: Tap) -> RemovableHandle:
        """Hook the module until the handle is removed."""
        if self.of_input:

            def before(module: nn.Module, args: Any, kwargs: Any) -> Any:
                if args:
                    return (self.through(tap, args[0]), *args[1:]), kwargs
                return args, {**kwargs, "hidden_states": self.through(tap, kwargs["hidden_states"])}

            return self.module.register_forward_pre_hook(before, with_kwargs=True)

        def after(module: nn.Module, args: Any, output: Any) -> Any:
            if isinstance(output, tuple):
                return (self.through(tap, output[0]), *output[1:])
            return self.through(tap, output)

        return self.module.register_forward_hook(after)


@contextmanager
def hooked(hooks: Mapping[str, SiteHook], taps: Mapping[str, Tap]) -> Iterator[None]:
    """Send sites through functions while the context is open; nothing stays behind."""
    with ExitStack() as stack:
        for name, tap in taps.items():
            stack.callback(hooks[name].register(tap).remove)
        yield


def at_last_position(tap: Tap) -> Tap:
    """A tap `[example, ...]` for vectors `[example, pos, ...]`: the last position passes it, the others pass by."""

    def through(vectors: Tensor) -> Tensor:
        came = vectors[:, -1]
        passed = tap(came)
        if passed is came:
            return vectors
        return torch.cat([vectors[:, :-1], passed[:, None]], 1)

    return through
