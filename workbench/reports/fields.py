"""What every audit record is made of."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from workbench.jsonio import canonical_json

Verdict = Literal["agrees", "diverges", "cannot-tell"]
StepStatus = Literal["agree", "ahead", "unsaid", "unsupported", "conflict"]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Record(BaseModel):
    """A frozen record without unknown fields, infinities or NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class FileRecord(Record):
    """A record that is a file of its own: canonical JSON, whose field `schema` says what it is."""

    model_config = ConfigDict(populate_by_name=True)

    def to_plain(self) -> dict[str, Any]:
        """Plain values, as the file has them."""
        return self.model_dump(mode="json", by_alias=True)

    def to_json(self) -> bytes:
        """Bytes of the file."""
        return canonical_json(self.to_plain())


class Interval(Record):
    """Two-sided 95 % interval of a score."""

    low: float
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"interval runs from {self.low} down to {self.high}")
        return self
