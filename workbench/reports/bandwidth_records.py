"""The record of a bandwidth measurement: what `bandwidth.json` holds, and nothing that it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, JsonValue, model_validator

from workbench.jsonio import read_json
from workbench.reports.fields import FileRecord, Interval, Record, Share
from workbench.reports.reading import parse_record

BANDWIDTH_SCHEMA = "neuralese-bandwidth/1"
BANDWIDTH_NAME = "bandwidth.json"

Count = Annotated[int, Field(ge=0)]
Bits = Annotated[float, Field(ge=0.0)]
Labels = Literal["thoughts", "said", "mixed", "none"]
R = TypeVar("R", bound=Record)


class CodeRecord(Record):
    """One way to send a thought."""

    kind: Literal["vector", "named", "scalar"]
    words: Annotated[int, Field(ge=1)] | None = None
    """Of a vector code; of a named code, as many as there are values at the place that has most."""
    rank: Count | None = None
    """Principal components that a scalar code keeps."""
    width: Annotated[float, Field(gt=0)] | None = None
    """What a scalar code rounds to, in deviations of the first component."""

    @model_validator(mode="after")
    def _of_its_kind(self) -> Self:
        given = [value is not None for value in (self.words, self.rank, self.width)]
        if given != ([False, True, True] if self.kind == "scalar" else [True, False, False]):
            raise ValueError("a vector or named code has words, a scalar code has rank and width")
        return self


class TriedRecord(CodeRecord):
    """A code, what it takes, and what it does to the said text of the problems searched on."""

    bits: Bits
    """Per problem."""
    changed: Share


class UsedRecord(CodeRecord):
    """The code of the least rate among those that keep what is said, measured on problems of their own."""

    bits: Bits
    """Per problem: code lengths summed over the thoughts that were sent."""
    interval: Interval
    changed: Share
    """Problems whose said text is another."""
    changed_interval: Interval
    answers_changed: Share | None
    """Absent where no answer is stated."""
    n: Count
    n_groups: Count
    holds: bool
    """Whether no more of the problems measured here change than were allowed. How many more may change than were
    seen to stands in the upper end of `changed_interval`."""


class SweepRecord(Record):
    """All codes tried on the thoughts of one step, or of all steps at once."""

    step: Count | None
    """None for all steps at once."""
    numbers: Count
    """Numbers in these thoughts, per problem."""
    erased: Share
    """Problems searched on whose said text changes when these thoughts are one fixed vector: 0 bits pass."""
    used: UsedRecord | None
    """None where no code that was tried keeps what is said."""
    least_vector: Bits | None
    named: Bits | None
    """Rate of the value read from each thought, where sending that keeps what is said."""
    least_scalar: Bits | None
    least_rank: Count | None
    """Fewest principal components that keep what is said when rounded as finely as was tried."""
    tried: list[TriedRecord]

    @model_validator(mode="after")
    def _least_is_tried(self) -> Self:
        if (self.used is None) != (self.least_vector is self.named is self.least_scalar is None):
            raise ValueError("a code is used exactly where one keeps what is said")
        return self


class DecodableRecord(Record):
    """V-information of linear probes about the known values, bits."""

    bits: Bits
    interval: Interval
    entropy: Bits
    shuffled: Bits
    n: Count
    n_groups: Count
    n_labels: Count
    is_set: bool = False
    """Summed over the members of a set."""

    @model_validator(mode="after")
    def _no_more_than_there_is(self) -> Self:
        if self.bits > self.entropy + 1e-9:
            raise ValueError(f"{self.bits} bits were read of a label that has {self.entropy}")
        return self


class StepRecord(Record):
    """One step."""

    step: Count
    numbers: Annotated[int, Field(ge=1)]
    """Numbers that a thought is made of, all visits together."""
    decodable: DecodableRecord | None
    """None where too little is known of what the step holds."""
    told_before: Bits | None
    """Bits of the value that the value before tells already; absent at the first step known."""
    sweep: SweepRecord | None
    """None where only all steps at once were tried."""


class ChainRecord(Record):
    """Decodable bits of the whole chain of values."""

    bits: Bits
    """Summed over steps, less what each value tells of the next."""
    interval: Interval
    told_before: Bits
    """What was taken off."""
    shuffled: Bits
    entropy: Bits
    """Of the values, each given the one before: the most that could be read."""
    n: Count
    n_groups: Count

    @model_validator(mode="after")
    def _no_more_than_there_is(self) -> Self:
        if self.bits > self.entropy + 1e-9:
            raise ValueError(f"{self.bits} bits were read of a chain that has {self.entropy}")
        return self


class BandwidthModel(Record):
    """The model measured."""

    source: str
    fingerprint: str
    family: str
    preset: str
    dtype: str
    """Of the weights while measuring."""
    d_vocab: Annotated[int, Field(ge=2)]
    speaking: dict[str, JsonValue]
    """How the said text was read (`[speaking]` of the recipe)."""


class BandwidthSettings(Record):
    """What was asked."""

    seed: Count
    n_measured: Count
    per_step: bool
    changed_at_most: Share


class BandwidthRecord(FileRecord):
    """A finished measurement."""

    schema_: Literal["neuralese-bandwidth/1"] = Field(default="neuralese-bandwidth/1", alias="schema")
    status: Literal["complete"] = "complete"
    model: BandwidthModel
    settings: BandwidthSettings
    run_root: str
    """Hash of the capture store that codes and probes were fitted to."""
    versions: dict[str, str]
    labels: Labels
    """Where known values come from: the problems, or what the model says."""
    n_problems: Count
    n_fit: Count
    n_search: Count
    n_confirm: Count
    bits_per_number: Annotated[int, Field(ge=1)]
    """Of the container."""
    token_bits: Bits
    """log2 of the vocabulary of this model."""
    rerun_changed: Share
    """Problems whose said text differs between two runs without any edit."""
    problem_bits: Bits
    """log2 of the problems measured: naming the problem would take no more."""
    steps: list[StepRecord]
    chain: ChainRecord | None
    whole: SweepRecord

    @model_validator(mode="after")
    def _whole_is_all_steps(self) -> Self:
        if self.whole.step is not None or self.whole.numbers < max((row.numbers for row in self.steps), default=0):
            raise ValueError("the whole is all steps at once")
        if len({row.step for row in self.steps}) != len(self.steps):
            raise ValueError("a step is listed twice")
        return self

    def container_bits(self, numbers: int) -> int:
        """Bits that hold so many numbers."""
        return numbers * self.bits_per_number


def read_bandwidth(folder: Path) -> BandwidthRecord:
    """Read `bandwidth.json` of a folder that `workbench bandwidth` wrote.

    Raises:
        SchemaError: the file is absent, is not strict JSON, or breaks the schema (all breaks are listed).
    """
    path = folder / BANDWIDTH_NAME
    hint = "Measure again: workbench bandwidth MODEL --problems FILE --out DIR"
    return parse_record(
        BandwidthRecord, read_json(path), path=path, what="bandwidth", schema=BANDWIDTH_SCHEMA, hint=hint
    )
