"""Vectors of many (site, step) pairs from one pass over a store, within a bound on memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from probes.splits import hash_order
from workbench.store import RunStore, joined_visits
from workbench.store.selection import Selection, selection_of

Bools = NDArray[np.bool_]

MIB = 2**20
NUMBER_BYTES = 4
COPIES = 12
"""Numbers that fitting keeps beside each number of a vector: scaled copies, logits and gradients of a block of fits."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """One matrix of vectors: a site at a step."""

    site: str
    step: int


@dataclass(frozen=True, slots=True)
class Rows:
    """Vectors of one place, one row per problem, in the order of the run; rows that are not finite are left out."""

    vectors: Float[np.ndarray, "row d_model"]
    """float32; several visits of a step stand side by side."""
    problems: Int[np.ndarray, " row"]
    """Row number in the run of each row's problem."""

    @classmethod
    def empty(cls) -> Rows:
        """No rows."""
        return cls(np.empty((0, 0), np.float32), np.empty(0, np.intp))


@dataclass(slots=True)
class _Collector:
    """Fills one place's array block by block; its size is known beforehand, so nothing is copied twice."""

    wanted: Bools
    vectors: NDArray[np.float32] | None = None
    problems: list[NDArray[Any]] = field(default_factory=list)
    n: int = 0

    def add(self, rows: Selection) -> None:
        finite = np.isfinite(rows.vectors).all(axis=1)
        keep = finite & self.wanted[rows.example]
        if not keep.any():
            return
        if self.vectors is None:
            self.vectors = np.empty((int(self.wanted.sum()), rows.vectors.shape[1]), np.float32)
        n_kept = int(keep.sum())
        self.vectors[self.n : self.n + n_kept] = rows.vectors[keep]
        self.problems.append(rows.example[keep].astype(np.intp))
        self.n += n_kept

    def freeze(self) -> Rows:
        if self.vectors is None:
            return Rows.empty()
        return Rows(self.vectors[: self.n], np.concatenate(self.problems))


def gather(
    store: RunStore,
    places: Sequence[Place],
    wanted: Bools,
    *,
    see: Callable[[Place, Selection], None] | None = None,
) -> dict[Place, Rows]:
    """Vectors of several places from one pass over the shards.

    Args:
        store: what was captured.
        places: which sites and steps.
        wanted: problems whose rows are kept, [n_problems].
        see: called with every block of a place, kept or not, in the order of the run (for statistics of all rows).
    """
    collectors = {place: _Collector(wanted) for place in places}
    number_of = {site: number for number, site in enumerate(store.sites)}
    for shard in store.manifest.shards:
        inside = wanted[shard.first_example : shard.first_example + shard.n_problems]
        if see is None and not inside.any():
            continue
        tables = store.read_shard(shard)
        for place in places:
            rows = tables[number_of[place.site]]
            mine = rows.address[:, 1] == place.step
            if not mine.any():
                continue
            block = joined_visits(selection_of(rows.vectors[mine], rows.address[mine]))
            collectors[place].add(block)
            if see is not None:
                see(place, block)
    return {place: collector.freeze() for place, collector in collectors.items()}


@dataclass(frozen=True, slots=True)
class Budget:
    """How many rows fit in memory, and how many places at once."""

    n_rows: int
    """Most rows of one place; where there are more, a sample of whole groups is taken."""
    n_places: int
    """Places of one pass over the store."""

    @classmethod
    def of(cls, memory_mib: int, width: int, n_problems: int, n_columns: int) -> Budget:
        """Half of the memory for the place that is fitted, its copies included; the other half for those that wait.

        Args:
            memory_mib: what the plan allows.
            width: numbers in a row, the widest of all places.
            n_problems: rows that a place has at most.
            n_columns: fits that run side by side on one place; their logits are as large as vectors.
        """
        half = memory_mib * MIB // 2
        n_rows = max(64, half // (NUMBER_BYTES * (COPIES * width + 4 * n_columns)))
        waiting = NUMBER_BYTES * width * min(n_rows, n_problems)
        return cls(n_rows, max(1, half // max(waiting, 1)))


def sampled(groups: Sequence[str], most: int, *, seed: int, among: Bools | None = None) -> Bools:
    """Which problems are kept, [n]: all where they fit, else whole groups in the order of their hash.

    Problems that are not `among` those that may be kept take no room. A group that would fill all of it alone is
    left out: it could lie on one side of the split only.
    """
    kept = np.ones(len(groups), dtype=np.bool_) if among is None else among.copy()
    if int(kept.sum()) <= most:
        return kept
    sizes = Counter(group for group, here in zip(groups, kept, strict=True) if here)
    order = dict.fromkeys(groups[row] for row in hash_order(groups, purpose="sample", seed=seed))
    small = [group for group in order if 0 < sizes[group] < most]
    ends = np.cumsum([sizes[group] for group in small])
    chosen = set(small[: int(np.searchsorted(ends, most, side="right"))])
    return kept & np.array([group in chosen for group in groups], dtype=np.bool_)
