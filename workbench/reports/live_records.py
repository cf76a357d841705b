"""What one problem thought and said when it was run by hand, intact and edited."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from workbench.jsonio import read_json
from workbench.reports.fields import FileRecord, Record
from workbench.reports.reading import parse_record
from workbench.reports.records import ModelRecord, ProblemRecord

SCHEMA = "neuralese-live/1"
NAME = "live.json"
EditKind = Literal["zero", "swap"]


class EditAsked(Record):
    """What was done to the thoughts."""

    kind: EditKind
    """`zero`, or `swap` for those of another problem."""
    step: Annotated[int, Field(ge=0)] | None
    """Which thought; all of them if absent."""
    donor: str | None
    """Id of the problem whose thoughts were put in."""

    @model_validator(mode="after")
    def _swap_has_a_donor(self) -> Self:
        if (self.kind == "swap") != (self.donor is not None):
            raise ValueError("a swap, and nothing else, has a donor")
        return self


class LiveRecord(FileRecord):
    """One run by hand. Nothing is judged: a verdict needs calibration, which one problem is none of."""

    schema_: Literal["neuralese-live/1"] = Field(default="neuralese-live/1", alias="schema")
    model: ModelRecord
    run_root: str
    """Of the audit whose probes read the thoughts."""
    probes_root: str
    seed: int
    edit: EditAsked | None
    intact: ProblemRecord
    edited: ProblemRecord | None
    donor: ProblemRecord | None
    changes: list[str]
    """What is another in the edited run, in plain words."""


def read_live(folder: Path) -> LiveRecord:
    """The record of a folder.

    Raises:
        SchemaError: the file is absent, is not strict JSON, or breaks the schema.
    """
    path = folder / NAME
    return parse_record(LiveRecord, read_json(path), path=path, what="live", schema=SCHEMA)
