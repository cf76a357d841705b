"""Errors of this package: `ValueError`s, as scikit-learn's contract asks, whose messages teach."""

from __future__ import annotations


class ProbeDataError(ValueError):
    """The arrays, labels or groups cannot answer the question that was asked of them."""


class ProbeFileError(ValueError):
    """A file of probes is damaged, hostile or of another kind.

    Args:
        message: what is wrong, in one sentence.
        field: the key or tensor it is about.
        path: the file it is about, where the caller knows it.
    """

    def __init__(self, message: str, *, field: str | None = None, path: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.path = path

    def __str__(self) -> str:
        where = ", ".join(part for part in (self.path, self.field and f"field {self.field}") if part)
        return f"{where}: {self.message}" if where else self.message
