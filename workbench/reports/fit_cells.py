"""One cell of a fit, and one text probe: scores that cannot stand without their control.

A cell is one probe: a site, a step, a label and a kind of probe. Its score is
either there, with its sample size, its interval and its shuffled control, or
it is undefined, and then the record says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, JsonValue, PlainSerializer, model_validator

from workbench.reports.fields import Interval, Record, Share

SIGNIFICANT_P = 0.05
"""A cell is above chance where its p-value, corrected for the size of the grid, is at most this."""

Count = Annotated[int, Field(ge=0)]
Standing = Literal["readable", "input", "chance", "uncorrected", "undefined"]
CellKey = tuple[str, int, str, str]
"""Site, step, label, kind of probe."""


def _as_interval(value: Any) -> Any:
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2:
        return Interval(low=value[0], high=value[1])
    return value


def _as_pair(interval: Interval) -> list[float]:
    return [interval.low, interval.high]


Ends = Annotated[Interval, BeforeValidator(_as_interval), PlainSerializer(_as_pair)]
"""A two-sided 95 % interval, written as ``[low, high]``."""


class CurvePoint(Record):
    """Held-out accuracy of a probe that learned from fewer rows."""

    n_fit: Count
    accuracy: Share
    interval: Ends


class ReliabilityBin(Record):
    """Held-out rows whose best reading has a probability between `low` and `high`."""

    low: Share
    high: Share
    confidence: Share
    """Mean probability of the best reading."""
    right: Share
    """Share of these rows that are read right."""
    interval: Ends
    n: Annotated[int, Field(ge=1)]


class Confusion(Record):
    """How often one value was read as another."""

    value: str
    read: str
    n: Annotated[int, Field(ge=1)]


class CellRecord(Record):
    """One probe on held-out rows beside its controls; a control that was not run is None."""

    site: str
    layer: int | None
    step: Count
    label: str
    probe: str
    undefined_because: str | None
    """Why there is no score: too few rows, one value in the fit rows, and the like."""
    n_fit: Count
    n: Count
    """Held-out rows."""
    n_groups: Count
    """Groups of the held-out rows."""
    n_classes: Count
    accuracy: Share | None
    interval: Ends | None
    log_loss: Annotated[float, Field(ge=0)] | None
    """Mean surprisal of the true value, nats."""
    auroc: Share | None
    """Mean over values of the area under the curve, one value against the rest."""
    shuffled: Share | None
    """Mean accuracy of refits on shuffled labels."""
    shuffled_high: Share | None
    """97.5 % quantile of these refits."""
    n_shuffles: Count
    selectivity_p: Share | None
    """Share of these refits that read at least as well (plus-one rule)."""
    corrected_p: Share | None
    """The same against the best refit of the whole grid."""
    majority: Share | None
    input_only: Share | None
    """Accuracy from the words of the prompt alone."""
    previous_step: Share | None
    """Accuracy from the vector of the step before; always None at step 0."""
    position_0: Share | None
    """Accuracy from the vector of the same site at the first latent position, before any step; None at step 0."""
    control_task: Share | None
    """Accuracy of the same probe on labels that were drawn at random for each input (Hewitt & Liang 2019)."""
    selectivity: Annotated[float, Field(ge=-1, le=1)] | None
    """Accuracy minus `control_task`."""
    twin: Share | None
    """Accuracy on the vectors of the same model with random weights."""
    logit_lens: Share | None
    """Accuracy of the model's own unembedding."""
    mdl_bits: Annotated[float, Field(ge=0)] | None
    """Code length of the labels given the vectors, by online coding (Voita & Titov 2020), bits."""
    mdl_plain_bits: Annotated[float, Field(ge=0)] | None
    """Code length of the labels without the vectors, by how often each came before, bits."""
    mdl_compression: Annotated[float, Field(ge=0)] | None
    learning_curve: list[CurvePoint]
    reliability: list[ReliabilityBin]
    confusions: list[Confusion]
    """Values most often read as another, the commonest first."""
    C: float | None
    """Inverse strength of the L2 penalty; None where the probe has none."""
    converged: bool | None
    n_iter: Count | None
    objective: float | None
    gradient: float | None
    """Largest entry of the gradient where the solver stopped."""
    readable: bool
    """Above its controls after correction, and not read as well from the words of the prompt."""
    seed: Count

    @model_validator(mode="after")
    def _no_score_alone(self) -> Self:
        _refuse_lone_score(f"cell {self.key}", self.accuracy, self)
        if self.accuracy is None and (self.readable or self.corrected_p is not None):
            raise ValueError(f"cell {self.key} has no score and cannot be readable or significant")
        if self.selectivity is not None and self.control_task is None:
            raise ValueError(f"cell {self.key} has a selectivity without its control task")
        return self

    @property
    def key(self) -> CellKey:
        """What no other cell of the fit shares."""
        return self.site, self.step, self.label, self.probe

    @property
    def standing(self) -> Standing:
        """What may be said of this cell: `input` is above chance, but not beyond the words of the prompt."""
        if self.accuracy is None:
            return "undefined"
        if self.corrected_p is None:
            return "uncorrected"
        if self.corrected_p > SIGNIFICANT_P:
            return "chance"
        return "readable" if self.readable else "input"

    def to_plain(self) -> dict[str, Any]:
        """Plain values, as `fit.json` has them."""
        return self.model_dump(mode="json")


class TextRecord(Record):
    """From the thoughts of one site and step to words, on held-out rows, beside lenses and control."""

    site: str
    step: Count
    undefined_because: str | None = None
    n_fit: Count
    n: Count
    n_groups: Count
    n_offsets: Annotated[int, Field(ge=1)]
    """Tokens of the longest text."""
    exact_match: Share | None
    """Share of rows whose whole text is read."""
    interval: Ends | None
    top_1: list[Share | None]
    """Share of rows whose token at each offset is read, [n_offsets]."""
    top_5: list[Share | None]
    shuffled: Share | None
    """Exact match of refits on shuffled texts, mean."""
    n_shuffles: Count
    p_value: Share | None
    variance_explained: float | None
    """Share of the vectors' variance that the decoded text explains; negative where it explains less than the mean."""
    variance_explained_true: float | None
    """The same for the true text: the most that a reading can reach."""
    variance_explained_shuffled: float | None
    logit_lens: Share | None
    """Exact match of the model's own unembedding on the same rows; None where it was not run."""
    tuned_lens: Share | None
    details: dict[str, JsonValue]
    """Settings and secondary numbers of the fit, shown as they are."""

    @model_validator(mode="after")
    def _no_score_alone(self) -> Self:
        where = f"text probe {(self.site, self.step)}"
        _refuse_lone_score(where, self.exact_match, self)
        if self.exact_match is not None and not len(self.top_1) == len(self.top_5) == self.n_offsets:
            raise ValueError(f"{where} has {len(self.top_1)} and {len(self.top_5)} scores for {self.n_offsets} offsets")
        return self

    def to_plain(self) -> dict[str, Any]:
        """Plain values, as `fit.json` has them."""
        return self.model_dump(mode="json")


def _refuse_lone_score(where: str, score: float | None, record: CellRecord | TextRecord) -> None:
    if (score is None) != (record.undefined_because is not None):
        raise ValueError(f"{where} needs either a score or the reason why there is none")
    if (score is None) != (record.interval is None):
        raise ValueError(f"{where} needs an interval exactly where it has a score")
    if score is not None and (record.shuffled is None or not record.n or not record.n_groups or not record.n_shuffles):
        raise ValueError(f"{where} has a score without its sample size or its shuffled control")
