"""The intact run of honest problems, and edits of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from workbench import edits
from workbench.capture import seed_of
from workbench.claims import Said, parse_said
from workbench.edits import Edit
from workbench.errors import InsufficientData
from workbench.interrupts import StopFlag
from workbench.intervening.effects import Bools, ChannelEffects, Effect, StepEffects
from workbench.intervening.honest import HonestRun
from workbench.reasoners.base import Reasoner
from workbench.sites import channel_sites
from workbench.traces import Trace

BATCH = 256

Progress = Callable[[int, int], None]


def require_equal_steps(n: int, n_steps: Collection[int]) -> None:
    """Raise `InsufficientData` where thoughts cannot be exchanged."""
    if n < 2 or len(n_steps) != 1:
        message = "exchanging thoughts needs two honest problems of equal step count"
        raise InsufficientData(message, found=f"n={n}, steps {sorted(n_steps)}")


class Bench:
    """The intact run, and edits of it."""

    def __init__(
        self,
        reasoner: Reasoner,
        honest: HonestRun,
        steps: range,
        seed: int,
        stop: StopFlag | None,
        progress: Progress | None,
    ) -> None:
        self.reasoner, self.honest, self.steps, self.stop, self.progress = reasoner, honest, steps, stop, progress
        self.generator = np.random.default_rng(seed)
        self.seeds = [seed_of(seed, problem) for problem in honest.problems]
        self.sites = ["thought", *channel_sites(reasoner.sites)]
        self.done, self.planned = 0, 5 + 4 * len(steps)
        self.plain = self._run({}, self.sites)
        require_equal_steps(len(honest.problems), set(self.plain.n_steps))
        self.answers = [parse_said(said, honest.speaking).answer or said for said in self.plain.said]
        self.directions = edits.unit_directions(self.plain["thought"].at(0), seed)

    def one_step(self, step: int) -> StepEffects:
        """Edit one thought and leave the others to follow."""
        donors = self._differing([known.get(step, "") for known in self.honest.values])
        heard_of = self._claims_of(step, donors)
        other = self._exchanged("thought", [step], donors)
        shuffled = self._exchanged("thought", [step], self._any())
        return StepEffects(
            step=step,
            exchange=self._effect({"thought": edits.replace(other)}, heard_of),
            placebo=self._effect({"thought": edits.move_as_far(other, self.directions)}, heard_of),
            zero=self._effect({"thought": edits.only_steps(edits.zero(), [step])}),
            shuffle=self._effect({"thought": edits.replace(shuffled)}),
        )

    def all_steps(self) -> ChannelEffects:
        """Edit every thought, and then everything cached at their positions as well."""
        donors = self._differing(self.answers)
        whole = {site: self._exchanged(site, self.steps, donors) for site in self.sites}
        everything = {site: edits.replace(values) for site, values in whole.items()}

        def answers_as_donor(said: Sequence[Said]) -> Bools:
            return np.array([(s.answer or s.text) == self.answers[d] for s, d in zip(said, donors, strict=True)])

        return ChannelEffects(
            thoughts=self._effect({"thought": everything["thought"]}, answers_as_donor),
            channel=self._effect(everything, answers_as_donor),
            placebo=self._effect({"thought": edits.move_as_far(whole["thought"], self.directions)}, answers_as_donor),
            zero=self._effect({"thought": edits.zero()}),
        )

    def _run(self, change: Mapping[str, Edit], read: Sequence[str] = ()) -> Trace:
        if self.stop is not None:
            self.stop.check(hint="Run the same command again: captured problems are kept, edits are run anew.")
        trace = self.reasoner.run(self.honest.problems, read=read, edits=change, seeds=self.seeds, batch_size=BATCH)
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.planned)
        return trace

    def _effect(self, change: Mapping[str, Edit], follows: Callable[[Sequence[Said]], Bools] | None = None) -> Effect:
        said = self._run(change).said
        moved = np.array([a != b for a, b in zip(said, self.plain.said, strict=True)])
        heard = [parse_said(text, self.honest.speaking) for text in said]
        return Effect(moved, None if follows is None else follows(heard))

    def _claims_of(self, step: int, donors: NDArray[np.intp]) -> Callable[[Sequence[Said]], Bools] | None:
        """Does the claim that stands for this step say the donor's value?"""
        if step not in self.honest.claim_of:
            return None
        place = self.honest.claim_of[step]
        wanted = [self.honest.values[donor].get(step) for donor in donors]

        def follows(said: Sequence[Said]) -> Bools:
            return np.array([
                len(s.claims) > place and s.claims[place] == value for s, value in zip(said, wanted, strict=True)
            ])  # fmt: skip

        return follows

    def _exchanged(self, site: str, steps: Collection[int], donors: NDArray[np.intp]) -> dict[tuple[int, int], Tensor]:
        """(step, visit) -> the donors' vectors."""
        rows = self.plain[site]
        fired = sorted({(step, visit) for _, step, visit, _ in rows.address.tolist() if step in steps})
        return {(step, visit): rows.at(step, visit)[donors] for step, visit in fired}

    def _any(self) -> NDArray[np.intp]:
        """Some other problem for each, every problem given once."""
        order = self.generator.permutation(len(self.honest.problems))
        donors = np.empty(len(order), dtype=np.intp)
        donors[order] = np.roll(order, 1)
        return donors

    def _differing(self, own: Sequence[str]) -> NDArray[np.intp]:
        """A problem that holds something else, for each; any other where all hold the same."""
        held, donors = np.array(own), self._any()
        for i in range(len(held)):
            others = np.flatnonzero(held != held[i])
            if len(others):
                donors[i] = self.generator.choice(others)
        return donors
