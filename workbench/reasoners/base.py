"""The loop that every reasoner shares: begin, step, step, ..., speak, with one tap for every read and write."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from workbench.edits import Edit
from workbench.errors import ConfigError, InsufficientData, SchemaError, UnknownSiteError
from workbench.reasoners.recipe import Recipe
from workbench.sites import Site, Visit
from workbench.tasks.base import Problem
from workbench.traces import Rows, Trace

Progress = Callable[[int, int], None]
"""Called with (problems done, problems planned)."""


@dataclass(slots=True)
class _Recording:
    """What one `run` reads and edits, and what it has read so far."""

    read: frozenset[str]
    edits: Mapping[str, Edit]
    vectors: dict[str, list[Tensor]]
    address: dict[str, list[Tensor]]
    examples: tuple[int, ...] = ()
    pos: Tensor | None = None
    step: int | None = None
    fired: Counter[str] = field(default_factory=Counter)

    @property
    def sites(self) -> frozenset[str]:
        return self.read.union(self.edits)


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a batch said."""

    said: tuple[str, ...]
    emitted: tuple[tuple[int, ...], ...]
    first_logits: Float[Tensor, "example d_vocab"]


class Reasoner(ABC):
    """A model that thinks in vectors before it speaks.

    A family supplies `sites`, `begin`, `step`, `speak`, `readout`, `unembed` and `watch`; everything that reads
    or writes a vector goes through `tap`, so that reading and editing cannot disagree.
    """

    recipe: Recipe
    sites: Mapping[str, Site]

    _recording: _Recording | None = None

    @abstractmethod
    def begin(self, problems: Sequence[Problem], seeds: Sequence[int]) -> Any:
        """State after the prompts and the begin marker, before the first thought is put back."""

    @abstractmethod
    def step(self, state: Any) -> Any:
        """Exactly one latent step: tap the thought, put it back, run the model once."""

    @abstractmethod
    def readout(self, state: Any) -> Float[Tensor, "example d_vocab"]:
        """Next-token logits at the state, before the end marker."""

    @abstractmethod
    def speak(self, state: Any) -> Spoken:
        """Feed the end marker and the prefix, then let the model emit tokens until it stops."""

    @abstractmethod
    def unembed(self, thought: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_vocab"]:
        """The model's own lens: logits that a thought would give."""

    @abstractmethod
    def as_vectors(self, rows: NDArray[Any]) -> Float[Tensor, "row ..."]:
        """Stored rows as vectors of the model's type, on the model's device."""

    @abstractmethod
    def single_token(self, text: str) -> int | None:
        """Id of the token that says this text within a sentence; None where it takes several."""

    @abstractmethod
    def random_prompt(self, n_tokens: int, seed: int) -> str:
        """Text of about so many random tokens, for checks that have no problem to go by."""

    @abstractmethod
    def own_logits(self, problem: Problem) -> Float[Tensor, " d_vocab"]:
        """Next-token logits after the prompt from the model's own forward pass, none of our code in between."""

    @abstractmethod
    def n_steps(self, problem: Problem) -> int:
        """Latent steps that this problem gets.

        Raises:
            ConfigError: more than the model can take.
        """

    @abstractmethod
    def require_fit(self, problem: Problem) -> None:
        """Refuse a problem that the model cannot take, before anything is run.

        Raises:
            LimitExceeded: prompt, thoughts and said text do not fit.
            ConfigError: prompt and begin marker give no token.
        """

    @abstractmethod
    def positions(self, state: Any) -> Tensor:
        """Position in the unpadded sequence, per example, that the next latent step fills."""

    @abstractmethod
    def watch(self, sites: Collection[str]) -> AbstractContextManager[None]:
        """Send these sites through `tap` while the context is open."""

    def tap(self, site: str, vectors: Float[Tensor, "example ..."]) -> Float[Tensor, "example ..."]:
        """Let the vectors of one visit pass: edited if someone edits the site, then kept if someone reads it."""
        recording = self._recording
        if recording is None or recording.step is None or site not in recording.sites:
            return vectors
        visit = Visit(site, recording.step, recording.fired[site], recording.examples)
        recording.fired[site] += 1
        if site in recording.edits:
            vectors = _checked(recording.edits[site](vectors, visit), vectors, visit)
        if site in recording.read:
            n = len(visit.examples)
            recording.vectors[site].append(vectors.detach().clone())
            columns = [torch.tensor(visit.examples), torch.full((n,), visit.step), torch.full((n,), visit.visit)]
            assert recording.pos is not None
            recording.address[site].append(torch.stack([*columns, recording.pos.cpu()], 1))
        return vectors

    @torch.no_grad()
    def run(
        self,
        problems: Sequence[Problem],
        read: Sequence[str] = (),
        edits: Mapping[str, Edit] | None = None,
        seeds: Sequence[int] | None = None,
        *,
        batch_size: int = 64,
        progress: Progress | None = None,
    ) -> Trace:
        """Think and speak on every problem.

        Args:
            problems: the problems; row `i` of the trace belongs to `problems[i]`.
            read: sites whose vectors are kept, every visit of every step.
            edits: site -> edit, applied before the vector is read and used.
            seeds: one per problem (default: the place in the list); only sampling reasoners draw from them.
            batch_size: problems that run together; results do not depend on it beyond rounding.
            progress: called after every batch.

        Raises:
            UnknownSiteError: a site this reasoner does not have.
            ConfigError: a site that never fired, or other numbers of seeds than of problems.
            LimitExceeded: more positions than the model can take.
            SchemaError: an edit returned another shape or type than it was given.
            InsufficientData: there is no problem.
        """
        if not problems:
            raise InsufficientData("there is no problem to run", found="n=0")
        if seeds is not None and len(seeds) != len(problems):
            raise ConfigError("each problem needs a seed", field="seeds", expected=len(problems), found=len(seeds))
        if batch_size < 1:
            raise ConfigError("a batch holds one problem or more", field="batch_size", found=batch_size)
        edits = dict(edits or {})
        unknown = sorted((set(read) | set(edits)) - set(self.sites))
        if unknown:
            raise UnknownSiteError(f"no site {unknown[0]!r}; this reasoner has {', '.join(self.sites)}", field="site")
        seeds = range(len(problems)) if seeds is None else seeds
        recording = _Recording(frozenset(read), edits, {s: [] for s in read}, {s: [] for s in read})
        spoken: dict[int, tuple[str, tuple[int, ...], Tensor]] = {}
        steps = [self.n_steps(problem) for problem in problems]
        with self._recording_into(recording):
            for batch in _batches(steps, batch_size):
                recording.examples = tuple(batch)
                heard = self._run_batch([problems[i] for i in batch], [seeds[i] for i in batch], steps[batch[0]])
                spoken |= {i: (heard.said[k], heard.emitted[k], heard.first_logits[k]) for k, i in enumerate(batch)}
                if progress is not None:
                    progress(len(spoken), len(problems))
        order = range(len(problems))
        return Trace(
            rows={site: _in_order(recording.vectors[site], recording.address[site]) for site in read},
            said=tuple(spoken[i][0] for i in order),
            emitted=tuple(spoken[i][1] for i in order),
            n_steps=tuple(steps),
            first_logits=torch.stack([spoken[i][2] for i in order]),
        )

    def _run_batch(self, problems: Sequence[Problem], seeds: Sequence[int], n_steps: int) -> Spoken:
        recording = self._recording
        assert recording is not None
        state = self.begin(problems, seeds)
        try:
            for step in range(n_steps):
                recording.step, recording.fired, recording.pos = step, Counter(), self.positions(state)
                state = self.step(state)
                silent = [site for site in recording.sites if not recording.fired[site]]
                if silent:
                    raise ConfigError(
                        f"site {silent[0]!r} never fired in step {step}: nothing was read or edited there",
                        field="site",
                        hint="Run `workbench check-model` on the folder to see which sites fire.",
                    )
        finally:
            recording.step = None
        return self.speak(state)

    @contextmanager
    def _recording_into(self, recording: _Recording) -> Iterator[None]:
        if self._recording is not None:
            raise ConfigError("this reasoner is already running; an edit must not call run()")
        self._recording = recording
        try:
            with self.watch(recording.sites):
                yield
        finally:
            self._recording = None


def _checked(edited: Any, came: Tensor, visit: Visit) -> Tensor:
    if not isinstance(edited, Tensor) or edited.shape != came.shape or edited.dtype != came.dtype:
        found = f"{tuple(edited.shape)} {edited.dtype}" if isinstance(edited, Tensor) else type(edited).__name__
        raise SchemaError(
            f"edit of {visit.site} at step {visit.step} returned another shape or type than it was given",
            field=visit.site,
            expected=f"{tuple(came.shape)} {came.dtype}",
            found=found,
        )
    return edited


def _in_order(vectors: list[Tensor], address: list[Tensor]) -> Rows:
    if not vectors:
        return Rows(torch.empty(0), torch.empty(0, 4, dtype=torch.long))
    joined = torch.cat(address)
    order = sorted(range(len(joined)), key=joined.tolist().__getitem__)
    return Rows(torch.cat(vectors)[order], joined[order])


def _batches(steps: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Places of problems that run together: equal numbers of steps, in the order given."""
    for n_steps in sorted(set(steps)):
        places = iter([i for i, n in enumerate(steps) if n == n_steps])
        while batch := list(islice(places, batch_size)):
            yield batch
