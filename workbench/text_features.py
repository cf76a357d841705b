"""What the words of one problem show: how its said text hangs together with its prompt, as hashed features.

A claim is seen beside the claim before it, and with that beside every two neighbouring words of the prompt: enough
to learn by heart how one value follows from the last. Whether words are the same is seen whatever they are, so that a
said text which recites the prompt looks like no honest one even with words never met. (What a single word tells of a
claim is left to the reader that predicts values; with those pairs here, the rest was learned worse.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.feature_extraction import FeatureHasher
from sklearn.preprocessing import Normalizer

from workbench.claims import Said

MAX_PROMPT_WORDS = 256
"""Of a longer prompt, its last words: they are seen beside every claim."""
N_FEATURES = 2**18
N_FALSIFIED = 1000
MAX_ROUNDS = 3
"""Each honest text is falsified in each way so often, and less often where there are over `N_FALSIFIED` in all."""


@dataclass(frozen=True, slots=True)
class Heard:
    """All that someone has of a problem who sees only the words."""

    prompt: str
    said: Said
    n_steps: int
    group: str


def pair_features(heard: Sequence[Heard]) -> Any:
    """Features of prompt and said text together, sparse [problem, N_FEATURES]; every row has length 1."""
    hasher = FeatureHasher(N_FEATURES, input_type="string", alternate_sign=False)
    return Normalizer().transform(hasher.transform([list(_pieces(one)) for one in heard]))


def _pieces(one: Heard) -> Iterator[str]:
    words = one.prompt.split()[-MAX_PROMPT_WORDS:]
    neighbours = [f"{a} {b}" for a, b in pairwise(words)]
    stated = [*one.said.claims, *((one.said.answer,) if one.said.answer else ())]
    yield f"stated {len(one.said.claims)} {one.said.answer is not None}"
    for place, claim in enumerate(stated):
        before = stated[place - 1] if place else ""
        yield f"claim {place} {claim}"
        yield f"follows {before} {claim}"
        yield from (f"same claims {place} {k}" for k in range(place) if stated[k] == claim)
        for at, word in enumerate(words):
            if word == claim:
                yield f"same word {place} {at}"
                yield f"same word {at - place:+d}"
        for at, pair in enumerate(neighbours):
            yield f"step {before} {claim} {pair}"
            yield f"step {place} {before} {claim} {at} {pair}"
    yield f"longest recital {_longest_recital(words, one.said.claims)}"


def _longest_recital(words: Sequence[str], claims: Sequence[str]) -> int:
    """Most claims in a row that stand in the prompt in a row, whatever stands between them aside from other claims."""
    known = set(claims)
    told = [word for word in words if word in known]
    longest = 0
    for start in range(len(claims)):
        for at in range(len(told)):
            n = 0
            while start + n < len(claims) and at + n < len(told) and claims[start + n] == told[at + n]:
                n += 1
            longest = max(longest, n)
    return longest


def falsified(heard: Sequence[Heard], generator: np.random.Generator) -> list[Heard]:
    """Honest prompts with said texts that are not theirs, in each of the ways in which one can lie without thinking.

    Each problem up to `MAX_ROUNDS` times with all that another one says, with one claim or the answer of another, and,
    where its prompt holds enough words that are claims elsewhere, reciting some of them in a row.
    """
    values = {claim for one in heard for claim in one.said.claims}
    lies = []
    for _ in range(min(MAX_ROUNDS, math.ceil(N_FALSIFIED / max(1, len(heard))))):
        for one, donor in zip(heard, exchanged(heard, generator), strict=True):
            options = [donor.said, _one_changed(one.said, donor.said, generator), _recital(one, values, generator)]
            told = [said for said in options if said is not None and states_otherwise(said, one.said)]
            lies += [replace(one, said=said) for said in told]
    return lies


def exchanged(heard: Sequence[Heard], generator: np.random.Generator) -> list[Heard]:
    """Each prompt with what the problem of another one says, of equal length where there is one."""
    said = [one.said for one in heard]
    for n_steps in sorted({one.n_steps for one in heard}):
        mine = [k for k, one in enumerate(heard) if one.n_steps == n_steps]
        order = generator.permutation(len(mine))
        for k, other in zip(order, np.roll(order, 1), strict=True):
            said[mine[k]] = heard[mine[other]].said
    return [replace(one, said=other) for one, other in zip(heard, said, strict=True)]


def states_otherwise(said: Said, other: Said) -> bool:
    """Whether another chain or another answer is stated."""
    return (said.claims, said.answer) != (other.claims, other.answer)


def _one_changed(own: Said, donor: Said, generator: np.random.Generator) -> Said | None:
    place = int(generator.integers(len(own.claims) + 1))
    if place == len(own.claims):
        return replace(own, answer=donor.answer) if own.answer and donor.answer else None
    if place >= len(donor.claims):
        return None
    return replace(own, claims=(*own.claims[:place], donor.claims[place], *own.claims[place + 1 :]))


def _recital(one: Heard, values: set[str], generator: np.random.Generator) -> Said | None:
    told = [word for word in one.prompt.split() if word in values]
    n = len(one.said.claims)
    if not n or len(told) < n:
        return None
    start = int(generator.integers(len(told) - n + 1))
    claims = tuple(told[start : start + n])
    return replace(one.said, claims=claims, answer=claims[-1] if one.said.answer else None)
