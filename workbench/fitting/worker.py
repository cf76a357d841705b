"""One worker of a fit: opens the run, gathers vectors place after place, and answers what each unit asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer

from probes.answers import Settings, answer
from probes.errors import ProbeDataError, ProbeFileError
from probes.questions import Answer, Matrix, Question
from workbench.errors import DataQuality
from workbench.fitting.closed import ClosedForms
from workbench.fitting.grid import Grid, Source, Unit, lay_out
from workbench.fitting.parts import Part, part_of
from workbench.fitting.plan import FitPlan
from workbench.fitting.rows import Place, Rows, gather
from workbench.fitting.texts import TextReader
from workbench.reasoners.base import Reasoner
from workbench.reasoners.loading import ModelSource
from workbench.reasoners.twin import load_again
from workbench.store import RunStore
from workbench.store.selection import Selection
from workbench.tasks.base import plain_prompt

MAX_WORDS = 1024


@dataclass(frozen=True, slots=True)
class FitSpec:
    """All that a worker needs to know; small, so that it travels."""

    run: Path
    twin: Path | None
    plan: FitPlan
    base: Path
    """Folder that `labels_file` is relative to."""
    model: ModelSource | None = None
    """Where a worker of another process finds the model that text probes and lenses need."""

    device: str = "cpu"
    """Where logistic fits run."""

    @property
    def settings(self) -> Settings:
        """How labels are learned."""
        plan = self.plan
        return Settings(
            lambdas=tuple(plan.lambdas),
            n_shuffles=plan.controls.shuffles,
            n_tasks=plan.controls.tasks,
            seed=plan.seed,
            device=self.device,
        )


class FitWorker:
    """Answers units by their number; keeps the vectors of the next few places between calls.

    Args:
        spec: the plan and where the run lies.
        todo: numbers of the units that are not done yet, in order: what is worth gathering ahead.
        reasoner: the model where it is at hand; else it is loaded as the specification says.
    """

    def __init__(self, spec: FitSpec, todo: Sequence[int], reasoner: Reasoner | None = None) -> None:
        self.spec = spec
        self.store = RunStore(spec.run, cache_bytes=0)
        self.twin = None if spec.twin is None else RunStore(spec.twin, cache_bytes=0)
        self.grid: Grid = lay_out(self.store, spec.plan, base=spec.base, twin=self.twin is not None)
        self._todo = tuple(todo)
        self._waiting: dict[Place, Rows] = {}
        self._waiting_for: Source = "run"
        if reasoner is None and spec.model is not None and spec.plan.text:
            reasoner = load_again(spec.model).reasoner
        self._texts = None
        if reasoner is not None and spec.plan.text:
            self._texts = TextReader(reasoner, self.store, seed=spec.plan.seed, n_shuffles=spec.plan.controls.shuffles)
        self._closed = ClosedForms(self.grid, spec.plan)

    def __call__(self, number: int) -> Part:
        """Answer one unit.

        Raises:
            DataQuality: nothing can be learned from these vectors; it names their site and step.
        """
        unit = self.grid.units[number]
        with _data_quality(self._store_of(unit), unit.place):
            return self._part(number)

    def _store_of(self, unit: Unit) -> RunStore:
        store = self.twin if unit.source == "twin" else self.store
        assert store is not None
        return store

    def _part(self, number: int) -> Part:
        unit = self.grid.units[number]
        rows = self._words() if unit.source == "words" else self._vectors(number)
        matrix, problems = self._matrix(rows)
        questions = [self._question(name, problems, whole=False) for name in unit.controls]
        mine = sorted({cell.column for cell in unit.cells})
        questions += [self._question(name, problems, whole=True) for name in mine]
        answers = answer(matrix, questions, self.spec.settings) if len(rows.problems) else _empty(questions)
        others = self._closed.readings(unit, matrix, questions[len(unit.controls) :])
        if self._texts is None or not unit.cells or not len(rows.problems):
            return part_of(unit, answers, others, self.grid)
        final = self._texts.final_of(unit.place)
        text = self._texts.fit(unit.place, rows, None if final is None else self._waiting[final], self.grid)
        lenses = {
            question.name: self._texts.lens_accuracy(
                unit.place, matrix, question, self.grid.columns[question.name].classes
            )
            for question in questions[len(unit.controls) :]
        }
        return part_of(unit, answers, others, self.grid, text, lenses)

    def _vectors(self, number: int) -> Rows:
        """Vectors of a unit; where they are not at hand, those of the units that come next are gathered with them."""
        unit = self.grid.units[number]
        if unit.place not in self._waiting or unit.source != self._waiting_for:
            ahead = [k for k in self._todo if k >= number and self.grid.units[k].source == unit.source]
            units = [self.grid.units[k] for k in ahead] or [unit]
            places: dict[Place, None] = {}
            for one in units:
                wanted = {one.place: None}
                if self._texts is not None and one.cells:
                    wanted |= {final: None for final in (self._texts.final_of(one.place),) if final is not None}
                if places and len(places | wanted) > self.grid.budget.n_places:
                    break
                places |= wanted
            store = self._store_of(unit)
            self._waiting.clear()
            see = self._closed.watch([one for one in units if one.place in places])
            seen = None if see is None else partial(_see, store, see)
            self._waiting, self._waiting_for = gather(store, list(places), self.grid.kept, see=seen), unit.source
        return self._waiting[unit.place]

    def _words(self) -> Rows:
        """Words of each prompt and words at their place, as counts; the vocabulary is that of the fit rows."""
        problems = np.flatnonzero(self.grid.kept)
        prompts = [plain_prompt(self.store.problems[k]["problem"]) for k in problems]
        fit = np.flatnonzero(~self.grid.held_out[problems])
        width = min(MAX_WORDS, max(16, self.grid.budget.n_rows * 64 // max(len(problems), 1)))
        counter = CountVectorizer(analyzer=_pieces, max_features=width, dtype=np.float32)
        try:
            counter.fit([prompts[k] for k in fit])
        except ValueError:  # no word in any prompt: the text tells nothing
            return Rows(np.zeros((len(problems), 1), np.float32), problems)
        return Rows(counter.transform(prompts).toarray(), problems)

    def _matrix(self, rows: Rows) -> tuple[Matrix, tuple[NDArray[np.intp], NDArray[np.intp]]]:
        grid = self.grid
        held = grid.held_out[rows.problems]
        fit_problems, held_problems = rows.problems[~held], rows.problems[held]
        group_of = np.unique(np.asarray(grid.groups), return_inverse=True)[1]
        rank = np.empty(len(grid.order), dtype=np.intp)
        rank[grid.order] = np.arange(len(grid.order))
        matrix = Matrix(
            rows.vectors[~held], rows.vectors[held], group_of[fit_problems], group_of[held_problems],
            np.argsort(rank[fit_problems]), grid.types[fit_problems], grid.types[held_problems],
        )  # fmt: skip
        return matrix, (fit_problems, held_problems)

    def _question(self, name: str, problems: tuple[NDArray[np.intp], NDArray[np.intp]], *, whole: bool) -> Question:
        column = self.grid.columns[name]
        fit, held = (column.codes[side] for side in problems)
        return Question(name, fit, held, len(column.classes), whole)


def _pieces(prompt: str) -> list[str]:
    words = prompt.split()
    return [*words, *(f"{place}={word}" for place, word in enumerate(words))]


def _empty(questions: Sequence[Question]) -> list[Answer]:
    reason = "the run holds no finite vectors of this site at this step"
    return [Answer(question.name, 0, np.empty(0, np.intp), undefined_because=reason) for question in questions]


@contextmanager
def _data_quality(store: RunStore, place: Place) -> Iterator[None]:
    """Say where the vectors lie that a probe refuses; engines carry home only errors of this package."""
    try:
        yield
    except (ProbeDataError, ProbeFileError) as error:
        raise DataQuality(
            f"no probe can be fitted: {error}", path=store.path,
            field=f"{place.site}, step {place.step}" if place.site else "prompt",
            hint="Leave this site or step out of the plan, or capture the run again.",
        ) from error  # fmt: skip


def _see(store: RunStore, see: Callable[[Place, Selection], None], place: Place, rows: Selection) -> None:
    """Show a gathered block, which need not be of the unit that is being answered."""
    with _data_quality(store, place):
        see(place, rows)


def make_worker(spec: FitSpec, todo: Sequence[int], reasoner: Reasoner | None) -> FitWorker:
    """A worker, made where it runs."""
    return FitWorker(spec, todo, reasoner)
