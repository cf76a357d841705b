"""A reasoner whose prompts say what it holds and what it says: chains that do not line up, as the tests plant them.

A prompt is `held values ; said claims`. A held value is a word, or several with `+` between them that one thought
holds together. A claim is the number of the step whose thought it repeats (of a set, its first member), or `=word`,
which is said whatever the thoughts hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from planted import PlantedReasoner  # type: ignore[import-not-found]
from torch import Tensor

from workbench.reasoners.loading import LoadedModel
from workbench.reasoners.recipe import parse_recipe
from workbench.reasoners.recording import Spoken
from workbench.tasks.base import Problem

VALUES = ("ada", "bo", "cy", "dot", "eli", "fay", "gus", "hal")
D = 24
MOVES = torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(1)))[0][: len(VALUES)] * 4
NOISE = 0.2

RECIPE = """
schema = 1
family = "feedback"
preset = "coconut"
[thinking]
steps = 4
[speaking]
max_new_tokens = 9
claims = "via (.+?) to "
separator = ", "
answer = " to (.+)"
"""


@dataclass(frozen=True)
class ChainState:
    prompts: tuple[str, ...]
    noise: tuple[Tensor, ...]
    step: int = 0
    read: tuple[tuple[tuple[str, ...], ...], ...] = ()
    """Per step: what each example's thought holds after edits."""


class ChainReasoner(PlantedReasoner):
    """Says what the nearest members of its thoughts are, in `words` if given; keys and values do nothing."""

    def __init__(self, words: dict[str, list[str]] | None = None, same: str = "") -> None:
        super().__init__(["thought"] * 3)
        self.words = words or {}
        self.recipe = parse_recipe(RECIPE + same, path="planted")

    def begin(self, problems: Sequence[Problem], seeds: Sequence[int]) -> ChainState:
        noise = [torch.randn(9, D, generator=torch.Generator().manual_seed(seed % 2**31)) for seed in seeds]
        return ChainState(tuple(problem.prompt for problem in problems), tuple(noise))

    def step(self, state: ChainState) -> ChainState:
        held = [prompt.partition(" ; ")[0].split()[state.step].split("+") for prompt in state.prompts]
        own = torch.stack([
            sum((MOVES[VALUES.index(value)] for value in values), NOISE * noise[state.step])
            for values, noise in zip(held, state.noise, strict=True)
        ])  # fmt: skip
        for beside in ("blocks.0.attn.hook_k", "blocks.0.attn.hook_v"):
            self.tap(beside, own[:, None])  # nothing that is said comes from there
        odds = self.tap("thought", own) @ MOVES.T / 16 - 0.5
        read = tuple(
            tuple(v for v, o in zip(VALUES, row, strict=True) if o > 0) or (VALUES[int(row.argmax())],) for row in odds
        )
        return ChainState(state.prompts, state.noise, state.step + 1, (*state.read, read))

    def speak(self, state: ChainState) -> Spoken:
        said = []
        for k, prompt in enumerate(state.prompts):
            claims = [
                word[1:] if word.startswith("=") else self._in_words(state.read[int(word)][k][0], k)
                for word in prompt.partition(" ; ")[2].split()
            ]
            said.append(f"via {', '.join(claims)} to {claims[-1]}")
        return Spoken(tuple(said), tuple(() for _ in said), torch.zeros(len(said), len(VALUES)))

    def _in_words(self, value: str, k: int) -> str:
        phrases = [value, *self.words.get(value, [])]
        return phrases[k % len(phrases)]

    def n_steps(self, problem: Problem) -> int:
        return len(problem.prompt.partition(" ; ")[0].split())

    def positions(self, state: ChainState) -> Tensor:
        return torch.full((len(state.prompts),), state.step)

    def readout(self, state: ChainState) -> Tensor:
        return torch.zeros(len(state.prompts), len(VALUES))

    def unembed(self, vectors: Tensor, site: str = "thought") -> Tensor:
        return vectors @ MOVES.T

    def single_token(self, text: str) -> int | None:
        return VALUES.index(text) if text in VALUES else None


def model_of(reasoner: ChainReasoner) -> LoadedModel:
    """As an audit takes it."""
    return LoadedModel(reasoner, "planted", "sha256:" + "0" * 64, 1, D, len(VALUES), "cpu")
