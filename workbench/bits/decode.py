"""Decodable bits of captured thoughts: step by step, and of the whole chain of values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from probes import group_bootstrap
from probes.information import Decodable, decodable_bits
from workbench.bits.known import FIT, Known, Sides, Thoughts, known_values
from workbench.reasoners.recipe import Speaking
from workbench.reports.bandwidth_records import ChainRecord, DecodableRecord, Labels
from workbench.reports.fields import Interval
from workbench.store import RunStore

FEWEST_ROWS = 20


@dataclass(frozen=True, slots=True)
class StepBits:
    """What can be read of one step's values, and what the values before tell of them."""

    read: Decodable
    before: Decodable | None
    examples: NDArray[np.intp]
    """The problem of each held-out row."""
    is_set: bool

    def record(self) -> DecodableRecord:
        """As the file has it."""
        read = self.read
        return DecodableRecord(
            bits=min(read.bits, read.entropy), interval=Interval(low=read.interval.low, high=read.interval.high),
            entropy=read.entropy, shuffled=read.shuffled, n=read.n, n_groups=read.n_groups, n_labels=read.n_labels,
            is_set=self.is_set,
        )  # fmt: skip


def step_bits(
    thoughts: Thoughts, known: Sequence[Mapping[int, Known]], sides: Sides, step: int, *, seed: int
) -> StepBits | None:
    """Bits of the values of one step; None where too few are known on either side, or all are the same."""
    vectors, examples = thoughts.of_step(step)
    labelled = np.array([step in known[example] for example in examples.tolist()], dtype=np.bool_)
    vectors, examples = vectors[labelled], examples[labelled]
    labels, is_set = _of_one_kind([known[example][step] for example in examples.tolist()])
    held = np.array([sides.role[example] != FIT for example in examples.tolist()], dtype=np.bool_)
    if min(held.sum(), (~held).sum()) < FEWEST_ROWS or len(set(labels)) < 2:
        return None
    groups = [sides.groups[example] for example in examples.tolist()]
    earlier = _as_numbers([known[example].get(step - 1) for example in examples.tolist()])
    read = decodable_bits(vectors, labels, groups, held, seed=seed)
    before = None if earlier is None else decodable_bits(earlier, labels, groups, held, n_shuffles=0, seed=seed)
    return StepBits(read, before, examples[held], is_set)


def _of_one_kind(values: Sequence[Known]) -> tuple[list[Known], bool]:
    """Values as they are, or all as sets where one of them is a set."""
    if not any(isinstance(value, tuple) for value in values):
        return list(values), False
    return [value if isinstance(value, tuple) else (value,) for value in values], True


def _as_numbers(values: Sequence[Known | None]) -> Float[np.ndarray, "row value"] | None:
    """One column per value that occurs; None where none does."""
    sets = [() if value is None else value if isinstance(value, tuple) else (value,) for value in values]
    members = sorted({member for one in sets for member in one})
    return np.array([[float(member in one) for member in members] for one in sets]) if members else None


@dataclass(frozen=True, slots=True)
class Decoded:
    """What can be read of every step."""

    steps: Mapping[int, StepBits]
    """Steps of which enough is known."""
    chain: ChainRecord | None
    labels: Labels
    known: Sequence[Mapping[int, Known]]
    """Step -> value, of each problem."""

    def record(self, step: int) -> DecodableRecord | None:
        """Of one step, where enough is known."""
        return self.steps[step].record() if step in self.steps else None

    def told_before(self, step: int) -> float | None:
        """Bits that the value before tells of this one."""
        before = self.steps[step].before if step in self.steps else None
        return None if before is None else before.bits


def decode(
    store: RunStore,
    speaking: Speaking,
    thoughts: Thoughts,
    sides: Sides,
    *,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, planned: None,
) -> Decoded:
    """Read the known values of every step from its thoughts; `progress` is called with (steps done, steps planned)."""
    known, labels = known_values(store, speaking)
    steps: dict[int, StepBits] = {}
    for done, step in enumerate(thoughts.steps, start=1):
        found = step_bits(thoughts, known, sides, step, seed=seed)
        if found is not None:
            steps[step] = found
        progress(done, len(thoughts.steps))
    return Decoded(steps, chain_bits(list(steps.values()), sides, seed=seed), labels, known)


@dataclass(slots=True)
class _Sum:
    told: NDArray[np.float64]
    off: float = 0.0
    shuffled: float = 0.0
    entropy: float = 0.0


def chain_bits(steps: Sequence[StepBits], sides: Sides, *, seed: int) -> ChainRecord | None:
    """Bits of all steps together over problems that have all of them, less what each value tells of the next.

    What is taken off is what a linear probe reads of a value from the value before: dependences that reach further
    back are counted twice. None where no problem has every step.
    """
    if not steps:
        return None
    shared = sorted(set.intersection(*(set(step.examples.tolist()) for step in steps)))
    if not shared:
        return None
    total = _Sum(np.zeros(len(shared)))
    for step in steps:
        rows = np.searchsorted(step.examples, shared)
        total.told += step.read.pointwise[rows] if step.read.bits > 0 else 0.0
        total.shuffled += step.read.shuffled
        total.entropy += step.read.entropy
        if step.before is not None and step.before.bits > 0:
            total.told -= step.before.pointwise[rows]
            total.off += step.before.bits
    groups = [sides.groups[example] for example in shared]
    mean = float(total.told.mean())
    found = group_bootstrap(total.told, groups, seed=seed, bounds=(min(0.0, mean), max(total.entropy, mean)))
    return ChainRecord(
        bits=max(0.0, mean), interval=Interval(low=max(0.0, found.low), high=max(0.0, found.high)),
        told_before=total.off, shuffled=total.shuffled, entropy=total.entropy, n=len(shared),
        n_groups=len(set(groups)),
    )  # fmt: skip
