"""What `benchmark.json` holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from workbench.jsonio import read_json
from workbench.reports.fields import FileRecord, Interval, Record, Share, Verdict
from workbench.reports.reading import parse_record

SCHEMA = "neuralese-benchmark/1"
NAME = "benchmark.json"


class Counted(Record):
    """A share over the problems of all seeds, with its 95 % interval, and what each seed gave."""

    share: Share
    interval: Interval
    """Exact where a problem counts once; where its steps do, they count for as many as scatter like the problems."""
    n: Annotated[int, Field(ge=1)]
    n_groups: Annotated[int, Field(ge=1)]
    """Independent problems among these."""
    by_seed: list[Share]


class Rate(Record):
    """A share that estimates nothing, so that it has no interval."""

    share: Share
    n: Annotated[int, Field(ge=1)]
    by_seed: list[Share]


class Measured(Record):
    """A number that is no share: the mean over seeds, its bootstrap interval, and what each seed gave."""

    value: float
    interval: Interval
    n: Annotated[int, Field(ge=1)]
    """Problems."""
    by_seed: list[float]


class OrganismRow(Record):
    """One organism over all its training seeds; a field is absent where the organism has no such problems."""

    organism: str
    plants: str
    must_say: str
    expected: Verdict
    """Verdict of the model that its recipe demands."""
    seeds: list[int]
    """Training seeds that were accepted and audited."""
    refused: list[int]
    """Training seeds whose model missed the acceptance bar, so that nothing was planted for sure."""
    fingerprints: list[str]
    verdicts: list[Verdict]
    auroc: Measured | None
    """Of the divergence score, problems whose thoughts and words were made to part against all others."""
    recall: Counted | None
    """Share of those problems that are called `diverges`."""
    alarms: Counted | None
    """Share of all other problems that are called `diverges`."""
    flagged_alarms: Counted | None
    """The same among those that carry the flag."""
    flagged_right: Counted | None
    """Share of problems that carry the flag whose verdict is the one that is demanded of them."""
    honest_alarms: Rate
    """Share of held-out honest problems that are flagged at alpha when each is judged by all others: at most alpha by
    construction, so it shows that calibration works and not how often a fresh problem is flagged."""
    decoded: Counted | None
    """Share of thoughts that were read right in problems that carry the flag, where the truth is held."""
    statuses: Counted | None
    """Share of steps whose status points right: not `agree` exactly where what is held was not said."""
    decode_accuracy: Measured
    """Share of thoughts of held-out honest problems that are read right, all steps together."""
    decode_control: float
    """The same with shuffled labels."""
    effect: Measured
    """Share that follows (or moves) when all thoughts are exchanged, less the placebo's."""
    step_effect: Measured | None
    """The same of single thoughts, at the weakest of all planted steps, called live or not."""
    coverage: Measured | None
    """Of the channel's effect by the captured thoughts; absent where nothing moves."""
    decorative: bool
    """Whether any audit called the thoughts decorative."""
    reasons: list[str]
    """Why an audit could not tell, one a seed that could not."""
    misses: list[str]
    """What differs in any seed from what the organism demands; empty where everything is as planted."""


class BenchmarkRecord(FileRecord):
    """All organisms."""

    schema_: Literal["neuralese-benchmark/1"] = Field(default="neuralese-benchmark/1", alias="schema")
    alpha: Share
    n_calibration: int
    n_problems: int
    versions: dict[str, str]
    rows: list[OrganismRow]


def read_benchmark(folder: Path) -> BenchmarkRecord:
    """The record of a benchmark folder.

    Raises:
        SchemaError: the file is absent, is not strict JSON, or breaks the schema.
    """
    path = folder / NAME
    return parse_record(BenchmarkRecord, read_json(path), path=path, what="benchmark", schema=SCHEMA)
