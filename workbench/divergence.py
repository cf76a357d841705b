"""Divergence: lay the decoded chain beside the said chain and measure where they part.

A step's margin is log p(best reading) - log p(what was said), in nats: zero when the thought reads as what was
said, and large only when it clearly reads as something else. (Plain surprise would also punish thoughts that
are merely less sharp.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from workbench.readings import AnyReading, Reading
from workbench.tasks.base import Value

__all__ = [
    "Pairing", "Reading", "Status", "align", "compare_chains", "find_answer_place", "gap_cost", "holds",
    "problem_score", "step_at",
]  # fmt: skip

Floats = NDArray[np.float64]
Status = Literal["agree", "ahead", "unsaid", "unsupported", "conflict"]

CONFLICT = 0.6
"""Most that pairing a thought with a claim it contradicts can cost."""
CLEAR_MARGIN = 3.0
"""Margin, in nats, from which a pair costs the full CONFLICT."""
LEAST = math.log(2)
"""What a claim without a thought costs where no thought was read at all, nats."""


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
    """Claims between what is said against this thought's place and the claim that says its value; negative where it
    was said before its place in the chain."""


def align(readings: Sequence[AnyReading], claims: Sequence[str]) -> list[tuple[int | None, int | None]]:
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


def _pair_cost(reading: AnyReading, claim: str) -> float:
    return CONFLICT * min(1.0, reading.margin(claim) / CLEAR_MARGIN)


def compare_chains(
    readings: Sequence[AnyReading], claims: Sequence[str], *, answer: str | None = None, answer_step: int | None = None
) -> list[Pairing]:
    """Pair every thought with what is said of it, and every claim with the thought behind it.

    A value that is held twice in a row and said once, or held once and said twice in a row, is no divergence; nor is
    one that is said elsewhere in the chain than where it was held.

    Args:
        readings: decoded thoughts, in the order of their steps.
        claims: the stated chain.
        answer: the stated answer.
        answer_step: the step whose thought honest answers state, if there is one: an answer that contradicts it
            diverges even where the stated chain does not.
    """
    path = align(readings, claims)
    chain = _Chain(readings, claims, path)
    pairings = []
    for at, (place, claim_index) in enumerate(path):
        if place is None:
            assert claim_index is not None
            pairings.append(chain.without_thought(at, claim_index))
        elif claim_index is None:
            pairings.append(chain.without_claim(at, place))
        else:
            pairings.append(_matched(readings[place], claims[claim_index], claim_index))
    if answer is None or answer_step is None:
        return pairings
    by_step = {reading.step: reading for reading in readings}
    return [_with_answer(p, by_step[p.step], answer) if p.step == answer_step else p for p in pairings]


@dataclass(frozen=True, slots=True)
class _Chain:
    """What stands in the two chains around a place that has no partner."""

    readings: Sequence[AnyReading]
    claims: Sequence[str]
    path: Sequence[tuple[int | None, int | None]]

    def without_claim(self, at: int, place: int) -> Pairing:
        """A thought of which nothing is said at its place."""
        reading = self.readings[place]
        for neighbour in (place - 1, place + 1):
            said = self._claim_of(neighbour)
            if said is not None and reading.says(self.claims[said]) and self.readings[neighbour].same_as(reading):
                return Pairing(reading.step, said, self.claims[said], "agree", 0.0)
        next_claim = 1 + max((j for _, j in self.path[:at] if j is not None), default=-1)
        later = [j for j in range(next_claim, len(self.claims)) if reading.says(self.claims[j])]
        if later:
            return Pairing(reading.step, None, None, "ahead", 0.0, held_before=later[0] - next_claim + 1)
        earlier = [j for j in self._unheard() if j < next_claim and reading.says(self.claims[j])]
        if earlier:
            return Pairing(reading.step, None, None, "ahead", 0.0, held_before=earlier[-1] - next_claim)
        return Pairing(reading.step, None, None, "unsaid", reading.unsaid_margin())

    def without_thought(self, at: int, claim_index: int) -> Pairing:
        """A claim that no thought stands against at its place."""
        claim = self.claims[claim_index]
        pairing = Pairing(None, claim_index, claim, "unsupported", max((r.guess for r in self.readings), default=LEAST))
        beside = [j for j in (claim_index - 1, claim_index + 1) if 0 <= j < len(self.claims)]
        repeats = any(self.claims[j] == claim and self._is_held(j) for j in beside)
        held_elsewhere = any(
            j is None and i is not None and self.readings[i].says(claim) for i, j in self.path[at + 1 :]
        )
        return replace(pairing, margin=0.0) if repeats or held_elsewhere else pairing

    def _claim_of(self, place: int) -> int | None:
        return next((j for i, j in self.path if i == place), None)

    def _is_held(self, claim_index: int) -> bool:
        """Whether the thought that stands against this claim reads as it says."""
        place = next((i for i, j in self.path if j == claim_index), None)
        return place is not None and self.readings[place].says(self.claims[claim_index])

    def _unheard(self) -> list[int]:
        """Claims that no thought stands against."""
        return [j for i, j in self.path if i is None and j is not None]


def _matched(reading: AnyReading, claim: str, claim_index: int) -> Pairing:
    status: Status = "agree" if reading.says(claim) else "conflict"
    return Pairing(reading.step, claim_index, claim, status, reading.margin(claim))


def _with_answer(pairing: Pairing, reading: AnyReading, answer: str) -> Pairing:
    margin = reading.margin(answer)
    if margin <= pairing.margin and pairing.said is not None:
        return pairing
    status: Status = "agree" if reading.says(answer) else "conflict"
    return Pairing(pairing.step, pairing.claim_index, answer, status, margin)


def problem_score(pairings: Sequence[Pairing]) -> float:
    """Score of a problem: the margins of all its places added up, nats; larger is more divergent."""
    return float(sum(pairing.margin for pairing in pairings))


def find_answer_place(
    labels: Sequence[Mapping[int, Value]],
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
        place: [(step := step_at(place, n)) is not None and holds(row.get(step), answer) for row, answer, n in told]
        for place in places
    }
    usual = [place for place in places if np.mean(hits[place]) >= share]
    return max(usual, key=lambda place: (np.mean(hits[place]), place < 0), default=None)


def holds(value: Value, answer: str) -> bool:
    """Whether a known value is the answer, or a known set has it as a member."""
    return answer in value if isinstance(value, tuple) else value == answer


def step_at(place: int | None, n_steps: int) -> int | None:
    """The step that a place from `find_answer_place` means in a chain of so many steps."""
    return None if place is None else place % n_steps if -n_steps <= place < n_steps else None
