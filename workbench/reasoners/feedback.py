"""Feedback: the vector leaves the top at one position and enters the embedding at the next.

Coconut (Hao et al. 2024, arXiv:2412.06769) puts the last hidden state, after the final norm, back as the next
input embedding; other systems of this family differ only in the function `to_input` and in when they stop. Plain
chain of thought is the member of the family whose vector is the embedding of one token.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from workbench.reasoners.backbones import Backbone, Forward
from workbench.reasoners.hooking import at_last_position
from workbench.reasoners.presets import Noise, Preset, choose_preset
from workbench.reasoners.recipe import Agent, Recipe
from workbench.reasoners.speaking import LanguageReasoner
from workbench.sites import Site
from workbench.tasks.base import Problem

SOURCE, UNUSED = "thought.source", "thought.unused"


@dataclass(frozen=True, slots=True)
class FeedbackState:
    """Where a batch stands; `forward.cache` grows in place, so a state is stepped once."""

    forward: Forward
    problems: tuple[Problem, ...]
    seeds: tuple[int, ...]
    hidden: Float[Tensor, "example d_model"]
    """After the final norm, at each example's last token or thought."""
    taken: Int[Tensor, " example"]
    """Steps that each example took."""
    going: Bool[Tensor, " example"] | None = None
    """Examples that have not stopped thinking; None for all."""
    low: Int[Tensor, " example"] | None = None
    """Steps in a row whose entropy was low."""

    @property
    def noise(self) -> Noise:
        """What the next step may draw from."""
        return Noise(self.seeds, self.taken)


class FeedbackReasoner(LanguageReasoner):
    """Latent steps by feeding the last hidden state back.

    Thought `s` is what step `s` carries into the model: thought 0 is read at the last prompt token (after the
    begin marker) and fed as the next input. Where the model transforms what it reads, `thought.source` is the
    vector that was read and `thought` the one that is fed. `thought.unused` is computed after the last step by the
    same function and fed nowhere.
    """

    def __init__(self, backbone: Backbone, recipe: Recipe, *, temperature: float = 0.0) -> None:
        super().__init__(backbone.coder, recipe, device=backbone.device, dtype=backbone.dtype, temperature=temperature)
        self.backbone = backbone
        self.max_positions = backbone.max_positions
        self.preset: Preset = choose_preset(backbone, recipe, self._end)
        self.may_stop_early = self.preset.stops is not None
        vector = partial(Site, axes=("d_model",), shape=(backbone.d_model,), normed=True)
        source = [] if self.preset.to_input is None else [vector(SOURCE)]
        own = [vector("thought"), *source, vector(UNUSED, unused=True)]
        self.sites = {site.name: site for site in own} | backbone.sites
        self.source = SOURCE if source else "thought"
        """Site of the vectors that the model's own head reads."""

    def n_steps(self, problem: Problem) -> int:
        """Latent steps of this problem, those of all agents together."""
        return super().n_steps(problem) * max(1, len(self._thinkers))

    def agents(self, problem: Problem) -> tuple[str, ...]:
        """Which agent thinks at each step; empty where there is but one."""
        return tuple(agent.name for agent in self._thinkers for _ in range(self._steps_of_one(problem)))

    @property
    def _thinkers(self) -> Sequence[Agent]:
        return () if self.recipe.agents is None else self.recipe.agents.thinkers

    def _steps_of_one(self, problem: Problem) -> int:
        return super().n_steps(problem)

    def prompt_ids(self, problem: Problem) -> list[int]:
        """Ids fed before the first thought: of the first agent's prompt, where there are several."""
        return self._ids_of(self._thinkers[0], problem) if self._thinkers else super().prompt_ids(problem)

    def _ids_of(self, agent: Agent, problem: Problem) -> list[int]:
        return super().prompt_ids(replace(problem, prompt=agent.prompt.replace("{prompt}", problem.prompt)))

    def _speaker_ids(self, problem: Problem) -> list[int]:
        """Ids between the last thought and the said text."""
        speaker = None if self.recipe.agents is None else self.recipe.agents.speaker
        asked = "" if speaker is None else speaker.prompt.replace("{prompt}", problem.prompt)
        return [*self._end, *self.coder.token_ids(asked), *self._prefix]

    def positions_needed(self, problem: Problem) -> Mapping[str, int]:
        """What a problem needs of the longest sequence: the prompts of all agents too."""
        handed_on = sum(len(self._ids_of(agent, problem)) for agent in self._thinkers[1:])
        after = len(self._speaker_ids(problem))
        return {**super().positions_needed(problem), "other agents' prompts": handed_on, "end and prefix": after}

    def begin(self, problems: Sequence[Problem], seeds: Sequence[int]) -> FeedbackState:
        """Run the prompts, padded on the left so that every thought stands in the same column."""
        ids, mask = self.padded([self.prompt_ids(problem) for problem in problems])
        forward = self.backbone.forward_ids(ids, mask=mask)
        taken = torch.zeros(len(problems), dtype=torch.long, device=self.device)
        return FeedbackState(forward, tuple(problems), tuple(seeds), forward.hidden[:, -1], taken)

    def prepare(self, state: FeedbackState, step: int) -> FeedbackState:
        """Feed the next agent's prompt where it begins to think; decide who stops, before anything is edited."""
        if self._thinkers and step:
            turn, within = divmod(step, self._steps_of_one(state.problems[0]))
            if not within:
                agent = self._thinkers[turn]
                state = self.feed(state, *self.padded([self._ids_of(agent, problem) for problem in state.problems]))
        if self.preset.stops is None:
            return state
        low = torch.zeros_like(state.hidden[:, 0], dtype=torch.long) if state.low is None else state.low
        stopped, low = self.preset.stops(self.readout(state), low, state.noise)
        return replace(state, low=low, going=~stopped if state.going is None else state.going & ~stopped)

    def going(self, state: FeedbackState) -> Bool[Tensor, " example"] | None:
        """Examples that have not stopped thinking."""
        return state.going

    def step(self, state: FeedbackState) -> FeedbackState:
        """Read the thought, put it back as the next input, run the model once."""
        read = state.hidden if self.preset.to_input is None else self.tap(SOURCE, state.hidden)
        thought = self.tap("thought", self._to_input(state, read))
        going = state.going if state.going is not None and not state.going.all() else None
        mask = None if going is None else going.long()[:, None]
        forward = self.backbone.forward_vectors(thought[:, None], state.forward, mask)
        hidden = forward.hidden[:, -1]
        return replace(
            state,
            forward=forward,
            hidden=hidden if going is None else torch.where(going[:, None], hidden, state.hidden),
            taken=state.taken + (1 if going is None else going.long()),
        )

    def _to_input(self, state: FeedbackState, source: Tensor) -> Tensor:
        return source if self.preset.to_input is None else self.preset.to_input(source, state.noise)

    def finish(self, state: FeedbackState) -> None:
        """Tap the vector that a further step would have fed."""
        self.tap(UNUSED, self._to_input(state, state.hidden))

    def positions(self, state: FeedbackState) -> Tensor:
        """Position that the next thought will take: tokens and thoughts so far."""
        return state.forward.positions()

    def feed(self, state: FeedbackState, ids: Int[Tensor, "example q"], mask: Tensor | None = None) -> FeedbackState:
        """Feed tokens; the last column is never padding."""
        forward = self.backbone.forward_ids(ids, state.forward, mask)
        return replace(state, forward=forward, hidden=forward.hidden[:, -1])

    def turn_to_speak(self, state: FeedbackState) -> FeedbackState:
        """Feed the end marker, the speaking agent's prompt if there is one, and the prefix."""
        tails = [self._speaker_ids(problem) for problem in state.problems]
        return self.feed(state, *self.padded(tails)) if any(tails) else state

    def readout(self, state: FeedbackState) -> Float[Tensor, "example d_vocab"]:
        """Next-token logits right after the last vector fed."""
        return self.backbone.unembed(state.hidden)

    def unembed(self, vectors: Float[Tensor, "row d_model"], site: str = "thought") -> Float[Tensor, "row d_vocab"]:
        """Logit lens; a thought of this family is already normed, so no norm is added."""
        return self.backbone.unembed(vectors, normed=self.reads_normed(site))

    @torch.no_grad()
    def lens_logits(self, problem: Problem) -> Float[Tensor, " d_vocab"]:
        """The lens on what the first thought was read from; one that stops at once is read where it stops."""
        read = self.run([problem], read=[self.source])[self.source].at(0)
        return self.unembed(read if len(read) else self.begin([problem], [0]).hidden, self.source)[0]

    @torch.no_grad()
    def own_logits(self, problem: Problem) -> Float[Tensor, " d_vocab"]:
        """Next-token logits after prompt and begin marker, from the model as Hugging Face calls it."""
        ids = torch.tensor([self.prompt_ids(problem)], device=self.device)
        return self.backbone.model(input_ids=ids).logits[0, -1]  # type: ignore[no-any-return]

    @contextmanager
    def watch(self, sites: Collection[str]) -> Iterator[None]:
        """Hook the backbone's sites for as long as something is read or edited there."""
        inner = [site for site in sites if site in self.backbone.sites]
        with self.backbone.hooked({site: at_last_position(self.tap_of(site)) for site in inner}):
            yield
