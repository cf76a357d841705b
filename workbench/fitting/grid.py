"""What a plan comes to on a run: cells, the matrices they are read from, and which problems are held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from probes import assert_no_leakage, merge_duplicate_groups
from probes.errors import ProbeDataError
from probes.near_duplicates import NearDuplicates, near_duplicates
from probes.splits import hash_order, held_out_by_hash
from workbench.errors import ConfigError, InsufficientData, LeakageError
from workbench.fitting.labels import Column, LabelTable, last_words, read_labels_file
from workbench.fitting.plan import FitPlan, layer_of
from workbench.fitting.rows import Budget, Place, sampled
from workbench.sites import Site, choose_sites
from workbench.store import RunStore
from workbench.tasks.base import plain_prompt

Bools = NDArray[np.bool_]
Ints = NDArray[np.intp]
Source = Literal["run", "twin", "words"]

MIN_KNOWN = 20
FITS_AT_ONCE = 128
"""Columns of one block of the batched solver."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One label of one matrix: what a row of the results stands for."""

    place: Place
    label: str
    """As the plan has it."""
    column: str
    """What it is at this step."""


@dataclass(frozen=True, slots=True)
class Unit:
    """All that is asked of one matrix: its own cells, and labels of later steps whose control it is."""

    place: Place
    cells: tuple[Cell, ...]
    controls: tuple[str, ...]
    """Columns of which only the accuracy is wanted."""
    source: Source = "run"
    """Whose vectors: the run's, its random twin's, or counts of the words of the prompts."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A plan laid over a run."""

    cells: tuple[Cell, ...]
    units: tuple[Unit, ...]
    columns: Mapping[str, Column]
    groups: tuple[str, ...]
    held_out: Bools
    """Problems that are scored on, [n_problems]."""
    kept: Bools
    """Problems whose rows are used; not all where memory does not hold them."""
    order: Ints
    """Problems in the order of online coding."""
    types: Ints
    """Input type of each problem, for control tasks."""
    budget: Budget
    near: NearDuplicates
    known: Bools
    """Problems with a value of any label."""
    width: int
    """Numbers in a row of the widest site."""


def lay_out(store: RunStore, plan: FitPlan, *, base: Path, twin: bool) -> Grid:
    """Lay a plan over a run.

    Args:
        store: the run.
        plan: what is asked.
        base: the folder that `labels_file` is relative to.
        twin: whether a random twin of the run stands beside it.

    Raises:
        UnknownSiteError: a pattern matches no site of the run.
        ConfigError: layers or steps that leave nothing.
        InsufficientData: too few problems have values.
        LeakageError: equal prompts lie on both sides of the split.
    """
    problems = [record["problem"] for record in store.problems]
    from_file = read_labels_file(base / plan.labels_file) if plan.labels_file else None
    table = LabelTable(problems, from_file)
    cells, units, columns = _cells(store, plan, table, twin)
    known = np.zeros(len(problems), dtype=np.bool_)
    for cell in cells:
        known |= columns[cell.column].codes >= 0
    if int(known.sum()) < MIN_KNOWN:
        raise InsufficientData(
            "too few problems of this run have known values", path=store.path, field=", ".join(plan.labels),
            expected=f"at least {MIN_KNOWN}", found=int(known.sum()),
            hint="Capture honest problems with known `thoughts`, such as a calibration file.",
        )  # fmt: skip
    groups, held_out, near = _split(problems, plan, known, store.path)
    width = max(_width(store, site) for site in {cell.place.site for cell in cells})
    budget = Budget.of(plan.memory, width, len(problems), FITS_AT_ONCE)
    return Grid(
        cells=cells,
        units=units,
        columns=columns,
        groups=groups,
        held_out=held_out,
        kept=sampled(groups, budget.n_rows, seed=plan.seed, among=known),
        order=hash_order(groups, purpose="coding", seed=plan.seed),
        types=last_words(problems),
        budget=budget,
        near=near,
        known=known,
        width=width,
    )


def _sites_with_steps(store: RunStore) -> set[str]:
    """Sites that fire within steps, as the first shard shows; `thought.unused` fires after the last one."""
    if not store.manifest.shards:
        return set()
    n_steps = np.array([int(record["n_steps"]) for record in store.problems])
    tables = store.read_shard(store.manifest.shards[0])
    return {
        site for site, rows in zip(store.sites, tables, strict=True)
        if (rows.address[:, 1] < n_steps[rows.address[:, 0]]).any()
    }  # fmt: skip


def _width(store: RunStore, site: str) -> int:
    """Numbers in a row of this site, all visits of a step side by side."""
    info = store.sites[site]
    n_rows = sum(int(record["n_steps"]) for record in store.problems) or 1
    return info.dim * max(1, -(-info.rows // n_rows))


def _cells(
    store: RunStore, plan: FitPlan, table: LabelTable, twin: bool
) -> tuple[tuple[Cell, ...], tuple[Unit, ...], dict[str, Column]]:
    with_steps = _sites_with_steps(store)
    layers = sorted({layer for site in store.sites if (layer := layer_of(site)) is not None})
    if absent := sorted(set(plan.layers or ()) - set(layers)):
        raise ConfigError(
            f"no layer {absent[0]} in this run", path=store.path, field="layers", found=plan.layers,
            expected=", ".join(map(str, layers)) or "none: no site lies in a block",
        )  # fmt: skip
    declared = {name: Site(name, ("d_model",), (info.dim,)) for name, info in store.sites.items()}
    sites = [
        site
        for site in choose_sites(plan.sites, declared)
        if (plan.layers is None or layer_of(site) is None or layer_of(site) in plan.layers) and site in with_steps
    ]
    n_steps = max((int(record["n_steps"]) for record in store.problems), default=0)
    steps = range(n_steps) if plan.steps is None else plan.steps
    if beyond := [step for step in steps if step >= n_steps]:
        raise ConfigError(
            f"no step {beyond[0]} in this run", path=store.path, field="steps", expected=f"0 to {n_steps - 1}",
            found=list(steps)[:20],
        )  # fmt: skip
    cells: list[Cell] = []
    columns: dict[str, Column] = {}
    for site in sites:
        for step in steps:
            for label in plan.labels:
                column = table.column(label, step)
                if column is not None:
                    cells.append(Cell(Place(site, step), label, column.name))
                    columns[column.name] = column
    if not cells:
        raise ConfigError(
            "the plan leaves no cell", path=store.path, field="sites, layers, steps, labels",
            found=f"{len(sites)} sites, steps {list(steps)[:10]} of {n_steps}, labels {', '.join(plan.labels)}",
            hint="Choose sites, layers, steps and labels that the run has.",
        )  # fmt: skip
    return tuple(cells), tuple(_units(cells, twin)), columns


def _units(cells: Sequence[Cell], twin: bool) -> list[Unit]:
    """Every matrix once: with its cells, the labels of the next step, and at step 0 those of all later steps."""
    own: dict[Place, list[Cell]] = {}
    asked: dict[Place, set[str]] = {}
    for cell in cells:
        own.setdefault(cell.place, []).append(cell)
        for step in {0, cell.place.step - 1} - {-1, cell.place.step}:
            asked.setdefault(Place(cell.place.site, step), set()).add(cell.column)
    units = []
    for place in sorted(own.keys() | asked.keys()):
        mine = {cell.column for cell in own.get(place, ())}
        units.append(Unit(place, tuple(own.get(place, ())), tuple(sorted(asked.get(place, set()) - mine))))
    if twin:
        units += [Unit(place, (), tuple(sorted({cell.column for cell in own[place]})), "twin") for place in sorted(own)]
    everything = tuple(sorted({cell.column for cell in cells}))
    return [*units, Unit(Place("", 0), (), everything, "words")]


def _split(
    problems: Sequence[Mapping[str, Any]], plan: FitPlan, known: Bools, path: Path
) -> tuple[tuple[str, ...], Bools, NearDuplicates]:
    groups = [problem["group"] for problem in problems]
    prompts = [plain_prompt(problem) for problem in problems]
    if plan.duplicates == "merge":
        groups = merge_duplicate_groups(groups, prompts)
    held_out = held_out_by_hash(groups, plan.held_out, seed=plan.seed)
    fit, held = known & ~held_out, known & held_out
    if not fit.any() or not held.any():
        raise InsufficientData(
            "the split leaves nothing on one side", path=path, field="held_out",
            found=f"{int(fit.sum())} problems to learn from and {int(held.sum())} to score on",
            hint="Give more groups, or another seed.",
        )  # fmt: skip
    sides = [[prompt for prompt, on in zip(prompts, side, strict=True) if on] for side in (fit, held)]
    try:
        assert_no_leakage(*sides)
    except ProbeDataError as error:
        raise LeakageError(
            f"equal prompts of different groups lie on both sides of the split: {error}", path=path, field="group",
            hint='Give equal prompts one group, or set duplicates = "merge" in the plan.',
        ) from error  # fmt: skip
    places = np.flatnonzero(known)
    return tuple(groups), held_out, near_duplicates([prompts[k] for k in places], held_out[places])
