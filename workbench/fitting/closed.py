"""Probes in closed form, from statistics of every fit row: also of those that are too many to keep in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probes.closed_form import Linear, lda, mean_difference, ridge_path
from probes.errors import ProbeDataError
from probes.moments import Moments, MomentsBuilder
from probes.questions import Matrix, Question, Reading
from workbench.fitting.grid import Grid, Unit
from workbench.fitting.plan import FitPlan, ProbeKind
from workbench.fitting.rows import Place
from workbench.store.selection import Selection

Readings = Mapping[str, Mapping[str, Reading]]
"""Column -> kind of probe -> how it read the held-out rows."""


@dataclass(slots=True)
class _Alike:
    """Columns that are known for the same problems: they share one scatter."""

    names: tuple[str, ...]
    known: NDArray[np.bool_]
    """Fit problems that have these labels, [n_problems]."""
    builder: MomentsBuilder | None = None


class ClosedForms:
    """Accumulates moments while vectors are gathered, and turns them into probes when their unit is answered.

    A retried unit gathers its vectors anew, so that its statistics never count a shard twice.
    """

    def __init__(self, grid: Grid, plan: FitPlan) -> None:
        self._grid = grid
        self._kinds: tuple[ProbeKind, ...] = tuple(kind for kind in plan.probes if kind != "logistic")
        self._lambdas = plan.lambdas
        self._watched: dict[Place, list[_Alike]] = {}

    def watch(self, units: Sequence[Unit]) -> Callable[[Place, Selection], None] | None:
        """What to show every gathered block of these units to; None where no probe of the plan needs it."""
        self._watched = {}
        if not self._kinds:
            return None
        for unit in units:
            if unit.cells:
                self._watched[unit.place] = self._alike(sorted({cell.column for cell in unit.cells}))
        return self._see if self._watched else None

    def _alike(self, names: Sequence[str]) -> list[_Alike]:
        patterns: dict[bytes, list[str]] = {}
        for name in names:
            known = self._grid.columns[name].codes >= 0
            patterns.setdefault(np.packbits(known).tobytes(), []).append(name)
        return [
            _Alike(tuple(alike), (self._grid.columns[alike[0]].codes >= 0) & ~self._grid.held_out)
            for alike in patterns.values()
        ]

    def _see(self, place: Place, rows: Selection) -> None:
        for alike in self._watched.get(place, ()):
            keep = alike.known[rows.example]
            keep[keep] = np.isfinite(rows.vectors[keep]).all(axis=1)
            if not keep.any():
                continue
            columns = [self._grid.columns[name] for name in alike.names]
            if alike.builder is None:
                sizes = [max(2, len(column.classes)) for column in columns]
                alike.builder = MomentsBuilder(rows.vectors.shape[1], sizes)
            alike.builder.add(rows.vectors[keep], np.stack([column.codes[rows.example[keep]] for column in columns]))

    def readings(self, unit: Unit, matrix: Matrix, questions: Sequence[Question]) -> Readings:
        """Read the held-out rows by every closed-form probe of the plan."""
        asked = {question.name: question for question in questions}
        found: dict[str, dict[str, Reading]] = {name: {} for name in asked}
        for alike in self._watched.pop(unit.place, ()) if unit.cells and unit.source == "run" else ():
            if alike.builder is None:
                continue
            moments = alike.builder.freeze()
            for label, name in enumerate(alike.names):
                question = asked[name]
                if question.undefined_because is not None:
                    continue
                rows = question.held >= 0
                for kind in self._kinds:
                    linear = self._linear(kind, moments, label)
                    if linear is not None:
                        right = linear.read(matrix.held[rows]) == question.held[rows]
                        found[name][kind] = Reading(linear.coef, linear.intercept, linear.classes, moments.n, right)
        return found

    def _linear(self, kind: ProbeKind, moments: Moments, label: int) -> Linear | None:
        try:
            if kind == "lda":
                return lda(moments, label)
            if kind == "mean-difference":
                return mean_difference(moments, label)
            mean_variance = float(np.trace(moments.scatter)) / (moments.n * moments.d) or 1.0
            penalties = np.asarray(self._lambdas) * moments.n * mean_variance
            return ridge_path(moments, label, penalties).linear(label)
        except ProbeDataError:  # one class among its own rows: the cell says so
            return None
