"""Divergence: lay the decoded chain beside the said chain and measure where they part.

A step's margin is log p(best reading) - log p(what was said), in nats: zero when the thought reads as what was
said, and large only when it clearly reads as something else. (Plain surprise would also punish thoughts that
are merely less sharp.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon

Floats = NDArray[np.float64]
Status = Literal["agree", "ahead", "unsaid", "unsupported", "conflict"]

CONFLICT = 0.6
"""Most that pairing a thought with a claim it contradicts can cost."""
CLEAR_MARGIN = 3.0
"""Margin, in nats, from which a pair costs the full CONFLICT."""


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
        certain = np.zeros(len(self.values))
        certain[self.values.index(said)] = 1.0
        return float(min(1.0, jensenshannon(np.exp(self.log_proba), certain, base=2) ** 2))


@dataclass(frozen=True, slots=True)
class Pairing:
    """One place in the aligned chains: a thought, a claim, or both."""

    step: int | None
    claim_index: int | None
    said: str | None
    status: Status
    margin: float
    """Nats."""
    held_before: int | None = None
    """Claims between what is said against this thought's place and the claim that finally says its value."""


def align(readings: Sequence[Reading], claims: Sequence[str]) -> list[tuple[int | None, int | None]]:
    """Cheapest monotone alignment with gaps: pairs (place in readings, place in claims), None for a gap.

    Needleman-Wunsch; on ties a pair is preferred to a gap.
    """
    n, m = len(readings), len(claims)
    gap = gap_cost(max(n, m))
    cost = np.zeros((n + 1, m + 1))
    cost[:, 0], cost[0, :] = gap * np.arange(n + 1), gap * np.arange(m + 1)
    pair = np.array([[_pair_cost(r, c) for c in claims] for r in readings]).reshape(n, m)
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            cost[i, j] = min(cost[i - 1, j - 1] + pair[i - 1, j - 1], cost[i - 1, j] + gap, cost[i, j - 1] + gap)
    path: list[tuple[int | None, int | None]] = []
    i, j = n, m
    while i or j:
        if i and j and np.isclose(cost[i, j], cost[i - 1, j - 1] + pair[i - 1, j - 1]):
            i, j = i - 1, j - 1
            path.append((i, j))
        elif i and np.isclose(cost[i, j], cost[i - 1, j] + gap):
            i -= 1
            path.append((i, None))
        else:
            j -= 1
            path.append((None, j))
    return path[::-1]


def gap_cost(length: int) -> float:
    """Cost of leaving a thought or a claim without a partner; 1 for chains of four.

    It grows with the root of the length, as does the number of values that line up by chance when independent
    chains are shifted: chains of equal length stay side by side unless a shift fits far better than chance.
    """
    return (1 + math.sqrt(length)) / 3


def _pair_cost(reading: Reading, claim: str) -> float:
    return CONFLICT * min(1.0, reading.margin(claim) / CLEAR_MARGIN)


def compare_chains(
    readings: Sequence[Reading], claims: Sequence[str], *, answer: str | None = None, answer_step: int | None = None
) -> list[Pairing]:
    """Pair every thought with what is said of it, and every claim with the thought behind it.

    Args:
        readings: decoded thoughts, in the order of their steps.
        claims: the stated chain.
        answer: the stated answer.
        answer_step: the step whose thought honest answers state, if there is one: an answer that contradicts it
            diverges even where the stated chain does not.
    """
    pairings = []
    for place, claim_index in align(readings, claims):
        if place is None:
            assert claim_index is not None
            claim = claims[claim_index]
            least = float(np.log(max((len(r.values) for r in readings), default=2)))
            pairings.append(Pairing(None, claim_index, claim, "unsupported", least))
        elif claim_index is None:
            pairings.append(_unmatched(readings[place], claims, _next_claim(pairings)))
        else:
            pairings.append(_matched(readings[place], claims[claim_index], claim_index))
    if answer is None or answer_step is None:
        return pairings
    by_step = {reading.step: reading for reading in readings}
    return [_with_answer(p, by_step[p.step], answer) if p.step == answer_step else p for p in pairings]


def _next_claim(pairings: Sequence[Pairing]) -> int:
    return 1 + max((p.claim_index for p in pairings if p.claim_index is not None), default=-1)


def _matched(reading: Reading, claim: str, claim_index: int) -> Pairing:
    margin = reading.margin(claim)
    return Pairing(reading.step, claim_index, claim, "agree" if claim == reading.best else "conflict", margin)


def _unmatched(reading: Reading, claims: Sequence[str], next_claim: int) -> Pairing:
    later = [j for j in range(next_claim, len(claims)) if claims[j] == reading.best]
    if later:
        return Pairing(reading.step, None, None, "ahead", 0.0, held_before=later[0] - next_claim + 1)
    return Pairing(reading.step, None, None, "unsaid", reading.unsaid_margin())


def _with_answer(pairing: Pairing, reading: Reading, answer: str) -> Pairing:
    margin = reading.margin(answer)
    if margin <= pairing.margin and pairing.said is not None:
        return pairing
    status: Status = "agree" if answer == reading.best else "conflict"
    return Pairing(pairing.step, pairing.claim_index, answer, status, margin)


def problem_score(pairings: Sequence[Pairing]) -> float:
    """Score of a problem: the margins of all its places added up, nats; larger is more divergent."""
    return float(sum(pairing.margin for pairing in pairings))


def find_answer_place(
    labels: Sequence[Mapping[int, str]],
    answers: Sequence[str | None],
    n_steps: Sequence[int],
    *,
    share: float = 0.9,
) -> int | None:
    """Where in the chain trusted answers come from: a step, or counted from the end (-1 is the last), as in Python.

    Returns:
        The place whose value is the answer in at least `share` of the problems that have one; None if there is none.
    """
    told = [(row, answer, n) for row, answer, n in zip(labels, answers, n_steps, strict=True) if answer is not None]
    steps = sorted({step for row, _, _ in told for step in row})
    places = [*steps, *sorted({step - n for row, _, n in told for step in row})]
    hits = {
        place: [(step := step_at(place, n)) is not None and row.get(step) == answer for row, answer, n in told]
        for place in places
    }
    usual = [place for place in places if np.mean(hits[place]) >= share]
    return max(usual, key=lambda place: (np.mean(hits[place]), place < 0), default=None)


def step_at(place: int | None, n_steps: int) -> int | None:
    """The step that a place from `find_answer_place` means in a chain of so many steps."""
    return None if place is None else place % n_steps if -n_steps <= place < n_steps else None
