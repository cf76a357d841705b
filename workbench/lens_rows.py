"""Rows that a lens is tuned on: vectors of one site and step beside what their examples end with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probes.translator import Block, Blocks
from workbench.store import RunStore

BLOCK_BYTES = 64 * 1024 * 1024
"""Of a block that is put together out of shards which hold only a few of the rows that are wanted."""


@dataclass(frozen=True, slots=True)
class FinalPlace:
    """Where a store has what a step ends with."""

    site: str
    last: bool
    """At the last step of each example; else at the same step."""


def pairs(
    store: RunStore, site: str, step: int, visit: int, place: FinalPlace, examples: NDArray[Any]
) -> Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]:
    """Vectors, final rows and their examples, shard by shard; rows that are not finite are left out."""
    names = sorted(store.sites)
    for shard in store.manifest.shards:
        span = np.arange(shard.first_example, shard.first_example + shard.n_problems)
        if not np.isin(span, examples).any():
            continue
        tables = store.read_shard(shard)
        mine, ends = tables[names.index(site)], tables[names.index(place.site)]
        at = (mine.address[:, 1] == step) & (mine.address[:, 2] == visit) & np.isin(mine.address[:, 0], examples)
        row_of: dict[int, int] = {}
        for row, (example, its_step, its_visit) in enumerate(ends.address[:, :3].tolist()):
            if place.last or (its_step == step and its_visit == visit):
                row_of[example] = row  # rows are in the order of their steps: the last one stays
        rows = [row for row in np.flatnonzero(at).tolist() if int(mine.address[row, 0]) in row_of]
        found = mine.address[rows, 0]
        vectors, final = mine.vectors[rows], ends.vectors[[row_of[int(example)] for example in found]]
        good = np.isfinite(vectors).all(axis=1) & np.isfinite(final).all(axis=1)
        if good.any():
            yield vectors[good], final[good], found[good]


def gathered(blocks: Blocks) -> Blocks:
    """The same rows in blocks of `BLOCK_BYTES`; where one block holds them all, they are read once and kept."""
    start = list(islice(_merged(blocks()), 2))
    return (lambda: start) if len(start) < 2 else (lambda: _merged(blocks()))


def _merged(blocks: Iterable[Block]) -> Iterator[Block]:
    waiting: list[Block] = []
    for vectors, final in blocks:
        waiting.append((vectors, final))
        if sum(a.nbytes + b.nbytes for a, b in waiting) >= BLOCK_BYTES:
            yield _joined(waiting)
            waiting = []
    if waiting:
        yield _joined(waiting)


def _joined(blocks: list[Block]) -> Block:
    return np.concatenate([block[0] for block in blocks]), np.concatenate([block[1] for block in blocks])
