"""Words of a step, read from its vectors within the fit job: text probes beside both lenses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from probes.questions import Matrix, Question
from probes.text_files import SavedText
from workbench.errors import ConfigError, InsufficientData
from workbench.fitting.grid import Grid
from workbench.fitting.rows import Place, Rows
from workbench.lenses import logit_lens
from workbench.reasoners.base import Reasoner
from workbench.reasoners.speaking import LanguageReasoner
from workbench.store import RunStore
from workbench.texts import Ends, Vocabulary, fit_text, step_texts, vocabulary_of
from workbench.tuned_lens import final_place


@dataclass(frozen=True, slots=True)
class FittedText:
    """The record of one text probe, and the probe where there is one."""

    record: dict[str, Any]
    saved: SavedText | None


class TextReader:
    """Fits text probes for a model; keeps what all of them share."""

    def __init__(self, reasoner: Reasoner, store: RunStore, *, seed: int, n_shuffles: int) -> None:
        self._reasoner = reasoner
        self._store = store
        self._seed = seed
        self._n_shuffles = n_shuffles
        self._last_step = max((int(record["n_steps"]) for record in store.problems), default=1) - 1
        self._vocabulary: Vocabulary | None = None

    def final_of(self, place: Place) -> Place | None:
        """Where the run has what the model ends with after this step; None where no tuned lens can be fitted."""
        site = self._reasoner.sites.get(place.site)
        if site is None or site.normed is None or len(site.axes) > 1:
            return None
        try:
            final = final_place(self._reasoner, place.site, self._store.sites)
        except ConfigError:  # not captured: the lens was not run, and the record says so
            return None
        return Place(final.site, self._last_step if final.last else place.step)

    def fit(self, place: Place, rows: Rows, final: Rows | None, grid: Grid) -> FittedText:
        """The text probe of one site and step, scored on the held-out problems of the grid."""
        problems = [self._store.problems[k]["problem"] for k in rows.problems]
        texts = np.array(step_texts(problems, place.step), dtype=object)
        groups = np.array([grid.groups[k] for k in rows.problems], dtype=object)
        held = grid.held_out[rows.problems]
        try:
            if not isinstance(self._reasoner, LanguageReasoner) or place.site not in self._reasoner.sites:
                raise InsufficientData("the model has no words for vectors of this site")
            if self._vocabulary is None:
                self._vocabulary = vocabulary_of(self._reasoner)
            found = fit_text(
                rows.vectors[~held], texts[~held].tolist(), groups[~held].tolist(),
                rows.vectors[held], texts[held].tolist(), groups[held].tolist(),
                self._reasoner, site=place.site, seed=self._seed, step=place.step,
                ends=_ends(final, rows, held, self._final_site(place)), vocabulary=self._vocabulary,
                n_shuffles=self._n_shuffles,
            )  # fmt: skip
        except InsufficientData as error:
            return FittedText(_undefined(place, str(error), int((~held).sum()), int(held.sum())), None)
        where = {"site": place.site, "step": place.step}
        lens = None if found.tuned is None else found.tuned.translator
        return FittedText(found.to_plain(), SavedText(found.probe, lens, where))

    def lens_accuracy(self, place: Place, matrix: Matrix, question: Question, classes: Sequence[str]) -> float | None:
        """Share of held-out rows whose value the logit lens names, among the values; None where it cannot be run."""
        asked = question.held >= 0
        if place.site not in self._reasoner.sites or not asked.any():
            return None
        places = logit_lens(self._reasoner, matrix.held[asked], classes, place.site)
        return None if places is None else float((places == question.held[asked]).mean())

    def _final_site(self, place: Place) -> str:
        final = self.final_of(place)
        return place.site if final is None else final.site


def _ends(final: Rows | None, rows: Rows, held: np.ndarray, site: str) -> Ends | None:
    """What the model ends with on the same problems; None where some of them have no such vector."""
    if final is None or not np.array_equal(final.problems, rows.problems):
        return None
    return Ends(site, final.vectors[~held], final.vectors[held])


def _undefined(place: Place, because: str, n_fit: int, n: int) -> dict[str, Any]:
    """A text record without a score, and why."""
    nothing = ("exact_match", "interval", "shuffled", "p_value", "variance_explained", "variance_explained_true",
               "variance_explained_shuffled", "logit_lens", "tuned_lens")  # fmt: skip
    return {
        "site": place.site, "step": place.step, "undefined_because": because, "n_fit": n_fit, "n": n, "n_groups": 0,
        "n_offsets": 1, "top_1": [], "top_5": [], "n_shuffles": 0, "details": {}, **dict.fromkeys(nothing),
    }  # fmt: skip
