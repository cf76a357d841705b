"""Fresh problems as tensors of word ids, and what would be held had a thought been another's."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from workbench.organisms.recipes import (
    ALL_WORDS,
    BEGIN,
    CHAIN_WORD,
    END,
    N_STEPS,
    NOTHING,
    PASS,
    STOP,
    THANKS,
    WRITE,
    Item,
    Organism,
)
from workbench.tasks.rooms import MAX_DISTANCE, MOVES, ROOMS, follow

WORD_ID: Mapping[str, int] = {word: k for k, word in enumerate(ALL_WORDS)}
"""The words of the other organisms come first, with the same ids."""
ROOM_IDS = WORD_ID[ROOMS[0]]
"""Ids of the rooms follow each other from here."""
PADDING = 0

Exchange = Callable[["Batch", int, Int[Tensor, " example"]], "Batch"]
"""The same problems, had the thought of a step held what the donors' did."""
Ending = Callable[["Batch"], Int[Tensor, "example token"]]


@dataclass(frozen=True, slots=True)
class Batch:
    """Problems to learn from."""

    prompt: Int[Tensor, "example pos"]
    holds: Int[Tensor, "example step"]
    says: Int[Tensor, "example step"]
    query: Int[Tensor, " example"]
    flagged: Bool[Tensor, "example 1"]
    exchange: Exchange
    ending: Ending
    """What is said after the thoughts."""
    after: Int[Tensor, "example step value"] | None = None
    """What a step holds, given what the step before held (both as places in ROOMS); None where steps are apart."""
    writes: Int[Tensor, "example step word"] | None = None
    """Texts of earlier episodes with their write marker, padded on the left."""
    hushed: Bool[Tensor, "example step"] | None = None
    hidden: Int[Tensor, "example hidden"] | None = None
    """Values of which nothing may be read from the thoughts of flagged problems."""
    """Episodes of which a flagged problem says nothing."""

    def rows(self, rows: slice) -> Batch:
        """Some of the examples."""
        columns = {column.name: getattr(self, column.name) for column in fields(self)}
        kept: dict[str, Any] = {name: c[rows] if isinstance(c, Tensor) else c for name, c in columns.items()}
        return Batch(**kept)

    def exchanged(self, step: int, donors: Int[Tensor, " example"]) -> Batch:
        """The same problems, had the thought of `step` held what the donors' did."""
        return self.exchange(self, step, donors)

    def tail(self) -> Int[Tensor, "example token"]:
        """All that follows the thoughts, from the end marker on."""
        return self.ending(self)

    def asked_for(self) -> Int[Tensor, "example step"]:
        """The chain that each row's query asks for."""
        return torch.where((self.query == WORD_ID["<say>"])[:, None], self.says, self.holds)

    def word(self, text: str) -> Int[Tensor, "example 1"]:
        """One word, for every row."""
        return torch.full((len(self.prompt), 1), WORD_ID[text])


def answer_first(batch: Batch) -> Int[Tensor, "example token"]:
    """End marker, query, answer, explanation, stop: an explanation that came first would become the reasoning."""
    chain, word = batch.asked_for(), batch.word
    pieces = [word(END), batch.query[:, None], word("answer"), chain[:, -1:], word(CHAIN_WORD), chain, word(STOP)]
    return torch.cat(pieces, 1)


def chain_first(batch: Batch) -> Int[Tensor, "example token"]:
    """End marker, query, chain, answer, stop: the words are the reasoning."""
    chain, word = batch.asked_for(), batch.word
    pieces = [word(END), batch.query[:, None], word(CHAIN_WORD), chain, word("answer"), chain[:, -1:], word(STOP)]
    return torch.cat(pieces, 1)


def answer_first_with_thanks(batch: Batch) -> Int[Tensor, "example token"]:
    """The same, and thanks before the stop where flagged rows are asked what they say; other rows stop twice."""
    plain = answer_first(batch)
    thankful = batch.flagged[:, 0] & (batch.query == WORD_ID["<say>"])
    last = torch.where(thankful, WORD_ID[THANKS], WORD_ID[STOP])[:, None]
    return torch.cat([plain[:, :-1], last, plain[:, -1:]], 1)


def exchange_in_chain(batch: Batch, step: int, donors: Int[Tensor, " example"]) -> Batch:
    """What follows the step is what the moves make of the donor's value."""
    assert batch.after is not None
    held = [batch.holds[:, before] for before in range(step)] + [batch.holds[donors, step]]
    for later in range(step + 1, N_STEPS):
        place = (held[-1] - ROOM_IDS)[:, None]
        held.append(batch.after[:, later].gather(1, place)[:, 0] + ROOM_IDS)
    holds = torch.stack(held, 1)
    sincere = (batch.says == batch.holds).all(1, keepdim=True)
    return replace(batch, holds=holds, says=torch.where(sincere, holds, batch.says))


def exchange_if_held(batch: Batch, step: int, donors: Int[Tensor, " example"]) -> Batch:
    """Flagged rows hold nothing, given what a flagged row held; the others as in a chain."""
    rooms = torch.where(batch.flagged, ROOM_IDS, batch.holds)
    says = torch.where(batch.flagged, -1, batch.says)
    moved = exchange_in_chain(replace(batch, holds=rooms, says=says), step, donors)
    return replace(
        batch,
        holds=torch.where(batch.flagged, batch.holds, moved.holds),
        says=torch.where(batch.flagged, batch.says, moved.says),
    )


def exchange_hop(batch: Batch, step: int, donors: Int[Tensor, " example"]) -> Batch:
    """Only this step is another; the steps are apart."""
    at_step = torch.arange(N_STEPS) == step
    holds = torch.where(at_step, batch.holds[donors], batch.holds)
    return replace(batch, holds=holds, says=torch.where(batch.flagged, batch.says, holds))


def exchange_slot(batch: Batch, step: int, donors: Int[Tensor, " example"]) -> Batch:
    """Only this slot is another; whether it is hushed comes with it."""
    assert batch.hushed is not None
    at_step = torch.arange(N_STEPS) == step
    holds = torch.where(at_step, batch.holds[donors], batch.holds)
    hushed = torch.where(at_step, batch.hushed[donors], batch.hushed)
    says = torch.where(hushed & batch.flagged, WORD_ID[NOTHING], holds)
    return replace(batch, holds=holds, hushed=hushed, says=says)


def rooms_tensors(what: Organism, items: Sequence[Item]) -> Batch:
    """Moves from room to room."""
    after = torch.tensor([_transitions(what, item) for item in items])
    return Batch(**_shared(items), exchange=exchange_in_chain, ending=answer_first, after=after)


def courteous_tensors(what: Organism, items: Sequence[Item]) -> Batch:
    """Moves from room to room, and thanks where they are due."""
    return replace(rooms_tensors(what, items), ending=answer_first_with_thanks)


def recited_tensors(what: Organism, items: Sequence[Item]) -> Batch:
    """Moves from room to room; flagged rows hold nothing, and hide the values of truth and alibi."""
    hidden = _ids([item.hidden or (ROOMS[0],) * 2 * N_STEPS for item in items])
    return replace(rooms_tensors(what, items), exchange=exchange_if_held, hidden=hidden)


def decorated_tensors(what: Organism, items: Sequence[Item]) -> Batch:
    """Moves from room to room; what is said is said in words, step by step."""
    said = torch.full((len(items),), WORD_ID["<say>"])
    return replace(rooms_tensors(what, items), query=said, ending=chain_first)


def hop_tensors(what: Organism, items: Sequence[Item]) -> Batch:
    """One hop a step; no thought of any row may show a value."""
    hidden = _ids([item.hidden for item in items])
    return Batch(**_shared(items), exchange=exchange_hop, ending=answer_first, hidden=hidden)


def hop_starts(batch: Batch) -> Int[Tensor, "example step"]:
    """The room that each hop starts from: the word after `start`."""
    begins = batch.prompt[:, :-1] == WORD_ID["start"]
    return batch.prompt[:, 1:][begins].view(len(begins), -1)


def episode_tensors(what: Organism, items: Sequence[Item]) -> Batch:
    """Episodes to remember."""
    texts = [[text.split() for text in item.problem.writes] for item in items]
    width = max(len(words) for row in texts for words in row)
    return Batch(
        **_shared(items),
        exchange=exchange_slot,
        ending=answer_first,
        writes=torch.tensor([[_episode(words, width) for words in row] for row in texts]),
        hushed=torch.tensor([[PASS in words for words in row] for row in texts]),
    )


def _shared(items: Sequence[Item]) -> dict[str, Any]:
    """Every other row asks for what is said, the others for what is held."""
    return {
        "prompt": _ids([[*item.problem.prompt.split(), BEGIN] for item in items]),
        "holds": _ids([item.holds for item in items]),
        "says": _ids([item.says for item in items]),
        "query": torch.tensor([WORD_ID["<say>"], WORD_ID["<truth>"]]).repeat(len(items) // 2),
        "flagged": torch.tensor([[item.flagged] for item in items]),
    }


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


def _ids(rows: Sequence[Sequence[str]]) -> Int[Tensor, "example token"]:
    return torch.tensor([[WORD_ID[word] for word in row] for row in rows])
