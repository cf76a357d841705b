"""What a captured run knows of its problems: values by step, thoughts by step, and who is learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from probes import merge_duplicate_groups, split_groups
from probes.errors import ProbeDataError
from workbench.claims import parse_said
from workbench.errors import InsufficientData
from workbench.reasoners.recipe import Speaking
from workbench.reports.bandwidth_records import Labels
from workbench.store import RunStore
from workbench.tasks.base import plain_prompt

FEWEST_PROBLEMS = 40
FIT, SEARCH, CONFIRM = "fit", "search", "confirm"
Known = str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sides:
    """Problems by what they are for; whole groups, and equal prompts together."""

    groups: tuple[str, ...]
    role: tuple[str, ...]
    """Of each problem: codes and probes are fitted, codes are searched for, or the code found is measured."""

    def places(self, role: str) -> list[int]:
        """Problems of this role."""
        return [place for place, mine in enumerate(self.role) if mine == role]


def split_problems(problems: Sequence[Mapping[str, Any]], *, seed: int) -> Sides:
    """Half to fit, a quarter to search, a quarter to confirm.

    Raises:
        InsufficientData: fewer problems or groups than that takes.
    """
    if len(problems) < FEWEST_PROBLEMS:
        raise InsufficientData(
            "too few problems to measure bits on", field="problems", expected=f"at least {FEWEST_PROBLEMS}",
            found=f"n={len(problems)}",
        )  # fmt: skip
    groups = merge_duplicate_groups([p["group"] for p in problems], [plain_prompt(p) for p in problems])
    try:
        measured = np.flatnonzero(split_groups(groups, len(groups) // 2, seed=seed))
        inner = split_groups([groups[place] for place in measured], len(measured) // 2, seed=seed + 1)
    except ProbeDataError as error:
        raise InsufficientData(f"the problems cannot be split: {error}", field="group") from error
    roles = np.full(len(groups), FIT, dtype="<U8")
    roles[measured[inner]], roles[measured[~inner]] = SEARCH, CONFIRM
    return Sides(tuple(groups), tuple(roles.tolist()))


def known_values(store: RunStore, speaking: Speaking) -> tuple[list[dict[int, Known]], Labels]:
    """Step -> value of each problem: as given, or what is said of it where nothing is given."""
    known: list[dict[int, Known]] = []
    kinds: set[Labels] = set()
    for record in store.problems:
        problem, n_steps = record["problem"], int(record["n_steps"])
        given = "thoughts" in problem
        values = problem["thoughts"] if given else parse_said(record["said"], speaking).claims
        mine = {
            step: tuple(value) if isinstance(value, list) else value
            for step, value in enumerate(values[:n_steps])
            if value is not None
        }
        known.append(mine)
        if mine:
            kinds.add("thoughts" if given else "said")
    return known, "mixed" if len(kinds) == 2 else next(iter(kinds), "none")


def name_of(value: Known) -> str:
    """One name for a value, or for a set of values."""
    return value if isinstance(value, str) else " + ".join(sorted(value))


@dataclass(frozen=True, slots=True)
class Thoughts:
    """Thoughts of captured problems."""

    vectors: Mapping[tuple[int, int], Float[np.ndarray, "row number"]]
    """(step, visit) -> vectors; what is not finite is left out."""
    examples: Mapping[tuple[int, int], NDArray[np.intp]]
    """(step, visit) -> the problem of each row."""

    @property
    def steps(self) -> list[int]:
        """Steps that have thoughts."""
        return sorted({step for step, _ in self.vectors})

    def numbers(self, step: int) -> int:
        """Numbers that a problem's thought of this step is made of, all visits together."""
        return sum(rows.shape[1] for (other, _), rows in self.vectors.items() if other == step)

    def of_step(self, step: int) -> tuple[Float[np.ndarray, "row number"], NDArray[np.intp]]:
        """Vectors of all visits side by side, and their problems; only problems that have every visit."""
        visits = sorted(place for place in self.vectors if place[0] == step)
        shared = sorted(set.intersection(*(set(self.examples[place].tolist()) for place in visits)))
        columns = [
            self.vectors[place][np.searchsorted(self.examples[place], shared)] for place in visits
        ]  # rows are in the order of their problems
        return np.concatenate(columns, axis=1), np.array(shared, dtype=np.intp)


def read_thoughts(store: RunStore) -> Thoughts:
    """All thoughts of a run, visit by visit."""
    rows = store.select("thought")
    finite = np.isfinite(rows.vectors).all(axis=1)
    vectors, examples = {}, {}
    for step, visit in sorted(set(zip(rows.step.tolist(), rows.visit.tolist(), strict=True))):
        mine = (rows.step == step) & (rows.visit == visit) & finite
        vectors[step, visit] = np.asarray(rows.vectors[mine], dtype=np.float64)
        examples[step, visit] = rows.example[mine].astype(np.intp)
    return Thoughts(vectors, examples)
