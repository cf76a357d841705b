"""Channels of known capacity: reasoners whose thought passes so many bits, and a trained one whose memory does."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workbench.reasoners.backbones import Backbone, new_word_gpt2
from workbench.reasoners.base import Reasoner
from workbench.reasoners.loading import LoadedModel
from workbench.reasoners.memory_bank import MemoryBankReasoner
from workbench.reasoners.recipe import Recipe, parse_recipe
from workbench.reasoners.recording import Spoken
from workbench.sites import Site
from workbench.tasks.base import Problem

D = 24
N_NOISE = 8
"""Numbers of a thought that differ from problem to problem and that nothing depends on."""


def recipe(n_steps: int) -> Recipe:
    return parse_recipe(
        f"""schema = 1
family = "feedback"
preset = "coconut"
[thinking]
steps = {n_steps}
[speaking]
prefix = "says"
max_new_tokens = {n_steps}
claims = 'says ([^<]+)'
answer = 'says (\\S+)'
""",
        path="planted",
    )


def channel_problems(bits: int, n: int, *, n_steps: int = 1, seed: int = 0) -> list[Problem]:
    """Messages drawn evenly: one word of 2^bits for every step."""
    drawn = np.random.default_rng([seed, bits]).integers(2**bits, size=(n, n_steps))
    chains = [[f"m{word}" for word in row] for row in drawn]
    return [Problem(id=f"p{k}", prompt=f"{' '.join(c)} #{k}", thoughts=tuple(c)) for k, c in enumerate(chains)]


@dataclass(frozen=True)
class ChannelState:
    problems: tuple[Problem, ...]
    step: int = 0
    heard: tuple[tuple[str, ...], ...] = ()


class ChannelReasoner(Reasoner):
    """Says, of every step, the word that the thought lies nearest to: 2^bits words, so many bits pass and no more.

    Where `deaf`, it says what the prompt says, and nothing passes; where `blank`, its thoughts hold noise alone.
    """

    def __init__(self, bits: int, *, n_steps: int = 1, deaf: bool = False, blank: bool = False) -> None:
        self.bits, self.planned, self.deaf, self.blank = bits, n_steps, deaf, blank
        generator = torch.Generator().manual_seed(bits)
        self.words = torch.randn(2**bits, D - N_NOISE, generator=generator)
        self.recipe = recipe(n_steps)
        self.sites = {"thought": Site("thought", ("d_model",), (D,))}

    def begin(self, problems: Sequence[Problem], seeds: Sequence[int]) -> ChannelState:
        return ChannelState(tuple(problems))

    def step(self, state: ChannelState) -> ChannelState:
        told = [problem.prompt.split() for problem in state.problems]
        own = [int(words[state.step].removeprefix("m")) for words in told]
        noise = [np.random.default_rng([int(w[-1].removeprefix("#")), state.step]).normal(size=N_NOISE) for w in told]
        words = torch.zeros_like(self.words[own]) if self.blank else self.words[own]
        held = torch.cat([words, 0.1 * torch.tensor(np.stack(noise), dtype=torch.float32)], 1)
        passed = self.tap("thought", held)[:, : D - N_NOISE]
        read = own if self.deaf or self.blank else torch.cdist(passed, self.words).argmin(-1).tolist()
        return ChannelState(state.problems, state.step + 1, (*state.heard, tuple(f"m{k}" for k in read)))

    def speak(self, state: ChannelState) -> Spoken:
        said = tuple(f"says {' '.join(chain)}" for chain in zip(*state.heard, strict=True))
        return Spoken(said, tuple(() for _ in said), torch.zeros(len(said), 2**self.bits))

    def readout(self, state: ChannelState) -> Tensor:
        return torch.zeros(len(state.problems), 2**self.bits)

    def unembed(self, vectors: Tensor, site: str = "thought") -> Tensor:
        return vectors[:, : D - N_NOISE] @ self.words.T

    def n_steps(self, problem: Problem) -> int:
        return self.planned

    def require_fit(self, problem: Problem) -> None:
        pass

    def positions(self, state: ChannelState) -> Tensor:
        return torch.full((len(state.problems),), state.step)

    def own_logits(self, problem: Problem) -> Tensor:
        return torch.zeros(2**self.bits)

    def as_vectors(self, rows: object) -> Tensor:
        return torch.as_tensor(rows)

    def single_token(self, text: str) -> int | None:
        return None

    def random_prompt(self, n_tokens: int, seed: int) -> str:
        return "m0 #0"

    @contextmanager
    def watch(self, sites: Collection[str]) -> Iterator[None]:
        yield


def loaded(reasoner: Reasoner, d_vocab: int) -> LoadedModel:
    """As if it had been loaded."""
    return LoadedModel(reasoner, "planted", "sha256:" + "0" * 64, 1, D, d_vocab, "cpu")


MEMORY_WORDS = 8
MEMORY_RECIPE = """schema = 1
family = "memory"
preset = "memory-bank"
[thinking]
steps = 1
[speaking]
prefix = "says"
max_new_tokens = 1
stop = "<eos>"
claims = 'says (\\S+)'
answer = 'says (\\S+)'
[memory]
slots = 1
write = "<write>"
"""


def memory_problems(n: int, *, seed: int = 0) -> list[Problem]:
    """An episode tells a word among others that do not matter; the later one asks for it."""
    generator = np.random.default_rng(seed)
    drawn, idle = generator.integers(MEMORY_WORDS, size=n), generator.integers(4, size=(n, 3))
    return [
        Problem(
            id=f"p{k}", prompt="ask", thoughts=(f"m{word}",),
            writes=(f"{' '.join(f'x{other}' for other in others)} m{word}",),
        )
        for k, (word, others) in enumerate(zip(drawn, idle, strict=True))
    ]  # fmt: skip


def trained_memory(*, updates: int = 120, seed: int = 0) -> LoadedModel:
    """A GPT-2 with a memory of one vector, trained to remember one of 8 words: 3 bits."""
    words = (
        "<unk>",
        *(f"m{k}" for k in range(MEMORY_WORDS)),
        *(f"x{k}" for k in range(4)),
        "<write>",
        "ask",
        "says",
        "<eos>",
    )
    model, tokenizer = new_word_gpt2(words, d_model=32, n_layers=1, n_heads=2, n_positions=16, seed=seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(5.0 if weight.ndim == 2 else 1.0)  # small weights need ten times as long
    place = {word: k for k, word in enumerate(words)}
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.0)
    for update in range(updates):
        problems = memory_problems(64, seed=1000 + update)
        written = torch.tensor([[place[w] for w in (*p.writes[0].split(), "<write>")] for p in problems])
        slot = model.transformer(input_ids=written).last_hidden_state[:, -1:]
        asked = model.transformer.wte(torch.tensor([[place["ask"], place["says"]]] * len(problems)))
        hidden = model.transformer(inputs_embeds=torch.cat([slot, asked], 1)).last_hidden_state[:, -1]
        target = torch.tensor([place[str(p.thoughts[0])] for p in problems])
        loss = torch.nn.functional.cross_entropy(model.lm_head(hidden), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    reasoner = MemoryBankReasoner(Backbone(model.eval(), tokenizer), parse_recipe(MEMORY_RECIPE, path="planted"))
    return loaded(reasoner, len(words))
