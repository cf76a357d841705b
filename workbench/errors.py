"""Everything that may go wrong for a reason a person can act on.

::

    WorkbenchError                exit code 2
    ├── ConfigError               a setting, recipe or command does not fit
    │   └── UnknownSiteError      a site that this reasoner does not have
    ├── SchemaError               a file has the wrong fields, types or shapes
    ├── UntrustedFormat           a file that could run code, or leave its folder
    ├── LimitExceeded             larger than what we agree to read
    ├── InsufficientData          too few problems, classes or groups
    ├── LeakageError              the same prompt on both sides of a split
    ├── DataQuality               not a number, constant, or otherwise unusable
    ├── StoreBusy                 another process is writing here
    ├── StorageFull               the disk refused to take more
    ├── DeviceError               the accelerator, or its memory
    ├── Interrupted               Ctrl-C or SIGTERM; what was written can be resumed
    ├── ContractError             exit code 1: a model breaks the reasoner contract
    └── IntegrityError            exit code 4
        ├── CorruptArtifact       truncated, missing or unreadable
        └── HashMismatch          readable, but not what was written
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar


class WorkbenchError(Exception):
    """One clear error: what came, what is allowed, what to do.

    Args:
        message: what is wrong, in one sentence.
        path: the file it is about.
        field: the key, column or tensor it is about.
        expected: what is allowed there.
        found: what came.
        hint: what to do next.
    """

    exit_code: ClassVar[int] = 2

    def __init__(
        self,
        message: str,
        *,
        path: str | Path | None = None,
        field: str | None = None,
        expected: Any = None,
        found: Any = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.path = None if path is None else str(path)
        self.field = field
        self.expected = expected
        self.found = found
        self.hint = hint

    def __str__(self) -> str:
        where = ", ".join(part for part in (self.path, self.field and f"field {self.field}") if part)
        text = f"{where}: {self.message}" if where else self.message
        if self.expected is not None:
            text += f"; expected {self.expected}"
        if self.found is not None:
            text += f"; found {self.found}"
        if self.hint is not None:
            text += f". {self.hint}"
        return text

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes whole; what is expected or found travels as its text."""
        texts = {key: None if getattr(self, key) is None else str(getattr(self, key)) for key in ("expected", "found")}
        rest = {"path": self.path, "field": self.field, "hint": self.hint, **texts}
        return _rebuild, (type(self), self.message, rest)

    def to_dict(self) -> dict[str, Any]:
        """The error as plain values, for ``--json``."""
        plain = {key: getattr(self, key) for key in ("message", "path", "field", "hint")}
        texts = {key: None if getattr(self, key) is None else str(getattr(self, key)) for key in ("expected", "found")}
        return {"error": type(self).__name__, **plain, **texts, "exit_code": self.exit_code}


def _rebuild(kind: type[WorkbenchError], message: str, rest: dict[str, Any]) -> WorkbenchError:
    return kind(message, **rest)


class ConfigError(WorkbenchError):
    """A setting, recipe or command does not fit."""


class UnknownSiteError(ConfigError):
    """A site that this reasoner does not have."""


class SchemaError(WorkbenchError):
    """A file has the wrong fields, types or shapes."""


class UntrustedFormat(WorkbenchError):
    """A file that could run code, or that points outside its folder."""


class LimitExceeded(WorkbenchError):
    """Larger than what we agree to read."""


class InsufficientData(WorkbenchError):
    """Too few problems, classes or groups for the question."""


class LeakageError(WorkbenchError):
    """The same prompt stands on both sides of a split."""


class DataQuality(WorkbenchError):
    """Vectors that are not numbers, constant, or otherwise unusable."""


class StoreBusy(WorkbenchError):
    """Another process is writing here."""


class StorageFull(WorkbenchError):
    """The disk refused to take more."""


class DeviceError(WorkbenchError):
    """The accelerator, or its memory."""


class Interrupted(WorkbenchError):
    """Ctrl-C or SIGTERM; what was written can be resumed."""

    exit_code: ClassVar[int] = 130


class ContractError(WorkbenchError):
    """A model breaks the reasoner contract."""

    exit_code: ClassVar[int] = 1


class IntegrityError(WorkbenchError):
    """What is on disk is not what was written."""

    exit_code: ClassVar[int] = 4


class CorruptArtifact(IntegrityError):
    """Truncated, missing or unreadable."""


class HashMismatch(IntegrityError):
    """Readable, but not what was written."""
