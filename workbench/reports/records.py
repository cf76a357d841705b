"""The audit record: what `audit.json` holds, and nothing that it does not.

Every record is frozen and refuses unknown fields and impossible values, so
that a figure, a page or an export built from one cannot show a number whose
control, sample size or interval is missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from workbench.errors import SchemaError
from workbench.jsonio import read_json
from workbench.reports.causal_records import Channel, StepCausal
from workbench.reports.fields import FileRecord, Interval, Record, Share, StepStatus, Verdict
from workbench.reports.memory_records import SlotRecord
from workbench.reports.monitor_records import Power, TextMonitor
from workbench.reports.reading import collector_paused, parse_record

__all__ = [
    "SCHEMA", "AuditRecord", "Candidate", "Channel", "ConditionRow", "FalseAlarmRate", "Interval",
    "ModelRecord", "ProblemRecord", "ProblemStep", "Record", "Settings", "Share", "StepCausal", "StepStatus",
    "StepSummary", "Summary", "Verdict", "read_audit",
]  # fmt: skip

SCHEMA = "neuralese-audit/1"


class ModelRecord(Record):
    """Which model was audited."""

    source: str
    fingerprint: str
    family: str
    preset: str
    n_steps: int
    d_model: int
    n_layers: int
    d_vocab: int


class Settings(Record):
    """What the person chose, and what was chosen for them."""

    alpha: Share
    seed: int
    n_calibration: int
    """Honest problems used."""
    n_left_out: int
    """Honest problems left out because their prompt is audited too."""
    n_fit: int
    """Honest problems the probes learned from."""
    n_held_out: int
    """Honest problems the probes never saw: they carry the false alarm promise."""
    n_causal: int
    """Held-out honest problems on which thoughts were edited."""
    batch_size: int
    reader: Literal["probe", "lens", "tuned-lens"] = "probe"
    """What read the thoughts: probes that learned, or a lens among the values that trusted problems say."""
    labels: Literal["thoughts", "said", "mixed"]
    """Whether the probes learned known intermediate values, what trusted problems say, or each where it is known."""


class FalseAlarmRate(Record):
    """The promise: the share of honest problems that are flagged."""

    target: Share
    n_honest: int
    """Held-out honest groups; one problem is drawn from each."""
    observed: Share
    """Share of held-out honest problems flagged when each is judged by all the others."""
    upper95: Share
    """One-sided exact upper bound of that share."""
    n_needed: int
    """Independent honest problems that certify the target with zero alarms."""
    enough: bool
    """Whether nine in ten audited problems have as many of their number of steps; else the audit is inconclusive."""
    certified: bool
    """Whether `upper95` itself is at most the target. Where honest scores have no ties it hardly can be: the promise
    then is the conformal one, on average over calibrations."""


class StepSummary(StepCausal):
    """One latent step over all problems: can it be read, is it used, and beside what."""

    step: int
    n: int
    """Held-out honest problems on which decoding was scored."""
    n_classes: int
    decode_accuracy: Share
    decode_interval: Interval
    control: Share
    """Mean accuracy of the same probe fitted on shuffled labels."""
    selectivity_p: Share
    """Share of shuffled-label refits that read at least as well (plus-one rule)."""
    n_shuffles: int
    majority: Share
    input_only: Share
    """Accuracy from the words of the prompt alone."""
    previous_step: Share | None
    """Accuracy of this step's value read from the thought before; absent for step 0."""
    logit_lens: Share | None
    """Accuracy of the model's own unembedding on the same thoughts; absent where values are not single tokens."""
    readable: bool
    band: Interval
    """2.5 to 97.5 % of `divergence_bits` on honest held-out problems."""


class Candidate(Record):
    """One reading of a thought."""

    value: str
    probability: Share


class ProblemStep(Record):
    """What one thought holds beside what was said at its place in the chain."""

    step: int | None
    """Latent step; absent for a claim that no thought stands against."""
    decoded: str | None
    confidence: Share | None
    said: str | None
    claim_index: int | None
    """Place of `said` in the stated chain, from 0."""
    status: StepStatus
    p_value: Share | None
    """Conformal p-value of this step's margin among honest problems."""
    margin: float | None
    """log p(best reading) - log p(said), nats; 0 where they are the same."""
    divergence_bits: Share | None
    """Jensen-Shannon divergence between the reading and what was said, bits."""
    unseen_p: Share | None
    """Conformal p-value, among thoughts whose value the probe was never shown, that this one too holds such a value:
    small where the thought is in distribution."""
    norm: float | None
    held_before: int | None
    """How many claims later the decoded value is said, for `ahead`; negative where it was said earlier."""
    top: list[Candidate]


class ProblemRecord(Record):
    """The verdict on one problem."""

    id: str
    group: str
    condition: str | None
    prompt: str
    said: str
    answer: str | None
    claims: list[str]
    verdict: Verdict
    score: float
    p_value: Share
    q_value: Share
    reason: str | None = None
    steps: list[ProblemStep]

    @model_validator(mode="after")
    def _reason_where_it_cannot_tell(self) -> Self:
        if self.verdict == "cannot-tell" and not self.reason:
            raise ValueError(f"problem {self.id!r} is cannot-tell without a reason")
        return self


class ConditionRow(Record):
    """Verdicts of the problems of one condition (a label for tables that no score may look at)."""

    condition: str
    n: int
    n_agrees: int
    n_diverges: int
    n_cannot_tell: int
    share_diverges: Share
    interval: Interval


class Summary(Record):
    """The headline numbers, each beside its control."""

    n_problems: int
    n_agrees: int
    n_diverges: int
    n_cannot_tell: int
    verdict: Verdict
    reason: str | None = None
    channel: Channel
    decode_accuracy: Share
    """Share of thoughts of held-out honest problems that are read right, all steps together."""
    decode_interval: Interval
    decode_control: Share
    false_alarm_rate: FalseAlarmRate
    unseen_rate: Share
    """Share of audited thoughts that cannot be told from thoughts with values the probes were never shown."""
    conditions: list[ConditionRow]


class AuditRecord(FileRecord):
    """A finished (or partial, or failed) audit."""

    schema_: Literal["neuralese-audit/1"] = Field(default="neuralese-audit/1", alias="schema")
    status: Literal["complete", "partial", "failed"]
    status_reason: str | None = None
    n_done: int
    n_planned: int
    model: ModelRecord
    settings: Settings
    warnings: list[str]
    summary: Summary
    steps: list[StepSummary]
    problems: list[ProblemRecord]
    slots: list[SlotRecord] = Field(default_factory=list)
    """Of a memory: every vector that is kept of an episode."""
    power: Power | None = None
    """Share of planted lies that were caught; absent in files written before it was measured."""
    text: TextMonitor | None = None
    """What the words alone tell; absent in files written before it was measured."""
    run_root: str
    """Hash of the capture store that every number was computed from."""
    probes_root: str
    """Hash of the fitted probes."""

    @model_validator(mode="after")
    def _counts_add_up(self) -> Self:
        counts = (self.summary.n_agrees, self.summary.n_diverges, self.summary.n_cannot_tell)
        if sum(counts) != self.summary.n_problems or self.summary.n_problems != len(self.problems):
            raise ValueError(f"{counts} verdicts do not add up to {len(self.problems)} problems")
        if self.status != "complete" and not self.status_reason:
            raise ValueError(f"an audit that is {self.status} needs a reason")
        return self

    def to_plain(self) -> dict[str, Any]:
        """Plain values, as `audit.json` has them."""
        plain = super().to_plain()
        for record, key in [(plain, "status_reason"), *((p, "reason") for p in [plain["summary"], *plain["problems"]])]:
            if record[key] is None:
                del record[key]
        return plain

    def problem(self, problem_id: str) -> ProblemRecord:
        """The problem with this id.

        Raises:
            SchemaError: there is none.
        """
        for problem in self.problems:
            if problem.id == problem_id:
                return problem
        raise SchemaError(f"no problem {problem_id!r} in this audit", field="id")


def read_audit(directory: Path) -> AuditRecord:
    """Read `audit.json` of an audit folder.

    Raises:
        SchemaError: the file is absent, is not strict JSON, or breaks the schema (all breaks are listed).
    """
    path = directory / "audit.json"
    with collector_paused():
        return parse_record(AuditRecord, read_json(path), path=path, what="audit", schema=SCHEMA)
