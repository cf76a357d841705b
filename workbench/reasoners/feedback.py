"""Feedback: the vector leaves the top at one position and enters the embedding at the next.

Coconut (Hao et al. 2024, arXiv:2412.06769) puts the last hidden state, after the final norm, back as the next
input embedding; other systems of this family differ only in the function `to_input`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from workbench.errors import ConfigError, LimitExceeded
from workbench.reasoners.backbones import Backbone, Forward
from workbench.reasoners.base import Reasoner, Spoken
from workbench.reasoners.recipe import MAX_STEPS, Recipe
from workbench.sites import Site
from workbench.tasks.base import Problem

STOP_WINDOW = 32
"""Last tokens in which the stop is looked for."""

ToInput = Callable[[Float[Tensor, "example d_model"]], Float[Tensor, "example d_model"]]


def coconut(backbone: Backbone) -> ToInput:
    """Coconut: the normed last hidden state itself is the next input."""
    return lambda thought: thought


TO_INPUT: Mapping[str, Callable[[Backbone], ToInput]] = {"coconut": coconut}


@dataclass(frozen=True, slots=True)
class FeedbackState:
    """Where a batch stands; `forward.cache` grows in place, so a state is stepped once."""

    forward: Forward
    seeds: tuple[int, ...]


class FeedbackReasoner(Reasoner):
    """Latent steps by feeding the last hidden state back.

    Thought `s` is what step `s` carries into the model: thought 0 is read at the last prompt token (after the
    begin marker) and fed as the next input.
    """

    def __init__(self, backbone: Backbone, recipe: Recipe, *, temperature: float = 0.0) -> None:
        if recipe.preset not in TO_INPUT:
            raise ConfigError(f"no preset {recipe.preset!r}; there are {', '.join(TO_INPUT)}", field="preset")
        if temperature < 0:
            raise ConfigError("temperature is 0 (greedy) or more", field="temperature", found=temperature)
        self.backbone = backbone
        self.recipe = recipe
        self.temperature = temperature
        self.to_input = TO_INPUT[recipe.preset](backbone)
        self.sites = {"thought": Site("thought", ("d_model",), (backbone.d_model,)), **backbone.sites}
        thinking, speaking = recipe.thinking, recipe.speaking
        self._begin = backbone.token_ids(thinking.begin)
        self._tail = backbone.token_ids(thinking.end) + backbone.token_ids(speaking.prefix)
        self._prefix = backbone.token_ids(speaking.prefix)
        if speaking.stop and not backbone.token_ids(speaking.stop):
            raise ConfigError("the tokenizer makes no token of this text", field="speaking.stop", found=speaking.stop)

    def n_steps(self, problem: Problem) -> int:
        """Latent steps of this problem: its own number, else the recipe's.

        Raises:
            LimitExceeded: more than any recipe may ask for (some models state no limit of their own).
        """
        steps = problem.steps or self.recipe.thinking.steps
        if steps > MAX_STEPS:
            raise LimitExceeded(
                f"problem {problem.id!r} asks for too many latent steps",
                field="steps",
                expected=f"at most {MAX_STEPS}",
                found=f"{steps} steps",
            )
        return steps

    def require_fit(self, problem: Problem) -> None:
        """Refuse a problem that does not fit the model."""
        self.prompt_ids(problem)

    def prompt_ids(self, problem: Problem) -> list[int]:
        """Ids of the prompt and the begin marker, each tokenized by itself.

        Raises:
            ConfigError: there are none.
            LimitExceeded: prompt, thoughts and said text do not fit the model.
        """
        special = self.recipe.thinking.add_special_tokens
        ids = self.backbone.token_ids(problem.prompt, add_special_tokens=special) + self._begin
        if not ids:
            raise ConfigError("prompt and begin marker give no token", field="prompt", found=problem.id)
        # the last token is emitted and never fed
        needed = len(ids) + self.n_steps(problem) + len(self._tail) + self.recipe.speaking.max_new_tokens - 1
        limit = self.backbone.max_positions
        if limit is not None and needed > limit:
            raise LimitExceeded(
                f"problem {problem.id!r} needs more positions than the model has",
                field="thinking.steps" if self.n_steps(problem) > limit else "prompt",
                expected=f"at most {limit}",
                found=f"{needed} = {len(ids)} prompt + {self.n_steps(problem)} steps + {len(self._tail)} end and "
                f"prefix + {self.recipe.speaking.max_new_tokens} max_new_tokens - 1",
            )
        return ids

    def begin(self, problems: Sequence[Problem], seeds: Sequence[int]) -> FeedbackState:
        """Run the prompts, padded on the left so that every thought stands in the same column."""
        prompts = [self.prompt_ids(problem) for problem in problems]
        width = max(map(len, prompts))
        ids = torch.tensor([[0] * (width - len(p)) + p for p in prompts], device=self.backbone.device)
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=self.backbone.device)
        forward = self.backbone.forward_ids(ids, mask=mask)
        return FeedbackState(forward, tuple(seeds))

    def step(self, state: FeedbackState) -> FeedbackState:
        """Tap the thought, put it back as the next input, run the model once."""
        thought = self.tap("thought", self.to_input(state.forward.hidden[:, -1]))
        return replace(state, forward=self.backbone.forward_vectors(thought[:, None], state.forward))

    def positions(self, state: FeedbackState) -> Tensor:
        """Position that the next thought will take: tokens and thoughts so far."""
        return state.forward.mask.sum(1)

    def readout(self, state: FeedbackState) -> Float[Tensor, "example d_vocab"]:
        """Next-token logits right after the last vector fed."""
        return self.backbone.unembed(state.forward.hidden[:, -1])

    def unembed(self, thought: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_vocab"]:
        """Logit lens; a thought of this family is already normed, so no norm is added."""
        return self.backbone.unembed(thought)

    def as_vectors(self, rows: NDArray[Any]) -> Float[Tensor, "row ..."]:
        """Stored rows as vectors of the model's type, on the model's device."""
        return torch.from_numpy(rows).to(self.backbone.device, self.backbone.embed.weight.dtype)

    def single_token(self, text: str) -> int | None:
        """Id of the token that says this text; after a space first, as most tokenizers have it in a sentence."""
        for ids in (self.backbone.token_ids(f" {text}"), self.backbone.token_ids(text)):
            if len(ids) == 1 and ids[0] != self.backbone.tokenizer.unk_token_id:
                return ids[0]
        return None

    def random_prompt(self, n_tokens: int, seed: int) -> str:
        """Text of about so many random tokens."""
        return self.backbone.random_text(n_tokens, seed)

    @torch.no_grad()
    def own_logits(self, problem: Problem) -> Float[Tensor, " d_vocab"]:
        """Next-token logits after prompt and begin marker, from the model as Hugging Face calls it."""
        ids = torch.tensor([self.prompt_ids(problem)], device=self.backbone.device)
        return self.backbone.model(input_ids=ids).logits[0, -1]  # type: ignore[no-any-return]

    def speak(self, state: FeedbackState) -> Spoken:
        """Feed end marker and prefix, then emit until every example has stopped or the limit is reached."""
        n = len(state.seeds)
        forward = state.forward
        if self._tail:
            forward = self.backbone.forward_ids(torch.tensor([self._tail] * n, device=self.backbone.device), forward)
        generators = [torch.Generator().manual_seed(seed) for seed in state.seeds]
        logits = first = self.backbone.unembed(forward.hidden[:, -1])
        emitted: list[list[int]] = [[] for _ in range(n)]
        open_ = [True] * n
        for spoken in range(self.recipe.speaking.max_new_tokens):
            tokens = self._next_tokens(logits, generators)
            for k in range(n):
                if open_[k]:
                    emitted[k].append(int(tokens[k]))
                    open_[k] = not self._stopped(emitted[k])
            if not any(open_) or spoken == self.recipe.speaking.max_new_tokens - 1:
                break
            forward = self.backbone.forward_ids(tokens[:, None].to(self.backbone.device), forward)
            logits = self.backbone.unembed(forward.hidden[:, -1])
        return Spoken(tuple(map(self._said, emitted)), tuple(map(tuple, emitted)), first.float().cpu())

    def _next_tokens(self, logits: Tensor, generators: list[torch.Generator]) -> Tensor:
        if self.temperature == 0:
            return logits.argmax(-1).cpu()
        shares = (logits.float().cpu() / self.temperature).softmax(-1)
        drawn = [torch.multinomial(row, 1, generator=g) for row, g in zip(shares, generators, strict=True)]
        return torch.cat(drawn)

    def _stopped(self, emitted: list[int]) -> bool:
        """Whether the emitted text ends in the stop; the text, because its tokens depend on what stands before."""
        stop = self.recipe.speaking.stop
        text = self.backbone.text(emitted[-STOP_WINDOW:])
        return bool(stop) and (text.endswith(stop) or (bool(stop.strip()) and text.rstrip().endswith(stop.rstrip())))

    def _said(self, emitted: list[int]) -> str:
        text = self.backbone.text(self._prefix + emitted).rstrip()
        return text.removesuffix(self.recipe.speaking.stop).rstrip() if self.recipe.speaking.stop else text

    @contextmanager
    def watch(self, sites: Collection[str]) -> Iterator[None]:
        """Hook the backbone's sites for as long as something is read or edited there."""

        def through_tap(site: str) -> Callable[[Tensor], Tensor]:
            def at_last_position(vectors: Tensor) -> Tensor:
                recording = self._recording
                if recording is None or recording.step is None:
                    return vectors
                return self.tap(site, vectors[:, -1])[:, None]

            return at_last_position

        with self.backbone.hooked({site: through_tap(site) for site in sites if site != "thought"}):
            yield
