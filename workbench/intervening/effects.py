"""What one edit did to what is said, and whether it did more than its control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int
from numpy.typing import NDArray
from scipy.stats import binomtest

from probes import Interval, exact_share, share_by_group

Bools = NDArray[np.bool_]
Measure = Literal["follows", "moves"]


@dataclass(frozen=True, slots=True)
class Effect:
    """What one edit did to the said text of each problem; problems are independent of each other."""

    moved: Bool[np.ndarray, " problem"]
    """The said text is another."""
    followed: Bool[np.ndarray, " problem"] | None
    """What is said at the edited place became the donor's; absent where nothing is said of that place."""
    answer_moved: Bool[np.ndarray, " problem"]
    """The answer is another; of a text without an answer, the text."""
    claims_moved: Int[np.ndarray, " problem"]
    """Places of the stated chain at which another claim stands, or none."""
    n_claims: Int[np.ndarray, " problem"]
    """Places of the stated chain, before or after the edit."""

    def of(self, measure: Measure) -> Bools:
        """The chosen measure, per problem."""
        return self.followed if measure == "follows" and self.followed is not None else self.moved

    def share(self, measure: Measure = "moves") -> float:
        """Share of problems."""
        return float(self.of(measure).mean())

    def interval(self, measure: Measure = "moves") -> Interval:
        """Exact 95 % interval of the share."""
        return share_interval(self.of(measure))

    def claims(self) -> tuple[float, Interval, int] | None:
        """Share of claims that moved, its 95 % interval (claims of a problem are one group), and their number."""
        n = int(self.n_claims.sum())
        if not n:
            return None
        rows = [np.arange(places) < moved for places, moved in zip(self.n_claims, self.claims_moved, strict=True)]
        groups = np.repeat(np.arange(len(self.n_claims)), self.n_claims)
        return float(self.claims_moved.sum() / n), share_by_group(np.concatenate(rows), groups), n


def share_interval(happened: Bools) -> Interval:
    """Exact 95 % interval of the share of problems."""
    return exact_share(int(happened.sum()), len(happened))


def beyond(share: float, placebo: float) -> float:
    """Share that follows beyond a placebo, of what the placebo leaves: 1 where all follow, 0 where no more than by it.

    With two answers, a push in any direction gives half of the problems the donor's; so does an exchange that does no
    more than push. Negative where the placebo does more (compare Cohen 1960, whose kappa takes chance off likewise).
    """
    return (share - placebo) / (1.0 - placebo) if placebo < 1.0 else 0.0


def exceeds(effect: Effect, control: Effect, measure: Measure) -> float:
    """Exact one-sided McNemar p-value: does the edit touch more problems than its control?"""
    mine, other = effect.of(measure), control.of(measure)
    only_mine, only_other = int((mine & ~other).sum()), int((other & ~mine).sum())
    if only_mine + only_other == 0:
        return 1.0
    return float(binomtest(only_mine, only_mine + only_other, alternative="greater").pvalue)


def minus_control(effect: Effect, control: Effect, measure: Measure) -> tuple[float, Interval]:
    """Share that the edit touches less the share that its control does, and its 95 % interval."""
    mine, other = effect.of(measure), control.of(measure)
    return float(mine.mean() - other.mean()), paired_difference(mine, other)


def paired_difference(mine: Bools, other: Bools) -> Interval:
    """95 % interval of the difference of two shares of the same problems.

    Newcombe (1998, Stat. Med. 17, 2635), method 10, with Clopper-Pearson limits of either share in the place of
    Wilson's: it keeps its promise near 0 and 1, where resampled differences are nearly all alike. The correlation of
    the two outcomes is corrected for continuity as there.
    """
    n = len(mine)
    p1, p2 = float(mine.mean()), float(other.mean())
    one, two = share_interval(mine), share_interval(other)
    down1, up1, down2, up2 = p1 - one.low, one.high - p1, p2 - two.low, two.high - p2
    phi = _correlation(int((mine & other).sum()), int((mine & ~other).sum()), int((~mine & other).sum()), n)
    below = max(0.0, down1**2 - 2 * phi * down1 * up2 + up2**2) ** 0.5
    above = max(0.0, up1**2 - 2 * phi * up1 * down2 + down2**2) ** 0.5
    difference = p1 - p2
    return Interval(max(-1.0, difference - below), min(1.0, difference + above))


def _correlation(both: int, only_mine: int, only_other: int, n: int) -> float:
    neither = n - both - only_mine - only_other
    product = both * neither - only_mine * only_other
    margins = [both + only_mine, only_other + neither, both + only_other, only_mine + neither]
    if not all(margins):
        return 0.0
    corrected = max(0.0, product - n / 2) if product > 0 else float(product)
    return corrected / float(np.prod(np.sqrt(margins)))
