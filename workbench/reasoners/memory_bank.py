"""Memory bank: the last hidden states at write markers of one episode are input vectors of a later one.

The reference design of this project for vectors that outlive the text they were made of (compare Bulatov et al.
2022, Recurrent Memory Transformer, arXiv:2207.06881, whose memory tokens pass from segment to segment).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.errors import ConfigError
from workbench.reasoners.backbones import Backbone, Forward
from workbench.reasoners.hooking import at_last_position
from workbench.reasoners.memory import MemoryReasoner
from workbench.reasoners.recipe import Recipe
from workbench.sites import MEMORY_ADDRESS, Site
from workbench.tasks.base import Problem

SOURCE = "thought.source"


@dataclass(frozen=True, slots=True)
class BankState:
    """Where a batch stands; `forward.cache` grows in place, so a state is stepped once."""

    problems: tuple[Problem, ...]
    seeds: tuple[int, ...]
    episode: int = 0
    forward: Forward | None = None
    """Of the sequence that reads: the slots written so far, then the prompt."""
    hidden: Float[Tensor, "example d_model"] | None = None
    """After the final norm, at the last position of that sequence."""


class MemoryBankReasoner(MemoryReasoner):
    """Each episode runs as a sequence of its own: its text, then the write marker once per slot.

    The last hidden states at the markers, after the final norm (and through the checkpoint's projection if it has
    one), are the thoughts. They are the first inputs of the sequence that reads, slot after slot, at positions 0, 1,
    2, ...; the prompt follows. Sites of the backbone are those of the reading sequence, at the slot just fed:
    nothing that is computed while an episode is written passes a tap but the thought itself.
    """

    def __init__(self, backbone: Backbone, recipe: Recipe, *, temperature: float = 0.0) -> None:
        super().__init__(backbone, recipe, temperature=temperature)
        self._marker = self.coder.token_ids(self.memory.write)
        if not self._marker:
            raise ConfigError(
                "the tokenizer makes no token of this marker", field="memory.write", found=repr(self.memory.write)
            )
        names = ["thought"] if backbone.projection is None else ["thought", SOURCE]
        own = [Site(name, ("d_model",), (backbone.d_model,), normed=True) for name in names]
        sites = [*own, *backbone.sites.values()]
        self.sites = {site.name: replace(site, address=MEMORY_ADDRESS) for site in sites}
        self.source = names[-1]
        """Site of the vectors that the model's own head reads."""

    def n_slots(self, n_episodes: int) -> int:
        """Every slot of every episode is kept."""
        return n_episodes * self.memory.slots

    def written_ids(self, problem: Problem, episode: int) -> list[int]:
        """The text of an episode and its write markers."""
        return [*self.text_ids(problem, episode), *(self._marker * self.memory.slots)]

    def positions_to_write(self, problem: Problem, episode: int) -> int:
        """Text and markers."""
        return len(self.written_ids(problem, episode))

    def begin(self, problems: Sequence[Problem], seeds: Sequence[int]) -> BankState:
        """Nothing is run before the first episode."""
        return BankState(tuple(problems), tuple(seeds))

    def step(self, state: BankState) -> BankState:
        """Write one episode, and put its slots one by one into the sequence that reads."""
        ids, mask = self.padded_episode(state.problems, state.episode)
        width = len(self._marker)
        hidden = self.backbone.forward_ids(ids, mask=mask).hidden
        written = hidden[:, -width * self.memory.slots :][:, width - 1 :: width]
        forward = state.forward
        with self.backbone.hooked({
            site: at_last_position(self.tap_of(site)) for site in self.backbone.sites if self.watches(site)
        }):  # fmt: skip
            for source in written.unbind(1):
                self.move_to(self._next_position(forward, len(source)))
                forward = self.backbone.forward_vectors(self._thought(source)[:, None], forward)
        assert forward is not None
        return replace(state, episode=state.episode + 1, forward=forward, hidden=forward.hidden[:, -1])

    def _thought(self, source: Tensor) -> Tensor:
        if self.backbone.projection is not None:
            source = self.backbone.projection(self.tap(SOURCE, source))
        return self.tap("thought", source)

    def _next_position(self, forward: Forward | None, n: int) -> Tensor:
        return torch.zeros(n, dtype=torch.long, device=self.device) if forward is None else forward.positions()

    def positions(self, state: BankState) -> Tensor:
        """Position, in the sequence that reads, of the next slot."""
        return self._next_position(state.forward, len(state.problems))

    def unembed(self, vectors: Float[Tensor, "row d_model"], site: str = "thought") -> Float[Tensor, "row d_vocab"]:
        """Logit lens; a slot was normed when it was written, so no norm is added."""
        return self.backbone.unembed(vectors, normed=self.reads_normed(site))

    @torch.no_grad()
    def lens_logits(self, problem: Problem) -> Float[Tensor, " d_vocab"]:
        """The lens on the last slot of the last episode."""
        rows = self.run([problem], read=[self.source])[self.source]
        return self.unembed(rows.at(len(problem.writes) - 1, self.memory.slots - 1), self.source)[0]

    @torch.no_grad()
    def own_logits(self, problem: Problem) -> Float[Tensor, " d_vocab"]:
        """Next-token logits after the last episode and its markers, from the model as Hugging Face calls it."""
        ids = torch.tensor([self.written_ids(problem, len(problem.writes) - 1)], device=self.device)
        return self.backbone.model(input_ids=ids).logits[0, -1]  # type: ignore[no-any-return]

    def watch(self, sites: Collection[str]) -> AbstractContextManager[None]:
        """Nothing is hooked beforehand: hooks are set only while a slot enters the sequence that reads."""
        return nullcontext()
