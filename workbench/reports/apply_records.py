"""The record of `workbench apply`: how each probe and each lens read a run, as `apply.json` holds it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from workbench.jsonio import read_json
from workbench.reports.fields import FileRecord, Record, Share
from workbench.reports.fit_cells import Count, Ends
from workbench.reports.reading import parse_record

APPLY_NAME = "apply.json"
LENSES = ("logit lens", "tuned lens")
"""Kinds of readers that know no labels; every other kind is a probe."""


class Measured(Record):
    """A score of a reader, on rows that nothing was learned from: those of a run, or those that its fit held out."""

    accuracy: Share
    interval: Ends | None
    control: Share | None
    """Of a probe, its refits on shuffled labels; of a lens, the words of other rows."""
    n: Annotated[int, Field(ge=1)]


class Applied(Record):
    """How one probe or lens read a run."""

    name: str
    kind: str | None = None
    """Of the probe, or one of `LENSES`."""
    n_read: Count
    """Rows that were read."""
    n: Count
    """Rows whose value is known and that nothing was learned from."""
    n_groups: Count
    accuracy: Share | None
    """None where no such row has a known value."""
    interval: Ends | None
    majority: Share | None
    """Share of the commonest known value among the same rows: what needs no vector."""
    shuffled: Share | None
    """What the same probe is worth on shuffled labels, from its fit; a lens has no labels."""
    mismatched: Share | None = None
    """Chance that a reading is the known value of another of the same rows."""
    fitted: Measured | None = None

    @model_validator(mode="after")
    def _no_score_alone(self) -> Self:
        if self.accuracy is not None and (self.interval is None or self.n == 0):
            raise ValueError(f"{self.name} has an accuracy without its interval or its rows")
        return self

    @property
    def control(self) -> float | None:
        """What the accuracy must be compared with."""
        return self.mismatched if self.shuffled is None else self.shuffled

    @property
    def measured(self) -> Measured | None:
        """The score on this run with its control; None where either is missing."""
        if self.accuracy is None or self.control is None:
            return None
        return Measured(accuracy=self.accuracy, interval=self.interval, control=self.control, n=self.n)

    def to_plain(self) -> dict[str, Any]:
        """As `apply.json` has it."""
        return self.model_dump(mode="json")


class ApplyRecord(FileRecord):
    """Everything that read a run."""

    schema_: Literal["neuralese-apply/1", "neuralese-apply/2"] = Field(default="neuralese-apply/2", alias="schema")
    """The first had no lenses."""
    family: str | None = None
    """Of the model."""
    run_root: str
    probes_root: str
    left_out: list[str]
    """Probes whose sites the run does not hold."""
    probes: list[Applied]
    """Probes and lenses."""


def read_applied(folder: Path) -> ApplyRecord:
    """Read `apply.json` of a folder of readings.

    Raises:
        SchemaError: the file is absent, is not strict JSON, or breaks the schema.
    """
    path = folder / APPLY_NAME
    return parse_record(ApplyRecord, read_json(path), path=path, what="apply")
