"""What a job is asked to do, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from workbench.reports.fields import Record

State = Literal["waiting", "running", "done", "failed", "cancelled", "lost"]
"""`lost`: it was running when its process, or the machine, ended; it can be resumed as a cancelled one can."""
KINDS = ("audit", "capture", "fit", "apply", "intervene", "bandwidth", "benchmark", "demo", "live")
"""Commands that may run as jobs."""


class JobSpec(Record):
    """What was asked; never changed afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)

    schema_: Literal["neuralese-job/1"] = Field(default="neuralese-job/1", alias="schema")
    title: Annotated[str, Field(min_length=1, max_length=200)]
    command: Annotated[list[str], Field(min_length=1, max_length=200)]
    """Arguments of `workbench`, the sub-command first."""
    folder: str
    """In which it runs: relative paths of the command are meant from there."""
    created: str
    """UTC."""


class JobStatus(Record):
    """Where it stands; written anew at every bit of progress."""

    state: State
    stage: str | None = None
    done: Annotated[int, Field(ge=0)] = 0
    planned: Annotated[int, Field(ge=0)] = 0
    rate: float | None = None
    """Of the present stage, a second."""
    seconds_left: float | None = None
    """Of the present stage."""
    started: str | None = None
    updated: str | None = None
    exit_code: int | None = None
    message: str | None = None
    """Last line that is no progress: the error, where it failed."""
    attempts: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True, slots=True)
class Job:
    """A job folder as it is at this moment."""

    folder: Path
    spec: JobSpec
    status: JobStatus
    log: str
    """The last lines that it wrote."""

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.folder.name

    @property
    def alive(self) -> bool:
        """Whether a process works on it."""
        return self.status.state in ("waiting", "running")
