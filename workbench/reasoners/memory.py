"""Memory: vectors are written in one episode and read in a later one; no text passes between them.

A problem's `writes` are the texts of its earlier episodes, its `prompt` is the episode that reads. Here a step is an
episode and a visit is one of its slots: the row of a slot is addressed by example, episode, slot and position.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from workbench.errors import ConfigError, LimitExceeded
from workbench.reasoners.backbones import Backbone
from workbench.reasoners.recipe import Recipe
from workbench.reasoners.speaking import LanguageReasoner
from workbench.tasks.base import Problem

MAX_RANDOM_EPISODES = 3


class MemoryReasoner(LanguageReasoner):
    """What all memories share: episodes are counted, must fit, and are followed by one that reads.

    `thinking.steps` is the most episodes that a problem may have; `thinking.begin` follows the reading prompt. States
    have `problems`, `seeds`, and `forward` and `hidden` of the sequence that reads.
    """

    free_steps = False

    def __init__(self, backbone: Backbone, recipe: Recipe, *, temperature: float = 0.0) -> None:
        super().__init__(backbone.coder, recipe, device=backbone.device, dtype=backbone.dtype, temperature=temperature)
        assert recipe.memory is not None
        self.backbone = backbone
        self.max_positions = backbone.max_positions
        self.memory = recipe.memory

    def n_steps(self, problem: Problem) -> int:
        """Episodes of this problem.

        Raises:
            ConfigError: it has none, or asks for another number of steps.
            LimitExceeded: more than the recipe allows.
        """
        n, most = len(problem.writes), self.recipe.thinking.steps
        if not n:
            raise ConfigError(
                f"problem {problem.id!r} has no earlier episode, and there is nothing to remember",
                field="writes", expected=f"1 to {most} texts", found=0,
            )  # fmt: skip
        if n > most:
            raise LimitExceeded(
                f"problem {problem.id!r} has more episodes than thinking.steps allows",
                field="writes", expected=f"at most {most}", found=n,
            )  # fmt: skip
        if problem.steps not in (None, n):
            raise ConfigError(
                f"problem {problem.id!r}: a memory takes one step for each episode",
                field="steps", expected=f"{n}, or none given", found=problem.steps,
            )  # fmt: skip
        return n

    @abstractmethod
    def written_ids(self, problem: Problem, episode: int) -> list[int]:
        """Ids fed while an episode is written."""

    @abstractmethod
    def positions_to_write(self, problem: Problem, episode: int) -> int:
        """Length of the sequence in which an episode is written.

        Raises:
            ConfigError: the text of the episode does not do.
        """

    @abstractmethod
    def n_slots(self, n_episodes: int) -> int:
        """Positions that the memory takes in the sequence that reads it, after so many episodes."""

    def text_ids(self, problem: Problem, episode: int) -> list[int]:
        """Ids of an episode's text; a prompt too, so that special tokens are added where the recipe says so."""
        special = self.recipe.thinking.add_special_tokens
        return self.coder.token_ids(problem.writes[episode], add_special_tokens=special)

    def positions_needed(self, problem: Problem) -> Mapping[str, int]:
        """What a problem needs of the sequence that reads."""
        parts = {**super().positions_needed(problem), "memory": self.n_slots(self.n_steps(problem))}
        del parts["steps"]
        return parts

    def require_fit(self, problem: Problem) -> None:
        """Refuse a problem that the model cannot take: each episode, and the sequence that reads.

        Raises:
            ConfigError: no episode, no token, or another number of steps than of episodes.
            LimitExceeded: one of the sequences does not fit the model.
        """
        for episode in range(self.n_steps(problem)):
            needed, limit = self.positions_to_write(problem, episode), self.max_positions
            if limit is not None and needed > limit:
                raise LimitExceeded(
                    f"episode {episode} of problem {problem.id!r} needs more positions than the model has",
                    field="writes", expected=f"at most {limit}", found=needed,
                )  # fmt: skip
        super().require_fit(problem)

    def random_problem(self, problem_id: str, n_tokens: int, seed: int) -> Problem:
        """A problem with episodes of random tokens, each of another length."""
        n_episodes = min(self.recipe.thinking.steps, MAX_RANDOM_EPISODES)
        lengths = [n_tokens + self.memory.slots + (seed + episode) % 3 for episode in range(n_episodes)]
        writes = [self.random_prompt(length, 1000 * (k + 1) + seed) for k, length in enumerate(lengths)]
        return replace(super().random_problem(problem_id, n_tokens, seed), writes=tuple(writes))

    def feed(self, state: Any, ids: Int[Tensor, "example q"], mask: Tensor | None = None) -> Any:
        """Feed tokens behind the memory; the last column is never padding."""
        forward = self.backbone.forward_ids(ids, state.forward, mask)
        return replace(state, forward=forward, hidden=forward.hidden[:, -1])

    def turn_to_speak(self, state: Any) -> Any:
        """Feed what reads the memory: prompt and begin marker, end marker and prefix."""
        tail = [*self._end, *self._prefix]
        return self.feed(state, *self.padded([[*self.prompt_ids(problem), *tail] for problem in state.problems]))

    def readout(self, state: Any) -> Float[Tensor, "example d_vocab"]:
        """Next-token logits right after the last vector or token fed."""
        return self.backbone.unembed(state.hidden)

    def padded_episode(self, problems: Sequence[Problem], episode: int) -> tuple[Tensor, Tensor | None]:
        """Ids of one episode of each problem, padded on the left, and the mask."""
        return self.padded([self.written_ids(problem, episode) for problem in problems])
