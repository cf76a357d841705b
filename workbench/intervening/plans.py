"""Which edits are tried: of one step's thought, and of all thoughts, keys and values at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import get_args
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from probes.frozen import FrozenProbe
from probes.subspaces import class_subspace, random_subspace
from workbench import edits
from workbench.edits import Edit
from workbench.intervening.bench import Bench, ByVisit, Follows
from workbench.intervening.filler import Filler
from workbench.reports.causal_records import EditName, Target
from workbench.tasks.base import Value

PART_DOSES = (0.25, 0.5, 0.75, 1.5)
"""Beside 0, the intact run, and 1, the exchange."""
SAME_AS_THOUGHTS = "a filler token brings keys and values of its own: they stand there once it replaces the thought"


@dataclass(frozen=True, slots=True)
class Trial:
    """One run under edits."""

    change: Callable[[], Mapping[str, Edit]]
    """Makes site -> edit when it is tried: vectors of all layers are not held for all edits at once."""
    follows: Follows | None = None


@dataclass(frozen=True, slots=True)
class StepPlan:
    """All that is tried on the thought of one step."""

    step: int
    follows: Follows | None
    trials: Mapping[str, Trial]
    """Exchange, placebo, zero, shuffle; inside, inside-placebo, outside where the step has a subspace."""
    doses: Mapping[float, Trial]
    subspace: int | str
    """Rank of the subspace, or why there is none."""

    @property
    def n_runs(self) -> int:
        """Runs that it takes."""
        return len(self.trials) + len(self.doses)


def plan_step(bench: Bench, step: int, probe: FrozenProbe | None) -> StepPlan:
    """Edit one thought and leave the others to follow."""
    donors = bench.differing([_shown(known.get(step)) for known in bench.honest.values])
    follows = bench.says_value_of(step, donors)
    other = bench.donated("thought", donors, [step])
    shuffled = bench.donated("thought", bench.any_other(), [step])

    def trial(edit: Edit) -> Trial:
        return Trial(lambda: {"thought": edit}, follows)

    trials = {
        "exchange": trial(edits.replace(other)),
        "placebo": trial(edits.move_as_far(other, bench.directions)),
        "zero": Trial(lambda: {"thought": edits.only_steps(edits.zero(), [step])}),
        "shuffle": Trial(lambda: {"thought": edits.replace(shuffled)}),
    }
    basis = subspace_of(probe, other)
    if not isinstance(basis, str):
        rank, size = basis.shape
        trials |= {
            "inside": trial(edits.within(other, basis)),
            "inside-placebo": Trial(
                lambda: {"thought": edits.within_as_far(other, basis, _random_subspaces(bench, step, rank, size))},
                follows,
            ),
            "outside": trial(edits.outside(other, basis)),
        }
    doses = {amount: trial(edits.toward(other, amount)) for amount in PART_DOSES}
    return StepPlan(step, follows, trials, doses, basis if isinstance(basis, str) else len(basis))


def _random_subspaces(bench: Bench, step: int, rank: int, size: int) -> Tensor:
    """One a problem, [problem, rank, size]: the luck of one draw would be shared by all."""
    seeds = np.random.SeedSequence((bench.seed, step)).generate_state(len(bench.honest.problems))
    drawn = [random_subspace(rank, size, seed=int(seed)) for seed in seeds]
    return torch.as_tensor(np.stack(drawn), dtype=torch.float32)


def _shown(value: Value) -> str:
    return ", ".join(sorted(value)) if isinstance(value, tuple) else value or ""


def subspace_of(probe: FrozenProbe | None, thoughts: ByVisit) -> Tensor | str:
    """Orthonormal basis in which the probe tells values apart, [rank, d]; or why nothing can be exchanged in it.

    Weights of a `FrozenProbe` are on raw vectors, so no scaling is undone.
    """
    if probe is None:
        return "this step has no probe"
    if len(thoughts) != 1:
        return f"this step has {len(thoughts)} thoughts, and its probe reads them as one"
    size = next(iter(thoughts.values()))[0].numel()
    if probe.coef.shape[1] != size:
        return f"the probe of this step reads {probe.coef.shape[1]} numbers, its thought has {size}"
    basis = class_subspace(probe.coef, exclusive=not probe.reads_sets)
    if len(basis) == size:
        return f"the probe reads all {size} dimensions of the thought: there is no other subspace to compare with"
    return torch.as_tensor(basis.copy())


@dataclass(frozen=True, slots=True)
class WholePlan:
    """All that is tried on all steps at once."""

    trials: Mapping[tuple[EditName, Target], Trial | str]
    """An edit, or why there is none."""

    @property
    def n_runs(self) -> int:
        """Runs that it takes."""
        return sum(isinstance(trial, Trial) for trial in self.trials.values())


def plan_whole(bench: Bench, filler: Filler | str) -> WholePlan:
    """Edit every thought, everything cached at their positions, and both."""
    donors = bench.differing(bench.answers)
    others = bench.any_other()
    follows = bench.answers_as(donors)
    made: dict[EditName, Callable[[str], Edit]] = {
        "zero": lambda site: edits.zero(),
        "mean": lambda site: edits.replace(_each(bench.vectors(site), edits.mean_of_others)),
        "noise": lambda site: edits.noise(_directions(bench, site)),
        "shuffle": lambda site: edits.replace(bench.donated(site, others)),
        "exchange": lambda site: edits.replace(bench.donated(site, donors)),
        "placebo": lambda site: edits.move_as_far(bench.donated(site, donors), _placebo_directions(bench, site)),
    }
    sites: dict[Target, list[str]] = {
        "thoughts": ["thought"],
        "keys-values": bench.channel,
        "both": ["thought", *bench.channel],
    }
    trials: dict[tuple[EditName, Target], Trial | str] = {}
    for name in get_args(EditName):
        for target, chosen in sites.items():
            if target != "thoughts" and not bench.channel and bench.gap is not None:
                trials[name, target] = bench.gap
            elif name == "pause":
                trials[name, target] = _pause(bench, filler, target)
            else:
                change = partial(_on, chosen, made[name])
                trials[name, target] = Trial(change, follows if name in ("exchange", "placebo") else None)
    return WholePlan(trials)


def _on(sites: Sequence[str], make: Callable[[str], Edit]) -> dict[str, Edit]:
    return {site: make(site) for site in sites}


def _pause(bench: Bench, filler: Filler | str, target: Target) -> Trial | str:
    if isinstance(filler, str):
        return filler
    if target != "thoughts":
        return SAME_AS_THOUGHTS
    put = edits.replace(_each(bench.vectors("thought"), filler.vector.expand_as))
    return Trial(lambda: {"thought": put})


def _each(vectors: ByVisit, change: Callable[[Tensor], Tensor]) -> ByVisit:
    return {key: change(kept) for key, kept in vectors.items()}


def _directions(bench: Bench, site: str) -> ByVisit:
    """Directions of their own for every site, step and visit."""
    return {key: edits.unit_directions(kept, _seed(bench, site, *key)) for key, kept in bench.vectors(site).items()}


def _placebo_directions(bench: Bench, site: str) -> Tensor:
    """One direction a problem, the same at all steps; of thoughts those that each step's placebo takes."""
    if site == "thought":
        return bench.directions
    return edits.unit_directions(next(iter(bench.vectors(site).values())), _seed(bench, site))


def _seed(bench: Bench, site: str, *key: int) -> int:
    return int(np.random.SeedSequence((bench.seed, crc32(site.encode()), *key)).generate_state(1)[0])
