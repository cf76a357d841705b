"""Decodable bits of captured thoughts: step by step, and of the whole chain of values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probes import group_bootstrap
from probes.information import Decodable, decodable_bits
from workbench.bits.known import FIT, Known, Sides, Thoughts, known_values
from workbench.bits.neighbours import entropy_of, told_by
from workbench.reasoners.recipe import Speaking
from workbench.reports.bandwidth_records import ChainRecord, DecodableRecord, Labels
from workbench.reports.fields import Interval
from workbench.store import RunStore

FEWEST_ROWS = 20


@dataclass(frozen=True, slots=True)
class StepBits:
    """What can be read of one step's values, beside the values themselves."""

    read: Decodable
    values: tuple[Known, ...]
    """Of each held-out row."""
    before: tuple[Known | None, ...]
    """Values of the step before; None where they are not known."""
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
    read = decodable_bits(vectors, labels, groups, held, seed=seed)
    values = tuple(label for label, mine in zip(labels, held, strict=True) if mine)
    before = tuple(known[example].get(step - 1) for example in examples[held].tolist())
    return StepBits(read, values, before, examples[held], is_set)


def _of_one_kind(values: Sequence[Known]) -> tuple[list[Known], bool]:
    """Values as they are, or all as sets where one of them is a set."""
    if not any(isinstance(value, tuple) for value in values):
        return list(values), False
    return [value if isinstance(value, tuple) else (value,) for value in values], True


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
        """Bits that the value before tells of this one, over problems that know both; None where none does."""
        found = self.steps.get(step)
        pairs = [] if found is None else [
            (one, two) for one, two in zip(found.before, found.values, strict=True) if one is not None
        ]  # fmt: skip
        if not pairs:
            return None
        return max(0.0, float(told_by([one for one, _ in pairs], [two for _, two in pairs]).mean()))


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

    What is taken off is counted from the values (`told_by`) and never read by a probe: a probe reads too little of it,
    and what is left would be too much. A step adds nothing where the value before tells as much as its thought. The sum
    ends at the entropy of the chain, each value given the one before; dependences that reach further back are counted
    twice. None where no problem has every step.
    """
    if not steps:
        return None
    shared = sorted(set.intersection(*(set(step.examples.tolist()) for step in steps)))
    if not shared:
        return None
    total = _Sum(np.zeros(len(shared)))
    before: list[Known] = []
    for step in steps:
        rows = np.searchsorted(step.examples, shared)
        values = [step.values[row] for row in rows.tolist()]
        told = step.read.pointwise[rows] if step.read.bits > 0 else np.zeros(len(rows))
        again = told_by(before, values) if before else np.zeros(len(rows))
        if told.mean() > again.mean():
            total.told += told - again
        total.off += min(max(0.0, float(told.mean())), float(again.mean()))
        total.shuffled += step.read.shuffled
        total.entropy += entropy_of(values) - float(again.mean())
        before = values
    return _chain_record(total, [sides.groups[example] for example in shared], seed)


def _chain_record(total: _Sum, groups: Sequence[str], seed: int) -> ChainRecord:
    mean, entropy = float(total.told.mean()), max(0.0, total.entropy)
    found = group_bootstrap(total.told, groups, seed=seed, bounds=(min(0.0, mean), max(entropy, mean)))
    bits = min(max(0.0, mean), entropy)
    return ChainRecord(
        bits=bits, interval=Interval(low=max(0.0, min(found.low, bits)), high=max(0.0, found.high)),
        told_before=max(0.0, total.off), shuffled=total.shuffled, entropy=entropy, n=len(groups),
        n_groups=len(set(groups)),
    )  # fmt: skip
