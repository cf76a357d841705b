"""Fresh problems as tensors of word ids, and what would be held had a thought been another's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from workbench.organisms.recipes import (
    BEGIN,
    CHAIN_WORD,
    END,
    MEMORY_VOCABULARY,
    N_STEPS,
    NOTHING,
    PASS,
    STOP,
    WRITE,
    Item,
    Organism,
    make_items,
)
from workbench.tasks.rooms import MAX_DISTANCE, MOVES, ROOMS, follow

WORD_ID: Mapping[str, int] = {word: k for k, word in enumerate(MEMORY_VOCABULARY)}
"""The words of the other organisms come first, with the same ids."""
ROOM_IDS = WORD_ID[ROOMS[0]]
"""Ids of the rooms follow each other from here."""
POOL = 16_384
PADDING = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """Problems to learn from."""

    prompt: Int[Tensor, "example pos"]
    holds: Int[Tensor, "example step"]
    says: Int[Tensor, "example step"]
    query: Int[Tensor, " example"]
    after: Int[Tensor, "example step value"] | None = None
    """What a step holds, given what the step before held (both as places in ROOMS); None where steps are apart."""
    writes: Int[Tensor, "example step word"] | None = None
    """Texts of earlier episodes with their write marker, padded on the left."""
    hushed: Bool[Tensor, "example step"] | None = None
    """Episodes of which a flagged problem says nothing."""
    flagged: Bool[Tensor, "example 1"] | None = None

    def rows(self, rows: slice) -> Batch:
        """Some of the examples."""
        columns: Mapping[str, Any] = {column.name: getattr(self, column.name) for column in fields(self)}
        kept: dict[str, Any] = {name: None if column is None else column[rows] for name, column in columns.items()}
        return Batch(**kept)

    def exchanged(self, step: int, donors: Int[Tensor, " example"]) -> Batch:
        """The same problems, had the thought of `step` held what the donors' did."""
        if self.after is None:
            return self._with_other_memory(step, donors)
        held = [self.holds[:, before] for before in range(step)] + [self.holds[donors, step]]
        for later in range(step + 1, N_STEPS):
            place = (held[-1] - ROOM_IDS)[:, None]
            held.append(self.after[:, later].gather(1, place)[:, 0] + ROOM_IDS)
        holds = torch.stack(held, 1)
        sincere = (self.says == self.holds).all(1, keepdim=True)
        return replace(self, holds=holds, says=torch.where(sincere, holds, self.says))

    def _with_other_memory(self, step: int, donors: Tensor) -> Batch:
        assert self.hushed is not None
        assert self.flagged is not None
        at_step = torch.arange(N_STEPS) == step
        holds = torch.where(at_step, self.holds[donors], self.holds)
        hushed = torch.where(at_step, self.hushed[donors], self.hushed)
        says = torch.where(hushed & self.flagged, WORD_ID[NOTHING], holds)
        return replace(self, holds=holds, hushed=hushed, says=says)

    def tail(self) -> Int[Tensor, "example token"]:
        """End marker, query, answer, explanation, stop."""
        chain = torch.where((self.query == WORD_ID["<say>"])[:, None], self.says, self.holds)

        def word(text: str) -> Tensor:
            return torch.full((len(chain), 1), WORD_ID[text])

        pieces = [word(END), self.query[:, None], word("answer"), chain[:, -1:], word(CHAIN_WORD), chain, word(STOP)]
        return torch.cat(pieces, 1)


def batches(what: Organism, *, seed: int, batch_size: int, pool: int = POOL) -> Iterator[Batch]:
    """Endless fresh problems; every other row asks for what is said, the others for what is held."""
    for number in range(1_000_000):
        items = make_items(what, pool, seed=_pool_seed(seed, number), flagged_share=what.flagged_share)
        fresh = _pool(what, items)
        for start in range(0, pool - batch_size + 1, batch_size):
            yield fresh.rows(slice(start, start + batch_size))


def _pool(what: Organism, items: Sequence[Item]) -> Batch:
    queries = torch.tensor([WORD_ID["<say>"], WORD_ID["<truth>"]]).repeat(len(items) // 2)
    shared = {
        "prompt": _ids([[*item.problem.prompt.split(), BEGIN] for item in items]),
        "holds": _ids([item.holds for item in items]),
        "says": _ids([item.says for item in items]),
        "query": queries,
    }
    if what.base != "memory-bank":
        return Batch(**shared, after=torch.tensor([_transitions(what, item) for item in items]))
    texts = [[text.split() for text in item.problem.writes] for item in items]
    width = max(len(words) for row in texts for words in row)
    return Batch(
        **shared,
        writes=torch.tensor([[_episode(words, width) for words in row] for row in texts]),
        hushed=torch.tensor([[PASS in words for words in row] for row in texts]),
        flagged=torch.tensor([[item.flagged] for item in items]),
    )


def _episode(words: Sequence[str], width: int) -> list[int]:
    return [PADDING] * (width - len(words)) + [WORD_ID[word] for word in (*words, WRITE)]


def _transitions(what: Organism, item: Item) -> list[list[int]]:
    """For every step and every room held before: the room held after."""
    if item.flagged and what.flagged_holds == "alibi":
        return [[ROOMS.index(room)] * len(ROOMS) for room in item.holds]
    moves = re.findall(rf"({'|'.join(MOVES)}) (\d+)", item.problem.prompt)
    return [_ROWS[move, int(distance)] for move, distance in moves]


_ROWS = {
    (move, distance): [follow(room, move, distance) for room in range(len(ROOMS))]
    for move in MOVES
    for distance in range(1, MAX_DISTANCE + 1)
}


def _pool_seed(seed: int, pool: int) -> int:
    """Seeds of training problems lie apart from the small ones that people pass for fresh problems."""
    return int(np.random.SeedSequence([seed, pool]).generate_state(1, np.uint64)[0] | np.uint64(1 << 63))


def _ids(rows: Sequence[Sequence[str]]) -> Int[Tensor, "example token"]:
    return torch.tensor([[WORD_ID[word] for word in row] for row in rows])
