"""What is known of one step: labelled thoughts to learn from, and the probe that was learned, beside its controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from probes import FrozenProbe, Interval
from workbench.readings import AnyReading, Reading, SetReading
from workbench.store import RunStore, joined_visits
from workbench.tasks.base import Value, plain_prompt

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

READABLE_P = 0.01


@dataclass(frozen=True, slots=True)
class LabelledStep:
    """Vectors of one site and step of trusted problems, with what they are known to hold."""

    site: str
    step: int
    thoughts: Float[np.ndarray, "row d_model"]
    before: Float[np.ndarray, "row d_model"] | None
    """Vectors of the step before, same rows."""
    labels: tuple[str, ...] | tuple[tuple[str, ...], ...]
    """What each row holds: a value, or in all rows a set of values."""
    groups: tuple[str, ...]
    prompts: tuple[str, ...]
    held_out: Bools
    """Rows the probe must not see."""

    @property
    def holds_sets(self) -> bool:
        """Whether a thought of this step may hold several values at once."""
        return any(isinstance(label, tuple) for label in self.labels)


@runtime_checkable
class InDistribution(Protocol):
    """Test whether thoughts lie where the probe has seen thoughts."""

    def p_value(self, X: Floats) -> Floats:
        """Small where the thought holds what the probe was shown, [row]."""


@dataclass(frozen=True, slots=True)
class StepFit:
    """A probe of one step and how it did on held-out honest problems, beside its controls."""

    site: str
    step: int
    probe: FrozenProbe
    unseen: InDistribution
    right: Bools
    """Whether each held-out row was read right."""
    groups: tuple[str, ...]
    """Groups of the held-out rows."""
    n_shuffles: int
    accuracy: float
    interval: Interval
    shuffled: float
    selectivity_p: float
    majority: float
    input_only: float
    previous_step: float | None
    logit_lens: float | None
    luck: float
    """Share of the commonest value among those learned from: who always says it agrees as often by luck."""

    def read(self, thoughts: Float[np.ndarray, "row d_model"]) -> list[AnyReading]:
        """What each of these thoughts reads as; they must be finite."""
        if self.probe.reads_sets:
            return [SetReading(self.step, self.probe.classes, row) for row in self.probe.log_odds(thoughts)]
        return [Reading(self.step, self.probe.classes, row) for row in self.probe.log_proba(thoughts)]

    @property
    def n(self) -> int:
        """Held-out rows."""
        return len(self.right)

    @property
    def readable(self) -> bool:
        """Whether the probe beats its controls: shuffled labels, the commonest value, and the prompt alone."""
        above_chance = self.selectivity_p <= READABLE_P and self.interval.low > max(self.shuffled, self.majority)
        return above_chance and self.interval.high >= self.input_only


def label_steps(
    store: RunStore,
    labels: Sequence[Mapping[int, Value]],
    examples: Sequence[int],
    held_out: Bools,
    groups: Sequence[str],
    *,
    site: str = "thought",
) -> list[LabelledStep]:
    """Steps that have labels, with the site's vectors from the store; rows that are not finite are left out.

    Args:
        labels: step -> known value or set of values, one mapping per example.
        examples: rows of the store's problems, in the order of `labels`, `held_out` and `groups`.
    """
    place = {example: k for k, example in enumerate(examples)}
    every = joined_visits(store.select(site, examples=np.array(examples)))
    rows: dict[int, dict[int, Float[np.ndarray, " d_model"]]] = {}
    for k, (step, example) in enumerate(zip(every.step.tolist(), every.example.tolist(), strict=True)):
        rows.setdefault(step, {})[example] = every.vectors[k]
    steps = []
    for step in sorted({step for known in labels for step in known}):
        mine = [
            i
            for i in examples
            if step in labels[place[i]] and i in rows.get(step, {}) and np.isfinite(rows[step][i]).all()
        ]
        if not mine:
            continue
        order = [place[i] for i in mine]
        steps.append(
            LabelledStep(
                site=site,
                step=step,
                thoughts=np.stack([rows[step][i] for i in mine]),
                before=np.stack([np.nan_to_num(rows[step - 1][i]) for i in mine]) if step else None,
                labels=_alike([labels[k][step] for k in order]),
                groups=tuple(groups[k] for k in order),
                prompts=tuple(plain_prompt(store.problems[i]["problem"]) for i in mine),
                held_out=held_out[order],
            )
        )
    return steps


def _alike(labels: Sequence[Value]) -> tuple[str, ...] | tuple[tuple[str, ...], ...]:
    """Where one row holds a set, a single value is a set of one."""
    if any(isinstance(label, tuple) for label in labels):
        return tuple(label if isinstance(label, tuple) else (str(label),) for label in labels)
    return tuple(map(str, labels))
