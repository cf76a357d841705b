"""What a thought reads as: one value, or a set of them.

Both kinds say how much better a thought reads as something else than as what was said, in nats: zero where they are
the same, and large only where it clearly reads as something else. (Plain surprise would also punish thoughts that are
merely less sharp.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import expit, log_expit, xlog1py, xlogy

from probes.frozen import shown_set


@dataclass(frozen=True, slots=True)
class Reading:
    """What one thought reads as."""

    step: int
    values: tuple[str, ...]
    log_proba: Float[np.ndarray, " value"]
    """Natural logarithms, normalised."""

    @property
    def best(self) -> str:
        """Likeliest value."""
        return self.values[int(np.argmax(self.log_proba))]

    @property
    def confidence(self) -> float:
        """Probability of the likeliest value."""
        return float(np.exp(np.max(self.log_proba)))

    def says(self, claim: str) -> bool:
        """Whether the claim states what is read."""
        return claim == self.best

    def same_as(self, other: AnyReading) -> bool:
        """Whether both read alike."""
        return isinstance(other, Reading) and self.best == other.best

    @property
    def guess(self) -> float:
        """How much a claim costs that no thought stands against, nats: that of a guess among the values."""
        return math.log(len(self.values))

    def likeliest(self, n: int) -> list[tuple[str, float]]:
        """The `n` likeliest values with their probabilities."""
        order = np.argsort(-self.log_proba, kind="stable")[:n]
        return [(self.values[k], float(np.exp(self.log_proba[k]))) for k in order]

    def log_p(self, value: str) -> float:
        """Log probability of a value; one that the probe never learned counts as its least likely."""
        if value in self.values:
            return float(self.log_proba[self.values.index(value)])
        return float(np.min(self.log_proba))

    def margin(self, said: str) -> float:
        """log p(best) - log p(said), nats; 0 where they are the same."""
        return float(np.max(self.log_proba)) - self.log_p(said) if said != self.best else 0.0

    def unsaid_margin(self) -> float:
        """How much better the best reading is than a guess, nats: the margin of a thought that nothing is said of."""
        return max(0.0, float(np.max(self.log_proba)) + float(np.log(len(self.values))))

    def divergence_bits(self, said: str | None) -> float:
        """Jensen-Shannon divergence between the reading and certainty in what was said, bits in [0, 1]."""
        if said is None or said not in self.values:
            return 1.0
        return _bits_from_certain(float(np.exp(self.log_proba[self.values.index(said)])))


@dataclass(frozen=True, slots=True)
class SetReading:
    """Which values one thought holds together.

    A claim names one member, as a path through a search names one node of each frontier: it agrees where the set has
    that member. A claim of several members, with `JOINED_BY` between them, states the whole set.
    """

    step: int
    values: tuple[str, ...]
    log_odds: Float[np.ndarray, " value"]
    """That each value is a member, nats."""

    @property
    def members(self) -> tuple[str, ...]:
        """Values that are members more likely than not."""
        return tuple(value for value, odds in zip(self.values, self.log_odds, strict=True) if odds > 0)

    @property
    def best(self) -> str:
        """The likeliest set, as text."""
        return shown_set(self.values, self.log_odds)

    @property
    def confidence(self) -> float:
        """Probability of the likeliest set, members taken as independent."""
        return float(np.exp(log_expit(np.abs(self.log_odds)).sum()))

    def says(self, claim: str) -> bool:
        """Whether the claim names a member, or all of them."""
        named = _named(claim)
        return set(named) == set(self.members) if len(named) > 1 else claim in self.members

    def same_as(self, other: AnyReading) -> bool:
        """Whether both read alike."""
        return isinstance(other, SetReading) and self.members == other.members

    def margin(self, said: str) -> float:
        """log p(best set) - log p(nearest set that the claim allows), nats; 0 where the claim agrees."""
        named = _named(said)
        odds = dict(zip(self.values, self.log_odds, strict=True))
        least = float(np.min(self.log_odds))
        missing = sum(max(0.0, -float(odds.get(value, least))) for value in named)
        if len(named) == 1:
            return missing
        return missing + sum(max(0.0, float(odds[value])) for value in self.members if value not in named)

    def unsaid_margin(self) -> float:
        """How much better the best set is than a toss for each value, nats."""
        return float((log_expit(np.abs(self.log_odds)) + math.log(2)).sum())

    def divergence_bits(self, said: str | None) -> float:
        """Largest Jensen-Shannon divergence between a named member's reading and certainty in it, bits in [0, 1]."""
        named = _named(said) if said is not None else ()
        if not named or not set(named) <= set(self.values):
            return 1.0
        return max(_bits_from_certain(float(expit(self.log_odds[self.values.index(value)]))) for value in named)

    @property
    def guess(self) -> float:
        """How much a claim costs that no thought stands against, nats: that of a guess among the values."""
        return math.log(len(self.values))

    def likeliest(self, n: int) -> list[tuple[str, float]]:
        """The `n` likeliest members with their probabilities, which do not add up to 1."""
        order = np.argsort(-self.log_odds, kind="stable")[:n]
        return [(self.values[k], float(expit(self.log_odds[k]))) for k in order]


AnyReading = Reading | SetReading

JOINED_BY = "+"
"""Between the members of a claim that states a whole set."""


def _bits_from_certain(p: float) -> float:
    """Jensen-Shannon divergence between a distribution and certainty in a value to which it gives `p`, bits in [0, 1].

    Closed form: the general one takes the root of a rounding error below zero where the two are the same.
    """
    return float(np.clip(1 - (xlog1py(1 + p, p) - xlogy(p, p)) / (2 * math.log(2)), 0.0, 1.0))


def _named(claim: str) -> tuple[str, ...]:
    return tuple(piece.strip() for piece in claim.split(JOINED_BY) if piece.strip())
