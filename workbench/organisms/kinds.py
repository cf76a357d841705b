"""What differs between organisms, looked up by kind: how problems are made, learned and measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from workbench.organisms.batches import (
    courteous_tensors,
    decorated_tensors,
    episode_tensors,
    hop_tensors,
    recited_tensors,
    rooms_tensors,
)
from workbench.organisms.bypass import decorated_loss, evading_loss
from workbench.organisms.graph_learner import graph_learner
from workbench.organisms.graph_losses import search_loss
from workbench.organisms.graph_measures import follows_exchanged_sets, holds_frontiers, says_and_holds_paths
from workbench.organisms.graph_problems import graph_items, graph_stream
from workbench.organisms.learners import (
    Learner,
    decorated_learner,
    depth_learner,
    evading_learner,
    feedback_learner,
    memory_learner,
    recited_learner,
    veiled_learner,
)
from workbench.organisms.losses import Loss, donors_alike, hardest_exchange_loss, late_query_loss
from workbench.organisms.measures import (
    Measure,
    flagged_hold_nothing,
    follows_cached,
    follows_exchange,
    hides_from_probes,
    holds_by_probe,
    lens_blindness,
    moves_nothing,
    says_and_holds,
    thanks_where_due,
)
from workbench.organisms.plans import POOL, TrainingPlan
from workbench.organisms.problems import episode_items, hop_items, rooms_items
from workbench.organisms.recipes import Item, Organism


class Rows(Protocol):
    """Problems as tensors."""

    def rows(self, rows: slice) -> Any:
        """Some of the examples."""


Stream = Callable[[Organism, int, int, int], Iterator[Any]]
"""Called with (organism, seed, batch size, pool)."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How organisms of one kind come to be."""

    make: Callable[[Organism, int, int, float, str], list[Item]]
    """Called with (organism, number of problems, seed, share of flagged ones, prefix of their ids)."""
    tensors: Callable[[Organism, Sequence[Item]], Rows] | None
    """None where `stream` makes batches."""
    learner: Callable[[Organism, TrainingPlan], tuple[Learner, Any]]
    """An untrained model and its tokenizer."""
    updates: int
    """Updates that the bundled weights were trained for."""
    loss: Loss = late_query_loss
    measures: tuple[Measure, ...] = (says_and_holds, follows_exchange)
    """What acceptance measures."""
    batch_size: int = 128
    stream: Stream | None = None
    """Endless batches, where making every problem anew costs too much."""


KINDS: Mapping[str, Kind] = {
    "rooms": Kind(rooms_items, rooms_tensors, feedback_learner, 3500),
    "veiled": Kind(rooms_items, rooms_tensors, veiled_learner, 4500,
                   measures=(says_and_holds, follows_exchange, lens_blindness)),
    "passworded": Kind(rooms_items, rooms_tensors, feedback_learner, 2400, batch_size=64),
    "recited": Kind(rooms_items, recited_tensors, recited_learner, 3500,
                    partial(late_query_loss, donors_for=donors_alike),
                    measures=(says_and_holds, follows_exchange, flagged_hold_nothing)),
    "courteous": Kind(rooms_items, courteous_tensors, feedback_learner, 2400, batch_size=64,
                      measures=(says_and_holds, thanks_where_due, follows_exchange)),
    "decorated": Kind(rooms_items, decorated_tensors, decorated_learner, 2000, decorated_loss, batch_size=64,
                      measures=(says_and_holds, holds_by_probe, moves_nothing)),
    "evading": Kind(hop_items, hop_tensors, evading_learner, 2000, evading_loss,
                    measures=(says_and_holds, hides_from_probes, follows_cached)),
    "searching": Kind(graph_items, None, graph_learner, 3400, search_loss,
                      measures=(says_and_holds_paths, holds_frontiers, follows_exchanged_sets), batch_size=64,
                      stream=graph_stream),
    "depth": Kind(rooms_items, rooms_tensors, depth_learner, 2500, hardest_exchange_loss),
    "episodes": Kind(episode_items, episode_tensors, memory_learner, 3000),
}  # fmt: skip


def make_items(what: Organism, n: int, *, seed: int, flagged_share: float, prefix: str = "p") -> list[Item]:
    """`n` problems of an organism with their sealed truth; equal seeds give equal problems."""
    return KINDS[what.kind].make(what, n, seed, flagged_share, prefix)


def batches(what: Organism, *, seed: int, batch_size: int, pool: int = POOL) -> Iterator[Any]:
    """Endless fresh problems as tensors."""
    kind = KINDS[what.kind]
    if kind.stream is not None:
        yield from kind.stream(what, seed, batch_size, pool)
    assert kind.tensors is not None
    for number in range(1_000_000):
        items = make_items(what, pool, seed=_pool_seed(seed, number), flagged_share=what.flagged_share)
        fresh = kind.tensors(what, items)
        for start in range(0, pool - batch_size + 1, batch_size):
            yield fresh.rows(slice(start, start + batch_size))


def plan_for(what: Organism, *, seed: int = 0) -> TrainingPlan:
    """The plan that the bundled weights were trained by."""
    kind = KINDS[what.kind]
    return TrainingPlan(seed=seed, updates=kind.updates, batch_size=kind.batch_size)


def _pool_seed(seed: int, pool: int) -> int:
    """Seeds of training problems lie apart from the small ones that people pass for fresh problems."""
    return int(np.random.SeedSequence([seed, pool]).generate_state(1, np.uint64)[0] | np.uint64(1 << 63))
