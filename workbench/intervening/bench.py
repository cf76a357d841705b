"""The intact run of honest problems, and edits of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from workbench import edits
from workbench.capture import seed_of
from workbench.claims import Said, parse_said
from workbench.edits import Edit
from workbench.errors import InsufficientData
from workbench.interrupts import StopFlag
from workbench.intervening.effects import Bools, Effect
from workbench.intervening.honest import HonestRun
from workbench.reasoners.base import Reasoner
from workbench.sites import channel_gap, channel_sites
from workbench.tasks.base import Value
from workbench.traces import Trace

BATCH = 256

Ints = NDArray[np.intp]
Progress = Callable[[int, int], None]
ByVisit = dict[tuple[int, int], Tensor]
"""(step, visit) -> a vector for every problem."""
Follows = Callable[[Sequence[Said]], Bools]


def require_equal_steps(n: int, n_steps: Collection[int]) -> None:
    """Raise `InsufficientData` where thoughts cannot be exchanged."""
    if n < 2 or len(n_steps) != 1:
        message = "exchanging thoughts needs two honest problems of equal step count"
        raise InsufficientData(message, found=f"n={n}, steps {sorted(n_steps)}")


class Bench:
    """Runs honest problems once as they are, and again under edits; counts runs and looks for a stop between them.

    Donors come from the same problems: vectors of one run are put into another, row by row.
    """

    def __init__(
        self, reasoner: Reasoner, honest: HonestRun, *, seed: int, stop: StopFlag | None, progress: Progress | None
    ) -> None:
        self.reasoner, self.honest, self.seed, self.stop, self.progress = reasoner, honest, seed, stop, progress
        self.generator = np.random.default_rng(seed)
        self.seeds = [seed_of(seed, problem) for problem in honest.problems]
        self.channel, self.gap = channel_sites(reasoner.sites), channel_gap(reasoner.sites)
        self.done = self.planned = 0
        self.plain = self._run({}, ["thought", *self.channel])
        require_equal_steps(len(honest.problems), set(self.plain.n_steps))
        self.said = [parse_said(text, honest.speaking) for text in self.plain.said]
        self.answers = [said.answer or said.text for said in self.said]
        self.directions = edits.unit_directions(self.plain["thought"].at(0), seed)

    def expect(self, n_runs: int) -> None:
        """Say how many runs under edits follow."""
        self.planned = self.done + n_runs
        self._tell()

    def effect(self, change: Mapping[str, Edit], follows: Follows | None = None) -> Effect:
        """Run once more under edits (site -> edit) and compare what is said."""
        return self.compare(self._run(change).said, follows)

    def untouched(self, follows: Follows | None) -> Effect:
        """The intact run as an edit that does nothing."""
        return self.compare(self.plain.said, follows)

    def compare(self, texts: Sequence[str], follows: Follows | None) -> Effect:
        """Said texts of all problems beside those of the intact run."""
        heard = [parse_said(text, self.honest.speaking) for text in texts]
        chains = [list(zip_longest(a.claims, b.claims)) for a, b in zip(self.said, heard, strict=True)]
        return Effect(
            moved=np.array([a.text != b.text for a, b in zip(self.said, heard, strict=True)]),
            followed=None if follows is None else follows(heard),
            answer_moved=np.array([(b.answer or b.text) != a for a, b in zip(self.answers, heard, strict=True)]),
            claims_moved=np.array([sum(a != b for a, b in chain) for chain in chains]),
            n_claims=np.array([len(chain) for chain in chains]),
        )

    def says_value_of(self, step: int, donors: Ints) -> Follows | None:
        """Does the claim that stands for this step say the donor's value? None where no claim stands for it.

        Of a thought that holds a set it must be a member of the donor's set and of no set of the problem's own.
        """
        if step not in self.honest.claim_of:
            return None
        place, values = self.honest.claim_of[step], self.honest.values
        wanted = [_added(values[donor].get(step), values[i].get(step)) for i, donor in enumerate(donors)]

        def follows(said: Sequence[Said]) -> Bools:
            return np.array([
                len(s.claims) > place and s.claims[place] in values for s, values in zip(said, wanted, strict=True)
            ])  # fmt: skip

        return follows

    def answers_as(self, donors: Ints) -> Follows:
        """Does the answer become the donor's?"""
        return lambda said: np.array([
            (s.answer or s.text) == self.answers[d] for s, d in zip(said, donors, strict=True)
        ])  # fmt: skip

    def vectors(self, site: str, steps: Collection[int] | None = None) -> ByVisit:
        """What passed a site in the intact run, at the given steps or at all."""
        kept = self.plain[site].by_visit()
        return {key: vectors for key, vectors in kept.items() if steps is None or key[0] in steps}

    def donated(self, site: str, donors: Ints, steps: Collection[int] | None = None) -> ByVisit:
        """The same, of the donors."""
        return {key: vectors[donors] for key, vectors in self.vectors(site, steps).items()}

    def any_other(self) -> Ints:
        """Some other problem for each, every problem given once."""
        order = self.generator.permutation(len(self.honest.problems))
        donors = np.empty(len(order), dtype=np.intp)
        donors[order] = np.roll(order, 1)
        return donors

    def differing(self, own: Sequence[str]) -> Ints:
        """A problem that holds something else, for each; any other where all hold the same."""
        held, donors = np.array(own), self.any_other()
        for i in range(len(held)):
            others = np.flatnonzero(held != held[i])
            if len(others):
                donors[i] = self.generator.choice(others)
        return donors

    def _run(self, change: Mapping[str, Edit], read: Sequence[str] = ()) -> Trace:
        if self.stop is not None:
            self.stop.check(hint="Run the same command again: captured problems are kept, edits are run anew.")
        trace = self.reasoner.run(self.honest.problems, read=read, edits=change, seeds=self.seeds, batch_size=BATCH)
        self.done += 1
        self._tell()
        return trace

    def _tell(self) -> None:
        if self.progress is not None and self.planned:
            self.progress(self.done, self.planned)


def _added(donor: Value, own: Value) -> frozenset[str]:
    """Values that tell the donor's thought from the problem's own."""
    if isinstance(donor, tuple):
        return frozenset(donor) - frozenset(own if isinstance(own, tuple) else ())
    return frozenset() if donor is None else frozenset({donor})
