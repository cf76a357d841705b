"""What edits did to what is said: shares that moved, beside what a placebo moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray
from scipy.stats import binomtest

from probes import Interval, exact_share

LIVE_P = 0.005
"""Each of two tests (does the claim follow, does the said text move) may call a step live: 0.01 in all."""
LIVE_DIFFERENCE = 0.1
MOVES_NOTHING = 0.05
MIN_FOLLOWED = 0.1

Bools = NDArray[np.bool_]
Measure = Literal["follows", "moves"]


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
