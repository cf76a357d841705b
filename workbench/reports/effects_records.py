"""Outcomes of edits, problem by problem: what `effects.json` holds; shares, intervals and tests follow from them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from workbench.jsonio import read_json
from workbench.reports.causal_records import EditName, Target
from workbench.reports.fields import FileRecord, Record
from workbench.reports.reading import parse_record

EFFECTS_SCHEMA = "neuralese-effects/1"
EFFECTS_NAME = "effects.json"

NEEDED: tuple[tuple[EditName, Target], ...] = (
    ("exchange", "thoughts"), ("placebo", "thoughts"), ("zero", "thoughts"), ("exchange", "both"), ("placebo", "both"),
)  # fmt: skip
"""Edits without which nothing is said of a channel; of those on both, why they were not tried is enough."""

Count = Annotated[int, Field(ge=0)]
Marks = Annotated[str, Field(pattern="^[01]+$")]
"""A mark for every problem, in the order of `problems`: 1 where it happened."""


class Outcomes(Record):
    """What one edit did to what each problem says."""

    moved: Marks
    """The said text is another."""
    followed: Marks | None = None
    """What is said at the edited place became the donor's; absent where nothing is said of that place."""
    answer_moved: Marks
    claims_moved: list[Count]
    """Places of the stated chain at which another claim stands, or none."""
    n_claims: list[Count]
    """Places of the stated chain."""

    def fits(self, n: int) -> bool:
        """Whether it tells of so many problems, and of no more claims than there are."""
        told = (self.moved, self.followed or self.moved, self.answer_moved, self.claims_moved, self.n_claims)
        possible = all(moved <= places for moved, places in zip(self.claims_moved, self.n_claims, strict=False))
        return possible and {len(one) for one in told} == {n}


class EditOutcomes(Record):
    """One edit of all steps at once."""

    edit: EditName
    target: Target
    absent: str | None = None
    """Why this edit was not tried."""
    outcomes: Outcomes | None = None

    @model_validator(mode="after")
    def _tried_or_said_why_not(self) -> Self:
        if (self.absent is None) == (self.outcomes is None):
            raise ValueError(f"edit {self.edit} on {self.target} needs either its outcomes or why it has none")
        answers = self.outcomes is not None and self.edit in ("exchange", "placebo")
        if answers and self.outcomes is not None and self.outcomes.followed is None:
            raise ValueError(f"edit {self.edit} on {self.target} does not say whose answer is given")
        return self


class DoseOutcomes(Record):
    """The thought goes part of the way to the donor's."""

    amount: float
    outcomes: Outcomes


class SubspaceOutcomes(Record):
    """Only a part of the thought is exchanged."""

    rank: Annotated[int, Field(ge=1)]
    inside: Outcomes
    placebo: Outcomes
    outside: Outcomes


class StepOutcomes(Record):
    """Edits of the thought of one step."""

    step: Count
    exchange: Outcomes
    placebo: Outcomes
    zero: Outcomes
    shuffle: Outcomes
    doses: list[DoseOutcomes]
    subspace: SubspaceOutcomes | None = None
    subspace_absent: str | None = None

    @model_validator(mode="after")
    def _tried_or_said_why_not(self) -> Self:
        if (self.subspace is None) == (self.subspace_absent is None):
            raise ValueError(f"step {self.step} needs either its subspace or why it has none")
        return self

    def all(self) -> Iterator[Outcomes]:
        """Of every edit of this step."""
        yield from (self.exchange, self.placebo, self.zero, self.shuffle, *(dose.outcomes for dose in self.doses))
        if self.subspace is not None:
            yield from (self.subspace.inside, self.subspace.placebo, self.subspace.outside)


class EffectsRecord(FileRecord):
    """Every outcome of every edit; it takes the model to make, and what is said of the edits follows from it."""

    schema_: Literal["neuralese-effects/1"] = Field(default="neuralese-effects/1", alias="schema")
    problems: Annotated[list[str], Field(min_length=2)]
    """Ids of the honest problems whose thoughts were edited."""
    gap: str | None
    """Why not everything cached at the thoughts' positions can be edited; absent where it can."""
    filler: str | None
    """What stood where the thoughts stand, for `pause`."""
    edits: list[EditOutcomes]
    steps: list[StepOutcomes]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        n = len(self.problems)
        of_edits = [one.outcomes for one in self.edits if one.outcomes is not None]
        if not all(one.fits(n) for one in [*of_edits, *(one for step in self.steps for one in step.all())]):
            raise ValueError(f"not every edit has an outcome for each of {n} problems")
        tried = {(one.edit, one.target): one.outcomes is not None for one in self.edits}
        if len(tried) != len(self.edits):
            raise ValueError("an edit stands there twice")
        if missing := [pair for pair in NEEDED if pair not in tried or (pair[1] == "thoughts" and not tried[pair])]:
            raise ValueError("no outcomes of " + ", ".join(f"{edit} on {target}" for edit, target in missing))
        if len({step.step for step in self.steps}) != len(self.steps):
            raise ValueError("a step stands there twice")
        return self


def read_effects(folder: Path) -> EffectsRecord:
    """Read `effects.json` of a folder that an audit or `workbench intervene` wrote.

    Raises:
        SchemaError: the file is absent, is not strict JSON, or breaks the schema (all breaks are listed).
    """
    path = folder / EFFECTS_NAME
    return parse_record(EffectsRecord, read_json(path), path=path, what="effects", schema=EFFECTS_SCHEMA)
