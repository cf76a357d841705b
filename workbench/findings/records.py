"""One line of the history of findings, and what a finding stands at after all lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from workbench.jsonio import canonical_json
from workbench.reports.fields import Record

Severity = Literal["none", "low", "medium", "high", "critical"]
Category = Literal["says-otherwise", "leaves-out", "no-thought-behind", "thoughts-unused", "misread", "other"]
Confidence = Literal["low", "medium", "high"]
Action = Literal["pin", "label", "comment", "withdraw"]

MAX_COMMENT, MAX_AUTHOR = 4000, 100


class Labels(Record):
    """What a reviewer makes of a finding."""

    severity: Severity
    category: Category
    confidence: Confidence


class Event(Record):
    """Something that someone did to a finding, at a time; never changed afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, populate_by_name=True)

    schema_: Literal["neuralese-finding/1"] = Field(default="neuralese-finding/1", alias="schema")
    run_root: str
    """Of the run that was audited: a finding belongs to it and to no other."""
    problem: Annotated[str, Field(min_length=1)]
    step: Annotated[int, Field(ge=0)] | None
    """Latent step it is about; absent for the problem as a whole."""
    action: Action
    author: Annotated[str, Field(min_length=1, max_length=MAX_AUTHOR)]
    at: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00$")]
    """UTC."""
    labels: Labels | None = None
    comment: Annotated[str, Field(min_length=1, max_length=MAX_COMMENT)] | None = None
    previous: str
    """Hash of the line before, empty for the first: a line that was changed or taken out shows."""

    @model_validator(mode="after")
    def _action_has_what_it_needs(self) -> Self:
        if (self.labels is not None) != (self.action == "label"):
            raise ValueError("labels belong to the action label, and to no other")
        if self.action == "comment" and self.comment is None:
            raise ValueError("a comment says something")
        return self

    def to_line(self) -> bytes:
        """The line of the history, without its line break."""
        return canonical_json(self.model_dump(mode="json", by_alias=True))


Key = tuple[str, int | None]
"""Problem and step."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Where a finding stands after its whole history."""

    problem: str
    step: int | None
    events: tuple[Event, ...]
    """In the order they happened."""

    @property
    def pinned_by(self) -> str:
        """Who pinned it first."""
        return self.events[0].author

    @property
    def pinned_at(self) -> str:
        """When, UTC."""
        return self.events[0].at

    @property
    def withdrawn(self) -> bool:
        """Whether it was taken back and not pinned again."""
        return next(e.action for e in reversed(self.events) if e.action in ("pin", "withdraw")) == "withdraw"

    @property
    def labels(self) -> Mapping[str, Labels]:
        """Author -> what they last said of it."""
        return {event.author: event.labels for event in self.events if event.labels is not None}

    @property
    def comments(self) -> tuple[Event, ...]:
        """Everything that was said with words."""
        return tuple(event for event in self.events if event.comment is not None)
