"""The loop that every reasoner shares: begin, step, step, ..., speak, with one tap for every read and write."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from workbench.edits import Edit
from workbench.errors import ConfigError, InsufficientData, UnknownSiteError
from workbench.reasoners.recipe import Recipe
from workbench.reasoners.recording import Recording, Spoken, batches, checked, in_order
from workbench.sites import Site, Visit
from workbench.tasks.base import Problem
from workbench.traces import Trace

Progress = Callable[[int, int], None]
"""Called with (problems done, problems planned)."""


class Reasoner(ABC):
    """A model that thinks in vectors before it speaks.

    A family supplies `sites`, `begin`, `step`, `speak`, `readout`, `unembed` and `watch`; everything that reads
    or writes a vector goes through `tap`, so that reading and editing cannot disagree. A family whose examples may
    stop early, or that computes a vector it does not put back, also supplies `prepare`, `going` and `finish`.
    """

    recipe: Recipe
    sites: Mapping[str, Site]

    may_stop_early: bool = False
    """Whether a problem may take fewer steps than it is given."""
    free_steps: bool = True
    """Whether a problem may ask for its own number of steps; some models were built for one number."""

    _recording: Recording | None = None

    @abstractmethod
    def begin(self, problems: Sequence[Problem], seeds: Sequence[int]) -> Any:
        """State after the prompts and the begin marker, before the first thought is put back."""

    @abstractmethod
    def step(self, state: Any) -> Any:
        """Exactly one latent step: tap the thought, put it back, run the model once."""

    def prepare(self, state: Any, step: int) -> Any:
        """What has to happen before a step and is none: the next agent's prompt, say, or the decision to stop."""
        return state

    def going(self, state: Any) -> Bool[Tensor, " example"] | None:
        """Which examples take the next step; None for all. One that has stopped never goes on."""
        return None

    def finish(self, state: Any) -> None:  # noqa: B027 (most families have nothing to tap here)
        """Tap what was computed at the last step and is not put back."""

    @abstractmethod
    def readout(self, state: Any) -> Float[Tensor, "example d_vocab"]:
        """Next-token logits at the state, before the end marker."""

    @abstractmethod
    def speak(self, state: Any) -> Spoken:
        """Feed the end marker and the prefix, then let the model emit tokens until it stops."""

    @abstractmethod
    def unembed(self, vectors: Float[Tensor, "row d_model"], site: str = "thought") -> Float[Tensor, "row d_vocab"]:
        """Logits that vectors of a site would give (logit lens); the final norm is added where it was not applied.

        Raises:
            ConfigError: the site holds no vectors that the model's head could read.
        """

    @abstractmethod
    def as_vectors(self, rows: NDArray[Any]) -> Float[Tensor, "row ..."]:
        """Stored rows as vectors of the model's type, on the model's device."""

    @abstractmethod
    def single_token(self, text: str) -> int | None:
        """Id of the token that says this text within a sentence; None where it takes several."""

    @abstractmethod
    def random_prompt(self, n_tokens: int, seed: int) -> str:
        """Text of about so many random tokens, for checks that have no problem to go by."""

    def random_problem(self, problem_id: str, n_tokens: int, seed: int) -> Problem:
        """A problem of about so many random tokens, for checks that have none to go by."""
        return Problem(id=problem_id, prompt=self.random_prompt(n_tokens, seed))

    @torch.no_grad()
    def lens_logits(self, problem: Problem) -> Float[Tensor, " d_vocab"]:
        """The same logits as `own_logits`, through the lens from what a run of ours captures: the first thought."""
        return self.unembed(self.run([problem], read=["thought"])["thought"].at(0))[0]

    @abstractmethod
    def own_logits(self, problem: Problem) -> Float[Tensor, " d_vocab"]:
        """Next-token logits after the prompt from the model's own forward pass, none of our code in between."""

    @abstractmethod
    def n_steps(self, problem: Problem) -> int:
        """Latent steps that this problem gets.

        Raises:
            ConfigError: more than the model can take.
        """

    def batch_key(self, problem: Problem) -> int:
        """Problems of equal key may run in one batch; a model that takes no padding gives the prompt's length."""
        return 0

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

    def watch(self, sites: Collection[str]) -> AbstractContextManager[None]:
        """Send sites inside the model through `tap` while the context is open; nothing to do where there are none."""
        return nullcontext()

    def tap(self, site: str, vectors: Float[Tensor, "example ..."]) -> Float[Tensor, "example ..."]:
        """Let the vectors of one visit pass: edited if someone edits the site, then kept if someone reads it."""
        recording = self._recording
        if recording is None or recording.step is None or site not in recording.sites:
            return vectors
        visit = Visit(site, recording.step, recording.fired[site], recording.examples)
        recording.fired[site] += 1
        mine = vectors if recording.rows is None else vectors[recording.rows]
        if site in recording.edits:
            mine = checked(recording.edits[site](mine, visit), mine, visit)
            vectors = mine if recording.rows is None else vectors.index_copy(0, recording.rows, mine)
        if site in recording.read:
            recording.keep(visit, mine)
        return vectors

    def move_to(self, pos: Int[Tensor, " example"]) -> None:
        """Say which position, per example, the next visits of this step fill, where a step fills several."""
        recording = self._recording
        if recording is not None and recording.step is not None:
            recording.moved_to(pos if recording.rows is None else pos[recording.rows])

    def tap_of(self, site: str) -> Callable[[Tensor], Tensor]:
        """The tap of one site, as hooks call it; outside latent steps everything passes."""
        return lambda vectors: self.tap(site, vectors) if self.watches(site) else vectors

    def reads_normed(self, site: str) -> bool:
        """Whether vectors of this site passed the final norm already: a norm is never applied twice.

        Raises:
            UnknownSiteError: no such site.
            ConfigError: the model's head reads no such vectors.
        """
        if site not in self.sites:
            raise UnknownSiteError(f"no site {site!r}; this reasoner has {', '.join(self.sites)}", field="site")
        normed = self.sites[site].normed
        if normed is None:
            raise ConfigError("the model's head reads no vectors of this site", field="site", found=site)
        return normed

    def agents(self, problem: Problem) -> tuple[str, ...]:
        """Which agent thinks at each step of the problem; empty where there is but one."""
        return ()

    def watches(self, site: str) -> bool:
        """Whether someone reads or edits the site at this moment; for what is costly to compute."""
        recording = self._recording
        return recording is not None and recording.step is not None and site in recording.sites

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
        edits = dict(edits or {})
        self._refuse_misuse(problems, read, edits, seeds, batch_size)
        seeds = range(len(problems)) if seeds is None else seeds
        unused = frozenset(name for name, site in self.sites.items() if site.unused)
        recording = Recording(frozenset(read), edits, {s: [] for s in read}, {s: [] for s in read}, unused)
        spoken: dict[int, tuple[str, tuple[int, ...], Tensor, int]] = {}
        for problem in problems:
            self.require_fit(problem)
        kinds = [(self.n_steps(problem), self.batch_key(problem)) for problem in problems]
        with self._recording_into(recording):
            for batch in batches(kinds, batch_size):
                chosen, drawn = [problems[i] for i in batch], [seeds[i] for i in batch]
                heard = self._run_batch(batch, chosen, drawn, kinds[batch[0]][0])
                for k, i in enumerate(batch):
                    spoken[i] = (heard.said[k], heard.emitted[k], heard.first_logits[k], heard.n_steps[k])
                if progress is not None:
                    progress(len(spoken), len(problems))
        order = range(len(problems))
        return Trace(
            rows={
                site: in_order(recording.vectors[site], recording.address[site], self.sites[site].shape)
                for site in read
            },
            said=tuple(spoken[i][0] for i in order),
            emitted=tuple(spoken[i][1] for i in order),
            n_steps=tuple(spoken[i][3] for i in order),
            agents=tuple(map(self.agents, problems)),
            first_logits=torch.stack([spoken[i][2] for i in order]),
        )

    def _refuse_misuse(
        self,
        problems: Sequence[Problem],
        read: Sequence[str],
        edits: Mapping[str, Edit],
        seeds: Sequence[int] | None,
        batch_size: int,
    ) -> None:
        if not problems:
            raise InsufficientData("there is no problem to run", found="n=0")
        if seeds is not None and len(seeds) != len(problems):
            raise ConfigError("each problem needs a seed", field="seeds", expected=len(problems), found=len(seeds))
        if seeds is not None and min(seeds) < 0:
            raise ConfigError("a seed is 0 or more", field="seeds", found=min(seeds))
        if batch_size < 1:
            raise ConfigError("a batch holds one problem or more", field="batch_size", found=batch_size)
        unknown = sorted((set(read) | set(edits)) - set(self.sites))
        if unknown:
            raise UnknownSiteError(f"no site {unknown[0]!r}; this reasoner has {', '.join(self.sites)}", field="site")
        derived = sorted(site for site in edits if self.sites[site].derived)
        if derived:
            raise ConfigError("nothing goes on from this site, nor from an edit", field="edits", found=derived[0])

    def _run_batch(
        self, places: Sequence[int], problems: Sequence[Problem], seeds: Sequence[int], n_steps: int
    ) -> Spoken:
        recording = self._recording
        assert recording is not None
        state = self.begin(problems, seeds)
        taken = torch.zeros(len(problems), dtype=torch.long)
        try:
            for step in range(n_steps):
                recording.step = None  # what is fed between steps is none
                state = self.prepare(state, step)
                going = self.going(state)
                if going is not None and not going.any():
                    break
                recording.at(step, places, going, self.positions(state))
                state = self.step(state)
                recording.refuse_silent(unused=False)
                taken += 1 if going is None else going.cpu().long()
            if not recording.unused.isdisjoint(recording.sites):
                for n in sorted(set(taken.tolist())):
                    recording.at(n, places, taken == n, self.positions(state))
                    self.finish(state)
                    recording.refuse_silent(unused=True)
        finally:
            recording.step = None
        return replace(self.speak(state), n_steps=tuple(taken.tolist()))

    @contextmanager
    def _recording_into(self, recording: Recording) -> Iterator[None]:
        if self._recording is not None:
            raise ConfigError("this reasoner is already running; an edit must not call run()")
        self._recording = recording
        try:
            with self.watch(recording.sites):
                yield
        finally:
            self._recording = None
