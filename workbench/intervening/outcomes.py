"""What a whole set of edits says: is a step live, how much of the channel the thoughts carry, are they decorative."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from probes import Interval, group_bootstrap
from workbench.intervening.effects import Effect, Measure, beyond, exceeds
from workbench.reports.causal_records import EditName, Target

LIVE_P = 0.005
"""Each of two tests (does the claim follow, does the said text move) may call a step live: 0.01 in all."""
LIVE_DIFFERENCE = 0.1
MOVES_NOTHING = 0.05
MIN_FOLLOWED = 0.1
FALLS_P = 0.01
"""A dose whose effect is smaller than the one before at this level ends a rise."""

TOO_FEW_FOLLOW = "hardly any answer follows when the thoughts and all that passes with them are exchanged"


@dataclass(frozen=True, slots=True)
class SubspaceEffects:
    """What happens when only a part of a thought is exchanged."""

    rank: int
    """Dimensions of the subspace in which the probe of the step tells values apart."""
    inside: Effect
    """Only the component in that subspace is the donor's."""
    placebo: Effect
    """Moved as far, in a random subspace of the same rank."""
    outside: Effect
    """Everything but the component is the donor's."""


@dataclass(frozen=True, slots=True)
class Dose:
    """What happens when a thought goes part of the way to the donor's."""

    amount: float
    """0 is the problem's own thought, 1 the donor's."""
    effect: Effect


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
    doses: tuple[Dose, ...]
    """Rising amounts; the exchange is the dose 1."""
    subspace: SubspaceEffects | str
    """Or why no subspace of this thought was exchanged."""

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

    @property
    def doses_rise(self) -> bool:
        """Whether from no dose to the next, up to the whole exchange, fewer problems are touched than chance allows."""
        rising = [dose.effect for dose in self.doses if dose.amount <= 1]
        return all(exceeds(less, more, self.measure) > FALLS_P for less, more in pairwise(rising))

    def _exceeds(self, measure: Measure) -> bool:
        difference = self.exchange.share(measure) - self.placebo.share(measure)
        return difference >= LIVE_DIFFERENCE and exceeds(self.exchange, self.placebo, measure) <= LIVE_P


def _measures(effect: Effect) -> tuple[Measure, ...]:
    return ("moves",) if effect.followed is None else ("follows", "moves")


@dataclass(frozen=True, slots=True)
class Edited:
    """One edit of all steps at once; why there is none, where there is none."""

    edit: EditName
    target: Target
    effect: Effect | str


@dataclass(frozen=True, slots=True)
class ChannelEffects:
    """What happens when the thoughts of all steps, or everything cached at their positions too, are edited."""

    edits: Sequence[Edited]
    gap: str | None = None
    """Why not everything cached at their positions can be edited; None where it can."""

    def effect(self, edit: EditName, target: Target) -> Effect | None:
        """What this edit did; None where there is none."""
        found = next(one.effect for one in self.edits if (one.edit, one.target) == (edit, target))
        return None if isinstance(found, str) else found

    def _on_thoughts(self, edit: EditName) -> Effect:
        found = self.effect(edit, "thoughts")
        assert found is not None  # every reasoner has thoughts
        return found

    @property
    def thoughts(self) -> Effect:
        """All thoughts exchanged for those of one other problem."""
        return self._on_thoughts("exchange")

    @property
    def placebo(self) -> Effect:
        """All thoughts moved as far as by the exchange, in random directions."""
        return self._on_thoughts("placebo")

    @property
    def zero(self) -> Effect:
        """All thoughts zeroed."""
        return self._on_thoughts("zero")

    @property
    def whole(self) -> tuple[Effect, Effect] | None:
        """Thoughts and all keys and values at their positions exchanged, and moved as far in random directions.

        None where there is a gap: what was exchanged is then not all that passes.
        """
        exchange, placebo = self.effect("exchange", "both"), self.effect("placebo", "both")
        return None if self.gap is not None or exchange is None or placebo is None else (exchange, placebo)

    @property
    def measure(self) -> Measure:
        """Answers that become the donor's, where an exchange of anything makes them so at all."""
        tried = [self.thoughts, *(self.whole or ())[:1]]
        return "follows" if max(one.share("follows") for one in tried) >= MIN_FOLLOWED else "moves"

    @property
    def reach(self) -> float | None:
        """Share that follows the whole channel beyond its placebo, of what the placebo leaves; None where none."""
        return None if self.whole is None else max(0.0, _beyond(*self.whole))

    @property
    def why_no_coverage(self) -> str | None:
        """Why there is no `coverage`; None where there is.

        That a text moves does not say that it follows what the thoughts hold: any push moves texts.
        """
        if self.reach is None:
            return self.gap
        return TOO_FEW_FOLLOW if self.reach < MIN_FOLLOWED else None

    @property
    def coverage(self) -> float | None:
        """Share of what follows the whole channel that follows the thoughts alone, each beyond its own placebo."""
        if self.reach is None or self.reach < MIN_FOLLOWED:
            return None
        return covered(_beyond(self.thoughts, self.placebo), self.reach)

    @property
    def coverage_interval(self) -> Interval | None:
        """95 % interval of `coverage`, problems drawn again with all four of their outcomes."""
        coverage = self.coverage
        if coverage is None or self.whole is None:
            return None

        def again(rows: np.ndarray) -> float:
            part, part_placebo, whole, whole_placebo = rows.mean(axis=0)
            return covered(beyond(part, part_placebo), beyond(whole, whole_placebo))

        tried = (self.thoughts, self.placebo, *self.whole)
        rows = np.stack([one.of("follows").astype(float) for one in tried], axis=1)
        return group_bootstrap(rows, np.arange(len(rows)), statistic=again)

    @property
    def decorative(self) -> bool:
        """Whether nothing that is said depends on the thoughts or their positions; not known where there is a gap."""
        if self.whole is None:
            return False
        return max(self.thoughts.share(), self.zero.share(), self.whole[0].share()) < MOVES_NOTHING


def _beyond(effect: Effect, placebo: Effect) -> float:
    return beyond(effect.share("follows"), placebo.share("follows"))


def covered(part: float, whole: float) -> float:
    """Share of what follows the whole channel that follows a part of it, both beyond their placebos."""
    return min(1.0, max(0.0, part / whole)) if whole > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Interventions:
    """Everything that was tried on one set of honest problems."""

    steps: tuple[StepEffects, ...]
    channel: ChannelEffects
    n: int
    filler: str | None
    """What stood in for thoughts as a pause."""
