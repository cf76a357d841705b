"""Intervene: exchange, remove or disturb thoughts on honest problems and see whether what is said moves.

Decodable is not used: a value can be read from a thought that nothing depends on. So every effect stands
beside a placebo that moves the thought exactly as far in a random direction.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray
from scipy.stats import binomtest
from torch import Tensor

from probes import Interval, exact_share
from workbench import edits
from workbench.capture import seed_of
from workbench.claims import Said, parse_said
from workbench.edits import Edit
from workbench.errors import InsufficientData
from workbench.interrupts import StopFlag
from workbench.reasoners.base import Reasoner
from workbench.reasoners.recipe import Speaking
from workbench.sites import channel_sites
from workbench.tasks.base import Problem
from workbench.traces import Trace

LIVE_P = 0.005
"""Each of two tests (does the claim follow, does the said text move) may call a step live: 0.01 in all."""
LIVE_DIFFERENCE = 0.1
MOVES_NOTHING = 0.05
MIN_FOLLOWED = 0.1
BATCH = 256

Bools = NDArray[np.bool_]
Measure = Literal["follows", "moves"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Effect:
    """What one edit did to the said text of each problem."""

    moved: Bool[np.ndarray, " problem"]
    """The said text is another."""
    followed: Bool[np.ndarray, " problem"] | None
    """What is said at the edited place became the donor's; absent where nothing is said of that place."""

    def of(self, measure: Measure) -> Bools:
        """The chosen measure, per problem."""
        return self.followed if measure == "follows" and self.followed is not None else self.moved

    def share(self, measure: Measure = "moves") -> float:
        """Share of problems."""
        return float(self.of(measure).mean())

    def interval(self, measure: Measure = "moves") -> Interval:
        """Exact 95 % interval of the share."""
        return exact_share(int(self.of(measure).sum()), len(self.moved))


def exceeds(effect: Effect, control: Effect, measure: Measure) -> float:
    """Exact one-sided McNemar p-value: does the edit touch more problems than its control?"""
    mine, other = effect.of(measure), control.of(measure)
    only_mine, only_other = int((mine & ~other).sum()), int((other & ~mine).sum())
    if only_mine + only_other == 0:
        return 1.0
    return float(binomtest(only_mine, only_mine + only_other, alternative="greater").pvalue)


@dataclass(frozen=True, slots=True)
class StepEffects:
    """What happens to the said text when the thought of one step is edited."""

    step: int
    exchange: Effect
    """Thought of a problem that holds another value at this step."""
    placebo: Effect
    """Moved as far as by the exchange, in a random direction."""
    zero: Effect
    shuffle: Effect
    """Thought of any other problem."""

    @property
    def measure(self) -> Measure:
        """The measure by which the step is live; claims that follow, where it is not live by either."""
        if self.exchange.followed is None or (not self._exceeds("follows") and self._exceeds("moves")):
            return "moves"
        return "follows"

    @property
    def p_value(self) -> float:
        """Least of the tests made, times their number (Bonferroni)."""
        tests = [exceeds(self.exchange, self.placebo, measure) for measure in _measures(self.exchange)]
        return min(1.0, len(tests) * min(tests))

    @property
    def live(self) -> bool:
        """Whether the said text depends on what this thought holds."""
        return any(self._exceeds(measure) for measure in _measures(self.exchange))

    def _exceeds(self, measure: Measure) -> bool:
        difference = self.exchange.share(measure) - self.placebo.share(measure)
        return difference >= LIVE_DIFFERENCE and exceeds(self.exchange, self.placebo, measure) <= LIVE_P


def _measures(effect: Effect) -> tuple[Measure, ...]:
    return ("moves",) if effect.followed is None else ("follows", "moves")


@dataclass(frozen=True, slots=True)
class ChannelEffects:
    """What happens when the thoughts of all steps, or everything cached at their positions too, are edited."""

    thoughts: Effect
    """All thoughts exchanged for those of one other problem."""
    channel: Effect
    """Thoughts and the keys and values at their positions exchanged."""
    placebo: Effect
    """All thoughts moved as far in random directions."""
    zero: Effect

    @property
    def measure(self) -> Measure:
        """Answers that become the donor's, where an exchanged channel makes them so at all."""
        return "follows" if self.channel.share("follows") >= MIN_FOLLOWED else "moves"

    @property
    def coverage(self) -> float | None:
        """Share of the channel's effect that the captured vectors carry; None where nothing moves."""
        whole = self.channel.share(self.measure)
        return None if whole < MOVES_NOTHING else min(1.0, self.thoughts.share(self.measure) / whole)

    @property
    def decorative(self) -> bool:
        """Whether nothing that is said depends on the thoughts or their positions."""
        return max(self.thoughts.share(), self.zero.share(), self.channel.share()) < MOVES_NOTHING


@dataclass(frozen=True, slots=True)
class Interventions:
    """Everything that was tried on one set of honest problems."""

    steps: tuple[StepEffects, ...]
    channel: ChannelEffects
    n: int


@dataclass(frozen=True, slots=True)
class HonestRun:
    """Honest problems, what each holds, and where each value stands in what is said."""

    problems: Sequence[Problem]
    values: Sequence[Mapping[int, str]]
    """Per problem: step -> value."""
    claim_of: Mapping[int, int]
    """Step -> place of the claim that honest problems say of it."""
    speaking: Speaking


def intervene(
    reasoner: Reasoner,
    honest: HonestRun,
    *,
    seed: int,
    stop: StopFlag | None = None,
    progress: Progress | None = None,
) -> Interventions:
    """Edit the thoughts of honest problems step by step, and all at once.

    Args:
        reasoner: the model.
        honest: trusted problems of equal step count that no probe was fitted on.
        seed: of the donors and of the random directions.
        stop: looked at between runs.
        progress: called with (runs done, runs planned).

    Raises:
        InsufficientData: fewer than two problems, or step counts differ.
    """
    planned = {reasoner.n_steps(problem) for problem in honest.problems}
    _must_be_equal(len(honest.problems), planned)
    bench = _Bench(reasoner, honest, range(planned.pop()), seed, stop, progress)
    return Interventions(tuple(map(bench.one_step, bench.steps)), bench.all_steps(), len(honest.problems))


def _must_be_equal(n: int, n_steps: Collection[int]) -> None:
    if n < 2 or len(n_steps) != 1:
        message = "exchanging thoughts needs two honest problems of equal step count"
        raise InsufficientData(message, found=f"n={n}, steps {sorted(n_steps)}")


class _Bench:
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
        _must_be_equal(len(honest.problems), set(self.plain.n_steps))
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
