"""The intervene record: what `intervene.json` holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from workbench.jsonio import read_json
from workbench.reports.causal_records import Channel, StepCausal
from workbench.reports.fields import FileRecord, Interval, Record, Share
from workbench.reports.reading import parse_record
from workbench.reports.records import ModelRecord

INTERVENE_SCHEMA = "neuralese-intervene/1"
INTERVENE_NAME = "intervene.json"

Count = Annotated[int, Field(ge=0)]


class ReadBeside(Record):
    """How well the probe of a step reads held-out problems, beside its controls: its subspace is no better."""

    accuracy: Share
    interval: Interval
    n: Count
    control: Share
    """Mean accuracy of the same probe fitted on shuffled labels."""
    majority: Share
    readable: bool


class IntervenedStep(StepCausal):
    """One latent step: is its thought used, and does the answer follow it."""

    step: Count
    probe: ReadBeside | None
    """Absent where nothing is known of what the thought holds."""


class InterveneRecord(FileRecord):
    """What edits of honest problems' thoughts did to what is said."""

    schema_: Literal["neuralese-intervene/1"] = Field(default="neuralese-intervene/1", alias="schema")
    model: ModelRecord
    seed: Count
    n_problems: Count
    """Problems given; half of their groups are learned from, edits are tried on the others."""
    n_fit: Count
    """Problems that the probes learned from."""
    n_held_out: Count
    """Problems held out; thoughts are edited on `channel.n` of them, one of a group."""
    labels: Literal["thoughts", "said", "mixed"]
    channel: Channel
    steps: list[IntervenedStep]
    unprobed: str | None
    """Why no step has a probe, where none has."""
    run_root: str
    """Hash of the capture store in `run/`."""


def read_intervene(folder: Path) -> InterveneRecord:
    """Read `intervene.json` of a folder that `workbench intervene` wrote.

    Raises:
        SchemaError: the file is absent, is not strict JSON, or breaks the schema (all breaks are listed).
    """
    path = folder / INTERVENE_NAME
    return parse_record(InterveneRecord, read_json(path), path=path, what="intervene", schema=INTERVENE_SCHEMA)
