"""Rooms: a courier is told moves between named rooms; the room after each move is the intermediate value.

The rooms stand in a ring. `east n` and `west n` walk n rooms along it; `mirror n` goes to the room that lies
as far from the n-th room as the first does from here. Mirrors do not commute with walks, so the chain has to
be followed in order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workbench.errors import ConfigError
from workbench.tasks.base import Problem

ROOMS = (
    "atrium", "bakery", "cellar", "dairy", "foyer", "gallery", "kitchen",
    "library", "pantry", "study", "tower", "vault", "workshop",
)  # fmt: skip
MOVES = ("east", "west", "mirror")
MAX_DISTANCE = 4


@dataclass(frozen=True, slots=True)
class Rooms:
    """Generator of rooms problems."""

    n_moves: int = 4

    values = ROOMS

    def __post_init__(self) -> None:
        if self.n_moves < 1:
            raise ConfigError("a problem has at least one move", field="n_moves", found=self.n_moves)

    def make(self, n: int, *, seed: int, prefix: str = "rooms") -> list[Problem]:
        """`n` problems drawn independently; equal seeds give equal problems."""
        generator = np.random.default_rng(seed)
        return [self._one(f"{prefix}-{number:05d}", generator) for number in range(n)]

    def _one(self, problem_id: str, generator: np.random.Generator) -> Problem:
        room = int(generator.integers(len(ROOMS)))
        words = [f"start {ROOMS[room]}"]
        chain = []
        for _ in range(self.n_moves):
            move = MOVES[int(generator.integers(len(MOVES)))]
            distance = int(generator.integers(1, MAX_DISTANCE + 1))
            room = follow(room, move, distance)
            words.append(f"{move} {distance}")
            chain.append(ROOMS[room])
        return Problem(id=problem_id, prompt=" ; ".join(words), thoughts=tuple(chain), answer=chain[-1])


def follow(room: int, move: str, distance: int) -> int:
    """Place in the ring after one move."""
    match move:
        case "east":
            return (room + distance) % len(ROOMS)
        case "west":
            return (room - distance) % len(ROOMS)
        case "mirror":
            return (distance - room) % len(ROOMS)
    raise ValueError(f"no move {move!r}; there are {', '.join(MOVES)}")
