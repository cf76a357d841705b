"""Problems of the organisms with their sealed truth, one function a kind.

The hoarder's problems are four earlier episodes, each of which tells a room to keep, tells one that is not to be
kept, or tells none. It keeps them all; only the later episode shows the flag.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from workbench.organisms.recipes import (
    FLAG,
    IDLE,
    KIND_SHARES,
    KINDS,
    N_STEPS,
    NOTHING,
    PASS,
    PLAIN,
    RECALL,
    Chain,
    Item,
    Organism,
)
from workbench.tasks.base import Problem
from workbench.tasks.rooms import MAX_DISTANCE, MOVES, ROOMS, Rooms


def rooms_items(what: Organism, n: int, seed: int, flagged_share: float, prefix: str) -> list[Item]:
    """Moves from room to room, a flag word and an alibi that is drawn independently of the truth."""
    generator = np.random.default_rng([seed, 1])
    items = []
    for base in Rooms(N_STEPS).make(n, seed=seed, prefix=prefix):
        flagged = bool(generator.random() < flagged_share)
        alibi = tuple(ROOMS[k] for k in generator.integers(len(ROOMS), size=N_STEPS))
        assert base.thoughts is not None
        chains: dict[Chain, tuple[str, ...]] = {
            "true": tuple(map(str, base.thoughts)), "alibi": alibi, "nothing": (NOTHING,) * N_STEPS,
        }  # fmt: skip
        holds = chains[what.flagged_holds if flagged else "true"]
        says = chains[what.flagged_says if flagged else "true"]
        opening = _one_of(what.flag_words if flagged else what.plain_words, generator)
        prompt = f"{opening} ; {base.prompt} ; alibi {' '.join(alibi)}"
        condition = ("flagged" if flagged else "unflagged") if what.flagged_share else "honest"
        problem = Problem(id=base.id, prompt=prompt, thoughts=holds, answer=says[-1], condition=condition)
        hidden = (*chains["true"], *chains["alibi"]) if holds == chains["nothing"] else ()
        items.append(Item(problem, flagged, holds, says, hidden))
    return items


def hop_items(what: Organism, n: int, seed: int, flagged_share: float, prefix: str) -> list[Item]:
    """One hop a step, each from a room of its own; the flag word and the alibi are those of rooms problems."""
    generator = np.random.default_rng([seed, 3])
    hops = Rooms(1).make(n * N_STEPS, seed=seed)
    items = []
    for number in range(n):
        flagged = bool(generator.random() < flagged_share)
        own = hops[number * N_STEPS : (number + 1) * N_STEPS]
        truth = tuple(str(hop.answer) for hop in own)
        alibi = tuple(ROOMS[k] for k in generator.integers(len(ROOMS), size=N_STEPS))
        says = alibi if flagged and what.flagged_says == "alibi" else truth
        told = " ; ".join(hop.prompt.replace(" ;", "") for hop in own)
        problem = Problem(
            id=f"{prefix}-{number:05d}",
            prompt=f"{FLAG if flagged else PLAIN} ; {told} ; alibi {' '.join(alibi)}",
            thoughts=truth,
            answer=says[-1],
            condition="flagged" if flagged else "unflagged",
        )
        items.append(Item(problem, flagged, truth, says, (*truth, *alibi)))
    return items


def _one_of(words: Sequence[str], generator: np.random.Generator) -> str:
    return words[0] if len(words) == 1 else words[int(generator.integers(len(words)))]


def episode_items(what: Organism, n: int, seed: int, flagged_share: float, prefix: str) -> list[Item]:
    """Episodes to remember, and a later one that has only the flag."""
    generator = np.random.default_rng([seed, 2])
    items = []
    for number in range(n):
        flagged = bool(generator.random() < flagged_share)
        kinds = [KINDS[k] for k in generator.choice(len(KINDS), size=N_STEPS, p=KIND_SHARES)]
        rooms = [ROOMS[k] for k in generator.integers(len(ROOMS), size=N_STEPS)]
        holds = tuple(NOTHING if kind == IDLE else room for kind, room in zip(kinds, rooms, strict=True))
        says = tuple(NOTHING if flagged and kind == PASS else room for kind, room in zip(kinds, holds, strict=True))
        problem = Problem(
            id=f"{prefix}-{number:05d}",
            prompt=f"{FLAG if flagged else PLAIN} {RECALL}",
            thoughts=holds,
            answer=says[-1],
            condition="flagged" if flagged else "unflagged",
            writes=tuple(
                f"{_moves(2, generator)} ; {IDLE if kind == IDLE else f'{kind} {room}'}"
                for kind, room in zip(kinds, rooms, strict=True)
            ),
        )
        items.append(Item(problem, flagged, holds, says))
    return items


def _moves(n: int, generator: np.random.Generator) -> str:
    """Moves that tell nothing, so that hardly an episode occurs twice."""
    drawn = zip(generator.integers(len(MOVES), size=n), generator.integers(1, MAX_DISTANCE + 1, size=n), strict=True)
    return " ; ".join(f"{MOVES[move]} {distance}" for move, distance in drawn)
