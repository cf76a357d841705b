"""What all reasoners that speak a language share: prompts as ids, limits, and the loop that emits tokens."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from workbench.errors import ConfigError, LimitExceeded
from workbench.reasoners.base import Reasoner
from workbench.reasoners.recipe import MAX_STEPS, Recipe
from workbench.reasoners.recording import Spoken
from workbench.reasoners.text import TextCoder
from workbench.tasks.base import Problem

STOP_WINDOW = 32
"""Last tokens in which the stop is looked for."""


class LanguageReasoner(Reasoner):
    """A reasoner whose prompts and said text are tokens of one tokenizer.

    A family supplies `feed` and `readout`, and `turn_to_speak` where more than the end marker and the prefix stands
    between the last thought and the said text. Its states have `seeds`, one per example.
    """

    max_positions: int | None
    """Longest sequence; absent where the model states none."""

    def __init__(
        self, coder: TextCoder, recipe: Recipe, *, device: torch.device, dtype: torch.dtype, temperature: float = 0.0
    ) -> None:
        if temperature < 0:
            raise ConfigError("temperature is 0 (greedy) or more", field="temperature", found=temperature)
        self.coder = coder
        self.recipe = recipe
        self.device = device
        self.dtype = dtype
        self.temperature = temperature
        thinking, speaking = recipe.thinking, recipe.speaking
        self._begin = [*coder.token_ids(thinking.begin), *self._known(thinking.begin_ids, "thinking.begin_ids")]
        self._end = [*self._known(thinking.end_ids, "thinking.end_ids"), *coder.token_ids(thinking.end)]
        self._prefix = coder.token_ids(speaking.prefix)
        if speaking.stop and not coder.token_ids(speaking.stop):
            raise ConfigError("the tokenizer makes no token of this text", field="speaking.stop", found=speaking.stop)

    def _known(self, ids: Sequence[int], field: str) -> Sequence[int]:
        if ids and max(ids) >= self.coder.d_vocab:
            raise ConfigError("no such token id", field=field, expected=f"below {self.coder.d_vocab}", found=max(ids))
        return ids

    @abstractmethod
    def feed(self, state: Any, ids: Int[Tensor, "example q"], mask: Tensor | None = None) -> Any:
        """State after these tokens; `mask` has 0 where `ids` holds padding, which stands on the left."""

    def turn_to_speak(self, state: Any) -> Any:
        """State after all that stands between the last thought and the said text."""
        tail = self._end + self._prefix
        return self.feed(state, self.same_for_all(tail, len(state.seeds))) if tail else state

    def positions_needed(self, problem: Problem) -> Mapping[str, int]:
        """What a problem needs of the longest sequence, part by part."""
        return {
            "prompt": len(self.prompt_ids(problem)),
            "steps": self.n_steps(problem),
            "end and prefix": len(self._end) + len(self._prefix),
            "max_new_tokens - 1": self.recipe.speaking.max_new_tokens - 1,  # the last token is never fed
        }

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
        """Refuse a problem that the model cannot take.

        Raises:
            ConfigError: prompt and begin marker give no token.
            LimitExceeded: prompt, thoughts and said text do not fit the model.
        """
        parts = self.positions_needed(problem)
        needed, limit = sum(parts.values()), self.max_positions
        if limit is not None and needed > limit:
            raise LimitExceeded(
                f"problem {problem.id!r} needs more positions than the model has",
                field="thinking.steps" if parts.get("steps", 0) > limit else "prompt",
                expected=f"at most {limit}",
                found=f"{needed} = " + " + ".join(f"{n} {name}" for name, n in parts.items() if n),
            )

    def prompt_ids(self, problem: Problem) -> list[int]:
        """Ids of the prompt and the begin marker, each tokenized by itself.

        Raises:
            ConfigError: there are none.
        """
        special = self.recipe.thinking.add_special_tokens
        ids = [*self.coder.token_ids(problem.prompt, add_special_tokens=special), *self._begin]
        if not ids:
            raise ConfigError("prompt and begin marker give no token", field="prompt", found=problem.id)
        return ids

    def padded(self, rows: Sequence[Sequence[int]]) -> tuple[Int[Tensor, "example q"], Int[Tensor, "example q"] | None]:
        """Rows of ids, padded on the left so that all end in the same column, and the mask; None without padding."""
        width = max(map(len, rows))
        ids = torch.tensor([[0] * (width - len(row)) + [*row] for row in rows], device=self.device)
        if min(map(len, rows)) == width:
            return ids, None
        mask = [[0] * (width - len(row)) + [1] * len(row) for row in rows]
        return ids, torch.tensor(mask, device=self.device)

    def same_for_all(self, ids: Sequence[int], n: int) -> Int[Tensor, "example q"]:
        """The same ids for each of `n` examples."""
        return torch.tensor([list(ids)] * n, device=self.device)

    def speak(self, state: Any) -> Spoken:
        """Feed end marker and prefix, then emit until every example has stopped or the limit is reached."""
        state = self.turn_to_speak(state)
        n = len(state.seeds)
        generators = [torch.Generator().manual_seed(seed) for seed in state.seeds]
        logits = first = self.readout(state)
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
            state = self.feed(state, tokens[:, None].to(self.device))
            logits = self.readout(state)
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
        text = self.coder.text(emitted[-STOP_WINDOW:])
        return bool(stop) and (text.endswith(stop) or (bool(stop.strip()) and text.rstrip().endswith(stop.rstrip())))

    def _said(self, emitted: list[int]) -> str:
        text = self.coder.text(self._prefix + emitted).rstrip()
        return text.removesuffix(self.recipe.speaking.stop).rstrip() if self.recipe.speaking.stop else text

    def as_vectors(self, rows: NDArray[Any]) -> Float[Tensor, "row ..."]:
        """Stored rows as vectors of the model's type, on the model's device."""
        return torch.from_numpy(rows).to(self.device, self.dtype)

    def single_token(self, text: str) -> int | None:
        """Id of the token that says this text."""
        return self.coder.single_token(text)

    def tokens_of(self, text: str) -> tuple[int, ...] | None:
        """Ids of the tokens that say this text within a sentence; None where the tokenizer does not know all of it."""
        return self.coder.word_ids(text)

    @torch.no_grad()
    def unembedding(self) -> Float[Tensor, "d_vocab d_head"]:
        """Rows of the model's head: what each token is compared with (a bias and soft caps left aside).

        Read off the lens, unit vector by unit vector, so that every family has it; a family none of whose sites is
        normed overrides this.

        Raises:
            ConfigError: no site holds normed vectors.
        """
        site = next((site for site in self.sites.values() if site.normed and site.axes == ("d_model",)), None)
        if site is None:
            raise ConfigError("no site of this reasoner holds vectors that the head reads as they are", field="sites")
        unit = torch.eye(site.size, device=self.device, dtype=self.dtype)
        return (self.unembed(unit, site.name) - self.unembed(torch.zeros_like(unit[:1]), site.name)).T

    def random_prompt(self, n_tokens: int, seed: int) -> str:
        """Text of about so many random tokens."""
        return self.coder.random_text(n_tokens, seed)
