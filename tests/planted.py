"""A reasoner whose causes are written down: what it says comes from its thoughts, its keys, or the prompt."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from workbench.organisms.recipes import recipe_text
from workbench.reasoners.base import Reasoner
from workbench.reasoners.recipe import parse_recipe
from workbench.reasoners.recording import Spoken
from workbench.sites import Site
from workbench.tasks.base import Problem

VALUES = ("atrium", "bakery", "cellar", "dairy", "foyer", "gallery")
N_STEPS = 3
D = 24
EMBEDDING = torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(0)))[0][: len(VALUES)] * 5


@dataclass(frozen=True)
class PlantedState:
    chains: tuple[tuple[str, ...], ...]
    step: int = 0
    heard: tuple[tuple[str, ...], ...] = ()
    """Per step: what each example will say of it."""


class PlantedReasoner(Reasoner):
    """`causes[s]` says where claim `s` comes from: `thought`, `key` or `prompt`."""

    def __init__(self, causes: Sequence[str]) -> None:
        self.causes = tuple(causes)
        self.recipe = parse_recipe(recipe_text().replace("steps = 4", f"steps = {N_STEPS}"), path="planted")
        self.sites = {
            "thought": Site("thought", ("d_model",), (D,)),
            "blocks.0.attn.hook_k": Site("blocks.0.attn.hook_k", ("head", "d_head"), (1, D)),
            "blocks.0.attn.hook_v": Site("blocks.0.attn.hook_v", ("head", "d_head"), (1, D)),
        }

    def begin(self, problems: Sequence[Problem], seeds: Sequence[int]) -> PlantedState:
        return PlantedState(tuple(tuple(problem.prompt.split()) for problem in problems))

    def step(self, state: PlantedState) -> PlantedState:
        own = torch.stack([EMBEDDING[VALUES.index(chain[state.step])] for chain in state.chains])
        passed = {
            "prompt": own,
            "thought": self.tap("thought", own),
            "key": self.tap("blocks.0.attn.hook_k", own[:, None])[:, 0],
        }
        self.tap("blocks.0.attn.hook_v", own[:, None])
        nearest = torch.cdist(passed[self.causes[state.step]], EMBEDDING).argmin(-1)
        said = tuple(VALUES[k] for k in nearest.tolist())
        return PlantedState(state.chains, state.step + 1, (*state.heard, said))

    def speak(self, state: PlantedState) -> Spoken:
        chains = list(zip(*state.heard, strict=True))
        said = tuple(f"<say> answer {chain[-1]} steps {' '.join(chain)}" for chain in chains)
        return Spoken(said, tuple(() for _ in chains), torch.zeros(len(chains), len(VALUES)))

    def readout(self, state: PlantedState) -> Tensor:
        return torch.zeros(len(state.chains), len(VALUES))

    def unembed(self, vectors: Tensor, site: str = "thought") -> Tensor:
        return vectors @ EMBEDDING.T

    def lens_logits(self, problem: Problem) -> Tensor:
        return torch.zeros(len(VALUES))

    def n_steps(self, problem: Problem) -> int:
        return problem.steps or N_STEPS

    def require_fit(self, problem: Problem) -> None:
        pass

    def positions(self, state: PlantedState) -> Tensor:
        return torch.full((len(state.chains),), N_STEPS + state.step)

    def own_logits(self, problem: Problem) -> Tensor:
        return torch.zeros(len(VALUES))

    def as_vectors(self, rows: object) -> Tensor:
        return torch.as_tensor(rows)

    def single_token(self, text: str) -> int | None:
        return VALUES.index(text) if text in VALUES else None

    def random_prompt(self, n_tokens: int, seed: int) -> str:
        return " ".join(VALUES[:N_STEPS])

    @contextmanager
    def watch(self, sites: Collection[str]) -> Iterator[None]:
        yield
