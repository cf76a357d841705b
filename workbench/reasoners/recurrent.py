"""Recurrent depth: the state of every position goes through the same blocks again and again before a word is said.

Huginn (Geiping et al. 2025, arXiv:2502.05171), Ouro (Zhu et al. 2025, arXiv:2510.25741) and HRM-Text (after Wang et
al. 2025, arXiv:2506.21734) differ in what a pass is and in what it takes in beside the state; that is their `Loop`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from workbench.reasoners.depth_model import state_generators
from workbench.reasoners.hooking import at_last_position, hooked
from workbench.reasoners.loops import Columns, Loop
from workbench.reasoners.recipe import Recipe
from workbench.reasoners.speaking import LanguageReasoner
from workbench.reasoners.text import TextCoder
from workbench.sites import Site
from workbench.tasks.base import Problem

THOUGHT, NORMED, LENS, CHANGE, GATE = "thought", "thought.normed", "coda_lens", "state_change", "exit_gate"


@dataclass(frozen=True, slots=True)
class RecurrentState:
    """Where a batch stands; `cache` grows in place, so a state is stepped once."""

    seeds: tuple[int, ...]
    generators: tuple[torch.Generator, ...]
    """One source of noise per example; every token draws on."""
    cache: Any
    columns: Columns
    """The newest columns."""
    length: int
    """Columns so far, padding counted."""
    mask: Int[Tensor, "example length"] | None
    """0 where a column is padding; None where nothing is padded."""
    taken: int
    """Passes that the prompt took; each spoken token takes as many."""
    hidden: Float[Tensor, "example d_model"] | None = None
    """What the head reads of the last column, once the columns have left the loop."""


class RecurrentReasoner(LanguageReasoner):
    """Latent steps by passing the loop.

    Thought `s` is what comes out of pass `s` at the last prompt position (after the begin marker), and what the next
    pass, or after the last the coda, takes in; an edit changes it there and nowhere else. Sites inside the loop fire
    once or several times in a step, at the same position. `coda_lens`, `thought.normed`, `state_change` and
    `exit_gate` are computed where they are read, and nothing goes on from them.

    Raises:
        ConfigError, LimitExceeded: the recipe asks for a number of steps that the model does not take.
    """

    def __init__(self, loop: Loop, tokenizer: Any, recipe: Recipe, *, temperature: float = 0.0) -> None:
        coder = TextCoder(tokenizer, loop.d_vocab)
        super().__init__(coder, recipe, device=loop.device, dtype=loop.dtype, temperature=temperature)
        loop.refuse_steps(recipe.thinking.steps)
        self.loop = loop
        self.max_positions = loop.max_positions
        self.free_steps = loop.exact_steps is None
        vector, d_model = ("d_model",), (loop.d_model,)
        own = [Site(THOUGHT, vector, d_model, normed=loop.thought_normed)]
        if not loop.thought_normed:
            own += [Site(NORMED, vector, d_model, normed=True, derived=True), Site(CHANGE, (), (), derived=True)]
        if loop.gated:
            own.append(Site(GATE, (), (), derived=True))
        own.append(Site(LENS, ("d_vocab",), (loop.d_vocab,), derived=True))
        self.sites = {site.name: site for site in own} | loop.looped.sites

    def n_steps(self, problem: Problem) -> int:
        """Passes that this problem gets: its own number, else the recipe's."""
        steps = super().n_steps(problem)
        self.loop.refuse_steps(steps)
        return steps

    def batch_key(self, problem: Problem) -> int:
        """Of a model that takes no masks, only prompts of one length run together."""
        return 0 if self.loop.takes_masks else len(self.prompt_ids(problem))

    def positions_needed(self, problem: Problem) -> Mapping[str, int]:
        """What a problem needs of the longest sequence: passes take no position."""
        return {name: n for name, n in super().positions_needed(problem).items() if name != "steps"}

    def begin(self, problems: Sequence[Problem], seeds: Sequence[int]) -> RecurrentState:
        """Let the prompts in, padded on the left so that every thought stands in the same column."""
        ids, mask = self.padded([self.prompt_ids(problem) for problem in problems])
        cache, generators = self.loop.new_cache(self.n_steps(problems[0])), tuple(state_generators(seeds))
        columns = self.loop.enter(ids, mask, cache, 0, generators)
        return RecurrentState(tuple(seeds), generators, cache, columns, ids.shape[1], mask, 0)

    def step(self, state: RecurrentState) -> RecurrentState:
        """One pass, and its thought put back where the next pass takes it in."""
        came = state.columns.state[:, -1]
        columns = self.loop.turn(state.columns, state.taken)
        put_back = at_last_position(self.tap_of(THOUGHT))(columns.state)
        columns = replace(columns, state=put_back)
        self._derive(came, columns)
        return replace(state, columns=columns, taken=state.taken + 1)

    def _derive(self, came: Tensor, columns: Columns) -> None:
        """Tap what only readers want."""
        thought = columns.state[:, -1]
        if self.watches(NORMED):
            self.tap(NORMED, self.loop.norm(thought))
        if self.watches(CHANGE):
            self.tap(CHANGE, (thought - came).norm(dim=-1) / thought.norm(dim=-1).clamp(min=1e-9))
        if self.watches(GATE):
            self.tap(GATE, self.loop.gate(thought))
        if self.watches(LENS):
            self.tap(LENS, self.loop.unembed(self.loop.leave(columns, keep=False)[:, -1]))

    def positions(self, state: RecurrentState) -> Tensor:
        """The last prompt position, at which every pass has its thought."""
        if state.mask is None:
            return torch.full((len(state.seeds),), state.length - 1, device=self.device)
        return state.mask.sum(1) - 1

    def feed(self, state: RecurrentState, ids: Int[Tensor, "example q"], mask: Tensor | None = None) -> RecurrentState:
        """Let tokens in; they take as many passes as the prompt did."""
        state = self._left(state)
        total = None
        if mask is not None or state.mask is not None:
            old = ids.new_ones(len(ids), state.length) if state.mask is None else state.mask
            total = torch.cat([old, torch.ones_like(ids) if mask is None else mask], 1)
        columns = self.loop.enter(ids, total, state.cache, state.length, state.generators)
        for step in range(state.taken):
            columns = self.loop.turn(columns, step)
        fed = replace(state, columns=columns, length=state.length + ids.shape[1], mask=total, hidden=None)
        return self._left(fed)

    def _left(self, state: RecurrentState) -> RecurrentState:
        """The columns out of the loop, once: what comes after looks at what the coda kept."""
        if state.hidden is not None:
            return state
        return replace(state, hidden=self.loop.leave(state.columns, keep=True)[:, -1])

    def turn_to_speak(self, state: RecurrentState) -> RecurrentState:
        """Leave the loop, then feed the end marker and the prefix."""
        return super().turn_to_speak(self._left(state))  # type: ignore[no-any-return]

    def readout(self, state: RecurrentState) -> Float[Tensor, "example d_vocab"]:
        """Next-token logits after the passes so far."""
        hidden = self.loop.leave(state.columns, keep=False)[:, -1] if state.hidden is None else state.hidden
        return self.loop.unembed(hidden)

    def unembed(self, vectors: Float[Tensor, "row d_model"], site: str = THOUGHT) -> Float[Tensor, "row d_vocab"]:
        """Logit lens, past the coda; the final norm is added where the vectors did not pass it."""
        return self.loop.unembed(vectors if self.reads_normed(site) else self.loop.norm(vectors))

    @torch.no_grad()
    def lens_logits(self, problem: Problem) -> Float[Tensor, " d_vocab"]:
        """The coda lens after the last pass."""
        return self.run([problem], read=[LENS])[LENS].at(self.n_steps(problem) - 1)[0]

    @torch.no_grad()
    def own_logits(self, problem: Problem) -> Float[Tensor, " d_vocab"]:
        """Next-token logits after prompt and begin marker, from the model's own forward call."""
        ids = torch.tensor([self.prompt_ids(problem)], device=self.device)
        return self.loop.own_logits(ids, self.n_steps(problem), 0)

    @contextmanager
    def watch(self, sites: Collection[str]) -> Iterator[None]:
        """Hook the loop's sites for as long as something is read or edited there."""
        hooks = self.loop.looped.hooks
        with hooked(hooks, {site: at_last_position(self.tap_of(site)) for site in sites if site in hooks}):
            yield
