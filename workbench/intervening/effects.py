"""What one edit did to what is said, and whether it did more than its control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int
from numpy.typing import NDArray
from scipy.stats import binomtest

from probes import Interval, exact_share, group_bootstrap, share_by_group

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


def exceeds(effect: Effect, control: Effect, measure: Measure) -> float:
    """Exact one-sided McNemar p-value: does the edit touch more problems than its control?"""
    mine, other = effect.of(measure), control.of(measure)
    only_mine, only_other = int((mine & ~other).sum()), int((other & ~mine).sum())
    if only_mine + only_other == 0:
        return 1.0
    return float(binomtest(only_mine, only_mine + only_other, alternative="greater").pvalue)


def minus_control(effect: Effect, control: Effect, measure: Measure) -> tuple[float, Interval]:
    """Share that the edit touches less the share that its control does, and its 95 % interval.

    Both were tried on the same problems, which are drawn again in pairs.
    """
    paired = effect.of(measure).astype(float) - control.of(measure)
    return float(paired.mean()), group_bootstrap(paired, np.arange(len(paired)), bounds=(-1.0, 1.0))
