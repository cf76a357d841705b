"""What a plan comes to before anything is fitted: cells, memory, and a guess of the time."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from probes.linear import DEFAULT_FOLDS
from workbench.fitting.grid import Grid, lay_out
from workbench.fitting.plan import FitPlan
from workbench.fitting.rows import MIB, NUMBER_BYTES
from workbench.store import RunStore

ITERATIONS = 25
"""Usual iterations of a batched logistic fit, two products each."""
ELEMENTWISE = 6.0
"""How much longer a fit takes than its products alone, as measured on small and large plans."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The size of a job."""

    n_cells: int
    """Of the grid; each kind of probe of the plan gives a result for each."""
    n_results: int
    n_matrices: int
    n_columns: int
    """Different labels over all steps."""
    n_fit: int
    n_held_out: int
    sampled: bool
    """Whether memory holds only a sample of the rows."""
    n_passes: int
    """How often the store is read from end to end, about."""
    memory_mib: float
    """Of vectors at once, their working copies included."""
    n_refits: int
    """On shuffled labels."""
    seconds: float
    """On this machine with these threads; a guess, good to a factor of about two."""

    def to_plain(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def lines(self) -> list[tuple[str, str]]:
        """As a person reads it."""
        return [
            ("cells", f"{self.n_cells} ({self.n_results} results, {self.n_columns} different labels)"),
            ("matrices", str(self.n_matrices)),
            ("rows", f"{self.n_fit} to learn from, {self.n_held_out} held out"
                     + (" (a sample: raise `memory` for all)" if self.sampled else "")),
            ("refits on shuffled labels", str(self.n_refits)),
            ("passes over the store", str(self.n_passes)),
            ("memory", f"about {self.memory_mib:.0f} MiB"),
            ("time", f"about {_spoken(self.seconds)} on one worker like this one"),
            ("not counted", "text probes, and the capture of a random twin"),
        ]  # fmt: skip


def estimate(run: Path, plan: FitPlan, *, base: Path, twin: bool) -> Estimate:
    """Lay the plan over the run and measure how fast this machine multiplies; nothing is fitted or written."""
    store = RunStore(run, cache_bytes=0)
    grid = lay_out(store, plan, base=base, twin=twin)
    n_fit, n_held = int((grid.kept & ~grid.held_out).sum()), int((grid.kept & grid.held_out).sum())
    matrices = sum(unit.source != "words" for unit in grid.units)
    waiting = min(matrices, grid.budget.n_places) * NUMBER_BYTES * grid.width * (n_fit + n_held)
    return Estimate(
        n_cells=len(grid.cells),
        n_results=len(grid.cells) * len(plan.probes),
        n_matrices=matrices,
        n_columns=len(grid.columns),
        n_fit=n_fit,
        n_held_out=n_held,
        sampled=bool(grid.kept.sum() < grid.known.sum()),
        n_passes=-(-matrices // grid.budget.n_places),
        memory_mib=(waiting + _working_bytes(grid, n_fit)) / MIB,
        n_refits=len(grid.cells) * plan.controls.shuffles,
        seconds=_flops(grid, plan, n_fit, n_held) / _flops_a_second() * ELEMENTWISE,
    )


def _working_bytes(grid: Grid, n_fit: int) -> float:
    return float(NUMBER_BYTES * n_fit * (3 * grid.width + 8 * 128))


def _flops(grid: Grid, plan: FitPlan, n_fit: int, n_held: int) -> float:
    total = 0.0
    for unit in grid.units:
        own = sum(len(grid.columns[name].classes) for name in {cell.column for cell in unit.cells})
        asked = own + sum(len(grid.columns[name].classes) for name in unit.controls)
        width = grid.width if unit.source != "words" else min(1024, 4 * grid.width)
        fits = asked * DEFAULT_FOLDS * len(plan.lambdas) + own * (7 + plan.controls.tasks) + asked
        total += 2.0 * n_fit * width * (2 * ITERATIONS * fits + width)
        total += 2.0 * (n_fit + n_held) * width * own * (1 + plan.controls.shuffles)
    return total


def _flops_a_second() -> float:
    """Of a product of float32 matrices, the best of a few short tries."""
    a, b = torch.ones(1024, 256), torch.ones(256, 1024)
    best = np.inf
    for _ in range(5):
        started = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - started)
    return 2.0 * 1024 * 1024 * 256 / best


def _spoken(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
