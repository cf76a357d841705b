"""A model whose thoughts go through codes: what each code takes, and what it does to the said text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from probes.quantise import Axes, Code, named_code, principal_axes, scalar_code, vector_code
from workbench.bits.known import CONFIRM, FIT, SEARCH, Known, Sides, Thoughts, name_of
from workbench.bits.quantising import Codes, Place, flat, quantise
from workbench.claims import parse_said
from workbench.reasoners.base import Reasoner
from workbench.reports.bandwidth_records import CodeRecord
from workbench.tasks.base import Problem
from workbench.traces import Rows

BATCH = 256
UNCODED_BITS = 32
"""Counted for each number of a thought that no code was fitted for."""

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Heard:
    """What one code did to some problems."""

    changed: Bool[np.ndarray, " problem"]
    answers_changed: Bool[np.ndarray, " problem"] | None
    bits: Float[np.ndarray, " problem"]


class Bench:
    """A model, its problems, and codes fitted to the thoughts of some of them.

    Args:
        reasoner: the model.
        problems: all problems of the run, in its order.
        seeds: of each problem.
        thoughts: of all problems.
        known: step -> value, of each problem.
        sides: who is learned from.
        n_measured: most problems that a code is tried on, and most that the code found is measured on.
        seed: of k-means and bootstrap.
        heard: called before every run of the model.
    """

    def __init__(
        self,
        reasoner: Reasoner,
        problems: Sequence[Problem],
        seeds: Sequence[int],
        thoughts: Thoughts,
        known: Sequence[Mapping[int, Known]],
        sides: Sides,
        *,
        n_measured: int,
        seed: int,
        heard: Callable[[], None] = lambda: None,
    ) -> None:
        self.reasoner, self.problems, self.seeds, self.seed, self.heard = reasoner, problems, seeds, seed, heard
        self.sides = sides
        self.measured = {role: sides.places(role)[:n_measured] for role in (SEARCH, CONFIRM)}
        fit = set(sides.places(FIT))
        self.rows: dict[Place, Floats] = {}
        self.named: dict[Place, list[tuple[int, str, str]]] = {}
        """(row, value, group) of the rows whose value is known."""
        for place, vectors in thoughts.vectors.items():
            mine = np.array([example in fit for example in thoughts.examples[place].tolist()], dtype=np.bool_)
            if mine.any():
                self.rows[place] = vectors[mine]
                examples = thoughts.examples[place][mine].tolist()
                self.named[place] = [(k, name_of(known[e][place[0]]), sides.groups[e]) for k, e in enumerate(examples)
                                     if place[0] in known[e]]  # fmt: skip
        self.axes: dict[Place, Axes] = {}
        self.codes: dict[tuple[Place, CodeRecord], Code] = {}
        self.intact = {role: self._said(role) for role in self.measured}

    @property
    def n_fit(self) -> int:
        """Thoughts that a code is fitted to, at the place that has fewest."""
        return min((len(rows) for rows in self.rows.values()), default=0)

    def places(self, step: int | None) -> list[Place]:
        """Visits of one step, or of all."""
        return [place for place in self.rows if step is None or place[0] == step]

    def n_values(self, step: int | None) -> int | None:
        """Values at the place of one step, or of all, that has most; None where a place has none."""
        counts = [len({value for _, value, _ in self.named[place]}) for place in self.places(step)]
        return max(counts) if counts and all(counts) else None

    def rerun_changed(self, said: Sequence[str]) -> float:
        """Share of problems measured whose said text is not the one captured, though nothing was edited."""
        pairs = [
            (text, said[place])
            for role, places in self.measured.items()
            for place, text in zip(places, self.intact[role], strict=True)
        ]
        return float(np.mean([mine != captured for mine, captured in pairs]))

    def hear(self, what: CodeRecord, step: int | None, role: str) -> Heard:
        """Send the thoughts of one step, or of all, through a code."""
        codes = {place: self._code(place, what) for place in self.places(step)}
        chosen = self.measured[role]
        self.heard()
        trace = self.reasoner.run(
            [self.problems[place] for place in chosen], read=["thought"], edits={"thought": quantise(codes)},
            seeds=[self.seeds[place] for place in chosen], batch_size=BATCH,
        )  # fmt: skip
        intact, said = self.intact[role], trace.said
        speaking = self.reasoner.recipe.speaking
        before, after = ([parse_said(text, speaking).answer for text in texts] for texts in (intact, said))
        answers = _differ(before, after) if any(answer is not None for answer in before) else None
        uncoded = UNCODED_BITS if step is None else 0
        return Heard(_differ(intact, said), answers, _sent(trace["thought"], codes, len(chosen), uncoded=uncoded))

    def rank(self, step: int | None) -> int:
        """Most principal components that the thoughts have anywhere."""
        return max(len(self._axes(place).deviations) for place in self.places(step))

    def _said(self, role: str) -> tuple[str, ...]:
        chosen = self.measured[role]
        self.heard()
        problems, seeds = [self.problems[k] for k in chosen], [self.seeds[k] for k in chosen]
        return self.reasoner.run(problems, seeds=seeds, batch_size=BATCH).said

    def _axes(self, place: Place) -> Axes:
        if place not in self.axes:
            self.axes[place] = principal_axes(self.rows[place])
        return self.axes[place]

    def _code(self, place: Place, what: CodeRecord) -> Code:
        if (place, what) not in self.codes:
            self.codes[place, what] = self._fitted(place, what)
        return self.codes[place, what]

    def _fitted(self, place: Place, what: CodeRecord) -> Code:
        if what.kind == "named":
            kept, values, groups = zip(*self.named[place], strict=True)
            return named_code(self.rows[place][list(kept)], values, groups, seed=self.seed)
        if what.words is not None:
            return vector_code(self.rows[place], what.words, seed=self.seed)
        axes = self._axes(place)
        assert what.rank is not None
        assert what.width is not None
        rank = min(what.rank, len(axes.deviations))
        return scalar_code(self.rows[place], axes, rank, what.width * float(axes.deviations.max(initial=0.0) or 1.0))


def _differ(before: Sequence[str | None], after: Sequence[str | None]) -> Bools:
    return np.array([a != b for a, b in zip(before, after, strict=True)], dtype=np.bool_)


def _sent(rows: Rows, codes: Codes, n: int, *, uncoded: int) -> Floats:
    """Code lengths by problem; a thought that went through a code encodes to the symbols that were sent."""
    bits = np.zeros(n)
    for place, vectors in rows.by_visit().items():
        mine = (rows.address[:, 1] == place[0]) & (rows.address[:, 2] == place[1])
        examples, thoughts = rows.address[mine][:, 0].numpy(), flat(vectors)
        code = codes.get(place)
        np.add.at(bits, examples, uncoded * thoughts.shape[1] if code is None else code.bits(code.encode(thoughts)))
    return bits
